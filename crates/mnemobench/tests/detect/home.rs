//! Writes what the benches and Criterion leave behind.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use criterion_gate::machine::Machine;
use criterion_gate::profile::Profile;
use criterion_gate::results::{Entry, Kind, Results, Taken, program};
use serde_json::{Value, json};
use tempfile::TempDir;

/// When the baseline was taken; the candidate was a minute later.
pub const BASELINE: u64 = 1_700_000_000;
pub const CANDIDATE: u64 = BASELINE + 60;
/// The bench that everything belongs to.
pub const BENCH: &str = "latency";

/// A home of Criterion's, a folder of recorded baselines, and what was printed.
pub struct Home {
    pub folder: TempDir,
}

/// What `mnemobench` did.
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

    /// The verdict on a benchmark, with its reason.
    pub fn of(&self, id: &str) -> (String, String) {
        let json = self.json();
        let all = json["benchmarks"].as_array().unwrap();
        let found = all.iter().find(|finding| finding["id"] == id);
        let found = found.unwrap_or_else(|| panic!("{id} is not in {json:#}"));
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (text("verdict"), text("reason"))
    }

    /// # Panics
    /// Unless that is the verdict and the exit code.
    pub fn assert(&self, id: &str, verdict: &str, code: i32) {
        let (received, reason) = self.of(id);
        assert_eq!((received.as_str(), self.code), (verdict, Some(code)), "{reason}\n{}", self.errors);
        assert_eq!(self.json()["exit_code"], code);
    }
}

/// A run's results, to be changed and saved.
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

/// Fifty samples that scatter by `spread` about `center`.
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

    /// The folder of a benchmark's run.
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

    /// Has iterations of a run be of so many operations, instead of a hundred.
    pub fn set_operations(&self, run: &str, id: &str, operations: u64) {
        let path = self.run_folder(run, id).join("benchmark.json");
        let mut about: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        about["throughput"]["Elements"] = operations.into();
        overwrite(&path, about.to_string());
    }

    /// A benchmark with samples on both sides; the sheets are saved too.
    pub fn compare(&self, id: &str, kind: Kind, old: &[f64], new: &[f64]) {
        for (run, taken, values) in [("main", BASELINE, old), ("new", CANDIDATE, new)] {
            self.write_samples(run, id, values);
            self.note(run, taken, id, kind, None);
        }
    }

    /// Notes one benchmark of a run, with a value of its own if there is one.
    pub fn note(&self, run: &str, taken: u64, id: &str, kind: Kind, value: Option<f64>) {
        let mut results = sheet(taken);
        let entry = entry(&results, kind, value, taken);
        results.entries.insert(id.into(), entry);
        results.save(&self.path(), run).unwrap();
    }

    /// Changes what was noted of a benchmark.
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

    /// A program that, as the bench of a run, does what a shell script says.
    pub fn program(&self, run: &str, script: &str) {
        let path = program(&self.path(), run, BENCH);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Written by a process of its own: what this one has open for writing might
        // still be open in a child of another test when it is to be run.
        let mut shell = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        write!(shell.stdin.take().unwrap(), "#!/bin/sh\nset -e\n{script}\n").unwrap();
        assert!(shell.wait().unwrap().success());
    }

    /// A program that measures `values` in turn, one in each of its runs.
    pub fn measuring(&self, run: &str, id: &str, values: &[f64]) {
        self.measuring_each(run, &[(id, values)]);
    }

    /// A program that measures several benchmarks, each with its values in turn.
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

    /// Runs `mnemobench`.
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

    /// Judges, as JSON.
    pub fn detect(&self, more: &[&str]) -> Judged {
        self.run(&[&["detect", "--format", "json"], more].concat())
    }
}

fn folder_name(id: &str) -> String {
    id.replace('/', "_")
}

/// `benchmark.json`, `sample.json` and `estimates.json`.
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

/// Writes something else over a file.
pub fn overwrite(path: &Path, text: impl AsRef<[u8]>) {
    assert!(path.exists(), "{}", path.display());
    fs::write(path, text).unwrap();
}
