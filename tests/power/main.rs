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
mod refusal;
mod repair;
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

/// A power loss.
#[derive(Clone)]
struct Loss {
    /// Operations until then.
    moment: usize,
    names: Names,
    random: Rng,
}

impl Loss {
    fn random(run: &Run, random: &mut Rng) -> Self {
        let names = if random.bool() { Names::InOrder } else { Names::Alone };
        Self { moment: run.moment(random), names, random: random.fork() }
    }

    /// Puts into `folder` what it leaves, each time the same.
    fn leave(&self, run: &Run, folder: &Path) {
        disk::leave(&run.ops[..self.moment], self.names, &mut self.random.clone(), folder);
    }

    /// Opens what it leaves and looks at it; returns what is there.
    fn check(&self, run: &Run, go_on: bool) -> Contents {
        let folder = tempfile::tempdir().unwrap();
        self.leave(run, folder.path());
        let store = folder.path().join("store");
        let open = || {
            let engine = Engine::open(&store, work::config(Durability::Synced));
            engine.unwrap_or_else(|error| panic!("{error}"))
        };
        let engine = open();
        let left = run.check(&engine, self.moment);
        if go_on {
            let id = engine.store(NewMemory::new("What comes later")).unwrap().id;
            assert!(!left.used.contains(&id), "id {id} was given again");
            engine.close().unwrap();
            let engine = open();
            assert_eq!(engine.get(id).unwrap().unwrap().text, "What comes later");
            engine.forget(id).unwrap();
            left.check(&engine);
        }
        left
    }
}

#[derive(Default)]
struct Counts {
    losses: u64,
    /// With each name for itself.
    alone: u64,
    failures: u64,
    runs: u64,
    acknowledged: usize,
    calls: usize,
}

impl Counts {
    /// Loses power up to `losses` times within a run; returns one of them, with
    /// what was there then.
    fn lose(&mut self, run: &Run, seed: u64, losses: u64) -> Option<(Loss, Contents)> {
        self.runs += 1;
        self.acknowledged += run.acknowledged();
        self.calls += run.ops.len();
        let (mut random, mut last) = (Rng::with_seed(seed), None);
        for _ in 0..losses {
            let loss = Loss::random(run, &mut random);
            let go_on = random.u8(0..4) == 0;
            self.losses += 1;
            self.alone += u64::from(loss.names == Names::Alone);
            match catch_unwind(AssertUnwindSafe(|| loss.check(run, go_on))) {
                Ok(contents) => last = Some((loss, contents)),
                Err(_) => {
                    let (moment, all, names) = (loss.moment, run.ops.len(), loss.names);
                    eprintln!("that was in run {seed}, after {moment} of {all} calls, names {names:?}");
                    self.failures += 1;
                }
            }
        }
        last
    }
}

#[test]
fn what_is_synced_survives_every_power_loss_and_nothing_is_there_by_half() {
    let _alone = alone();
    let (losses, first) = (number("MNEMO_POWER_LOSSES", 150), number("MNEMO_POWER_FIRST", 1));
    let mut counts = Counts::default();
    while counts.losses < losses {
        let mut before: Option<(Run, Loss, Contents)> = None;
        for _ in 0..RUNS_PER_STORE {
            let folder = tempfile::tempdir().unwrap();
            // It begins with what the last power loss has left.
            let contents = before.take().map(|(run, loss, contents)| {
                loss.leave(&run, folder.path());
                contents
            });
            let seed = first * 1_000_000 + counts.runs;
            let run = work::record(folder.path(), contents.unwrap_or_default(), seed, OPERATIONS_PER_RUN);
            let Some((loss, contents)) = counts.lose(&run, seed, LOSSES_PER_RUN.min(losses - counts.losses))
            else {
                break;
            };
            before = Some((run, loss, contents));
            if counts.losses == losses {
                break;
            }
        }
    }
    let Counts { losses: done, alone, failures, runs, acknowledged, calls } = counts;
    println!(
        "{done} power losses, {alone} of them with each name for itself, in {runs} runs of {acknowledged} \
         acknowledged operations and {calls} calls"
    );
    assert_eq!(failures, 0, "power losses that the store did not survive");
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
    assert!(real.keys().any(|name| name.ends_with(".seg")), "nothing went to COLD");
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
