//! Finds the journal of a log that is opened.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::appender::Appender;
use super::durable::write_file;
use super::folder::LogFolder;
use super::identity::{self, Identity};
use super::journal::{self, End, Header, Journal, file_name};
use crate::error::Error;
use crate::identity::shown;

pub(super) fn is_former(path: &Path) -> bool {
    path.join("version").is_file() || path.join("keyspaces").is_dir()
}

pub(super) fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "tmp")
}

/// The journal of the log whose identity is `known`, if there is one.
pub(super) fn find(folder: &LogFolder, known: Option<Identity>) -> Result<Option<(PathBuf, Journal)>, Error> {
    let anchor = folder.anchor();
    let failed = |error| Error::io(folder.path(), error);
    let mut paths = journal::paths(anchor).map_err(failed)?;
    let Some((generation, newest)) = paths.pop() else {
        if known.is_some() {
            return Err(damaged(&anchor.join(file_name(0)), "the journal is missing; it"));
        }
        let named = fs::metadata(identity::path(anchor)).is_ok_and(|file| file.len() > 0);
        return if named { Err(damaged(&identity::path(anchor), "its content")) } else { Ok(None) };
    };
    let found = journal::read(&newest).map_err(|error| Error::io(&shown(&newest), error))?;
    let Some(found) = found else { return Err(damaged(&newest, "its header")) };
    if found.header.generation != generation {
        return Err(damaged(&newest, "it is another one of its name: the journal"));
    }
    if known.is_some_and(|known| known.number != found.header.number) {
        return Err(damaged(&newest, "it or the identity is another store's: the log"));
    }
    if known.is_some_and(|known| known.generation > generation) {
        return Err(damaged(&newest, "it is older than the log's last one: the journal"));
    }
    if found.end == End::Damaged {
        return Err(damaged(&newest, "a batch"));
    }
    Ok(Some((newest, found)))
}

/// Removes what interrupted checkpoints have left. The journal of `generation` holds all that older ones held.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn remove_former(folder: &Path, generation: u64) -> Result<(), Error> {
    let failed = |error| Error::io(folder, error);
    let journals = journal::paths(folder).map_err(failed)?.into_iter();
    let former = journals.filter(|(other, _)| *other < generation).map(|(_, path)| path);
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let entries: Vec<PathBuf> = entries.map_err(failed)?;
    let unfinished = entries.into_iter().filter(|path| is_unfinished(path));
    let remove = |path: PathBuf| fs::remove_file(&path).map_err(|error| Error::io(&path, error));
    former.chain(unfinished).try_for_each(remove)
}

/// Writes what is behind the end of `journal`, of the log `number`, into the file `path`. It is a journal without
/// a checkpoint: in the folder of a log of its own, a repair reads what can be read of it.
pub(super) fn set_aside(path: &Path, journal: &Appender, number: u64) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let &Appender { generation, sequence: first, .. } = journal;
    let mut content = Header { number, generation, first, checkpoint: Header::BYTES }.encode();
    let mut file = File::open(folder.join(file_name(generation)))?;
    file.seek(SeekFrom::Start(journal.end))?;
    file.read_to_end(&mut content)?;
    write_file(folder, &format!("{name}.tmp"), name, &content).map(drop)
}

pub(super) fn damaged(path: &Path, what: &str) -> Error {
    Error::Corrupt { path: shown(path), what: what.into() }
}
