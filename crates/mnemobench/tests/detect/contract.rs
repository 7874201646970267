//! Exit codes if output fails, and names that match nothing.

use std::fs::{self, File, OpenOptions};
use std::process::{Command, Stdio};

use criterion_gate::results::Kind;

use crate::home::{BASELINE, CANDIDATE, Home, samples};

const ID: &str = "recall_hot/p99/5000";

fn home(new: f64) -> Home {
    let home = Home::new();
    home.compare(ID, Kind::P99, &samples(100.0, 0.03), &samples(new, 0.03));
    home
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

fn code(command: &mut Command) -> Option<i32> {
    command.status().unwrap().code()
}

#[test]
fn a_reader_that_has_seen_enough_does_not_change_the_verdict() {
    for (new, expected) in [(100.0, 0), (200.0, 1)] {
        let home = home(new);
        for arguments in [&["detect", "--no-confirm"][..], &["detect", "--no-confirm", "--format", "json"]] {
            let mut gate = home.command(arguments);
            let mut gate = gate.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop((gate.stdout.take(), gate.stderr.take()));
            assert_eq!(gate.wait().unwrap().code(), Some(expected), "{arguments:?}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_hides_no_regression() {
    for (new, expected) in [(100.0, 2), (200.0, 1)] {
        let home = home(new);
        let detect = ["detect", "--no-confirm"];
        let output = home.command(&detect).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(expected));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("standard output: No space left"), "{error}");
        assert_eq!(code(home.command(&detect).stdout(full()).stderr(full())), Some(expected));
        assert_eq!(
            code(home.command(&detect).args(["--output", "/dev/full"]).stderr(full())),
            Some(expected)
        );
        assert_eq!(code(home.command(&["slo"]).stdout(full()).stderr(full())), Some(2));
        assert_eq!(code(home.command(&["report"]).stdout(full()).stderr(full())), Some(2));
    }
}

#[test]
fn a_baseline_with_a_slash_in_its_name_is_found_and_is_no_other() {
    let home = home(100.0);
    for (run, value) in [("feature/login", 50.0), ("feature/main", 10.0)] {
        home.write_samples(run, ID, &samples(value, 0.03));
        home.note(run, BASELINE, ID, Kind::P99, None);
    }
    home.note("new", CANDIDATE, ID, Kind::P99, None);
    let judged = home.detect(&["--no-confirm", "--baseline", "feature/login"]);
    judged.assert(ID, "regressed", 1);
    assert_eq!(judged.json()["benchmarks"][0]["baseline"].as_f64().map(f64::round), Some(50.0));
    // The run `feature/main` has a folder `main` too, and it is newer.
    home.detect(&["--no-confirm"]).assert(ID, "passed", 0);
    for name in ["../main", "/main", "feature/../main", ""] {
        let judged = home.detect(&["--baseline", name]);
        assert!(judged.code == Some(2) && judged.text.contains("leads elsewhere"), "{name}: {}", judged.text);
    }
    for arguments in [["detect", "--baseline"], ["init-baselines", "--baseline"], ["report", "--baseline"]] {
        for name in ["new", "../main"] {
            let said = home.run(&[&arguments[..], &[name]].concat());
            assert_eq!(said.code, Some(2), "{arguments:?} {name}");
            assert!(said.errors.contains(&format!("the name `{name}`")), "{}", said.errors);
        }
    }
}

#[test]
fn a_folder_that_was_named_and_does_not_exist_is_an_error() {
    let home = home(100.0);
    let file = home.folder.path().join("file");
    fs::write(&file, "").unwrap();
    for folder in ["/no/such/folder", file.to_str().unwrap()] {
        for option in ["--baselines", "--home"] {
            for command in [&["detect", "--no-confirm"][..], &["slo"], &["report"], &["selftest", "--real"]] {
                let said = home.run(&[command, &[option, folder]].concat());
                assert_eq!(said.code, Some(2), "{command:?} {option}: {}{}", said.text, said.errors);
                let error = format!("error: {option} {folder}: there is no such folder\n");
                assert_eq!((said.errors, said.text), (error, String::new()), "{command:?}");
            }
            let judged = home.detect(&["--no-confirm", option, folder]);
            assert!(judged.json()["error"].as_str().unwrap().contains(folder), "{}", judged.text);
        }
    }
    assert!(!home.folder.path().join("benchmark_results").exists());
    // The usual folder may be missing, and baselines can be recorded in a new one.
    home.detect(&["--no-confirm"]).assert(ID, "passed", 0);
    let said = home.run(&["init-baselines", "--baselines", "recorded"]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    home.detect(&["--no-confirm", "--baselines", "recorded"]).assert(ID, "passed", 0);
}

#[test]
fn a_bench_or_an_exception_that_fits_nothing_is_an_error_that_says_so() {
    let home = home(100.0);
    home.detect(&["--bench", "latency"]).assert(ID, "passed", 0);
    let judged = home.detect(&["--bench", "latency", "--bench", "latencies"]);
    assert!(judged.code == Some(2) && judged.text.contains("--bench latencies"), "{}", judged.text);
    assert!(judged.text.contains("there is latency"), "{}", judged.text);
    fs::write(home.folder.path().join("t.toml"), "[[override]]\nid = 'recall_hott/*'\nallowed = 0.5")
        .unwrap();
    let judged = home.detect(&["--thresholds", "t.toml"]);
    assert!(judged.code == Some(2) && judged.text.contains("override recall_hott/*"), "{}", judged.text);
    // An override may match a bench that is not named.
    home.detect(&["--thresholds", "t.toml", "--bench", "latency"]).assert(ID, "passed", 0);
}

#[test]
fn an_error_is_printed_once() {
    let home = home(100.0);
    let output = home.folder.path().join("report");
    let output = output.to_str().unwrap();
    for more in [&[][..], &["--format", "json"], &["--format", "markdown"], &["--output", output]] {
        let judged = home.run(&[&["detect", "--baseline", "gone"], more].concat());
        assert_eq!(judged.code, Some(2));
        let printed = judged.text + &judged.errors;
        assert_eq!(printed.matches("no baseline").count(), 1, "{more:?}: {printed}");
    }
    assert!(fs::read_to_string(output).unwrap().contains("no baseline"));
}
