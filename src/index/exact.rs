//! The exact scan: every admitted row is scored. It is the oracle of the other
//! searches, and their peer in every benchmark.

use super::filter::Scope;
use super::live::Live;
use super::segment::{Segment, Vectors};
use super::top::{Scored, TopK};
use crate::error::Error;

/// Offers every row of `scope` that is among the `eligible` of its segment to
/// `top`, with the score that `score` gives its vector and norm.
///
/// # Errors
/// Whatever fetching a vector reports.
pub fn search<R>(
    scope: &Scope<'_, R>,
    eligible: impl Fn(&Segment<R>) -> Live,
    mut score: impl FnMut(&[u64], f32) -> f32,
    vectors: &mut impl Vectors<R>,
    top: &mut TopK,
) -> Result<(), Error> {
    for part in scope.parts {
        let (admits, eligible) = (scope.filter.admits(part), eligible(&part.segment));
        let segment = &*part.segment;
        for row in (0..segment.len() as u32).filter(|&row| admits(row)) {
            let score = score(vectors.vector(segment, row)?, segment.norm(row));
            if eligible.contains(row) {
                let id = segment.id(row).unwrap_or_default();
                top.push(Scored { score, id, tier: scope.tier });
            }
        }
    }
    Ok(())
}
