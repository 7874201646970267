//! Stores that are filled once and kept between runs.
//!
//! They live below Cargo's `target/tmp`, so that `cargo clean` removes them. A
//! benchmark works on a private copy: nothing it does reaches the next one.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use mnemocore::encoder::Encoder;
use mnemocore::harness::stock::{self, Stock};
use mnemocore::harness::workload::Workload;
use mnemocore::{Config, Engine, Error, Memory, Query};
use tempfile::TempDir;

/// Part of a store's name; to be raised when what is filled in changes.
const VERSION: u32 = 1;

/// A stock of which a filled store is kept between runs.
pub trait Kept: Sized {
    /// A private copy, opened with the settings of [`Stock::config`] and merged
    /// into as few segments as the engine makes.
    fn open(self) -> Store;

    /// A private copy with other settings, as it comes.
    fn open_with(self, config: Config) -> Store;

    /// A copy of its files that goes away with what is returned.
    fn copy(self) -> TempDir;
}

impl Kept for Stock {
    fn open(self) -> Store {
        let store = self.open_with(self.config());
        store.engine.consolidate().expect("a store that can be consolidated");
        store.assert_in_tier();
        store
    }

    fn open_with(self, config: Config) -> Store {
        let folder = self.copy();
        match Engine::open(folder.path(), config.clone()) {
            Ok(engine) => Store { engine, stock: self, folder },
            // Kept from a version of the engine with another format.
            Err(Error::Incompatible { .. }) => {
                fs::remove_dir_all(path(self)).expect("a kept store that can be deleted");
                self.open_with(config)
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn copy(self) -> TempDir {
        let kept = path(self);
        if !kept.exists() {
            fill(self, &kept);
        }
        let folder = temporary_folder();
        copy_folder(&kept, folder.path()).expect("room for a copy of a store");
        folder
    }
}

/// Fills a store under a temporary name, so that half a store is never kept.
fn fill(stock: Stock, kept: &Path) {
    eprintln!("filling {}", kept.display());
    let folder = temporary_folder();
    drop(stock.fill(folder.path()).expect("room for a store"));
    fs::rename(folder.keep(), kept).expect("a store that can be renamed");
}

/// Where it is kept. The name changes with everything that decides on the contents.
fn path(stock: Stock) -> PathBuf {
    let mut texts = DefaultHasher::new();
    Workload::new(stock.seed).take(1000).for_each(|item| item.content().hash(&mut texts));
    let name = format!(
        "{}-{}{}{}-d{}-{}-e{}-v{VERSION}-{:016x}",
        stock.tier,
        stock.memories,
        if stock.vectors { "-vectors" } else { "" },
        if stock.metadata { "-metadata" } else { "" },
        stock.dimension.bits(),
        env!("CARGO_PKG_VERSION"),
        Encoder::VERSION,
        texts.finish(),
    );
    folder().join(name)
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

    /// The engine, and its files, which go away with what is returned: after it.
    pub fn into_parts(self) -> (Engine, TempDir) {
        (self.engine, self.folder)
    }

    /// # Panics
    /// If a memory is not in the tier that the store is named after.
    pub fn assert_in_tier(&self) {
        self.stock.check(&self.engine).unwrap_or_else(|error| panic!("{error}"));
    }

    /// `count` queries, each with 60 % of the words of a memory, which comes with it.
    pub fn queries(&self, count: usize) -> Vec<(Query, Memory)> {
        self.stock.queries(&self.engine, count).expect("readable memories")
    }
}

/// Texts that are in no stock, to be stored.
pub fn new_texts(count: usize) -> Vec<String> {
    stock::new_texts(stock::SEED, count)
}

/// As [`new_texts`], without an end.
pub fn endless_texts() -> impl Iterator<Item = String> {
    stock::endless_texts(stock::SEED)
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

/// Copies what is durable of a store that no engine has open. Vectors of WARM are derived and made anew by whoever
/// opens the store, so that their 2 KB a memory need not be copied.
pub fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
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
