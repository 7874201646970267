//! From the scores of a search to its hits: ties are put in order, and records are fetched.

use std::cmp::Reverse;

use super::recall::{Hit, Probe};
use super::{Space, View, to_memory};
use crate::encoder::Document;
use crate::error::Error;
use crate::index::{Scored, TextQuery};
use crate::log::Record;

/// The most texts that are compared with the question's phrases because they tie with the last
/// hit: the newest ones.
pub(super) const TIES: usize = 256;

/// Hits that the confidence of a [`Recall`](super::Recall) looks at.
const CONFIDENCE_HITS: usize = 5;

impl Probe {
    /// Fetches the best `limit` of `found`, which is in descending order.
    ///
    /// Of texts with equal scores, the first is the one that has the question as a phrase, then the
    /// newer one. A memory that was forgotten after the view was taken is left out.
    pub(super) fn hits(
        &self,
        found: Vec<Scored>,
        limit: usize,
        space: &Space,
        view: &View,
    ) -> Result<Vec<Hit>, Error> {
        let mut hits = Vec::with_capacity(limit.min(found.len()));
        for tied in found.chunk_by(|a, b| a.score == b.score) {
            if hits.len() >= limit {
                break;
            }
            let first = hits.len();
            for scored in tied {
                hits.extend(fetch(*scored, space, view)?);
            }
            if let (Probe::Text(query), Some(tied @ [_, _, ..])) = (self, hits.get_mut(first..)) {
                let phrase = query.phrase();
                tied.sort_by_cached_key(|hit| {
                    (Reverse(phrase.in_text(&hit.memory.text)), Reverse(hit.memory.id))
                });
            }
        }
        hits.truncate(limit);
        Ok(hits)
    }

    /// How well the best of the first hits fits the question.
    pub(super) fn confidence(&self, view: &View, hits: &[Hit]) -> Result<f32, Error> {
        let mut best = 0.0f32;
        for hit in hits.iter().take(CONFIDENCE_HITS) {
            best = best.max(match self {
                Probe::Vector { .. } => hit.score,
                Probe::Text(query) => coverage(query, view, hit)?,
            });
        }
        Ok(best)
    }
}

fn fetch(scored: Scored, space: &Space, view: &View) -> Result<Option<Hit>, Error> {
    let Scored { score, id, tier } = scored;
    let Some(record) = view.tiers[tier.index()].record(id)? else { return Ok(None) };
    let record = Record::decode(&record)?;
    Ok(Some(Hit { memory: to_memory(id, record, &space.name, tier), score }))
}

/// How far a hit covers the question. The tiers know which terms it holds, so most texts need not
/// be analyzed for that.
fn coverage(query: &TextQuery, view: &View, hit: &Hit) -> Result<f32, Error> {
    let tier = &view.tiers[hit.memory.tier.index()];
    Ok(match tier.held_terms(hit.memory.id, query.terms()) {
        Some(mut held) => {
            held.sort_unstable();
            query.coverage(|term| held.binary_search(&term).is_ok())
        }
        None => {
            let text = Document::new(&hit.memory.text).counts()?;
            query.coverage(|term| text.contains(term))
        }
    })
}
