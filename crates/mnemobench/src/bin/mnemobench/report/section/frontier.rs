//! Recall against queries per second of a search by vector, for different limits.

use std::collections::BTreeMap;

use criterion_gate::results::Kind;

use super::Section;
use crate::report::plot::{self, Axis, Error, Scale, Series};
use crate::run_results::{Benchmark, RunResults};
use crate::table::Table;
use crate::units;

pub(super) fn section(measured: &RunResults) -> Result<Section, Error> {
    let mut section = Section::new(
        "frontier",
        "Recall against queries per second",
        "cargo bench --bench throughput -- frontier",
        "One point for each setting of the limits of a search by vector, with the exact scan as oracle, on one thread. Up and \
         to the right is better. A star marks the settings that no other setting beats in both. A line connects them.",
    );
    let mut searches: BTreeMap<&str, BTreeMap<&str, [f64; 2]>> = BTreeMap::new();
    for benchmark in measured.benchmarks.values().filter(|benchmark| is_frontier(benchmark)) {
        let settings = searches.entry(benchmark.group()).or_default();
        let point = settings.entry(benchmark.case()).or_insert([f64::NAN; 2]);
        point[usize::from(benchmark.kind == Kind::Throughput)] = benchmark.value.point;
    }

    let mut table = Table::new(["search", "limits", "#recall@10", "#queries per second", "best"]);
    let mut series = Vec::new();
    for (search, settings) in &searches {
        let search = search.trim_start_matches(PREFIX);
        let mut points: Vec<(&str, [f64; 2])> =
            settings.iter().map(|(setting, point)| (*setting, *point)).collect();
        points.sort_by(|(_, a), (_, b)| b[1].total_cmp(&a[1]));
        for (setting, point) in &points {
            let star = if points.iter().any(|(_, other)| beats(other, point)) { "" } else { "*" };
            let [recall, rate] = [format!("{:.4}", point[0]), units::count(point[1])];
            table.row([search.to_owned(), (*setting).to_owned(), recall, rate, star.into()]);
        }
        let points: Vec<[f64; 2]> = points.into_iter().map(|(_, point)| point).collect();
        let is_best = |point: &&[f64; 2]| !points.iter().any(|other| beats(other, point));
        let line = points.iter().filter(is_best).copied().collect();
        series.push(Series { name: search.to_owned(), points, line });
    }
    let x = Axis::new("recall@10 against the exact scan", Scale::Linear, |value| format!("{value:.3}"));
    let y = Axis::new("queries per second", Scale::Logarithmic, units::count);
    section.plot("Recall@10 against queries per second", plot::points(&x, &y, &series)?, table);
    if section.is_measured()
        && let Some(bench) = measured.bench("throughput")
    {
        let frontier = measured.benchmarks.values().filter(|benchmark| is_frontier(benchmark));
        section.origin = super::origin(&bench.machine, frontier);
    }
    Ok(section)
}

const PREFIX: &str = "frontier_";

/// Whether the benchmark is the recall or the rate of a point.
pub(super) fn is_frontier(benchmark: &Benchmark) -> bool {
    benchmark.group().starts_with(PREFIX)
}

fn beats(a: &[f64; 2], b: &[f64; 2]) -> bool {
    a[0] >= b[0] && a[1] >= b[1] && a != b
}
