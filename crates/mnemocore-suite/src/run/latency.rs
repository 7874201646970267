//! Latency of the verbs by tier.

use std::hint::black_box;
use std::path::Path;

use super::{RunConfig, RunError, run_benchmarks};
use crate::benchmark::{Benchmark, Failure};
use crate::fixture::{Fixture, NotInTier, new_texts};
use criterion_gate::measure::Measurement;
use mnemocore::{Engine, Error, Query, TierKind};

/// Distinct queries, asked in turn, and distinct texts, stored in turn: as in the
/// latency bench.
const QUERIES: usize = 500;
const TEXTS: usize = 20_000;

/// Times single recalls, syntheses and stores in each of [`RunConfig::sizes`], as
/// `recall_hot/p99/5000` and `recall_hot/wall/5000`.
///
/// Every memory is in the tier of the name, which is checked; stores go to disk
/// (`Durability::Buffered`) while the background thread does its work.
///
/// # Errors
/// [`RunError`].
pub fn run_latency(config: &RunConfig) -> Result<Vec<Measurement>, RunError> {
    config.check()?;
    let mut measured = Vec::new();
    for &(tier, memories) in &config.sizes {
        let fixture = config.fixture(tier, memories);
        let (folder, engine) = config.fill(fixture)?;
        let queries = InTurn::new(queries(fixture, &engine)?);
        let mut recall = Ask { verb: "recall", ask: recall, fixture, engine: &engine, queries };
        let mut synthesize = Ask { verb: "synthesize", ask: synthesize, ..recall.clone() };
        measured.extend(run_benchmarks(config, &mut [&mut recall, &mut synthesize])?);
        drop(engine);
        let mut store = Store {
            fixture,
            engine: open_to_grow(fixture, folder.path())?,
            texts: InTurn::new(new_texts(fixture.seed, TEXTS)),
        };
        measured.extend(run_benchmarks(config, &mut [&mut store])?);
    }
    Ok(measured)
}

/// Queries that are asked in turn.
pub(super) fn queries(fixture: Fixture, engine: &Engine) -> Result<Vec<Query>, Error> {
    Ok(fixture.queries(engine, QUERIES)?.into_iter().map(|(query, _)| query).collect())
}

/// Values that come one after the other, over and over.
#[derive(Clone)]
struct InTurn<T> {
    values: Vec<T>,
    next: usize,
}

impl<T> InTurn<T> {
    fn new(values: Vec<T>) -> Self {
        Self { values, next: 0 }
    }

    fn next(&mut self) -> Result<&T, Failure> {
        let place = self.next % self.values.len().max(1);
        self.next += 1;
        self.values.get(place).ok_or_else(|| "nothing to ask or to store".into())
    }
}

/// Opens a filled store, merged once, whose background thread works while it grows.
pub(super) fn open_to_grow(fixture: Fixture, folder: &Path) -> Result<Engine, Error> {
    let engine = Engine::open(folder, fixture.config().background(true))?;
    engine.consolidate()?;
    Ok(engine)
}

fn recall(engine: &Engine, query: &Query) -> Result<(), Error> {
    engine.recall(query).map(|recall| drop(black_box(recall)))
}

fn synthesize(engine: &Engine, query: &Query) -> Result<(), Error> {
    engine.synthesize(query).map(|synthesis| drop(black_box(synthesis)))
}

/// The name of a verb's group in a tier.
pub(super) fn group(verb: &str, tier: TierKind) -> String {
    format!("{verb}_{tier}").to_lowercase()
}

/// Recall or synthesize.
#[derive(Clone)]
struct Ask<'e> {
    verb: &'static str,
    ask: fn(&Engine, &Query) -> Result<(), Error>,
    fixture: Fixture,
    engine: &'e Engine,
    queries: InTurn<Query>,
}

impl Benchmark for Ask<'_> {
    fn group(&self) -> String {
        group(self.verb, self.fixture.tier)
    }

    fn case(&self) -> String {
        self.fixture.memories.to_string()
    }

    fn run(&mut self) -> Result<(), Failure> {
        Ok((self.ask)(self.engine, self.queries.next()?)?)
    }

    fn verify(&mut self) -> Result<(), Failure> {
        Ok(self.fixture.check(self.engine)?)
    }
}

/// Store into a tier: as HOT is full, each store there moves a memory to WARM.
struct Store {
    fixture: Fixture,
    engine: Engine,
    texts: InTurn<String>,
}

impl Benchmark for Store {
    fn group(&self) -> String {
        group("store", self.fixture.tier)
    }

    fn case(&self) -> String {
        self.fixture.memories.to_string()
    }

    fn run(&mut self) -> Result<(), Failure> {
        black_box(self.engine.store(self.texts.next()?.as_str())?);
        Ok(())
    }

    fn verify(&mut self) -> Result<(), Failure> {
        Ok(check_grown(self.fixture, &self.engine)?)
    }
}

/// Whether a store that grew still is what its name says: HOT full and the rest in
/// WARM, or everything in the tier.
pub(super) fn check_grown(fixture: Fixture, engine: &Engine) -> Result<(), RunError> {
    engine.consolidate()?;
    let (tier, stats) = (fixture.tier, engine.stats());
    let (here, total) = (stats.memories_in(tier), stats.total());
    let expected = if tier == TierKind::Hot { fixture.memories } else { total };
    let astray = tier == TierKind::Hot && stats.memories_in(TierKind::Cold) > 0;
    if here != expected || astray {
        return Err(RunError::Fixture(NotInTier { tier, expected, here, total }.into()));
    }
    Ok(())
}
