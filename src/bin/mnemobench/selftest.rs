//! `selftest`: how often the gate errs.
//!
//! Simulated, with noise as it was measured on shared machines; or real, with an
//! executable against itself, as it is and slowed on purpose.

mod real;
mod simulation;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

use super::cli::SelftestArgs;

/// Runs what is asked for and prints its table.
pub(crate) fn selftest(arguments: &SelftestArgs) -> Result<u8, Box<dyn std::error::Error>> {
    let rows = if arguments.real { real::run(arguments)? } else { simulation::run(arguments) };
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    let mut rows = rows.into_iter();
    if let Some(header) = rows.next() {
        table.set_header(header);
    }
    table.add_rows(rows);
    println!("{table}");
    Ok(0)
}

fn percent(part: usize, all: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / all.max(1) as f64)
}
