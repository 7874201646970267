//! `mnemobench`: judges, records and reports what the benches measured.
//!
//! `main` is the flow, `cli` the command line, `criterion` the only module that
//! knows Criterion's files. What a verdict is made of is in
//! `mnemocore::harness::gate`.

mod cli;
mod criterion;

use std::process::ExitCode;

use clap::Parser;
use mnemocore::harness::results;

use self::cli::{Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::List { run } => list(&run),
    }
}

fn list(run: &str) -> ExitCode {
    for (id, benchmark) in criterion::read(&results::home(), run) {
        match benchmark {
            Ok(benchmark) => println!("{id}: {} samples", benchmark.samples.len()),
            Err(error) => println!("{id}: {error}"),
        }
    }
    ExitCode::SUCCESS
}
