//! Options that are refused, and what the help says of them.

use std::fs;

use crate::bench::Bench;

#[test]
fn options_that_leave_nothing_to_measure_are_refused() {
    let bench = Bench::new();
    for option in ["--timeout", "--load"] {
        for value in ["0", "-1", "NaN", "inf", "1e300", "x"] {
            let said = bench.compare(&[&format!("{option}={value}")]);
            assert_eq!(said.code, Some(2), "{option} {value}: {}", said.errors);
            assert!(said.errors.contains(option) && said.errors.contains("above 0"), "{}", said.errors);
        }
    }
    let said = bench.compare(&["--adapters", "nowhere"]);
    assert_eq!(said.code, Some(2), "{}", said.errors);
    assert!(said.errors.contains("--adapters nowhere: there is no such folder"), "{}", said.errors);
    assert!(!bench.path("out").exists());
}

#[test]
fn the_help_gives_lists_as_they_are_written() {
    let said = Bench::new().compare(&["--help"]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    for default in ["[default: 1,10]", "[default: hash,minilm]"] {
        assert!(said.text.contains(default), "{default} is not in {}", said.text);
    }
}

#[test]
fn a_long_scope_is_measured_and_a_longer_one_is_left_out_by_name() {
    let bench = Bench::new();
    let (longest, far) = ("l".repeat(256), "f".repeat(257));
    let [memories, questions] = ["memories.jsonl", "queries.jsonl"].map(|file| bench.path("data").join(file));
    let memory = |scope: &str, id: &str| {
        format!("{{\"id\":\"{id}\",\"text\":\"The harbour of {id}\",\"scope\":\"{scope}\"}}\n")
    };
    let question = |scope: &str, id: &str| {
        format!("{{\"text\":\"Which harbour?\",\"relevant\":[\"{id}\"],\"scope\":\"{scope}\"}}\n")
    };
    fs::write(memories, memory(&longest, "near") + &memory(&far, "far")).unwrap();
    fs::write(questions, question(&longest, "near") + &question(&far, "far")).unwrap();
    let said = bench.compare(&["--systems", "bm25", "--rounds", "1"]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    for file in ["memories.jsonl", "queries.jsonl"] {
        assert!(
            said.errors.contains(&format!("{file}, line 2: left out: its scope has 257")),
            "{}",
            said.errors
        );
    }
    assert_eq!(bench.comparison().groups[0].memories, 1);
}
