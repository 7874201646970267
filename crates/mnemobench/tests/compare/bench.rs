//! A folder with data and adapters, and runs of the program on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mnemobench::compare::summary::{Absent, Comparison, Row};
use tempfile::TempDir;

use crate::stub;

pub struct Bench {
    pub folder: TempDir,
}

/// The exit code and output of the program.
pub struct Said {
    pub code: Option<i32>,
    pub text: String,
    pub errors: String,
}

const TOPICS: [&str; 6] = ["harbour", "violin", "glacier", "orchard", "lantern", "compass"];

impl Bench {
    /// Creates two conversations of six memories and three questions each.
    pub fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let (mut memories, mut queries) = (String::new(), String::new());
        for scope in ["one", "two"] {
            for (number, topic) in TOPICS.iter().enumerate() {
                let text = format!("The {topic} is what we spoke about in {scope} number {number}");
                memories +=
                    &format!("{{\"id\":\"{scope}/{number}\",\"text\":\"{text}\",\"speaker\":\"Ann\"}}\n");
                if number % 2 == 0 {
                    let query = format!("Who mentioned the {topic}{}?", if number == 2 { "s" } else { "" });
                    queries += &format!(
                        "{{\"text\":\"{query}\",\"relevant\":[\"{scope}/{number}\"],\"scope\":\"{scope}\"}}\n"
                    );
                }
            }
        }
        let data = bench.path("data");
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(bench.path("tmp")).unwrap();
        fs::write(data.join("memories.jsonl"), memories).unwrap();
        fs::write(data.join("queries.jsonl"), queries).unwrap();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds an adapter that runs the stub with this behavior.
    pub fn stub(&self, name: &str, behaviour: &str) {
        let folder = self.path("adapters").join(name);
        fs::create_dir_all(&folder).unwrap();
        let program = std::env::current_exe().unwrap();
        let command = ["sh", "-c", stub::COMMAND, program.to_str().unwrap()];
        self.adapter(name, &format!("title = \"Stub {name}\"\ncommand = {}", serde_json::json!(command)));
        fs::write(folder.join("behaviour"), behaviour).unwrap();
    }

    /// Adds an adapter with this `system.toml`.
    pub fn adapter(&self, name: &str, about: &str) {
        let folder = self.path("adapters").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("system.toml"), about).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mnemobench"));
        command.arg("compare").args(arguments);
        // The load is short, because no test checks rates.
        for [option, value] in [["--data", "data"], ["--load", "0.01"], ["--output", "out"]] {
            if !arguments.contains(&option) {
                command.args([option, value]);
            }
        }
        command.current_dir(self.folder.path()).env("TMPDIR", self.path("tmp"));
        command
    }

    pub fn compare(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), text: text(output.stdout), errors: text(output.stderr) }
    }

    /// Starts the program and leaves it running.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub fn comparison(&self) -> Comparison {
        serde_json::from_str(&fs::read_to_string(self.path("out/compare.json")).unwrap()).unwrap()
    }

    /// Returns the lines of a file, or none if it does not exist.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Checks that no temporary file is left.
    pub fn assert_clean(&self) {
        let left: Vec<_> = fs::read_dir(self.path("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Returns the row of a system, in the first group that has it.
pub fn row<'c>(comparison: &'c Comparison, name: &str) -> &'c Row {
    let rows = comparison.groups.iter().flat_map(|group| &group.rows);
    rows.into_iter().find(|row| row.row == name).unwrap_or_else(|| panic!("no {name} in {comparison:#?}"))
}

/// Returns the entry of a system without a row.
pub fn absent<'c>(comparison: &'c Comparison, name: &str) -> &'c Absent {
    let found = comparison.absent.iter().find(|absent| absent.row == name);
    found.unwrap_or_else(|| panic!("{name} is not absent in {comparison:#?}"))
}

/// Waits for an event, for long enough on a busy machine.
pub fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the files below a folder whose names end with `ending`.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}
