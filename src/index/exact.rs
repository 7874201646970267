//! The exact scans: every admitted row is scored. They are the oracles of the other searches.

use super::filter::Scope;
use super::text::TextQuery;
use super::top::{Scored, TopK};
use super::vectors::RowVectors;
use crate::encoder::TermCounts;
use crate::error::Error;
use crate::segment::Segment;

/// Offers every row of `scope` whose vector is of the right kind to `top`, with the score that
/// `score` gives that vector.
///
/// # Errors
/// Whatever fetching a vector reports.
pub fn search_vectors(
    scope: &Scope<'_>,
    supplied: bool,
    score: impl Fn(&[u64]) -> f32,
    vectors: &mut RowVectors<'_>,
    top: &mut TopK,
) -> Result<(), Error> {
    for part in scope.parts {
        let (admits, segment) = (scope.filter.admits(part), &*part.segment);
        let rows = part.rows().filter(|&row| segment.is_supplied(row) == supplied && admits(row));
        for row in rows {
            let score = score(vectors.get(segment, row)?);
            top.push(Scored { score, id: segment.id(row).unwrap_or_default(), tier: scope.tier });
        }
    }
    Ok(())
}

/// Asks `counts` for the terms of every text in `scope`, and offers those that share a term with
/// `query` to `top`.
///
/// # Errors
/// Whatever fetching a text reports.
pub fn search_texts(
    scope: &Scope<'_>,
    query: &TextQuery,
    mut counts: impl FnMut(&Segment, u32) -> Result<TermCounts, Error>,
    top: &mut TopK,
) -> Result<(), Error> {
    for part in scope.parts {
        let (admits, segment) = (scope.filter.admits(part), &*part.segment);
        for row in part.rows().filter(|&row| admits(row)) {
            let score = query.score(&counts(segment, row)?);
            if score > 0.0 {
                top.push(Scored { score, id: segment.id(row).unwrap_or_default(), tier: scope.tier });
            }
        }
    }
    Ok(())
}
