//! The folder of a store whose WARM is in a database, or the database itself, is replaced.

use std::fs;

use mnemocore::{Error, NewMemory};

use super::common::{assert_complete, copy, note, tiny, word};
use super::server::{QUICK, Server, open, shared};

fn config() -> mnemocore::Config {
    tiny().remote(QUICK)
}

fn memories(count: usize) -> Vec<NewMemory> {
    (0..count).map(|number| NewMemory::new(note(&word(number)))).collect()
}

#[test]
fn a_store_whose_folder_was_replaced_changes_nothing_of_the_other_ones_rows() {
    let Some(server) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [place, moved, other] = ["place", "moved", "other"].map(|name| folder.path().join(name));
    [&place, &other].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    // Killed: what is in HOT, COLD and the database is known to its journal only.
    let killed = open(&other, &config(), &server.connection()).unwrap();
    killed.store_batch(memories(60)).unwrap();
    killed.consolidate().unwrap();
    copy(&other, &folder.path().join("killed"));
    let engine = open(&place, &config(), &server.connection()).unwrap();
    engine.store_batch(memories(40)).unwrap();
    fs::rename(&place, &moved).unwrap();
    fs::rename(folder.path().join("killed"), &place).unwrap();
    // A check of the folder holds for 10 ms.
    std::thread::sleep(std::time::Duration::from_millis(20));
    for refused in [
        engine.store_batch(memories(30)).map(drop),
        engine.consolidate().map(drop),
        engine.compact(),
        engine.close(),
    ] {
        assert!(matches!(refused, Err(Error::Moved { .. })), "{refused:?}");
    }
    assert_complete(&open(&place, &config(), &server.connection()).unwrap(), 60);
    assert_complete(&open(&moved, &config(), &server.connection()).unwrap(), 40);
}

/// The tables are as in a new database: the rows are derived, and come back.
#[test]
fn a_database_that_was_replaced_is_refused_by_the_open_engine_and_filled_by_the_next() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), &config(), &server.connection()).unwrap();
    engine.store_batch(memories(40)).unwrap();
    server.ask("TRUNCATE mnemo_stores, mnemo_warm_512");
    let refused = engine.store_batch(memories(30));
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    assert_eq!(server.ask("SELECT count(*) FROM mnemo_warm_512"), ["0"]);
    drop(engine);
    assert_complete(&open(folder.path(), &config(), &server.connection()).unwrap(), 40);
}
