//! `mnemobench`: judges, records, reports and compares the results of benches.
//!
//! `cli` is the command line, and `criterion` is the only module that knows Criterion's files.
//! `criterion_gate` computes the verdicts.

mod baselines;
mod cli;
mod compare;
mod confirm;
mod criterion;
mod detect;
mod load_runs;
mod output;
mod process;
mod progress;
mod report;
mod run_results;
mod selftest;
mod slo;
mod streams;
mod table;
mod units;
mod verdicts;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use self::cli::{Cli, Command};

/// The exit code if the results cannot be judged.
const CANNOT_JUDGE: u8 = 2;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            streams::note(format!("error: {error}"));
            ExitCode::from(CANNOT_JUDGE)
        }
    }
}

fn run(command: Command) -> Result<u8, Box<dyn Error>> {
    match command {
        Command::Detect(arguments) => detect::detect(&arguments),
        Command::InitBaselines(arguments) => baselines::init(&arguments),
        Command::Selftest(arguments) => selftest::selftest(&arguments),
        Command::Report(arguments) => report::report(&arguments),
        Command::Compare(arguments) => compare::compare(&arguments),
        Command::Adapter(arguments) => compare::adapter(arguments.system),
        Command::Slo(arguments) => slo::slo(&arguments),
    }
}
