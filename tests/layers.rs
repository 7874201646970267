//! The crates, and the modules in them, form layers: each uses only those below it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates of the workspace, each with those it may depend on.
const CRATES: [(&str, &str, &[&str]); 4] = [
    ("criterion-gate", "crates/criterion-gate", &[]),
    ("mnemocore", ".", &[]),
    ("mnemocore-suite", "crates/mnemocore-suite", &["criterion-gate", "mnemocore"]),
    ("mnemobench", "crates/mnemobench", &["criterion-gate", "mnemocore", "mnemocore-suite"]),
];

/// The floors of the engine, the lowest first; modules of one floor do not use each other.
const FLOORS: [&[&str]; 11] = [
    &["key", "hdv", "identity", "inject", "leb128", "process", "sync", "telemetry"],
    &["encoder"],
    &["error"],
    &["memory", "remote", "segment"],
    &["bucket", "index"],
    &["log"],
    &["tier"],
    &["config"],
    &["engine"],
    &["asynchronous"],
    &["lib"],
];

fn floor(module: &str) -> usize {
    let found = FLOORS.iter().position(|modules| modules.contains(&module));
    found.unwrap_or_else(|| panic!("module {module} has no floor: give it one in FLOORS"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
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

/// The code before a file's own tests, which may use anything.
fn code(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// The names that code without comments takes from the root of its crate by the path `to_root`,
/// each with its line.
fn used(code: &str, to_root: &str) -> Vec<(usize, String)> {
    let is_longer =
        |at: usize| code[..at].ends_with("super::") || code[at + to_root.len()..].starts_with("super::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(to_root).filter(|(at, _)| !is_longer(*at)) {
        let after = &code[at + to_root.len()..];
        let group = after.strip_prefix('{').and_then(|group| group.split('}').next());
        let word = |text: &str| {
            text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
        };
        let names = group.unwrap_or(after).split(',').take(if group.is_some() { usize::MAX } else { 1 });
        let line = code[..at].matches('\n').count();
        found.extend(names.map(|name| (line, word(name))));
    }
    found
}

/// A use of one module by another.
struct Use {
    by: String,
    of: String,
    /// The file, the line and its text.
    place: String,
}

/// The uses between the modules of the crate whose root file lies in `folder`.
fn uses(folder: &Path) -> Vec<Use> {
    let mut uses = Vec::new();
    for path in sources(folder).iter().filter(|path| !path.ends_with("tests.rs")) {
        let relative = path.strip_prefix(folder).unwrap();
        let first = Path::new(relative.components().next().unwrap().as_os_str());
        let module = first.file_stem().unwrap().to_str().unwrap();
        if module == "bin" {
            // Programs stand on the library and are crates of their own.
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        assert!(!source.contains("use crate::{"), "{}: one line for each module, please", relative.display());
        let lines: Vec<&str> = code(&source).lines().collect();
        let bare: Vec<&str> = lines.iter().map(|line| line.split("//").next().unwrap_or_default()).collect();
        let bare = bare.join("\n");
        let by_super = "super::".repeat(relative.components().count());
        // By `super`, functions are named as well.
        let is_module = |(_, name): &(usize, String)| folder.join(format!("{name}.rs")).exists();
        let by_super = used(&bare, &by_super).into_iter().filter(is_module);
        for (line, other) in used(&bare, "crate::").into_iter().chain(by_super) {
            // An item that the root re-exports counts as the root.
            let of = if other.starts_with(char::is_uppercase) { "lib".into() } else { other };
            let place = format!("{}:{}: {}", relative.display(), line + 1, lines[line].trim());
            uses.push(Use { by: module.into(), of, place });
        }
    }
    uses.retain(|found| found.by != found.of);
    uses
}

#[test]
fn modules_of_the_engine_use_those_below_them_only() {
    let uses = uses(&root().join("src"));
    assert!(uses.len() > 50, "the search for uses finds nothing");
    let upwards = uses.iter().filter(|found| found.by != "lib" && floor(&found.of) >= floor(&found.by));
    let upwards: Vec<&str> = upwards.map(|found| found.place.as_str()).collect();
    assert!(upwards.is_empty(), "used from below:\n{}", upwards.join("\n"));
}

#[test]
fn modules_of_the_other_crates_use_each_other_without_circles() {
    for folder in ["criterion-gate/src", "mnemocore-suite/src", "mnemobench/src/bin/mnemobench"] {
        let mut below: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let uses = uses(&root().join("crates").join(folder));
        assert!(uses.len() > 10, "{folder}: the search for uses finds {} only", uses.len());
        for found in uses {
            if !["lib", "main"].contains(&found.by.as_str()) {
                below.entry(found.by).or_default().push(found.of);
            }
        }
        // Without cycles there is always a module that uses none of the remaining ones.
        while !below.is_empty() {
            let left: Vec<String> = below.keys().cloned().collect();
            let uses_none = |of: &Vec<String>| !of.iter().any(|of| left.contains(of));
            below.retain(|_, of| !uses_none(of));
            assert!(below.len() < left.len(), "{folder}: a circle among {below:?}");
        }
    }
}

/// The crates of the workspace in every section of dependencies. Development dependencies count
/// only if the crate is not the root.
fn dependencies<'a>(name: &str, manifest: &'a str) -> Vec<&'a str> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let is_ours =
            !section.starts_with("[workspace") && (name != "mnemocore" || !section.contains("dev-"));
        let words = if line.starts_with('[') {
            line.trim_end_matches(']').rsplit('.').next()
        } else {
            line.split(['.', ' ', '=']).next()
        };
        let of = words.filter(|name| CRATES.iter().any(|(other, ..)| other == name));
        if is_ours && section.contains("dependencies") {
            found.extend(of);
        }
    }
    found
}

#[test]
fn crates_depend_on_those_below_them_only() {
    for (name, folder, allowed) in CRATES {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{folder}");
        assert_eq!(dependencies(name, &manifest), allowed, "{name}");
    }
    let entries = fs::read_dir(root().join("crates")).unwrap();
    let members = entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(members, CRATES.len() - 1, "a crate is not in CRATES");
}

#[test]
fn the_architecture_page_lists_the_floors() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
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
    for path in ["src", "crates"].iter().flat_map(|folder| sources(&root().join(folder))) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(!["util", "utils", "helpers", "misc"].contains(&name), "{}", path.display());
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}
