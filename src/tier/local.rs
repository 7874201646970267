//! A tier on this machine: HOT, WARM and COLD differ in their [`Residency`] alone.
//!
//! Memories come into loose segments in RAM, the head, and into the log. Upkeep packs them into files, and
//! then takes them out of the log. Small namespaces share files. Files never change: what is forgotten or has
//! moved is noted in the log, and gone from the disk when [`Tier::upkeep`] has rewritten the segment. If a
//! file is missing or damaged, it is fetched from the [`Depot`](super::Depot), if there is one.

mod shared;
mod upkeep;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use self::shared::SharedSegments;
use self::upkeep::Undo;
use super::files::{Opened, SegmentFiles};
use super::listed::Listed;
use super::plan::{Effort, PACKED_ROWS, Plan};
use super::record_cache::RecordCache;
pub use super::residency::Residency;
use super::shard::Shard;
use super::slot::Slot;
use super::view::LocalView;
use super::weakest::{Facts, Weakest, Weighed};
use super::weights::{all_weighed, facts_of, weight};
use super::written::write;
use super::{Done, EmptyView, Limits, Size, Staged, Tier, TierView, Upkeep};
use crate::encoder::Encoder;
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId, TierKind, Timestamp};
use crate::log::{Batch, Log, Placement, SegmentEntry};
use crate::segment::{Codec, Part, PreparedMemory, Segment};

/// A tier in segments.
pub struct LocalTier {
    residency: Residency,
    log: Arc<dyn Log>,
    /// None if its memories need not outlive the process.
    files: Option<Arc<SegmentFiles>>,
    encoder: Arc<Encoder>,
    records: Option<Arc<RecordCache>>,
    decay_per_day: f64,
    /// The view of a namespace that has nothing here.
    empty: Arc<dyn TierView>,
    shards: HashMap<NamespaceId, Shard>,
    shared: SharedSegments,
    /// Namespaces that may have loose segments.
    loose: BTreeSet<NamespaceId>,
    /// Namespaces that have changed since upkeep found nothing to do for them.
    changed: BTreeSet<NamespaceId>,
    /// Namespaces whose segments could not be merged, because one is damaged. They are passed over until there is
    /// nothing else to do.
    damaged: BTreeSet<NamespaceId>,
    weakest: Weakest,
    listed: Listed,
    /// Memories of which the log may hold no more than a file does.
    redundant: VecDeque<(NamespaceId, MemoryId)>,
    undo: Option<Undo>,
    len: usize,
    limits: Limits,
    size: Size,
}

/// HOT, WARM and COLD of the `segments` in the files `all`. If `hot_files` is false, HOT writes no files.
pub fn tiers(
    all: &Arc<SegmentFiles>,
    segments: Vec<Opened>,
    hot_files: bool,
    encoder: &Arc<Encoder>,
    decay_per_day: f64,
    limits: Limits,
) -> [LocalTier; 3] {
    let mut by_tier: [Vec<Opened>; 3] = Default::default();
    for segment in segments {
        by_tier[segment.entry.tier.index()].push(segment);
    }
    let tier = |residency: Residency, segments| {
        let files = (residency.kind != TierKind::Hot || hot_files).then(|| all.clone());
        LocalTier::new(
            residency,
            all.log().clone(),
            files,
            encoder.clone(),
            (decay_per_day, limits),
            segments,
        )
    };
    let [hot, warm, cold] = by_tier;
    [tier(Residency::HOT, hot), tier(Residency::WARM, warm), tier(Residency::COLD, cold)]
}

impl LocalTier {
    /// A tier of the `segments` that the log lists for it. Without `files`, none is ever written.
    pub fn new(
        residency: Residency,
        log: Arc<dyn Log>,
        files: Option<Arc<SegmentFiles>>,
        encoder: Arc<Encoder>,
        (decay_per_day, limits): (f64, Limits),
        segments: impl IntoIterator<Item = Opened>,
    ) -> Self {
        let is_compressed = residency.codec == Codec::Zstd;
        let mut tier = Self {
            residency,
            log,
            files,
            encoder,
            records: is_compressed.then(|| Arc::new(RecordCache::new(limits.cached_bytes))),
            decay_per_day,
            empty: Arc::new(EmptyView),
            shards: HashMap::new(),
            shared: SharedSegments::default(),
            loose: BTreeSet::new(),
            changed: BTreeSet::new(),
            damaged: BTreeSet::new(),
            weakest: Weakest::default(),
            listed: Listed::default(),
            redundant: VecDeque::new(),
            undo: None,
            len: 0,
            limits,
            size: Size::default(),
        };
        for opened in segments {
            tier.attach(opened);
        }
        // There is nothing to do for those that only share segments.
        let may_change = |shard: &Shard| {
            shard.len() >= PACKED_ROWS || shard.slots().iter().any(|slot| slot.shared().is_none())
        };
        let all = tier.shards.iter().filter(|(_, shard)| may_change(shard));
        tier.changed = all.map(|(namespace, _)| *namespace).collect();
        tier
    }

    fn attach(&mut self, Opened { number, entry, segment, live, noted }: Opened) {
        self.len += live.len();
        self.listed.insert(number, entry);
        let segment = Arc::new(segment);
        if let Some(files) = &self.files {
            files.note_ids(number, entry.namespace, &segment);
        }
        let Some(owners) = &segment.owners else {
            let part = Part { segment, live: Arc::new(live) };
            let mut slot = Slot::of(part);
            slot.noted = noted;
            self.size = self.size.plus(slot.size());
            self.shards.entry(entry.namespace).or_default().attach(slot);
            return;
        };
        self.shared.insert(number, segment.clone(), live.len());
        for (namespace, rows) in owners.windows() {
            let live = live.within(rows);
            if !live.is_empty() {
                let part = Part { segment: segment.clone(), live: Arc::new(live) };
                let slot = Slot::of(part);
                self.size = self.size.plus(slot.size());
                self.shards.entry(namespace).or_default().attach(slot);
            }
        }
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
    fn take_in(&mut self, staged: Staged, batch: &mut Batch) -> Result<Vec<NamespaceId>, Error> {
        let Staged { namespace, mut memories } = staged;
        // Another move may have brought some of them meanwhile.
        memories.retain(|memory| self.find(namespace, memory.row.id).is_none());
        for memory in &memories {
            let placement = Placement { tier: self.kind(), namespace, accesses: memory.row.accesses };
            batch.put_memory(&*self.log, placement, memory)?;
        }
        let taken: Vec<(MemoryId, Facts)> =
            memories.iter().map(|memory| (memory.row.id, Facts::from(&memory.row))).collect();
        let shard = self.shards.entry(namespace).or_default();
        let before = shard.size();
        let added = shard.add(memories);
        self.size = self.size.plus(shard.size()).less(before);
        added?;
        self.loose.insert(namespace);
        self.changed.insert(namespace);
        self.len += taken.len();
        let now = Timestamp::now();
        taken.into_iter().for_each(|(id, facts)| self.list(namespace, id, facts, now));
        Ok(vec![namespace])
    }

    /// Adds a memory to the list of the weakest.
    fn list(&mut self, namespace: NamespaceId, id: MemoryId, facts: Facts, now: Timestamp) {
        if self.residency.kind != TierKind::Cold {
            let (shards, decay) = (&self.shards, self.decay_per_day);
            let memory = Weighed { weight: facts.weight(decay, now), id, namespace };
            self.weakest.add(memory, self.len, |memory| weight(shards, memory, decay, now));
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
        let Residency { kind, codec, packed_at_once, .. } = self.residency;
        let bytes = || memories.iter().map(|memory| memory.bytes()).sum::<usize>();
        if self.files.is_none() || memories.len() < packed_at_once && bytes() < self.limits.loose_bytes {
            return self.stage_restored(namespace, memories);
        }
        let files = self.files.clone();
        Box::new(move || {
            let made = Plan { slots: vec![Slot::new(Segment::loose(memories))], packs: true }.merge(codec)?;
            write(files.as_deref(), kind, namespace, made, Plan { slots: Vec::new(), packs: true })
        })
    }

    fn stage_restored(&mut self, namespace: NamespaceId, memories: Vec<Arc<PreparedMemory>>) -> Upkeep {
        Box::new(move || Ok(Box::new(Staged { namespace, memories }) as Done))
    }

    fn apply(&mut self, done: Done, batch: &mut Batch) -> Result<Vec<NamespaceId>, Error> {
        match done.downcast::<Staged>() {
            Ok(staged) => self.take_in(*staged, batch),
            Err(done) => self.put_upkeep(done, batch),
        }
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
        let Some((shared, removed)) = self.shards.get_mut(&namespace).map(|shard| shard.remove(id)) else {
            return false;
        };
        self.len -= usize::from(removed);
        if removed {
            self.changed.insert(namespace);
            shared.into_iter().for_each(|number| self.shared.lose(number, 1));
        }
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
        if parts.is_empty() {
            return self.empty.clone();
        }
        let (encoder, records) = (self.encoder.clone(), self.records.clone());
        Arc::new(LocalView { parts, tier: self.kind(), encoder, records })
    }

    fn size(&self) -> Size {
        let listed = self.weakest.bytes();
        self.size.plus(Size { bytes: listed, ..Size::default() })
    }

    fn upkeep(&mut self, effort: Effort) -> Option<Upkeep> {
        self.next_upkeep(effort)
    }

    fn revert(&mut self) {
        self.undo_upkeep();
    }
}
