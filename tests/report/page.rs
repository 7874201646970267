//! The page, the Markdown and the JSON.

use std::fs;
use std::path::PathBuf;

use mnemocore::harness::results::{Kind, Results};
use serde_json::Value;

use crate::home::{BASELINE, Home, entry, overwrite, samples, sheet};
use crate::suite::{Bench, whole};

fn output(home: &Home, name: &str) -> PathBuf {
    home.folder.path().join("benchmark_results").join(name)
}

/// Reports and returns the page.
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
        ("frontier", "c512_z2"),
        ("kernels", "MISSED"),
    ] {
        let from =
            page.find(&format!("<section id=\"{key}\">")).unwrap_or_else(|| panic!("no section {key}"));
        let section = &page[from..];
        let section = &section[..section.find("</section>").unwrap()];
        assert!(section.contains(figure), "{figure} is not in {section}");
        assert_eq!(section.contains("<svg"), !["slo", "kernels"].contains(&key), "the plot of {key}");
    }
    // Other systems are no bench.
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
    // The name of SVG's elements is an address that nothing asks for.
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
    // Of a bench that the suite does not know.
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

/// A baseline of `latency` and `quality`, whose recalls took `factor` of now.
fn baseline(home: &Home, cpu: &str, factor: f64) {
    let id = "recall_hot/p99/5000";
    home.write_samples("old", id, &samples(120e3 * factor, 0.01));
    let mut results = Results { bench: "latency".into(), ..sheet(BASELINE) };
    results.machine.cpu = cpu.into();
    let noted = entry(&results, Kind::P99, None, BASELINE);
    results.entries.insert(id.into(), noted);
    let noted = entry(&results, Kind::Quality, Some(0.75), BASELINE);
    results.entries.insert("quality_talks/quality/scoped_mnemocore_recall5".into(), noted);
    results.save(&home.path(), "old").unwrap();
}

#[test]
fn the_change_since_a_baseline_has_its_direction() {
    let home = Home::new();
    whole(&home);
    baseline(&home, "a cpu", 1.25);
    let page = page(&home, &["--baseline", "old"]);
    let change = &page[page.find("<section id=\"change\">").unwrap()..];
    // The lost quality is the worst and comes first.
    let (lost, gained) =
        (change.find("<td>quality_talks/").unwrap(), change.find("<td>recall_hot/").unwrap());
    assert!(
        lost < gained && change[lost..gained].contains("-33.3 %") && change[lost..gained].contains("worse")
    );
    assert!(change[gained..].contains("-20.0 %") && change[gained..].contains("better"));
}

#[test]
fn times_of_another_machine_are_not_compared_and_qualities_are() {
    let home = Home::new();
    whole(&home);
    baseline(&home, "another cpu", 1.25);
    let page = page(&home, &["--baseline", "old"]);
    let change = &page[page.find("<section id=\"change\">").unwrap()..];
    assert!(change.contains("<td>quality_talks/") && !change.contains("<td>recall_hot/"));
}

#[test]
fn an_unknown_baseline_is_2_and_says_how_to_save_one() {
    let home = Home::new();
    whole(&home);
    let said = home.run(&["report", "--baseline", "old"]);
    assert_eq!(said.code, Some(2));
    assert!(said.errors.contains("--save-baseline old"), "{}", said.errors);
    assert!(!output(&home, "report.html").exists());
}
