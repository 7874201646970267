//! The modules stand on one another like floors: each uses those below it only.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors, the lowest first; modules of one floor do not use each other.
const FLOORS: [&[&str]; 12] = [
    &["key", "hdv", "identity", "inject", "process", "sync"],
    &["encoder"],
    &["error"],
    &["memory", "index", "remote"],
    &["bucket"],
    &["log"],
    &["tier"],
    &["config"],
    &["engine"],
    &["asynchronous"],
    &["harness"],
    &["lib"],
];

fn floor(module: &str) -> usize {
    let found = FLOORS.iter().position(|modules| modules.contains(&module));
    found.unwrap_or_else(|| panic!("module {module} has no floor: give it one in FLOORS"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The modules after every `crate::` of a line that is no comment.
fn used(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let module = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    code.split("crate::").skip(1).map(module).collect()
}

/// The code before a file's own tests, which may use anything.
fn code(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

#[test]
fn modules_use_those_below_them_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut upwards, mut uses) = (Vec::new(), 0);
    for path in sources(&root).iter().filter(|path| !path.ends_with("tests.rs")) {
        let relative = path.strip_prefix(&root).unwrap();
        let first = Path::new(relative.components().next().unwrap().as_os_str());
        let module = first.file_stem().unwrap().to_str().unwrap();
        if module == "bin" {
            // Programs stand on the library and are crates of their own.
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        assert!(!source.contains("use crate::{"), "{}: one line for each module, please", relative.display());
        for (number, line) in code(&source).lines().enumerate() {
            for other in used(line).iter().filter(|other| *other != module) {
                uses += 1;
                // What the root exports again counts as the root.
                let other = if other.starts_with(char::is_uppercase) { "lib" } else { other };
                if module != "lib" && floor(other) >= floor(module) {
                    upwards.push(format!("{}:{}: {}", relative.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(uses > 50, "the search for uses finds nothing");
    assert!(upwards.is_empty(), "used from below:\n{}", upwards.join("\n"));
}

#[test]
fn the_architecture_page_lists_the_floors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, section) = page.split_once("\n## Floors\n").expect("a section `Floors`");
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    // The second cell of a row names its modules, each between backticks.
    let modules = |row: &str| -> Vec<String> {
        let cell = row.split('|').nth(2).unwrap_or_default();
        cell.split('`').skip(1).step_by(2).map(String::from).collect()
    };
    let listed: Vec<Vec<String>> = rows.map(modules).collect();
    let floors = FLOORS.map(|names| names.iter().map(|name| String::from(*name)).collect::<Vec<_>>());
    assert_eq!(listed, floors);
}

#[test]
fn no_file_is_named_utils_or_longer_than_can_be_read_at_once() {
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(!["util", "utils", "helpers", "misc"].contains(&name), "{}", path.display());
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}
