//! The Criterion setup that all benches share:
//! - a benchmark that the baseline lacks is reported without a comparison and
//!   does not end the run;
//! - defaults give way to the command line (a *group's* settings would not);
//! - P99 of single operations is a measurement like wall time ([`P99`]), so that
//!   confidence intervals, baselines and plots hold for it as well; so are
//!   [`Bytes`];
//! - what a benchmark needs is built when it runs, so that a filter skips that too.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "every bench uses its own part of this module")]

mod bytes;
mod custom_measurement;
mod footprint;
mod jitter;
mod lazy;
mod load;
mod oracle;
mod p99;
mod recorder;
mod store;
mod warm_up;

use std::cell::Cell;
use std::error::Error;
use std::fmt::Display;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkId, Criterion, SamplingMode};
use criterion_gate::measure::Latencies;
use criterion_gate::profile::{Arguments, Profile};
use mnemocore_suite::benchmark::{Benchmark, Failure};
use mnemocore_suite::load::workers_from_env;

pub use self::bytes::Bytes;
pub use self::footprint::{empty_engine, measure_aspects, scales_up_to};
pub use self::lazy::Lazy;
pub use self::load::{run_closed, run_open};
pub use self::oracle::recall_of;
pub use self::p99::{P99, Sampler};
pub use self::recorder::Recorder;
pub use self::store::{Kept, Store, copy_folder, endless_texts, new_texts, temporary_folder};
pub use self::warm_up::WarmUp;
pub use mnemocore_suite::fixture::{Fixture, ONE_IN};

/// Criterion's sample sizes and times. Options on the command line override them.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Samples per benchmark; Criterion wants at least 10.
    pub samples: usize,
    /// Time to run before measuring.
    pub warm_up: Duration,
    /// Time to measure; more where the samples need it.
    pub measurement: Duration,
}

impl Sampling {
    /// For wall time: enough samples for a bootstrap of the median.
    pub fn wall(profile: Profile) -> Self {
        Self::new(profile.choose(20, 50, 100), profile)
    }

    /// For P99: each sample is itself a percentile of a thousand operations or
    /// more, so that few are enough. An even number, see [`Jitter`].
    pub fn p99(profile: Profile) -> Self {
        Self::new(profile.choose(10, 20, 20), profile)
    }

    /// For load: each sample is a mean over hundreds of operations.
    pub fn load(profile: Profile) -> Self {
        Self::new(profile.choose(10, 15, 30), profile)
    }

    /// For values that are measured before Criterion asks for them: it shall take
    /// each once and wait for nothing. Ten samples are its least, and even, see
    /// [`Jitter`].
    pub fn known() -> Self {
        Self { samples: 10, warm_up: Duration::from_nanos(1), measurement: Duration::from_micros(100) }
    }

    fn new(samples: usize, profile: Profile) -> Self {
        let ms = |quick, default, full| Duration::from_millis(profile.choose(quick, default, full));
        Self { samples, warm_up: ms(50, 500, 1000), measurement: ms(250, 2500, 5000) }
    }
}

/// A Criterion for one kind of measurement, set up by the command line.
pub fn criterion<M: Measurement>(
    measurement: M,
    sampling: Sampling,
    profile: Profile,
    arguments: &Arguments,
) -> Criterion<M> {
    let mut criterion = Criterion::default()
        .sample_size(sampling.samples)
        .warm_up_time(sampling.warm_up)
        .measurement_time(sampling.measurement);
    if profile == Profile::Quick {
        // Plots take longer than the measurement. `--plotting-backend` brings them back.
        // So does the bootstrap by default, a hundred thousand times over.
        criterion = criterion.without_plots().nresamples(10_000);
    }
    criterion = criterion.configure_from_args();
    if let Some(baseline) = &arguments.baseline {
        // Not strict: otherwise every change that adds a benchmark fails here.
        criterion = criterion.retain_baseline(baseline.clone(), false);
    }
    criterion.with_measurement(measurement)
}

/// Reads the profile from the environment, and the command line. Ends the process if the profile is
/// unknown, or if Criterion would write to the wrong folder because of the name of a baseline.
///
/// A bench reads all of its input before it makes a [`Recorder`], because that invalidates the
/// results of the last run until this one ends.
pub fn input() -> (Profile, Arguments) {
    let arguments = Arguments::from_env();
    asked_for(arguments.check_names());
    (asked_for(Profile::from_env()), arguments)
}

/// The numbers of workers that the environment asks for; ends the process if they
/// cannot be read.
pub fn workers() -> Vec<usize> {
    asked_for(workers_from_env())
}

/// Unwraps an input: an argument, a setting read from the environment, or a data set. If it is
/// malformed, the process ends with exit code 2, so that a typing error does not run for an hour.
pub fn asked_for<T, E: Into<Box<dyn Error + Send + Sync>>>(read: Result<T, E>) -> T {
    read.unwrap_or_else(|error| fail(&*error.into(), 2))
}

/// Prints an error with its sources, and ends the process.
pub fn fail(error: &(dyn Error + 'static), code: i32) -> ! {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Most errors name their source themselves.
        let said = error.to_string();
        if !text.contains(&said) {
            text += &format!(": {said}");
        }
        source = error.source();
    }
    eprintln!("error: {text}");
    std::process::exit(code);
}

/// Wall time and P99 of single operations, side by side.
pub struct Latency {
    /// The profile of this run.
    pub profile: Profile,
    /// The command line.
    pub arguments: Arguments,
    /// The results of this run.
    pub recorder: Recorder,
    /// The most operations in one iteration of a P99 benchmark: fewer than usual where
    /// each of them waits.
    pub most_operations: u64,
    wall: Criterion<WallTime>,
    p99: Criterion<P99>,
}

impl Latency {
    /// Operations in one iteration of a P99 benchmark: ten of them lie above the P99.
    const OPERATIONS: u64 = 1000;
    /// The same for a look; two lie above.
    const OPERATIONS_IN_QUICK: u64 = 200;
    /// The same where only the benchmark itself is tested.
    const OPERATIONS_IN_TEST: u64 = 3;

    /// Set up by environment and command line. Makes the [`Recorder`], so a bench reads its other
    /// input first.
    pub fn from_args() -> Self {
        let (profile, arguments) = input();
        Self {
            wall: criterion(WallTime, Sampling::wall(profile), profile, &arguments),
            p99: criterion(P99, Sampling::p99(profile), profile, &arguments),
            recorder: Recorder::new(profile, &arguments),
            most_operations: u64::MAX,
            profile,
            arguments,
        }
    }

    /// Measures `operation` twice, as `<group>/wall/<parameter>` and as
    /// `<group>/p99/<parameter>`, and prints the percentiles of the second.
    ///
    /// `set_up` runs once, before the first of the two that the filter lets
    /// through, or never. Both work on the same state, one after the other: an
    /// operation that changes it (a store into a full tier) must leave it as fit
    /// for the next. Choosing what to ask for belongs into `set_up`.
    ///
    /// Returns the latencies of all samples; `None` where the P99 was not measured.
    pub fn bench<S, R>(
        &mut self,
        group: &str,
        parameter: impl Display,
        set_up: impl FnOnce() -> S,
        mut operation: impl FnMut(&mut S) -> R,
    ) -> Option<Latencies> {
        let nothing = |_: &mut S, count| vec![(); count];
        self.bench_with(group, parameter, set_up, nothing, |state, ()| operation(state))
    }

    /// As [`Latency::bench`], for an operation that uses something up: `prepare`
    /// makes it for a number of operations, outside of the timer.
    pub fn bench_with<S, I, R>(
        &mut self,
        group: &str,
        parameter: impl Display,
        set_up: impl FnOnce() -> S,
        mut prepare: impl FnMut(&mut S, usize) -> Vec<I>,
        mut operation: impl FnMut(&mut S, I) -> R,
    ) -> Option<Latencies> {
        let mut state = Lazy::new(set_up);
        let names = ["wall", "p99"].map(|measure| format!("{group}/{measure}/{parameter}"));

        let mut wall = self.wall.benchmark_group(format!("{group}/wall"));
        wall.bench_function(BenchmarkId::from_parameter(&parameter), |bencher| {
            let state = state.get();
            bencher.iter_custom(|iterations| {
                let inputs = prepare(state, iterations as usize);
                let started = Instant::now();
                inputs.into_iter().for_each(|input| drop(black_box(operation(state, input))));
                started.elapsed()
            });
            self.recorder.note(&names[0]);
        });
        wall.finish();

        let operations = match self.profile {
            _ if self.arguments.test => Self::OPERATIONS_IN_TEST,
            Profile::Quick => Self::OPERATIONS_IN_QUICK,
            Profile::Default | Profile::Full => Self::OPERATIONS,
        };
        let mut sampler = Sampler::new(operations.min(self.most_operations));
        let mut p99 = self.p99.benchmark_group(format!("{group}/p99"));
        // Linear sampling would give every sample another number of operations.
        p99.sampling_mode(SamplingMode::Flat);
        p99.bench_function(BenchmarkId::from_parameter(&parameter), |bencher| {
            let state = state.get();
            bencher.iter_custom(|iterations| {
                sampler.sample(iterations, |count, latencies| {
                    for input in prepare(state, count as usize) {
                        let started = Instant::now();
                        let result = black_box(operation(state, input));
                        latencies.record(started.elapsed());
                        drop(result);
                    }
                })
            });
        });
        p99.finish();
        self.note_p99(&names[1], sampler)
    }

    /// Prints and notes what a P99 benchmark gathered, if it was measured.
    pub fn note_p99(&mut self, name: &str, sampler: Sampler) -> Option<Latencies> {
        let reference = sampler.reference();
        let latencies = sampler.into_latencies().filter(|_| !self.arguments.test)?;
        println!("{name}: {latencies}\n");
        self.recorder.note_latencies(name, &latencies, reference);
        Some(latencies)
    }

    /// The Criterion for the P99 of single operations.
    pub fn p99(&mut self) -> &mut Criterion<P99> {
        &mut self.p99
    }

    /// Measures a [`Benchmark`] as [`Latency::bench`] does, and verifies it if the filter admits
    /// it.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&mut self, benchmark: &mut dyn Benchmark) -> Option<Latencies> {
        let (group, case) = (benchmark.group(), benchmark.case());
        let fail = |failure: Failure| -> () { panic!("{group}: {failure}") };
        let ready = Cell::new(false);
        let inner = &mut *benchmark;
        let set_up = || {
            inner.set_up().unwrap_or_else(fail);
            ready.set(true);
            inner
        };
        let latencies = self.bench(&group, case, set_up, |inner| inner.run().unwrap_or_else(fail));
        if ready.get() {
            benchmark.verify().unwrap_or_else(fail);
        }
        latencies
    }

    /// The Criterion for wall time alone, and where to note what it measured.
    pub fn wall(&mut self) -> (&mut Criterion<WallTime>, &mut Recorder) {
        (&mut self.wall, &mut self.recorder)
    }

    /// Writes the summary of all measurements. The caller has to save again what it notes
    /// afterwards.
    pub fn finish(mut self) -> Recorder {
        self.wall.final_summary();
        self.recorder.finish();
        self.recorder
    }
}
