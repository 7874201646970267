//! Store, recall and synthesize in HOT, WARM and COLD: wall time, and P99 of
//! single operations.
//!
//! `recall_hot/p99/5000` is the P99 of recalls among 5,000 memories that are all
//! in HOT. Recalls and syntheses use queries that share 60 % of their terms with a
//! stored memory. Stores go to disk, unsynced (`Durability::Buffered`), while the
//! background thread does its work, as in a running agent:
//!
//! - `store_hot`: HOT is full, so that for every store another memory moves to WARM, up to 512 at a time;
//! - `store_warm`: memories enter WARM, as there is no HOT;
//! - `store_cold`: HOT and WARM have no room, so the background thread archives memories while the
//!   bench stores more. The time of a store includes that load;
//! - `get`: a memory by its identifier, its text decompressed where it is in COLD;
//! - `archive`: a batch of 1,024 until all of it is in COLD, wall time only.
//!
//! After a complete run it prints how the engine stands to its targets, and with
//! the filter `targets` nothing but that.

mod common;
#[path = "latency/targets.rs"]
mod targets;

use std::cell::OnceCell;
use std::hint::black_box;
use std::iter::Cycle;
use std::time::{Duration, Instant};

use common::{Fixture, Kept as _, Latency, Lazy, Store, new_texts, temporary_folder};
use criterion::{BenchmarkId, Throughput};
use criterion_gate::profile::Profile;
use mnemocore::{Engine, MemoryId, Method, NewMemory, Query, TierKind};
use mnemocore_suite::benchmark::{Benchmark, Failure};

/// Distinct queries, asked in turn.
const QUERIES: usize = 500;
/// Distinct texts, stored in turn.
const TEXTS: usize = 20_000;
/// A step through all memories of any fixture, whose numbers it shares no factor with.
const PRIME: usize = 7_919;
/// A large HOT holds so many fewer at most, because memories leave it together.
const LEAVING_TOGETHER: usize = 512;
/// Memories that are archived together.
const ARCHIVED: usize = 1_024;

fn main() {
    // Read before the recorder is made, and again when it is used: meanwhile it takes no memory.
    targets::check_data_set();
    let mut latency = Latency::from_args();
    let mut complete = !latency.arguments.test && !latency.arguments.list;
    for (tier, sizes) in sizes(latency.profile, latency.arguments.test) {
        for memories in sizes {
            complete &= ask(&mut latency, Fixture::new(tier, memories));
            complete &= store(&mut latency, Fixture::new(tier, memories));
            latency.run(&mut Get { fixture: Fixture::new(tier, memories), store: None, asked: 0 });
        }
    }
    vectors(&mut latency);
    archive(&mut latency);
    let profile = latency.profile;
    let targets_asked = latency.arguments.filter.as_deref() == Some("targets");
    let mut recorder = latency.finish();
    if complete || targets_asked {
        println!();
        targets::print(profile, &mut recorder);
        recorder.finish();
    }
}

/// The numbers of memories in each tier.
fn sizes(profile: Profile, test: bool) -> [(TierKind, Vec<usize>); 3] {
    let [hot, warm, cold] = match profile {
        _ if test => [vec![300], vec![300], vec![300]],
        Profile::Quick => [vec![1_000], vec![2_000], vec![5_000]],
        Profile::Default => [vec![5_000], vec![50_000], vec![100_000]],
        Profile::Full => [vec![5_000, 1_000_000], vec![50_000, 1_000_000], vec![100_000, 1_000_000]],
    };
    [(TierKind::Hot, hot), (TierKind::Warm, warm), (TierKind::Cold, cold)]
}

/// The benchmark of a verb in a tier.
fn group(verb: &str, tier: TierKind) -> String {
    format!("{verb}_{tier}").to_lowercase()
}

/// A store and what to ask it for, in turn.
struct Asked<'s> {
    engine: &'s Engine,
    queries: Vec<Query>,
    next: usize,
}

impl<'s> Asked<'s> {
    fn new(store: &'s Store, method: Method) -> Self {
        let queries: Vec<Query> =
            store.queries(QUERIES).into_iter().map(|(query, _)| query.method(method)).collect();
        Self { engine: &store.engine, queries, next: 0 }
    }

    fn next(&mut self) -> (&'s Engine, &Query) {
        self.next = (self.next + 1) % self.queries.len();
        (self.engine, &self.queries[self.next])
    }
}

/// Recall and synthesize; says whether both were measured.
fn ask(latency: &mut Latency, fixture: Fixture) -> bool {
    let store = OnceCell::new();
    let asked = || Asked::new(store.get_or_init(|| fixture.open()), Method::Indexed);
    let recalled = latency.bench(&group("recall", fixture.tier), fixture.memories, asked, |asked| {
        let (engine, query) = asked.next();
        engine.recall(query).expect("a recall")
    });
    let synthesized = latency.bench(&group("synthesize", fixture.tier), fixture.memories, asked, |asked| {
        let (engine, query) = asked.next();
        engine.synthesize(query).expect("a synthesis")
    });
    store.get().inspect(|store| store.assert_in_tier());
    recalled.is_some() && synthesized.is_some()
}

/// A store that grows, and what to store next.
struct Growing<'s> {
    engine: &'s Engine,
    texts: Cycle<std::vec::IntoIter<String>>,
}

/// Store; says whether it was measured.
fn store(latency: &mut Latency, fixture: Fixture) -> bool {
    let store = OnceCell::new();
    let texts = if latency.arguments.test { 100 } else { TEXTS };
    let growing = || {
        let store = store.get_or_init(|| open_to_grow(fixture));
        Growing { engine: &store.engine, texts: new_texts(texts).into_iter().cycle() }
    };
    let stored = latency.bench_with(
        &group("store", fixture.tier),
        fixture.memories,
        growing,
        |growing, count| growing.texts.by_ref().take(count).collect(),
        |growing, text: String| growing.engine.store(text).expect("a store"),
    );
    store.get().inspect(|store| assert_grown(store));
    stored.is_some()
}

/// Opens a store whose stores are measured: merged once, then left to the
/// background thread.
fn open_to_grow(fixture: Fixture) -> Store {
    let store = fixture.open_with(fixture.config().background(true));
    store.engine.consolidate().expect("a consolidation");
    store.assert_in_tier();
    store
}

/// # Panics
/// Unless new memories ended in the tier that they were stored into.
fn assert_grown(store: &Store) {
    let Fixture { tier, memories, .. } = store.fixture;
    store.engine.consolidate().expect("a consolidation");
    let stats = store.engine.stats();
    let (here, total) = (stats.memories_in(tier), stats.total());
    match tier {
        TierKind::Hot => {
            let full = memories.saturating_sub(LEAVING_TOGETHER)..=memories;
            assert!(full.contains(&here), "HOT stays full: {here} of {memories}");
            assert_eq!(stats.memories_in(TierKind::Cold), 0, "memories leave HOT for WARM");
            assert!(total > memories, "every store sends a memory to WARM");
            let newest = store.engine.store("the last of all").expect("a store").id;
            let newest = store.engine.get(newest).expect("a readable memory");
            assert_eq!(newest.map(|memory| memory.tier), Some(TierKind::Hot), "tier of the newest");
        }
        TierKind::Warm | TierKind::Cold => {
            assert!(here == total && total > memories, "{here} of {total} memories in {tier}");
        }
    }
}

/// A memory by its identifier.
struct Get {
    fixture: Fixture,
    store: Option<Store>,
    asked: usize,
}

impl Benchmark for Get {
    fn group(&self) -> String {
        group("get", self.fixture.tier)
    }

    fn case(&self) -> String {
        self.fixture.memories.to_string()
    }

    fn set_up(&mut self) -> Result<(), Failure> {
        self.store = Some(self.fixture.open());
        Ok(())
    }

    fn run(&mut self) -> Result<(), Failure> {
        let Store { engine, .. } = self.store.as_ref().ok_or("no store")?;
        // The step is large, so that the last lookup has not brought this memory into the cache.
        self.asked = (self.asked + PRIME) % self.fixture.memories;
        let memory = engine.get(MemoryId(self.asked as u64))?;
        black_box(memory.ok_or("no memory")?);
        Ok(())
    }

    fn verify(&mut self) -> Result<(), Failure> {
        self.store.as_ref().ok_or("no store")?.assert_in_tier();
        Ok(())
    }
}

/// Recall by vectors that came with the memories, wall time only: by the sketch cascade, and by the
/// exact scan that it is compared with. A thousand scans a sample would take minutes.
fn vectors(latency: &mut Latency) {
    let small = latency.profile.choose(1_000, 5_000, 5_000);
    let large = latency.profile.choose(5_000, 100_000, 100_000);
    let [small, large] = if latency.arguments.test { [300, 400] } else { [small, large] };
    for memories in [small, large] {
        let fixture = Fixture::with_vectors(TierKind::Hot, memories);
        recall_wall(latency, "recall_exact/wall", fixture, Method::Exact);
    }
    let fixture = Fixture::with_vectors(TierKind::Hot, large);
    recall_wall(latency, "recall_vector/wall", fixture, Method::Indexed);
}

fn recall_wall(latency: &mut Latency, name: &str, fixture: Fixture, method: Method) {
    let store = OnceCell::new();
    // Once for all samples, each of which goes on where the last one has ended.
    let mut asked = Lazy::new(|| Asked::new(store.get_or_init(|| fixture.open()), method));
    let (wall, recorder) = latency.wall();
    let mut group = wall.benchmark_group(name);
    group.bench_function(BenchmarkId::from_parameter(fixture.memories), |bencher| {
        recorder.note(&format!("{name}/{}", fixture.memories));
        let asked = asked.get();
        bencher.iter(|| {
            let (engine, query) = asked.next();
            engine.recall(query).expect("a recall")
        });
    });
    group.finish();
    store.get().inspect(|store| store.assert_in_tier());
}

/// From a batch of texts to memories in COLD, in a new engine each time.
fn archive(latency: &mut Latency) {
    let count = if latency.arguments.test { 10 } else { ARCHIVED };
    let (wall, recorder) = latency.wall();
    let mut group = wall.benchmark_group("archive/wall");
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
        recorder.note(&format!("archive/wall/{count}"));
        let batch: Vec<NewMemory> = new_texts(count).into_iter().map(NewMemory::new).collect();
        bencher.iter_custom(|iterations| (0..iterations).map(|_| time_archiving(batch.clone())).sum());
    });
    group.finish();
}

fn time_archiving(batch: Vec<NewMemory>) -> Duration {
    let (count, folder) = (batch.len(), temporary_folder());
    let config = Fixture::new(TierKind::Cold, count).config();
    let engine = Engine::open(folder.path(), config).expect("a new store");
    let started = Instant::now();
    black_box(engine.store_batch(batch).expect("room for a batch"));
    engine.consolidate().expect("room for a batch");
    let elapsed = started.elapsed();
    assert_eq!(engine.stats().memories_in(TierKind::Cold), count, "memories in COLD");
    elapsed
}
