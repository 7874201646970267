//! Conclusions that samples and pairs allow, and those that they do not.

use std::fs;

use criterion_gate::machine::Machine;
use criterion_gate::results::{Kind, NEW, Results};

use crate::home::{BASELINE, BENCH, CANDIDATE, Home, entry, samples, sheet};

const IDS: [&str; 3] = ["a/wall/1", "b/wall/1", "c/wall/1"];

/// Creates a home with three benchmarks whose samples and reference work are equal on both sides.
fn home(audit: f64) -> Home {
    let home = Home::new();
    for id in IDS {
        home.compare(id, Kind::Wall, &samples(100.0, 0.03), &samples(100.0, 0.03));
    }
    fs::write(home.folder.path().join("t.toml"), format!("gate.audit = {audit}")).unwrap();
    home
}

/// A disk that was busy during the baseline slowed its samples but not its reference work. Samples
/// of a slower candidate then look equal.
#[test]
fn pairs_that_contradict_samples_have_everything_confirmed() {
    for (audit, really, verdict, code) in
        [(0.0, 120.0, "passed", 0), (0.4, 120.0, "regressed", 1), (0.4, 100.0, "passed", 0)]
    {
        let home = home(audit);
        home.measuring_each("main", &IDS.map(|id| (id, &[100.0, 101.0, 99.0][..])));
        let values = [really, 1.01 * really, 0.99 * really];
        home.measuring_each(NEW, &IDS.map(|id| (id, &values[..])));
        let judged = home.detect(&["--thresholds", "t.toml"]);
        // The audit runs pairs of two of the three. Their pairs contradict the samples, so the
        // third follows.
        IDS.iter().for_each(|id| judged.assert(id, verdict, code));
    }
}

#[test]
fn what_some_runs_of_a_suspect_show_is_not_passed_because_other_suspects_are_unchanged() {
    let home = Home::new();
    let all = ["a/wall/1", "b/wall/1", "c/wall/1", "d/wall/1"];
    for id in all {
        home.compare(id, Kind::Wall, &samples(100.0, 0.03), &samples(115.0, 0.03));
    }
    let fast: &[f64] = &[100.0];
    home.measuring_each("main", &all.map(|id| (id, fast)));
    let some = [150.0, 100.0, 100.0, 150.0, 100.0, 100.0, 150.0, 100.0, 100.0, 100.0];
    home.measuring_each(NEW, &[(all[0], &some), (all[1], fast), (all[2], fast), (all[3], fast)]);
    let judged = home.detect(&[]);
    let (verdict, reason) = judged.of(all[0]);
    assert!(verdict == "inconclusive" || verdict == "regressed", "{verdict}: {reason}");
    assert_ne!(judged.code, Some(0));
}

#[test]
fn a_few_fast_runs_are_no_improvement() {
    let home = Home::new();
    home.compare(IDS[0], Kind::Wall, &samples(130.0, 0.03), &samples(100.0, 0.03));
    home.measuring("main", IDS[0], &[100.0, 101.0, 99.0]);
    let mut runs = [85.0, 86.0, 84.0, 85.0].to_vec();
    runs.extend([100.0, 101.0, 99.0, 100.0].repeat(4));
    home.measuring(NEW, IDS[0], &runs);
    home.detect(&[]).assert(IDS[0], "passed", 0);
}

#[test]
fn the_values_of_a_row_are_those_that_its_change_is_of() {
    let slower =
        [&[100.0, 150.0][..], &[105.0, 105.0, 140.0], &[121.0, 120.0, 119.0, 185.0, 190.0], &[130.0]];
    let faster: [&[f64]; 1] = [&[80.0]];
    for runs in slower.into_iter().chain(faster) {
        let home = Home::new();
        home.compare(IDS[0], Kind::Wall, &samples(100.0, 0.03), &samples(115.0, 0.03));
        home.measuring("main", IDS[0], &[100.0, 101.0]);
        home.measuring(NEW, IDS[0], runs);
        let finding = &home.detect(&[]).json()["benchmarks"][0];
        let value = |key: &str| finding[key].as_f64().unwrap();
        let change = finding["change"]["estimate"].as_f64().unwrap();
        let ratio = value("candidate") / value("baseline") - 1.0;
        assert!((ratio - change).abs() < 1e-9, "{runs:?}: {finding}");
        // The values of these regressions are means. Those of the improvement are of the faster
        // half.
        let is_mean = (value("baseline") - (100.0_f64 * 101.0).sqrt()).abs() < 1e-6;
        assert_eq!(is_mean, finding["verdict"] == "regressed", "{runs:?}: {finding}");
    }
}

#[test]
fn a_benchmark_that_moved_to_another_bench_is_not_new() {
    let home = Home::new();
    let id = IDS[0];
    home.write_samples("main", id, &samples(100.0, 0.03));
    home.note("main", BASELINE, id, Kind::Wall, None);
    home.write_samples(NEW, id, &samples(300.0, 0.03));
    let mut moved = Results { bench: "speed".into(), ..sheet(CANDIDATE) };
    let noted = entry(&moved, Kind::Wall, None, CANDIDATE);
    moved.entries.insert(id.into(), noted);
    moved.save(&home.path(), NEW).unwrap();
    for bench in [BENCH, "speed"] {
        home.detect(&["--no-confirm", "--bench", bench]).assert(id, "regressed", 1);
    }
}

#[test]
fn a_bench_that_was_interrupted_cannot_be_judged_by_what_it_left() {
    for run in ["main", NEW] {
        let home = home(0.0);
        home.detect(&["--thresholds", "t.toml"]).assert(IDS[0], "passed", 0);
        let results = Results::new(BENCH, Machine::detect());
        results.begin(&home.path(), run).unwrap();
        let judged = home.detect(&["--thresholds", "t.toml"]);
        judged.assert(IDS[0], "unreadable", 2);
        let (_, reason) = judged.of(&format!("results of {BENCH}"));
        assert!(reason.contains("did not run to its end"), "{reason}");
        results.end(&home.path(), run).unwrap();
        home.detect(&["--thresholds", "t.toml"]).assert(IDS[0], "passed", 0);
    }
}

#[test]
fn verdicts_of_before_do_not_outlive_a_judgement_that_fails() {
    let home = home(0.0);
    home.detect(&["--thresholds", "t.toml"]).assert(IDS[0], "passed", 0);
    let kept = home.path().join("mnemobench/new/verdicts/main.json");
    assert!(kept.is_file());
    fs::write(home.folder.path().join("t.toml"), "gate.alpha = 7").unwrap();
    assert_eq!(home.detect(&["--thresholds", "t.toml"]).code, Some(2));
    assert!(!kept.exists());
}

#[test]
fn how_many_elements_an_iteration_has_does_not_change_a_time() {
    let home = home(0.0);
    home.set_operations(NEW, IDS[0], 200);
    let judged = home.detect(&["--thresholds", "t.toml"]);
    judged.assert(IDS[0], "passed", 0);
    let finding = judged.json()["benchmarks"].as_array().unwrap()[0].clone();
    assert_eq!(finding["baseline"], finding["candidate"]);
}

#[test]
fn what_a_killed_gate_left_behind_is_no_benchmark() {
    let home = home(0.0);
    fs::create_dir_all(home.path().join("mnemobench-pair-x/a_wall_1/new")).unwrap();
    home.detect(&["--thresholds", "t.toml"]).assert(IDS[0], "passed", 0);
}

#[test]
fn other_spellings_of_a_name_are_refused() {
    let home = home(0.0);
    for name in ["main/", "main/.", "./main", "a//b", "..", "/main", ""] {
        let judged = home.detect(&["--baseline", name]);
        assert_eq!(judged.code, Some(2), "{name}");
        assert!(judged.json()["error"].as_str().unwrap().contains("leads elsewhere"), "{name}");
    }
}

#[test]
fn more_pairs_than_anything_needs_end_when_all_is_decided() {
    let home = home(0.0);
    let many = usize::MAX.to_string();
    home.detect(&["--thresholds", "t.toml", "--pairs", &many]).assert(IDS[0], "passed", 0);
}
