//! Service levels that are kept, broken or not measured.

use std::fs;

use serde_json::Value;

use crate::home::{Home, overwrite};
use crate::suite::{Bench, TIERS, footprint, latency, throughput, whole};

const OWN: &str =
    "[[slo]]\nname = 'recall in COLD'\nid = 'recall_cold/p99/*'\nstatistic = 'p99'\nlimit = 1_000_000\n";

/// Creates a home with `levels` as its own service levels.
fn with_levels(levels: &str) -> Home {
    let home = Home::new();
    let folder = home.folder.path().join("baselines");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("thresholds.toml"), levels).unwrap();
    home
}

fn level<'j>(json: &'j Value, table: &str, name: &str) -> &'j Value {
    json[table].as_array().unwrap().iter().find(|level| level["name"] == name).unwrap()
}

#[test]
fn all_kept_is_0_in_every_format() {
    let home = with_levels(OWN);
    whole(&home);
    for format in ["text", "markdown", "json"] {
        let said = home.run(&["slo", "--format", format]);
        assert_eq!(said.code, Some(0), "{}{}", said.text, said.errors);
        assert!(said.text.contains("recall in COLD") && !said.text.contains("not measured"), "{}", said.text);
    }
}

#[test]
fn the_worst_case_counts_and_its_margin_is_a_share_of_the_limit() {
    let home = with_levels(OWN);
    whole(&home);
    let mut more = Bench::new(&home, "latency");
    more.sampled("recall_warm/p99/7000", 40e6);
    more.save();
    let json = home.run(&["slo", "--format", "json"]).json();
    let query = &level(&json, "general", "query")["worst"];
    assert_eq!(query["benchmark"], "recall_warm/p99/7000");
    let margin = query["margin"].as_f64().unwrap();
    assert!((margin - 0.2).abs() < 0.01, "{margin}");
    // The value is per thousand memories, for any number of memories.
    let ram = level(&json, "general", "RAM per 1,000 memories")["worst"]["value"].as_f64().unwrap();
    assert!((ram / 3e6 - 1.0).abs() < 0.02, "{ram}");
    let rate = level(&json, "general", "throughput")["worst"]["value"].as_f64().unwrap();
    assert!((rate / 2e3 - 1.0).abs() < 0.02, "{rate}");
}

#[test]
fn one_broken_is_1_though_others_were_not_measured() {
    let home = with_levels(OWN);
    footprint(&home, 51e6);
    let said = home.run(&["slo"]);
    assert_eq!(said.code, Some(1), "{}", said.text);
    assert!(said.text.contains("NO") && said.text.contains("-2.0 %"), "{}", said.text);
    assert!(said.text.contains("query: not measured"), "{}", said.text);
}

#[test]
fn one_of_our_own_that_is_broken_is_1() {
    let home = with_levels(&OWN.replace("1_000_000", "100_000"));
    whole(&home);
    assert_eq!(home.run(&["slo"]).code, Some(1));
}

#[test]
fn nothing_measured_is_2_and_names_the_commands() {
    let said = with_levels(OWN).run(&["slo"]);
    assert_eq!(said.code, Some(2), "{}", said.text);
    for command in
        ["--bench latency", "--bench throughput", "--bench footprint", "cargo bench -- recall_cold/p99/"]
    {
        assert!(said.text.contains(command), "{command} is not in\n{}", said.text);
    }
}

#[test]
fn a_tier_that_was_not_measured_keeps_no_level() {
    let home = with_levels("");
    latency(&home, &TIERS[..2]);
    throughput(&home);
    footprint(&home, 3e6);
    let said = home.run(&["slo"]);
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(said.text.contains("query: not measured (no recall_cold/p99/*)"), "{}", said.text);
}

#[test]
fn what_cannot_be_read_counts_as_not_measured() {
    let home = with_levels(OWN);
    whole(&home);
    let id = "recall_cold/p99/5000";
    overwrite(&home.run_folder("new", id).join("sample.json"), r#"{"iters":[1.0],"times":"#);
    let said = home.run(&["slo"]);
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(said.text.contains(&format!("{id} is unreadable")), "{}", said.text);
    assert!(said.errors.contains("sample.json"), "{}", said.errors);

    overwrite(&home.path().join("mnemobench/new/latency.json"), r#"{"format": 99}"#);
    let said = home.run(&["slo"]);
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(said.errors.contains("format"), "{}", said.errors);
}

#[test]
fn levels_that_make_no_sense_are_2_and_an_error() {
    let home = with_levels("[[slo]]\nname = 'a'\n");
    whole(&home);
    let said = home.run(&["slo"]);
    assert_eq!(said.code, Some(2));
    assert!(said.errors.contains("thresholds.toml"), "{}", said.errors);
    assert_eq!(home.run(&["slo", "--thresholds", "no/such/file"]).code, Some(2));
}
