//! The log on disk, in fjall: a log-structured merge tree behind a journal.
//!
//! Of the stores that were compared it is the one in which `Buffered` means
//! what it says: a commit hands the journal to the operating system, so it
//! survives the death of the process, and a power loss cuts the journal's end
//! instead of tearing a tree. Two habits of its version 3.1 are worked around:
//!
//! - it hands full memtables to its workers through a queue that they also write
//!   to themselves, and can come to a stand; so the writer rotates memtables
//!   here, and the limit inside fjall is never reached;
//! - it keeps its journal when it closes; so [`Log::close`] and [`Log::compact`]
//!   flush everything into tables, close, and empty the journal.
//!
//! It also trusts its files more than it should. So they are looked at before
//! it opens them, and what it panics at becomes an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fjall::config::{BlockSizePolicy, CompressionPolicy, PartitioningPolicy, PinningPolicy};
use fjall::{CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::fault::contained;
use super::files::{empty_journals, prepare, try_files, wait_until_closed};
use super::mark::{self, Mark, sync_folder};
use super::{Batch, Durability, Log, TABLES, Table, Visit, codec, setting_key};
use crate::error::Error;
use crate::sync::{Mutex, RwLock, lock, read, write};

/// Bytes that wait in memory before they are written as a table.
const MEMTABLE_BYTES: u64 = 4 << 20;

/// What a value costs in a memtable beside its own bytes.
const ENTRY_BYTES: usize = 64;

/// A record is read alone, so blocks are small; a larger one compresses better
/// and takes longer to read (16 KB: 12 % less disk, twice the time).
const BLOCK_BYTES: u32 = 4 << 10;

/// The smallest limit that fjall takes; the journal is emptied at each close.
const JOURNAL_BYTES: u64 = 64 << 20;

/// The log of an engine that keeps its memories on disk.
pub struct DiskLog {
    path: PathBuf,
    cache_bytes: u64,
    /// Empty only while the log is closed for being tidied up.
    store: RwLock<Option<Store>>,
    unflushed: AtomicU64,
    /// A batch that was refused, and is in doubt until the store was opened anew.
    refused: Mutex<Option<Refused>>,
    mended: Vec<PathBuf>,
}

/// A batch whose commit reported an error, and what takes it back. It may have
/// reached the journal before the error came up.
struct Refused {
    batch: Batch,
    /// Empty until its keys could be read.
    undo: Option<Batch>,
}

struct Store {
    database: Database,
    tables: [Keyspace; 3],
    /// The number of the log, which its journals repeat.
    number: u64,
    /// Whether the journal that is written to has the number.
    numbered: AtomicBool,
}

impl DiskLog {
    /// Opens the log in the folder `path`, or makes one there.
    ///
    /// The checksums of all its files are checked. A journal whose end was torn,
    /// as a kill leaves it, is cut there; anything else that is not as it was
    /// written is refused, and nothing is changed then.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open already, [`Error::Corrupt`] if its files
    /// are damaged, [`Error::NoSpace`] or [`Error::Io`].
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, Error> {
        let mut mended = Vec::new();
        let store = Store::open(path, cache_bytes, &mut mended)?;
        Ok(Self {
            path: path.into(),
            cache_bytes,
            store: RwLock::new(Some(store)),
            unflushed: AtomicU64::new(0),
            refused: Mutex::new(None),
            mended,
        })
    }

    /// Files that were damaged in a way that opening could mend.
    pub fn mended(&self) -> &[PathBuf] {
        &self.mended
    }

    /// Calls `act`, which is fjall's code alone, with the open store.
    fn with<T>(
        &self,
        action: &'static str,
        act: impl FnOnce(&Store) -> fjall::Result<T>,
    ) -> Result<T, Error> {
        self.opened(action, |store| contained(&self.path, action, || act(store)))
    }

    /// Calls `act` with the open store.
    fn opened<T>(
        &self,
        action: &'static str,
        act: impl FnOnce(&Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut store = read(&self.store);
        if store.is_none() {
            // It could not be opened again after an error; perhaps it can now.
            drop(store);
            self.reopen(|slot| slot.is_none())?;
            store = read(&self.store);
        }
        match &*store {
            Some(store) => act(store),
            None => Err(Error::Log { path: self.path.clone(), action, message: "it is closed".into() }),
        }
    }

    /// Opens the store anew if `needed`. One whose worker met a full disk, say,
    /// refuses all writes from then on; opened anew it takes them again.
    fn reopen(&self, needed: impl FnOnce(&Option<Store>) -> bool) -> Result<(), Error> {
        let mut slot = write(&self.store);
        if needed(&slot) {
            *slot = None;
            wait_until_closed(&self.path).map_err(|error| Error::io(&self.path, error))?;
            *slot = Some(Store::open(&self.path, self.cache_bytes, &mut Vec::new())?);
            self.unflushed.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Hands a batch to the store, once.
    fn write(&self, batch: &Batch, mode: PersistMode) -> Result<(), Error> {
        self.with("commit", |store| {
            let mut writes = store.database.batch().durability(Some(mode));
            for (table, key, value) in &batch.changes {
                match value {
                    Some(value) => writes.insert(store.table(*table), key.as_slice(), value.as_slice()),
                    None => writes.remove(store.table(*table), key.as_slice()),
                }
            }
            if !store.numbered.load(Ordering::Relaxed) {
                let mark = codec::encode_mark(store.number, store.database.seqno());
                writes.insert(store.table(Table::Catalogue), setting_key(mark::SETTING), mark);
            }
            writes.commit()?;
            store.numbered.store(true, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Hands a batch to the store. After an error the store is opened anew, and
    /// what is in it then is the truth. Where it cannot be opened anew as yet, it
    /// stays as it is, for reading; the next commit settles what is in doubt.
    fn attempt(&self, batch: &Batch, mode: PersistMode) -> Result<(), Error> {
        self.settle()?;
        let Err(error) = self.write(batch, mode) else { return Ok(()) };
        let mut refused = lock(&self.refused);
        let doubt = refused.insert(Refused { batch: batch.clone(), undo: None });
        let Ok(holds) = self.renew(doubt) else { return Err(error) };
        *refused = None;
        if holds { Ok(()) } else { Err(error) }
    }

    /// Takes a batch back that was refused earlier and is in the store all the
    /// same.
    fn settle(&self) -> Result<(), Error> {
        let mut refused = lock(&self.refused);
        let Some(doubt) = &mut *refused else { return Ok(()) };
        if self.renew(doubt)?
            && let Some(undo) = &doubt.undo
        {
            self.write(undo, PersistMode::SyncData)?;
        }
        *refused = None;
        Ok(())
    }

    /// Opens the store anew after it refused a batch, and says whether that is in
    /// it.
    fn renew(&self, refused: &mut Refused) -> Result<bool, Error> {
        if refused.undo.is_none() {
            // The store that refused it does not show it.
            let changes = refused.batch.changes.iter().map(|(table, key, _)| {
                let before = self.get(*table, key)?;
                Ok((*table, key.clone(), before))
            });
            let changes = changes.collect::<Result<_, Error>>()?;
            refused.undo = Some(Batch { changes, ..Batch::default() });
        }
        try_files(&self.path)?;
        self.reopen(|_| true)?;
        self.holds(&refused.batch)
    }

    /// Whether a batch whose commit reported an error was made all the same:
    /// the journal may have been complete before the error came up.
    fn holds(&self, batch: &Batch) -> Result<bool, Error> {
        let last: BTreeMap<_, _> =
            batch.changes.iter().map(|(table, key, value)| ((table, key), value)).collect();
        for ((&table, key), value) in last {
            if self.get(table, key)? != *value {
                return Ok(false);
            }
        }
        self.with("commit", |store| store.database.persist(PersistMode::SyncAll))?;
        Ok(true)
    }

    /// Writes the memtables as tables once they are large enough.
    fn rotate(&self, batch: &Batch) {
        let size = |(_, key, value): &(_, Vec<u8>, Option<Vec<u8>>)| {
            (key.len() + value.as_ref().map_or(0, Vec::len) + ENTRY_BYTES) as u64
        };
        let added: u64 = batch.changes.iter().map(size).sum();
        if self.unflushed.fetch_add(added, Ordering::Relaxed) + added > MEMTABLE_BYTES {
            self.unflushed.store(0, Ordering::Relaxed);
            // The batch is in the journal whatever comes of this; a store that
            // cannot go on refuses the next batch.
            let _ = self.with("commit", Store::rotate);
        }
    }

    /// Flushes, closes and empties the journal; then opens again if `reopen`.
    fn tidy(&self, action: &'static str, reopen: bool, compact: bool) -> Result<(), Error> {
        self.settle()?;
        let tidied = self.tidy_once(action, reopen, compact);
        if let Err(Error::Log { .. }) = tidied {
            // As in a commit.
            try_files(&self.path)?;
            self.reopen(|_| true)?;
            return self.tidy_once(action, reopen, compact);
        }
        tidied
    }

    /// Nobody reads or commits meanwhile.
    fn tidy_once(&self, action: &'static str, reopen: bool, compact: bool) -> Result<(), Error> {
        let mut slot = write(&self.store);
        let Some(store) = &*slot else { return Ok(()) };
        contained(&self.path, action, || {
            store.flush()?;
            if compact {
                store.tables.iter().try_for_each(Keyspace::major_compact)?;
            }
            store.database.persist(PersistMode::SyncAll)
        })?;
        self.unflushed.store(0, Ordering::Relaxed);
        if reopen {
            try_files(&self.path)?;
        }
        let closed = Mark { number: store.number, closed: true };
        *slot = None;
        // Should that fail, the journal is read again when the log opens.
        let emptied = empty_journals(&self.path, closed).map_err(|error| Error::io(&self.path, error));
        if reopen {
            *slot = Some(Store::open(&self.path, self.cache_bytes, &mut Vec::new())?);
        }
        emptied
    }
}

impl Log for DiskLog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.with("read", |store| Ok(store.table(table).get(key)?.map(|value| value.to_vec())))
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        self.opened("read", |store| {
            let mut entries = store.table(table).prefix(prefix);
            let mut next =
                || contained(&self.path, "read", || entries.next().map(Guard::into_inner).transpose());
            while let Some((key, value)) = next()? {
                visit(&key, &value)?;
            }
            Ok(())
        })
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let mode = match durability {
            Durability::Buffered => PersistMode::Buffer,
            Durability::Synced => PersistMode::SyncData,
        };
        let mut committed = self.attempt(batch, mode);
        if let Err(Error::Log { .. }) = committed {
            // A store that refuses everything since an earlier error does not
            // say which one it was; opened anew, it either goes on or says.
            committed = self.attempt(batch, mode);
        }
        committed?;
        self.rotate(batch);
        Ok(())
    }

    fn compact(&self) -> Result<(), Error> {
        self.tidy("compact", true, true)
    }

    fn close(&self) -> Result<(), Error> {
        self.tidy("close", false, false)
    }
}

impl Store {
    fn open(path: &Path, cache_bytes: u64, mended: &mut Vec<PathBuf>) -> Result<Self, Error> {
        let found = prepare(path, mended)?;
        let (database, tables) = contained(path, "open", || {
            let database = Database::builder(path)
                .cache_size(cache_bytes)
                // One is enough behind our own rotation, and stays out of the
                // way of the engine's threads.
                .worker_threads(1)
                .max_cached_files(Some(64))
                .max_journaling_size(JOURNAL_BYTES)
                .manual_journal_persist(true)
                .open()?;
            let [records, vectors, catalogue] = TABLES.map(|name| database.keyspace(name, options));
            let tables = [records?, vectors?, catalogue?];
            Ok((database, tables))
        })?;
        if found.mark.is_none() {
            // fjall does not see to it that the folders it makes keep their names.
            [&path.join("keyspaces"), path, path.parent().unwrap_or(path)]
                .into_iter()
                .try_for_each(sync_folder)
                .map_err(|error| Error::io(path, error))?;
        }
        let mark = found.number.map_or_else(Mark::new, |number| Mark { number, closed: false });
        if found.mark.is_none_or(|found| found.closed) {
            mark.write(path).map_err(|error| Error::io(&Mark::path(path), error))?;
        }
        Ok(Self { database, tables, number: mark.number, numbered: AtomicBool::new(false) })
    }

    fn table(&self, table: Table) -> &Keyspace {
        let [records, vectors, catalogue] = &self.tables;
        match table {
            Table::Records => records,
            Table::Vectors => vectors,
            Table::Catalogue => catalogue,
        }
    }

    /// Starts to write all memtables as tables: one that was left out would
    /// keep the journal from being dropped. The journal is synced before: a batch
    /// that lies in two tables, one of which is on the disk, must not be lost.
    fn rotate(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::SyncData)?;
        // A journal may end here; the next one is numbered again.
        self.numbered.store(false, Ordering::Relaxed);
        self.tables.iter().try_for_each(|table| table.rotate_memtable().map(drop))
    }

    /// Writes all memtables as tables and waits for it.
    fn flush(&self) -> fjall::Result<()> {
        self.rotate()?;
        while self.tables.iter().any(|table| table.sealed_memtable_count() > 0)
            || self.database.outstanding_flushes() > 0
        {
            // Reports a worker that has died, which would be waited for in vain.
            self.database.persist(PersistMode::Buffer)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(u64::MAX)
        .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        .index_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        .index_block_pinning_policy(PinningPolicy::all(false))
        .filter_block_pinning_policy(PinningPolicy::all(false))
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
        .expect_point_read_hits(true)
}
