//! MnemoCore itself as a system of the comparison.

use std::path::Path;

use super::protocol::{Hello, Hit, PROTOCOL, Refusal, capability};
use super::serve::MemorySystem;
use mnemocore::hdv::Hypervector;
use mnemocore::{Config, Engine, Memory, Method, NewMemory, Query};

/// Concurrent requests, as on a busy agent host. Readers do not wait for each other.
const CLIENTS: usize = 16;
/// The metadata field that holds a memory's key.
const KEY: &str = "key";

/// The engine on disk, with its default settings.
#[derive(Default)]
pub struct EngineSystem {
    open: Option<Open>,
}

struct Open {
    engine: Engine,
    /// An arbitrary query vector, because memories are looked up by metadata alone.
    any: Hypervector,
}

impl EngineSystem {
    /// Creates a system without a store.
    pub fn new() -> Self {
        Self::default()
    }

    fn open(&self) -> Result<&Open, Refusal> {
        self.open.as_ref().ok_or_else(|| Refusal::invalid("expected `open` first"))
    }
}

impl MemorySystem for EngineSystem {
    fn hello(&self) -> Hello {
        let Config { dimension, durability, .. } = Config::default();
        let settings = [
            ("dimension", format!("{} bits", dimension.bits())),
            ("search", "inverted lists".to_owned()),
            ("durability", format!("{durability:?}")),
            ("created", "when stored".to_owned()),
            ("build", if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
        ];
        let capabilities =
            ["store", "recall", capability::FORGET, capability::SYNTHESIZE, capability::RESTART];
        Hello {
            protocol: PROTOCOL,
            system: "MnemoCore".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            path: "Engine::store, Engine::recall and Engine::synthesize with Config::default(), on disk; the key \
                   is metadata"
                .to_owned(),
            settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
            capabilities: capabilities.map(str::to_owned).into(),
            clients: CLIENTS,
            embedder: false,
            durability: "handed to the operating system: survives the death of the process, not a power loss"
                .to_owned(),
        }
    }

    fn open(&mut self, folder: &Path, _memories: usize) -> Result<(), Refusal> {
        self.open = None;
        let engine = Engine::open(folder, Config::default())?;
        let any = engine.encoder().encode_ordered("any")?;
        self.open = Some(Open { engine, any });
        Ok(())
    }

    fn store(&self, key: &str, text: &str, _time: Option<i64>) -> Result<(), Refusal> {
        // The time is ignored, as in systems that set it themselves. With its original times, part
        // of an old conversation would be forgotten during the run.
        self.open()?.engine.store(NewMemory::new(text).metadata(KEY, key))?;
        Ok(())
    }

    fn recall(&self, query: &str, k: usize) -> Result<Vec<Hit>, Refusal> {
        let recall = self.open()?.engine.recall(Query::text(query).limit(k))?;
        Ok(recall.hits.into_iter().map(|found| hit(&found.memory, Some(found.score))).collect())
    }

    fn synthesize(&self, query: &str, k: usize) -> Result<(String, Vec<Hit>), Refusal> {
        let synthesis = self.open()?.engine.synthesize(Query::text(query).limit(k))?;
        let hits = synthesis.fragments.iter().map(|fragment| hit(&fragment.memory, Some(fragment.share)));
        Ok((synthesis.text.clone(), hits.collect()))
    }

    fn forget(&self, key: &str) -> Result<bool, Refusal> {
        let Open { engine, any } = self.open()?;
        let query = Query::like(any.clone()).metadata(KEY, key).method(Method::Exact).limit(1).touch(false);
        let found = engine.recall(&query)?.hits.into_iter().next();
        Ok(match found {
            Some(found) => engine.forget(found.memory.id)?,
            None => false,
        })
    }

    fn memories(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.engine.stats().total() as u64)
    }

    fn close(&mut self) -> Result<(), Refusal> {
        self.open = None;
        Ok(())
    }
}

fn hit(memory: &Memory, score: Option<f32>) -> Hit {
    Hit { key: memory.metadata.get(KEY).cloned(), text: None, score: score.map(f64::from) }
}
