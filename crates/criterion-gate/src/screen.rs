//! Screening by the saved samples, and verdicts from paired runs.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::statistics::{Bootstrap, Resamples, holm};
use super::suspect::{Evidence, Suspect, UNCONFIRMED, change};
use super::thresholds::{Allowed, Thresholds};
use super::verdict::{Change, Effect, Finding, Judgement, Verdict};
use super::{CLEAR, CONFIDENCE, Data, Observation, Origin, SAME_MACHINE, Side, is_exact};
use crate::measure::Better;
use crate::random::Random;
use crate::results::Kind;

/// Rounding may put equal ratios on both sides of a limit.
const ROUNDING: f64 = 1e-9;

/// The medians of both runs of each pair of a suspect, the baseline's first, or the reason why
/// there are none.
pub type Pairs = BTreeMap<String, Result<Vec<[f64; 2]>, String>>;

/// The result of the first stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Screening {
    findings: Vec<Finding>,
    suspects: Vec<Suspect>,
    /// The benchmarks that the samples clear, in random order.
    cleared: Vec<Suspect>,
    thresholds: Thresholds,
}

/// Judges the saved samples: the first stage.
pub fn screen(baseline: &Side, candidate: &Side, thresholds: &Thresholds) -> Screening {
    let last_runs = [baseline, candidate].map(last_run);
    let mut ids: Vec<&String> = baseline.observations.keys().chain(candidate.observations.keys()).collect();
    ids.sort();
    ids.dedup();

    let mut screening = Screening {
        findings: Vec::new(),
        suspects: Vec::new(),
        cleared: Vec::new(),
        thresholds: thresholds.clone(),
    };
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
            // A single value says nothing about its noise. It stands in the report only.
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
    // The order differs from run to run, and is the same when a run is judged again.
    let seed = last_runs[1].map_or(0, |origin| origin.taken.unix_seconds);
    let mut random = Random::new(seed);
    screening.cleared.sort_by_cached_key(|_| random.next_u64());
    screening
}

const NOT_SAMPLES: &str = "expected samples of Criterion on both sides; run the bench again";

/// A benchmark, and its observations on both sides.
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

    /// Returns the part of the judgment that needs no values: a verdict, or that nothing is to be
    /// reported (`Some(None)`). Returns `None` if the values have to be compared.
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
            (None, Some(new)) if is_older(new, last_before) => {
                return if is_removed { Some(None) } else { say(Verdict::Stale, LEFT_BEFORE.into()) };
            }
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
        if let Some(reason) =
            is_older(new, Some(before)).then(|| OLDER.into()).or_else(|| leftover(new, last))
        {
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

    /// Whether each side has one value only, e.g. the rate that a search found.
    fn is_single(&self) -> bool {
        let single = |side: Option<&Observation>| matches!(side?.data, Data::Value(_)).then_some(());
        single(self.old).and(single(self.new)).is_some()
    }

    /// Compares two values as they are, without statistics.
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
        // Both values are 0.
        if old == new { 0.0 } else { (new / old).ln() }
    }

    /// Returns ln of the ratio of the baseline's reference work to the candidate's; `None` if a
    /// side has none.
    fn slowed(&self) -> Option<f64> {
        let reference = |side: Option<&Observation>| side?.reference.filter(|time| *time > 0.0);
        reference(self.old).zip(reference(self.new)).map(|(old, new)| (old / new).ln())
    }

    /// Whether saved samples clear a benchmark whose worsening is at most `upper`. The reference
    /// work must show that both runs met the same machine.
    fn is_clear(&self, upper: f64) -> bool {
        self.slowed()
            .is_some_and(|slowed| slowed <= SAME_MACHINE && upper + slowed.max(0.0) < self.allowed.log(CLEAR))
    }

    /// Resamples depend on the number of samples alone, and are drawn once.
    fn bootstrap(&self, resamples: &mut BTreeMap<[usize; 2], [Resamples; 2]>) -> Option<Bootstrap> {
        let (old, new) = (self.old?.data.compared(self.kind)?, self.new?.data.compared(self.kind)?);
        let counts = [old.len(), new.len()];
        let [of_old, of_new] = resamples
            .entry(counts)
            .or_insert_with(|| [Resamples::new(old.len(), 0), Resamples::new(new.len(), 1)]);
        Bootstrap::with(of_old, of_new, &old, &new)
    }

    /// Converts logarithms of worsenings (the estimate, its lower and its upper bound) to relative
    /// changes of the value that is shown.
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
const LEFT_BEFORE: &str = "it was taken before the baseline was, which does not have it; run its bench, name the \
                           benches that were run with --bench, or list it as removed in the thresholds";
const OLDER: &str = "it was taken before the baseline was, or with it; run its bench";
const NO_ORIGIN: &str = "nothing says when, where and how it was taken; run its bench again, and let it note \
                         its results";

/// Whether a result was taken before another one, or with it.
fn is_older(observation: &Observation, than: Option<&Origin>) -> bool {
    let origins = observation.origin.as_ref().zip(than);
    origins.is_some_and(|(origin, than)| origin.taken.unix_seconds <= than.taken.unix_seconds)
}

/// Returns the origin of the last result of a side.
fn last_run(side: &Side) -> Option<&Origin> {
    let origins = side.observations.values().filter_map(|observation| observation.origin.as_ref());
    origins.max_by_key(|origin| origin.taken.unix_seconds)
}

/// Returns the reason if a result does not belong to the last run of its side.
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

impl Screening {
    /// Screens the benchmarks that were sampled.
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
            let is_clear = case.is_clear(upper);
            let Some(Observation { bench, origin: Some(origin), .. }) = case.new else { continue };
            let (verdict, reason) = if is_clear && !is_better {
                (Verdict::Passed, None)
            } else {
                (Verdict::Inconclusive, Some(UNCONFIRMED.into()))
            };
            let suspect = Suspect {
                id: case.id.to_owned(),
                bench: bench.clone(),
                profile: origin.taken.profile,
                allowed: case.allowed,
                worsening: ratio.estimate,
                alone: match is_clear {
                    _ if worse <= alpha => Verdict::Regressed,
                    true => Verdict::Passed,
                    false => Verdict::Inconclusive,
                },
                finding: case.finding(verdict, Some(change), reason),
            };
            if verdict == Verdict::Passed { self.cleared.push(suspect) } else { self.suspects.push(suspect) }
        }
        self.suspects.sort_by(|a, b| b.apparent().total_cmp(&a.apparent()));
    }

    /// Returns the benchmarks that need pairs, the largest apparent change first.
    pub fn suspects(&self) -> &[Suspect] {
        &self.suspects
    }

    /// Returns a random share of the cleared benchmarks. Pairs of these check the samples.
    pub fn audited(&self) -> &[Suspect] {
        self.cleared.get(..self.audits()).unwrap_or_default()
    }

    /// Returns the cleared benchmarks that are not audited. If pairs contradict the samples of any
    /// other benchmark, pairs decide these too.
    pub fn unaudited(&self) -> &[Suspect] {
        self.cleared.get(self.audits()..).unwrap_or_default()
    }

    fn audits(&self) -> usize {
        let share = self.thresholds.gate.audit * self.cleared.len() as f64;
        (share.ceil() as usize).min(self.cleared.len())
    }

    /// Whether pairs contradict the samples of a cleared benchmark. If so, the samples of these
    /// runs clear nothing. Suspects do not count, because most are suspects only because their
    /// samples are off.
    pub fn is_contradicted_by(&self, pairs: &Pairs) -> bool {
        let contradict = |suspect: &Suspect| {
            pairs
                .get(&suspect.id)
                .is_some_and(|pairs| pairs.as_ref().is_ok_and(|pairs| suspect.is_contradicted_by(pairs)))
        };
        self.cleared.iter().any(contradict)
    }

    /// Judges by the saved samples alone, which assumes an equally quiet machine in both runs. A
    /// significant worsening has regressed, and a benchmark that the reference work supports
    /// passes.
    pub fn conclude_alone(self) -> Judgement {
        let Self { mut findings, suspects, cleared, thresholds } = self;
        findings.extend(cleared.into_iter().map(|suspect| suspect.finding));
        findings.extend(suspects.into_iter().map(|Suspect { alone: verdict, finding, .. }| {
            let reason = Some("by the saved samples alone, which drift from run to run".into());
            Finding { verdict, effect: verdict.effect(thresholds.gate.undecided), reason, ..finding }
        }));
        Judgement::new(findings)
    }

    /// Judges by the pairs of each suspect and each audited benchmark: the second stage.
    pub fn conclude(self, pairs: &Pairs) -> Judgement {
        let is_contradicted = self.is_contradicted_by(pairs);
        let Self { mut findings, suspects, cleared, thresholds } = self;
        let mut decided: Vec<(Result<Evidence, String>, Suspect)> = (suspects.into_par_iter())
            .chain(cleared.into_par_iter())
            .map(|suspect| (suspect.evidence(pairs.get(&suspect.id)), suspect))
            .collect();
        let known = || decided.iter().filter_map(|(evidence, _)| evidence.as_ref().ok());
        let worse = holm(&known().map(|evidence| evidence.worse).collect::<Vec<_>>());
        let better = holm(&known().map(|evidence| evidence.better).collect::<Vec<_>>());
        let known = decided.iter_mut().filter_map(|(evidence, _)| evidence.as_mut().ok());
        for (known, (worse, better)) in known.zip(worse.into_iter().zip(better)) {
            (known.worse, known.better) = (worse, better);
        }
        findings.extend(decided.into_iter().map(|(evidence, suspect)| {
            let by_samples = Some(&suspect.finding).filter(|found| found.verdict == Verdict::Passed).cloned();
            let by_pairs = suspect.conclude(evidence, &thresholds);
            // If pairs leave a benchmark open, or were not run, the samples decide that it passes.
            let is_open = matches!(by_pairs.verdict, Verdict::Inconclusive | Verdict::TooNoisy);
            by_samples.filter(|_| is_open && !is_contradicted).unwrap_or(by_pairs)
        }));
        Judgement::new(findings)
    }
}
