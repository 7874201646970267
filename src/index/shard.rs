//! One tier's memories of one namespace: a short list of segments.

use std::sync::Arc;

use super::live::Live;
use super::postings::MAX_ROWS;
use super::segment::{Row, Segment};
use super::text::QueryTerm;
use crate::encoder::Term;
use crate::key::MemoryId;

/// Shorter segments are open: whoever adds merges them as soon as they hold so
/// many rows together. Larger merges are left to [`Shard::merge_plan`], off the
/// path of a store.
///
/// Merging 512 rows takes 0.2 ms. As that happens in one store of 512, in HOT
/// and in WARM, it is above the P99.
pub const INLINE_ROWS: usize = 512;

/// Up to so many rows, the newest segment is made anew for each row that comes
/// alone. That takes 5 us at most; eight such segments are merged into one.
const TAIL_ROWS: usize = 64;

/// Segments are not merged beyond this many rows: it bounds the time and the
/// memory that a merge takes, and what a removal copies (8 KB of live bits).
pub const SEGMENT_ROWS: usize = MAX_ROWS;

/// So many segments of one size class are merged into one of the next.
const FANOUT: usize = 4;

/// Segments that are merged at once at most, so that no lock is held for long when one
/// takes their place.
const MERGED_AT_ONCE: usize = 256;

/// A segment, and which of its rows still count.
pub struct Part<R> {
    /// The rows.
    pub segment: Arc<Segment<R>>,
    /// Which of them count.
    pub live: Arc<Live>,
}

impl<R> Clone for Part<R> {
    fn clone(&self) -> Self {
        Self { segment: self.segment.clone(), live: self.live.clone() }
    }
}

impl<R> Part<R> {
    /// A part in which every row counts.
    pub fn new(segment: Segment<R>) -> Self {
        let live = Arc::new(Live::all(segment.len()));
        Self { segment: Arc::new(segment), live }
    }

    /// The rows that no longer count.
    pub fn dead_rows(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.segment.len() as u32).filter(|&row| !self.live.contains(row))
    }

    /// The live row of memory `id`.
    pub fn find(&self, id: MemoryId) -> Option<u32> {
        self.segment.find(id).filter(|&row| self.live.contains(row))
    }
}

/// Segments of one namespace in one tier. Cloning it is cheap and gives a
/// reader's view, which later changes leave as it is.
pub struct Shard<R> {
    parts: Vec<Part<R>>,
}

impl<R> Clone for Shard<R> {
    fn clone(&self) -> Self {
        Self { parts: self.parts.clone() }
    }
}

impl<R> Default for Shard<R> {
    fn default() -> Self {
        Self { parts: Vec::new() }
    }
}

impl<R> Shard<R> {
    /// The segments, oldest first.
    pub fn parts(&self) -> &[Part<R>] {
        &self.parts
    }

    /// Adds a segment as it is.
    pub fn attach(&mut self, part: Part<R>) {
        self.parts.push(part);
    }

    /// Number of live memories.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.live.len()).sum()
    }

    /// Whether no memory is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The segment and row of memory `id`.
    pub fn find(&self, id: MemoryId) -> Option<(&Part<R>, u32)> {
        self.parts.iter().find_map(|part| part.find(id).map(|row| (part, row)))
    }

    /// Which of `terms` memory `id` holds; `None` if it is not here.
    pub fn held_terms(&self, id: MemoryId, terms: &[QueryTerm]) -> Option<Vec<Term>> {
        let (part, row) = self.find(id)?;
        let terms = terms.iter().map(|asked| asked.term);
        Some(terms.filter(|&term| part.segment.postings.holds(term, row)).collect())
    }

    /// Takes memory `id` out and says whether it was there.
    pub fn remove(&mut self, id: MemoryId) -> bool {
        let found = self.parts.iter().enumerate().find_map(|(at, part)| part.find(id).map(|row| (at, row)));
        found.is_some_and(|(at, row)| Arc::make_mut(&mut self.parts[at].live).remove(row))
    }

    /// In how many memories `term` occurs, about: of a segment that has lost some,
    /// so large a share as is left of all its rows.
    pub fn document_frequency(&self, term: Term) -> usize {
        let share = |part: &Part<R>| {
            let (live, all) = (part.live.len(), part.segment.len());
            let frequency = part.segment.postings.document_frequency(term);
            if live == all { frequency } else { (frequency * live).div_ceil(all) }
        };
        self.parts.iter().map(share).sum()
    }

    /// Number of segments before the open ones.
    fn closed(&self) -> usize {
        let closed = |part: &Part<R>| part.segment.len() >= INLINE_ROWS;
        self.parts.iter().rposition(closed).map_or(0, |last| last + 1)
    }

    /// The segments that are worth merging now, if any: one of which more than
    /// `dead_share` is dead, or four neighbours or more of one size class. The open ones
    /// are still in the hands of [`Shard::add`].
    pub fn merge_plan(&self, dead_share: f64) -> Option<Vec<Part<R>>> {
        self.plan(self.closed(), INLINE_ROWS, dead_share)
    }

    /// As [`Shard::merge_plan`], where all come by [`Shard::replace`] and none is open.
    pub fn merge_plan_of_all(&self, dead_share: f64) -> Option<Vec<Part<R>>> {
        self.plan(self.parts.len(), 1, dead_share)
    }

    /// Of the first `closed` segments, of which those with fewer than `least` rows are of one
    /// class.
    fn plan(&self, closed: usize, least: usize, dead_share: f64) -> Option<Vec<Part<R>>> {
        let share = |part: &Part<R>| 1.0 - part.live.len() as f64 / part.segment.len().max(1) as f64;
        if let Some(part) = self.parts.iter().find(|part| share(part) > dead_share) {
            return Some(vec![part.clone()]);
        }
        let class = |part: &Part<R>| part.live.len().max(least).ilog2() / FANOUT.ilog2();
        let of_class = self.parts[..closed].chunk_by(|a, b| class(a) == class(b));
        // A large one must not keep those behind it from being merged.
        let due = of_class.filter_map(|run| {
            let mut starts = (0..run.len()).map(|start| within_limit(&run[start..]));
            starts.find(|run| run.len() >= FANOUT)
        });
        due.min_by_key(|run| run.first().map(class)).map(<[_]>::to_vec)
    }

    /// The next step towards as few segments as [`SEGMENT_ROWS`] allows, without
    /// dead rows; none when nothing is left to do.
    pub fn full_merge_plan(&self) -> Option<Vec<Part<R>>> {
        let starts = (0..self.parts.len()).map(|start| within_limit(&self.parts[start..]));
        let mut due = starts.filter(|run| match run {
            [only] => only.live.len() < only.segment.len(),
            _ => true,
        });
        due.next().map(<[_]>::to_vec)
    }

    /// Puts `merged` in the place of the segments of `plan`, which it was made
    /// from (an empty plan just adds it); memories removed in the meantime stay
    /// removed.
    ///
    /// Returns `false`, and changes nothing, if one of the planned segments is
    /// no longer here.
    pub fn replace(&mut self, plan: &[Part<R>], merged: Option<Part<R>>) -> bool {
        let same = |a: &Part<R>, b: &Part<R>| Arc::ptr_eq(&a.segment, &b.segment);
        let place = |planned: &Part<R>| self.parts.iter().position(|part| same(part, planned));
        let Some(places) = plan.iter().map(place).collect::<Option<Vec<_>>>() else { return false };
        let first = places.iter().copied().min().unwrap_or(self.parts.len());
        let merged = merged.map(|mut merged| {
            for (planned, &at) in plan.iter().zip(&places) {
                forget_missing(&mut merged, planned, &self.parts[at].live);
            }
            merged
        });
        self.parts.splice(first..first, merged.filter(|part| !part.live.is_empty()));
        self.parts.retain(|part| !plan.iter().any(|planned| same(part, planned)));
        true
    }

    /// Bytes of anonymous memory, without the payload.
    pub fn heap_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.segment.heap_bytes() + part.live.heap_bytes()).sum()
    }
}

impl<T: Clone> Shard<Vec<T>> {
    /// Adds memories that ascend by id, one payload each.
    pub fn add(&mut self, rows: &[Row], mut payload: Vec<T>) {
        debug_assert_eq!(rows.len(), payload.len());
        self.parts.retain(|part| !part.live.is_empty());
        if let ([row], Some(newest)) = (rows, self.parts.last_mut())
            && newest.segment.len() < TAIL_ROWS
            && newest.live.len() == newest.segment.len()
            && let Some(payload) = payload.pop()
        {
            *newest = Part::new(newest.segment.with(row, payload));
            return self.close();
        }
        for rows in rows.chunks(SEGMENT_ROWS) {
            let rest = payload.split_off(rows.len());
            self.parts.push(Part::new(Segment::build(rows, payload)));
            payload = rest;
            self.close();
        }
    }

    /// Merges the open segments when they have rows enough for a closed one, or
    /// the newest of them when they have few enough for one that grows on.
    fn close(&mut self) {
        let open = self.closed();
        let due = (open..self.parts.len()).find(|&start| {
            let rows: usize = self.parts[start..].iter().map(|part| part.segment.len()).sum();
            rows <= TAIL_ROWS || start == open && rows >= INLINE_ROWS
        });
        if let Some(start) = due.filter(|start| start + 1 < self.parts.len()) {
            let merged = merge(&self.parts[start..]);
            self.parts.truncate(start);
            self.parts.push(merged);
        }
    }
}

/// Removes from `merged` what was live in `planned` and is not in `now`.
fn forget_missing<R>(merged: &mut Part<R>, planned: &Part<R>, now: &Arc<Live>) {
    if Arc::ptr_eq(now, &planned.live) {
        return;
    }
    let live = Arc::make_mut(&mut merged.live);
    for row in planned.live.iter().filter(|&row| !now.contains(row)) {
        if let Some(row) = planned.segment.id(row).and_then(|id| merged.segment.find(id)) {
            live.remove(row);
        }
    }
}

/// The longest start of `run` that may become one segment at once; at least one part.
fn within_limit<R>(run: &[Part<R>]) -> &[Part<R>] {
    let mut rows = 0;
    let fits = run.iter().take(MERGED_AT_ONCE).take_while(|part| {
        rows += part.live.len();
        rows <= SEGMENT_ROWS
    });
    &run[..fits.count().max(1)]
}

/// One segment of all live rows of `parts`.
pub fn merge<T: Clone>(parts: &[Part<Vec<T>>]) -> Part<Vec<T>> {
    let inputs: Vec<_> = parts.iter().map(|part| (&*part.segment, &*part.live)).collect();
    Part::new(Segment::merge(&inputs))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::encoder::{Count, Length};

    fn row(id: u64) -> Row {
        Row {
            id: MemoryId(id),
            created: id as i64 * 10,
            length: Length::new(id as usize),
            supplied: id.is_multiple_of(3),
            terms: vec![(Term(id << 60), Count::ONE), (Term(7), Count::new(id as usize % 16 + 1))],
            sketch: vec![id, !id].into(),
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(Vec<u64>),
        Remove(u64),
        Merge { full: bool, removed_meanwhile: Vec<u64> },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let ids = || {
            prop::collection::btree_set(0u64..400, 1..20).prop_map(|ids| ids.into_iter().collect::<Vec<_>>())
        };
        let step = prop_oneof![
            4 => ids().prop_map(Step::Add),
            2 => (0u64..400).prop_map(Step::Remove),
            1 => (any::<bool>(), ids()).prop_map(|(full, removed_meanwhile)| Step::Merge { full, removed_meanwhile }),
        ];
        prop::collection::vec(step, 1..40)
    }

    fn check(shard: &Shard<Vec<u64>>, model: &BTreeMap<u64, u64>) {
        assert_eq!(shard.len(), model.len());
        for id in 0..400 {
            let found = shard.find(MemoryId(id)).map(|(part, at)| {
                let segment = &part.segment;
                let want = row(id);
                assert_eq!(segment.created.get(at as usize), Some(want.created));
                assert_eq!(segment.length(at), want.length);
                assert_eq!(segment.is_supplied(at), want.supplied);
                assert!(segment.sketch(at as usize).eq(want.sketch.iter().copied()));
                let count =
                    segment.postings.list(Term(7)).find(|posting| posting.row() == at).map(|p| p.count());
                assert_eq!(count, Some(want.terms[1].1));
                segment.rows[at as usize]
            });
            assert_eq!(found, model.get(&id).copied());
        }
    }

    proptest! {
        #[test]
        fn adding_removing_and_merging_behave_as_a_map(steps in steps()) {
            let (mut shard, mut model) = (Shard::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Add(ids) => {
                        let fresh: Vec<u64> = ids.into_iter().filter(|id| !model.contains_key(id)).collect();
                        let rows: Vec<Row> = fresh.iter().map(|&id| row(id)).collect();
                        shard.add(&rows, fresh.clone());
                        model.extend(fresh.into_iter().map(|id| (id, id)));
                    }
                    Step::Remove(id) => prop_assert_eq!(shard.remove(MemoryId(id)), model.remove(&id).is_some()),
                    Step::Merge { full, removed_meanwhile } => {
                        let plan = if full { shard.full_merge_plan() } else { shard.merge_plan(0.5) };
                        if let Some(plan) = plan {
                            let merged = merge(&plan);
                            for id in removed_meanwhile {
                                prop_assert_eq!(shard.remove(MemoryId(id)), model.remove(&id).is_some());
                            }
                            shard.replace(&plan, Some(merged));
                        }
                    }
                }
                check(&shard, &model);
            }
        }
    }

    #[test]
    fn a_view_taken_before_a_removal_still_has_the_memory() {
        let mut shard = Shard::default();
        shard.add(&[row(1), row(2)], vec![1, 2]);
        let view = shard.clone();
        shard.remove(MemoryId(1));
        assert!(view.find(MemoryId(1)).is_some());
        assert!(shard.find(MemoryId(1)).is_none());
    }

    proptest! {
        #[test]
        fn rows_added_one_by_one_in_any_order_equal_a_segment_of_them_all(
            ids in Just((0..TAIL_ROWS as u64).collect::<Vec<_>>()).prop_shuffle(),
            count in 1..=TAIL_ROWS,
        ) {
            let mut shard = Shard::default();
            let mut ids = ids[..count].to_vec();
            ids.iter().for_each(|&id| shard.add(&[row(id)], vec![id]));
            ids.sort_unstable();
            let rows: Vec<Row> = ids.iter().map(|&id| row(id)).collect();
            let [part] = shard.parts() else { panic!("{} segments", shard.parts().len()) };
            let (grown, built) = (&part.segment, Segment::build(&rows, ids));
            prop_assert_eq!(part.live.len(), count);
            prop_assert!(grown.ids.iter().eq(built.ids.iter()));
            prop_assert!(grown.created.iter().eq(built.created.iter()));
            prop_assert_eq!((&*grown.lengths, &*grown.supplied), (&*built.lengths, &*built.supplied));
            prop_assert_eq!((&*grown.sketches, &grown.rows), (&*built.sketches, &built.rows));
            prop_assert!(grown.postings.iter().eq(built.postings.iter()));
        }
    }

    #[test]
    fn memories_that_come_with_descending_ids_leave_few_segments_too() {
        let mut shard = Shard::default();
        for id in (0..2_000).rev() {
            shard.add(&[row(id)], vec![id]);
            let open = shard.parts().len() - shard.closed();
            assert!(open <= INLINE_ROWS / TAIL_ROWS, "{open} open segments at {id}");
        }
    }

    #[test]
    fn small_segments_that_nobody_adds_to_are_merged() {
        let mut shard = Shard::default();
        for id in 0..1_500 {
            shard.replace(&[], Some(Part::new(Segment::build(&[row(id)], vec![id]))));
            while let Some(plan) = shard.merge_plan_of_all(0.5) {
                let merged = merge(&plan);
                assert!(shard.replace(&plan, Some(merged)));
            }
            assert!(shard.parts().len() <= 20, "{} segments at {id}", shard.parts().len());
        }
        assert_eq!(shard.len(), 1_500);
    }

    #[test]
    fn single_stores_leave_a_logarithmic_number_of_segments() {
        let mut shard = Shard::default();
        for id in 0..5_000 {
            shard.add(&[row(id)], vec![id]);
            if let Some(plan) = shard.merge_plan(0.5) {
                let merged = merge(&plan);
                shard.replace(&plan, Some(merged));
            }
            assert!(shard.parts().len() <= 24, "{} segments at {id}", shard.parts().len());
        }
    }
}
