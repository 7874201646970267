//! What the gate reads: Criterion's files, the benches' results, baselines in the
//! repository, thresholds, and what a comparison has saved.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use criterion_gate::machine::Machine;
use criterion_gate::measure::Kind;
use criterion_gate::profile::Profile;
use criterion_gate::results::{NEW, Results};
use criterion_gate::thresholds::Thresholds;
use criterion_gate::{Data, Side, screen};
use libfuzzer_sys::fuzz_target;
use mnemobench::compare::{Cell, Comparison};
use mnemocore_fuzz::scratch;

// Parts of a program, which no other crate can use.
#[allow(dead_code, reason = "of the command line only what the baselines take is used")]
#[path = "../../crates/mnemobench/src/bin/mnemobench"]
mod program {
    pub(crate) mod baselines;
    pub(crate) mod cli;
    pub(crate) mod criterion;
    pub(crate) mod load_runs;
    pub(crate) mod streams;

    /// As in the program.
    const CANNOT_JUDGE: u8 = 2;
}

use program::{baselines, criterion, load_runs};

/// The benchmark that all files are about.
const ID: &str = "recall_hot/p99/5000";
/// Beyond so many samples the bootstrap takes most of the time.
const SAMPLES: usize = 40;

const BENCHMARK: &str =
    r#"{"group_id":"g","full_id":"recall_hot/p99/5000","throughput":{"Elements":8},"title":"t"}"#;
const SAMPLE: &str = r#"{"sampling_mode":"Flat","iters":[2.0,4.0],"times":[20.0,44.0]}"#;
const ESTIMATES: &str = r#"{"mean":{"confidence_interval":{"confidence_level":0.95,"lower_bound":1.5,"upper_bound":2.5},"point_estimate":2.0,"standard_error":0.1},"median":{"confidence_interval":{"confidence_level":0.95,"lower_bound":1.5,"upper_bound":2.5},"point_estimate":2.0,"standard_error":0.1},"slope":null}"#;

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let home = scratch();
    let home = home.path();
    match kind % 8 {
        file @ 0..=2 => {
            let mut files = [BENCHMARK.as_bytes(), SAMPLE.as_bytes(), ESTIMATES.as_bytes()];
            files[usize::from(file)] = bytes;
            run_of_criterion(home, files);
        }
        3 => results(home, bytes),
        4 => recorded(home, bytes),
        5 => thresholds(home, bytes),
        6 => compared(home, bytes),
        // Two files that say different things of one benchmark.
        _ => {
            write(&home.join("mnemobench/new/latency.json"), valid_results());
            run_of_criterion(home, [BENCHMARK.as_bytes(), bytes, ESTIMATES.as_bytes()]);
        }
    }
});

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).expect("a file");
}

fn valid_results() -> &'static [u8] {
    static VALID: OnceLock<Vec<u8>> = OnceLock::new();
    VALID.get_or_init(|| {
        let mut results = Results::new("latency", Machine::detect());
        results.note(ID, Profile::Quick, false, None, Some(1e5));
        results.note_value("footprint_hot/ram", Kind::Ram, 4096.0, Profile::Quick);
        serde_json::to_vec(&results).expect("JSON")
    })
}

fn run_of_criterion(home: &Path, files: [&[u8]; 3]) {
    let folder = home.join("g/f/5000").join(NEW);
    for (name, bytes) in ["benchmark.json", "sample.json", "estimates.json"].iter().zip(files) {
        write(&folder.join(name), bytes);
    }
    let run = criterion::read(home, NEW);
    // Unless it says that it is another benchmark's.
    let is_others = files.iter().any(|file| file.windows(14).any(|name| name == b"directory_name"));
    assert!(run.len() == 1 || is_others, "what cannot be read is a result, too");
    for benchmark in run.values() {
        match benchmark {
            Ok(benchmark) => {
                let sensible = |value: &f64| value.is_finite() && *value > 0.0;
                assert!(!benchmark.samples.is_empty() && benchmark.samples.iter().all(sensible));
            }
            Err(error) => assert!(error.path.starts_with(home), "{error}"),
        }
    }
    judge(&load_runs::of_run(home, NEW), &Thresholds::default());
}

fn results(home: &Path, bytes: &[u8]) {
    let path = home.join("mnemobench/new/latency.json");
    write(&path, bytes);
    if let Ok(results) = Results::read(&path) {
        // NaN and infinity are no JSON, so that all there is compares.
        write(&path, &serde_json::to_vec(&results).expect("JSON"));
        assert_eq!(Results::read(&path).expect("results"), results);
        let mut more = Results::new("latency", Machine::detect());
        more.note_value(ID, Kind::P99, 1.0, Profile::Quick);
        more.save(home, NEW).expect("saves beside what was there");
    }
    assert_eq!(Results::of_run(home, NEW).len(), 1);
    judge(&load_runs::of_run(home, NEW), &Thresholds::default());
}

fn recorded(home: &Path, bytes: &[u8]) {
    write(&home.join("machine/latency.json"), bytes);
    match baselines::find(home, "main", &Side::default()) {
        Ok(Some((side, _))) => judge(&side, &Thresholds::default()),
        Ok(None) => {}
        Err(error) => assert!(error.to_string().contains("latency.json"), "{error}"),
    }
}

fn thresholds(home: &Path, bytes: &[u8]) {
    let path = home.join("thresholds.toml");
    write(&path, bytes);
    let Ok(thresholds) = Thresholds::read(&path) else { return };
    for kind in Kind::ALL {
        let allowed = thresholds.allowed(ID, kind);
        assert!(allowed.log(1.0) > 0.0 && allowed.log(1.0).is_finite(), "{allowed:?}");
    }
    let _ = thresholds.is_removed(ID);
    let home = home.join("criterion");
    write(&home.join("mnemobench/new/latency.json"), valid_results());
    judge(&load_runs::of_run(&home, NEW), &thresholds);
}

fn compared(home: &Path, bytes: &[u8]) {
    let path = home.join("cell.json");
    write(&path, bytes);
    if let Some(cell) = Cell::read(&path) {
        // Names can be too long for a file.
        let below = home.join("cells");
        if cell.write(&below).is_ok() {
            assert_eq!(Cell::read_all(&below), [cell], "a cell is read as it was written");
        }
    }
    if let Ok(comparison) = serde_json::from_slice::<Comparison>(bytes) {
        let _ = comparison.leads().len();
        serde_json::to_string(&comparison).expect("JSON");
    }
}

/// Against itself, and against nothing.
fn judge(side: &Side, thresholds: &Thresholds) {
    let many = |data: &Data| matches!(data, Data::Samples { values, .. } if values.len() > SAMPLES);
    if side.observations.len() > 4 || side.observations.values().any(|seen| many(&seen.data)) {
        return;
    }
    let nothing = Side::default();
    for (baseline, candidate) in [(side, side), (&nothing, side), (side, &nothing)] {
        let screening = screen(baseline, candidate, thresholds);
        assert!(screening.suspects().len() <= side.observations.len());
        let _ = screening.conclude_alone();
    }
}
