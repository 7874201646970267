//! Looks at the files of a closed log before fjall does, changing nothing.
//!
//! What fjall makes of damaged files is not always an error: it deletes a
//! keyspace that has no `current`, and the tables that an older manifest does
//! not list; it ends at the first byte of a journal that it cannot read and
//! cuts off what is behind; it replays another store's journal. Opening a log
//! that was not closed or was closed by another version has to go on all the
//! same, so what is refused here is only what no kill leaves.

use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use lsm_tree::CompressionType;

use super::journal::{self, End, Journal};
use super::mark::{self, Mark};
use super::tables::{self, Listed, Manifest};
use super::{TABLES, codec, setting_key};
use crate::error::Error;
use crate::identity::shown;

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
    /// Its mark.
    pub mark: Option<Mark>,
    /// Whether it was not made to its end, so that nothing is in it.
    pub unfinished: bool,
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
    let path = folder.join("version");
    let version = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        version => Some(version.map_err(failed)?),
    };
    if mark.is_none() && !has_content(&keyspaces, &journals).map_err(failed)? {
        return Ok(Inspection { unfinished: true, ..Inspection::default() });
    }
    if version.as_deref() != Some(VERSION) {
        let what = if version.is_some() { "its content" } else { "it is missing: the log" };
        return Err(damaged(&path, what));
    }
    check_keyspaces(folder, &keyspaces, &journals)?;
    check_names(folder, &keyspaces, &journals, mark.is_some())?;
    check_journals(folder, mark, &journals)
}

/// Whether anything was ever stored. The mark is made once the names of all
/// folders are on the disk, and before the first commit: a log with neither is one
/// whose making a crash cut short.
fn has_content(keyspaces: &[(u64, PathBuf)], journals: &[Journal]) -> io::Result<bool> {
    let empty = |journal: &Journal| journal.batches.is_empty() && journal.end == End::Whole;
    if !journals.iter().all(empty) {
        return Ok(true);
    }
    // Keyspace 0 holds the names of the others.
    for (_, path) in keyspaces.iter().filter(|(number, _)| *number != 0) {
        if !tables::table_files(path)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::Corrupt { path: shown(path), what: what.into() }
}

pub(super) fn read_journals(folder: &Path) -> Result<Vec<Journal>, Error> {
    let paths = journal::paths(folder).map_err(|error| Error::io(folder, error))?;
    paths.iter().map(|path| journal::read(path).map_err(|error| Error::io(path, error))).collect()
}

fn check_journals(folder: &Path, mark: Option<Mark>, journals: &[Journal]) -> Result<Inspection, Error> {
    let Some(last) = journals.last() else { return Err(damaged(folder, "its journal is missing: the log")) };
    let mut found = Inspection { number: mark.map(|mark| mark.number), mark, ..Inspection::default() };
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

/// Whether a journal has changes to a keyspace.
fn is_journaled(keyspace: u64, journals: &[Journal]) -> bool {
    let mut batches = journals.iter().flat_map(|journal| &journal.batches);
    batches.any(|batch| batch.changes.iter().any(|change| change.keyspace == keyspace))
}

/// Every keyspace has its manifest, and the tables that this lists.
fn check_keyspaces(folder: &Path, keyspaces: &[(u64, PathBuf)], journals: &[Journal]) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io(folder, error);
    let mut listed = Vec::new();
    for (number, path) in keyspaces {
        match tables::manifest(path).map_err(failed)? {
            Manifest::Tables(tables) => listed.extend(tables),
            Manifest::Unmade if is_journaled(*number, journals) => {
                return Err(damaged(&path.join("current"), "it is missing: the table"));
            }
            Manifest::Unmade => {}
            Manifest::Damaged(path) => return Err(damaged(&path, "its content")),
        }
    }
    wrong_table(&listed).map_err(failed)?.map_or(Ok(()), |path| Err(damaged(&path, "its content")))
}

/// The first table that is not as it was listed. Threads of its own look for it: those of a
/// pool may be waiting for the locks that the caller holds.
fn wrong_table(listed: &[Listed]) -> io::Result<Option<PathBuf>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let wrong = |table: &Listed| match tables::is_as_listed(table) {
        Ok(true) => None,
        Ok(false) => Some(Ok(table.path.clone())),
        Err(error) => Some(Err(error)),
    };
    thread::scope(|scope| {
        let parts = listed.chunks(listed.len().div_ceil(threads).max(1));
        let parts: Vec<_> =
            parts.map(|some| scope.spawn(move || some.iter().find_map(wrong).transpose())).collect();
        let found: io::Result<Vec<Option<PathBuf>>> =
            parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect();
        Ok(found?.into_iter().flatten().next())
    })
}

/// Every keyspace that has a name is there, and every one that holds something
/// has a name: fjall makes the former anew, and deletes the latter.
fn check_names(
    folder: &Path,
    keyspaces: &[(u64, PathBuf)],
    journals: &[Journal],
    marked: bool,
) -> Result<(), Error> {
    let failed = |error: io::Error| Error::io(folder, error);
    let names = names(folder).map_err(failed)?;
    for (number, name) in &names {
        let path = folder.join("keyspaces").join(number.to_string());
        if !path.join("current").exists() {
            return Err(damaged(&path, &format!("it is missing: the table of {name}")));
        }
    }
    // The mark is made after them.
    let nameless = TABLES.iter().find(|table| marked && !names.iter().any(|(_, name)| name == *table));
    if let Some(table) = nameless {
        return Err(damaged(&folder.join("keyspaces"), &format!("it is missing: the table of {table}")));
    }
    for (number, path) in keyspaces {
        let named = *number == 0 || names.iter().any(|(named, _)| named == number);
        if !named
            && (is_journaled(*number, journals) || !tables::table_files(path).map_err(failed)?.is_empty())
        {
            return Err(damaged(path, "its name"));
        }
    }
    Ok(())
}

/// The names of the keyspaces, which keyspace 0 holds.
pub(super) fn names(folder: &Path) -> io::Result<Vec<(u64, String)>> {
    let meta = folder.join("keyspaces").join("0");
    let mut found = Vec::new();
    for path in tables::table_files(&meta)? {
        for entry in tables::read(&path, CompressionType::None)?.entries {
            let number =
                entry.key.strip_prefix(b"n").and_then(|key| key.try_into().ok()).map(u64::from_be_bytes);
            let name = entry.value.and_then(|value| String::from_utf8(value).ok());
            found.extend(number.zip(name));
        }
    }
    Ok(found)
}
