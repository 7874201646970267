//! HOT: everything in RAM.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::{Admission, Done, Search, Staged, Tier, TierBytes, TierView, Upkeep, local};
use crate::encoder::{Encoder, Term};
use crate::error::Error;
use crate::index::{QueryTerm, Segment, Shard, TopK};
use crate::key::{MemoryId, NamespaceId, TierKind};
use crate::log::Batch;

/// What HOT keeps of a memory, besides its row in the index.
#[derive(Clone)]
struct HotMemory {
    vector: Option<Arc<[u64]>>,
    record: Arc<[u8]>,
}

type Rows = Vec<HotMemory>;

/// The HOT tier.
pub struct HotTier {
    encoder: Arc<Encoder>,
    shards: HashMap<NamespaceId, Shard<Rows>>,
    len: usize,
}

impl HotTier {
    /// An empty tier.
    pub fn new(encoder: Arc<Encoder>) -> Self {
        Self { encoder, shards: HashMap::new(), len: 0 }
    }
}

impl Tier for HotTier {
    fn kind(&self) -> TierKind {
        TierKind::Hot
    }

    fn len(&self) -> usize {
        self.len
    }

    fn apply(&mut self, done: Done, _batch: &mut Batch) -> Result<Option<NamespaceId>, Error> {
        let Staged { namespace, memories } = match done.downcast::<Staged>() {
            Ok(staged) => *staged,
            Err(done) => return Ok(local::apply_merge(&mut self.shards, done)),
        };
        self.len += memories.len();
        let (rows, payload): (Vec<_>, Rows) = memories
            .into_iter()
            .map(|Admission { row, vector, record }| (row, HotMemory { vector, record }))
            .unzip();
        self.shards.entry(namespace).or_default().add(&rows, payload);
        Ok(Some(namespace))
    }

    fn removal(&self, namespace: NamespaceId, id: MemoryId, _batch: &mut Batch) -> bool {
        self.shards.get(&namespace).is_some_and(|shard| shard.find(id).is_some())
    }

    fn remove(&mut self, namespace: NamespaceId, id: MemoryId) -> bool {
        let removed = self.shards.get_mut(&namespace).is_some_and(|shard| shard.remove(id));
        self.len -= usize::from(removed);
        removed
    }

    fn held(&self, namespace: NamespaceId, id: MemoryId) -> Option<Admission> {
        let (part, row) = self.shards.get(&namespace)?.find(id)?;
        let HotMemory { vector, record } = part.segment.rows.get(row as usize)?.clone();
        Some(Admission { row: part.segment.row(row, Vec::new()), vector, record })
    }

    fn view(&mut self, namespace: NamespaceId) -> Arc<dyn TierView> {
        let shard = self.shards.get(&namespace).cloned().unwrap_or_default();
        Arc::new(HotView { shard, encoder: self.encoder.clone() })
    }

    fn upkeep(&mut self, thorough: bool) -> Option<Upkeep> {
        local::merge_upkeep(&self.shards, thorough)
    }
}

struct HotView {
    shard: Shard<Rows>,
    encoder: Arc<Encoder>,
}

impl TierView for HotView {
    fn len(&self) -> usize {
        self.shard.len()
    }

    fn document_frequency(&self, term: Term) -> usize {
        self.shard.document_frequency(term)
    }

    fn search(&self, search: &Search<'_>, top: &mut TopK) -> Result<(), Error> {
        local::search(self.shard.parts(), TierKind::Hot, search, &self.encoder, HotSource, top)
    }

    fn contains(&self, id: MemoryId) -> bool {
        self.shard.find(id).is_some()
    }

    fn held_terms(&self, id: MemoryId, terms: &[QueryTerm]) -> Option<Vec<Term>> {
        self.shard.held_terms(id, terms)
    }

    fn record(&self, id: MemoryId) -> Result<Option<Vec<u8>>, Error> {
        let found = self.shard.find(id);
        Ok(found
            .and_then(|(part, row)| part.segment.rows.get(row as usize))
            .map(|memory| memory.record.to_vec()))
    }

    fn bytes(&self) -> TierBytes {
        let payload = |memory: &HotMemory| {
            let vector = memory.vector.as_deref().map_or(0, size_of_val);
            size_of::<HotMemory>() + vector + memory.record.len()
        };
        let parts = self.shard.parts().iter();
        let payload: usize = parts.flat_map(|part| &part.segment.rows).map(payload).sum();
        TierBytes { ram: (self.shard.heap_bytes() + payload) as u64, mapped: 0 }
    }
}

struct HotSource;

impl local::Source<Rows> for HotSource {
    fn record<'a>(
        &'a mut self,
        segment: &'a Segment<Rows>,
        row: u32,
    ) -> Result<Option<Cow<'a, [u8]>>, Error> {
        Ok(segment.rows.get(row as usize).map(|memory| Cow::Borrowed(&*memory.record)))
    }

    fn supplied<'a>(&'a self, segment: &'a Segment<Rows>, row: u32) -> Result<&'a [u64], Error> {
        Ok(segment.rows.get(row as usize).and_then(|memory| memory.vector.as_deref()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{Count, Length};
    use crate::hdv::Dimension;
    use crate::index::Row;

    #[test]
    fn what_is_held_is_what_was_taken_in_until_it_is_removed() {
        let encoder = Encoder::new(Dimension::new(256).unwrap(), 0);
        let mut tier = HotTier::new(Arc::new(encoder));
        let (namespace, id) = (NamespaceId::default(), MemoryId(7));
        let row = Row {
            id,
            created: 5,
            length: Length::new(2),
            supplied: true,
            terms: vec![(Term(1), Count::ONE)],
            sketch: [3, 4].into(),
        };
        let given = Admission { row, vector: Some([3, 4, 5, 6].into()), record: [8, 9].into() };
        let done = tier.stage(namespace, vec![given.clone()])().unwrap();
        tier.apply(done, &mut Batch::default()).unwrap();

        let held = tier.held(namespace, id).unwrap();
        assert_eq!((&held.vector, &held.record), (&given.vector, &given.record));
        let Row { created, length, supplied, terms, sketch, .. } = held.row;
        assert_eq!((created, length, supplied, &*sketch), (5, Length::new(2), true, &*given.row.sketch));
        assert!(terms.is_empty(), "the lists are not turned into terms");

        assert!(tier.held(NamespaceId(1), id).is_none());
        tier.remove(namespace, id);
        assert!(tier.held(namespace, id).is_none());
    }
}
