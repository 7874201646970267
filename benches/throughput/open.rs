//! The open loop: the highest rate of arrivals that keeps the P99 under a limit, and
//! the P99 at half of it.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::time::Duration;

use criterion::{BenchmarkId, SamplingMode};
use mnemocore::Durability;
use mnemocore::harness::load::mix::Mix;
use mnemocore::harness::load::open::Search;
use mnemocore::harness::profile::Profile;
use mnemocore::harness::results::Kind;
use tokio::runtime::Runtime;

use crate::Bench;
use crate::common::Sampler;
use crate::tiered::{Load, Tiered};

/// What the P99 must not exceed, counted from the intended start: ten operations of
/// an agent that wait for each other still feel immediate then.
const LIMIT: Duration = Duration::from_millis(5);

/// Fewer operations say nothing about a P99.
const LEAST_OPERATIONS: usize = 100;

/// How the rate is searched for.
fn search(profile: Profile) -> Search {
    Search {
        limit: LIMIT,
        start: 2_000.0,
        lowest: 50.0,
        // No engine behind one process's queue is this quick, and the search ends.
        highest: 512_000.0,
        precision: profile.choose(1.15, 1.1, 1.05),
    }
}

/// How long arrivals of one rate go on.
fn trial(profile: Profile) -> Duration {
    Duration::from_millis(profile.choose(100, 300, 2_000))
}

/// Measures `<mix>_open/throughput/p99_5ms` and `<mix>_open/p99/half_rate`.
pub(crate) fn measure(bench: &mut Bench, mix: Mix) {
    let names = [
        format!("{}_open/throughput/p99_{}ms", mix.name, LIMIT.as_millis()),
        format!("{}_open/p99/half_rate", mix.name),
    ];
    let (profile, test) = (bench.profile(), bench.test());
    let asked = !test && bench.admits(&names[0]);
    let Bench { latency, runtime, memories, tiered, .. } = bench;
    let new_load = || tiered.get_or_init(|| Tiered::new(*memories)).load(mix, Durability::Buffered);
    let found = OnceCell::new();
    let find = || {
        if test {
            return Some(search(profile).start);
        }
        let mut load = new_load();
        let rate = highest_rate(&mut load, runtime, profile);
        load.assert_done();
        rate
    };
    if asked {
        let rate = found.get_or_init(find);
        match rate {
            Some(rate) => println!("{}: {rate:.0} operations/s keep P99 within {LIMIT:.0?}\n", names[0]),
            None => println!("{}: not even the lowest rate keeps P99 within {LIMIT:.0?}\n", names[0]),
        }
        // Not a single one kept in time is a rate of 0, not a missing result.
        latency.recorder.note_value(&names[0], Kind::Throughput, rate.unwrap_or(0.0));
    }

    let load = OnceCell::new();
    let mut sampler: Option<Sampler> = None;
    let mut group = latency.p99().benchmark_group(format!("{}_open/p99", mix.name));
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::from_parameter("half_rate"), |bencher| {
        let rate = found.get_or_init(find).unwrap_or(search(profile).lowest) / 2.0;
        let load = load.get_or_init(|| std::cell::RefCell::new(new_load()));
        let count = if test { 10 } else { operations(rate, trial(profile)) };
        let sampler = sampler.get_or_insert_with(|| Sampler::new(count as u64));
        bencher.iter_custom(|iterations| {
            sampler.sample(iterations, |count, latencies| {
                let finished = load.borrow_mut().open(runtime, count as usize, rate);
                latencies.merge(&finished.latencies);
            })
        });
    });
    group.finish();
    if let Some(load) = load.into_inner() {
        load.into_inner().assert_done();
    }
    if let Some(sampler) = sampler {
        latency.note_p99(&names[1], sampler);
    }
}

/// Operations that arrive within `duration`, and enough of them for a P99.
fn operations(rate: f64, duration: Duration) -> usize {
    ((rate * duration.as_secs_f64()) as usize).max(LEAST_OPERATIONS)
}

fn highest_rate(load: &mut Load<'_>, runtime: &Runtime, profile: Profile) -> Option<f64> {
    let mut p99 = |rate| load.open(runtime, operations(rate, trial(profile)), rate).latencies.p99();
    // A warm-up.
    p99(search(profile).lowest);
    // Of three trials the middle one, so that what else the machine does for a few
    // milliseconds does not decide; two that agree are enough.
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
