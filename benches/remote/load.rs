//! Many workers at a time, and arrivals at a fixed rate. Concurrent operations share requests to
//! the place.

use std::time::Duration;

use criterion::{BenchmarkId, SamplingMode, Throughput};
use mnemocore::{AsyncEngine, Engine};
use mnemocore_suite::fixture::endless_texts;
use mnemocore_suite::load::Operation;
use mnemocore_suite::load::mix::{Mix, Traffic};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Bench;
use crate::backend::{Opened, Remote, Spent, print};
use crate::common::{Fixture, Lazy, Sampler, run_closed, run_open};

/// The mixes, on one store for each delay. The mix that stores most is last, because the store
/// grows by it.
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

/// Seed of the operations of a load. The texts of the mix at position `n` of [`MIXES`] use `SEED +
/// n`.
const SEED: u64 = 12;

/// Measures `<mix>_<tier>/throughput/<workers>_<ms>` and
/// `<mix>_<tier>_open/p99/200_per_s_<ms>`.
pub(crate) fn measure(bench: &mut Bench, remote: &dyn Remote, delay: Duration) {
    let fixture = Fixture::new(remote.tier(), bench.memories());
    let mut loaded = Lazy::new(|| Loaded::new(remote.fill_and_open("load", fixture, delay)));
    let (mut spent, mut stored) = (Vec::new(), 0);
    for (mix, seed) in MIXES.into_iter().zip(SEED..) {
        let texts = move || Box::new(endless_texts(seed)) as Texts;
        let mut load = Load {
            name: format!("{}_{}", mix.name, remote.name()),
            delay,
            operations: Lazy::new(move || Traffic::new(mix, fixture.texts(), texts(), SEED)),
        };
        for workers in bench.workers.clone() {
            spent.extend(load.closed(bench, &mut loaded, workers));
        }
        load.open(bench, &mut loaded);
        stored += load.operations.into_value().map_or(0, |asked| asked.stored() - fixture.memories);
    }
    if let Some(loaded) = loaded.into_value() {
        let total = loaded.engine.blocking().stats().total();
        assert_eq!(total, fixture.memories + stored, "memories after the load");
    }
    print(&spent);
}

type Texts = Box<dyn Iterator<Item = String>>;

/// A store under load.
struct Loaded {
    engine: AsyncEngine,
    traffic: Box<dyn Fn(&Engine) -> mnemocore::Traffic>,
    runtime: Runtime,
    _files: TempDir,
}

impl Loaded {
    fn new(Opened { engine, traffic, files, .. }: Opened) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().build();
        let runtime = runtime.expect("threads for a runtime");
        Self { engine: engine.into(), traffic, runtime, _files: files }
    }

    fn traffic(&self) -> mnemocore::Traffic {
        (self.traffic)(self.engine.blocking())
    }
}

/// One mix of operations, behind a network.
struct Load<F> {
    /// Of mix and tier.
    name: String,
    delay: Duration,
    operations: Lazy<Traffic<Texts>, F>,
}

impl<F: FnOnce() -> Traffic<Texts>> Load<F> {
    /// So many workers, each of which waits for its answers; what an operation asked for,
    /// `None` if the filter left this out.
    fn closed(
        &mut self,
        bench: &mut Bench,
        loaded: &mut Lazy<Loaded, impl FnOnce() -> Loaded>,
        workers: usize,
    ) -> Option<Spent> {
        let count = workers * if bench.test() { OPERATIONS_IN_TEST } else { OPERATIONS };
        let (group, delay) = (format!("{}/throughput", self.name), self.delay);
        let case = format!("{workers}_{}", delay.as_millis());
        let (mut before, mut asked) = (None, 0);
        let mut measured = bench.slow.benchmark_group(&group);
        measured.throughput(Throughput::Elements(count as u64));
        measured.sampling_mode(SamplingMode::Flat);
        measured.bench_function(BenchmarkId::from_parameter(&case), |bencher| {
            let loaded = loaded.get();
            before.get_or_insert_with(|| loaded.traffic());
            bencher.iter_custom(|iterations| {
                let operations = self.next(iterations as usize * count);
                asked += operations.len();
                run_closed(&loaded.runtime, &loaded.engine, operations, workers).elapsed
            });
            bench.latency.recorder.note(&format!("{group}/{case}"));
        });
        measured.finish();
        let what = format!("{}, {workers} workers, {delay:?}", self.name);
        before.map(|before| Spent::new(what, before, loaded.get().traffic(), asked))
    }

    /// Arrivals at a fixed rate, whatever becomes of the earlier ones.
    fn open(&mut self, bench: &mut Bench, loaded: &mut Lazy<Loaded, impl FnOnce() -> Loaded>) {
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
                    latencies.merge(&run_open(&loaded.runtime, &loaded.engine, operations, RATE).latencies);
                })
            });
        });
        measured.finish();
        bench.latency.note_p99(&format!("{group}/{case}"), sampler);
    }

    fn next(&mut self, count: usize) -> Vec<Operation> {
        self.operations.get().take(count).collect()
    }
}
