//! Many workers at a time, and arrivals at a fixed rate: those who come together share
//! what is asked of the place.

use std::time::Duration;

use criterion::{BenchmarkId, SamplingMode, Throughput};
use mnemocore::harness::load::mix::{Mix, Traffic};
use mnemocore::harness::load::{Finished, Operation, WallClock, closed, open};
use mnemocore::{AsyncEngine, Engine, Error, remote};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Bench;
use crate::common::{Fixture, Sampler, Stock, endless_texts};
use crate::elsewhere::{Opened, Remote, Spent, print};

/// What is asked; last what stores most, as the store grows by it.
const MIXES: [Mix; 3] = [Mix::RECALL, Mix::B, Mix::STORE];

/// Operations of each worker in one iteration.
const OPERATIONS: usize = 10;
/// The same where the benchmark itself is tested.
const OPERATIONS_IN_TEST: usize = 1;

/// Arrivals per second in the open loop, with which a tier 20 ms away keeps up, and how
/// many make a sample.
const RATE: f64 = 200.0;
const ARRIVALS: u64 = 100;
const ARRIVALS_IN_TEST: u64 = 5;

/// What the operations of a load follow from.
const SEED: u64 = 12;

/// Measures `<mix>_<tier>/throughput/<workers>_<ms>` and
/// `<mix>_<tier>_open/p99/200_per_s_<ms>`.
pub(crate) fn measure(bench: &mut Bench, remote: &dyn Remote, delay: Duration) {
    let stock = Stock::new(remote.tier(), bench.memories());
    let purpose = format!("load-{}", delay.as_millis());
    let mut loaded = Fixture::new(|| Loaded::new(remote.open(remote.fill(&purpose, stock), delay)));
    let mut spent = Vec::new();
    for mix in MIXES {
        let mut load = Load {
            name: format!("{}_{}", mix.name, remote.name()),
            delay,
            operations: Traffic::new(mix, stock.texts(), Box::new(endless_texts()), SEED),
        };
        for workers in bench.workers.clone() {
            spent.extend(load.closed(bench, &mut loaded, workers));
        }
        load.open(bench, &mut loaded);
    }
    print(&spent);
}

/// A store under load.
struct Loaded {
    engine: AsyncEngine,
    traffic: Box<dyn Fn(&Engine) -> remote::Traffic>,
    runtime: Runtime,
    _files: TempDir,
}

impl Loaded {
    fn new(Opened { engine, traffic, files, .. }: Opened) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().build();
        let runtime = runtime.expect("threads for a runtime");
        Self { engine: engine.into(), traffic, runtime, _files: files }
    }

    fn traffic(&self) -> remote::Traffic {
        (self.traffic)(self.engine.blocking())
    }
}

/// One mix of operations, behind a network.
struct Load {
    /// Of mix and tier.
    name: String,
    delay: Duration,
    operations: Traffic<Box<dyn Iterator<Item = String>>>,
}

impl Load {
    /// So many workers, each of which waits for its answers; what an operation asked for,
    /// `None` if the filter left this out.
    fn closed(
        &mut self,
        bench: &mut Bench,
        loaded: &mut Fixture<Loaded, impl FnOnce() -> Loaded>,
        workers: usize,
    ) -> Option<Spent> {
        let count = workers * if bench.test() { OPERATIONS_IN_TEST } else { OPERATIONS };
        let (group, delay) = (format!("{}/throughput", self.name), self.delay);
        let case = format!("{workers}_{}", delay.as_millis());
        let (mut before, mut done) = (None, 0);
        let mut measured = bench.slow.benchmark_group(&group);
        measured.throughput(Throughput::Elements(count as u64));
        measured.sampling_mode(SamplingMode::Flat);
        measured.bench_function(BenchmarkId::from_parameter(&case), |bencher| {
            let loaded = loaded.get();
            before.get_or_insert_with(|| loaded.traffic());
            bencher.iter_custom(|iterations| {
                let operations = self.next(iterations as usize * count);
                done += operations.len();
                let (many, clock) = (operations.len(), WallClock::start());
                let run = closed::run(&loaded.engine, operations, workers, &clock);
                check(loaded.runtime.block_on(run), many).elapsed
            });
            bench.latency.recorder.note(&format!("{group}/{case}"), None);
        });
        measured.finish();
        let what = format!("{}, {workers} workers, {delay:?}", self.name);
        before.map(|before| Spent::new(what, before, loaded.get().traffic(), done))
    }

    /// Arrivals at a fixed rate, whatever becomes of the earlier ones.
    fn open(&mut self, bench: &mut Bench, loaded: &mut Fixture<Loaded, impl FnOnce() -> Loaded>) {
        let mut sampler = Sampler::new(if bench.test() { ARRIVALS_IN_TEST } else { ARRIVALS });
        let (group, case) =
            (format!("{}_open/p99", self.name), format!("{RATE}_per_s_{}", self.delay.as_millis()));
        let mut measured = bench.latency.p99().benchmark_group(&group);
        measured.sampling_mode(SamplingMode::Flat);
        measured.bench_function(BenchmarkId::from_parameter(&case), |bencher| {
            let loaded = loaded.get();
            bencher.iter_custom(|iterations| {
                sampler.sample(iterations, |count, latencies| {
                    let operations = self.next(count as usize);
                    let clock = WallClock::start();
                    let run = open::run(&loaded.engine, operations, RATE, &clock);
                    latencies.merge(&check(loaded.runtime.block_on(run), count as usize).latencies);
                })
            });
        });
        measured.finish();
        bench.latency.note_p99(&format!("{group}/{case}"), sampler);
    }

    fn next(&mut self, count: usize) -> Vec<Operation> {
        self.operations.by_ref().take(count).collect()
    }
}

/// # Panics
/// If an operation failed or was left out: then there is nothing to measure.
fn check(finished: Result<Finished, Error>, count: usize) -> Finished {
    let finished = finished.unwrap_or_else(|error| panic!("under load: {error}"));
    assert_eq!(finished.operations, count as u64, "operations done");
    finished
}
