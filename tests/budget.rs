//! An engine keeps to its memory budget: what overflows moves down, and no store is refused.

mod common;

use common::{note, word};
use mnemocore::{Config, Engine, NewMemory, Query};

/// Bytes of anonymous memory of this process.
fn anonymous() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<usize>().ok()).unwrap_or(0) * 1_024
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

#[test]
fn a_store_is_never_refused_for_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::default().memory_budget(8 << 20).background(false);
    let engine = Engine::open(folder.path(), config).unwrap();
    // Vectors of 2 KB, and texts of 50 KB: more than the budget in all.
    let memory = |number: usize| {
        let text = format!("{} {}", note(&word(number)), "long ".repeat(10_000));
        let embedding: Vec<f32> = (0..32).map(|at| ((number * 31 + at * 7) % 13) as f32 - 6.0).collect();
        NewMemory::new(text).embedding(embedding)
    };
    for number in 0..400 {
        engine.store(memory(number)).unwrap();
    }
    engine.consolidate().unwrap();
    assert_eq!(engine.stats().total(), 400);
    assert!(
        engine.recall(Query::text(word(7)).limit(1)).unwrap().hits[0]
            .memory
            .text
            .starts_with(&note(&word(7)))
    );
}
