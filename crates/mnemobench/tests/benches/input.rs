//! Arguments and settings that a bench refuses.

use std::fs;
use std::path::Path;

use crate::home::Home;
use crate::program::{ALL_FEATURES, BENCHES, run};
use crate::suite::whole;

/// Checks that the results of the last run are still complete.
fn assert_whole(home: &Home, what: &str) {
    let said = home.run(&["slo"]);
    assert_eq!(said.code, Some(0), "{what}: {}{}", said.text, said.errors);
    assert_eq!(said.errors, "", "{what}");
}

#[test]
fn a_bench_that_refuses_its_input_leaves_the_last_results_valid() {
    let home = Home::new();
    whole(&home);
    assert_whole(&home, "before");
    let remote = [
        ("remote", "MNEMO_MAX_SCALE", "0"),
        ("remote", "MNEMO_WORKERS", "x"),
        ("remote", "MNEMO_BUCKET", "nonsense://bucket"),
        ("remote", "MNEMO_POSTGRES", "dbname=x"),
    ];
    let refused = [
        ("footprint", "MNEMO_MAX_SCALE", "abc"),
        ("footprint", "MNEMO_PROFILE", "fast"),
        ("kernels", "MNEMO_PROFILE", "fast"),
        ("latency", "MNEMO_DATA", "/no/such/folder"),
        ("throughput", "MNEMO_WORKERS", "x"),
        ("throughput", "MNEMO_WORKERS", "0"),
        ("quality", "MNEMO_DATA", "/no/such/folder"),
        ("quality", "MNEMO_PROFILE", "fast"),
    ];
    for (bench, variable, value) in refused.into_iter().chain(remote.into_iter().filter(|_| ALL_FEATURES)) {
        let said = run(&home, bench, &[], &[(variable, value)]);
        assert_eq!(said.code, Some(2), "{bench}: {}", said.errors);
        let reason = if variable == "MNEMO_POSTGRES" { "host=" } else { value };
        assert!(said.errors.contains(reason), "{bench}: {}", said.errors);
        let mark = home.path().join(format!("mnemobench/new/{bench}.running"));
        assert!(!mark.exists(), "{bench} {variable}");
        assert_whole(&home, bench);
        assert_eq!(said.errors.lines().count(), 1, "{bench}: {}", said.errors);
    }
    // Criterion's own arguments.
    for arguments in [["--sample-size", "many"], ["--sample-size", "3"]] {
        assert_ne!(run(&home, "throughput", &arguments, &[]).code, Some(0));
        assert_whole(&home, "throughput");
    }
}

#[test]
fn names_of_baselines_that_the_gate_refuses_are_refused_before_anything_is_measured() {
    let home = Home::new();
    whole(&home);
    let abs = home.folder.path().join("abs");
    let abs = abs.to_str().unwrap();
    let before = files(home.folder.path());
    for bench in BENCHES {
        for name in [abs, "../evil", "feature/../../evil", "new", "base", "main/", ""] {
            for option in ["--save-baseline", "--baseline"] {
                let said = run(&home, bench, &[&format!("{option}={name}")], &[]);
                assert_eq!(said.code, Some(2), "{bench} {option} {name}: {}", said.errors);
                assert!(said.errors.contains(&format!("the name `{name}`")), "{}", said.errors);
            }
            // The gate says the same.
            let gate = home.run(&["detect", "--baseline", name]);
            assert_eq!(gate.code, Some(2), "{name}: {}", gate.text);
            assert!(gate.errors.contains(&format!("the name `{name}`")), "{}", gate.errors);
        }
    }
    assert_eq!(files(home.folder.path()), before);
    assert_whole(&home, "a refused name");
}

/// Returns the number of files and folders below a folder.
fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| 1 + if path.is_dir() { files(&path) } else { 0 }).sum()
}
