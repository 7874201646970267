//! The open loop: the P99 at a fixed rate of arrivals, and the highest rate that keeps
//! it under a limit.

use std::convert::Infallible;
use std::time::Duration;

use criterion::{BenchmarkId, SamplingMode};
use criterion_gate::profile::Profile;
use criterion_gate::results::Kind;
use mnemocore::Durability;
use mnemocore_suite::load::mix::Mix;
use mnemocore_suite::load::open::Search;
use tokio::runtime::Runtime;

use crate::Bench;
use crate::common::{Lazy, Sampler};
use crate::tiered::{Load, Tiered};

/// The limit of the P99, counted from the intended start. Ten operations of an agent, one after the
/// other, still feel immediate then.
const LIMIT: Duration = Duration::from_millis(5);

/// Arrivals per second at which latencies are compared: the same for every revision, or
/// a quicker one would be asked more; and few enough that no machine falls behind.
const RATE: f64 = 1_000.0;

/// Fewer operations say nothing about a P99.
const LEAST_OPERATIONS: usize = 100;

/// The search for the highest rate.
fn search(profile: Profile) -> Search {
    Search {
        limit: LIMIT,
        start: 2_000.0,
        lowest: 50.0,
        // No engine behind one process's queue is this quick, and the search ends.
        highest: 512_000.0,
        precision: profile.choose(1.1, 1.1, 1.05),
    }
}

/// The duration of arrivals at the fixed rate.
fn sample(profile: Profile) -> Duration {
    Duration::from_millis(profile.choose(100, 300, 2_000))
}

/// The duration of one trial of the search: several passes of the background thread.
fn trial(profile: Profile) -> Duration {
    Duration::from_millis(profile.choose(1_000, 1_000, 2_000))
}

/// Measures `<mix>_open/p99/1000_per_s` and `<mix>_open/throughput/p99_5ms`.
pub(crate) fn measure(bench: &mut Bench, mix: Mix) {
    at_fixed_rate(bench, mix);
    at_highest_rate(bench, mix);
}

fn at_fixed_rate(bench: &mut Bench, mix: Mix) {
    let (profile, test) = (bench.profile(), bench.test());
    let Bench { latency, runtime, memories, tiered, .. } = bench;
    let mut load =
        Lazy::new(|| tiered.get_or_init(|| Tiered::new(*memories)).load(mix, Durability::Buffered));
    let count = if test { 10 } else { operations(RATE, sample(profile)) };
    let mut sampler = Sampler::new(count as u64);
    let (name, case) = (format!("{}_open/p99", mix.name), format!("{RATE}_per_s"));
    let mut group = latency.p99().benchmark_group(&name);
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::from_parameter(&case), |bencher| {
        let load = load.get();
        bencher.iter_custom(|iterations| {
            sampler.sample(iterations, |count, latencies| {
                latencies.merge(&load.open(runtime, count as usize, RATE).latencies);
            })
        });
    });
    group.finish();
    if let Some(load) = load.into_value() {
        load.assert_done();
    }
    latency.note_p99(&format!("{name}/{case}"), sampler);
}

/// A single value without a spread, so no gate judges it, and the quick profile leaves it out.
fn at_highest_rate(bench: &mut Bench, mix: Mix) {
    let name = format!("{}_open/throughput/p99_{}ms", mix.name, LIMIT.as_millis());
    if bench.test() || bench.profile() == Profile::Quick || !bench.admits(&name) {
        return;
    }
    let profile = bench.profile();
    let Bench { latency, runtime, memories, tiered, .. } = bench;
    let mut load = tiered.get_or_init(|| Tiered::new(*memories)).load(mix, Durability::Buffered);
    let rate = highest_rate(&mut load, runtime, profile);
    load.assert_done();
    match rate {
        Some(rate) => println!("{name}: {rate:.0} operations/s keep P99 within {LIMIT:.0?}\n"),
        None => println!("{name}: not even the lowest rate keeps P99 within {LIMIT:.0?}\n"),
    }
    // Not a single one kept in time is a rate of 0, not a missing result.
    latency.recorder.note_value(&name, Kind::Throughput, rate.unwrap_or(0.0));
}

/// Operations that arrive within `duration`, and enough of them for a P99.
fn operations(rate: f64, duration: Duration) -> usize {
    ((rate * duration.as_secs_f64()) as usize).max(LEAST_OPERATIONS)
}

fn highest_rate(load: &mut Load<'_>, runtime: &Runtime, profile: Profile) -> Option<f64> {
    let mut p99 = |rate| {
        // Work that a rate above the maximum has left must not count for this trial.
        load.consolidate();
        load.open(runtime, operations(rate, trial(profile)), rate).latencies.p99()
    };
    // A warm-up.
    p99(search(profile).lowest);
    // The middle of three trials, so that a disturbance of a few milliseconds does not decide. Two
    // that agree are enough.
    let mut middle = |rate| {
        let (first, second) = (p99(rate), p99(rate));
        if (first <= LIMIT) == (second <= LIMIT) {
            return Ok::<_, Infallible>(first);
        }
        let mut all = [first, second, p99(rate)];
        all.sort_unstable();
        Ok(all[1])
    };
    let Ok(rate) = search(profile).run(&mut middle);
    rate
}
