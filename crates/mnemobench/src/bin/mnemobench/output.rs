//! The output of `detect` as text, JSON and Markdown.

mod json;
mod markdown;
mod text;

use std::path::PathBuf;

use criterion_gate::measure::Better;
use criterion_gate::results::Kind;
use criterion_gate::verdict::{Change, Effect, Finding, Judgement, Verdict};
use criterion_gate::{Origin, Side};

use super::cli::DetectArgs;

pub(crate) use self::json::{VERSION, json};
pub(crate) use self::markdown::markdown;
pub(crate) use self::text::text;

/// The result of `detect`.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) effect: Effect,
    pub(crate) exit_code: u8,
    /// The reason why nothing could be compared, if so.
    pub(crate) error: Option<String>,
    pub(crate) baseline: Described,
    pub(crate) candidate: Described,
    pub(crate) judgement: Judgement,
}

/// A summary of one side.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) name: String,
    /// The location of its results.
    pub(crate) source: Source,
    /// The origin of its latest benchmark.
    pub(crate) origin: Option<Origin>,
}

/// The location of a side's results.
#[derive(Debug)]
pub(crate) enum Source {
    /// Saved by Criterion, as a baseline or as the last run.
    Criterion,
    /// A baseline recorded in this folder.
    Recorded(PathBuf),
}

impl Report {
    pub(crate) fn new(
        arguments: &DetectArgs,
        source: Source,
        sides: [&Side; 2],
        judgement: Judgement,
    ) -> Self {
        let effect = judgement.effect();
        let origin = |side: &Side| {
            let origins = side.observations.values().filter_map(|observation| observation.origin.as_ref());
            origins.max_by_key(|origin| origin.taken.unix_seconds).cloned()
        };
        let [old, new] = sides.map(origin);
        let candidate =
            Described { name: arguments.candidate.clone(), source: Source::Criterion, origin: new };
        let baseline = Described { name: arguments.baseline.clone(), source, origin: old };
        Self { effect, exit_code: effect.exit_code(), error: None, baseline, candidate, judgement }
    }

    /// Creates the report of a run that could not be compared.
    pub(crate) fn failed(baseline: &str, candidate: &str, error: String) -> Self {
        let side = |name: &str| Described { name: name.into(), source: Source::Criterion, origin: None };
        Self {
            effect: Effect::CannotJudge,
            exit_code: Effect::CannotJudge.exit_code(),
            error: Some(error),
            baseline: side(baseline),
            candidate: side(candidate),
            judgement: Judgement { findings: Vec::new() },
        }
    }

    /// Returns the outcome in one sentence.
    fn headline(&self) -> String {
        let counts: Vec<String> =
            self.judgement.counts().map(|(verdict, count)| format!("{count} {}", verdict.as_str())).collect();
        let said = match self.effect {
            Effect::Pass => "Passed",
            Effect::Regressed => "Regressed",
            Effect::CannotJudge => "Cannot be judged",
        };
        match &self.error {
            Some(error) => format!("{said}: {error}."),
            None if counts.is_empty() => format!("{said}: no benchmarks."),
            None => format!("{said}: {}.", counts.join(", ")),
        }
    }
}

impl Described {
    /// Describes the side in one line.
    fn line(&self) -> String {
        let Self { name, source, origin } = self;
        let source = match source {
            Source::Criterion => String::new(),
            Source::Recorded(folder) => format!(", recorded in {}", folder.display()),
        };
        match origin {
            Some(Origin { taken, .. }) => {
                format!("{name}{source}: revision {}, profile {}", taken.revision, taken.profile)
            }
            None => format!("{name}{source}"),
        }
    }
}

/// The columns of the table of verdicts.
const COLUMNS: [&str; 6] = ["verdict", "benchmark", "baseline", "candidate", "change [90 %]", "allowed"];

fn cells(finding: &Finding) -> [String; 6] {
    let shown = |value: Option<f64>| value.map_or("-".into(), |value| amount(finding.kind, value));
    [
        finding.verdict.as_str().into(),
        finding.id.clone(),
        shown(finding.baseline),
        shown(finding.candidate),
        finding.change.map_or("-".into(), |change| changed(finding.kind, &change)),
        allowed(finding),
    ]
}

fn allowed(finding: &Finding) -> String {
    let sign = match finding.kind.better() {
        Better::Lower => '+',
        Better::Higher => '-',
    };
    // A new benchmark has no baseline, so no limit applies.
    if finding.verdict == Verdict::New {
        "-".into()
    } else {
        format!("{sign}{:.0} %", 100.0 * finding.allowed)
    }
}

fn changed(kind: Kind, change: &Change) -> String {
    let Change { estimate, lower, upper, pairs } = *change;
    let estimate = format!("{:+.1} %", 100.0 * estimate);
    if matches!(kind, Kind::Ram | Kind::Disk | Kind::Quality) {
        return estimate;
    }
    let interval = format!("{estimate} [{:+.1}, {:+.1}]", 100.0 * lower, 100.0 * upper);
    if pairs == 0 { interval } else { format!("{interval}, {pairs} pairs") }
}

/// Formats a value in a suitable unit.
fn amount(kind: Kind, value: f64) -> String {
    match kind {
        Kind::Wall | Kind::P99 => scaled(value, &[(1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")]),
        Kind::Throughput => scaled(value, &[(1e6, "M/s"), (1e3, "K/s"), (1.0, "/s")]),
        Kind::Ram | Kind::Disk => scaled(value, &[(1e9, "GB"), (1e6, "MB"), (1e3, "KB"), (1.0, "B")]),
        Kind::Quality => format!("{value:.4}"),
    }
}

fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let fitting = units.iter().find(|(size, _)| value.abs() >= *size).or(units.last());
    fitting.map_or(value.to_string(), |(size, unit)| format!("{:.4} {unit}", Rounded(value / size)))
}

/// Displays a number with as many significant digits as the precision says.
struct Rounded(f64);

impl std::fmt::Display for Rounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(4);
        let whole = self.0.abs().max(1.0).log10().floor() as usize + 1;
        write!(f, "{:.*}", digits.saturating_sub(whole), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_a_unit_that_suits_them() {
        assert_eq!(amount(Kind::P99, 1_234_567.0), "1.235 ms");
        assert_eq!(amount(Kind::Wall, 97.2), "97.20 ns");
        assert_eq!(amount(Kind::Ram, 2_600_000.0), "2.600 MB");
        assert_eq!(amount(Kind::Throughput, 10_870.2), "10.87 K/s");
        assert_eq!(amount(Kind::Quality, 0.994), "0.9940");
        assert_eq!(amount(Kind::Disk, 0.0), "0.000 B");
    }
}
