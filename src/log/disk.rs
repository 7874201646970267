//! The log on disk: a journal, and what it amounts to in RAM.
//!
//! Once memories are in a segment's file, the log holds no more of them than the entry of the segment. So
//! the log stays small, and a plain journal does: a commit is one write to the end of a file. The
//! journal is read when the log is opened, and written again, as a checkpoint, when most of it
//! is outdated.

mod checkpoint;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::appender::{Appender, NewLog, go_on, make};
use super::batch;
use super::durable::{free_name, sync_folder};
use super::folder::LogFolder;
use super::identity::{self, random_number};
use super::journal::{self, End};
use super::lock::{HeldLock, StoreLock};
use super::recovery::{find, is_former, is_unfinished, remove_former, set_aside};
use super::reserve::{self, Allowance, Reserve};
use super::state::State;
use super::{Batch, Durability, FORMAT, LOG_FOLDER, Log, Table, Visit, memory_id};
use crate::error::Error;
use crate::identity::shown;
use crate::key::MemoryId;
use crate::sync::{Mutex, MutexGuard, RwLock, lock, read, write};
use crate::telemetry::or_warn;

/// A journal is written again when it is longer than this and twice what the log holds.
const OUTDATED_BYTES: u64 = 4 << 20;

/// A journal is written again by the commit that finds it this many times too long: nobody did before.
const OVERDUE: u64 = 8;

/// Prefix of the names of what is set aside of journals; a number follows.
const DAMAGED: &str = "journal.damaged";

/// The format of stores before they had this journal.
const FORMER_FORMAT: u64 = 2;

/// So much of the reserve is written while commits wait.
const RESERVED_AT_ONCE: u64 = 256 << 10;

/// The log of an engine that keeps its memories on disk.
pub struct DiskLog {
    // The lock of the identity's file. Ends before the folder does, by which it reaches the file.
    _lock: HeldLock,
    folder: LogFolder,
    /// Tells the log from any other. The journal repeats it.
    number: u64,
    state: RwLock<State>,
    appender: Mutex<Appender>,
    reserve: Mutex<Reserve>,
    /// Checkpoints that were begun.
    attempts: AtomicU64,
    repaired: Vec<PathBuf>,
}

impl DiskLog {
    /// Opens the log of the store in the folder `store`, which exists, or makes one. The
    /// log is in the folder `log` there, and the store is locked while the log is open.
    ///
    /// A journal whose end is torn, as a power loss leaves it, is cut there by [`Log::clean_up`] or the first
    /// commit. If there is more behind than a batch that is cut off, it is set aside as `journal.damaged-1`. Any
    /// other damage is refused. Nothing is changed before.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open already, [`Error::Corrupt`] if its files
    /// are damaged, [`Error::Incompatible`] if its format is older, [`Error::NoSpace`] or [`Error::Io`].
    pub fn open(store: &Path) -> Result<Self, Error> {
        Self::open_locked(Arc::new(StoreLock::acquire(store)?), LOG_FOLDER)
    }

    /// Opens the log in the folder `name` of a store that the caller has locked.
    pub(crate) fn open_locked(lock: Arc<StoreLock>, name: &str) -> Result<Self, Error> {
        // No commit has the number before the first.
        Self::open_or_make(lock, name, NewLog { number: random_number(), generation: 0, first: 1 })
    }

    /// As [`DiskLog::open_locked`]. If a new log is made, it begins as `new`.
    pub(crate) fn open_or_make(lock: Arc<StoreLock>, name: &str, new: NewLog) -> Result<Self, Error> {
        let folder = LogFolder::open(lock, name)?;
        Self::check_format(folder.anchor())?;
        let lock = Self::lock(folder.anchor())?;
        let known = identity::read(folder.anchor());
        let known = known.map_err(|error| Error::io(&identity::path(folder.anchor()), error))?;
        let mut repaired = Vec::new();
        let found = find(&folder, known)?;
        folder.check()?;
        let (number, state, appender) = match found {
            Some((path, journal)) => {
                let unknown = known.is_none().then(|| identity::path(folder.anchor()));
                let torn = (journal.end != End::Whole).then(|| path.clone());
                let aside = || folder.anchor().join(free_name(folder.anchor(), DAMAGED));
                let rest = matches!(journal.end, End::Torn(_)).then(aside);
                repaired.extend(unknown.iter().chain(&torn).chain(&rest).map(|path| shown(path)));
                let number = journal.header.number;
                let (state, mut appender) = go_on(&path, journal)?;
                appender.faults.unnamed = known != Some(appender.identity(number));
                appender.rest = rest;
                (number, state, appender)
            }
            None => {
                let (state, appender) = make(folder.anchor(), new)?;
                let synced = |folder: &Path| sync_folder(folder).map_err(|error| Error::io(folder, error));
                synced(folder.store())?;
                identity::write(folder.anchor(), appender.identity(new.number))?;
                synced(folder.anchor())?;
                (new.number, state, appender)
            }
        };
        let reserve = Mutex::new(Reserve::of(folder.anchor()));
        let (state, appender) = (RwLock::new(state), Mutex::new(appender));
        let attempts = AtomicU64::default();
        Ok(Self { folder, number, state, appender, reserve, attempts, repaired, _lock: lock })
    }

    /// Whether the folder `path` holds a log, or nothing yet.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn may_be_at(path: &Path) -> io::Result<bool> {
        if Self::is_at(path) {
            return Ok(true);
        }
        match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            entries => {
                let ours = |name: &std::ffi::OsStr| {
                    let known = [identity::path(path), reserve::path(path)];
                    known.iter().any(|known| known.ends_with(name)) || is_unfinished(name.as_ref())
                };
                let names: io::Result<Vec<_>> = entries?.map(|entry| Ok(entry?.file_name())).collect();
                Ok(names?.iter().all(|name| ours(name)))
            }
        }
    }

    /// Whether the folder `path` holds a log, damaged or not, of this or the former format.
    pub(crate) fn is_at(path: &Path) -> bool {
        journal::paths(path).is_ok_and(|journals| !journals.is_empty())
            || fs::metadata(identity::path(path)).is_ok_and(|file| file.len() > 0)
            || is_former(path)
    }

    /// Refuses a log of an older format, or of a newer one.
    ///
    /// # Errors
    /// [`Error::Incompatible`], [`Error::Io`].
    pub(crate) fn check_format(path: &Path) -> Result<(), Error> {
        if is_former(path) {
            let (path, what) = (shown(path), "format");
            return Err(Error::Incompatible { path, what, expected: FORMER_FORMAT, received: FORMAT });
        }
        let newest = journal::paths(path).unwrap_or_default().pop();
        let Some((_, newest)) = newest else { return Ok(()) };
        match journal::version(&newest).map_err(|error| Error::io(&shown(&newest), error))? {
            Some(expected) if expected != journal::VERSION => {
                let (path, what) = (shown(&newest), "version of the journal");
                Err(Error::Incompatible { path, what, expected, received: journal::VERSION })
            }
            _ => Ok(()),
        }
    }

    /// Takes the lock of the log at `path`. If its identity is missing, an empty file takes its place while the lock
    /// is held, or until the identity is written into it.
    ///
    /// # Errors
    /// [`Error::Locked`] if the log is open, [`Error::Io`].
    pub(crate) fn lock(path: &Path) -> Result<HeldLock, Error> {
        let identity = identity::path(path);
        let held = HeldLock::wait(&identity, super::lock::LOCKED_FOR);
        held.map_err(|error| Error::io(&identity, error))?.ok_or_else(|| Error::Locked { path: shown(path) })
    }

    /// Files that were damaged in a way that opening could repair.
    pub fn repaired(&self) -> &[PathBuf] {
        &self.repaired
    }

    /// The journal's path, for errors.
    fn journal(&self) -> PathBuf {
        let newest = journal::paths(self.folder.anchor()).ok().and_then(|mut journals| journals.pop());
        newest.map_or_else(|| self.folder.path().into(), |(_, path)| shown(&path))
    }

    /// The error after the operating system has refused the journal.
    fn failed(&self, error: io::Error) -> Error {
        self.failed_at(&self.journal(), error)
    }

    /// The error after the operating system has refused the file at `path`, or a value from the journal that was to
    /// be written there is damaged.
    fn failed_at(&self, path: &Path, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Error::Corrupt { path: self.journal(), what: "a value in it".into() }
            }
            _ => Error::io(path, error),
        }
    }

    /// The end of the journal, once its faults are mended.
    fn sound(&self) -> Result<MutexGuard<'_, Appender>, Error> {
        let mut journal = lock(&self.appender);
        if let Some(rest) = journal.rest.clone() {
            set_aside(&rest, &journal, self.number).map_err(|error| self.failed_at(&rest, error))?;
            journal.rest = None;
        }
        if journal.faults.trailing {
            journal.cut().map_err(|error| self.failed(error))?;
        }
        if journal.faults.unsynced {
            let checkpoint = self.checkpoint(journal.position())?;
            self.switch(&mut journal, checkpoint)?;
        }
        if journal.faults.unnamed {
            self.name(&mut journal)?;
        }
        Ok(journal)
    }

    /// Appends a batch to the journal.
    fn append(&self, batch: &Batch, durability: Durability) -> Result<(), Error> {
        let mut guard = self.sound()?;
        let journal = &mut *guard;
        journal.buffer.clear();
        let changes = batch.changes.iter();
        let changes = changes.map(|(table, key, value)| (*table, key.as_slice(), value.as_deref()));
        let numbers = (journal.sequence, journal.synced);
        let places = batch::encode(&mut journal.buffer, self.number, numbers, changes);
        let start = journal.end;
        if let Err(error) = (&*journal.file).write_all(&journal.buffer) {
            return Err(self.refused(guard, error));
        }
        if durability == Durability::Synced {
            if let Err(error) = journal.file.sync_data() {
                journal.faults.unsynced = true;
                return Err(self.refused(guard, error));
            }
            journal.synced = journal.sequence;
        }
        journal.end += journal.buffer.len() as u64;
        journal.sequence += 1;
        journal.is_checkpoint = false;
        let mut state = write(&self.state);
        for (change, place) in batch.changes.iter().zip(places) {
            state.apply(change, start + place as u64);
        }
        let limit = OVERDUE * (OUTDATED_BYTES + 2 * state.bytes());
        drop(state);
        let (position, is_overdue) = (journal.position(), journal.end > limit);
        if is_overdue && let Some(checkpoint) = or_warn("write a checkpoint", self.checkpoint(position)) {
            // The batch is committed whatever comes of it.
            or_warn("begin a journal", self.switch(&mut guard, checkpoint));
        }
        Ok(())
    }

    /// Does work for which a part of the reserve may be given up when the disk is full.
    fn within(&self, allowance: Allowance, work: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
        loop {
            match work() {
                Err(Error::NoSpace { .. }) if self.give_up(allowance) => {}
                done => return done,
            }
        }
    }

    /// Fills the reserve, for a log that has taken so many bytes more.
    fn fill_reserve(&self, added: u64) -> Result<(), Error> {
        let log = read(&self.state).bytes() + added;
        if lock(&self.reserve).is_full(log) {
            return Ok(());
        }
        self.check()?;
        lock(&self.reserve).fill(log)
    }

    fn give_up(&self, allowance: Allowance) -> bool {
        let log = read(&self.state).bytes();
        lock(&self.reserve).give_up(allowance, log)
    }

    /// Makes the reserve as large as the store needs it.
    fn keep_reserve(&self) -> Result<(), Error> {
        self.check()?;
        let segments = (self as &dyn Log).segments()?;
        let bytes: u64 = segments.iter().map(|(_, entry)| entry.bytes).sum();
        let due = Reserve::due(bytes + lock(&self.appender).end, read(&self.state).bytes());
        while !lock(&self.reserve).grow(due, RESERVED_AT_ONCE)? {}
        Ok(())
    }

    /// The store's error after a write or a sync has failed, once what that has left is gone, if it can be
    /// removed now. A batch that was written whole must go too: the next opening would take it for a
    /// commit.
    fn refused(&self, mut journal: MutexGuard<'_, Appender>, error: io::Error) -> Error {
        journal.faults.trailing = true;
        drop(journal);
        drop(self.sound());
        self.failed(error)
    }
}

impl Log for DiskLog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, Error> {
        let found = read(&self.state).get(table, key);
        found.map(|found| found.read().map_err(|error| self.failed(error))).transpose()
    }

    fn contains(&self, table: Table, key: &[u8]) -> Result<bool, Error> {
        Ok(read(&self.state).contains(table, key))
    }

    fn recorded(&self) -> Result<Vec<MemoryId>, Error> {
        let keys = read(&self.state).all(Table::Records, &[]);
        keys.iter().map(|(key, _)| memory_id(key)).collect()
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let found = read(&self.state).all(table, prefix);
        found
            .into_iter()
            .try_for_each(|(key, value)| visit(&key, &value.read().map_err(|error| self.failed(error))?))
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        if batch.is_redundant {
            let mut state = write(&self.state);
            batch.changes.iter().for_each(|change| state.apply(change, 0));
            return Ok(());
        }
        self.folder.check_store()?;
        if batch.allowance == Allowance::None {
            self.fill_reserve(batch.bytes())?;
        }
        self.within(batch.allowance, || self.append(batch, durability))
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn memory(&self) -> usize {
        read(&self.state).memory()
    }

    fn sequence(&self) -> u64 {
        lock(&self.appender).sequence
    }

    fn clean_up(&self) -> Result<(), Error> {
        self.folder.keep_lock();
        let journal = match self.sound() {
            // There is no room to set the rest aside. Reads need not wait for it.
            Err(Error::NoSpace { .. }) if lock(&self.appender).rest.is_some() => return Ok(()),
            journal => journal?,
        };
        self.check()?;
        remove_former(self.folder.anchor(), journal.generation)
    }

    fn sync(&self) -> Result<(), Error> {
        let journal = self.sound()?;
        let (file, generation, last) =
            (journal.file.clone(), journal.generation, journal.sequence.wrapping_sub(1));
        if journal.synced == last {
            return Ok(());
        }
        drop(journal);
        let synced = file.sync_data();
        let mut journal = lock(&self.appender);
        match synced {
            _ if journal.generation != generation => Ok(()),
            Ok(()) => {
                journal.synced = journal.synced.max(last);
                Ok(())
            }
            Err(_) => {
                journal.faults.unsynced = true;
                drop(journal);
                // It writes another journal, and syncs that.
                self.sound().map(drop)
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.folder.check_log(self.number)
    }

    fn maintain(&self) -> Result<(), Error> {
        self.within(Allowance::All, || self.rewrite(2, OUTDATED_BYTES))?;
        self.keep_reserve()
    }

    fn compact(&self) -> Result<(), Error> {
        self.within(Allowance::All, || self.rewrite(0, 0))
    }

    fn keep_room(&self) -> Result<(), Error> {
        self.fill_reserve(0)
    }

    fn make_room(&self) -> bool {
        self.give_up(Allowance::All)
    }

    fn close(&self) -> Result<(), Error> {
        self.check()?;
        let is_checkpoint = lock(&self.appender).is_checkpoint;
        // Whatever is cut off a checkpoint is noticed.
        if is_checkpoint { Ok(()) } else { self.compact() }
    }
}
