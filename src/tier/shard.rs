//! One tier's memories of one namespace, on the writer's side: a short list of segments.
//!
//! A memory enters the newest loose segment, which is made again for it. Full ones are merged into
//! fewer and larger ones, so that adding a memory costs amortized O(log n) copies of its postings
//! and readers never see a structure change under them (the logarithmic method of Bentley & Saxe,
//! 1980). Once enough rows are loose, they are packed.

use std::sync::Arc;

use super::Size;
use super::plan::{Bounds, Effort, Plan, SEGMENT_ROWS, count_packed, count_shared};
use super::slot::Slot;
use crate::error::Error;
use crate::key::MemoryId;
use crate::segment::{Codec, Part, PreparedMemory, Segment};

/// Shorter loose segments are open: the writer merges them as soon as they hold so many rows
/// together. Larger merges are left to upkeep, off the path of a store.
///
/// Merging 512 rows takes 0.2 ms. As that happens in one store of 512, in HOT
/// and in WARM, it is above the P99.
const INLINE_ROWS: usize = 512;

/// Up to so many rows, the newest segment is made again for each row that comes
/// alone. That takes 3 us at most; 16 such segments are merged into one.
const TAIL_ROWS: usize = 32;

/// Segments of one namespace in one tier: the shared ones first, the loose ones last.
#[derive(Clone, Default)]
pub(super) struct Shard {
    slots: Vec<Slot>,
}

impl Shard {
    /// The segments, oldest first.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The segments, to be changed.
    pub(super) fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.slots
    }

    /// The segments as readers see them.
    pub(super) fn parts(&self) -> Vec<Part> {
        self.slots.iter().filter(|slot| slot.live() > 0).map(|slot| slot.part.clone()).collect()
    }

    /// Adds a packed segment.
    pub(super) fn attach(&mut self, slot: Slot) {
        let place = self.place_of(&slot);
        self.slots.insert(place, slot);
    }

    /// The place behind all segments of the kind: shared, packed or loose.
    fn place_of(&self, slot: &Slot) -> usize {
        match (slot.part.segment.is_shared(), slot.is_loose()) {
            (true, _) => count_shared(&self.slots),
            (false, false) => count_packed(&self.slots),
            (false, true) => self.slots.len(),
        }
    }

    /// Drops loose segments in which nothing is left. Others are listed, until upkeep has taken them off the
    /// list.
    pub(super) fn drop_dead(&mut self) {
        self.slots.retain(|slot| slot.live() > 0 || !slot.is_loose());
    }

    /// The loose segments.
    pub(super) fn loose(&self) -> &[Slot] {
        &self.slots[count_packed(&self.slots)..]
    }

    /// What it takes.
    pub(super) fn size(&self) -> Size {
        self.slots.iter().map(Slot::size).fold(Size::default(), Size::plus)
    }

    /// Number of live memories.
    pub(super) fn len(&self) -> usize {
        self.slots.iter().map(Slot::live).sum()
    }

    /// The segment and row of memory `id`.
    pub(super) fn find(&self, id: MemoryId) -> Option<(&Slot, u32)> {
        self.slots.iter().find_map(|slot| slot.part.find(id).map(|row| (slot, row)))
    }

    /// As [`Shard::find`], to be changed.
    pub(super) fn find_mut(&mut self, id: MemoryId) -> Option<(&mut Slot, u32)> {
        self.slots.iter_mut().find_map(|slot| slot.part.find(id).map(|row| (slot, row)))
    }

    /// A slot of a segment in which the memories that are here already do not count.
    pub(super) fn without_known(&self, segment: Segment) -> Slot {
        let mut slot = Slot::new(segment);
        let known = |&row: &u32| slot.part.segment.id(row).is_some_and(|id| self.find(id).is_some());
        let known: Vec<u32> = slot.part.live.iter().filter(known).collect();
        if !known.is_empty() {
            let live = Arc::make_mut(&mut slot.part.live);
            known.into_iter().for_each(|row| _ = live.remove(row));
        }
        slot
    }

    /// Takes memory `id` out. Returns the number of its file, if other namespaces share it, and whether it was
    /// there.
    pub(super) fn remove(&mut self, id: MemoryId) -> (Option<u64>, bool) {
        let Some((slot, row)) = self.find_mut(id) else { return (None, false) };
        slot.accesses.remove(&row);
        (slot.shared(), Arc::make_mut(&mut slot.part.live).remove(row))
    }

    /// Adds memories that ascend by id.
    pub(super) fn add(&mut self, mut memories: Vec<Arc<PreparedMemory>>) -> Result<(), Error> {
        self.drop_dead();
        if let ([memory], Some(newest)) = (memories.as_slice(), self.slots.last_mut())
            && newest.rows() < TAIL_ROWS
            && newest.live() == newest.rows()
            && newest.accesses.is_empty()
            && let Some(with) = newest.part.segment.with(memory.clone())
        {
            *newest = Slot::new(with);
            return self.close();
        }
        while !memories.is_empty() {
            let rest = memories.split_off(SEGMENT_ROWS.min(memories.len()));
            self.slots.push(Slot::new(Segment::loose(memories)));
            memories = rest;
            self.close()?;
        }
        Ok(())
    }

    /// The place of the first open segment.
    fn open(&self) -> usize {
        let closed = |slot: &Slot| !slot.is_loose() || slot.rows() >= INLINE_ROWS;
        self.slots.iter().rposition(closed).map_or(0, |last| last + 1)
    }

    /// Merges the open segments when they have rows enough for a closed one, or
    /// the newest of them when they have few enough for one that grows on.
    fn close(&mut self) -> Result<(), Error> {
        let open = self.open();
        let due = (open..self.slots.len()).find(|&start| {
            let rows: usize = self.slots[start..].iter().map(Slot::rows).sum();
            rows <= TAIL_ROWS || start == open && rows >= INLINE_ROWS
        });
        if let Some(start) = due.filter(|start| start + 1 < self.slots.len()) {
            let plan = Plan { slots: self.slots[start..].to_vec(), packs: false };
            let merged = plan.merge(Codec::Plain)?;
            self.replace(&plan, merged.map(Slot::new));
        }
        Ok(())
    }

    /// What is worth merging, if anything; see [`Plan::of`].
    pub(super) fn plan(&self, effort: Effort, bounds: Bounds) -> Option<Plan> {
        Plan::of(&self.slots, self.open(), effort, bounds)
    }

    /// Puts `merged` in the place of the segments of `plan`, which it was made
    /// from (an empty plan just adds it); memories removed in the meantime stay
    /// removed, and accesses counted in the meantime stay counted.
    ///
    /// Returns `false`, and changes nothing, if one of the planned segments is
    /// no longer here.
    pub(super) fn replace(&mut self, plan: &Plan, merged: Option<Slot>) -> bool {
        let same = |a: &Slot, b: &Slot| Arc::ptr_eq(&a.part.segment, &b.part.segment);
        let place = |planned: &Slot| self.slots.iter().position(|slot| same(slot, planned));
        let Some(places) = plan.slots.iter().map(place).collect::<Option<Vec<_>>>() else { return false };
        let merged = merged.map(|mut merged| {
            for (planned, &at) in plan.slots.iter().zip(&places) {
                merged.follow(planned, &self.slots[at]);
            }
            merged
        });
        let first = places.iter().copied().min();
        self.slots.retain(|slot| !plan.slots.iter().any(|planned| same(slot, planned)));
        if let Some(merged) = merged.filter(|slot| slot.live() > 0) {
            // Behind the loose ones that were packed, others may have come.
            let last = self.place_of(&merged);
            let least = if merged.part.segment.is_shared() { 0 } else { count_shared(&self.slots) };
            self.slots.insert(first.map_or(last, |first| first.clamp(least, last)), merged);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::encoder::{Count, Length, Term};
    use crate::segment::{Block, Row};
    use crate::tier::plan::PACKED_ROWS;

    const BOUNDS: Bounds = Bounds { dead_share: 0.5, content: 16 << 20 };

    fn memory(id: u64) -> Arc<PreparedMemory> {
        let row = Row {
            id: MemoryId(id),
            created: id as i64 * 10,
            importance: if id.is_multiple_of(5) { 2.0 } else { 1.0 },
            accesses: 1,
            length: Length::new(id as usize),
            supplied: id.is_multiple_of(3),
            terms: [(Term(7), Count::new(id as usize % 16 + 1)), (Term(id << 50), Count::ONE)].into(),
            sketch: [id, !id].into(),
        };
        let vector = row.supplied.then(|| [id; 4].into());
        Arc::new(PreparedMemory { row, vector, record: id.to_le_bytes().into() })
    }

    fn memories(ids: impl IntoIterator<Item = u64>) -> Vec<Arc<PreparedMemory>> {
        ids.into_iter().map(memory).collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(Vec<u64>),
        Remove(u64),
        Access(u64),
        Merge { all: bool, meanwhile: Vec<u64> },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let ids = || {
            prop::collection::btree_set(1u64..400, 1..20).prop_map(|ids| ids.into_iter().collect::<Vec<_>>())
        };
        let step = prop_oneof![
            4 => ids().prop_map(Step::Add),
            2 => (1u64..400).prop_map(Step::Remove),
            2 => (1u64..400).prop_map(Step::Access),
            1 => (any::<bool>(), ids()).prop_map(|(all, meanwhile)| Step::Merge { all, meanwhile }),
        ];
        prop::collection::vec(step, 1..40)
    }

    fn access(shard: &mut Shard, model: &mut BTreeMap<u64, u32>, id: u64) {
        let found = shard.find_mut(MemoryId(id)).map(|(slot, row)| {
            let accesses = slot.accesses(row) + 1;
            slot.accesses.insert(row, accesses);
        });
        assert_eq!(found.is_some(), model.get_mut(&id).map(|accesses| *accesses += 1).is_some());
    }

    /// Compares all that a shard says with the ids and accesses of a `model`.
    fn check(shard: &Shard, model: &BTreeMap<u64, u32>) {
        assert_eq!(shard.len(), model.len());
        assert!(shard.slots().is_sorted_by_key(Slot::is_loose), "a loose segment before a packed one");
        for id in 1..400 {
            let found = shard.find(MemoryId(id)).map(|(slot, row)| {
                let segment = &slot.part.segment;
                let read = segment.memory(row, 1).unwrap();
                let expected = memory(id);
                assert_eq!(read, expected);
                assert_eq!(segment.record(row, &mut Block::default()).unwrap(), &*expected.record);
                let listed = segment.postings.list(Term(7)).find(|posting| posting.row() == row);
                assert_eq!(listed.map(|posting| posting.count()), Some(expected.row.terms[0].1));
                slot.accesses(row)
            });
            assert_eq!(found, model.get(&id).copied(), "accesses of {id}");
        }
    }

    proptest! {
        #[test]
        fn adding_removing_and_merging_behave_as_a_map(steps in steps(), zstd in any::<bool>()) {
            let codec = if zstd { Codec::Zstd } else { Codec::Plain };
            let (mut shard, mut model) = (Shard::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Add(ids) => {
                        let fresh: Vec<u64> = ids.into_iter().filter(|id| !model.contains_key(id)).collect();
                        shard.add(memories(fresh.iter().copied())).unwrap();
                        model.extend(fresh.into_iter().map(|id| (id, 1)));
                    }
                    Step::Remove(id) => prop_assert_eq!(shard.remove(MemoryId(id)).1, model.remove(&id).is_some()),
                    Step::Access(id) => access(&mut shard, &mut model, id),
                    Step::Merge { all, meanwhile } => {
                        let plan = if all {
                            Some(Plan { slots: shard.slots().to_vec(), packs: true })
                        } else {
                            shard.plan(Effort::All, BOUNDS)
                        };
                        if let Some(plan) = plan {
                            let merged = plan.merge(codec).unwrap();
                            for id in meanwhile {
                                if id.is_multiple_of(2) {
                                    access(&mut shard, &mut model, id);
                                } else {
                                    prop_assert_eq!(shard.remove(MemoryId(id)).1, model.remove(&id).is_some());
                                }
                            }
                            prop_assert!(shard.replace(&plan, merged.map(Slot::new)));
                        }
                    }
                }
                check(&shard, &model);
            }
        }

        #[test]
        fn rows_added_one_by_one_in_any_order_equal_a_segment_of_them_all(
            ids in Just((0..TAIL_ROWS as u64).collect::<Vec<_>>()).prop_shuffle(),
            count in 1..=TAIL_ROWS,
        ) {
            let mut shard = Shard::default();
            let mut ids = ids[..count].to_vec();
            for &id in &ids {
                shard.add(memories([id])).unwrap();
            }
            ids.sort_unstable();
            let [slot] = shard.slots() else { panic!("{} segments", shard.slots().len()) };
            let (grown, built) = (&slot.part.segment, Segment::loose(memories(ids)));
            prop_assert_eq!(slot.live(), count);
            prop_assert!(grown.ids.iter().eq(built.ids.iter()));
            prop_assert!(grown.created.iter().eq(built.created.iter()));
            prop_assert_eq!((&*grown.lengths, &*grown.supplied), (&*built.lengths, &*built.supplied));
            prop_assert_eq!(&*grown.sketches, &*built.sketches);
            prop_assert!(grown.postings.iter().eq(built.postings.iter()));
        }
    }

    #[test]
    fn a_view_taken_before_a_removal_still_has_the_memory() {
        let mut shard = Shard::default();
        shard.add(memories([1, 2])).unwrap();
        let view = shard.parts();
        shard.remove(MemoryId(1));
        assert!(view.iter().any(|part| part.find(MemoryId(1)).is_some()));
        assert!(shard.find(MemoryId(1)).is_none());
    }

    #[test]
    fn memories_that_come_with_descending_ids_leave_few_segments_too() {
        let mut shard = Shard::default();
        for id in (0..2_000).rev() {
            shard.add(memories([id])).unwrap();
            let open = shard.slots().len() - shard.open();
            assert!(open <= INLINE_ROWS / TAIL_ROWS, "{open} open segments at {id}");
        }
    }

    fn upkeep(shard: &mut Shard) {
        while let Some(plan) = shard.plan(Effort::Due, BOUNDS) {
            let merged = plan.merge(Codec::Plain).unwrap();
            assert!(shard.replace(&plan, merged.map(Slot::new)));
        }
    }

    #[test]
    fn small_segments_that_nobody_adds_to_are_merged() {
        let mut shard = Shard::default();
        for id in 0..1_500 {
            let plan = Plan { slots: vec![Slot::new(Segment::loose(memories([id])))], packs: true };
            let packed = plan.merge(Codec::Plain).unwrap().unwrap();
            shard.replace(&Plan { slots: Vec::new(), packs: true }, Some(Slot::new(packed)));
            upkeep(&mut shard);
            assert!(shard.slots().len() <= 20, "{} segments at {id}", shard.slots().len());
        }
        assert_eq!(shard.len(), 1_500);
    }

    #[test]
    fn single_stores_leave_a_logarithmic_number_of_segments() {
        let mut shard = Shard::default();
        for id in 0..20_000 {
            shard.add(memories([id])).unwrap();
            upkeep(&mut shard);
            assert!(shard.slots().len() <= 24, "{} segments at {id}", shard.slots().len());
        }
        let loose: usize = shard.slots().iter().filter(|slot| slot.is_loose()).map(Slot::live).sum();
        assert!(loose < PACKED_ROWS, "{loose} are loose");
    }

    /// Before, packing included the segment that the next store replaces, and never came to an end
    /// under load.
    #[test]
    fn what_is_packed_is_put_in_place_although_memories_came_in_the_meantime() {
        let mut shard = Shard::default();
        let mut id = 0;
        let plan = loop {
            shard.add(memories([id])).unwrap();
            id += 1;
            match shard.plan(Effort::Due, BOUNDS) {
                Some(plan) if plan.packs => break plan,
                Some(plan) => assert!(shard.replace(&plan, plan.merge(Codec::Plain).unwrap().map(Slot::new))),
                None => {}
            }
        };
        let merged = plan.merge(Codec::Plain).unwrap().map(Slot::new);
        shard.add(memories([id])).unwrap();
        assert!(shard.replace(&plan, merged));
        assert_eq!(shard.len() as u64, id + 1);
        assert!(shard.slots()[0].live() >= PACKED_ROWS && !shard.slots()[0].is_loose());
    }
}
