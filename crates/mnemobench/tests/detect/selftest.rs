//! Options of `selftest` that would measure nothing, or something else than they say.

use std::fs;

use crate::home::{BENCH, Home};

/// Runs `selftest` and checks that it refuses, in words.
fn refused(home: &Home, arguments: &[&str], parts: &[&str]) {
    let said = home.run(&[&["selftest"], arguments].concat());
    assert_eq!((said.code, said.text.as_str()), (Some(2), ""), "{arguments:?}: {}", said.errors);
    for part in parts {
        assert!(said.errors.contains(part), "{part} is not in {}", said.errors);
    }
    assert!(!said.errors.contains("panicked"), "{}", said.errors);
}

#[test]
fn numbers_that_measure_nothing_are_refused() {
    let home = Home::new();
    refused(&home, &["--families", "0"], &["--families", "0"]);
    refused(&home, &["--disturbed", "--families", "0"], &["--families", "0"]);
    refused(&home, &["--real", "--runs", "0"], &["--runs", "0"]);
    for threads in ["NaN", "inf", "0", "-1", "17", "x"] {
        let threads = format!("--threads={threads}");
        refused(&home, &["--real", "--busy", "baseline", &threads], &["--threads", "above 0, at most 16"]);
    }
}

#[test]
fn a_filter_that_fits_nothing_or_is_none_is_refused() {
    let home = Home::new();
    home.measuring("new", "recall/wall/1", &[100.0]);
    refused(
        &home,
        &["--real", "--runs", "1", "--filter", "nomatch"],
        &["--filter nomatch", &format!("no benchmark of {BENCH}")],
    );
    refused(&home, &["--real", "--runs", "1"], &[&format!("{BENCH} measured nothing")]);
    for filter in ["[", "(a", "*"] {
        refused(&home, &["--real", "--filter", filter], &["--filter", "expected a regular expression"]);
    }
    let left = fs::read_dir(home.path()).unwrap().flatten();
    assert_eq!(left.filter(|entry| entry.file_name() != "mnemobench").count(), 0, "files left behind");
}
