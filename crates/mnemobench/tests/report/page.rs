//! Tests of the HTML page, the Markdown and the JSON.

use std::fs;
use std::path::PathBuf;

use criterion_gate::results::{Kind, Results};
use serde_json::Value;

use crate::home::{BASELINE, Home, entry, overwrite, samples, sheet};
use crate::suite::{Bench, whole};

fn output(home: &Home, name: &str) -> PathBuf {
    home.folder.path().join("benchmark_results").join(name)
}

/// Runs `report` and returns the page.
fn page(home: &Home, more: &[&str]) -> String {
    let said = home.run(&[&["report"], more].concat());
    assert_eq!(said.code, Some(0), "{}{}", said.text, said.errors);
    fs::read_to_string(output(home, "report.html")).unwrap()
}

#[test]
fn a_whole_run_has_every_section_with_its_plot_and_table() {
    let home = Home::new();
    whole(&home);
    let page = page(&home, &[]);
    for (key, figure) in [
        ("slo", "recall_cold/p99/5000"),
        ("latency", "120 us"),
        ("throughput", "9,000"),
        ("footprint", "3.00 MB"),
        ("quality", "0.600"),
        ("frontier", "c4096_z2.25"),
        ("kernels", "MISSED"),
    ] {
        let from =
            page.find(&format!("<section id=\"{key}\">")).unwrap_or_else(|| panic!("no section {key}"));
        let section = &page[from..];
        let section = &section[..section.find("</section>").unwrap()];
        assert!(section.contains(figure), "{figure} is not in {section}");
        assert_eq!(section.contains("<svg"), !["slo", "kernels"].contains(&key), "the plot of {key}");
    }
    // The comparison of systems is not a bench and was not run.
    let page = page.replacen("Not measured: run <code>mnemobench compare</code>", "", 1);
    assert!(!page.contains("Not measured") && !page.contains("Not readable"));
    let markdown = fs::read_to_string(output(&home, "report.md")).unwrap();
    assert!(
        markdown.contains("## Latency by tier") && markdown.contains("| recall | COLD | 5,000 |"),
        "{markdown}"
    );
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let home = Home::new();
    whole(&home);
    let page = page(&home, &[]);
    for outside in ["<script", "<link", "<iframe", "<img", "src=", "@import", "url(", "onload"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(
        page.match_indices("href=\"").all(|(at, _)| page[at..].starts_with("href=\"#")),
        "a link to elsewhere"
    );
    // The SVG namespace is an address that nothing requests.
    assert!(!page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").contains("://"));
}

#[test]
fn nothing_measured_is_a_page_that_says_what_to_run() {
    let home = Home::new();
    let page = page(&home, &[]);
    assert!(page.contains("Nothing is measured yet"));
    for bench in ["latency", "throughput", "footprint", "quality", "kernels"] {
        assert!(
            page.contains(&format!("Not measured: run <code>cargo bench --bench {bench}</code>")),
            "{bench}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_named_and_hides_nothing_else() {
    let home = Home::new();
    whole(&home);
    overwrite(&home.run_folder("new", "recall_hot/p99/5000").join("sample.json"), "{");
    overwrite(&home.path().join("mnemobench/new/quality.json"), "{\"format\": 1, ");
    let said = home.run(&["report"]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let page = fs::read_to_string(output(&home, "report.html")).unwrap();
    let unreadable = &page[page.find("<section id=\"unreadable\">").unwrap()..];
    for what in ["recall_hot/p99/5000", "results of quality"] {
        assert!(unreadable.contains(what) && said.errors.contains(what), "{what}");
    }
    assert!(page.contains("Not measured: run <code>cargo bench --bench quality"));
    let markdown = fs::read_to_string(output(&home, "report.md")).unwrap();
    assert!(
        markdown.contains("| recall | COLD | 5,000 |") && !markdown.contains("| recall | HOT |"),
        "{markdown}"
    );
}

#[test]
fn names_are_text_and_never_markup() {
    let home = Home::new();
    let mut bench = Bench::new(&home, "mine");
    bench.value("<script>alert(1)</script>/quality/a|b", 0.5);
    bench.save();
    let page = page(&home, &[]);
    assert!(!page.contains("<script>") && page.contains("&#60;script&#62;"), "{page}");
    let markdown = fs::read_to_string(output(&home, "report.md")).unwrap();
    assert!(markdown.contains("a\\|b"), "{markdown}");
    // The section of benches that are not part of the suite.
    assert!(page.contains("<section id=\"other\">"));
}

#[test]
fn results_are_files_of_json_named_by_category_name_and_time() {
    let home = Home::new();
    whole(&home);
    page(&home, &[]);
    let files = || {
        let mut names: Vec<String> = fs::read_dir(home.folder.path().join("benchmark_results"))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let names = files();
    for name in ["latency_recall_hot_20231114T221420Z.json", "footprint_hot_20231114T221420Z.json"] {
        assert!(names.iter().any(|other| other == name), "{name} is not in {names:?}");
    }
    let json = fs::read(output(&home, "latency_recall_hot_20231114T221420Z.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["category"], &json["name"]), (&"latency".into(), &"recall_hot".into()));
    assert_eq!(json["benchmarks"][0]["id"], "recall_hot/p99/5000");
    assert_eq!(json["benchmarks"][0]["unit"], "nanoseconds");
    page(&home, &[]);
    assert_eq!(files(), names, "the same results give the same files");
}

/// Saves a baseline whose recalls and reference work took 25 % longer, and whose recall@5 is 0.75
/// instead of 0.5.
fn baseline(home: &Home) {
    let recall = "recall_hot/p99/5000";
    home.write_samples("old", recall, &samples(150e3, 0.01));
    let mut results = Results { bench: "latency".into(), ..sheet(BASELINE) };
    let mut noted = entry(&results, Kind::P99, None, BASELINE);
    noted.reference = Some(125e3);
    results.entries.insert(recall.into(), noted);
    for id in [QUALITY, GONE] {
        let noted = entry(&results, Kind::Quality, Some(0.75), BASELINE);
        results.entries.insert(id.into(), noted);
    }
    results.save(&home.path(), "old").unwrap();
}

const QUALITY: &str = "quality_talks/quality/scoped_mnemocore_recall5";
const GONE: &str = "quality_talks/quality/that_is_gone";

/// Returns the row of `id` in the section of changes.
fn row(page: &str, id: &str) -> String {
    let change = &page[page.find("<section id=\"change\">").unwrap()..];
    let row = &change[change.find(&format!("<td>{id}")).unwrap_or_else(|| panic!("no row of {id}"))..];
    row[..row.find("</tr>").unwrap()].to_owned()
}

#[test]
fn the_verdicts_of_a_report_are_those_of_detect_and_not_those_of_samples() {
    let home = Home::new();
    whole(&home);
    baseline(&home);
    let run = ["detect", "--baseline", "old", "--format", "json"];
    let said = home.run(&run);
    assert_eq!(said.code, Some(1), "{}{}", said.text, said.errors);
    let judged: Value = serde_json::from_str(&said.text).unwrap();
    let page = page(&home, &["--baseline", "old"]);
    let benchmarks = judged["benchmarks"].as_array().unwrap();
    assert!(benchmarks.len() > 3);
    for benchmark in benchmarks {
        let (id, verdict) = (benchmark["id"].as_str().unwrap(), benchmark["verdict"].as_str().unwrap());
        assert!(row(&page, id).contains(&verdict.replace('_', " ")), "{id}: {}", row(&page, id));
    }
    // The samples are clearly 20 % shorter, but there are no executables to confirm that with.
    assert!(row(&page, "recall_hot/p99/5000").contains("inconclusive"));
    assert!(row(&page, QUALITY).contains("-33.3 %") && row(&page, QUALITY).contains("regressed"));
    assert!(row(&page, GONE).contains("missing"));
    assert!(!page.contains("measured after these verdicts"));
}

#[test]
fn a_report_says_which_verdicts_are_of_an_earlier_run() {
    let home = Home::new();
    whole(&home);
    baseline(&home);
    assert_eq!(home.run(&["detect", "--baseline", "old"]).code, Some(1));
    let path = home.path().join("mnemobench/new/quality.json");
    let mut results = Results::read(&path).unwrap();
    results.entries.get_mut(QUALITY).unwrap().taken.unix_seconds += 1_000_000;
    results.save(&home.path(), "new").unwrap();
    let page = page(&home, &["--baseline", "old"]);
    assert!(page.contains("1 benchmarks were measured after these verdicts"), "{page}");
}

#[test]
fn a_run_that_was_not_judged_is_2_and_says_how_to_judge_it() {
    let home = Home::new();
    whole(&home);
    baseline(&home);
    let not_judged = |what: &str| {
        let said = home.run(&["report", "--baseline", "old"]);
        assert_eq!(said.code, Some(2));
        assert!(said.errors.contains(what), "{}", said.errors);
        assert!(said.errors.contains("run mnemobench detect --baseline old"), "{}", said.errors);
        assert!(!output(&home, "report.html").exists());
    };
    not_judged("not judged against `old`");
    let path = home.path().join("mnemobench/new/verdicts/old.json");
    for (text, what) in
        [("{\"version\": 99}", "found 99"), ("{\"version\"", "EOF"), ("{\"version\": 1}", "missing")]
    {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        not_judged(what);
    }
}
