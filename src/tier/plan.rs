//! Which segments of a namespace are merged next.

use super::slot::Slot;
use crate::error::Error;
use crate::segment::{COUNTED_ROWS, Codec, MAX_ROWS, Segment, Source, merge};

/// Once so many rows are loose, they are packed: a few files a minute at most, and few enough rows
/// to be read from the log when the engine opens after a crash.
pub(super) const PACKED_ROWS: usize = 4_096;

/// Fewer loose rows are never packed: a few memories take no file in HOT and WARM.
pub(super) const LEAST_PACKED_ROWS: usize = 8;

/// So many loose rows are packed when the engine closes. Fewer are quickly read from the log.
pub(super) const CLOSED_ROWS: usize = 512;

/// So many loose rows of a namespace are packed into a file of its own. Fewer share one with those of
/// other namespaces.
pub(super) const OWN_ROWS: usize = 512;

/// Segments are not merged beyond this many rows: it bounds the time and the
/// memory that a merge takes, and what a removal copies (8 KB of live bits).
pub(super) const SEGMENT_ROWS: usize = MAX_ROWS;

/// Merge fan-out: this many segments of one size class become one of the next.
const FANOUT: usize = 4;

/// Segments that are merged at once at most, so that no lock is held for long when one
/// takes their place.
const MERGED_AT_ONCE: usize = 256;

/// How much upkeep is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What keeps the segments in RAM few while the engine opens. It writes no file and deletes none.
    Open,
    /// What is worth doing while the engine runs.
    Due,
    /// What makes the next opening quick.
    Close,
    /// All that can be done, and the removal of every trace of what was forgotten.
    All,
}

/// What bounds the merges of a tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// A segment of which a greater share is dead is rewritten.
    pub dead_share: f64,
    /// Bytes that a merge reads at most, unless it rewrites a single segment.
    pub content: usize,
}

/// Segments to be merged, as they were when the merge was planned.
pub(super) struct Plan {
    /// The segments; none to add a new one.
    pub slots: Vec<Slot>,
    /// Whether the merged one is packed.
    pub packs: bool,
}

impl Plan {
    /// What of `slots`, the shared ones first and the loose ones last, is worth merging, if anything: the shared
    /// or the loose ones if they are enough for a file; one of which more than a share is dead; or four
    /// neighbors or more of one size class. From place `open` on, slots are in the hands of those who add
    /// memories.
    pub(super) fn of(slots: &[Slot], open: usize, effort: Effort, bounds: Bounds) -> Option<Self> {
        let (shared, own) = slots.split_at(count_shared(slots));
        let is_grown = |slots: &[Slot]| slots.iter().map(Slot::live).sum::<usize>() >= PACKED_ROWS;
        if matches!(effort, Effort::Due | Effort::All) && is_grown(shared) {
            return Some(Self { slots: within_limit(shared, bounds.content).to_vec(), packs: true });
        }
        let (open, slots) = (open.saturating_sub(shared.len()), own);
        let (packed, loose) = slots.split_at(count_packed(slots));
        let closed = loose.get(..open.saturating_sub(packed.len())).unwrap_or(loose);
        let (loose, least) = match effort {
            Effort::Open => {
                return same_class(closed, bounds.content)
                    .map(|slots| Self { slots: slots.to_vec(), packs: false });
            }
            // An open one would be another by the time that the merge is made.
            Effort::Due => (closed, PACKED_ROWS),
            Effort::Close => (loose, CLOSED_ROWS),
            Effort::All => (loose, OWN_ROWS),
        };
        let content = || loose.iter().map(Slot::content).sum::<usize>();
        if loose.iter().map(Slot::live).sum::<usize>() >= least || content() >= bounds.content {
            return Some(Self { slots: within_limit(loose, bounds.content).to_vec(), packs: true });
        }
        let of_one_kind = [(packed, true), (loose, false)];
        let first = |some: fn(&[Slot], Bounds) -> Option<&[Slot]>| {
            of_one_kind.iter().find_map(|&(slots, packs)| Some((some(slots, bounds)?, packs)))
        };
        let (slots, packs) = match effort {
            Effort::Open | Effort::Close => None,
            // Loose ones are shared after this, if they are not too few. Dead rows of large ones would count in the
            // statistics.
            Effort::All => {
                let estimated = |slot: &&Slot| slot.rows() > COUNTED_ROWS && slot.live() < slot.rows();
                let estimated = loose.iter().find(estimated).map(|slot| (std::slice::from_ref(slot), false));
                fewest(packed, bounds.content).map(|slots| (slots, true)).or(estimated)
            }
            Effort::Due => first(|slots, bounds| mostly_dead(slots, bounds.dead_share))
                .or_else(|| first(|slots, bounds| same_class(slots, bounds.content))),
        }?;
        Some(Self { slots: slots.to_vec(), packs })
    }

    /// The merged segment, packed with `codec` if the plan says so; `None` if no row is live.
    ///
    /// # Errors
    /// As [`merge`].
    pub(super) fn merge(&self, codec: Codec) -> Result<Option<Segment>, Error> {
        let sources: Vec<Source<'_>> = self.slots.iter().map(Slot::source).collect();
        merge(&sources, self.packs.then_some(codec))
    }
}

/// How many of `slots` are packed: the first ones.
pub(super) fn count_packed(slots: &[Slot]) -> usize {
    slots.partition_point(|slot| !slot.is_loose())
}

/// How many of `slots` are shared: the first ones.
pub(super) fn count_shared(slots: &[Slot]) -> usize {
    slots.partition_point(|slot| slot.part.segment.is_shared())
}

/// What is merged, by its numbers of rows.
pub(super) trait Rows {
    /// Number of rows, live or not.
    fn rows(&self) -> usize;

    /// Number of live rows.
    fn live(&self) -> usize;

    /// Bytes of what a merge reads of it.
    fn content(&self) -> usize;
}

impl Rows for Slot {
    fn rows(&self) -> usize {
        self.rows()
    }

    fn live(&self) -> usize {
        self.live()
    }

    fn content(&self) -> usize {
        self.content()
    }
}

/// One of which more than `dead_share` is dead.
pub(super) fn mostly_dead<S: Rows>(slots: &[S], dead_share: f64) -> Option<&[S]> {
    let dead = |slot: &&S| 1.0 - slot.live() as f64 / slot.rows().max(1) as f64 > dead_share;
    slots.iter().find(dead).map(std::slice::from_ref)
}

/// Four neighbors or more of one size class, the smallest class first.
pub(super) fn same_class<S: Rows>(slots: &[S], most: usize) -> Option<&[S]> {
    let class = |slot: &S| slot.live().max(1).ilog2() / FANOUT.ilog2();
    let of_class = slots.chunk_by(|a, b| class(a) == class(b));
    // A large one must not keep those behind it from being merged.
    let due = of_class.filter_map(|run| {
        let mut starts = (0..run.len()).map(|start| within_limit(&run[start..], most));
        starts.find(|run| run.len() >= FANOUT)
    });
    due.min_by_key(|run| run.first().map(class))
}

/// The next step towards as few segments as [`SEGMENT_ROWS`] allows, without
/// dead rows; none when nothing is left to do.
pub(super) fn fewest<S: Rows>(slots: &[S], most: usize) -> Option<&[S]> {
    let starts = (0..slots.len()).map(|start| within_limit(&slots[start..], most));
    let mut due = starts.filter(|run| match run {
        [only] => only.live() < only.rows(),
        _ => true,
    });
    due.next()
}

/// The longest start of `run` that may become one segment at once; at least one slot.
fn within_limit<S: Rows>(run: &[S], most: usize) -> &[S] {
    let (mut rows, mut content) = (0, 0);
    let fits = run.iter().take(MERGED_AT_ONCE).take_while(|slot| {
        rows += slot.live();
        content += slot.content();
        rows <= SEGMENT_ROWS && content <= most
    });
    &run[..fits.count().max(1).min(run.len())]
}
