//! Moving memories between tiers: down when they are weak or a tier is full,
//! up when they are recalled and strong.

use std::collections::HashMap;

use super::writer::{Entry, Writer};
use super::{Shared, lock};
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId, TierKind, Timestamp};
use crate::log::{Batch, Durability, Record, Standing};
use crate::tier::{Admission, Band, Done, strength};

/// Memories that are moved in one batch. For COLD it is the size of a new segment: large enough
/// that few segments are merged, and small enough that a move takes little memory (40 MB).
const MOVED_AT_ONCE: usize = 16_384;

/// WARM may exceed its capacity by this many memories before they are moved to a new COLD segment.
/// A thorough pass ignores it.
const SLACK: usize = 1_024;

/// Recalled memories whose accesses are counted while the lock is held once.
const COUNTED_AT_ONCE: usize = 256;

/// Records that another machine is unreachable, so that work that does not need it goes on.
pub(super) fn unless_away<T: Default>(
    result: Result<T, Error>,
    away: &mut Option<Error>,
) -> Result<T, Error> {
    match result {
        Err(error @ Error::Unreachable { .. }) => {
            *away = Some(error);
            Ok(T::default())
        }
        other => other,
    }
}

impl Shared {
    /// Counts the accesses of recalls so far, and moves up the memories that have become strong
    /// enough. Those that they displace move down before the next ones rise, so that no tier
    /// exceeds its capacity by much. Returns the numbers of moves up and down.
    pub(super) fn promote(&self, now: Timestamp) -> Result<(usize, usize), Error> {
        let mut counts: Vec<(MemoryId, u32)> =
            std::mem::take(&mut *lock(&self.touched)).into_iter().collect();
        counts.sort_unstable();
        let (mut risen, mut displaced, mut away) = (0, 0, None);
        let mut rest = counts.as_slice();
        while !rest.is_empty() {
            let (some, later) = rest.split_at(COUNTED_AT_ONCE.min(rest.len()));
            let counted = self.count(some, now).inspect_err(|_| self.recount(rest))?;
            rest = later;
            let displaces = !counted.is_empty();
            for ((from, to), rising) in counted {
                let moved = unless_away(self.move_all(rising, from, to), &mut away);
                risen += moved.inspect_err(|_| self.recount(rest))?;
            }
            if displaces {
                let moved = unless_away(self.demote(now, false), &mut away);
                displaced += moved.inspect_err(|_| self.recount(rest))?;
            }
        }
        away.map_or(Ok((risen, displaced)), Err)
    }

    /// Puts accesses back for the next pass.
    fn recount(&self, counts: &[(MemoryId, u32)]) {
        let mut touched = lock(&self.touched);
        for &(id, count) in counts {
            let sum = touched.entry(id).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Adds accesses to memories. Returns the memories that should rise, by their tiers.
    fn count(&self, counts: &[(MemoryId, u32)], now: Timestamp) -> Result<Rising, Error> {
        let mut writer = self.lock_writer();
        let (mut batch, mut rising, mut raised) = (Batch::default(), Rising::new(), Vec::new());
        for &(id, count) in counts {
            let Some(mut entry) = self.entry(&writer, id)? else { continue };
            entry.accesses = entry.accesses.saturating_add(count);
            batch.put_standing(id, entry.standing());
            raised.push((id, entry));
            if let Some(to) = self.rises_to(&mut writer, &entry, now) {
                rising.entry((entry.tier, to)).or_default().push((id, entry));
            }
        }
        if !batch.is_empty() {
            self.log.note(&batch)?;
        }
        // The catalogue follows the log: if the log fails, the accesses are counted again.
        writer.catalogue.extend(raised.into_iter().filter(|(_, entry)| entry.tier != TierKind::Cold));
        Ok(rising)
    }

    /// Returns the entry of a memory in any tier; `None` if it was forgotten.
    fn entry(&self, writer: &Writer, id: MemoryId) -> Result<Option<Entry>, Error> {
        if let Some(&entry) = writer.catalogue.get(&id) {
            return Ok(Some(entry));
        }
        let Some(record) = self.log.record(id)? else { return Ok(None) };
        let record = Record::decode(&record)?;
        let standing = self.log.standing(id)?.unwrap_or(Standing { tier: TierKind::Cold, accesses: 1 });
        Ok(Some(Entry {
            namespace: record.namespace,
            tier: TierKind::Cold,
            accesses: standing.accesses,
            importance: record.importance,
            created: record.created,
        }))
    }

    /// Returns the higher tier that a memory is strong enough for, if that tier has room or holds a
    /// weaker memory.
    fn rises_to(&self, writer: &mut Writer, entry: &Entry, now: Timestamp) -> Option<TierKind> {
        let strength = self.strength(entry, now);
        let above = [
            (TierKind::Hot, self.config.hot_band, self.config.hot_capacity),
            (TierKind::Warm, self.config.warm_band, self.config.warm_capacity),
        ];
        let fits = above.into_iter().find(|&(tier, Band { enter, .. }, capacity)| {
            tier < entry.tier
                && strength >= enter
                && capacity > 0
                && (writer.tiers[tier.index()].len() < capacity
                    || writer
                        .weakest(tier)
                        .is_some_and(|(_, weakest)| self.strength(&weakest, now) < strength))
        });
        fits.map(|(tier, ..)| tier)
    }

    fn strength(&self, entry: &Entry, now: Timestamp) -> f64 {
        let age = now.days_since(entry.created);
        strength(entry.importance, entry.accesses, age, self.config.decay_per_day)
    }

    /// Moves down the memories that are too weak for their tier, or exceed its capacity. Returns
    /// the number of moved memories.
    pub(super) fn demote(&self, now: Timestamp, thorough: bool) -> Result<usize, Error> {
        let hot = (TierKind::Hot, TierKind::Warm, self.config.hot_capacity, self.config.hot_band, 0);
        let slack = if thorough { 0 } else { SLACK };
        let warm = (TierKind::Warm, TierKind::Cold, self.config.warm_capacity, self.config.warm_band, slack);
        let (mut moved, mut away) = (0, None);
        for (from, to, capacity, band, slack) in [hot, warm] {
            let mut stopped = None;
            while stopped.is_none() {
                let sinking = self.sinking((from, to), capacity, band, slack, now);
                if sinking.is_empty() {
                    break;
                }
                moved += unless_away(self.move_all(sinking, from, to), &mut stopped)?;
            }
            away = away.or(stopped);
        }
        away.map_or(Ok(moved), Err)
    }

    /// Takes the memories that have to leave a tier next off its list of the weakest.
    fn sinking(
        &self,
        (from, to): (TierKind, TierKind),
        capacity: usize,
        band: Band,
        slack: usize,
        now: Timestamp,
    ) -> Vec<(MemoryId, Entry)> {
        let mut writer = self.lock_writer();
        let over = writer.tiers[from.index()].len().saturating_sub(capacity);
        // If the target tier asks for small batches, because a move takes a round trip under the
        // lock, the lock is released between batches.
        let most = writer.tiers[to.index()].together().unwrap_or(MOVED_AT_ONCE);
        let over = if over > slack { over.min(most) } else { 0 };
        let mut sinking = writer.take_weakest(from, over);
        while sinking.len() < most
            && writer.weakest(from).is_some_and(|(_, weakest)| self.strength(&weakest, now) < band.leave)
        {
            sinking.extend(writer.take_weakest(from, 1));
        }
        sinking
    }

    /// Moves memories from one tier to another. It reads and encodes them, and writes a segment,
    /// without the writer's lock. Memories that are forgotten meanwhile stay forgotten.
    fn move_all(
        &self,
        memories: Vec<(MemoryId, Entry)>,
        from: TierKind,
        to: TierKind,
    ) -> Result<usize, Error> {
        let mut by_namespace: HashMap<NamespaceId, Vec<(MemoryId, Entry)>> = HashMap::new();
        for memory in memories {
            by_namespace.entry(memory.1.namespace).or_default().push(memory);
        }
        let (mut moved, mut failed) = (0, None);
        for (namespace, mut memories) in by_namespace {
            memories.sort_by_key(|&(id, _)| id);
            let result =
                if failed.is_none() { self.move_some(namespace, &memories, from, to) } else { Ok(0) };
            match result {
                Ok(count) if failed.is_none() => moved += count,
                Ok(_) => self.put_back(&memories, from),
                Err(error) => {
                    self.put_back(&memories, from);
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(moved), Err)
    }

    /// Returns memories that could not leave `tier` to its list.
    fn put_back(&self, memories: &[(MemoryId, Entry)], tier: TierKind) {
        let mut writer = self.lock_writer();
        for (id, entry) in memories {
            if tier != TierKind::Cold && writer.catalogue.contains_key(id) {
                writer.note(*id, *entry);
            }
        }
    }

    fn move_some(
        &self,
        namespace: NamespaceId,
        memories: &[(MemoryId, Entry)],
        from: TierKind,
        to: TierKind,
    ) -> Result<usize, Error> {
        let probe = self.lock_writer().tiers[to.index()].probe();
        if let Some(probe) = probe {
            probe()?;
        }
        let mut admissions: Vec<Admission> = Vec::with_capacity(memories.len());
        for (id, _) in memories {
            if let Some(record) = self.log.record(*id)? {
                admissions.push(self.admission(*id, record.into())?);
            }
        }
        if admissions.is_empty() {
            return Ok(0);
        }
        let work = self.lock_writer().tiers[to.index()].stage(namespace, admissions);
        self.finish_move(namespace, memories, from, to, work()?)
    }

    /// Commits the memories that a tier has staged, and removes them from their former tier.
    pub(super) fn finish_move(
        &self,
        namespace: NamespaceId,
        memories: &[(MemoryId, Entry)],
        from: TierKind,
        to: TierKind,
        done: Done,
    ) -> Result<usize, Error> {
        let mut writer = self.lock_writer();
        let mut batch = Batch::default();
        writer.tiers[to.index()].apply(done, &mut batch)?;
        let mut moved = Vec::with_capacity(memories.len());
        for &(id, entry) in memories {
            if writer.tiers[from.index()].removal(namespace, id, &mut batch) {
                // Accesses may have been counted since the memory was chosen.
                let accesses = writer.catalogue.get(&id).map_or(entry.accesses, |now| now.accesses);
                let entry = Entry { tier: to, accesses, ..entry };
                batch.put_standing(id, entry.standing());
                moved.push((id, entry));
            } else if writer.tiers[to.index()].removal(namespace, id, &mut batch) {
                writer.tiers[to.index()].remove(namespace, id);
            }
        }
        if let Err(error) = self.log.commit(&batch, Durability::Buffered) {
            for (id, _) in moved {
                writer.tiers[to.index()].remove(namespace, id);
            }
            return Err(error);
        }
        for &(id, entry) in &moved {
            writer.tiers[from.index()].remove(namespace, id);
            if to == TierKind::Cold {
                writer.catalogue.remove(&id);
            } else {
                writer.note(id, entry);
            }
        }
        self.publish(&mut writer, [namespace]);
        Ok(moved.len())
    }
}

/// Memories that rise, by where from and where to.
type Rising = HashMap<(TierKind, TierKind), Vec<(MemoryId, Entry)>>;
