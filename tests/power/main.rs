//! The power fails at any moment: what was acknowledged as `Synced` must be there
//! again, and of everything else nothing by half.
//!
//! A run is recorded call by call; from the record the disk is made as a power
//! loss may have left it, which drops, shortens and tears what was not synced.
//!
//! `MNEMO_POWER_LOSSES=2000 cargo test --test power` has more of them.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod trace;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use disk::Names;
use fastrand::Rng;
use mnemocore::{Durability, Engine, NewMemory};
use work::{Contents, Run};

/// Power losses within one run, and runs of one store.
const LOSSES_PER_RUN: u64 = 15;
const RUNS_PER_STORE: u64 = 3;
const OPERATIONS_PER_RUN: u64 = 100;

/// One folder is watched at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

/// All paths below `folder`, with the contents of files.
fn contents(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found
                .extend(contents(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
            found.insert(name, None);
        } else {
            found.insert(name, Some(fs::read(path).unwrap()));
        }
    }
    found
}

/// One power loss: builds the disk, opens what is left, and looks at it. Returns
/// what it holds.
fn lose_power(run: &Run, moment: usize, names: Names, random: &mut Rng) -> Contents {
    let folder = tempfile::tempdir().unwrap();
    disk::leave(&run.ops[..moment], names, random, folder.path());
    let store = folder.path().join("store");
    let engine =
        Engine::open(&store, work::config(Durability::Synced)).unwrap_or_else(|error| panic!("{error}"));
    let left = run.check(&engine, moment);
    // It goes on: what is stored now is kept, and no id is given again.
    if random.u8(0..4) == 0 {
        let id = engine.store(NewMemory::new("What comes later")).unwrap();
        assert!(!left.used.contains(&id), "id {id} was given again");
        engine.close().unwrap();
        let engine = Engine::open(&store, work::config(Durability::Synced)).unwrap();
        assert_eq!(engine.get(id).unwrap().unwrap().text, "What comes later");
        engine.forget(id).unwrap();
        left.check(&engine);
    }
    left
}

#[test]
fn what_is_synced_survives_every_power_loss_and_nothing_is_there_by_half() {
    let _alone = alone();
    let (losses, first) = (number("MNEMO_POWER_LOSSES", 150), number("MNEMO_POWER_FIRST", 1));
    let (mut done, mut failed, mut runs, mut acknowledged, mut ops, mut alone) = (0, 0, 0, 0, 0, 0);
    while done < losses {
        let (mut before, mut left) = (Contents::default(), None);
        for _ in 0..RUNS_PER_STORE.min((losses - done).div_ceil(LOSSES_PER_RUN)) {
            let seed = first * 1_000_000 + runs;
            runs += 1;
            let folder = tempfile::tempdir().unwrap();
            if let Some((run, moment, names, mut random)) = left.take() {
                let run: Run = run;
                disk::leave(&run.ops[..moment], names, &mut random, folder.path());
            }
            let run = work::record(folder.path(), before.clone(), seed, OPERATIONS_PER_RUN);
            acknowledged += run.acknowledged();
            ops += run.ops.len();
            let mut random = Rng::with_seed(seed);
            let mut next = None;
            for _ in 0..LOSSES_PER_RUN.min(losses - done) {
                done += 1;
                let moment = run.moment(&mut random);
                let names = if random.bool() { Names::InOrder } else { Names::Alone };
                alone += u64::from(names == Names::Alone);
                let as_it_was = random.clone();
                let lost = catch_unwind(AssertUnwindSafe(|| lose_power(&run, moment, names, &mut random)));
                if let Ok(contents) = lost {
                    next = Some((contents, moment, names, as_it_was));
                } else {
                    eprintln!("in run {seed}, after {moment} of {} calls, names {names:?}", run.ops.len());
                    failed += 1;
                }
            }
            // The next run begins with what the last power loss has left.
            let Some((contents, moment, names, random)) = next else { break };
            before = contents;
            left = Some((run, moment, names, random));
        }
    }
    println!(
        "{done} power losses ({alone} with each name for itself) in {runs} runs of {acknowledged} acknowledged \
         operations and {ops} calls"
    );
    assert_eq!(failed, 0, "power losses that the store did not survive");
    assert!(acknowledged as u64 > losses, "the engines hardly did anything");
}

/// Guards the record: a call that bypassed it would be missing.
#[test]
fn the_record_makes_the_same_folder_byte_for_byte() {
    let _alone = alone();
    let (real, made) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = work::record(real.path(), Contents::default(), 7, OPERATIONS_PER_RUN);
    let names = |run: &Run| run.ops.iter().filter(|op| matches!(op, trace::Op::Rename { .. })).count();
    assert!(names(&first) > 10, "the renames of other crates bypass the record");
    // A second one, which begins with a folder that is not empty.
    let left = first.check_at_its_end(real.path());
    let second = work::record(real.path(), left, 8, OPERATIONS_PER_RUN);
    disk::replay(&second.ops, made.path());
    let (real, made) = (contents(real.path()), contents(made.path()));
    assert_eq!(made.keys().collect::<Vec<_>>(), real.keys().collect::<Vec<_>>());
    for (name, bytes) in &real {
        assert!(made[name] == *bytes, "{name} differs");
    }
    println!("{} files and folders, {} and {} calls", real.len(), first.ops.len(), second.ops.len());
}

/// Guards the model of the disk, by a file of each kind.
#[test]
fn what_is_not_synced_is_dropped_shortened_and_torn() {
    let _alone = alone();
    let real = tempfile::tempdir().unwrap();
    trace::start(real.path());
    let safe = File::create(real.path().join("safe")).unwrap();
    (&safe).write_all(&[1; 1_000]).unwrap();
    safe.sync_data().unwrap();
    File::open(real.path()).unwrap().sync_all().unwrap();
    safe.write_all_at(&[2; 1_000], 500).unwrap();
    // Its content is synced, its name is not.
    let nameless = File::create(real.path().join("nameless")).unwrap();
    (&nameless).write_all(b"whole").unwrap();
    nameless.sync_all().unwrap();
    fs::write(real.path().join("loose"), [3; 10_000]).unwrap();
    fs::rename(real.path().join("loose"), real.path().join("renamed")).unwrap();
    let ops = trace::stop();
    let mut random = Rng::with_seed(3);
    for names in [Names::InOrder, Names::Alone] {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for _ in 0..400 {
            let made = tempfile::tempdir().unwrap();
            disk::leave(&ops, names, &mut random, made.path());
            let left = contents(made.path());
            let safe = left["safe"].as_ref().unwrap();
            assert!(safe.len() >= 1_000 && safe[..500] == [1; 500], "what was synced is lost");
            seen.insert(match safe[500..].iter().filter(|&&byte| byte == 2).count() {
                0 => "dropped",
                1_000 => "kept",
                _ => "torn",
            });
            match left.get("nameless").map(|bytes| bytes.as_deref()) {
                Some(bytes) => assert_eq!(bytes, Some(b"whole".as_slice())),
                None => drop(seen.insert("a name lost")),
            }
            seen.extend(left.contains_key("loose").then_some("not renamed"));
            let renamed = left.get("renamed").and_then(Option::as_ref);
            seen.extend(renamed.map(|bytes| match bytes.iter().filter(|&&byte| byte == 3).count() {
                0 if bytes.is_empty() => "empty",
                0 => "zeros",
                10_000 => "whole",
                kept if kept == bytes.len() => "shortened",
                _ => "holes",
            }));
        }
        let mut expected = BTreeSet::from([
            "dropped",
            "kept",
            "torn",
            "not renamed",
            "empty",
            "zeros",
            "whole",
            "shortened",
            "holes",
        ]);
        expected.extend((names == Names::Alone).then_some("a name lost"));
        assert_eq!(seen, expected, "{names:?}");
    }
}
