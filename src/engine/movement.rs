//! Moving memories between tiers: down when they are weak or a tier is full,
//! up when they are recalled and strong.

use std::collections::HashMap;

use super::writer::{Placed, Writer};
use super::{Shared, lock};
use crate::error::Error;
use crate::key::{NamespaceId, TierKind, Timestamp};
use crate::log::{Batch, Durability};
use crate::tier::{Band, Done, Facts, strength};

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
        // In a statement of its own, so that no recall waits for the lock until all are collected.
        let touched = std::mem::take(&mut *lock(&self.touched));
        let mut counts: Vec<(Placed, u32)> = touched.into_iter().collect();
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
    pub(super) fn demote(&self, now: Timestamp, thorough: bool) -> Result<usize, Error> {
        let hot = (TierKind::Hot, TierKind::Warm, self.config.hot_band, 0);
        let slack = if thorough { 0 } else { SLACK };
        let warm = (TierKind::Warm, TierKind::Cold, self.config.warm_band, slack);
        let (mut moved, mut away) = (0, None);
        for (from, to, band, slack) in [hot, warm] {
            let mut stopped = None;
            while stopped.is_none() {
                let sinking = self.sinking((from, to), band, slack, now);
                if sinking.is_empty() {
                    break;
                }
                moved += unless_away(self.move_all(sinking, from, to), &mut stopped)?;
                self.relieve();
            }
            away = away.or(stopped);
        }
        away.map_or(Ok(moved), Err)
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
    /// writer's lock. Memories that are forgotten meanwhile stay forgotten.
    pub(super) fn move_all(
        &self,
        memories: Vec<Placed>,
        from: TierKind,
        to: TierKind,
    ) -> Result<usize, Error> {
        let mut by_namespace: HashMap<NamespaceId, Vec<Placed>> = HashMap::new();
        for memory in memories {
            by_namespace.entry(memory.namespace).or_default().push(memory);
        }
        let (mut moved, mut failed) = (0, None);
        for (namespace, mut memories) in by_namespace {
            memories.sort_unstable();
            // One may be listed twice among the weakest.
            memories.dedup();
            let result =
                if failed.is_none() { self.move_some(namespace, &memories, from, to) } else { Ok(0) };
            match result {
                Ok(count) if failed.is_none() => moved += count,
                // Those that could not leave the tier are listed again.
                Ok(_) => self.lock_writer().put_back(from, memories),
                Err(error) => {
                    self.lock_writer().put_back(from, memories);
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(moved), Err)
    }

    fn move_some(
        &self,
        namespace: NamespaceId,
        memories: &[Placed],
        from: TierKind,
        to: TierKind,
    ) -> Result<usize, Error> {
        let check = self.lock_writer().tiers[to.index()].check_health();
        if let Some(check) = check {
            check()?;
        }
        let Some(space) = self.space_by_id(namespace) else { return Ok(0) };
        let view = space.view.load_full();
        let mut prepared = Vec::with_capacity(memories.len());
        for memory in memories {
            let facts = self.lock_writer().tiers[from.index()].facts(namespace, memory.id);
            let Some(Facts { accesses, .. }) = facts else { continue };
            match view.tiers[from.index()].memory(memory.id, accesses)? {
                Some(memory) => prepared.push(memory),
                None => prepared.extend(self.prepared_from_log(memory.id, accesses)?),
            }
        }
        if prepared.is_empty() {
            return Ok(0);
        }
        let work = self.lock_writer().tiers[to.index()].stage(namespace, prepared);
        self.finish_move(namespace, memories, from, to, work()?)
    }

    /// Commits the memories that a tier has staged, and removes them from their former tier.
    pub(super) fn finish_move(
        &self,
        namespace: NamespaceId,
        memories: &[Placed],
        from: TierKind,
        to: TierKind,
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
        Ok(moved.len())
    }
}

/// Memories that rise, by where from and where to.
type Rising = HashMap<(TierKind, TierKind), Vec<Placed>>;
