//! Moving memories between tiers: down when they are weak or a tier is full,
//! up when they are recalled and strong.

use std::collections::HashMap;
use std::sync::Arc;

use super::writer::{Placed, Writer};
use super::{Shared, lock};
use crate::error::Error;
use crate::key::{NamespaceId, TierKind, Timestamp};
use crate::log::{Batch, Durability};
use crate::segment::PreparedMemory;
use crate::tier::{Band, Done, Facts, strength};

/// WARM may exceed its capacity by this many memories before they are moved to a new COLD segment.
/// A thorough pass ignores it.
const SLACK: usize = 1_024;

/// Recalled memories whose accesses are counted while the lock is held once.
const COUNTED_AT_ONCE: usize = 256;

/// The first error of a part of the work that was left undone while the rest went on.
#[derive(Default)]
pub(super) struct Left(Option<Error>);

impl Left {
    /// Takes note of an error that concerns a part of the work alone: a machine that cannot be reached, or damage.
    /// Returns other errors.
    pub(super) fn note<T: Default>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Err(error @ (Error::Unreachable { .. } | Error::Corrupt { .. })) => {
                self.0.get_or_insert(error);
                Ok(T::default())
            }
            other => other,
        }
    }

    /// Returns the value if nothing was left.
    pub(super) fn nothing<T>(self, value: T) -> Result<T, Error> {
        self.0.map_or(Ok(value), Err)
    }
}

/// Where memories move.
#[derive(Clone, Copy)]
pub(super) struct Move {
    pub from: TierKind,
    pub to: TierKind,
    pub now: Timestamp,
}

impl Shared {
    /// Counts the accesses of recalls so far, and moves up the memories that have become strong
    /// enough. Those that they displace move down before the next ones rise, so that no tier
    /// exceeds its capacity by much. Returns the numbers of moves up and down.
    pub(super) fn promote(&self, now: Timestamp, left: &mut Left) -> Result<(usize, usize), Error> {
        // In a statement of its own, so that no recall waits for the lock until all are collected.
        let touched = std::mem::take(&mut *lock(&self.touched));
        let mut counts: Vec<(Placed, u32)> = touched.into_iter().collect();
        counts.sort_unstable();
        let (mut risen, mut displaced) = (0, 0);
        let mut rest = counts.as_slice();
        while !rest.is_empty() {
            let (some, later) = rest.split_at(COUNTED_AT_ONCE.min(rest.len()));
            let counted = self.count(some, now).inspect_err(|_| self.recount(rest))?;
            rest = later;
            let displaces = !counted.is_empty();
            for ((from, to), rising) in counted {
                let moved = self.move_all(rising, Move { from, to, now }, left);
                risen += left.note(moved).inspect_err(|_| self.recount(rest))?;
            }
            if displaces {
                displaced += self.demote(now, false, left).inspect_err(|_| self.recount(rest))?;
            }
        }
        Ok((risen, displaced))
    }

    /// Puts accesses back for the next pass.
    fn recount(&self, counts: &[(Placed, u32)]) {
        let mut touched = lock(&self.touched);
        for &(memory, count) in counts {
            let sum = touched.entry(memory).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Adds accesses to memories. Returns the memories that should rise, by their tiers.
    fn count(&self, counts: &[(Placed, u32)], now: Timestamp) -> Result<Rising, Error> {
        let mut writer = self.lock_writer();
        let (mut batch, mut rising, mut counted) = (Batch::default(), Rising::new(), Vec::new());
        for &(memory, count) in counts {
            // It may have been forgotten.
            let Some((tier, mut facts)) = writer.find(memory) else { continue };
            facts.accesses = facts.accesses.saturating_add(count);
            let Placed { id, namespace } = memory;
            writer.tiers[tier.index()].stage_accesses(namespace, id, facts.accesses, &mut batch);
            counted.push((memory, tier, facts.accesses));
            if let Some(to) = self.rises_to(&mut writer, tier, &facts, now) {
                rising.entry((tier, to)).or_default().push(memory);
            }
        }
        if !batch.is_empty() {
            self.log.note(&batch)?;
        }
        // The tiers follow the log: if the log fails, the accesses are counted again.
        for (Placed { id, namespace }, tier, accesses) in counted {
            writer.tiers[tier.index()].set_accesses(namespace, id, accesses);
        }
        Ok(rising)
    }

    /// Returns the higher tier that a memory is strong enough for, if that tier has room or holds a
    /// weaker memory.
    fn rises_to(
        &self,
        writer: &mut Writer,
        from: TierKind,
        facts: &Facts,
        now: Timestamp,
    ) -> Option<TierKind> {
        let strength = self.strength(facts, now);
        let above = [
            (TierKind::Hot, self.config.hot_band, self.hot_capacity(writer)),
            (TierKind::Warm, self.config.warm_band, self.config.warm_capacity),
        ];
        let fits = above.into_iter().find(|&(tier, Band { enter, .. }, capacity)| {
            tier < from
                && strength >= enter
                && capacity > 0
                && (writer.tiers[tier.index()].len() < capacity
                    || writer
                        .weakest(tier, now)
                        .is_some_and(|(_, weakest)| self.strength(&weakest, now) < strength))
        });
        fits.map(|(tier, ..)| tier)
    }

    fn strength(&self, facts: &Facts, now: Timestamp) -> f64 {
        let age = now.days_since(facts.created);
        strength(facts.importance, facts.accesses, age, self.config.decay_per_day)
    }

    /// Moves down the memories that are too weak for their tier, or exceed its capacity. Returns
    /// the number of moved memories.
    pub(super) fn demote(&self, now: Timestamp, thorough: bool, left: &mut Left) -> Result<usize, Error> {
        let hot = (TierKind::Hot, TierKind::Warm, self.config.hot_band, 0);
        let slack = if thorough { 0 } else { SLACK };
        let warm = (TierKind::Warm, TierKind::Cold, self.config.warm_band, slack);
        let mut all = 0;
        for (from, to, band, slack) in [hot, warm] {
            loop {
                let sinking = self.sinking((from, to), band, slack, now);
                let moved = self.move_all(sinking, Move { from, to, now }, left);
                let moved = left.note(moved)?;
                if moved == 0 {
                    // None is due, or none can move now.
                    break;
                }
                all += moved;
            }
        }
        Ok(all)
    }

    /// Takes the memories that have to leave a tier next off its list of the weakest.
    fn sinking(
        &self,
        (from, to): (TierKind, TierKind),
        band: Band,
        slack: usize,
        now: Timestamp,
    ) -> Vec<Placed> {
        let mut writer = self.lock_writer();
        let capacity =
            if from == TierKind::Hot { self.hot_capacity(&writer) } else { self.config.warm_capacity };
        let over = writer.tiers[from.index()].len().saturating_sub(capacity);
        // If the target tier asks for small batches, because a move takes a round trip under the
        // lock, the lock is released between batches.
        let most = writer.tiers[to.index()].preferred_batch().unwrap_or(self.budget.moved_at_once(to));
        let over = if over > slack { over.min(most) } else { 0 };
        let mut sinking = writer.take_weakest(from, over, now);
        while sinking.len() < most
            && writer.weakest(from, now).is_some_and(|(_, weakest)| self.strength(&weakest, now) < band.leave)
        {
            sinking.extend(writer.take_weakest(from, 1, now));
        }
        sinking
    }

    /// Moves memories from one tier to another. It reads them, and writes a segment, without the
    /// writer's lock. Memories that are forgotten meanwhile stay forgotten. A damaged one stays where it is, and
    /// is not listed among the weakest any more, so that others can move.
    pub(super) fn move_all(&self, memories: Vec<Placed>, way: Move, left: &mut Left) -> Result<usize, Error> {
        let mut by_namespace: HashMap<NamespaceId, Vec<Placed>> = HashMap::new();
        for memory in memories {
            by_namespace.entry(memory.namespace).or_default().push(memory);
        }
        let (mut moved, mut failed) = (0, None);
        for (namespace, mut memories) in by_namespace {
            memories.sort_unstable();
            // One may be listed twice among the weakest.
            memories.dedup();
            let mut rest = memories.as_slice();
            while failed.is_none() && !rest.is_empty() {
                let reached = self.reach(way.to);
                let taken = reached.and_then(|()| self.take_some(namespace, rest, way.from, left));
                let done = taken.and_then(|Taken { count, prepared }| {
                    moved += self.move_some(namespace, prepared, way)?;
                    rest = rest.get(count..).unwrap_or_default();
                    self.make_room(way, left)
                });
                failed = done.err();
            }
            // Those that could not leave the tier are listed again.
            self.lock_writer().put_back(way.from, rest.iter().copied());
        }
        failed.map_or(Ok(moved), Err)
    }

    /// Finds out whether a tier can be reached, if it could not be of late.
    fn reach(&self, tier: TierKind) -> Result<(), Error> {
        let check = self.lock_writer().tiers[tier.index()].check_health();
        check.map_or(Ok(()), |check| check().map(drop))
    }

    /// Reads the first of `memories`, until they are as large as what one move may take.
    fn take_some(
        &self,
        namespace: NamespaceId,
        memories: &[Placed],
        from: TierKind,
        left: &mut Left,
    ) -> Result<Taken, Error> {
        let view = self.space_by_id(namespace).map(|space| space.view.load_full());
        let Some(view) = view else { return Ok(Taken { count: memories.len(), prepared: Vec::new() }) };
        let (mut prepared, mut count, mut bytes) = (Vec::new(), 0, 0);
        for &Placed { id, .. } in memories {
            if bytes >= self.budget.moved_bytes() {
                break;
            }
            count += 1;
            let facts = self.lock_writer().tiers[from.index()].facts(namespace, id);
            let Some(Facts { accesses, .. }) = facts else { continue };
            let read = match view.tiers[from.index()].memory(id, accesses) {
                Ok(None) => self.prepared_from_log(id, accesses),
                read => read,
            };
            if let Some(memory) = left.note(read)? {
                bytes += memory.bytes();
                prepared.push(memory);
            }
        }
        Ok(Taken { count, prepared })
    }

    fn move_some(
        &self,
        namespace: NamespaceId,
        prepared: Vec<Arc<PreparedMemory>>,
        way: Move,
    ) -> Result<usize, Error> {
        if prepared.is_empty() {
            return Ok(0);
        }
        let memories: Vec<Placed> =
            prepared.iter().map(|memory| Placed { id: memory.row.id, namespace }).collect();
        let work = self.lock_writer().tiers[way.to.index()].stage(namespace, prepared);
        self.finish_move(namespace, &memories, way, work()?)
    }

    /// Packs what has moved, and moves down what it has displaced, so that little exceeds the budget meanwhile.
    fn make_room(&self, way: Move, left: &mut Left) -> Result<(), Error> {
        self.relieve();
        if way.to == TierKind::Hot && self.ram(&self.lock_writer()) > self.config.memory_budget {
            self.demote(way.now, false, left)?;
        }
        Ok(())
    }

    /// Commits the memories that a tier has staged, and removes them from their former tier.
    pub(super) fn finish_move(
        &self,
        namespace: NamespaceId,
        memories: &[Placed],
        Move { from, to, .. }: Move,
        done: Done,
    ) -> Result<usize, Error> {
        let mut writer = self.lock_writer();
        let mut batch = Batch::default();
        // A store may have moved some of them meanwhile, and others may be forgotten.
        let now_in = |memory: &Placed| writer.find(*memory).map(|(tier, _)| tier);
        let now_in: Vec<Option<TierKind>> = memories.iter().map(now_in).collect();
        writer.tiers[to.index()].apply(done, &mut batch)?;
        let mut moved = Vec::with_capacity(memories.len());
        for (&memory, now_in) in memories.iter().zip(now_in) {
            let id = memory.id;
            if now_in == Some(from) {
                writer.tiers[from.index()].stage_removal(namespace, id, &mut batch);
                // Accesses may have been counted since the memory was read.
                let facts = writer.tiers[from.index()].facts(namespace, id);
                let accesses = facts.map_or(1, |facts| facts.accesses);
                let target = &mut writer.tiers[to.index()];
                target.stage_accesses(namespace, id, accesses, &mut batch);
                target.set_accesses(namespace, id, accesses);
                moved.push(id);
            } else if now_in != Some(to) && writer.tiers[to.index()].stage_removal(namespace, id, &mut batch)
            {
                writer.tiers[to.index()].remove(namespace, id);
                match writer.find(memory) {
                    Some((tier, Facts { accesses, .. })) => {
                        writer.tiers[tier.index()].stage_accesses(namespace, id, accesses, &mut batch);
                    }
                    None => {
                        batch.remove_record(id);
                        batch.remove_placement(id);
                    }
                }
            }
        }
        if let Err(error) = self.log.commit(&batch, Durability::Buffered) {
            for id in moved {
                writer.tiers[to.index()].remove(namespace, id);
            }
            return Err(error);
        }
        for &id in &moved {
            writer.tiers[from.index()].remove(namespace, id);
        }
        self.publish(&mut writer, [namespace]);
        self.count_moves(from, to, moved.len());
        Ok(moved.len())
    }
}

/// The memories that were read for a move.
struct Taken {
    /// So many were looked at.
    count: usize,
    prepared: Vec<Arc<PreparedMemory>>,
}

/// Memories that rise, by where from and where to.
type Rising = HashMap<(TierKind, TierKind), Vec<Placed>>;
