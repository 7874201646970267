//! The closed loop: operations in a unit of time, by the number of workers.

use std::time::Duration;

use criterion::{BenchmarkId, SamplingMode, Throughput};
use criterion_gate::measure::Latencies;
use mnemocore::Durability;
use mnemocore_suite::load::mix::Mix;

use crate::Bench;
use crate::common::{Lazy, WarmUp};
use crate::tiered::Tiered;

/// Operations of each worker in one iteration of Criterion's, and of how many workers
/// at least.
const OPERATIONS: [usize; 2] = [10, 50];
/// The same for a look.
const OPERATIONS_IN_QUICK: [usize; 2] = [10, 10];
/// The same where every operation waits for the disk, and one worker alone would take
/// seconds for a thousand.
const SYNCED: [usize; 2] = [20, 1];
/// The same where the benchmark itself is tested.
const OPERATIONS_IN_TEST: [usize; 2] = [2, 10];

/// Measures all mixes and prints how they grow with the workers.
pub(crate) fn measure(bench: &mut Bench) {
    let workers = bench.workers.clone();
    let few_and_many = ends(&workers);
    // One number of workers stands for the mixes that vary the others.
    let some = [workers[workers.len() / 2]];
    let buffered = Durability::Buffered;
    let stores = series(bench, "store", Mix::STORE, buffered, &workers);
    let synced = series(bench, "store_synced", Mix::STORE, Durability::Synced, &few_and_many);
    let mut lines = vec![stores, synced];
    for mix in [Mix::RECALL, Mix::A] {
        lines.push(series(bench, mix.name, mix, buffered, &workers));
    }
    for mix in [Mix::B, Mix::D, Mix::F] {
        lines.push(series(bench, mix.name, mix, buffered, &some));
    }
    print(&lines);
}

/// The least and the greatest number.
fn ends(workers: &[usize]) -> Vec<usize> {
    let mut ends: Vec<usize> =
        workers.iter().min().into_iter().chain(workers.iter().max()).copied().collect();
    ends.dedup();
    ends
}

/// The measurements of one mix, by number of workers.
struct Series {
    name: &'static str,
    points: Vec<Point>,
}

/// All samples of one benchmark.
struct Point {
    workers: usize,
    elapsed: Duration,
    latencies: Latencies,
}

impl Point {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

fn series(
    bench: &mut Bench,
    name: &'static str,
    mix: Mix,
    durability: Durability,
    workers: &[usize],
) -> Series {
    let points = workers.iter().filter_map(|&workers| point(bench, name, mix, durability, workers));
    Series { name, points: points.collect() }
}

/// Measures `<name>/throughput/<workers>`; `None` if it is filtered out.
fn point(bench: &mut Bench, name: &str, mix: Mix, durability: Durability, workers: usize) -> Option<Point> {
    let [each, least] = match durability {
        _ if bench.test() => OPERATIONS_IN_TEST,
        Durability::Buffered => bench.profile().choose(OPERATIONS_IN_QUICK, OPERATIONS, OPERATIONS),
        Durability::Synced => SYNCED,
    };
    let operations = each * workers.max(least);
    let Bench { load: criterion, latency, runtime, memories, tiered, .. } = bench;
    let mut load = Lazy::new(|| tiered.get_or_init(|| Tiered::new(*memories)).load(mix, durability));
    let mut point = Point { workers, elapsed: Duration::ZERO, latencies: Latencies::new() };
    let mut warm_up = WarmUp::default();
    let mut group = criterion.benchmark_group(format!("{name}/throughput"));
    group.throughput(Throughput::Elements(operations as u64));
    // Linear sampling would have the store grow by more with every sample.
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
        let load = load.get();
        bencher.iter_custom(|iterations| {
            let finished = load.closed(runtime, iterations as usize * operations, workers);
            if warm_up.was_all(iterations) {
                point.elapsed = Duration::ZERO;
                point.latencies.clear();
            }
            point.elapsed += finished.elapsed;
            point.latencies.merge(&finished.latencies);
            finished.elapsed
        });
        latency.recorder.note(&format!("{name}/throughput/{workers}"));
    });
    group.finish();
    if let Some(load) = load.into_value() {
        load.assert_done();
    }
    Some(point).filter(|point| !latency.arguments.test && !point.latencies.is_empty())
}

/// Prints rates and latencies, and what more workers bring.
fn print(series: &[Series]) {
    if series.iter().all(|series| series.points.is_empty()) {
        return;
    }
    println!("Closed loop (a stall is asked less often here: latencies under load are in the open loop)");
    println!("{:<14}{:>8}{:>10}{:>8}  latency", "", "workers", "ops/s", "times");
    for Series { name, points } in series {
        let first = points.first().map_or(1.0, Point::rate);
        for point in points {
            let Point { workers, latencies, .. } = point;
            let (rate, times) = (point.rate(), point.rate() / first);
            println!(
                "{name:<14}{workers:>8}{rate:>10.0}{times:>8.2}  P50 {:.2?}  P99 {:.2?}",
                latencies.p50(),
                latencies.p99()
            );
        }
    }
    print_group_commit(series);
    println!();
}

/// Prints the gain by group commit: the stores of many writers over those of one in the same time,
/// with and without waiting for the disk.
fn print_group_commit(series: &[Series]) {
    for Series { name, points } in series.iter().filter(|series| series.name.starts_with("store")) {
        if let [few, .., many] = points.as_slice() {
            let times = many.rate() / few.rate();
            println!(
                "group commit, {name}: {} writers store {times:.1} times as much as {}",
                many.workers, few.workers
            );
        }
    }
}
