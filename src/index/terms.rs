//! Candidates by inverted lists of terms, refined by the vectors.
//!
//! A text's score is the asymmetric score of its hypervector, an estimate of
//! the weighted overlap of terms with known noise. The lists give that overlap
//! itself, without the noise, for every memory that shares a term. So memories
//! are refined in descending order of overlap until none of the rest could
//! still be among the k best at [`Limits::z`] standard deviations.

use std::cell::RefCell;
use std::cmp::Ordering;

use super::filter::RowFilter;
use super::postings::{MAX_WEIGHT, Posting};
use super::segment::Vectors;
use super::shard::Part;
use super::text::{QueryTerm, TextQuery};
use super::top::{Scored, TopK};
use crate::error::Error;
use crate::key::{MemoryId, TierKind};

/// Rows whose sums are built at a time: 128 KB of them stay in the L2 cache.
const BLOCK_ROWS: usize = 1 << 15;

/// Rows whose sums are looked at together for one that is worth keeping.
const SCAN_ROWS: usize = 32;

/// How far a search goes; the defaults keep recall@10 at 0.99 and above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Candidates that are refined at most, per tier.
    pub candidates: usize,
    /// A candidate is left out when it is this many standard deviations short.
    pub z: f32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { candidates: 512, z: 3.0 }
    }
}

/// A row that shares terms with the query, and their weighted overlap.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    overlap: f32,
    id: MemoryId,
    part: u32,
    row: u32,
}

impl Candidate {
    /// The greatest overlap first; of equal ones, the newest.
    fn order(&self, other: &Self) -> Ordering {
        other.overlap.total_cmp(&self.overlap).then(other.id.cmp(&self.id))
    }
}

/// Offers the best of `parts` for `query` to `top`.
///
/// # Errors
/// Whatever fetching a vector reports.
pub fn search<R>(
    parts: &[Part<R>],
    tier: TierKind,
    query: &TextQuery,
    filter: &RowFilter,
    limits: Limits,
    vectors: &mut impl Vectors<R>,
    top: &mut TopK,
) -> Result<(), Error> {
    let mut pool = Pool::new(limits.candidates.max(top.k()));
    for (part, at) in parts.iter().zip(0..) {
        collect(part, at, query.terms(), filter, &mut pool);
    }
    for candidate in pool.into_sorted() {
        let Some(part) = parts.get(candidate.part as usize) else { continue };
        let norm = part.segment.norm(candidate.row);
        if candidate.overlap + limits.z * query.noise(norm) < top.threshold() {
            continue;
        }
        let vector = vectors.vector(&part.segment, candidate.row)?;
        top.push(Scored { score: query.score(vector, norm), id: candidate.id, tier });
    }
    Ok(())
}

/// Sums up the overlap of every row of `part`, block by block, and hands the
/// best to `pool`.
fn collect<R>(part: &Part<R>, at: u32, terms: &[QueryTerm], filter: &RowFilter, pool: &mut Pool) {
    let segment = &*part.segment;
    let list = |term: &QueryTerm| (segment.postings.entries_of(term.term), term.weight / f32::from(MAX_WEIGHT));
    let mut lists: Vec<(&[u32], f32)> = terms.iter().map(list).filter(|(entries, _)| !entries.is_empty()).collect();
    if lists.is_empty() {
        return;
    }
    let admits = filter.admits(part);
    SUMS.with_borrow_mut(|sums| {
        for start in (0..segment.len()).step_by(BLOCK_ROWS) {
            sums.clear();
            sums.resize(BLOCK_ROWS.min(segment.len() - start), 0.0);
            for (entries, weight) in &mut lists {
                *entries = add_list(sums, start, entries, *weight);
            }
            pool.scan(sums, |offset, overlap| {
                let row = (start + offset) as u32;
                admits(row).then(|| Candidate { overlap, id: segment.id(row).unwrap_or_default(), part: at, row })
            });
        }
    });
}

thread_local! {
    /// The sums of one block; kept, so that a recall allocates none.
    static SUMS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Adds one list's share to the rows from `start` on, as far as `sums` goes;
/// returns the rest of the list.
fn add_list<'a>(sums: &mut [f32], start: usize, entries: &'a [u32], weight: f32) -> &'a [u32] {
    for (done, &entry) in entries.iter().enumerate() {
        let posting = Posting::unpack(entry);
        match sums.get_mut(posting.row() as usize - start) {
            Some(sum) => *sum += weight * f32::from(posting.weight()),
            None => return &entries[done..],
        }
    }
    &[]
}

/// The best candidates so far, at most twice as many as are wanted.
struct Pool {
    limit: usize,
    floor: f32,
    items: Vec<Candidate>,
}

impl Pool {
    fn new(limit: usize) -> Self {
        Self { limit, floor: f32::MIN_POSITIVE, items: Vec::with_capacity(limit.min(4096) * 2) }
    }

    /// Takes the rows whose sum reaches the floor and that `admit` lets in.
    fn scan(&mut self, sums: &[f32], admit: impl Fn(usize, f32) -> Option<Candidate>) {
        for (chunk, sums) in sums.chunks(SCAN_ROWS).enumerate() {
            if sums.iter().fold(0.0, |most, &sum| if sum > most { sum } else { most }) < self.floor {
                continue;
            }
            for (lane, &sum) in sums.iter().enumerate() {
                if sum >= self.floor
                    && let Some(candidate) = admit(chunk * SCAN_ROWS + lane, sum)
                {
                    self.items.push(candidate);
                    if self.items.len() >= self.limit * 2 {
                        self.prune();
                    }
                }
            }
        }
    }

    fn prune(&mut self) {
        if self.limit > 0 && self.items.len() > self.limit {
            let (_, last, _) = self.items.select_nth_unstable_by(self.limit - 1, Candidate::order);
            self.floor = last.overlap;
            self.items.truncate(self.limit);
        }
    }

    fn into_sorted(mut self) -> Vec<Candidate> {
        self.prune();
        self.items.sort_unstable_by(Candidate::order);
        self.items
    }
}
