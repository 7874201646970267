//! Old copies of files that look sound: what is newer than them tells, nothing is deleted, and a repair takes
//! over all that can be read.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_complete, copy, files, files_ending, note, spread, tiny, word};
use mnemocore::{Engine, Error, MemoryId, Namespace, NewMemory};

/// Every file, so that a refused opening can be seen to change none.
fn contents(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(store).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Copies of one store: closed with 48 memories, and later with 96, closed or killed.
struct Copies {
    folder: tempfile::TempDir,
}

impl Copies {
    fn make() -> Self {
        let copies = Self { folder: tempfile::tempdir().unwrap() };
        let store = copies.path("store");
        drop(spread(&store, 48));
        copy(&store, &copies.path("older"));
        let engine = Engine::open(&store, tiny()).unwrap();
        engine.store_batch((48..96).map(|number| NewMemory::new(note(&word(number)))).collect()).unwrap();
        engine.consolidate().unwrap();
        copy(&store, &copies.path("killed"));
        drop(engine);
        copy(&store, &copies.path("closed"));
        copies
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A copy of the store that was closed or killed.
    fn of(&self, name: &str) -> PathBuf {
        let case = self.path("case");
        if case.exists() {
            fs::remove_dir_all(&case).unwrap();
        }
        copy(&self.path(name), &case);
        case
    }
}

/// Opens a store, which must be refused without a change.
fn refused(store: &Path) -> Error {
    let before = contents(store);
    let Err(error) = Engine::open(store, tiny()) else { panic!("it opens") };
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    assert_eq!(contents(store), before, "{error}");
    error
}

/// Before, all that was newer than the journal was deleted when the store opened.
#[test]
fn an_older_log_is_refused_and_costs_only_what_it_alone_held() {
    let copies = Copies::make();
    for name in ["closed", "killed"] {
        for whole_log in [true, false] {
            let store = copies.of(name);
            let (log, older) = (store.join("log"), copies.path("older").join("log"));
            if whole_log {
                fs::remove_dir_all(&log).unwrap();
                copy(&older, &log);
            } else {
                files_ending(&log, "journal").iter().for_each(|path| fs::remove_file(path).unwrap());
                let journal = files_ending(&older, "journal").pop().unwrap();
                fs::copy(&journal, log.join(journal.file_name().unwrap())).unwrap();
            }
            let error = refused(&store);
            assert!(error.to_string().contains("older than"), "{error}");
            let repair = Engine::repair(&store, tiny()).unwrap();
            // Fewer than eight of HOT and of WARM were in the journal alone.
            assert!(!repair.complete && repair.kept > 96 - 16, "{name}, {whole_log}: {repair:?}");
            let engine = Engine::open(&store, tiny()).unwrap();
            assert_eq!(engine.stats().total(), repair.kept);
            let id = engine.store(note("later")).unwrap().id;
            assert!(id.0 >= 96, "{id} is given again");
            engine.consolidate().unwrap();
            drop(engine);
            // Its segments are newer than the new log's first commits, which is right.
            assert_eq!(Engine::open(&store, tiny()).unwrap().stats().total(), repair.kept + 1);
        }
    }
}

/// All files that the older log lists are there.
#[test]
fn segments_that_are_newer_than_the_log_tell_that_it_is_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let (store, older) = (folder.path().join("store"), folder.path().join("older"));
    let config = tiny().hot_capacity(0).warm_capacity(0);
    let fill = |name: &str| {
        let engine = Engine::open(&store, config.clone()).unwrap();
        let memory = |number| NewMemory::new(note(&word(number))).namespace(Namespace::new(name).unwrap());
        (0..40).for_each(|number| assert!(engine.store(memory(number)).is_ok()));
        engine.consolidate().unwrap();
        drop(engine);
    };
    fill("ada");
    copy(&store.join("log"), &older);
    fill("bob");
    fs::remove_dir_all(store.join("log")).unwrap();
    copy(&older, &store.join("log"));
    let error = refused(&store);
    assert!(error.to_string().contains("older than this segment"), "{error}");
    let repair = Engine::repair(&store, config.clone()).unwrap();
    assert_eq!((repair.kept, repair.complete, repair.renamed.len()), (80, false, 1));
    // A crash leaves a segment that is listed no more, and newer than the older log.
    let engine = Engine::open(&store, config.clone()).unwrap();
    let segments = files_ending(&store.join("segments"), "seg");
    let contents: Vec<Vec<u8>> = segments.iter().map(|path| fs::read(path).unwrap()).collect();
    engine.forget_batch((0..2_048).map(MemoryId).collect::<Vec<_>>()).unwrap();
    engine.compact().unwrap();
    drop(engine);
    segments.iter().zip(contents).for_each(|(path, content)| fs::write(path, content).unwrap());
    assert_eq!(Engine::open(&store, config).unwrap().stats().total(), 0);
    assert!(segments.iter().all(|path| !path.exists()));
}

/// Before, the opening deleted it: its file had the number of the commit that lists it, the older log's next one.
#[test]
fn a_large_batch_that_the_log_does_not_know_tells_too() {
    const COUNT: usize = 16_500;
    let folder = tempfile::tempdir().unwrap();
    let (store, older) = (folder.path().join("store"), folder.path().join("older"));
    let config = tiny().hot_capacity(20_000);
    let engine = Engine::open(&store, config.clone()).unwrap();
    engine.store(note("first")).unwrap();
    // As somebody copies it who pays no heed to the engine.
    copy(&store.join("log"), &older);
    engine.store_batch((0..COUNT).map(|number| NewMemory::new(note(&word(number)))).collect()).unwrap();
    drop(engine);
    fs::remove_dir_all(store.join("log")).unwrap();
    copy(&older, &store.join("log"));
    refused(&store);
    assert_eq!(Engine::repair(&store, config.clone()).unwrap().kept, COUNT + 1);
    assert_eq!(Engine::open(&store, config).unwrap().stats().total(), COUNT + 1);
}

#[test]
fn a_journal_of_a_closed_store_that_was_replaced_by_any_older_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut older = Vec::new();
    for round in 0..4 {
        let engine = Engine::open(folder.path(), tiny()).unwrap();
        // Few enough that no segment is written.
        engine.store(note(&word(round))).unwrap();
        drop(engine);
        let journal = files_ending(&folder.path().join("log"), "journal").pop().unwrap();
        older.push((journal.clone(), fs::read(journal).unwrap()));
    }
    let (newest, content) = older.pop().unwrap();
    fs::remove_file(&newest).unwrap();
    for (path, content) in older {
        fs::write(&path, content).unwrap();
        let error = refused(folder.path());
        assert!(error.to_string().contains("older than"), "{error}");
        fs::remove_file(path).unwrap();
    }
    fs::write(newest, content).unwrap();
    assert_complete(&Engine::open(folder.path(), tiny()).unwrap(), 4);
}

/// Before, the log of a repair began with generation 0, so a journal from before it passed for a newer one.
#[test]
fn a_journal_from_before_a_repair_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let journals = || files_ending(&folder.path().join("log"), "journal");
    let store = |numbers: std::ops::Range<usize>| {
        let engine = Engine::open(folder.path(), tiny()).unwrap();
        numbers.for_each(|number| assert!(engine.store(note(&word(number))).is_ok()));
    };
    (0..3).for_each(|number| store(number..number + 1));
    let [older] = &journals()[..] else { panic!("one journal") };
    let content = fs::read(older).unwrap();
    assert!(Engine::repair(folder.path(), tiny()).unwrap().complete);
    store(3..5);
    journals().into_iter().for_each(|path| fs::remove_file(path).unwrap());
    fs::write(older, content).unwrap();
    let error = refused(folder.path());
    assert!(error.to_string().contains("older than"), "{error}");
}

/// Before, the opening deleted each of them.
#[test]
fn a_segment_that_the_log_cannot_explain_is_refused_and_set_aside_by_a_repair() {
    let copies = Copies::make();
    let foreign = copies.path("foreign");
    drop(spread(&foreign, 48));
    let segments = |store: &Path| files_ending(&store.join("segments"), "seg");
    let whole = fs::read(&segments(&copies.path("closed"))[0]).unwrap();
    // The two headers are at the start and at the end.
    let mut damaged = whole.clone();
    damaged[70] ^= 1;
    let end = damaged.len() - 20;
    damaged[end] ^= 1;
    let content = [fs::read(&segments(&foreign)[0]).unwrap(), damaged, whole, Vec::new()];
    for (case, content) in content.into_iter().enumerate() {
        let store = copies.of("closed");
        let stray = store.join("segments/0000009999.seg");
        fs::write(&stray, &content).unwrap();
        let Error::Corrupt { path, .. } = refused(&store) else { panic!("case {case}") };
        assert_eq!(path, stray);
        let repair = Engine::repair(&store, tiny()).unwrap();
        assert_eq!(repair.kept, 96, "case {case}");
        assert_complete(&Engine::open(&store, tiny()).unwrap(), 96);
        let aside = repair.set_aside.join("segments/0000009999.seg");
        assert_eq!(fs::read(aside).unwrap(), content, "case {case}");
    }
}

#[test]
fn a_store_without_its_folder_of_segments_is_refused_and_left_without() {
    let copies = Copies::make();
    let store = copies.of("closed");
    fs::remove_dir_all(store.join("segments")).unwrap();
    refused(&store);
    assert!(!store.join("segments").exists());
}

#[test]
fn a_segment_that_was_replaced_by_a_merge_may_still_be_there() {
    let copies = Copies::make();
    let store = copies.of("closed");
    // A crash came before they were deleted.
    for segment in files_ending(&copies.path("older").join("segments"), "seg") {
        let target = store.join("segments").join(segment.file_name().unwrap());
        if !target.exists() {
            fs::copy(segment, target).unwrap();
        }
    }
    let engine = Engine::open(&store, tiny()).unwrap();
    assert_complete(&engine, 96);
    drop(engine);
    let named = |store: &Path| -> Vec<String> {
        let names = files(&store.join("segments")).into_iter();
        names.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(named(&store), named(&copies.path("closed")));
}
