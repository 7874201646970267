//! Runs a full mixed load for a given time, with restarts in between, to see what grows although
//! the number of memories does not. Prints a line a session, then the last quarter beside the
//! second, because the first quarter warms up. Fails if the engine's heap or its disk has grown.
//! RAM is that of the whole process, so it includes the load and the memory that the system's
//! allocator retains.
//!
//! ```sh
//! cargo run --release --example soak -- 60 20000 # minutes, memories
//! ```

use std::alloc::System;
use std::collections::VecDeque;
use std::env;
use std::error::Error;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use criterion_gate::measure::Latencies;
use criterion_gate::random::Random;
use mnemocore::{Config, Engine, MemoryId, Namespace, NewMemory, Query};
use mnemocore_suite::fixture::endless_texts;
use mnemocore_suite::footprint::{Disk, Memory};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

// Tells what lives on the heap from what the system's allocator keeps.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const WORKERS: u64 = 4;
const SESSIONS: u32 = 12;
/// The heap or disk of the last quarter may be this many times that of the second.
const TOLERANCE: f64 = 1.10;
/// The most disk of a closed store over the same store compacted.
const AMPLIFICATION: f64 = 3.0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let minutes: f64 = arguments.next().map_or(Ok(60.0), |minutes| minutes.parse())?;
    let live: usize = arguments.next().map_or(Ok(20_000), |live| live.parse())?;
    let (folder, session) = (tempfile::tempdir()?, Duration::from_secs_f64(minutes * 60.0) / SESSIONS);
    let world = World::new(live);
    world.fill(folder.path())?;
    println!(
        "minute  stores/s  recalls/s  RAM MB  heap MB, closed  disk MB  store P50/P99 us  recall P50/P99 us  open ms"
    );
    let (started, mut sessions) = (Instant::now(), Vec::new());
    for _ in 0..SESSIONS {
        let seen = world.session(folder.path(), session)?;
        println!("{:6.1}  {seen}", started.elapsed().as_secs_f64() / 60.0);
        sessions.push(seen);
    }
    let engine = Engine::open(folder.path(), world.config())?;
    engine.compact()?;
    engine.close()?;
    let compacted = megabytes(Disk::of(folder.path())?.apparent);
    verdict(&sessions, compacted)
}

/// Compares the last quarter of the sessions with the second.
fn verdict(sessions: &[Session], compacted: f64) -> Result<(), Box<dyn Error>> {
    let quarter = sessions.len() / 4;
    let median = |part: &[Session], of: fn(&Session) -> f64| {
        let mut values: Vec<f64> = part.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let growth = |of: fn(&Session) -> f64| {
        median(&sessions[sessions.len() - quarter..], of) / median(&sessions[quarter..2 * quarter], of)
    };
    let largest = sessions.iter().map(|session| session.disk).fold(0.0, f64::max) / compacted;
    let heap = growth(|session| session.heap - session.closed);
    let (ram, disk) = (growth(|session| session.ram), growth(|session| session.disk));
    println!("last quarter / second: the engine's heap {heap:.2}, disk {disk:.2}, RAM {ram:.2}");
    println!(
        "store P50 {:.2}, P99 {:.2}; recall P50 {:.2}, P99 {:.2}",
        growth(|s| micros(s.stores.p50())),
        growth(|s| micros(s.stores.p99())),
        growth(|s| micros(s.recalls.p50())),
        growth(|s| micros(s.recalls.p99())),
    );
    println!("disk when closed, at most: {largest:.2} of the {compacted:.1} MB of a compacted store");
    if heap > TOLERANCE || disk > TOLERANCE {
        return Err(format!("heap or disk has grown by more than a factor of {TOLERANCE}").into());
    }
    if largest > AMPLIFICATION {
        return Err(format!("expected at most {AMPLIFICATION} times the disk of a compacted store").into());
    }
    Ok(())
}

/// MB that live on the heap.
fn heap() -> f64 {
    let stats = ALLOCATOR.stats();
    megabytes(stats.bytes_allocated.saturating_sub(stats.bytes_deallocated) as u64)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The measurements of one session, from opening to closing.
struct Session {
    seconds: f64,
    opening: Duration,
    stores: Latencies,
    recalls: Latencies,
    /// Anonymous memory, and the heap of the engine and its load.
    ram: f64,
    heap: f64,
    /// The heap after the engine is closed, i.e. the load's own.
    closed: f64,
    disk: f64,
}

impl std::fmt::Display for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = |latencies: &Latencies| latencies.len() as f64 / self.seconds;
        write!(f, "{:8.0}  {:9.0}  ", rate(&self.stores), rate(&self.recalls))?;
        write!(f, "{:6.1}  {:7.1}  {:6.1}  {:7.1}  ", self.ram, self.heap, self.closed, self.disk)?;
        for (latencies, width) in [(&self.stores, 8), (&self.recalls, 9)] {
            write!(f, "{:width$.0}/{:<7.0}  ", micros(latencies.p50()), micros(latencies.p99()))?;
        }
        write!(f, "{:7.0}", self.opening.as_secs_f64() * 1e3)
    }
}

/// A memory that is to be found, oldest first in its list.
type Known = (MemoryId, String, usize);

/// The expected contents of the store, and the next texts.
struct World {
    live: usize,
    namespaces: [Namespace; 2],
    known: Mutex<VecDeque<Known>>,
    texts: Mutex<Box<dyn Iterator<Item = String> + Send>>,
}

impl World {
    fn new(live: usize) -> Self {
        Self {
            live,
            namespaces: [Namespace::default(), Namespace::new("other").expect("a name")],
            known: Mutex::default(),
            texts: Mutex::new(Box::new(endless_texts(7))),
        }
    }

    /// A tenth of the memories in HOT, four tenths in WARM, the rest in COLD.
    fn config(&self) -> Config {
        Config::default().hot_capacity(self.live / 10).warm_capacity(self.live * 4 / 10)
    }

    fn fill(&self, folder: &Path) -> Result<(), mnemocore::Error> {
        let engine = Engine::open(folder, self.config())?;
        for at in 0..self.live {
            self.store(&engine, at % 2)?;
        }
        engine.close()
    }

    fn store(&self, engine: &Engine, namespace: usize) -> Result<Duration, mnemocore::Error> {
        let text = lock(&self.texts).next().unwrap_or_default();
        let memory = NewMemory::new(&text).namespace(self.namespaces[namespace].clone());
        let start = Instant::now();
        let id = engine.store(memory)?.id;
        let took = start.elapsed();
        lock(&self.known).push_back((id, text, namespace));
        Ok(took)
    }

    /// Opens the store, loads it, checks it, closes it.
    fn session(&self, folder: &Path, length: Duration) -> Result<Session, Box<dyn Error>> {
        let start = Instant::now();
        let engine = Engine::open(folder, self.config())?;
        let opening = start.elapsed();
        let works: Vec<Result<_, mnemocore::Error>> = std::thread::scope(|scope| {
            let work = |worker| (&engine, Random::stream(start.elapsed().as_nanos() as u64, worker));
            let workers: Vec<_> = (0..WORKERS)
                .map(work)
                .map(|(engine, random)| scope.spawn(move || self.work(engine, random, start + length)))
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
        });
        let (mut stores, mut recalls) = (Latencies::new(), Latencies::new());
        for work in works {
            let (own_stores, own_recalls) = work?;
            stores.merge(&own_stores);
            recalls.merge(&own_recalls);
        }
        let seconds = (start.elapsed() - opening).as_secs_f64();
        self.check(&engine)?;
        let held = heap();
        let memory = Memory::now().ok_or("the system does not tell what memory is in use")?;
        engine.close()?;
        let (closed, disk) = (heap(), megabytes(Disk::of(folder)?.apparent));
        let ram = megabytes(memory.anonymous.unwrap_or(memory.resident));
        Ok(Session { seconds, opening, stores, recalls, ram, heap: held, closed, disk })
    }

    /// Stores, recalls, synthesizes and forgets until the time is over.
    fn work(
        &self,
        engine: &Engine,
        mut random: Random,
        until: Instant,
    ) -> Result<(Latencies, Latencies), mnemocore::Error> {
        let (mut stores, mut recalls) = (Latencies::new(), Latencies::new());
        while Instant::now() < until {
            if random.percent(40) {
                stores.record(self.store(engine, random.below(2) as usize)?);
                let oldest = {
                    let mut known = lock(&self.known);
                    if known.len() > self.live { known.pop_front() } else { None }
                };
                if let Some((id, ..)) = oldest {
                    assert!(engine.forget(id)?, "memory {id} is lost");
                }
                continue;
            }
            let Some((_, text, namespace)) = self.some(&mut random) else { continue };
            let query = Query::text(text).namespace(self.namespaces[namespace].clone());
            if random.percent(5) {
                engine.synthesize(&query)?;
                continue;
            }
            let start = Instant::now();
            engine.recall(&query)?;
            recalls.record(start.elapsed());
        }
        Ok((stores, recalls))
    }

    /// One of the known memories, the newest most often.
    fn some(&self, random: &mut Random) -> Option<Known> {
        let known = lock(&self.known);
        let back = random.zipf(u32::try_from(known.len()).unwrap_or(u32::MAX)) as usize;
        known.iter().rev().nth(back).cloned()
    }

    /// Every known memory is there, and nothing else.
    fn check(&self, engine: &Engine) -> Result<(), Box<dyn Error>> {
        let known = lock(&self.known);
        if engine.stats().total() != known.len() {
            return Err(format!("expected {} memories, found {:?}", known.len(), engine.stats()).into());
        }
        for (id, text, _) in known.iter() {
            let memory = engine.get(*id)?;
            if memory.as_ref().map(|memory| &memory.text) != Some(text) {
                return Err(format!("memory {id}: expected {text:?}, found {memory:?}").into());
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
