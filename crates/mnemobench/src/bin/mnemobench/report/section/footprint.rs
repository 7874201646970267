//! RAM and disk usage by number of memories.

use std::collections::BTreeMap;

use criterion_gate::results::Kind;

use super::{Section, tier};
use crate::report::plot::{self, Axis, Error, Scale, Series};
use crate::run_results::{Benchmark, RunResults};
use crate::table::Table;
use crate::units;

/// Bytes by aspect (`ram`, `heap`, `rss`, `disk`) and number of memories.
type Sizes<'m> = BTreeMap<&'m str, BTreeMap<usize, f64>>;

pub(super) fn section(measured: &RunResults) -> Result<Section, Error> {
    let mut section = Section::new(
        "footprint",
        "Footprint by number of memories",
        "cargo bench --bench footprint",
        "RAM is the anonymous memory of a fresh process beyond that of an empty engine. The heap is measured the same \
         way. Resident memory is that of the whole process, including pages of mapped files, which the system reclaims \
         when it needs them. Lower is better. A straight line at 45 degrees is proportional to the number of memories.",
    );
    let mut tiers: BTreeMap<(usize, &str), Sizes<'_>> = BTreeMap::new();
    for benchmark in measured.of("footprint") {
        if let Some((tier, aspect, memories)) = told(benchmark) {
            let sizes = tiers.entry(tier).or_default();
            sizes.entry(aspect).or_default().insert(memories, benchmark.value.point);
        }
    }
    for (aspect, name) in [("ram", "RAM"), ("disk", "Disk")] {
        let lines = tiers.iter().filter_map(|((_, tier), sizes)| {
            let points = sizes.get(aspect)?.iter().map(|(&memories, &bytes)| [memories as f64, bytes]);
            Some(Series::joined(tier, points.collect()))
        });
        let series: Vec<Series> = lines.collect();
        let mut table = Table::new([
            "tier",
            "#memories",
            "#all",
            "#per 1,000",
            "#per 1,000 added",
            "#heap per 1,000",
            "#resident in all",
        ]);
        for ((_, tier), sizes) in &tiers {
            rows(tier, sizes, aspect, &mut table);
        }
        let x = Axis::new("memories", Scale::Logarithmic, units::count);
        let y = Axis::new(name, Scale::Logarithmic, |bytes| units::round(&units::bytes(bytes)));
        let plot = plot::points(&x, &y, &series)?;
        section.plot(&format!("{name} by the number of memories"), plot, table.without_empty_columns());
    }
    Ok(section.of_bench(measured, "footprint"))
}

/// Parses `footprint_<tier>/<kind>/<memories>` or `footprint_<aspect>_<tier>/ram/<memories>`.
fn told(benchmark: &Benchmark) -> Option<((usize, &'static str), &str, usize)> {
    let name = benchmark.group().strip_prefix("footprint_")?;
    let (aspect, tier_name) = name.rsplit_once('_').unwrap_or(("", name));
    let aspect = match (aspect, benchmark.kind) {
        ("", Kind::Ram | Kind::Disk) => benchmark.kind.as_str(),
        (aspect, Kind::Ram) => aspect,
        _ => return None,
    };
    Some((tier(tier_name)?, aspect, benchmark.number().filter(|&memories| memories > 0)?))
}

/// Adds a row for each number of memories for which `aspect` was measured.
fn rows(tier: &str, sizes: &Sizes<'_>, aspect: &str, table: &mut Table) {
    let per_thousand = |bytes: f64, memories: usize| units::bytes(bytes / memories as f64 * 1e3);
    let mut before: Option<(usize, f64)> = None;
    for (&memories, &bytes) in sizes.get(aspect).into_iter().flatten() {
        // Heap and resident memory do not belong to the table of disk usage.
        let [heap, resident] = ["heap", "rss"]
            .map(|other| sizes.get(other)?.get(&memories).filter(|_| aspect == "ram").copied());
        let added = before.map(|(fewer, less)| per_thousand(bytes - less, memories - fewer));
        table.row([
            tier.to_owned(),
            units::count(memories as f64),
            units::bytes(bytes),
            per_thousand(bytes, memories),
            added.unwrap_or_default(),
            heap.map(|heap| per_thousand(heap, memories)).unwrap_or_default(),
            resident.map(units::bytes).unwrap_or_default(),
        ]);
        before = Some((memories, bytes));
    }
}
