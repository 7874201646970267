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
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fjall::config::{BlockSizePolicy, CompressionPolicy, PartitioningPolicy, PinningPolicy};
use fjall::{CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::fault::contained;
use super::files::{FJALL_LOCK, check_working_folder, empty_journals, prepare, try_files};
use super::folder::LogFolder;
use super::lock::{HeldLock, StoreLock};
use super::mark::{self, Mark, sync_folder};
use super::{Batch, Durability, LOG_FOLDER, Log, TABLES, Table, Visit, codec, setting_key};
use crate::error::Error;
use crate::sync::{Mutex, PoisonError, RwLock, lock, read, write};

/// Bytes that wait in memory before they are written as a table.
const MEMTABLE_BYTES: u64 = 4 << 20;

/// What a value costs in a memtable beside its own bytes.
const ENTRY_BYTES: usize = 64;

/// A record is read alone, so blocks are small; a larger one compresses better
/// and takes longer to read (16 KB: 12 % less disk, twice the time).
const BLOCK_BYTES: u32 = 4 << 10;

/// The smallest limit that fjall takes; the journal is emptied at each close.
const JOURNAL_BYTES: u64 = 64 << 20;

/// How long fjall may take to release its files after it was dropped.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// The log of an engine that keeps its memories on disk.
pub struct DiskLog {
    folder: LogFolder,
    /// Tells the log from any other; its journals repeat it.
    number: u64,
    cache_bytes: u64,
    /// Empty only while the log is closed for being tidied up.
    store: RwLock<Option<Store>>,
    unflushed: AtomicU64,
    /// A batch that was refused, and is in doubt until the store was opened anew.
    refused: Mutex<Option<Refused>>,
    mended: Vec<PathBuf>,
    /// Whether a store that was closed may still use its files.
    lingers: AtomicBool,
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
    /// Whether the journal that is written to has the number.
    numbered: AtomicBool,
    /// Another handle of the file that fjall keeps locked until it is closed.
    lock: File,
}

impl DiskLog {
    /// Opens the log of the store in the folder `store`, which exists, or makes one. The
    /// log is in the folder `log` there, and the store is locked while the log is open.
    ///
    /// The checksums of all its files are checked. A journal whose end was torn,
    /// as a kill leaves it, is cut there; anything else that is not as it was
    /// written is refused, and nothing is changed then.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open already, [`Error::Corrupt`] if its files
    /// are damaged, [`Error::NoSpace`] or [`Error::Io`].
    pub fn open(store: &Path, cache_bytes: u64) -> Result<Self, Error> {
        Self::open_locked(Arc::new(StoreLock::acquire(store)?), LOG_FOLDER, cache_bytes)
    }

    /// Opens the log in the folder `name` of a store that the caller has locked.
    pub(crate) fn open_locked(lock: Arc<StoreLock>, name: &str, cache_bytes: u64) -> Result<Self, Error> {
        let folder = LogFolder::open(lock, name)?;
        let mut mended = Vec::new();
        let (store, number) = Store::open(&folder, cache_bytes, None, &mut mended)?;
        Ok(Self {
            folder,
            number,
            cache_bytes,
            store: RwLock::new(Some(store)),
            unflushed: AtomicU64::new(0),
            refused: Mutex::new(None),
            mended,
            lingers: AtomicBool::new(false),
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
        self.opened(action, |store| contained(self.path(), action, || act(store)))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Checks that the path still leads to this log, before more is done than to append to
    /// its open journal.
    fn check_log(&self) -> Result<(), Error> {
        self.folder.check_log(self.number)
    }

    /// As [`DiskLog::with`], for reading. A file of fjall's that is missing because the
    /// store was moved is not damaged.
    fn reading<T>(&self, act: impl FnOnce(&Store) -> Result<T, Error>) -> Result<T, Error> {
        self.folder.check_read()?;
        self.opened("read", act).map_err(|error| self.check_log().err().unwrap_or(error))
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
            None => Err(Error::Log { path: self.path().into(), action, message: "it is closed".into() }),
        }
    }

    /// Opens the store anew if `needed`. One whose worker met a full disk, say,
    /// refuses all writes from then on; opened anew it takes them again.
    fn reopen(&self, needed: impl FnOnce(&Option<Store>) -> bool) -> Result<(), Error> {
        let mut slot = write(&self.store);
        if needed(&slot) {
            self.check_log()?;
            self.end(&mut slot)?;
            *slot = Some(self.open_again()?);
            self.unflushed.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    fn open_again(&self) -> Result<Store, Error> {
        self.check_log()?;
        let (store, _) = Store::open(&self.folder, self.cache_bytes, Some(self.number), &mut Vec::new())?;
        Ok(store)
    }

    /// Closes the store, if it is open, and returns once fjall has released its files; with
    /// fjall's lock, which keeps other engines out.
    fn end(&self, slot: &mut Option<Store>) -> Result<Option<HeldLock>, Error> {
        let Some(store) = slot.take() else { return Ok(None) };
        let ended = store.end();
        self.lingers.store(ended.is_err(), Ordering::Relaxed);
        ended.map(Some).map_err(|error| Error::io(self.path(), error))
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
                let mark = codec::encode_mark(self.number, store.database.seqno());
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
        self.folder.check_store()?;
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
        self.try_files()?;
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
            let _ = self.check_log().and_then(|()| self.with("commit", Store::rotate));
        }
    }

    /// Flushes, closes and empties the journal; then opens again if `reopen`.
    fn tidy(&self, action: &'static str, reopen: bool, compact: bool) -> Result<(), Error> {
        self.settle()?;
        let tidied = self.tidy_once(action, reopen, compact);
        if let Err(Error::Log { .. }) = tidied {
            // As in a commit.
            self.try_files()?;
            self.reopen(|_| true)?;
            return self.tidy_once(action, reopen, compact);
        }
        tidied
    }

    /// Nobody reads or commits meanwhile.
    fn tidy_once(&self, action: &'static str, reopen: bool, compact: bool) -> Result<(), Error> {
        let mut slot = write(&self.store);
        self.check_log()?;
        let Some(store) = &*slot else { return Ok(()) };
        contained(self.path(), action, || {
            store.flush()?;
            if compact {
                store.tables.iter().try_for_each(Keyspace::major_compact)?;
            }
            store.database.persist(PersistMode::SyncAll)
        })?;
        self.unflushed.store(0, Ordering::Relaxed);
        if reopen {
            self.try_files()?;
        }
        // Should that fail, the journal is read again when the log opens.
        let emptied = self.end(&mut slot).and_then(|lock| {
            self.check_log()?;
            let emptied = empty_journals(self.folder.anchor(), Mark { number: self.number, closed: true });
            drop(lock);
            emptied.map_err(|error| Error::io(self.path(), error))
        });
        if reopen {
            *slot = Some(self.open_again()?);
        }
        emptied
    }

    /// Checks that files can be made, which opening the store takes.
    fn try_files(&self) -> Result<(), Error> {
        self.check_log()?;
        try_files(self.folder.anchor()).map_err(|error| Error::io(self.path(), error))
    }
}

impl Drop for DiskLog {
    fn drop(&mut self) {
        let store = self.store.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let another = Mark::read(self.folder.anchor()).is_some_and(|mark| mark.number != self.number);
        if self.folder.is_forked() || another {
            // In a forked process the threads that it waits for do not exist. Elsewhere it
            // deletes tables that it has replaced, by their names.
            std::mem::forget(store);
            self.folder.leak();
            return;
        }
        let ended = store.map(Store::end).transpose();
        if ended.is_err() || *self.lingers.get_mut() {
            // A descriptor of this number must not become another store's while fjall may
            // still use it.
            self.folder.leak();
        }
    }
}

impl Log for DiskLog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.reading(|store| {
            contained(self.path(), "read", || Ok(store.table(table).get(key)?.map(|value| value.to_vec())))
        })
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        self.reading(|store| {
            let mut entries = store.table(table).prefix(prefix);
            let mut next =
                || contained(self.path(), "read", || entries.next().map(Guard::into_inner).transpose());
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

    fn check(&self) -> Result<(), Error> {
        self.check_log()
    }

    fn compact(&self) -> Result<(), Error> {
        self.tidy("compact", true, true)
    }

    fn close(&self) -> Result<(), Error> {
        self.tidy("close", false, false)
    }
}

impl Store {
    /// Opens the store, and returns the log's number. If the log was open before, `number`
    /// is what it was then.
    fn open(
        folder: &LogFolder,
        cache_bytes: u64,
        number: Option<u64>,
        mended: &mut Vec<PathBuf>,
    ) -> Result<(Self, u64), Error> {
        let found = prepare(folder, number, mended)?;
        let (path, anchor) = (folder.path(), folder.anchor());
        check_working_folder().map_err(|error| Error::io(path, error))?;
        let (database, tables) = contained(path, "open", || {
            let database = Database::builder(anchor)
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
            [&anchor.join("keyspaces"), anchor, folder.store()]
                .into_iter()
                .try_for_each(sync_folder)
                .map_err(|error| Error::io(path, error))?;
        }
        let mark = found.number.map_or_else(Mark::new, |number| Mark { number, closed: false });
        if found.mark.is_none_or(|found| found.closed) {
            mark.write(anchor).map_err(|error| Error::io(&Mark::path(path), error))?;
        }
        let lock = File::options().write(true).open(anchor.join(FJALL_LOCK));
        let lock = lock.map_err(|error| Error::io(&path.join(FJALL_LOCK), error))?;
        Ok((Self { database, tables, numbered: AtomicBool::new(false), lock }, mark.number))
    }

    /// Closes the store; returns fjall's lock once fjall has released it, which it does
    /// last, a moment after it was dropped.
    fn end(self) -> io::Result<HeldLock> {
        let Self { database, tables, lock, .. } = self;
        drop(database);
        drop(tables);
        let lock = HeldLock::wait(lock, CLOSED_WITHIN)?;
        lock.ok_or_else(|| io::Error::new(io::ErrorKind::WouldBlock, "the log is still in use"))
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
