//! Cold start: from opening a store to the end of the first recall.

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::BenchmarkId;
use criterion::measurement::WallTime;
use criterion_gate::profile::Profile;
use mnemocore::{Config, Engine, Query, TierKind};
use tempfile::TempDir;

use crate::Bench;
use crate::common::{Fixture, Kept as _, Lazy, Sampling, criterion};

/// As few samples as Criterion takes: with many memories one takes seconds.
const SAMPLING: Sampling =
    Sampling { samples: 10, warm_up: Duration::from_millis(100), measurement: Duration::from_millis(500) };

/// Measures `cold_start/wall/<memories>`: a new engine each time, with the default
/// capacities, on files that are in the page cache.
pub(crate) fn measure(bench: &mut Bench) {
    let sizes: &[usize] = match bench.profile() {
        _ if bench.test() => &[300],
        Profile::Quick => &[1_000, 10_000],
        Profile::Default => &[1_000, 100_000],
        Profile::Full => &[1_000, 100_000, 1_000_000],
    };
    let latency = &mut bench.latency;
    let mut criterion = criterion(WallTime, SAMPLING, latency.profile, &latency.arguments);
    let mut group = criterion.benchmark_group("cold_start/wall");
    for &memories in sizes {
        let mut closed = Lazy::new(|| Closed::new(memories));
        group.bench_function(BenchmarkId::from_parameter(memories), |bencher| {
            let closed = closed.get();
            bencher.iter_custom(|iterations| (0..iterations).map(|_| closed.open()).sum());
            latency.recorder.note(&format!("cold_start/wall/{memories}"));
        });
    }
    group.finish();
}

/// A store that no engine has open.
struct Closed {
    folder: TempDir,
    memories: usize,
    query: Query,
}

impl Closed {
    /// One whose memories are where the default capacities put them, and which was
    /// opened since: its files are complete and in the page cache.
    fn new(memories: usize) -> Self {
        let store = Fixture::new(TierKind::Hot, memories).open_with(config());
        store.engine.consolidate().expect("a consolidation");
        let (query, _) = store.queries(1).pop().expect("a query");
        let closed = Self { folder: store.close(), memories, query };
        closed.open();
        closed
    }

    fn open(&self) -> Duration {
        let path: &Path = self.folder.path();
        let started = Instant::now();
        let engine = Engine::open(path, config()).expect("a store that can be opened");
        let recall = engine.recall(&self.query).expect("a recall");
        let elapsed = started.elapsed();
        assert!(!recall.hits.is_empty(), "hits of the first recall");
        assert_eq!(engine.stats().total(), self.memories, "memories after opening");
        elapsed
    }
}

/// As by default, but for the age of the memories: they would all sink.
fn config() -> Config {
    Config::default().decay_per_day(0.0).background(false)
}
