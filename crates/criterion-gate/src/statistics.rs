//! Statistics of saved samples: medians, the bootstrap of their ratio, and Holm's correction.

use crate::random::Random;

/// Resamples of a bootstrap. The smallest possible p is 1 / (`RESAMPLES` + 1), small enough for a
/// family of 500 at 5 %.
pub const RESAMPLES: usize = 9_999;
/// The seed is fixed, so the same samples give the same verdict.
pub(super) const SEED: u64 = 0x6d6e_656d_6f67_6174;

/// Returns the median, which is the mean of the middle two for an even number; `None` for no
/// values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(lower.midpoint(upper))
}

/// Ranks that give the medians of resamples of `count` values.
///
/// A resample is drawn with replacement from the sorted values. Its median depends on the drawn
/// ranks alone, so the ranks serve any list of that length.
#[derive(Clone, Debug)]
pub struct Resamples {
    /// The ranks of the middle two of each resample.
    middles: Vec<[u32; 2]>,
    count: usize,
}

impl Resamples {
    /// Draws the ranks of [`RESAMPLES`] resamples. Different streams are independent.
    pub fn new(count: usize, stream: u64) -> Self {
        let mut random = Random::stream(SEED, stream);
        let mut ranks = vec![0; count];
        let middles = (0..RESAMPLES).map(|_| middle_ranks(&mut ranks, &mut random));
        Self { middles: if count == 0 { Vec::new() } else { middles.collect() }, count }
    }

    fn medians<'a>(&'a self, sorted: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        let value = |rank: u32| sorted.get(rank as usize).copied().unwrap_or(f64::NAN);
        self.middles.iter().map(move |[lower, upper]| value(*lower).midpoint(value(*upper)))
    }
}

/// Draws ranks and returns the middle two of them.
fn middle_ranks(ranks: &mut [u32], random: &mut Random) -> [u32; 2] {
    let count = ranks.len() as u32;
    ranks.fill_with(|| random.below(count));
    if ranks.is_empty() {
        return [0, 0];
    }
    let (lower, upper, _) = ranks.select_nth_unstable(count as usize / 2);
    let upper = *upper;
    if count.is_multiple_of(2) { [lower.iter().copied().max().unwrap_or(upper), upper] } else { [upper; 2] }
}

/// The bootstrap distribution of ln(median of the new / median of the old), where
/// each side is resampled by itself.
///
/// Intervals are by percentiles (Efron and Tibshirani, "An Introduction to the
/// Bootstrap", 1993, chapter 13); p values count as in Davison and Hinkley,
/// "Bootstrap Methods and their Application", 1997, section 4.2.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// ln of the ratio of the medians themselves.
    pub estimate: f64,
    ratios: Vec<f64>,
}

impl Bootstrap {
    /// Resamples both sides; `None` unless both have values, all finite and above 0.
    pub fn log_ratio(old: &[f64], new: &[f64]) -> Option<Self> {
        Self::with(&Resamples::new(old.len(), 0), &Resamples::new(new.len(), 1), old, new)
    }

    /// As [`Bootstrap::log_ratio`], with resamples of the right lengths; `None` also
    /// for others.
    pub fn with(of_old: &Resamples, of_new: &Resamples, old: &[f64], new: &[f64]) -> Option<Self> {
        let usable = |values: &[f64]| values.iter().all(|value| value.is_finite() && *value > 0.0);
        if (of_old.count, of_new.count) != (old.len(), new.len()) || !usable(old) || !usable(new) {
            return None;
        }
        let [old, new] = [old, new].map(|values| {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted
        });
        let estimate = (median(&new)? / median(&old)?).ln();
        let ratios = of_old.medians(&old).zip(of_new.medians(&new)).map(|(old, new)| (new / old).ln());
        Some(Self { estimate, ratios: ratios.collect() })
    }

    /// The value that a `share` of the distribution does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut ratios = self.ratios.clone();
        let rank = ((share * ratios.len() as f64).ceil() as usize).clamp(1, ratios.len()) - 1;
        *ratios.select_nth_unstable_by(rank, f64::total_cmp).1
    }

    /// p of "the true value is at most `bound`".
    pub fn p_at_most(&self, bound: f64) -> f64 {
        self.share(|ratio| ratio <= bound)
    }

    /// p of "the true value is at least `bound`".
    pub fn p_at_least(&self, bound: f64) -> f64 {
        self.share(|ratio| ratio >= bound)
    }

    fn share(&self, holds: impl Fn(f64) -> bool) -> f64 {
        let count = self.ratios.iter().filter(|ratio| holds(**ratio)).count();
        (count + 1) as f64 / (self.ratios.len() + 1) as f64
    }
}

/// Adjusts the p values of one family (Holm, "A Simple Sequentially Rejective Multiple Test
/// Procedure", Scandinavian Journal of Statistics 6, 1979). If those at most alpha are rejected,
/// the chance of any false rejection is at most alpha.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = p_values.iter().copied().enumerate().collect();
    order.sort_by(|(_, left), (_, right)| left.total_cmp(right));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, (index, p)) in order.into_iter().enumerate() {
        largest = largest.max((p * (p_values.len() - rank) as f64).min(1.0));
        if let Some(place) = adjusted.get_mut(index) {
            *place = largest;
        }
    }
    adjusted
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn close(got: f64, expected: f64, tolerance: f64) {
        assert!((got - expected).abs() <= tolerance, "{got} is not {expected}");
    }

    #[test]
    fn medians_are_those_of_the_textbook() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn holms_adjustment_is_the_published_one() {
        // p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") of R.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (got, expected) in adjusted.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(got, expected, 1e-12);
        }
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn the_bootstrap_of_constants_is_one_point() {
        let bootstrap = Bootstrap::log_ratio(&[2.0; 10], &[3.0; 10]).unwrap();
        for share in [0.0, 0.5, 1.0] {
            close(bootstrap.quantile(share), 1.5f64.ln(), 1e-12);
        }
        close(bootstrap.p_at_most(0.1), 1e-4, 1e-9);
        close(bootstrap.p_at_most(0.5), 1.0, 1e-9);
        for bad in [&[][..], &[0.0], &[f64::NAN], &[-1.0], &[f64::INFINITY]] {
            assert!(Bootstrap::log_ratio(&[1.0], bad).is_none(), "{bad:?}");
            assert!(Bootstrap::log_ratio(bad, &[1.0]).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn resampled_medians_are_distributed_as_theory_says() {
        // For odd n: P(median* <= k-th value) = P(Binomial(n, k / n) > n / 2),
        // Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979.
        const N: usize = 7;
        let values: Vec<f64> = (1..=N).map(|k| k as f64).collect();
        let resamples = Resamples::new(N, 3);
        for k in 1..N {
            let share = k as f64 / N as f64;
            let choose = |r: usize| (0..r).fold(1.0, |all, i| all * (N - i) as f64 / (i + 1) as f64);
            let exact: f64 = (N / 2 + 1..=N)
                .map(|r| choose(r) * share.powi(r as i32) * (1.0 - share).powi((N - r) as i32))
                .sum();
            let seen = resamples.medians(&values).filter(|median| *median <= k as f64).count();
            close(seen as f64 / RESAMPLES as f64, exact, 0.02);
        }
    }

    /// Holm as he wrote it: step down until one is not rejected.
    fn naive_holm(p_values: &[f64], alpha: f64) -> Vec<bool> {
        let mut rejected = vec![false; p_values.len()];
        loop {
            let left: Vec<usize> = (0..p_values.len()).filter(|i| !rejected[*i]).collect();
            let smallest = left.iter().copied().min_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
            match smallest {
                Some(i) if p_values[i] <= alpha / left.len() as f64 => rejected[i] = true,
                _ => return rejected,
            }
        }
    }

    proptest! {
        #[test]
        fn holm_rejects_what_stepping_down_rejects(p_values in prop::collection::vec(0.0f64..0.2, 0..12)) {
            let rejected: Vec<bool> = holm(&p_values).iter().map(|p| *p <= 0.05).collect();
            prop_assert_eq!(rejected, naive_holm(&p_values, 0.05));
        }

        #[test]
        fn resamples_have_the_medians_of_lists_drawn_naively(
            mut values in prop::collection::vec(0.1f64..1e6, 1..40),
            seed in any::<u64>(),
        ) {
            values.sort_by(f64::total_cmp);
            let mut ranks = vec![0; values.len()];
            let middles = middle_ranks(&mut ranks, &mut Random::new(seed));
            let mut random = Random::new(seed);
            let drawn: Vec<f64> =
                values.iter().map(|_| values[random.below(values.len() as u32) as usize]).collect();
            let [lower, upper] = middles.map(|rank| values[rank as usize]);
            prop_assert_eq!(Some(lower.midpoint(upper)), median(&drawn));
        }

    }

    proptest! {
        // Each draws forty thousand resamples.
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn swapping_the_sides_turns_the_estimate_around(
            old in prop::collection::vec(1.0f64..100.0, 1..30),
            new in prop::collection::vec(1.0f64..100.0, 1..30),
        ) {
            let there = Bootstrap::log_ratio(&old, &new).unwrap();
            let back = Bootstrap::log_ratio(&new, &old).unwrap();
            prop_assert!((there.estimate + back.estimate).abs() < 1e-9);
            prop_assert!(there.quantile(0.05) <= there.quantile(0.95));
        }
    }
}
