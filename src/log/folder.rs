//! The folder of a log that is open.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lock::StoreLock;
use crate::error::Error;
use crate::identity::Identity;

/// A log's folder, in a store that is locked.
///
/// fjall goes by paths, and writes tables in the background. On Linux it gets a path that
/// leads to the open folder whatever that is called by now, so that nothing it does
/// reaches another store. Elsewhere the path is checked before each call.
pub(super) struct LogFolder {
    lock: Arc<StoreLock>,
    path: PathBuf,
    identity: Identity,
    /// Kept open, so that no other folder takes its identity or its descriptor.
    handle: Option<File>,
    anchor: Option<PathBuf>,
}

impl LogFolder {
    /// Opens the folder `name` of the store, or makes it.
    ///
    /// # Errors
    /// [`Error::Moved`], [`Error::NoSpace`] or [`Error::Io`].
    pub(super) fn open(lock: Arc<StoreLock>, name: &str) -> Result<Self, Error> {
        lock.check()?;
        let path = lock.folder().join(name);
        let failed = |error| Error::io(&path, error);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        // Only Unix opens folders as files.
        let handle = if cfg!(unix) { Some(File::open(&path).map_err(failed)?) } else { None };
        let opened = handle.as_ref().map_or_else(|| fs::metadata(&path), File::metadata).map_err(failed)?;
        let identity = Identity::of(&opened);
        let anchor = handle.as_ref().and_then(anchor).filter(|anchor| {
            // Not where no `/proc` is mounted.
            identity.is_at(anchor).is_ok_and(|leads| leads)
        });
        Ok(Self { lock, path, identity, handle, anchor })
    }

    /// The log's path, as the user knows it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path that leads to this folder if any does.
    pub(super) fn anchor(&self) -> &Path {
        self.anchor.as_deref().unwrap_or(&self.path)
    }

    /// Checks before a commit that the store is where it was.
    ///
    /// # Errors
    /// As [`StoreLock::check`].
    pub(super) fn check_store(&self) -> Result<(), Error> {
        self.lock.check()
    }

    /// Checks that the store is where it was, and the log in it.
    ///
    /// # Errors
    /// As [`StoreLock::check`].
    pub(super) fn check(&self) -> Result<(), Error> {
        self.check_store()?;
        self.lock.check_identity(&self.path, self.identity)
    }

    /// Checks before a read, if fjall goes by the log's path.
    ///
    /// # Errors
    /// As [`LogFolder::check`].
    pub(super) fn check_read(&self) -> Result<(), Error> {
        if self.anchor.is_some() { Ok(()) } else { self.check() }
    }

    /// The error for a log whose folder holds another log by now.
    pub(super) fn moved(&self) -> Error {
        Error::Moved { path: self.lock.folder().into() }
    }

    /// Whether this process was forked from the one that opened the log.
    pub(super) fn is_forked(&self) -> bool {
        self.lock.is_forked()
    }

    /// Keeps the folder's descriptor for as long as the process lives.
    pub(super) fn leak(&mut self) {
        std::mem::forget(self.handle.take());
    }
}

/// A path to an open folder.
#[cfg(target_os = "linux")]
fn anchor(folder: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    Some(PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())))
}

#[cfg(not(target_os = "linux"))]
fn anchor(_: &File) -> Option<PathBuf> {
    None
}
