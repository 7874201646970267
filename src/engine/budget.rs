//! How the memory of an engine is divided: `Config::memory_budget`.
//!
//! | share | for |
//! |---|---|
//! | 4/16 | a merge or a move: what it reads and makes |
//! | 1/16 at most | the token cache |
//! | 1/32 | records of COLD that are decompressed |
//! | 1/64 | which memories were recalled, until their accesses are counted |
//! | 3/16 | loose memories of WARM and COLD. Beyond 1/16 in a tier, those who store pack them; beyond 2/16, they wait for it |
//! | the rest | HOT, and what the namespaces, the log and the files' live bits take |
//!
//! HOT gives way to the others: its weakest memories move down until the sum fits. Rows of HOT that no longer count
//! take memory until their segment is rewritten, so only five eighths of its share are for those that do.

use crate::config::Config;
use crate::key::TierKind;
use crate::tier::{Limits, Size};

/// Bytes of one memory, at least, while it is merged or moves: its terms, record, sketch and places.
const ROW_BYTES: usize = 1_024;

/// Bytes of the note that a memory was recalled: its entry in a table that is half full.
const RECALLED_BYTES: usize = 48;

/// Memories that move in one batch at most. For COLD it is the size of a new segment: large enough that few
/// segments are merged.
const MOST_MOVED: usize = 16_384;

/// The memory of an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    bytes: usize,
    vector_bytes: usize,
    token_cache: usize,
}

impl Budget {
    pub(super) fn new(config: &Config) -> Self {
        let bytes = config.memory_budget;
        let token_cache = config.token_cache_bytes.min(bytes / 16);
        Self { bytes, vector_bytes: config.dimension.bits() / 8, token_cache }
    }

    /// Bytes of token vectors that are kept.
    pub(super) fn token_cache(&self) -> usize {
        self.token_cache
    }

    /// What the work of a tier may take.
    pub(super) fn limits(&self) -> Limits {
        Limits { merged_bytes: self.merges(), loose_bytes: self.bytes / 16, cached_bytes: self.bytes / 32 }
    }

    /// Memories that move to a tier in one batch. In WARM they are loose for a while, in COLD they become a file.
    pub(super) fn moved_at_once(&self, to: TierKind) -> usize {
        let bytes = if to == TierKind::Cold { self.merges() } else { self.limits().loose_bytes };
        (bytes / (ROW_BYTES + self.vector_bytes)).clamp(64, MOST_MOVED)
    }

    /// Bytes of memories that move in one step. The segment that they become, and what makes it, take three times
    /// as much.
    pub(super) fn moved_bytes(&self) -> usize {
        self.merges() / 4
    }

    /// Recalled memories that are noted until their accesses are counted.
    pub(super) fn recalled(&self) -> usize {
        self.bytes / 64 / RECALLED_BYTES
    }

    /// Bytes that are reserved for caches and merges, even in an empty engine.
    pub(super) fn reserved(&self) -> usize {
        self.merges() + self.token_cache + self.limits().cached_bytes + self.bytes / 64
    }

    /// How many memories HOT may hold, if it holds `hot` now, and all else takes `others`.
    pub(super) fn hot_capacity(&self, hot: Size, others: Size) -> usize {
        let loose = others.loose.max(3 * self.limits().loose_bytes);
        let taken = self.reserved() + loose + others.bytes.saturating_sub(others.loose);
        let share = self.bytes.saturating_sub(taken);
        share / 8 * 5 / hot.bytes.checked_div(hot.rows).unwrap_or(ROW_BYTES).max(1)
    }

    fn merges(&self) -> usize {
        self.bytes / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(bytes: usize) -> Budget {
        Budget::new(&Config::default().memory_budget(bytes))
    }

    #[test]
    fn shares_are_within_the_whole_and_hot_gives_way() {
        for bytes in [8 << 20, 64 << 20, 256 << 20, 8 << 30] {
            let budget = budget(bytes);
            let hot = |others| {
                let (hot, others) = ((10_000, 10_000 * 300), (0, others));
                let [hot, others] = [hot, others].map(|(rows, bytes)| Size { rows, bytes, loose: 0 });
                budget.hot_capacity(hot, others) * 300
            };
            assert!(budget.reserved() + 3 * budget.limits().loose_bytes + hot(0) <= bytes);
            assert!(hot(bytes / 4) < hot(0) && hot(bytes) == 0);
            assert!(hot(0) >= bytes / 5, "{} of {bytes}", hot(0));
        }
        assert_eq!(budget(256 << 20).moved_at_once(TierKind::Cold), MOST_MOVED);
        assert_eq!(budget(16 << 20).moved_at_once(TierKind::Warm), (1 << 20) / 3_072);
        let empty = budget(8 << 20).hot_capacity(Size::default(), Size::default());
        assert!((1_000..5_000).contains(&empty), "{empty}");
    }
}
