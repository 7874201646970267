//! Reads all that can be read of a damaged log, changing nothing.
//!
//! Tables and journals are read by themselves, for fjall opens all or nothing:
//! of a table every block whose checksum is right, of a journal every batch.
//! Of each key the entry with the highest sequence number counts, a tombstone
//! as well.
//!
//! Nothing is taken from a file that is another store's, however right its
//! checksums are: from a table that is sound in itself but not the one that
//! the manifest lists, and from a journal that has another log's number or
//! that should be empty.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lsm_tree::CompressionType;

use super::inspect::{self, read_journals};
use super::journal::End;
use super::mark::{self, Mark};
use super::tables::{self, Manifest};
use super::{Record, TABLES, Table, codec, setting_key};
use crate::error::Error;
use crate::identity::shown;
use crate::key::MemoryId;

/// The newest of each key, `None` for one that was removed.
type Values = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What could be read of one table of the log.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    /// The newest of each key, `None` for one that was removed.
    pub values: Values,
    /// Whether that is all, so that what is not here was not there.
    pub whole: bool,
}

impl Salvaged {
    /// All keys, also of what was removed, that are memories' ids.
    pub(crate) fn ids(&self) -> impl Iterator<Item = MemoryId> + '_ {
        self.values
            .keys()
            .filter_map(|key| Some(MemoryId(u64::from_be_bytes(key.as_slice().try_into().ok()?))))
    }

    /// The value of a memory; `Some(None)` if it was removed.
    pub(crate) fn of(&self, id: MemoryId) -> Option<Option<&[u8]>> {
        self.values.get(id.0.to_be_bytes().as_slice()).map(Option::as_deref)
    }
}

/// What could be read of a log.
#[derive(Debug, Default)]
pub(crate) struct Salvage {
    pub records: Salvaged,
    pub vectors: Salvaged,
    pub catalogue: Salvaged,
    /// Files that are damaged, missing or another store's.
    pub damaged: Vec<PathBuf>,
}

/// One of fjall's keyspaces, whichever table of ours it is.
#[derive(Default)]
struct Keyspace {
    newest: BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>,
    whole: bool,
}

impl Keyspace {
    fn put(&mut self, key: Vec<u8>, sequence: u64, value: Option<Vec<u8>>) {
        match self.newest.entry(key) {
            Entry::Vacant(entry) => drop(entry.insert((sequence, value))),
            Entry::Occupied(mut entry) if entry.get().0 <= sequence => drop(entry.insert((sequence, value))),
            Entry::Occupied(_) => {}
        }
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.newest.values().filter_map(|(_, value)| value.as_deref())
    }
}

impl Salvage {
    /// Reads the log in `folder`.
    ///
    /// # Errors
    /// [`Error::Io`] if the operating system refuses a file.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let mut damaged = BTreeSet::new();
        let mut keyspaces = read_tables(folder, &mut damaged).map_err(|error| Error::io(folder, error))?;
        replay(folder, &mut keyspaces, &mut damaged)?;
        let mut damaged: BTreeSet<PathBuf> = damaged.iter().map(|path| shown(path)).collect();
        if let Err(Error::Corrupt { path, .. }) = inspect::inspect(folder) {
            damaged.insert(path);
        }
        let names = inspect::names(folder).unwrap_or_default();
        let mut salvage = Self { damaged: damaged.into_iter().collect(), ..Self::default() };
        for (number, keyspace) in keyspaces {
            let Some(table) = table_of(number, &keyspace, &names) else { continue };
            let into = match table {
                Table::Records => &mut salvage.records,
                Table::Vectors => &mut salvage.vectors,
                Table::Catalogue => &mut salvage.catalogue,
            };
            into.whole = keyspace.whole;
            into.values.extend(keyspace.newest.into_iter().map(|(key, (_, value))| (key, value)));
        }
        // A new log gets a number of its own.
        salvage.catalogue.values.remove(&setting_key(mark::SETTING));
        Ok(salvage)
    }
}

/// The entries of all tables, by the number of their keyspace.
fn read_tables(folder: &Path, damaged: &mut BTreeSet<PathBuf>) -> std::io::Result<BTreeMap<u64, Keyspace>> {
    let mut found = BTreeMap::new();
    for (number, path) in tables::keyspaces(folder)? {
        if number == 0 {
            continue;
        }
        let mut keyspace = Keyspace { whole: true, ..Keyspace::default() };
        let manifest = tables::manifest(&path)?;
        let (files, listed) = match &manifest {
            Manifest::Tables(tables) => {
                (tables.iter().map(|table| table.path.clone()).collect(), &tables[..])
            }
            Manifest::Unmade => (Vec::new(), &[][..]),
            // Any table may be in it, those too that were to be deleted.
            Manifest::Damaged(_) => (tables::table_files(&path)?, &[][..]),
        };
        if let Manifest::Damaged(file) = &manifest {
            keyspace.whole = false;
            damaged.insert(file.clone());
        }
        for (at, file) in files.iter().enumerate() {
            let right = listed.get(at).map(tables::is_as_listed).transpose()?;
            let table = tables::read(file, CompressionType::Lz4)?;
            if right == Some(false) || !table.sound {
                keyspace.whole = false;
                damaged.insert(file.clone());
            }
            if right == Some(false) && table.sound {
                // Another store's, or an older one that had its number.
                continue;
            }
            for entry in table.entries {
                keyspace.put(entry.key, entry.sequence, entry.value);
            }
        }
        found.insert(number, keyspace);
    }
    Ok(found)
}

/// Adds what is in the journals.
fn replay(
    folder: &Path,
    keyspaces: &mut BTreeMap<u64, Keyspace>,
    damaged: &mut BTreeSet<PathBuf>,
) -> Result<(), Error> {
    let journals = read_journals(folder)?;
    let mark = Mark::read(folder);
    let noted = noted(keyspaces);
    let journaled = || journals.iter().flat_map(inspect::marks).map(|(number, ..)| number).next();
    // The mark and the journals may contradict each other, as one of them may
    // be another store's. What is in the tables decides then; if nothing is,
    // the mark.
    let number = noted.map(|(number, _)| number).or(mark.map(|mark| mark.number)).or_else(journaled);
    let closed = mark.is_some_and(|mark| mark.closed && Some(mark.number) == number);
    // A closed log has everything in its tables: a journal that is not empty is
    // an older one, or the mark is.
    let sequences =
        keyspaces.values().flat_map(|keyspace| keyspace.newest.values()).map(|(sequence, _)| *sequence);
    let in_tables = sequences.chain(noted.map(|(_, sequence)| sequence)).max().filter(|_| closed);
    let mut lost = journals.is_empty() && !closed;
    let newest = journals.last().map(|journal| journal.path.clone());
    for journal in journals {
        let torn = matches!(journal.end, End::Torn(_)) && newest.as_ref() == Some(&journal.path);
        let foreign = inspect::marks(&journal).any(|(marked, ..)| Some(marked) != number);
        if foreign || !(torn || journal.end == End::Whole) {
            damaged.insert(journal.path.clone());
            lost |= !closed;
        }
        if foreign {
            continue;
        }
        let lowest = inspect::marks(&journal).map(|(_, noted, _)| noted).next().unwrap_or_default();
        for batch in journal.batches {
            let sequence = batch.sequence.max(lowest);
            if in_tables.is_some_and(|in_tables| sequence <= in_tables) {
                continue;
            }
            for change in batch.changes {
                keyspaces.entry(change.keyspace).or_default().put(change.key, sequence, change.value);
            }
        }
    }
    if lost {
        keyspaces.values_mut().for_each(|keyspace| keyspace.whole = false);
    }
    Ok(())
}

/// The log's number as the tables have it, and the sequence number with which
/// it was noted.
fn noted(keyspaces: &BTreeMap<u64, Keyspace>) -> Option<(u64, u64)> {
    let key = setting_key(mark::SETTING);
    keyspaces.values().find_map(|keyspace| codec::decode_mark(keyspace.newest.get(&key)?.1.as_deref()?))
}

/// Which of our tables a keyspace is: by its name, or, if that is not known, by
/// what its keys and values look like.
fn table_of(number: u64, keyspace: &Keyspace, names: &[(u64, String)]) -> Option<Table> {
    let name = names.iter().find(|(named, _)| *named == number).map(|(_, name)| name.as_str());
    if let Some(at) = TABLES.iter().position(|table| Some(*table) == name) {
        return Table::ALL.get(at).copied();
    }
    let ids = keyspace.newest.keys().all(|key| key.len() == 8);
    if !ids {
        return Some(Table::Catalogue);
    }
    keyspace.values().next()?;
    let records = keyspace.values().all(|value| Record::decode(value).is_ok());
    Some(if records { Table::Records } else { Table::Vectors })
}
