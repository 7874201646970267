//! A tier on this machine: HOT, WARM and COLD differ in their [`Residency`] alone.
//!
//! Memories come into loose segments in RAM, the head, and into the log. Upkeep packs them into files, and
//! then takes them out of the log. COLD has no head. Files never change: what is forgotten or has
//! moved is noted in the log, and gone from the disk when [`Tier::upkeep`] has rewritten the segment. If a
//! file is missing or damaged, it is fetched from the [`Depot`](super::Depot), if there is one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::files::{Opened, SegmentFiles};
use super::listed::{Discarded, Listed};
use super::plan::{Effort, Plan};
pub use super::residency::Residency;
use super::shard::Shard;
use super::slot::Slot;
use super::view::LocalView;
use super::weakest::{Facts, Weakest, Weighed};
use super::weights::{all_weighed, facts_of, weight};
use super::written::{Written, write};
use super::{Done, Staged, Tier, TierView, Upkeep};
use crate::encoder::Encoder;
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId, TierKind, Timestamp};
use crate::log::{Batch, Log, Placement, SegmentEntry};
use crate::segment::{Live, PreparedMemory, Segment};

/// So many rows of a segment are marked as dead one by one before they are noted together.
const MARKED: usize = 4_096;

/// So many memories that come together are packed at once, without the detour through the log and the head.
/// The file has to be synced, which takes longer than writing fewer to the log.
const PACKED_AT_ONCE: usize = 16_384;

/// Redundant memories that one commit removes from the log at most: more would keep stores waiting.
const SETTLED_AT_ONCE: usize = 512;

/// A tier in segments.
pub struct LocalTier {
    residency: Residency,
    log: Arc<dyn Log>,
    /// None if its memories need not outlive the process.
    files: Option<Arc<SegmentFiles>>,
    encoder: Arc<Encoder>,
    decay_per_day: f64,
    shards: HashMap<NamespaceId, Shard>,
    weakest: Weakest,
    listed: Listed,
    /// Memories of which the log may hold no more than a file does.
    redundant: VecDeque<(NamespaceId, MemoryId)>,
    undo: Option<Undo>,
    len: usize,
}

/// HOT, WARM and COLD of the `segments` in the files `all`. If `hot_files` is false, HOT writes no files.
pub fn tiers(
    all: &Arc<SegmentFiles>,
    segments: Vec<Opened>,
    hot_files: bool,
    encoder: &Arc<Encoder>,
    decay_per_day: f64,
) -> [LocalTier; 3] {
    let mut by_tier: [Vec<Opened>; 3] = Default::default();
    for segment in segments {
        by_tier[segment.entry.tier.index()].push(segment);
    }
    let tier = |residency: Residency, segments| {
        let files = (residency.kind != TierKind::Hot || hot_files).then(|| all.clone());
        LocalTier::new(residency, all.log().clone(), files, encoder.clone(), decay_per_day, segments)
    };
    let [hot, warm, cold] = by_tier;
    [tier(Residency::HOT, hot), tier(Residency::WARM, warm), tier(Residency::COLD, cold)]
}

/// What takes back the last upkeep.
enum Undo {
    /// A namespace as it was before its segments were rewritten.
    Merge {
        namespace: NamespaceId,
        shard: Shard,
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

/// Redundant memories are to be removed from the log.
struct Settle;

impl LocalTier {
    /// A tier of the `segments` that the log lists for it. Without `files`, none is ever written.
    pub fn new(
        residency: Residency,
        log: Arc<dyn Log>,
        files: Option<Arc<SegmentFiles>>,
        encoder: Arc<Encoder>,
        decay_per_day: f64,
        segments: impl IntoIterator<Item = Opened>,
    ) -> Self {
        let mut tier = Self {
            residency,
            log,
            files,
            encoder,
            decay_per_day,
            shards: HashMap::new(),
            weakest: Weakest::default(),
            listed: Listed::default(),
            redundant: VecDeque::new(),
            undo: None,
            len: 0,
        };
        for Opened { number, entry, segment, live, noted } in segments {
            let mut slot = Slot { noted, ..Slot::new(segment) };
            slot.part.live = Arc::new(live);
            tier.len += slot.part.live.len();
            if let Some(files) = &tier.files {
                files.note_ids(number, entry.namespace, &slot.part.segment);
            }
            tier.shards.entry(entry.namespace).or_default().attach(slot);
            tier.listed.insert(number, entry);
        }
        tier
    }

    fn find(&self, namespace: NamespaceId, id: MemoryId) -> Option<(&Slot, u32)> {
        self.shards.get(&namespace)?.find(id)
    }

    /// Deletes names from the depot, if there are any.
    fn discard(&mut self, names: Vec<String>) -> Option<Upkeep> {
        self.listed.discard(names, self.files.as_ref()?.depot()?)
    }

    /// Deletes the file of a segment that was never listed.
    fn drop_file(&mut self, number: u64, entry: &SegmentEntry) {
        if let Some(files) = &self.files {
            files.delete(number);
            if files.depot().is_some() {
                self.listed.leave(number, entry);
            }
        }
    }

    /// Takes memories into the head, and into the log.
    fn take_in(&mut self, staged: Staged, batch: &mut Batch) -> Result<Option<NamespaceId>, Error> {
        let Staged { namespace, mut memories } = staged;
        // Another move may have brought some of them meanwhile.
        memories.retain(|memory| self.find(namespace, memory.row.id).is_none());
        for memory in &memories {
            let placement = Placement { tier: self.kind(), namespace, accesses: memory.row.accesses };
            batch.put_memory(&*self.log, placement, memory)?;
        }
        let taken: Vec<(MemoryId, Facts)> =
            memories.iter().map(|memory| (memory.row.id, Facts::from(&memory.row))).collect();
        self.shards.entry(namespace).or_default().add(memories)?;
        self.len += taken.len();
        let now = Timestamp::now();
        taken.into_iter().for_each(|(id, facts)| self.list(namespace, id, facts, now));
        Ok(Some(namespace))
    }

    /// Adds a memory to the list of the weakest.
    fn list(&mut self, namespace: NamespaceId, id: MemoryId, facts: Facts, now: Timestamp) {
        if self.residency.kind != TierKind::Cold {
            let (shards, decay) = (&self.shards, self.decay_per_day);
            let memory = Weighed { weight: facts.weight(decay, now), id, namespace };
            self.weakest.add(memory, self.len, |memory| weight(shards, memory, decay, now));
        }
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

    /// A segment of which many rows are marked.
    fn much_marked(&self) -> Option<Note> {
        self.shards.iter().find_map(|(&namespace, shard)| {
            let slot = shard.slots().iter().find(|slot| slot.count_marked() >= MARKED)?;
            Some(Note { namespace, number: slot.part.segment.number()? })
        })
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
        let doomed = before.slots().iter().filter(planned);
        let doomed: Vec<(u64, Vec<u32>)> =
            doomed.filter_map(|slot| Some((slot.part.segment.number()?, slot.marked()))).collect();
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
        self.len = self.len + shard.len() - before.len();
        if let (Some(number), Some(entry)) = (number, entry) {
            self.list_file(namespace, (number, entry), &plan, batch);
        }
        let replaced = doomed.iter().map(|&(number, _)| number).collect();
        for (number, marked) in doomed {
            batch.remove_segment(number, marked);
            batch.obsolete.extend(self.files.as_ref().map(|files| files.path(number)));
        }
        let undo = Undo::Merge { namespace, shard: before, replaced, number };
        self.undo = (!plan.slots.is_empty()).then_some(undo);
        Some(namespace)
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
}

/// The memories of a new file that may be in the log: those that were in no file, or have been accessed
/// since they were put into theirs.
fn in_log(plan: &Plan, file: &Slot) -> Vec<MemoryId> {
    let all = plan.slots.iter().flat_map(|Slot { part, accesses, .. }| {
        let loose = part.live.iter().filter(|_| part.segment.is_loose());
        let counted = accesses.keys().copied().filter(|_| !part.segment.is_loose());
        loose.chain(counted).filter_map(|row| part.segment.id(row))
    });
    all.filter(|&id| file.part.find(id).is_some()).collect()
}

impl Tier for LocalTier {
    fn kind(&self) -> TierKind {
        self.residency.kind
    }

    fn len(&self) -> usize {
        self.len
    }

    fn stage(&mut self, namespace: NamespaceId, memories: Vec<Arc<PreparedMemory>>) -> Upkeep {
        let Residency { kind, codec, head, .. } = self.residency;
        let packs = !head || self.files.is_some() && memories.len() >= PACKED_AT_ONCE;
        if !packs {
            return Box::new(move || Ok(Box::new(Staged { namespace, memories }) as Done));
        }
        let files = self.files.clone();
        Box::new(move || {
            let made = Plan { slots: vec![Slot::new(Segment::loose(memories))], packs: true }.merge(codec)?;
            write(files.as_deref(), kind, namespace, made, Plan { slots: Vec::new(), packs: true })
        })
    }

    fn apply(&mut self, done: Done, batch: &mut Batch) -> Result<Option<NamespaceId>, Error> {
        let done = match done.downcast::<Staged>() {
            Ok(staged) => return self.take_in(*staged, batch),
            Err(done) => done,
        };
        let done = match done.downcast::<Written>() {
            Ok(written) => return Ok(self.put_in_place(*written, batch)),
            Err(done) => done,
        };
        let done = match done.downcast::<Settle>() {
            Ok(_) => return self.settle(batch),
            Err(done) => done,
        };
        let done = match done.downcast::<Note>() {
            Ok(note) => return Ok(self.note(&note, batch)),
            Err(done) => done,
        };
        let Ok(discarded) = done.downcast::<Discarded>() else { return Ok(None) };
        self.listed.discarded(*discarded).map(|()| None)
    }

    fn stage_removal(&self, namespace: NamespaceId, id: MemoryId, batch: &mut Batch) -> bool {
        let found = self.find(namespace, id);
        if let Some((slot, row)) = found
            && let Some(number) = slot.part.segment.number()
        {
            batch.put_dead(number, row);
        }
        found.is_some()
    }

    fn remove(&mut self, namespace: NamespaceId, id: MemoryId) -> bool {
        let removed = self.shards.get_mut(&namespace).is_some_and(|shard| shard.remove(id));
        self.len -= usize::from(removed);
        removed
    }

    fn facts(&self, namespace: NamespaceId, id: MemoryId) -> Option<Facts> {
        self.find(namespace, id).map(|(slot, row)| facts_of(slot, row))
    }

    fn stage_accesses(&self, namespace: NamespaceId, id: MemoryId, accesses: u32, batch: &mut Batch) {
        if self.find(namespace, id).is_some_and(|(slot, row)| slot.is_told_by_file(row, accesses)) {
            batch.remove_placement(id);
        } else {
            batch.put_placement(id, Placement { tier: self.kind(), namespace, accesses });
        }
    }

    fn set_accesses(&mut self, namespace: NamespaceId, id: MemoryId, accesses: u32) -> bool {
        let found = self.shards.get_mut(&namespace).and_then(|shard| shard.find_mut(id));
        found.map(|(slot, row)| slot.set_accesses(row, accesses)).is_some()
    }

    fn take_placement(&mut self, namespace: NamespaceId, id: MemoryId, accesses: u32) -> bool {
        let found = self.shards.get_mut(&namespace).and_then(|shard| shard.find_mut(id));
        let Some((slot, row)) = found else { return false };
        slot.set_accesses(row, accesses);
        // A crash may have come between packing the memory and removing it from the log.
        self.redundant.push_back((namespace, id));
        true
    }

    fn weakest(&mut self, now: Timestamp) -> Option<(NamespaceId, MemoryId)> {
        if self.residency.kind == TierKind::Cold {
            return None;
        }
        let Self { weakest, shards, decay_per_day, .. } = self;
        let weight = |memory: &Weighed| weight(shards, memory, *decay_per_day, now);
        let weakest = weakest.peek(weight, || all_weighed(shards, *decay_per_day, now))?;
        Some((weakest.namespace, weakest.id))
    }

    fn unlist(&mut self, namespace: NamespaceId, id: MemoryId) {
        self.weakest.remove(namespace, id);
    }

    fn put_back(&mut self, namespace: NamespaceId, id: MemoryId) {
        if let Some(facts) = self.facts(namespace, id) {
            self.list(namespace, id, facts, Timestamp::now());
        }
    }

    fn memory(&self, namespace: NamespaceId, id: MemoryId) -> Result<Option<Arc<PreparedMemory>>, Error> {
        let found = self.find(namespace, id);
        found.map(|(slot, row)| slot.part.segment.memory(row, slot.accesses(row))).transpose()
    }

    fn view(&mut self, namespace: NamespaceId) -> Arc<dyn TierView> {
        let parts = self.shards.get(&namespace).map(Shard::parts).unwrap_or_default();
        Arc::new(LocalView { parts, tier: self.kind(), encoder: self.encoder.clone() })
    }

    fn backlog(&self, namespace: NamespaceId) -> usize {
        let slots = self.shards.get(&namespace).map(Shard::slots).unwrap_or_default();
        slots.iter().rev().take_while(|slot| slot.is_loose()).map(Slot::rows).sum()
    }

    fn upkeep(&mut self, effort: Effort) -> Option<Upkeep> {
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
        let Residency { kind, codec, dead_share, .. } = self.residency;
        let mut shards = self.shards.iter();
        let due = shards.find_map(|(&namespace, shard)| Some((namespace, shard.plan(effort, dead_share)?)));
        let Some((namespace, plan)) = due else {
            if effort == Effort::Open {
                return None;
            }
            if let Some(note) = self.much_marked() {
                return Some(Box::new(move || Ok(Box::new(note) as Done)));
            }
            // What could not be deleted waits for all that can be done.
            let left = self.listed.take_left();
            return self.discard(left);
        };
        let files = self.files.clone();
        Some(Box::new(move || {
            let made = plan.merge(codec)?;
            write(files.as_deref(), kind, namespace, made, plan)
        }))
    }

    fn revert(&mut self) {
        match self.undo.take() {
            Some(Undo::Merge { namespace, shard, number, .. }) => {
                self.len += shard.len();
                let current = self.shards.insert(namespace, shard);
                self.len -= current.map_or(0, |shard| shard.len());
                // On a full disk every attempt would leave another file.
                if let (Some(number), Some(files)) = (number, &self.files) {
                    files.delete(number);
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
