//! The results of `Engine::repair`: what it recovers, what it reports, and that it does no harm.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::{assert_complete, copy, everything, files, files_ending, find, flip, note, spread, tiny, word};
use mnemocore::hdv::Dimension;
use mnemocore::{Engine, Error, MemoryId, Namespace, NewMemory, Query};

/// The folder of one of the log's tables, numbered as they are made.
fn table(folder: &Path, number: usize) -> std::path::PathBuf {
    folder.join(format!("log/keyspaces/{number}"))
}

const RECORDS: usize = 1;
const CATALOGUE: usize = 3;

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
    flip(&damaged.join("log/version"), 0);
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
                interrupted.join("log.repaired").join(file.strip_prefix(repaired.join("log")).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(file, target).unwrap();
        }
        assert!(matches!(Engine::open(&interrupted, tiny()), Err(Error::Corrupt { .. })));
        assert_eq!(Engine::repair(&interrupted, tiny()).unwrap().kept, 48);
        assert_complete(&Engine::open(&interrupted, tiny()).unwrap(), 48);
        assert!(!interrupted.join("log.repaired").exists());
    }
    // Between the two renames.
    fs::rename(repaired.join("log"), repaired.join("log.repaired")).unwrap();
    let again = copies.path().join("again");
    copy(&repaired, &again);
    assert_complete(&Engine::open(&repaired, tiny()).unwrap(), 48);
    assert_eq!(Engine::repair(&again, tiny()).unwrap().kept, repair.kept);
    assert_complete(&Engine::open(&again, tiny()).unwrap(), 48);
}

#[test]
fn memories_in_segments_come_back_from_there_and_others_are_named_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let engine = spread(folder.path(), 60);
    for number in [0, 20, 59] {
        let id = find(&engine, &word(number)).unwrap().0;
        assert!(engine.forget(id).unwrap());
    }
    let packed = everything(&engine, &Namespace::default());
    // Some of those in HOT move to WARM, where they are in no file.
    let late = (60..65).map(|number| NewMemory::new(note(&word(number)))).collect();
    let late: Vec<MemoryId> = engine.store_batch(late).unwrap().iter().map(MemoryId::from).collect();
    drop(engine);
    fs::remove_dir_all(table(folder.path(), RECORDS)).unwrap();
    assert!(matches!(Engine::open(folder.path(), tiny()), Err(Error::Corrupt { .. })));
    let repair = Engine::repair(folder.path(), tiny()).unwrap();
    assert_eq!(repair.lost, late);
    assert_eq!(repair.kept, packed.len());
    assert!(!repair.complete);
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    assert_eq!(everything(&engine, &Namespace::default()), packed);
    for (id, text) in packed {
        assert_eq!(engine.get(id).unwrap().unwrap().text, text);
    }
}

#[test]
fn a_catalogue_that_is_gone_costs_standings_and_names_alone() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let spaces = ["ada", "bob"].map(|name| Namespace::new(name).unwrap());
    let mut newest = MemoryId(0);
    for number in 0..40 {
        let memory = NewMemory::new(note(&word(number))).namespace(spaces[number % 2].clone());
        newest = engine.store(memory).unwrap().id;
    }
    engine.consolidate().unwrap();
    engine.forget(newest).unwrap();
    drop(engine);
    fs::remove_dir_all(table(folder.path(), CATALOGUE)).unwrap();
    let repair = Engine::repair(folder.path(), tiny()).unwrap();
    assert_eq!((repair.kept, repair.lost.len(), repair.complete), (39, 0, false));
    let names: Vec<&str> = repair.renamed.iter().map(Namespace::as_str).collect();
    assert_eq!(names, ["recovered-0", "recovered-1"]);
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    for (at, namespace) in repair.renamed.iter().enumerate() {
        let found: BTreeSet<String> =
            everything(&engine, namespace).into_iter().map(|(_, text)| text).collect();
        let stored = (at..39).step_by(2).map(|number| note(&word(number))).collect();
        assert_eq!(found, stored);
    }
    assert_eq!(engine.get(newest).unwrap(), None);
    assert!(engine.store(note("later")).unwrap().id > newest);
    engine.consolidate().unwrap();
    assert_eq!(engine.stats().total(), 40);
}

#[test]
fn vectors_that_are_gone_leave_memories_that_are_found_by_their_text() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny().hot_capacity(100)).unwrap();
    let embedding =
        |number: usize| (0..8).map(|at| ((number * 7 + at * 3) % 11) as f32 - 5.0).collect::<Vec<f32>>();
    let memory = |number: usize| NewMemory::new(note(&word(number))).embedding(embedding(number));
    let stored = engine.store_batch((0..6).map(memory).collect()).unwrap();
    let ids: Vec<MemoryId> = stored.iter().map(MemoryId::from).collect();
    drop(engine);
    fs::remove_dir_all(table(folder.path(), 2)).unwrap();
    let repair = Engine::repair(folder.path(), tiny()).unwrap();
    assert_eq!((repair.kept, repair.without_vector), (6, ids));
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    assert_complete(&engine, 6);
    engine.recall(Query::embedding(embedding(3))).unwrap();
    engine.store(memory(6)).unwrap();
}

/// Long values are compressed in the journal.
#[test]
fn long_texts_behind_a_damaged_batch_of_a_journal_are_kept() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let long = |number: usize| note(&word(number)) + &" and so on".repeat(900);
    let ids: Vec<MemoryId> = (0..6).map(|number| engine.store(long(number)).unwrap().id).collect();
    let killed = copies.path().join("killed");
    copy(folder.path(), &killed);
    let journal = files_ending(&killed.join("log"), "jnl").remove(0);
    let bytes = fs::read(&journal).unwrap();
    let third = bytes.windows(4).position(|window| window == b"q2z ").unwrap();
    flip(&journal, third);
    let Err(error) = Engine::open(&killed, tiny()) else { panic!("it opens") };
    let message = error.to_string();
    assert!(message.contains("0.jnl") && message.contains("Engine::repair"), "{message}");
    let repair = Engine::repair(&killed, tiny()).unwrap();
    assert_eq!((repair.kept, repair.damaged), (5, vec![journal]));
    let engine = Engine::open(&killed, tiny()).unwrap();
    for (number, id) in ids.into_iter().enumerate() {
        let text = engine.get(id).unwrap().map(|memory| memory.text);
        assert_eq!(text, (number != 2).then(|| long(number)));
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
    assert!(matches!(Engine::repair(folder.path().join("nothing"), tiny()), Err(Error::Io { .. })));
}

/// The tables of the log are damaged while an engine reads them.
#[test]
fn a_record_that_is_damaged_under_an_open_engine_is_an_error_that_names_the_log() {
    let folder = tempfile::tempdir().unwrap();
    drop(spread(folder.path(), 200));
    let engine = Engine::open(folder.path(), tiny().log_cache_bytes(0)).unwrap();
    let ids: Vec<MemoryId> =
        everything(&engine, &Namespace::default()).into_iter().map(|(id, _)| id).collect();
    for file in files(&table(folder.path(), RECORDS).join("tables")) {
        let length = fs::metadata(&file).unwrap().len() as usize;
        // In place, because an open file keeps its content if another file replaces its name.
        use std::os::unix::fs::FileExt;
        let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
        (0..length).step_by(100).for_each(|at| open.write_all_at(&[0xa5], at as u64).unwrap());
    }
    let mut errors = 0;
    for id in ids {
        match engine.get(id) {
            Ok(memory) => assert!(memory.is_some()),
            Err(error) => {
                assert!(matches!(&error, Error::Corrupt { path, .. } if path.ends_with("log")), "{error:?}");
                errors += 1;
            }
        }
    }
    println!("{errors} errors");
    assert!(errors > 100, "{errors}");
}

/// Before, the next opening deleted them.
#[test]
fn segments_that_the_log_does_not_list_any_more_are_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    drop(spread(folder.path(), 60));
    let segments = files_ending(&folder.path().join("segments"), "seg");
    assert!(!segments.is_empty());
    for name in [RECORDS, CATALOGUE] {
        fs::remove_dir_all(table(folder.path(), name)).unwrap();
    }
    let repair = Engine::repair(folder.path(), tiny()).unwrap();
    assert!(!repair.complete);
    let aside: Vec<_> = files_ending(&repair.set_aside.join("segments"), "seg");
    assert_eq!(aside.len(), segments.len(), "{aside:?}");
    assert_eq!(Engine::open(folder.path(), tiny()).unwrap().stats().total(), repair.kept);
}
