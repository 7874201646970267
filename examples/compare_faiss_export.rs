//! Our half of the comparison with FAISS (`adapters/faiss`): measures the sketch
//! cascade and the cost of adding to the index, and writes the vectors, queries
//! and answers that the other half reads.
//!
//! `cargo run --release --example compare_faiss_export -- DIRECTORY [MEMORIES]`
//!
//! Written are `vectors.bin` and `queries.bin` (2,048 bytes a vector),
//! `exact.bin` (the Hamming distances of the ten nearest of every query, as
//! little-endian `u32`) and `ours.json` (times in microseconds).

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use criterion_gate::measure::Latencies;
use criterion_gate::random::Random;
use mnemocore::encoder::{Document, EncodeError, Encoder, TermCounts, TermVector};
use mnemocore::hdv::Hypervector;
use mnemocore::internals::NamespaceId;
use mnemocore::internals::log::{Batch, VolatileLog};
use mnemocore::internals::segment::{PreparedMemory, Row, SKETCH_BITS};
use mnemocore::internals::tier::local::{LocalTier, Residency};
use mnemocore::internals::tier::{Effort, Limits, Tier};
use mnemocore::{Config, Engine, Hit, MemoryId, Method, NewMemory, Query};
use mnemocore_suite::workload::{Workload, partial_query};

const SEED: u64 = 42;
const MEMORIES: usize = 100_000;
const QUERIES: usize = 256;
/// Share of a stored text's words that its query holds.
const SHARED: f64 = 0.6;
const K: usize = 10;
/// Memories in a batch, so that filling takes seconds.
const BATCH: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("expected a directory to write to")?);
    let memories = arguments.next().map_or(Ok(MEMORIES), |number| number.parse())?;
    fs::create_dir_all(&directory)?;

    let encoder = Encoder::default();
    let items = Workload::new(SEED).take(memories);
    let (texts, times): (Vec<String>, Vec<i64>) =
        items.map(|item| (item.content().into_owned(), item.timestamp_ms)).unzip();
    let counts = texts.iter().map(|text| Document::new(text).counts()).collect::<Result<Vec<_>, _>>()?;
    let encode = |counts: &TermCounts| encoder.encode(&TermVector::from(counts));
    let vectors = counts.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
    let (sources, queries) = queries(&encoder, &texts)?;

    let adding = Adding::measure(&counts, &vectors, &times)?;
    println!("adding: {:.2} us a memory, {:.1} KB a thousand", adding.micros, adding.bytes / 1024.0 * 1e3);

    let stored = store(&texts, &vectors)?;
    let exact = Searches::run(&stored, &queries, Method::Exact)?;
    let cascade = Searches::run(&stored, &queries, Method::Indexed)?;
    let recall = cascade.recall_against(&exact);
    let source_found = cascade.share_with(&sources);
    println!("cascade: {}, recall@10 {recall:.4}, source found {source_found:.4}", cascade.latencies);
    println!("exact:   {}", exact.latencies);

    fs::write(directory.join("vectors.bin"), bytes(&vectors))?;
    fs::write(directory.join("queries.bin"), bytes(&queries))?;
    let distances = exact.hits.iter().flatten().map(|&(_, distance)| distance);
    fs::write(directory.join("exact.bin"), distances.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())?;
    let micros = |latencies: &Latencies, share| latencies.quantile(share).as_nanos() as f64 / 1e3;
    let ours = serde_json::json!({
        "memories": memories,
        "queries": QUERIES,
        "bits": encoder.dimension().bits(),
        "sources": sources,
        "cascade": {
            "p50": micros(&cascade.latencies, 0.5),
            "p99": micros(&cascade.latencies, 0.99),
            "recall": recall,
            "source_found": source_found,
        },
        "exact": { "p50": micros(&exact.latencies, 0.5), "p99": micros(&exact.latencies, 0.99) },
        "adding": { "micros": adding.micros, "bytes": adding.bytes },
    });
    fs::write(directory.join("ours.json"), serde_json::to_vec_pretty(&ours)?)?;
    Ok(())
}

/// Queries that share words with a stored text, encoded as texts are, and the
/// positions of those texts.
fn queries(encoder: &Encoder, texts: &[String]) -> Result<(Vec<usize>, Vec<Hypervector>), EncodeError> {
    let mut random = Random::stream(SEED, 2);
    let sources: Vec<usize> = (0..QUERIES).map(|_| random.below(texts.len() as u32) as usize).collect();
    let encode = |(&source, seed): (&usize, u64)| {
        encoder.encode(&Document::new(&partial_query(&texts[source], SHARED, seed)).analyze()?)
    };
    let queries = sources.iter().zip(0..).map(encode).collect::<Result<_, _>>()?;
    Ok((sources, queries))
}

/// The cost of one memory in the index, without its encoding, its vector and its text: an entry in
/// the inverted list of every term, a sketch, and the merges that these cause.
struct Adding {
    micros: f64,
    bytes: f64,
}

impl Adding {
    fn measure(
        counts: &[TermCounts],
        vectors: &[Hypervector],
        times: &[i64],
    ) -> Result<Self, mnemocore::Error> {
        let memories = counts.iter().zip(vectors).zip(times).zip(1..);
        let memories: Vec<Arc<PreparedMemory>> = memories
            .map(|(((counts, vector), &time), id)| Arc::new(memory(counts, vector, time, id)))
            .collect();
        let namespace = NamespaceId::default();
        let log = Arc::new(VolatileLog::default());
        let mut tier =
            LocalTier::new(Residency::HOT, log, None, Arc::default(), (0.0, Limits::default()), []);
        let mut batch = Batch::default();
        let started = Instant::now();
        for memory in &memories {
            let done = tier.stage(namespace, vec![memory.clone()])()?;
            tier.apply(done, &mut batch)?;
            while let Some(work) = tier.upkeep(Effort::Due) {
                tier.apply(work()?, &mut batch)?;
            }
        }
        let count = memories.len().max(1) as f64;
        let micros = started.elapsed().as_secs_f64() * 1e6 / count;
        Ok(Self { micros, bytes: tier.view(namespace).bytes().ram as f64 / count })
    }
}

/// A text without its record, as the engine prepares it.
fn memory(counts: &TermCounts, vector: &Hypervector, created: i64, id: u64) -> PreparedMemory {
    let row = Row {
        id: MemoryId(id),
        created,
        importance: 1.0,
        accesses: 1,
        length: counts.length(),
        supplied: false,
        terms: counts.terms().into(),
        sketch: vector.words().iter().take(SKETCH_BITS / 64).copied().collect(),
    };
    PreparedMemory { row, vector: None, record: [0].into() }
}

/// An engine that holds everything in HOT, each memory with its vector supplied.
/// Also gives the positions that their ids stand for.
fn store(
    texts: &[String],
    vectors: &[Hypervector],
) -> Result<(Engine, HashMap<MemoryId, usize>), mnemocore::Error> {
    let config = Config::default().hot_capacity(texts.len()).background(false);
    let engine = Engine::in_memory(config)?;
    let mut ids = Vec::with_capacity(texts.len());
    for (texts, vectors) in texts.chunks(BATCH).zip(vectors.chunks(BATCH)) {
        let memories = texts.iter().zip(vectors);
        let memories = memories.map(|(text, vector)| NewMemory::new(text).vector(vector.clone()));
        ids.extend(engine.store_batch(memories.collect())?.iter().map(MemoryId::from));
    }
    engine.consolidate()?;
    Ok((engine, ids.into_iter().zip(0..).collect()))
}

/// Every query asked once, after a round to warm up.
struct Searches {
    latencies: Latencies,
    /// Position and Hamming distance of the hits, the nearest first.
    hits: Vec<Vec<(usize, u32)>>,
}

impl Searches {
    fn run(
        (engine, positions): &(Engine, HashMap<MemoryId, usize>),
        queries: &[Hypervector],
        method: Method,
    ) -> Result<Self, mnemocore::Error> {
        let ask = |query: &Hypervector| Query::vector(query.clone()).limit(K).touch(false).method(method);
        let asked: Vec<Query> = queries.iter().map(ask).collect();
        for query in asked.iter().take(32) {
            engine.recall(query)?;
        }
        let (mut latencies, mut hits) = (Latencies::new(), Vec::with_capacity(asked.len()));
        let bits = engine.config().dimension.bits() as f64;
        for query in &asked {
            let started = Instant::now();
            let recall = engine.recall(query)?;
            latencies.record(started.elapsed());
            let distance = |score: f32| ((1.0 - f64::from(score)) / 2.0 * bits).round() as u32;
            let found = |hit: &Hit| Some((*positions.get(&hit.memory.id)?, distance(hit.score)));
            hits.push(recall.hits.iter().filter_map(found).collect());
        }
        Ok(Self { latencies, hits })
    }

    /// Mean share of the hits that are no farther than the last exact one.
    fn recall_against(&self, exact: &Self) -> f64 {
        let shares = self.hits.iter().zip(&exact.hits).map(|(found, exact)| {
            let reach = exact.last().map_or(0, |&(_, distance)| distance);
            let within = found.iter().filter(|&&(_, distance)| distance <= reach).count();
            within as f64 / exact.len().max(1) as f64
        });
        shares.sum::<f64>() / self.hits.len().max(1) as f64
    }

    /// Share of the queries whose source is among the hits.
    fn share_with(&self, sources: &[usize]) -> f64 {
        let pairs = self.hits.iter().zip(sources);
        let found = pairs.filter(|(hits, source)| hits.iter().any(|(position, _)| position == *source));
        found.count() as f64 / sources.len().max(1) as f64
    }
}

fn bytes(vectors: &[Hypervector]) -> Vec<u8> {
    vectors.iter().flat_map(Hypervector::words).flat_map(|word| word.to_le_bytes()).collect()
}
