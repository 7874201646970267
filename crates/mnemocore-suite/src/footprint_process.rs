//! Measures a store in a fresh process.
//!
//! An allocator seldom returns memory to the system. So only a process that did nothing else before
//! can measure what a store takes. A [`FootprintProcess`] starts this program again, and [`serve`],
//! the first line of the program's `main`, answers it.

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

/// The variable that gives a process of this program its task.
const TASK: &str = "MNEMO_FOOTPRINT_TASK";
/// The token cache of a measured process: next to none, so that its memory is the memories' and not
/// that of words whose vectors a recall derives.
const FEW_TOKENS: usize = 64 << 10;
/// A lower bound of growth: a page, the unit in which the system counts. A small store may even
/// seem to take less than an empty one, and a ratio to 0 is undefined.
const LEAST_BYTES: u64 = 4096;

/// Fresh processes that measure one store. With five, the median of a small store in COLD varies by
/// at most 4 %.
pub const PROCESSES: usize = 5;
/// Settings that make glibc's use of freed memory deterministic. Other allocators ignore these
/// variables.
///
/// - One arena: it is a race whether a second thread opens another. Half of the processes would
///   hold 128 KB more than the others, as much as 5,000 memories in COLD take.
/// - Large blocks return to the system when they are freed. Without this setting, the threshold
///   starts at 128 KB and follows the largest freed block. Then 100,000 memories in WARM would seem
///   to grow by a third when an unrelated buffer does.
const STEADY: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

/// Whether [`serve`] was called, so that a second process answers.
static SERVED: AtomicBool = AtomicBool::new(false);

/// Counts the bytes that live on the heap.
pub type HeapCount = fn() -> u64;

/// If the process was started by a [`FootprintProcess`], answers it and ends the process; otherwise
/// returns at once. It is the first line of a `main` that measures footprints.
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

/// Runs in the fresh process: performs the task in `text` and describes the memory of this process.
fn answer(text: &str, heap: Option<HeapCount>) -> Result<String, FootprintError> {
    let task: FootprintProcess = serde_json::from_str(text)?;
    let [hot_capacity, warm_capacity] = task.capacities;
    let config = Config::default()
        .memory_budget(usize::MAX)
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

/// The task of a fresh process before it measures itself: open a store, merge it, and recall once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FootprintProcess {
    store: PathBuf,
    bits: usize,
    /// Of HOT and WARM.
    capacities: [usize; 2],
    token_cache_bytes: usize,
    encoded: usize,
    /// Whether the allocator has the settings [`STEADY`].
    steady: bool,
    #[cfg(feature = "object-store")]
    cache_folder: PathBuf,
    /// Whether WARM is in PostgreSQL.
    #[cfg(feature = "postgres")]
    shared_warm: bool,
}

/// The memory of a process, and the memories of its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// As the system counts it.
    pub memory: Memory,
    /// Bytes on the heap; `None` without a counting allocator.
    pub heap: Option<u64>,
    /// Memories in HOT, WARM and COLD.
    pub memories: [usize; 3],
}

impl Seen {
    /// Checks that all of `fixture` is in its tier, because an empty store has a footprint, too.
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

    /// With the default settings of the allocator, as in a service that does not configure it. The
    /// result varies by chance.
    pub fn by_default(self) -> Self {
        Self { steady: false, ..self }
    }

    /// With the capacities and the encoder's cache of `config`.
    pub fn configured(self, config: &Config) -> Self {
        let capacities = [config.hot_capacity, config.warm_capacity];
        Self { capacities, token_cache_bytes: config.token_cache_bytes, ..self }
    }

    /// With the tiers and the copies of buckets where `config` places them.
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

    /// As [`FootprintProcess::new`], and encodes `texts` texts with a token cache of
    /// `token_cache_bytes`.
    pub fn encoding(self, texts: usize, token_cache_bytes: usize) -> Self {
        Self { encoded: texts, token_cache_bytes, ..self }
    }

    /// Runs the task in a fresh process, and returns its measurement of itself.
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

    /// Returns the command that starts `program` for the task.
    fn command(&self, program: &Path) -> Result<Command, FootprintError> {
        let mut command = Command::new(program);
        parent_death::tie(&mut command);
        command.env(TASK, serde_json::to_string(self)?);
        for (name, value) in STEADY {
            command.env_remove(name).envs(self.steady.then_some((name, value)));
        }
        Ok(command)
    }

    /// Runs the task in [`PROCESSES`] fresh processes, and returns the measurement with the median
    /// of anonymous memory.
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

/// Memory and disk of a store, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Memory backed by no file, minus that of a process with an empty engine.
    pub anonymous: u64,
    /// The whole resident memory of the process, including an empty engine's share and the touched
    /// pages of mapped files, which the system takes back when it needs them. No growth is
    /// reported: two empty processes differ by more library pages than a small store in COLD takes.
    pub resident: u64,
    /// The heap, minus an empty engine's, if the program has a counting allocator.
    pub heap: Option<u64>,
    /// Disk blocks of the closed store.
    pub disk: u64,
}

impl Footprint {
    /// Measures the closed store in `folder`, filled from `fixture`, in each of so many fresh
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

    /// Measures the closed store that `process` opens, filled from `fixture`, in each of so many
    /// fresh processes. `disk` is its size, wherever its files are.
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

    /// Returns the memory of `seen` minus that of a process with an `empty` engine.
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

/// A fresh process could not be measured.
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
        /// The expected tier.
        tier: TierKind,
        /// The number of memories that were stored.
        expected: usize,
        /// The number of memories in that tier.
        found: usize,
    },
    /// The system does not tell the memory of a process.
    #[error("expected a system that tells what a process holds; footprint is measured on Linux and macOS")]
    Untold,
    /// The engine reports an error.
    #[error(transparent)]
    Engine(#[from] Error),
    /// A text cannot be encoded.
    #[error(transparent)]
    Encode(#[from] mnemocore::encoder::EncodeError),
    /// The dimension is invalid.
    #[error(transparent)]
    Dimension(#[from] HdvError),
    /// The system refuses to start a process or to read a file.
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
