//! The gate's rule: whether a candidate is worse than a baseline by more than is allowed, on a
//! machine that is not quiet.
//!
//! The rule knows neither Criterion nor processes. [`screen`] judges the saved samples and returns
//! the suspects. [`Screening::conclude`] takes the results of paired runs of both executables for
//! these suspects.
//!
//! Theta is ln(1 + allowed) if less is better, and ln(1 / (1 - allowed)) if more is better.
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
//!    A change that slows only some runs does not show in the faster halves. So the mean difference
//!    within pairs counts as c if its p is smaller, or if it alone is above 0.95 theta. The p of
//!    the one that counts is doubled (Bonferroni).
//! 3. **Audit.** The reference work misses some causes of a slow benchmark, e.g. a busy disk. So
//!    cleared benchmarks run in pairs too, in random order, as far as the budget lasts and
//!    [`thresholds::Gate::audit`] allows. If the pairs of one show a change that exceeds the change
//!    of its samples by more than theta, the samples hide a regression. Then all cleared benchmarks
//!    have to be confirmed.
//! 4. **Bytes and qualities** are compared as they are.
//!
//! Suspects are confirmed in the order of their apparent changes, the largest first, for as long as
//! the budget lasts. A suspect that cannot be confirmed is inconclusive: a machine that was busier
//! in one run has slowed all of its samples, so they cannot decide. If you know that the machine
//! was equally quiet in both runs, you may judge by the samples alone
//! ([`Screening::conclude_alone`]). Then a benchmark has regressed if the bootstrap's p of "at most
//! theta", adjusted by Holm over all benchmarks, is at most alpha.
//!
//! `mnemobench selftest` prints the error rates of this rule.

// No panic that input could reach: what cannot fail is written so that it shows.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

pub mod baseline_name;
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

/// The least number of samples of a full run; Criterion takes fewer only with `--quick`.
const FEWEST_SAMPLES: usize = 10;
/// The confidence of the bounds.
const CONFIDENCE: f64 = 0.95;
/// The part of the allowed worsening below which a benchmark is clear.
const CLEAR: f64 = 0.5;
/// ln of the largest ratio of the baseline's reference work to the candidate's. On a quiet machine
/// two runs differ by less. A neighbor that hides a regression of 10 % shows as more.
const SAME_MACHINE: f64 = 0.03;
/// The part of the allowed worsening that pairs must exceed beyond doubt. At 1, a
/// worsening just above what is allowed would be found in one of twenty runs.
const BEYOND_DOUBT: f64 = 0.3;

/// The measurements of one side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// Measurements by the names of their benchmarks.
    pub observations: BTreeMap<String, Observation>,
}

/// A benchmark's measurement on one side, and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The bench that it belongs to; empty if unknown.
    pub bench: String,
    /// The measured quantity.
    pub kind: Kind,
    /// The measurement.
    pub data: Data,
    /// The mean time of the [reference work](crate::reference) beside it, in nanoseconds.
    pub reference: Option<f64>,
    /// The origin of the measurement, if it was noted.
    pub origin: Option<Origin>,
}

/// When, how and where a measurement was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// When and how.
    pub taken: Taken,
    /// The machine.
    pub machine: Machine,
}

/// A measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Values of an iteration, in nanoseconds or bytes.
    Samples {
        /// One value for each iteration.
        values: Vec<f64>,
        /// Operations in an iteration.
        operations: u64,
    },
    /// One value in the unit of the kind.
    Value(f64),
    /// The measurement cannot be used, for this reason.
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

    /// The samples. Those of a throughput are per operation, because the sides may have different
    /// numbers of operations in an iteration.
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
    /// Returns the reason if the value is no valid measurement.
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
