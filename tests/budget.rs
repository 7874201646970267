//! An engine keeps to its memory budget: what overflows moves down, and no store is refused.

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{note, word};
use mnemocore::{Config, Engine, Namespace, NewMemory, Query};

/// Bytes of anonymous memory of this process.
fn anonymous() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<usize>().ok()).unwrap_or(0) * 1_024
}

/// Keeps other tests out of what [`anonymous`] counts.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count() -> usize {
    std::env::var("MNEMO_BUDGETED").ok().and_then(|count| count.parse().ok()).unwrap_or(30_000)
}

/// A text as long as a message, of words that others have too.
fn text(number: usize) -> String {
    let some: Vec<String> = (1..12).map(|step| format!("w{}x", number * step * 7_919 % 5_003)).collect();
    format!("{} {}", note(&word(number)), some.join(" "))
}

#[test]
fn what_the_engine_takes_stays_within_its_budget() {
    let _alone = alone();
    let count = count();
    let budget = if count > 100_000 { 64 << 20 } else { 16 << 20 };
    let folder = tempfile::tempdir().unwrap();
    let config = Config::default().memory_budget(budget).hot_capacity(usize::MAX);
    let (empty, mut most, mut most_anonymous) = (anonymous(), 0, 0);
    let mut engine = Engine::open(folder.path(), config.clone()).unwrap();
    let numbers: Vec<usize> = (0..count).collect();
    for (batch, some) in numbers.chunks(500).enumerate() {
        engine.store_batch(some.iter().map(|&number| NewMemory::new(text(number))).collect()).unwrap();
        most = most.max(engine.stats().ram);
        most_anonymous = most_anonymous.max(anonymous().saturating_sub(empty));
        if batch % 50 == 49 {
            engine.consolidate().unwrap();
            most = most.max(engine.stats().ram);
        }
        if batch == count / 1_000 {
            drop(engine);
            engine = Engine::open(folder.path(), config.clone()).unwrap();
        }
    }
    let stats = engine.stats();
    println!(
        "{count} memories {:?}; accounted {most} of {budget}, anonymous {most_anonymous}",
        stats.memories
    );
    assert!(most <= budget, "{most} bytes are accounted for, of {budget}");
    assert!(most_anonymous <= budget + budget / 4 + (16 << 20), "{most_anonymous} bytes, of {budget}");
    assert_eq!(stats.total(), count);
    // It is used, too.
    assert!(stats.memories[0] > 1_000 && stats.memories[1] > 1_000, "{:?}", stats.memories);
    for number in (0..count).step_by(count / 50) {
        let hits = engine.recall(Query::text(word(number)).limit(1).touch(false)).unwrap().hits;
        assert_eq!(hits[0].memory.text, text(number));
    }
}

/// The name of a kind of memories, how many are stored, and what makes one.
type Kind<'a> = (&'a str, usize, &'a dyn Fn(usize) -> NewMemory);

/// Stores what `memory` makes for `count` numbers, and returns the most that was accounted for.
fn most(engine: &Engine, count: usize, memory: impl Fn(usize) -> NewMemory) -> usize {
    let mut most = 0;
    for number in 0..count {
        engine.store(memory(number)).unwrap();
        most = most.max(engine.stats().ram);
    }
    most
}

/// Before, rows were counted, whatever they take: 98 MB with vectors in small namespaces, 108 MB with long texts.
#[test]
fn large_memories_and_small_namespaces_keep_to_the_budget_too() {
    let _alone = alone();
    const BUDGET: usize = 8 << 20;
    let embedding = |number: usize| -> Vec<f32> {
        (0..32).map(|at| ((number * 31 + at * 7) % 13) as f32 - 6.0).collect()
    };
    let space = |number: usize| Namespace::new(format!("user {}", number % 200)).unwrap();
    let vector =
        |number: usize| NewMemory::new(text(number)).embedding(embedding(number)).namespace(space(number));
    let long = |number: usize| NewMemory::new(format!("{} {}", text(number), "long ".repeat(4_000)));
    let long_in_spaces = |number: usize| long(number).namespace(space(number));
    let kinds: [Kind<'_>; 3] =
        [("vectors", 2_000, &vector), ("long", 250, &long), ("long in namespaces", 250, &long_in_spaces)];
    for background in [false, true] {
        for (name, count, memory) in kinds {
            let folder = tempfile::tempdir().unwrap();
            let config = Config::default().memory_budget(BUDGET).background(background);
            let engine = Engine::open(folder.path(), config).unwrap();
            let most = most(&engine, count, memory);
            println!("{name}, background {background}: {most} of {BUDGET}, {:?}", engine.stats().memories);
            assert!(most <= BUDGET, "{name}, background {background}: {most} of {BUDGET}");
            assert_eq!(engine.stats().total(), count);
        }
    }
}

/// A text of many different words.
fn long(number: usize) -> String {
    let some: Vec<String> = (0..900).map(|step| format!("w{}x", number * 900 + step)).collect();
    format!("{} {}", note(&word(number)), some.join(" "))
}

/// Before, moves were bounded by rows: 88 MB of anonymous memory and 30 MB by the engine's own count.
#[test]
fn moves_of_long_texts_keep_to_the_budget() {
    const BUDGET: usize = 8 << 20;
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let config = Config::default().memory_budget(BUDGET).warm_capacity(100);
    let (empty, mut most, mut most_anonymous) = (anonymous(), 0, 0);
    let engine = Engine::open(folder.path(), config).unwrap();
    for number in 0..2_000 {
        engine.store(long(number)).unwrap();
        most = most.max(engine.stats().ram);
        most_anonymous = most_anonymous.max(anonymous().saturating_sub(empty));
    }
    engine.consolidate().unwrap();
    let [hot, warm, cold] = engine.stats().memories;
    println!("{most} of {BUDGET}, anonymous {most_anonymous}, {hot} {warm} {cold}");
    assert!(warm == 100 && cold > 1_000, "{hot} {warm} {cold}");
    assert!(most <= BUDGET && most_anonymous <= BUDGET + BUDGET / 4 + (16 << 20), "{most} {most_anonymous}");
    // Recalled ones rise, and displace others.
    for number in 0..500 {
        let hits = engine.recall(Query::text(word(number)).limit(1)).unwrap().hits;
        assert_eq!(hits[0].memory.text, long(number));
        most = most.max(engine.stats().ram);
    }
    let risen = engine.consolidate().unwrap().promoted;
    most = most.max(engine.stats().ram);
    most_anonymous = most_anonymous.max(anonymous().saturating_sub(empty));
    println!("{most} of {BUDGET}, anonymous {most_anonymous}, {risen} risen");
    assert!(most <= BUDGET && most_anonymous <= BUDGET + BUDGET / 4 + (16 << 20), "{most} {most_anonymous}");
}

/// Before, five times the budget was in HOT after a batch, until later stores had moved it down.
#[test]
fn a_batch_that_exceeds_the_budget_does_so_only_while_it_is_stored() {
    const BUDGET: usize = 8 << 20;
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let engine =
        Engine::open(folder.path(), Config::default().memory_budget(BUDGET).background(false)).unwrap();
    for batch in 0..3 {
        let texts = (0..2_000).map(|number| NewMemory::new(long(batch * 2_000 + number)));
        engine.store_batch(texts.collect()).unwrap();
        let ram = engine.stats().ram;
        assert!(ram <= BUDGET, "{ram} of {BUDGET} after batch {batch}, {:?}", engine.stats().memories);
    }
}

/// Before, each left an empty segment in RAM for good.
#[test]
fn namespaces_that_come_and_go_leave_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let config = Config::default().memory_budget(16 << 20).background(false);
    let engine = Engine::open(folder.path(), config).unwrap();
    let mut after = Vec::new();
    for round in 0..3 {
        for number in 0..1_500 {
            let name = Namespace::new(format!("user {round} {number}")).unwrap();
            let id = engine.store(NewMemory::new(text(number)).namespace(name)).unwrap();
            assert!(engine.forget(id).unwrap());
        }
        engine.compact().unwrap();
        after.push(engine.stats().ram);
    }
    assert!(after[2] <= after[0] + 65_536, "{after:?}");
}

#[test]
fn a_store_is_never_refused_for_the_budget() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let config = Config::default().memory_budget(8 << 20).background(false);
    let engine = Engine::open(folder.path(), config).unwrap();
    // Vectors of 2 KB, and texts of 50 KB: more than the budget in all.
    let memory = |number: usize| {
        let text = format!("{} {}", note(&word(number)), "long ".repeat(10_000));
        let embedding: Vec<f32> = (0..32).map(|at| ((number * 31 + at * 7) % 13) as f32 - 6.0).collect();
        NewMemory::new(text).embedding(embedding)
    };
    for number in 0..200 {
        engine.store(memory(number)).unwrap();
    }
    engine.consolidate().unwrap();
    assert_eq!(engine.stats().total(), 200);
    assert!(
        engine.recall(Query::text(word(7)).limit(1)).unwrap().hits[0]
            .memory
            .text
            .starts_with(&note(&word(7)))
    );
}
