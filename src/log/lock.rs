//! The lock of a store: one file in the store's folder, held by one engine.
//!
//! An engine takes the lock before it looks at the folder, and keeps it until the store
//! is closed. A path does not identify a store: while a store is open, its folder can be
//! renamed, deleted, or replaced by another store. So the engine compares the file at
//! the lock's path with the file that it locked before it changes or reopens anything.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(feature = "object-store")]
use std::time::SystemTime;
use std::time::{Duration, Instant};

use super::durable::open_or_make_file;
use crate::error::Error;
use crate::identity::{Identity, OpenFolder};
use crate::process;
use crate::telemetry::or_warn;

/// The name of the lock in a store's folder.
pub(crate) const LOCK: &str = "lock";

/// A lock that is still held after this time belongs to another engine.
pub(super) const LOCKED_FOR: Duration = Duration::from_millis(300);

/// How long a check holds. It looks up a path, which takes some microseconds, and a commit takes
/// only ten times as long: one check a millisecond is enough to raise the P99 of stores.
const CHECKED_FOR: Duration = Duration::from_millis(10);

/// How often a lock's file may be replaced while it is being locked.
const ATTEMPTS: usize = 100;

/// The lock of one store.
#[derive(Debug)]
pub(crate) struct StoreLock {
    // Ends before the folder does, by which it reaches its file.
    held: HeldLock,
    folder: OpenFolder,
    path: PathBuf,
    identity: Identity,
    opened: Instant,
    /// When it was last checked and found, in nanoseconds since it was opened.
    found: AtomicU64,
}

impl StoreLock {
    /// Locks the store in `folder`, which exists.
    ///
    /// # Errors
    /// [`Error::Locked`] if another engine keeps holding the lock, [`Error::Io`].
    pub(crate) fn acquire(folder: &Path) -> Result<Self, Error> {
        Self::within(folder, LOCKED_FOR)?.ok_or_else(|| Error::Locked { path: folder.into() })
    }

    /// Locks the store in `folder`, which exists; `None` if another engine holds the lock.
    ///
    /// # Errors
    /// [`Error::Io`].
    #[cfg(feature = "object-store")]
    pub(crate) fn try_acquire(folder: &Path) -> Result<Option<Self>, Error> {
        Self::within(folder, Duration::ZERO)
    }

    fn within(folder: &Path, time: Duration) -> Result<Option<Self>, Error> {
        let folder = absolute(folder)?;
        let path = folder.join(LOCK);
        let failed = |error| Error::io(&path, error);
        for _ in 0..ATTEMPTS {
            let open = OpenFolder::open(&folder).map_err(|error| Error::io(&folder, error))?;
            if path.symlink_metadata().is_ok_and(|lock| !lock.is_file()) {
                return Err(Error::NotAStore { path: folder, found: LOCK.into() });
            }
            let held = HeldLock::wait(&open.anchor().join(LOCK), time).map_err(failed)?;
            let Some(held) = held else { return Ok(None) };
            let identity = Identity::of(&held.file.metadata().map_err(failed)?);
            let (opened, found) = (Instant::now(), AtomicU64::new(0));
            let lock = Self { folder: open, path: path.clone(), held, identity, opened, found };
            match lock.check() {
                // Something was replaced before it could be locked.
                Err(Error::Moved { .. }) => {}
                checked => return checked.map(|()| Some(lock)),
            }
        }
        Err(Error::Moved { path: folder })
    }

    /// Leaves a lock file that this lock has made in the folder. Otherwise it is removed with the lock: an opening
    /// that is refused leaves nothing.
    pub(crate) fn keep(&self) {
        self.held.is_kept.store(true, Ordering::Relaxed);
    }

    /// The absolute path of the store's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path by which the files of the store are reached: see [`OpenFolder::anchor`].
    pub(crate) fn anchor(&self) -> &Path {
        self.folder.anchor()
    }

    /// Checks that the path of the store still leads to the store that was locked, in the
    /// process that locked it.
    ///
    /// # Errors
    /// [`Error::Moved`] or [`Error::Forked`] if not, [`Error::Io`] if that cannot be told.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_process(self.folder(), self.held.process)?;
        let now = self.opened.elapsed().as_nanos() as u64;
        let checked = self.expect(&self.path, self.identity.is_at(&self.path));
        self.found.store(if checked.is_ok() { now } else { 0 }, Ordering::Relaxed);
        checked
    }

    /// As [`StoreLock::check`], unless that found the store within [`CHECKED_FOR`].
    pub(crate) fn check_lately(&self) -> Result<(), Error> {
        let (now, found) = (self.opened.elapsed().as_nanos() as u64, self.found.load(Ordering::Relaxed));
        let is_late = found == 0 || now.saturating_sub(found) > CHECKED_FOR.as_nanos() as u64;
        if is_late { self.check() } else { Ok(()) }
    }

    /// The error if `path` does not lead to a part of the store any more.
    pub(super) fn expect(&self, path: &Path, leads: io::Result<bool>) -> Result<(), Error> {
        match leads {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Moved { path: self.folder().into() }),
            Err(error) => Err(Error::io(path, error)),
        }
    }

    /// Notes in the lock's file that the store is used now.
    #[cfg(feature = "object-store")]
    pub(crate) fn touch(&self) -> Result<(), Error> {
        self.held.file.set_modified(SystemTime::now()).map_err(|error| Error::io(&self.path, error))
    }
}

/// Refuses to go on in a process that was forked from `process`: it has none of the
/// engine's threads, and shares its locks and files.
///
/// # Errors
/// [`Error::Forked`].
pub(crate) fn check_process(store: &Path, process: u32) -> Result<(), Error> {
    match process::id() {
        same if same == process => Ok(()),
        forked => Err(Error::Forked { path: store.into(), opened_by: process, used_by: forked }),
    }
}

/// The path from the root, so that a later change of the working folder has no effect.
///
/// # Errors
/// [`Error::Io`] if the path is empty or the working folder is gone.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| Error::io(path, error))
}

/// A locked file, unlocked when it is dropped.
///
/// A forked process shares the lock with its parent, so it neither keeps the lock from
/// being released, nor releases it.
#[derive(Debug)]
pub(crate) struct HeldLock {
    file: File,
    path: PathBuf,
    process: u32,
    /// Whether the file stays if it is still empty when it is unlocked. One that was there stays.
    is_kept: AtomicBool,
}

impl HeldLock {
    /// Locks the file at `path`, waiting for at most `time`; `None` if another holder keeps it. Makes an empty file
    /// if there is none.
    pub(super) fn wait(path: &Path, time: Duration) -> io::Result<Option<Self>> {
        let start = Instant::now();
        for _ in 0..ATTEMPTS {
            let (file, is_new) = open_or_make_file(path)?;
            if !wait_for(&file, start, time)? {
                return Ok(None);
            }
            // Whoever had made the file may have removed it before unlocking it.
            if Identity::of(&file.metadata()?).is_at(path)? {
                let (path, process, is_kept) = (path.into(), process::id(), AtomicBool::new(!is_new));
                return Ok(Some(Self { file, path, process, is_kept }));
            }
        }
        Ok(None)
    }

    fn is_forked(&self) -> bool {
        self.process != process::id()
    }

    /// Removes the file if it was made for the lock alone.
    fn remove_unused(&self) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        let is_unused = !self.is_kept.load(Ordering::Relaxed) && metadata.len() == 0;
        if is_unused && Identity::of(&metadata).is_at(&self.path)? {
            fs::remove_file(&self.path)
        } else {
            Ok(())
        }
    }
}

/// Locks a file, unless another holder keeps it until `time` after `start`.
fn wait_for(file: &File, start: Instant, time: Duration) -> io::Result<bool> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if start.elapsed() >= time => return Ok(false),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if !self.is_forked() {
            // While it is locked, because the next holder keeps it.
            or_warn("remove an unused lock", self.remove_unused());
            // If that fails, closing the file unlocks it.
            let _ = self.file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_file_that_was_made_for_a_lock_goes_with_it_unless_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let lock = || HeldLock::wait(&path, Duration::ZERO).unwrap();
        drop(lock().unwrap());
        assert!(!path.exists());
        let held = lock().unwrap();
        assert!(lock().is_none());
        fs::write(&path, "content").unwrap();
        drop(held);
        assert!(path.exists());
        fs::write(&path, "").unwrap();
        drop(lock().unwrap());
        assert!(path.exists(), "it was there");
    }

    #[test]
    fn whoever_waits_for_a_lock_that_goes_holds_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for _ in 0..100 {
            let first = HeldLock::wait(&path, LONG).unwrap().unwrap();
            std::thread::scope(|scope| {
                let wait = || {
                    let held = HeldLock::wait(&path, LONG).unwrap().unwrap();
                    assert!(Identity::of(&held.file.metadata().unwrap()).is_at(&path).unwrap());
                    assert!(HeldLock::wait(&path, Duration::ZERO).unwrap().is_none(), "two hold it");
                };
                let waiting = [0; 2].map(|_| scope.spawn(wait));
                std::thread::sleep(Duration::from_micros(500));
                drop(first);
                waiting.into_iter().for_each(|waiting| waiting.join().unwrap());
            });
        }
    }
}
