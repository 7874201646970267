//! Candidates by inverted lists of terms, refined by the vectors.
//!
//! A text's score is the asymmetric score of its hypervector, an estimate of
//! the weighted overlap of terms with known noise. The lists give that overlap
//! itself, without the noise, for every memory that shares a term. So memories
//! are refined in descending order of overlap until none of the rest could
//! still be among the k best at [`Limits::z`] standard deviations.

use std::cell::RefCell;
use std::cmp::Ordering;

use super::filter::{RowFilter, Scope};
use super::postings::{List, WEIGHTS};
use super::segment::Vectors;
use super::shard::Part;
use super::text::{QueryTerm, TextQuery};
use super::top::{Scored, TopK};
use crate::error::Error;

/// Rows whose sums are built at a time: 128 KB of them stay in the L2 cache.
const BLOCK_ROWS: usize = 1 << 15;

/// Rows whose sums are looked at together for one that is worth keeping.
const SCAN_ROWS: usize = 32;

/// How far a search goes; the defaults keep recall@10 at 0.99 and above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Candidates that are refined at most, per tier; about so many where a tier does not
    /// know the overlap of each.
    pub candidates: usize,
    /// A candidate is left out when its score would have to be this many
    /// standard deviations above its overlap,
    pub z: f32,
    /// and this many times it: in a short text, few terms share the majority of
    /// the bits, and their score deviates by up to a fifth.
    pub bias: f32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { candidates: 512, z: 2.0, bias: 1.2 }
    }
}

/// A row that shares terms with the query, and their weighted overlap.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    overlap: f32,
    part: u32,
    row: u32,
}

impl Candidate {
    /// The greatest overlap first; of equal ones, the newest.
    fn order(&self, other: &Self) -> Ordering {
        other.overlap.total_cmp(&self.overlap).then((other.part, other.row).cmp(&(self.part, self.row)))
    }
}

impl Limits {
    /// The greatest score that a memory with this overlap may be expected to have.
    fn highest(&self, query: &TextQuery, overlap: f32, norm: f32) -> f32 {
        overlap * self.bias + self.z * query.noise(norm)
    }

    /// The least overlap with which a memory may reach `score`.
    fn least(&self, query: &TextQuery, score: f32, norm: f32) -> f32 {
        (score - self.z * query.noise(norm)) / self.bias
    }
}

/// Offers the best of `scope` for `query` to `top`.
///
/// # Errors
/// Whatever fetching a vector reports.
pub fn search<R>(
    scope: &Scope<'_, R>,
    query: &TextQuery,
    limits: Limits,
    vectors: &mut impl Vectors<R>,
    top: &mut TopK,
) -> Result<(), Error> {
    for Candidate { overlap, part, row } in candidates(scope, query, limits, top) {
        let Some(segment) = scope.parts.get(part as usize).map(|part| &*part.segment) else { continue };
        let norm = segment.norm(row);
        if limits.highest(query, overlap, norm) >= top.threshold() {
            let score = query.score(vectors.vector(segment, row)?, norm);
            top.push(Scored { score, id: segment.id(row).unwrap_or_default(), tier: scope.tier });
        }
    }
    Ok(())
}

/// As [`search`], with the overlap itself for a score.
pub fn search_by_overlap<R>(scope: &Scope<'_, R>, query: &TextQuery, limits: Limits, top: &mut TopK) {
    for Candidate { overlap, part, row } in candidates(scope, query, limits, top) {
        let id = scope.parts.get(part as usize).and_then(|part| part.segment.id(row));
        top.push(Scored { score: overlap, id: id.unwrap_or_default(), tier: scope.tier });
    }
}

/// The rows that may be among the k best, the greatest overlap first.
fn candidates<R>(scope: &Scope<'_, R>, query: &TextQuery, limits: Limits, top: &TopK) -> Vec<Candidate> {
    let mut pool = Pool::new(scope, query, limits, top);
    for (part, at) in scope.parts.iter().zip(0..) {
        collect(part, at, query.terms(), scope.filter, &mut pool);
    }
    pool.into_sorted()
}

/// Sums up the overlap of every row of `part`, block by block, and hands the
/// best to `pool`.
fn collect<R>(part: &Part<R>, at: u32, terms: &[QueryTerm], filter: &RowFilter, pool: &mut Pool<'_, R>) {
    let segment = &*part.segment;
    let list = |term: &QueryTerm| (segment.postings.columns_of(term.term), term.weight);
    let mut lists: Vec<(List<'_>, f32)> =
        terms.iter().map(list).filter(|(list, _)| !list.rows.is_empty()).collect();
    if lists.is_empty() {
        return;
    }
    let admits = filter.admits(part);
    SUMS.with_borrow_mut(|sums| {
        for start in (0..segment.len()).step_by(BLOCK_ROWS) {
            sums.clear();
            sums.resize(BLOCK_ROWS.min(segment.len() - start), 0.0);
            for (list, weight) in &mut lists {
                *list = add_list(sums, start, *list, *weight);
            }
            pool.scan(sums, |offset, overlap| {
                let row = (start + offset) as u32;
                admits(row).then_some(Candidate { overlap, part: at, row })
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
fn add_list<'a>(sums: &mut [f32], start: usize, list: List<'a>, weight: f32) -> List<'a> {
    for (done, (&row, &share)) in list.rows.iter().zip(list.weights).enumerate() {
        match sums.get_mut(usize::from(row) - start) {
            Some(sum) => *sum += weight * WEIGHTS[usize::from(share)],
            None => return List { rows: &list.rows[done..], weights: &list.weights[done..] },
        }
    }
    List::default()
}

/// The candidates so far that may still be among the k best.
struct Pool<'q, R> {
    scope: &'q Scope<'q, R>,
    query: &'q TextQuery,
    limits: Limits,
    k: usize,
    /// The score of the k-th best of the tiers before this one.
    threshold: f32,
    /// No smaller overlap is worth a look.
    floor: f32,
    /// The pool is thinned out when it holds so many.
    trigger: usize,
    items: Vec<Candidate>,
}

impl<'q, R> Pool<'q, R> {
    fn new(scope: &'q Scope<'q, R>, query: &'q TextQuery, limits: Limits, top: &TopK) -> Self {
        let limits = Limits { candidates: limits.candidates.max(top.k()), ..limits };
        let trigger = 4 * top.k().max(16);
        Self {
            scope,
            query,
            limits,
            k: top.k(),
            threshold: top.threshold(),
            floor: f32::MIN_POSITIVE,
            trigger,
            items: Vec::with_capacity(trigger),
        }
    }

    /// Takes the rows whose sum reaches the floor and that `admit` lets in.
    fn scan(&mut self, sums: &[f32], admit: impl Fn(usize, f32) -> Option<Candidate>) {
        for (chunk, sums) in sums.chunks(SCAN_ROWS).enumerate() {
            // Without a branch, so that several are compared at a time.
            if !sums.iter().fold(false, |any, &sum| any | (sum >= self.floor)) {
                continue;
            }
            for (lane, &sum) in sums.iter().enumerate() {
                if sum >= self.floor
                    && let Some(candidate) = admit(chunk * SCAN_ROWS + lane, sum)
                {
                    self.items.push(candidate);
                    if self.items.len() >= self.trigger {
                        self.thin();
                        self.trigger = self.trigger.max(2 * self.items.len());
                    }
                }
            }
        }
    }

    /// Raises the floor to what a memory needs to displace the k-th best, whose
    /// score is taken to be at least its overlap less what it may fall short of
    /// it; then drops what is below, and what is too much.
    fn thin(&mut self) {
        if self.k == 0 {
            self.items.clear();
            return;
        }
        if self.items.len() > self.k {
            let (best, last, _) = self.items.select_nth_unstable_by(self.k - 1, Candidate::order);
            let expected = last.overlap / self.limits.bias;
            // The others are taken to be about as long as the best.
            let norms = best.iter().chain([&*last]).map(|item| {
                let part = self.scope.parts.get(item.part as usize);
                part.map_or(0.0, |part| part.segment.norm(item.row))
            });
            let norm = norms.fold(0.0, f32::max);
            let least = self.limits.least(self.query, expected.max(self.threshold), norm);
            self.floor = self.floor.max(least);
            self.items.retain(|item| item.overlap >= self.floor);
        }
        if self.items.len() > self.limits.candidates {
            let (_, last, _) =
                self.items.select_nth_unstable_by(self.limits.candidates - 1, Candidate::order);
            self.floor = self.floor.max(last.overlap);
            self.items.truncate(self.limits.candidates);
        }
    }

    fn into_sorted(mut self) -> Vec<Candidate> {
        self.thin();
        self.items.sort_unstable_by(Candidate::order);
        self.items
    }
}
