//! Runs of which one was disturbed throughout, so that its samples look sound but are not.

use criterion_gate::results::Kind;

use crate::home::{Home, samples};

const ID: &str = "recall_hot/wall/1000";

/// Creates a home with samples about `old` and `new`, and with these times of the reference work.
/// [`measuring`] sets the times that pairs measure.
fn home([old, new]: [f64; 2], [before, after]: [Option<f64>; 2]) -> Home {
    let home = Home::new();
    home.compare(ID, Kind::Wall, &samples(old, 0.03), &samples(new, 0.03));
    home.change("main", ID, |entry| entry.reference = before);
    home.change("new", ID, |entry| entry.reference = after);
    home
}

fn measuring(home: &Home, candidate: f64) {
    // Pairs find 100 ns for the baseline, with little noise.
    home.measuring("main", ID, &[100.0, 101.0, 99.0]);
    home.measuring("new", ID, &[candidate, 1.01 * candidate, 0.99 * candidate]);
}

/// Includes an observed case: a busy machine measured a baseline of 96 us that takes 40 us on a
/// quiet one, which hid a candidate of 66 us.
#[test]
fn a_baseline_that_was_disturbed_does_not_hide_a_regression() {
    for [old, new] in [[240.0, 120.0], [240.0, 166.0], [120.0, 120.0], [150.0, 120.0]] {
        let home = home([old, new], [Some(1e5 * old / 100.0), Some(1e5)]);
        home.detect(&[]).assert(ID, "inconclusive", 2);
        home.detect(&["--no-confirm"]).assert(ID, "inconclusive", 2);
        measuring(&home, new);
        home.detect(&[]).assert(ID, "regressed", 1);
    }
}

#[test]
fn the_same_code_is_neither_slower_nor_faster_whichever_run_was_disturbed() {
    for (old, new) in [(100.0, 120.0), (100.0, 250.0), (120.0, 100.0), (250.0, 100.0)] {
        let home = home([old, new], [Some(1e3 * old), Some(1e3 * new)]);
        measuring(&home, 100.0);
        home.detect(&[]).assert(ID, "passed", 0);
    }
}

#[test]
fn without_reference_work_samples_clear_nothing() {
    for references in [[None, Some(1e5)], [Some(1e5), None], [None, None], [Some(0.0), Some(1e5)]] {
        let home = home([100.0, 100.0], references);
        home.detect(&[]).assert(ID, "inconclusive", 2);
        home.detect(&["--no-confirm"]).assert(ID, "inconclusive", 2);
        measuring(&home, 100.0);
        home.detect(&[]).assert(ID, "passed", 0);
    }
}

#[test]
fn a_baseline_on_a_slightly_slower_machine_needs_more_room_to_be_clear() {
    // The difference of 2 % is added to the change. One of 4 % is too much for the same machine.
    for (new, slower, verdict) in
        [(100.0, 1.02, "passed"), (104.0, 1.02, "inconclusive"), (90.0, 1.04, "inconclusive")]
    {
        let home = home([100.0, new], [Some(1e5 * slower), Some(1e5)]);
        let (received, reason) = home.detect(&[]).of(ID);
        assert_eq!(received, verdict, "{new} {slower}: {reason}");
    }
}

#[test]
fn an_improvement_is_confirmed_in_pairs_and_its_values_are_theirs() {
    let home = home([200.0, 100.0], [Some(1e5), Some(1e5)]);
    measuring(&home, 80.0);
    let judged = home.detect(&[]);
    judged.assert(ID, "improved", 0);
    let finding = &judged.json()["benchmarks"][0];
    // The values are those of the pairs. The samples' are 200 and 100.
    let value = |side: &str| finding[side].as_f64().unwrap();
    assert!((value("baseline") - 100.0).abs() < 1.5 && (value("candidate") - 80.0).abs() < 1.5, "{finding}");
    let change = finding["change"]["estimate"].as_f64().unwrap();
    assert!((change + 0.2).abs() < 0.02, "{change}");
}

#[test]
fn what_has_changed_most_is_confirmed_first_and_the_budget_says_what_it_left() {
    let home = Home::new();
    let all = [("a/wall/1", 112.0), ("b/wall/1", 40.0), ("c/wall/1", 150.0)];
    for (id, new) in all {
        home.compare(id, Kind::Wall, &[100.0; 20], &[new; 20]);
    }
    let log = home.folder.path().join("filters");
    home.program(
        "main",
        &format!("for last; do :; done; echo \"$last\" >> '{}'; sleep 0.2; exit 3", log.display()),
    );
    home.program("new", "true");
    let settings = home.folder.path().join("t.toml");
    std::fs::write(&settings, "gate.minutes = 0.005").unwrap();
    let judged = home.detect(&["--thresholds", "t.toml"]);
    let filters = std::fs::read_to_string(log).unwrap();
    assert!(filters.starts_with("^b/wall/1$\n^c/wall/1$\n") && !filters.contains("^a/"), "{filters}");
    judged.assert("a/wall/1", "inconclusive", 2);
    let reason = judged.of("a/wall/1").1;
    assert!(reason.contains("budget of 0.005 minutes"), "{reason}");
}
