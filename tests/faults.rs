//! Errors of the operating system: permissions, open files, and the time. `disk.rs` covers a full
//! and a read-only disk.
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{assert_complete, copy, everything, files, find, note, spread, tiny, word};
use mnemocore::{Engine, Error, MemoryId, Namespace, NewMemory, Query, Timestamp};
use proptest::prelude::*;

/// The variable that names the store of a started process.
const FOLDER: &str = "MNEMO_FAULTS_FOLDER";
const STORED: usize = 48;
const DAY: i64 = 86_400_000;

/// A user without any rights.
const NOBODY: u32 = 65_534;

/// Starts one of this binary's ignored tests in a folder of its own, with a low limit of open
/// files.
fn run_apart(test: &str, prepare: impl FnOnce(&mut Command, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    // Copied to a place that another user can reach.
    let binary = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 48; exec \"$@\"", "sh"])
        .arg(binary)
        .args(["--ignored", "--exact", test, "--nocapture"])
        .env(FOLDER, folder.path().join("store"));
    prepare(&mut command, folder.path());
    let output = command.output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    assert!(out.contains("went through"), "{test} did nothing: {out}");
    print!("{out}");
}

#[test]
fn without_a_file_to_open_a_store_says_so_and_goes_on_once_there_is_one() {
    run_apart("few_open_files", |_, _| ());
}

#[test]
#[ignore = "the process that `without_a_file_to_open_a_store_says_so_…` starts"]
fn few_open_files() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let engine = spread(&folder, STORED);
    let mut stored = STORED;
    for round in 0..3 {
        let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        assert!(!taken.is_empty());
        let mut refused = 0;
        let mut refuse = |error| match error {
            Error::Io { source, .. } => {
                refused += 1;
                assert!(source.to_string().contains("open files"), "{source}");
            }
            error => panic!("{error:?} instead of too many open files"),
        };
        for _ in 0..8 {
            match engine.store(note(&word(stored))) {
                Ok(_) => stored += 1,
                Err(error) => refuse(error),
            }
        }
        for number in 0..stored {
            match engine.recall(Query::text(word(number)).limit(1)) {
                Ok(recall) => assert_eq!(recall.hits[0].memory.text, note(&word(number))),
                Err(error) => refuse(error),
            }
        }
        let year = Timestamp(Timestamp::now().0 + 365 * DAY);
        engine.consolidate_at(year).map_or_else(&mut refuse, drop);
        engine.compact().unwrap_or_else(&mut refuse);
        assert!(refused > 0, "round {round}: nothing needed a file");
        drop(taken);
        // A memory that was refused while compaction had the store closed was not stored. All
        // others were.
        engine.store(note(&word(stored))).unwrap();
        stored += 1;
        assert_complete(&engine, stored);
        engine.compact().unwrap();
    }
    drop(engine);
    assert_complete(&Engine::open(&folder, tiny()).unwrap(), stored);
    println!("went through");
}

#[test]
fn what_may_not_be_read_or_written_is_an_error_that_names_it_and_loses_nothing() {
    run_apart("without_permission", |command, folder| {
        // The superuser may do anything.
        if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
            command.uid(NOBODY).gid(NOBODY).current_dir(folder);
        }
    });
}

#[test]
#[ignore = "the process that `what_may_not_be_read_or_written_…` starts"]
fn without_permission() {
    let Some(whole) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    drop(spread(&whole, STORED));
    let folder = whole.with_file_name("copy");
    let mut places: Vec<PathBuf> = files(&whole);
    places.extend([whole.clone(), whole.join("log"), whole.join("segments")]);
    let (mut refused, mut opened) = (0, 0);
    for (place, mode) in places.iter().flat_map(|place| [(place, 0o000), (place, 0o444)]) {
        copy(&whole, &folder);
        let place = folder.join(place.strip_prefix(&whole).unwrap());
        let (before, is_file) = (fs::metadata(&place).unwrap().permissions(), place.is_file());
        fs::set_permissions(&place, Permissions::from_mode(mode)).unwrap();
        match Engine::open(&folder, tiny()) {
            // Derived files are rebuilt.
            Ok(engine) => {
                assert_complete(&engine, STORED);
                opened += 1;
            }
            Err(Error::Io { path, source }) => {
                assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied, "{}", place.display());
                assert!(path.starts_with(&folder), "{}", path.display());
                assert!(path == place || !is_file, "{} in place of {}", path.display(), place.display());
                refused += 1;
            }
            Err(error) => panic!("{}: {error:?}", place.display()),
        }
        if place.exists() {
            fs::set_permissions(&place, before).unwrap();
        }
        assert_complete(&Engine::open(&folder, tiny()).unwrap(), STORED);
        fs::remove_dir_all(&folder).unwrap();
    }
    segments_cannot_be_written(&whole);
    println!("{} files and folders: {refused} openings refused, {opened} not; went through", places.len());
}

/// Reading goes on while moves to COLD are refused, and moves once they are not.
fn segments_cannot_be_written(folder: &Path) {
    let engine = Engine::open(folder, tiny()).unwrap();
    let segments = folder.join("segments");
    fs::set_permissions(&segments, Permissions::from_mode(0o555)).unwrap();
    let year = Timestamp(Timestamp::now().0 + 365 * DAY);
    let moved = engine.consolidate_at(year);
    assert!(matches!(moved, Err(Error::Io { ref path, .. }) if path.starts_with(&segments)), "{moved:?}");
    assert_complete(&engine, STORED);
    fs::set_permissions(&segments, Permissions::from_mode(0o755)).unwrap();
    engine.consolidate_at(year).unwrap();
    assert_eq!(engine.stats().memories, [0, 0, STORED]);
    assert_complete(&engine, STORED);
}

#[derive(Clone, Debug)]
enum Step {
    Store { created: i64 },
    Recall(prop::sample::Index),
    Consolidate { at: i64 },
    Forget(prop::sample::Index),
}

/// Times of a wrong clock, including times before 1970 and the extremes of the type.
fn moments() -> impl Strategy<Value = i64> {
    let now = Timestamp::now().0;
    prop_oneof![
        4 => (-800i64..800).prop_map(move |days| now + days * DAY),
        1 => (-40_000i64..0).prop_map(|days| days * DAY),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), Just(-1)],
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => moments().prop_map(|created| Step::Store { created }),
        2 => any::<prop::sample::Index>().prop_map(Step::Recall),
        2 => moments().prop_map(|at| Step::Consolidate { at }),
        1 => any::<prop::sample::Index>().prop_map(Step::Forget),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_clock_that_jumps_loses_nothing_and_tiers_keep_to_their_sizes(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), tiny()).unwrap();
        let (mut model, mut number) = (BTreeMap::<MemoryId, (i64, usize)>::new(), 0);
        for step in steps {
            let one = |which: prop::sample::Index| {
                let at = (!model.is_empty()).then(|| which.index(model.len()))?;
                model.iter().nth(at).map(|(&id, &(_, number))| (id, number))
            };
            match step {
                Step::Store { created } => {
                    let memory = NewMemory::new(note(&word(number))).created(Timestamp(created));
                    model.insert(engine.store(memory).unwrap().id, (created, number));
                    number += 1;
                }
                Step::Recall(which) => if let Some((id, number)) = one(which) {
                    let query = Query::text(word(number)).limit(1);
                    prop_assert_eq!(engine.recall(&query).unwrap().hits[0].memory.id, id);
                },
                Step::Consolidate { at } => {
                    engine.consolidate_at(Timestamp(at)).unwrap();
                    let [hot, warm, _] = engine.stats().memories;
                    prop_assert!(hot <= 8 && warm <= 16, "{} in HOT, {} in WARM", hot, warm);
                }
                Step::Forget(which) => if let Some((id, _)) = one(which) {
                    prop_assert!(engine.forget(id).unwrap());
                    model.remove(&id);
                },
            }
        }
        let check = |engine: &Engine| {
            let all = everything(engine, &Namespace::default());
            let expected: Vec<_> = model.iter().map(|(&id, &(_, number))| (id, note(&word(number)))).collect();
            assert_eq!(all, expected);
            for (&id, &(created, number)) in &model {
                assert_eq!(engine.get(id).unwrap().unwrap().created, Timestamp(created));
                assert_eq!(find(engine, &word(number)).unwrap().0, id);
                if created < i64::MAX {
                    let range = Timestamp(created)..Timestamp(created + 1);
                    let query = Query::text(word(number)).limit(1).created(range);
                    assert_eq!(engine.recall(&query).unwrap().hits[0].memory.id, id);
                }
            }
        };
        check(&engine);
        drop(engine);
        check(&Engine::open(folder.path(), tiny()).unwrap());
    }
}
