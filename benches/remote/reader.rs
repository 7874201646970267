//! A reader on a machine that has nothing of the store: how long, and how many
//! round trips, to its first answer.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, SamplingMode};
use mnemocore::{Engine, Query, TierKind};
use tempfile::TempDir;

use crate::backend::{Remote as _, Spent, print};
use crate::bucket::{Place, settings};
use crate::common::{Fixture, Lazy, temporary_folder};
use crate::{Bench, DELAYS};

/// The most round trips from opening to the first answer.
const ROUND_TRIPS: f64 = 30.0;

/// A store as the default settings leave it, closed.
struct Closed<'p> {
    place: &'p Place,
    fixture: Fixture,
    query: Query,
}

/// Measures the cold start of readers.
pub(crate) fn measure(bench: &mut Bench, place: &Place) {
    let memories = if bench.test() { 100 } else { bench.latency.profile.choose(5_000, 100_000, 100_000) };
    let fixture = Fixture::new(TierKind::Cold, memories);
    let mut closed = Lazy::new(|| Closed::new(place, fixture));
    let group = format!("cold_start_{}/wall", place.tier);
    let mut spent = Vec::new();
    for delay in DELAYS {
        let case = format!("{memories}_{}", delay.as_millis());
        let mut measured = bench.slow.benchmark_group(&group);
        measured.sampling_mode(SamplingMode::Flat);
        measured.bench_function(BenchmarkId::from_parameter(&case), |bencher| {
            let closed = closed.get();
            bencher.iter_custom(|iterations| {
                let some = (0..iterations).map(|_| {
                    let (elapsed, asked) = closed.open(delay);
                    spent = vec![asked];
                    elapsed
                });
                some.sum()
            });
            bench.latency.recorder.note(&format!("{group}/{case}"));
        });
        measured.finish();
    }
    if let [asked] = &spent[..] {
        // One after another at worst.
        let (most, measured) = (asked.requests, format!("at most {} round trips", asked.requests));
        let name = format!("a reader's first answer, {memories} memories in {}", place.tier);
        bench.latency.recorder.target(name, measured, format!("at most {ROUND_TRIPS}"), most <= ROUND_TRIPS);
    }
    if let Some(closed) = closed.into_value() {
        let cache = temporary_folder();
        spent.push(closed.session("a session: open, recall, store, close", &cache));
        spent.push(closed.session("the next one, with the copy", &cache));
        print(&spent);
    }
}

impl<'p> Closed<'p> {
    fn new(place: &'p Place, fixture: Fixture) -> Self {
        let filled = place.fill("reader", fixture);
        let bucket = place.bucket("reader", Duration::ZERO);
        let engine = Engine::open_snapshot(bucket, filled.config).expect("a store");
        let (query, _) = fixture.queries(&engine, 1).expect("readable memories").pop().expect("a query");
        Self { place, fixture, query }
    }

    /// Counts the requests of an agent's session: open for writing, recall, store, close.
    fn session(&self, what: &str, cache: &TempDir) -> Spent {
        let bucket = self.place.bucket("reader", Duration::ZERO);
        let engine = Engine::open_bucket(bucket.clone(), settings(self.fixture, cache)).expect("a store");
        let recall = engine.recall(self.query.clone().touch(true)).expect("a recall");
        assert!(!recall.hits.is_empty(), "hits of the first recall");
        engine.store("The boat to the island leaves at noon").expect("a store");
        engine.close().expect("a bucket that can be written to");
        Spent::new(what, Default::default(), bucket.traffic(), 1)
    }

    /// Opens a snapshot and recalls; how long that took, and what it asked for.
    fn open(&self, delay: Duration) -> (Duration, Spent) {
        let (bucket, cache) = (self.place.bucket("reader", delay), temporary_folder());
        let config = self.fixture.config().cache_folder(cache.path());
        let started = Instant::now();
        let engine = Engine::open_snapshot(bucket.clone(), config).expect("a store that can be opened");
        let recall = engine.recall(&self.query).expect("a recall");
        let elapsed = started.elapsed();
        assert!(!recall.hits.is_empty(), "hits of the first recall");
        assert_eq!(engine.stats().total(), self.fixture.memories, "memories after opening");
        let what = format!("open a snapshot of {}, recall", self.fixture.memories);
        (elapsed, Spent::new(what, Default::default(), bucket.traffic(), 1))
    }
}
