//! Looks at the files of a closed log before fjall does, changing nothing.
//!
//! What fjall makes of damaged files is not always an error: it deletes a
//! keyspace that has no `current`, and the tables that an older manifest does
//! not list; it ends at the first byte of a journal that it cannot read and
//! cuts off what is behind; it replays another store's journal. Opening a log
//! that was not closed or was closed by another version has to go on all the
//! same, so what is refused here is only what no kill leaves.

use std::io;
use std::path::{Path, PathBuf};

use lsm_tree::CompressionType;
use rayon::prelude::*;

use super::journal::{self, End, Journal};
use super::mark::{self, Mark};
use super::tables::{self, Listed, Manifest};
use super::{codec, setting_key};
use crate::error::Error;

/// What fjall writes into its `version`.
const VERSION: &[u8] = b"FJL\x03";

/// The first batch of a journal notes the sequence number that it is about to
/// get; in between there are the numbers that flushes and compactions take.
const BETWEEN: u64 = 1 << 20;

/// A log that can be opened.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    /// The number of its mark, or of its journals if it has no mark.
    pub number: Option<u64>,
    /// Whether its mark is there and says that it is open.
    pub marked_open: bool,
    /// A journal whose last write was torn, and where that begins.
    pub torn: Option<(PathBuf, u64)>,
}

/// Looks at the log in `folder`.
///
/// # Errors
/// [`Error::Corrupt`] for what is not as it was written, [`Error::Io`].
pub(super) fn inspect(folder: &Path) -> Result<Inspection, Error> {
    let failed = |error| Error::io(folder, error);
    let mark = Mark::read(folder);
    let journals = read_journals(folder)?;
    let keyspaces = tables::keyspaces(folder).map_err(failed)?;
    let version = folder.join("version");
    if !version.try_exists().map_err(failed)? {
        // fjall makes it before anything is stored; without it nothing may be.
        let mut stored = mark.is_some() || journals.iter().any(|journal| !journal.batches.is_empty());
        for (_, keyspace) in &keyspaces {
            stored |= !tables::table_files(keyspace).map_err(failed)?.is_empty();
        }
        return if stored { Err(damaged(&version, "it is missing")) } else { Ok(Inspection::default()) };
    }
    if std::fs::read(&version).map_err(failed)? != VERSION {
        return Err(damaged(&version, "its content"));
    }
    check_keyspaces(folder, &keyspaces, &journals)?;
    check_journals(folder, mark, &journals)
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::Corrupt { path: path.into(), what: what.into() }
}

pub(super) fn read_journals(folder: &Path) -> Result<Vec<Journal>, Error> {
    let paths = journal::paths(folder).map_err(|error| Error::io(folder, error))?;
    paths.iter().map(|path| journal::read(path).map_err(|error| Error::io(path, error))).collect()
}

fn check_journals(folder: &Path, mark: Option<Mark>, journals: &[Journal]) -> Result<Inspection, Error> {
    let Some(last) = journals.last() else { return Err(damaged(folder, "its journal is missing: the log")) };
    let mut found = Inspection {
        number: mark.map(|mark| mark.number),
        marked_open: mark.is_some_and(|mark| !mark.closed),
        torn: None,
    };
    let mut before = None;
    for journal in journals {
        let newest = journal.path == last.path;
        let empty = journal.batches.is_empty() && journal.end == End::Whole;
        if mark.is_some_and(|mark| mark.closed) && !empty {
            return Err(damaged(&journal.path, "the log was closed, and this journal is not empty; it"));
        }
        match journal.end {
            End::Whole => {}
            End::Torn(at) if newest => found.torn = Some((journal.path.clone(), at)),
            End::Torn(_) | End::Damaged => return Err(damaged(&journal.path, "a batch")),
        }
        for batch in &journal.batches {
            if before.is_some_and(|before| batch.sequence <= before) {
                return Err(damaged(&journal.path, "the order of its batches"));
            }
            before = Some(batch.sequence);
        }
        for (number, noted, sequence) in marks(journal) {
            if *found.number.get_or_insert(number) != number {
                return Err(damaged(&journal.path, "it or the mark is another store's: the log"));
            }
            if sequence < noted || sequence > noted.saturating_add(BETWEEN) {
                return Err(damaged(&journal.path, "a sequence number"));
            }
        }
    }
    Ok(found)
}

/// The marks in a journal: the number of the log, the sequence number that was
/// expected, and the one that the batch has.
pub(super) fn marks(journal: &Journal) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
    let key = setting_key(mark::SETTING);
    let marked = journal.batches.iter().flat_map(move |batch| {
        let mark = batch.changes.iter().rfind(|change| change.key == key);
        mark.and_then(|change| change.value.as_deref()).map(|value| (value, batch.sequence))
    });
    marked.filter_map(|(value, sequence)| {
        let (number, noted) = codec::decode_mark(value)?;
        Some((number, noted, sequence))
    })
}

fn check_keyspaces(folder: &Path, keyspaces: &[(u64, PathBuf)], journals: &[Journal]) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io(folder, error);
    let journaled = |keyspace: u64| {
        let mut changes = journals.iter().flat_map(|journal| &journal.batches).flat_map(|batch| &batch.changes);
        changes.any(|change| change.keyspace == keyspace)
    };
    let mut listed = Vec::new();
    let mut made = Vec::new();
    for (number, path) in keyspaces {
        match tables::manifest(path).map_err(failed)? {
            Manifest::Tables(tables) => {
                made.push((*number, path, tables.is_empty()));
                listed.extend(tables);
            }
            Manifest::Unmade if journaled(*number) => return Err(damaged(&path.join("current"), "it is missing")),
            Manifest::Unmade => {}
            Manifest::Damaged(path) => return Err(damaged(&path, "its content")),
        }
    }
    let wrong = |listed: &Listed| tables::is_as_listed(listed).map(|right| (!right).then(|| listed.path.clone()));
    let wrong: Vec<Option<PathBuf>> = listed.par_iter().map(wrong).collect::<Result<_, _>>().map_err(failed)?;
    if let Some(path) = wrong.into_iter().flatten().next() {
        return Err(damaged(&path, "its content"));
    }
    // fjall deletes a keyspace that the first one does not name.
    let names = names(folder).map_err(failed)?;
    let nameless = made.iter().find(|(number, _, empty)| {
        *number > 0 && !names.iter().any(|(named, _)| named == number) && (!empty || journaled(*number))
    });
    match nameless {
        Some((_, path, _)) => Err(damaged(path, "its name")),
        None => Ok(()),
    }
}

/// The names of the keyspaces, which keyspace 0 holds.
pub(super) fn names(folder: &Path) -> io::Result<Vec<(u64, String)>> {
    let meta = folder.join("keyspaces").join("0");
    let mut found = Vec::new();
    for path in tables::table_files(&meta)? {
        for entry in tables::read(&path, CompressionType::None)?.entries {
            let number = entry.key.strip_prefix(b"n").and_then(|key| key.try_into().ok()).map(u64::from_be_bytes);
            let name = entry.value.and_then(|value| String::from_utf8(value).ok());
            found.extend(number.zip(name));
        }
    }
    Ok(found)
}
