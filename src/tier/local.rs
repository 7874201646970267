//! What the local tiers have in common: searching their segments, and merging
//! those in RAM.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Done, Method, Search, Target, Upkeep};
use crate::encoder::{Document, Encoder, TermCounts, TermVector};
use crate::error::Error;
use crate::hdv::kernels;
use crate::index::{Contents, Part, Scope, Segment, Shard, TopK, cascade, exact, shard, terms};
use crate::key::{NamespaceId, TierKind};
use crate::log::Record;

/// Where a tier keeps the records and supplied vectors of its rows.
pub(super) trait Source<R> {
    /// The record in `row`; `None` if it was forgotten in the meantime.
    fn record<'a>(&'a mut self, segment: &'a Segment<R>, row: u32) -> Result<Option<Cow<'a, [u8]>>, Error>;

    /// The vector that was supplied with the memory in `row`.
    fn supplied<'a>(&'a self, segment: &'a Segment<R>, row: u32) -> Result<&'a [u64], Error>;

    /// The terms of the text in `row`, where there is a quicker way than to read the text.
    fn terms(&self, _segment: &Segment<R>, _row: u32) -> Result<Option<TermCounts>, Error> {
        Ok(None)
    }
}

/// Searches the segments of a tier as `search` asks.
pub(super) fn search<R>(
    parts: &[Part<R>],
    tier: TierKind,
    search: &Search<'_>,
    encoder: &Encoder,
    source: impl Source<R>,
    top: &mut TopK,
) -> Result<(), Error> {
    let scope = Scope { parts, tier, filter: search.filter };
    let mut reader = Reader { encoder, source, derived: Vec::new() };
    match (search.target, search.method) {
        (Target::Text(query), Method::Indexed) => {
            terms::search(&scope, query, top);
            Ok(())
        }
        (Target::Text(query), Method::Exact) => exact::search_texts(&scope, query, &mut reader, top),
        (Target::Vector { vector, supplied }, Method::Indexed) => {
            cascade::search(&scope, vector.words(), supplied, search.cascade_limits, &mut reader, top)
        }
        (Target::Vector { vector, supplied }, Method::Exact) => {
            let (query, bits) = (vector.words(), vector.dimension().bits());
            let score = |row: &[u64]| cascade::similarity(kernels::best().hamming(query, row), bits);
            exact::search_vectors(&scope, supplied, score, &mut reader, top)
        }
    }
}

/// Reads the contents of rows, and derives the vectors of texts.
struct Reader<'e, S> {
    encoder: &'e Encoder,
    source: S,
    derived: Vec<u64>,
}

impl<R, S: Source<R>> Contents<R> for Reader<'_, S> {
    fn vector<'a>(&'a mut self, segment: &'a Segment<R>, row: u32) -> Result<&'a [u64], Error> {
        if segment.is_supplied(row) {
            return self.source.supplied(segment, row);
        }
        let counts = match self.source.terms(segment, row)? {
            Some(counts) => Some(counts),
            None => self.counts(segment, row)?,
        };
        self.derived.clear();
        match counts {
            Some(counts) => {
                self.derived.extend_from_slice(self.encoder.encode(&TermVector::from(&counts))?.words());
            }
            // Left out of the hits, whatever its score.
            None => self.derived.resize(self.encoder.dimension().words(), 0),
        }
        Ok(&self.derived)
    }

    fn counts(&mut self, segment: &Segment<R>, row: u32) -> Result<Option<TermCounts>, Error> {
        let Some(record) = self.source.record(segment, row)? else { return Ok(None) };
        Ok(Some(Document::new(&Record::decode(&record)?.text).counts()?))
    }

    fn prefetch(&self, segment: &Segment<R>, row: u32) {
        if segment.is_supplied(row)
            && let Ok(vector) = self.source.supplied(segment, row)
        {
            kernels::prefetch(vector);
        }
    }
}

/// Segments with this share of dead rows are merged at the next upkeep. At a
/// half, a row is copied once for every row that is removed.
const DEAD_SHARE: f64 = 0.5;

/// A merge of some segments of one namespace.
struct Merge<T> {
    namespace: NamespaceId,
    plan: Vec<Part<Vec<T>>>,
    merged: Part<Vec<T>>,
}

/// The next merge that one of `shards` is due for.
pub(super) fn merge_upkeep<T: Clone + Send + Sync + 'static>(
    shards: &HashMap<NamespaceId, Shard<Vec<T>>>,
    thorough: bool,
) -> Option<Upkeep> {
    let (namespace, plan) = shards.iter().find_map(|(&namespace, shard)| {
        let plan = if thorough { shard.full_merge_plan() } else { shard.merge_plan(DEAD_SHARE) };
        plan.map(|plan| (namespace, plan))
    })?;
    Some(Box::new(move || {
        let merged = shard::merge(&plan);
        Ok(Box::new(Merge { namespace, plan, merged }) as Done)
    }))
}

/// Puts a merge in place; the namespace that it was for.
pub(super) fn apply_merge<T: Clone + 'static>(
    shards: &mut HashMap<NamespaceId, Shard<Vec<T>>>,
    done: Done,
) -> Option<NamespaceId> {
    let Merge { namespace, plan, merged } = *done.downcast::<Merge<T>>().ok()?;
    let shard = shards.get_mut(&namespace)?;
    shard.replace(&plan, Some(merged)).then_some(namespace)
}
