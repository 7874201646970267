//! The log of truth: every memory, durable and checksummed, in an embedded
//! store.
//!
//! The engine sees it through [`Log`], a small key-value interface, so that the
//! store can be another one. Three tables:
//!
//! | table | key | value |
//! |---|---|---|
//! | [`Table::Records`] | memory id | [`Record`] |
//! | [`Table::Vectors`] | memory id | a vector that the caller supplied |
//! | [`Table::Catalogue`] | a letter and an id | settings, namespaces, where each memory is, segments |

mod codec;
mod disk;
mod fault;
mod files;
mod folder;
mod inspect;
mod journal;
mod lock;
mod mark;
#[cfg(feature = "object-store")]
mod object;
mod salvage;
mod tables;
mod volatile;

pub use codec::{Placement, Record, SegmentEntry};
pub use disk::DiskLog;
pub(crate) use lock::{LOCK, StoreLock, absolute, check_process};
pub(crate) use mark::sync_folder;
#[cfg(feature = "object-store")]
pub use object::ObjectLog;
pub(crate) use salvage::Salvage;
pub use volatile::VolatileLog;

use std::path::PathBuf;

use crate::error::Error;
use crate::key::{MemoryId, NamespaceId};

/// The moment at which a commit is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The operating system has the data. It survives the death of the process. A power loss
    /// can lose the last seconds.
    #[default]
    Buffered,
    /// The disk has the data and everything committed before. It survives a power loss.
    /// Concurrent stores share one flush.
    Synced,
}

/// The name of the log's folder in a store.
pub(crate) const LOG_FOLDER: &str = "log";

/// A table of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Texts with what belongs to them.
    Records,
    /// Vectors that callers supplied.
    Vectors,
    /// Everything small.
    Catalogue,
}

impl Table {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 3] = [Self::Records, Self::Vectors, Self::Catalogue];
}

/// The names of the tables on disk, in their order.
const TABLES: [&str; 3] = ["records", "vectors", "catalogue"];

/// Changes that become visible and durable together, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Values to put, or `None` to remove the key; the last one of a key counts.
    pub changes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
    /// Files that nothing refers to once the changes are made.
    pub obsolete: Vec<PathBuf>,
}

/// What is called for each key and value of a scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Error> + 'a;

/// The durable store behind an engine. One writer commits at a time; readers
/// come from any thread.
pub trait Log: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Io`] or [`Error::Corrupt`], as for all methods.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Calls `visit` for every key of `table` that starts with `prefix`, in
    /// ascending order.
    ///
    /// # Errors
    /// Also the first error that `visit` returns.
    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error>;

    /// Makes the changes of `batch`, as durable as asked.
    ///
    /// # Errors
    /// Then none of the changes is made.
    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), Error>;

    /// Makes changes that may be lost with the process, and become durable with
    /// the next commit or the close: a log that takes long to commit keeps them
    /// until then.
    ///
    /// # Errors
    /// Then none of the changes is made.
    fn note(&self, batch: &Batch) -> Result<(), Error> {
        self.commit(batch, Durability::Buffered)
    }

    /// Checks that the store is still this log's: that no other engine has taken it over,
    /// and that its path still leads to the folder that was opened.
    ///
    /// Whoever changes files beside the log calls it first.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Moved`] or [`Error::Forked`] if not; [`Error::Io`] if
    /// that cannot be told.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Rewrites what is needed so that removed values are gone from the disk.
    ///
    /// # Errors
    /// Nothing is lost then.
    fn compact(&self) -> Result<(), Error>;

    /// Brings the log into its smallest form before the engine closes.
    ///
    /// # Errors
    /// Nothing is lost then.
    fn close(&self) -> Result<(), Error>;

    /// The record of memory `id`, still encoded.
    ///
    /// # Errors
    /// As [`Log::get`].
    fn record(&self, id: MemoryId) -> Result<Option<Vec<u8>>, Error> {
        self.get(Table::Records, &id.0.to_be_bytes())
    }
}

impl Batch {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn change(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.changes.push((table, key, value));
    }

    /// Puts a memory's record, and its vector if the caller supplied one.
    pub fn put_record(&mut self, id: MemoryId, record: &[u8], supplied: Option<&[u64]>) {
        self.change(Table::Records, id.0.to_be_bytes().into(), Some(record.into()));
        if let Some(words) = supplied {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            self.change(Table::Vectors, id.0.to_be_bytes().into(), Some(bytes));
        }
    }

    /// Removes all that is known of a memory.
    pub fn remove_record(&mut self, id: MemoryId, supplied: bool) {
        self.change(Table::Records, id.0.to_be_bytes().into(), None);
        if supplied {
            self.change(Table::Vectors, id.0.to_be_bytes().into(), None);
        }
        self.change(Table::Catalogue, placement_key(id), None);
    }

    /// Notes where a memory is and how often it was accessed.
    pub fn put_placement(&mut self, id: MemoryId, placement: Placement) {
        self.change(Table::Catalogue, placement_key(id), Some(placement.encode()));
    }

    /// Removes the placement of a memory: a segment's file says the same.
    pub fn remove_placement(&mut self, id: MemoryId) {
        self.change(Table::Catalogue, placement_key(id), None);
    }

    /// Names a namespace.
    pub fn put_namespace(&mut self, id: NamespaceId, name: &str) {
        self.change(Table::Catalogue, key(NAMESPACE, &id.0.to_be_bytes()), Some(name.into()));
    }

    /// Removes the name of a namespace in which nothing is left.
    pub fn remove_namespace(&mut self, id: NamespaceId) {
        self.change(Table::Catalogue, key(NAMESPACE, &id.0.to_be_bytes()), None);
    }

    /// Lists a segment.
    pub fn put_segment(&mut self, number: u64, entry: SegmentEntry) {
        self.change(Table::Catalogue, key(SEGMENT, &number.to_be_bytes()), Some(entry.encode()));
    }

    /// Takes a segment off the list, with the `marked` of its rows.
    pub fn remove_segment(&mut self, number: u64, marked: impl IntoIterator<Item = u32>) {
        self.change(Table::Catalogue, key(SEGMENT, &number.to_be_bytes()), None);
        self.change(Table::Catalogue, key(LIVE, &number.to_be_bytes()), None);
        self.unmark(number, marked);
    }

    /// Notes which rows of a segment count, a bit each, in place of the `marked` ones.
    pub fn put_live(&mut self, number: u64, live: &[u64], marked: impl IntoIterator<Item = u32>) {
        let bytes = live.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.change(Table::Catalogue, key(LIVE, &number.to_be_bytes()), Some(bytes));
        self.unmark(number, marked);
    }

    fn unmark(&mut self, number: u64, marked: impl IntoIterator<Item = u32>) {
        for row in marked {
            self.change(Table::Catalogue, dead_key(number, row), None);
        }
    }

    /// Notes that a row of a segment no longer counts.
    pub fn put_dead(&mut self, segment: u64, row: u32) {
        self.change(Table::Catalogue, dead_key(segment, row), Some(Vec::new()));
    }

    /// Puts a number that belongs to the store as a whole.
    pub fn put_setting(&mut self, name: &str, value: u64) {
        self.change(Table::Catalogue, setting_key(name), Some(value.to_le_bytes().into()));
    }
}

/// What a key of the catalogue is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CatalogueKey<'a> {
    Setting(&'a str),
    Namespace(NamespaceId),
    Placement(MemoryId),
    Segment(u64),
    /// A row of a segment that no longer counts.
    Dead(u64, u32),
    /// Which rows of a segment count, but for those that are marked.
    Live(u64),
}

impl<'a> CatalogueKey<'a> {
    /// Reads a key; `None` if it is none of ours.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&letter, rest) = bytes.split_first()?;
        match letter {
            SETTING => std::str::from_utf8(rest).ok().map(Self::Setting),
            NAMESPACE => Some(Self::Namespace(NamespaceId(short(bytes, 1).ok()?))),
            PLACEMENT => Some(Self::Placement(MemoryId(number(bytes, 1).ok()?))),
            SEGMENT => Some(Self::Segment(number(bytes, 1).ok()?)),
            DEAD => Some(Self::Dead(number(bytes, 1).ok()?, short(bytes, 9).ok()?)),
            LIVE => Some(Self::Live(number(bytes, 1).ok()?)),
            _ => None,
        }
    }
}

const DEAD: u8 = b'd';
const LIVE: u8 = b'l';
const NAMESPACE: u8 = b'n';
const SEGMENT: u8 = b's';
const SETTING: u8 = b'x';
const PLACEMENT: u8 = b'm';

fn key(letter: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(letter);
    key.extend_from_slice(rest);
    key
}

fn setting_key(name: &str) -> Vec<u8> {
    key(SETTING, name.as_bytes())
}

fn placement_key(id: MemoryId) -> Vec<u8> {
    key(PLACEMENT, &id.0.to_be_bytes())
}

fn dead_key(segment: u64, row: u32) -> Vec<u8> {
    let mut rest = segment.to_be_bytes().to_vec();
    rest.extend_from_slice(&row.to_be_bytes());
    key(DEAD, &rest)
}

/// What the engine reads of the catalogue.
impl dyn Log + '_ {
    /// A number that belongs to the store as a whole.
    pub(crate) fn setting(&self, name: &str) -> Result<Option<u64>, Error> {
        let value = self.get(Table::Catalogue, &setting_key(name))?;
        value
            .map(|bytes| codec::u64_le(&bytes).ok_or_else(|| codec::damaged(format!("setting {name}"))))
            .transpose()
    }

    /// All placements, in ascending order of ids.
    pub(crate) fn placements(&self, visit: &mut dyn FnMut(MemoryId, Placement)) -> Result<(), Error> {
        self.scan(Table::Catalogue, &[PLACEMENT], &mut |key, value| {
            visit(MemoryId(number(key, 1)?), Placement::decode(value)?);
            Ok(())
        })
    }

    /// All namespaces.
    pub(crate) fn namespaces(&self) -> Result<Vec<(NamespaceId, String)>, Error> {
        let mut found = Vec::new();
        self.scan(Table::Catalogue, &[NAMESPACE], &mut |key, value| {
            let name =
                String::from_utf8(value.to_vec()).map_err(|_| codec::damaged("a namespace's name".into()))?;
            found.push((NamespaceId(short(key, 1)?), name));
            Ok(())
        })?;
        Ok(found)
    }

    /// All segments.
    pub(crate) fn segments(&self) -> Result<Vec<(u64, SegmentEntry)>, Error> {
        let mut found = Vec::new();
        self.scan(Table::Catalogue, &[SEGMENT], &mut |key, value| {
            found.push((number(key, 1)?, SegmentEntry::decode(value)?));
            Ok(())
        })?;
        Ok(found)
    }

    /// Which rows of a segment count, a bit each, but for the [marked](Self::marked_rows) ones; `None`
    /// if that is all of them.
    pub(crate) fn live_rows(&self, segment: u64) -> Result<Option<Vec<u64>>, Error> {
        let bytes = self.get(Table::Catalogue, &key(LIVE, &segment.to_be_bytes()))?;
        Ok(bytes.map(|bytes| words(&bytes)))
    }

    /// The rows of a segment that are marked as dead.
    pub(crate) fn marked_rows(&self, segment: u64) -> Result<Vec<u32>, Error> {
        let mut found = Vec::new();
        self.scan(Table::Catalogue, &key(DEAD, &segment.to_be_bytes()), &mut |key, _| {
            found.push(short(key, 9)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The vector that a caller supplied with memory `id`.
    pub(crate) fn supplied_vector(&self, id: MemoryId) -> Result<Option<Vec<u64>>, Error> {
        let bytes = self.get(Table::Vectors, &id.0.to_be_bytes())?;
        Ok(bytes.map(|bytes| words(&bytes)))
    }
}

/// Little-endian words.
pub(crate) fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).filter_map(codec::u64_le).collect()
}

fn number(key: &[u8], at: usize) -> Result<u64, Error> {
    let bytes = key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| codec::damaged("a key of the catalogue".into()))
}

fn short(key: &[u8], at: usize) -> Result<u32, Error> {
    let bytes = key.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_be_bytes).ok_or_else(|| codec::damaged("a key of the catalogue".into()))
}
