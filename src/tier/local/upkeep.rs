//! Upkeep of a tier on this machine: packing loose memories into files, merging segments, and taking both back.

use std::sync::Arc;

use super::shared::{SharedSegments, SharedWritten};
use super::{LocalTier, in_log};
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId, Timestamp};
use crate::log::{Batch, SegmentEntry};
use crate::segment::{Live, Segment};
use crate::tier::listed::Discarded;
use crate::tier::plan::{Bounds, Effort, Plan};
use crate::tier::residency::Residency;
use crate::tier::shard::Shard;
use crate::tier::slot::Slot;
use crate::tier::weights::facts_of;
use crate::tier::written::{Written, write};
use crate::tier::{Done, Upkeep};

/// So many rows of a segment are marked as dead one by one before they are noted together.
const MARKED: usize = 4_096;

/// Redundant memories that one commit removes from the log at most: more would keep stores waiting.
const SETTLED_AT_ONCE: usize = 512;

/// What takes back the last upkeep.
pub(super) enum Undo {
    /// Segments were rewritten.
    Merge {
        /// The namespaces as they were before.
        shards: Vec<(NamespaceId, Shard)>,
        /// The shared segments before.
        shared: SharedSegments,
        /// The segments that were rewritten, and the one that they became.
        replaced: Vec<u64>,
        number: Option<u64>,
    },
    /// What was noted before of a segment's rows.
    Note { namespace: NamespaceId, number: u64, noted: Option<Live> },
}

/// A segment whose rows that count are to be noted together.
struct Note {
    namespace: NamespaceId,
    number: u64,
}

/// A merge met damage in the segments of a namespace.
struct Damaged {
    namespace: NamespaceId,
    error: Error,
}

/// Redundant memories are to be removed from the log.
struct Settle;

impl LocalTier {
    /// The next piece of upkeep, if any.
    pub(super) fn next_upkeep(&mut self, effort: Effort) -> Option<Upkeep> {
        if effort != Effort::Open {
            // The last one was committed; its old files take no more room.
            let replaced = match self.undo.take() {
                Some(Undo::Merge { replaced, .. }) => replaced,
                _ => Vec::new(),
            };
            if let Some(files) = &self.files {
                files.forget_ids(&replaced);
            }
            let names = self.listed.replaced(replaced);
            if let Some(discard) = self.discard(names) {
                return Some(discard);
            }
            if !self.redundant.is_empty() {
                return Some(Box::new(|| Ok(Box::new(Settle) as Done)));
            }
        }
        if let Some(upkeep) = self.own_upkeep(effort).or_else(|| self.shared_upkeep(effort)) {
            return Some(upkeep);
        }
        if effort == Effort::Open {
            return None;
        }
        self.damaged.clear();
        // What could not be deleted waits for all that can be done.
        let left = self.listed.take_left();
        self.discard(left)
    }

    /// What bounds its merges: the result, and what is needed to make it, take about twice what is read.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { dead_share: self.residency.dead_share, content: self.limits.merged_bytes / 3 }
    }

    /// What is worth doing for the segments that namespaces have of their own.
    fn own_upkeep(&mut self, effort: Effort) -> Option<Upkeep> {
        let due = match effort {
            Effort::Open | Effort::Close => self.loose.iter().find_map(|id| self.own_plan(*id, effort)),
            Effort::All => self.shards.keys().find_map(|id| self.own_plan(*id, effort)),
            Effort::Free => {
                let all = self.shards.keys().filter_map(|id| self.own_plan(*id, effort));
                let least = all.min_by_key(|(_, plan)| plan.room());
                // Unless a shared one needs less.
                least.filter(|(_, plan)| self.shared_room().is_none_or(|shared| plan.room() <= shared))
            }
            Effort::Due => loop {
                let namespace = *self.changed.first()?;
                if let Some(due) = self.own_plan(namespace, effort) {
                    break Some(due);
                }
                let shard = self.shards.get(&namespace);
                if let Some(number) = shard.and_then(much_marked) {
                    return Some(Box::new(move || Ok(Box::new(Note { namespace, number }) as Done)));
                }
                if shard.is_some_and(|shard| shard.slots().is_empty()) {
                    self.shards.remove(&namespace);
                }
                self.changed.pop_first();
            },
        };
        due.map(|(namespace, plan)| self.packing(namespace, plan))
    }

    fn own_plan(&self, namespace: NamespaceId, effort: Effort) -> Option<(NamespaceId, Plan)> {
        let shard = self.shards.get(&namespace).filter(|_| !self.damaged.contains(&namespace))?;
        Some((namespace, shard.plan(effort, self.bounds())?))
    }

    /// Merges segments of a namespace into one of its own.
    pub(super) fn packing(&self, namespace: NamespaceId, plan: Plan) -> Upkeep {
        let (files, Residency { kind, codec, .. }) = (self.files.clone(), self.residency);
        unless_damaged(namespace, move || {
            let made = plan.merge(codec)?;
            write(files.as_deref(), kind, namespace, made, plan)
        })
    }

    /// Puts the result of upkeep in place.
    ///
    /// # Errors
    /// As [`Tier::apply`](crate::tier::Tier::apply).
    pub(super) fn put_upkeep(&mut self, done: Done, batch: &mut Batch) -> Result<Vec<NamespaceId>, Error> {
        let done = match done.downcast::<Written>() {
            Ok(written) => return Ok(self.put_in_place(*written, batch).into_iter().collect()),
            Err(done) => done,
        };
        let done = match done.downcast::<SharedWritten>() {
            Ok(written) => return self.put_shared(*written, batch),
            Err(done) => done,
        };
        let done = match done.downcast::<Settle>() {
            Ok(_) => return Ok(self.settle(batch)?.into_iter().collect()),
            Err(done) => done,
        };
        let done = match done.downcast::<Note>() {
            Ok(note) => return Ok(self.note(&note, batch).into_iter().collect()),
            Err(done) => done,
        };
        let done = match done.downcast::<Damaged>() {
            Ok(damaged) => {
                self.damaged.insert(damaged.namespace);
                return Err(damaged.error);
            }
            Err(done) => done,
        };
        let Ok(discarded) = done.downcast::<Discarded>() else { return Ok(Vec::new()) };
        self.listed.discarded(*discarded).map(|()| Vec::new())
    }

    /// Notes which rows of a segment count in place of marking the others.
    fn note(&mut self, note: &Note, batch: &mut Batch) -> Option<NamespaceId> {
        let slots = self.shards.get_mut(&note.namespace)?.slots_mut();
        let slot = slots.iter_mut().find(|slot| slot.part.segment.number() == Some(note.number))?;
        batch.put_live(note.number, slot.part.live.words(), slot.marked());
        let before = slot.noted.replace((*slot.part.live).clone());
        self.undo = Some(Undo::Note { namespace: note.namespace, number: note.number, noted: before });
        Some(note.namespace)
    }

    /// Removes from the log what a file holds too.
    fn settle(&mut self, batch: &mut Batch) -> Result<Option<NamespaceId>, Error> {
        batch.is_redundant = true;
        let mut last = None;
        let some: Vec<(NamespaceId, MemoryId)> =
            self.redundant.drain(..SETTLED_AT_ONCE.min(self.redundant.len())).collect();
        for (namespace, id) in some {
            // Progress, also if the memory is somewhere else by now.
            last = Some(namespace);
            let found = self.find(namespace, id).filter(|(slot, _)| slot.part.segment.number().is_some());
            let Some((slot, row)) = found else { continue };
            if slot.is_told_by_file(row, slot.accesses(row)) {
                batch.remove_placement(id);
            }
            if self.log.has_record(id)? {
                batch.remove_record(id);
            }
        }
        Ok(last)
    }

    /// Puts the segment in place that was made of others; the namespace whose view has changed.
    fn put_in_place(&mut self, written: Written, batch: &mut Batch) -> Option<NamespaceId> {
        let Written { namespace, made, entry, plan } = written;
        let number = made.as_ref().and_then(Segment::number);
        let shard = self.shards.entry(namespace).or_default();
        let before = shard.clone();
        // The rows that are marked now, not when the work began.
        let planned = |slot: &&Slot| {
            plan.slots.iter().any(|planned| Arc::ptr_eq(&planned.part.segment, &slot.part.segment))
        };
        let doomed: Vec<Slot> = before.slots().iter().filter(planned).cloned().collect();
        let made =
            made.map(
                |segment| {
                    if plan.slots.is_empty() { shard.without_known(segment) } else { Slot::new(segment) }
                },
            );
        if !shard.replace(&plan, made) {
            if let (Some(number), Some(entry)) = (number, entry) {
                self.drop_file(number, &entry);
            }
            return None;
        }
        self.changed.insert(namespace);
        self.len = self.len + shard.len() - before.len();
        self.size = self.size.plus(shard.size()).less(before.size());
        if let (Some(number), Some(entry)) = (number, entry) {
            self.list_file(namespace, (number, entry), &plan, batch);
        }
        let shared = self.shared.clone();
        let replaced = doomed.iter().filter_map(|slot| self.leave(slot, batch)).collect();
        let undo = Undo::Merge { shards: vec![(namespace, before)], shared, replaced, number };
        self.undo = (!plan.slots.is_empty()).then_some(undo);
        Some(namespace)
    }

    /// Takes the file of a segment that was merged into another off the log's list, and returns its number. If
    /// other namespaces share the segment, only marks the rows.
    fn leave(&mut self, slot: &Slot, batch: &mut Batch) -> Option<u64> {
        if let Some(number) = slot.shared() {
            slot.part.live.iter().for_each(|row| batch.put_dead(number, row));
            self.shared.lose(number, slot.live());
            return None;
        }
        let number = slot.part.segment.number()?;
        batch.remove_segment(number, slot.marked());
        batch.obsolete.extend(self.files.as_ref().and_then(|files| files.path(number)));
        Some(number)
    }

    /// Adds the file of a segment that was put in place to the log's list.
    fn list_file(
        &mut self,
        namespace: NamespaceId,
        (number, entry): (u64, SegmentEntry),
        plan: &Plan,
        batch: &mut Batch,
    ) {
        let slots = self.shards.get(&namespace).map(Shard::slots).unwrap_or_default();
        let Some(added) = slots.iter().find(|slot| slot.part.segment.number() == Some(number)).cloned()
        else {
            // All of it was forgotten or has moved in the meantime.
            self.drop_file(number, &entry);
            return;
        };
        self.listed.insert(number, entry);
        if let Some(files) = &self.files {
            files.put_segment(number, entry, batch);
            files.note_ids(number, namespace, &added.part.segment);
        }
        added.part.live.unset().for_each(|row| batch.put_dead(number, row));
        let rows = || added.part.live.iter().filter_map(|row| Some((row, added.part.segment.id(row)?)));
        if plan.slots.is_empty() {
            // They are new here.
            let now = Timestamp::now();
            rows().for_each(|(row, id)| self.list(namespace, id, facts_of(&added, row), now));
            let put = batch.recorded();
            // If it cannot be told whether they are in the log, they may be.
            let is_in_log = |id: MemoryId| put.contains(&id) || self.log.has_record(id).unwrap_or(true);
            let in_log = rows().filter(|&(_, id)| is_in_log(id));
            self.redundant.extend(in_log.map(|(_, id)| (namespace, id)));
        } else {
            self.redundant.extend(in_log(plan, &added).into_iter().map(|id| (namespace, id)));
        }
    }

    /// Takes the last upkeep back.
    pub(super) fn undo_upkeep(&mut self) {
        match self.undo.take() {
            Some(Undo::Merge { shards, shared, number, .. }) => {
                for (namespace, shard) in shards {
                    self.len += shard.len();
                    self.size = self.size.plus(shard.size());
                    let current = self.shards.insert(namespace, shard).unwrap_or_default();
                    self.len -= current.len();
                    self.size = self.size.less(current.size());
                    self.loose.insert(namespace);
                    self.changed.insert(namespace);
                }
                self.shared = shared;
                // On a full disk every attempt would leave another file.
                if let (Some(number), Some(files)) = (number, &self.files) {
                    files.delete(number);
                    files.forget_ids(&[number]);
                    self.listed.give_up(number);
                }
            }
            Some(Undo::Note { namespace, number, noted }) => {
                let shard = self.shards.get_mut(&namespace);
                let mut slots = shard.into_iter().flat_map(Shard::slots_mut);
                if let Some(slot) = slots.find(|slot| slot.part.segment.number() == Some(number)) {
                    slot.noted = noted;
                }
            }
            None => {}
        }
    }
}

/// A segment of a namespace's own of which many rows are marked.
fn much_marked(shard: &Shard) -> Option<u64> {
    let slots = shard.slots().iter().filter(|slot| slot.shared().is_none());
    slots.filter(|slot| slot.count_marked() >= MARKED).find_map(|slot| slot.part.segment.number())
}

/// Work on the segments of a namespace, after whose failure for damage the tier goes on with other ones.
pub(super) fn unless_damaged(
    namespace: NamespaceId,
    work: impl FnOnce() -> Result<Done, Error> + Send + 'static,
) -> Upkeep {
    Box::new(move || match work() {
        Err(error @ Error::Corrupt { .. }) => Ok(Box::new(Damaged { namespace, error }) as Done),
        done => done,
    })
}
