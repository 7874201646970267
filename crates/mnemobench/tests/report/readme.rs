//! Splicing of tables into a file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::home::{Home, Judged};
use crate::suite::whole;

fn splice(home: &Home, text: &str) -> (Judged, String) {
    let path = readme(home);
    fs::write(&path, text).unwrap();
    let said = home.run(&["report", "--readme", path.to_str().unwrap()]);
    (said, fs::read_to_string(path).unwrap())
}

fn readme(home: &Home) -> PathBuf {
    home.folder.path().join("README.md")
}

#[test]
fn tables_stand_between_the_markers_with_their_command_and_the_rest_stays() {
    let home = Home::new();
    whole(&home);
    let file = |latency: &str, end: &str| {
        format!("# Mine\r\n\n<!-- results:latency -->\n{latency}<!-- /results -->\n\ttext, no new line{end}")
    };
    let (said, once) = splice(&home, &file("old\n", ""));
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let (start, end) = (once.find("-->\n").unwrap() + 4, once.find("<!-- /results").unwrap());
    assert_eq!(once, file(&once[start..end], ""));
    for part in ["`cargo bench --bench latency`", "| recall | HOT | 5,000 |", "Measured on a cpu, 2 cores"] {
        assert!(once[start..end].contains(part), "{part} is not in {once}");
    }
    let (said, twice) = splice(&home, &once);
    assert_eq!(twice, once);
    assert!(said.text.contains("unchanged"), "{}", said.text);
}

#[test]
fn a_file_with_other_line_ends_keeps_them() {
    let home = Home::new();
    whole(&home);
    let text = "# Mine\r\n<!-- results:latency -->\r\nold\r\n<!-- /results -->\r\n";
    let (said, once) = splice(&home, text);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(once.contains("| recall | HOT | 5,000 |"), "{once}");
    assert_eq!(once.matches('\n').count(), once.matches("\r\n").count(), "{once:?}");
    let (said, twice) = splice(&home, &once);
    assert_eq!(twice, once);
    assert!(said.text.contains("unchanged"), "{}", said.text);
}

#[test]
fn what_was_not_measured_keeps_its_old_figures() {
    let home = Home::new();
    let text = "<!-- results:kernels -->\nolder figures\n<!-- /results -->\n";
    let (said, after) = splice(&home, text);
    assert_eq!((said.code, after.as_str()), (Some(0), text));
    assert!(said.text.contains("cargo bench --bench kernels"), "{}", said.text);
}

#[test]
fn markers_that_make_no_sense_are_2_and_nothing_is_written() {
    let home = Home::new();
    whole(&home);
    for text in [
        "no markers",
        "<!-- results:latenzy -->\n<!-- /results -->\n",
        "<!-- results:latency -->\nno end",
        "<!-- /results -->\n",
    ] {
        let (said, after) = splice(&home, text);
        assert_eq!((said.code, after.as_str()), (Some(2), text));
        assert!(said.errors.contains("README.md") && said.errors.contains("results"), "{}", said.errors);
        assert!(!home.folder.path().join("benchmark_results").exists());
    }
}

#[test]
fn the_results_of_this_project_can_be_spliced() {
    let home = Home::new();
    whole(&home);
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results.md")).unwrap();
    let (said, after) = splice(&home, &text);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(after.contains("Measured on a cpu, 2 cores"));
}
