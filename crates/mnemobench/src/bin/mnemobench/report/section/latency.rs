//! Latency of store, recall and synthesize by tier.

use criterion_gate::results::Kind;

use super::{Section, listed, tier, time_axis};
use crate::report::plot::{self, Error, Row};
use crate::run_results::{Benchmark, RunResults};
use crate::table::Table;
use crate::units;

/// The order in which an agent uses them.
const VERBS: [&str; 3] = ["store", "recall", "synthesize"];

pub(super) fn section(measured: &RunResults) -> Result<Section, Error> {
    let mut section = Section::new(
        "latency",
        "Latency by tier",
        "cargo bench --bench latency",
        "Single operations, timed one by one, and the median in a loop. Further left is better.",
    );
    let mut cases: Vec<Case<'_>> = measured.of("latency").filter_map(Case::new).collect();
    cases.sort_by_key(|case| (case.verb, case.tier.0, case.memories));

    let mut table = Table::new([
        "verb",
        "tier",
        "#memories",
        "#P50",
        "#P95",
        "#P99",
        "#longest",
        "#in a loop",
        "#95 % interval",
    ]);
    let mut rows = Vec::new();
    for case in &cases {
        let Some(percentiles) = case.benchmark.percentiles else { continue };
        let memories = units::count(case.memories as f64);
        let [p50, p95, p99] = [percentiles.p50, percentiles.p95, percentiles.p99];
        let (verb, tier) = (VERBS[case.verb], case.tier.1);
        rows.push(Row { label: format!("{verb} {tier} {memories}"), values: vec![p50, p95, p99] });
        let wall = measured.benchmarks.get(&case.benchmark.id.replace("/p99/", "/wall/"));
        let looped = wall.map_or_else(String::new, |wall| units::time(wall.value.point));
        let interval = wall.map_or_else(String::new, |wall| units::interval(wall.kind, wall.value.interval));
        let [p50, p95, p99, longest] = [p50, p95, p99, percentiles.max].map(units::time);
        table.row([verb.into(), tier.into(), memories, p50, p95, p99, longest, looped, interval]);
    }
    let plot = plot::rows(&time_axis("time of one operation"), &["P50", "P95", "P99"], &rows)?;
    section.plot("Time of one operation, by verb, tier and number of memories", plot, table);

    let others = measured.of("latency").filter(|benchmark| {
        benchmark.kind != Kind::P99
            && !measured.benchmarks.contains_key(&benchmark.id.replace("/wall/", "/p99/"))
    });
    section.table("Measured in a loop only", listed(others));
    Ok(section.of_bench(measured, "latency"))
}

/// The parts of a benchmark's name.
struct Case<'m> {
    verb: usize,
    tier: (usize, &'static str),
    memories: usize,
    benchmark: &'m Benchmark,
}

impl<'m> Case<'m> {
    /// Parses a name of the form `<verb>_<tier>/p99/<memories>`. Returns `None` for other names.
    fn new(benchmark: &'m Benchmark) -> Option<Self> {
        let (verb, tier_name) = benchmark.group().split_once('_')?;
        let verb = VERBS.iter().position(|known| *known == verb)?;
        let memories = benchmark.number().filter(|_| benchmark.kind == Kind::P99)?;
        Some(Self { verb, tier: tier(tier_name)?, memories, benchmark })
    }
}
