//! One tier's memories of one namespace, on the writer's side: a short list of segments.
//!
//! A memory enters the newest loose segment, which is made again for it. Full ones are merged into
//! fewer and larger ones, so that adding a memory costs amortized O(log n) copies of its postings
//! and readers never see a structure change under them (the logarithmic method of Bentley & Saxe,
//! 1980). Once enough rows are loose, they are packed.

use std::sync::Arc;

use super::files::marked_since;
use crate::error::Error;
use crate::key::MemoryId;
use crate::segment::{Accesses, Codec, Live, MAX_ROWS, Part, PreparedMemory, Segment, Source, merge};

/// Shorter loose segments are open: the writer merges them as soon as they hold so many rows
/// together. Larger merges are left to upkeep, off the path of a store.
///
/// Merging 512 rows takes 0.2 ms. As that happens in one store of 512, in HOT
/// and in WARM, it is above the P99.
pub(super) const INLINE_ROWS: usize = 512;

/// Up to so many rows, the newest segment is made again for each row that comes
/// alone. That takes 5 us at most; eight such segments are merged into one.
const TAIL_ROWS: usize = 64;

/// Once so many rows are loose, they are packed: a few files a minute at most, and few enough rows
/// to be read from the log when the engine opens after a crash.
pub const PACKED_ROWS: usize = 4_096;

/// Fewer loose rows are never packed: a namespace of a few memories takes no file in HOT and WARM.
const LEAST_PACKED_ROWS: usize = 8;

/// Segments are not merged beyond this many rows: it bounds the time and the
/// memory that a merge takes, and what a removal copies (8 KB of live bits).
const SEGMENT_ROWS: usize = MAX_ROWS;

/// Merge fan-out: this many segments of one size class become one of the next.
const FANOUT: usize = 4;

/// Segments that are merged at once at most, so that no lock is held for long when one
/// takes their place.
const MERGED_AT_ONCE: usize = 256;

/// How much upkeep is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What is worth doing while the engine runs.
    Due,
    /// What makes the next opening quick.
    Close,
    /// All that can be done, and the removal of every trace of what was forgotten.
    All,
}

/// A segment, and what the writer knows besides of its rows.
#[derive(Clone)]
pub(super) struct Slot {
    /// The segment as readers see it.
    pub part: Part,
    /// How often rows were accessed since they were put there.
    pub accesses: Accesses,
    /// Which rows counted when that was noted in the log for the segment as a whole.
    pub noted: Option<Live>,
}

impl Slot {
    /// A slot of a segment in which every row counts.
    pub(super) fn new(segment: Segment) -> Self {
        Self { part: Part::new(segment), accesses: Accesses::default(), noted: None }
    }

    /// Whether a file says all that is to be said of the memory in `row`.
    pub(super) fn is_told_by_file(&self, row: u32) -> bool {
        self.part.segment.number().is_some() && !self.accesses.contains_key(&row)
    }

    /// The rows that were marked as dead in the log, one by one.
    pub(super) fn marked(&self) -> Vec<u32> {
        marked_since(&self.part.live, self.noted.as_ref())
    }

    /// How many rows were marked so.
    pub(super) fn count_marked(&self) -> usize {
        self.noted.as_ref().map_or(self.rows(), Live::len) - self.live()
    }

    /// How often the memory in `row` was accessed.
    pub(super) fn accesses(&self, row: u32) -> u32 {
        self.accesses.get(&row).copied().unwrap_or_else(|| self.part.segment.accesses(row))
    }

    fn rows(&self) -> usize {
        self.part.segment.len()
    }

    fn live(&self) -> usize {
        self.part.live.len()
    }

    fn is_loose(&self) -> bool {
        self.part.segment.is_loose()
    }

    fn source(&self) -> Source<'_> {
        Source { segment: &self.part.segment, live: &self.part.live, accesses: &self.accesses }
    }
}

/// Segments to be merged, as they were when the merge was planned.
pub(super) struct Plan {
    /// The segments; none to add a new one.
    pub slots: Vec<Slot>,
    /// Whether the merged one is packed.
    pub packs: bool,
}

impl Plan {
    /// The merged segment, packed with `codec` if the plan says so; `None` if no row is live.
    ///
    /// # Errors
    /// As [`merge`].
    pub(super) fn merge(&self, codec: Codec) -> Result<Option<Segment>, Error> {
        let sources: Vec<Source<'_>> = self.slots.iter().map(Slot::source).collect();
        merge(&sources, self.packs.then_some(codec))
    }
}

/// Segments of one namespace in one tier, the loose ones last.
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
        let packed = self.slots.partition_point(|slot| !slot.is_loose());
        self.slots.insert(packed, slot);
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

    /// Takes memory `id` out and says whether it was there.
    pub(super) fn remove(&mut self, id: MemoryId) -> bool {
        self.find_mut(id).is_some_and(|(slot, row)| {
            slot.accesses.remove(&row);
            Arc::make_mut(&mut slot.part.live).remove(row)
        })
    }

    /// Adds memories that ascend by id.
    pub(super) fn add(&mut self, mut memories: Vec<Arc<PreparedMemory>>) -> Result<(), Error> {
        // Others are listed, until upkeep has taken them off the list.
        self.slots.retain(|slot| slot.live() > 0 || !slot.is_loose());
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

    /// The segments that are worth merging, if any: the loose ones if they are enough to be packed;
    /// one of which more than `dead_share` is dead; or four neighbors or more of one size class.
    /// The open ones are still in the hands of [`Shard::add`].
    pub(super) fn plan(&self, effort: Effort, dead_share: f64) -> Option<Plan> {
        let (packed, loose) = self.slots.split_at(self.slots.partition_point(|slot| !slot.is_loose()));
        let least = match effort {
            Effort::Due => PACKED_ROWS,
            Effort::Close => INLINE_ROWS,
            Effort::All => LEAST_PACKED_ROWS,
        };
        if loose.iter().map(Slot::live).sum::<usize>() >= least {
            return Some(Plan { slots: within_limit(loose).to_vec(), packs: true });
        }
        let of_one_kind = [(packed, true), (loose, false)];
        let plan = |(slots, packs): (&[Slot], bool)| Plan { slots: slots.to_vec(), packs };
        match effort {
            Effort::Close => None,
            Effort::All => {
                of_one_kind.into_iter().find_map(|(slots, packs)| Some(plan((fewest(slots)?, packs))))
            }
            Effort::Due => {
                let closed = &loose[..self.open().saturating_sub(packed.len())];
                let of_one_kind = [(packed, true), (closed, false)];
                let dead = |slot: &&Slot| 1.0 - slot.live() as f64 / slot.rows().max(1) as f64 > dead_share;
                let dead = of_one_kind.iter().find_map(|&(slots, packs)| {
                    let slot = slots.iter().find(dead)?;
                    Some((std::slice::from_ref(slot), packs))
                });
                let due =
                    || of_one_kind.into_iter().find_map(|(slots, packs)| Some((same_class(slots)?, packs)));
                dead.or_else(due).map(plan)
            }
        }
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
                follow(&mut merged, planned, &self.slots[at]);
            }
            merged
        });
        let first = places.iter().copied().min();
        self.slots.retain(|slot| !plan.slots.iter().any(|planned| same(slot, planned)));
        match (merged.filter(|slot| slot.live() > 0), first) {
            (None, _) => {}
            // Behind the loose ones that were packed, others may have come.
            (Some(merged), _) if !merged.is_loose() => self.attach_at(merged, first),
            (Some(merged), first) => self.slots.insert(first.unwrap_or(self.slots.len()), merged),
        }
        true
    }

    fn attach_at(&mut self, slot: Slot, at: Option<usize>) {
        let packed = self.slots.partition_point(|slot| !slot.is_loose());
        self.slots.insert(at.map_or(packed, |at| at.min(packed)), slot);
    }
}

/// Four neighbors or more of one size class, the smallest class first.
fn same_class(slots: &[Slot]) -> Option<&[Slot]> {
    let class = |slot: &Slot| slot.live().max(1).ilog2() / FANOUT.ilog2();
    let of_class = slots.chunk_by(|a, b| class(a) == class(b));
    // A large one must not keep those behind it from being merged.
    let due = of_class.filter_map(|run| {
        let mut starts = (0..run.len()).map(|start| within_limit(&run[start..]));
        starts.find(|run| run.len() >= FANOUT)
    });
    due.min_by_key(|run| run.first().map(class))
}

/// The next step towards as few segments as [`SEGMENT_ROWS`] allows, without
/// dead rows; none when nothing is left to do.
fn fewest(slots: &[Slot]) -> Option<&[Slot]> {
    let starts = (0..slots.len()).map(|start| within_limit(&slots[start..]));
    let mut due = starts.filter(|run| match run {
        [only] => only.live() < only.rows(),
        _ => true,
    });
    due.next()
}

/// The longest start of `run` that may become one segment at once; at least one slot.
fn within_limit(run: &[Slot]) -> &[Slot] {
    let mut rows = 0;
    let fits = run.iter().take(MERGED_AT_ONCE).take_while(|slot| {
        rows += slot.live();
        rows <= SEGMENT_ROWS
    });
    &run[..fits.count().max(1).min(run.len())]
}

/// Does to `merged` what was done to `now` since it was `planned`.
fn follow(merged: &mut Slot, planned: &Slot, now: &Slot) {
    let moved = |row: u32| planned.part.segment.id(row).and_then(|id| merged.part.segment.find(id));
    if !Arc::ptr_eq(&now.part.live, &planned.part.live) {
        let gone = planned.part.live.iter().filter(|&row| !now.part.live.contains(row));
        let gone: Vec<u32> = gone.filter_map(moved).collect();
        let live = Arc::make_mut(&mut merged.part.live);
        for row in gone {
            live.remove(row);
        }
    }
    let counted = now.accesses.iter().filter(|(row, count)| planned.accesses.get(row) != Some(count));
    let counted: Vec<(u32, u32)> = counted.filter_map(|(&row, &count)| Some((moved(row)?, count))).collect();
    merged.accesses.extend(counted.into_iter().filter(|(row, _)| merged.part.live.contains(*row)));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::encoder::{Count, Length, Term};
    use crate::segment::{Block, Row};

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
                    Step::Remove(id) => prop_assert_eq!(shard.remove(MemoryId(id)), model.remove(&id).is_some()),
                    Step::Access(id) => access(&mut shard, &mut model, id),
                    Step::Merge { all, meanwhile } => {
                        let plan = if all {
                            Some(Plan { slots: shard.slots().to_vec(), packs: true })
                        } else {
                            shard.plan(Effort::All, 0.5)
                        };
                        if let Some(plan) = plan {
                            let merged = plan.merge(codec).unwrap();
                            for id in meanwhile {
                                if id.is_multiple_of(2) {
                                    access(&mut shard, &mut model, id);
                                } else {
                                    prop_assert_eq!(shard.remove(MemoryId(id)), model.remove(&id).is_some());
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
        while let Some(plan) = shard.plan(Effort::Due, 0.5) {
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
}
