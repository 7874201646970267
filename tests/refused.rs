//! An opening or a repair that is refused changes nothing in the store, whatever the reason.
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::{assert_complete, copy, files_ending, flip, spread, tiny};
use mnemocore::hdv::Dimension;
use mnemocore::{Config, Engine, Error};

const STORED: usize = 40;

/// All files and folders at `place`, with the contents of files and when they were written.
fn everything_in(place: &Path) -> BTreeMap<PathBuf, Option<(Vec<u8>, SystemTime)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut everything_in(&path));
            found.insert(path, None);
        } else {
            let written = fs::metadata(&path).unwrap().modified().unwrap();
            found.insert(path.clone(), Some((fs::read(&path).unwrap(), written)));
        }
    }
    found
}

fn one(folder: &Path, ending: &str) -> PathBuf {
    files_ending(folder, ending).pop().unwrap()
}

fn replace_by_folder(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

/// Damages the store in the first folder. In the second one is another store of the same kind.
type Harm = fn(&Path, &Path);

/// Harms for which opening is refused, and the part of the path that the error names.
const HARMS: &[(&str, &str, Harm)] = &[
    ("the header of the journal is damaged", ".journal", |store, _| {
        flip(&one(&store.join("log"), "journal"), 3)
    }),
    ("a batch is damaged", ".journal", |store, _| flip(&one(&store.join("log"), "journal"), 90)),
    ("the journal is empty", ".journal", |store, _| {
        fs::write(one(&store.join("log"), "journal"), "").unwrap()
    }),
    ("the journal has the name of another one", "0000000977.journal", |store, _| {
        let journal = one(&store.join("log"), "journal");
        fs::rename(&journal, journal.with_file_name("0000000977.journal")).unwrap();
    }),
    ("the journal is a folder", ".journal", |store, _| {
        replace_by_folder(&one(&store.join("log"), "journal"))
    }),
    ("the identity is a folder", "log/identity", |store, _| replace_by_folder(&store.join("log/identity"))),
    ("the log is of the former format", "log", |store, _| fs::write(store.join("log/version"), "3").unwrap()),
    ("the log is another store's", ".journal", |store, other| {
        fs::remove_file(one(&store.join("log"), "journal")).unwrap();
        let journal = one(&other.join("log"), "journal");
        fs::copy(&journal, store.join("log").join(journal.file_name().unwrap())).unwrap();
    }),
    ("there is no journal", "log", |store, _| fs::remove_file(one(&store.join("log"), "journal")).unwrap()),
    ("there is no log", "log", |store, _| fs::remove_dir_all(store.join("log")).unwrap()),
    ("the log is a file", "log", |store, _| {
        fs::remove_dir_all(store.join("log")).unwrap();
        fs::write(store.join("log"), "").unwrap();
    }),
    ("a segment is damaged", ".seg", |store, _| {
        let segment = one(&store.join("segments"), "seg");
        flip(&segment, fs::metadata(&segment).unwrap().len() as usize / 2);
    }),
    ("a segment is missing", ".seg", |store, _| {
        fs::remove_file(one(&store.join("segments"), "seg")).unwrap()
    }),
    ("a segment is a folder", ".seg", |store, _| replace_by_folder(&one(&store.join("segments"), "seg"))),
    ("there are no segments", ".seg", |store, _| fs::remove_dir_all(store.join("segments")).unwrap()),
    ("a segment is another store's", "0000000977.seg", |store, other| {
        fs::copy(one(&other.join("segments"), "seg"), store.join("segments/0000000977.seg")).unwrap();
    }),
    ("a repair was interrupted, and the journal is damaged", ".journal", |store, other| {
        copy(&other.join("log"), &store.join("log.repairing"));
        flip(&one(&store.join("log"), "journal"), 3);
    }),
];

/// Files that are removed in addition.
const MISSING: &[&[&str]] = &[&[], &["log/identity"], &["lock"], &["lock", "log/identity"]];

/// Two closed stores of different memories.
fn two_stores(folder: &Path) -> [PathBuf; 2] {
    ["own", "other"].map(|name| {
        drop(spread(&folder.join(name), STORED));
        folder.join(name)
    })
}

/// Calls `check` with each harmed store.
fn harmed(check: impl Fn(&str, &str, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let [own, other] = two_stores(folder.path());
    let store = folder.path().join("store");
    for (name, named, harm) in HARMS {
        for missing in MISSING {
            copy(&own, &store);
            harm(&store, &other);
            for name in *missing {
                drop(fs::remove_file(store.join(name)));
            }
            check(&format!("{name}, without {missing:?}"), named, &store);
            fs::remove_dir_all(&store).unwrap();
        }
    }
}

fn assert_refused(case: &str, store: &Path, act: impl FnOnce(&Path) -> Result<(), Error>) -> Error {
    let before = everything_in(store);
    let error = act(store).err().unwrap_or_else(|| panic!("{case}: it was not refused"));
    let after = everything_in(store);
    let changed = after.iter().filter(|(path, now)| before.get(*path) != Some(*now)).map(|(path, _)| path);
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    let changed: Vec<&PathBuf> = changed.chain(gone).collect();
    assert!(changed.is_empty(), "{case}: {error} has changed {changed:?}");
    error
}

fn open(store: &Path) -> Result<(), Error> {
    Engine::open(store, tiny()).map(drop)
}

/// The same, with another dimension.
fn larger() -> Config {
    tiny().dimension(Dimension::new(2 * tiny().dimension.bits()).unwrap())
}

#[test]
fn an_opening_that_is_refused_changes_nothing_and_names_the_file() {
    harmed(|case, expected, store| {
        // Nothing tells that such a journal is another store's.
        if case.starts_with("the log is another store's") && case.contains("identity") {
            return;
        }
        let named = match assert_refused(case, store, open) {
            Error::Io { path, .. } | Error::Corrupt { path, .. } | Error::Incompatible { path, .. } => path,
            error => panic!("{case}: {error:?}"),
        };
        let named = named.strip_prefix(store).unwrap().to_str().unwrap();
        assert!(named.contains(expected), "{case}: {named}");
    });
}

#[test]
fn a_store_with_other_settings_is_refused_without_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let [own, _] = two_stores(folder.path());
    let store = folder.path().join("store");
    for missing in MISSING {
        copy(&own, &store);
        missing.iter().for_each(|name| fs::remove_file(store.join(name)).unwrap());
        let case = format!("without {missing:?}");
        let error = assert_refused(&case, &store, |store| Engine::open(store, larger()).map(drop));
        assert!(matches!(error, Error::Incompatible { .. }), "{case}: {error:?}");
        assert_refused(&case, &store, |store| Engine::open(store, tiny().decay_per_day(-1.0)).map(drop));
        fs::remove_dir_all(&store).unwrap();
    }
}

#[test]
fn a_repair_that_is_refused_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [own, other] = two_stores(folder.path());
    let store = folder.path().join("store");
    let harm = |name: &str| HARMS.iter().find(|harm| harm.0 == name).unwrap().2;
    for missing in MISSING {
        for harms in [
            &["the log is of the former format"][..],
            &["the journal is a folder"],
            &["a segment is a folder"],
            &["there is no log", "a segment is a folder"],
            &["a repair was interrupted, and the journal is damaged", "a segment is a folder"],
        ] {
            copy(&own, &store);
            harms.iter().for_each(|name| harm(name)(&store, &other));
            missing.iter().for_each(|name| drop(fs::remove_file(store.join(name))));
            let case = format!("{harms:?}, without {missing:?}");
            assert_refused(&case, &store, |store| Engine::repair(store, tiny()).map(drop));
            fs::remove_dir_all(&store).unwrap();
        }
    }
}

#[test]
fn a_folder_of_something_else_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    fs::write(place.join("letter"), "dear").unwrap();
    for lock in [None, Some(""), Some("of another program")] {
        lock.into_iter().for_each(|content| fs::write(place.join("lock"), content).unwrap());
        let case = format!("with a lock of {lock:?}");
        let error = assert_refused(&case, place, open);
        assert!(matches!(error, Error::NotAStore { .. }), "{case}: {error:?}");
        let error = assert_refused(&case, place, |place| Engine::repair(place, tiny()).map(drop));
        assert!(matches!(error, Error::NotAStore { .. }), "{case}: {error:?}");
    }
    replace_by_folder(&place.join("lock"));
    assert_refused("the lock is a folder", place, open);
}

/// Those who were refused have left no lock that another one could take.
#[test]
fn a_store_that_is_open_stays_locked_though_its_lock_and_its_identity_were_missing() {
    let folder = tempfile::tempdir().unwrap();
    let [own, _] = two_stores(folder.path());
    fs::remove_file(own.join("lock")).unwrap();
    fs::remove_file(own.join("log/identity")).unwrap();
    let engine = Engine::open(&own, tiny()).unwrap();
    for (name, is_there) in [("lock", true), ("log/identity", true), ("log/version", false)] {
        assert_eq!(own.join(name).exists(), is_there, "{name}");
    }
    // As if it were a repair that is running.
    copy(&own.join("log"), &own.join("log.repairing"));
    for lock in [true, false, false] {
        if !lock {
            drop(fs::remove_file(own.join("lock")));
        }
        let error = assert_refused("while it is open", &own, open);
        assert!(matches!(error, Error::Locked { .. }), "{error:?}");
        let error = assert_refused("while it is open", &own, |own| Engine::repair(own, tiny()).map(drop));
        assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    }
    drop(engine);
    assert_complete(&Engine::open(&own, tiny()).unwrap(), STORED);
}

#[test]
fn a_store_that_was_refused_is_repaired_and_opens() {
    harmed(|case, _, store| {
        drop(open(store));
        if let Err(error) = open(store) {
            match Engine::repair(store, tiny()) {
                Ok(_) => open(store).unwrap_or_else(|error| panic!("{case}: {error}")),
                // It says which file is in the way.
                Err(Error::Io { path, .. }) => assert!(path.starts_with(store), "{case}: {}", path.display()),
                Err(refused) => {
                    assert!(!matches!(error, Error::Corrupt { .. }), "{case}: {error}, {refused}")
                }
            }
        }
    });
}
