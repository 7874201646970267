//! The results of `Engine::repair`: what it recovers, what it reports, and that it does no harm.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_complete, copy, everything, files, files_ending, find, flip, note, spread, tiny, word};
use mnemocore::hdv::Dimension;
use mnemocore::{Engine, Error, MemoryId, Namespace, NewMemory};

/// The journal of a store.
fn journal(folder: &Path) -> PathBuf {
    files_ending(&folder.join("log"), "journal").pop().unwrap()
}

/// Overwrites the journal: none of it is read then.
fn lose_journal(folder: &Path) {
    let journal = journal(folder);
    let length = fs::metadata(&journal).unwrap().len();
    fs::write(&journal, vec![0x55; length as usize]).unwrap();
}

#[test]
fn a_sound_store_loses_nothing_by_a_repair() {
    let folder = tempfile::tempdir().unwrap();
    let engine = spread(folder.path(), 48);
    let forgotten = find(&engine, &word(40)).unwrap().0;
    engine.store(note("q48z")).unwrap();
    engine.forget(forgotten).unwrap();
    engine.store(note(&word(40))).unwrap();
    let stats = engine.stats();
    drop(engine);
    for round in 1..=3 {
        let repair = Engine::repair(folder.path(), tiny()).unwrap();
        assert_eq!(repair.kept, 49);
        assert!(repair.complete && repair.lost.is_empty() && repair.without_vector.is_empty(), "{repair:?}");
        assert!(repair.damaged.is_empty() && repair.renamed.is_empty(), "{repair:?}");
        assert_eq!(repair.set_aside, folder.path().join(format!("log.damaged-{round}")));
        let engine = Engine::open(folder.path(), tiny()).unwrap();
        assert_complete(&engine, 49);
        assert_eq!(engine.stats().memories, stats.memories);
        assert_eq!(engine.get(forgotten).unwrap(), None);
        assert!(engine.repaired_files().is_empty(), "{:?}", engine.repaired_files());
    }
    fs::remove_dir_all(folder.path().join("log.damaged-2")).unwrap();
    assert_complete(&Engine::open(folder.path(), tiny()).unwrap(), 49);
}

#[test]
fn a_repair_that_was_interrupted_is_finished_or_begun_again() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(spread(folder.path(), 48));
    let damaged = copies.path().join("damaged");
    copy(folder.path(), &damaged);
    // Its header, of which there is a copy.
    flip(&files_ending(&damaged.join("segments"), "seg")[0], 60);
    let repaired = copies.path().join("repaired");
    copy(&damaged, &repaired);
    let repair = Engine::repair(&repaired, tiny()).unwrap();
    // While the new log is written, any of its files may be missing.
    let written = files(&repaired.join("log"));
    for some in 0..=written.len() {
        let interrupted = copies.path().join(some.to_string());
        copy(&damaged, &interrupted);
        for file in &written[..some] {
            let target =
                interrupted.join("log.repairing").join(file.strip_prefix(repaired.join("log")).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(file, target).unwrap();
        }
        assert!(matches!(Engine::open(&interrupted, tiny()), Err(Error::Corrupt { .. })));
        assert_eq!(Engine::repair(&interrupted, tiny()).unwrap().kept, 48);
        assert_complete(&Engine::open(&interrupted, tiny()).unwrap(), 48);
        assert!(!interrupted.join("log.repairing").exists() && !interrupted.join("log.repaired").exists());
    }
    // Between two renames.
    let renamed = copies.path().join("renamed");
    copy(&damaged, &renamed);
    copy(&repaired.join("log"), &renamed.join("log.repaired"));
    assert_eq!(Engine::repair(&renamed, tiny()).unwrap().kept, 48);
    // Between the last two.
    fs::rename(repaired.join("log"), repaired.join("log.repaired")).unwrap();
    let again = copies.path().join("again");
    copy(&repaired, &again);
    assert_complete(&Engine::open(&repaired, tiny()).unwrap(), 48);
    assert_eq!(Engine::repair(&again, tiny()).unwrap().kept, repair.kept);
    assert_complete(&Engine::open(&again, tiny()).unwrap(), 48);
}

/// What lists the segments is lost with the journal.
#[test]
fn memories_in_segments_come_back_without_a_journal() {
    for gone in [false, true] {
        // Each namespace has eight memories in HOT, which are packed.
        let (folder, config) = (tempfile::tempdir().unwrap(), tiny().hot_capacity(16));
        let engine = Engine::open(folder.path(), config.clone()).unwrap();
        let spaces = ["ada", "bob"].map(|name| Namespace::new(name).unwrap());
        let memory =
            |number: usize| NewMemory::new(note(&word(number))).namespace(spaces[number % 2].clone());
        engine.store_batch((0..80).map(memory).collect()).unwrap();
        engine.consolidate().unwrap();
        let stats = engine.stats();
        let read = |engine: &Engine, names: &[Namespace]| -> Vec<BTreeSet<(MemoryId, String)>> {
            names.iter().map(|name| everything(engine, name).into_iter().collect()).collect()
        };
        let packed = read(&engine, &spaces);
        // These are in the journal alone, and the forgotten one is marked there.
        let late = engine.store(memory(80)).unwrap().id;
        let forgotten = packed[0].first().unwrap();
        engine.forget(forgotten.0).unwrap();
        drop(engine);
        if gone {
            fs::remove_file(journal(folder.path())).unwrap();
        } else {
            lose_journal(folder.path());
        }
        assert!(matches!(Engine::open(folder.path(), config.clone()), Err(Error::Corrupt { .. })));
        let repair = Engine::repair(folder.path(), config.clone()).unwrap();
        assert_eq!((repair.kept, repair.lost.len(), repair.complete), (80, 0, false));
        let names: Vec<&str> = repair.renamed.iter().map(Namespace::as_str).collect();
        assert_eq!(names, ["recovered-0", "recovered-1"]);
        let engine = Engine::open(folder.path(), config.clone()).unwrap();
        assert_eq!(engine.stats().memories, stats.memories);
        assert_eq!(read(&engine, &repair.renamed), packed, "the forgotten one is back");
        assert!(engine.store(note("later")).unwrap().id > late);
        engine.consolidate().unwrap();
        assert_eq!(engine.stats().total(), 81);
    }
}

/// A store of which nothing but segments is left.
#[test]
fn a_log_that_is_gone_is_refused_and_made_again_from_segments() {
    let folder = tempfile::tempdir().unwrap();
    drop(spread(folder.path(), 48));
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    for made in [false, true] {
        if made {
            fs::create_dir(folder.path().join("log")).unwrap();
        }
        assert!(matches!(Engine::open(folder.path(), tiny()), Err(Error::Corrupt { .. })), "{made}");
    }
    assert_eq!(Engine::repair(folder.path(), tiny()).unwrap().kept, 48);
    assert_eq!(Engine::open(folder.path(), tiny()).unwrap().stats().memories, [8, 16, 24]);
}

#[test]
fn a_damaged_batch_of_a_journal_costs_what_it_holds() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let long = |number: usize| note(&word(number)) + &" and so on".repeat(900);
    let ids: Vec<MemoryId> = (0..6).map(|number| engine.store(long(number)).unwrap().id).collect();
    let killed = copies.path().join("killed");
    copy(folder.path(), &killed);
    let journal = journal(&killed);
    let bytes = fs::read(&journal).unwrap();
    let third = bytes.windows(4).position(|window| window == b"q2z ").unwrap();
    flip(&journal, third);
    let Err(error) = Engine::open(&killed, tiny()) else { panic!("it opens") };
    let message = error.to_string();
    assert!(message.contains(".journal") && message.contains("Engine::repair"), "{message}");
    let repair = Engine::repair(&killed, tiny()).unwrap();
    assert_eq!((repair.kept, repair.damaged), (5, vec![journal]));
    let engine = Engine::open(&killed, tiny()).unwrap();
    for (number, id) in ids.into_iter().enumerate() {
        let text = engine.get(id).unwrap().map(|memory| memory.text);
        assert_eq!(text, (number != 2).then(|| long(number)));
    }
}

/// Before, it cost the whole journal.
#[test]
fn a_damaged_header_of_a_journal_costs_nothing() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = spread(folder.path(), 48);
    for number in 48..60 {
        engine.store(note(&word(number))).unwrap();
    }
    let ada = Namespace::new("ada").unwrap();
    engine.store(NewMemory::new(note("of ada")).namespace(ada.clone())).unwrap();
    for at in 0..56 {
        // The identity may be lost as well.
        for knows in [true, false] {
            let killed = copies.path().join(format!("{at} {knows}"));
            copy(folder.path(), &killed);
            flip(&journal(&killed), at);
            if !knows {
                fs::write(killed.join("log/identity"), "damaged").unwrap();
            }
            assert!(matches!(Engine::open(&killed, tiny()), Err(Error::Corrupt { .. })));
            let damaged = journal(&killed);
            let repair = Engine::repair(&killed, tiny()).unwrap();
            assert_eq!((repair.kept, repair.lost.len(), repair.renamed.len()), (61, 0, 0), "byte {at}");
            assert!(!repair.complete && repair.damaged.contains(&damaged), "{repair:?}");
            let engine = Engine::open(&killed, tiny()).unwrap();
            (0..60).for_each(|number| assert!(find(&engine, &word(number)).is_some(), "byte {at}"));
            assert_eq!(everything(&engine, &ada).len(), 1);
            fs::remove_dir_all(killed).unwrap();
        }
    }
}

/// Before, second names of them stayed in the log's folder, with texts that were forgotten later.
#[test]
fn a_repair_that_was_interrupted_leaves_segments_where_they_were() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(spread(folder.path(), 48));
    let damaged = copies.path().join("damaged");
    copy(folder.path(), &damaged);
    let segment = files_ending(&damaged.join("segments"), "seg").remove(0);
    flip(&segment, 60);
    let content = fs::read(&segment).unwrap();
    // The damaged segment was set aside, and nothing else was done.
    let aside = damaged.join("log/segments");
    fs::create_dir(&aside).unwrap();
    fs::rename(&segment, aside.join(segment.file_name().unwrap())).unwrap();
    copy(&damaged.join("log"), &damaged.join("log.repaired"));
    let again = copies.path().join("again");
    copy(&damaged, &again);
    assert!(matches!(Engine::open(&damaged, tiny()), Err(Error::Corrupt { .. })));
    assert!(!aside.exists());
    assert_eq!(fs::read(segment).unwrap(), content);
    for store in [&damaged, &again] {
        assert_eq!(Engine::repair(store, tiny()).unwrap().kept, 48);
        assert_complete(&Engine::open(store, tiny()).unwrap(), 48);
        assert!(!store.join("log/segments").exists() && !store.join("log.repaired").exists());
    }
}

#[test]
fn what_cannot_be_repaired_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let engine = spread(&store, 10);
    assert!(matches!(Engine::repair(&store, tiny()), Err(Error::Locked { .. })));
    drop(engine);
    let before = files(&store);
    let other = tiny().dimension(Dimension::new(1024).unwrap());
    let refused = Engine::repair(&store, other);
    assert!(
        matches!(refused, Err(Error::Incompatible { what: "dimension", expected: 512, .. })),
        "{refused:?}"
    );
    assert_eq!(files(&store), before);
    assert_complete(&Engine::open(&store, tiny()).unwrap(), 10);
    let foreign = folder.path().join("foreign");
    fs::create_dir_all(foreign.join("log")).unwrap();
    fs::write(foreign.join("log/today.txt"), "server started").unwrap();
    assert!(matches!(Engine::repair(&foreign, tiny()), Err(Error::NotAStore { .. })));
    assert_eq!(files(&foreign).len(), 1);
    assert!(matches!(Engine::repair("s3://bucket/agents", tiny()), Err(Error::InvalidConfig { .. })));
    assert!(matches!(Engine::repair(folder.path().join("nothing"), tiny()), Err(Error::Io { .. })));
}

/// Files are damaged while an engine reads them.
#[test]
fn a_record_that_is_damaged_under_an_open_engine_is_an_error_that_names_the_segment() {
    let folder = tempfile::tempdir().unwrap();
    let engine = spread(folder.path(), 200);
    let ids: Vec<MemoryId> =
        everything(&engine, &Namespace::default()).into_iter().map(|(id, _)| id).collect();
    for file in files_ending(&folder.path().join("segments"), "seg") {
        let bytes = fs::read(&file).unwrap();
        // In place, because an open file keeps its content if another file replaces its name.
        use std::os::unix::fs::FileExt;
        let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
        let texts = bytes.windows(8).enumerate().filter(|(_, window)| *window == b" journal");
        texts.for_each(|(at, _)| open.write_all_at(&[0xa5], at as u64).unwrap());
    }
    let mut errors = 0;
    for id in ids {
        match engine.get(id) {
            Ok(memory) => assert!(memory.is_some()),
            Err(error) => {
                assert!(
                    matches!(&error, Error::Corrupt { path, .. } if path.to_str().is_some_and(|path| path.starts_with("segment"))),
                    "{error:?}"
                );
                errors += 1;
            }
        }
    }
    println!("{errors} errors");
    // All of WARM, and some blocks of COLD; HOT is in RAM.
    assert!((16..192).contains(&errors), "{errors}");
}

/// Before, closing the store gave it a checksum that is right.
#[test]
fn a_text_that_is_damaged_in_the_journal_is_never_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let text = note("q1z") + &" and the dose is 100 milligrams".repeat(4);
    let id = engine.store(text.as_str()).unwrap().id;
    engine.store(note("q2z")).unwrap();
    let path = journal(folder.path());
    let at = fs::read(&path).unwrap().windows(4).position(|window| window == b" 100").unwrap();
    // In place, as a disk does it.
    use std::os::unix::fs::FileExt;
    fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b" 900", at as u64).unwrap();
    assert!(matches!(engine.compact(), Err(Error::Corrupt { .. })));
    assert!(matches!(engine.close(), Err(Error::Corrupt { .. })));
    assert!(matches!(Engine::open(folder.path(), tiny()), Err(Error::Corrupt { .. })));
    let repair = Engine::repair(folder.path(), tiny()).unwrap();
    assert_eq!((repair.kept, repair.complete), (1, false));
    assert_eq!(Engine::open(folder.path(), tiny()).unwrap().get(id).unwrap(), None);
}

/// A power loss may bring back a journal that was replaced.
#[test]
fn of_an_older_journal_a_repair_says_that_it_is_not_all() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    for number in 0..20 {
        engine.store(note(&word(number))).unwrap();
    }
    let older = journal(folder.path());
    let bytes = fs::read(&older).unwrap();
    engine.compact().unwrap();
    for number in 20..40 {
        engine.store(note(&word(number))).unwrap();
    }
    engine.consolidate().unwrap();
    drop(engine);
    lose_journal(folder.path());
    fs::write(older, bytes).unwrap();
    let repair = Engine::repair(folder.path(), tiny()).unwrap();
    assert!(!repair.complete && repair.kept >= 20 + 16, "{repair:?}");
    assert_eq!(Engine::open(folder.path(), tiny()).unwrap().stats().total(), repair.kept);
}

/// Before, it took the place of a log that was lost much later.
#[test]
fn the_log_of_an_interrupted_repair_goes_with_the_next_opening() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(spread(folder.path(), 10));
    let repaired = copies.path().join("repaired");
    copy(folder.path(), &repaired);
    Engine::repair(&repaired, tiny()).unwrap();
    copy(&repaired.join("log"), &folder.path().join("log.repaired"));
    let engine = spread(folder.path(), 50);
    drop(engine);
    assert!(!folder.path().join("log.repaired").exists());
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    assert!(matches!(Engine::open(folder.path(), tiny()), Err(Error::Corrupt { .. })));
    assert_eq!(Engine::repair(folder.path(), tiny()).unwrap().kept, 60);
}
