//! The local copy of a store that is in a bucket.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use mnemocore::{Bucket, Config, Engine, Error};

use super::common::{assert_complete, find, note, tiny, word};
use super::{WorkingFolder, contents, killed_store};

fn config(cache: &Path) -> Config {
    Config { cache_folder: cache.into(), ..tiny() }
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
