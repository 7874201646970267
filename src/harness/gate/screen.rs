//! The two stages: what the saved samples say, and what pairs of runs add.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::pairs::{Randomization, Student};
use super::statistics::{Bootstrap, Resamples, holm, median};
use super::thresholds::{Allowed, FEWEST_PAIRS, Thresholds};
use super::verdict::{Change, Effect, Finding, Judgement, Verdict};
use super::{BEYOND_DOUBT, CLEAR, CONFIDENCE, Data, Observation, Origin, SAME_MACHINE, Side, is_exact};
use crate::harness::measure::Better;
use crate::harness::profile::Profile;
use crate::harness::results::Kind;

/// Rounding may put equal ratios on both sides of a limit.
const ROUNDING: f64 = 1e-9;

/// What both runs of each pair of a suspect measured, the baseline's first, or why
/// there are none.
pub type Pairs = BTreeMap<String, Result<Vec<[f64; 2]>, String>>;

/// What the first stage found.
#[derive(Clone, Debug, PartialEq)]
pub struct Screening {
    findings: Vec<Finding>,
    suspects: Vec<Suspect>,
    thresholds: Thresholds,
}

/// A benchmark that the saved samples do not clear.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// Its name.
    pub id: String,
    /// The bench whose executables can be run again.
    pub bench: String,
    /// How thorough its run was.
    pub profile: Profile,
    /// How much its saved samples have changed, in either direction: ln of the ratio.
    pub apparent: f64,
    allowed: Allowed,
    /// Operations in an iteration of the candidate.
    operations: u64,
    /// What the saved samples say alone.
    alone: Verdict,
    finding: Finding,
}

/// Judges what was saved.
pub fn screen(baseline: &Side, candidate: &Side, thresholds: &Thresholds) -> Screening {
    let last_runs = [baseline, candidate].map(last_run);
    let mut ids: Vec<&String> = baseline.observations.keys().chain(candidate.observations.keys()).collect();
    ids.sort();
    ids.dedup();

    let mut screening =
        Screening { findings: Vec::new(), suspects: Vec::new(), thresholds: thresholds.clone() };
    let (mut timed, mut resamples) = (Vec::new(), BTreeMap::new());
    for id in ids {
        let sides = [baseline, candidate].map(|side| side.observations.get(id));
        let Some(case) = Case::new(id, sides, thresholds) else { continue };
        match case.without_values(last_runs) {
            Some(Some((verdict, reason))) => {
                screening.findings.push(case.finding(verdict, None, Some(reason)))
            }
            Some(None) => {}
            None if is_exact(case.kind) => screening.findings.push(case.exactly()),
            // One value says nothing about its noise; it stands in the report.
            None if case.is_single() => {}
            None => match case.bootstrap(&mut resamples) {
                Some(bootstrap) => timed.push((case, bootstrap)),
                None => {
                    screening.findings.push(case.finding(Verdict::Unreadable, None, Some(NOT_SAMPLES.into())))
                }
            },
        }
    }
    screening.judge_times(timed);
    screening
}

const NOT_SAMPLES: &str = "expected samples of Criterion on both sides; run the bench again";
const UNCONFIRMED: &str = "a suspect that was not confirmed";

/// A benchmark and what both sides have of it.
struct Case<'a> {
    id: &'a str,
    kind: Kind,
    allowed: Allowed,
    old: Option<&'a Observation>,
    new: Option<&'a Observation>,
    thresholds: &'a Thresholds,
}

impl<'a> Case<'a> {
    fn new(
        id: &'a str,
        [old, new]: [Option<&'a Observation>; 2],
        thresholds: &'a Thresholds,
    ) -> Option<Self> {
        let kind = old.or(new)?.kind;
        Some(Self { id, kind, allowed: thresholds.allowed(id, kind), old, new, thresholds })
    }

    /// What can be said without looking at the values: a verdict, or that there is
    /// nothing to say (`Some(None)`); `None` where they have to be compared.
    fn without_values(&self, [last_before, last]: [Option<&Origin>; 2]) -> Option<Option<(Verdict, String)>> {
        let say = |verdict, reason: String| Some(Some((verdict, reason)));
        let is_removed = self.thresholds.is_removed(self.id);
        for (side, observation) in [("baseline", self.old), ("candidate", self.new)] {
            if let Some(fault) = observation.and_then(Observation::fault) {
                return say(Verdict::Unreadable, format!("{side}: {fault}"));
            }
        }
        let (old, new) = match (self.old, self.new) {
            (Some(old), Some(new)) => (old, new),
            (None, Some(new)) if leftover(new, last).is_some() => return Some(None),
            (None, Some(_)) => return say(Verdict::New, "the baseline does not have it yet".into()),
            (Some(_), None) if is_removed => return say(Verdict::Missing, REMOVED.into()),
            _ => return say(Verdict::Missing, MISSING.into()),
        };
        if old.kind != new.kind {
            let (old, new) = (old.kind.as_str(), new.kind.as_str());
            return say(Verdict::Unreadable, format!("the baseline measured {old}, the candidate {new}"));
        }
        let (Some(before), Some(after)) = (&old.origin, &new.origin) else {
            return say(Verdict::Unreadable, NO_ORIGIN.into());
        };
        let is_older = after.taken.unix_seconds <= before.taken.unix_seconds;
        if let Some(reason) = is_older.then(|| OLDER.into()).or_else(|| leftover(new, last)) {
            // The run that saved the baseline has left it behind.
            let (verdict, reason) =
                if is_removed { (Verdict::Missing, REMOVED.into()) } else { (Verdict::Stale, reason) };
            return say(verdict, reason);
        }
        if let Some(reason) = leftover(old, last_before) {
            return say(Verdict::Stale, format!("the baseline's: {reason}, and save it whole"));
        }
        let (profile_before, profile_after) = (before.taken.profile, after.taken.profile);
        if profile_before != profile_after {
            let reason =
                format!("the baseline's profile is {profile_before}, the candidate's {profile_after}");
            return say(Verdict::QuickRun, reason);
        }
        if let Some(side) = [("baseline", old), ("candidate", new)].iter().find(|(_, side)| side.is_quick()) {
            return say(
                Verdict::QuickRun,
                format!("the {} has too few samples; run it without --quick", side.0),
            );
        }
        if !is_exact(self.kind) && !before.machine.is_comparable(&after.machine) {
            let (before, after) = (&before.machine, &after.machine);
            let reason = format!(
                "taken on {} with {} cores, the baseline on {} with {}; times compare on one machine only",
                after.cpu, after.cores, before.cpu, before.cores
            );
            return say(Verdict::OtherMachine, reason);
        }
        let (before, after) = (before.machine.features.join(", "), after.machine.features.join(", "));
        if !is_exact(self.kind) && before != after {
            let reason = format!(
                "built with the features {after}, the baseline with {before}; times compare between like builds only"
            );
            return say(Verdict::OtherMachine, reason);
        }
        None
    }

    /// Whether there is one value on both sides, such as the rate that a search found.
    fn is_single(&self) -> bool {
        let single = |side: Option<&Observation>| matches!(side?.data, Data::Value(_)).then_some(());
        single(self.old).and(single(self.new)).is_some()
    }

    /// A comparison of two values as they are.
    fn exactly(&self) -> Finding {
        let point = |side: Option<&Observation>| side.and_then(|side| side.data.point()).unwrap_or(f64::NAN);
        let worsening = self.log_worsening(point(self.old), point(self.new));
        let theta = self.allowed.log(1.0) + ROUNDING;
        let verdict = match worsening {
            worse if worse > theta => Verdict::Regressed,
            better if better < -theta => Verdict::Improved,
            _ => Verdict::Passed,
        };
        self.finding(verdict, Some(self.change([worsening; 3], 0)), None)
    }

    fn log_worsening(&self, old: f64, new: f64) -> f64 {
        let (old, new) = match self.allowed.better {
            Better::Lower => (old, new),
            Better::Higher => (new, old),
        };
        // Nothing then and nothing now.
        if old == new { 0.0 } else { (new / old).ln() }
    }

    /// Whether saved samples clear it, whose worsening is at most `upper` as it seems: both
    /// runs met the same machine.
    fn is_clear(&self, upper: f64) -> bool {
        let reference = |side: Option<&Observation>| side?.reference.filter(|time| *time > 0.0);
        let slowed = reference(self.old).zip(reference(self.new)).map(|(old, new)| (old / new).ln());
        slowed
            .is_some_and(|slowed| slowed <= SAME_MACHINE && upper + slowed.max(0.0) < self.allowed.log(CLEAR))
    }

    /// Resamples depend on the number of samples alone and are drawn once.
    fn bootstrap(&self, resamples: &mut BTreeMap<[usize; 2], [Resamples; 2]>) -> Option<Bootstrap> {
        let (old, new) = (self.old?.data.per_operation()?, self.new?.data.per_operation()?);
        let counts = [old.len(), new.len()];
        let [of_old, of_new] = resamples
            .entry(counts)
            .or_insert_with(|| [Resamples::new(old.len(), 0), Resamples::new(new.len(), 1)]);
        Bootstrap::with(of_old, of_new, &old, &new)
    }

    /// Logarithms of worsenings (the estimate, its lower and its upper bound) as
    /// relative changes of the value that is shown.
    fn change(&self, logs: [f64; 3], pairs: usize) -> Change {
        change(self.allowed, logs, pairs)
    }

    fn finding(&self, verdict: Verdict, change: Option<Change>, reason: Option<String>) -> Finding {
        let shown = |side: Option<&Observation>| side.and_then(|side| side.data.shown(self.kind));
        let removed = verdict == Verdict::Missing && self.thresholds.is_removed(self.id);
        let effect = verdict.effect(self.thresholds.gate.undecided);
        Finding {
            id: self.id.to_owned(),
            kind: self.kind,
            verdict,
            effect: if removed { Effect::Pass } else { effect },
            allowed: self.allowed.share,
            baseline: shown(self.old),
            candidate: shown(self.new),
            change,
            reason,
        }
    }
}

const MISSING: &str = "the baseline has it and the candidate does not; run its bench, or list it as removed in \
                       the thresholds";
const REMOVED: &str = "removed on purpose, as the thresholds say";
const OLDER: &str = "it was taken before the baseline was, or with it; run its bench";
const NO_ORIGIN: &str = "nothing says when, where and how it was taken; run its bench again, and let it note \
                         its results";

/// Where the last of a side's results comes from.
fn last_run(side: &Side) -> Option<&Origin> {
    let origins = side.observations.values().filter_map(|observation| observation.origin.as_ref());
    origins.max_by_key(|origin| origin.taken.unix_seconds)
}

/// Why a result does not belong to the last run of its side, if so.
fn leftover(observation: &Observation, last: Option<&Origin>) -> Option<String> {
    let (taken, newest) = (&observation.origin.as_ref()?.taken, &last?.taken);
    let differs = (&taken.revision, taken.profile) != (&newest.revision, newest.profile);
    differs.then(|| {
        format!(
            "it is of revision {} in the profile {}, the last run of {} in {}; run its bench",
            taken.revision, taken.profile, newest.revision, newest.profile
        )
    })
}

fn change(allowed: Allowed, [estimate, lower, upper]: [f64; 3], pairs: usize) -> Change {
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

impl Screening {
    /// The first stage for what was sampled.
    fn judge_times(&mut self, timed: Vec<(Case<'_>, Bootstrap)>) {
        let alpha = self.thresholds.gate.alpha;
        let theta = |case: &Case<'_>| case.allowed.log(1.0);
        let worse: Vec<f64> = timed.iter().map(|(case, ratio)| ratio.p_at_most(theta(case))).collect();
        let better: Vec<f64> = timed.iter().map(|(case, ratio)| ratio.p_at_least(-theta(case))).collect();
        let families = holm(&worse).into_iter().zip(holm(&better));
        for ((case, ratio), (worse, better)) in timed.into_iter().zip(families) {
            let upper = ratio.quantile(CONFIDENCE);
            let change = case.change([ratio.estimate, ratio.quantile(1.0 - CONFIDENCE), upper], 0);
            let is_better = better <= alpha;
            if case.is_clear(upper) && !is_better {
                self.findings.push(case.finding(Verdict::Passed, Some(change), None));
            } else if let Some(Observation { bench, data, origin: Some(origin), .. }) = case.new {
                let operations = if let Data::Samples { operations, .. } = data { *operations } else { 1 };
                self.suspects.push(Suspect {
                    id: case.id.to_owned(),
                    bench: bench.clone(),
                    profile: origin.taken.profile,
                    apparent: ratio.estimate.abs(),
                    allowed: case.allowed,
                    operations,
                    alone: match case.is_clear(upper) {
                        _ if worse <= alpha => Verdict::Regressed,
                        true => Verdict::Passed,
                        false => Verdict::Inconclusive,
                    },
                    finding: case.finding(Verdict::Inconclusive, Some(change), Some(UNCONFIRMED.into())),
                });
            }
        }
        self.suspects.sort_by(|a, b| b.apparent.total_cmp(&a.apparent));
    }

    /// What has to be confirmed, what has changed most first.
    pub fn suspects(&self) -> &[Suspect] {
        &self.suspects
    }

    /// Judges by the saved samples alone: what is beyond doubt if the machine was as quiet
    /// in both runs has regressed, and what the reference work supports passes.
    pub fn conclude_alone(self) -> Judgement {
        let Self { mut findings, suspects, thresholds } = self;
        findings.extend(suspects.into_iter().map(|Suspect { alone: verdict, finding, .. }| {
            let reason = Some("by the saved samples alone, which drift from run to run".into());
            Finding { verdict, effect: verdict.effect(thresholds.gate.undecided), reason, ..finding }
        }));
        Judgement::new(findings)
    }

    /// The second stage: for each suspect the medians of both runs of every pair, or
    /// why there are none.
    pub fn conclude(self, pairs: &Pairs) -> Judgement {
        let Self { mut findings, suspects, thresholds } = self;
        let mut evidence: Vec<Result<Evidence, String>> =
            suspects.par_iter().map(|suspect| suspect.evidence(pairs.get(&suspect.id))).collect();
        let known = || evidence.iter().flatten();
        let worse = holm(&known().map(|evidence| evidence.worse).collect::<Vec<_>>());
        let better = holm(&known().map(|evidence| evidence.better).collect::<Vec<_>>());
        for (known, (worse, better)) in evidence.iter_mut().flatten().zip(worse.into_iter().zip(better)) {
            (known.worse, known.better) = (worse, better);
        }
        let of_pairs = suspects.into_iter().zip(evidence);
        findings.extend(of_pairs.map(|(suspect, evidence)| suspect.conclude(evidence, &thresholds)));
        Judgement::new(findings)
    }
}

/// What the pairs of a suspect say; changes are ln of the worsening: the estimate, its
/// lower and its upper bound.
struct Evidence {
    change: [f64; 3],
    pairs: usize,
    /// The medians of both sides, per operation.
    medians: [f64; 2],
    /// The change that speaks most for a regression.
    slower: [f64; 3],
    /// p of "that is not beyond doubt".
    worse: f64,
    /// p of "it is not better beyond doubt".
    better: f64,
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
        (upper < REACHED * self.allowed.log(1.0)).then_some(mean)
    }

    fn evidence(&self, pairs: Option<&Result<Vec<[f64; 2]>, String>>) -> Result<Evidence, String> {
        let logs = logarithms(pairs.ok_or(UNCONFIRMED)?.as_ref().map_err(String::clone)?);
        let (pairs, doubtful) = (logs.len(), self.allowed.log(BEYOND_DOUBT));
        let (old, new): (Vec<f64>, Vec<f64>) = logs.iter().map(|[old, new]| (old.exp(), new.exp())).unzip();
        let medians = [old, new].map(|runs| median(&runs).unwrap_or(f64::NAN));
        if let Some(mean) = self.cleared(&logs) {
            let change = mean.interval(CONFIDENCE);
            let better = mean.p_at_least(-doubtful);
            let slower = change;
            return Ok(Evidence { change, pairs, medians, slower, worse: 1.0, better, is_allowed: true });
        }
        let both = Student::of_pairs(&logs).zip(Randomization::new(&logs));
        let (mean, halves) = both
            .filter(|_| pairs >= FEWEST_PAIRS)
            .ok_or_else(|| format!("{pairs} pairs of runs; expected {FEWEST_PAIRS} or more"))?;
        let change = halves.interval(CONFIDENCE);
        let [by_halves, by_mean] = [halves.p_at_most(doubtful), mean.p_at_most(doubtful)];
        // What slows some runs only shows in the mean, whatever slows all of them a little.
        let is_reached = |change: f64| change > REACHED * self.allowed.log(1.0);
        let is_by_mean = is_reached(mean.mean) && (by_mean < by_halves || !is_reached(halves.change));
        let (p, slower) = if is_by_mean { (by_mean, mean.interval(CONFIDENCE)) } else { (by_halves, change) };
        Ok(Evidence {
            change,
            pairs,
            medians,
            slower,
            // The smaller of two (Bonferroni).
            worse: (2.0 * p).min(1.0),
            better: halves.p_at_least(-doubtful),
            is_allowed: halves.p_at_least(self.allowed.log(1.0)) <= 1.0 - CONFIDENCE,
        })
    }

    fn conclude(self, evidence: Result<Evidence, String>, thresholds: &Thresholds) -> Finding {
        let Self { allowed, operations, mut finding, .. } = self;
        let (verdict, reason) = match evidence {
            Ok(evidence) => {
                let (verdict, reason) = evidence.verdict(allowed.log(1.0), thresholds.gate.alpha);
                let seen = if verdict == Verdict::Regressed { evidence.slower } else { evidence.change };
                finding.change = Some(change(allowed, seen, evidence.pairs));
                // The values that the change is of, and not those of the saved samples.
                let shown = |median: f64| match finding.kind {
                    Kind::Throughput => 1e9 / median,
                    _ => median * operations as f64,
                };
                [finding.baseline, finding.candidate] = evidence.medians.map(|median| Some(shown(median)));
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
        let [change, lower, upper] = self.change;
        if self.slower[0] > REACHED * theta && self.worse <= alpha {
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
