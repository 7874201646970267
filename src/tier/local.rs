//! What the local tiers have in common: searching their segments, and merging
//! those in RAM.

use std::collections::HashMap;

use super::{Done, Method, Search, Target, Upkeep};
use crate::encoder::{Document, Encoder};
use crate::error::Error;
use crate::hdv::kernels;
use crate::index::{Part, Scope, Segment, Shard, TopK, Vectors, cascade, exact, shard, terms};
use crate::key::{NamespaceId, TierKind};
use crate::log::Record;

/// Searches the segments of a tier as `search` asks.
pub(super) fn search<R>(
    parts: &[Part<R>],
    tier: TierKind,
    search: &Search<'_>,
    vectors: &mut impl Vectors<R>,
    top: &mut TopK,
) -> Result<(), Error> {
    let scope = Scope { parts, tier, filter: search.filter };
    match (search.target, search.method) {
        (Target::Text(query), Method::Indexed) => {
            terms::search(&scope, query, search.term_limits, vectors, top)
        }
        (Target::Text(query), Method::Terms) => {
            terms::search_by_overlap(&scope, query, search.term_limits, top);
            Ok(())
        }
        (Target::Text(query), Method::Exact) => {
            // A memory that shares no term with the question has nothing but
            // noise for a score.
            let sharing = |segment: &Segment<R>| segment.sharing(query.terms().iter().map(|term| term.term));
            exact::search(&scope, sharing, |vector, norm| query.score(vector, norm), vectors, top)
        }
        (Target::Vector { vector, supplied }, Method::Indexed | Method::Terms) => {
            cascade::search(&scope, vector.words(), supplied, search.cascade_limits, vectors, top)
        }
        (Target::Vector { vector, supplied }, Method::Exact) => {
            let (query, bits) = (vector.words(), vector.dimension().bits());
            let score = |row: &[u64], _| cascade::similarity(kernels::best().hamming(query, row), bits);
            exact::search(&scope, |segment| segment.of_kind(supplied), score, vectors, top)
        }
    }
}

/// Derives the vector of a record's text again.
pub(super) fn encode_record(encoder: &Encoder, record: &[u8], words: &mut Vec<u64>) -> Result<(), Error> {
    let record = Record::decode(record)?;
    let vector = encoder.encode(&Document::new(&record.text).analyze()?)?;
    words.clear();
    words.extend_from_slice(vector.words());
    Ok(())
}

/// Whether a search for `target` needs the vector that is derived from the
/// text, also of a memory whose own vector was supplied.
pub(super) fn wants_text(target: Target<'_>) -> bool {
    matches!(target, Target::Text(_))
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
