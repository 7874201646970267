//! Settings of an engine, each default with its reason.

use std::fmt::Debug;

use crate::error::Error;
use crate::hdv::Dimension;
use crate::index::cascade;
use crate::log::Durability;
use crate::tier::Band;

/// The place of the WARM tier.
#[cfg(feature = "postgres")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WarmBackend {
    /// In this process and a file beside the log.
    #[default]
    Local,
    /// In a PostgreSQL database with pgvector, which several engines may share. The environment
    /// names it: `MNEMO_POSTGRES`, or `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE`,
    /// `PGSSLMODE` and `PGSSLROOTCERT`.
    Postgres,
}

/// The largest [`Config::token_cache_bytes`](field@Config::token_cache_bytes). The table of the cache is made
/// when the engine opens, and one that cannot be allocated ends the process. English has fewer words than fit.
const MOST_CACHE_BYTES: usize = 1 << 30;

/// The largest [`Config::decay_per_day`](field@Config::decay_per_day): a memory is forgotten within a second. With
/// more, the order of two memories is lost to rounding.
const MOST_DECAY: f64 = 1e6;

/// The least [`Config::memory_budget`](field@Config::memory_budget): with less, merges never end.
const LEAST_BUDGET: usize = 8 << 20;

/// Settings of an [`Engine`](crate::Engine).
///
/// ```
/// use mnemocore::{Config, Durability};
///
/// let config = Config::default().hot_capacity(1_000).durability(Durability::Synced);
/// assert_eq!(config.hot_capacity, 1_000);
/// ```
///
/// [`Config::default`] reads nothing from the environment; [`Config::from_env`] does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// Bytes of RAM that the engine's data, caches and merges may take; by default 256 MB. The first thing to
    /// set: of what does not fit, the weakest memories move down, and no store is refused for it. The
    /// default has room for about 270,000 short texts in HOT, or 33,000 with vectors. At least 8 MiB;
    /// `usize::MAX` is no limit.
    /// Not counted are mapped files, which the system takes back when it needs their room, and what a call
    /// takes while it runs. [`Stats::ram`](crate::Stats::ram) says how much is taken.
    pub memory_budget: usize,
    /// Bits of a hypervector. Of embeddings, 16,384 lose 0.001 of nDCG, and 4,096 lose 0.003 at a
    /// quarter of the size.
    pub dimension: Dimension,
    /// Memories in HOT at most, at about 0.3 KB each, and 2 KB more with a vector; the default takes
    /// 16 MB without vectors. At 0 new memories enter WARM. A HOT of 4,096 memories and more may
    /// hold up to 512 fewer.
    pub hot_capacity: usize,
    /// Memories in WARM, at about 0.05 KB of RAM and 0.4 KB of disk each, and 4 KB more of disk
    /// with a vector; the default takes 50 MB of RAM.
    pub warm_capacity: usize,
    /// The moment at which `store` returns.
    pub durability: Durability,
    /// Strengths at which a memory enters and leaves HOT. A new memory of
    /// importance 1 has 0.69, so it stays for 83 days unasked, if there is room.
    pub hot_band: Band,
    /// Strengths at which a memory enters and leaves WARM.
    pub warm_band: Band,
    /// Lambda of the [`strength`](crate::strength), per day: at 0.01 a
    /// memory loses half its strength in 69 days. From 0 to 1,000,000.
    pub decay_per_day: f64,
    /// Whether a thread of the engine moves memories, merges segments and
    /// persists access counts as needed. Without it that happens in
    /// [`Engine::consolidate`](crate::Engine::consolidate) alone.
    /// [`Stats::last_upkeep_error`](crate::Stats::last_upkeep_error) is the last error of the thread.
    pub background: bool,
    /// Bytes of token vectors that are kept for deriving the vectors of texts, a sixteenth of
    /// [`memory_budget`](field@Self::memory_budget) and 1 GiB at most; the default holds 2,000 words.
    pub token_cache_bytes: usize,
    /// The place of WARM.
    #[cfg(feature = "postgres")]
    pub warm: WarmBackend,
    /// The folder of the local copies of stores in buckets. A copy has the log and the files of
    /// segments, which is all that a recall needs. By default `mnemocore` in the
    /// user's folder for caches (`$XDG_CACHE_HOME`, or `~/.cache`).
    #[cfg(feature = "object-store")]
    pub cache_folder: std::path::PathBuf,
    /// Bytes that these copies may take together when a store is opened; those
    /// used longest ago go first. A store is copied as a whole, about 0.6 KB a
    /// memory, so it is also the most that one of them may take.
    #[cfg(feature = "object-store")]
    pub cache_bytes: u64,
    /// Time limits and attempts of calls to other machines.
    #[cfg(feature = "remote")]
    pub remote: crate::remote::Limits,
    /// Limits of a search by sketches.
    pub cascade_limits: cascade::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_budget: 256 << 20,
            dimension: Dimension::default(),
            hot_capacity: 50_000,
            warm_capacity: 1_000_000,
            durability: Durability::default(),
            hot_band: Band { leave: 0.3, enter: 0.6 },
            warm_band: Band { leave: 0.1, enter: 0.25 },
            decay_per_day: 0.01,
            background: true,
            token_cache_bytes: 4 << 20,
            #[cfg(feature = "postgres")]
            warm: WarmBackend::default(),
            #[cfg(feature = "object-store")]
            cache_folder: cache_folder(),
            #[cfg(feature = "object-store")]
            cache_bytes: 16 << 30,
            #[cfg(feature = "remote")]
            remote: crate::remote::Limits::default(),
            cascade_limits: cascade::Limits::default(),
        }
    }
}

impl Config {
    /// The default settings, changed by the environment, so that one program can run on one
    /// machine and on many: `MNEMO_WARM=postgres` puts WARM into PostgreSQL, and
    /// `MNEMO_CACHE` is the folder of the local copies of buckets.
    #[must_use]
    pub fn from_env() -> Self {
        #[allow(unused_mut, reason = "only features read the environment")]
        let mut config = Self::default();
        #[cfg(feature = "postgres")]
        if std::env::var("MNEMO_WARM").is_ok_and(|name| name.eq_ignore_ascii_case("postgres")) {
            config.warm = WarmBackend::Postgres;
        }
        #[cfg(feature = "object-store")]
        if let Some(folder) = variable("MNEMO_CACHE") {
            config.cache_folder = folder;
        }
        config
    }

    /// Sets [`Config::memory_budget`](field@Config::memory_budget), in bytes.
    ///
    /// ```
    /// use mnemocore::{Config, Engine};
    ///
    /// let engine = Engine::in_memory(Config::default().memory_budget(32 << 20))?;
    /// engine.store("Marta is allergic to walnuts")?;
    /// assert!(engine.stats().ram <= 32 << 20);
    /// # Ok::<(), mnemocore::Error>(())
    /// ```
    #[must_use]
    pub fn memory_budget(mut self, memory_budget: usize) -> Self {
        self.memory_budget = memory_budget;
        self
    }

    /// Sets [`Config::dimension`](field@Config::dimension).
    #[must_use]
    pub fn dimension(mut self, dimension: Dimension) -> Self {
        self.dimension = dimension;
        self
    }

    /// Sets [`Config::hot_capacity`](field@Config::hot_capacity).
    #[must_use]
    pub fn hot_capacity(mut self, hot_capacity: usize) -> Self {
        self.hot_capacity = hot_capacity;
        self
    }

    /// Sets [`Config::warm_capacity`](field@Config::warm_capacity).
    #[must_use]
    pub fn warm_capacity(mut self, warm_capacity: usize) -> Self {
        self.warm_capacity = warm_capacity;
        self
    }

    /// Sets [`Config::durability`](field@Config::durability).
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets [`Config::hot_band`](field@Config::hot_band).
    #[must_use]
    pub fn hot_band(mut self, hot_band: Band) -> Self {
        self.hot_band = hot_band;
        self
    }

    /// Sets [`Config::warm_band`](field@Config::warm_band).
    #[must_use]
    pub fn warm_band(mut self, warm_band: Band) -> Self {
        self.warm_band = warm_band;
        self
    }

    /// Sets [`Config::decay_per_day`](field@Config::decay_per_day).
    #[must_use]
    pub fn decay_per_day(mut self, decay_per_day: f64) -> Self {
        self.decay_per_day = decay_per_day;
        self
    }

    /// Sets [`Config::background`](field@Config::background).
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// Sets [`Config::token_cache_bytes`](field@Config::token_cache_bytes).
    #[must_use]
    pub fn token_cache_bytes(mut self, token_cache_bytes: usize) -> Self {
        self.token_cache_bytes = token_cache_bytes;
        self
    }

    /// Sets [`Config::warm`](field@Config::warm).
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn warm(mut self, warm: WarmBackend) -> Self {
        self.warm = warm;
        self
    }

    /// Sets [`Config::cache_folder`](field@Config::cache_folder).
    #[cfg(feature = "object-store")]
    #[must_use]
    pub fn cache_folder(mut self, cache_folder: impl Into<std::path::PathBuf>) -> Self {
        self.cache_folder = cache_folder.into();
        self
    }

    /// Sets [`Config::cache_bytes`](field@Config::cache_bytes).
    #[cfg(feature = "object-store")]
    #[must_use]
    pub fn cache_bytes(mut self, cache_bytes: u64) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }

    /// Sets [`Config::remote`](field@Config::remote).
    #[cfg(feature = "remote")]
    #[must_use]
    pub fn remote(mut self, remote: crate::remote::Limits) -> Self {
        self.remote = remote;
        self
    }

    /// Sets [`Config::cascade_limits`](field@Config::cascade_limits).
    #[must_use]
    pub fn cascade_limits(mut self, cascade_limits: cascade::Limits) -> Self {
        self.cascade_limits = cascade_limits;
        self
    }

    /// Says what is wrong with these settings, if anything is.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (name, band) in [("hot_band", self.hot_band), ("warm_band", self.warm_band)] {
            expect(band.leave <= band.enter, name, "leave at or below enter", &band)?;
        }
        let &Self { memory_budget, token_cache_bytes, decay_per_day, .. } = self;
        expect(memory_budget >= LEAST_BUDGET, "memory_budget", "at least 8 MiB", &memory_budget)?;
        let fits = token_cache_bytes <= MOST_CACHE_BYTES;
        expect(fits, "token_cache_bytes", "at most 1 GiB", &token_cache_bytes)?;
        let fits = (0.0..=MOST_DECAY).contains(&decay_per_day);
        expect(fits, "decay_per_day", "a number from 0 to 1,000,000", &decay_per_day)?;
        let z = self.cascade_limits.z;
        expect(z >= 0.0 && z.is_finite(), "cascade_limits.z", "a finite number, not negative", &z)?;
        #[cfg(feature = "object-store")]
        {
            let folder = &self.cache_folder;
            expect(!folder.as_os_str().is_empty(), "cache_folder", "the path of a folder", folder)?;
        }
        #[cfg(feature = "remote")]
        self.remote.check()?;
        Ok(())
    }
}

/// Refuses the value of a setting that does not fit.
fn expect(fits: bool, name: &'static str, expected: &'static str, received: &dyn Debug) -> Result<(), Error> {
    if fits {
        return Ok(());
    }
    Err(Error::InvalidConfig { name, expected, received: format!("{received:?}") })
}

/// The folder that an environment variable names, if it names one.
#[cfg(feature = "object-store")]
fn variable(name: &str) -> Option<std::path::PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(Into::into)
}

/// The user's folder for caches, or else the system's for temporary files.
#[cfg(feature = "object-store")]
fn cache_folder() -> std::path::PathBuf {
    let users = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    users.unwrap_or_else(std::env::temp_dir).join("mnemocore")
}
