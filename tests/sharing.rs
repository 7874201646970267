//! Many small namespaces in one store behave as each in a store of its own.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{files_ending, tiny};
use mnemocore::{Config, Engine, MemoryId, Method, Namespace, NewMemory, Query, Timestamp};

const WORDS: [&str; 12] = [
    "walnut", "ferry", "garden", "violin", "letter", "harbour", "candle", "saddle", "meadow", "compass",
    "ribbon", "lantern",
];

const NAMESPACES: usize = 40;

/// The texts of one namespace.
type Texts = BTreeMap<MemoryId, (NewMemory, String)>;

fn space(number: usize) -> Namespace {
    Namespace::new(format!("user {number}")).unwrap()
}

/// A memory of a few words; every fifth has a vector of its own.
fn memory(random: &mut fastrand::Rng, number: usize) -> (NewMemory, String) {
    let words: Vec<&str> = (0..random.usize(2..9)).map(|_| WORDS[random.usize(..WORDS.len())]).collect();
    let text = format!("{} n{number}n", words.join(" "));
    let memory = NewMemory::new(text.as_str())
        .namespace(space((random.f64().powi(2) * NAMESPACES as f64) as usize))
        .created(Timestamp(1_000 + number as i64))
        .metadata("kind", if random.bool() { "plan" } else { "fact" });
    if random.u8(..5) == 0 {
        (memory.embedding((0..16).map(|_| random.f32() - 0.5).collect::<Vec<f32>>()), text)
    } else {
        (memory, text)
    }
}

fn queries(random: &mut fastrand::Rng, namespace: &Namespace) -> Vec<Query> {
    let words: Vec<&str> = (0..random.usize(1..5)).map(|_| WORDS[random.usize(..WORDS.len())]).collect();
    let text = Query::text(words.join(" ")).namespace(namespace.clone()).limit(7).touch(false);
    let embedding: Vec<f32> = (0..16).map(|_| random.f32() - 0.5).collect();
    let like = Query::embedding(embedding).namespace(namespace.clone()).limit(5).touch(false);
    vec![text.clone().metadata("kind", "plan"), text.clone().method(Method::Exact), text, like]
}

/// Compares a namespace with an engine that has nothing else, scores bit for bit.
fn compare(engine: &Engine, namespace: &Namespace, texts: &Texts, random: &mut fastrand::Rng) {
    let alone = Engine::in_memory(tiny().hot_capacity(10_000)).unwrap();
    let ids: Vec<MemoryId> = alone
        .store_batch(texts.values().map(|(memory, _)| memory.clone()).collect())
        .unwrap()
        .iter()
        .map(MemoryId::from)
        .collect();
    let own: BTreeMap<MemoryId, MemoryId> = ids.into_iter().zip(texts.keys().copied()).collect();
    for query in queries(random, namespace) {
        let hits = |engine: &Engine| {
            let hits = engine.recall(&query).unwrap().hits.into_iter();
            hits.map(|hit| (hit.memory.id, hit.memory.text, hit.score.to_bits())).collect::<Vec<_>>()
        };
        let expected: Vec<_> =
            hits(&alone).into_iter().map(|(id, text, score)| (own[&id], text, score)).collect();
        assert_eq!(hits(engine), expected, "{query:?}");
    }
}

fn config(random: &mut fastrand::Rng) -> Config {
    tiny().hot_capacity(random.usize(0..120)).warm_capacity(random.usize(0..200))
}

#[test]
fn many_small_namespaces_share_files_and_each_is_as_in_a_store_of_its_own() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (folder, config) = (tempfile::tempdir().unwrap(), config(&mut random));
        let mut engine = Some(Engine::open(folder.path(), config.clone()).unwrap());
        let mut all: BTreeMap<Namespace, Texts> = BTreeMap::new();
        let mut number = 0;
        for _ in 0..50 {
            let open = engine.as_ref().unwrap();
            match random.u8(..100) {
                0..40 => {
                    let some: Vec<(NewMemory, String)> =
                        (0..random.usize(1..60)).map(|at| memory(&mut random, number + at)).collect();
                    number += some.len();
                    let stored =
                        open.store_batch(some.iter().map(|(memory, _)| memory.clone()).collect()).unwrap();
                    for (stored, memory) in stored.iter().zip(some) {
                        let name = open.get(stored).unwrap().unwrap().namespace;
                        all.entry(name).or_default().insert(stored.id, memory);
                    }
                }
                40..60 => {
                    let ids: Vec<MemoryId> = all.values().flat_map(|texts| texts.keys().copied()).collect();
                    let some: Vec<MemoryId> = ids.iter().copied().filter(|_| random.u8(..9) == 0).collect();
                    open.forget_batch(&some).unwrap();
                    all.values_mut().for_each(|texts| texts.retain(|id, _| !some.contains(id)));
                }
                60..75 => drop(open.consolidate_at(Timestamp(2_000)).unwrap()),
                75..85 => open.compact().unwrap(),
                85..92 => {
                    drop(engine.take());
                    engine = Some(Engine::open(folder.path(), config.clone()).unwrap());
                }
                _ => {
                    // As a kill at this moment leaves it.
                    let killed = tempfile::tempdir().unwrap();
                    common::copy(folder.path(), killed.path());
                    let killed = Engine::open(killed.path(), config.clone()).unwrap();
                    assert_eq!(killed.stats().namespaces.len(), open.stats().namespaces.len());
                    assert_eq!(killed.stats().total(), open.stats().total());
                }
            }
            let open = engine.as_ref().unwrap();
            assert_eq!(open.stats().total(), all.values().map(BTreeMap::len).sum::<usize>());
            if let Some((namespace, texts)) = all.iter().nth(random.usize(..NAMESPACES)) {
                compare(open, namespace, texts, &mut random);
                for (id, memory) in texts {
                    let read = open.get(*id).unwrap().unwrap();
                    assert_eq!((&read.namespace, read.text), (namespace, memory.1.clone()));
                }
            }
        }
        let engine = engine.unwrap();
        engine.compact().unwrap();
        all.iter().for_each(|(namespace, texts)| compare(&engine, namespace, texts, &mut random));
        let files = files_ending(&folder.path().join("segments"), "seg");
        assert!(files.len() <= 3, "seed {seed}: {} files for {} namespaces", files.len(), all.len());
    }
}

#[test]
fn after_forget_and_compact_a_shared_file_holds_no_text_of_the_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny().hot_capacity(100)).unwrap();
    let memory = |number: usize| NewMemory::new(format!("the secret q{number}z")).namespace(space(number));
    let ids = engine.store_batch((0..60).map(memory).collect()).unwrap();
    engine.consolidate().unwrap();
    engine.forget_batch(ids.iter().step_by(2)).unwrap();
    engine.compact().unwrap();
    for file in common::files(folder.path()) {
        let bytes = fs::read(&file).unwrap();
        for number in (0..60).step_by(2) {
            let (text, name) = (format!("q{number}z"), format!("user {number}"));
            let holds = |what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
            assert!(!holds(&text), "{text} is in {}", file.display());
            // Names are followed by other things, so that only long ones tell.
            assert!(number < 10 || !holds(&name), "{name} is in {}", file.display());
        }
    }
    assert_eq!(engine.stats().total(), 30);
}

#[test]
fn a_damaged_byte_of_a_shared_file_costs_two_memories_at_most() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = tiny().hot_capacity(100);
    let engine = Engine::open(folder.path(), config.clone()).unwrap();
    let memory =
        |number: usize| NewMemory::new(format!("the secret q{number}z")).namespace(space(number % 20));
    engine.store_batch((0..60).map(memory).collect()).unwrap();
    engine.consolidate().unwrap();
    drop(engine);
    let length = fs::metadata(&files_ending(folder.path(), "seg")[0]).unwrap().len() as usize;
    for place in 0..40 {
        let store = copies.path().join(place.to_string());
        common::copy(folder.path(), &store);
        common::flip(&files_ending(&store, "seg")[0], place * length / 40);
        let Err(error) = Engine::open(&store, config.clone()) else {
            // Padding is of no use to anybody.
            continue;
        };
        assert!(error.to_string().contains("Engine::repair"), "{error}");
        let repair = Engine::repair(&store, config.clone()).unwrap();
        assert!(repair.kept >= 58 && repair.renamed.is_empty(), "{place}: {repair:?}");
        let engine = Engine::open(&store, config.clone()).unwrap();
        for (name, count) in engine.stats().namespaces {
            let query = Query::text("secret").namespace(name.clone()).touch(false);
            let hits = engine.recall(query).unwrap().hits;
            assert_eq!((hits.len(), count == 3 || repair.kept < 60), (count, true), "{place}: {name:?}");
            for hit in hits {
                let number: usize = hit.memory.text[12..].trim_end_matches('z').parse().unwrap();
                assert_eq!(space(number % 20), name, "{}", hit.memory.text);
            }
        }
    }
}

/// Before, replacing files whose rows were all dead counted as failed attempts, and a compaction gave up.
#[test]
fn a_compaction_after_a_restart_removes_all_shared_files_in_which_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    // A budget so small that shared files are not merged.
    let config = tiny().hot_capacity(0).warm_capacity(100_000).memory_budget(8 << 20);
    let engine = Engine::open(folder.path(), config.clone()).unwrap();
    for part in 0..12 {
        let memory = |number: usize| {
            NewMemory::new(format!("the secret q{part}z {}", "and so on ".repeat(60)))
                .namespace(space(number))
        };
        engine.store_batch((0..600).map(memory).collect()).unwrap();
        engine.consolidate().unwrap();
    }
    let files = || files_ending(&folder.path().join("segments"), "seg").len();
    assert!(files() > 8, "{} files", files());
    engine.forget_batch((0..100_000).map(MemoryId).collect::<Vec<_>>()).unwrap();
    drop(engine);
    let engine = Engine::open(folder.path(), config).unwrap();
    engine.compact().unwrap();
    assert_eq!((files(), engine.stats().total(), engine.stats().namespaces.len()), (0, 0, 0));
}

/// Before, the frequencies of a large segment in RAM with few live rows were estimated.
#[test]
fn forgotten_memories_do_not_count_in_scores_after_a_consolidation() {
    let engine = Engine::in_memory(tiny().hot_capacity(10_000)).unwrap();
    let alone = Engine::in_memory(tiny().hot_capacity(10_000)).unwrap();
    let text =
        |number: usize| format!("{} {} journal n{number}n", WORDS[number % 12], WORDS[number / 5 % 12]);
    let ids = engine.store_batch((0..600).map(|number| NewMemory::new(text(number))).collect()).unwrap();
    engine.forget_batch(&ids[7..]).unwrap();
    engine.consolidate().unwrap();
    alone.store_batch((0..7).map(|number| NewMemory::new(text(number))).collect()).unwrap();
    for word in WORDS {
        let hits = |engine: &Engine| {
            let hits = engine.recall(Query::text(format!("{word} journal")).touch(false)).unwrap().hits;
            hits.into_iter().map(|hit| (hit.memory.text, hit.score.to_bits())).collect::<Vec<_>>()
        };
        assert_eq!(hits(&engine), hits(&alone), "{word}");
    }
}
