//! The files of a log while fjall has them closed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::inspect::{Inspection, inspect};
use super::mark::Mark;
use super::{DiskLog, journal};
use crate::error::Error;

/// How long an engine that has just been dropped may take to let go of the log.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// A log that is still locked after this time is another engine's.
const LOCKED_FOR: Duration = Duration::from_millis(300);

impl DiskLog {
    /// Whether the folder `path` holds a log, or nothing yet.
    ///
    /// # Errors
    /// When the folder may not be read, say.
    pub(crate) fn may_be_at(path: &Path) -> io::Result<bool> {
        if Self::is_at(path) {
            return Ok(true);
        }
        match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            entries => Ok(entries?.next().is_none()),
        }
    }

    /// Whether the folder `path` holds a log, damaged or not. fjall's lock is the
    /// first file that is made; should it be gone, others are left.
    pub(crate) fn is_at(path: &Path) -> bool {
        let journals = || journal::paths(path).is_ok_and(|journals| !journals.is_empty());
        path.join("lock").is_file()
            || path.join("version").is_file()
            || path.join("keyspaces").is_dir()
            || journals()
    }

    /// Whether the folder `path` holds a log that was closed.
    pub(crate) fn is_closed_at(path: &Path) -> bool {
        Mark::read(path).is_some_and(|mark| mark.closed)
    }

    /// Keeps engines away from the log at `path` while the file lives.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open, [`Error::Io`].
    pub(crate) fn lock(path: &Path) -> Result<File, Error> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.map_err(|error| Error::io(path, error))?;
        match wait_for(&lock, LOCKED_FOR) {
            Ok(true) => Ok(lock),
            Ok(false) => Err(Error::Locked { path: path.into() }),
            Err(error) => Err(Error::io(path, error)),
        }
    }
}

/// Looks at the files of the log, and puts right what a crash may have left.
pub(super) fn prepare(path: &Path, mended: &mut Vec<PathBuf>) -> Result<Inspection, Error> {
    if !DiskLog::is_at(path) {
        return Ok(Inspection::default());
    }
    let lock = path.join("lock");
    if !lock.exists() {
        mended.push(lock);
    }
    let _lock = DiskLog::lock(path)?;
    let found = inspect(path)?;
    if found.unfinished {
        clear(path).map_err(|error| Error::io(path, error))?;
    }
    if let Some((journal, end)) = &found.torn {
        let cut = OpenOptions::new().write(true).open(journal).and_then(|file| {
            file.set_len(*end)?;
            file.sync_all()
        });
        cut.map_err(|error| Error::io(journal, error))?;
        mended.push(journal.clone());
    }
    Ok(found)
}

/// Makes, writes and removes a file, as opening the store does: a store that was
/// closed and could not be opened again could not be read either.
pub(super) fn try_files(folder: &Path) -> Result<(), Error> {
    let path = folder.join("trial");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed).map_err(|error| Error::io(&path, error))
}

/// Empties the journals of a closed store, all of whose memtables are tables,
/// and marks it as closed.
pub(super) fn empty_journals(path: &Path, mark: Mark) -> io::Result<()> {
    let _lock = wait_until_closed(path)?;
    for journal in journal::paths(path)? {
        let journal = OpenOptions::new().write(true).open(journal)?;
        journal.set_len(0)?;
        journal.sync_all()?;
    }
    mark.write(path)
}

/// Removes all that fjall makes, its lock last: it takes no files that are there
/// without its version marker, nor with one that is cut.
fn clear(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.ends_with("keyspaces") {
            fs::remove_dir_all(entry)?;
        } else if journal::is_one(&entry) || entry.ends_with("version") {
            fs::remove_file(entry)?;
        }
    }
    fs::remove_file(path.join("lock"))
}

/// The store lets go of its lock when its last thread has ended, a moment after
/// it was dropped. Returns the lock.
pub(super) fn wait_until_closed(path: &Path) -> io::Result<File> {
    let lock = OpenOptions::new().write(true).open(path.join("lock"))?;
    if wait_for(&lock, CLOSED_WITHIN)? {
        return Ok(lock);
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "the log is still in use"))
}

/// Whether the lock could be had in this time.
fn wait_for(lock: &File, time: Duration) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            Err(fs::TryLockError::WouldBlock) if start.elapsed() >= time => return Ok(false),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}
