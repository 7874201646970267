//! Which segments of a namespace are merged next.

use super::slot::Slot;
use crate::error::Error;
use crate::segment::{Codec, MAX_ROWS, Segment, Source, merge};

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
    /// Only what removes forgotten memories, because the disk is full. The segment that needs the least room is first.
    Free,
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
    /// or more of one size class. From place `open` on, slots are in the hands of those who add memories:
    /// these are not packed.
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
                return same_class(closed, bounds.content).map(|slots| Self { slots, packs: false });
            }
            // An open one would be another by the time that the merge is made.
            Effort::Due => (closed, PACKED_ROWS),
            Effort::Close => (loose, CLOSED_ROWS),
            Effort::Free => {
                let slots = least_live(packed).map(|slot| vec![slot.clone()]);
                return slots.map(|slots| Self { slots, packs: true });
            }
            Effort::All => (loose, OWN_ROWS),
        };
        let content = || loose.iter().map(Slot::content).sum::<usize>();
        if loose.iter().map(Slot::live).sum::<usize>() >= least || content() >= bounds.content {
            return Some(Self { slots: within_limit(loose, bounds.content).to_vec(), packs: true });
        }
        // All but the newest, which the next store replaces.
        let grown = own.get(packed.len()..own.len().saturating_sub(1)).unwrap_or_default();
        let first = |some: fn(&[Slot], Bounds) -> Option<Vec<Slot>>| {
            [(packed, true), (grown, false)]
                .into_iter()
                .find_map(|(slots, packs)| Some((some(slots, bounds)?, packs)))
        };
        let (slots, packs) = match effort {
            Effort::Open | Effort::Close | Effort::Free => None,
            // Loose ones are shared after this, if they are not too few.
            Effort::All => fewest(packed, bounds.content).map(|slots| (slots.to_vec(), true)),
            Effort::Due => first(|slots, bounds| Some(mostly_dead(slots, bounds.dead_share)?.to_vec()))
                .or_else(|| first(|slots, bounds| same_class(slots, bounds.content))),
        }?;
        Some(Self { slots, packs })
    }

    /// Bytes that the merged segment takes, about.
    pub(super) fn room(&self) -> usize {
        self.slots.iter().map(Rows::room).sum()
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

    /// Bytes that it takes without its dead rows, about.
    fn room(&self) -> usize {
        (self.content() as f64 * self.live() as f64 / self.rows().max(1) as f64) as usize
    }
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

impl<S: Rows> Rows for &S {
    fn rows(&self) -> usize {
        (**self).rows()
    }

    fn live(&self) -> usize {
        (**self).live()
    }

    fn content(&self) -> usize {
        (**self).content()
    }
}

/// One of which more than `dead_share` is dead.
pub(super) fn mostly_dead<S: Rows>(slots: &[S], dead_share: f64) -> Option<&[S]> {
    let dead = |slot: &&S| 1.0 - slot.live() as f64 / slot.rows().max(1) as f64 > dead_share;
    slots.iter().find(dead).map(std::slice::from_ref)
}

/// Four or more of one size class, the smallest class first, together with all that are smaller: what is
/// forgotten leaves segments of many sizes, and each takes a recall its lookups.
pub(super) fn same_class<S: Rows + Clone>(slots: &[S], most: usize) -> Option<Vec<S>> {
    let class = |slot: &S| slot.live().max(1).ilog2() / FANOUT.ilog2();
    // Only those that are merged are copied: this runs under the writer's lock. Of a class, those that take the
    // least are first, so that the limit leaves out as few as possible.
    let mut by_size: Vec<&S> = slots.iter().collect();
    by_size.sort_by_key(|slot| (class(slot), slot.content()));
    let mut smaller = 0;
    for run in by_size.chunk_by(|a, b| class(a) == class(b)) {
        let up_to_here = by_size.get(..smaller + run.len()).unwrap_or_default();
        for (some, others) in [(up_to_here, smaller), (run, 0)] {
            let due = within_limit(some, most);
            if due.len() >= others + FANOUT {
                return Some(due.iter().copied().cloned().collect());
            }
        }
        smaller += run.len();
    }
    None
}

/// The one with dead rows that takes the least room without them.
pub(super) fn least_live<S: Rows>(slots: &[S]) -> Option<&S> {
    slots.iter().filter(|slot| slot.live() < slot.rows()).min_by_key(|slot| slot.room())
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// So many live rows of a segment without dead ones.
    #[derive(Clone, Debug, PartialEq)]
    struct Live(usize);

    impl Rows for Live {
        fn rows(&self) -> usize {
            self.0
        }

        fn live(&self) -> usize {
            self.0
        }

        fn content(&self) -> usize {
            self.0
        }
    }

    /// Rows, and bytes that a merge reads.
    #[derive(Clone, Debug, PartialEq)]
    struct Sized(usize, usize);

    impl Rows for Sized {
        fn rows(&self) -> usize {
            self.0
        }

        fn live(&self) -> usize {
            self.0
        }

        fn content(&self) -> usize {
            self.1
        }
    }

    /// Before, 154 segments of short texts piled up behind four of long ones with a little fewer rows.
    #[test]
    fn segments_with_much_content_keep_no_others_of_their_class_from_being_merged() {
        let large = vec![Sized(4_096, 700); 4];
        let small = vec![Sized(4_200, 70); 4];
        assert_eq!(same_class(&[large.clone(), small[..3].to_vec()].concat(), 800), None);
        assert_eq!(
            same_class(&[large, small.clone()].concat(), 800).map(|due| due[..4].to_vec()),
            Some(small)
        );
    }

    fn due(sizes: &[usize]) -> Option<Vec<usize>> {
        let slots: Vec<Live> = sizes.iter().copied().map(Live).collect();
        same_class(&slots, usize::MAX).map(|due| due.into_iter().map(|Live(size)| size).collect())
    }

    /// Before, four had to be neighbors: moves of 8 and 40 memories in turn left 30 segments in WARM.
    #[test]
    fn segments_of_a_class_are_merged_wherever_they_stand() {
        assert_eq!(due(&[8, 40, 9, 41, 8, 49]), None);
        assert_eq!(due(&[8, 40, 9, 41, 8, 49, 10]), Some(vec![8, 8, 9, 10]));
        assert_eq!(due(&[5_000, 20, 3, 21, 900, 22, 23]), Some(vec![3, 20, 21, 22, 23]));
    }

    #[test]
    fn large_segments_that_exceed_the_limit_together_wait_and_smaller_ones_do_not() {
        assert_eq!(due(&[20_000, 1_000, 20_000, 20_000, 20_000]), None);
        let small = Some(vec![1_000, 1_000, 1_000, 1_000]);
        assert_eq!(due(&[20_000, 1_000, 20_000, 1_000, 20_000, 1_000, 20_000, 1_000]), small);
        assert_eq!(
            due(&[16_384, 60, 16_384, 16_384, 16_384]),
            Some(vec![16_384; 4]),
            "without the small one"
        );
    }

    proptest! {
        #[test]
        fn merging_ends_with_at_most_three_of_a_class_and_copies_each_row_a_few_times(
            sizes in prop::collection::vec(1usize..600, 1..200),
        ) {
            let (mut slots, mut copied) = (Vec::new(), 0);
            for &size in &sizes {
                slots.push(size);
                while let Some(due) = due(&slots) {
                    let merged = due.iter().sum();
                    copied += merged;
                    for size in due {
                        let at = slots.iter().position(|&slot| slot == size).unwrap();
                        slots.remove(at);
                    }
                    slots.push(merged);
                }
                let mut classes: BTreeMap<u32, usize> = BTreeMap::new();
                slots.iter().for_each(|size| *classes.entry(size.ilog2() / 2).or_default() += 1);
                prop_assert!(classes.values().all(|&count| count < FANOUT), "{:?}", slots);
            }
            let rows: usize = sizes.iter().sum();
            prop_assert_eq!(slots.iter().sum::<usize>(), rows);
            // log4 of the rows is at most 9.
            prop_assert!(copied <= 9 * rows, "{} copies of {} rows", copied, rows);
        }
    }
}
