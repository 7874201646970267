//! What the gate says of a benchmark, and what that does to the exit code.

use serde::{Deserialize, Serialize};

use crate::measure::Better;
use crate::results::Kind;

/// What the gate says of a benchmark, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Worse than allowed.
    Regressed,
    /// A file is truncated, of another form, or holds what is no measurement.
    Unreadable,
    /// The baseline has it and the candidate does not.
    Missing,
    /// The result of one side is a leftover of an earlier run.
    Stale,
    /// Its times were taken on different machines, or of builds with different features.
    OtherMachine,
    /// Too few samples, or two profiles.
    QuickRun,
    /// Runs scatter too much to see what is allowed.
    TooNoisy,
    /// Neither worse nor not worse beyond doubt.
    Inconclusive,
    /// The candidate has it and the baseline does not.
    New,
    /// Better by more than would be allowed in the other direction.
    Improved,
    /// Not worse than allowed.
    Passed,
}

/// What a verdict does to the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// None: exit code 0.
    Pass,
    /// Exit code 2, unless something else has regressed.
    CannotJudge,
    /// Exit code 1. No setting can ask for it.
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

    /// In words.
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

    /// What it does, where `undecided` is what the settings want of a benchmark
    /// that stays so. Nothing passes because something is absent.
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

/// What the gate says of one benchmark, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The benchmark.
    pub id: String,
    /// What it measures.
    pub kind: Kind,
    /// What is said.
    pub verdict: Verdict,
    /// What that does to the exit code.
    pub effect: Effect,
    /// How much worse it may become, as a share.
    pub allowed: f64,
    /// The baseline's value, in the unit of the kind.
    pub baseline: Option<f64>,
    /// The candidate's value.
    pub candidate: Option<f64>,
    /// How the two compare, where they do.
    pub change: Option<Change>,
    /// Why, and what to do, where it did not pass.
    pub reason: Option<String>,
}

/// How two values compare: relative changes, 0.1 for 10 % more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The change; not finite if the baseline is 0.
    pub estimate: f64,
    /// The smallest that is likely: the lower end of the 90 % interval, which has
    /// 95 % on either side.
    pub lower: f64,
    /// The largest that is likely.
    pub upper: f64,
    /// The pairs of runs that it rests on, 0 for the saved samples alone.
    pub pairs: usize,
}

/// Everything that the gate says.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Of each benchmark, the worst first, then the largest worsening.
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

    /// What all of it does to the exit code. A regression wins; nothing compared
    /// cannot be judged.
    pub fn effect(&self) -> Effect {
        let compared = self.findings.iter().any(|finding| finding.verdict != Verdict::New);
        let worst = self.findings.iter().map(|finding| finding.effect).max();
        worst.filter(|_| compared).unwrap_or(Effect::CannotJudge)
    }

    /// How many benchmarks got each verdict, the worst first, without zeros.
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
