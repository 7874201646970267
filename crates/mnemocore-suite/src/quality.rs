//! The quality of a ranking, against known answers or against an exact ranking.
//!
//! Every latency of a search is reported with a figure from here, because speed alone says little.

use std::collections::HashSet;

use criterion_gate::random::Random;

/// Share of the relevant items that are among the first `k` of `ranked`, 0 to 1.
/// `None` when nothing is relevant: such a question says nothing about recall.
///
/// ```
/// use mnemocore_suite::quality::recall;
///
/// assert_eq!(recall(&[7, 3, 9, 1], &[3, 1], 2), Some(0.5));
/// ```
pub fn recall(ranked: &[u32], relevant: &[u32], k: usize) -> Option<f64> {
    let relevant: HashSet<u32> = relevant.iter().copied().collect();
    let found: HashSet<&u32> = ranked.iter().take(k).filter(|item| relevant.contains(item)).collect();
    (!relevant.is_empty()).then(|| found.len() as f64 / relevant.len() as f64)
}

/// Normalized discounted cumulative gain of the first `k`, for binary relevance, 0 to 1. `None`
/// when nothing is relevant.
///
/// `DCG = sum of 1 / log2(rank + 1)` over the ranks (from 1) of relevant items, and
/// `nDCG = DCG / DCG of all relevant items at the top` (Jarvelin and Kekalainen,
/// ACM TOIS 20(4), 2002). An item that appears twice counts once.
pub fn ndcg(ranked: &[u32], relevant: &[u32], k: usize) -> Option<f64> {
    let mut open: HashSet<u32> = relevant.iter().copied().collect();
    let ideal: f64 = (0..open.len().min(k)).map(discount).sum();
    let gain: f64 = ranked
        .iter()
        .take(k)
        .enumerate()
        .filter(|(_, item)| open.remove(item))
        .map(|(position, _)| discount(position))
        .sum();
    (ideal > 0.0).then(|| gain / ideal)
}

/// The gain at a position, counted from 0.
fn discount(position: usize) -> f64 {
    1.0 / (position as f64 + 2.0).log2()
}

/// Area under the ROC curve: the probability that a score out of `positive`
/// exceeds one out of `negative`, ties counted half. 0.5 separates nothing, 1
/// separates completely; `None` when either is empty or a score is not a number.
///
/// The Mann-Whitney U statistic over the product of the sizes, by ranks.
pub fn auc(positive: &[f64], negative: &[f64]) -> Option<f64> {
    if positive.is_empty() || negative.is_empty() {
        return None;
    }
    let labelled = |scores: &[f64], label: bool| scores.iter().map(move |&score| (score, label)).collect();
    let mut all: Vec<(f64, bool)> = labelled(positive, true);
    let negatives: Vec<(f64, bool)> = labelled(negative, false);
    all.extend(negatives);
    if all.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    // Adding 0 makes -0 equal to 0 for `total_cmp`.
    all.sort_by(|a, b| (a.0 + 0.0).total_cmp(&(b.0 + 0.0)));

    let (mut below, mut wins) = (0.0, 0.0);
    for ties in all.chunk_by(|a, b| a.0 == b.0) {
        let positives = ties.iter().filter(|(_, label)| *label).count() as f64;
        let negatives = ties.len() as f64 - positives;
        wins += positives * (below + negatives / 2.0);
        below += negatives;
    }
    Some(wins / (positive.len() as f64 * negative.len() as f64))
}

/// Share of the exact top `k` that an approximate search found, 0 to 1: recall@k
/// against the exact scan. `None` when the exact result is empty or `k` is 0.
///
/// Both are lists of (item, score), best first; `score_of` gives the exact score
/// of any item. Which of several items with the score of the k-th are in the exact
/// list is chance, so every found item with at least that score counts.
pub fn overlap(found: &[u32], exact: &[(u32, f32)], k: usize, score_of: impl Fn(u32) -> f32) -> Option<f64> {
    let top = exact.get(..k.min(exact.len()))?;
    let &(_, threshold) = top.last()?;
    let members: HashSet<u32> = top.iter().map(|&(item, _)| item).collect();
    let hits: HashSet<u32> = found
        .iter()
        .take(k)
        .copied()
        .filter(|&item| members.contains(&item) || score_of(item) >= threshold)
        .collect();
    Some(hits.len().min(top.len()) as f64 / top.len() as f64)
}

/// The mean, or `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A difference of means with an interval for it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// Mean of `a - b`.
    pub mean: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Difference {
    /// Whether the interval lies on one side of zero.
    pub fn is_significant(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// Bootstrap interval of the mean of `a - b`, whose elements belong together pair
/// by pair: the same question, answered by two systems. `None` unless both are of
/// the same length and not empty.
///
/// `resamples` draws with replacement of whole pairs; the bounds are the
/// percentiles that leave `(1 - confidence) / 2` outside on either side (Efron and
/// Tibshirani 1993, chapter 13). The same seed gives the same interval.
pub fn paired_bootstrap(
    a: &[f64],
    b: &[f64],
    resamples: usize,
    confidence: f64,
    seed: u64,
) -> Option<Difference> {
    if a.len() != b.len() {
        return None;
    }
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let observed = mean(&differences)?;
    let mut random = Random::new(seed);
    let resample = |_| {
        let draws = (0..differences.len()).filter_map(|_| random.pick(&differences));
        draws.sum::<f64>() / differences.len() as f64
    };
    interval(observed, (0..resamples.max(1)).map(resample).collect(), confidence)
}

/// Bootstrap interval of the difference of two areas under the ROC curve, of
/// systems that scored the same questions; each is given as (positive, negative).
/// `None` unless [`auc`] exists for both and their sizes agree.
///
/// Positives and negatives are drawn apart, each as a pair of both systems'
/// scores; the bounds are those of [`paired_bootstrap`].
pub fn paired_auc_bootstrap(
    a: (&[f64], &[f64]),
    b: (&[f64], &[f64]),
    resamples: usize,
    confidence: f64,
    seed: u64,
) -> Option<Difference> {
    if (a.0.len(), a.1.len()) != (b.0.len(), b.1.len()) {
        return None;
    }
    let observed = auc(a.0, a.1)? - auc(b.0, b.1)?;
    let pairs = |a: &[f64], b: &[f64]| a.iter().copied().zip(b.iter().copied()).collect::<Vec<_>>();
    let (positive, negative) = (pairs(a.0, b.0), pairs(a.1, b.1));
    let mut random = Random::new(seed);
    let mut draw = |pairs: &[(f64, f64)]| -> (Vec<f64>, Vec<f64>) {
        (0..pairs.len()).filter_map(|_| random.pick(pairs).copied()).unzip()
    };
    let resample = |_| {
        let ((a_positive, b_positive), (a_negative, b_negative)) = (draw(&positive), draw(&negative));
        Some(auc(&a_positive, &a_negative)? - auc(&b_positive, &b_negative)?)
    };
    interval(observed, (0..resamples.max(1)).filter_map(resample).collect(), confidence)
}

/// The interval that leaves `(1 - confidence) / 2` of `resampled` outside on
/// either side.
fn interval(mean: f64, mut resampled: Vec<f64>, confidence: f64) -> Option<Difference> {
    resampled.sort_by(f64::total_cmp);
    let outside = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    Some(Difference { mean, low: quantile(&resampled, outside)?, high: quantile(&resampled, 1.0 - outside)? })
}

/// The value below which `share` of the sorted values lie: the nearest of them.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} is not {b}");
    }

    #[test]
    fn recall_by_hand() {
        close(recall(&[1, 2, 3], &[3, 9], 3), 0.5);
        close(recall(&[1, 2, 3], &[3, 9], 2), 0.0);
        close(recall(&[3, 3, 9], &[3, 9, 3], 3), 1.0);
        close(recall(&[], &[1], 5), 0.0);
        assert_eq!(recall(&[1], &[], 5), None);
    }

    #[test]
    fn ndcg_by_hand() {
        // Relevant at ranks 1 and 3: (1 + 1/2) / (1 + 1/log2 3).
        close(ndcg(&[5, 1, 6], &[5, 6], 10), 1.5 / (1.0 + 1.0 / 3f64.log2()));
        close(ndcg(&[5, 6], &[6, 5], 10), 1.0);
        close(ndcg(&[1, 5], &[5], 1), 0.0);
        // More relevant items than places: the ideal has k of them.
        close(ndcg(&[1, 2], &[1, 2, 3, 4], 2), 1.0);
        // A repeated item is no second answer.
        close(ndcg(&[5, 5], &[5, 6], 10), 1.0 / (1.0 + 1.0 / 3f64.log2()));
        assert_eq!(ndcg(&[1], &[], 10), None);
    }

    #[test]
    fn auc_by_hand() {
        close(auc(&[3.0, 2.0], &[1.0, 0.0]), 1.0);
        close(auc(&[0.0], &[1.0]), 0.0);
        close(auc(&[1.0, 1.0], &[1.0]), 0.5);
        close(auc(&[0.0, 2.0], &[-0.0, 1.0]), 0.625);
        assert_eq!(auc(&[], &[1.0]), None);
        assert_eq!(auc(&[f64::NAN], &[1.0]), None);
    }

    #[test]
    fn overlap_counts_ties_at_the_threshold_and_no_more_than_k() {
        let exact = [(1, 9.0), (2, 5.0), (3, 5.0), (4, 1.0)];
        let score = |item: u32| match item {
            1 => 9.0,
            2 | 3 | 7 => 5.0,
            _ => 1.0,
        };
        close(overlap(&[1, 2], &exact, 2, score), 1.0);
        close(overlap(&[1, 7], &exact, 2, score), 1.0);
        close(overlap(&[1, 4], &exact, 2, score), 0.5);
        close(overlap(&[7, 7], &exact, 2, score), 0.5);
        close(overlap(&[1], &exact, 10, score), 0.25);
        assert_eq!(overlap(&[1], &[], 10, score), None);
        assert_eq!(overlap(&[1], &exact, 0, score), None);
    }

    #[test]
    fn bootstrap_of_areas_sees_a_clear_difference_and_no_false_one() {
        let numbers = |from: u32| (0..60).map(|i| f64::from(from + i * 7 % 60)).collect::<Vec<_>>();
        let (high, low) = (numbers(40), numbers(0));
        let good = (high.as_slice(), low.as_slice());
        let poor = (low.as_slice(), high.as_slice());
        let difference = paired_auc_bootstrap(good, poor, 500, 0.95, 1).unwrap();
        assert!(difference.low > 0.5 && difference.is_significant());
        let none = paired_auc_bootstrap(good, good, 500, 0.95, 1).unwrap();
        close(Some(none.mean), 0.0);
        assert!(!none.is_significant());
        assert_eq!(paired_auc_bootstrap(good, (&[1.0], &[0.0]), 500, 0.95, 1), None);
    }

    #[test]
    fn bootstrap_is_seeded_and_sees_a_clear_difference() {
        let a: Vec<f64> = (0..200).map(|i| f64::from(i % 7)).collect();
        let b: Vec<f64> = (0..200).map(|i| f64::from(i % 7) - 0.5 - f64::from(i % 3) / 10.0).collect();
        let interval = paired_bootstrap(&a, &b, 2000, 0.95, 1).unwrap();
        assert!(interval.is_significant() && interval.low < interval.mean && interval.mean < interval.high);
        assert_eq!(paired_bootstrap(&a, &b, 2000, 0.95, 1), Some(interval));
        // Standard error of the mean difference, by the textbook: sd / sqrt(n).
        let variance = (0..200).map(|i| (0.6 - 0.5 - f64::from(i % 3) / 10.0).powi(2)).sum::<f64>() / 200.0;
        let half_width = 1.96 * (variance / 200.0).sqrt();
        assert!(((interval.high - interval.low) / 2.0 / half_width - 1.0).abs() < 0.1);
        assert!(!paired_bootstrap(&a, &a, 100, 0.95, 1).unwrap().is_significant());
        assert_eq!(paired_bootstrap(&a, &b[..9], 100, 0.95, 1), None);
        assert_eq!(paired_bootstrap(&[], &[], 100, 0.95, 1), None);
    }

    /// Every pair compared with every other.
    fn naive_auc(positive: &[f64], negative: &[f64]) -> f64 {
        let pairs = positive.iter().flat_map(|p| negative.iter().map(move |n| (p, n)));
        let wins: f64 = pairs
            .map(|(p, n)| {
                if p > n {
                    1.0
                } else if p == n {
                    0.5
                } else {
                    0.0
                }
            })
            .sum();
        wins / (positive.len() * negative.len()) as f64
    }

    fn naive_ndcg(ranked: &[u32], relevant: &[u32], k: usize) -> f64 {
        let dcg = |list: &[u32]| {
            let mut total = 0.0;
            for (i, item) in list.iter().enumerate().take(k) {
                if relevant.contains(item) && !list[..i].contains(item) {
                    total += 1.0 / (i as f64 + 2.0).log2();
                }
            }
            total
        };
        let mut ideal = relevant.to_vec();
        ideal.sort_unstable();
        ideal.dedup();
        dcg(ranked) / dcg(&ideal)
    }

    proptest! {
        #[test]
        fn auc_equals_naive(
            positive in prop::collection::vec(-4i8..4, 1..40),
            negative in prop::collection::vec(-4i8..4, 1..40),
        ) {
            let positive: Vec<f64> = positive.into_iter().map(f64::from).collect();
            let negative: Vec<f64> = negative.into_iter().map(f64::from).collect();
            close(auc(&positive, &negative), naive_auc(&positive, &negative));
        }

        #[test]
        fn recall_and_ndcg_equal_naive(
            ranked in prop::collection::vec(0u32..20, 0..30),
            relevant in prop::collection::vec(0u32..20, 1..10),
            k in 1usize..15,
        ) {
            let mut distinct = relevant.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let head = &ranked[..k.min(ranked.len())];
            let found = distinct.iter().filter(|item| head.contains(item)).count();
            close(recall(&ranked, &relevant, k), found as f64 / distinct.len() as f64);
            close(ndcg(&ranked, &relevant, k), naive_ndcg(&ranked, &relevant, k));
        }

        #[test]
        fn an_exact_search_overlaps_itself_completely(
            scores in prop::collection::vec(0u8..6, 1..40),
            k in 1usize..15,
        ) {
            let mut exact: Vec<(u32, f32)> =
                (0..).zip(scores.iter().map(|&score| f32::from(score))).collect();
            // Ties in the other order than the list under test.
            exact.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let mut other = exact.clone();
            other.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
            let found: Vec<u32> = other.iter().map(|&(item, _)| item).take(k).collect();
            let score_of = |item: u32| f32::from(scores[item as usize]);
            close(overlap(&found, &exact, k, score_of), 1.0);
        }
    }
}
