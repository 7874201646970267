//! The folder of a log that is open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::durable::make_folder;
use super::identity;
use super::lock::StoreLock;
use crate::error::Error;
use crate::identity::{OpenFolder, is_missing};

/// A log's folder, in a store that is locked.
pub(super) struct LogFolder {
    lock: Arc<StoreLock>,
    path: PathBuf,
    open: OpenFolder,
    /// Whether the last check found another folder in its place.
    moved: AtomicBool,
}

impl LogFolder {
    /// Opens the folder `name` of the store, or makes it.
    ///
    /// # Errors
    /// [`Error::Moved`], [`Error::NoSpace`] or [`Error::Io`].
    pub(super) fn open(lock: Arc<StoreLock>, name: &str) -> Result<Self, Error> {
        lock.check()?;
        let (path, within) = (lock.folder().join(name), lock.anchor().join(name));
        let open = make_folder(&within).and_then(|()| OpenFolder::open(&within));
        let open = open.map_err(|error| Error::io(&path, error))?;
        Ok(Self { lock, path, open, moved: AtomicBool::new(false) })
    }

    /// Leaves the lock of the store in its folder: see [`StoreLock::keep`].
    pub(super) fn keep_lock(&self) {
        self.lock.keep();
    }

    /// The log's path, as the user knows it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path by which its files are reached: see [`OpenFolder::anchor`].
    pub(super) fn anchor(&self) -> &Path {
        self.open.anchor()
    }

    /// The path by which the store's folder is reached.
    pub(super) fn store(&self) -> &Path {
        self.lock.anchor()
    }

    /// Checks before a commit that the store is where it was 10 ms ago. The commit
    /// goes to a journal that is open, so it reaches no other store in any case.
    ///
    /// # Errors
    /// As [`StoreLock::check`].
    pub(super) fn check_store(&self) -> Result<(), Error> {
        self.lock.check_lately()?;
        if self.moved.load(Ordering::Relaxed) { self.check() } else { Ok(()) }
    }

    /// Checks that the store is where it was, and the log in it.
    ///
    /// # Errors
    /// As [`StoreLock::check`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let checked =
            self.lock.check().and_then(|()| self.lock.expect(&self.path, self.open.is_at(&self.path)));
        self.moved.store(matches!(checked, Err(Error::Moved { .. })), Ordering::Relaxed);
        checked
    }

    /// As [`LogFolder::check`], and that it still holds the log with this number.
    ///
    /// # Errors
    /// As [`StoreLock::check`].
    pub(super) fn check_log(&self, number: u64) -> Result<(), Error> {
        self.check()?;
        match identity::read(self.anchor()) {
            Ok(Some(found)) if found.number == number => Ok(()),
            Err(error) if !is_missing(&error) => Err(Error::io(&identity::path(&self.path), error)),
            _ => Err(Error::Moved { path: self.lock.folder().into() }),
        }
    }
}
