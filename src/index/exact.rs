//! The exact scan: every admitted row is scored. It is the oracle of the other
//! searches, and their peer in every benchmark.

use super::filter::RowFilter;
use super::segment::{Segment, Vectors};
use super::shard::Part;
use super::top::{Scored, TopK};
use crate::error::Error;
use crate::key::TierKind;

/// Offers every row of `parts` that passes `filter` and `eligible` to `top`,
/// with the score that `score` gives its vector and norm.
///
/// # Errors
/// Whatever fetching a vector reports.
pub fn search<R>(
    parts: &[Part<R>],
    tier: TierKind,
    filter: &RowFilter,
    eligible: impl Fn(&Segment<R>, u32) -> bool,
    mut score: impl FnMut(&[u64], f32) -> f32,
    vectors: &mut impl Vectors<R>,
    top: &mut TopK,
) -> Result<(), Error> {
    for part in parts {
        let admits = filter.admits(part);
        for (row, (&id, &norm)) in part.segment.ids.iter().zip(&*part.segment.norms).enumerate() {
            let row = row as u32;
            if admits(row) && eligible(&part.segment, row) {
                let score = score(vectors.vector(&part.segment, row)?, norm);
                top.push(Scored { score, id: id.into(), tier });
            }
        }
    }
    Ok(())
}
