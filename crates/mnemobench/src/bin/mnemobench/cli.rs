//! The command line.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use criterion_gate::results;
use criterion_gate::thresholds::Thresholds;
use mnemobench::compare::protocol::Embedder;

/// The largest number of busy threads per core.
pub(crate) const MOST_THREADS: f64 = 16.0;

/// Judges, records and reports the results of MnemoCore's benches.
#[derive(Debug, Parser)]
#[command(name = "mnemobench", version)]
pub(crate) struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge the last run against a saved baseline.
    ///
    /// Exit code 0: nothing is worse than allowed. 1: something is. 2: the run cannot be
    /// judged, because a result is missing, stale, unreadable, from another machine or
    /// undecided.
    Detect(DetectArgs),
    /// Write a saved baseline to files that can be committed to the repository.
    InitBaselines(InitArgs),
    /// Measure how often the gate errs.
    ///
    /// By default the runs are simulated, and the same seed gives the same result on every
    /// machine. With --real, the executables of the benches run against themselves, in the
    /// profile of `MNEMO_PROFILE`.
    Selftest(SelftestArgs),
    /// Write the results as one page, as Markdown and as JSON.
    ///
    /// A result that cannot be read causes a warning and is named in the report. Exit code
    /// 2 if something cannot be written.
    Report(ReportArgs),
    /// Measure memory systems side by side: the same memories, questions and embedder.
    ///
    /// The measurements are kept in the output folder. If the command is interrupted, run it
    /// again, and it continues where it stopped. A system that is missing or fails appears as
    /// a row that says so.
    Compare(CompareArgs),
    /// Serve one of the built-in systems, as `compare` starts it.
    ///
    /// Reads requests from standard input and writes answers to standard output, as
    /// adapters/PROTOCOL.md describes.
    Adapter(AdapterArgs),
    /// Check whether the results keep their service levels.
    ///
    /// Exit code 0: all are kept. 1: one is not. 2: one was not measured.
    Slo(SloArgs),
}

/// Locations of measurements.
#[derive(Clone, Debug, Args)]
pub(crate) struct HomeArgs {
    /// Criterion's folder [default: CRITERION_HOME, or `criterion` in Cargo's target folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// The folder of recorded baselines and of `thresholds.toml` [default: baselines]
    #[arg(long, value_name = "DIR")]
    baselines: Option<PathBuf>,
}

impl HomeArgs {
    /// Returns Criterion's folder. It may be missing unless it was named.
    pub(crate) fn criterion(&self) -> Result<PathBuf, String> {
        folder("--home", self.home.as_deref(), results::home)
    }

    /// Returns the folder of recorded baselines. It may be missing unless it was named.
    pub(crate) fn baselines(&self) -> Result<PathBuf, String> {
        folder("--baselines", self.baselines.as_deref(), usual_baselines)
    }

    /// Returns the folder to record baselines in, which may be missing.
    pub(crate) fn new_baselines(&self) -> PathBuf {
        self.baselines.clone().unwrap_or_else(usual_baselines)
    }

    /// Returns the thresholds of the named file, otherwise those of the usual file if it
    /// exists, otherwise the built-in ones.
    pub(crate) fn thresholds(&self, named: Option<&Path>) -> Result<Thresholds, Box<dyn Error>> {
        let usual = self.baselines()?.join("thresholds.toml");
        match named {
            Some(path) => Ok(Thresholds::read(path)?),
            None if usual.exists() => Ok(Thresholds::read(&usual)?),
            None => Ok(Thresholds::default()),
        }
    }
}

fn usual_baselines() -> PathBuf {
    PathBuf::from("baselines")
}

/// Returns the folder that was named as `option`, otherwise the usual one. A named folder must
/// exist. Otherwise a typing error would silently leave out its files.
fn folder(option: &str, named: Option<&Path>, usual: impl FnOnce() -> PathBuf) -> Result<PathBuf, String> {
    match named {
        Some(path) if !path.is_dir() => Err(format!("{option} {}: there is no such folder", path.display())),
        Some(path) => Ok(path.into()),
        None => Ok(usual()),
    }
}

/// Arguments of `detect`.
#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    /// The baseline, as in `cargo bench -- --save-baseline main`
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) baseline: String,
    /// The run to judge: `new` for the last run, or the name of a saved baseline
    #[arg(long, value_name = "NAME", default_value = "new")]
    pub(crate) candidate: String,
    /// Locations of measurements.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// Judge only this bench, such as `latency` (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub(crate) bench: Vec<String>,
    /// The file of limits [default: `thresholds.toml` in the folder of the baselines]
    #[arg(long, value_name = "FILE")]
    pub(crate) thresholds: Option<PathBuf>,
    /// Judge by the saved samples alone, without running pairs
    #[arg(long)]
    pub(crate) no_confirm: bool,
    /// Number of pairs of runs that confirm a suspect, at least 12 [default: `gate.pairs` of the thresholds]
    #[arg(long, value_name = "N", conflicts_with = "no_confirm")]
    pub(crate) pairs: Option<usize>,
    /// The format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// A format of output.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// A table
    #[default]
    Text,
    /// JSON for programs; its field `version` is the version of the format
    Json,
    /// Markdown for the comment of a pull request
    Markdown,
}

/// Arguments of `init-baselines`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The baseline, as in `cargo bench -- --save-baseline main`
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) baseline: String,
    /// The name of the machine's folder [default: derived from the CPU and the number of cores]
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Option<String>,
    /// Locations of measurements.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// Arguments of `selftest`.
#[derive(Debug, Args)]
pub(crate) struct SelftestArgs {
    /// Number of simulated runs in each cell of the table
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = number_from_1())]
    pub(crate) families: usize,
    /// The seed of the simulation
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    /// Simulate runs of which one side was slowed for its whole duration
    #[arg(long)]
    pub(crate) disturbed: bool,
    /// Run the real benches, once as the baseline and once as the candidate
    #[arg(long, conflicts_with = "disturbed")]
    pub(crate) real: bool,
    /// Number of comparisons
    #[arg(long, value_name = "N", default_value_t = 20, requires = "real", value_parser = number_from_1())]
    pub(crate) runs: usize,
    /// Run only this bench (may be repeated) [default: all whose executables are kept with the last run]
    #[arg(long, value_name = "NAME", requires = "real")]
    pub(crate) bench: Vec<String>,
    /// Run only benchmarks that match this regular expression
    #[arg(long, value_name = "REGEX", requires = "real", value_parser = regex)]
    pub(crate) filter: Option<String>,
    /// Slow the candidate, for example by `recall=0.20`; the executables need the feature
    /// `inject` (may be repeated, one row each; an empty value slows nothing)
    #[arg(long, value_name = "SPEC", requires = "real")]
    pub(crate) inject: Vec<String>,
    /// Keep every core busy while this side is measured, but not while pairs run
    #[arg(long, value_name = "SIDE", requires = "real")]
    pub(crate) busy: Option<BusySide>,
    /// Number of busy threads per core; 0.2 is one thread that works a fifth of the time
    #[arg(long, value_name = "N", default_value_t = 1.0, requires = "busy", value_parser = threads)]
    pub(crate) threads: f64,
    /// Keep the cores busy only beside every second benchmark
    #[arg(long, requires = "busy")]
    pub(crate) half: bool,
    /// Locations of measurements.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// The run of a comparison that is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BusySide {
    /// The run that is saved as the baseline.
    Baseline,
    /// The run that is judged.
    Candidate,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Include the verdicts of `detect` on the last run against this baseline
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<String>,
    /// The folder for report.html, report.md and one JSON file for each group of benchmarks
    #[arg(long, value_name = "DIR", default_value = "benchmark_results")]
    pub(crate) output: PathBuf,
    /// Replace the text between `<!-- results:NAME -->` and `<!-- /results -->` in this file, such as docs/results.md
    #[arg(long, value_name = "FILE")]
    pub(crate) readme: Option<PathBuf>,
    /// The results of `compare` [default: `compare/compare.json` in the output folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) comparison: Option<PathBuf>,
    /// Locations of measurements.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// The file of service levels [default: `thresholds.toml` in the folder of the baselines]
    #[arg(long, value_name = "FILE")]
    pub(crate) thresholds: Option<PathBuf>,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Measure only these systems, by the name of a row or of an adapter's folder [default: all except examples]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) systems: Vec<String>,
    /// A folder with memories.jsonl and queries.jsonl [default: generated conversations]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Store only the first N memories of each conversation, and ask the questions that they answer
    #[arg(long, value_name = "N", value_parser = at_least_1())]
    pub(crate) limit: Option<u32>,
    /// Measure only the first N conversations; each is a store of its own
    #[arg(long, value_name = "N", value_parser = at_least_1())]
    pub(crate) conversations: Option<u32>,
    /// Number of rounds; each measures everything in another order
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_1())]
    pub(crate) rounds: u32,
    /// Numbers of clients that recall concurrently
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1,10", value_parser = at_least_1())]
    pub(crate) clients: Vec<u32>,
    /// Embedders, for the systems that need one
    #[arg(long, value_enum, value_delimiter = ',', default_value = "hash,minilm")]
    pub(crate) embedder: Vec<EmbedderArg>,
    /// The folder of the adapters [default: adapters]
    #[arg(long, value_name = "DIR")]
    adapters: Option<PathBuf>,
    /// The folder for the measurements, compare.json and compare.md
    #[arg(long, value_name = "DIR", default_value = "benchmark_results/compare")]
    pub(crate) output: PathBuf,
    /// Repeat measurements that are already in the output folder
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Repeat measurements that failed before
    #[arg(long)]
    pub(crate) retry: bool,
    /// Seconds for which each number of clients recalls
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    pub(crate) load: f64,
    /// Time limit of a request in seconds; starting, opening and closing may take ten times as long
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    pub(crate) timeout: f64,
}

impl CompareArgs {
    /// Returns the folder of the adapters. It may be missing unless it was named.
    pub(crate) fn adapters(&self) -> Result<PathBuf, String> {
        folder("--adapters", self.adapters.as_deref(), || PathBuf::from("adapters"))
    }
}

/// An embedder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EmbedderArg {
    /// Hashes of words and word pairs, to compare the memory systems alone
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

fn number_from_1() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// Reads seconds: a number above 0.
fn seconds(text: &str) -> Result<f64, String> {
    above_0_to(1e6, text)
}

/// Reads a number of busy threads per core.
fn threads(text: &str) -> Result<f64, String> {
    above_0_to(MOST_THREADS, text)
}

fn above_0_to(most: f64, text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| *number > 0.0 && *number <= most);
    number.ok_or_else(|| format!("expected a number above 0, at most {most}"))
}

/// Checks a regular expression. The benches read it too, and Criterion panics if it is invalid.
fn regex(text: &str) -> Result<String, String> {
    match regex_lite::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("expected a regular expression: {error}")),
    }
}

fn at_least_1() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// Arguments of `adapter`.
#[derive(Debug, Args)]
pub(crate) struct AdapterArgs {
    /// The system to serve
    #[arg(value_enum)]
    pub(crate) system: OwnSystem,
}

/// A built-in system.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OwnSystem {
    /// The engine with its default settings, on disk
    Mnemocore,
    /// BM25 over a file of texts
    Bm25,
}

/// Arguments of `slo`.
#[derive(Debug, Args)]
pub(crate) struct SloArgs {
    /// Locations of measurements.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// The file of service levels [default: `thresholds.toml` in the folder of the baselines]
    #[arg(long, value_name = "FILE")]
    pub(crate) thresholds: Option<PathBuf>,
    /// The format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}
