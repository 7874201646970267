//! Stores that are filled once and kept between runs.
//!
//! They live below Cargo's `target/tmp`, so that `cargo clean` removes them. A benchmark works on a
//! private copy, so nothing that it does reaches the next benchmark. Each build of a bench has its
//! own stores. Otherwise an engine that writes more, or in another place, would be measured on a
//! store that another build has written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use mnemocore::{Config, Engine, Memory, Query};
use mnemocore_suite::fixture::{self, Fixture};
use tempfile::TempDir;
use xxhash_rust::xxh3::Xxh3;

/// Builds whose stores are kept: each bench of a baseline, and each of a candidate.
const BUILDS: usize = 8;

/// Prefix of temporary folders, which delete themselves.
const TEMPORARY: &str = "run-";

/// Tells this build from others.
static BUILD: LazyLock<u64> = LazyLock::new(|| digest_of_program().expect("a program that can be read"));

/// A fixture of which a filled store is kept between runs.
pub trait Kept: Sized {
    /// A private copy, opened with the settings of [`Fixture::config`] and merged
    /// into as few segments as the engine makes.
    fn open(self) -> Store;

    /// A private copy with other settings, as it comes.
    fn open_with(self, config: Config) -> Store;

    /// A copy of its files that goes away with what is returned.
    fn copy(self) -> TempDir;
}

impl Kept for Fixture {
    fn open(self) -> Store {
        let store = self.open_with(self.config());
        store.engine.consolidate().expect("a store that can be consolidated");
        store.assert_in_tier();
        store
    }

    fn open_with(self, config: Config) -> Store {
        let folder = self.copy();
        let engine = Engine::open(folder.path(), config).unwrap_or_else(|error| panic!("{error}"));
        Store { engine, fixture: self, folder }
    }

    fn copy(self) -> TempDir {
        let kept = path(self);
        if !kept.exists() {
            fill(self, &kept);
        }
        // Used last, goes last.
        File::open(of_build())
            .and_then(|build| build.set_modified(SystemTime::now()))
            .expect("a folder of stores");
        let folder = temporary_folder();
        copy_folder(&kept, folder.path()).expect("room for a copy of a store");
        folder
    }
}

/// Fills a store under a temporary name, so that half a store is never kept.
fn fill(fixture: Fixture, kept: &Path) {
    eprintln!("filling {}", kept.display());
    let folder = temporary_folder();
    drop(fixture.fill(folder.path()).expect("room for a store"));
    fs::create_dir_all(of_build()).expect("a target folder that can be written to");
    fs::rename(folder.keep(), kept).expect("a store that can be renamed");
    forget_old_builds().expect("stores that can be deleted");
}

/// The folder of the kept store of a fixture.
fn path(fixture: Fixture) -> PathBuf {
    let name = format!(
        "{}-{}{}{}-d{}-s{}",
        fixture.tier,
        fixture.memories,
        if fixture.vectors { "-vectors" } else { "" },
        if fixture.metadata { "-metadata" } else { "" },
        fixture.dimension.bits(),
        fixture.seed,
    );
    of_build().join(name)
}

fn of_build() -> PathBuf {
    folder().join(format!("{:016x}", *BUILD))
}

/// A piece at a time, as memory is among what is measured.
fn digest_of_program() -> io::Result<u64> {
    let mut program = File::open(std::env::current_exe()?)?;
    let (mut digest, mut piece) = (Xxh3::new(), [0; 1 << 14]);
    loop {
        match program.read(&mut piece)? {
            0 => return Ok(digest.digest()),
            read => digest.update(&piece[..read]),
        }
    }
}

/// Deletes the stores of all builds but those that were used last.
fn forget_old_builds() -> io::Result<()> {
    let mut builds = Vec::new();
    for entry in fs::read_dir(folder())? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            builds.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    builds.sort();
    builds.iter().rev().skip(BUILDS).try_for_each(|(_, build)| match fs::remove_dir_all(build) {
        // Another bench was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    })
}

/// A store that a benchmark may do with as it likes.
pub struct Store {
    // Closed before its folder is deleted.
    /// The engine.
    pub engine: Engine,
    /// The fixture that filled the store.
    pub fixture: Fixture,
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
        self.fixture.check(&self.engine).unwrap_or_else(|error| panic!("{error}"));
    }

    /// `count` queries, each with 60 % of the words of a memory, which comes with it.
    pub fn queries(&self, count: usize) -> Vec<(Query, Memory)> {
        self.fixture.queries(&self.engine, count).expect("readable memories")
    }
}

/// Texts that are in no fixture, to be stored.
pub fn new_texts(count: usize) -> Vec<String> {
    fixture::new_texts(fixture::SEED, count)
}

/// As [`new_texts`], without an end.
pub fn endless_texts() -> impl Iterator<Item = String> {
    fixture::endless_texts(fixture::SEED)
}

/// A folder beside the kept stores, on the same disk.
pub fn temporary_folder() -> TempDir {
    let folder = folder();
    fs::create_dir_all(&folder).expect("a target folder that can be written to");
    TempDir::with_prefix_in(TEMPORARY, folder).expect("a target folder that can be written to")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("stores")
}

/// Copies the files of a store that no engine has open.
pub fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(source, target)?;
        }
    }
    Ok(())
}
