//! The folder of a bucket on a local or mounted disk.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::error::Error;
use crate::identity::{OpenFolder, is_missing};

/// A folder on a disk, which several machines may have mounted.
///
/// An engine keeps it open. If another folder takes its place, or the disk is no longer mounted
/// there, the engine writes nothing to the other folder.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
    /// Empty until the folder exists.
    opened: Arc<OnceLock<OpenFolder>>,
}

impl Disk {
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path, opened: Arc::default() }
    }

    /// Makes the folder if it has never existed.
    pub(super) fn make(&self) -> Result<(), Error> {
        match self.opened.get() {
            Some(_) => Ok(()),
            None => fs::create_dir_all(&self.path).map_err(|error| Error::io(&self.path, error)),
        }
    }

    /// Checks that the path still leads to the same folder.
    pub(super) fn check(&self) -> Result<(), Error> {
        let failed = |error| Error::io(&self.path, error);
        if self.opened.get().is_none() {
            match OpenFolder::open(&self.path) {
                Err(error) if is_missing(&error) => return Ok(()),
                opened => drop(self.opened.set(opened.map_err(failed)?)),
            }
        }
        let there = self.opened.get().map_or(Ok(true), |opened| opened.is_at(&self.path));
        if there.map_err(failed)? { Ok(()) } else { Err(Error::Moved { path: self.path.clone() }) }
    }

    /// A path that leads to the folder even after it was renamed.
    pub(super) fn anchor(&self) -> Option<&str> {
        self.opened.get().filter(|opened| opened.is_anchored())?.anchor().to_str()
    }
}
