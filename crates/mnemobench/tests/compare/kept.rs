//! Kept cells: a run continues with them, and does not mix them with cells of other settings.

use std::fs;

use crate::bench::{Bench, files};

const SYSTEMS: [&str; 4] = ["--systems", "a,b", "--rounds", "3"];

fn three_rounds() -> Bench {
    let bench = Bench::new();
    bench.stub("a", "without=restart");
    bench.stub("b", "without=restart");
    bench
}

#[test]
fn the_order_of_systems_changes_between_rounds() {
    let bench = three_rounds();
    let said = bench.compare(&[&SYSTEMS[..], &["--conversations", "1"]].concat());
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert_eq!(bench.lines("opened"), ["a", "b", "b", "a", "a", "b"]);
}

#[test]
fn only_what_is_missing_is_measured_again() {
    let bench = three_rounds();
    let opened = |arguments: &[&str]| {
        let before = bench.lines("opened").len();
        let said = bench.compare(&[&SYSTEMS[..], arguments].concat());
        assert_eq!(said.code, Some(0), "{}", said.errors);
        bench.lines("opened").split_off(before)
    };
    assert_eq!(opened(&[]).len(), 12);
    assert_eq!(opened(&[]).len(), 0);
    let cells = files(&bench.path("out/cells"), ".json");
    assert_eq!(cells.len(), 12);
    fs::remove_file(&cells[0]).unwrap();
    fs::write(&cells[7], "{torn").unwrap();
    assert_eq!(opened(&[]), ["a", "b"]);
    // A new version of one system, then other settings of both.
    fs::write(bench.path("adapters/b/more"), "code").unwrap();
    assert_eq!(opened(&[]), ["b"; 6]);
    assert_eq!(opened(&["--limit", "5"]).len(), 12);
    assert_eq!(opened(&["--limit", "5", "--fresh"]).len(), 12);
}

#[test]
fn cells_of_other_settings_and_versions_are_left_out() {
    let bench = three_rounds();
    assert_eq!(bench.compare(&SYSTEMS).code, Some(0));
    assert_eq!(bench.comparison().left_out, 0);
    // One conversation is measured with the new version, the other keeps cells of the old one.
    fs::write(bench.path("adapters/b/more"), "code").unwrap();
    assert_eq!(bench.compare(&[&SYSTEMS[..], &["--conversations", "1"]].concat()).code, Some(0));
    let comparison = bench.comparison();
    assert_eq!(comparison.left_out, 3);
    let conversations: Vec<_> = comparison.groups.iter().map(|group| group.conversations.len()).collect();
    assert_eq!(conversations, [1, 2]);
    // A system that is not run now stays in the table.
    assert_eq!(bench.compare(&["--systems", "a"]).code, Some(0));
    assert_eq!(bench.comparison().groups[0].rows.len(), 2);
}

#[test]
fn a_failure_is_kept_until_it_is_to_be_tried_again() {
    let bench = Bench::new();
    bench.stub("a", "die=recall");
    let run = |arguments: &[&str]| {
        let before = bench.lines("opened").len();
        assert_eq!(bench.compare(&[&["--systems", "a"], arguments].concat()).code, Some(0));
        (bench.lines("opened").len() - before, bench.comparison().absent.len())
    };
    // The system is skipped after two consecutive failures.
    assert_eq!(run(&["--rounds", "5"]), (2, 1));
    assert_eq!(run(&["--rounds", "1"]), (0, 1));
    assert_eq!(run(&["--rounds", "1", "--retry"]), (2, 1));
}

#[test]
fn the_chapter_stands_in_the_report_and_is_spliced_into_a_readme() {
    let bench = Bench::new();
    assert_eq!(bench.compare(&["--systems", "mnemocore,bm25", "--rounds", "1"]).code, Some(0));
    let readme = bench.path("README.md");
    fs::write(&readme, "before\n<!-- results:compare -->\n<!-- /results -->\nafter\n").unwrap();
    fs::create_dir(bench.path("nothing")).unwrap();
    let report = std::process::Command::new(env!("CARGO_BIN_EXE_mnemobench"))
        .args(["report", "--home", "nothing", "--comparison", "out/compare.json", "--readme", "README.md"])
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let spliced = fs::read_to_string(readme).unwrap();
    assert!(spliced.starts_with("before\n") && spliced.ends_with("after\n"), "{spliced}");
    for part in ["From `mnemobench compare --data data", "| BM25 | ", "- We chose the data", "Measured on "] {
        assert!(spliced.contains(part), "{part} is not in {spliced}");
    }
    let page = fs::read_to_string(bench.path("benchmark_results/report.html")).unwrap();
    for part in ["<section id=\"compare\">", "Memory systems side by side", "<li>We chose the data", "<svg"] {
        assert!(page.contains(part), "{part} is not in the page");
    }
}
