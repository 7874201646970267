//! Guarantees after a clean close, after a torn write of the journal, and for a second process that
//! opens the store.

mod common;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{assert_complete, copy, everything, files, files_ending, find, flip, note, spread, tiny, word};
use mnemocore::hdv::Dimension;
use mnemocore::{Engine, Error, Memory, MemoryId, Namespace, NewMemory, Query, TierKind, Timestamp};

fn embedding(seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..24).map(|_| random.f32() - 0.5).collect()
}

fn days_from_now(days: i64) -> Timestamp {
    Timestamp(Timestamp::now().0 + days * 86_400_000)
}

#[test]
fn a_clean_close_restores_every_memory_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let namespaces = ["ada", "bob", "eve"].map(|name| Namespace::new(name).unwrap());
    let now = Timestamp::now();
    let memory = |number: usize| {
        NewMemory::new(note(&word(number)))
            .namespace(namespaces[number % 3].clone())
            .metadata("parity", if number.is_multiple_of(2) { "even" } else { "odd" })
            .created(Timestamp(now.0 - number as i64))
            .importance(1.0 + number as f32 / 7.0)
    };
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let ids = engine.store_batch((0..64).map(memory).collect()).unwrap();
    engine.consolidate().unwrap();
    let read =
        |engine: &Engine| -> Vec<Option<Memory>> { ids.iter().map(|&id| engine.get(id).unwrap()).collect() };
    let (before, stats) = (read(&engine), engine.stats());
    assert!(before.iter().all(Option::is_some));
    assert_eq!(stats.memories, [8, 16, 40]);
    drop(engine);

    let engine = Engine::open(folder.path(), tiny()).unwrap();
    assert_eq!(read(&engine), before);
    assert_eq!(engine.stats().memories, stats.memories);
    assert_eq!(engine.stats().namespaces, stats.namespaces);
    for (number, namespace) in (0..64).map(|number| (number, &namespaces[number % 3])) {
        let query = Query::text(word(number)).namespace(namespace.clone()).touch(false).limit(1);
        let parity = if number.is_multiple_of(2) { "even" } else { "odd" };
        let recall = engine.recall(query.clone().metadata("parity", parity)).unwrap();
        assert_eq!(recall.hits[0].memory.text, note(&word(number)));
        assert!(engine.recall(query.metadata("parity", "neither")).unwrap().hits.is_empty());
    }
}

/// An access count shows only in the strength of a memory.
#[test]
fn access_counts_survive_a_clean_close() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny().hot_capacity(100).warm_capacity(100);
    let engine = Engine::open(folder.path(), config.clone()).unwrap();
    for number in 0..20 {
        engine.store(note(&word(number))).unwrap();
    }
    for _ in 0..10 {
        engine.recall(Query::text(word(7)).limit(1)).unwrap();
    }
    drop(engine);
    let engine = Engine::open(folder.path(), config).unwrap();
    engine.consolidate_at(days_from_now(120)).unwrap();
    let (id, _) = find(&engine, &word(7)).unwrap();
    assert_eq!(engine.get(id).unwrap().unwrap().tier, TierKind::Hot);
    assert_eq!(engine.stats().memories, [1, 19, 0]);
}

#[test]
fn memories_are_found_by_their_own_embeddings_in_every_tier_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let memory = |number: u64| NewMemory::new(note(&word(number as usize))).embedding(embedding(number));
    engine.store_batch((0..40).map(memory).collect()).unwrap();
    for number in 40..60 {
        engine.store(memory(number)).unwrap();
    }
    let check = |engine: &Engine, when: &str| {
        for number in 0..60 {
            let query = Query::embedding(embedding(number)).limit(1).touch(false);
            let hit = engine.recall(&query).unwrap().hits.remove(0);
            assert_eq!(hit.memory.text, note(&word(number as usize)), "{when}, in {}", hit.memory.tier);
            assert!(hit.score > 0.99, "{when}: {}", hit.score);
        }
        for number in 0..60 {
            assert_eq!(find(engine, &word(number)).unwrap().1, note(&word(number)), "{when}");
        }
    };
    check(&engine, "before the moves");
    engine.consolidate().unwrap();
    check(&engine, "after the moves");
    drop(engine);
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    check(&engine, "after a restart");
    let other = engine.store(NewMemory::new("another model").embedding(vec![1.0; 25]));
    assert!(matches!(other, Err(Error::Encode(_))), "{other:?}");
    assert!(matches!(engine.recall(Query::embedding(vec![1.0; 25])), Err(Error::Encode(_))));
    assert_eq!(engine.stats().total(), 60);
}

#[test]
fn a_query_or_a_refused_memory_does_not_decide_the_length_of_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    assert!(engine.recall(Query::embedding(vec![1.0; 3])).unwrap().hits.is_empty());
    assert!(engine.store(NewMemory::new("no direction").embedding(vec![f32::NAN; 5])).is_err());
    let refused = vec![NewMemory::new("one").embedding(vec![1.0; 7]), NewMemory::new("")];
    assert!(engine.store_batch(refused).is_err());
    engine.store("a text of no embedding").unwrap();
    engine.store(NewMemory::new(note("q1z")).embedding(embedding(1))).unwrap();
    drop(engine);
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let recall = engine.recall(Query::embedding(embedding(1))).unwrap();
    assert_eq!(recall.hits[0].memory.text, note("q1z"));
}

#[test]
fn ids_are_not_given_again_after_the_newest_was_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = BTreeSet::new();
    for round in 0..5 {
        let engine = Engine::open(folder.path(), tiny()).unwrap();
        for number in 0..3 {
            let id = engine.store(note(&word(round * 3 + number))).unwrap().id;
            assert!(seen.insert(id), "{id} was given twice");
        }
        assert!(engine.forget(*seen.last().unwrap()).unwrap());
        if round % 2 == 0 {
            engine.compact().unwrap();
        }
    }
}

/// Stores one by one, copies the folder as a kill would leave it, and cuts the journal at many
/// places.
#[test]
fn a_journal_cut_anywhere_leaves_a_prefix_of_the_memories() {
    const STORED: usize = 12;
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let ids: Vec<MemoryId> =
        (0..STORED).map(|number| engine.store(note(&word(number))).unwrap().id).collect();
    let killed = copies.path().join("killed");
    copy(folder.path(), &killed);
    let journal = newest_journal(&killed);
    let written = written_bytes(&journal);
    assert!(written > 1_000, "the journal holds {written} bytes");
    let mut lengths = BTreeSet::new();
    let step = (written / 60).max(1);
    for cut in (HEADER..=written).step_by(step).chain([written]) {
        let torn = copies.path().join(format!("torn-{cut}"));
        copy(&killed, &torn);
        OpenOptions::new().write(true).open(newest_journal(&torn)).unwrap().set_len(cut as u64).unwrap();
        let engine = Engine::open(&torn, tiny()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        lengths.insert(assert_prefix(&engine, &ids));
        // The store works on: a new memory is kept, and no id is reused.
        let id = engine.store(note("later")).unwrap().id;
        drop(engine);
        let engine = Engine::open(&torn, tiny()).unwrap();
        assert_eq!(find(&engine, "later").unwrap(), (id, note("later")), "cut at {cut}");
        drop(engine);
        fs::remove_dir_all(&torn).unwrap();
    }
    assert_eq!(lengths.first(), Some(&0));
    assert_eq!(lengths.last(), Some(&STORED));
    assert!(lengths.len() > STORED / 2, "{lengths:?}");
}

/// A power loss may leave a journal without some sectors, even within a memory.
#[test]
fn a_journal_that_lacks_a_sector_anywhere_leaves_a_prefix_of_the_memories() {
    const SECTOR: usize = 512;
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let memory =
        |number: usize| NewMemory::new(note(&word(number))).metadata("ballast", "b".repeat(300 * number));
    let ids: Vec<MemoryId> = (0..12).map(|number| engine.store(memory(number)).unwrap().id).collect();
    let killed = copies.path().join("killed");
    copy(folder.path(), &killed);
    let written = written_bytes(&newest_journal(&killed));
    let mut lengths = BTreeSet::new();
    for at in (HEADER..written - SECTOR).step_by(SECTOR) {
        let torn = copies.path().join(format!("torn-{at}"));
        copy(&killed, &torn);
        let journal = newest_journal(&torn);
        let mut bytes = fs::read(&journal).unwrap();
        bytes[at..at + SECTOR].fill(0);
        fs::write(&journal, bytes).unwrap();
        let engine = Engine::open(&torn, tiny()).unwrap_or_else(|error| panic!("without {at}: {error}"));
        lengths.insert(assert_prefix(&engine, &ids));
        drop(engine);
        fs::remove_dir_all(&torn).unwrap();
    }
    println!("{} sectors, {} lengths", written.div_ceil(SECTOR), lengths.len());
    assert!(lengths.len() > ids.len() / 2, "{lengths:?}");
}

/// Returns how many of the memories are there. They must be the first ones, with their texts.
fn assert_prefix(engine: &Engine, ids: &[MemoryId]) -> usize {
    let all = everything(engine, &Namespace::default());
    assert_eq!(engine.stats().total(), all.len());
    for (number, (id, text)) in all.iter().enumerate() {
        assert_eq!((*id, text.as_str()), (ids[number], note(&word(number)).as_str()));
        assert_eq!(engine.get(*id).unwrap().unwrap().text, *text);
    }
    all.len()
}

fn newest_journal(folder: &Path) -> PathBuf {
    files_ending(&folder.join("log"), "journal").pop().unwrap()
}

/// The length of a file.
fn written_bytes(path: &Path) -> usize {
    fs::metadata(path).unwrap().len() as usize
}

/// The header of a journal, without which nothing was ever committed to it.
const HEADER: usize = 56;

#[test]
fn a_byte_flipped_in_the_journal_never_gives_a_wrong_text() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let ids: Vec<MemoryId> = (0..12).map(|number| engine.store(note(&word(number))).unwrap().id).collect();
    let killed = copies.path().join("killed");
    copy(folder.path(), &killed);
    let written = written_bytes(&newest_journal(&killed));
    for at in (0..written).step_by(written / 60) {
        let flipped = copies.path().join(format!("flipped-{at}"));
        copy(&killed, &flipped);
        flip(&newest_journal(&flipped), at);
        match Engine::open(&flipped, tiny()) {
            Ok(engine) => drop(assert_prefix(&engine, &ids)),
            Err(Error::Corrupt { path, .. }) => assert_eq!(path, newest_journal(&flipped)),
            Err(error) => panic!("byte {at}: {error:?}"),
        }
        fs::remove_dir_all(&flipped).unwrap();
    }
}

/// A kill or a power loss during the very first opening.
#[test]
fn a_store_whose_making_was_interrupted_is_made_anew() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let journal = fs::read(newest_journal(folder.path())).unwrap();
    drop(engine);
    let header = &journal[..HEADER];
    // The journal has its name once it is whole; its identity is written after it.
    type Made<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(&str, Made<'_>); 7] = [
        ("nothing", &[]),
        ("lock", &[("../lock", &[])]),
        ("identity without content", &[("identity", &[])]),
        ("part of a journal", &[("identity", &[]), ("0000000000.journal.tmp", &header[..20])]),
        ("zeros", &[("0000000000.journal.tmp", &[0; HEADER])]),
        ("journal", &[("identity", &[]), ("0000000000.journal", header)]),
        ("part of an identity", &[("identity", b"MNEMO"), ("0000000000.journal", header)]),
    ];
    for (name, made) in cases {
        let store = copies.path().join(name);
        fs::create_dir_all(store.join("log")).unwrap();
        for (name, content) in made {
            fs::write(store.join("log").join(name), content).unwrap();
        }
        let engine = Engine::open(&store, tiny()).unwrap_or_else(|error| panic!("{name}: {error}"));
        engine.store(note("q1z")).unwrap();
        drop(engine);
        assert!(find(&Engine::open(&store, tiny()).unwrap(), "q1z").is_some());
    }
}

#[test]
fn a_store_of_an_older_format_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::create_dir_all(log.join("keyspaces/0")).unwrap();
    fs::write(log.join("version"), b"FJL\x03").unwrap();
    fs::write(log.join("0.jnl"), [0; 100]).unwrap();
    let before = files(folder.path()).len();
    let refused = |result: Option<Error>| {
        assert!(
            matches!(result, Some(Error::Incompatible { what: "format", expected: 2, received: 6, .. })),
            "{result:?}"
        );
    };
    refused(Engine::open(folder.path(), tiny()).err());
    refused(Engine::repair(folder.path(), tiny()).err());
    let left = files(folder.path());
    assert_eq!(left.len() - left.iter().filter(|path| path.ends_with("lock")).count(), before);
}

/// Most of a journal is outdated once memories are in segments.
#[test]
fn a_journal_does_not_grow_with_the_memories_that_are_in_segments() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let mut longest = 0;
    for round in 0..30 {
        let memory = |number: usize| NewMemory::new(note(&word(round * 1_000 + number)));
        engine.store_batch((0..1_000).map(memory).collect()).unwrap();
        engine.consolidate().unwrap();
        longest = longest.max(written_bytes(&newest_journal(folder.path())));
    }
    println!("{longest} bytes at most");
    assert!(longest < 6 << 20, "{longest}");
    engine.compact().unwrap();
    let left = written_bytes(&newest_journal(folder.path()));
    assert!(left < 100 << 10, "{left}");
    let path = newest_journal(folder.path());
    assert_eq!(files_ending(&folder.path().join("log"), "journal"), [path]);
    drop(engine);
    assert_complete(&Engine::open(folder.path(), tiny()).unwrap(), 30_000);
}

#[test]
fn the_second_engine_of_a_process_is_told_that_the_store_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let engine = spread(folder.path(), 10);
    assert!(matches!(Engine::open(folder.path(), tiny()), Err(Error::Locked { .. })));
    assert_complete(&engine, 10);
    drop(engine);
    assert_complete(&Engine::open(folder.path(), tiny()).unwrap(), 10);
}

const LOCKED: &str = "MNEMO_LOCKED_FOLDER";

#[test]
#[ignore = "the process that `a_second_process_is_told_that_the_store_is_open` starts"]
fn second_process() {
    let Ok(folder) = std::env::var(LOCKED) else { return };
    assert!(matches!(Engine::open(Path::new(&folder), tiny()), Err(Error::Locked { .. })));
    println!("refused");
}

#[test]
fn a_second_process_is_told_that_the_store_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let engine = spread(folder.path(), 10);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "second_process", "--nocapture"])
        .env(LOCKED, folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("refused"));
    assert_complete(&engine, 10);
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "chapter one").unwrap();
    let opened = Engine::open(folder.path(), tiny());
    assert!(matches!(opened, Err(Error::NotAStore { ref found, .. }) if found == "thesis.tex"));
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_folder_of_something_else_that_has_a_log_of_its_own_is_refused_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("log")).unwrap();
    fs::write(folder.path().join("log/2031-05-04.txt"), "server started").unwrap();
    assert!(matches!(Engine::open(folder.path(), tiny()), Err(Error::NotAStore { .. })));
    assert_eq!(files(folder.path()).len(), 1);
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    fs::write(folder.path().join("log"), "server started").unwrap();
    assert!(matches!(Engine::open(folder.path(), tiny()), Err(Error::NotAStore { .. })));
}

#[test]
fn a_path_that_is_a_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "text").unwrap();
    for path in [path.clone(), path.join("below")] {
        let opened = Engine::open(&path, tiny());
        assert!(matches!(opened, Err(Error::Io { path: ref named, .. }) if *named == path));
    }
    assert_eq!(fs::read(&path).unwrap(), b"text");
}

#[test]
fn another_dimension_is_refused_and_the_store_opens_with_its_own() {
    let folder = tempfile::tempdir().unwrap();
    drop(spread(folder.path(), 10));
    let other = tiny().dimension(Dimension::new(1024).unwrap());
    let opened = Engine::open(folder.path(), other);
    assert!(matches!(
        opened,
        Err(Error::Incompatible { what: "dimension", expected: 512, received: 1024, .. })
    ));
    assert_complete(&Engine::open(folder.path(), tiny()).unwrap(), 10);
}

#[test]
fn smaller_tiers_than_the_store_was_made_with_are_filled_anew() {
    let folder = tempfile::tempdir().unwrap();
    drop(spread(folder.path(), 60));
    for (hot_capacity, warm_capacity) in [(2, 3), (0, 5), (0, 0), (100, 100)] {
        let config = tiny().hot_capacity(hot_capacity).warm_capacity(warm_capacity);
        let engine = Engine::open(folder.path(), config).unwrap();
        assert_complete(&engine, 60);
        engine.consolidate().unwrap();
        assert_complete(&engine, 60);
        assert!(engine.stats().memories_in(TierKind::Hot) <= hot_capacity);
        assert!(engine.stats().memories_in(TierKind::Warm) <= warm_capacity);
    }
}
