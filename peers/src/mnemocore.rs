//! The engine, with everything in HOT.

use std::path::Path;

use mnemocore::hdv::Hypervector;
use mnemocore::{Config, Durability, Engine, Method, NewMemory, Query};

use crate::vectors::{Search, VectorIndex};
use crate::{Outcome, System, TOP};

/// Memories that are stored at once.
const BATCH: usize = 65_536;

pub struct Memories(Engine);

impl Memories {
    pub fn open(folder: &Path) -> Outcome<Self> {
        let config = Config::default().memory_budget(usize::MAX).hot_capacity(usize::MAX);
        Ok(Self(Engine::open(folder.join("memories"), config)?))
    }

    /// Makes all stores before it durable.
    fn sync(&self) -> Outcome<()> {
        let last = self.0.store_with("the last one", Durability::Synced)?;
        self.0.forget(last)?;
        Ok(())
    }

    /// Returns the ids of the hits, which are given in order from 0.
    fn recall_ids(&self, query: Query) -> Outcome<Vec<u64>> {
        let recall = self.0.recall(query.limit(TOP).touch(false))?;
        Ok(recall.hits.iter().map(|hit| hit.memory.id.0).collect())
    }
}

impl System for Memories {
    fn load(&mut self, texts: &[String]) -> Outcome<()> {
        for texts in texts.chunks(BATCH) {
            self.0.store_batch(texts.iter().map(NewMemory::new).collect())?;
        }
        self.sync()
    }

    fn merge(&mut self) -> Outcome<()> {
        self.0.consolidate()?;
        Ok(())
    }

    fn store(&mut self, text: &str) -> Outcome<()> {
        self.0.store(text)?;
        Ok(())
    }

    fn recall(&mut self, question: &str) -> Outcome<Vec<u64>> {
        self.recall_ids(Query::text(question))
    }
}

impl VectorIndex for Memories {
    fn load(&mut self, vectors: &[Hypervector]) -> Outcome<()> {
        let mut numbers = 0..;
        for vectors in vectors.chunks(BATCH) {
            self.0.store_batch(vectors.iter().zip(&mut numbers).map(memory).collect())?;
        }
        self.sync()?;
        self.0.consolidate()?;
        Ok(())
    }

    fn store(&mut self, number: u64, vector: &Hypervector) -> Outcome<()> {
        self.0.store(memory((vector, number)))?;
        Ok(())
    }

    fn searches(&self) -> Vec<(String, Search<'_>)> {
        let search = |method: Method| -> Search<'_> {
            Box::new(move |query| self.recall_ids(Query::vector(query.clone()).method(method)))
        };
        vec![
            ("cascade".to_owned(), search(Method::Indexed)),
            ("exact scan".to_owned(), search(Method::Exact)),
        ]
    }
}

/// A memory whose text is its number.
fn memory((vector, number): (&Hypervector, u64)) -> NewMemory {
    NewMemory::new(number.to_string()).vector(vector.clone())
}
