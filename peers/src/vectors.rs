//! Supplied vectors: the same vectors, the same queries, one thread.

use std::path::Path;
use std::time::{Duration, Instant};

use mnemocore::encoder::{Document, EncodeError, Encoder};
use mnemocore::hdv::{HdvError, Hypervector};
use mnemocore_suite::workload::{Workload, partial_query};
use rayon::prelude::*;

use crate::mnemocore::Memories;
use crate::usearch::Hnsw;
use crate::{Outcome, SHARED, STORED_SINGLY, TOP, WARM_UP};
use crate::{anonymous_bytes, bytes_in, megabytes, micros, quantile, selected};

/// Queries, each made of a part of one text.
const QUERIES: usize = 1_000;

/// Returns the numbers of the ten nearest vectors, the nearest first.
pub type Search<'a> = Box<dyn Fn(&Hypervector) -> Outcome<Vec<u64>> + 'a>;

/// A system that stores vectors and finds the nearest.
pub trait VectorIndex {
    /// Stores all vectors, durably. Their numbers are their places.
    fn load(&mut self, vectors: &[Hypervector]) -> Outcome<()>;

    /// Stores one vector, so that the next query can find it.
    fn store(&mut self, number: u64, vector: &Hypervector) -> Outcome<()>;

    /// Its ways to search, with their names.
    fn searches(&self) -> Vec<(String, Search<'_>)>;
}

type Open = fn(&Path) -> Outcome<Box<dyn VectorIndex>>;

const SYSTEMS: [(&str, Open); 2] = [
    ("mnemocore", |folder| Ok(Box::new(Memories::open(folder)?))),
    ("usearch", |folder| Ok(Box::new(Hnsw::open(folder)?))),
];

/// Compares the systems that the arguments select, on the number of vectors that they begin with.
pub fn compare(mut arguments: impl Iterator<Item = String>) -> Outcome<()> {
    let count: usize = arguments.next().ok_or("expected a number of vectors")?.parse()?;
    let systems = selected(&SYSTEMS, &arguments.collect::<Vec<_>>())?;
    let data = Data::generate(count)?;
    println!("{count} vectors, {} queries, one thread", data.queries.len());
    println!(
        "| system | recall@{TOP} | source first | P50 | P95 | P99 | bulk, a vector | store P50 | P99 | RAM | disk |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, open) in systems {
        let folder = tempfile::tempdir()?;
        let before = anonymous_bytes();
        let mut index = open(folder.path())?;
        let loaded = Instant::now();
        index.load(&data.vectors)?;
        let bulk = loaded.elapsed() / count as u32;
        let searches = index.searches();
        let searched = searches.iter().map(|(_, search)| data.ask(search)).collect::<Outcome<Vec<_>>>()?;
        let names: Vec<String> = searches.into_iter().map(|(name, _)| name).collect();
        let (ram, disk) = (anonymous_bytes().saturating_sub(before), bytes_in(folder.path())?);
        let stores = data.store_later(&mut *index)?;
        let mut costs = format!(
            "{:.2} us | {:.1} us | {:.1} us | {:.1} MB | {:.1} MB",
            micros(bulk),
            quantile(&stores, 0.5),
            quantile(&stores, 0.99),
            megabytes(ram),
            megabytes(disk),
        );
        for (search, searched) in names.iter().zip(searched) {
            println!("| {name}, {search} | {searched} | {costs} |");
            // They are the same for each way to search.
            costs = "| | | |".to_owned();
        }
    }
    Ok(())
}

/// Vectors and queries, encoded from generated texts.
struct Data {
    vectors: Vec<Hypervector>,
    later: Vec<Hypervector>,
    queries: Vec<Query>,
}

/// A query, and what its answer must hold.
struct Query {
    vector: Hypervector,
    source: Hypervector,
    /// The distance of the last of the nearest vectors.
    reach: u32,
}

impl Data {
    fn generate(count: usize) -> Outcome<Self> {
        if count < TOP {
            return Err(format!("expected at least {TOP} vectors; received {count}").into());
        }
        let encoder = Encoder::default();
        let encode = |text: &str| encoder.encode(&Document::new(text).analyze()?);
        let texts = |seed, count| Workload::new(seed).take(count).map(|item| item.content().into_owned());
        let later = texts(43, STORED_SINGLY).map(|text| encode(&text)).collect::<Result<_, _>>()?;
        let texts: Vec<String> = texts(42, count).collect();
        let vectors = texts.par_iter().map(|text| encode(text)).collect::<Result<Vec<_>, EncodeError>>()?;
        let asked = QUERIES.min(count);
        let query = |number: usize| -> Outcome<Query> {
            let source = number * (count / asked);
            let vector = encode(&partial_query(&texts[source], SHARED, number as u64))?;
            let reach = reach(&vectors, &vector)?;
            Ok(Query { vector, source: vectors[source].clone(), reach })
        };
        let queries = (0..asked).map(query).collect::<Outcome<_>>()?;
        Ok(Self { vectors, later, queries })
    }

    /// Asks all queries, after some to warm up.
    fn ask(&self, search: &Search<'_>) -> Outcome<Searched> {
        for query in self.queries.iter().take(WARM_UP) {
            search(&query.vector)?;
        }
        let mut times = Vec::with_capacity(self.queries.len());
        let (mut near, mut first) = (0, 0);
        for query in &self.queries {
            let started = Instant::now();
            let hits = search(&query.vector)?;
            times.push(started.elapsed());
            let hits = hits.iter().map(|&hit| self.vectors.get(hit as usize).ok_or("an unknown vector"));
            let hits = hits.collect::<Result<Vec<_>, _>>()?;
            first += usize::from(hits.first() == Some(&&query.source));
            for hit in hits {
                near += usize::from(hit.hamming(&query.vector)? <= query.reach);
            }
        }
        times.sort_unstable();
        let asked = self.queries.len() as f64;
        Ok(Searched { times, recall: near as f64 / asked / TOP as f64, source_first: first as f64 / asked })
    }

    /// Stores the later vectors one by one.
    fn store_later(&self, index: &mut dyn VectorIndex) -> Outcome<Vec<Duration>> {
        let mut times = Vec::with_capacity(self.later.len());
        for (vector, number) in self.later.iter().zip(self.vectors.len() as u64..) {
            let started = Instant::now();
            index.store(number, vector)?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        Ok(times)
    }
}

/// How far the last of the nearest vectors is from `query`. Compares all of them.
fn reach(vectors: &[Hypervector], query: &Hypervector) -> Result<u32, HdvError> {
    let distances = vectors.par_iter().map(|vector| vector.hamming(query));
    let mut distances = distances.collect::<Result<Vec<_>, _>>()?;
    Ok(*distances.select_nth_unstable(TOP - 1).1)
}

/// The answers of one way to search.
struct Searched {
    times: Vec<Duration>,
    /// The share of hits that are no farther than the last of the nearest vectors.
    recall: f64,
    /// The share of queries whose first hit is their source.
    source_first: f64,
}

impl std::fmt::Display for Searched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |share| quantile(&self.times, share);
        let (p50, p95, p99) = (at(0.5), at(0.95), at(0.99));
        write!(f, "{:.4} | {:.4} | {p50:.1} us | {p95:.1} us | {p99:.1} us", self.recall, self.source_first)
    }
}
