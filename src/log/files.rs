//! The files of a log while fjall has them closed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::LogFolder;
use super::inspect::{Inspection, inspect};
use super::lock::HeldLock;
use super::mark::Mark;
use super::{DiskLog, journal};
use crate::error::Error;
use crate::identity::shown;

/// The file that fjall keeps locked. It guards the log alone; the store has a lock of its
/// own, which is held while fjall is closed as well.
pub(super) const FJALL_LOCK: &str = "lock";

/// fjall's lock is held for longer than this only if the store's lock was deleted.
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
        path.join(FJALL_LOCK).is_file()
            || path.join("version").is_file()
            || path.join("keyspaces").is_dir()
            || journals()
    }

    /// Whether the folder `path` holds a log that was closed.
    pub(crate) fn is_closed_at(path: &Path) -> bool {
        Mark::read(path).is_some_and(|mark| mark.closed)
    }

    /// Takes fjall's lock of the log at `path`.
    ///
    /// # Errors
    /// [`Error::Locked`] if the log is open, [`Error::Io`].
    pub(crate) fn lock(path: &Path) -> Result<HeldLock, Error> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(FJALL_LOCK));
        let held = lock.and_then(|lock| HeldLock::wait(lock, LOCKED_FOR));
        held.map_err(|error| Error::io(path, error))?.ok_or_else(|| Error::Locked { path: shown(path) })
    }
}

/// Looks at the files of the log, and puts right what a crash may have left. `number` is
/// the log's, if that is known.
pub(super) fn prepare(
    folder: &LogFolder,
    number: Option<u64>,
    mended: &mut Vec<PathBuf>,
) -> Result<Inspection, Error> {
    let path = folder.anchor();
    if !DiskLog::is_at(path) {
        return Ok(Inspection::default());
    }
    let lock = path.join(FJALL_LOCK);
    if !lock.exists() {
        mended.push(shown(&lock));
    }
    let _lock = DiskLog::lock(path)?;
    let found = inspect(path)?;
    if number.is_some_and(|number| found.number.is_some_and(|found| found != number)) {
        return Err(folder.moved());
    }
    folder.check()?;
    if found.unfinished {
        clear(path).map_err(|error| Error::io(path, error))?;
    }
    if let Some((journal, end)) = &found.torn {
        let cut = OpenOptions::new().write(true).open(journal).and_then(|file| {
            file.set_len(*end)?;
            file.sync_all()
        });
        cut.map_err(|error| Error::io(journal, error))?;
        mended.push(shown(journal));
    }
    Ok(found)
}

/// Checks that the process has a working folder, without which fjall panics when it opens a
/// store, wherever that is.
pub(super) fn check_working_folder() -> io::Result<()> {
    std::env::current_dir().map(drop).map_err(|error| {
        let hint = "the working folder of this process; change to a folder that exists";
        io::Error::new(error.kind(), format!("{error}: {hint}"))
    })
}

/// Makes, writes and removes a file, as opening the store does: a store that was
/// closed and could not be opened again could not be read either.
pub(super) fn try_files(folder: &Path) -> io::Result<()> {
    check_working_folder()?;
    let path = folder.join("trial");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed)
}

/// Empties the journals of a closed store, all of whose memtables are tables,
/// and marks it as closed. The caller has its locks.
pub(super) fn empty_journals(path: &Path, mark: Mark) -> io::Result<()> {
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
    fs::remove_file(path.join(FJALL_LOCK))
}
