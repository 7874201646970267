//! A benchmark that paired runs may decide, and the evidence of these pairs.

use super::pairs::{Randomization, Student};
use super::thresholds::{Allowed, FEWEST_PAIRS, Thresholds};
use super::verdict::{Change, Finding, Verdict};
use super::{BEYOND_DOUBT, CONFIDENCE};
use crate::measure::Better;
use crate::profile::Profile;
use crate::results::Kind;

/// A benchmark that paired runs may decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// Its name.
    pub id: String,
    /// The bench whose executables can be run again.
    pub bench: String,
    /// The profile of its run.
    pub profile: Profile,
    pub(super) allowed: Allowed,
    /// The worsening by the saved samples: ln of the ratio.
    pub(super) worsening: f64,
    /// The verdict by the saved samples alone.
    pub(super) alone: Verdict,
    pub(super) finding: Finding,
}

/// A change as one statistic sees it.
#[derive(Clone, Copy)]
struct Seen {
    /// ln of the baseline's value.
    level: f64,
    /// ln of the worsening: the estimate, its lower and its upper bound.
    change: [f64; 3],
}

/// The evidence of a suspect's pairs.
pub(super) struct Evidence {
    pairs: usize,
    seen: Seen,
    /// The larger evidence for a regression: of the mean or of the faster halves.
    slower: Seen,
    /// p of "the worsening is not beyond doubt".
    pub(super) worse: f64,
    /// p of "it is not better beyond doubt".
    pub(super) better: f64,
    /// Whether the change stays below what is allowed.
    is_allowed: bool,
}

impl Suspect {
    /// Whether these pairs already show that the benchmark has not regressed, so that more pairs
    /// would be wasted.
    ///
    /// An early look can only clear, so it causes no false alarm. `mnemobench selftest` prints the
    /// share of regressions that it misses.
    pub fn is_cleared_by(&self, pairs: &[[f64; 2]]) -> bool {
        self.cleared(&logarithms(pairs)).is_some()
    }

    /// As [`Suspect::is_cleared_by`], for pairs of logarithms.
    fn cleared(&self, pairs: &[[f64; 2]]) -> Option<Student> {
        // Only if both orders of a pair are equally frequent.
        let enough = pairs.len() >= FEWEST_TO_CLEAR && pairs.len().is_multiple_of(2);
        let mean = Student::of_pairs(pairs).filter(|_| enough)?;
        let [_, _, upper] = mean.interval(EARLY_CONFIDENCE);
        let reached = REACHED * self.allowed.log(1.0);
        // A claim of an improvement needs all pairs, as a claim of a regression does.
        (upper < reached && mean.mean > -reached).then_some(mean)
    }

    /// Whether these pairs show that the samples hide a worsening of more than is allowed, because
    /// something slowed the baseline's run.
    pub(super) fn is_contradicted_by(&self, pairs: &[[f64; 2]]) -> bool {
        let hidden = |mean: Student| mean.interval(CONFIDENCE)[1] - self.worsening;
        Student::of_pairs(&logarithms(pairs)).is_some_and(|mean| hidden(mean) > self.allowed.log(1.0))
    }

    /// Returns the measured quantity.
    pub fn kind(&self) -> Kind {
        self.finding.kind
    }

    /// Returns the apparent change of the saved samples, in either direction.
    pub(super) fn apparent(&self) -> f64 {
        self.worsening.abs()
    }

    pub(super) fn evidence(&self, pairs: Option<&Result<Vec<[f64; 2]>, String>>) -> Result<Evidence, String> {
        let logs = logarithms(pairs.ok_or(UNCONFIRMED)?.as_ref().map_err(String::clone)?);
        let (pairs, doubtful) = (logs.len(), self.allowed.log(BEYOND_DOUBT));
        let by_mean = |mean: &Student| Seen {
            level: logs.iter().map(|[old, _]| old).sum::<f64>() / pairs as f64,
            change: mean.interval(CONFIDENCE),
        };
        if let Some(mean) = self.cleared(&logs) {
            let (seen, better) = (by_mean(&mean), mean.p_at_least(-doubtful));
            return Ok(Evidence { pairs, seen, slower: seen, worse: 1.0, better, is_allowed: true });
        }
        let both = Student::of_pairs(&logs).zip(Randomization::new(&logs));
        let (mean, halves) = both
            .filter(|_| pairs >= FEWEST_PAIRS)
            .ok_or_else(|| format!("{pairs} pairs of runs; expected {FEWEST_PAIRS} or more"))?;
        let seen = Seen { level: halves.level(), change: halves.interval(CONFIDENCE) };
        let [p_of_halves, p_of_mean] = [halves.p_at_most(doubtful), mean.p_at_most(doubtful)];
        // A change that slows only some runs shows in the mean alone. A change that slows all runs
        // a little shows in the faster halves.
        let is_reached = |change: f64| change > REACHED * self.allowed.log(1.0);
        let is_by_mean = is_reached(mean.mean) && (p_of_mean < p_of_halves || !is_reached(halves.change));
        let (p, slower) = if is_by_mean { (p_of_mean, by_mean(&mean)) } else { (p_of_halves, seen) };
        Ok(Evidence {
            pairs,
            seen,
            slower,
            // The smaller of two (Bonferroni).
            worse: (2.0 * p).min(1.0),
            better: halves.p_at_least(-doubtful),
            is_allowed: halves.p_at_least(self.allowed.log(1.0)) <= 1.0 - CONFIDENCE
                && !(is_reached(mean.mean) && p_of_mean <= 1.0 - CONFIDENCE),
        })
    }

    /// Turns the evidence into a finding.
    pub(super) fn conclude(self, evidence: Result<Evidence, String>, thresholds: &Thresholds) -> Finding {
        let Self { allowed, mut finding, .. } = self;
        let (verdict, reason) = match evidence {
            Ok(evidence) => {
                let (verdict, reason) = evidence.verdict(allowed.log(1.0), thresholds.gate.alpha);
                let seen = if verdict == Verdict::Regressed { evidence.slower } else { evidence.seen };
                finding.change = Some(change(allowed, seen.change, evidence.pairs));
                // The values of the paired runs, and not those of the saved samples.
                let shown = |log: f64| match finding.kind {
                    Kind::Throughput => 1e9 / log.exp(),
                    _ => log.exp(),
                };
                let levels = [seen.level, seen.level + seen.change[0]];
                [finding.baseline, finding.candidate] = levels.map(|level| Some(shown(level)));
                (verdict, reason)
            }
            Err(reason) => (Verdict::Inconclusive, Some(reason)),
        };
        Finding { verdict, effect: verdict.effect(thresholds.gate.undecided), reason, ..finding }
    }
}

fn logarithms(pairs: &[[f64; 2]]) -> Vec<[f64; 2]> {
    pairs.iter().map(|pair| pair.map(f64::ln)).collect()
}

/// Reason for a suspect without any pairs.
pub(super) const UNCONFIRMED: &str = "no pairs of runs confirmed it, and its samples do not say enough";

/// Pairs after which a suspect may be cleared early.
const FEWEST_TO_CLEAR: usize = 4;
/// The confidence of the bound that clears it: there are up to eight looks at it.
const EARLY_CONFIDENCE: f64 = 0.995;

/// The share of theta that counts as reaching it. A true change of exactly theta measures below
/// theta in half the runs, and a limit of 1 would miss it then.
const REACHED: f64 = 0.95;

/// Intervals wider than this, in thetas, cannot tell the allowed change from none.
const TOO_WIDE: f64 = 1.6;

impl Evidence {
    fn verdict(&self, theta: f64, alpha: f64) -> (Verdict, Option<String>) {
        let [change, lower, upper] = self.seen.change;
        if self.slower.change[0] > REACHED * theta && self.worse <= alpha {
            (Verdict::Regressed, None)
        } else if change < -REACHED * theta && self.better <= alpha {
            (Verdict::Improved, None)
        } else if self.is_allowed {
            (Verdict::Passed, None)
        } else if upper - lower > TOO_WIDE * theta {
            let within = 50.0 * (upper - lower).exp_m1();
            (Verdict::TooNoisy, Some(format!("{} pairs know it to within {within:.1} % only", self.pairs)))
        } else {
            (
                Verdict::Inconclusive,
                Some("pairs of runs leave it open; run the gate again on a quieter machine".into()),
            )
        }
    }
}

/// Converts logarithms of worsenings (the estimate, its lower and its upper bound) to relative
/// changes of the value that is shown.
pub(super) fn change(allowed: Allowed, [estimate, lower, upper]: [f64; 3], pairs: usize) -> Change {
    match allowed.better {
        Better::Lower => {
            Change { estimate: estimate.exp_m1(), lower: lower.exp_m1(), upper: upper.exp_m1(), pairs }
        }
        Better::Higher => Change {
            estimate: (-estimate).exp_m1(),
            lower: (-upper).exp_m1(),
            upper: (-lower).exp_m1(),
            pairs,
        },
    }
}
