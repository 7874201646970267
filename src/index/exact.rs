//! The exact scans: every admitted row is scored. They are the oracles of the other searches.

use super::filter::Scope;
use super::segment::Contents;
use super::text::TextQuery;
use super::top::{Scored, TopK};
use crate::error::Error;

/// Offers every row of `scope` whose vector is of the right kind to `top`, with the score that
/// `score` gives that vector.
///
/// # Errors
/// Whatever fetching a vector reports.
pub fn search_vectors<R>(
    scope: &Scope<'_, R>,
    supplied: bool,
    score: impl Fn(&[u64]) -> f32,
    contents: &mut impl Contents<R>,
    top: &mut TopK,
) -> Result<(), Error> {
    for part in scope.parts {
        let (admits, segment) = (scope.filter.admits(part), &*part.segment);
        let rows =
            (0..segment.len() as u32).filter(|&row| segment.is_supplied(row) == supplied && admits(row));
        for row in rows {
            let score = score(contents.vector(segment, row)?);
            top.push(Scored { score, id: segment.id(row).unwrap_or_default(), tier: scope.tier });
        }
    }
    Ok(())
}

/// Counts the terms of every text in `scope` again, and offers those that share a term with
/// `query` to `top`.
///
/// # Errors
/// Whatever fetching a text reports.
pub fn search_texts<R>(
    scope: &Scope<'_, R>,
    query: &TextQuery,
    contents: &mut impl Contents<R>,
    top: &mut TopK,
) -> Result<(), Error> {
    for part in scope.parts {
        let (admits, segment) = (scope.filter.admits(part), &*part.segment);
        for row in (0..segment.len() as u32).filter(|&row| admits(row)) {
            let counts = contents.counts(segment, row)?;
            let score = counts.map_or(0.0, |counts| query.score(&counts));
            if score > 0.0 {
                top.push(Scored { score, id: segment.id(row).unwrap_or_default(), tier: scope.tier });
            }
        }
    }
    Ok(())
}
