//! `mnemobench slo`: checks the results against service levels.

use std::error::Error;

use criterion_gate::measure::Better;
use criterion_gate::results::{Kind, NEW};
use criterion_gate::thresholds::{Slo, Statistic};
use glob::Pattern;
use serde::Serialize;

use crate::CANNOT_JUDGE;
use crate::cli::{Format, SloArgs};
use crate::run_results::{Benchmark, RunResults};
use crate::streams;
use crate::table::Table;
use crate::units;

/// Exit codes besides [`CANNOT_JUDGE`].
const KEPT: u8 = 0;
const BROKEN: u8 = 1;

/// Prints both tables and returns the exit code.
pub(crate) fn slo(arguments: &SloArgs) -> Result<u8, Box<dyn Error>> {
    let own = arguments.home.thresholds(arguments.thresholds.as_deref())?.slo;
    let home = arguments.home.criterion()?;
    let measured = RunResults::read(&home, NEW);
    measured.unreadable.iter().for_each(|(what, reason)| streams::note(format!("warning: {what}: {reason}")));
    let levels = Levels::judge(&measured, &own);
    let printed = match arguments.format {
        Format::Text => streams::print(&levels.print(Table::to_text)),
        Format::Markdown => streams::print(&levels.print(Table::to_markdown)),
        Format::Json => streams::line(serde_json::to_string_pretty(&levels)?),
    };
    Ok(streams::exit_code(levels.exit_code(), printed))
}

/// A limit for the worst of some benchmarks.
struct Objective {
    name: String,
    /// Patterns that must each match a measured benchmark.
    ids: Vec<Pattern>,
    /// Patterns of benchmarks that count if they were measured.
    also: Vec<Pattern>,
    statistic: Statistic,
    kind: Kind,
    limit: f64,
    /// Whether the limit is per thousand memories. The benchmark's id then ends with the number of
    /// memories.
    is_per_thousand: bool,
    command: String,
}

/// Returns the service levels that MnemoCore 3.0 in Python set for itself.
fn general() -> Vec<Objective> {
    let patterns = |ids: &[&str]| ids.iter().filter_map(|id| Pattern::new(id).ok()).collect();
    let objective = |name: &str, ids: &[&str], also: &[&str], kind: Kind, limit, bench: &str| Objective {
        name: name.to_owned(),
        ids: patterns(ids),
        also: patterns(also),
        statistic: if kind == Kind::P99 { Statistic::P99 } else { Statistic::Median },
        kind,
        limit,
        is_per_thousand: kind == Kind::Ram,
        command: format!("cargo bench --bench {bench}"),
    };
    let stores = ["store_hot/p99/*", "store_warm/p99/*", "store_cold/p99/*"];
    let recalls = ["recall_hot/p99/*", "recall_warm/p99/*", "recall_cold/p99/*"];
    // Loads that wait for the disk are left out, because the original never did.
    let loads = ["store/throughput/*", "recall/throughput/*"];
    // Ids of `mnemocore_suite::run`, which users call from their own programs.
    let other_loads =
        ["mixed_?/throughput/*", "store_*_threads/throughput/*", "recall_*_threads/throughput/*"];
    let ram = ["footprint_hot/ram/*", "footprint_warm/ram/*", "footprint_cold/ram/*"];
    vec![
        objective("store", &stores, &["store_*/p99/*"], Kind::P99, 50e6, "latency"),
        objective("query", &recalls, &["recall_*/p99/*"], Kind::P99, 50e6, "latency"),
        objective("throughput", &loads, &other_loads, Kind::Throughput, 100.0, "throughput"),
        objective("RAM per 1,000 memories", &ram, &[], Kind::Ram, 50e6, "footprint"),
    ]
}

fn own(slo: &Slo) -> Objective {
    let literal = slo.id.as_str().split(['*', '?', '[']).next().unwrap_or_default();
    let kind = Kind::of_name(slo.id.as_str());
    let bench = match kind {
        Kind::Ram | Kind::Disk => " --bench footprint",
        Kind::Throughput => " --bench throughput",
        Kind::Quality => " --bench quality",
        Kind::Wall | Kind::P99 => "",
    };
    // The filter is a regular expression, and ids of the suite contain no special characters of
    // one.
    let filter = if literal.is_empty() { String::new() } else { format!(" -- {literal}") };
    Objective {
        name: slo.name.clone(),
        ids: vec![slo.id.clone()],
        also: Vec::new(),
        statistic: slo.statistic,
        kind,
        limit: slo.limit,
        is_per_thousand: false,
        command: format!("cargo bench{bench}{filter}"),
    }
}

/// The tables of service levels.
#[derive(Debug, Serialize)]
pub(crate) struct Levels {
    /// The service levels of MnemoCore 3.0 in Python.
    pub(crate) general: Vec<Level>,
    /// The service levels in `thresholds.toml`.
    pub(crate) own: Vec<Level>,
}

/// A service level and the worst benchmark measured against it.
#[derive(Debug, Serialize)]
pub(crate) struct Level {
    name: String,
    /// The measured quantity, which determines the unit of `limit`.
    kind: Kind,
    statistic: &'static str,
    limit: f64,
    /// The worst benchmark, if it was measured.
    worst: Option<Worst>,
    /// The benchmark or percentile that is missing or unreadable, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    command: String,
}

#[derive(Debug, Serialize)]
struct Worst {
    benchmark: String,
    value: f64,
    /// The distance to the limit as a share of it; negative if the level is broken.
    margin: f64,
    is_kept: bool,
    profile: String,
    revision: String,
}

impl Levels {
    /// Judges the results by the general levels and by `own_levels`.
    pub(crate) fn judge(measured: &RunResults, own_levels: &[Slo]) -> Self {
        let judge = |objective: Objective| objective.judge(measured);
        Self {
            general: general().into_iter().map(judge).collect(),
            own: own_levels.iter().map(own).map(judge).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Level> {
        self.general.iter().chain(&self.own)
    }

    /// A broken level takes precedence over one that was not measured.
    fn exit_code(&self) -> u8 {
        let is_broken = |level: &Level| level.worst.as_ref().is_some_and(|worst| !worst.is_kept);
        match () {
            () if self.all().any(is_broken) => BROKEN,
            () if self.all().all(Level::is_measured) => KEPT,
            () => CANNOT_JUDGE,
        }
    }

    fn print(&self, format: fn(&Table) -> String) -> String {
        let mut text = String::new();
        for (title, levels) in [(GENERAL, &self.general), (OWN, &self.own)] {
            if !levels.is_empty() {
                text += &format!("{title}\n\n{}\n\n", format(&table(levels)).trim_end());
            }
        }
        for level in self.all().filter(|level| !level.is_measured()) {
            let missing = level.missing.as_deref().unwrap_or_default();
            text += &format!("{}: not measured ({missing}); run `{}`\n", level.name, level.command);
        }
        text
    }
}

/// Titles of the two tables.
pub(crate) const GENERAL: &str = "Service levels of MnemoCore 3.0 in Python:";
pub(crate) const OWN: &str = "Our own, from baselines/thresholds.toml:";

/// Returns the levels as a table.
pub(crate) fn table(levels: &[Level]) -> Table {
    let mut table =
        Table::new(["service level", "kept", "#measured", "#limit", "#margin", "worst benchmark", "run"]);
    for level in levels {
        let limit = format!("{} {}", level.bound(), units::value(level.kind, level.limit));
        let [kept, measured, margin, benchmark, run] = level.cells();
        table.row([level.title(), kept, measured, limit, margin, benchmark, run]);
    }
    table
}

impl Level {
    fn is_measured(&self) -> bool {
        self.worst.is_some() && self.missing.is_none()
    }

    /// Returns the name, followed by the percentile if the level is about one.
    fn title(&self) -> String {
        let Self { name, statistic, .. } = self;
        if statistic.starts_with('P') { format!("{name}, {statistic}") } else { name.clone() }
    }

    /// Returns the cells: kept, measured value, margin, benchmark, run.
    fn cells(&self) -> [String; 5] {
        match &self.worst {
            // A broken level is shown even if some benchmarks are missing.
            Some(worst) if self.missing.is_none() || !worst.is_kept => [
                if worst.is_kept { "yes" } else { "NO" }.to_owned(),
                units::value(self.kind, worst.value),
                units::percent(worst.margin),
                worst.benchmark.clone(),
                format!("{}, {}", worst.profile, worst.revision),
            ],
            _ => [
                "?".into(),
                "not measured".into(),
                String::new(),
                String::new(),
                format!("`{}`", self.command),
            ],
        }
    }

    fn bound(&self) -> &'static str {
        match self.kind.better() {
            Better::Lower => "at most",
            Better::Higher => "at least",
        }
    }
}

impl Objective {
    fn matches(&self, id: &str) -> bool {
        self.ids.iter().chain(&self.also).any(|pattern| pattern.matches(id))
    }

    fn judge(self, measured: &RunResults) -> Level {
        let mut missing = measured
            .unreadable
            .iter()
            .filter(|(id, _)| self.matches(id))
            .map(|(id, _)| format!("{id} is unreadable"));
        let mut missing = missing.next();
        let mut worst: Option<Worst> = None;
        for benchmark in measured.benchmarks.values().filter(|benchmark| self.matches(&benchmark.id)) {
            match self.value(benchmark) {
                Some(value) => {
                    let found = self.compare(benchmark, value);
                    if worst.as_ref().is_none_or(|worst| found.margin < worst.margin) {
                        worst = Some(found);
                    }
                }
                None => missing = Some(format!("{} has no {}", benchmark.id, statistic(self.statistic))),
            }
        }
        let is_there = |pattern: &&Pattern| measured.benchmarks.keys().any(|id| pattern.matches(id));
        if let Some(pattern) = self.ids.iter().find(|pattern| !is_there(pattern)) {
            missing.get_or_insert_with(|| format!("no {pattern}"));
        }
        let Self { name, kind, limit, command, .. } = self;
        Level { name, kind, statistic: statistic(self.statistic), limit, worst, missing, command }
    }

    fn compare(&self, benchmark: &Benchmark, value: f64) -> Worst {
        let margin = -self.kind.better().worsening(self.limit, value);
        Worst {
            benchmark: benchmark.id.clone(),
            value,
            margin,
            is_kept: margin >= 0.0,
            profile: format!(
                "{}{}",
                benchmark.taken.profile,
                if benchmark.taken.quick { " --quick" } else { "" }
            ),
            revision: benchmark.taken.revision.clone(),
        }
    }

    /// Returns the value to compare with the limit, if the benchmark has it.
    fn value(&self, benchmark: &Benchmark) -> Option<f64> {
        let percentile = |of: fn(criterion_gate::measure::Percentiles) -> f64| benchmark.percentiles.map(of);
        let value = match self.statistic {
            Statistic::Median => Some(benchmark.value.point),
            Statistic::P50 => percentile(|percentiles| percentiles.p50),
            Statistic::P95 => percentile(|percentiles| percentiles.p95),
            // The percentile of all operations is preferred. A P99 benchmark without percentiles
            // has the median of its samples' percentiles instead.
            Statistic::P99 => percentile(|percentiles| percentiles.p99)
                .or_else(|| (benchmark.kind == Kind::P99).then_some(benchmark.value.point)),
        }?;
        if !self.is_per_thousand {
            return Some(value);
        }
        benchmark.number().filter(|&memories| memories > 0).map(|memories| value / (memories as f64 / 1e3))
    }
}

fn statistic(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::Median => "median",
        Statistic::P50 => "P50",
        Statistic::P95 => "P95",
        Statistic::P99 => "P99",
    }
}
