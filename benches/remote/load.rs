//! Stores by many workers at a time: they share the objects that are written.

use std::time::Duration;

use criterion::{BenchmarkId, SamplingMode, Throughput};
use mnemocore::harness::load::{Operation, WallClock, closed};
use mnemocore::{AsyncEngine, NewMemory};

use crate::Bench;
use crate::common::{Fixture, Stock, endless_texts};
use crate::elsewhere::{Opened, Remote, Spent, print};

/// Operations of each worker in one iteration.
const OPERATIONS: usize = 10;

/// Measures `store_<tier>/throughput/<workers>_<ms>`.
pub(crate) fn measure(bench: &mut Bench, remote: &dyn Remote, delay: Duration) {
    let stock = Stock::new(remote.tier(), bench.memories());
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("threads for a runtime");
    let mut texts = endless_texts();
    let mut opened = Fixture::new(|| {
        let Opened { engine, traffic, files, .. } = remote.open("load", stock, delay);
        (AsyncEngine::from(engine), traffic, files)
    });
    let group = format!("store_{}/throughput", remote.name());
    let mut spent = Vec::new();
    for workers in bench.workers.clone() {
        let each = if bench.test() { 1 } else { OPERATIONS };
        let count = workers * each;
        let case = format!("{workers}_{}", delay.as_millis());
        let (mut before, mut done) = (None, 0);
        let mut measured = bench.slow.benchmark_group(&group);
        measured.throughput(Throughput::Elements(count as u64));
        measured.sampling_mode(SamplingMode::Flat);
        measured.bench_function(BenchmarkId::from_parameter(&case), |bencher| {
            let (engine, traffic, _) = opened.get();
            before.get_or_insert_with(|| traffic(engine.blocking()));
            bencher.iter_custom(|iterations| {
                let count = iterations as usize * count;
                let store = |text| Operation::Store(NewMemory::new(text));
                let operations = texts.by_ref().take(count).map(store).collect();
                let clock = WallClock::start();
                let finished = runtime.block_on(closed::run(engine, operations, workers, &clock));
                let finished = finished.unwrap_or_else(|error| panic!("under load: {error}"));
                assert_eq!(finished.operations, count as u64, "operations done");
                done += count;
                finished.elapsed
            });
            bench.latency.recorder.note(&format!("{group}/{case}"), None);
        });
        measured.finish();
        if let Some(before) = before {
            let (engine, traffic, _) = opened.get();
            let after = traffic(engine.blocking());
            spent.push(Spent::new(format!("store, {workers} workers, {delay:?}"), before, after, done));
        }
    }
    print(&spent);
}
