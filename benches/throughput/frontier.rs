//! What a search finds against how many it does: recall@10, with the exact scan as
//! oracle, by the search's own limits.

use std::fmt::Display;
use std::time::Instant;

use mnemocore::harness::quality::mean;
use mnemocore::harness::results::Kind;
use mnemocore::index::{cascade, terms};
use mnemocore::{Config, Engine, Method, Query, Recall, TierKind};

use crate::Bench;
use crate::common::{Kept as _, Stock, recall_of};

/// Hits that are asked for.
const TOP: usize = 10;
/// Times that all queries are asked; the quickest counts.
const ROUNDS: usize = 3;

/// Limits of a search by terms; the first are the default.
fn text_limits() -> Vec<terms::Limits> {
    let default = terms::Limits::default();
    let candidates = [16, 64, 128, 256, 1_024].map(|candidates| terms::Limits { candidates, ..default });
    let z = [0.0, 1.0, 3.0].map(|z| terms::Limits { z, ..default });
    let bias = [1.0, 1.1, 1.5].map(|bias| terms::Limits { bias, ..default });
    let far = terms::Limits { candidates: 4_096, z: 3.0, bias: 1.5 };
    [&[default], &candidates[..], &z, &bias, &[far]].concat()
}

/// Limits of a search by sketches; the first are the default.
fn vector_limits() -> Vec<cascade::Limits> {
    let default = cascade::Limits::default();
    let candidates = [64, 256, 1_024, 16_384].map(|candidates| cascade::Limits { candidates, ..default });
    let z = [0.0, 1.0, 3.0].map(|z| cascade::Limits { z, ..default });
    [&[default], &candidates[..], &z].concat()
}

/// Measures and prints `frontier_text` and `frontier_vector`.
pub(crate) fn measure(bench: &mut Bench) {
    let (text, vector) =
        (Stock::new(TierKind::Hot, size(bench)), Stock::with_vectors(TierKind::Hot, size(bench)));
    let settings = text_limits().into_iter().map(|limits| {
        let terms::Limits { candidates, z, bias } = limits;
        let name = format!("c{candidates}_z{z}_b{bias}");
        (name, Config { term_limits: limits, ..text.config() })
    });
    frontier(bench, "frontier_text", text, settings.collect());
    let settings = vector_limits().into_iter().map(|limits| {
        let cascade::Limits { candidates, z } = limits;
        (format!("c{candidates}_z{z}"), Config { cascade_limits: limits, ..vector.config() })
    });
    frontier(bench, "frontier_vector", vector, settings.collect());
}

fn size(bench: &Bench) -> usize {
    if bench.test() { 300 } else { bench.profile().choose(5_000, 50_000, 100_000) }
}

/// One setting's place.
struct Point {
    name: String,
    recall: f64,
    rate: f64,
}

fn frontier(bench: &mut Bench, name: &str, stock: Stock, mut settings: Vec<(String, Config)>) {
    let full_name = |kind: Kind, setting: &dyn Display| format!("{name}/{}/{setting}", kind.as_str());
    settings.retain(|(setting, _)| {
        [Kind::Quality, Kind::Throughput].iter().any(|&kind| bench.admits(&full_name(kind, setting)))
    });
    if bench.test() {
        settings.truncate(2);
    }
    if settings.is_empty() {
        return;
    }
    let count = if bench.test() { 5 } else { bench.profile().choose(100, 200, 500) };
    let store = stock.open();
    let queries: Vec<Query> = store.queries(count).into_iter().map(|(query, _)| query.limit(TOP)).collect();
    let exact = ask(&store.engine, queries.iter().map(|query| query.clone().method(Method::Exact)));
    let folder = store.close();
    let points: Vec<Point> = settings
        .into_iter()
        .map(|(name, config)| {
            let engine = Engine::open(folder.path(), config).expect("a store that can be opened");
            point(name, &engine, &queries, &exact)
        })
        .collect();
    if bench.test() {
        return;
    }
    for Point { name: setting, recall, rate } in &points {
        bench.latency.recorder.note_value(&full_name(Kind::Quality, setting), Kind::Quality, *recall);
        bench.latency.recorder.note_value(&full_name(Kind::Throughput, setting), Kind::Throughput, *rate);
    }
    print(name, stock.memories, &points);
}

fn ask(engine: &Engine, queries: impl Iterator<Item = Query>) -> Vec<Recall> {
    queries.map(|query| engine.recall(&query).expect("a recall")).collect()
}

fn point(name: String, engine: &Engine, queries: &[Query], exact: &[Recall]) -> Point {
    // A warm-up as well: the words' vectors are cached from here on.
    let found = ask(engine, queries.iter().cloned());
    let recalls: Vec<f64> =
        found.iter().zip(exact).filter_map(|(found, exact)| recall_of(found, exact, TOP)).collect();
    let seconds = (0..ROUNDS).map(|_| {
        let queries: Vec<Query> = queries.to_vec();
        let started = Instant::now();
        drop(std::hint::black_box(ask(engine, queries.into_iter())));
        started.elapsed().as_secs_f64()
    });
    let quickest = seconds.fold(f64::INFINITY, f64::min);
    Point { name, recall: mean(&recalls).expect("queries with hits"), rate: queries.len() as f64 / quickest }
}

/// Prints them, the quickest last; a star stands by those that no other one beats
/// in both.
fn print(name: &str, memories: usize, points: &[Point]) {
    println!("{name}, {memories} memories, one thread");
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
