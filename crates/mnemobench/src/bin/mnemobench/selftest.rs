//! `selftest`: measures the error rates of the gate.
//!
//! By default, simulated runs have the noise measured on shared machines. With `--real`,
//! executables run against themselves, unchanged or slowed on purpose.

mod busy;
mod real;
mod simulation;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

use super::cli::SelftestArgs;
use super::streams;

/// Runs the requested test and prints its table.
pub(crate) fn selftest(arguments: &SelftestArgs) -> Result<u8, Box<dyn std::error::Error>> {
    let rows = match arguments {
        SelftestArgs { real: true, .. } => real::run(arguments)?,
        SelftestArgs { disturbed: true, .. } => simulation::run_disturbed(arguments),
        _ => simulation::run(arguments),
    };
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    let mut rows = rows.into_iter();
    if let Some(header) = rows.next() {
        table.set_header(header);
    }
    table.add_rows(rows);
    streams::line(table)?;
    Ok(0)
}

fn percent(part: usize, all: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / all.max(1) as f64)
}
