//! Many threads on one engine: what a recall may see, and what it must.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{everything, files, find, note, tiny, word};
use mnemocore::hdv::Hypervector;
use mnemocore::{Config, Durability, Engine, MemoryId, Method, Namespace, NewMemory, Query, Timestamp};
use proptest::prelude::*;
use rayon::prelude::*;

/// Fifty writers and readers, as many as the benches of load have workers.
const STORING: usize = 25;
const RECALLING: usize = 25;
const FORGETTING: usize = 2;
const STORES: usize = 20;

/// The memories whose `store` has returned, and of which no `forget` has begun.
type Known = Mutex<BTreeMap<String, MemoryId>>;

fn pick<'a>(
    known: &'a BTreeMap<String, MemoryId>,
    random: &mut fastrand::Rng,
) -> Option<(&'a String, MemoryId)> {
    let at = random.usize(0..known.len().max(1));
    known.iter().nth(at).map(|(word, &id)| (word, id))
}

#[test]
fn recalls_see_what_was_stored_and_not_what_was_forgotten_before_they_began() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny().background(true)).unwrap();
    let (known, forgotten) = (Known::default(), Mutex::new(BTreeSet::new()));
    let (running, done) = (AtomicUsize::new(STORING), AtomicBool::new(false));
    let recalls = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..STORING {
            let (engine, known, running, done) = (&engine, &known, &running, &done);
            scope.spawn(move || {
                for number in 0..STORES {
                    let word = format!("q{thread}x{number}z");
                    let id = engine.store(note(&word)).unwrap().id;
                    known.lock().unwrap().insert(word, id);
                }
                if running.fetch_sub(1, Ordering::SeqCst) == 1 {
                    done.store(true, Ordering::SeqCst);
                }
            });
        }
        for thread in 0..RECALLING {
            let (engine, known, forgotten, done, recalls) = (&engine, &known, &forgotten, &done, &recalls);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread as u64);
                while !done.load(Ordering::SeqCst) {
                    check_one(engine, known, forgotten, &mut random);
                    recalls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for thread in 0..FORGETTING {
            let (engine, known, forgotten, done) = (&engine, &known, &forgotten, &done);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(100 + thread as u64);
                while !done.load(Ordering::SeqCst) {
                    let taken = {
                        let mut known = known.lock().unwrap();
                        let taken = pick(&known, &mut random).map(|(word, id)| (word.clone(), id));
                        taken.filter(|(word, _)| known.remove(word).is_some())
                    };
                    if let Some((word, id)) = taken {
                        assert!(engine.forget(id).unwrap());
                        forgotten.lock().unwrap().insert((id, word));
                    }
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            });
        }
        let (engine, done) = (&engine, &done);
        scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                engine.consolidate().unwrap();
            }
        });
    });
    assert!(recalls.load(Ordering::SeqCst) > 20);
    let (known, forgotten) = (known.into_inner().unwrap(), forgotten.into_inner().unwrap());
    assert_eq!(known.len() + forgotten.len(), STORING * STORES);
    check_all(&engine, &known);
    drop(engine);
    check_all(&Engine::open(folder.path(), tiny()).unwrap(), &known);
}

fn check_one(
    engine: &Engine,
    known: &Known,
    forgotten: &Mutex<BTreeSet<(MemoryId, String)>>,
    random: &mut fastrand::Rng,
) {
    let before = pick(&known.lock().unwrap(), random).map(|(word, id)| (word.clone(), id));
    let gone = forgotten.lock().unwrap().clone();
    if let Some((word, id)) = before {
        let found = engine.recall(Query::text(&word).limit(1)).unwrap();
        let found = found.hits.first().map(|hit| hit.memory.id);
        // A `forget` that began meanwhile has taken it off the list first.
        let still = known.lock().unwrap().contains_key(&word);
        assert!(!still || found == Some(id), "{word} was stored and is not found: {found:?}");
    }
    let query = Query::text("lighthouse journal").limit(50).touch(false);
    let hits = engine.recall(&query).unwrap().hits;
    let ids: BTreeSet<MemoryId> = hits.iter().map(|hit| hit.memory.id).collect();
    assert_eq!(ids.len(), hits.len(), "a memory was recalled twice");
    assert!(gone.iter().all(|(id, _)| !ids.contains(id)), "a forgotten memory was recalled");
}

fn check_all(engine: &Engine, known: &BTreeMap<String, MemoryId>) {
    let all: BTreeMap<String, MemoryId> =
        everything(engine, &Namespace::default()).into_iter().map(|(id, text)| (text, id)).collect();
    let expected: BTreeMap<String, MemoryId> = known.iter().map(|(word, &id)| (note(word), id)).collect();
    assert_eq!(all, expected);
    assert_eq!(engine.stats().total(), known.len());
    for (word, &id) in known {
        assert_eq!(find(engine, word), Some((id, note(word))));
    }
}

#[test]
fn texts_are_recalled_while_memories_with_vectors_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny().hot_capacity(0).warm_capacity(usize::MAX);
    let engine = Engine::open(folder.path(), config.clone()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                engine.recall(Query::text("journal").limit(50)).unwrap();
            }
        });
        let _end = Ends(&done);
        for seed in 0..300 {
            let vector = Hypervector::random(config.dimension, seed);
            let memory = NewMemory::new(note("journal")).vector(vector);
            let ids = engine.store_batch(vec![memory; 20]).unwrap();
            engine.forget_batch(&ids).unwrap();
        }
    });
    assert_eq!(engine.stats().total(), 0);
}

/// Before, a merge that stores had disturbed eight times was left out, and the texts stayed.
#[test]
fn a_compaction_beside_stores_leaves_no_text_of_the_forgotten() {
    for round in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), tiny().background(true)).unwrap();
        let secret = |number: usize| NewMemory::new(note(&format!("secret{round}x{number}")));
        let ids = engine.store_batch((0..200).map(secret).collect()).unwrap();
        engine.consolidate().unwrap();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut number = 0;
                    while !is_done.load(Ordering::SeqCst) {
                        engine.store(note(&word(number))).unwrap();
                        number += 1;
                    }
                });
            }
            engine.forget_batch(&ids).unwrap();
            engine.compact().unwrap();
            is_done.store(true, Ordering::SeqCst);
        });
        for file in files(folder.path()) {
            let bytes = std::fs::read(&file).unwrap_or_default();
            let needle = format!("secret{round}x");
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "round {round}: {}", file.display());
        }
    }
}

#[test]
fn a_compaction_waits_for_no_pool_on_which_others_wait_for_it() {
    let (sender, ended) = std::sync::mpsc::channel();
    // By itself, as it would hang.
    std::thread::spawn(move || {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(folder.path(), tiny()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..20).for_each(|_| engine.compact().unwrap()));
            (0..400).into_par_iter().for_each(|number| {
                engine.store(note(&number.to_string())).unwrap();
            });
        });
        sender.send(engine.stats().total()).unwrap();
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(120)), Ok(400), "they wait for each other");
}

/// Says that it is done when it goes out of scope, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn namespaces_that_many_threads_make_at_once_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny().durability(Durability::Synced)).unwrap();
    let names: Vec<Namespace> = (0..5).map(|name| Namespace::new(format!("agent{name}")).unwrap()).collect();
    std::thread::scope(|scope| {
        for thread in 0..STORING {
            let (engine, names) = (&engine, &names);
            scope.spawn(move || {
                for (at, name) in names.iter().enumerate() {
                    let memory = NewMemory::new(note(&format!("q{thread}x{at}z"))).namespace(name.clone());
                    engine.store(memory).unwrap();
                }
            });
        }
    });
    let check = |engine: &Engine| {
        let counts: Vec<_> = names.iter().map(|name| (name.clone(), STORING)).collect();
        assert_eq!(engine.stats().namespaces, counts);
        for (at, name) in names.iter().enumerate() {
            let all = everything(engine, name);
            assert_eq!(all.len(), STORING);
            assert!(all.iter().all(|(_, text)| text.contains(&format!("x{at}z"))));
        }
    };
    check(&engine);
    drop(engine);
    check(&Engine::open(folder.path(), tiny()).unwrap());
}

#[derive(Clone, Debug)]
enum Step {
    Store { namespace: usize, importance: f32 },
    Batch { namespace: usize, count: usize },
    Forget(prop::sample::Index),
    Recall(prop::sample::Index, u8),
    Consolidate { days: i64 },
    Compact,
    Reopen { tidied: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..2, 0.05f32..4.0).prop_map(|(namespace, importance)| Step::Store { namespace, importance }),
        3 => (0usize..2, 0usize..20).prop_map(|(namespace, count)| Step::Batch { namespace, count }),
        4 => any::<prop::sample::Index>().prop_map(Step::Forget),
        4 => (any::<prop::sample::Index>(), 1u8..6).prop_map(|(which, times)| Step::Recall(which, times)),
        2 => (0i64..400).prop_map(|days| Step::Consolidate { days }),
        1 => Just(Step::Compact),
        1 => any::<bool>().prop_map(|tidied| Step::Reopen { tidied }),
    ];
    prop::collection::vec(step, 1..30)
}

/// An engine on disk beside the memories that it should hold.
struct Twin {
    folder: tempfile::TempDir,
    engine: Option<Engine>,
    model: BTreeMap<MemoryId, (usize, String)>,
    stored: usize,
}

impl Twin {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Some(Engine::open(folder.path(), Self::config()).unwrap());
        Self { folder, engine, model: BTreeMap::new(), stored: 0 }
    }

    fn config() -> Config {
        tiny().hot_capacity(3).warm_capacity(5)
    }

    fn namespace(number: usize) -> Namespace {
        Namespace::new(["ada", "bob"][number]).unwrap()
    }

    fn fresh(&mut self, namespace: usize, importance: f32) -> (NewMemory, (usize, String)) {
        self.stored += 1;
        let text = note(&format!("q{}z", self.stored));
        let memory =
            NewMemory::new(text.as_str()).namespace(Self::namespace(namespace)).importance(importance);
        (memory, (namespace, text))
    }

    fn one(&self, which: prop::sample::Index) -> Option<(MemoryId, usize, String)> {
        let at = (!self.model.is_empty()).then(|| which.index(self.model.len()))?;
        self.model.iter().nth(at).map(|(&id, (namespace, text))| (id, *namespace, text.clone()))
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Store { namespace, importance } => {
                let (memory, known) = self.fresh(namespace, importance);
                let id = self.engine().store(memory).unwrap().id;
                assert!(self.model.insert(id, known).is_none());
            }
            Step::Batch { namespace, count } => {
                let (memories, known): (Vec<_>, Vec<_>) =
                    (0..count).map(|_| self.fresh(namespace, 1.0)).unzip();
                let ids = self.engine().store_batch(memories).unwrap();
                assert!(ids.is_sorted());
                self.model.extend(ids.iter().map(MemoryId::from).zip(known));
            }
            Step::Forget(which) => {
                if let Some((id, ..)) = self.one(which) {
                    assert!(self.engine().forget(id).unwrap());
                    assert!(!self.engine().forget(id).unwrap());
                    self.model.remove(&id);
                }
            }
            Step::Recall(which, times) => {
                if let Some((id, namespace, text)) = self.one(which) {
                    let query = Query::text(text).namespace(Self::namespace(namespace)).limit(1);
                    for _ in 0..times {
                        assert_eq!(self.engine().recall(&query).unwrap().hits[0].memory.id, id);
                    }
                }
            }
            Step::Consolidate { days } => {
                let now = Timestamp(Timestamp::now().0 + days * 86_400_000);
                self.engine().consolidate_at(now).unwrap();
                let [hot, warm, _] = self.engine().stats().memories;
                assert!(hot <= 3 && warm <= 5, "{hot} in HOT, {warm} in WARM");
            }
            Step::Compact => self.engine().compact().unwrap(),
            Step::Reopen { tidied: true } => {
                self.engine = None;
                self.engine = Some(Engine::open(self.folder.path(), Self::config()).unwrap());
            }
            Step::Reopen { tidied: false } => {
                let folder = tempfile::tempdir().unwrap();
                common::copy(self.folder.path(), folder.path());
                self.engine = Some(Engine::open(folder.path(), Self::config()).unwrap());
                self.folder = folder;
            }
        }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn check(&self) {
        for namespace in 0..2 {
            let expected = self.model.iter().filter(|(_, (own, _))| *own == namespace);
            let expected: Vec<_> = expected.map(|(&id, (_, text))| (id, text.clone())).collect();
            assert_eq!(everything(self.engine(), &Self::namespace(namespace)), expected);
        }
        assert_eq!(self.engine().stats().total(), self.model.len());
        for (&id, (namespace, text)) in &self.model {
            let memory = self.engine().get(id).unwrap().unwrap();
            assert_eq!(
                (memory.text.as_str(), memory.namespace),
                (text.as_str(), Self::namespace(*namespace))
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_agrees_with_a_map(steps in steps()) {
        let mut twin = Twin::new();
        for step in steps {
            twin.run(step);
            twin.check();
        }
    }
}

#[test]
fn odd_texts_and_queries_are_answered_without_a_panic() {
    let engine = Engine::in_memory(tiny()).unwrap();
    let long = "überlänge 長い ".repeat(7_000).chars().take(100_000).collect::<String>();
    let texts = ["!!!", "🦀🦀🦀", "…", "the of and", "\u{202e}abc", "e\u{301}\u{301}", "a\0b", long.as_str()];
    let longest = Namespace::new("n".repeat(256)).unwrap();
    assert!(Namespace::new("n".repeat(257)).is_err());
    let ids: Vec<MemoryId> = texts
        .iter()
        .flat_map(|&text| [NewMemory::new(text), NewMemory::new(text).namespace(longest.clone())])
        .map(|memory| engine.store(memory).unwrap().id)
        .collect();
    for round in 0..2 {
        for (&id, text) in ids.iter().zip(texts.iter().flat_map(|text| [text, text])) {
            assert_eq!(engine.get(id).unwrap().unwrap().text, **text, "round {round}");
        }
        for text in texts {
            for method in [Method::Indexed, Method::Exact] {
                for limit in [0, 1, 3, 1_000, usize::MAX] {
                    let query = Query::text(text).limit(limit).method(method).namespace(longest.clone());
                    match engine.recall(&query) {
                        Ok(recall) => {
                            assert!(recall.hits.len() <= limit.min(texts.len()));
                            assert!(recall.hits.iter().all(|hit| hit.score.is_finite()), "{text}");
                            assert!(
                                (0.0..=1.0).contains(&recall.confidence),
                                "{text}: {}",
                                recall.confidence
                            );
                        }
                        Err(error) => panic!("{text:?}: {error:?}"),
                    }
                    let unknown = query.metadata("no such key", "value");
                    assert!(engine.recall(&unknown).unwrap().hits.is_empty());
                }
            }
        }
        engine.consolidate_at(Timestamp(Timestamp::now().0 + 3_000 * 86_400_000)).unwrap();
        assert_eq!(engine.stats().memories, [0, 0, ids.len()]);
    }
}
