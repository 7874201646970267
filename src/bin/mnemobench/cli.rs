//! The command line.

use clap::{Parser, Subcommand};

/// Judges, records and reports what the benches of MnemoCore measured.
#[derive(Debug, Parser)]
#[command(name = "mnemobench", version, about)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what Criterion saved under a name
    List {
        /// `new`, or the name of a saved baseline
        #[arg(default_value = "new")]
        run: String,
    },
}
