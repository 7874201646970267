//! The log: everything that is not in segments' files, durable and checksummed.
//!
//! It lists the segments' files, which hold their memories alone, and holds all memories that are in no
//! file yet. The engine sees it through [`Log`], a small key-value interface, so that the log can be
//! another one. Three tables:
//!
//! | table | key | value |
//! |---|---|---|
//! | [`Table::Records`] | memory id | the [`Record`] of a memory that is in no file |
//! | [`Table::Vectors`] | memory id | the vector that the caller supplied with it |
//! | [`Table::Catalogue`] | a letter and an id | settings, namespaces, segments, where each memory is |

mod appender;
mod batch;
mod catalogue;
mod codec;
mod disk;
mod durable;
mod folder;
mod identity;
mod journal;
mod lock;
#[cfg(feature = "object-store")]
mod object;
mod recovery;
mod reserve;
mod salvage;
mod state;
#[cfg(test)]
mod tests;
mod volatile;

pub(crate) use appender::NewLog;
pub(crate) use catalogue::{CatalogueKey, memory_id, words};
pub use codec::{Placement, Record, SegmentEntry};
pub use disk::DiskLog;
pub(crate) use durable::{
    free_name, make_file, make_folder, make_folders, remove_unneeded, sync_folder, write_file,
};
pub(crate) use lock::{LOCK, StoreLock, absolute, check_process};
#[cfg(feature = "object-store")]
pub use object::ObjectLog;
pub use reserve::Allowance;
pub(crate) use salvage::Salvage;
pub use volatile::VolatileLog;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use self::catalogue::{LIVE, NAMESPACE, SEGMENT, dead_key, key, placement_key, setting_key};
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId};
use crate::segment::PreparedMemory;

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

/// Version of a store's layout as a whole.
pub(crate) const FORMAT: u64 = 6;

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

/// A table, a key and the value to put, or `None` to remove the key.
pub type Change = (Table, Vec<u8>, Option<Arc<[u8]>>);

/// The last change of each key.
pub(crate) type Changes = BTreeMap<(Table, Vec<u8>), Option<Arc<[u8]>>>;

/// Changes that become visible and durable together, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The last change of a key counts.
    pub changes: Vec<Change>,
    /// Files that nothing refers to once the changes are made.
    pub obsolete: Vec<PathBuf>,
    /// Whether the changes only remove what segments' files say too. They need not be durable: without
    /// them, the engine finds the same when it opens.
    pub is_redundant: bool,
    /// How much of the room that the log keeps may be used up for it.
    pub allowance: Allowance,
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
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, Error>;

    /// Whether there is a value for a key.
    ///
    /// # Errors
    /// As [`Log::get`].
    fn contains(&self, table: Table, key: &[u8]) -> Result<bool, Error> {
        self.get(table, key).map(|value| value.is_some())
    }

    /// The memories whose records the log holds, in ascending order.
    ///
    /// # Errors
    /// As [`Log::get`].
    fn recorded(&self) -> Result<Vec<MemoryId>, Error> {
        let mut ids = Vec::new();
        self.scan(Table::Records, &[], &mut |key, _| {
            ids.push(memory_id(key)?);
            Ok(())
        })?;
        Ok(ids)
    }

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

    /// The number that tells the log from any other; 0 if it ends with the process.
    fn number(&self) -> u64 {
        0
    }

    /// Bytes of RAM that it takes, about.
    fn memory(&self) -> usize {
        0
    }

    /// The number of the next commit; 0 if the log does not count them. It never gets smaller. A file
    /// that was made when it was greater is newer than the log: an old copy of the log is in its place.
    fn sequence(&self) -> u64 {
        0
    }

    /// Mends what an earlier engine has left: cuts a torn end, and removes journals that were replaced.
    /// Opening a log changes nothing before.
    ///
    /// # Errors
    /// Nothing is lost then.
    fn clean_up(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Makes everything that was committed survive a power loss.
    ///
    /// # Errors
    /// Then some of it may be lost with the power.
    fn sync(&self) -> Result<(), Error> {
        Ok(())
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

    /// Makes the log smaller if most of it is outdated. Commits go on meanwhile.
    ///
    /// # Errors
    /// Nothing is lost then.
    fn maintain(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Takes back the room that was given up. Commits without an allowance do so too.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if the disk is full.
    fn keep_room(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Gives up a part of the room that the log keeps on its disk for compactions. Returns whether there was any.
    fn make_room(&self) -> bool {
        false
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

    /// The record of memory `id`, still encoded, if the memory is in no file.
    ///
    /// # Errors
    /// As [`Log::get`].
    fn record(&self, id: MemoryId) -> Result<Option<Arc<[u8]>>, Error> {
        self.get(Table::Records, &id.0.to_be_bytes())
    }
}

impl Batch {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of all keys and values, about.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |(_, key, value): &Change| key.len() + value.as_ref().map_or(0, |value| value.len());
        self.changes.iter().map(bytes).sum::<usize>() as u64
    }

    fn change(&mut self, table: Table, key: Vec<u8>, value: Option<Arc<[u8]>>) {
        self.changes.push((table, key, value));
    }

    /// Puts a memory's record, and its vector if the caller supplied one.
    pub fn put_record(&mut self, id: MemoryId, record: Arc<[u8]>, supplied: Option<&[u64]>) {
        self.change(Table::Records, id.0.to_be_bytes().into(), Some(record));
        if let Some(words) = supplied {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            self.change(Table::Vectors, id.0.to_be_bytes().into(), Some(bytes.into()));
        }
    }

    /// Removes a memory's record and its vector: a segment's file holds them.
    pub fn remove_record(&mut self, id: MemoryId) {
        self.change(Table::Records, id.0.to_be_bytes().into(), None);
        self.change(Table::Vectors, id.0.to_be_bytes().into(), None);
    }

    /// Notes where a memory is and how often it was accessed.
    pub fn put_placement(&mut self, id: MemoryId, placement: Placement) {
        self.change(Table::Catalogue, placement_key(id), Some(placement.encode().into()));
    }

    /// Puts all of a memory that comes into a tier without a file of its own, unless `log` holds it already.
    ///
    /// # Errors
    /// As [`Log::get`].
    pub(crate) fn put_memory(
        &mut self,
        log: &dyn Log,
        placement: Placement,
        memory: &PreparedMemory,
    ) -> Result<(), Error> {
        let id = memory.row.id;
        if !log.has_record(id)? {
            self.put_record(id, memory.record.clone(), memory.vector.as_deref());
            self.put_placement(id, placement);
        }
        Ok(())
    }

    /// The memories whose records it puts.
    pub(crate) fn recorded(&self) -> HashSet<MemoryId> {
        let records =
            self.changes.iter().filter(|(table, _, value)| *table == Table::Records && value.is_some());
        records.filter_map(|(_, key, _)| memory_id(key).ok()).collect()
    }

    /// Removes the placement of a memory: a segment's file says the same.
    pub fn remove_placement(&mut self, id: MemoryId) {
        self.change(Table::Catalogue, placement_key(id), None);
    }

    /// Names a namespace.
    pub fn put_namespace(&mut self, id: NamespaceId, name: &str) {
        self.change(Table::Catalogue, key(NAMESPACE, &id.0.to_be_bytes()), Some(name.as_bytes().into()));
    }

    /// Removes the name of a namespace in which nothing is left.
    pub fn remove_namespace(&mut self, id: NamespaceId) {
        self.change(Table::Catalogue, key(NAMESPACE, &id.0.to_be_bytes()), None);
    }

    /// Lists a segment.
    pub fn put_segment(&mut self, number: u64, entry: SegmentEntry) {
        self.change(Table::Catalogue, key(SEGMENT, &number.to_be_bytes()), Some(entry.encode().into()));
    }

    /// Takes a segment off the list, with the `marked` of its rows.
    pub fn remove_segment(&mut self, number: u64, marked: impl IntoIterator<Item = u32>) {
        self.change(Table::Catalogue, key(SEGMENT, &number.to_be_bytes()), None);
        self.change(Table::Catalogue, key(LIVE, &number.to_be_bytes()), None);
        self.unmark(number, marked);
    }

    /// Notes which rows of a segment count, a bit each, in place of the `marked` ones.
    pub fn put_live(&mut self, number: u64, live: &[u64], marked: impl IntoIterator<Item = u32>) {
        let bytes: Vec<u8> = live.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.change(Table::Catalogue, key(LIVE, &number.to_be_bytes()), Some(bytes.into()));
        self.unmark(number, marked);
    }

    fn unmark(&mut self, number: u64, marked: impl IntoIterator<Item = u32>) {
        for row in marked {
            self.change(Table::Catalogue, dead_key(number, row), None);
        }
    }

    /// Notes that a row of a segment no longer counts.
    pub fn put_dead(&mut self, segment: u64, row: u32) {
        self.change(Table::Catalogue, dead_key(segment, row), Some(Arc::default()));
    }

    /// Puts a number that belongs to the store as a whole.
    pub fn put_setting(&mut self, name: &str, value: u64) {
        self.change(Table::Catalogue, setting_key(name), Some(value.to_le_bytes().as_slice().into()));
    }
}
