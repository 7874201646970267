//! Statistics of paired runs: Student's t, which clears a benchmark with a few pairs that agree,
//! and a randomization test of the faster halves, which is robust to a busy neighbor.
//!
//! A pair is a run of the baseline's executable and one of the candidate's, as the
//! logarithms of what they measured.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::statistics::{RESAMPLES, SEED};
use crate::random::Random;

/// The random numbers of the swaps; the bootstrap has the streams 0 and 1.
const SWAPS: u64 = 2;
/// Swaps that a bound of an interval needs: its p is 0.05, not one of a family.
const SWAPS_OF_BOUNDS: usize = 1_999;
/// Bisection steps for a bound: enough for a millionth of the range of all runs.
const BISECTIONS: usize = 20;

/// The mean of the differences within pairs and how well it is known (Student, "The
/// Probable Error of a Mean", Biometrika 6, 1908).
///
/// If all pairs agree, a few suffice. A single run beside a busy neighbor widens the interval
/// beyond use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Student {
    /// The mean.
    pub mean: f64,
    standard_error: f64,
    student: StudentsT,
}

impl Student {
    /// Of at least two finite differences; `None` otherwise.
    pub fn new(differences: &[f64]) -> Option<Self> {
        let count = differences.len();
        let mean = differences.iter().sum::<f64>() / count as f64;
        if count < 2 || !mean.is_finite() {
            return None;
        }
        let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
        let freedom = (count - 1) as f64;
        let standard_error = (squares / freedom / count as f64).sqrt();
        let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
        Some(Self { mean, standard_error, student })
    }

    /// As [`Student::new`], of the differences within pairs of logarithms.
    pub fn of_pairs(pairs: &[[f64; 2]]) -> Option<Self> {
        Self::new(&pairs.iter().map(|[old, new]| new - old).collect::<Vec<f64>>())
    }

    /// The mean, and its one-sided lower and upper bounds at a confidence such as 0.95.
    pub fn interval(&self, confidence: f64) -> [f64; 3] {
        let margin = self.student.inverse_cdf(confidence) * self.standard_error;
        [self.mean, self.mean - margin, self.mean + margin]
    }

    /// One-sided p of "the true mean is at most `bound`".
    pub fn p_at_most(&self, bound: f64) -> f64 {
        Self { mean: -self.mean, ..*self }.p_at_least(-bound)
    }

    /// One-sided p of "the true mean is at least `bound`".
    pub fn p_at_least(&self, bound: f64) -> f64 {
        let distance = bound - self.mean;
        if self.standard_error > 0.0 {
            self.student.sf(distance / self.standard_error)
        } else if distance > 0.0 {
            // All pairs agree.
            0.0
        } else {
            1.0
        }
    }
}

/// The mean of the faster half of the candidate's runs, less that of the baseline's, and its p
/// values.
///
/// A neighbor on the machine can only make a run slower, for a second at a time and by up to half.
/// So the slower half of each side shows the neighbors, and the faster half shows the executables.
/// A mean over all pairs of differences mixes both.
///
/// The p values are those of a randomization test (Fisher, "The Design of Experiments", 1935;
/// Pitman, "Significance Tests Which May be Applied to Samples From any Populations", 1937).
/// Suppose that the candidate is slower by exactly the bound. Then, in each pair, the candidate's
/// run less the bound and the baseline's run are exchangeable. p is the share of random swaps that
/// give a difference at least as large as the observed one. This holds for any distribution of
/// noise. Swaps are counted as by Phipson and Smyth ("Permutation P-values Should Never Be Zero",
/// 2010). The seed is fixed, so the same runs give the same p.
#[derive(Clone, Debug, PartialEq)]
pub struct Randomization {
    old: Vec<f64>,
    new: Vec<f64>,
    /// The difference.
    pub change: f64,
}

impl Randomization {
    /// Of pairs of finite logarithms, the baseline's first; `None` if there are none.
    pub fn new(pairs: &[[f64; 2]]) -> Option<Self> {
        let usable = !pairs.is_empty() && pairs.as_flattened().iter().all(|run| run.is_finite());
        let (old, new): (Vec<f64>, Vec<f64>) = pairs.iter().map(|[old, new]| (*old, *new)).unzip();
        usable.then(|| Self::of(old, new))
    }

    fn of(old: Vec<f64>, new: Vec<f64>) -> Self {
        let change = faster_half(&mut new.clone()) - faster_half(&mut old.clone());
        Self { old, new, change }
    }

    /// The mean of the faster half of the baseline's runs.
    pub fn level(&self) -> f64 {
        faster_half(&mut self.old.clone())
    }

    /// The same with the sides exchanged.
    fn reversed(&self) -> Self {
        Self { old: self.new.clone(), new: self.old.clone(), change: -self.change }
    }

    /// One-sided p of "the true change is at most `bound`".
    pub fn p_at_most(&self, bound: f64) -> f64 {
        self.p(bound, RESAMPLES)
    }

    /// One-sided p of "the true change is at least `bound`".
    pub fn p_at_least(&self, bound: f64) -> f64 {
        self.reversed().p_at_most(-bound)
    }

    /// Returns the change and its one-sided lower and upper bounds at a confidence such as 0.95:
    /// the smallest and the largest change that are not rejected. If there are too few pairs to
    /// reject any change, the bounds are infinite.
    pub fn interval(&self, confidence: f64) -> [f64; 3] {
        [self.change, self.lower(confidence), -self.reversed().lower(confidence)]
    }

    fn lower(&self, confidence: f64) -> f64 {
        let rejected = |bound: f64| self.p(bound, SWAPS_OF_BOUNDS) <= 1.0 - confidence;
        let least = |runs: &[f64]| runs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = |runs: &[f64]| runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // With this bound subtracted, each run of the candidate is above all runs of the baseline.
        let (mut below, mut above) = (least(&self.new) - most(&self.old) - 1e-9, self.change);
        if !rejected(below) {
            return f64::NEG_INFINITY;
        }
        for _ in 0..BISECTIONS {
            let middle = below.midpoint(above);
            *(if rejected(middle) { &mut below } else { &mut above }) = middle;
        }
        below
    }

    fn p(&self, bound: f64, swaps: usize) -> f64 {
        let mut random = Random::stream(SEED, SWAPS);
        let (mut old, mut new) = (self.old.clone(), self.new.clone());
        // Sums in another order differ in their last digits.
        let seen = self.change - bound - 1e-12;
        let mut as_large = 0;
        for _ in 0..swaps {
            self.swap(bound, &mut random, &mut old, &mut new);
            as_large += usize::from(faster_half(&mut new) - faster_half(&mut old) >= seen);
        }
        (as_large + 1) as f64 / (swaps + 1) as f64
    }

    /// Swaps each pair with probability one half, after subtracting `bound` from the candidate's
    /// run.
    fn swap(&self, bound: f64, random: &mut Random, old: &mut [f64], new: &mut [f64]) {
        let runs = self.old.iter().zip(&self.new);
        let mut coins = 0;
        for (number, ((before, after), (old, new))) in runs.zip(old.iter_mut().zip(new)).enumerate() {
            if number % 64 == 0 {
                coins = random.next_u64();
            }
            let after = after - bound;
            (*old, *new) = if coins & 1 == 0 { (*before, after) } else { (after, *before) };
            coins >>= 1;
        }
    }
}

/// Returns the mean of the smaller half, which includes the middle run if their number is odd.
/// Reorders `runs`.
fn faster_half(runs: &mut [f64]) -> f64 {
    let half = runs.len().div_ceil(2);
    if half < runs.len() {
        runs.select_nth_unstable_by(half, f64::total_cmp);
    }
    runs.iter().take(half).sum::<f64>() / half as f64
}

#[cfg(test)]
mod tests {
    use super::super::statistics::tests::close;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn students_t_has_the_quantiles_of_the_tables() {
        // One-sided 95 %, from any table of Student's t.
        for (freedom, quantile) in [(1, 6.314), (4, 2.132), (9, 1.833), (11, 1.796), (19, 1.729), (30, 1.697)]
        {
            // Differences with mean 0 and a standard error of 1.
            let count = freedom + 1;
            let mut differences: Vec<f64> = (0..count).map(|i| i as f64).collect();
            let raw = Student::new(&differences).unwrap();
            for difference in &mut differences {
                *difference = (*difference - raw.mean) / raw.standard_error;
            }
            let student = Student::new(&differences).unwrap();
            let [_, lower, upper] = student.interval(0.95);
            close(upper, quantile, 1e-3);
            close(lower, -quantile, 1e-3);
            close(student.p_at_most(-quantile), 0.05, 1e-4);
            close(student.p_at_least(quantile), 0.05, 1e-4);
        }
    }

    #[test]
    fn students_own_example_of_sleep() {
        // Additional hours of sleep of ten patients (Student 1908, section IX):
        // mean 1.58, t = 4.06, p = 0.0014.
        let hours = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4];
        let student = Student::new(&hours).unwrap();
        close(student.mean, 1.58, 1e-9);
        close(student.mean / student.standard_error, 4.0621, 1e-4);
        close(student.p_at_most(0.0), 0.001_416, 1e-5);
    }

    #[test]
    fn pairs_that_all_agree_are_certain() {
        let student = Student::new(&[0.25; 12]).unwrap();
        assert_eq!((student.p_at_least(0.3), student.p_at_least(0.1)), (0.0, 1.0));
        assert_eq!(student.interval(0.95), [0.25; 3]);
        assert!(Student::new(&[1.0]).is_none() && Student::new(&[1.0, f64::NAN]).is_none());
    }

    /// The naive way to all p values: every assignment of sides.
    fn exact_p(pairs: &[[f64; 2]], bound: f64) -> f64 {
        let half = |mut runs: Vec<f64>| {
            runs.sort_by(f64::total_cmp);
            let half = runs.len().div_ceil(2);
            runs[..half].iter().sum::<f64>() / half as f64
        };
        let difference = |swapped: u32| {
            let side = |side: usize| {
                let runs = pairs.iter().enumerate().map(|(i, pair)| {
                    let of = if swapped >> i & 1 == 1 { 1 - side } else { side };
                    if of == 1 { pair[1] - bound } else { pair[0] }
                });
                half(runs.collect())
            };
            side(1) - side(0)
        };
        let all = 1u32 << pairs.len();
        (0..all).filter(|&swapped| difference(swapped) >= difference(0) - 1e-12).count() as f64
            / f64::from(all)
    }

    /// Runs whose ln scatters evenly by 0.02; every fourth run meets a busy neighbor.
    fn runs(count: usize, change: f64, seed: u64) -> Vec<[f64; 2]> {
        let mut random = Random::new(seed);
        let mut run = || 0.02 * random.unit() + if random.percent(25) { 0.4 } else { 0.0 };
        (0..count).map(|_| [run(), run() + change]).collect()
    }

    #[test]
    fn neighbours_hide_a_change_from_the_mean_but_not_from_the_faster_halves() {
        let mut found = [0, 0];
        for seed in 0..50 {
            let pairs = runs(20, 0.1, seed);
            let mean = Student::of_pairs(&pairs).unwrap();
            let halves = Randomization::new(&pairs).unwrap();
            found[0] += usize::from(mean.p_at_most(0.0) < 0.001);
            found[1] += usize::from(halves.p_at_most(0.0) < 0.001);
        }
        assert!(found[0] < 15 && found[1] > 40, "{found:?}");
    }

    #[test]
    fn chance_alone_is_as_rare_as_p_says() {
        let p: Vec<f64> =
            (0..400).map(|seed| Randomization::new(&runs(12, 0.0, seed)).unwrap().p_at_most(0.0)).collect();
        for level in [0.05, 0.2, 0.5] {
            let share = p.iter().filter(|p| **p <= level).count() as f64 / p.len() as f64;
            close(share, level, 3.0 * (level * (1.0 - level) / p.len() as f64).sqrt());
        }
    }

    #[test]
    fn the_interval_holds_what_p_does_not_reject() {
        let halves = Randomization::new(&runs(20, 0.1, 7)).unwrap();
        let [_, lower, upper] = halves.interval(0.95);
        assert!(lower < halves.change && halves.change < upper, "{lower} {upper}");
        close(halves.p_at_most(lower), 0.05, 0.015);
        close(halves.p_at_least(upper), 0.05, 0.015);
        // Three pairs can be swapped in eight ways only.
        let few = Randomization::new(&runs(3, 0.1, 7)).unwrap();
        assert_eq!(few.interval(0.95)[1..], [f64::NEG_INFINITY, f64::INFINITY]);
        assert!(Randomization::new(&[]).is_none() && Randomization::new(&[[0.0, f64::NAN]]).is_none());
    }

    #[test]
    fn faster_halves_are_those_of_hand() {
        assert_eq!(faster_half(&mut [4.0, 1.0, 9.0, 3.0]), 2.0);
        assert_eq!(faster_half(&mut [4.0, 1.0, 9.0]), 2.5);
        assert_eq!(faster_half(&mut [7.0]), 7.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn random_swaps_estimate_the_p_of_all_swaps(
            pairs in prop::collection::vec(prop::array::uniform2(0.0f64..1.0), 1..11),
            bound in -0.3f64..0.3,
        ) {
            let halves = Randomization::new(&pairs).unwrap();
            prop_assert!((halves.p_at_most(bound) - exact_p(&pairs, bound)).abs() < 0.02);
            let back: Vec<[f64; 2]> = pairs.iter().map(|[old, new]| [*new, *old]).collect();
            prop_assert!((halves.p_at_least(bound) - exact_p(&back, -bound)).abs() < 0.02);
        }
    }
}
