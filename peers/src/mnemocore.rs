//! The engine, with everything in HOT.

use std::path::Path;

use mnemocore::{Config, Durability, Engine, NewMemory, Query};

use crate::{Outcome, System, TOP};

/// Texts that are stored at once.
const BATCH: usize = 65_536;

pub struct Memories(Engine);

impl Memories {
    pub fn open(folder: &Path) -> Outcome<Self> {
        let config = Config::default().memory_budget(usize::MAX).hot_capacity(usize::MAX);
        Ok(Self(Engine::open(folder.join("memories"), config)?))
    }
}

impl System for Memories {
    /// Ids are given in order from 0.
    fn load(&mut self, texts: &[String]) -> Outcome<()> {
        for texts in texts.chunks(BATCH) {
            self.0.store_batch(texts.iter().map(NewMemory::new).collect())?;
        }
        // Makes all stores before it durable.
        let last = self.0.store_with("the last one", Durability::Synced)?;
        self.0.forget(last)?;
        Ok(())
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
        let recall = self.0.recall(Query::text(question).limit(TOP).touch(false))?;
        Ok(recall.hits.iter().map(|hit| hit.memory.id.0).collect())
    }
}
