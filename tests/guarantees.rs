//! GUARANTEES.md must match the code: each test in its table of promises, and each file with unsafe
//! code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The cells of the table below a heading, without its first two lines.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("GUARANTEES.md")).unwrap();
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let table =
        below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect();
    table.skip(2).map(cells).collect()
}

/// The names between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .collect();
    found.sort();
    found
}

/// Whether `test`, as `file::name` below tests/ or src/, is a function there.
fn is_a_test(test: &str) -> bool {
    let Some((module, name)) = test.rsplit_once("::") else { return false };
    let path = module.replace("::", "/");
    let places = [format!("tests/{path}.rs"), format!("tests/{path}"), format!("src/{path}.rs")];
    places.iter().map(|place| root().join(place)).any(|place| {
        let files = if place.is_dir() { rust_files(&place) } else { vec![place] };
        let function = format!("fn {name}(");
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).any(|source| source.contains(&function))
    })
}

#[test]
fn every_promise_names_a_test_that_is_there() {
    let rows = rows("Promises");
    assert!(rows.len() > 10, "the table is not read");
    for row in &rows {
        let [promise, tests, cases, ..] = row.as_slice() else { panic!("{row:?}") };
        assert!(!promise.is_empty() && cases.contains(|c: char| c.is_ascii_digit()), "{row:?}");
        let (mut named, mut wrong) = (0, Vec::new());
        // A program, e.g. a fuzz target, is named by its path.
        for name in names(tests) {
            named += 1;
            let there = if name.contains("::") { is_a_test(name) } else { root().join(name).exists() };
            if !there {
                wrong.push(name);
            }
        }
        assert!(named > 0, "no test for {promise:?}");
        assert!(wrong.is_empty(), "{promise:?} is guarded by what is not there: {wrong:?}");
    }
}

#[test]
fn every_file_with_unsafe_code_is_listed_with_its_reason() {
    let listed: BTreeSet<String> = rows("Unsafe code")
        .iter()
        .flat_map(|row| {
            assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
            names(&row[0]).map(String::from).collect::<Vec<_>>()
        })
        .collect();
    let marks = |source: &str| source.contains("unsafe {") || source.contains("unsafe fn");
    let found: BTreeSet<String> = rust_files(&root().join("src"))
        .iter()
        .filter(|path| marks(&fs::read_to_string(path).unwrap()))
        .map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"))
        .collect();
    assert!(!found.is_empty());
    assert_eq!(found, listed);
}
