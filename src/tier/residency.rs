//! Where the memories of a tier on this machine are: all in which the tiers differ.

use crate::key::TierKind;
use crate::segment::Codec;

/// Where a tier's memories are.
#[derive(Clone, Copy, Debug)]
pub struct Residency {
    pub(super) kind: TierKind,
    pub(super) codec: Codec,
    /// So many memories of a namespace that come together are packed at once, without the detour through the
    /// log and the head, and so are fewer that are large: in HOT and WARM only if writing fewer to the log takes less time than syncing
    /// a file.
    pub(super) packed_at_once: usize,
    /// Segments with a greater share of dead rows are rewritten at the next upkeep. At a half, a
    /// row is copied once for every row that is removed.
    pub(super) dead_share: f64,
}

impl Residency {
    /// Everything in RAM.
    pub const HOT: Self =
        Self { kind: TierKind::Hot, codec: Codec::Plain, packed_at_once: 16_384, dead_share: 0.5 };
    /// Mapped files.
    pub const WARM: Self =
        Self { kind: TierKind::Warm, codec: Codec::Plain, packed_at_once: 16_384, dead_share: 0.5 };
    /// Mapped files with compressed records.
    pub const COLD: Self =
        Self { kind: TierKind::Cold, codec: Codec::Zstd, packed_at_once: 1_024, dead_share: 0.25 };
}
