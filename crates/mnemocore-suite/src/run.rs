//! Runs the suite from a program of your own, without Criterion.
//!
//! Each `run_…` measures, returns its results, and adds them to the results in
//! [`RunConfig::output`]. The gate and the report read these as they read a bench's: names, kinds
//! and percentiles are the same. Without Criterion there are no confidence intervals: a value is
//! the median of a few samples, and the gate has no samples for its statistics.

mod footprint;
mod latency;
mod throughput;

use std::collections::HashSet;
use std::env;
use std::io;
use std::path::PathBuf;

use crate::benchmark::{self, Benchmark, Failure};
use crate::fixture::{self, Fixture, FixtureError};
use crate::footprint_process::FootprintError;
use criterion_gate::measure::Measurement;
use criterion_gate::profile::Profile;
use criterion_gate::results::{NEW, Results, ResultsError};
use mnemocore::hdv::Dimension;
use mnemocore::{Engine, Error, TierKind};
use tempfile::TempDir;

pub use self::footprint::run_footprint;
pub use self::latency::run_latency;
pub use self::throughput::run_throughput;

/// The settings of a run.
///
/// ```
/// use mnemocore::TierKind;
/// use mnemocore_suite::run::{RunConfig, run_latency};
///
/// let config = RunConfig {
///     sizes: vec![(TierKind::Hot, 200)],
///     samples: 2,
///     operations: 20,
///     ..RunConfig::default()
/// };
/// let measured = run_latency(&config)?;
/// assert!(measured.iter().any(|measurement| measurement.name == "recall_hot/p99/200"));
/// # Ok::<(), mnemocore_suite::run::RunError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// The name of the results: `<output>/mnemobench/new/<name>.json`; `program` by default. Do not
    /// use the name of a bench, whose results would be replaced.
    pub name: String,
    /// The profile that the results carry. It sets the defaults of the settings below.
    pub profile: Profile,
    /// Bits of a hypervector: the engine's default.
    pub dimension: Dimension,
    /// The seed of the conversations. By default it is the benches' seed, so that both ask the same
    /// of the same memories.
    pub seed: u64,
    /// The tiers whose latency and throughput are measured, with their numbers of
    /// memories: those of the latency bench, or a million each.
    pub sizes: Vec<(TierKind, usize)>,
    /// The numbers of memories that footprint is measured with in every tier:
    /// three powers of ten show how it grows.
    pub scales: Vec<usize>,
    /// Samples of which the median is the value: 10, so that one disturbance does
    /// not decide.
    pub samples: usize,
    /// Operations in a sample: 1,000, so that ten of them lie above its P99.
    pub operations: usize,
    /// The numbers of threads that throughput is measured with: one as the
    /// measure, and up to more than most machines have cores.
    pub workers: Vec<usize>,
    /// The folder in which stores are created and deleted: the system's temporary folder by
    /// default. Set it if that folder is not on a real disk.
    pub scratch: PathBuf,
    /// The folder for results; `None`, the default, writes nothing. It may be Criterion's folder:
    /// then results of the same names stand beside each other, by bench.
    pub output: Option<PathBuf>,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self::new(Profile::Default)
    }
}

impl RunConfig {
    /// The defaults of a profile. The quick one runs in seconds.
    pub fn new(profile: Profile) -> Self {
        let sizes = profile.choose([1_000, 2_000, 5_000], [5_000, 50_000, 100_000], [1_000_000; 3]);
        Self {
            name: "program".to_owned(),
            profile,
            dimension: Dimension::default(),
            seed: fixture::SEED,
            sizes: TierKind::ALL.into_iter().zip(sizes).collect(),
            scales: profile.choose(
                vec![1_000, 10_000],
                vec![1_000, 10_000, 100_000],
                vec![10_000, 100_000, 1_000_000],
            ),
            samples: profile.choose(5, 10, 20),
            operations: profile.choose(200, 1_000, 1_000),
            workers: profile.choose(vec![1, 4], vec![1, 5, 10, 20, 50], vec![1, 5, 10, 20, 50]),
            scratch: env::temp_dir(),
            output: None,
        }
    }

    /// Returns the fixture of `memories` memories in `tier`.
    fn fixture(&self, tier: TierKind, memories: usize) -> Fixture {
        Fixture { dimension: self.dimension, seed: self.seed, ..Fixture::new(tier, memories) }
    }

    /// Fills a temporary folder with `fixture`, and opens its engine.
    fn fill(&self, fixture: Fixture) -> Result<(TempDir, Engine), RunError> {
        let folder = tempfile::tempdir_in(&self.scratch)?;
        let engine = fixture.fill(folder.path())?;
        Ok((folder, engine))
    }

    /// Adds measurements to the results, if these are to be written.
    fn save(&self, measured: &[Measurement]) -> Result<(), RunError> {
        let Some(output) = &self.output else { return Ok(()) };
        let mut results = Results::new(&self.name, crate::machine());
        for measurement in measured {
            results.note_measurement(measurement.clone(), self.profile);
        }
        Ok(results.save(output, NEW)?)
    }

    /// Checks that there is something to measure.
    fn check(&self) -> Result<(), RunError> {
        let numbers = [self.samples, self.operations].into_iter().chain(self.workers.iter().copied());
        let memories = self.sizes.iter().map(|&(_, memories)| memories).chain(self.scales.iter().copied());
        match numbers.chain(memories).all(|number| number > 0) && !self.name.is_empty() {
            true => Ok(()),
            false => Err(RunError::Nothing),
        }
    }
}

/// Times each of `benchmarks`, one after the other.
///
/// # Errors
/// [`RunError`] of the first that fails; nothing is written then.
pub fn run_benchmarks(
    config: &RunConfig,
    benchmarks: &mut [&mut dyn Benchmark],
) -> Result<Vec<Measurement>, RunError> {
    config.check()?;
    let mut names = HashSet::new();
    for benchmark in benchmarks.iter() {
        let (group, case) = (benchmark.group(), benchmark.case());
        let invalid = group.is_empty() || case.is_empty() || group.contains('/');
        if invalid || !names.insert((group.clone(), case.clone())) {
            return Err(RunError::Name { group, case });
        }
    }
    let mut measured = Vec::new();
    for benchmark in benchmarks {
        let timed = benchmark::time(&mut **benchmark, config.samples, config.operations);
        measured.extend(timed.map_err(|source| RunError::Benchmark { group: benchmark.group(), source })?);
    }
    config.save(&measured)?;
    Ok(measured)
}

/// A run cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A setting leaves nothing to measure.
    #[error("expected a name, and numbers above 0 in `RunConfig`; received none or a 0")]
    Nothing,
    /// The names of results must be valid and unique.
    #[error(
        "expected a group without a slash and a case, each pair once; received {group:?} and {case:?}; \
         rename the benchmark"
    )]
    Name {
        /// The group.
        group: String,
        /// The case.
        case: String,
    },
    /// An operation failed, or the benchmark's check did.
    #[error("{group}: {source}")]
    Benchmark {
        /// The group.
        group: String,
        /// Why.
        source: Failure,
    },
    /// A store cannot be filled, or its memories are elsewhere.
    #[error(transparent)]
    Fixture(#[from] FixtureError),
    /// A fresh process cannot tell what it holds.
    #[error(transparent)]
    Footprint(#[from] FootprintError),
    /// There is no room for a store in `RunConfig::scratch`.
    #[error("a folder in `RunConfig::scratch`: {0}")]
    Scratch(#[from] io::Error),
    /// Results cannot be written.
    #[error(transparent)]
    Results(#[from] ResultsError),
}

impl From<Error> for RunError {
    fn from(error: Error) -> Self {
        Self::Fixture(error.into())
    }
}

#[cfg(test)]
mod tests;
