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

use std::collections::BTreeMap;
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

    /// Whether the folder `path` holds a log, or at most the beginning of one:
    /// fjall's lock is the first file that is made, but a power loss may leave
    /// others without it.
    pub(crate) fn may_be_at(path: &Path) -> bool {
        let begun = |path: &Path| path.ends_with("keyspaces") || is_journal(path);
        path.join("lock").is_file()
            || fs::read_dir(path)
                .is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(|entry| begun(&entry.path()))))
    }

    /// Calls `act` with the open store.
    fn with<T>(
        &self,
        action: &'static str,
        act: impl FnOnce(&Store) -> fjall::Result<T>,
    ) -> Result<T, Error> {
        let mut store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        if store.is_none() {
            // It could not be opened again after an error; perhaps it can now.
            drop(store);
            self.reopen(|slot| slot.is_none())?;
            store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        }
        match &*store {
            Some(store) => act(store).map_err(|error| explain(&self.path, action, error)),
            None => Err(Error::Log { path: self.path.clone(), action, message: "it is closed".into() }),
        }
    }

    /// Opens the store anew if `needed`. One whose worker met a full disk, say,
    /// refuses all writes from then on; opened anew it takes them again.
    fn reopen(&self, needed: impl FnOnce(&Option<Store>) -> bool) -> Result<(), Error> {
        let mut slot = self.store.write().unwrap_or_else(PoisonError::into_inner);
        if needed(&slot) {
            *slot = None;
            wait_until_closed(&self.path).map_err(|error| Error::io(&self.path, error))?;
            *slot = Some(Store::open(&self.path, self.cache_bytes)?);
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
            writes.commit()
        })
    }

    /// Hands a batch to the store; after an error the store is opened anew, and
    /// what is in it then is the truth.
    fn attempt(&self, batch: &Batch, mode: PersistMode) -> Result<(), Error> {
        let Err(error) = self.write(batch, mode) else { return Ok(()) };
        self.reopen(|_| true)?;
        if self.holds(batch)? { Ok(()) } else { Err(error) }
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
        let emptied = empty_journals(&self.path).map_err(|error| Error::io(&self.path, error));
        if reopen {
            *slot = Some(Store::open(&self.path, self.cache_bytes)?);
        }
        emptied
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
    fn open(path: &Path, cache_bytes: u64) -> Result<Self, Error> {
        put_right(path).map_err(|error| Error::io(path, error))?;
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
        let store = open().map_err(|error| explain(path, "open", error))?;
        // fjall does not see to it that the folders it makes keep their names.
        [&path.join("keyspaces"), path, path.parent().unwrap_or(path)]
            .into_iter()
            .try_for_each(sync_folder)
            .map_err(|error| Error::io(path, error))?;
        Ok(store)
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
    let _lock = wait_until_closed(path)?;
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if is_journal(&file) {
            let journal = OpenOptions::new().write(true).open(file)?;
            journal.set_len(0)?;
            journal.sync_all()?;
        }
    }
    Ok(())
}

/// Puts right what a crash has left, unless the store is open.
fn put_right(path: &Path) -> io::Result<()> {
    match fs::read_dir(path).map(|mut entries| entries.next()) {
        Ok(None) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(Some(_)) => {}
        Err(error) => return Err(error),
    }
    let lock = path.join("lock");
    let held = OpenOptions::new().write(true).create(true).truncate(false).open(&lock)?;
    if held.try_lock().is_err() {
        // Another process has it open; fjall will say that it is locked.
        return Ok(());
    }
    if is_unfinished(path)? {
        clear(path)?;
        fs::remove_file(lock)
    } else {
        super::journal::cut_torn_end(path)
    }
}

/// Whether a store was not made to its end: fjall takes no files that are there
/// without its version marker, nor one that is cut. It makes no table before the
/// marker is whole, so nothing was ever committed to such a store.
fn is_unfinished(path: &Path) -> io::Result<bool> {
    let marker = match fs::read(path.join("version")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        marker => marker?,
    };
    let no_tables = || match fs::read_dir(path.join("keyspaces")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        entries => entries.map(|mut entries| entries.next().is_none()),
    };
    Ok((marker.len() < 4 || !marker.starts_with(b"FJL")) && no_tables()?)
}

/// Removes all that fjall makes but its lock.
fn clear(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.ends_with("keyspaces") {
            fs::remove_dir_all(entry)?;
        } else if is_journal(&entry) || entry.ends_with("version") {
            fs::remove_file(entry)?;
        }
    }
    Ok(())
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "jnl")
}

/// Puts the names in a folder on the disk: a file that was made or renamed
/// survives a power loss under its name only then.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The store lets go of its lock when its last thread has ended, a moment after
/// it was dropped. Returns the lock.
fn wait_until_closed(path: &Path) -> io::Result<File> {
    let lock = OpenOptions::new().write(true).open(path.join("lock"))?;
    for _ in 0..500 {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
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
