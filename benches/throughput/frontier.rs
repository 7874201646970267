//! The quality of a search by vector against its speed: recall@10, with the exact scan as oracle, and
//! queries per second, for several limits of the search. A search by text has no limits: it is exact.

use std::cell::OnceCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkId, Throughput};
use criterion_gate::profile::Profile;
use criterion_gate::results::Kind;
use mnemocore::{CascadeLimits, Config, Engine, Method, Query, Recall, TierKind};
use mnemocore_suite::quality::mean;
use tempfile::TempDir;

use crate::Bench;
use crate::common::{Fixture, Kept as _, Sampling, criterion, recall_of};

/// The name of the group of benchmarks.
const NAME: &str = "frontier_vector";
/// Hits that are asked for.
const TOP: usize = 10;

/// Limits of a search by sketches; the first are the default.
fn limits() -> Vec<CascadeLimits> {
    let default = CascadeLimits::default();
    let candidates = [64, 256, 1_024, 16_384].map(|candidates| CascadeLimits { candidates, ..default });
    let z = [0.0, 1.0, 3.0].map(|z| CascadeLimits { z, ..default });
    [&[default], &candidates[..], &z].concat()
}

fn size(bench: &Bench) -> usize {
    if bench.test() { 300 } else { bench.profile().choose(2_000, 50_000, 100_000) }
}

/// A few short samples for each of many settings.
fn sampling(profile: Profile) -> Sampling {
    let ms = |quick, default, full| Duration::from_millis(profile.choose(quick, default, full));
    Sampling {
        samples: profile.choose(10, 10, 20),
        warm_up: ms(20, 100, 500),
        measurement: ms(100, 500, 2_000),
    }
}

/// One setting's place.
struct Point {
    name: String,
    recall: f64,
    rate: f64,
}

/// Measures and prints `frontier_vector`.
pub(crate) fn measure(bench: &mut Bench) {
    let (profile, test) = (bench.profile(), bench.test());
    let fixture = Fixture::with_vectors(TierKind::Hot, size(bench));
    let full_name = |kind: Kind, setting: &str| format!("{NAME}/{}/{setting}", kind.as_str());
    let mut limits = limits();
    limits.truncate(if test { 2 } else { limits.len() });
    let oracle = OnceCell::new();
    let count = if test { 5 } else { profile.choose(100, 100, 500) };
    let new_oracle = || Oracle::new(fixture, count);
    let mut criterion = criterion(WallTime, sampling(profile), profile, &bench.latency.arguments);
    let mut group = criterion.benchmark_group(format!("{NAME}/throughput"));
    group.throughput(Throughput::Elements(count as u64));
    let mut points = Vec::new();
    for limits in limits {
        let setting = format!("c{}_z{}", limits.candidates, limits.z);
        let engine = OnceCell::new();
        let open = || {
            let oracle = oracle.get_or_init(new_oracle);
            (oracle, engine.get_or_init(|| oracle.open(fixture.config().cascade_limits(limits))))
        };
        let recall = bench.admits(&full_name(Kind::Quality, &setting)).then(|| {
            let (oracle, engine) = open();
            oracle.recall(engine)
        });
        let (mut asked, mut elapsed) = (0, Duration::ZERO);
        group.bench_function(BenchmarkId::from_parameter(&setting), |bencher| {
            let (oracle, engine) = open();
            bencher.iter_custom(|iterations| {
                let sample = (0..iterations).map(|_| oracle.time(engine)).sum();
                asked += iterations as usize * oracle.queries.len();
                elapsed += sample;
                sample
            });
            bench.latency.recorder.note(&full_name(Kind::Throughput, &setting));
        });
        if let Some(recall) = recall.filter(|_| !test) {
            bench.latency.recorder.note_value(&full_name(Kind::Quality, &setting), Kind::Quality, recall);
            points.push(Point { name: setting, recall, rate: asked as f64 / elapsed.as_secs_f64() });
        }
    }
    group.finish();
    if !points.is_empty() {
        print(fixture.memories, &points);
    }
}

/// A store, what it is asked, and what an exact scan of it answers.
struct Oracle {
    folder: TempDir,
    queries: Vec<Query>,
    exact: Vec<Recall>,
}

impl Oracle {
    fn new(fixture: Fixture, count: usize) -> Self {
        let store = fixture.open();
        let queries: Vec<Query> =
            store.queries(count).into_iter().map(|(query, _)| query.limit(TOP)).collect();
        let exact = ask(&store.engine, queries.iter().map(|query| query.clone().method(Method::Exact)));
        Self { folder: store.close(), queries, exact }
    }

    /// Opened and merged, as every other store that is searched: limits of a search hold
    /// for each segment.
    fn open(&self, config: Config) -> Engine {
        let engine = Engine::open(self.folder.path(), config).expect("a store that can be opened");
        engine.consolidate().expect("a consolidation");
        engine
    }

    /// The mean recall@10 of a search.
    fn recall(&self, engine: &Engine) -> f64 {
        let found = ask(engine, self.queries.iter().cloned());
        let pairs = found.iter().zip(&self.exact);
        let recalls: Vec<f64> = pairs.filter_map(|(found, exact)| recall_of(found, exact, TOP)).collect();
        mean(&recalls).expect("queries with hits")
    }

    /// The time of a search for all queries.
    fn time(&self, engine: &Engine) -> Duration {
        let queries = self.queries.clone();
        let started = Instant::now();
        drop(black_box(ask(engine, queries.into_iter())));
        started.elapsed()
    }
}

fn ask(engine: &Engine, queries: impl Iterator<Item = Query>) -> Vec<Recall> {
    queries.map(|query| engine.recall(&query).expect("a recall")).collect()
}

/// Prints them, the quickest last; a star stands by those that no other one beats
/// in both.
fn print(memories: usize, points: &[Point]) {
    println!("{NAME}, {memories} memories, one thread");
    println!("{:<22}{:>10}{:>12}", "limits", "recall@10", "queries/s");
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    for point in sorted {
        let beaten = points.iter().any(|other| {
            other.recall >= point.recall
                && other.rate >= point.rate
                && (other.recall > point.recall || other.rate > point.rate)
        });
        let star = if beaten { "" } else { " *" };
        println!("{:<22}{:>10.4}{:>12.0}{star}", point.name, point.recall, point.rate);
    }
    println!();
}
