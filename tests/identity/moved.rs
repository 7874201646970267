//! The folder of an open store is renamed, deleted or replaced.

#[cfg(target_os = "linux")]
use std::ffi::CString;
use std::fs;
#[cfg(target_os = "linux")]
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mnemocore::{Engine, Error, MemoryId, NewMemory, Query, Timestamp};

use super::common::{assert_complete, copy, find, note, spread, tiny, word};
use super::{OTHERS, contents, killed_store};

/// Memories in the store that is moved.
const OWN: usize = 60;

/// An operation of an engine whose folder is gone.
type Act = fn(Engine, MemoryId) -> Result<(), Error>;

const ACTS: [(&str, Act); 7] = [
    ("store", |engine, _| engine.store(note("later")).map(drop)),
    ("store a batch", |engine, _| {
        engine.store_batch((0..99).map(|number| NewMemory::new(note(&word(number)))).collect()).map(drop)
    }),
    ("forget", |engine, id| engine.forget(id).map(drop)),
    ("consolidate", |engine, _| engine.consolidate_at(in_a_year()).map(drop)),
    ("compact", |engine, _| engine.compact()),
    ("close after a recall", |engine, _| {
        engine.recall(Query::text("journal"))?;
        engine.close()
    }),
    ("close", |engine, _| engine.close()),
];

fn in_a_year() -> Timestamp {
    Timestamp(Timestamp::now().0 + 365 * 86_400_000)
}

/// Opens a store at `place` with [`OWN`] memories, some of them in the journal only, and hands it
/// to `act` after `change`. Each act must be refused because the store was moved.
fn refused_after(change: impl Fn(&Path), check: impl Fn(&str, &Path)) {
    for (name, act) in ACTS {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("store");
        let engine = spread(&place, OWN - 1);
        let newest = engine.store(note(&word(OWN - 1))).unwrap().id;
        change(&place);
        noticed();
        let refused = act(engine, newest);
        assert!(matches!(&refused, Err(Error::Moved { path }) if *path == place), "{name}: {refused:?}");
        check(name, &place);
    }
}

/// Waits until an engine checks its folder again before it stores.
fn noticed() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

fn beside(place: &Path, name: &str) -> PathBuf {
    place.with_file_name(name)
}

#[test]
fn a_store_whose_folder_was_replaced_changes_nothing_of_what_is_there_now() {
    let other = tempfile::tempdir().unwrap();
    killed_store(&other.path().join("store"));
    let replace = |place: &Path| {
        fs::rename(place, beside(place, "moved")).unwrap();
        copy(&other.path().join("store"), place);
    };
    let before: Vec<Vec<u8>> = contents(other.path()).into_values().collect();
    refused_after(replace, |name, place| {
        let now: Vec<Vec<u8>> = contents(place).into_values().collect();
        assert!(now == before, "{name} changed the store that took the place");
        assert_complete(&Engine::open(place, tiny()).unwrap(), OTHERS);
        assert_complete(&Engine::open(beside(place, "moved"), tiny()).unwrap(), OWN);
    });
}

#[test]
fn a_store_whose_folder_was_deleted_makes_nothing_in_its_place() {
    let delete = |place: &Path| fs::remove_dir_all(place).unwrap();
    refused_after(delete, |name, place| assert!(!place.exists(), "{name} made something"));
}

#[test]
fn a_store_whose_folder_was_renamed_has_all_that_was_acknowledged_where_it_is_now() {
    let rename = |place: &Path| fs::rename(place, beside(place, "moved")).unwrap();
    refused_after(rename, |name, place| {
        assert!(!place.exists(), "{name} made something");
        assert_complete(&Engine::open(beside(place, "moved"), tiny()).unwrap(), OWN);
    });
}

#[test]
fn a_deleted_store_that_is_opened_again_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    let first = spread(&place, OWN);
    fs::remove_dir_all(&place).unwrap();
    let second = Engine::open(&place, tiny()).unwrap();
    for number in 0..8 {
        second.store(note(&word(number))).unwrap();
    }
    noticed();
    assert!(matches!(first.store(note("first")), Err(Error::Moved { .. })));
    assert!(matches!(first.close(), Err(Error::Moved { .. })));
    assert_complete(&second, 8);
    drop(second);
    assert_complete(&Engine::open(&place, tiny()).unwrap(), 8);
}

#[test]
fn a_link_to_a_store_that_leads_elsewhere_now_is_a_store_that_was_moved() {
    let folder = tempfile::tempdir().unwrap();
    let [link, own, other] = ["link", "own", "other"].map(|name| folder.path().join(name));
    fs::create_dir(&own).unwrap();
    symlink(&own, &link).unwrap();
    killed_store(&other);
    let before = contents(&other);
    let engine = spread(&link, OWN);
    fs::remove_file(&link).unwrap();
    symlink(&other, &link).unwrap();
    noticed();
    assert!(matches!(engine.store(note("later")), Err(Error::Moved { .. })));
    assert!(matches!(engine.close(), Err(Error::Moved { .. })));
    assert!(contents(&other) == before);
    assert_complete(&Engine::open(&own, tiny()).unwrap(), OWN);
}

#[test]
fn a_log_that_was_exchanged_within_the_folder_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (place, other) = (folder.path().join("store"), folder.path().join("other"));
    killed_store(&other);
    for acts in [ACTS[3], ACTS[4], ACTS[6]] {
        let engine = spread(&place, OWN);
        fs::rename(place.join("log"), beside(&place, "log")).unwrap();
        copy(&other.join("log"), &place.join("log"));
        let before = contents(&place.join("log"));
        let refused = (acts.1)(engine, MemoryId(0));
        assert!(matches!(refused, Err(Error::Moved { .. })), "{}: {refused:?}", acts.0);
        assert!(contents(&place.join("log")) == before, "{}", acts.0);
        fs::remove_dir_all(place.join("log")).unwrap();
        fs::rename(beside(&place, "log"), place.join("log")).unwrap();
        assert_complete(&Engine::open(&place, tiny()).unwrap(), OWN);
        fs::remove_dir_all(&place).unwrap();
    }
}

/// The files of the log are exchanged, and its folder is the same.
#[test]
fn another_log_in_the_same_folder_is_told_by_its_number_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (place, other) = (folder.path().join("store"), folder.path().join("other"));
    killed_store(&other);
    let engine = spread(&place, OWN);
    for entry in fs::read_dir(place.join("log")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    copy(&other.join("log"), &place.join("log"));
    let before = contents(&place.join("log"));
    assert!(matches!(engine.close(), Err(Error::Moved { .. })));
    assert!(contents(&place.join("log")) == before);
    assert_complete(&Engine::open(&other, tiny()).unwrap(), OTHERS);
}

#[test]
fn a_lock_file_that_is_deleted_lets_nobody_in_and_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let engine = spread(folder.path(), OWN);
    for made_again in [false, true] {
        if made_again {
            fs::write(folder.path().join("lock"), "").unwrap();
        } else {
            fs::remove_file(folder.path().join("lock")).unwrap();
        }
        noticed();
        assert!(matches!(engine.store(note("later")), Err(Error::Moved { .. })));
        assert!(matches!(engine.compact(), Err(Error::Moved { .. })));
        let opened = Engine::open(folder.path(), tiny());
        assert!(matches!(opened.err(), Some(Error::Locked { .. })));
        let repaired = Engine::repair(folder.path(), tiny());
        assert!(matches!(repaired, Err(Error::Locked { .. })), "{repaired:?}");
        assert_eq!(
            folder.path().join("lock").exists(),
            made_again,
            "those who were refused leave it as it was"
        );
    }
    assert_eq!(find(&engine, &word(3)).unwrap().1, note(&word(3)));
    assert!(matches!(engine.close(), Err(Error::Moved { .. })));
    assert_complete(&Engine::open(folder.path(), tiny()).unwrap(), OWN);
}

#[test]
fn a_store_that_was_moved_or_copied_while_it_was_closed_opens_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = ["first", "second", "third"].map(|name| folder.path().join(name));
    drop(spread(&first, OWN));
    fs::rename(&first, &second).unwrap();
    copy(&second, &third);
    for place in [second, third] {
        let engine = Engine::open(&place, tiny()).unwrap();
        assert!(engine.repaired_files().is_empty());
        assert_complete(&engine, OWN);
    }
}

/// Tables are written in the background, so whenever the folder is exchanged, some are on their
/// way.
#[test]
fn an_exchange_under_full_load_changes_nothing_of_what_is_there_now() {
    const ROUNDS: usize = 12;
    let other = tempfile::tempdir().unwrap();
    killed_store(&other.path().join("store"));
    let before: Vec<Vec<u8>> = contents(other.path()).into_values().collect();
    let long = |number: usize| note(&word(number)) + &format!(" and {number} so on").repeat(2_000);
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let (place, moved) = (folder.path().join("store"), folder.path().join("moved"));
        let [waiting, ready] = ["waiting", "ready"].map(|name| folder.path().join(name));
        copy(&other.path().join("store"), &waiting);
        fs::rename(&waiting, &ready).unwrap();
        let engine = Engine::open(&place, tiny()).unwrap();
        let (mut acknowledged, exchanged) = (Vec::new(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(100 + 17 * round as u64));
                fs::rename(&place, &moved).unwrap();
                fs::rename(&ready, &place).unwrap();
                exchanged.store(true, Ordering::SeqCst);
            });
            for number in 0.. {
                match engine.store(long(number)) {
                    Ok(id) => acknowledged.push(id),
                    Err(Error::Moved { .. }) => break,
                    Err(error) => panic!("{error:?}"),
                }
                let _ = (number % 50 == 49).then(|| engine.consolidate());
            }
        });
        assert!(exchanged.load(Ordering::SeqCst));
        drop(engine);
        let now: Vec<Vec<u8>> = contents(&place).into_values().collect();
        assert!(now == before, "round {round}: the store that took the place was changed");
        let engine = Engine::open(&moved, tiny()).unwrap();
        for (number, id) in acknowledged.iter().enumerate() {
            assert_eq!(engine.get(*id).unwrap().unwrap().text, long(number), "round {round}");
        }
    }
}

/// A call of an engine whose folder may go while it runs.
type Call = fn(&Engine, usize) -> Result<(), Error>;

/// An engine that finds its files gone says why, also if they go while it is at work.
#[test]
fn a_store_that_is_deleted_or_replaced_under_load_is_said_to_have_moved() {
    let acts: [Call; 4] = [
        |engine, _| engine.compact(),
        |engine, _| engine.consolidate_at(in_a_year()).map(drop),
        |engine, number| engine.store(note(&word(number))).map(drop),
        |engine, number| engine.forget(MemoryId(number as u64 % 20)).map(drop),
    ];
    let work = |engine: &Engine| -> Error {
        let mut acts = acts.iter().cycle().enumerate();
        acts.find_map(|(number, act)| act(engine, OWN + number).err()).unwrap()
    };
    for round in 0..60 {
        let folder = tempfile::tempdir().unwrap();
        let (place, other) = (folder.path().join("store"), folder.path().join("other"));
        killed_store(&other);
        let engine = spread(&place, OWN);
        let error = std::thread::scope(|scope| {
            let working = scope.spawn(|| work(&engine));
            std::thread::sleep(std::time::Duration::from_micros(3_000 + 170 * round));
            let moved = beside(&place, "moved");
            fs::rename(&place, &moved).unwrap();
            if round % 2 == 0 {
                fs::rename(&other, &place).unwrap();
            }
            // The engine may be about to write another file there.
            while moved.exists() {
                drop(fs::remove_dir_all(&moved));
            }
            working.join().unwrap()
        });
        assert!(matches!(error, Error::Moved { .. }), "round {round}: {error:?}");
        if let Some(error) = engine.stats().last_upkeep_error {
            assert!(error.message.contains("no longer there"), "round {round}: {error:?}");
        }
        assert!(matches!(engine.close(), Err(Error::Moved { .. })), "round {round}");
    }
}

/// Runs `act` on the store at `place` while it is exchanged for `other`, and back.
#[cfg(target_os = "linux")]
fn exchanging(place: &Path, other: &Path, act: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut exchanged = 0;
            while !done.load(Ordering::SeqCst) || exchanged % 2 == 1 {
                std::thread::sleep(std::time::Duration::from_micros(700));
                exchange(place, other);
                exchanged += 1;
            }
        });
        act();
        done.store(true, Ordering::SeqCst);
    });
}

/// Exchanges two folders in one step.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the standard library has no such call")]
fn exchange(one: &Path, other: &Path) {
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
    let (one, other) = (name(one), name(other));
    // SAFETY: two strings of C that live until it returns.
    let exchanged = unsafe {
        libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, other.as_ptr(), libc::RENAME_EXCHANGE)
    };
    assert_eq!(exchanged, 0, "{}", std::io::Error::last_os_error());
}

/// Fails unless both stores are unchanged, whatever was opened or repaired meanwhile.
#[cfg(target_os = "linux")]
fn assert_apart(rounds: usize, act: fn(&Path)) {
    for round in 0..rounds {
        let folder = tempfile::tempdir().unwrap();
        let (place, other) = (folder.path().join("store"), folder.path().join("other"));
        drop(spread(&place, OWN));
        killed_store(&other);
        exchanging(&place, &other, || act(&place));
        for (place, count) in [(&place, OWN), (&other, OTHERS)] {
            let engine = Engine::open(place, tiny()).unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert!(engine.repaired_files().is_empty(), "round {round}: {:?}", engine.repaired_files());
            assert_complete(&engine, count);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_exchange_while_a_store_is_opened_changes_neither() {
    assert_apart(40, |place| drop(Engine::open(place, tiny())));
}

#[cfg(target_os = "linux")]
#[test]
fn an_exchange_while_a_store_is_repaired_changes_neither() {
    assert_apart(20, |place| drop(Engine::repair(place, tiny())));
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_that_cannot_be_compacted_because_it_was_moved_cannot_be_closed_well_either() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    let other = beside(&place, "other");
    killed_store(&other);
    let engine = spread(&place, OWN);
    exchanging(&place, &other, || while engine.compact().is_ok() {});
    fs::rename(&place, beside(&place, "moved")).unwrap();
    assert!(matches!(engine.compact(), Err(Error::Moved { .. })));
    assert!(matches!(engine.close(), Err(Error::Moved { .. })));
    assert_complete(&Engine::open(beside(&place, "moved"), tiny()).unwrap(), OWN);
}
