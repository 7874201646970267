//! Stores for measurements: all memories in one tier, and queries for them.

use std::path::Path;

use crate::workload::{Workload, partial_query};
use mnemocore::encoder::{Document, Encoder};
use mnemocore::hdv::{Dimension, Hypervector};
use mnemocore::{Config, Engine, Error, Memory, MemoryId, NewMemory, Query, TierKind, Timestamp};

/// The seed of the conversations that fill stores, unless another seed is given.
pub const SEED: u64 = 42;
/// Memories that are stored together while a store is filled.
const BATCH: usize = 8_192;
/// The share of its words that a query has in common with a memory.
const SHARED: f64 = 0.6;
/// Memories whose tier is looked up one by one.
const LOOKED_UP: usize = 100;

/// For each number n here, one memory in n has a metadata pair, see [`Fixture::with_metadata`].
pub const ONE_IN: [usize; 4] = [2, 10, 100, 1000];

/// The contents of a store under measurement.
///
/// ```
/// use mnemocore::{Engine, TierKind};
/// use mnemocore_suite::fixture::Fixture;
///
/// let folder = tempfile::tempdir()?;
/// let fixture = Fixture::new(TierKind::Warm, 200);
/// let engine = fixture.fill(folder.path())?;
/// fixture.check(&engine)?; // All 200 are in WARM.
/// let (query, memory) = &fixture.queries(&engine, 10)?[0];
/// assert!(engine.recall(query)?.hits.iter().any(|hit| hit.memory.id == memory.id));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fixture {
    /// The tier of all its memories.
    pub tier: TierKind,
    /// The number of memories.
    pub memories: usize,
    /// Whether each comes with its own vector, as bundles and embeddings do.
    pub vectors: bool,
    /// Whether they have metadata.
    pub metadata: bool,
    /// Bits of a hypervector.
    pub dimension: Dimension,
    /// The seed of the conversations.
    pub seed: u64,
}

/// Memories are not in the expected tier, so a result would be about another tier than its name
/// says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} memories, all in {tier}; {here} of {total} are there")]
pub struct NotInTier {
    /// The expected tier.
    pub tier: TierKind,
    /// The expected number of memories in it.
    pub expected: usize,
    /// The actual number of memories in it.
    pub here: usize,
    /// The number of memories in all tiers.
    pub total: usize,
}

impl Fixture {
    /// Memories that are texts alone.
    pub fn new(tier: TierKind, memories: usize) -> Self {
        Self { tier, memories, vectors: false, metadata: false, dimension: Dimension::default(), seed: SEED }
    }

    /// As [`Fixture::new`], each memory with a vector of its own.
    pub fn with_vectors(tier: TierKind, memories: usize) -> Self {
        Self { vectors: true, ..Self::new(tier, memories) }
    }

    /// As [`Fixture::new`], with metadata: of the memories whose identifier is
    /// divisible by one of [`ONE_IN`], such as 10, each has the pair `one in 10`,
    /// `yes`.
    pub fn with_metadata(tier: TierKind, memories: usize) -> Self {
        Self { metadata: true, ..Self::new(tier, memories) }
    }

    /// Returns settings that keep every memory in the tier: no decay, no background moves, and memory for all.
    pub fn config(self) -> Config {
        let (hot_capacity, warm_capacity) = match self.tier {
            TierKind::Hot => (self.memories, usize::MAX),
            TierKind::Warm => (0, usize::MAX),
            TierKind::Cold => (0, 0),
        };
        Config::default()
            .memory_budget(usize::MAX)
            .dimension(self.dimension)
            .hot_capacity(hot_capacity)
            .warm_capacity(warm_capacity)
            .decay_per_day(0.0)
            .background(false)
    }

    /// Fills an empty folder and moves everything to its tier.
    ///
    /// # Errors
    /// [`Error`] of the engine.
    pub fn fill(self, folder: &Path) -> Result<Engine, Error> {
        let engine = Engine::open(folder, self.config())?;
        self.fill_in(&engine)?;
        Ok(engine)
    }

    /// Fills an empty engine, which has the settings of [`Fixture::config`], and moves
    /// everything to its tier.
    ///
    /// # Errors
    /// [`Error`] of the engine.
    pub fn fill_in(self, engine: &Engine) -> Result<(), Error> {
        let mut items = Workload::new(self.seed).zip(0..);
        for from in (0..self.memories).step_by(BATCH) {
            let mut batch = Vec::with_capacity(BATCH);
            for (item, number) in items.by_ref().take(BATCH.min(self.memories - from)) {
                let mut memory = NewMemory::new(item.content()).created(Timestamp(item.timestamp_ms));
                if self.metadata {
                    let held = ONE_IN.into_iter().filter(|&one_in| usize::is_multiple_of(number, one_in));
                    memory = held
                        .fold(memory, |memory, one_in| memory.metadata(format!("one in {one_in}"), "yes"));
                }
                batch.push(if self.vectors {
                    memory.vector(bundle(engine.encoder(), &item.content())?)
                } else {
                    memory
                });
            }
            engine.store_batch(batch)?;
        }
        engine.consolidate().map(drop)
    }

    /// The texts of its memories, in the order of their identifiers.
    pub fn texts(self) -> Vec<String> {
        texts(self.seed).take(self.memories).collect()
    }

    /// Checks that all memories are in the tier: by the engine's counts, and by a lookup of some of
    /// them.
    ///
    /// # Errors
    /// [`NotInTier`], or [`Error`] of the engine.
    pub fn check(self, engine: &Engine) -> Result<(), FixtureError> {
        let stats = engine.stats();
        let (here, total) = (stats.memories_in(self.tier), stats.total());
        let some = self.sources(engine, LOOKED_UP)?;
        let elsewhere = some.iter().filter(|memory| memory.tier != self.tier).count();
        if (here, total, elsewhere) == (self.memories, self.memories, 0) {
            return Ok(());
        }
        let here = here.min(total.saturating_sub(elsewhere));
        Err(NotInTier { tier: self.tier, expected: self.memories, here, total }.into())
    }

    /// `count` of its memories, evenly spaced, or all if there are fewer.
    ///
    /// # Errors
    /// [`Error`] of the engine.
    pub fn sources(self, engine: &Engine, count: usize) -> Result<Vec<Memory>, Error> {
        let count = count.min(self.memories);
        // Identifiers count from 0.
        let ids = (0..count).map(|i| MemoryId((i * self.memories / count) as u64));
        ids.filter_map(|id| engine.get(id).transpose()).collect()
    }

    /// `count` queries, each with 60 % of the words of a memory, which comes with it.
    ///
    /// # Errors
    /// [`Error`] of the engine.
    pub fn queries(self, engine: &Engine, count: usize) -> Result<Vec<(Query, Memory)>, Error> {
        let mut queries = Vec::with_capacity(count);
        for memory in self.sources(engine, count)? {
            let text = partial_query(&memory.text, SHARED, memory.id.0);
            let query = if self.vectors {
                Query::vector(bundle(engine.encoder(), &text)?)
            } else {
                Query::text(text)
            };
            queries.push((query.touch(false), memory));
        }
        Ok(queries)
    }
}

/// `count` texts to be stored, which are in no fixture of `seed`.
pub fn new_texts(seed: u64, count: usize) -> Vec<String> {
    endless_texts(seed).take(count).collect()
}

/// As [`new_texts`], without end.
pub fn endless_texts(seed: u64) -> impl Iterator<Item = String> {
    texts(seed.wrapping_add(1))
}

fn texts(seed: u64) -> impl Iterator<Item = String> {
    Workload::new(seed).map(|item| item.content().into_owned())
}

/// A fixture cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// The engine reports an error.
    #[error(transparent)]
    Engine(#[from] Error),
    /// Its memories are elsewhere.
    #[error(transparent)]
    NotInTier(#[from] NotInTier),
}

/// The bundle of the words of a text, as a caller could have made it.
fn bundle(encoder: &Encoder, text: &str) -> Result<Hypervector, Error> {
    Ok(encoder.encode(&Document::new(text).analyze()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixture_is_in_its_tier_and_found_by_its_queries() {
        for tier in TierKind::ALL {
            let folder = tempfile::tempdir().unwrap();
            let fixture = Fixture::new(tier, 150);
            let engine = fixture.fill(folder.path()).unwrap();
            fixture.check(&engine).unwrap();
            let queries = fixture.queries(&engine, 20).unwrap();
            let found = queries.iter().filter(|(query, memory)| {
                engine.recall(query).unwrap().hits.iter().any(|hit| hit.memory.id == memory.id)
            });
            assert!(queries.len() == 20 && found.count() >= 18, "{tier}");
        }
    }

    #[test]
    fn metadata_selects_one_in_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Fixture::with_metadata(TierKind::Hot, 40);
        let engine = fixture.fill(folder.path()).unwrap();
        let texts = fixture.texts();
        for (memory, text) in fixture.sources(&engine, 40).unwrap().iter().zip(&texts) {
            assert_eq!(memory.text, *text);
            for one_in in ONE_IN {
                let holds = memory.metadata.contains_key(&format!("one in {one_in}"));
                assert_eq!(holds, memory.id.0.is_multiple_of(one_in as u64), "memory {}", memory.id);
            }
        }
    }

    #[test]
    fn memories_elsewhere_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Fixture::new(TierKind::Hot, 10).fill(folder.path()).unwrap();
        let error = Fixture::new(TierKind::Warm, 10).check(&engine).unwrap_err();
        let expected = NotInTier { tier: TierKind::Warm, expected: 10, here: 0, total: 10 };
        assert!(matches!(error, FixtureError::NotInTier(found) if found == expected), "{error}");
        let more = Fixture::new(TierKind::Hot, 20).check(&engine).unwrap_err();
        assert!(more.to_string().contains("expected 20 memories, all in HOT; 10 of 10"), "{more}");
    }

    #[test]
    fn a_fixture_of_vectors_is_asked_with_vectors() {
        let folder = tempfile::tempdir().unwrap();
        let fixture =
            Fixture { dimension: Dimension::new(1024).unwrap(), ..Fixture::with_vectors(TierKind::Hot, 50) };
        let engine = fixture.fill(folder.path()).unwrap();
        fixture.check(&engine).unwrap();
        let (query, memory) = &fixture.queries(&engine, 1).unwrap()[0];
        assert_eq!(engine.recall(query).unwrap().hits[0].memory.id, memory.id);
    }
}
