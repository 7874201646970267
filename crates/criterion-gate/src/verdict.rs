//! Verdicts on benchmarks, and their effect on the exit code.

use serde::{Deserialize, Serialize};

use crate::measure::Better;
use crate::results::Kind;

/// The gate's verdict on a benchmark, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Worse than allowed.
    Regressed,
    /// A file is truncated, has another format, or holds an invalid measurement.
    Unreadable,
    /// The baseline has it and the candidate does not.
    Missing,
    /// The result of one side is a leftover of an earlier run.
    Stale,
    /// Its times were taken on different machines, or of builds with different features.
    OtherMachine,
    /// Too few samples, or different profiles.
    QuickRun,
    /// The runs scatter too much to resolve the allowed change.
    TooNoisy,
    /// Neither a regression nor its absence is significant.
    Inconclusive,
    /// The candidate has it and the baseline does not.
    New,
    /// Better by more than the allowed worsening.
    Improved,
    /// Not worse than allowed.
    Passed,
}

/// The effect of a verdict on the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// None: exit code 0.
    Pass,
    /// Exit code 2, unless something else has regressed.
    CannotJudge,
    /// Exit code 1. No setting can choose it.
    #[serde(skip_deserializing)]
    Regressed,
}

impl Effect {
    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Regressed => 1,
            Self::CannotJudge => 2,
        }
    }
}

impl Verdict {
    /// All of them, the worst first.
    pub const ALL: [Self; 11] = [
        Self::Regressed,
        Self::Unreadable,
        Self::Missing,
        Self::Stale,
        Self::OtherMachine,
        Self::QuickRun,
        Self::TooNoisy,
        Self::Inconclusive,
        Self::New,
        Self::Improved,
        Self::Passed,
    ];

    /// The verdict in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Unreadable => "unreadable",
            Self::Missing => "missing",
            Self::Stale => "stale",
            Self::OtherMachine => "other machine",
            Self::QuickRun => "quick run",
            Self::TooNoisy => "too noisy",
            Self::Inconclusive => "inconclusive",
            Self::New => "new",
            Self::Improved => "improved",
            Self::Passed => "passed",
        }
    }

    /// Returns the effect on the exit code. `undecided` is the setting for an undecided benchmark.
    /// A missing result never passes.
    pub fn effect(self, undecided: Effect) -> Effect {
        match self {
            Self::Regressed => Effect::Regressed,
            Self::Unreadable | Self::Missing | Self::Stale | Self::OtherMachine | Self::QuickRun => {
                Effect::CannotJudge
            }
            Self::TooNoisy | Self::Inconclusive => undecided,
            Self::New | Self::Improved | Self::Passed => Effect::Pass,
        }
    }
}

/// The gate's verdict on one benchmark, with the reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The benchmark.
    pub id: String,
    /// The measured quantity.
    pub kind: Kind,
    /// The verdict.
    pub verdict: Verdict,
    /// The effect on the exit code.
    pub effect: Effect,
    /// The allowed worsening, as a share.
    pub allowed: f64,
    /// The baseline's value, in the unit of the kind.
    pub baseline: Option<f64>,
    /// The candidate's value.
    pub candidate: Option<f64>,
    /// The change between both values, if they can be compared.
    pub change: Option<Change>,
    /// The reason and the remedy, if it did not pass.
    pub reason: Option<String>,
}

/// A relative change between two values: 0.1 is 10 % more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The change; not finite if the baseline is 0.
    pub estimate: f64,
    /// The smallest likely change: the lower end of the 90 % interval, a one-sided 95 % bound.
    pub lower: f64,
    /// The largest likely change: the upper end of that interval.
    pub upper: f64,
    /// The number of pairs of runs behind it; 0 for the saved samples alone.
    pub pairs: usize,
}

/// The findings on all benchmarks.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// A finding for each benchmark: the worst verdict first, then the largest worsening.
    pub findings: Vec<Finding>,
}

impl Judgement {
    pub(super) fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| {
            (a.verdict.cmp(&b.verdict))
                .then_with(|| b.worsening().total_cmp(&a.worsening()))
                .then_with(|| a.id.cmp(&b.id))
        });
        Self { findings }
    }

    /// Returns the effect of all findings on the exit code. A regression wins. If nothing was
    /// compared, the effect is [`Effect::CannotJudge`].
    pub fn effect(&self) -> Effect {
        let compared = self.findings.iter().any(|finding| finding.verdict != Verdict::New);
        let worst = self.findings.iter().map(|finding| finding.effect).max();
        worst.filter(|_| compared).unwrap_or(Effect::CannotJudge)
    }

    /// Counts the benchmarks of each verdict, the worst first, without zeros.
    pub fn counts(&self) -> impl Iterator<Item = (Verdict, usize)> + '_ {
        let count = |verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count();
        Verdict::ALL.into_iter().map(move |verdict| (verdict, count(verdict))).filter(|(_, count)| *count > 0)
    }
}

impl Finding {
    /// The change in the bad direction.
    fn worsening(&self) -> f64 {
        self.change.map_or(f64::NEG_INFINITY, |change| match self.kind.better() {
            Better::Lower => change.estimate,
            Better::Higher => -change.estimate,
        })
    }
}
