//! Operations per second, and other measurements under load.

use std::collections::BTreeMap;

use criterion_gate::results::Kind;

use super::frontier::is_frontier;
use super::{Section, listed};
use crate::report::plot::{self, Axis, Error, Scale, Series};
use crate::run_results::{Benchmark, RunResults};
use crate::table::Table;
use crate::units;

pub(super) fn section(measured: &RunResults) -> Result<Section, Error> {
    let mut section = Section::new(
        "throughput",
        "Throughput by workers",
        "cargo bench --bench throughput",
        "Each worker waits for its answer before it asks again. Higher is better. The mixes a to f are those of \
         YCSB: a stores half the time, b and d once in twenty, f recalls before half its stores.",
    );
    let mut loads: BTreeMap<&str, BTreeMap<usize, &Benchmark>> = BTreeMap::new();
    for benchmark in measured.of("throughput").filter(|benchmark| is_closed_loop(benchmark)) {
        let workers = benchmark.number().unwrap_or_default();
        loads.entry(benchmark.group()).or_default().insert(workers, benchmark);
    }

    let mut table =
        Table::new(["load", "#workers", "#operations per second", "#95 % interval", "#against the fewest"]);
    for (load, points) in &loads {
        let fewest = points.values().next().map_or(f64::NAN, |benchmark| benchmark.value.point);
        for (workers, Benchmark { value, .. }) in points {
            let interval = value.interval.map(|bounds| bounds.map(units::count).join(" to "));
            let (rate, times) =
                (units::count(value.point), format!("{} x", units::digits(value.point / fewest)));
            table.row([(*load).to_owned(), workers.to_string(), rate, interval.unwrap_or_default(), times]);
        }
    }
    // A single number of workers gives no line.
    let lines = loads.iter().filter(|(_, points)| points.len() > 1 || loads.len() == 1);
    let series: Vec<Series> = lines
        .map(|(load, points)| {
            let points = points.iter().map(|(&workers, benchmark)| [workers as f64, benchmark.value.point]);
            Series::joined(load, points.collect())
        })
        .collect();
    let mut workers: Vec<f64> =
        series.iter().flat_map(|series| &series.points).map(|point| point[0]).collect();
    workers.sort_by(f64::total_cmp);
    workers.dedup();
    let x = Axis::new("workers", Scale::Logarithmic, units::count).ticks(workers);
    let y = Axis::new("operations per second", Scale::Logarithmic, units::count);
    section.plot("Operations per second, by the number of workers", plot::points(&x, &y, &series)?, table);

    let others =
        measured.of("throughput").filter(|benchmark| !is_closed_loop(benchmark) && !is_frontier(benchmark));
    section.table(
        "Under load: arrivals at a fixed rate, counted from when they were due; filters; cold start",
        listed(others),
    );
    Ok(section.of_bench(measured, "throughput"))
}

/// Whether the id has the form `<load>/throughput/<workers>`.
fn is_closed_loop(benchmark: &Benchmark) -> bool {
    benchmark.kind == Kind::Throughput && benchmark.number().is_some_and(|workers| workers > 0)
}
