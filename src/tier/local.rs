//! What the three local tiers have in common: searching their segments.

use super::{Method, Search, Target};
use crate::encoder::{Document, Encoder};
use crate::error::Error;
use crate::hdv::kernels;
use crate::index::{Part, Segment, TopK, Vectors, cascade, exact, terms};
use crate::key::TierKind;
use crate::log::Record;

/// Searches `parts` as `search` asks.
pub(super) fn search<R>(
    parts: &[Part<R>],
    tier: TierKind,
    search: &Search<'_>,
    vectors: &mut impl Vectors<R>,
    top: &mut TopK,
) -> Result<(), Error> {
    match (search.target, search.method) {
        (Target::Text(query), Method::Indexed) => {
            terms::search(parts, tier, query, search.filter, search.term_limits, vectors, top)
        }
        (Target::Text(query), Method::Exact) => {
            let score = |vector: &[u64], norm| query.score(vector, norm);
            exact::search(parts, tier, search.filter, |_, _| true, score, vectors, top)
        }
        (Target::Vector { vector, supplied }, method) => {
            let words = vector.words();
            let eligible = |segment: &Segment<R>, row| segment.is_supplied(row) == supplied;
            match method {
                Method::Indexed => {
                    let limits = search.cascade_limits;
                    cascade::search(parts, tier, words, search.filter, limits, eligible, vectors, top)
                }
                Method::Exact => {
                    let bits = vector.dimension().bits();
                    let score = |row: &[u64], _| cascade::similarity(kernels::best().hamming(words, row), bits);
                    exact::search(parts, tier, search.filter, eligible, score, vectors, top)
                }
            }
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
