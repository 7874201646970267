//! A repair is killed after each of its calls. No text of a memory that is forgotten later is left, but in the
//! folder of a damaged log, which the user deletes.

use std::fs;
use std::path::Path;

use mnemocore::{Engine, Error, NewMemory};

use crate::common::{copy, files, files_ending, flip, holds, note, spread, tiny, word};
use crate::trace::Op;
use crate::{alone, disk, trace};

/// A memory of a segment that is sound, one of a damaged segment, and one that the journal alone holds.
const FORGOTTEN: [usize; 3] = [0, 40, 48];

/// Makes a store of memories in segments and in the journal.
fn fill(store: &Path) {
    drop(spread(store, 48));
    let engine = Engine::open(store, tiny()).unwrap();
    engine.store(NewMemory::new(note(&word(48)))).unwrap();
}

/// Records a repair. Returns the operations that stand for the store before it, and all.
fn record(store: &Path) -> (usize, Vec<Op>) {
    trace::start(store);
    let first = trace::position();
    Engine::repair(store, tiny()).unwrap();
    (first, trace::stop())
}

/// The files in `store` that belong to no damaged log and hold `text`.
fn left(store: &Path, text: &str) -> Vec<std::path::PathBuf> {
    let is_set_aside = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("log.damaged-");
    let mut rest = files(store);
    rest.retain(|path| !path.strip_prefix(store).unwrap().iter().any(is_set_aside));
    rest.retain(|path| holds(path, text));
    rest
}

/// Opens what a killed repair has left, after another one if that is needed.
fn open(store: &Path, moment: usize) -> Engine {
    match Engine::open(store, tiny()) {
        Err(Error::Corrupt { .. }) => {
            let repair = Engine::repair(store, tiny()).unwrap_or_else(|error| panic!("{moment}: {error}"));
            assert_eq!(repair.kept, 49, "{moment}: {repair:?}");
            Engine::open(store, tiny()).unwrap_or_else(|error| panic!("{moment}: {error}"))
        }
        opened => opened.unwrap_or_else(|error| panic!("{moment}: {error}")),
    }
}

#[test]
fn a_repair_that_is_killed_leaves_no_text_that_is_forgotten_later() {
    let _alone = alone();
    let mut moments = 0;
    for is_damaged in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        fill(&store);
        if is_damaged {
            // Its header, of which there is a copy.
            let segments = files_ending(&store.join("segments"), "seg");
            let damaged = segments.iter().find(|path| holds(path, &note(&word(FORGOTTEN[1])))).unwrap();
            flip(damaged, 60);
        }
        // What no crash leaves is set aside as well.
        copy(&store.join("segments"), &folder.path().join("others"));
        let other = files_ending(&folder.path().join("others"), "seg").pop().unwrap();
        fs::copy(other, store.join("segments/0000009999.seg")).unwrap();
        let (first, ops) = record(&store);
        for moment in first..=ops.len() {
            let killed = folder.path().join("killed");
            fs::create_dir(&killed).unwrap();
            disk::replay(&ops[..moment], &killed);
            let engine = open(&killed, moment);
            assert_eq!(engine.stats().total(), 49, "{moment}");
            let texts = FORGOTTEN.map(|number| note(&word(number)));
            let found = FORGOTTEN.map(|number| crate::common::find(&engine, &word(number)).unwrap().0);
            assert_eq!(engine.forget_batch(found).unwrap().len(), 3);
            engine.compact().unwrap();
            for text in &texts {
                assert_eq!(left(&killed, text), Vec::<std::path::PathBuf>::new(), "{is_damaged}, {moment}");
            }
            assert!(!left(&killed, &note(&word(20))).is_empty(), "the search finds nothing");
            drop(engine);
            assert_eq!(Engine::open(&killed, tiny()).unwrap().stats().total(), 46);
            fs::remove_dir_all(killed).unwrap();
            moments += 1;
        }
    }
    println!("{moments} moments");
    assert!(moments > 60);
}
