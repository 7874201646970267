//! The results that a bench saves beside Criterion's own files: the kind and percentiles of each
//! benchmark, and when, where and how it was taken.
//!
//! ```text
//! <home>/mnemobench/<run>/<bench>.json    the results
//! <home>/mnemobench/<run>/bin/<bench>     the executable that took them
//! ```
//!
//! `home` is Criterion's folder (see [`home`]). A run is `new`, Criterion's name for the last run,
//! or the name of a saved baseline.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use self::files::keep;
use crate::machine::Machine;
use crate::measure::{Latencies, Measurement, Percentiles};
use crate::profile::Profile;

pub use self::files::{folder, home, program, programs, write_whole};
pub use crate::measure::Kind;

/// Version of the format; a reader refuses a newer one.
pub const FORMAT: u32 = 1;

/// The name of the last run, as Criterion has it.
pub const NEW: &str = "new";

/// The extension of a file that exists while a bench runs.
const RUNNING: &str = "running";

/// When and how a result was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Seconds since 1970.
    pub unix_seconds: u64,
    /// The git revision.
    pub revision: String,
    /// The profile of the run.
    pub profile: Profile,
    /// Whether Criterion took two samples only (`--quick`).
    pub quick: bool,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The measured quantity.
    pub kind: Kind,
    /// The value in the unit of its kind; `None` where Criterion holds the samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The distribution of single operations, in the unit of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentiles: Option<Percentiles>,
    /// Single operations that the percentiles rest on, 0 without percentiles.
    #[serde(default)]
    pub operations: u64,
    /// The mean time of the [reference work](crate::reference) beside it, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// When and how.
    pub taken: Taken,
}

/// A figure and its target. Such figures are often ratios from a bench's own rounds, so no
/// benchmark holds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The name of the figure, e.g. `recall top-10, 100000 text`.
    pub name: String,
    /// The figure, with its unit.
    pub measured: String,
    /// The target, e.g. `<= 5 us`.
    pub target: String,
    /// Whether the figure meets the target.
    pub met: bool,
    /// When and how.
    pub taken: Taken,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, measured, target, .. } = self;
        write!(f, "{name}: {measured} (target {target}) {}", if self.met { "met" } else { "MISSED" })
    }
}

/// The results of one bench, by the names of its benchmarks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`FORMAT`].
    pub format: u32,
    /// The bench, such as `latency`.
    pub bench: String,
    /// The machine that they were taken on.
    pub machine: Machine,
    /// The results.
    pub entries: BTreeMap<String, Entry>,
    /// Figures with their targets, in the order of the bench.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
}

/// Results cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// An error of the operating system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path}: expected results of a bench as JSON: {source}; run the bench again")]
    Json {
        /// The file.
        path: PathBuf,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// The run that should have written them did not end, so Criterion's samples may belong to
    /// another run than the results.
    #[error("{path}: its bench did not run to its end; run it again")]
    Interrupted {
        /// The file.
        path: PathBuf,
    },
    /// A newer version wrote them.
    #[error("{path}: expected format {FORMAT} or older, found {received}; use the version that wrote it")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        received: u32,
    },
}

impl ResultsError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. } | Self::Json { path, .. } | Self::Format { path, .. } => path,
            Self::Interrupted { path } => path,
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.into(), source }
    }
}

impl Results {
    /// Results of the bench `bench` on `machine`, with no entry yet.
    pub fn new(bench: impl Into<String>, machine: Machine) -> Self {
        Self { format: FORMAT, bench: bench.into(), machine, entries: BTreeMap::new(), targets: Vec::new() }
    }

    /// Notes a benchmark whose samples Criterion holds, with the distribution of its single
    /// operations, if there is one, and the time of its reference work. The kind is read from the
    /// name.
    pub fn note(
        &mut self,
        name: &str,
        profile: Profile,
        quick: bool,
        latencies: Option<&Latencies>,
        reference: Option<f64>,
    ) {
        let percentiles = latencies.and_then(Latencies::percentiles);
        let operations = latencies.map_or(0, Latencies::len);
        let taken = self.taken(profile, quick);
        let kind = Kind::of_name(name);
        let entry = Entry { kind, value: None, percentiles, operations, reference, taken };
        self.entries.insert(name.into(), entry);
    }

    /// Notes a value that Criterion does not hold.
    pub fn note_value(&mut self, name: &str, kind: Kind, value: f64, profile: Profile) {
        self.note_measurement(Measurement::new(name, kind, value), profile);
    }

    /// Notes what was measured without Criterion.
    pub fn note_measurement(&mut self, measurement: Measurement, profile: Profile) {
        let Measurement { name, kind, value, percentiles, operations } = measurement;
        let taken = self.taken(profile, false);
        let value = Some(value);
        self.entries.insert(name, Entry { kind, value, percentiles, operations, reference: None, taken });
    }

    /// Notes a figure and its target. Replaces a figure of the same name.
    pub fn note_target(
        &mut self,
        name: impl Into<String>,
        measured: impl Into<String>,
        target: impl Into<String>,
        met: bool,
        profile: Profile,
    ) -> Target {
        let (name, measured, target) = (name.into(), measured.into(), target.into());
        self.targets.retain(|other| other.name != name);
        let taken = self.taken(profile, false);
        let target = Target { name, measured, target, met, taken };
        self.targets.push(target.clone());
        target
    }

    fn taken(&self, profile: Profile, quick: bool) -> Taken {
        Taken { unix_seconds: unix_seconds(), revision: self.machine.revision.clone(), profile, quick }
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.targets.is_empty()
    }

    /// Reads the results of every bench of a run, in the order of their names. An unknown run gives
    /// none. A file that cannot be read gives its error.
    pub fn of_run(home: &Path, run: &str) -> Vec<Result<Self, ResultsError>> {
        let Ok(files) = fs::read_dir(folder(home, run)) else { return Vec::new() };
        let is_sheet = |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "json" || extension == RUNNING)
        };
        let sheets = files.flatten().map(|file| file.path()).filter(is_sheet);
        let sheets: BTreeSet<PathBuf> = sheets.map(|path| path.with_extension("json")).collect();
        let read = |path: PathBuf| {
            let is_running = path.with_extension(RUNNING).exists();
            if is_running { Err(ResultsError::Interrupted { path }) } else { Self::read(&path) }
        };
        sheets.into_iter().map(read).collect()
    }

    /// Reads the results of one bench.
    ///
    /// # Errors
    /// [`ResultsError`] if they do not exist or cannot be read.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let text = fs::read(path).map_err(ResultsError::io(path))?;
        let json = |source| ResultsError::Json { path: path.into(), source };
        // The format first: a newer one may differ in everything else.
        let Format { format: received } = serde_json::from_slice(&text).map_err(json)?;
        if received > FORMAT {
            return Err(ResultsError::Format { path: path.into(), received });
        }
        serde_json::from_slice(&text).map_err(json)
    }

    /// Adds the results to those of a run, and replaces results of the same names, as Criterion
    /// does. Drops results of another machine.
    ///
    /// # Errors
    /// [`ResultsError::Io`] if they cannot be written.
    pub fn save(&self, home: &Path, run: &str) -> Result<(), ResultsError> {
        let path = self.path(home, run);
        let mut all = self.clone();
        if let Ok(older) = Self::read(&path)
            && older.machine.is_comparable(&self.machine)
        {
            for (name, entry) in older.entries {
                all.entries.entry(name).or_insert(entry);
            }
            let is_new = |older: &Target| all.targets.iter().all(|target| target.name != older.name);
            let kept: Vec<Target> = older.targets.into_iter().filter(is_new).collect();
            all.targets.splice(0..0, kept);
        }
        let json = |source| ResultsError::Json { path: path.clone(), source };
        let bytes = serde_json::to_vec_pretty(&all).map_err(json)?;
        write_whole(&path, &bytes).map_err(ResultsError::io(&path))
    }

    /// Marks that this bench writes to a run, until [`Results::end`]. Criterion replaces samples
    /// one by one, so after an interrupted run the samples do not match the results.
    ///
    /// # Errors
    /// [`ResultsError::Io`] if the mark cannot be written.
    pub fn begin(&self, home: &Path, run: &str) -> Result<(), ResultsError> {
        let path = self.path(home, run).with_extension(RUNNING);
        write_whole(&path, b"").map_err(ResultsError::io(&path))
    }

    /// Removes the mark of [`Results::begin`].
    ///
    /// # Errors
    /// [`ResultsError::Io`] if it cannot be noted.
    pub fn end(&self, home: &Path, run: &str) -> Result<(), ResultsError> {
        let path = self.path(home, run).with_extension(RUNNING);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ResultsError::io(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Keeps this process's executable with a run, so that the gate can run it again beside
    /// another. For the last run it is a hard link, if possible. For a baseline it is a copy, which
    /// no build can overwrite.
    ///
    /// # Errors
    /// [`ResultsError::Io`] if it cannot be kept.
    pub fn keep_program(&self, home: &Path, run: &str) -> Result<(), ResultsError> {
        let path = program(home, run, &self.bench);
        let kept = std::env::current_exe().and_then(|current| keep(&current, &path, run == NEW));
        kept.map_err(ResultsError::io(&path))
    }

    fn path(&self, home: &Path, run: &str) -> PathBuf {
        folder(home, run).join(format!("{}.json", self.bench))
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Seconds since 1970 UTC.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn results(names: &[&str]) -> Results {
        let mut results = Results::new("latency", Machine::detect());
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_micros(7));
        for name in names {
            results.note(name, Profile::Quick, false, Some(&latencies), Some(1e5));
        }
        results
    }

    #[test]
    fn a_filtered_run_replaces_its_own_results_only() {
        let home = tempfile::tempdir().unwrap();
        results(&["a/p99/1", "b/p99/1"]).save(home.path(), NEW).unwrap();
        let mut second = results(&[]);
        second.note_value("b/p99/1", Kind::Quality, 0.5, Profile::Full);
        second.save(home.path(), NEW).unwrap();
        let run = Results::of_run(home.path(), NEW);
        let [Ok(read)] = run.as_slice() else { panic!("{run:?}") };
        assert_eq!(read.entries.len(), 2);
        let p99 = read.entries["a/p99/1"].percentiles.unwrap().p99;
        assert!((p99 - 7000.0).abs() < 7.0, "{p99}");
        assert_eq!(read.entries["b/p99/1"].value, Some(0.5));
        assert!(Results::of_run(home.path(), "main").is_empty());
    }

    #[test]
    fn a_target_replaces_the_one_of_its_name_and_stays_without_a_new_one() {
        let home = tempfile::tempdir().unwrap();
        let mut first = results(&["a/p99/1"]);
        first.note_target("old", "2 x", ">= 1 x", true, Profile::Full);
        first.note_target("both", "2 x", ">= 3 x", false, Profile::Full);
        first.save(home.path(), NEW).unwrap();
        let mut second = results(&[]);
        let line = second.note_target("both", "4 x", ">= 3 x", true, Profile::Full).to_string();
        assert_eq!(line, "both: 4 x (target >= 3 x) met");
        second.save(home.path(), NEW).unwrap();
        results(&["b/p99/1"]).save(home.path(), NEW).unwrap();
        let read = Results::of_run(home.path(), NEW).pop().unwrap().unwrap();
        let targets: Vec<_> = read.targets.iter().map(|target| (target.name.as_str(), target.met)).collect();
        assert_eq!(targets, [("old", true), ("both", true)]);
    }

    #[test]
    fn results_of_a_version_that_knew_no_targets_are_read() {
        let home = tempfile::tempdir().unwrap();
        results(&["a/p99/1"]).save(home.path(), NEW).unwrap();
        let path = home.path().join("mnemobench/new/latency.json");
        assert!(!fs::read_to_string(&path).unwrap().contains("targets"));
        assert_eq!(Results::read(&path).unwrap().targets, []);
    }

    #[test]
    fn results_of_another_machine_are_dropped() {
        let home = tempfile::tempdir().unwrap();
        let mut older = results(&["a/p99/1"]);
        older.machine.cpu = "another".into();
        older.save(home.path(), NEW).unwrap();
        results(&["b/p99/1"]).save(home.path(), NEW).unwrap();
        let read = Results::of_run(home.path(), NEW).pop().unwrap().unwrap();
        assert_eq!(read.entries.keys().collect::<Vec<_>>(), ["b/p99/1"]);
    }

    #[test]
    fn a_newer_format_and_a_torn_file_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("latency.json");
        fs::write(&path, r#"{"format": 99, "entries": 3}"#).unwrap();
        assert!(matches!(Results::read(&path), Err(ResultsError::Format { received: 99, .. })));
        fs::write(&path, r#"{"format": 1, "bench"#).unwrap();
        assert!(matches!(Results::read(&path), Err(ResultsError::Json { .. })));
        assert!(matches!(Results::read(&home.path().join("gone")), Err(ResultsError::Io { .. })));
    }

    #[test]
    fn a_run_that_was_interrupted_has_no_results_until_its_bench_ends_again() {
        let home = tempfile::tempdir().unwrap();
        let old = results(&["a/p99/1"]);
        old.save(home.path(), NEW).unwrap();
        old.begin(home.path(), NEW).unwrap();
        let run = Results::of_run(home.path(), NEW);
        assert!(matches!(run.as_slice(), [Err(ResultsError::Interrupted { .. })]), "{run:?}");
        old.end(home.path(), NEW).unwrap();
        old.end(home.path(), NEW).unwrap();
        assert!(matches!(Results::of_run(home.path(), NEW).as_slice(), [Ok(_)]));
        // Even if there were none before.
        old.begin(home.path(), "main").unwrap();
        assert_eq!(Results::of_run(home.path(), "main").len(), 1);
    }

    #[test]
    fn the_kept_program_is_this_one() {
        let home = tempfile::tempdir().unwrap();
        for run in ["main", NEW] {
            // Twice: the second replaces the first.
            for _ in 0..2 {
                results(&[]).keep_program(home.path(), run).unwrap();
            }
            let kept = program(home.path(), run, "latency");
            assert!(fs::read(&kept).unwrap() == fs::read(std::env::current_exe().unwrap()).unwrap());
            assert_eq!(fs::read_dir(kept.parent().unwrap()).unwrap().count(), 1, "files left behind");
        }
    }
}
