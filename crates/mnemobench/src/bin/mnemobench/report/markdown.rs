//! The report as Markdown.

use super::model::Report;
use super::section::Section;

/// Returns the whole report, without plots.
pub(crate) fn report(report: &Report) -> String {
    let mut text = String::from("# MnemoCore, measured\n");
    if report.benches.rows.is_empty() {
        text += "\nNothing is measured yet: run `cargo bench`.\n";
    } else {
        text += &format!("\n{}", report.benches.to_markdown());
    }
    for (title, sheet) in &report.machines {
        text += &format!("\n{title}:\n\n{}", sheet.to_markdown());
    }
    for section in report.measured() {
        text +=
            &format!("\n## {}\n\n{}\n\n{}", section.title, section.about, block(section, Details::Folded));
    }
    for section in report.missing() {
        text += &format!("\n## {}\n\nNot measured: run `{}`.\n", section.title, section.command);
    }
    if !report.unreadable.is_empty() {
        text += "\n## Not readable\n\n";
        report.unreadable.iter().for_each(|(what, reason)| text += &format!("- `{what}`: {reason}\n"));
    }
    text
}

/// The treatment of tables that are details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Details {
    /// Details are folded in `<details>`.
    Folded,
    /// Details are left out.
    Omitted,
}

/// Returns the tables of a section, preceded by the command and followed by the machine.
pub(crate) fn block(section: &Section, details: Details) -> String {
    let mut text = format!("From `{}`.\n", section.command);
    for part in &section.parts {
        let table = part.table.to_markdown();
        match (part.is_detail, details) {
            (false, _) => text += &format!("\n{}:\n\n{table}", part.caption),
            (true, Details::Folded) => {
                text += &format!("\n<details><summary>{}</summary>\n\n{table}\n</details>\n", part.caption);
            }
            (true, Details::Omitted) => {}
        }
    }
    if !section.notes.is_empty() {
        text.push('\n');
        section.notes.iter().for_each(|note| text += &format!("- {note}\n"));
    }
    if !section.origin.is_empty() {
        text += &format!("\n{}\n", section.origin);
    }
    text
}
