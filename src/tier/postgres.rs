//! WARM in a PostgreSQL database with pgvector: texts' terms, vectors and records
//! are there, ids and term statistics in RAM.
//!
//! A batch of memories is one round trip, and so is a recall as a rule, whose answer
//! brings the records along. Scores are bit for bit those of the other tiers. Several
//! engines can share a database, each with a store of its own in it.
//!
//! **Snapshots.** A row never changes: each change of the tier has a number, a row
//! bears that of the change it came with, and the engine remembers which rows have
//! left since. So a view says which rows it shows, whatever the database holds by
//! then. Rows that no view shows any more are deleted as upkeep.
//!
//! **Faults.** The log knows what should be here. Rows that it does not know, because
//! the process died between the two, are deleted when the engine opens, and what is
//! missing is put in again. A row is named by its memory and its number, so a call
//! that is made again stores nothing twice. A store has an epoch, which changes when
//! an engine opens it and when a call had no answer: what arrives late then does
//! nothing.

mod candidates;
mod client;
mod database;
mod nearest;
mod opening;
mod present;
mod reach;
mod rows;
mod schema;
mod search;
mod statement;
mod strengths;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};

use tokio_postgres::Row;

pub use self::database::Database;

use self::client::{Answer, Client};
use self::opening::{Kept, load, migrate, store_number};
use self::present::{Dead, Present, Seq};
use self::rows::Table;
use self::search::PostgresView;
use self::statement::Statement;
use self::strengths::Strengths;
use super::weakest::Facts;
use super::{Done, Effort, Staged, Tier, TierView, Upkeep};
use crate::encoder::Encoder;
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId, TierKind, Timestamp};
use crate::log::{Batch, Log, Placement};
use crate::remote::{Counter, Limits};
use crate::segment::PreparedMemory;
use crate::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard, read, write};
use crate::telemetry;

/// The longest vector that pgvector puts into an index.
const MAX_BITS: usize = 64_000;

/// Memories that leave HOT together: a store waits for a round trip once in so many.
const TAKEN_TOGETHER: usize = 256;

/// Memories that one statement puts in at most: with vectors of their own, each takes
/// up to three milliseconds, and a statement has a time limit.
const INSERTED_AT_ONCE: usize = 512;

/// Bytes of records and vectors that one statement puts in, unless one memory has more.
const INSERTED_BYTES: usize = 4 << 20;

/// Rows are deleted when there are so many, unless all have to be.
const DELETED_TOGETHER: usize = 256;

/// Rows that one statement deletes at most.
const DELETED_AT_ONCE: usize = 4_096;

/// The WARM tier in a database.
pub struct PostgresTier {
    client: Client,
    table: Table,
    epoch: i64,
    /// The epoch that was asked for, where that had no answer.
    renewed: Option<i64>,
    /// Whether a call may still arrive that was made in this epoch: its first attempt had
    /// no answer.
    unsure: bool,
    encoder: Arc<Encoder>,
    log: Arc<dyn Log>,
    present: Arc<RwLock<Present>>,
    strengths: Strengths,
    /// The number of the last change.
    seq: Seq,
    /// Views of each namespace that may still be held, and as of when they are, the
    /// oldest first.
    views: HashMap<NamespaceId, VecDeque<(Seq, Weak<PostgresView>)>>,
}

/// Rows that were deleted.
struct Deleted {
    namespace: NamespaceId,
    dead: Vec<Dead>,
    /// The names and terms of those that were there.
    rows: Vec<Row>,
    /// Whether they are gone, as far as is known.
    gone: Result<(), Error>,
}

impl PostgresTier {
    /// The tier of the store that `log` belongs to: what `database` has of it is
    /// there again. By which number it is known there is in the log before this returns.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a dimension that pgvector does not take,
    /// [`Error::Unreachable`], [`Error::Refused`], or what the log reports.
    pub fn open(
        database: Database,
        encoder: Arc<Encoder>,
        log: Arc<dyn Log>,
        limits: Limits,
        decay_per_day: f64,
    ) -> Result<Self, Error> {
        let bits = encoder.dimension().bits();
        if bits > MAX_BITS {
            let (name, expected) = ("dimension", "at most 64,000 bits with WARM in PostgreSQL");
            return Err(Error::InvalidConfig { name, expected, received: bits.to_string() });
        }
        let store = store_number(&*log)?;
        let client = Client::new(database, limits)?;
        let table = Table::new(bits, store.cast_signed());
        migrate(&client, limits, bits)?;
        let Kept { epoch, present, seq } = load(&client, limits, &table)?;
        let present = Arc::new(RwLock::new(present));
        Ok(Self {
            client,
            table,
            epoch,
            renewed: None,
            unsure: false,
            encoder,
            log,
            present,
            strengths: Strengths::new(decay_per_day),
            seq,
            views: HashMap::new(),
        })
    }

    fn known(&self) -> RwLockReadGuard<'_, Present> {
        read(&self.present)
    }

    fn present(&self) -> RwLockWriteGuard<'_, Present> {
        write(&self.present)
    }

    fn next_seq(&mut self) -> Seq {
        self.seq += 1;
        self.seq
    }

    /// Forgets views of a namespace that nobody holds any more, up to the oldest one
    /// that somebody does.
    fn drop_views(&mut self, namespace: NamespaceId) {
        if let Some(views) = self.views.get_mut(&namespace) {
            while views.front().is_some_and(|(_, view)| view.strong_count() == 0) {
                views.pop_front();
            }
        }
    }

    /// As of when the oldest view of a namespace is that may still be held.
    fn oldest_view(&self, namespace: NamespaceId) -> Seq {
        self.views.get(&namespace).and_then(VecDeque::front).map_or(self.seq, |&(seq, _)| seq)
    }

    /// Puts memories in as of `seq`.
    fn insert(
        &mut self,
        namespace: NamespaceId,
        seq: Seq,
        memories: &[Arc<PreparedMemory>],
    ) -> Result<(), Error> {
        if self.renewed.is_some() {
            self.renew()?;
        }
        let bytes = |memory: &Arc<PreparedMemory>| {
            memory.record.len() + memory.vector.as_deref().map_or(0, size_of_val)
        };
        for some in inserted_together(memories, bytes) {
            let statement = self.table.insertion(self.epoch, namespace, seq, some)?;
            let Answer { rows, attempts } = self.client.write("store", statement)?;
            self.unsure |= attempts > 1;
            let owners: i64 = match rows.first() {
                Some(row) => row.try_get(0).map_err(|error| self.client.misread(&error))?,
                None => 0,
            };
            if owners == 0 {
                return Err(self.client.fenced());
            }
        }
        Ok(())
    }

    /// Begins a new epoch, so that calls of before do nothing any more.
    fn renew(&mut self) -> Result<(), Error> {
        // The same as before if that had no answer: it may have begun.
        let next = *self.renewed.get_or_insert_with(|| fastrand::i64(..));
        if self.client.write("begin an epoch", self.table.renewal(self.epoch, next))?.rows.is_empty() {
            return Err(self.client.fenced());
        }
        self.epoch = next;
        self.renewed = None;
        self.unsure = false;
        Ok(())
    }
}

/// The parts in which memories are put in: of so many, or so many bytes.
fn inserted_together<T>(mut memories: &[T], bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fitting = memories.iter().take(INSERTED_AT_ONCE).take_while(|memory| {
            sum += bytes(memory);
            sum <= INSERTED_BYTES
        });
        let (some, rest) = memories.split_at_checked(fitting.count().max(1))?;
        memories = rest;
        Some(some)
    })
}

impl Tier for PostgresTier {
    fn kind(&self) -> TierKind {
        TierKind::Warm
    }

    fn len(&self) -> usize {
        self.known().len()
    }

    fn apply(&mut self, done: Done, batch: &mut Batch) -> Result<Vec<NamespaceId>, Error> {
        let Staged { namespace, mut memories } = match done.downcast::<Staged>() {
            Ok(staged) => *staged,
            Err(done) => return self.forget_deleted(done),
        };
        // Another move may have brought some of them meanwhile.
        memories.retain(|memory| !self.known().holds(namespace, memory.row.id));
        for memory in &memories {
            let placement = Placement { tier: TierKind::Warm, namespace, accesses: memory.row.accesses };
            batch.put_memory(&*self.log, placement, memory)?;
        }
        let seq = self.next_seq();
        let stored = self.insert(namespace, seq, &memories);
        let mut present = self.present();
        if let Err(error) = stored {
            // They may be there all the same.
            for memory in &memories {
                present.bury(namespace, Dead::unsure(memory.row.id, seq));
            }
            drop(present);
            self.unsure = true;
            return Err(error);
        }
        for memory in &memories {
            let crate::segment::Row { id, supplied, terms, length, .. } = &memory.row;
            present.insert(*id, present::Row { namespace, seq, supplied: *supplied });
            for (term, count) in terms.iter() {
                present.count(self.table.key(namespace, *term), 1, count.share(*length));
            }
        }
        drop(present);
        for memory in &memories {
            self.strengths.insert(namespace, memory.row.id, Facts::from(&memory.row));
        }
        Ok(vec![namespace])
    }

    fn stage_removal(&self, namespace: NamespaceId, id: MemoryId, _batch: &mut Batch) -> bool {
        self.known().holds(namespace, id)
    }

    fn remove(&mut self, namespace: NamespaceId, id: MemoryId) -> bool {
        let gone = self.next_seq();
        let mut present = self.present();
        let removed = present.holds(namespace, id) && present.remove(id, gone);
        drop(present);
        if removed {
            self.strengths.remove(id);
        }
        removed
    }

    fn facts(&self, namespace: NamespaceId, id: MemoryId) -> Option<Facts> {
        self.strengths.get(id).filter(|_| self.known().holds(namespace, id))
    }

    fn stage_accesses(&self, namespace: NamespaceId, id: MemoryId, accesses: u32, batch: &mut Batch) {
        batch.put_placement(id, Placement { tier: TierKind::Warm, namespace, accesses });
    }

    fn set_accesses(&mut self, _namespace: NamespaceId, id: MemoryId, accesses: u32) -> bool {
        self.strengths.set_accesses(id, accesses)
    }

    fn weakest(&mut self, now: Timestamp) -> Option<(NamespaceId, MemoryId)> {
        self.strengths.weakest(now)
    }

    fn unlist(&mut self, namespace: NamespaceId, id: MemoryId) {
        self.strengths.unlist(namespace, id);
    }

    fn put_back(&mut self, namespace: NamespaceId, id: MemoryId) {
        if let Some(facts) = self.strengths.get(id) {
            self.strengths.insert(namespace, id, facts);
        }
    }

    fn memory(&self, _namespace: NamespaceId, _id: MemoryId) -> Result<Option<Arc<PreparedMemory>>, Error> {
        Ok(None)
    }

    fn note_kept(&mut self, namespace: NamespaceId, id: MemoryId, facts: Facts) {
        self.strengths.insert(namespace, id, facts);
    }

    fn preferred_batch(&self) -> Option<usize> {
        Some(TAKEN_TOGETHER)
    }

    fn check_health(&self) -> Option<Upkeep> {
        let client = self.client.clone();
        client.is_given_up().then(|| {
            Box::new(move || {
                client.query("answer", Statement::default().text("SELECT 1".into()))?;
                Ok(Box::new(()) as Done)
            }) as Upkeep
        })
    }

    fn keeps(&self, id: MemoryId) -> bool {
        self.known().has(id)
    }

    fn retain(&mut self, stays: &dyn Fn(MemoryId) -> bool) {
        let gone = self.next_seq();
        let mut present = self.present();
        let unknown: Vec<MemoryId> = present.ids().filter(|&id| !stays(id)).collect();
        for id in unknown {
            present.remove(id, gone);
        }
    }

    fn view(&mut self, namespace: NamespaceId) -> Arc<dyn TierView> {
        let view = Arc::new(PostgresView {
            client: self.client.clone(),
            encoder: self.encoder.clone(),
            table: self.table.clone(),
            present: self.present.clone(),
            log: self.log.clone(),
            namespace,
            seq: self.seq,
            len: self.known().size(namespace),
            supplied: self.known().size_of(namespace, true),
            records: Mutex::default(),
        });
        self.drop_views(namespace);
        self.views.entry(namespace).or_default().push_back((self.seq, Arc::downgrade(&view)));
        view
    }

    fn upkeep(&mut self, effort: Effort) -> Option<Upkeep> {
        let least = match effort {
            Effort::Due => DELETED_TOGETHER,
            Effort::Open | Effort::Close => return None,
            Effort::Free | Effort::All => 1,
        };
        let buried = self.known().buried(least);
        let (namespace, dead) = buried.into_iter().find_map(|namespace| {
            self.drop_views(namespace);
            let unseen = self.known().unseen(namespace, self.oldest_view(namespace), DELETED_AT_ONCE);
            (unseen.len() >= least).then_some((namespace, unseen))
        })?;
        if self.unsure
            && let Err(error) = self.renew()
        {
            return Some(Box::new(move || Err(error)));
        }
        let terms = self.table.terms(namespace, &dead);
        let statement = self.table.deletion(self.epoch, namespace, &dead);
        let client = self.client.clone();
        Some(Box::new(move || {
            // By themselves: a deletion that is made again finds nothing any more.
            let rows = client.query("delete", terms)?;
            let gone = client.query("delete", statement).map(drop);
            Ok(Box::new(Deleted { namespace, dead, rows, gone }) as Done)
        }))
    }

    fn counter(&self) -> Option<Arc<Counter>> {
        Some(self.client.counter().clone())
    }
}

impl PostgresTier {
    /// Notes that rows are deleted; the namespace whose rows they were.
    fn forget_deleted(&mut self, done: Done) -> Result<Vec<NamespaceId>, Error> {
        let Ok(deleted) = done.downcast::<Deleted>() else { return Ok(Vec::new()) };
        let Deleted { namespace, dead, rows, gone } = *deleted;
        let mut present = self.present();
        match &gone {
            Ok(()) => present.forget(namespace, &dead),
            // They are counted off now: should they be gone, nothing tells their terms any more.
            Err(_) => present.count_off(namespace, &dead),
        }
        let counted: HashSet<(MemoryId, Seq)> =
            dead.iter().filter(|dead| dead.is_counted()).map(|dead| (dead.id, dead.seq)).collect();
        // What cannot be read is counted on, which makes its terms seem a little more frequent.
        let read = |row| telemetry::or_warn("read the terms of a deleted row", read_terms(row));
        for (id, seq, terms) in rows.iter().filter_map(read) {
            if counted.contains(&(id, seq)) {
                terms.into_iter().for_each(|key| present.count(key, -1, 0.0));
            }
        }
        gone.map(|()| vec![namespace])
    }
}

/// A row's name, and its terms.
fn read_terms(row: &Row) -> Result<(MemoryId, Seq, Vec<i64>), tokio_postgres::Error> {
    let id: i64 = row.try_get(0)?;
    Ok((MemoryId(id.cast_unsigned()), row.try_get(1)?, row.try_get(2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_puts_in_too_many_memories_or_bytes() {
        let parts = |bytes: &[usize]| -> Vec<usize> {
            inserted_together(bytes, |&bytes| bytes).map(<[usize]>::len).collect()
        };
        let most = INSERTED_BYTES;
        assert_eq!(parts(&[1; INSERTED_AT_ONCE + 3]), [INSERTED_AT_ONCE, 3]);
        assert_eq!(parts(&[most / 2, most / 2, 1, most, most + 1, 1]), [2, 1, 1, 1, 1]);
        assert_eq!(parts(&[]), [0; 0]);
    }
}
