//! What readers see of a tier on this machine: the segments of one namespace.

use std::sync::Arc;

use super::record_cache::RecordCache;
use super::{Method, Search, Target, TierBytes, TierView};
use crate::encoder::{Document, Encoder, Term};
use crate::error::Error;
use crate::hdv::kernels;
use crate::index::{QueryTerm, RowVectors, Scope, TopK, cascade, exact, terms};
use crate::key::{MemoryId, TierKind};
use crate::log::Record;
use crate::segment::{Block, Part, PreparedMemory, Segment};

pub(super) struct LocalView {
    pub parts: Vec<Part>,
    pub tier: TierKind,
    pub encoder: Arc<Encoder>,
    /// Those that were read last, if the tier compresses them.
    pub records: Option<Arc<RecordCache>>,
}

impl LocalView {
    fn find(&self, id: MemoryId) -> Option<(&Part, u32)> {
        self.parts.iter().find_map(|part| part.find(id).map(|row| (part, row)))
    }
}

impl TierView for LocalView {
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.live.len()).sum()
    }

    fn document_frequency(&self, term: Term) -> usize {
        self.parts.iter().map(|part| part.document_frequency(term)).sum()
    }

    fn search(&self, search: &Search<'_>, top: &mut TopK) -> Result<(), Error> {
        let scope = Scope { parts: &self.parts, tier: self.tier, filter: search.filter };
        let mut vectors = RowVectors::new(&self.encoder);
        match (search.target, search.method) {
            (Target::Text(query), Method::Indexed) => {
                terms::search(&scope, query, top);
                Ok(())
            }
            (Target::Text(query), Method::Exact) => {
                let mut block = Block::default();
                let counts = |segment: &Segment, row| {
                    let record = Record::decode(segment.record(row, &mut block)?)?;
                    Ok(Document::new(&record.text).counts()?)
                };
                exact::search_texts(&scope, query, counts, top)
            }
            (Target::Vector { vector, supplied }, Method::Indexed) => {
                cascade::search(&scope, vector.words(), supplied, search.cascade_limits, &mut vectors, top)
            }
            (Target::Vector { vector, supplied }, Method::Exact) => {
                let (query, bits) = (vector.words(), vector.dimension().bits());
                let score = |row: &[u64]| cascade::similarity(kernels::best().hamming(query, row), bits);
                exact::search_vectors(&scope, supplied, score, &mut vectors, top)
            }
        }
    }

    fn contains(&self, id: MemoryId) -> bool {
        self.find(id).is_some()
    }

    fn held_terms(&self, id: MemoryId, terms: &[QueryTerm]) -> Option<Vec<Term>> {
        let (part, row) = self.find(id)?;
        let terms = terms.iter().map(|asked| asked.term);
        Some(terms.filter(|&term| part.segment.postings.holds(term, row)).collect())
    }

    fn record(&self, id: MemoryId) -> Result<Option<Arc<[u8]>>, Error> {
        let Some((part, row)) = self.find(id) else { return Ok(None) };
        let read = || part.segment.record(row, &mut Block::default()).map(Arc::from);
        match (&self.records, part.segment.compressed(row)) {
            (Some(records), Some(compressed)) => records.get(compressed, read),
            _ => read(),
        }
        .map(Some)
    }

    fn vector(&self, id: MemoryId) -> Result<Option<Vec<u64>>, Error> {
        let Some((part, row)) = self.find(id).filter(|(part, row)| part.segment.is_supplied(*row)) else {
            return Ok(None);
        };
        part.segment.vector(row).map(|vector| Some(vector.to_vec()))
    }

    fn memory(&self, id: MemoryId, accesses: u32) -> Result<Option<Arc<PreparedMemory>>, Error> {
        self.find(id).map(|(part, row)| part.segment.memory(row, accesses)).transpose()
    }

    fn bytes(&self) -> TierBytes {
        let bytes =
            |part: &Part| TierBytes { ram: part.heap_bytes() as u64, mapped: part.mapped_bytes() as u64 };
        let all = self.parts.iter().map(bytes);
        all.fold(TierBytes::default(), |sum, part| TierBytes {
            ram: sum.ram + part.ram,
            mapped: sum.mapped + part.mapped,
        })
    }
}
