//! The place of an engine's files, and the contents of its folder.

use std::collections::HashSet;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

#[cfg(feature = "object-store")]
use super::cache::LocalCopy;
use crate::config::Config;
use crate::encoder::Encoder;
use crate::error::Error;
use crate::identity::shown;
use crate::log::{
    DiskLog, FORMAT, LOCK, LOG_FOLDER, StoreLock, absolute, check_process, make_folder, make_folders,
    sync_folder,
};
use crate::process;
use crate::tier::Depot;

/// The names in a store's folder.
pub(super) use crate::tier::files::SEGMENTS;
use crate::tier::files::unlisted;

/// The folder that a repair writes the new log to.
pub(super) const REPAIRING: &str = "log.repairing";

/// Its name once the new log is complete.
pub(super) const REPAIRED: &str = "log.repaired";

/// The location of an engine's files.
pub(super) struct Location {
    /// The path by which its files are reached.
    pub folder: PathBuf,
    /// The name in errors: the folder, or the URL of a bucket.
    pub name: PathBuf,
    /// Whether memories may be stored into it.
    pub writable: bool,
    /// The lock of the folder, which also keeps it open.
    pub lock: Option<Arc<StoreLock>>,
    /// Whether the files have no names, and end with the engine.
    pub is_temporary: bool,
    /// The local copy, for a store in a bucket.
    #[cfg(feature = "object-store")]
    pub copy: Option<LocalCopy>,
}

impl Location {
    /// A folder on this machine.
    pub(super) fn folder(path: PathBuf) -> Self {
        Self {
            name: path.clone(),
            folder: path,
            writable: true,
            lock: None,
            is_temporary: false,
            #[cfg(feature = "object-store")]
            copy: None,
        }
    }

    /// A store that is locked.
    pub(super) fn locked(lock: Arc<StoreLock>) -> Self {
        let (folder, name) = (lock.anchor().into(), lock.folder().into());
        Self { folder, name, lock: Some(lock), ..Self::folder(PathBuf::new()) }
    }

    /// Returns the storage of the segments besides the folder.
    pub(super) fn depot(&self) -> Option<Arc<dyn Depot>> {
        #[cfg(feature = "object-store")]
        if let Some(copy) = &self.copy {
            return Some(Arc::new(copy.bucket().clone()));
        }
        None
    }

    /// Removes what an interrupted repair has left in the folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn clean_up(&self) -> Result<(), Error> {
        self.lock.as_ref().map_or(Ok(()), |lock| remove_unfinished_repair(lock.anchor()))
    }

    /// Returns an error if the store is read-only.
    pub(super) fn check_writable(&self) -> Result<(), Error> {
        if self.writable { Ok(()) } else { Err(Error::ReadOnly { path: self.name.clone() }) }
    }

    /// No folder: the files end with the engine.
    pub(super) fn temporary() -> Self {
        Self { is_temporary: true, ..Self::folder(PathBuf::new()) }
    }
}

/// The settings that the data depends on.
pub(super) fn settings(config: &Config) -> [(&'static str, u64); 3] {
    [
        ("format", FORMAT),
        ("dimension", config.dimension.bits() as u64),
        ("encoder version", u64::from(Encoder::VERSION)),
    ]
}

/// Refuses to open a store in a process forked from one that has opened any store. The threads on
/// which engines share work belong to the parent.
///
/// # Errors
/// [`Error::Forked`].
pub(super) fn check_threads(store: &Path) -> Result<(), Error> {
    static FIRST: OnceLock<u32> = OnceLock::new();
    check_process(store, *FIRST.get_or_init(process::id))
}

/// Locks the store in the folder `path`. Makes the folder if it does not exist.
///
/// # Errors
/// [`Error::NotAStore`] if the folder holds something else, [`Error::Locked`],
/// [`Error::NoSpace`] or [`Error::Io`].
pub(super) fn lock_or_make(path: &Path) -> Result<Arc<StoreLock>, Error> {
    let path = &absolute(path)?;
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
    make_folders(path).map_err(|error| Error::io(path, error))?;
    if !is_lock(&path.join(LOCK)) {
        // A lock file must not be written into a folder that is not a store.
        look_at(path)?;
    }
    let lock = StoreLock::acquire(path)?;
    finish_repair(&lock)?;
    if look_at(lock.anchor())? == Content::Nothing {
        // A new folder survives a power loss only if its parent is synced.
        let made_in = path.parent().into_iter().chain(missing.into_iter().filter_map(Path::parent));
        for folder in made_in {
            sync(folder)?;
        }
    }
    Ok(Arc::new(lock))
}

/// Whether this is a store's lock file. A file with content belongs to another program.
pub(super) fn is_lock(path: &Path) -> bool {
    path.metadata().is_ok_and(|lock| lock.is_file() && lock.len() == 0)
}

#[derive(PartialEq, Eq)]
enum Content {
    Nothing,
    Store,
}

/// Looks at the names in a folder.
///
/// # Errors
/// [`Error::NotAStore`] for a folder that holds something else than a store.
fn look_at(path: &Path) -> Result<Content, Error> {
    let failed = |error| Error::io(path, error);
    let name = |entry: io::Result<DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let names = std::fs::read_dir(path).map_err(failed)?.map(name);
    let mut names: Vec<String> = names.collect::<io::Result<_>>().map_err(failed)?;
    names.retain(|name| name != LOCK || !is_lock(&path.join(LOCK)));
    let log = path.join(LOG_FOLDER);
    let Some(first) = names.iter().min() else { return Ok(Content::Nothing) };
    let is_log = || DiskLog::may_be_at(&log).map_err(|error| Error::io(&log, error));
    if names.iter().any(|name| name == LOG_FOLDER) && is_log()? || is_repaired(path) {
        let is_lost = !DiskLog::is_at(&log) && !is_repaired(path) && has_segments(path);
        return if is_lost { Err(lost_log(&log)) } else { Ok(Content::Store) };
    }
    if has_segments(path) {
        return Err(lost_log(&log));
    }
    Err(Error::NotAStore { path: shown(path), found: first.clone() })
}

/// Whether there are files of segments in the store's folder.
pub(super) fn has_segments(path: &Path) -> bool {
    unlisted(&path.join(SEGMENTS), &HashSet::new()).is_ok_and(|files| !files.is_empty())
}

fn lost_log(log: &Path) -> Error {
    Error::Corrupt { path: shown(log), what: "it is missing: the log".into() }
}

/// Removes a folder, if there is one.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn remove_folder(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path, error)),
        _ => Ok(()),
    }
}

/// Whether a repair was interrupted between its last two renames.
pub(super) fn is_repaired(path: &Path) -> bool {
    !path.join(LOG_FOLDER).exists() && DiskLog::is_at(&path.join(REPAIRED))
}

/// Finishes such a repair, and puts back what one that was interrupted earlier has set aside.
pub(super) fn finish_repair(lock: &StoreLock) -> Result<(), Error> {
    let path = lock.anchor();
    let (log, repaired) = (path.join(LOG_FOLDER), path.join(REPAIRED));
    if !is_repaired(path) {
        return put_segments_back(path);
    }
    rename(&repaired, &log)?;
    sync(path)
}

/// Removes the new log of a repair that was interrupted. Were the log lost later, it would take its place. The
/// caller has the log's lock, so no repair is writing it.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn remove_unfinished_repair(path: &Path) -> Result<(), Error> {
    [REPAIRED, REPAIRING].into_iter().try_for_each(|name| remove_folder(&path.join(name)))
}

/// Moves the files of segments that are not `listed` into the folder of the damaged log.
///
/// # Errors
/// [`Error::NoSpace`], [`Error::Io`].
pub(super) fn set_segments_aside(path: &Path, listed: &HashSet<u64>) -> Result<(), Error> {
    let (segments, aside) = (path.join(SEGMENTS), path.join(LOG_FOLDER).join(SEGMENTS));
    let files = unlisted(&segments, listed).map_err(|error| Error::io(&segments, error))?;
    if files.is_empty() {
        return Ok(());
    }
    make_folder(&aside).map_err(|error| Error::io(&aside, error))?;
    files.iter().try_for_each(|file| move_into(&aside, file))?;
    sync(&aside)?;
    sync(&segments)
}

/// Undoes [`set_segments_aside`]. A file whose name was taken meanwhile stays.
fn put_segments_back(path: &Path) -> Result<(), Error> {
    let (segments, aside) = (path.join(SEGMENTS), path.join(LOG_FOLDER).join(SEGMENTS));
    if !aside.exists() {
        return Ok(());
    }
    let files = unlisted(&aside, &HashSet::new()).map_err(|error| Error::io(&aside, error))?;
    make_folder(&segments).map_err(|error| Error::io(&segments, error))?;
    let is_free = |file: &&PathBuf| file.file_name().is_some_and(|name| !segments.join(name).exists());
    files.iter().filter(is_free).try_for_each(|file| move_into(&segments, file))?;
    sync(&segments)?;
    match std::fs::remove_dir(&aside) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(Error::io(&aside, error)),
        _ => Ok(()),
    }
}

fn move_into(folder: &Path, file: &Path) -> Result<(), Error> {
    rename(file, &folder.join(file.file_name().unwrap_or_default()))
}

/// Renames a file or a folder.
///
/// # Errors
/// [`Error::Io`], [`Error::NoSpace`].
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(|error| Error::io(from, error))
}

/// Makes the names in a folder survive a power loss.
///
/// # Errors
/// [`Error::Io`], [`Error::NoSpace`].
pub(super) fn sync(folder: &Path) -> Result<(), Error> {
    sync_folder(folder).map_err(|error| Error::io(folder, error))
}
