//! The command line.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use mnemocore::harness::compare::protocol::Embedder;
use mnemocore::harness::gate::thresholds::{Thresholds, ThresholdsError};
use mnemocore::harness::results;

/// Judges, records and reports what the benches of MnemoCore measured.
#[derive(Debug, Parser)]
#[command(name = "mnemobench", version)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge the last run against a saved baseline.
    ///
    /// Exit code 0: nothing is worse than allowed. 1: something is. 2: it cannot be
    /// judged, because something is missing, stale, unreadable, from another machine or
    /// undecided.
    Detect(DetectArgs),
    /// Turn a saved baseline into files that live in the repository.
    InitBaselines(InitArgs),
    /// Measure how often the gate errs.
    ///
    /// On simulated runs, which is the same for the same seed on every machine; with
    /// --real on an executable against itself. The profile is that of `MNEMO_PROFILE`.
    Selftest(SelftestArgs),
    /// Write what was measured as one page, as Markdown and as JSON.
    ///
    /// What could not be read is a warning, and stands in the report. Exit code 2 if
    /// something could not be written.
    Report(ReportArgs),
    /// Measure memory systems side by side: the same memories, questions and embedder.
    ///
    /// What was measured is kept in the output folder; the same command goes on where it
    /// was interrupted. A system that is missing or fails is a row that says so.
    Compare(CompareArgs),
    /// Be one of our own systems, as `compare` starts it.
    ///
    /// Reads requests from standard input and writes answers to standard output, as in
    /// adapters/PROTOCOL.md.
    Adapter(AdapterArgs),
    /// Say whether what was measured keeps its service levels.
    ///
    /// Exit code 0: all are kept. 1: one is not. 2: one was not measured.
    Slo(SloArgs),
}

/// Where measurements are.
#[derive(Clone, Debug, Args)]
pub(crate) struct HomeArgs {
    /// Criterion's folder [default: CRITERION_HOME, or `criterion` in Cargo's target folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// The folder of the recorded baselines
    #[arg(long, value_name = "DIR", default_value = "baselines")]
    pub(crate) baselines: PathBuf,
}

impl HomeArgs {
    /// Criterion's folder.
    pub(crate) fn criterion(&self) -> PathBuf {
        self.home.clone().unwrap_or_else(results::home)
    }

    /// The thresholds of the file that is named; of the usual place if there is one; the
    /// built-in ones.
    pub(crate) fn thresholds(&self, named: Option<&Path>) -> Result<Thresholds, ThresholdsError> {
        let usual = self.baselines.join("thresholds.toml");
        match named {
            Some(path) => Thresholds::read(path),
            None if usual.exists() => Thresholds::read(&usual),
            None => Ok(Thresholds::default()),
        }
    }
}

/// `detect`.
#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    /// The baseline, as in `cargo bench -- --save-baseline main`
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) baseline: String,
    /// What is judged: `new`, the last run, or another saved baseline
    #[arg(long, value_name = "NAME", default_value = "new")]
    pub(crate) candidate: String,
    /// Where measurements are.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// Only this bench, such as `latency` (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub(crate) bench: Vec<String>,
    /// What is allowed [default: `thresholds.toml` in the folder of the baselines]
    #[arg(long, value_name = "FILE")]
    pub(crate) thresholds: Option<PathBuf>,
    /// Judge by the saved samples alone, and run nothing
    #[arg(long)]
    pub(crate) no_confirm: bool,
    /// Pairs of runs that confirm a suspect, at least 12 [default: as the thresholds say]
    #[arg(long, value_name = "N", conflicts_with = "no_confirm")]
    pub(crate) pairs: Option<usize>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Write to a file instead
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// A table
    #[default]
    Text,
    /// For programs; `version` is the form's
    Json,
    /// For the comment of a pull request
    Markdown,
}

/// `init-baselines`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The baseline, as in `cargo bench -- --save-baseline main`
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) baseline: String,
    /// The name of the machine's folder [default: from the CPU and the number of cores]
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Option<String>,
    /// Where measurements are.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// `selftest`.
#[derive(Debug, Args)]
pub(crate) struct SelftestArgs {
    /// Simulated runs in each cell of the table
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(crate) families: usize,
    /// The seed of the simulation
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    /// Simulate runs of which one side was slowed throughout
    #[arg(long)]
    pub(crate) disturbed: bool,
    /// Run the real benches, as baseline and as candidate
    #[arg(long, conflicts_with = "disturbed")]
    pub(crate) real: bool,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 20, requires = "real")]
    pub(crate) runs: usize,
    /// Only this bench (may be repeated) [default: all whose executables are kept with the last run]
    #[arg(long, value_name = "NAME", requires = "real")]
    pub(crate) bench: Vec<String>,
    /// Only benchmarks that this regular expression matches
    #[arg(long, value_name = "REGEX", requires = "real")]
    pub(crate) filter: Option<String>,
    /// Slow the candidate, such as `recall=0.20`; needs executables with the feature
    /// `inject` (may be repeated, each gets a row; an empty one slows nothing)
    #[arg(long, value_name = "SPEC", requires = "real")]
    pub(crate) inject: Vec<String>,
    /// Keep every core busy while one side is measured, and not while pairs confirm
    #[arg(long, value_name = "SIDE", requires = "real")]
    pub(crate) busy: Option<BusySide>,
    /// How many threads keep each core busy: 0.2 is one that works a fifth of the time
    #[arg(long, value_name = "N", default_value_t = 1.0, requires = "busy")]
    pub(crate) threads: f64,
    /// Keep the cores busy beside every second benchmark only
    #[arg(long, requires = "busy")]
    pub(crate) half: bool,
    /// Where measurements are.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// Which run of a comparison is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BusySide {
    /// The run that is saved as the baseline.
    Baseline,
    /// The run that is judged.
    Candidate,
}

/// `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Show what `detect` said of the last run against this baseline
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<String>,
    /// Where to write report.html, report.md and a file of JSON for each group of benchmarks
    #[arg(long, value_name = "DIR", default_value = "benchmark_results")]
    pub(crate) output: PathBuf,
    /// Replace what stands between `<!-- results:NAME -->` and `<!-- /results -->` in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) readme: Option<PathBuf>,
    /// What `compare` measured [default: `compare/compare.json` in the output folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) comparison: Option<PathBuf>,
    /// Where measurements are.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// The service levels [default: `thresholds.toml` in the folder of the baselines]
    #[arg(long, value_name = "FILE")]
    pub(crate) thresholds: Option<PathBuf>,
}

/// `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Only these, by the name of a row or of an adapter's folder [default: all but examples]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) systems: Vec<String>,
    /// A folder with memories.jsonl and queries.jsonl [default: generated conversations]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Store the first N memories of each conversation only, and ask what these answer
    #[arg(long, value_name = "N", value_parser = at_least_1())]
    pub(crate) limit: Option<u32>,
    /// The first N conversations only, each a store of its own
    #[arg(long, value_name = "N", value_parser = at_least_1())]
    pub(crate) conversations: Option<u32>,
    /// How often everything is measured, each time in another order
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_1())]
    pub(crate) rounds: u32,
    /// Numbers of clients that recall at the same time
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_values_t = [1, 10], value_parser = at_least_1())]
    pub(crate) clients: Vec<u32>,
    /// What embeds texts, for systems that need it
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [EmbedderArg::Hash, EmbedderArg::Minilm])]
    pub(crate) embedder: Vec<EmbedderArg>,
    /// The folder of the adapters
    #[arg(long, value_name = "DIR", default_value = "adapters")]
    pub(crate) adapters: PathBuf,
    /// Where what was measured is kept, and compare.json and compare.md are written
    #[arg(long, value_name = "DIR", default_value = "benchmark_results/compare")]
    pub(crate) output: PathBuf,
    /// Measure again what was measured before
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Try again what failed before
    #[arg(long)]
    pub(crate) retry: bool,
    /// Seconds that each number of clients recalls
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub(crate) load: f64,
    /// Seconds that a request may take; to start, open and close it may take ten times that
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub(crate) timeout: f64,
}

/// An embedder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EmbedderArg {
    /// Hashes of words and word pairs: the memory system alone
    Hash,
    /// all-MiniLM-L6-v2, a sentence model
    Minilm,
}

impl From<EmbedderArg> for Embedder {
    fn from(argument: EmbedderArg) -> Self {
        match argument {
            EmbedderArg::Hash => Self::Hash,
            EmbedderArg::Minilm => Self::Minilm,
        }
    }
}

fn at_least_1() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// `adapter`.
#[derive(Debug, Args)]
pub(crate) struct AdapterArgs {
    /// Which one
    #[arg(value_enum)]
    pub(crate) system: OwnSystem,
}

/// A system of our own.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OwnSystem {
    /// The engine with its default settings, on disk
    Mnemocore,
    /// The same, scoring every memory
    Exact,
    /// BM25 over a file of texts
    Bm25,
}

/// `slo`.
#[derive(Debug, Args)]
pub(crate) struct SloArgs {
    /// Where measurements are.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// The service levels [default: `thresholds.toml` in the folder of the baselines]
    #[arg(long, value_name = "FILE")]
    pub(crate) thresholds: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}
