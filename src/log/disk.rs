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

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use fjall::config::{BlockSizePolicy, CompressionPolicy, PartitioningPolicy, PinningPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Batch, Durability, Log, Table, Visit};
use crate::error::Error;

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
}

struct Store {
    database: Database,
    tables: [Keyspace; 3],
}

impl DiskLog {
    /// Opens the log in the folder `path`, or makes one there.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open already, [`Error::Corrupt`] if its files
    /// cannot be read, [`Error::NoSpace`] or [`Error::Io`].
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, Error> {
        let store = Store::open(path, cache_bytes)?;
        Ok(Self {
            path: path.into(),
            cache_bytes,
            store: RwLock::new(Some(store)),
            unflushed: AtomicU64::new(0),
        })
    }

    /// Calls `act` with the open store.
    fn with<T>(
        &self,
        action: &'static str,
        act: impl FnOnce(&Store) -> fjall::Result<T>,
    ) -> Result<T, Error> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        match &*store {
            Some(store) => act(store).map_err(|error| explain(&self.path, action, error)),
            None => Err(Error::Log { path: self.path.clone(), action, message: "it is closed".into() }),
        }
    }

    /// Flushes, closes and empties the journal; then opens again if `reopen`.
    /// Nobody reads or commits meanwhile.
    fn tidy(&self, action: &'static str, reopen: bool, compact: bool) -> Result<(), Error> {
        let mut slot = self.store.write().unwrap_or_else(PoisonError::into_inner);
        let Some(store) = &*slot else { return Ok(()) };
        let flushed = store.flush().and_then(|()| {
            if compact {
                store.tables.iter().try_for_each(Keyspace::major_compact)?;
            }
            store.database.persist(PersistMode::SyncAll)
        });
        flushed.map_err(|error| explain(&self.path, action, error))?;
        self.unflushed.store(0, Ordering::Relaxed);
        *slot = None;
        // Should that fail, the journal is read again when the log opens.
        empty_journals(&self.path).map_err(|error| Error::io(&self.path, error))?;
        if reopen {
            *slot = Some(Store::open(&self.path, self.cache_bytes)?);
        }
        Ok(())
    }

    /// A store whose worker met a full disk refuses all writes from then on;
    /// one that is opened anew takes them again once there is room.
    fn revive(&self) {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        *store = None;
        *store = Store::open(&self.path, self.cache_bytes).ok();
    }
}

impl Log for DiskLog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.with("read", |store| Ok(store.table(table).get(key)?.map(|value| value.to_vec())))
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let mut refused = Ok(());
        self.with("read", |store| {
            for guard in store.table(table).prefix(prefix) {
                let (key, value) = guard.into_inner()?;
                refused = visit(&key, &value);
                if refused.is_err() {
                    break;
                }
            }
            Ok(())
        })?;
        refused
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let mode = match durability {
            Durability::Buffered => PersistMode::Buffer,
            Durability::Synced => PersistMode::SyncData,
        };
        let committed = self.with("commit", |store| {
            let mut writes = store.database.batch().durability(Some(mode));
            for (table, key, value) in &batch.changes {
                match value {
                    Some(value) => writes.insert(store.table(*table), key.as_slice(), value.as_slice()),
                    None => writes.remove(store.table(*table), key.as_slice()),
                }
            }
            writes.commit()?;
            let size = |(_, key, value): &(_, Vec<u8>, Option<Vec<u8>>)| {
                (key.len() + value.as_ref().map_or(0, Vec::len) + ENTRY_BYTES) as u64
            };
            let added: u64 = batch.changes.iter().map(size).sum();
            if self.unflushed.fetch_add(added, Ordering::Relaxed) + added > MEMTABLE_BYTES {
                self.unflushed.store(0, Ordering::Relaxed);
                store.rotate()?;
            }
            Ok(())
        });
        if let Err(Error::Log { .. } | Error::NoSpace { .. }) = committed {
            self.revive();
        }
        committed
    }

    fn compact(&self) -> Result<(), Error> {
        self.tidy("compact", true, true)
    }

    fn close(&self) -> Result<(), Error> {
        self.tidy("close", false, false)
    }
}

impl Store {
    fn open(path: &Path, cache_bytes: u64) -> Result<Self, Error> {
        let open = || {
            let database = Database::builder(path)
                .cache_size(cache_bytes)
                // One is enough behind our own rotation, and stays out of the
                // way of the engine's threads.
                .worker_threads(1)
                .max_cached_files(Some(64))
                .max_journaling_size(JOURNAL_BYTES)
                .manual_journal_persist(true)
                .open()?;
            let tables = [
                database.keyspace("records", options)?,
                database.keyspace("vectors", options)?,
                database.keyspace("catalogue", options)?,
            ];
            Ok(Self { database, tables })
        };
        open().map_err(|error| explain(path, "open", error))
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
    /// keep the journal from being dropped.
    fn rotate(&self) -> fjall::Result<()> {
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

/// Empties the journals of a closed store, all of whose memtables are tables.
fn empty_journals(path: &Path) -> io::Result<()> {
    let lock = OpenOptions::new().write(true).open(path.join("lock"))?;
    wait_for(&lock)?;
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|ending| ending == "jnl") {
            let journal = OpenOptions::new().write(true).open(file)?;
            journal.set_len(0)?;
            journal.sync_all()?;
        }
    }
    Ok(())
}

/// The store lets go of its lock when its last thread has ended, a moment after
/// it was dropped.
fn wait_for(lock: &File) -> io::Result<()> {
    for _ in 0..500 {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "the log is still in use"))
}

/// fjall's error in our terms.
fn explain(path: &Path, action: &'static str, error: fjall::Error) -> Error {
    let path = path.to_path_buf();
    if let Some(source) = io_error(&error) {
        return Error::io(&path, io::Error::new(source.kind(), source.to_string()));
    }
    match error {
        fjall::Error::Locked => Error::Locked { path },
        fjall::Error::JournalRecovery(_)
        | fjall::Error::InvalidVersion(_)
        | fjall::Error::Decompress(_)
        | fjall::Error::InvalidTrailer
        | fjall::Error::InvalidTag(_)
        | fjall::Error::Unrecoverable => Error::Corrupt { path, what: format!("the log ({error:?})") },
        fjall::Error::Storage(_) => Error::Corrupt { path, what: format!("a table of the log ({error:?})") },
        other => Error::Log { path, action, message: format!("{other:?}") },
    }
}

/// The operating system's error inside of one of fjall's, if it was that.
fn io_error(error: &fjall::Error) -> Option<&io::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    match error {
        fjall::Error::Io(found) => Some(found),
        _ => None,
    }
}
