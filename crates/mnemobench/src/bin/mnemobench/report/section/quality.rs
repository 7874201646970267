//! Quality of the answers, and the time of a recall.

use std::collections::BTreeMap;

use criterion_gate::results::Kind;

use super::{Section, time_axis};
use crate::report::plot::{self, Axis, Error, Row, Scale};
use crate::run_results::{Benchmark, RunResults};
use crate::table::Table;
use crate::units;

/// Systems: the name in the bench and the displayed name. The first is ours.
const SYSTEMS: [(&str, &str); 5] = [
    ("mnemocore", "MnemoCore"),
    ("mnemocore_hypervectors", "MnemoCore's hypervectors"),
    ("bm25", "BM25"),
    ("bm25_own_terms", "BM25 on MnemoCore's terms"),
    ("bm25_normalised", "BM25 / largest"),
];
const MEASURES: [(&str, &str); 3] =
    [("recall5", "recall@5"), ("recall10", "recall@10"), ("ndcg10", "nDCG@10")];
/// Kinds of questions without an answer.
const UNANSWERABLE: [(&str, &str); 3] = [
    ("adversarial", "adversarial"),
    ("elsewhere", "put to another scope"),
    ("unanswerable", "without evidence"),
];
/// Searches whose time is shown: the group of the benchmark and the displayed name.
const SEARCHES: [(&str, &str); 3] = [
    ("recall_hot", "inverted lists, texts"),
    ("recall_vector", "cascade, vectors"),
    ("recall_exact", "exact scan, vectors"),
];

/// Values by `<reach>_<system>_<measure>` or `<kind>_<system>_auc`.
type Values<'m> = BTreeMap<&'m str, f64>;

pub(super) fn section(measured: &RunResults) -> Result<Section, Error> {
    let mut section = Section::new(
        "quality",
        "Quality beside speed",
        "cargo bench --bench quality",
        "Share of the memories that answer a question among the first five or ten found, by system. Searches cover the \
         memories of the asking agent (scoped) or all memories (global). Further right is better. These values do \
         not depend on the machine. The time of MnemoCore's searches is shown below.",
    );
    let mut data_sets: BTreeMap<&str, Values<'_>> = BTreeMap::new();
    for benchmark in measured.of("quality").filter(|benchmark| benchmark.kind == Kind::Quality) {
        let data_set = benchmark.group().strip_prefix("quality_").unwrap_or(benchmark.group());
        data_sets.entry(data_set).or_default().insert(benchmark.case(), benchmark.value.point);
    }
    for (data_set, values) in &data_sets {
        answers(&mut section, data_set, values)?;
        refusals(&mut section, data_set, values);
    }
    if section.is_measured() {
        speed(&mut section, measured)?;
    }
    Ok(section.of_bench(measured, "quality"))
}

fn answers(section: &mut Section, data_set: &str, values: &Values<'_>) -> Result<(), Error> {
    let mut table = Table::new(["among", "system", "#recall@5", "#recall@10", "#nDCG@10"]);
    let mut rows = Vec::new();
    for reach in ["scoped", "global"] {
        for (system, name) in SYSTEMS {
            let of = |measure: &str| values.get(format!("{reach}_{system}_{measure}").as_str()).copied();
            let found = MEASURES.map(|(measure, _)| of(measure));
            if found.iter().all(Option::is_none) {
                continue;
            }
            let [at_5, at_10, ndcg] =
                found.map(|value| value.map_or_else(String::new, |value| format!("{value:.3}")));
            table.row([reach.into(), name.into(), at_5, at_10, ndcg]);
            let values = found.map(|value| value.unwrap_or(f64::NAN)).to_vec();
            rows.push(Row { label: format!("{reach}: {name}"), values });
        }
    }
    let axis = Axis::new("share of relevant memories (recall), gain (nDCG)", Scale::Linear, |value| {
        format!("{value:.2}")
    });
    let plot = plot::rows(&axis, &MEASURES.map(|(_, name)| name), &rows)?;
    section.plot(&format!("Answers found, data set {data_set}"), plot, table);
    Ok(())
}

fn refusals(section: &mut Section, data_set: &str, values: &Values<'_>) {
    let mut table = Table::new(["questions without an answer", "system", "#area under the curve"]);
    for (kind, kind_name) in UNANSWERABLE {
        for (system, name) in SYSTEMS {
            if let Some(area) = values.get(format!("{kind}_{system}_auc").as_str()) {
                table.row([kind_name.into(), name.into(), format!("{area:.3}")]);
            }
        }
    }
    section.table(
        &format!("Told apart from questions with an answer by confidence, data set {data_set}"),
        table,
    );
}

/// Adds the time of recalls, from the latency bench.
fn speed(section: &mut Section, measured: &RunResults) -> Result<(), Error> {
    let mut table =
        Table::new(["search", "#memories", "#time of one recall", "#95 % interval", "#recalls per second"]);
    let mut rows = Vec::new();
    for (group, name) in SEARCHES {
        let mut found: Vec<(usize, &Benchmark)> = measured
            .of("latency")
            .filter(|benchmark| benchmark.group() == group && benchmark.kind == Kind::Wall)
            .filter_map(|benchmark| Some((benchmark.number()?, benchmark)))
            .collect();
        found.sort_by_key(|(memories, _)| *memories);
        for (memories, Benchmark { kind, value, .. }) in found {
            let memories = units::count(memories as f64);
            rows.push(Row { label: format!("{name}, {memories}"), values: vec![value.point] });
            let (time, interval) = (units::time(value.point), units::interval(*kind, value.interval));
            table.row([name.to_owned(), memories, time, interval, units::count(1e9 / value.point)]);
        }
    }
    let plot = plot::rows(&time_axis("time of one recall"), &["median"], &rows)?;
    section.plot("Time of recalls in HOT, from the latency bench", plot, table);
    Ok(())
}
