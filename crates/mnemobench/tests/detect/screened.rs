//! Verdicts from the saved files alone.

use std::fs;

use criterion_gate::profile::Profile;
use criterion_gate::results::Kind;

use crate::home::{BASELINE, CANDIDATE, Home, overwrite, samples};

const ID: &str = "recall_hot/p99/5000";

/// Creates a home with one benchmark that has not changed.
fn unchanged() -> Home {
    let home = Home::new();
    home.compare(ID, Kind::P99, &samples(100.0, 0.03), &samples(101.0, 0.03));
    home
}

#[test]
fn what_is_within_the_limit_passes() {
    let judged = unchanged().detect(&[]);
    judged.assert(ID, "passed", 0);
    let json = judged.json();
    assert_eq!(
        (&json["version"], &json["outcome"], &json["counts"]["passed"]),
        (&1.into(), &"pass".into(), &1.into())
    );
    let change = json["benchmarks"][0]["change"]["estimate"].as_f64().unwrap();
    assert!((change - 0.01).abs() < 1e-9, "{change}");
}

#[test]
fn what_has_doubled_has_regressed_by_its_samples_alone_if_these_are_asked() {
    let home = Home::new();
    home.compare(ID, Kind::P99, &samples(100.0, 0.03), &samples(200.0, 0.03));
    home.detect(&["--no-confirm"]).assert(ID, "regressed", 1);
    // Samples alone cannot distinguish a slower candidate from a busier machine.
    home.detect(&[]).assert(ID, "inconclusive", 2);
}

#[test]
fn what_is_much_faster_has_not_improved_by_its_samples_alone() {
    let home = Home::new();
    home.compare(ID, Kind::P99, &samples(200.0, 0.03), &samples(100.0, 0.03));
    home.detect(&[]).assert(ID, "inconclusive", 2);
    home.detect(&["--no-confirm"]).assert(ID, "passed", 0);
}

#[test]
fn constant_samples_are_judged_like_any() {
    let home = Home::new();
    home.compare(ID, Kind::Wall, &[100.0; 10], &[100.0; 10]);
    home.detect(&[]).assert(ID, "passed", 0);
    home.compare(ID, Kind::Wall, &[100.0; 10], &[120.0; 10]);
    home.detect(&["--no-confirm"]).assert(ID, "regressed", 1);
}

#[test]
fn a_suspect_that_nothing_confirms_is_inconclusive_unless_the_settings_let_it_pass() {
    let home = Home::new();
    home.compare(ID, Kind::P99, &samples(100.0, 0.2), &samples(108.0, 0.2));
    home.detect(&["--no-confirm"]).assert(ID, "inconclusive", 2);
    fs::write(home.folder.path().join("lenient.toml"), "gate.undecided = 'pass'").unwrap();
    home.detect(&["--no-confirm", "--thresholds", "lenient.toml"]).assert(ID, "inconclusive", 0);
}

#[test]
fn a_tenth_less_throughput_is_a_ninth_more_time() {
    let home = Home::new();
    let id = "store/throughput/4";
    home.compare(id, Kind::Throughput, &[100.0; 20], &[110.5; 20]);
    home.detect(&["--no-confirm"]).assert(id, "inconclusive", 2);
    home.compare(id, Kind::Throughput, &[100.0; 20], &[111.5; 20]);
    let judged = home.detect(&["--no-confirm"]);
    judged.assert(id, "regressed", 1);
    // 100 operations take 100 ns, and the change is that of the rate.
    let finding = &judged.json()["benchmarks"][0];
    assert_eq!(finding["baseline"].as_f64(), Some(1e9));
    let change = finding["change"]["estimate"].as_f64().unwrap();
    assert!((change - (100.0 / 111.5 - 1.0)).abs() < 1e-9, "{change}");
}

#[test]
fn bytes_and_qualities_are_compared_as_they_are() {
    for (id, kind, old, new, verdict, code) in [
        ("footprint/ram/1000", Kind::Ram, 1000.0, 1200.0, "passed", 0),
        ("footprint/ram/1000", Kind::Ram, 1000.0, 1201.0, "regressed", 1),
        ("footprint/disk/1000", Kind::Disk, 1000.0, 800.0, "improved", 0),
        ("footprint/disk/1000", Kind::Disk, 0.0, 0.0, "passed", 0),
        ("footprint/disk/1000", Kind::Disk, 0.0, 1.0, "regressed", 1),
        ("recall_at_10/quality/5000", Kind::Quality, 1.0, 0.981, "passed", 0),
        ("recall_at_10/quality/5000", Kind::Quality, 1.0, 0.979, "regressed", 1),
        ("recall_at_10/quality/5000", Kind::Quality, 0.9, 0.0, "regressed", 1),
        ("recall_at_10/quality/5000", Kind::Quality, 0.9, 0.99, "improved", 0),
        ("recall_at_10/quality/5000", Kind::Quality, 0.9, -1.0, "unreadable", 2),
    ] {
        let home = Home::new();
        home.note("main", BASELINE, id, kind, Some(old));
        home.note("new", CANDIDATE, id, kind, Some(new));
        home.detect(&[]).assert(id, verdict, code);
    }
    let home = Home::new();
    home.compare("footprint/ram/1", Kind::Ram, &[1000.0; 10], &[1250.0; 10]);
    home.detect(&[]).assert("footprint/ram/1", "regressed", 1);
}

#[test]
fn what_has_vanished_cannot_pass_unless_it_was_removed_on_purpose() {
    let home = unchanged();
    home.write_samples("main", "gone/wall/1", &samples(5.0, 0.01));
    home.note("main", BASELINE, "gone/wall/1", Kind::Wall, None);
    let judged = home.detect(&[]);
    judged.assert("gone/wall/1", "missing", 2);
    judged.assert(ID, "passed", 2);
    fs::write(home.folder.path().join("t.toml"), "[[override]]\nid = 'gone/*'\nremoved = true").unwrap();
    home.detect(&["--thresholds", "t.toml"]).assert("gone/wall/1", "missing", 0);
}

#[test]
fn what_was_removed_on_purpose_may_be_left_behind_by_the_run_that_saved_the_baseline() {
    let home = unchanged();
    let gone = "gone/wall/1";
    home.compare(gone, Kind::Wall, &[5.0; 10], &[5.0; 10]);
    home.change("new", gone, |entry| {
        (entry.taken.unix_seconds, entry.taken.revision) = (BASELINE, format!("r{BASELINE}"));
    });
    home.detect(&[]).assert(gone, "stale", 2);
    fs::write(home.folder.path().join("t.toml"), "[[override]]\nid = 'gone/*'\nremoved = true").unwrap();
    home.detect(&["--thresholds", "t.toml"]).assert(gone, "missing", 0);
}

#[test]
fn what_is_new_passes_but_nothing_passes_when_all_is_new() {
    let home = unchanged();
    home.write_samples("new", "fresh/wall/1", &samples(5.0, 0.01));
    home.note("new", CANDIDATE, "fresh/wall/1", Kind::Wall, None);
    home.detect(&[]).assert("fresh/wall/1", "new", 0);
    home.detect(&["--bench", "latency"]).assert("fresh/wall/1", "new", 0);
    let judged = home.detect(&["--bench", "throughput"]);
    assert_eq!(judged.code, Some(2), "{}", judged.text);
}

#[test]
fn what_was_taken_before_the_baseline_or_with_it_is_stale() {
    for taken in [BASELINE - 5, BASELINE] {
        let home = unchanged();
        home.change("new", ID, |entry| entry.taken.unix_seconds = taken);
        home.detect(&[]).assert(ID, "stale", 2);
    }
}

#[test]
fn what_is_of_another_revision_or_profile_than_the_last_run_is_stale() {
    let others: [fn(&mut criterion_gate::results::Entry); 2] =
        [|entry| entry.taken.revision = "older".into(), |entry| entry.taken.profile = Profile::Full];
    for other in others {
        let home = unchanged();
        home.compare("newest/wall/1", Kind::Wall, &[9.0; 10], &[9.0; 10]);
        home.change("new", "newest/wall/1", |entry| entry.taken.unix_seconds += 1);
        home.change("new", ID, other);
        let judged = home.detect(&[]);
        judged.assert(ID, "stale", 2);
        judged.assert("newest/wall/1", "passed", 2);
    }
}

#[test]
fn a_baseline_of_two_revisions_is_stale_where_it_is_older() {
    let home = unchanged();
    home.compare("newest/wall/1", Kind::Wall, &[9.0; 10], &[9.0; 10]);
    home.change("main", ID, |entry| {
        (entry.taken.unix_seconds, entry.taken.revision) = (BASELINE - 1000, "older".into());
    });
    let judged = home.detect(&[]);
    judged.assert(ID, "stale", 2);
    judged.assert("newest/wall/1", "passed", 2);
}

#[test]
fn a_leftover_that_the_baseline_never_had_is_no_matter() {
    let home = unchanged();
    home.write_samples("new", "left/wall/1", &[1.0; 10]);
    home.note("new", CANDIDATE, "left/wall/1", Kind::Wall, None);
    home.change("new", "left/wall/1", |entry| {
        entry.taken.unix_seconds -= 1000;
        entry.taken.profile = Profile::Full;
    });
    let judged = home.detect(&[]);
    judged.assert(ID, "passed", 0);
    assert_eq!(judged.json()["benchmarks"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_older_than_a_baseline_that_lacks_it_is_stale_and_not_new() {
    let left = "left/wall/1";
    for (taken, verdict, code) in
        [(BASELINE - 5, "stale", 2), (BASELINE, "stale", 2), (BASELINE + 1, "new", 0)]
    {
        let home = unchanged();
        home.write_samples("new", left, &[1.0; 10]);
        home.note("new", CANDIDATE, left, Kind::Wall, None);
        home.change("new", left, |entry| entry.taken.unix_seconds = taken);
        home.detect(&[]).assert(left, verdict, code);
        fs::write(home.folder.path().join("t.toml"), "[[override]]\nid = 'left/*'\nremoved = true").unwrap();
        home.detect(&["--thresholds", "t.toml"]).assert(ID, "passed", 0);
    }
}

#[test]
fn times_of_another_machine_are_not_compared_but_bytes_and_qualities_are() {
    let home = unchanged();
    for (id, kind) in [("footprint/ram/1", Kind::Ram), ("found/quality/1", Kind::Quality)] {
        home.note("main", BASELINE, id, kind, Some(1.0));
        home.note("new", CANDIDATE, id, kind, Some(1.0));
    }
    home.change_sheet("main", |results| results.machine.cpu = "another".into());
    let judged = home.detect(&[]);
    judged.assert(ID, "other_machine", 2);
    judged.assert("footprint/ram/1", "passed", 2);
    judged.assert("found/quality/1", "passed", 2);
}

#[test]
fn times_of_builds_with_other_features_are_not_compared() {
    let home = unchanged();
    home.change_sheet("main", |results| results.machine.features.push("inject".into()));
    let judged = home.detect(&[]);
    judged.assert(ID, "other_machine", 2);
    assert!(judged.of(ID).1.contains("inject"), "{:?}", judged.of(ID));
}

#[test]
fn iterations_of_more_operations_are_not_slower_for_it() {
    let home = Home::new();
    let id = "store/throughput/4";
    // Twice the operations take twice the time, then three times the time.
    for (time, verdict, code) in [(200.0, "passed", 0), (300.0, "regressed", 1)] {
        home.compare(id, Kind::Throughput, &[100.0; 20], &[time; 20]);
        home.set_operations("new", id, 200);
        home.detect(&["--no-confirm"]).assert(id, verdict, code);
    }
}

#[test]
fn a_single_rate_is_left_to_the_report_but_may_not_vanish() {
    let home = unchanged();
    let id = "recall_open/throughput/p99_5ms";
    home.note("main", BASELINE, id, Kind::Throughput, Some(4000.0));
    home.note("new", CANDIDATE, id, Kind::Throughput, Some(3000.0));
    let judged = home.detect(&[]);
    judged.assert(ID, "passed", 0);
    assert!(!judged.text.contains(id), "{}", judged.text);

    let home = unchanged();
    home.note("main", BASELINE, id, Kind::Throughput, Some(4000.0));
    home.detect(&[]).assert(id, "missing", 2);
}

#[test]
fn few_samples_and_two_profiles_are_a_quick_run() {
    let home = unchanged();
    home.change("new", ID, |entry| entry.taken.quick = true);
    home.detect(&[]).assert(ID, "quick_run", 2);

    let home = unchanged();
    home.change("main", ID, |entry| entry.taken.profile = Profile::Default);
    home.detect(&[]).assert(ID, "quick_run", 2);

    for count in [2, 9] {
        let home = Home::new();
        home.compare(ID, Kind::P99, &[100.0; 10], &vec![100.0; count]);
        home.detect(&[]).assert(ID, "quick_run", 2);
    }
}

#[test]
fn damaged_files_are_unreadable_on_either_side() {
    let good = fs::read_to_string(unchanged().run_folder("new", ID).join("sample.json")).unwrap();
    for run in ["main", "new"] {
        for (file, text) in [
            ("sample.json", &good[..good.len() / 2]),
            ("sample.json", ""),
            ("sample.json", r#"{"iters":[1.0],"times":[NaN]}"#),
            ("sample.json", r#"{"iters":[1.0],"times":[null]}"#),
            ("sample.json", r#"{"iters":[1.0],"times":[-4.0]}"#),
            ("sample.json", r#"{"version":2,"data":[]}"#),
            ("estimates.json", "{}"),
        ] {
            let home = unchanged();
            overwrite(&home.run_folder(run, ID).join(file), text);
            let judged = home.detect(&[]);
            judged.assert(ID, "unreadable", 2);
            assert!(judged.of(ID).1.contains(file), "{:?}", judged.of(ID));
        }
    }
}

#[test]
fn an_empty_folder_of_a_benchmark_is_unreadable() {
    let home = unchanged();
    let folder = home.run_folder("new", ID);
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    let judged = home.detect(&[]);
    // The result sheet promises samples, and the empty folder does not name its benchmark.
    judged.assert(ID, "unreadable", 2);
    judged.assert("recall_hot_p99_5000", "unreadable", 2);
}

#[test]
fn a_benchmark_that_criterion_dropped_is_unreadable() {
    let home = unchanged();
    fs::remove_dir_all(home.run_folder("new", ID)).unwrap();
    home.detect(&[]).assert(ID, "unreadable", 2);
}

#[test]
fn samples_that_no_bench_noted_are_unreadable() {
    let home = unchanged();
    for (run, value) in [("main", 1.0), ("new", 1.0)] {
        home.write_samples(run, "unknown/wall/1", &[value; 10]);
    }
    home.detect(&[]).assert("unknown/wall/1", "unreadable", 2);
}

#[test]
fn a_sheet_that_is_torn_or_of_a_newer_version_cannot_pass() {
    for run in ["main", "new"] {
        for text in [r#"{"format": 1, "ben"#, r#"{"format": 99}"#, ""] {
            let home = unchanged();
            overwrite(&home.sheet_path(run), text);
            let judged = home.detect(&[]);
            judged.assert(ID, "unreadable", 2);
            judged.assert("results of latency", "unreadable", 2);
        }
    }
}

#[test]
fn a_missing_baseline_and_an_empty_home_cannot_be_judged() {
    let home = unchanged();
    let judged = home.detect(&["--baseline", "other"]);
    assert_eq!((judged.code, judged.json()["outcome"].as_str()), (Some(2), Some("cannot_judge")));
    assert!(judged.json()["error"].as_str().unwrap().contains("--save-baseline other"), "{}", judged.text);
    let markdown = home.run(&["detect", "--baseline", "other", "--format", "markdown"]);
    assert!(markdown.code == Some(2) && markdown.text.contains("Cannot be judged"), "{}", markdown.text);

    let empty = Home::new();
    assert_eq!(empty.detect(&[]).code, Some(2));
    fs::create_dir(empty.path()).unwrap();
    assert_eq!(empty.detect(&[]).code, Some(2));
    let judged = home.detect(&["--candidate", "nobody"]);
    assert!(judged.code == Some(2) && judged.text.contains("nobody"), "{}", judged.text);
}

#[test]
fn a_regression_wins_over_what_cannot_be_judged() {
    let home = unchanged();
    home.compare("slow/wall/1", Kind::Wall, &[100.0; 20], &[200.0; 20]);
    home.note("main", BASELINE, "gone/wall/1", Kind::Wall, Some(1.0));
    let judged = home.detect(&["--no-confirm"]);
    judged.assert("slow/wall/1", "regressed", 1);
    judged.assert("gone/wall/1", "missing", 1);
}

#[test]
fn thresholds_can_be_set_by_benchmark_and_mistakes_in_them_cannot_be_judged() {
    let home = Home::new();
    home.compare(ID, Kind::P99, &[100.0; 20], &[130.0; 20]);
    home.detect(&["--no-confirm"]).assert(ID, "regressed", 1);
    let folder = home.folder.path().join("baselines");
    fs::create_dir(&folder).unwrap();
    let write = |text: &str| fs::write(folder.join("thresholds.toml"), text).unwrap();
    write("[[override]]\nid = 'recall_*/p99/*'\nallowed = 0.7");
    home.detect(&["--no-confirm"]).assert(ID, "passed", 0);
    write("[[overide]]\nid = 'recall_*/p99/*'\nallowed = 0.7");
    let judged = home.detect(&["--no-confirm"]);
    assert!(judged.code == Some(2) && judged.text.contains("overide"), "{}", judged.text);
    assert_eq!(home.detect(&["--thresholds", "gone.toml"]).code, Some(2));
    write("");
    assert_eq!(home.detect(&["--pairs", "11"]).code, Some(2));
}

#[test]
fn text_and_markdown_name_the_worst_first_and_say_why() {
    let home = unchanged();
    home.compare("slow/wall/1", Kind::Wall, &[100.0; 20], &[200.0; 20]);
    home.compare("slower/wall/1", Kind::Wall, &[100.0; 20], &[300.0; 20]);
    home.note("main", BASELINE, "gone/wall/1", Kind::Wall, Some(1.0));
    let order = ["slower/wall/1", "slow/wall/1", "gone/wall/1", ID];
    let text = home.run(&["detect", "--no-confirm"]);
    let output = home.folder.path().join("comment.md");
    let arguments = ["detect", "--no-confirm", "--format", "markdown", "--output", output.to_str().unwrap()];
    let written = home.run(&arguments);
    assert_eq!((text.code, written.code, written.text.as_str()), (Some(1), Some(1), ""));
    let markdown = fs::read_to_string(output).unwrap();
    for text in [&text.text, &markdown] {
        let places: Vec<usize> =
            order.iter().map(|id| text.find(id).unwrap_or_else(|| panic!("{text}"))).collect();
        assert!(places.is_sorted(), "{text}");
        assert!(
            text.contains("Regressed: 2 regressed, 1 missing, 1 passed.") && text.contains("+200.0 %"),
            "{text}"
        );
        assert!(text.contains("run its bench, or list it as removed"), "{text}");
    }
    // The outcome comes first. Benchmarks that passed and the machines are folded.
    assert!(markdown.starts_with("### Benchmarks\n\n**Regressed"), "{markdown}");
    let folded = markdown.split("<details>").nth(1).unwrap();
    assert!(folded.contains(ID) && !folded.contains("slow/wall/1"), "{markdown}");
    assert!(markdown.matches("</details>").count() == 2 && markdown.contains("a cpu, 2 cores"), "{markdown}");
}

#[test]
fn a_wrong_command_line_cannot_be_judged() {
    let home = Home::new();
    for arguments in
        [&["detect", "--bselin", "main"][..], &["detect", "--pairs", "20", "--no-confirm"], &["what"]]
    {
        assert_eq!(home.run(arguments).code, Some(2), "{arguments:?}");
    }
    assert_eq!(home.run(&["--help"]).code, Some(0));
}
