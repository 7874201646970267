//! Finds the journal of a log that is opened.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::folder::LogFolder;
use super::identity;
use super::journal::{self, End, Journal, file_name};
use crate::error::Error;
use crate::identity::shown;

pub(super) fn is_former(path: &Path) -> bool {
    path.join("version").is_file() || path.join("keyspaces").is_dir()
}

pub(super) fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "tmp")
}

/// The journal of the log whose identity is `known`, if there is one, and removes what an interrupted
/// checkpoint has left.
pub(super) fn find(
    folder: &LogFolder,
    known: Option<u64>,
    repaired: &mut Vec<PathBuf>,
) -> Result<Option<(PathBuf, Journal)>, Error> {
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
    if known.is_some_and(|known| known != found.header.number) {
        return Err(damaged(&newest, "it or the identity is another store's: the log"));
    }
    if found.end == End::Damaged {
        return Err(damaged(&newest, "a batch"));
    }
    if known.is_none() {
        repaired.push(shown(&identity::path(anchor)));
    }
    folder.check()?;
    let entries = fs::read_dir(anchor).map_err(failed)?.flatten().map(|entry| entry.path());
    let unfinished: Vec<PathBuf> = entries.filter(|path| is_unfinished(path)).collect();
    // The newest one holds all that the others held.
    for path in paths.into_iter().map(|(_, path)| path).chain(unfinished) {
        fs::remove_file(&path).map_err(|error| Error::io(&shown(&path), error))?;
    }
    Ok(Some((newest, found)))
}

pub(super) fn damaged(path: &Path, what: &str) -> Error {
    Error::Corrupt { path: shown(path), what: what.into() }
}

pub(super) fn cut(path: &Path, at: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(at)?;
    file.sync_all()
}
