//! Settings of an engine, each default with its reason.

use crate::error::Error;
use crate::hdv::Dimension;
use crate::index::{cascade, terms};
use crate::log::Durability;
use crate::tier::Band;

/// Where the WARM tier is.
#[cfg(feature = "postgres")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residence {
    /// In this process and a file beside the log.
    #[default]
    Local,
    /// In a PostgreSQL database with pgvector, which several engines may share; see
    /// [`Database::from_environment`](crate::tier::postgres::Database::from_environment)
    /// for the variables that say where it is.
    Postgres,
}

#[cfg(feature = "postgres")]
impl Residence {
    /// What the environment variable `MNEMO_WARM` says: `postgres`, or else local.
    pub fn from_environment() -> Self {
        match std::env::var("MNEMO_WARM") {
            Ok(name) if name.eq_ignore_ascii_case("postgres") => Self::Postgres,
            _ => Self::Local,
        }
    }
}

/// Settings of an [`Engine`](crate::Engine).
///
/// ```
/// use mnemocore::{Config, Durability};
///
/// let config = Config { hot_capacity: 1_000, durability: Durability::Synced, ..Config::default() };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Bits of a hypervector. 16,384 keeps the noise of a score below a tenth
    /// of one term's share; 4,096 loses about one recalled memory in a hundred
    /// for a quarter of the size.
    pub dimension: Dimension,
    /// Memories in HOT, at about 2.6 KB each; the default takes 130 MB. At 0 new
    /// memories enter WARM.
    pub hot_capacity: usize,
    /// Memories in WARM, at about 0.25 KB of RAM and 2 KB of disk each; the
    /// default takes 250 MB of RAM.
    pub warm_capacity: usize,
    /// What `store` waits for.
    pub durability: Durability,
    /// Strengths at which a memory enters and leaves HOT. A new memory of
    /// importance 1 has 0.69, so it stays for 83 days unasked, if there is room.
    pub hot_band: Band,
    /// Strengths at which a memory enters and leaves WARM.
    pub warm_band: Band,
    /// Lambda of the [`strength`](crate::tier::strength), per day: at 0.01 a
    /// memory loses half its strength in 69 days.
    pub decay_per_day: f64,
    /// Whether a thread of the engine moves memories, merges segments and
    /// persists access counts as needed. Without it that happens in
    /// [`Engine::consolidate`](crate::Engine::consolidate) alone.
    pub background: bool,
    /// Bytes of token vectors that are kept for encoding; the default holds
    /// the 16,000 most used words, 96 % of English text.
    pub token_cache_bytes: usize,
    /// Bytes that the embedded store may use for its caches. Behind them is the
    /// system's page cache: 8 MB would make a recall among 100,000 memories in WARM
    /// 5 % faster, and take a quarter more RAM than all else that they need.
    pub log_cache_bytes: u64,
    /// Where WARM is: by default where the environment says, so that the same
    /// program runs on one machine and on many.
    #[cfg(feature = "postgres")]
    pub warm: Residence,
    /// Where the local copies of stores in buckets are: the log, and the files of
    /// WARM and COLD, which is all that a recall needs. From the environment's
    /// `MNEMO_CACHE`, or `mnemocore` in the user's folder for caches.
    #[cfg(feature = "object-store")]
    pub cache_folder: std::path::PathBuf,
    /// Bytes that these copies may take together when a store is opened; those
    /// used longest ago go first. A store is copied as a whole, about 0.6 KB a
    /// memory, so it is also the most that one of them may take.
    #[cfg(feature = "object-store")]
    pub cache_bytes: u64,
    /// How long and how often other machines are tried.
    #[cfg(feature = "remote")]
    pub remote: crate::remote::Limits,
    /// How far a search by terms goes.
    pub term_limits: terms::Limits,
    /// How far a search by sketches goes.
    pub cascade_limits: cascade::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dimension: Dimension::default(),
            hot_capacity: 50_000,
            warm_capacity: 1_000_000,
            durability: Durability::default(),
            hot_band: Band { leave: 0.3, enter: 0.6 },
            warm_band: Band { leave: 0.1, enter: 0.25 },
            decay_per_day: 0.01,
            background: true,
            token_cache_bytes: 32 << 20,
            log_cache_bytes: 1 << 20,
            #[cfg(feature = "postgres")]
            warm: Residence::from_environment(),
            #[cfg(feature = "object-store")]
            cache_folder: cache_folder(),
            #[cfg(feature = "object-store")]
            cache_bytes: 16 << 30,
            #[cfg(feature = "remote")]
            remote: crate::remote::Limits::default(),
            term_limits: terms::Limits::default(),
            cascade_limits: cascade::Limits::default(),
        }
    }
}

impl Config {
    /// Says what is wrong with these settings, if anything is.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (name, band) in [("hot_band", self.hot_band), ("warm_band", self.warm_band)] {
            if band.leave.is_nan() || band.enter.is_nan() || band.leave > band.enter {
                let received = format!("{band:?}");
                return Err(Error::Setting { name, expected: "leave at or below enter", received });
            }
        }
        if !(self.decay_per_day >= 0.0 && self.decay_per_day.is_finite()) {
            let received = self.decay_per_day.to_string();
            return Err(Error::Setting {
                name: "decay_per_day",
                expected: "a finite number, not negative",
                received,
            });
        }
        Ok(())
    }
}

/// Where caches belong.
#[cfg(feature = "object-store")]
fn cache_folder() -> std::path::PathBuf {
    use std::path::PathBuf;
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let users = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    variable("MNEMO_CACHE").unwrap_or_else(|| users().unwrap_or_else(std::env::temp_dir).join("mnemocore"))
}
