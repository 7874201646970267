//! A store opened in a fresh process, which looks at itself.
//!
//! Memory that an allocator got once it seldom gives back, so a process can tell
//! what a store takes only if it did nothing else before. A [`FootprintProcess`] starts this
//! program again; what it asks for is answered by [`serve`], the first line of the
//! program's `main`.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, io};

use serde::{Deserialize, Serialize};

use crate::fixture::{self, Fixture};
use crate::footprint::{Disk, Memory};
use criterion_gate::measure::Kind;
use criterion_gate::parent_death;
#[cfg(feature = "postgres")]
use mnemocore::WarmBackend;
use mnemocore::encoder::Document;
use mnemocore::hdv::{Dimension, HdvError};
use mnemocore::{Config, Engine, Error, Query, TierKind};

/// Tells a process of this program what to look at.
const TASK: &str = "MNEMO_FOOTPRINT_TASK";
/// Token vectors that a measured process keeps: next to none, so that what it
/// holds is the memories' and not that of words that happened to be asked for.
const FEW_TOKENS: usize = 64 << 10;
/// Growth is at least a page, in which the system counts. A small store may even
/// seem to take less than an empty one; nothing compares itself with 0.
const LEAST_BYTES: u64 = 4096;

/// Fresh processes that look at one store: the median of a small store in COLD stays
/// within 4 % then.
pub const PROCESSES: usize = 5;
/// What keeps glibc from deciding by chance how much freed memory it holds back; other
/// allocators do not know the variables.
///
/// - One arena: whether a second thread opens another is a race, and half of the
///   processes would hold 128 KB more than the others, as much as 5,000 memories in
///   COLD take.
/// - Large blocks go back to the system when they are freed. The size from which
///   they do is 128 KB to begin with, and follows the largest that was freed so far
///   unless it is set: 100,000 memories in WARM would seem to grow by a third when an
///   unrelated buffer does.
const STEADY: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

/// Whether [`serve`] was called, so that a second process answers.
static SERVED: AtomicBool = AtomicBool::new(false);

/// Counts the bytes that live on the heap.
pub type HeapCount = fn() -> u64;

/// Answers a [`FootprintProcess`] and ends the process if it was started for one; otherwise
/// returns at once. The first line of a `main` that measures footprint.
///
/// `heap` reads a counting allocator, if the program has one.
///
/// ```
/// // fn main() {
/// mnemocore_suite::footprint_process::serve(None);
/// ```
pub fn serve(heap: Option<HeapCount>) {
    SERVED.store(true, Ordering::Relaxed);
    let Some(task) = env::var_os(TASK) else { return };
    parent_death::end_with_parent();
    match answer(&task.to_string_lossy(), heap) {
        Ok(seen) => println!("{seen}"),
        Err(error) => {
            eprintln!("{error}");
            process::exit(1);
        }
    }
    process::exit(0);
}

/// In the fresh process: does what `text` says and describes what this process
/// holds then.
fn answer(text: &str, heap: Option<HeapCount>) -> Result<String, FootprintError> {
    let task: FootprintProcess = serde_json::from_str(text)?;
    let [hot_capacity, warm_capacity] = task.capacities;
    let config = Config::default()
        .dimension(Dimension::new(task.bits)?)
        .hot_capacity(hot_capacity)
        .warm_capacity(warm_capacity)
        .token_cache_bytes(task.token_cache_bytes)
        .decay_per_day(0.0)
        .background(false);
    #[cfg(feature = "object-store")]
    let config = config.cache_folder(task.cache_folder);
    #[cfg(feature = "postgres")]
    let config = config.warm(if task.shared_warm { WarmBackend::Postgres } else { WarmBackend::Local });
    let engine = Engine::open(&task.store, config)?;
    for text in fixture::new_texts(fixture::SEED, task.encoded) {
        engine.encoder().encode(&Document::new(&text).analyze()?)?;
    }
    engine.consolidate()?;
    engine.recall(Query::text("Where does Anna live now?").touch(false))?;
    let seen = Seen {
        memory: Memory::now().ok_or(FootprintError::Untold)?,
        heap: heap.map(|count| count()),
        memories: engine.stats().memories,
    };
    Ok(serde_json::to_string(&seen)?)
}

/// What a fresh process does before it looks at itself: opens a store, merges it, and
/// recalls once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FootprintProcess {
    store: PathBuf,
    bits: usize,
    /// Of HOT and WARM.
    capacities: [usize; 2],
    token_cache_bytes: usize,
    encoded: usize,
    /// Whether the allocator is kept [`STEADY`].
    steady: bool,
    #[cfg(feature = "object-store")]
    cache_folder: PathBuf,
    /// Whether WARM is in PostgreSQL.
    #[cfg(feature = "postgres")]
    shared_warm: bool,
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// As the system counts it.
    pub memory: Memory,
    /// Bytes on the heap; `None` without a counting allocator.
    pub heap: Option<u64>,
    /// Memories that it found in HOT, WARM and COLD.
    pub memories: [usize; 3],
}

impl Seen {
    /// Whether it found all of `fixture` in its tier: an empty store has a footprint, too.
    ///
    /// # Errors
    /// [`FootprintError::Elsewhere`] otherwise.
    fn check(&self, fixture: Fixture) -> Result<(), FootprintError> {
        let found = self.memories[fixture.tier as usize];
        if found != fixture.memories {
            return Err(FootprintError::Elsewhere { tier: fixture.tier, expected: fixture.memories, found });
        }
        Ok(())
    }

    /// Memory backed by no file, or all of it where the system does not tell.
    pub fn anonymous(&self) -> u64 {
        self.memory.anonymous.unwrap_or(self.memory.resident)
    }
}

impl FootprintProcess {
    /// Opens the closed store in `folder`, which may also be the URL of a bucket, with
    /// the settings of its fixture.
    pub fn new(fixture: Fixture, folder: &Path) -> Self {
        let config = fixture.config().token_cache_bytes(FEW_TOKENS);
        Self {
            store: folder.into(),
            bits: config.dimension.bits(),
            capacities: [config.hot_capacity, config.warm_capacity],
            token_cache_bytes: config.token_cache_bytes,
            encoded: 0,
            steady: true,
            #[cfg(feature = "object-store")]
            cache_folder: config.cache_folder,
            #[cfg(feature = "postgres")]
            shared_warm: config.warm == WarmBackend::Postgres,
        }
    }

    /// With the allocator as it is by default: with what a service that does not
    /// care about it has, and some chance.
    pub fn by_default(self) -> Self {
        Self { steady: false, ..self }
    }

    /// With capacities and the encoder's cache as `config` says.
    pub fn configured(self, config: &Config) -> Self {
        let capacities = [config.hot_capacity, config.warm_capacity];
        Self { capacities, token_cache_bytes: config.token_cache_bytes, ..self }
    }

    /// With tiers, and copies of buckets, where `config` says.
    #[cfg(any(feature = "object-store", feature = "postgres"))]
    pub fn placed(self, config: &Config) -> Self {
        Self {
            #[cfg(feature = "object-store")]
            cache_folder: config.cache_folder.clone(),
            #[cfg(feature = "postgres")]
            shared_warm: config.warm == WarmBackend::Postgres,
            ..self
        }
    }

    /// As [`FootprintProcess::new`], and encodes `texts` texts, whose words it keeps within
    /// `token_cache_bytes`.
    pub fn encoding(self, texts: usize, token_cache_bytes: usize) -> Self {
        Self { encoded: texts, token_cache_bytes, ..self }
    }

    /// Lets a fresh process do it, and returns what that saw of itself.
    ///
    /// # Errors
    /// [`FootprintError`]; [`FootprintError::NotServed`] where this program does not call
    /// [`serve`].
    pub fn measure(&self) -> Result<Seen, FootprintError> {
        if !SERVED.load(Ordering::Relaxed) {
            return Err(FootprintError::NotServed);
        }
        let output = self.command(&env::current_exe()?)?.output()?;
        if !output.status.success() {
            return Err(FootprintError::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What starts `program` again to answer.
    fn command(&self, program: &Path) -> Result<Command, FootprintError> {
        let mut command = Command::new(program);
        parent_death::tie(&mut command);
        command.env(TASK, serde_json::to_string(self)?);
        for (name, value) in STEADY {
            command.env_remove(name).envs(self.steady.then_some((name, value)));
        }
        Ok(command)
    }

    /// Lets [`PROCESSES`] fresh processes do it, and returns what the one with the median
    /// of anonymous memory saw.
    ///
    /// # Errors
    /// As [`FootprintProcess::measure`].
    pub fn median(&self) -> Result<Seen, FootprintError> {
        let mut seen = (0..PROCESSES).map(|_| self.measure()).collect::<Result<Vec<_>, _>>()?;
        seen.sort_by_key(Seen::anonymous);
        seen.get(PROCESSES / 2).copied().ok_or(FootprintError::Untold)
    }

    /// The [median](FootprintProcess::median) of an empty store in a temporary folder within
    /// `scratch`.
    ///
    /// # Errors
    /// As [`FootprintProcess::measure`].
    pub fn empty(dimension: Dimension, scratch: &Path) -> Result<Seen, FootprintError> {
        let folder = tempfile::tempdir_in(scratch)?;
        Self::new(Fixture { dimension, ..Fixture::new(TierKind::Hot, 1_000) }, folder.path()).median()
    }
}

/// What a store takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Memory backed by no file, on top of what a process with an empty engine has.
    pub anonymous: u64,
    /// Everything of the process in main memory, an empty engine's share too, with
    /// those pages of mapped files that were touched and that the system takes back
    /// when it needs them. Growth of it is not told: two empty processes differ by
    /// more pages of libraries than a small store in COLD takes.
    pub resident: u64,
    /// The heap, on top of an empty engine's, if the program has a counting allocator.
    pub heap: Option<u64>,
    /// Blocks on disk, the closed store's.
    pub disk: u64,
}

impl Footprint {
    /// Of the closed store in `folder`, filled from `fixture`, in each of so many fresh
    /// processes.
    ///
    /// # Errors
    /// As [`Footprint::seen_by`].
    pub fn of(
        fixture: Fixture,
        folder: &Path,
        empty: &Seen,
        processes: usize,
    ) -> Result<Vec<Self>, FootprintError> {
        let disk = Disk::of(folder)?.allocated;
        Self::seen_by(&FootprintProcess::new(fixture, folder), fixture, empty, disk, processes)
    }

    /// Of the closed store that `process` opens, filled from `fixture`, which takes `disk`
    /// bytes, wherever they are; in each of so many fresh processes.
    ///
    /// # Errors
    /// As [`FootprintProcess::measure`], and [`FootprintError::Elsewhere`] if the store is not `fixture`.
    pub fn seen_by(
        process: &FootprintProcess,
        fixture: Fixture,
        empty: &Seen,
        disk: u64,
        processes: usize,
    ) -> Result<Vec<Self>, FootprintError> {
        let each = |_| {
            let seen = process.measure()?;
            seen.check(fixture)?;
            Ok(Self::growth(&seen, empty, disk))
        };
        (0..processes).map(each).collect()
    }

    /// What `seen` has more than a process with an `empty` engine.
    fn growth(seen: &Seen, empty: &Seen, disk: u64) -> Self {
        let growth = |full: u64, empty: u64| full.saturating_sub(empty).max(LEAST_BYTES);
        Self {
            anonymous: growth(seen.anonymous(), empty.anonymous()),
            resident: seen.memory.resident,
            heap: seen.heap.zip(empty.heap).map(|(full, empty)| growth(full, empty)),
            disk,
        }
    }
}

/// One value of a footprint, as a benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Aspect {
    what: &'static str,
    /// Memory or disk.
    pub kind: Kind,
    /// Its value; `None` where it is not known.
    pub value: fn(&Footprint) -> Option<u64>,
}

impl Aspect {
    /// [`Footprint::anonymous`].
    pub const ANONYMOUS: Self =
        Self { what: "footprint", kind: Kind::Ram, value: |footprint| Some(footprint.anonymous) };
    /// [`Footprint::heap`].
    pub const HEAP: Self =
        Self { what: "footprint_heap", kind: Kind::Ram, value: |footprint| footprint.heap };
    /// [`Footprint::resident`].
    pub const RESIDENT: Self =
        Self { what: "footprint_rss", kind: Kind::Ram, value: |footprint| Some(footprint.resident) };
    /// [`Footprint::disk`].
    pub const DISK: Self =
        Self { what: "footprint", kind: Kind::Disk, value: |footprint| Some(footprint.disk) };
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ANONYMOUS, Self::HEAP, Self::RESIDENT, Self::DISK];

    /// Its group of benchmarks, such as `footprint_hot/ram`; the number of memories
    /// is the parameter.
    pub fn group(&self, tier: impl Display) -> String {
        format!("{}_{tier}/{}", self.what, self.kind.as_str()).to_lowercase()
    }
}

/// A fresh process cannot tell what it holds.
#[derive(Debug, thiserror::Error)]
pub enum FootprintError {
    /// A second process would run the caller's whole program.
    #[error(
        "expected a program that answers when it is started again; call `mnemocore_suite::footprint_process::serve` \
         in the first line of `main`"
    )]
    NotServed,
    /// The fresh process failed.
    #[error("the fresh process failed: {0}")]
    Failed(String),
    /// The fresh process opened another store.
    #[error("expected a store with {expected} memories in {tier}, and the fresh process found {found}")]
    Elsewhere {
        /// Where they should be.
        tier: TierKind,
        /// How many were filled in.
        expected: usize,
        /// How many were found.
        found: usize,
    },
    /// Nothing is told about memory.
    #[error("expected a system that tells what a process holds; footprint is measured on Linux and macOS")]
    Untold,
    /// The engine reports an error.
    #[error(transparent)]
    Engine(#[from] Error),
    /// A text cannot be encoded.
    #[error(transparent)]
    Encode(#[from] mnemocore::encoder::EncodeError),
    /// The dimension is none.
    #[error(transparent)]
    Dimension(#[from] HdvError),
    /// The system refuses a process or a file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The two processes do not understand each other, or a path is not Unicode.
    #[error(
        "expected a task and an answer of this version in JSON: {0}; print nothing before `footprint_process::serve`"
    )]
    Json(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(anonymous: u64, heap: Option<u64>) -> Seen {
        let memory = Memory { resident: 2 * anonymous, anonymous: Some(anonymous), mapped: Some(anonymous) };
        Seen { memory, heap, memories: [0; 3] }
    }

    #[test]
    fn a_program_that_does_not_serve_is_never_started_again() {
        let error = FootprintProcess::empty(Dimension::default(), &env::temp_dir()).unwrap_err();
        assert!(matches!(error, FootprintError::NotServed), "{error}");
        assert!(error.to_string().contains("first line of `main`"), "{error}");
    }

    #[cfg(all(feature = "object-store", feature = "postgres"))]
    #[test]
    fn the_process_looks_where_the_settings_say() {
        let config = Config::default().cache_folder("copies").warm(WarmBackend::Postgres);
        let placed = FootprintProcess::new(Fixture::new(TierKind::Warm, 30), Path::new("s3://bucket/store"))
            .placed(&config);
        assert!(placed.shared_warm && placed.cache_folder == config.cache_folder);
        let read: FootprintProcess = serde_json::from_str(&serde_json::to_string(&placed).unwrap()).unwrap();
        assert_eq!(read, placed);
    }

    #[test]
    fn every_process_that_is_measured_has_a_steady_allocator_unless_the_default_is_asked_for() {
        let process = FootprintProcess::new(Fixture::new(TierKind::Cold, 30), Path::new("store"));
        for (process, steady) in [(process.clone(), true), (process.by_default(), false)] {
            let command = process.command(Path::new("program")).unwrap();
            for (name, value) in STEADY {
                let set = (name.as_ref(), steady.then_some(value.as_ref()));
                assert!(command.get_envs().any(|each| each == set), "{command:?}");
            }
        }
    }

    #[test]
    fn what_is_asked_for_is_done_and_answered() {
        let folder = tempfile::tempdir().unwrap();
        let fixture =
            Fixture { dimension: Dimension::new(1024).unwrap(), ..Fixture::new(TierKind::Cold, 30) };
        drop(fixture.fill(folder.path()).unwrap());
        let process = FootprintProcess::new(fixture, folder.path()).encoding(5, 1 << 20);
        let text = answer(&serde_json::to_string(&process).unwrap(), Some(|| 7)).unwrap();
        let seen: Seen = serde_json::from_str(&text).unwrap();
        assert!(seen.heap == Some(7) && seen.anonymous() > 0);
        seen.check(fixture).unwrap();
        let error = seen.check(Fixture { memories: 31, ..fixture }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected a store with 31 memories in COLD, and the fresh process found 30"
        );
        assert!(matches!(answer("{", None), Err(FootprintError::Json(_))));
        let elsewhere = FootprintProcess { bits: 2048, ..process };
        assert!(matches!(
            answer(&serde_json::to_string(&elsewhere).unwrap(), None),
            Err(FootprintError::Engine(_))
        ));
    }

    #[test]
    fn growth_is_never_zero_and_names_tell_the_kind() {
        let footprint = Footprint::growth(&seen(9_000, Some(50_000)), &seen(90_000, Some(20_000)), 8_192);
        let named = Aspect::ALL.map(|aspect| (aspect.group(TierKind::Cold), (aspect.value)(&footprint)));
        for (group, _) in &named {
            assert!(matches!(Kind::of_name(&format!("{group}/30")), Kind::Ram | Kind::Disk), "{group}");
        }
        let expected = [
            ("footprint_cold/ram", LEAST_BYTES),
            ("footprint_heap_cold/ram", 30_000),
            ("footprint_rss_cold/ram", 18_000),
            ("footprint_cold/disk", 8_192),
        ];
        assert_eq!(named, expected.map(|(group, value)| (group.to_owned(), Some(value))));
        assert_eq!(Footprint::growth(&seen(9, None), &seen(1, Some(1)), 8_192).heap, None);
    }
}
