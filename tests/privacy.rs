//! Which users can read the files of a store, and what is left of an engine in memory.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use common::{files_ending, find, flip, note, spread, tiny, word};
use mnemocore::{Engine, NewMemory};

/// What the process that [`run`] starts does, and where.
const WORK: &str = "MNEMO_PRIVACY_WORK";
const PLACE: &str = "MNEMO_PRIVACY_PLACE";

/// Runs the test `child` in a process of its own, whose new files everybody may read and write unless it says
/// otherwise.
fn run(work: &str, place: &Path) -> ExitStatus {
    Command::new("sh")
        .args(["-c", "umask 0; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture", "--test-threads=1"])
        .env(WORK, work)
        .env(PLACE, place)
        .env("TMPDIR", place)
        .status()
        .unwrap()
}

#[test]
#[ignore = "the process that the other tests start"]
fn child() {
    let (Ok(work), Ok(place)) = (std::env::var(WORK), std::env::var(PLACE)) else { return };
    let place = PathBuf::from(place);
    match work.as_str() {
        "folder" => use_folder(&place),
        #[cfg(feature = "object-store")]
        "bucket" => use_bucket(&place),
        "abort" => {
            let _engine = use_memory(&place);
            std::process::abort();
        }
        "exit" => {
            let _engine = use_memory(&place);
            std::process::exit(0);
        }
        _ => panic!("unknown work {work}"),
    }
}

/// Everything that makes files: stores, moves, merges, a compaction and two repairs.
fn use_folder(store: &Path) {
    drop(spread(store, 200));
    for round in 0..2 {
        flip(&files_ending(&store.join("segments"), "seg")[round], 60);
        Engine::repair(store, tiny()).unwrap();
    }
    let engine = spread(store, 20);
    let forgotten = find(&engine, &word(150)).unwrap().0;
    assert!(engine.forget(forgotten).unwrap());
    engine.compact().unwrap();
    engine.store(note("last")).unwrap();
    drop(engine);
}

#[cfg(feature = "object-store")]
fn use_bucket(place: &Path) {
    let url = format!("file://{}/shared/bucket", place.display());
    let (first, second) = (place.join("caches/first"), place.join("caches/second"));
    let engine = Engine::open(&url, tiny().cache_folder(first)).unwrap();
    engine.store_batch((0..200).map(|number| NewMemory::new(note(&word(number)))).collect()).unwrap();
    engine.consolidate().unwrap();
    drop(engine);
    // This cache fetches the segments.
    let engine = Engine::open(&url, tiny().cache_folder(second)).unwrap();
    assert_eq!(engine.stats().total(), 200);
    engine.compact().unwrap();
}

/// An engine in memory whose tiers all hold memories.
fn use_memory(temporary: &Path) -> Engine {
    let engine = Engine::in_memory(tiny()).unwrap();
    engine.store_batch((0..200).map(|number| NewMemory::new(note(&word(number)))).collect()).unwrap();
    engine.consolidate().unwrap();
    let stats = engine.stats();
    assert!(stats.memories.iter().all(|&count| count > 0) && stats.bytes[2].mapped > 0, "{stats:?}");
    assert_eq!(std::env::temp_dir(), temporary);
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0, "a file has a name");
    assert!(engine.forget(find(&engine, &word(3)).unwrap().0).unwrap());
    engine.compact().unwrap();
    assert!(find(&engine, &word(3)).is_none() && find(&engine, &word(4)).is_some());
    engine
}

/// The permissions of a file or a folder.
fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Returns the files and folders in `folder`, and itself, with their permissions.
fn modes(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![(folder.to_path_buf(), mode(folder))];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(modes(&path)) } else { found.push((path.clone(), mode(&path))) }
    }
    found
}

/// Fails unless nobody but their user can read what is in `folder`. Returns how many files and folders are there.
fn assert_private(folder: &Path) -> usize {
    let found = modes(folder);
    for (path, mode) in &found {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(*mode, expected, "{} has {mode:o}", path.display());
    }
    found.len()
}

#[test]
fn nobody_else_can_read_a_store_or_the_folders_made_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (parent, store) = (folder.path().join("made"), folder.path().join("made/store"));
    assert!(run("folder", &store).success());
    for name in ["lock", "log", "log/identity", "segments", "log.damaged-1/segments", "log.damaged-2"] {
        assert!(store.join(name).exists(), "{name}");
    }
    assert!(assert_private(&parent) > 15);
}

#[test]
fn a_folder_that_the_user_has_made_keeps_its_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    fs::DirBuilder::new().mode(0o750).create(&store).unwrap();
    assert!(run("folder", &store).success());
    assert_eq!(mode(&store), 0o750);
    for name in ["log", "segments", "log.damaged-1"] {
        assert_private(&store.join(name));
    }
}

#[cfg(feature = "object-store")]
#[test]
fn nobody_else_can_read_the_caches_of_a_shared_folder_that_everybody_can_read() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run("bucket", folder.path()).success());
    assert!(assert_private(&folder.path().join("caches")) > 15);
    for (path, mode) in modes(&folder.path().join("shared")) {
        let expected = if path.is_dir() { 0o777 } else { 0o666 };
        assert_eq!(mode, expected, "{} has {mode:o}", path.display());
    }
}

#[test]
fn nothing_is_left_of_an_engine_in_memory_however_its_process_ends() {
    for work in ["abort", "exit"] {
        let folder = tempfile::tempdir().unwrap();
        let status = run(work, folder.path());
        let is_expected = if work == "abort" { status.signal().is_some() } else { status.success() };
        assert!(is_expected, "{status}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{work}");
    }
}
