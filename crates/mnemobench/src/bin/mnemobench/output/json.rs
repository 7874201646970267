//! Output for programs.

use std::collections::BTreeMap;

use criterion_gate::machine::Machine;
use criterion_gate::results::Taken;
use criterion_gate::verdict::{Effect, Finding};
use serde::Serialize;

use super::{Described, Report, Source};

/// The version of the format. Incremented when a field is renamed or removed.
pub(crate) const VERSION: u32 = 1;

/// The document. Inapplicable fields are `null`. Changes are relative (0.1 means 10 % more), and
/// values are in the unit of the kind.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    /// `pass`, `regressed` or `cannot_judge`.
    outcome: Effect,
    exit_code: u8,
    /// The reason why nothing could be compared.
    error: Option<&'a str>,
    baseline: Side<'a>,
    candidate: Side<'a>,
    /// Number of benchmarks by verdict.
    counts: BTreeMap<&'static str, usize>,
    /// The worst first.
    benchmarks: &'a [Finding],
}

#[derive(Serialize)]
struct Side<'a> {
    name: &'a str,
    /// The folder of a recorded baseline.
    recorded: Option<String>,
    taken: Option<&'a Taken>,
    machine: Option<&'a Machine>,
}

impl<'a> From<&'a Described> for Side<'a> {
    fn from(described: &'a Described) -> Self {
        let recorded = match &described.source {
            Source::Criterion => None,
            Source::Recorded(folder) => Some(folder.display().to_string()),
        };
        let origin = described.origin.as_ref();
        Self {
            name: &described.name,
            recorded,
            taken: origin.map(|origin| &origin.taken),
            machine: origin.map(|origin| &origin.machine),
        }
    }
}

/// Returns the report as one JSON object.
pub(crate) fn json(report: &Report) -> Result<String, serde_json::Error> {
    let document = Document {
        version: VERSION,
        outcome: report.effect,
        exit_code: report.exit_code,
        error: report.error.as_deref(),
        baseline: (&report.baseline).into(),
        candidate: (&report.candidate).into(),
        counts: report.judgement.counts().map(|(verdict, count)| (verdict.as_str(), count)).collect(),
        benchmarks: &report.judgement.findings,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
