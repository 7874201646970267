//! Search by text: the inverted lists give the exact score of every memory that may be among the
//! best.
//!
//! The score of a text is the sum, over the question's terms, of the term's weight (its IDF) times
//! its [share](crate::encoder::Count::share) of the text, as in BM25. Terms are added up in
//! descending order of weight. Once the k-th best score so far exceeds what the last terms can add
//! together, a memory that holds only these is no hit: their long lists are then consulted for
//! those memories that the other terms leave in question (MaxScore: Turtle and Flood, "Query
//! evaluation: strategies and optimizations", 1995).

use std::cell::RefCell;

use super::filter::Scope;
use super::text::{QueryTerm, TextQuery};
use super::top::{Scored, TopK};
use crate::encoder::{Count, Length};
use crate::key::TierKind;
use crate::segment::Part;
use crate::segment::postings::List;

/// Rows whose scores are added up at a time: 64 KB of scores stay in the L2 cache.
const BLOCK_ROWS: usize = 1 << 14;

/// Looking a row up in a list takes about as long as adding so many postings.
const LONGER: usize = 8;

/// How much a bound may fall short of a score by rounding.
const ROUNDING: f32 = 1e-5;

thread_local! {
    /// The scores of one block, 0 between searches; kept, so that a recall allocates none.
    static SCORES: RefCell<Vec<f32>> = RefCell::new(vec![0.0; BLOCK_ROWS]);
}

/// Offers the best of `scope` for `query` to `top`.
pub fn search(scope: &Scope<'_>, query: &TextQuery, top: &mut TopK) {
    if top.k() == 0 {
        return;
    }
    SCORES.with_borrow_mut(|scores| {
        for part in scope.parts {
            let mut lists = lists(part, query.terms());
            if lists.is_empty() {
                continue;
            }
            let admits = scope.filter.admits(part);
            let rows = part.rows();
            let first = rows.start as usize / BLOCK_ROWS * BLOCK_ROWS;
            for start in (first..rows.end as usize).step_by(BLOCK_ROWS) {
                let block = Block::new(part, start, &mut lists, top);
                block.search(scores, &admits, scope.tier, top);
            }
        }
    });
}

/// The postings of one term of the question.
struct Listed<'a> {
    list: List<'a>,
    weight: f32,
    /// No row of the part has more of this term.
    bound: f32,
}

/// The lists of a part, in the order of the question's terms.
fn lists<'a>(part: &'a Part, terms: &[QueryTerm]) -> Vec<Listed<'a>> {
    let mut lists = Vec::with_capacity(terms.len());
    for &QueryTerm { term, weight } in terms {
        let list = part.list(term);
        if !list.rows.is_empty() {
            let most = list.counts.iter().copied().fold(0, u8::max);
            let bound = weight * Count::from_byte(most).share(part.segment.shortest);
            lists.push(Listed { list, weight, bound });
        }
    }
    lists
}

/// The lists of the rows of one block.
struct Block<'a> {
    part: &'a Part,
    lengths: &'a [u16],
    /// In the order of the question's terms.
    lists: Vec<Listed<'a>>,
    /// How many of them are added up for all rows. A row with others alone is no hit.
    essential: usize,
}

impl<'a> Block<'a> {
    /// Takes the postings of the block that begins at row `start` off `lists`.
    fn new(part: &'a Part, start: usize, lists: &mut [Listed<'a>], top: &TopK) -> Self {
        let lengths = part.segment.lengths.get(start..).unwrap_or_default();
        let lengths = lengths.get(..BLOCK_ROWS).unwrap_or(lengths);
        let end = start + lengths.len();
        let lists: Vec<Listed<'a>> = lists
            .iter_mut()
            .map(|listed| {
                let here = listed.list.rows.partition_point(|&row| usize::from(row) < end);
                let (list, later) = listed.list.split_at(here);
                listed.list = later;
                Listed { list, ..*listed }
            })
            .collect();
        let essential = essential(&lists, top.threshold());
        Self { part, lengths, lists, essential }
    }

    fn search(self, scores: &mut [f32], admits: impl Fn(u32) -> bool, tier: TierKind, top: &mut TopK) {
        let (essential, others) = self.lists.split_at(self.essential);
        for listed in essential {
            self.add(scores, listed);
        }
        let left: f32 = others.iter().map(|listed| listed.bound).sum();
        let mut least = self.least(top.threshold(), left);
        for listed in essential {
            for &row in listed.list.rows {
                let Some(score) = scores.get_mut(usize::from(row) % BLOCK_ROWS) else { continue };
                // 0 if it was looked at before.
                let score = std::mem::take(score);
                if score >= least
                    && admits(u32::from(row))
                    && let Some(score) = self.complete(row, score, others, left, top.threshold())
                {
                    let id = self.part.segment.id(u32::from(row)).unwrap_or_default();
                    top.push(Scored { score, id, tier });
                    least = self.least(top.threshold(), left);
                }
            }
        }
    }

    /// The least sum of the essential terms with which a row may reach `threshold`.
    fn least(&self, threshold: f32, left: f32) -> f32 {
        (threshold * (1.0 - ROUNDING) - left).max(f32::MIN_POSITIVE)
    }

    /// Adds one list's part to the scores of the block's rows.
    fn add(&self, scores: &mut [f32], listed: &Listed<'_>) {
        for (&row, &count) in listed.list.rows.iter().zip(listed.list.counts) {
            let at = usize::from(row) % BLOCK_ROWS;
            if let (Some(score), Some(&length)) = (scores.get_mut(at), self.lengths.get(at)) {
                *score += listed.weight * Count::from_byte(count).share(Length::from(length));
            }
        }
    }

    /// Adds what the other lists have of a row to its score; `None` if it stays below `least`.
    /// The others may have up to `left` of it.
    fn complete(
        &self,
        row: u16,
        mut score: f32,
        others: &[Listed<'_>],
        mut left: f32,
        least: f32,
    ) -> Option<f32> {
        let length = Length::from(*self.lengths.get(usize::from(row) % BLOCK_ROWS)?);
        for Listed { list, weight, bound } in others {
            if (score + left) * (1.0 + ROUNDING) < least {
                return None;
            }
            left -= bound;
            if let Ok(at) = list.rows.binary_search(&row) {
                score += weight * Count::from_byte(*list.counts.get(at)?).share(length);
            }
        }
        (score >= least).then_some(score)
    }
}

/// How many of `lists` have to be added up so that the others together stay below `least`; all, if
/// the others are not much longer than these.
fn essential(lists: &[Listed<'_>], least: f32) -> usize {
    let mut bound = 0.0;
    let is_other = |listed: &&Listed<'_>| {
        bound += listed.bound;
        bound * (1.0 + ROUNDING) < least
    };
    let others = lists.iter().rev().take_while(is_other).count();
    let (essential, others) = lists.split_at(lists.len() - others);
    let postings = |lists: &[Listed<'_>]| lists.iter().map(|listed| listed.list.rows.len()).sum::<usize>();
    if postings(others) < LONGER * postings(essential) { lists.len() } else { essential.len() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::encoder::{Term, TermCounts, TermStatistics};
    use crate::index::RowFilter;
    use crate::key::MemoryId;
    use crate::segment::{PreparedMemory, Row, Segment};

    /// Words that are the rarer the higher their number.
    fn words(random: &mut fastrand::Rng, most: usize) -> Vec<Term> {
        let word =
            |random: &mut fastrand::Rng| Term::word(&format!("w{}", 400.0_f64.powf(random.f64()) as u32));
        (0..random.usize(1..most)).map(|_| word(random)).collect()
    }

    struct Statistics(BTreeMap<Term, u64>, u64);

    impl TermStatistics for Statistics {
        fn documents(&self) -> u64 {
            self.1
        }

        fn document_frequency(&self, term: Term) -> u64 {
            self.0.get(&term).copied().unwrap_or_default()
        }
    }

    /// Over several segments and blocks, with dead rows and a filter: most questions leave their
    /// frequent terms to those rows that the rare ones bring up.
    #[test]
    fn the_best_are_those_of_scoring_every_row() {
        let mut random = fastrand::Rng::with_seed(11);
        let (mut parts, mut texts, mut frequencies) = (Vec::new(), Vec::new(), BTreeMap::new());
        for size in [2 * BLOCK_ROWS + 100, 700, BLOCK_ROWS] {
            let first = texts.len();
            texts.extend((0..size).map(|_| TermCounts::new(words(&mut random, 12), Vec::new())));
            let memory = |(text, id): (&TermCounts, usize)| {
                let row = Row {
                    id: MemoryId(id as u64),
                    created: id as i64 % 10,
                    importance: 1.0,
                    accesses: 1,
                    length: text.length(),
                    supplied: false,
                    terms: text.terms().into(),
                    sketch: [0].into(),
                };
                Arc::new(PreparedMemory { row, vector: None, record: [0].into() })
            };
            let memories = texts[first..].iter().zip(first..).map(memory);
            let mut part = Part::new(Segment::loose(memories.collect()));
            for row in (0..size as u32).step_by(7) {
                Arc::make_mut(&mut part.live).remove(row);
            }
            parts.push((first, part));
        }
        for text in &texts {
            text.terms().iter().for_each(|&(term, _)| *frequencies.entry(term).or_default() += 1);
        }
        let statistics = Statistics(frequencies, texts.len() as u64);
        let filters = [RowFilter::default(), RowFilter { holding: Vec::new(), created: Some(2..5) }];
        for number in 0..60 {
            let asked: String = (0..random.usize(1..9))
                .map(|_| format!("w{} ", 400.0_f64.powf(random.f64()) as u32))
                .collect();
            let query = TextQuery::new(&asked, &statistics).unwrap();
            let (filter, k) = (&filters[number % 2], [1, 10, 100][number % 3]);
            let mut found = TopK::with_ties(k, 20);
            let mut expected = TopK::with_ties(k, 20);
            for (first, part) in &parts {
                let scope = Scope { parts: std::slice::from_ref(part), tier: TierKind::Hot, filter };
                search(&scope, &query, &mut found);
                let admits = filter.admits(part);
                for row in (0..part.segment.len() as u32).filter(|&row| admits(row)) {
                    let id = first + row as usize;
                    let score = query.score(&texts[id]);
                    if score > 0.0 {
                        expected.push(Scored { score, id: MemoryId(id as u64), tier: TierKind::Hot });
                    }
                }
            }
            assert_eq!(found.into_sorted(), expected.into_sorted(), "{asked}");
        }
    }
}
