//! Baselines kept in the repository, as `<baselines>/<machine>/<bench>.json`.
//!
//! Each file holds the results of one bench with the machine sheet, and the samples per iteration,
//! from which the gate recomputes its statistics. Executables are not kept, so suspects cannot be
//! confirmed by pairs.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use criterion_gate::baseline_name::check_baseline_name;
use criterion_gate::machine::Machine;
use criterion_gate::results::Results;
use criterion_gate::{Data, Observation, Side};
use serde::{Deserialize, Serialize};

use super::cli::InitArgs;
use super::{load_runs, streams};

/// Version of the format. Files of a newer version are refused.
const FORMAT: u32 = 1;
/// Significant digits of a sample. The error is below 0.05 %, and the gate looks for 10 %.
const DIGITS: i32 = 4;

/// The contents of a file.
#[derive(Debug, Deserialize)]
struct Recorded {
    baseline: String,
    results: Results,
    samples: BTreeMap<String, Samples>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Samples {
    operations: u64,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Runs `init-baselines`: writes the files and prints their paths.
pub(crate) fn init(arguments: &InitArgs) -> Result<u8, Box<dyn Error>> {
    let home = arguments.home.criterion()?;
    let name = &arguments.baseline;
    check_baseline_name(name)?;
    let sheets: Vec<Results> = Results::of_run(&home, name).into_iter().collect::<Result<_, _>>()?;
    let Some(first) = sheets.first() else {
        return Err(format!(
            "{}: no baseline `{name}`; run cargo bench -- --save-baseline {name}",
            home.display()
        )
        .into());
    };
    if let Some(other) = sheets.iter().find(|sheet| !sheet.machine.is_comparable(&first.machine)) {
        let (first, other) = (&first.machine.cpu, &other.machine.cpu);
        return Err(
            format!("the baseline `{name}` is of two machines, {first} and {other}; save it again").into()
        );
    }
    let machine = arguments.machine.clone().unwrap_or_else(|| folder_name(&first.machine));
    if machine.is_empty() || Path::new(&machine).components().count() != 1 || machine.starts_with('.') {
        return Err(format!("--machine is {machine:?}; expected the name of a folder").into());
    }
    let folder = arguments.home.new_baselines().join(machine);
    let side = load_runs::of_run(&home, name);
    refuse_unusable(&side)?;
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for results in sheets {
        let path = folder.join(format!("{}.json", results.bench));
        let text = to_json(name, &results, &side)?;
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        streams::line(format!("{}: {} benchmarks", path.display(), results.entries.len()))?;
    }
    Ok(0)
}

/// Refuses a run that no candidate could be compared with.
fn refuse_unusable(side: &Side) -> Result<(), String> {
    for (id, observation) in &side.observations {
        if let Data::Unreadable(reason) = &observation.data {
            return Err(format!("{id}: {reason}"));
        }
        let Some(origin) = &observation.origin else {
            return Err(format!(
                "{id}: no result sheet records its time, machine and revision; save the baseline again"
            ));
        };
        if origin.taken.quick {
            return Err(format!("{id}: it was taken with --quick, which is too few samples to compare with"));
        }
    }
    Ok(())
}

/// Returns JSON with one line for the samples of each benchmark.
fn to_json(baseline: &str, results: &Results, side: &Side) -> Result<String, serde_json::Error> {
    let mut lines = Vec::new();
    for (id, observation) in &side.observations {
        if let Observation { bench, data: Data::Samples { values, operations }, .. } = observation
            && *bench == results.bench
        {
            let values = values.iter().map(|value| rounded(*value)).collect();
            let samples = serde_json::to_string(&Samples { operations: *operations, values })?;
            lines.push(format!("    {}: {samples}", serde_json::to_string(id)?));
        }
    }
    Ok(format!(
        "{{\n  \"format\": {FORMAT},\n  \"baseline\": {},\n  \"results\": {},\n  \"samples\": {{\n{}\n  }}\n}}\n",
        serde_json::to_string(baseline)?,
        serde_json::to_string_pretty(results)?.replace('\n', "\n  "),
        lines.join(",\n"),
    ))
}

/// Rounds to four significant digits.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    // Scaled by whole powers of ten, because an inexact one such as 0.001 would bring digits back.
    match DIGITS - 1 - value.abs().log10().floor() as i32 {
        down if down < 0 => (value / 10f64.powi(-down)).round() * 10f64.powi(-down),
        up => (value * 10f64.powi(up)).round() / 10f64.powi(up),
    }
}

/// Returns a folder name derived from the CPU and the number of cores.
fn folder_name(machine: &Machine) -> String {
    let text = format!("{} {} cores", machine.cpu, machine.cores).to_lowercase();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// Finds the recorded baseline `name`. One of the candidate's machine is preferred, otherwise the
/// latest. Returns `None` if there is none.
pub(crate) fn find(
    folder: &Path,
    name: &str,
    candidate: &Side,
) -> Result<Option<(Side, PathBuf)>, Box<dyn Error>> {
    let machine =
        candidate.observations.values().find_map(|observation| Some(&observation.origin.as_ref()?.machine));
    let mut best: Option<((bool, u64), Side, PathBuf)> = None;
    let machines = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in machines.filter(|path| path.is_dir()) {
        let Some(side) = read(&path, name)? else { continue };
        let origins = || side.observations.values().filter_map(|observation| observation.origin.as_ref());
        let same =
            origins().all(|origin| machine.is_some_and(|machine| machine.is_comparable(&origin.machine)));
        let latest = origins().map(|origin| origin.taken.unix_seconds).max().unwrap_or(0);
        if best.as_ref().is_none_or(|(rank, ..)| *rank < (same, latest)) {
            best = Some(((same, latest), side, path));
        }
    }
    Ok(best.map(|(_, side, path)| (side, path)))
}

/// Reads the files of the baseline `name` of one machine.
fn read(folder: &Path, name: &str) -> Result<Option<Side>, String> {
    let mut side = Side::default();
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    for path in paths {
        let Recorded { baseline, results, samples } = read_file(&path)?;
        if baseline != name {
            continue;
        }
        let samples = samples
            .into_iter()
            .map(|(id, Samples { operations, values })| (id, Data::Samples { values, operations }));
        side.observations.extend(load_runs::combine(vec![Ok(results)], samples.collect()).observations);
    }
    Ok(Some(side).filter(|side| !side.observations.is_empty()))
}

fn read_file(path: &Path) -> Result<Recorded, String> {
    let told = |reason: String| {
        format!("{}: {reason}; record it again with mnemobench init-baselines", path.display())
    };
    let text = fs::read(path).map_err(|error| told(error.to_string()))?;
    // The format is checked first, because a newer one may differ in everything else.
    let Format { format } = serde_json::from_slice(&text).map_err(|error| told(error.to_string()))?;
    if format > FORMAT {
        return Err(told(format!("expected format {FORMAT} or older, found {format}")));
    }
    serde_json::from_slice(&text).map_err(|error| told(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_four_digits() {
        for (value, expected) in
            [(123_456.7, 123_500.0), (0.001_234_56, 0.001_235), (9_999.9, 10_000.0), (7.0, 7.0), (0.0, 0.0)]
        {
            assert_eq!(rounded(value), expected);
        }
        assert_eq!(rounded(2.048e15).to_string(), "2048000000000000");
    }

    #[test]
    fn a_machines_folder_is_named_after_it() {
        let machine = Machine { cpu: "Intel(R) Xeon(R) CPU @ 2.20GHz".into(), cores: 4, ..Machine::detect() };
        assert_eq!(folder_name(&machine), "intel-r-xeon-r-cpu-2-20ghz-4-cores");
    }
}
