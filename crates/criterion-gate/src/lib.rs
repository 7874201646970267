//! The gate's rule: whether a candidate is worse than a baseline by more than is
//! allowed, on a machine that is not quiet.
//!
//! It knows neither Criterion nor processes: [`screen`] judges what was saved, and
//! says which benchmarks are suspects; [`Screening::conclude`] takes what pairs of
//! runs of both executables gave for these.
//!
//! With theta = ln(1 + allowed) where less is better, and ln(1 / (1 - allowed))
//! where more is:
//!
//! 1. **Screen.** Saved samples clear a benchmark if the bootstrap's upper 95 % bound of
//!    ln(median new / median old) is below what *half* the allowed worsening gives, and if
//!    the [reference work](crate::reference) beside both shows that the runs met the same
//!    machine: the baseline's took at most 3 % longer, and the bound holds with that added
//!    too. A benchmark that looks better than it was is not cleared either. All others are
//!    suspects.
//! 2. **Confirm.** Each run of a pair of a suspect gives a median. The change c is
//!    the mean of ln(median) over the faster half of the candidate's runs, less that
//!    of the baseline's ([`pairs::Randomization`]). It has *regressed* if c > 0.95
//!    theta and the p of "the true change is at most what 30 % of the allowed
//!    worsening gives", adjusted by Holm over all suspects, is at most alpha. It has
//!    *passed* if the p of "at least theta" is at most 5 %. Otherwise it is
//!    *inconclusive*, or *too noisy* if its interval is wider than 1.6 theta. After
//!    four pairs and every two more, those that a bound of 99.5 % on the mean
//!    difference within pairs ([`pairs::Student`]) clears are not run any further;
//!    nothing else is decided early.
//!    What slows some runs only does not show in the faster halves, so the mean difference
//!    within pairs counts as c where its p is smaller, or where it alone is above 0.95
//!    theta; the p of whichever counts is doubled (Bonferroni).
//! 3. **Audit.** The reference work does not see all that slows a benchmark: a disk that is
//!    busy, say. So what the samples clear runs in pairs too, in random order, as far as the
//!    budget lasts and [`thresholds::Gate::audit`] allows. If the pairs of one show a change
//!    that is larger by more than theta than that of its samples, these hide what they should
//!    show, and all that samples cleared has to be confirmed.
//! 4. **Bytes and qualities** are compared as they are.
//!
//! Suspects are confirmed in the order of their apparent changes, the largest first, for
//! as long as the budget lasts. One that cannot be confirmed is inconclusive: a machine
//! that was busier in one run has slowed all samples of it, and they do not tell. If you know that
//! it was as quiet in both, you may judge by them alone ([`Screening::conclude_alone`]): what has
//! regressed then is where the bootstrap's p of "at most theta", adjusted by Holm over
//! all benchmarks, is at most alpha.
//!
//! `mnemobench selftest` prints how often all of this errs.

// No panic that input could reach: what cannot fail is written so that it shows.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

pub mod machine;
pub mod measure;
pub mod pairs;
pub mod parent_death;
pub mod profile;
pub mod random;
pub mod reference;
pub mod results;
mod screen;
pub mod statistics;
mod suspect;
pub mod thresholds;
pub mod verdict;

use std::collections::BTreeMap;

pub use self::screen::{Pairs, Screening, screen};
pub use self::suspect::Suspect;
use crate::machine::Machine;
use crate::results::{Kind, Taken};

/// Criterion takes at least as many unless it is told `--quick`.
const FEWEST_SAMPLES: usize = 10;
/// The confidence of the bounds.
const CONFIDENCE: f64 = 0.95;
/// The part of the allowed worsening below which a benchmark is clear.
const CLEAR: f64 = 0.5;
/// ln of how much longer the baseline's reference work may have taken. On a quiet machine
/// two runs differ by less; a neighbor that hides a regression of 10 % shows as more.
const SAME_MACHINE: f64 = 0.03;
/// The part of the allowed worsening that pairs must exceed beyond doubt. At 1, a
/// worsening just above what is allowed would be found in one of twenty runs.
const BEYOND_DOUBT: f64 = 0.3;

/// What one side measured, by the names of the benchmarks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// What was measured.
    pub observations: BTreeMap<String, Observation>,
}

/// What is known of a benchmark on one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The bench that it belongs to; empty if unknown.
    pub bench: String,
    /// What it measures.
    pub kind: Kind,
    /// The measurement.
    pub data: Data,
    /// The mean time of the [reference work](crate::reference) beside it, in nanoseconds.
    pub reference: Option<f64>,
    /// When, how and where it was taken, where that was noted.
    pub origin: Option<Origin>,
}

/// When, how and where something was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// When and how.
    pub taken: Taken,
    /// Where.
    pub machine: Machine,
}

/// A measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Values of an iteration; nanoseconds, or bytes.
    Samples {
        /// One each.
        values: Vec<f64>,
        /// Operations in an iteration.
        operations: u64,
    },
    /// One value in the unit of the kind.
    Value(f64),
    /// Neither, and why.
    Unreadable(String),
}

impl Data {
    /// The value of an iteration: the median.
    fn point(&self) -> Option<f64> {
        match self {
            Self::Samples { values, .. } => statistics::median(values),
            Self::Value(value) => Some(*value),
            Self::Unreadable(_) => None,
        }
    }

    /// The samples; of a throughput per operation, as an iteration may have others on the
    /// other side.
    fn compared(&self, kind: Kind) -> Option<Vec<f64>> {
        match self {
            Self::Samples { values, operations } => {
                let operations = if kind == Kind::Throughput { *operations as f64 } else { 1.0 };
                Some(values.iter().map(|value| value / operations).collect())
            }
            Self::Value(_) | Self::Unreadable(_) => None,
        }
    }

    /// The value in the unit of `kind`.
    pub fn shown(&self, kind: Kind) -> Option<f64> {
        match self {
            Self::Samples { operations, .. } if kind == Kind::Throughput => {
                Some(*operations as f64 * 1e9 / self.point()?)
            }
            _ => self.point(),
        }
    }
}

impl Observation {
    /// What is wrong with the value, if anything.
    fn fault(&self) -> Option<String> {
        let sensible = |value: &f64| value.is_finite() && *value >= 0.0;
        match &self.data {
            Data::Unreadable(reason) => Some(reason.clone()),
            Data::Samples { values, .. } if values.is_empty() => Some("it has no samples".into()),
            Data::Samples { values, .. } => values
                .iter()
                .find(|value| !(sensible(value) && **value > 0.0))
                .map(|value| format!("expected finite samples above 0; found {value}")),
            Data::Value(value) if !sensible(value) => {
                Some(format!("expected a finite value that is not negative; found {value}"))
            }
            Data::Value(_) => None,
        }
    }

    fn is_quick(&self) -> bool {
        let few = matches!(&self.data, Data::Samples { values, .. } if values.len() < FEWEST_SAMPLES);
        few || self.origin.as_ref().is_some_and(|origin| origin.taken.quick)
    }
}

/// Whether two benchmarks are compared as they are, without statistics.
fn is_exact(kind: Kind) -> bool {
    match kind {
        Kind::Wall | Kind::P99 | Kind::Throughput => false,
        Kind::Ram | Kind::Disk | Kind::Quality => true,
    }
}
