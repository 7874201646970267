//! The content of the report: one section per subject, as plots and tables, independent of the
//! output format.

mod change;
mod compare;
mod footprint;
mod frontier;
mod kernels;
mod latency;
mod other;
mod quality;
mod slo;
mod throughput;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use criterion_gate::machine::Machine;
use criterion_gate::results::Taken;
use criterion_gate::thresholds::Slo;
use mnemobench::compare::Comparison;

use super::plot::{Axis, Error, Scale};
use crate::run_results::{Benchmark, RunResults};
use crate::table::Table;
use crate::units;
use crate::verdicts::Verdicts;

/// A section of the report.
#[derive(Debug)]
pub(crate) struct Section {
    /// The name used in markers, such as `latency`.
    pub(crate) key: &'static str,
    /// Its title.
    pub(crate) title: &'static str,
    /// The measured quantities and how to read them.
    pub(crate) about: &'static str,
    /// The command that measures it.
    pub(crate) command: Cow<'static, str>,
    /// Tables and plots; empty if nothing was measured.
    pub(crate) parts: Vec<Part>,
    /// Caveats and other remarks.
    pub(crate) notes: Vec<String>,
    /// The machine, time and revision of the measurement.
    pub(crate) origin: String,
}

/// A table, and its plot if it has one.
#[derive(Debug)]
pub(crate) struct Part {
    /// The caption of the table.
    pub(crate) caption: String,
    /// The plot as SVG.
    pub(crate) plot: Option<String>,
    /// The figures.
    pub(crate) table: Table,
    /// Whether the part is a detail, which is folded or left out.
    pub(crate) is_detail: bool,
}

/// Returns all sections, and the changes if there are `verdicts`.
///
/// # Errors
/// If a plot cannot be drawn.
pub(crate) fn all(
    measured: &RunResults,
    verdicts: Option<&Verdicts>,
    levels: &[Slo],
    comparison: Option<&Comparison>,
) -> Result<Vec<Section>, Error> {
    let sections = [
        slo::section(measured, levels),
        latency::section(measured)?,
        throughput::section(measured)?,
        footprint::section(measured)?,
        quality::section(measured)?,
        compare::section(comparison)?,
        frontier::section(measured)?,
        kernels::section(measured),
        other::section(measured),
    ];
    let change = verdicts.map(|verdicts| change::section(measured, verdicts)).transpose()?;
    Ok(sections.into_iter().chain(change).collect())
}

/// Returns the section of a comparison alone.
///
/// # Errors
/// If its plot cannot be drawn.
pub(crate) fn of_comparison(comparison: &Comparison) -> Result<Section, Error> {
    compare::section(Some(comparison))
}

/// The keys of all sections.
pub(crate) const KEYS: [&str; 10] = [
    "slo",
    "latency",
    "throughput",
    "footprint",
    "quality",
    "compare",
    "frontier",
    "kernels",
    "other",
    "change",
];

impl Section {
    fn new(key: &'static str, title: &'static str, command: &'static str, about: &'static str) -> Self {
        let (command, origin) = (command.into(), String::new());
        Self { key, title, about, command, parts: Vec::new(), notes: Vec::new(), origin }
    }

    /// Whether there is anything to show.
    pub(crate) fn is_measured(&self) -> bool {
        !self.parts.is_empty()
    }

    fn table(&mut self, caption: &str, table: Table) {
        self.part(caption, None, table);
    }

    fn plot(&mut self, caption: &str, plot: String, table: Table) {
        self.part(caption, Some(plot), table);
    }

    fn part(&mut self, caption: &str, plot: Option<String>, table: Table) {
        if !table.rows.is_empty() {
            self.parts.push(Part { caption: caption.to_owned(), plot, table, is_detail: false });
        }
    }

    fn detail(&mut self, caption: &str, table: Table) {
        let before = self.parts.len();
        self.table(caption, table);
        self.parts.iter_mut().skip(before).for_each(|part| part.is_detail = true);
    }

    /// Adds the targets of a bench, and the machine and time of its run.
    fn of_bench(mut self, measured: &RunResults, name: &str) -> Self {
        let Some(bench) = measured.bench(name) else { return self };
        let mut table = Table::new(["target of", "measured", "target", "met"]);
        for target in &bench.targets {
            let met = if target.met { "yes" } else { "MISSED" }.to_owned();
            table.row([target.name.clone(), target.measured.clone(), target.target.clone(), met]);
        }
        self.table("Targets, measured in rounds that alternate where they are ratios", table);
        if self.is_measured() {
            self.origin = origin(&bench.machine, measured.of(name));
        }
        self
    }
}

/// The profiles, revisions and latest time of some benchmarks.
#[derive(Debug, Default)]
pub(super) struct Runs {
    pub(super) profiles: String,
    pub(super) revisions: String,
    pub(super) last: String,
}

impl Runs {
    /// Summarizes `all`; the fields are empty without any.
    pub(super) fn of<'a>(all: impl Iterator<Item = &'a Taken>) -> Self {
        let (mut profiles, mut revisions, mut last) = (BTreeSet::new(), BTreeSet::new(), None);
        for taken in all {
            let quick = if taken.quick { " with two samples (--quick)" } else { "" };
            profiles.insert(format!("{}{quick}", taken.profile));
            revisions.insert(taken.revision.clone());
            last = last.max(Some(taken.unix_seconds));
        }
        let [profiles, revisions] = [profiles, revisions].map(|names| Vec::from_iter(names).join(", "));
        Self { profiles, revisions, last: last.map_or_else(String::new, units::date) }
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profiles, revisions, last } = self;
        write!(f, "profile {profiles}; revision {revisions}; {last}")
    }
}

/// Describes machine, profiles, revisions and time in one line.
fn origin<'a>(machine: &Machine, benchmarks: impl Iterator<Item = &'a Benchmark>) -> String {
    let runs = Runs::of(benchmarks.map(|benchmark| &benchmark.taken));
    format!("Measured on {}; {runs}.", units::machine(machine))
}

fn time_axis(name: &str) -> Axis {
    Axis::new(name, Scale::Logarithmic, |nanoseconds| units::round(&units::time(nanoseconds)))
}

/// Returns the position and the displayed name of a tier that is part of a benchmark's name.
fn tier(name: &str) -> Option<(usize, &'static str)> {
    ["HOT", "WARM", "COLD"].into_iter().enumerate().find(|(_, tier)| tier.eq_ignore_ascii_case(name))
}

/// Returns a table of value, interval and percentiles of the benchmarks.
fn listed<'a>(benchmarks: impl Iterator<Item = &'a Benchmark>) -> Table {
    let mut table = Table::new(["benchmark", "#value", "#95 % interval", "#P50", "#P95", "#P99"]);
    for benchmark in benchmarks {
        let Benchmark { id, kind, value, percentiles, .. } = benchmark;
        let percentiles = percentiles.map_or_else(Default::default, |percentiles| {
            [percentiles.p50, percentiles.p95, percentiles.p99].map(|time| units::value(*kind, time))
        });
        let [p50, p95, p99] = percentiles;
        let (point, interval) = (units::value(*kind, value.point), units::interval(*kind, value.interval));
        table.row([id.clone(), point, interval, p50, p95, p99]);
    }
    table.without_empty_columns()
}
