//! Baselines recorded in the repository.

use std::fs;

use criterion_gate::results::Kind;

use crate::home::{BASELINE, CANDIDATE, Home, overwrite, samples};

const ID: &str = "recall_hot/p99/5000";
const RAM: &str = "footprint/ram/1000";

/// Creates a home whose baseline was recorded and then deleted.
fn recorded() -> Home {
    let home = Home::new();
    home.compare(ID, Kind::P99, &samples(98_765.432_1, 0.03), &samples(99_000.0, 0.03));
    home.note("main", BASELINE, RAM, Kind::Ram, Some(1000.0));
    home.note("new", CANDIDATE, RAM, Kind::Ram, Some(1000.0));
    let written = home.run(&["init-baselines"]);
    assert_eq!(written.code, Some(0), "{}", written.errors);
    fs::remove_dir_all(home.run_folder("main", ID)).unwrap();
    fs::remove_file(home.sheet_path("main")).unwrap();
    home
}

#[test]
fn a_recorded_baseline_stands_in_for_one_that_is_not_saved() {
    let home = recorded();
    let judged = home.detect(&[]);
    judged.assert(ID, "passed", 0);
    judged.assert(RAM, "passed", 0);
    assert_eq!(judged.json()["baseline"]["recorded"], "baselines/a-cpu-2-cores");
    assert_eq!(judged.json()["baseline"]["taken"]["revision"], format!("r{BASELINE}"));
    assert_eq!(home.detect(&["--baseline", "other"]).code, Some(2));
    // A baseline saved by Criterion takes precedence.
    home.compare(ID, Kind::P99, &samples(50_000.0, 0.03), &samples(99_000.0, 0.03));
    home.detect(&["--no-confirm"]).assert(ID, "regressed", 1);
}

#[test]
fn a_recorded_baseline_is_small_and_keeps_its_samples_to_four_digits() {
    let home = recorded();
    let path = home.folder.path().join("baselines/a-cpu-2-cores/latency.json");
    let text = fs::read_to_string(path).unwrap();
    assert!(text.len() < 4_000, "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let values = json["samples"][ID]["values"].as_array().unwrap();
    assert_eq!(values.len(), 50);
    for (kept, exact) in values.iter().zip(samples(98_765.432_1, 0.03)) {
        let error = (kept.as_f64().unwrap() / exact - 1.0).abs();
        assert!(error < 5e-4, "{kept} for {exact}");
    }
}

#[test]
fn against_another_machine_only_bytes_and_qualities_count() {
    let home = recorded();
    home.change_sheet("new", |results| results.machine.cores = 64);
    let judged = home.detect(&[]);
    judged.assert(ID, "other_machine", 2);
    judged.assert(RAM, "passed", 2);
    // Of several machines, the candidate's is used.
    let (from, to) =
        (home.folder.path().join("baselines/a-cpu-2-cores"), home.folder.path().join("baselines/big"));
    fs::create_dir(&to).unwrap();
    let text = fs::read_to_string(from.join("latency.json")).unwrap();
    fs::write(to.join("latency.json"), text.replace("\"cores\": 2", "\"cores\": 64")).unwrap();
    home.detect(&[]).assert(ID, "passed", 0);
}

#[test]
fn a_suspect_of_a_recorded_baseline_is_judged_by_its_samples_only_if_asked() {
    let home = recorded();
    home.write_samples("new", ID, &samples(150_000.0, 0.03));
    home.detect(&[]).assert(ID, "inconclusive", 2);
    home.detect(&["--no-confirm"]).assert(ID, "regressed", 1);
    home.write_samples("new", ID, &samples(106_000.0, 0.03));
    home.detect(&["--no-confirm"]).assert(ID, "inconclusive", 2);
}

#[test]
fn a_recorded_file_that_is_torn_or_newer_cannot_be_judged() {
    let home = recorded();
    let path = home.folder.path().join("baselines/a-cpu-2-cores/latency.json");
    for text in [r#"{"format": 9}"#, r#"{"format": 1, "base"#, "", r#"{"format": 1}"#] {
        overwrite(&path, text);
        let judged = home.detect(&[]);
        assert!(judged.code == Some(2) && judged.text.contains("latency.json"), "{text}: {}", judged.text);
    }
}

#[test]
fn what_nothing_can_be_compared_with_is_not_recorded() {
    let home = Home::new();
    assert_eq!(home.run(&["init-baselines"]).code, Some(2));
    home.compare(ID, Kind::P99, &samples(100.0, 0.03), &samples(100.0, 0.03));
    for name in ["..", "a/b", ""] {
        assert_eq!(home.run(&["init-baselines", "--machine", name]).code, Some(2), "{name}");
    }
    home.change("main", ID, |entry| entry.taken.quick = true);
    assert_eq!(home.run(&["init-baselines"]).code, Some(2));
    home.change("main", ID, |entry| entry.taken.quick = false);
    overwrite(&home.run_folder("main", ID).join("sample.json"), "");
    assert_eq!(home.run(&["init-baselines"]).code, Some(2));
    assert!(!home.folder.path().join("baselines").exists());
    home.write_samples("main", ID, &samples(100.0, 0.03));
    let recorded = home.run(&["init-baselines", "--machine", "ours"]);
    assert_eq!(recorded.code, Some(0), "{}", recorded.errors);
    assert!(home.folder.path().join("baselines/ours/latency.json").exists());
}
