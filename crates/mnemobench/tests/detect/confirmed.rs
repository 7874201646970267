//! Suspects that are confirmed by running their executables again.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use criterion_gate::results::Kind;

use crate::home::{BASELINE, CANDIDATE, Home, samples};

const ID: &str = "recall_hot/p99/5000";

/// Creates a home with a suspect: its samples leave open whether it is 10 % slower.
fn suspect() -> Home {
    let home = Home::new();
    home.compare(ID, Kind::P99, &samples(100.0, 0.2), &samples(110.0, 0.2));
    home
}

#[test]
fn pairs_find_a_regression() {
    let home = suspect();
    home.measuring("main", ID, &[100.0, 102.0, 101.0]);
    home.measuring("new", ID, &[115.0, 114.0, 117.0, 116.0]);
    let judged = home.detect(&[]);
    judged.assert(ID, "regressed", 1);
    let change = &judged.json()["benchmarks"][0]["change"];
    assert_eq!(change["pairs"], 20);
    let estimate = change["estimate"].as_f64().unwrap();
    assert!((0.13..0.16).contains(&estimate), "{change}");
    let left = std::fs::read_dir(home.path()).unwrap().flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().contains("pair")).count();
    assert_eq!(left, 0, "folders of pairs left behind");
}

#[test]
fn pairs_clear_a_suspect_and_see_an_improvement() {
    let home = suspect();
    home.measuring("main", ID, &[100.0, 102.0, 101.0]);
    home.measuring("new", ID, &[101.0, 103.0]);
    let cleared = home.detect(&[]);
    cleared.assert(ID, "passed", 0);
    assert_eq!(cleared.json()["benchmarks"][0]["change"]["pairs"], 4, "pairs that nobody needs");
    home.measuring("new", ID, &[80.0, 81.0]);
    home.detect(&["--pairs", "12"]).assert(ID, "improved", 0);
}

#[test]
fn pairs_that_scatter_are_too_noisy_and_those_in_between_inconclusive() {
    let home = suspect();
    home.measuring("main", ID, &[100.0, 150.0, 220.0, 90.0, 170.0]);
    home.measuring("new", ID, &[160.0, 95.0, 210.0, 105.0, 140.0]);
    home.detect(&["--pairs", "12"]).assert(ID, "too_noisy", 2);
    // The change is close to the limit.
    home.measuring("main", ID, &[100.0, 103.0, 98.0, 104.0, 101.0]);
    home.measuring("new", ID, &[106.0, 113.0, 108.0, 112.0, 107.0]);
    home.detect(&["--pairs", "12"]).assert(ID, "inconclusive", 2);
}

#[test]
fn a_neighbour_of_some_runs_neither_alarms_nor_hides_a_regression() {
    let home = suspect();
    home.measuring("main", ID, &[100.0, 101.0, 160.0, 102.0, 99.0]);
    home.measuring("new", ID, &[101.0, 100.0, 99.0, 165.0, 170.0, 102.0, 103.0]);
    home.detect(&[]).assert(ID, "passed", 0);
    home.measuring("new", ID, &[121.0, 120.0, 119.0, 185.0, 190.0, 122.0, 123.0]);
    home.detect(&[]).assert(ID, "regressed", 1);
}

#[test]
fn what_slows_every_other_run_has_regressed() {
    let home = suspect();
    home.measuring("main", ID, &[100.0]);
    home.measuring("new", ID, &[100.0, 150.0]);
    home.detect(&[]).assert(ID, "regressed", 1);
}

#[test]
fn what_slows_all_runs_a_little_and_some_a_lot_has_regressed() {
    let home = suspect();
    home.measuring("main", ID, &[100.0]);
    home.measuring("new", ID, &[105.0, 105.0, 140.0]);
    home.detect(&[]).assert(ID, "regressed", 1);
}

#[test]
fn only_suspects_are_run_again_each_in_a_process_of_its_own() {
    let home = suspect();
    home.compare("clear/wall/1", Kind::Wall, &[7.0; 10], &[7.0; 10]);
    home.compare("other (1.5)/wall/1", Kind::Wall, &samples(100.0, 0.2), &samples(110.0, 0.2));
    // The filter is the last argument of the program.
    let log = home.folder.path().join("filters");
    let script =
        format!("for last; do :; done; echo \"$last $MNEMO_PROFILE\" >> '{}'; exit 3", log.display());
    home.measuring_each("main", &[(ID, &[100.0]), ("other (1.5)/wall/1", &[100.0])]);
    home.program("new", &script);
    std::fs::write(home.folder.path().join("t.toml"), "gate.audit = 0").unwrap();
    let judged = home.detect(&["--pairs", "12", "--thresholds", "t.toml"]);
    judged.assert(ID, "inconclusive", 2);
    let filters = std::fs::read_to_string(log).unwrap();
    // A suspect whose process failed is not run again.
    assert_eq!(filters, "^other \\(1\\.5\\)/wall/1$ quick\n^recall_hot/p99/5000$ quick\n");
}

#[test]
fn a_program_that_fails_or_hangs_leaves_its_suspects_inconclusive() {
    let home = suspect();
    std::fs::write(home.folder.path().join("t.toml"), "gate.process_seconds = 1").unwrap();
    home.measuring("main", ID, &[100.0]);
    for (script, hint) in [
        ("echo 'no room' >&2; exit 7", "no room"),
        ("sleep 600", "stopped after 1 s"),
        ("sleep 600 & wait", "stopped after 1 s"),
        ("true", "did not measure the benchmark"),
        ("kill -9 $$", "signal: 9"),
    ] {
        home.program("new", script);
        let judged = home.detect(&["--thresholds", "t.toml"]);
        judged.assert(ID, "inconclusive", 2);
        assert!(judged.of(ID).1.contains(hint), "{script}: {:?}", judged.of(ID));
    }
}

#[test]
fn without_its_executable_a_suspect_is_inconclusive_and_told_what_to_do() {
    let home = suspect();
    let judged = home.detect(&[]);
    judged.assert(ID, "inconclusive", 2);
    assert!(judged.of(ID).1.contains("cargo bench -- --save-baseline main"), "{:?}", judged.of(ID));
    home.measuring("main", ID, &[100.0]);
    assert!(home.detect(&[]).of(ID).1.ends_with("run cargo bench"), "{:?}", home.detect(&[]).of(ID));
}

#[test]
fn an_interrupt_ends_what_runs_and_cannot_be_judged() {
    let home = suspect();
    let marker = home.folder.path().join("started");
    // No other process sleeps for this duration, so it identifies the process.
    home.program("main", &format!("echo > '{}'; sleep 98.7654", marker.display()));
    home.program("new", "true");
    let mut gate = home.command(&["detect"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    while !marker.exists() {
        assert!(gate.try_wait().unwrap().is_none(), "it ended before its processes began");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &gate.id().to_string()]).status().unwrap().success());
    assert_eq!(gate.wait().unwrap().code(), Some(2));
    let mut errors = String::new();
    gate.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(errors.contains("interrupted"), "{errors}");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let sleeping = processes.filter(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("98.7654")
    });
    assert_eq!(sleeping.count(), 0, "a process outlived the gate");
}

#[test]
fn bytes_are_never_run_again() {
    let home = Home::new();
    home.note("main", BASELINE, "footprint/ram/1", Kind::Ram, Some(100.0));
    home.note("new", CANDIDATE, "footprint/ram/1", Kind::Ram, Some(125.0));
    home.program("main", "touch ran");
    home.detect(&[]).assert("footprint/ram/1", "regressed", 1);
    assert!(!home.folder.path().join("ran").exists());
}
