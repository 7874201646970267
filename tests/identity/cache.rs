//! The local copy of a store that is in a bucket.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use mnemocore::{Bucket, Config, Engine, Error};

use super::common::{assert_complete, find, note, tiny, word};
use super::{WorkingFolder, contents, killed_store};

fn config(cache: &Path) -> Config {
    tiny().cache_folder(cache)
}

fn bucket(folder: &Path) -> Bucket {
    Bucket::at(&format!("file://{}/bucket", folder.display()), Config::default().remote).unwrap()
}

fn store(engine: &Engine, numbers: Range<usize>) {
    for number in numbers {
        engine.store(note(&word(number))).unwrap();
    }
}

/// The one copy in a cache.
fn copy_in(cache: &Path) -> PathBuf {
    fs::read_dir(cache).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_relative_cache_stays_in_the_first_working_folder() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    [&first, &second].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let _folder = WorkingFolder::change(&first);
    let engine = Engine::open_bucket(bucket(folder.path()), config("cache".as_ref())).unwrap();
    engine.store(note(&word(0))).unwrap();
    std::env::set_current_dir(&second).unwrap();
    store(&engine, 1..48);
    engine.consolidate().unwrap();
    engine.compact().unwrap();
    assert_complete(&engine, 48);
    engine.close().unwrap();
    assert!(fs::read_dir(&second).unwrap().next().is_none());
    let engine = Engine::open_bucket(bucket(folder.path()), config(&first.join("cache"))).unwrap();
    assert_complete(&engine, 48);
}

/// The bucket has all that is stored, so stores succeed; only the copy is given up.
#[test]
fn a_copy_that_was_replaced_changes_nothing_of_what_is_there_now_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let engine = Engine::open_bucket(bucket(folder.path()), config(&cache)).unwrap();
    store(&engine, 0..40);
    let copy = copy_in(&cache);
    fs::rename(&copy, folder.path().join("moved")).unwrap();
    killed_store(&copy);
    let before = contents(&copy);
    store(&engine, 40..48);
    assert_complete(&engine, 48);
    assert!(matches!(engine.consolidate(), Err(Error::Moved { .. })));
    assert!(matches!(engine.compact(), Err(Error::Moved { .. })));
    assert!(matches!(engine.close(), Err(Error::Moved { .. })));
    assert!(contents(&copy) == before);
    fs::remove_dir_all(&copy).unwrap();
    let engine = Engine::open_bucket(bucket(folder.path()), config(&cache)).unwrap();
    assert_complete(&engine, 48);
}

/// A shared folder that is exchanged for another store's is another log.
#[test]
fn a_shared_folder_that_was_replaced_takes_nothing_of_an_open_engine() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let open = |place: &Path, cache: &str| {
        Engine::open_bucket(bucket(place), config(&folder.path().join(cache))).unwrap()
    };
    let other = open(&two, "other");
    store(&other, 0..48);
    other.close().unwrap();
    let engine = open(&one, "own");
    store(&engine, 100..108);
    fs::rename(one.join("bucket"), one.join("moved")).unwrap();
    fs::rename(two.join("bucket"), one.join("bucket")).unwrap();
    let before = contents(&one.join("bucket"));
    let refused = engine.store(note("later"));
    assert!(matches!(refused, Err(Error::Moved { .. })), "{refused:?}");
    assert!(engine.compact().is_err());
    assert!(find(&engine, &word(101)).is_some());
    drop(engine);
    assert!(contents(&one.join("bucket")) == before);
    assert_complete(&open(&one, "third"), 48);
}

#[test]
fn an_exchange_of_a_shared_folder_under_load_puts_nothing_into_the_other_one() {
    for round in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        let open = |place: &Path, cache: &str| {
            Engine::open_bucket(bucket(place), config(&folder.path().join(cache)))
        };
        let other = open(&two, "other").unwrap();
        store(&other, 0..3);
        other.close().unwrap();
        let before: Vec<Vec<u8>> = contents(&two.join("bucket")).into_values().collect();
        let engine = open(&one, "own").unwrap();
        let mut acknowledged = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_micros(5_000 + 1_300 * round));
                fs::rename(one.join("bucket"), one.join("moved")).unwrap();
                fs::rename(two.join("bucket"), one.join("bucket")).unwrap();
            });
            while engine.store(note(&word(acknowledged))).is_ok() {
                acknowledged += 1;
            }
        });
        drop(engine);
        let now: Vec<Vec<u8>> = contents(&one.join("bucket")).into_values().collect();
        assert!(now == before, "round {round}: the other store was changed");
        fs::rename(one.join("bucket"), two.join("bucket")).unwrap();
        fs::rename(one.join("moved"), one.join("bucket")).unwrap();
        let engine = open(&one, "third").unwrap();
        for number in 0..acknowledged {
            assert_eq!(find(&engine, &word(number)).unwrap().1, note(&word(number)), "round {round}");
        }
    }
}

#[test]
fn objects_of_two_stores_in_one_bucket_are_an_error_and_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    for (place, first) in [(&one, 0), (&two, 100)] {
        let engine = Engine::open_bucket(bucket(place), config(&place.join("cache"))).unwrap();
        store(&engine, first..first + 3);
        // As a kill leaves it, with an object for each commit.
        std::mem::forget(engine);
    }
    let objects = |place: &Path| {
        let mut objects: Vec<PathBuf> = contents(&place.join("bucket/log")).into_keys().collect();
        objects.sort();
        objects
    };
    let [own, others] = [objects(&one), objects(&two)];
    fs::remove_file(own.last().unwrap()).unwrap();
    fs::copy(others.last().unwrap(), own.last().unwrap()).unwrap();
    let opened = Engine::open_bucket(bucket(&one), config(&folder.path().join("new")));
    let message = opened.err().unwrap().to_string();
    assert!(message.contains("another store's"), "{message}");
}
