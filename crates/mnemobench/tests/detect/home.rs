//! Writes files as the benches and Criterion leave them, and runs `mnemobench` on them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use criterion_gate::machine::Machine;
use criterion_gate::profile::Profile;
use criterion_gate::results::{Entry, Kind, Results, Taken, program};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The time of the baseline. The candidate is a minute later.
pub const BASELINE: u64 = 1_700_000_000;
pub const CANDIDATE: u64 = BASELINE + 60;
/// The bench of all benchmarks.
pub const BENCH: &str = "latency";

/// A folder with Criterion's home and the recorded baselines.
pub struct Home {
    pub folder: TempDir,
}

/// The exit code and output of `mnemobench`.
pub struct Judged {
    pub code: Option<i32>,
    pub text: String,
    pub errors: String,
}

impl Judged {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.text, self.errors))
    }

    /// Returns the verdict on a benchmark, with its reason.
    pub fn of(&self, id: &str) -> (String, String) {
        let json = self.json();
        let all = json["benchmarks"].as_array().unwrap();
        let found = all.iter().find(|finding| finding["id"] == id);
        let found = found.unwrap_or_else(|| panic!("{id} is not in {json:#}"));
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (text("verdict"), text("reason"))
    }

    /// Checks the verdict on a benchmark, and the exit code.
    ///
    /// # Panics
    /// If either differs.
    pub fn assert(&self, id: &str, verdict: &str, code: i32) {
        let (received, reason) = self.of(id);
        assert_eq!((received.as_str(), self.code), (verdict, Some(code)), "{reason}\n{}", self.errors);
        assert_eq!(self.json()["exit_code"], code);
    }
}

/// Returns an empty result sheet.
pub fn sheet(taken: u64) -> Results {
    let machine =
        Machine { cpu: "a cpu".into(), cores: 2, revision: format!("r{taken}"), ..Machine::detect() };
    Results::new(BENCH, machine)
}

pub fn entry(results: &Results, kind: Kind, value: Option<f64>, taken: u64) -> Entry {
    let revision = results.machine.revision.clone();
    let taken = Taken { unix_seconds: taken, revision, profile: Profile::Quick, quick: false };
    Entry { kind, value, percentiles: None, operations: 0, reference: Some(100_000.0), taken }
}

/// Returns fifty samples that scatter by the share `spread` about `center`.
pub fn samples(center: f64, spread: f64) -> Vec<f64> {
    (0..50).map(|i| center * (1.0 + spread * (f64::from(i * 37 % 50) / 24.5 - 1.0))).collect()
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("criterion")
    }

    /// Returns the folder of a benchmark's run.
    pub fn run_folder(&self, run: &str, id: &str) -> PathBuf {
        self.path().join(folder_name(id)).join(run)
    }

    /// Writes Criterion's files of one benchmark.
    pub fn write_samples(&self, run: &str, id: &str, values: &[f64]) {
        let folder = self.run_folder(run, id);
        fs::create_dir_all(&folder).unwrap();
        let [about, sample, estimates] = criterion_files(id, values);
        fs::write(folder.join("benchmark.json"), about).unwrap();
        fs::write(folder.join("sample.json"), sample).unwrap();
        fs::write(folder.join("estimates.json"), estimates).unwrap();
    }

    /// Sets the number of operations in an iteration, instead of 100.
    pub fn set_operations(&self, run: &str, id: &str, operations: u64) {
        let path = self.run_folder(run, id).join("benchmark.json");
        let mut about: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        about["throughput"]["Elements"] = operations.into();
        overwrite(&path, about.to_string());
    }

    /// Adds a benchmark with samples on both sides to the files and result sheets.
    pub fn compare(&self, id: &str, kind: Kind, old: &[f64], new: &[f64]) {
        for (run, taken, values) in [("main", BASELINE, old), ("new", CANDIDATE, new)] {
            self.write_samples(run, id, values);
            self.note(run, taken, id, kind, None);
        }
    }

    /// Adds a benchmark to the result sheet of a run, with a value if Criterion holds no samples.
    pub fn note(&self, run: &str, taken: u64, id: &str, kind: Kind, value: Option<f64>) {
        let mut results = sheet(taken);
        let entry = entry(&results, kind, value, taken);
        results.entries.insert(id.into(), entry);
        results.save(&self.path(), run).unwrap();
    }

    /// Changes the entry of a benchmark in the result sheet.
    pub fn change(&self, run: &str, id: &str, change: impl FnOnce(&mut Entry)) {
        self.change_sheet(run, |results| change(results.entries.get_mut(id).unwrap()));
    }

    pub fn change_sheet(&self, run: &str, change: impl FnOnce(&mut Results)) {
        let path = self.sheet_path(run);
        let mut results = Results::read(&path).unwrap();
        change(&mut results);
        fs::write(path, serde_json::to_vec(&results).unwrap()).unwrap();
    }

    pub fn sheet_path(&self, run: &str) -> PathBuf {
        self.path().join("mnemobench").join(run).join(format!("{BENCH}.json"))
    }

    /// Writes a shell script as the executable of the bench for a run.
    pub fn program(&self, run: &str, script: &str) {
        let path = program(&self.path(), run, BENCH);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A separate process writes the file. Otherwise a child of a concurrent test could inherit
        // the open file, and executing it would fail.
        let mut shell = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        write!(shell.stdin.take().unwrap(), "#!/bin/sh\nset -e\n{script}\n").unwrap();
        assert!(shell.wait().unwrap().success());
    }

    /// Writes an executable that measures one of `values` in each of its runs, in turn.
    pub fn measuring(&self, run: &str, id: &str, values: &[f64]) {
        self.measuring_each(run, &[(id, values)]);
    }

    /// Writes an executable that measures several benchmarks, each with its values in turn.
    pub fn measuring_each(&self, run: &str, benchmarks: &[(&str, &[f64])]) {
        let mut script = "for last; do :; done\n".to_owned();
        for (id, values) in benchmarks {
            let (name, count) = (folder_name(id), values.len());
            let escaped = |c: char| if ".()".contains(c) { format!("\\{c}") } else { c.to_string() };
            let filter: String = id.chars().map(escaped).collect();
            let counter = self.folder.path().join(format!("counter-{run}-{name}"));
            let counter = counter.display();
            script += &format!(
                "if [ \"$last\" = '^{filter}$' ]; then\nn=$(cat '{counter}' 2>/dev/null || echo 0)\n\
                 echo $((n + 1)) > '{counter}'\nmkdir -p \"$CRITERION_HOME/{name}/new\"\n\
                 cd \"$CRITERION_HOME/{name}/new\"\ncase $((n % {count})) in\n"
            );
            for (turn, value) in values.iter().enumerate() {
                let [about, sample, estimates] = criterion_files(id, &[*value; 10]);
                script += &format!(
                    "{turn}) echo '{about}' > benchmark.json\necho '{sample}' > sample.json\n\
                     echo '{estimates}' > estimates.json ;;\n"
                );
            }
            script += "esac\nfi\n";
        }
        self.program(run, &script);
    }

    /// Runs `mnemobench` to its end.
    pub fn run(&self, arguments: &[&str]) -> Judged {
        let mut command = self.command(arguments);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Judged { code: output.status.code(), text: text(output.stdout), errors: text(output.stderr) }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mnemobench"));
        command.args(arguments).current_dir(self.folder.path()).env("CRITERION_HOME", self.path());
        command
    }

    /// Runs `detect` with JSON output.
    pub fn detect(&self, more: &[&str]) -> Judged {
        self.run(&[&["detect", "--format", "json"], more].concat())
    }
}

fn folder_name(id: &str) -> String {
    id.replace('/', "_")
}

/// Returns `benchmark.json`, `sample.json` and `estimates.json`.
fn criterion_files(id: &str, values: &[f64]) -> [String; 3] {
    let estimate = json!({
        "confidence_interval": {"confidence_level": 0.95, "lower_bound": 1.0, "upper_bound": 1.0},
        "point_estimate": 1.0,
        "standard_error": 0.0,
    });
    let iterations = vec![4.0; values.len()];
    let times: Vec<f64> = values.iter().map(|value| 4.0 * value).collect();
    [
        json!({"group_id": "g", "full_id": id, "directory_name": folder_name(id),
            "throughput": {"Elements": 100}, "title": id})
        .to_string(),
        json!({"sampling_mode": "Flat", "iters": iterations, "times": times}).to_string(),
        json!({"mean": estimate, "median": estimate, "slope": null, "std_dev": estimate}).to_string(),
    ]
}

/// Replaces the contents of an existing file.
pub fn overwrite(path: &Path, text: impl AsRef<[u8]>) {
    assert!(path.exists(), "{}", path.display());
    fs::write(path, text).unwrap();
}
