//! Candidates by a cascade of prefixes, for vectors without terms.
//!
//! Of a vector at Hamming distance H from the query (of D bits), the first m
//! bits are at a hypergeometric distance, near normal with mean m H / D and
//! variance m p (1 - p) (1 - m / D), p = H / D. So a row whose prefix is farther
//! than that mean for the current k-th best H plus z standard deviations is left
//! out: first by the sketches, which stand together in memory, then by a longer
//! prefix, then the whole vector decides.

use super::filter::Scope;
use super::segment::{LANES, Segment, Vectors};
use super::top::{Scored, TopK};
use crate::error::Error;
use crate::hdv::kernels;
use crate::key::{MemoryId, TierKind};

/// Bits of the second stage.
const MIDDLE_BITS: usize = 2_048;

/// How far a search goes; the defaults keep recall@10 at 0.99 and above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Rows per segment that pass the sketch stage at most, the nearest first.
    pub candidates: usize,
    /// A row is left out when its prefix is this many standard deviations too
    /// far.
    pub z: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { candidates: 4_096, z: 2.0 }
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
pub fn search<R>(
    scope: &Scope<'_, R>,
    query: &[u64],
    supplied: bool,
    limits: Limits,
    vectors: &mut impl Vectors<R>,
    top: &mut TopK,
) -> Result<(), Error> {
    let mut distances = Vec::new();
    for part in scope.parts {
        let segment = &*part.segment;
        let admits = scope.filter.admits(part);
        let admits = |row: u32| segment.is_supplied(row) == supplied && admits(row);
        let bits = segment.sketch_words() * 64;
        sketch_distances(segment, query, &mut distances);
        let mut stage = Stage { query, limits, tier: scope.tier, top: &mut *top };
        let histogram = Histogram::of(&distances, bits, admits);
        // The nearest k sketches first: they set the threshold for the rest.
        let near = histogram.reaching(stage.top.k());
        let far = histogram.reaching(limits.candidates);
        for (&distance, row) in distances.iter().zip(0..) {
            if distance <= near && admits(row) {
                stage.refine(segment, row, vectors)?;
            }
        }
        for (&distance, row) in distances.iter().zip(0..) {
            if distance > near && distance <= far && stage.may_pass(distance.into(), bits) && admits(row) {
                stage.refine(segment, row, vectors)?;
            }
        }
    }
    Ok(())
}

/// The prefix distance of every row, padded rows included.
fn sketch_distances<R>(segment: &Segment<R>, query: &[u64], distances: &mut Vec<u16>) {
    let words = segment.sketch_words();
    distances.clear();
    distances.resize(segment.len().div_ceil(LANES) * LANES, 0);
    if let Some(prefix) = query.get(..words) {
        kernels::best().sketch_distances(prefix, &segment.sketches, distances);
    }
    distances.truncate(segment.len());
}

/// How many admitted rows lie at each sketch distance.
struct Histogram(Vec<u32>);

impl Histogram {
    fn of(distances: &[u16], bits: usize, admits: impl Fn(u32) -> bool) -> Self {
        let mut counts = vec![0; bits + 1];
        for (&distance, row) in distances.iter().zip(0..) {
            if let Some(count) = counts.get_mut(distance as usize).filter(|_| admits(row)) {
                *count += 1;
            }
        }
        Self(counts)
    }

    /// The smallest distance within which `rows` rows lie.
    fn reaching(&self, rows: usize) -> u16 {
        let mut seen = 0;
        let within = self.0.iter().position(|&count| {
            seen += count as usize;
            seen >= rows
        });
        within.unwrap_or(self.0.len()) as u16
    }
}

/// The stages behind the sketches.
struct Stage<'a> {
    query: &'a [u64],
    limits: Limits,
    tier: TierKind,
    top: &'a mut TopK,
}

impl Stage<'_> {
    /// Whether a row at `distance` within its first `bits` bits may still be
    /// among the k best.
    fn may_pass(&self, distance: f64, bits: usize) -> bool {
        let threshold = f64::from(self.top.threshold());
        if threshold == f64::NEG_INFINITY {
            return true;
        }
        let (prefix, all) = (bits as f64, self.query.len() as f64 * 64.0);
        let p = (1.0 - threshold) / 2.0;
        let deviation = (prefix * p * (1.0 - p) * (1.0 - prefix / all)).max(0.0).sqrt();
        distance <= prefix * p + self.limits.z * deviation
    }

    fn refine<R>(
        &mut self,
        segment: &Segment<R>,
        row: u32,
        vectors: &mut impl Vectors<R>,
    ) -> Result<(), Error> {
        let vector = vectors.vector(segment, row)?;
        let middle = MIDDLE_BITS / 64;
        if let (Some(ours), Some(theirs)) = (self.query.get(..middle), vector.get(..middle))
            && !self.may_pass(kernels::best().hamming(ours, theirs).into(), MIDDLE_BITS)
        {
            return Ok(());
        }
        let score = similarity(kernels::best().hamming(self.query, vector), self.query.len() * 64);
        let id = segment.id(row).unwrap_or(MemoryId(0));
        self.top.push(Scored { score, id, tier: self.tier });
        Ok(())
    }
}
