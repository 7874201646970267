//! Names of memories, namespaces, tiers and points in time.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The id of a memory within its store. A later memory has a greater id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryId(pub u64);

impl fmt::Display for MemoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl From<&MemoryId> for MemoryId {
    fn from(id: &MemoryId) -> Self {
        *id
    }
}

impl From<u64> for MemoryId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

/// Numbers a namespace within its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(pub u32);

impl NamespaceId {
    /// Stands for several namespaces, which share a segment.
    pub const SHARED: Self = Self(u32::MAX);
}

/// One of the three tiers, the quickest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TierKind {
    /// Everything in RAM: recent and strong memories.
    Hot,
    /// In mapped files: up to millions on one machine.
    Warm,
    /// A compressed archive: everything else.
    Cold,
}

impl TierKind {
    /// All tiers, the quickest first.
    pub const ALL: [TierKind; 3] = [TierKind::Hot, TierKind::Warm, TierKind::Cold];

    /// Its place in [`TierKind::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for TierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TierKind::Hot => "HOT",
            TierKind::Warm => "WARM",
            TierKind::Cold => "COLD",
        })
    }
}

/// A point in time: milliseconds since the start of 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The system's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Days from `earlier` to this; 0 if it is not earlier.
    pub fn days_since(self, earlier: Timestamp) -> f64 {
        self.0.saturating_sub(earlier.0).max(0) as f64 / 86_400_000.0
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        })
    }
}
