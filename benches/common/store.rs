//! Stores that are filled once and kept between runs.
//!
//! They live below Cargo's `target/tmp`, so that `cargo clean` removes them. A
//! benchmark works on a private copy: nothing it does reaches the next one.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use mnemocore::encoder::{Document, Encoder};
use mnemocore::harness::workload::{Workload, partial_query};
use mnemocore::hdv::Hypervector;
use mnemocore::{Config, Engine, Error, Memory, MemoryId, NewMemory, Query, TierKind, Timestamp};
use tempfile::TempDir;

/// The conversations that stores are filled with.
const SEED: u64 = 42;
/// Part of a store's name; to be raised when what is filled in changes.
const VERSION: u32 = 1;
/// Memories that are stored together while a store is filled.
const BATCH: usize = 8_192;
/// The share of its words that a query has in common with a memory.
const SHARED: f64 = 0.6;

/// What a store is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stock {
    /// Where all its memories are.
    pub tier: TierKind,
    /// How many.
    pub memories: usize,
    /// Whether each comes with a vector of its own, as bundles and embeddings do.
    pub vectors: bool,
}

impl Stock {
    /// Memories that are texts alone.
    pub fn new(tier: TierKind, memories: usize) -> Self {
        Self { tier, memories, vectors: false }
    }

    /// As [`Stock::new`], each memory with a vector of its own.
    pub fn with_vectors(tier: TierKind, memories: usize) -> Self {
        Self { vectors: true, ..Self::new(tier, memories) }
    }

    /// Settings under which every memory is in the tier, and stays: nothing
    /// decays, and nothing moves unasked.
    pub fn config(self) -> Config {
        let (hot_capacity, warm_capacity) = match self.tier {
            TierKind::Hot => (self.memories, usize::MAX),
            TierKind::Warm => (0, usize::MAX),
            TierKind::Cold => (0, 0),
        };
        Config { hot_capacity, warm_capacity, decay_per_day: 0.0, background: false, ..Config::default() }
    }

    /// A private copy, opened with the settings of [`Stock::config`] and merged
    /// into as few segments as the engine makes.
    pub fn open(self) -> Store {
        let store = self.open_with(self.config());
        store.engine.consolidate().expect("a store that can be consolidated");
        store.assert_in_tier();
        store
    }

    /// A private copy with other settings, as it comes.
    pub fn open_with(self, config: Config) -> Store {
        let folder = self.copy();
        match Engine::open(folder.path(), config.clone()) {
            Ok(engine) => Store { engine, stock: self, folder },
            // Kept from a version of the engine with another format.
            Err(Error::Incompatible { .. }) => {
                fs::remove_dir_all(self.path()).expect("a kept store that can be deleted");
                self.open_with(config)
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A copy of its files that goes away with what is returned.
    pub fn copy(self) -> TempDir {
        let kept = self.path();
        if !kept.exists() {
            self.fill(&kept);
        }
        let folder = temporary_folder();
        copy_folder(&kept, folder.path()).expect("room for a copy of a store");
        folder
    }

    /// Fills a store under a temporary name, so that half a store is never kept.
    fn fill(self, kept: &Path) {
        eprintln!("filling {}", kept.display());
        let folder = temporary_folder();
        let engine = Engine::open(folder.path(), self.config()).expect("a new store");
        let mut items = Workload::new(SEED);
        for from in (0..self.memories).step_by(BATCH) {
            let size = BATCH.min(self.memories - from);
            let batch = items.by_ref().take(size).map(|item| {
                let memory = NewMemory::new(item.content()).created(Timestamp(item.timestamp_ms));
                if self.vectors { memory.vector(bundle(engine.encoder(), &item.content())) } else { memory }
            });
            engine.store_batch(batch.collect()).expect("room for a store");
        }
        engine.consolidate().expect("room for a store");
        drop(engine);
        fs::rename(folder.keep(), kept).expect("a store that can be renamed");
    }

    /// Where it is kept. The name changes with everything that decides on the
    /// contents.
    fn path(self) -> PathBuf {
        let mut texts = DefaultHasher::new();
        Workload::new(SEED).take(1000).for_each(|item| item.content().hash(&mut texts));
        let name = format!(
            "{}-{}{}-d{}-{}-e{}-v{VERSION}-{:016x}",
            self.tier,
            self.memories,
            if self.vectors { "-vectors" } else { "" },
            self.config().dimension.bits(),
            env!("CARGO_PKG_VERSION"),
            Encoder::VERSION,
            texts.finish(),
        );
        folder().join(name)
    }
}

/// A store that a benchmark may do with as it likes.
pub struct Store {
    // Closed before its folder is deleted.
    /// The engine.
    pub engine: Engine,
    /// What it was filled with.
    pub stock: Stock,
    folder: TempDir,
}

impl Store {
    /// Closes the engine and leaves its files.
    pub fn close(self) -> TempDir {
        drop(self.engine);
        self.folder
    }

    /// # Panics
    /// If a memory is not in the tier that the store is named after.
    pub fn assert_in_tier(&self) {
        let Stock { tier, memories, .. } = self.stock;
        let stats = self.engine.stats();
        assert_eq!((stats.memories_in(tier), stats.total()), (memories, memories), "memories in {tier}");
        self.sources(100).for_each(|memory| assert_eq!(memory.tier, tier, "tier of memory {}", memory.id));
    }

    /// `count` of its memories, evenly spaced.
    pub fn sources(&self, count: usize) -> impl Iterator<Item = Memory> {
        let memories = self.stock.memories;
        let ids =
            (0..count.min(memories)).map(move |i| MemoryId((i * memories / count.min(memories)) as u64));
        ids.map(|id| self.engine.get(id).expect("a readable memory").expect("ids count from 0"))
    }

    /// `count` queries, each with 60 % of the words of a memory, which comes with it.
    pub fn queries(&self, count: usize) -> Vec<(Query, Memory)> {
        let query = |memory: Memory| {
            let text = partial_query(&memory.text, SHARED, memory.id.0);
            let query = if self.stock.vectors {
                Query::vector(bundle(self.engine.encoder(), &text))
            } else {
                Query::text(text)
            };
            (query.touch(false), memory)
        };
        self.sources(count).map(query).collect()
    }
}

/// The bundle of the words of a text, as a caller could have made it.
fn bundle(encoder: &Encoder, text: &str) -> Hypervector {
    let terms = Document::new(text).analyze().expect("a text with words");
    encoder.encode(&terms).expect("a text with words")
}

/// Texts that are in no stock, to be stored.
pub fn new_texts(count: usize) -> Vec<String> {
    Workload::new(SEED + 1).take(count).map(|item| item.content().into_owned()).collect()
}

/// A folder beside the kept stores, on the same disk.
pub fn temporary_folder() -> TempDir {
    let folder = folder();
    fs::create_dir_all(&folder).expect("a target folder that can be written to");
    TempDir::with_prefix_in("run-", folder).expect("a target folder that can be written to")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("stores")
}

/// Copies what is durable. Vectors of WARM are derived and made anew by whoever
/// opens the store, so that their 2 KB a memory need not be copied.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target)?;
        } else if entry.file_name() != "warm.vectors" {
            fs::copy(source, target)?;
        }
    }
    Ok(())
}
