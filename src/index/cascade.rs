//! Candidates by a cascade of prefixes, for vectors without terms.
//!
//! Of a vector at Hamming distance H from the query (of D bits), the first m
//! bits are at a hypergeometric distance, near normal with mean m H / D and
//! variance m p (1 - p) (1 - m / D), p = H / D. So a row whose prefix is farther
//! than that mean for the current k-th best H plus z standard deviations is left
//! out: first by the sketches, which stand together in memory, then by a longer
//! prefix, then the whole vector decides.

use std::cell::RefCell;

use super::filter::Scope;
use super::top::{Scored, TopK};
use super::vectors::RowVectors;
use crate::error::Error;
use crate::hdv::kernels;
use crate::key::TierKind;
use crate::segment::{LANES, Part, Segment};

/// Bits of the second stage.
const MIDDLE_BITS: usize = 2_048;

/// Rows whose distances are looked at together for one that is near enough.
const SCAN_ROWS: usize = 32;

/// Vectors that are asked for before they are read: enough to hide the way to
/// main memory behind the comparisons of those before them.
const AHEAD: usize = 8;

/// How far a search goes; the defaults keep recall@10 at 0.99 and above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Rows per segment that pass the sketch stage at most, the nearest first. As many as the query asks for
    /// always pass.
    pub candidates: usize,
    /// A row is left out when its prefix is this many standard deviations too
    /// far. A finite number, not negative.
    pub z: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { candidates: 4_096, z: 2.25 }
    }
}

/// Similarity of two vectors of `bits` bits at Hamming distance `distance`:
/// 1 - 2 H / D, which is 1 for equal, 0 for unrelated and -1 for opposite ones.
pub fn similarity(distance: u32, bits: usize) -> f32 {
    (1.0 - 2.0 * f64::from(distance) / bits.max(1) as f64) as f32
}

/// Offers the rows of `scope` nearest to `query` to `top`, scored by
/// [`similarity`]: those whose vector was supplied by the caller, or the others.
///
/// # Errors
/// Whatever fetching a vector reports.
pub fn search(
    scope: &Scope<'_>,
    query: &[u64],
    supplied: bool,
    limits: Limits,
    vectors: &mut RowVectors<'_>,
    top: &mut TopK,
) -> Result<(), Error> {
    let mut stage = Stage { query, limits, tier: scope.tier, top };
    DISTANCES.with_borrow_mut(|distances| {
        for part in scope.parts {
            let segment = &*part.segment;
            let admits = scope.filter.admits(part);
            let admits = |row| segment.is_supplied(row) == supplied && admits(row);
            let start = sketch_distances(part, query, distances);
            let bits = segment.sketch_words() * 64;
            // The k nearest sketches first: they set the threshold for the rest.
            let first = nearest((start, distances), None, stage.reach(bits), stage.top.k(), admits);
            stage.refine_all(segment, &first, vectors)?;
            let rest =
                nearest((start, distances), first.last(), stage.reach(bits), limits.candidates, admits);
            stage.refine_all(segment, &rest, vectors)?;
        }
        Ok(())
    })
}

thread_local! {
    /// The distances of one segment; kept, so that a recall allocates none.
    static DISTANCES: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
}

/// The prefix distances of the rows of `part`, from the start of the block of the first one on. Returns the row
/// at which that begins.
fn sketch_distances(part: &Part, query: &[u64], distances: &mut Vec<u16>) -> u32 {
    let (segment, rows) = (&*part.segment, part.rows());
    let words = segment.sketch_words();
    let (start, end) = (rows.start as usize / LANES * LANES, rows.end as usize);
    let padded = end.div_ceil(LANES) * LANES;
    distances.clear();
    distances.resize(padded - start, 0);
    if let (Some(prefix), Some(sketches)) =
        (query.get(..words), segment.sketches.get(start * words..padded * words))
    {
        kernels::best().sketch_distances(prefix, sketches, distances);
    }
    distances.truncate(end - start);
    start as u32
}

/// A row, and how far its sketch is from the query's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Near {
    distance: u16,
    row: u32,
}

/// The `limit` nearest rows behind `after` that lie within `reach` and that
/// `admits` lets in, the nearest first; of equally near ones, the lowest.
fn nearest(
    (start, distances): (u32, &[u16]),
    after: Option<&Near>,
    mut reach: u16,
    limit: usize,
    admits: impl Fn(u32) -> bool,
) -> Vec<Near> {
    let mut found = Vec::new();
    if limit == 0 {
        return found;
    }
    for (chunk, start) in distances.chunks(SCAN_ROWS).zip((start..).step_by(SCAN_ROWS)) {
        // Without a branch, so that several are compared at a time.
        if !chunk.iter().fold(false, |any, &distance| any | (distance <= reach)) {
            continue;
        }
        for (&distance, row) in chunk.iter().zip(start..) {
            let near = Near { distance, row };
            if distance <= reach && after.is_none_or(|after| near > *after) && admits(row) {
                found.push(near);
            }
        }
        if found.len() >= limit.saturating_mul(2).max(SCAN_ROWS) {
            let (_, last, _) = found.select_nth_unstable(limit - 1);
            reach = last.distance;
            found.truncate(limit);
        }
    }
    found.sort_unstable();
    found.truncate(limit);
    found
}

/// The stages behind the sketches.
struct Stage<'a> {
    query: &'a [u64],
    limits: Limits,
    tier: TierKind,
    top: &'a mut TopK,
}

impl Stage<'_> {
    /// How far a row that may still be among the k best is from the query at
    /// most, within its first `bits` bits.
    fn reach(&self, bits: usize) -> u16 {
        let threshold = f64::from(self.top.threshold());
        if threshold == f64::NEG_INFINITY {
            return u16::MAX;
        }
        let (prefix, all) = (bits as f64, self.query.len() as f64 * 64.0);
        let p = (1.0 - threshold) / 2.0;
        let deviation = (prefix * p * (1.0 - p) * (1.0 - prefix / all)).max(0.0).sqrt();
        (prefix * p + self.limits.z * deviation) as u16
    }

    /// Offers the best of `rows`, of which the nearest come first, to `top`.
    fn refine_all(
        &mut self,
        segment: &Segment,
        rows: &[Near],
        vectors: &mut RowVectors<'_>,
    ) -> Result<(), Error> {
        let bits = segment.sketch_words() * 64;
        rows.iter().take(AHEAD).for_each(|near| vectors.prefetch(segment, near.row));
        for (at, near) in rows.iter().enumerate() {
            if near.distance > self.reach(bits) {
                break;
            }
            if let Some(next) = rows.get(at + AHEAD) {
                vectors.prefetch(segment, next.row);
            }
            self.refine(segment, near.row, vectors.get(segment, near.row)?);
        }
        Ok(())
    }

    fn refine(&mut self, segment: &Segment, row: u32, vector: &[u64]) {
        let middle = MIDDLE_BITS / 64;
        if let (Some(ours), Some(theirs)) = (self.query.get(..middle), vector.get(..middle))
            && kernels::best().hamming(ours, theirs) > self.reach(MIDDLE_BITS).into()
        {
            return;
        }
        let score = similarity(kernels::best().hamming(self.query, vector), self.query.len() * 64);
        let id = segment.id(row).unwrap_or_default();
        self.top.push(Scored { score, id, tier: self.tier });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_distances() -> impl Strategy<Value = Vec<u16>> {
        prop::collection::vec(0u16..50, 0..400)
    }

    proptest! {
        #[test]
        fn the_nearest_equal_sorting_every_row(
            distances in some_distances(),
            (first, rest) in (0usize..40, 0usize..80),
            reach in prop_oneof![0u16..60, Just(u16::MAX)],
            dropped in 1u32..5,
        ) {
            let admits = |row: u32| !row.is_multiple_of(dropped + 1);
            let rows = distances.iter().zip(0..).map(|(&distance, row)| Near { distance, row });
            let mut sorted: Vec<Near> =
                rows.filter(|near| near.distance <= reach && admits(near.row)).collect();
            sorted.sort_unstable();
            let found = nearest((0, &distances), None, reach, first, admits);
            let (head, tail) = sorted.split_at(first.min(sorted.len()));
            prop_assert_eq!(&found, head);
            if let Some(last) = found.last() {
                let tail = &tail[..rest.min(tail.len())];
                prop_assert_eq!(nearest((0, &distances), Some(last), reach, rest, admits), tail);
            }
        }
    }
}
