//! A benchmark that pairs of runs may decide, and what they say of it.

use super::pairs::{Randomization, Student};
use super::thresholds::{Allowed, FEWEST_PAIRS, Thresholds};
use super::verdict::{Change, Finding, Verdict};
use super::{BEYOND_DOUBT, CONFIDENCE};
use crate::measure::Better;
use crate::profile::Profile;
use crate::results::Kind;

/// A benchmark that pairs of runs may decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// Its name.
    pub id: String,
    /// The bench whose executables can be run again.
    pub bench: String,
    /// How thorough its run was.
    pub profile: Profile,
    pub(super) allowed: Allowed,
    /// How much worse they say that it is: ln of the ratio.
    pub(super) worsening: f64,
    /// What the saved samples say alone.
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

/// What the pairs of a suspect say.
pub(super) struct Evidence {
    pairs: usize,
    seen: Seen,
    /// The change that speaks most for a regression.
    slower: Seen,
    /// p of "that is not beyond doubt".
    pub(super) worse: f64,
    /// p of "it is not better beyond doubt".
    pub(super) better: f64,
    /// Whether the change stays below what is allowed.
    is_allowed: bool,
}

impl Suspect {
    /// Whether these pairs already show that it has not regressed, so that more of
    /// them would be wasted.
    ///
    /// Looking early can only clear, so no false alarm comes of it; what it costs
    /// in worsenings that are missed, `mnemobench selftest` prints.
    pub fn is_cleared_by(&self, pairs: &[[f64; 2]]) -> bool {
        self.cleared(&logarithms(pairs)).is_some()
    }

    /// By pairs of logarithms.
    fn cleared(&self, pairs: &[[f64; 2]]) -> Option<Student> {
        // Only where both orders of a pair are as frequent.
        let enough = pairs.len() >= FEWEST_TO_CLEAR && pairs.len().is_multiple_of(2);
        let mean = Student::of_pairs(pairs).filter(|_| enough)?;
        let [_, _, upper] = mean.interval(EARLY_CONFIDENCE);
        let reached = REACHED * self.allowed.log(1.0);
        // An improvement is no less of a claim than a regression, and needs all pairs.
        (upper < reached && mean.mean > -reached).then_some(mean)
    }

    /// Whether these pairs show that its samples hide a worsening of more than is allowed:
    /// something has slowed the baseline's run.
    pub(super) fn is_contradicted_by(&self, pairs: &[[f64; 2]]) -> bool {
        let hidden = |mean: Student| mean.interval(CONFIDENCE)[1] - self.worsening;
        Student::of_pairs(&logarithms(pairs)).is_some_and(|mean| hidden(mean) > self.allowed.log(1.0))
    }

    /// What it measures.
    pub fn kind(&self) -> Kind {
        self.finding.kind
    }

    /// How much its saved samples have changed, in either direction.
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
        // What slows some runs only shows in the mean, whatever slows all of them a little.
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

    /// What is said of it.
    pub(super) fn conclude(self, evidence: Result<Evidence, String>, thresholds: &Thresholds) -> Finding {
        let Self { allowed, mut finding, .. } = self;
        let (verdict, reason) = match evidence {
            Ok(evidence) => {
                let (verdict, reason) = evidence.verdict(allowed.log(1.0), thresholds.gate.alpha);
                let seen = if verdict == Verdict::Regressed { evidence.slower } else { evidence.seen };
                finding.change = Some(change(allowed, seen.change, evidence.pairs));
                // The values that the change is of, and not those of the saved samples.
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

/// Why something was not decided by pairs that there are none of.
pub(super) const UNCONFIRMED: &str = "no pairs of runs confirmed it, and its samples do not say enough";

/// Pairs after which a suspect may be cleared early.
const FEWEST_TO_CLEAR: usize = 4;
/// The confidence of the bound that clears it: there are up to eight looks at it.
const EARLY_CONFIDENCE: f64 = 0.995;

/// What counts as reaching theta: a true change of just what is allowed would be
/// missed in half the runs otherwise, as its measured mean is as often below.
const REACHED: f64 = 0.95;

/// An interval of that width, in thetas, cannot tell what is allowed from nothing.
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

/// Logarithms of worsenings (the estimate, its lower and its upper bound) as relative
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
