//! Traces of a forgotten text on the disk, and stores on a full or a read-only disk.

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{assert_complete, files, find, holds, note, spread, tiny, word};
use mnemocore::{Engine, Error, MemoryId, Namespace, NewMemory, Query};

/// Incompressible words, so that a search of bytes finds them.
fn secret(random: &mut fastrand::Rng) -> String {
    std::iter::repeat_with(|| random.alphanumeric()).take(40).collect()
}

/// Returns the file below `folder` that contains `text`, plain or compressed.
fn holder(folder: &Path, text: &str) -> Option<PathBuf> {
    files(folder).into_iter().find(|path| holds(path, text))
}

#[test]
fn after_forget_and_compact_the_text_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let secrets: Vec<String> = (0..60).map(|_| secret(&mut random)).collect();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let memory =
        |secret: &String| NewMemory::new(format!("The journal says {secret} today")).metadata("k", secret);
    engine.store_batch(secrets.iter().map(memory).collect()).unwrap();
    engine.consolidate().unwrap();
    drop(engine);
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let name = Namespace::new(secret(&mut random)).unwrap();
    let someone = engine.store(NewMemory::new(note("someone")).namespace(name.clone())).unwrap().id;
    let mut tiers = HashMap::new();
    for (number, secret) in secrets.iter().enumerate() {
        let (id, _) = find(&engine, secret).unwrap();
        tiers.entry(engine.get(id).unwrap().unwrap().tier).or_insert((number, id));
    }
    assert_eq!(tiers.len(), 3);
    for (&tier, &(number, id)) in &tiers {
        let found = holder(folder.path(), &secrets[number]);
        assert!(found.is_some(), "the search of files finds nothing of {tier}");
        assert!(engine.forget(id).unwrap());
        assert!(find(&engine, &secrets[number]).is_none(), "{tier}");
    }
    assert!(holder(folder.path(), name.as_str()).is_some(), "the search of files finds no name");
    assert!(engine.forget(someone).unwrap());
    engine.compact().unwrap();
    assert_eq!(holder(folder.path(), name.as_str()), None, "the name of an empty namespace");
    for (tier, (number, _)) in &tiers {
        assert_eq!(holder(folder.path(), &secrets[*number]), None, "{tier}");
    }
    for (number, secret) in secrets.iter().enumerate() {
        let gone = tiers.values().any(|&(other, _)| other == number);
        assert_eq!(find(&engine, secret).is_some(), !gone);
    }
    drop(engine);
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    assert_eq!(engine.stats().total(), secrets.len() - 3);
}

/// Before, the segment was left as it was if thousands were forgotten that had been accessed.
#[test]
fn after_forget_and_compact_no_file_holds_any_of_many_texts() {
    const COUNT: usize = 6_000;
    let folder = tempfile::tempdir().unwrap();
    let open = || Engine::open(folder.path(), tiny().hot_capacity(COUNT)).unwrap();
    let engine = open();
    let memories = (0..COUNT).map(|number| NewMemory::new(note(&word(number)))).collect();
    let ids: Vec<_> = engine.store_batch(memories).unwrap().iter().map(|stored| stored.id).collect();
    engine.consolidate().unwrap();
    engine.recall(Query::text("journal").limit(COUNT)).unwrap();
    drop(engine);
    let engine = open();
    engine.forget_batch(ids[..5_000].iter().copied()).unwrap();
    engine.compact().unwrap();
    assert_eq!(holder(folder.path(), &note(&word(17))), None);
    assert!(holder(folder.path(), &note(&word(5_017))).is_some());
}

/// A small file system that is unmounted when the value is dropped.
#[cfg(target_os = "linux")]
struct SmallDisk(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Self(folder);
        disk.run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(disk.0.path()));
        disk
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        self.run(Command::new("mount").args(["-o", &options]).arg(self.0.path()));
    }

    fn run(&self, command: &mut Command) {
        assert!(command.status().unwrap().success(), "this test has to run as root");
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "mounts a small disk: unshare --mount cargo test --test disk -- --ignored"]
fn a_full_disk_is_a_typed_error_and_loses_nothing() {
    let disk = SmallDisk::mount("size=24m");
    let config = tiny().hot_capacity(64).warm_capacity(500);
    let engine = Engine::open(disk.path(), config.clone()).unwrap();
    let (mut stored, mut refusals, mut rounds) = (Vec::new(), 0, 0);
    while rounds < 2 {
        let mut random = fastrand::Rng::with_seed(rounds);
        let mut round_refusals = 0;
        while round_refusals < 4 {
            let noise: Vec<String> = (0..200).map(|_| secret(&mut random)).collect();
            let word = word(stored.len() + 100_000 * rounds as usize);
            let text = format!("{} {}", note(&word), noise.join(" "));
            match engine.store(NewMemory::new(&text)) {
                Ok(new) => stored.push((new.id, word, text)),
                Err(Error::NoSpace { .. }) => round_refusals += 1,
                Err(error) => panic!("{error:?} instead of NoSpace after {} memories", stored.len()),
            }
            if random.u8(0..40) == 0 {
                match engine.consolidate() {
                    Ok(_) | Err(Error::NoSpace { .. }) => {}
                    Err(error) => panic!("{error:?} instead of NoSpace"),
                }
            }
        }
        refusals += round_refusals;
        for (id, word, text) in &stored {
            assert_eq!(engine.get(*id).unwrap().unwrap().text, *text, "while the disk is full");
            assert_eq!(find(&engine, word).unwrap().0, *id);
        }
        rounds += 1;
        disk.remount(&format!("size={}m", 24 + 8 * rounds));
        let text = note(&format!("round{rounds}"));
        let id =
            engine.store(text.as_str()).unwrap_or_else(|error| panic!("after room was made: {error:?}")).id;
        stored.push((id, format!("round{rounds}"), text));
    }
    assert_eq!(refusals, 8);
    drop(engine);
    let engine = Engine::open(disk.path(), config).unwrap();
    assert_eq!(engine.stats().total(), stored.len());
    for (id, word, text) in &stored {
        assert_eq!(engine.get(*id).unwrap().unwrap().text, *text);
        assert_eq!(find(&engine, word).unwrap().0, *id);
    }
}

/// Before, a forget and a compaction were refused too, so a store could not free its own space.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "mounts a small disk: unshare --mount cargo test --test disk -- --ignored"]
fn on_a_full_disk_memories_can_be_forgotten_and_compacted_until_others_fit() {
    // If nothing is packed, the log has to be written again in the room that is kept.
    for (seed, words, moves, kept_share) in
        [(1, 60, true, 0.7), (2, 8, true, 0.7), (3, 300, true, 0.5), (4, 60, false, 0.01)]
    {
        let disk = SmallDisk::mount("size=12m");
        let config = tiny().hot_capacity(64).warm_capacity(500);
        let engine = Engine::open(disk.path(), config.clone()).unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut kept = fill(&engine, &mut random, words, moves);
        for round in 0..3 {
            let case = format!("case {seed}, round {round}");
            random.shuffle(&mut kept);
            let gone = kept.split_off((kept.len() as f64 * kept_share) as usize);
            let (alone, together) = gone.split_at(20.min(gone.len()));
            for some in alone.chunks(1).chain(together.chunks(100)) {
                let forget = || engine.forget_batch(some.iter().map(|(id, _)| *id));
                let forgotten = match forget() {
                    // Forgets may use half of the reserve. A compaction frees more room.
                    Err(Error::NoSpace { .. }) if some.len() > 1 => {
                        engine.compact().unwrap_or_else(|error| panic!("{case}: {error:?}"));
                        forget()
                    }
                    forgotten => forgotten,
                };
                let count = forgotten.unwrap_or_else(|error| panic!("{case}: {error:?}")).len();
                assert_eq!(count, some.len());
            }
            engine.compact().unwrap_or_else(|error| panic!("{case}: {error:?}"));
            for (_, text) in gone.iter().take(20) {
                assert_eq!(holder(&disk.path(), first_word(text)), None, "{case}");
            }
            let added = fill(&engine, &mut random, words, moves);
            assert!(added.len() > gone.len() / 2, "{case}: {} after {} had gone", added.len(), gone.len());
            kept.extend(added);
            for (id, text) in &kept {
                assert_eq!(engine.get(*id).unwrap().unwrap().text, *text, "{case}");
            }
        }
        drop(engine);
        let engine = Engine::open(disk.path(), config).unwrap();
        assert_eq!(engine.stats().total(), kept.len());
        for (id, text) in &kept {
            assert_eq!(engine.get(*id).unwrap().unwrap().text, *text, "case {seed}");
        }
    }
}

/// The first of its random words.
#[cfg(target_os = "linux")]
fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap()
}

/// Stores texts of so many random words until the disk is full for good.
#[cfg(target_os = "linux")]
fn fill(engine: &Engine, random: &mut fastrand::Rng, words: usize, moves: bool) -> Vec<(MemoryId, String)> {
    let mut stored = Vec::new();
    let mut refused = 0;
    while refused < 3 {
        let words: Vec<String> = (0..words).map(|_| secret(random)).collect();
        let text = words.join(" ");
        match engine.store(text.as_str()) {
            Ok(new) => {
                stored.push((new.id, text));
                if moves
                    && stored.len() % 300 == 0
                    && !matches!(engine.consolidate(), Ok(_) | Err(Error::NoSpace { .. }))
                {
                    panic!("neither consolidated nor full");
                }
            }
            Err(Error::NoSpace { .. }) => {
                refused += 1;
                let consolidated = engine.consolidate();
                assert!(matches!(consolidated, Ok(_) | Err(Error::NoSpace { .. })), "{consolidated:?}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    stored
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "mounts a small disk: unshare --mount cargo test --test disk -- --ignored"]
fn a_read_only_disk_is_a_typed_error_and_harms_nothing() {
    let disk = SmallDisk::mount("size=24m");
    drop(spread(&disk.path(), 48));
    disk.remount("ro");
    let opened = Engine::open(disk.path(), tiny());
    assert!(matches!(opened, Err(Error::Io { .. })), "{:?}", opened.err());
    disk.remount("rw");
    assert_complete(&Engine::open(disk.path(), tiny()).unwrap(), 48);
}
