//! Search by text: the inverted lists give the exact score of every memory that may be among the
//! best.
//!
//! The score of a text is the sum, over the question's terms, of the term's weight (its IDF) times
//! its [share](crate::encoder::Count::share) of the text, as in BM25. A list has the shares rounded
//! up to a byte, so that bounds of the scores are added up without looking up the lengths of the
//! texts. Only the texts whose bounds exceed the k-th best score so far are scored exactly. With few
//! rows, the second look costs more than it saves, and exact scores are added up at once.
//!
//! Terms are added up in descending order of weight. Once the k-th best score so far exceeds what the
//! last terms can add together, a memory that holds only these is no hit: their long lists are then
//! consulted for those memories that the other terms leave in question (MaxScore: Turtle and Flood,
//! "Query evaluation: strategies and optimizations", 1995).

use std::cell::RefCell;
use std::ops::Range;

use super::filter::Scope;
use super::text::{QueryTerm, TextQuery};
use super::top::{Scored, TopK};
use crate::encoder::{Count, Length};
use crate::key::TierKind;
use crate::segment::Part;
use crate::segment::postings::List;

/// Rows whose bounds are added up at a time: 64 KB of bounds stay in the L2 cache.
const BLOCK_ROWS: usize = 1 << 14;

/// The first block is shorter, and each of the next ones twice as long: in the first one, no score is
/// known that would rule out rows.
const FIRST_BLOCK_ROWS: usize = 1 << 12;

/// Looking a row up in a list takes about as long as adding so many postings.
const LOOKUP: usize = 48;

/// Of the rows that need several of the essential terms to be a hit, about one of so many has them.
const RARELY: usize = 32;

/// Up to so many rows, their lengths are in the caches: scores are added up in place of bounds.
const SCORED_ROWS: usize = 1 << 17;

/// Of many lists, the cost is compared for about so many numbers of essential ones.
const COMPARED: usize = 64;

type Bounds = [f32; BLOCK_ROWS];

thread_local! {
    /// Kept, so that a recall allocates none.
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { bounds: Box::new([0.0; BLOCK_ROWS]), candidates: Vec::new() });
}

/// The memory that a search works in.
struct Scratch {
    /// The bound of each row's score, in the place of the row modulo their number; 0 between blocks.
    bounds: Box<Bounds>,
    /// The rows that may be among the best, each after its bound. The bits of positive numbers have
    /// their order.
    candidates: Vec<(u32, u16)>,
}

/// Offers the best of `scope` for `query` to `top`.
pub fn search(scope: &Scope<'_>, query: &TextQuery, top: &mut TopK) {
    let rows: usize = scope.parts.iter().map(|part| part.rows().len()).sum();
    search_by(rows <= SCORED_ROWS, scope, query, top);
}

/// As [`search`]. Scores are added up in place of bounds if `is_scored`.
fn search_by(is_scored: bool, scope: &Scope<'_>, query: &TextQuery, top: &mut TopK) {
    if top.k() == 0 {
        return;
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let mut size = FIRST_BLOCK_ROWS;
        for part in scope.parts {
            let mut lists = lists(part, query.terms());
            let (admits, rows) = (scope.filter.admits(part), part.rows());
            let (mut start, end) = (rows.start as usize, rows.end as usize);
            while start < end && !lists.is_empty() {
                let rows = start..end.min(start + size);
                start = rows.end;
                let block = Block::new(part, rows, &mut lists, top.threshold(), is_scored);
                block.search(scratch, &admits, scope.tier, top);
                size = BLOCK_ROWS.min(2 * size);
            }
        }
    });
}

/// The postings of one term of the question.
struct Listed<'a> {
    /// Those of the block.
    list: List<'a>,
    /// Those behind the block.
    later: List<'a>,
    weight: f32,
}

impl Listed<'_> {
    /// The most that a row can have of a share in 255ths.
    fn bound(&self, share: u8) -> f32 {
        self.weight / 255.0 * f32::from(share)
    }

    /// No row has more of this term.
    fn highest(&self) -> f32 {
        self.bound(self.list.highest)
    }

    fn score(&self, count: u8, length: Length) -> f32 {
        self.weight * Count::from_byte(count).share(length)
    }

    fn add_bounds(&self, bounds: &mut Bounds) {
        for (&row, &share) in self.list.rows.iter().zip(self.list.shares) {
            bounds[usize::from(row) % BLOCK_ROWS] += self.bound(share);
        }
    }

    fn add_scores(&self, lengths: &[u16], scores: &mut Bounds) {
        for (&row, &count) in self.list.rows.iter().zip(self.list.counts) {
            if let Some(&length) = lengths.get(usize::from(row)) {
                scores[usize::from(row) % BLOCK_ROWS] += self.score(count, length.into());
            }
        }
    }
}

/// The lists of a part, in the order of the question's terms.
fn lists<'a>(part: &'a Part, terms: &[QueryTerm]) -> Vec<Listed<'a>> {
    let listed = |&QueryTerm { term, weight }: &QueryTerm| {
        let later = part.list(term);
        (!later.rows.is_empty()).then_some(Listed { list: later, later, weight })
    };
    terms.iter().filter_map(listed).collect()
}

/// The lists of the rows of one block.
struct Block<'a> {
    part: &'a Part,
    rows: Range<usize>,
    /// Those that are added up for all rows. A row with others alone is no hit.
    essential: &'a [Listed<'a>],
    /// The others.
    others: &'a [Listed<'a>],
    /// The most that a row can have of the others.
    left: f32,
    /// See [`rounding`].
    rounding: f32,
    /// Whether scores are added up in place of bounds.
    is_scored: bool,
}

impl<'a> Block<'a> {
    /// Takes the postings of a block's rows off `lists`. A hit's score is at least `threshold`.
    fn new(
        part: &'a Part,
        rows: Range<usize>,
        lists: &'a mut [Listed<'_>],
        threshold: f32,
        is_scored: bool,
    ) -> Self {
        let all = rows.start..part.rows().end as usize;
        for listed in lists.iter_mut() {
            let here = listed.later.count_below(rows.end, &all);
            (listed.list, listed.later) = listed.later.split_at(here);
        }
        let rounding = rounding(lists.len());
        let (essential, others) = lists.split_at(count_essential(lists, threshold, rounding));
        let left = others.iter().map(Listed::highest).sum();
        Self { part, rows, essential, others, left, rounding, is_scored }
    }

    fn search(&self, scratch: &mut Scratch, admits: impl Fn(u32) -> bool, tier: TierKind, top: &mut TopK) {
        for listed in self.essential {
            if self.is_scored {
                listed.add_scores(&self.part.segment.lengths, &mut scratch.bounds);
            } else {
                listed.add_bounds(&mut scratch.bounds);
            }
        }
        // While no score is known that would rule out rows, those with the highest bounds come first.
        let gathers = !self.is_scored && top.len() < top.k();
        let candidates = &mut scratch.candidates;
        let mut enough = self.least(top.threshold(), self.left);
        for listed in self.essential {
            for &row in listed.list.rows {
                // 0 if it was looked at before.
                let bound = std::mem::take(&mut scratch.bounds[usize::from(row) % BLOCK_ROWS]);
                if bound < enough || !admits(row.into()) {
                    continue;
                }
                if gathers {
                    candidates.push((bound.to_bits(), row));
                } else if self.offer(row, bound, tier, top) {
                    enough = self.least(top.threshold(), self.left);
                }
            }
        }
        if top.k() < candidates.len() {
            candidates.select_nth_unstable_by(top.k(), |a, b| b.cmp(a));
        }
        for (bound, row) in candidates.drain(..) {
            let bound = f32::from_bits(bound);
            if bound >= self.least(top.threshold(), self.left) {
                self.offer(row, bound, tier, top);
            }
        }
    }

    /// Offers a row to `top` if its score is not below the threshold, and returns whether it did.
    fn offer(&self, row: u16, bound: f32, tier: TierKind, top: &mut TopK) -> bool {
        let Some(score) = self.score(row, bound, top.threshold()) else { return false };
        let id = self.part.segment.id(row.into()).unwrap_or_default();
        top.push(Scored { score, id, tier });
        true
    }

    /// Returns the score of a row, or `None` if it is below `threshold`. `bound` is what the row has of the
    /// essential terms, or the most that it may have.
    fn score(&self, row: u16, mut bound: f32, threshold: f32) -> Option<f32> {
        let mut left = self.left;
        for listed in self.others {
            if bound < self.least(threshold, left) {
                return None;
            }
            left -= listed.highest();
            bound += if self.is_scored { self.score_of(listed, row) } else { self.bound_of(listed, row) };
        }
        let score = if self.is_scored {
            bound
        } else if bound < self.least(threshold, 0.0) {
            return None;
        } else {
            let all = self.essential.iter().chain(self.others);
            all.fold(0.0, |sum, listed| sum + self.score_of(listed, row))
        };
        (score >= threshold).then_some(score)
    }

    fn least(&self, threshold: f32, left: f32) -> f32 {
        least(threshold, left, self.rounding)
    }

    /// What one term adds to the score of a row.
    fn score_of(&self, listed: &Listed<'_>, row: u16) -> f32 {
        let count = listed.list.find(row, &self.rows).and_then(|at| listed.list.counts.get(at));
        count.map_or(0.0, |&count| listed.score(count, self.part.segment.length(row.into())))
    }

    /// The most that one term may add to the score of a row.
    fn bound_of(&self, listed: &Listed<'_>, row: u16) -> f32 {
        let share = listed.list.find(row, &self.rows).and_then(|at| listed.list.shares.get(at));
        share.map_or(0.0, |&share| listed.bound(share))
    }
}

/// By how much of a score a bound may fall short of it, because so many terms are rounded in each of them:
/// the sum of n numbers is wrong by n/2 epsilons at most (Higham, "Accuracy and stability of numerical
/// algorithms", 2002, section 4.2), and a score, its bound and what is left are three sums.
pub(crate) fn rounding(terms: usize) -> f32 {
    2.0 * f32::EPSILON * (terms + 4) as f32
}

/// The least bound with which a row may reach `threshold`, if it may have `left` more.
fn least(threshold: f32, left: f32, rounding: f32) -> f32 {
    (threshold * (1.0 - rounding) - left).max(f32::MIN_POSITIVE)
}

/// How many of `lists` are best added up, so that the others together stay below `threshold`. The
/// more are added up, the fewer rows have to be looked up in the others.
fn count_essential(lists: &[Listed<'_>], threshold: f32, rounding: f32) -> usize {
    let (mut best, mut cheapest, mut left) = (lists.len(), usize::MAX, 0.0);
    let step = lists.len().div_ceil(COMPARED).max(1);
    for count in (0..=lists.len()).rev() {
        let (essential, others) = lists.split_at(count);
        left += others.first().map_or(0.0, Listed::highest);
        if !others.is_empty() && left * (1.0 + rounding) >= threshold {
            break;
        }
        if !(lists.len() - count).is_multiple_of(step) {
            continue;
        }
        let enough = least(threshold, left, rounding);
        let (mut added, mut looked_up) = (0, 0);
        for listed in essential {
            let postings = listed.list.rows.len();
            added += postings;
            looked_up += if listed.highest() >= enough { postings } else { postings / RARELY };
        }
        let cost = if others.is_empty() { added } else { added + LOOKUP * looked_up };
        if cost < cheapest {
            (best, cheapest) = (count, cost);
        }
    }
    best
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

    fn memory(text: &TermCounts, id: u64) -> Arc<PreparedMemory> {
        let row = Row {
            id: MemoryId(id),
            created: id as i64 % 10,
            importance: 1.0,
            accesses: 1,
            length: text.length(),
            supplied: false,
            terms: text.terms().into(),
            sketch: [0].into(),
        };
        Arc::new(PreparedMemory { row, vector: None, record: [0].into() })
    }

    /// Before, the margin for rounding did not grow with the number of terms: of two equal texts in a form of 300
    /// words, the older one was found.
    #[test]
    fn the_newest_of_equal_texts_is_found_however_many_terms_are_added_up() {
        let filter = RowFilter::default();
        // Terms of equal weights are all rounded in the same direction, and of a text of 800 words, each share is
        // just what its list says.
        for own in 2..12 {
            for held_by in [13_854, 13_867, 13_971, 13_997] {
                let form = 800 - own;
                let own_words = (0..own).map(|word| (format!("own{word}x"), 2));
                let form_words = (0..form).map(|word| (format!("form{word}x"), held_by));
                let words: Vec<(String, u64)> = own_words.chain(form_words).collect();
                let term = |(word, frequency): &(String, u64)| (Term::word(word), *frequency);
                let statistics = Statistics(words.iter().map(term).collect(), 14_000);
                let asked: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
                let query = TextQuery::new(&asked.join(" "), &statistics).unwrap();
                let text = TermCounts::new(words.iter().map(|word| term(word).0).collect(), Vec::new());
                let parts = [0, 1].map(|id| Part::new(Segment::loose(vec![memory(&text, id)])));
                let scope = Scope { parts: &parts, tier: TierKind::Hot, filter: &filter };
                for is_scored in [false, true] {
                    let mut found = TopK::new(1);
                    search_by(is_scored, &scope, &query, &mut found);
                    let [best] = found.into_sorted()[..] else { panic!("nothing found") };
                    assert_eq!(
                        (best.id.0, best.score),
                        (1, query.score(&text)),
                        "{own} words, {form} in {held_by} texts"
                    );
                }
            }
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
            let memories = texts[first..].iter().zip(first as u64..).map(|(text, id)| memory(text, id));
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
            let mut found = [false, true].map(|is_scored| (is_scored, TopK::with_ties(k, 20)));
            let mut expected = TopK::with_ties(k, 20);
            for (first, part) in &parts {
                let scope = Scope { parts: std::slice::from_ref(part), tier: TierKind::Hot, filter };
                for (is_scored, found) in &mut found {
                    search_by(*is_scored, &scope, &query, found);
                }
                let admits = filter.admits(part);
                for row in (0..part.segment.len() as u32).filter(|&row| admits(row)) {
                    let id = first + row as usize;
                    let score = query.score(&texts[id]);
                    if score > 0.0 {
                        expected.push(Scored { score, id: MemoryId(id as u64), tier: TierKind::Hot });
                    }
                }
            }
            let expected = expected.into_sorted();
            for (is_scored, found) in found {
                assert_eq!(found.into_sorted(), expected, "{asked}, scored: {is_scored}");
            }
        }
    }
}
