//! WARM: supplied vectors in a mapped file, lists and sketches in RAM, texts in the log.
//!
//! The file is derived data. It is made anew when the engine opens, so a crash
//! at any moment leaves nothing to repair.

mod vectors;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Weak};

#[cfg(feature = "object-store")]
pub(crate) use self::vectors::file_bytes;
use self::vectors::{Extents, VectorFile};
use super::{Admission, Done, Search, Staged, Tier, TierBytes, TierView, Upkeep, local};
use crate::encoder::{Encoder, Term};
use crate::error::Error;
use crate::hdv::Dimension;
use crate::index::{QueryTerm, Segment, Shard, TopK};
use crate::key::{MemoryId, NamespaceId, TierKind};
use crate::log::{Batch, Log};

/// A place in the vector file.
type Slot = u32;

/// The slot of each row with a supplied vector.
type Rows = Vec<Option<Slot>>;

/// The WARM tier.
pub struct WarmTier {
    encoder: Arc<Encoder>,
    log: Arc<dyn Log>,
    file: VectorFile,
    shards: HashMap<NamespaceId, Shard<Rows>>,
    /// What readers of each namespace see now.
    views: HashMap<NamespaceId, Weak<WarmView>>,
    /// Slots of removed memories, which their namespace's current view still
    /// shows.
    freed: HashMap<NamespaceId, Vec<Slot>>,
    /// Views that were replaced, oldest first, and the slots that may be used
    /// again once they and all before them are gone.
    retired: VecDeque<(Weak<WarmView>, Vec<Slot>)>,
    len: usize,
}

impl WarmTier {
    /// An empty tier with its vector file at `path`; an older file there is
    /// replaced.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be made.
    pub fn create(
        path: &Path,
        dimension: Dimension,
        encoder: Arc<Encoder>,
        log: Arc<dyn Log>,
    ) -> Result<Self, Error> {
        Ok(Self {
            encoder,
            log,
            file: VectorFile::create(path, dimension.bytes())?,
            shards: HashMap::new(),
            views: HashMap::new(),
            freed: HashMap::new(),
            retired: VecDeque::new(),
            len: 0,
        })
    }

    /// Writes the supplied vectors of all `memories`, or none.
    fn write(&mut self, memories: &[Admission]) -> Result<Rows, Error> {
        let mut slots = Vec::with_capacity(memories.len());
        for memory in memories {
            let vector = memory.vector.as_deref();
            match vector.map(|vector| self.file.write(bytemuck::cast_slice(vector))).transpose() {
                Ok(slot) => slots.push(slot),
                Err(error) => {
                    slots.into_iter().flatten().for_each(|slot| self.file.free(slot));
                    return Err(error);
                }
            }
        }
        Ok(slots)
    }

    /// Hands slots back that no view shows any more.
    fn reclaim(&mut self) {
        while self.retired.front().is_some_and(|(view, _)| view.strong_count() == 0) {
            if let Some((_, slots)) = self.retired.pop_front() {
                slots.into_iter().for_each(|slot| self.file.free(slot));
            }
        }
    }
}

impl Tier for WarmTier {
    fn kind(&self) -> TierKind {
        TierKind::Warm
    }

    fn len(&self) -> usize {
        self.len
    }

    fn apply(&mut self, done: Done, _batch: &mut Batch) -> Result<Option<NamespaceId>, Error> {
        let Staged { namespace, memories } = match done.downcast::<Staged>() {
            Ok(staged) => *staged,
            Err(done) => return Ok(local::apply_merge(&mut self.shards, done)),
        };
        self.reclaim();
        let slots = self.write(&memories)?;
        self.len += memories.len();
        let rows: Vec<_> = memories.into_iter().map(|memory| memory.row).collect();
        self.shards.entry(namespace).or_default().add(&rows, slots);
        Ok(Some(namespace))
    }

    fn removal(&self, namespace: NamespaceId, id: MemoryId, _batch: &mut Batch) -> bool {
        self.shards.get(&namespace).is_some_and(|shard| shard.find(id).is_some())
    }

    fn remove(&mut self, namespace: NamespaceId, id: MemoryId) -> bool {
        let Some(shard) = self.shards.get_mut(&namespace) else { return false };
        let slot =
            shard.find(id).and_then(|(part, row)| part.segment.rows.get(row as usize).copied().flatten());
        let removed = shard.remove(id);
        self.freed.entry(namespace).or_default().extend(slot);
        self.len -= usize::from(removed);
        removed
    }

    fn held(&self, _namespace: NamespaceId, _id: MemoryId) -> Option<Admission> {
        None
    }

    fn view(&mut self, namespace: NamespaceId) -> Arc<dyn TierView> {
        let view = Arc::new(WarmView {
            shard: self.shards.get(&namespace).cloned().unwrap_or_default(),
            extents: self.file.extents(),
            encoder: self.encoder.clone(),
            log: self.log.clone(),
        });
        // Every view that is replaced is remembered, also when nothing was
        // freed: an older one may still show what a later one frees.
        let replaced = self.views.insert(namespace, Arc::downgrade(&view)).unwrap_or_default();
        self.retired.push_back((replaced, self.freed.remove(&namespace).unwrap_or_default()));
        self.reclaim();
        view
    }

    fn upkeep(&mut self, thorough: bool) -> Option<Upkeep> {
        self.reclaim();
        local::merge_upkeep(&self.shards, thorough)
    }
}

struct WarmView {
    shard: Shard<Rows>,
    extents: Extents,
    encoder: Arc<Encoder>,
    log: Arc<dyn Log>,
}

impl TierView for WarmView {
    fn len(&self) -> usize {
        self.shard.len()
    }

    fn document_frequency(&self, term: Term) -> usize {
        self.shard.document_frequency(term)
    }

    fn search(&self, search: &Search<'_>, top: &mut TopK) -> Result<(), Error> {
        local::search(self.shard.parts(), TierKind::Warm, search, &self.encoder, WarmSource(self), top)
    }

    fn contains(&self, id: MemoryId) -> bool {
        self.shard.find(id).is_some()
    }

    fn held_terms(&self, id: MemoryId, terms: &[QueryTerm]) -> Option<Vec<Term>> {
        self.shard.held_terms(id, terms)
    }

    fn record(&self, id: MemoryId) -> Result<Option<Vec<u8>>, Error> {
        if self.contains(id) { self.log.record(id) } else { Ok(None) }
    }

    fn bytes(&self) -> TierBytes {
        let rows = || self.shard.parts().iter().map(|part| part.segment.rows.as_slice());
        let slots: usize = rows().map(size_of_val).sum();
        let vectors = rows().flatten().flatten().count();
        let mapped = vectors * self.extents.row_bytes();
        TierBytes { ram: (self.shard.heap_bytes() + slots) as u64, mapped: mapped as u64 }
    }
}

struct WarmSource<'v>(&'v WarmView);

impl local::Source<Rows> for WarmSource<'_> {
    fn record<'a>(
        &'a mut self,
        segment: &'a Segment<Rows>,
        row: u32,
    ) -> Result<Option<Cow<'a, [u8]>>, Error> {
        let record = self.0.log.record(segment.id(row).unwrap_or_default())?;
        Ok(record.map(Cow::Owned))
    }

    fn supplied<'a>(&'a self, segment: &'a Segment<Rows>, row: u32) -> Result<&'a [u64], Error> {
        let slot = segment.rows.get(row as usize).copied().flatten();
        slot.map_or(Ok(&[]), |slot| self.0.extents.words(slot))
    }
}
