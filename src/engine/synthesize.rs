//! `synthesize`: an answer from fragments where no single memory fits.

use unicode_segmentation::UnicodeSegmentation;

use super::observe::returned;
use super::recall::{Found, Hit, Probe, Query, Recall};
use super::{Engine, Shared, View};
use crate::encoder::{Document, TermCounts};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::index::TextQuery;
use crate::key::TierKind;
use crate::memory::Memory;
use crate::telemetry::Verb;

/// The most fragments of a synthesis.
const MOST_FRAGMENTS: usize = 5;

/// The least share of the query that a further fragment must add. Less than that is one more common
/// word.
const LEAST_SHARE: f32 = 0.1;

/// Vectors less similar to a query than this share of the best are left out.
const NEAR_THE_BEST: f32 = 0.5;

/// Texts of at most this many sentences are quoted whole.
const QUOTED_SENTENCES: usize = 2;

/// The kind of a synthesis, by the number of memories that answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynthesisKind {
    /// No memory covers the query.
    Nothing,
    /// One memory answers alone.
    Extracted,
    /// Two memories answer together.
    Interpolated,
    /// Three or more memories answer together.
    Combined,
}

/// A part of a synthesis.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// The memory it is from.
    pub memory: Memory,
    /// The part of its text that was taken.
    pub excerpt: String,
    /// Its contribution to the answer: the share of the query that it covers and the fragments
    /// before it do not. For a vector, its similarity.
    pub share: f32,
}

/// An answer made of memories.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthesis {
    /// The kind of answer.
    pub kind: SynthesisKind,
    /// The excerpts in the order of time, one per line. Empty if no memory covers the query.
    pub text: String,
    /// The fragments, the largest contribution first.
    pub fragments: Vec<Fragment>,
    /// The mean pairwise similarity of the fragments' hypervectors, from 0 (unrelated) to 1. It
    /// is 1 for a single fragment.
    pub coherence: f32,
    /// The trust in the answer, from 0 to 1: s (1 - (1 - c)(1 - 1/n) / 2).
    ///
    /// Here s is the part of the query that all n fragments cover together (for a vector, their
    /// share-weighted similarity), and c is their coherence. Unrelated fragments lose up to half.
    pub confidence: f32,
    /// The fragments' hypervectors, bundled by their shares.
    pub vector: Option<Hypervector>,
    /// Tiers that could not be reached, see [`Recall::unreachable`].
    pub unreachable: Vec<TierKind>,
}

impl Engine {
    /// Answers a query, a text or a [`Query`], from the fewest memories that cover it.
    ///
    /// Among the hits of a recall, fragments are chosen greedily by what each
    /// adds (as in maximal marginal relevance, Carbonell & Goldstein 1998, with
    /// coverage in the place of similarity). If they do not cover
    /// [`Recall::ANSWERABLE`] of the query, the kind is [`SynthesisKind::Nothing`].
    ///
    /// # Errors
    /// As [`Engine::recall`].
    pub fn synthesize(&self, query: impl Into<Query>) -> Result<Synthesis, Error> {
        let query = query.into();
        let call = self.begin(Verb::Synthesize, Some(query.namespace_asked()))?;
        let synthesis = self.shared.synthesize(&query);
        self.shared.tally.synthesizes.add(synthesis.iter().count());
        self.end(call, synthesis, |made| returned(made.fragments.iter().map(|fragment| &fragment.memory)))
    }
}

impl Synthesis {
    /// The synthesis if no memory covers the query.
    fn nothing() -> Self {
        Self {
            kind: SynthesisKind::Nothing,
            text: String::new(),
            fragments: Vec::new(),
            coherence: 0.0,
            confidence: 0.0,
            vector: None,
            unreachable: Vec::new(),
        }
    }
}

impl Shared {
    fn synthesize(&self, query: &Query) -> Result<Synthesis, Error> {
        let space = self.space(query.namespace_asked());
        let view = space.as_ref().map(|space| space.view.load_full());
        let probe = self.probe(query, view.as_deref())?;
        let (Some(space), Some(view)) = (space, view) else { return Ok(Synthesis::nothing()) };
        let Found { hits, unreachable } = self.search(query, &probe, &space, &view)?;
        let chosen = match &probe {
            Probe::Text(asked) => covering(asked, hits)?,
            Probe::Vector { .. } => nearest(hits),
        };
        if query.touches() {
            self.touch(space.id, chosen.iter().map(|chosen| chosen.memory.id));
        }
        Ok(Synthesis { unreachable, ..self.combine(&probe, &view, chosen)? })
    }

    fn combine(&self, probe: &Probe, view: &View, fragments: Vec<Fragment>) -> Result<Synthesis, Error> {
        let total: f32 = fragments.iter().map(|fragment| fragment.share).sum();
        let similarity = match probe {
            Probe::Text(_) => total,
            Probe::Vector { .. } => {
                let squares: f32 = fragments.iter().map(|fragment| fragment.share.powi(2)).sum();
                if total > 0.0 { squares / total } else { 0.0 }
            }
        };
        if fragments.is_empty() || similarity < Recall::ANSWERABLE {
            return Ok(Synthesis::nothing());
        }
        let vectors = self.vectors(probe, view, &fragments)?;
        let coherence = coherence(&vectors)?;
        let count = fragments.len() as f32;
        let weighted: Vec<(&Hypervector, u8)> = vectors
            .iter()
            .zip(&fragments)
            .map(|(vector, fragment)| (vector, (fragment.share / total * 255.0).round().max(1.0) as u8))
            .collect();
        Ok(Synthesis {
            kind: match fragments.len() {
                1 => SynthesisKind::Extracted,
                2 => SynthesisKind::Interpolated,
                _ => SynthesisKind::Combined,
            },
            text: in_order_of_time(&fragments),
            coherence,
            confidence: similarity * (1.0 - (1.0 - coherence) * (1.0 - 1.0 / count) / 2.0),
            vector: Some(Hypervector::weighted_bundle(&weighted)?),
            unreachable: Vec::new(),
            fragments,
        })
    }

    /// Returns the fragments' vectors, of the kind that the query asks for.
    fn vectors(&self, probe: &Probe, view: &View, fragments: &[Fragment]) -> Result<Vec<Hypervector>, Error> {
        let supplied = matches!(probe, Probe::Vector { supplied: true, .. });
        let vector = |fragment: &Fragment| {
            let Memory { id, text, .. } = &fragment.memory;
            self.vector_of(view, *id, text, supplied)
        };
        fragments.iter().map(vector).collect()
    }
}

/// Returns the fragments that cover a query, the one that adds most first.
fn covering(query: &TextQuery, hits: Vec<Hit>) -> Result<Vec<Fragment>, Error> {
    let count = |hit: Hit| Ok((Document::new(&hit.memory.text).counts()?, hit.memory));
    let mut left: Vec<(TermCounts, Memory)> = hits.into_iter().map(count).collect::<Result<_, Error>>()?;
    let (mut chosen, mut documents, mut covered) = (Vec::new(), Vec::<TermCounts>::new(), 0.0);
    while chosen.len() < MOST_FRAGMENTS {
        let with = |document: &TermCounts| {
            query.coverage(|term| {
                document.contains(term) || documents.iter().any(|known| known.contains(term))
            })
        };
        // Among equal fragments the first wins, because it has the better score.
        let best = left
            .iter()
            .map(|(document, _)| with(document))
            .enumerate()
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((at, coverage)) = best.filter(|&(_, coverage)| coverage - covered >= LEAST_SHARE) else {
            break;
        };
        let (document, memory) = left.remove(at);
        let excerpt = excerpt(query, &memory.text);
        chosen.push(Fragment { memory, excerpt, share: coverage - covered });
        documents.push(document);
        covered = coverage;
    }
    Ok(chosen)
}

/// The sentence of a text that covers a query best; a short text whole.
fn excerpt(query: &TextQuery, text: &str) -> String {
    let sentences: Vec<&str> =
        text.unicode_sentences().map(str::trim).filter(|text| !text.is_empty()).collect();
    if sentences.len() <= QUOTED_SENTENCES {
        return text.trim().to_owned();
    }
    let coverage = |sentence: &&str| {
        // A sentence without a word covers nothing.
        let document = Document::new(sentence).counts();
        document.map_or(0.0, |document| query.coverage(|term| document.contains(term)))
    };
    let best = sentences
        .iter()
        .map(|sentence| (coverage(sentence), sentence))
        .reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map_or_else(String::new, |(_, sentence)| (*sentence).to_owned())
}

/// Returns the hits that are about as near to a vector as the best one.
fn nearest(hits: Vec<Hit>) -> Vec<Fragment> {
    let best = hits.first().map_or(0.0, |hit| hit.score);
    let near = hits
        .into_iter()
        .take(MOST_FRAGMENTS)
        .filter(|hit| hit.score >= best * NEAR_THE_BEST && hit.score > 0.0);
    near.map(|hit| Fragment {
        excerpt: hit.memory.text.trim().to_owned(),
        share: hit.score,
        memory: hit.memory,
    })
    .collect()
}

/// Returns the mean similarity of all pairs, at least 0; 1 for a single vector.
fn coherence(vectors: &[Hypervector]) -> Result<f32, Error> {
    let (mut sum, mut pairs) = (0.0, 0u32);
    for (at, a) in vectors.iter().enumerate() {
        for b in vectors.iter().skip(at + 1) {
            sum += a.similarity(b)?;
            pairs += 1;
        }
    }
    Ok(if pairs == 0 { 1.0 } else { (sum / f64::from(pairs)).max(0.0) as f32 })
}

fn in_order_of_time(fragments: &[Fragment]) -> String {
    let mut ordered: Vec<&Fragment> = fragments.iter().collect();
    ordered.sort_by_key(|fragment| (fragment.memory.created, fragment.memory.id));
    let lines: Vec<&str> = ordered.iter().map(|fragment| fragment.excerpt.as_str()).collect();
    lines.join("\n")
}
