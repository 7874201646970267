//! Results as JSON, one file for each group of benchmarks. The name consists of category, group and
//! time: `latency_recall_hot_20261124T120000Z.json`.

use std::collections::BTreeMap;

use criterion_gate::machine::Machine;
use criterion_gate::measure::{Percentiles, Unit};
use criterion_gate::results::{Kind, Taken};
use serde::Serialize;

use crate::run_results::{Benchmark, RunResults};
use crate::units;

/// Incremented when a field changes its meaning or is removed.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct File<'m> {
    format: u32,
    /// The name of the bench.
    category: &'m str,
    /// The group of benchmarks.
    name: &'m str,
    machine: &'m Machine,
    benchmarks: Vec<Result<'m>>,
}

#[derive(Serialize)]
struct Result<'m> {
    id: &'m str,
    kind: Kind,
    unit: Unit,
    value: f64,
    /// The 95 % interval.
    interval: Option<[f64; 2]>,
    percentiles: Option<Percentiles>,
    operations: u64,
    taken: &'m Taken,
}

/// Returns the names and contents of the files. The time in a name is that of the newest result, so
/// that equal results give equal files.
pub(crate) fn export(measured: &RunResults) -> BTreeMap<String, String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Benchmark>> = BTreeMap::new();
    for benchmark in measured.benchmarks.values() {
        groups.entry((&benchmark.bench, benchmark.group())).or_default().push(benchmark);
    }
    let files = groups.into_iter().filter_map(|((category, name), benchmarks)| {
        let newest = benchmarks.iter().map(|benchmark| benchmark.taken.unix_seconds).max()?;
        // Avoids repeating the category, as in `footprint_hot` of the bench `footprint`.
        let short = name.strip_prefix(category).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name);
        let file_name = format!("{}_{}_{}.json", safe(category), safe(short), units::stamp(newest));
        let machine = &measured.bench(category)?.machine;
        let benchmarks = benchmarks.into_iter().map(result).collect();
        let file = File { format: FORMAT, category, name, machine, benchmarks };
        Some((file_name, serde_json::to_string_pretty(&file).ok()? + "\n"))
    });
    files.collect()
}

fn result(benchmark: &Benchmark) -> Result<'_> {
    let Benchmark { id, kind, value, percentiles, operations, taken, .. } = benchmark;
    let (unit, interval) = (kind.unit(), value.interval);
    Result {
        id,
        kind: *kind,
        unit,
        value: value.point,
        interval,
        percentiles: *percentiles,
        operations: *operations,
        taken,
    }
}

/// Replaces characters that are not safe in a file name.
fn safe(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_alphanumeric() || "-_.".contains(letter) { letter } else { '-' })
        .collect()
}
