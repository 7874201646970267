//! Which rows a search by text scores, and which it need not score because none is good enough.

use super::statement::Statement;
use crate::index::terms;

/// Rows that the first statement is to score, about.
const SCORED: u64 = 768;

/// Terms that are looked for in pairs: the rarest of those that are not looked for by
/// themselves.
const PAIRED: usize = 8;

/// How much more often two terms of a question are in one row than if they had
/// nothing to do with each other.
const TOGETHER: u64 = 4;

/// A term with so many times as many rows as are to be scored is not looked for by itself.
const TOO_MANY: u64 = 2;

/// The most sets of terms that one statement looks for, and the most terms that sets are made of:
/// that many calls may wait for one another on the stack.
const MOST_SETS: usize = 64;

/// The part of a score of so many terms by which bounds and the server's sums may differ from ours, which
/// are rounded otherwise.
pub(super) fn rounding(count: usize) -> f32 {
    terms::rounding(count).max(1e-4)
}

/// A term of a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Asked {
    /// How it is listed in the database.
    pub key: i64,
    /// The most that it can add to a score.
    pub weight: f32,
    /// The most that it does add to the score of a row: the weight times its greatest share.
    pub bound: f32,
    /// In how many rows it is.
    pub frequency: u64,
}

/// The rows that a statement scores: those with one of the first terms, or with all terms of one
/// of some sets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidates {
    /// The terms that some row has, the rarest first.
    terms: Vec<Asked>,
    /// How many of them are looked for by themselves.
    singly: usize,
    sets: Vec<Vec<i64>>,
    /// With those that were scored before, they are all rows that may have this score.
    complete_for: f32,
}

impl Candidates {
    /// All rows that share a term with the question.
    pub(super) fn all(mut terms: Vec<Asked>) -> Self {
        terms.retain(|term| term.frequency > 0);
        terms.sort_by_key(|term| (term.frequency, term.key));
        Self { singly: terms.len(), terms, sets: Vec::new(), complete_for: f32::NEG_INFINITY }
    }

    /// Some rows that are likely to be among the best `k` of `len` rows: those with one of the
    /// rarest terms, or with two of the next ones. Where even the rarest term has far too many
    /// rows, two terms have to be in one. If `admitted` of the rows pass a filter, so many more
    /// are scored as it leaves out.
    pub(super) fn likely(terms: Vec<Asked>, k: usize, len: u64, admitted: Option<u64>) -> Self {
        let all = Self::all(terms);
        let scored = SCORED.max(k as u64 * 3 / 2);
        let rows = admitted.map_or(scored, |admitted| scored.saturating_mul(len) / admitted.max(1));
        let singly = singly(&all.terms, rows);
        let rest = all.terms.get(singly..).unwrap_or_default();
        let least = usize::from(singly == 0);
        let sets = pairs(rest.get(..PAIRED).unwrap_or(rest), len, rows, least);
        let complete_for = if singly == all.terms.len() { f32::NEG_INFINITY } else { f32::INFINITY };
        Self { singly, sets, complete_for, ..all }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The rows that these leave out though they may have a score of `least`; `None` if there are
    /// none.
    pub(super) fn rest(&self, least: f32) -> Option<Self> {
        if least >= self.complete_for {
            return None;
        }
        let complete_for = least;
        let mut terms = self.terms.get(self.singly..).unwrap_or_default().to_vec();
        terms.sort_by(|a, b| b.bound.total_cmp(&a.bound).then(a.key.cmp(&b.key)));
        let least = least * (1.0 - rounding(self.terms.len()));
        let mut sets = if terms.len() <= MOST_SETS { reaching(&terms, least) } else { Vec::new() };
        if terms.len().max(sets.len()) > MOST_SETS {
            let singly = needed(&terms, least);
            return Some(Self { terms, singly, sets: Vec::new(), complete_for });
        }
        let looked_for = |set: &[i64]| self.sets.iter().any(|seen| seen.iter().all(|key| set.contains(key)));
        sets.retain(|set| !looked_for(set));
        (!sets.is_empty()).then_some(Self { terms, singly: 0, sets, complete_for })
    }

    /// The condition that lets these rows through alone.
    pub(super) fn condition(&self, made: &mut Statement) -> String {
        let singly: Vec<i64> = self.terms.iter().take(self.singly).map(|term| term.key).collect();
        let mut clauses = Vec::new();
        if !singly.is_empty() {
            clauses.push(format!("terms && {}", made.bind_list(singly)));
        }
        for set in &self.sets {
            clauses.push(format!("terms @> {}", made.bind_list(set.clone())));
        }
        format!("({})", clauses.join(" OR "))
    }
}

/// The smallest sets of `terms`, which descend by bound, whose bounds add up to `least`: a row
/// without all terms of one of them has a lower score. One more than [`MOST_SETS`] at most.
fn reaching(terms: &[Asked], least: f32) -> Vec<Vec<i64>> {
    let (mut sets, mut set) = (Vec::new(), Vec::new());
    add_reaching(terms, least, &mut set, &mut sets);
    sets
}

fn add_reaching(terms: &[Asked], least: f32, set: &mut Vec<i64>, sets: &mut Vec<Vec<i64>>) {
    let mut left: f32 = terms.iter().map(|term| term.bound).sum();
    let rounding = rounding(terms.len());
    for (at, term) in terms.iter().enumerate() {
        if left * (1.0 + rounding) < least || sets.len() > MOST_SETS {
            return;
        }
        left -= term.bound;
        set.push(term.key);
        if term.bound >= least {
            sets.push(set.clone());
        } else {
            add_reaching(terms.get(at + 1..).unwrap_or_default(), least - term.bound, set, sets);
        }
        set.pop();
    }
}

/// How many of `terms` have to be looked for by themselves, so that a row with the others alone has
/// a lower score than `least`.
fn needed(terms: &[Asked], least: f32) -> usize {
    let (rounding, mut left) = (rounding(terms.len()), 0.0);
    let is_too_low = |term: &&Asked| {
        left += term.bound;
        left * (1.0 + rounding) < least
    };
    terms.len() - terms.iter().rev().take_while(is_too_low).count()
}

/// How many of `frequencies` are together no more than `most`.
fn within(most: u64, frequencies: impl Iterator<Item = u64>) -> usize {
    let sums = frequencies.scan(0_u64, |sum, frequency| {
        *sum = sum.saturating_add(frequency);
        Some(*sum)
    });
    sums.take_while(|&sum| sum <= most).count()
}

/// How many of `terms`, the rarest first, are looked for by themselves so that about `rows`
/// rows are found: all of them, if that is all there is, or so many as fill a quarter. One
/// at least, unless it has [`TOO_MANY`] times as many rows and there is another to go with it.
fn singly(terms: &[Asked], rows: u64) -> usize {
    let frequencies = || terms.iter().map(|term| term.frequency);
    if within(rows, frequencies()) == terms.len() {
        return terms.len();
    }
    if terms.len() > 1 && within(rows.saturating_mul(TOO_MANY), frequencies()) == 0 {
        return 0;
    }
    within(rows / 4, frequencies()).max(1)
}

/// Pairs of `terms` that are in few of `len` rows together: about `rows` in all, and
/// `least` pairs at any rate.
fn pairs(terms: &[Asked], len: u64, rows: u64, least: usize) -> Vec<Vec<i64>> {
    let mut pairs: Vec<(u64, [i64; 2])> = Vec::new();
    for (at, term) in terms.iter().enumerate() {
        for other in terms.get(at + 1..).unwrap_or_default() {
            let expected =
                term.frequency.saturating_mul(other.frequency).saturating_mul(TOGETHER) / len.max(1);
            pairs.push((expected.min(term.frequency), [term.key, other.key]));
        }
    }
    // Of equal ones those with the rarest terms come first, whatever their keys are.
    pairs.sort_by_key(|&(expected, _)| expected);
    let few = within(rows, pairs.iter().map(|&(expected, _)| expected)).max(least);
    pairs.into_iter().take(few).map(|(_, pair)| pair.into()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(frequencies: &[u64]) -> Vec<Asked> {
        let term = |(&frequency, key): (&u64, i64)| Asked { key, weight: 1.0, bound: 1.0, frequency };
        frequencies.iter().zip(1..).map(term).collect()
    }

    #[test]
    fn as_many_terms_are_taken_as_fit() {
        for (most, count) in [(0, 0), (2, 1), (5, 2), (9, 2), (10, 3), (u64::MAX, 3)] {
            assert_eq!(within(most, [2, 3, 5].into_iter()), count, "{most}");
        }
        assert_eq!(within(u64::MAX, [u64::MAX, 1].into_iter()), 2);
    }

    #[test]
    fn the_rarest_pairs_come_first_and_few_enough_for_the_rows() {
        let terms = terms(&[10, 100, 1_000]);
        // Expected in 4, 40 (cut off at 10) and 400 (cut off at 100) rows.
        assert_eq!(pairs(&terms, 1_000, 1_000, 0), [[1, 2], [1, 3], [2, 3]]);
        assert_eq!(pairs(&terms, 1_000, 20, 0), [[1, 2], [1, 3]]);
        assert!(pairs(&terms, 1_000, 3, 0).is_empty() && pairs(&terms[..1], 1_000, 100, 1).is_empty());
        assert_eq!(pairs(&terms, 1_000, 3, 1), [[1, 2]]);
    }

    #[test]
    fn a_term_is_looked_for_by_itself_unless_it_has_too_many_rows() {
        let terms = terms(&[10, 100, 1_000]);
        for (rows, count) in [(2_000, 3), (440, 2), (60, 1), (12, 1), (5, 1), (4, 0)] {
            assert_eq!(singly(&terms, rows), count, "{rows}");
        }
        assert_eq!((singly(&terms[..1], 4), singly(&[], 4)), (1, 0));
    }

    #[test]
    fn nothing_is_left_once_every_term_was_looked_for() {
        assert_eq!(Candidates::all(terms(&[5, 6])).rest(f32::NEG_INFINITY), None);
        assert_eq!(Candidates::likely(terms(&[5, 6]), 10, 20, None).rest(0.1), None);
    }

    /// Before, the sets of its terms were searched to a depth that overflows a thread's stack.
    #[test]
    fn a_question_of_many_terms_is_answered_on_a_small_stack() {
        let many = terms(&vec![100_000; 20_000]);
        let search = move || Candidates::likely(many, 10, 1_000_000, None).rest(19_000.0);
        let small = std::thread::Builder::new().stack_size(256 << 10).spawn(search).unwrap();
        let rest = small.join().unwrap().unwrap();
        assert!((1_000..1_200).contains(&rest.singly), "{}", rest.singly);
        assert_eq!(rest.rest(19_000.0), None);
    }

    proptest! {
        #[test]
        fn a_row_that_is_left_out_has_a_lower_score(
            drawn in prop::collection::vec((1u64..100_000, 1u32..1_000), 1..14),
            least in 0.0f32..8.0,
            held in any::<u16>(),
        ) {
            let terms: Vec<Asked> = drawn
                .iter()
                .zip(1i64..)
                .map(|(&(frequency, bound), key)| {
                    let bound = bound as f32 / 500.0;
                    Asked { key, weight: bound, bound, frequency }
                })
                .collect();
            let first = Candidates::likely(terms.clone(), 10, 100_000, None);
            let has = |key: i64| held >> (key - 1) & 1 == 1;
            let scored = |candidates: &Candidates| {
                candidates.terms.iter().take(candidates.singly).any(|term| has(term.key))
                    || candidates.sets.iter().any(|set| set.iter().all(|&key| has(key)))
            };
            let score: f32 = terms.iter().filter(|term| has(term.key)).map(|term| term.bound).sum();
            let rest = first.rest(least);
            for least in [least, least * 1.1] {
                prop_assert_eq!(rest.as_ref().and_then(|rest| rest.rest(least)), None);
            }
            if score >= least && score > 0.0 {
                prop_assert!(scored(&first) || rest.as_ref().is_some_and(scored), "{first:?} {rest:?}");
            }
        }
    }
}
