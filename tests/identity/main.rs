//! No store harms another: an engine keeps to the folder that it opened, and to the
//! process that opened it, and a folder has one engine at a time.
#![cfg(unix)]

#[cfg(feature = "object-store")]
mod cache;
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod fork;
mod moved;
mod race;
mod relative;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{copy, files, files_ending, flip, note, tiny, word};
use mnemocore::{Engine, NewMemory};

/// Memories of a store that stands in another one's way.
const OTHERS: usize = 200;

/// All files of a folder, with their contents.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(folder).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Makes a store of [`OTHERS`] memories at `place`, as a kill leaves it: its memories are
/// in the journal only.
fn killed_store(place: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    engine.store_batch((0..OTHERS).map(|number| NewMemory::new(note(&word(number)))).collect()).unwrap();
    copy(folder.path(), place);
}

/// Damages a closed store in a way that costs it nothing: the header of a segment, of which there is a copy.
fn damage(store: &Path) {
    flip(&files_ending(&store.join("segments"), "seg")[0], 60);
}

/// The working folder while a test has changed it; other tests use absolute paths.
struct WorkingFolder {
    before: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl WorkingFolder {
    fn change(to: &Path) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::env::current_dir().unwrap();
        std::env::set_current_dir(to).unwrap();
        Self { before, _alone: alone }
    }
}

impl Drop for WorkingFolder {
    fn drop(&mut self) {
        std::env::set_current_dir(&self.before).unwrap();
    }
}
