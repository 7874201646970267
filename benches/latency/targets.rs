//! Compares the engine with its targets. Ratios come from rounds that alternate in this process, so
//! that noise affects both sides.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion_gate::measure::Latencies;
use criterion_gate::profile::Profile;
use mnemocore::{Config, Engine, Memory, Method, NewMemory, Query, Recall, TierKind};
use mnemocore_suite::corpus::Corpus;
use mnemocore_suite::quality::mean;

use super::common::{Fixture, Kept as _, Recorder, Store, asked_for, new_texts, recall_of};
use super::open_to_grow;

/// Hits that are asked for.
const TOP: usize = 10;
/// Queries that a search is judged by.
const COMPARED: usize = 100;
/// The time that the oracle may take for the texts of one store, and about what it takes for each of
/// them: it reads and analyzes every text again.
const ORACLE: Duration = Duration::from_secs(3);
const ORACLE_OF_A_TEXT: Duration = Duration::from_micros(5);
/// Queries of one round of a comparison.
const ROUND: usize = 10;
/// Single operations that percentiles are taken from.
const OPERATIONS: usize = 5_000;
/// Stores into one engine before it is the other's turn.
const STORES: usize = 100;
/// The size that most targets are meant for.
const MEANT_FOR: usize = 100_000;
/// A data set, whose questions are asked as well.
const DATA: &str = "MNEMO_DATA";

/// Measures, prints and notes them all.
pub(crate) fn print(profile: Profile, to: &mut Recorder) {
    let largest = profile.choose(10_000, MEANT_FOR, MEANT_FOR);
    println!("Targets:");
    if profile == Profile::Full {
        text(to, 1_000_000);
    }
    if largest > 10_000 {
        text(to, 10_000);
    }
    text(to, 3_000);
    let hot = text(to, largest);
    spread(to, &hot);
    lower_tiers(to, &hot, largest);
    drop(hot);
    vectors(to, largest);
    data_set();
    stores(to, profile);
}

/// Recall of texts, which has to be the oracle's.
fn text(to: &mut Recorder, memories: usize) -> Store {
    let store = Fixture::new(TierKind::Hot, memories).open();
    let name = format!("recall top-{TOP}, {memories} text");
    let queries = store.queries(oracle_queries(memories));
    let [(found, _), (exact, _)] =
        [Method::Indexed, Method::Exact].map(|method| ask(&store.engine, &queries, method));
    let recalls: Vec<f64> =
        found.iter().zip(&exact).filter_map(|(found, exact)| recall_of(found, exact, TOP)).collect();
    let recall = mean(&recalls).unwrap_or(1.0);
    let measured = format!("{recall:.4}, {} queries", recalls.len());
    to.target(format!("{name}, recall@{TOP} against the oracle"), measured, "1.0000", recall >= 1.0);

    let queries = store.queries(COMPARED);
    let (found, _) = ask(&store.engine, &queries, Method::Indexed);
    let found = share_found(&found, &queries);
    to.target(format!("{name}, source found"), format!("{:.1} %", 100.0 * found), "always", found >= 1.0);
    store
}

/// How many queries the oracle answers in its time.
fn oracle_queries(memories: usize) -> usize {
    let one = ORACLE_OF_A_TEXT.as_secs_f64() * memories as f64;
    ((ORACLE.as_secs_f64() / one) as usize).clamp(1, COMPARED)
}

/// Recall of vectors, the sketch cascade, against the exact scan.
fn vectors(to: &mut Recorder, memories: usize) {
    let store = Fixture::with_vectors(TierKind::Hot, memories).open();
    let queries = store.queries(COMPARED);
    let Compared { ratio, recall, found, found_exactly } = Compared::new(&store.engine, &queries);
    let name = format!("recall top-{TOP}, {memories} vectors");
    let measured = format!("{ratio:.1} x faster than the exact scan");
    to.target_of_size(memories >= MEANT_FOR, &name, measured, ">= 25 x", ratio >= 25.0);
    to.target(format!("{name}, recall@{TOP}"), format!("{recall:.4}"), ">= 0.99", recall >= 0.99);
    let measured = format!("{:.1} %, exact scan {:.1} %", 100.0 * found, 100.0 * found_exactly);
    to.target(format!("{name}, source found"), measured, "always", found >= 1.0);
}

/// Indexed search beside the exact scan.
struct Compared {
    /// Time of the exact scan over that of the index, the median of the rounds.
    ratio: f64,
    /// Of the exact scan's hits.
    recall: f64,
    /// Share of queries whose own memory was among the hits.
    found: f64,
    found_exactly: f64,
}

impl Compared {
    fn new(engine: &Engine, queries: &[(Query, Memory)]) -> Self {
        let (mut ratios, mut recalls) = (Vec::new(), Vec::new());
        let (mut found, mut found_exactly) = (Vec::new(), Vec::new());
        for (round, some) in queries.chunks(ROUND).enumerate() {
            let indexed = || ask(engine, some, Method::Indexed);
            let exact = || ask(engine, some, Method::Exact);
            let ((fast, fast_time), (slow, slow_time));
            if round.is_multiple_of(2) {
                (fast, fast_time) = indexed();
                (slow, slow_time) = exact();
            } else {
                (slow, slow_time) = exact();
                (fast, fast_time) = indexed();
            }
            ratios.push(slow_time.as_secs_f64() / fast_time.as_secs_f64());
            recalls.extend(fast.iter().zip(&slow).filter_map(|(fast, slow)| recall_of(fast, slow, TOP)));
            found.extend(fast);
            found_exactly.extend(slow);
        }
        Self {
            ratio: median(ratios),
            recall: mean(&recalls).unwrap_or(1.0),
            found: share_found(&found, queries),
            found_exactly: share_found(&found_exactly, queries),
        }
    }
}

/// The answers, and what they took together.
fn ask(engine: &Engine, queries: &[(Query, Memory)], method: Method) -> (Vec<Recall>, Duration) {
    let queries: Vec<Query> = queries.iter().map(|(query, _)| query.clone().method(method)).collect();
    let started = Instant::now();
    let answers = queries.iter().map(|query| engine.recall(query).expect("a recall")).collect();
    (answers, started.elapsed())
}

/// The share of `queries` whose own memory was found.
fn share_found(found: &[Recall], queries: &[(Query, Memory)]) -> f64 {
    let count = found.iter().zip(queries).filter(|(recall, (_, source))| finds(recall, source)).count();
    count as f64 / queries.len() as f64
}

/// Whether a memory is among the hits, or one with the very same words.
fn finds(recall: &Recall, source: &Memory) -> bool {
    recall.hits.iter().any(|hit| hit.memory.id == source.id || hit.memory.text == source.text)
}

/// P99 against P50 of single recalls.
fn spread(to: &mut Recorder, store: &Store) {
    let queries = store.queries(OPERATIONS);
    let mut latencies = Latencies::new();
    for (query, _) in &queries {
        let started = Instant::now();
        black_box(store.engine.recall(query).expect("a recall"));
        latencies.record(started.elapsed());
    }
    let ratio = latencies.p99().as_secs_f64() / latencies.p50().as_secs_f64();
    let name = format!("recall top-{TOP}, {} text, P99", store.fixture.memories);
    let is_measured = store.fixture.memories >= MEANT_FOR;
    to.target_of_size(is_measured, name, format!("{ratio:.2} x P50; {latencies}"), "<= 2.5 x", ratio <= 2.5);
}

/// WARM and COLD against HOT.
fn lower_tiers(to: &mut Recorder, hot: &Store, memories: usize) {
    let queries = hot.queries(5 * COMPARED);
    let time =
        |store: &Store, some: &[(Query, Memory)]| ask(&store.engine, some, Method::Indexed).1.as_secs_f64();
    for (tier, target) in [(TierKind::Warm, 1.2), (TierKind::Cold, 3.0)] {
        let store = Fixture::new(tier, memories).open();
        // Fills the page cache.
        time(&store, &queries);
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for some in queries.chunks(ROUND) {
            here.push(time(&store, some));
            there.push(time(hot, some));
        }
        let ratios = here.iter().zip(&there).map(|(here, there)| here / there).collect();
        let ratio = median(ratios);
        let micros = |times: Vec<f64>| median(times) / ROUND as f64 * 1e6;
        let measured = format!("{ratio:.2} x HOT ({:.0} us against {:.0} us)", micros(here), micros(there));
        let name = format!("recall in {tier}, {memories} text");
        to.target_of_size(memories >= MEANT_FOR, name, measured, format!("<= {target} x"), ratio <= target);
    }
}

/// Stores into a full HOT, of few and of many memories.
fn stores(to: &mut Recorder, profile: Profile) {
    let few = profile.choose(1_000, 10_000, 10_000);
    let many = profile.choose(10_000, 100_000, 1_000_000);
    let engines = [few, many].map(|memories| open_to_grow(Fixture::new(TierKind::Hot, memories)));
    let mut latencies = [Latencies::new(), Latencies::new()];
    for texts in new_texts(4 * OPERATIONS).chunks(STORES) {
        for (store, latencies) in engines.iter().zip(&mut latencies) {
            for text in texts {
                let started = Instant::now();
                black_box(store.engine.store(text.as_str()).expect("a store"));
                latencies.record(started.elapsed());
            }
        }
    }
    let p99 = latencies.each_ref().map(|latencies| latencies.p99().as_secs_f64() * 1e6);
    for (memories, latencies) in [few, many].iter().zip(&latencies) {
        let name = format!("store into a full HOT of {memories}");
        let is_measured = *memories >= 10_000;
        for (percentile, time, target) in [("P99", latencies.p99(), 60.0), ("P50", latencies.p50(), 12.0)] {
            let (name, micros) = (format!("{name}, {percentile}"), time.as_secs_f64() * 1e6);
            let measured = format!("{micros:.1} us; {latencies}");
            to.target_of_size(is_measured, name, measured, format!("<= {target} us"), micros <= target);
        }
    }
    let [p50_few, p50_many] = latencies.each_ref().map(|latencies| latencies.p50().as_secs_f64());
    let growth = p99[1] / p99[0];
    let name = format!("growth of that P99 from {few} to {many} memories");
    let measured = format!("{growth:.2} x (P50 {:.2} x)", p50_many / p50_few);
    to.target_of_size(many == 1_000_000, name, measured, "<= 1.5 x", growth <= 1.5);
}

/// Ends the process if the environment names a data set that cannot be read. Names the rows that
/// cannot be used.
pub(crate) fn check_data_set() {
    if let Some(folder) = std::env::var_os(DATA) {
        asked_for(Corpus::read(Path::new(&folder))).left_out.iter().for_each(|row| eprintln!("{row}"));
    }
}

/// The recall for some questions of a data set, as many as the oracle answers in its time.
fn data_set() {
    let Some(folder) = std::env::var_os(DATA) else { return };
    let corpus = match Corpus::read(Path::new(&folder)) {
        Ok(corpus) => corpus,
        // It has changed since the start.
        Err(error) => return println!("  {DATA}: {error}"),
    };
    let memories = corpus.memories.len();
    let config = Config::default().memory_budget(usize::MAX).hot_capacity(memories).background(false);
    let engine = Engine::in_memory(config).expect("an engine");
    let batch = corpus.memories.iter().map(|item| NewMemory::new(item.content())).collect();
    engine.store_batch(batch).expect("memories that can be stored");
    engine.consolidate().expect("a consolidation");
    let started = Instant::now();
    let recalls: Vec<f64> = corpus
        .questions
        .iter()
        .step_by(corpus.questions.len().div_ceil(COMPARED).max(1))
        .take_while(|_| started.elapsed() < ORACLE)
        .filter_map(|question| {
            let query = Query::text(question.text.as_str()).touch(false);
            let indexed = engine.recall(&query).ok()?;
            recall_of(&indexed, &engine.recall(query.method(Method::Exact)).ok()?, TOP)
        })
        .collect();
    let recall = mean(&recalls).unwrap_or(1.0);
    println!(
        "  {memories} memories of {DATA}, {} of its questions, recall@{TOP}: {recall:.4}",
        recalls.len()
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
