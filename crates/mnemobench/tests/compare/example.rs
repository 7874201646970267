//! Tests of the adapter that the documentation shows, which needs Python.

use std::fs;
use std::path::Path;
use std::process::Command;

use mnemobench::compare::cell::Check;
use mnemobench::compare::processes::tree;
use mnemobench::compare::summary::Figure;

use crate::bench::{Bench, row, wait_for};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn has_python() -> bool {
    let has = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: no python3");
    }
    has
}

fn adapters() -> String {
    Path::new(ROOT).join("adapters").display().to_string()
}

#[test]
fn the_documented_adapter_is_the_one_that_is_tested() {
    let read = |name: &str| fs::read_to_string(Path::new(ROOT).join("adapters").join(name)).unwrap();
    let (page, adapter) = (read("PROTOCOL.md"), read("example/adapter.py"));
    assert!(page.ends_with(&format!("```python\n{adapter}```\n")), "copy adapter.py into PROTOCOL.md");
    assert!(adapter.lines().count() <= 80, "an example is short");
}

#[test]
fn the_documented_adapter_is_measured_like_any_other() {
    if !has_python() {
        return;
    }
    let bench = Bench::new();
    let adapters = adapters();
    let said = bench.compare(&["--adapters", &adapters, "--systems", "mnemocore,example", "--rounds", "2"]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let comparison = bench.comparison();
    let example = row(&comparison, "example");
    assert_eq!((&example.disqualified, example.refusals.len()), (&None, 0));
    assert!(example.restart.done().unwrap().is_whole() && example.forget == Check::Done(true));
    assert!(example.value(Figure::RecallAt10).unwrap().value.point > 0.9, "{example:#?}");
    bench.assert_clean();
}

#[test]
#[cfg(target_os = "linux")]
fn the_documented_adapter_ends_with_a_killed_driver() {
    if !has_python() {
        return;
    }
    let bench = Bench::new();
    let adapters = adapters();
    let mut driver = bench.start(&["--adapters", &adapters, "--systems", "example", "--load", "60"]);
    let python =
        |driver: i32| tree(&[driver]).into_iter().filter(|process| process.pid != driver).collect::<Vec<_>>();
    let pid = driver.id() as i32;
    wait_for("the start of a store", || {
        fs::read_dir(bench.path("tmp"))
            .unwrap()
            .flatten()
            .any(|entry| entry.path().join("store/memories.jsonl").exists())
    });
    let all = python(pid);
    assert!(!all.is_empty());
    driver.kill().unwrap();
    driver.wait().unwrap();
    wait_for("the end of the adapter", || all.iter().all(|process| !process.is_running()));
}
