//! Output for a terminal.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::{COLUMNS, Report, cells};

/// Returns the table of verdicts, the worst first, then the reasons and the outcome.
pub(crate) fn text(report: &Report) -> String {
    let mut lines = vec![format!("baseline  {}", report.baseline.line())];
    lines.push(format!("candidate {}\n", report.candidate.line()));
    if !report.judgement.findings.is_empty() {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(COLUMNS);
        for finding in &report.judgement.findings {
            table.add_row(cells(finding));
        }
        lines.push(table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"));
        lines.push(String::new());
    }
    for finding in &report.judgement.findings {
        if let Some(reason) = &finding.reason {
            lines.push(format!("{}: {}: {reason}", finding.id, finding.verdict.as_str()));
        }
    }
    lines.push(report.headline());
    lines.join("\n") + "\n"
}
