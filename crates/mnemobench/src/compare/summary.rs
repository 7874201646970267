//! The summary of all cells: the figures of each system, and the figures in which another one
//! leads.

mod figure;
mod resample;

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use self::figure::{Figure, Statistic};
pub use self::resample::Estimate;
use self::resample::Samples;
use super::cell::{Call, Cell, CellKey, Check, Measured, Outcome, Restart, Subject};
use super::protocol::Embedder;
use criterion_gate::machine::Machine;
use criterion_gate::measure::Better;
use criterion_gate::statistics::median;

/// Incremented when a field changes its meaning or is removed.
pub const FORMAT: u32 = 1;
/// The row that all others are compared with.
pub const OURS: &str = "mnemocore";
/// The same engine without a process boundary, which does not count as another system.
pub const IN_PROCESS: &str = "mnemocore-in-process";

/// The results of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`FORMAT`].
    pub format: u32,
    /// The settings that all systems shared.
    pub settings: Settings,
    /// Distinct machine descriptions of the cells. They differ if revisions do.
    pub machines: Vec<Machine>,
    /// The time at which the last cell was finished, in seconds since 1970 UTC.
    pub unix_seconds: u64,
    /// Systems that are comparable with each other.
    pub groups: Vec<Group>,
    /// The measured systems, by row.
    pub subjects: BTreeMap<String, Subject>,
    /// Rows that are missing or failed.
    pub absent: Vec<Absent>,
    /// Number of cells that were excluded because their settings or versions differ.
    pub left_out: usize,
}

/// The settings that are the same for all systems.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The name of the data set.
    pub data: String,
    /// The most memories stored of a conversation, if limited.
    pub limit: Option<usize>,
    /// Number of conversations in the data set.
    pub conversations: usize,
    /// Numbers of concurrent clients.
    pub clients: Vec<usize>,
    /// Number of rounds.
    pub rounds: usize,
}

/// Systems measured on the same conversations and, if they need one, with the same embedder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The embedder.
    pub embedder: Embedder,
    /// The conversations.
    pub conversations: Vec<String>,
    /// Number of memories in them.
    pub memories: usize,
    /// Number of questions about them.
    pub questions: usize,
    /// Whether every row has measured these conversations, and some rows more than these.
    pub is_common: bool,
    /// The ranked rows by recall@10, then those that are not ranked.
    pub rows: Vec<Row>,
}

/// A system in a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The name of the row.
    pub row: String,
    /// The name of the system in reports.
    pub title: String,
    /// Number of complete rounds.
    pub rounds: usize,
    /// Why it is not ranked, if it is not.
    pub disqualified: Option<String>,
    /// Whether it used the group's embedder.
    pub embeds: bool,
    /// Figures with their confidence intervals.
    pub values: Vec<Value>,
    /// Percentiles of calls in nanoseconds, by kind of call; each is a median over rounds.
    pub calls: BTreeMap<String, Calls>,
    /// Memories and answers found after restarts, summed over all cells.
    pub restart: Check<Restart>,
    /// Whether a forgotten memory was gone, in all cells.
    pub forget: Check<bool>,
    /// Refusals, in words.
    pub refusals: Vec<String>,
}

/// A figure of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// The figure.
    pub figure: Figure,
    /// Its value with a 95 % interval.
    pub value: Estimate,
    /// Compared with our row: the difference for a quality, the ratio for any other figure.
    pub against_ours: Option<Estimate>,
}

/// Percentiles of calls, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// A row without figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// The name of the row.
    pub row: String,
    /// The name of the system in reports.
    pub title: String,
    /// The embedder, if it failed with a particular one.
    pub embedder: Option<Embedder>,
    /// The missing requirements, or the failure.
    pub reason: String,
    /// The command that builds it, if any.
    pub command: Option<String>,
}

/// A figure in which another system is better than ours.
#[derive(Clone, Debug)]
pub struct Lead<'c> {
    /// The group in which it leads.
    pub group: &'c Group,
    /// The system that leads.
    pub row: &'c Row,
    /// Its figure, compared with ours.
    pub value: &'c Value,
    /// Our figure.
    pub ours: &'c Value,
}

impl Row {
    /// Returns a figure of the row, if it was measured.
    pub fn value(&self, figure: Figure) -> Option<&Value> {
        self.values.iter().find(|value| value.figure == figure)
    }
}

impl Group {
    /// Returns the rows that are ranked.
    pub fn ranked(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.disqualified.is_none())
    }
}

impl Comparison {
    /// Summarizes `cells`, which must share a basis and hold one version of each row. `absent` are
    /// rows that could not be run.
    pub fn new(settings: Settings, cells: &[Cell], absent: Vec<Absent>, left_out: usize) -> Self {
        let mut machines: Vec<Machine> = Vec::new();
        for cell in cells {
            if !machines.contains(&cell.machine) {
                machines.push(cell.machine.clone());
            }
        }
        let embedders: BTreeSet<Embedder> = cells.iter().filter_map(|cell| cell.key.embedder).collect();
        let embedders = if embedders.is_empty() { BTreeSet::from([Embedder::Hash]) } else { embedders };
        let groups = embedders.iter().flat_map(|&embedder| groups(embedder, cells)).collect();
        let failed = failures(cells);
        Self {
            format: FORMAT,
            settings,
            machines,
            unix_seconds: cells.iter().map(|cell| cell.unix_seconds).max().unwrap_or_default(),
            groups,
            subjects: cells.iter().map(|cell| (cell.key.row.clone(), cell.subject.clone())).collect(),
            absent: absent.into_iter().chain(failed).collect(),
            left_out,
        }
    }

    /// Returns the figures in which another system is better and the 95 % interval excludes
    /// equality.
    pub fn leads(&self) -> Vec<Lead<'_>> {
        let mut leads = Vec::new();
        for group in &self.groups {
            let Some(ours) = group.ranked().find(|row| row.row == OURS) else { continue };
            for row in group.ranked().filter(|row| row.row != OURS && row.row != IN_PROCESS) {
                // Without an embedder, the times without embedding repeat those with it.
                let is_told = |value: &&Value| row.embeds || !value.figure.is_alone();
                for value in row.values.iter().filter(is_told) {
                    if let Some(own) = ours.value(value.figure)
                        && is_better(value)
                    {
                        leads.push(Lead { group, row, value, ours: own });
                    }
                }
            }
        }
        leads
    }
}

/// Whether the whole interval lies on the better side of equality.
fn is_better(value: &Value) -> bool {
    let Some([low, high]) = value.against_ours.and_then(|against| against.interval) else { return false };
    let equal = if value.figure.is_difference() { 0.0 } else { 1.0 };
    match value.figure.better() {
        Better::Higher => low > equal,
        Better::Lower => high < equal,
    }
}

/// Returns rows with failed cells, each with its first failure.
fn failures(cells: &[Cell]) -> Vec<Absent> {
    let mut failed: BTreeMap<(&str, Option<Embedder>), Absent> = BTreeMap::new();
    for cell in cells {
        let CellKey { row, embedder, conversation, round } = &cell.key;
        if let Outcome::Failed(reason) = &cell.outcome {
            let reason = format!("{reason} ({conversation}, round {round})");
            let (row_name, title) = (row.clone(), cell.subject.title.clone());
            let absent = Absent { row: row_name, title, embedder: *embedder, reason, command: None };
            failed.entry((row, *embedder)).or_insert(absent);
        }
    }
    failed.into_values().collect()
}

/// The measured cells of one row, by conversation and round.
type Measurements<'c> = BTreeMap<&'c str, BTreeMap<usize, &'c Measured>>;

/// Combines the n-th measurement of every conversation into the n-th round. Surplus measurements of
/// a conversation are dropped, because they would give it more weight.
fn whole_rounds<'c>(row: &Measurements<'c>, conversations: &[&str]) -> Vec<Vec<&'c Measured>> {
    let of_one = |conversation: &&str| -> Vec<&'c Measured> {
        row.get(conversation).map_or_else(Vec::new, |rounds| rounds.values().copied().collect())
    };
    let each: Vec<Vec<&Measured>> = conversations.iter().map(of_one).collect();
    let whole = each.iter().map(Vec::len).min().unwrap_or_default();
    let round = |number| each.iter().filter_map(|own| own.get(number).copied()).collect();
    (0..whole).map(round).collect()
}

fn groups(embedder: Embedder, cells: &[Cell]) -> Vec<Group> {
    let mut rows: BTreeMap<&str, Measurements<'_>> = BTreeMap::new();
    let mut sizes: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.key.embedder.is_none_or(|own| own == embedder)) {
        if let Outcome::Measured(measured) = &cell.outcome {
            let conversation = cell.key.conversation.as_str();
            sizes.insert(conversation, [cell.basis.memories, cell.basis.questions]);
            let rounds = rows.entry(&cell.key.row).or_default().entry(conversation).or_default();
            rounds.insert(cell.key.round, measured);
        }
    }
    // Each distinct set of conversations is a group of the rows that measured all of them.
    let sets: BTreeSet<Vec<&str>> = rows.values().map(|row| row.keys().copied().collect()).collect();
    let group = |conversations: &Vec<&str>| {
        let is_whole = |row: &Measurements<'_>| conversations.iter().all(|name| row.contains_key(name));
        let members: Vec<(&str, &Measurements<'_>)> =
            rows.iter().filter(|(_, row)| is_whole(row)).map(|(name, row)| (*name, row)).collect();
        let own = conversations.iter().filter_map(|name| sizes.get(name));
        let [memories, questions] =
            own.fold([0, 0], |[memories, questions], size| [memories + size[0], questions + size[1]]);
        Group {
            embedder,
            memories,
            questions,
            is_common: members.len() == rows.len() && conversations.len() < sizes.len(),
            rows: table(&members, conversations, &sizes, cells),
            conversations: conversations.iter().map(|name| (*name).to_owned()).collect(),
        }
    };
    let mut groups: Vec<Group> = sets.iter().map(group).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.rows.len()));
    groups
}

fn table(
    members: &[(&str, &Measurements<'_>)],
    conversations: &[&str],
    sizes: &BTreeMap<&str, [usize; 2]>,
    cells: &[Cell],
) -> Vec<Row> {
    let counts: Vec<[usize; 2]> =
        conversations.iter().map(|name| sizes.get(name).copied().unwrap_or_default()).collect();
    let samples = |row: &Measurements<'_>, figure: Figure| {
        Samples::new(&whole_rounds(row, conversations), &counts, figure)
    };
    let ours = members.iter().find(|(name, _)| *name == OURS).map(|(_, row)| *row);
    let clients: BTreeSet<usize> = members
        .iter()
        .flat_map(|(_, row)| row.values().flat_map(BTreeMap::values))
        .flat_map(|measured| measured.throughput.keys().copied())
        .collect();
    let figures = Figure::all(&clients);
    let row = |&(name, measurements): &(&str, &Measurements<'_>)| {
        let value = |&figure: &Figure| {
            let own = samples(measurements, figure);
            let reference = ours.filter(|_| name != OURS).map(|ours| samples(ours, figure));
            let against_ours = reference.and_then(|reference| own.against(&reference, figure));
            Some(Value { figure, value: own.estimate(figure)?, against_ours })
        };
        let own = conversations.iter().filter_map(|conversation| measurements.get(conversation));
        let measured: Vec<&Measured> = own.flat_map(BTreeMap::values).copied().collect();
        let rounds = whole_rounds(measurements, conversations);
        let cell = cells.iter().find(|cell| cell.key.row == name);
        Row {
            row: name.to_owned(),
            title: cell.map_or_else(|| name.to_owned(), |cell| cell.subject.title.clone()),
            rounds: rounds.len(),
            disqualified: measured.iter().find_map(|measured| measured.disqualified()),
            embeds: cell.is_some_and(|cell| cell.subject.hello.embedder),
            values: figures.iter().filter_map(value).collect(),
            calls: calls(&rounds),
            restart: Check::all(measured.iter().map(|measured| &measured.restart), Restart::plus),
            forget: Check::all(measured.iter().map(|measured| &measured.forget), |a, b| *a && *b),
            refusals: refusals(&measured),
        }
    };
    let mut rows: Vec<Row> = members.par_iter().map(row).collect();
    let at_10 = |row: &Row| row.value(Figure::RecallAt10).map_or(0.0, |value| value.value.point);
    rows.sort_by(|a, b| {
        let unranked = a.disqualified.is_some().cmp(&b.disqualified.is_some());
        unranked.then(at_10(b).total_cmp(&at_10(a))).then(a.row.cmp(&b.row))
    });
    rows
}

/// A name of a kind of call, and a function that returns its times.
type CallKind = (&'static str, fn(&Measured) -> Vec<f64>);

const CALLS: [CallKind; 9] = [
    ("store", |measured| each(&measured.stores, total)),
    ("store without embedding", |measured| each(&measured.stores, alone)),
    ("store from outside", |measured| each(&measured.stores, outside)),
    ("recall of 5", |measured| each(&measured.recalls_of_five, total)),
    ("recall of 10", |measured| each(&measured.recalls, total)),
    ("recall of 10 without embedding", |measured| each(&measured.recalls, alone)),
    ("recall of 10 from outside", |measured| each(&measured.recalls, outside)),
    ("first recall after the stores", |measured| each(&[measured.first_recall], total)),
    ("synthesize", |measured| measured.synthesize.done().into_iter().flatten().map(total).collect()),
];

fn each(calls: &[Option<Call>], of: fn(&Call) -> f64) -> Vec<f64> {
    calls.iter().flatten().map(of).collect()
}

fn total(&[total, _, _]: &Call) -> f64 {
    total as f64
}

fn alone(&[total, embed, _]: &Call) -> f64 {
    total.saturating_sub(embed) as f64
}

fn outside(&[_, _, outside]: &Call) -> f64 {
    outside as f64
}

/// Returns percentiles over all conversations of a round, as medians over rounds.
fn calls(rounds: &[Vec<&Measured>]) -> BTreeMap<String, Calls> {
    let mut all = BTreeMap::new();
    for (name, of) in CALLS {
        let rounds: Vec<Vec<f64>> =
            rounds.iter().map(|cells| cells.iter().flat_map(|measured| of(measured)).collect()).collect();
        let over = |statistic: Statistic| {
            let values = rounds.iter().filter_map(|calls| statistic.of(&mut calls.clone()));
            median(&values.collect::<Vec<f64>>())
        };
        let quantiles = [Statistic::Mean, Statistic::P50, Statistic::P95, Statistic::P99].map(over);
        if let [Some(mean), Some(p50), Some(p95), Some(p99)] = quantiles {
            all.insert(name.to_owned(), Calls { mean, p50, p95, p99 });
        }
    }
    all
}

fn refusals(measured: &[&Measured]) -> Vec<String> {
    let mut all: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (operation, refused) in measured.iter().flat_map(|measured| &measured.refusals) {
        all.entry(operation).or_insert((0, &refused.first)).0 += refused.count;
    }
    all.into_iter()
        .map(|(operation, (count, first))| format!("{count} {operation} refused: {first}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::cell::tests::cell;
    use super::*;

    fn comparison(cells: &[Cell]) -> Comparison {
        Comparison::new(Settings::default(), cells, Vec::new(), 0)
    }

    #[test]
    fn who_is_better_leads_and_our_own_row_without_a_boundary_does_not() {
        let mut cells = Vec::new();
        for round in 1..=3 {
            cells.push(cell(OURS, "a", round, 1_000, 0.5));
            cells.push(cell(IN_PROCESS, "a", round, 100, 0.5));
            cells.push(cell("quick", "a", round, 100, 0.4));
            cells.push(cell("good", "a", round, 5_000, 0.75));
        }
        let comparison = comparison(&cells);
        let [group] = comparison.groups.as_slice() else { panic!("{comparison:#?}") };
        assert_eq!(group.rows[0].row, "good");
        let leads: Vec<(&str, Figure)> =
            comparison.leads().iter().map(|lead| (lead.row.row.as_str(), lead.value.figure)).collect();
        let good = [Figure::RecallAt5, Figure::RecallAt10, Figure::Ndcg].map(|figure| ("good", figure));
        let quick =
            [Figure::Recall, Figure::RecallP99, Figure::Throughput(1)].map(|figure| ("quick", figure));
        assert_eq!(leads, [&good[..], &quick].concat());
        let ratio = group.rows.iter().find(|row| row.row == "quick").unwrap();
        let ratio = ratio.value(Figure::Recall).unwrap().against_ours.unwrap();
        assert!((ratio.point - 0.1).abs() < 0.01 && ratio.interval.is_some(), "{ratio:?}");
    }

    #[test]
    fn rows_are_compared_on_the_conversations_that_they_have_in_common() {
        let mut cells = vec![cell("slow", "b", 1, 9_000, 1.0)];
        for conversation in ["a", "b", "c"] {
            cells.push(cell(OURS, conversation, 1, 1_000, 0.5));
            cells.push(cell("bm25", conversation, 1, 1_000, 0.5));
        }
        let comparison = comparison(&cells);
        let [common, all] = comparison.groups.as_slice() else { panic!("{comparison:#?}") };
        assert_eq!((common.conversations.join(""), common.rows.len()), ("b".into(), 3));
        assert_eq!((all.conversations.join(""), all.rows.len(), all.questions), ("abc".into(), 2, 6));
    }

    #[test]
    fn a_system_that_did_other_conversations_than_the_rest_is_not_lost() {
        let cells = [cell(OURS, "a", 1, 1_000, 0.5), cell("other", "b", 1, 1_000, 0.5)];
        let comparison = comparison(&cells);
        let rows = comparison.groups.iter().flat_map(|group| &group.rows);
        assert_eq!(rows.map(|row| row.row.as_str()).collect::<Vec<_>>(), [OURS, "other"]);
    }

    #[test]
    fn a_conversation_that_was_measured_more_often_does_not_count_for_more() {
        let pooled = |rounds_of_a: usize| {
            let mut cells: Vec<Cell> =
                (1..=rounds_of_a).map(|round| cell(OURS, "a", round, 1_000, 0.0)).collect();
            cells.extend(["b", "c"].map(|conversation| cell(OURS, conversation, 1, 9_000, 1.0)));
            comparison(&cells).groups.remove(0).rows.remove(0)
        };
        let (once, often) = (pooled(1), pooled(5));
        let at_10 = |row: &Row| row.value(Figure::RecallAt10).unwrap().value.point;
        assert!((at_10(&once) - 2.0 / 3.0).abs() < 1e-9, "{once:?}");
        assert_eq!(at_10(&often), at_10(&once));
        assert_eq!((often.rounds, &often.calls), (1, &once.calls));
    }

    #[test]
    fn failures_and_what_was_not_stored_are_rows_without_rank() {
        let mut failed = cell("down", "a", 2, 1, 1.0);
        failed.outcome = Outcome::Failed("it ended".into());
        let mut liar = cell("liar", "a", 1, 1, 1.0);
        let Outcome::Measured(measured) = &mut liar.outcome else { unreachable!() };
        measured.faults.foreign = 1;
        let comparison = comparison(&[cell(OURS, "a", 1, 1_000, 0.5), failed, liar]);
        assert!(comparison.leads().is_empty());
        assert_eq!(comparison.groups[0].rows[1].row, "liar");
        assert_eq!(comparison.absent[0].reason, "it ended (a, round 2)");
        let json = serde_json::to_string(&comparison).unwrap();
        assert_eq!(serde_json::from_str::<Comparison>(&json).unwrap(), comparison);
    }
}
