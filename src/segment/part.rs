//! The part of a segment that is one namespace's.

use std::ops::Range;
use std::sync::Arc;

use super::postings::List;
use super::{Live, Segment};
use crate::encoder::Term;
use crate::key::{MemoryId, NamespaceId};

/// The rows of one namespace in a segment, and which of them still count.
#[derive(Clone)]
pub struct Part {
    /// All rows.
    pub segment: Arc<Segment>,
    /// Those of the namespace, and which of them count.
    pub live: Arc<Live>,
}

impl Part {
    /// A part in which every row counts.
    pub fn new(segment: Segment) -> Self {
        let live = Arc::new(Live::all(segment.len()));
        Self { segment: Arc::new(segment), live }
    }

    /// The rows of a namespace in a shared segment, if it has any.
    pub fn of(segment: &Arc<Segment>, namespace: NamespaceId) -> Option<Self> {
        let rows = segment.owners.as_ref()?.window(namespace)?;
        Some(Self { segment: segment.clone(), live: Arc::new(Live::range_of(rows)) })
    }

    /// The rows of the namespace, whether they count or not.
    pub fn rows(&self) -> Range<u32> {
        self.live.range()
    }

    /// The live row of memory `id`.
    pub fn find(&self, id: MemoryId) -> Option<u32> {
        let row = if self.segment.is_shared() {
            let rows = self.rows();
            let number = i64::try_from(id.0).ok()?;
            let found = self.segment.ids.find_within(number, rows.start as usize..rows.end as usize);
            found.map(|row| row as u32)
        } else {
            self.segment.find(id)
        };
        row.filter(|&row| self.live.contains(row))
    }

    /// Bytes of anonymous memory: of a shared segment, those of its rows.
    pub fn heap_bytes(&self) -> usize {
        self.share(self.segment.heap_bytes()) + self.live.heap_bytes()
    }

    /// Bytes of the mapped file: of a shared one, those of its rows.
    pub fn mapped_bytes(&self) -> usize {
        self.share(self.segment.mapped_bytes())
    }

    fn share(&self, bytes: usize) -> usize {
        bytes * self.rows().len() / self.segment.len().max(1)
    }

    /// The postings of `term` in the rows of the namespace.
    pub(crate) fn list(&self, term: Term) -> List<'_> {
        let list = self.segment.postings.columns_of(term);
        if self.segment.is_shared() { list.within(self.rows()) } else { list }
    }

    /// In how many live rows `term` occurs.
    pub fn document_frequency(&self, term: Term) -> usize {
        let rows = self.list(term).rows;
        if self.live.len() == self.rows().len() { rows.len() } else { self.live.count(rows) }
    }
}
