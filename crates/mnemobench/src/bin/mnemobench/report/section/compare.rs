//! Comparison of memory systems. The figures in which another system is better come first.

use std::collections::BTreeMap;

use criterion_gate::measure::{Better, Unit};
use mnemobench::compare::Comparison;
use mnemobench::compare::cell::{Check, Restart, Subject};
use mnemobench::compare::summary::{Calls, Estimate, Figure, Group, Lead, OURS, Row, Settings, Value};

use super::Section;
use crate::report::plot::{self, Axis, Error, Scale, Series};
use crate::table::Table;
use crate::units;

/// Caveats that a reader must know to interpret the figures.
const BIAS: [&str; 10] = [
    "We chose the data, the questions and the measures, and wrote the adapters. An expert in a system may get \
     more out of it.",
    "No language model takes part. Work that other products give to a model (extracting facts, resolving \
     contradictions, building a graph, rewriting a question) is not measured. Graphiti without it is not the Zep \
     service, and a memory is stored as it was said.",
    "MnemoCore matches words. A sentence model also finds paraphrases, which shows under minilm. Under hash, the \
     vectors match words as well.",
    "The constants of MnemoCore's encoder were chosen on LoCoMo and SciFact without a held-out set, so its \
     results on these two are optimistic.",
    "The quantized sentence model runs on one thread and is not bit-equal to the original. Its time is in every \
     figure that does not say \"without embedding\".",
    "The durability of a store differs by system and is shown in its row. A system that waits for the disk is \
     slower.",
    "Servers have the machine to themselves, and their clients run on the same machine. At other sizes, over a \
     network or with many machines, another order is likely.",
    "Percentiles are of single calls by one client, in the order of the data. A conversation of a few hundred \
     memories is a small store. Costs that grow with the number of memories are higher in a larger one.",
    "RAM includes the interpreter and the libraries of an adapter, and the sentence model if one is loaded, \
     because a user of that system has them in memory too. Disk includes the size of an empty store, which may be \
     most of a small one.",
    "Our figures go through the same process boundary as the others'. The row in-process shows the cost of the \
     boundary.",
];

const ABOUT: &str = "Every system stores the same memories in the same order and answers the same questions, for five \
     and for ten memories, through the same line protocol (adapters/PROTOCOL.md). The adapter \
     takes the times around its system's own call, so they exclude the pipe. The details also \
     show the times that the driver measures. Answers are checked outside the timer. A system \
     that returns nothing, or hits that were never stored, is shown but not ranked. Values are \
     medians over rounds, in which the order of systems changes. The 95 % intervals are from a \
     bootstrap over rounds and questions. With three rounds they are about the range, and a \
     single measurement has none.";

pub(super) fn section(comparison: Option<&Comparison>) -> Result<Section, Error> {
    let mut section = Section::new("compare", "Memory systems side by side", "mnemobench compare", ABOUT);
    let Some(comparison) = comparison else { return Ok(section) };
    section.command = command(&comparison.settings).into();
    let leads = comparison.leads();
    for group in &comparison.groups {
        if group.ranked().any(|row| row.row == OURS) {
            let caption =
                format!("Figures in which another system is better than MnemoCore; {}", describe(group));
            section.table(&caption, better(group, &leads));
        }
    }
    for group in &comparison.groups {
        let about = describe(group);
        section.plot(&format!("Answers and time; {about}"), plot(group)?, answers(group));
        section.table(&format!("Load, footprint and restart; {about}"), footprint(group));
    }
    section.table("Not measured", absent(comparison));
    for group in &comparison.groups {
        let about = describe(group);
        section.detail(&format!("Against MnemoCore, with 95 % intervals; {about}"), ratios(group));
        section.detail(&format!("All calls; {about}"), calls(group));
    }
    section.detail("How each system was run", subjects(&comparison.subjects));
    section.notes = notes(comparison);
    section.origin = origin(comparison);
    Ok(section)
}

fn command(settings: &Settings) -> String {
    let Settings { data, limit, clients, rounds, .. } = settings;
    // Generated conversations are the default, without a folder.
    let data = if data.starts_with("generated_") { String::new() } else { format!(" --data {data}") };
    let limit = limit.map_or_else(String::new, |limit| format!(" --limit {limit}"));
    let clients: Vec<String> = clients.iter().map(usize::to_string).collect();
    format!("mnemobench compare{data}{limit} --rounds {rounds} --clients {}", clients.join(","))
}

fn describe(group: &Group) -> String {
    let Group { embedder, conversations, memories, questions, is_common, .. } = group;
    let count = conversations.len();
    let named = match conversations.as_slice() {
        [one] => format!("conversation {one}"),
        _ => format!("{count} conversations"),
    };
    let all = if *is_common { ", those that every system has done" } else { "" };
    let [memories, questions] = [*memories, *questions].map(|count| units::count(count as f64));
    format!("embedder {embedder}, {named}{all}: {memories} memories, {questions} questions")
}

/// Returns a table with a row for each figure in which another system is better, the best system
/// first.
fn better(group: &Group, leads: &[Lead<'_>]) -> Table {
    let mut table = Table::new(["figure", "#MnemoCore", "better"]);
    let mut by_figure: BTreeMap<Figure, Vec<&Lead<'_>>> = BTreeMap::new();
    for lead in leads.iter().filter(|lead| std::ptr::eq(lead.group, group)) {
        by_figure.entry(lead.value.figure).or_default().push(lead);
    }
    for (figure, mut leads) in by_figure {
        let point = |lead: &&Lead<'_>| match figure.better() {
            Better::Higher => -lead.value.value.point,
            Better::Lower => lead.value.value.point,
        };
        leads.sort_by(|a, b| point(a).total_cmp(&point(b)));
        let ours = leads.first().map_or_else(String::new, |lead| value(lead.ours));
        let named: Vec<String> = leads
            .iter()
            .map(|lead| format!("{} {} ({})", lead.row.title, value(lead.value), against(lead.value)))
            .collect();
        table.row([figure.to_string(), ours, named.join("; ")]);
    }
    if table.rows.is_empty() {
        table.row(["none".to_owned(), String::new(), "in no figure, beyond the uncertainty".to_owned()]);
    }
    table
}

fn plot(group: &Group) -> Result<String, Error> {
    let point = |row: &Row| {
        let [x, y] =
            [Figure::RecallAt10, Figure::Recall].map(|figure| row.value(figure).map(|v| v.value.point));
        Some(Series { name: row.title.clone(), points: vec![[x?, y?]], line: Vec::new() })
    };
    let series: Vec<Series> = group.ranked().filter_map(point).collect();
    let x = Axis::new("recall@10; further right is better", Scale::Linear, |value| format!("{value:.2}"));
    let y = Axis::new("recall, P50; further down is better", Scale::Logarithmic, |nanoseconds| {
        units::round(&units::time(nanoseconds))
    });
    plot::points(&x, &y, &series)
}

fn answers(group: &Group) -> Table {
    let mut table = Table::new([
        "system",
        "#recall@5",
        "#recall@10",
        "#95 % interval",
        "#nDCG@10",
        "#recall P50",
        "#95 % interval",
        "#P95",
        "#P99",
        "#store mean",
        "#P50",
        "#P95",
        "#P99",
        "rank",
    ]);
    for row in &group.rows {
        let [at_5, at_10, ndcg] =
            [Figure::RecallAt5, Figure::RecallAt10, Figure::Ndcg].map(|figure| of(row, figure));
        let recall = row.calls.get("recall of 10").copied();
        let store = row.calls.get("store").copied();
        let time = |calls: Option<Calls>, of: fn(Calls) -> f64| {
            calls.map_or_else(String::new, |calls| units::time(of(calls)))
        };
        let rank = row.disqualified.as_ref().map_or_else(String::new, |why| format!("not ranked: {why}"));
        table.row([
            row.title.clone(),
            at_5,
            at_10,
            interval(row, Figure::RecallAt10),
            ndcg,
            time(recall, |calls| calls.p50),
            interval(row, Figure::Recall),
            time(recall, |calls| calls.p95),
            time(recall, |calls| calls.p99),
            time(store, |calls| calls.mean),
            time(store, |calls| calls.p50),
            time(store, |calls| calls.p95),
            time(store, |calls| calls.p99),
            rank,
        ]);
    }
    table.without_empty_columns()
}

fn footprint(group: &Group) -> Table {
    let mut clients: Vec<usize> = group
        .rows
        .iter()
        .flat_map(|row| &row.values)
        .filter_map(|value| if let Figure::Throughput(clients) = value.figure { Some(clients) } else { None })
        .collect();
    clients.sort_unstable();
    clients.dedup();
    let heads = ["#recall without embedding", "#store without embedding"].map(str::to_owned).into_iter();
    let heads = heads.chain(clients.iter().map(|clients| match clients {
        1 => "#recalls/s, 1 client".to_owned(),
        clients => format!("#{clients} clients"),
    }));
    let heads = heads.chain(
        ["#RAM", "#disk per 1,000", "#cold start", "#restart", "all there again", "forgets"]
            .map(str::to_owned),
    );
    let heads: Vec<String> = std::iter::once("system".to_owned()).chain(heads).collect();
    let mut table = Table::of_columns(heads.iter().map(String::as_str));
    for row in &group.rows {
        let alone = [Figure::RecallAlone, Figure::StoreAlone];
        let alone = alone.map(|figure| if row.embeds { of(row, figure) } else { String::new() });
        let load = clients.iter().map(|&clients| match of(row, Figure::Throughput(clients)) {
            none if none.is_empty() => "not at once".to_owned(),
            rate => rate,
        });
        let ram = Some(of(row, Figure::Ram)).filter(|ram| !ram.is_empty());
        let disk = Some(of(row, Figure::Disk)).filter(|disk| !disk.is_empty());
        let rest = [
            ram.unwrap_or_else(|| "not measured".to_owned()),
            disk.unwrap_or_else(|| "none".to_owned()),
            of(row, Figure::ColdStart),
            of(row, Figure::Restart),
            check(&row.restart, "kept in RAM only", restarted),
            check(&row.forget, "cannot", |gone| if *gone { "yes" } else { "NO" }.to_owned()),
        ];
        table.rows.push(std::iter::once(row.title.clone()).chain(alone).chain(load).chain(rest).collect());
    }
    table.without_empty_columns()
}

fn ratios(group: &Group) -> Table {
    const FIGURES: [Figure; 7] = [
        Figure::RecallAt5,
        Figure::RecallAt10,
        Figure::Store,
        Figure::Recall,
        Figure::Ram,
        Figure::Disk,
        Figure::ColdStart,
    ];
    let mut table = Table::new([
        "system",
        "#recall@5 less ours",
        "#recall@10 less ours",
        "#store P50",
        "#recall P50",
        "#RAM",
        "#disk",
        "#cold start",
    ]);
    for row in group.ranked().filter(|row| row.row != OURS) {
        let [at_5, at_10, store, recall, ram, disk, start] =
            FIGURES.map(|figure| row.value(figure).map_or_else(String::new, against));
        table.row([row.title.clone(), at_5, at_10, store, recall, ram, disk, start]);
    }
    if table.rows.iter().all(|row| row.iter().skip(1).all(String::is_empty)) {
        table.rows.clear();
    }
    table
}

fn absent(comparison: &Comparison) -> Table {
    let mut table = Table::new(["system", "embedder", "why", "how to get it"]);
    for absent in &comparison.absent {
        let embedder = absent.embedder.map_or_else(String::new, |embedder| embedder.to_string());
        table.row([
            absent.title.clone(),
            embedder,
            absent.reason.clone(),
            absent.command.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn calls(group: &Group) -> Table {
    let mut table = Table::new(["system", "call", "#mean", "#P50", "#P95", "#P99"]);
    for row in &group.rows {
        for (call, Calls { mean, p50, p95, p99 }) in &row.calls {
            let [mean, p50, p95, p99] = [mean, p50, p95, p99].map(|time| units::time(*time));
            table.row([row.title.clone(), call.clone(), mean, p50, p95, p99]);
        }
    }
    table
}

fn subjects(subjects: &BTreeMap<String, Subject>) -> Table {
    let mut table =
        Table::new(["row", "system", "version", "path", "settings", "on disk when a store returns"]);
    for (row, Subject { title, hello, .. }) in subjects {
        let settings: Vec<String> =
            hello.settings.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        table.row([
            row.clone(),
            title.clone(),
            hello.version.clone(),
            hello.path.clone(),
            settings.join(", "),
            hello.durability.clone(),
        ]);
    }
    table
}

fn notes(comparison: &Comparison) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    let refused = comparison.groups.iter().flat_map(|group| &group.rows);
    for row in refused {
        let refusals = row.refusals.iter().map(|refusal| format!("{}: {refusal}.", row.title));
        notes.extend(refusals.filter(|note| !notes.contains(note)).collect::<Vec<_>>());
    }
    if comparison.left_out > 0 {
        notes.push(format!("{} cells of other settings or versions are left out.", comparison.left_out));
    }
    notes.extend(BIAS.map(str::to_owned));
    notes
}

fn origin(comparison: &Comparison) -> String {
    let mut machines: Vec<String> = comparison.machines.iter().map(units::machine).collect();
    machines.dedup();
    let mut revisions: Vec<&str> =
        comparison.machines.iter().map(|machine| machine.revision.as_str()).collect();
    revisions.sort_unstable();
    revisions.dedup();
    let Settings { data, rounds, conversations, .. } = &comparison.settings;
    format!(
        "Measured on {}; data set {data} with {conversations} conversations; at most {rounds} rounds; revision {}; {}.",
        machines.join("; "),
        revisions.join(", "),
        units::date(comparison.unix_seconds)
    )
}

fn check<T: Clone>(check: &Check<T>, unsupported: &str, done: impl Fn(&T) -> String) -> String {
    match check {
        Check::Done(value) => done(value),
        Check::Unsupported => unsupported.to_owned(),
        Check::Failed(reason) => format!("failed: {reason}"),
    }
}

fn restarted(restart: &Restart) -> String {
    let Restart { found_before, found_after, asked, same, memories, .. } = restart;
    if !restart.is_whole() {
        let [before, after] =
            memories.map(|count| count.map_or_else(|| "?".to_owned(), |count| count.to_string()));
        return format!("NO: finds {found_after} of {found_before}, counts {after} of {before}");
    }
    if same < asked { format!("yes; {} of {asked} answers differ", asked - same) } else { "yes".to_owned() }
}

fn of(row: &Row, figure: Figure) -> String {
    row.value(figure).map_or_else(String::new, value)
}

fn interval(row: &Row, figure: Figure) -> String {
    let interval = row.value(figure).and_then(|value| value.value.interval);
    interval.map_or_else(String::new, |bounds| bounds.map(|bound| amount(figure, bound)).join(" to "))
}

fn value(value: &Value) -> String {
    amount(value.figure, value.value.point)
}

fn amount(figure: Figure, point: f64) -> String {
    match figure.unit() {
        Unit::Nanoseconds => units::time(point),
        Unit::Bytes => units::bytes(point),
        Unit::OperationsPerSecond => units::count(point),
        Unit::Ratio => format!("{point:.3}"),
    }
}

/// Returns the difference from our value or the ratio to it, with its interval if it is known.
fn against(value: &Value) -> String {
    let Some(Estimate { point, interval }) = value.against_ours else { return String::new() };
    let is_difference = value.figure.is_difference();
    let text = |value: f64| if is_difference { format!("{value:+.3}") } else { units::digits(value) };
    let interval =
        interval.map_or_else(String::new, |[low, high]| format!(" [{}, {}]", text(low), text(high)));
    let times = if is_difference { "" } else { " x" };
    format!("{}{times}{interval}", text(point))
}
