//! The content of a report, before it is formatted.

use std::collections::BTreeMap;

use criterion_gate::machine::Machine;
use criterion_gate::thresholds::Slo;
use mnemobench::compare::Comparison;

use super::plot::Error;
use super::section::{self, Runs, Section};
use crate::run_results::RunResults;
use crate::table::Table;
use crate::units;
use crate::verdicts::Verdicts;

/// A report.
#[derive(Debug)]
pub(crate) struct Report {
    /// Titles and descriptions of the machines.
    pub(crate) machines: Vec<(String, Table)>,
    /// A table of the benches.
    pub(crate) benches: Table,
    /// The sections, one per subject.
    pub(crate) sections: Vec<Section>,
    /// The reasons why results cannot be read, by their names.
    pub(crate) unreadable: BTreeMap<String, String>,
}

impl Report {
    /// Creates the report of the results, with the verdicts of `detect` and the comparison if there
    /// are any.
    ///
    /// # Errors
    /// If a plot cannot be drawn.
    pub(crate) fn new(
        measured: &RunResults,
        verdicts: Option<&Verdicts>,
        levels: &[Slo],
        comparison: Option<&Comparison>,
    ) -> Result<Self, Error> {
        let sections = section::all(measured, verdicts, levels, comparison)?;
        let unreadable = measured.unreadable.clone();
        Ok(Self { machines: machines(measured), benches: benches(measured), sections, unreadable })
    }

    /// Returns the sections with results.
    pub(crate) fn measured(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|section| section.is_measured())
    }

    /// Returns the sections without results.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Section> {
        // Further benches of the user are optional.
        self.sections.iter().filter(|section| !section.is_measured() && section.key != "other")
    }
}

/// Returns the distinct machines, each titled with the benches that ran on it.
fn machines(measured: &RunResults) -> Vec<(String, Table)> {
    let mut machines: Vec<(Vec<&str>, &Machine)> = Vec::new();
    for bench in &measured.benches {
        // Revision and features differ between benches, so they are in the table of benches.
        let same = |machine: &Machine| sheet(machine).rows == sheet(&bench.machine).rows;
        match machines.iter_mut().find(|(_, machine)| same(machine)) {
            Some((names, _)) => names.push(&bench.name),
            None => machines.push((vec![&bench.name], &bench.machine)),
        }
    }
    let several = machines.len() > 1;
    let title = |names: Vec<&str>| {
        if several { format!("Machine of {}", names.join(", ")) } else { "Machine".to_owned() }
    };
    machines.into_iter().map(|(names, machine)| (title(names), sheet(machine))).collect()
}

fn sheet(machine: &Machine) -> Table {
    let Machine { cpu, cpu_features, cores, memory_bytes, os, architecture, rustc, .. } = machine;
    let memory = memory_bytes.map_or_else(|| "unknown".to_owned(), |size| units::bytes(size as f64));
    let mut table = Table::new(["", ""]);
    for (name, value) in [
        ("processor", cpu.clone()),
        ("vector extensions", cpu_features.join(", ")),
        ("cores", cores.to_string()),
        ("memory", memory),
        ("system", os.clone()),
        ("architecture", architecture.clone()),
        ("compiler", rustc.clone()),
    ] {
        table.row([name.to_owned(), value]);
    }
    table
}

fn benches(measured: &RunResults) -> Table {
    let mut table =
        Table::new(["bench", "#benchmarks", "#targets met", "profile", "revision", "last run", "features"]);
    for bench in &measured.benches {
        let (met, all) = (bench.targets.iter().filter(|target| target.met).count(), bench.targets.len());
        let met = if all == 0 { String::new() } else { format!("{met} of {all}") };
        let Runs { profiles, revisions, last } =
            Runs::of(measured.of(&bench.name).map(|benchmark| &benchmark.taken));
        let count = measured.of(&bench.name).count().to_string();
        let features = bench.machine.features.join(", ");
        table.row([bench.name.clone(), count, met, profiles, revisions, last, features]);
    }
    table
}
