//! A segment on the writer's side.

use std::sync::Arc;

use super::Size;
use crate::segment::{Accesses, Live, Part, Segment, Source};

/// Bytes of a slot besides its rows: the structures of its segment, mostly.
const SLOT_BYTES: usize = 1_024;

/// Bytes of a slot whose segment other namespaces share.
const SHARED_SLOT_BYTES: usize = 192;

/// A segment, and what the writer knows besides of its rows.
#[derive(Clone)]
pub(super) struct Slot {
    /// The segment as readers see it.
    pub part: Part,
    /// How often rows were accessed since they were put there.
    pub accesses: Accesses,
    /// Which rows counted when that was noted in the log for the segment as a whole.
    pub noted: Option<Live>,
    size: Size,
    /// Bytes of what a merge reads of it.
    content: usize,
}

impl Slot {
    /// A slot of a segment in which every row counts.
    pub(super) fn new(segment: Segment) -> Self {
        Self::of(Part::new(segment))
    }

    /// A slot of a segment as it was written.
    pub(super) fn of(part: Part) -> Self {
        let (heap, mapped) = (part.heap_bytes(), part.mapped_bytes());
        let own = if part.segment.is_shared() { SHARED_SLOT_BYTES } else { SLOT_BYTES };
        let bytes = own + heap;
        let size =
            Size { rows: part.rows().len(), bytes, loose: if part.segment.is_loose() { bytes } else { 0 } };
        Self { part, accesses: Accesses::default(), noted: None, size, content: heap + mapped }
    }

    /// What it takes.
    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// Bytes of what a merge reads of it.
    pub(super) fn content(&self) -> usize {
        self.content
    }

    /// Whether a file says by itself that the memory in `row` was accessed so often.
    pub(super) fn is_told_by_file(&self, row: u32, accesses: u32) -> bool {
        self.part.segment.number().is_some() && self.part.segment.accesses(row) == accesses
    }

    /// Notes how often the memory in `row` was accessed.
    pub(super) fn set_accesses(&mut self, row: u32, accesses: u32) {
        if self.part.segment.accesses(row) == accesses {
            self.accesses.remove(&row);
        } else {
            self.accesses.insert(row, accesses);
        }
    }

    /// The rows that were marked as dead in the log, one by one.
    pub(super) fn marked(&self) -> Vec<u32> {
        self.part.live.unset_since(self.noted.as_ref())
    }

    /// How many rows were marked so.
    pub(super) fn count_marked(&self) -> usize {
        self.noted.as_ref().map_or(self.rows(), Live::len) - self.live()
    }

    /// How often the memory in `row` was accessed.
    pub(super) fn accesses(&self, row: u32) -> u32 {
        self.source().accesses_of(row)
    }

    /// Number of rows of the namespace, live or not.
    pub(super) fn rows(&self) -> usize {
        self.part.rows().len()
    }

    /// Number of live rows.
    pub(super) fn live(&self) -> usize {
        self.part.live.len()
    }

    /// The number of its file, if other namespaces share it.
    pub(super) fn shared(&self) -> Option<u64> {
        self.part.segment.number().filter(|_| self.part.segment.is_shared())
    }

    /// Whether its segment is loose.
    pub(super) fn is_loose(&self) -> bool {
        self.part.segment.is_loose()
    }

    /// The slot as a source of a merge.
    pub(super) fn source(&self) -> Source<'_> {
        Source { segment: &self.part.segment, live: &self.part.live, accesses: &self.accesses }
    }

    /// Does to a slot that is a merge of `planned` what was done to `now` since that was planned.
    pub(super) fn follow(&mut self, planned: &Slot, now: &Slot) {
        let moved = |row: u32| planned.part.segment.id(row).and_then(|id| self.part.segment.find(id));
        if !Arc::ptr_eq(&now.part.live, &planned.part.live) {
            let gone = planned.part.live.iter().filter(|&row| !now.part.live.contains(row));
            let gone: Vec<u32> = gone.filter_map(moved).collect();
            let live = Arc::make_mut(&mut self.part.live);
            for row in gone {
                live.remove(row);
            }
        }
        let counted = now.accesses.iter().filter(|(row, count)| planned.accesses.get(row) != Some(count));
        let counted: Vec<(u32, u32)> =
            counted.filter_map(|(&row, &count)| Some((moved(row)?, count))).collect();
        self.accesses.extend(counted.into_iter().filter(|(row, _)| self.part.live.contains(*row)));
    }
}
