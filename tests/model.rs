//! Writers and readers of one engine under a model checker. At every lock and channel it chooses
//! the next thread, in thousands of different orders:
//!
//! ```sh
//! RUSTFLAGS="--cfg shuttle" cargo test --test model
//! ```
//!
//! `MNEMO_SCHEDULES` sets the number of orders of each kind and scenario.
#![cfg(shuttle)]

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use common::{note, tiny};
use mnemocore::encoder::Encoder;
use mnemocore::hdv::Dimension;
use mnemocore::internals::Parts;
use mnemocore::internals::log::{Batch, Log, Table, Visit, VolatileLog};
use mnemocore::internals::tier::Limits;
use mnemocore::internals::tier::files::{OpenedFiles, SegmentFiles};
use mnemocore::internals::tier::local::tiers;
use mnemocore::{Config, Durability, Engine, Error, MemoryId, Namespace, NewMemory, Query, Timestamp};
use shuttle::Runner;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread::{self, JoinHandle};

/// A year, in which every memory grows too weak for its tier.
const YEAR: i64 = 365 * 86_400_000;

/// Explores many orders: at random, and with few but ill-timed switches of threads (Burckhardt et
/// al., "A randomized scheduler with probabilistic guarantees of finding bugs", 2010).
fn explore(scenario: fn()) {
    let schedules = std::env::var("MNEMO_SCHEDULES").map_or(1_000, |number| number.parse().unwrap());
    let mut config = shuttle::Config::new();
    // Encoding a text takes more stack than a checker's threads have by default.
    config.stack_size = 1 << 20;
    Runner::new(RandomScheduler::new(schedules), config.clone()).run(scenario);
    Runner::new(PctScheduler::new(3, schedules), config).run(scenario);
    println!("{} schedules", 2 * schedules);
}

fn config() -> Config {
    tiny().dimension(Dimension::new(256).unwrap()).hot_capacity(2).warm_capacity(2)
}

fn engine() -> Arc<Engine> {
    Arc::new(Engine::in_memory(config()).unwrap())
}

fn consolidate_in(engine: &Engine, ahead: i64) {
    engine.consolidate_at(Timestamp(Timestamp::now().0 + ahead)).unwrap();
}

fn run(work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::spawn(work)
}

fn wait(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Returns the memories that a recall finds, and fails if one is found twice.
fn recalled(engine: &Engine, namespace: &Namespace) -> BTreeSet<MemoryId> {
    let query = Query::text("journal").namespace(namespace.clone()).limit(100);
    let hits = engine.recall(&query).unwrap().hits;
    let ids: BTreeSet<MemoryId> = hits.iter().map(|hit| hit.memory.id).collect();
    assert_eq!(ids.len(), hits.len(), "a memory was recalled twice");
    ids
}

#[test]
fn a_recall_sees_every_memory_whose_store_returned_before_it_began() {
    explore(|| {
        let (engine, known) = (engine(), Arc::new(Mutex::new(BTreeSet::new())));
        let writers = ["ada", "bob"].map(|writer| {
            let (engine, known) = (engine.clone(), known.clone());
            run(move || {
                for number in 0..2 {
                    let id = engine.store(note(&format!("{writer}{number}"))).unwrap().id;
                    assert!(known.lock().unwrap().insert(id), "id {id} was given twice");
                }
            })
        });
        let readers = [(), ()].map(|()| {
            let (engine, known) = (engine.clone(), known.clone());
            run(move || {
                for _ in 0..2 {
                    let before = known.lock().unwrap().clone();
                    assert!(before.is_subset(&recalled(&engine, &Namespace::default())));
                }
            })
        });
        wait(writers.into_iter().chain(readers));
        assert_eq!(recalled(&engine, &Namespace::default()), *known.lock().unwrap());
    });
}

#[test]
fn a_memory_on_its_way_between_tiers_is_recalled_once() {
    explore(|| {
        let engine = engine();
        let ids: BTreeSet<MemoryId> =
            ["one", "two", "three", "four"].map(|word| engine.store(note(word)).unwrap().id).into();
        let movers = [0, YEAR].map(|ahead| {
            let engine = engine.clone();
            run(move || consolidate_in(&engine, ahead))
        });
        let readers = [ids.clone(), ids.clone()].map(|ids| {
            let engine = engine.clone();
            run(move || {
                assert_eq!(recalled(&engine, &Namespace::default()), ids);
                for &id in &ids {
                    assert_eq!(engine.get(id).unwrap().map(|memory| memory.id), Some(id));
                }
            })
        });
        wait(movers.into_iter().chain(readers));
        assert_eq!(recalled(&engine, &Namespace::default()), ids);
        assert_eq!(engine.stats().total(), ids.len());
    });
}

#[test]
fn a_forgotten_memory_stays_forgotten_also_while_it_moves() {
    explore(|| {
        let engine = engine();
        let ids = ["one", "two", "three"].map(|word| engine.store(note(word)).unwrap().id);
        let gone = Arc::new(Mutex::new(BTreeSet::new()));
        let forgetting = {
            let (engine, gone) = (engine.clone(), gone.clone());
            run(move || {
                for id in [ids[0], ids[2]] {
                    assert!(engine.forget(id).unwrap());
                    gone.lock().unwrap().insert(id);
                }
            })
        };
        let moving = {
            let engine = engine.clone();
            run(move || consolidate_in(&engine, YEAR))
        };
        let reading = {
            let (engine, gone) = (engine.clone(), gone.clone());
            run(move || {
                for _ in 0..2 {
                    let before = gone.lock().unwrap().clone();
                    let found = recalled(&engine, &Namespace::default());
                    assert!(found.is_disjoint(&before), "a forgotten memory was recalled");
                    assert!(found.contains(&ids[1]));
                }
            })
        };
        wait([forgetting, moving, reading]);
        engine.consolidate().unwrap();
        assert_eq!(recalled(&engine, &Namespace::default()), [ids[1]].into());
        assert_eq!(engine.stats().total(), 1);
        assert_eq!(engine.get(ids[0]).unwrap(), None);
    });
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    explore(|| {
        let engine = engine();
        let storing = ["ada", "bob"].map(|writer| {
            let engine = engine.clone();
            let batch = (0..3).map(|number| NewMemory::new(note(&format!("{writer}{number}")))).collect();
            // Three do not fit into HOT: some leave it with the very commit.
            run(move || assert_eq!(engine.store_batch(batch).unwrap().len(), 3))
        });
        let reading = {
            let engine = engine.clone();
            run(move || {
                for _ in 0..3 {
                    let found = recalled(&engine, &Namespace::default()).len();
                    assert!(found.is_multiple_of(3), "{found} of two batches of 3");
                }
            })
        };
        wait(storing.into_iter().chain([reading]));
        assert_eq!(engine.stats().total(), 6);
    });
}

#[test]
fn a_namespace_that_several_threads_make_is_one_and_shows_no_other() {
    explore(|| {
        let (engine, names) = (engine(), ["ada", "bob"].map(|name| Namespace::new(name).unwrap()));
        let threads = [0, 0, 1].map(|name: usize| {
            let (engine, names) = (engine.clone(), names.clone());
            run(move || {
                let memory = NewMemory::new(note("one")).namespace(names[name].clone());
                let id = engine.store(memory).unwrap().id;
                assert!(recalled(&engine, &names[name]).contains(&id));
                assert!(!recalled(&engine, &names[1 - name]).contains(&id));
            })
        });
        wait(threads);
        let [ada, bob] = names;
        assert_eq!(engine.stats().namespaces, [(ada, 2), (bob, 1)]);
    });
}

/// A log that refuses every commit that stores a certain word.
#[derive(Default)]
struct Refusing(VolatileLog);

impl Refusing {
    const WORD: &str = "refused";
}

impl Log for Refusing {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, Error> {
        self.0.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        self.0.scan(table, prefix, visit)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), Error> {
        let holds = |value: &Arc<[u8]>| value.windows(7).any(|bytes| bytes == Self::WORD.as_bytes());
        if batch.changes.iter().any(|(_, _, value)| value.as_ref().is_some_and(holds)) {
            return Err(Error::NoSpace { path: "full".into() });
        }
        self.0.commit(batch, durability)
    }

    fn compact(&self) -> Result<(), Error> {
        self.0.compact()
    }

    fn close(&self) -> Result<(), Error> {
        self.0.close()
    }
}

/// The folder outlives the engine.
fn refusing_engine() -> (Arc<Engine>, tempfile::TempDir) {
    let (config, folder) = (config(), tempfile::tempdir().unwrap());
    let log: Arc<dyn Log> = Arc::new(Refusing::default());
    let encoder = Arc::new(Encoder::new(config.dimension, config.token_cache_bytes));
    let OpenedFiles { files, segments } = SegmentFiles::open(folder.path(), None, &log).unwrap();
    let [hot, warm, cold] = tiers(&files, segments, true, &encoder, config.decay_per_day, Limits::default());
    let files = Some(files);
    let parts = Parts { encoder, log, files, tiers: [Box::new(hot), Box::new(warm), Box::new(cold)] };
    (Arc::new(Engine::from_parts(config, parts).unwrap()), folder)
}

#[test]
fn a_refused_store_takes_no_other_of_its_group_with_it() {
    explore(|| {
        let (engine, _folder) = refusing_engine();
        let threads = ["one", Refusing::WORD, "two", "three"].map(|word| {
            let engine = engine.clone();
            run(move || match engine.store(note(word)) {
                Ok(stored) => {
                    assert_ne!(word, Refusing::WORD);
                    assert!(recalled(&engine, &Namespace::default()).contains(&stored.id));
                }
                Err(Error::NoSpace { .. }) => assert_eq!(word, Refusing::WORD),
                Err(error) => panic!("{error:?}"),
            })
        });
        wait(threads);
        assert_eq!(recalled(&engine, &Namespace::default()).len(), 3);
        assert_eq!(engine.stats().total(), 3);
    });
}
