//! Output for a comment on a pull request.

use criterion_gate::Origin;
use criterion_gate::verdict::{Effect, Finding};

use super::{COLUMNS, Described, Report, cells};

/// Returns the outcome, then the benchmarks that did not pass, the worst first. Benchmarks that
/// passed and the machines are folded.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = format!("### Benchmarks\n\n**{}**\n", escaped(&report.headline()));
    let findings = report.judgement.findings.iter();
    let (passed, others): (Vec<&Finding>, Vec<&Finding>) =
        findings.partition(|finding| finding.effect == Effect::Pass);
    if !others.is_empty() {
        text += &format!("\n{}", table(&others));
        for finding in others {
            if let Some(reason) = &finding.reason {
                text += &format!("\n- `{}`: {}", finding.id, escaped(reason));
            }
        }
        text += "\n";
    }
    if !passed.is_empty() {
        text += &folded(&format!("{} passed", passed.len()), &table(&passed));
    }
    let sheets = [("baseline", &report.baseline), ("candidate", &report.candidate)];
    let sheets: Vec<String> = sheets.iter().map(|(side, described)| sheet(side, described)).collect();
    text + &folded("Machine and revisions", &sheets.join("\n"))
}

fn folded(title: &str, body: &str) -> String {
    format!("\n<details><summary>{title}</summary>\n\n{body}\n</details>\n")
}

fn table(findings: &[&Finding]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut table = line(&COLUMNS.map(String::from)) + &line(&COLUMNS.map(|_| "---".to_owned()));
    for finding in findings {
        let mut cells = cells(finding);
        if finding.effect != Effect::Pass
            && let Some(verdict) = cells.first_mut()
        {
            *verdict = format!("**{verdict}**");
        }
        let [_, id, ..] = &mut cells;
        *id = format!("`{}`", id.replace('|', "\\|"));
        table += &line(&cells);
    }
    table
}

fn sheet(side: &str, described: &Described) -> String {
    let mut text = format!("- {side}: {}\n", escaped(&described.line()));
    if let Some(Origin { machine, .. }) = &described.origin {
        let memory = machine.memory_bytes.map_or("unknown".into(), |bytes| format!("{} GB", bytes >> 30));
        text += &format!(
            "  - {}, {} cores, {memory} of memory, {}\n  - {}; {}; features {}\n",
            escaped(&machine.cpu),
            machine.cores,
            machine.cpu_features.join(" "),
            escaped(&machine.os),
            escaped(&machine.rustc),
            machine.features.join(" "),
        );
    }
    text
}

/// Escapes characters that have a meaning in Markdown or HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' => escaped.push(' '),
            '*' | '_' | '|' | '`' | '\\' => escaped.extend(['\\', character]),
            _ => escaped.push(character),
        }
    }
    escaped
}
