//! Tiers on other machines: COLD and the log in object storage, WARM in PostgreSQL. Measures
//! latency, throughput, footprint, requests, and the time that a reader needs to its first answer.
//!
//! `MNEMO_BUCKET` is the URL of a folder to work in; for the environment that it needs, see
//! `Bucket`. The bench deletes its objects at the end. Without `MNEMO_BUCKET`, the storage is a
//! folder on this disk. The names tell which: `cold-s3`, `cold-gs`, `cold-az` or `cold-file`. With
//! the feature `postgres`, `MNEMO_POSTGRES` names an empty database with pgvector, as `host=...
//! port=... dbname=...`. Without it, the bench skips `warm-postgres`. Each request is delayed by 0,
//! 1 and 20 ms, as by a network; the last number of a name is the delay in milliseconds.
//!
//! - `store_cold-s3/wall/10000_20`, `store_cold-s3/p99/…`, `recall_warm-postgres/…`,
//!   `synthesize_…`, `get_…`: as in the bench `latency`; a sample of a P99 with 20 ms is of
//!   100 operations;
//! - `recall_cold-s3/throughput/50_20`, `mixed_b_…`, `store_…`: with so many workers, in a
//!   closed loop; `recall_cold-s3_open/p99/200_per_s_20`, …: 200 arrive in a second. For each
//!   delay it is one store, all of whose memories are in that tier, and that grows by what
//!   is stored: a filter changes what the later ones find;
//! - `cold_start_cold-s3/wall/100000_20`: from opening a snapshot on a machine that
//!   has nothing of it to the end of the first recall;
//! - `footprint_cold-s3/ram/100000`, `footprint_rss_…` and `/disk/100000`: a process with the
//!   store open, as in the bench `footprint`, and what the bucket or the table holds;
//! - a table of requests and bytes an operation, and the targets.

#[path = "remote/backend.rs"]
mod backend;
#[path = "remote/bucket.rs"]
mod bucket;
mod common;
#[cfg(feature = "postgres")]
#[path = "../tests/common/database.rs"]
mod database;
#[path = "remote/delayed.rs"]
mod delayed;
#[path = "remote/footprint.rs"]
mod footprint;
#[path = "remote/load.rs"]
mod load;
#[cfg(feature = "postgres")]
#[path = "remote/postgres.rs"]
mod postgres;
#[cfg(feature = "postgres")]
#[path = "../tests/common/proxy.rs"]
mod proxy;
#[path = "remote/reader.rs"]
mod reader;

use std::hint::black_box;
use std::iter::Cycle;
use std::time::Duration;

use common::{Bytes, Fixture, Latency, Lazy, Sampling, criterion, new_texts};
use criterion::Criterion;
use criterion::measurement::WallTime;
use mnemocore::{MemoryId, Query, Traffic};
use mnemocore_suite::footprint_process;

use backend::{Opened, Remote, Spent};
use bucket::Place;

/// The delays added to each request, as by a network.
const DELAYS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(20)];

/// Distinct queries, asked in turn.
const QUERIES: usize = 200;
/// Distinct texts, stored in turn.
const TEXTS: usize = 20_000;
/// A step through all memories, whose number it shares no factor with.
const PRIME: usize = 7_919;

/// Operations whose requests are counted.
const COUNTED: usize = 100;

/// Operations in one sample of a P99 where each of them may wait for 20 ms: a thousand
/// would take minutes.
const FEW: u64 = 100;

fn main() {
    footprint_process::serve(None);
    // Read first: see `Recorder::new`.
    let place = Place::from_env();
    #[cfg(feature = "postgres")]
    let database = postgres::Postgres::from_env();
    let mut bench = Bench::from_args();
    tier(&mut bench, &place);
    reader::measure(&mut bench, &place);
    place.clear();
    #[cfg(feature = "postgres")]
    if let Some(database) = database {
        tier(&mut bench, &database);
        database.clear();
    }
    bench.latency.finish();
}

/// Measures the footprint, and then all verbs, one at a time and under load, with each delay.
fn tier(bench: &mut Bench, remote: &dyn Remote) {
    footprint::measure(bench, remote);
    let mut spent = Vec::new();
    for delay in DELAYS {
        spent.extend(latencies(bench, remote, delay));
        load::measure(bench, remote, delay);
    }
    backend::print(&spent);
}

/// The state that all parts of this bench share.
struct Bench {
    latency: Latency,
    /// For what takes long, with few samples.
    slow: Criterion<WallTime>,
    bytes: Criterion<Bytes>,
    workers: Vec<usize>,
    /// The numbers of memories to measure the footprint with.
    scales: Vec<usize>,
}

impl Bench {
    fn from_args() -> Self {
        let (profile, arguments) = common::input();
        let scales = common::scales_up_to(profile.choose(1_000, 100_000, 100_000));
        let scales = if arguments.test { vec![100] } else { scales };
        let workers = common::workers();
        let latency = Latency::from_args();
        let sampling = Sampling {
            samples: 10,
            warm_up: Duration::from_millis(1),
            measurement: Duration::from_millis(latency.profile.choose(200, 2_000, 4_000)),
        };
        let slow = criterion(WallTime, sampling, latency.profile, &latency.arguments);
        let known = criterion(Bytes, Sampling::known(), latency.profile, &latency.arguments);
        Self { latency, slow, bytes: known.without_plots(), workers, scales }
    }

    fn test(&self) -> bool {
        self.latency.arguments.test
    }

    /// The number of memories for latency and load.
    fn memories(&self) -> usize {
        if self.test() { 100 } else { self.latency.profile.choose(1_000, 10_000, 100_000) }
    }
}

/// A verb, by the name it has in that of a benchmark.
type Verb = (&'static str, fn(&mut Asked));

/// Stores last: what they add is archived meanwhile.
const VERBS: [Verb; 4] = [
    ("recall", Asked::recall),
    ("synthesize", Asked::synthesize),
    ("get", Asked::get),
    ("store", Asked::store),
];

/// The verbs, one at a time; what each asked of the place.
fn latencies(bench: &mut Bench, remote: &dyn Remote, delay: Duration) -> Vec<Spent> {
    let fixture = Fixture::new(remote.tier(), bench.memories());
    let case = format!("{}_{}", fixture.memories, delay.as_millis());
    let mut asked = Lazy::new(|| Asked::new(remote.fill_and_open("verbs", fixture, delay)));
    let [.., far] = DELAYS;
    bench.latency.most_operations = if delay < far { u64::MAX } else { FEW };
    let mut spent = Vec::new();
    for (verb, operation) in VERBS {
        let group = format!("{verb}_{}", remote.name());
        let latencies = bench.latency.bench(&group, &case, || asked.get(), |asked| operation(asked));
        if latencies.is_some() && delay.is_zero() {
            spent.push(asked.get().count(verb, operation));
        }
    }
    spent
}

/// A store, and what to ask it for, in turn.
struct Asked {
    opened: Opened,
    queries: Cycle<std::vec::IntoIter<Query>>,
    texts: Cycle<std::vec::IntoIter<String>>,
    at: usize,
}

impl Asked {
    fn new(opened: Opened) -> Self {
        opened.fixture.check(&opened.engine).unwrap_or_else(|error| panic!("{error}"));
        let queries = opened.fixture.queries(&opened.engine, QUERIES).expect("readable memories");
        let queries: Vec<Query> = queries.into_iter().map(|(query, _)| query).collect();
        let texts = new_texts(TEXTS).into_iter().cycle();
        Self { opened, queries: queries.into_iter().cycle(), texts, at: 0 }
    }

    fn recall(&mut self) {
        let query = self.queries.next().expect("a cycle");
        assert!(!self.opened.engine.recall(&query).expect("a recall").hits.is_empty(), "hits");
    }

    fn synthesize(&mut self) {
        let query = self.queries.next().expect("a cycle");
        black_box(self.opened.engine.synthesize(&query).expect("a synthesis"));
    }

    fn get(&mut self) {
        self.at = (self.at + PRIME) % self.opened.fixture.memories;
        let memory = self.opened.engine.get(MemoryId(self.at as u64)).expect("a readable memory");
        black_box(memory.expect("a memory"));
    }

    fn store(&mut self) {
        let text = self.texts.next().expect("a cycle");
        black_box(self.opened.engine.store(text).expect("a store"));
    }

    /// Counts the requests of [`COUNTED`] operations, one after the other.
    fn count(&mut self, verb: &'static str, operation: fn(&mut Self)) -> Spent {
        let before = self.traffic();
        (0..COUNTED).for_each(|_| operation(self));
        Spent::new(verb, before, self.traffic(), COUNTED)
    }

    fn traffic(&self) -> Traffic {
        (self.opened.traffic)(&self.opened.engine)
    }
}
