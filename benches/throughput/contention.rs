//! One verb while others do something else.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mnemocore::{Config, Engine, MemoryId, NewMemory, Query, TierKind};
use tempfile::TempDir;

use crate::Bench;
use crate::common::{Fixture, Kept as _, endless_texts};

/// Seed of the choice of memories to forget.
const SEED: u64 = 13;
/// Distinct queries, asked in turn.
const QUERIES: usize = 500;
/// Stores per second by another thread: far more than an agent makes, and a tenth of the engine's
/// throughput.
const STORES: f64 = 1_000.0;
/// Recalls per second by another thread.
const RECALLS: f64 = 500.0;
/// Recalls until a memory must be found: it should be in the first.
const ATTEMPTS: usize = 1_000;

/// From the start of `store` to the end of the first recall that returns it. What one sample
/// has stored is forgotten before the next, or a quicker engine would meet a larger store.
pub(crate) fn time_to_visible(bench: &mut Bench) {
    let memories = bench.memories;
    let busy = OnceCell::new();
    let set_up = || {
        let busy = busy.get_or_init(|| Busy::open(memories));
        (busy, endless_texts().zip(0u64..), Vec::new())
    };
    bench.latency.bench_with(
        "time_to_visible",
        memories,
        set_up,
        |(busy, texts, stored), count| {
            busy.engine.forget_batch(&*stored).expect("what was stored");
            stored.clear();
            stored.reserve(count);
            // A word of its own, because people repeat themselves.
            let unique = |(text, number): (String, u64)| format!("{text} n{number}");
            let texts = texts.take(count).map(unique);
            texts.map(|text| (NewMemory::new(&text), Query::text(text).touch(false))).collect()
        },
        |(busy, _, stored), (memory, query)| {
            let id = busy.engine.store(memory).expect("a store").id;
            stored.push(id);
            let sees = |_| {
                let recall = busy.engine.recall(&query).expect("a recall");
                recall.hits.iter().any(|hit| hit.memory.id == id)
            };
            (1..=ATTEMPTS).find(|&attempt| sees(attempt)).expect("a recall that returns what is stored")
        },
    );
    finish(busy);
}

/// Recall while another thread stores.
pub(crate) fn recall_while_storing(bench: &mut Bench) {
    let memories = bench.memories;
    let busy = OnceCell::new();
    let set_up = || {
        let mut new = Busy::open(memories);
        let queries = new.queries.clone().into_iter().cycle();
        new.storing();
        (busy.get_or_init(|| new), queries)
    };
    bench.latency.bench_with(
        "recall_while_storing",
        memories,
        set_up,
        |(_, queries), count| queries.take(count).collect(),
        |(busy, _), query: Query| busy.engine.recall(&query).expect("a recall"),
    );
    finish(busy);
}

/// Forget while others store and recall. It forgets any memory of the store, after a new one has
/// been stored in its place.
pub(crate) fn forget_under_load(bench: &mut Bench) {
    let memories = bench.memories;
    let busy = OnceCell::new();
    let set_up = || {
        let mut new = Busy::open(memories);
        new.storing();
        new.recalling();
        let known: Vec<MemoryId> = (0..memories).map(|number| MemoryId(number as u64)).collect();
        (busy.get_or_init(|| new), known, endless_texts(), fastrand::Rng::with_seed(SEED))
    };
    bench.latency.bench_with(
        "forget_under_load",
        memories,
        set_up,
        |(busy, known, texts, random), count| {
            let batch = texts.take(count).map(NewMemory::new).collect();
            let stored = busy.engine.store_batch(batch).expect("room for a batch");
            known.extend(stored.iter().map(MemoryId::from));
            (0..count).map(|_| known.swap_remove(random.usize(..known.len()))).collect()
        },
        |(busy, ..), id: MemoryId| {
            assert!(busy.engine.forget(id).expect("a forget"), "memory {id} was there")
        },
    );
    finish(busy);
}

fn finish(busy: OnceCell<Busy>) {
    if let Some(busy) = busy.into_inner() {
        busy.finish();
    }
}

/// A store that several threads use.
struct Busy {
    engine: Arc<Engine>,
    memories: usize,
    queries: Vec<Query>,
    others: Vec<Other>,
    _folder: TempDir,
}

impl Busy {
    fn open(memories: usize) -> Self {
        // Not the age of its memories, which would all sink.
        let config = Config::default().memory_budget(usize::MAX).decay_per_day(0.0).hot_capacity(usize::MAX);
        let store = Fixture::new(TierKind::Hot, memories).open_with(config);
        store.engine.consolidate().expect("a consolidation");
        let queries = store.queries(QUERIES).into_iter().map(|(query, _)| query).collect();
        let (engine, folder) = store.into_parts();
        Self { engine: engine.into(), memories, queries, others: Vec::new(), _folder: folder }
    }

    /// Another thread stores from now on.
    fn storing(&mut self) {
        let (engine, mut texts) = (self.engine.clone(), endless_texts());
        self.others.push(Other::start(STORES, move || {
            let text = texts.next().expect("there is always one");
            engine.store(text).expect("a store");
            1
        }));
    }

    /// Another thread recalls from now on.
    fn recalling(&mut self) {
        let (engine, mut queries) = (self.engine.clone(), self.queries.clone().into_iter().cycle());
        self.others.push(Other::start(RECALLS, move || {
            engine.recall(queries.next().expect("a cycle")).expect("a recall");
            0
        }));
    }

    /// Ends the other threads.
    ///
    /// # Panics
    /// If one of them failed, or if what is there is not what was
    /// there at first and what the others stored.
    fn finish(mut self) {
        let alone = self.others.is_empty();
        let stored: usize = self.others.drain(..).map(Other::finish).sum();
        let total = self.engine.stats().total();
        assert!(alone || total == self.memories + stored, "{total} memories: {} and {stored}", self.memories);
    }
}

/// A thread that does something at a steady rate.
struct Other {
    stop: Arc<AtomicBool>,
    /// Ends with the number of memories that it stored.
    thread: JoinHandle<usize>,
}

impl Other {
    /// Calls `act` so many times a second; it returns how many memories it stored.
    fn start(rate: f64, mut act: impl FnMut() -> usize + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let run = move || {
            let (started, mut calls, mut stored) = (Instant::now(), 0u32, 0);
            loop {
                stored += act();
                calls += 1;
                if stopped.load(Ordering::Relaxed) {
                    return stored;
                }
                let next = Duration::from_secs_f64(f64::from(calls) / rate);
                std::thread::sleep(next.saturating_sub(started.elapsed()));
            }
        };
        Self { stop, thread: std::thread::spawn(run) }
    }

    fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a thread beside that does not fail")
    }
}
