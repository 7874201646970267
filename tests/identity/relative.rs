//! Paths that do not begin at the root, and a working folder that changes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use mnemocore::{Engine, Error};

use super::common::{assert_complete, copy, find, note, spread, tiny, word};
use super::{OTHERS, WorkingFolder, contents, damage, killed_store};

#[test]
fn after_a_change_of_the_working_folder_an_engine_goes_on_in_the_first_one() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    killed_store(&second.path().join("mem"));
    let before = contents(second.path());
    let _folder = WorkingFolder::change(first.path());
    for compacts in [false, true] {
        std::env::set_current_dir(first.path()).unwrap();
        let engine = if compacts { Engine::open("mem", tiny()).unwrap() } else { spread("mem".as_ref(), 60) };
        std::env::set_current_dir(second.path()).unwrap();
        if compacts {
            engine.compact().unwrap();
        }
        let later = if compacts { "compacted" } else { "stored" };
        engine.store(note(later)).unwrap();
        engine.consolidate().unwrap();
        for number in 0..60 {
            assert_eq!(find(&engine, &word(number)).unwrap().1, note(&word(number)));
        }
        engine.close().unwrap();
        assert!(contents(second.path()) == before, "the store in the other folder was changed");
    }
    let engine = Engine::open(first.path().join("mem"), tiny()).unwrap();
    assert_eq!(engine.stats().total(), 62);
    assert!(find(&engine, "stored").is_some() && find(&engine, "compacted").is_some());
    assert_complete(&Engine::open(second.path().join("mem"), tiny()).unwrap(), OTHERS);
}

#[test]
fn a_relative_path_can_be_repaired_and_says_where_it_led() {
    let folder = tempfile::tempdir().unwrap();
    drop(spread(&folder.path().join("mem"), 48));
    copy(&folder.path().join("mem"), &folder.path().join("damaged"));
    damage(&folder.path().join("damaged"));
    let _folder = WorkingFolder::change(folder.path());
    let repair = Engine::repair("damaged", tiny()).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!((repair.kept, repair.set_aside), (48, here.join("damaged/log.damaged-1")));
    assert_complete(&Engine::open("damaged", tiny()).unwrap(), 48);
    let _engine = Engine::open("mem", tiny()).unwrap();
    let again = Engine::open("./mem", tiny());
    assert!(matches!(again.err(), Some(Error::Locked { path }) if path == here.join("mem")));
}

const FOLDER: &str = "MNEMO_RELATIVE_FOLDER";

#[test]
fn an_engine_works_without_a_working_folder() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "relative::without_a_working_folder", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert_complete(&Engine::open(folder.path().join("store"), tiny()).unwrap(), 50);
}

#[test]
#[ignore = "the process that `an_engine_works_without_a_working_folder` starts"]
fn without_a_working_folder() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let (gone, store) = (folder.join("gone"), folder.join("store"));
    fs::create_dir(&gone).unwrap();
    std::env::set_current_dir(&gone).unwrap();
    let engine = spread(&store, 48);
    fs::remove_dir(&gone).unwrap();
    engine.compact().unwrap();
    drop(Engine::open(folder.join("other"), tiny()).unwrap());
    assert!(matches!(Engine::open("other", tiny()), Err(Error::Io { .. })));
    engine.store(note(&word(48))).unwrap();
    engine.consolidate().unwrap();
    assert_complete(&engine, 49);
    std::env::set_current_dir(&folder).unwrap();
    engine.compact().unwrap();
    engine.store(note(&word(49))).unwrap();
    fs::create_dir(&gone).unwrap();
    std::env::set_current_dir(&gone).unwrap();
    fs::remove_dir(&gone).unwrap();
    engine.close().unwrap();
}
