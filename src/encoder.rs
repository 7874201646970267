//! Text and embeddings to hypervectors, without a model.
//!
//! A text becomes a set of weighted [terms](Term), and these a vector: the
//! weighted majority of one random vector a term. What is stored of a text
//! depends on the text alone. Term statistics come with the [`Question`], as integer
//! weights, and the score of a query against stored bits, times a stored norm,
//! estimates BM25.
//!
//! ```
//! use mnemocore::encoder::{Document, Encoder, Question, Term, TermStatistics};
//!
//! let encoder = Encoder::default();
//! let texts = ["Ada: I bought a red bicycle", "Bob: my sister paints"];
//! let memories = texts.map(|text| Document::new(text).analyze().expect("it has words"));
//!
//! struct Statistics<'a>(&'a [mnemocore::encoder::TermVector]);
//! impl TermStatistics for Statistics<'_> {
//!     fn documents(&self) -> u64 {
//!         self.0.len() as u64
//!     }
//!     fn document_frequency(&self, term: Term) -> u64 {
//!         let holds = |text: &&mnemocore::encoder::TermVector| text.terms().iter().any(|t| t.0 == term);
//!         self.0.iter().filter(holds).count() as u64
//!     }
//! }
//!
//! let query = Question::new("What did Ada buy?", &Statistics(&memories))?;
//! let query = encoder.query_vector(&query, Encoder::DEFAULT_PLANES)?;
//! let [first, second] = &memories;
//! let score = |text| -> Result<f32, mnemocore::encoder::EncodeError> {
//!     Ok(query.score(encoder.encode(text)?.words(), text.norm()))
//! };
//! assert!(score(first)? > score(second)?);
//! # Ok::<(), mnemocore::encoder::EncodeError>(())
//! ```

mod counts;
mod document;
mod english;
mod normalise;
mod phrase;
mod projection;
mod query;
mod token;
mod word_cache;

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::hdv::{Dimension, HdvError, Hypervector};

pub use counts::{Count, Length, TermCounts};
pub use document::{Document, TermVector};
#[doc(hidden)]
pub use english::stop_words;
pub use phrase::Phrase;
pub use projection::Projection;
pub use query::{QueryVector, Question, TermStatistics};
pub use token::{Term, TokenVectors};

/// Why something could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Nothing but white space.
    #[error("the text is empty: expected at least one character that is not white space")]
    EmptyText,
    /// No memory holds any term of the query, so nothing can match it.
    #[error("no memory holds any term of the query; ask with other words")]
    UnknownTerms,
    /// An embedding of another length than the projection was made for.
    #[error(
        "embedding of {received} numbers where {} were expected; use one model per projection",
        range(expected)
    )]
    EmbeddingLength {
        /// Lengths that are possible.
        expected: RangeInclusive<usize>,
        /// Numbers given.
        received: usize,
    },
    /// An embedding without a direction.
    #[error("the embedding is all zeros or holds NaN or infinity; expected finite numbers, not all 0")]
    InvalidEmbedding,
    /// Vectors that do not fit each other.
    #[error(transparent)]
    Vector(#[from] HdvError),
}

fn range(expected: &RangeInclusive<usize>) -> String {
    match (expected.start(), expected.end()) {
        (least, most) if least == most => most.to_string(),
        (least, most) => format!("{least} to {most}"),
    }
}

/// Returns the terms of a text in the order of its words, with repeats and without labels, e.g. to
/// compare another ranking on the same terms.
pub fn terms(text: &str) -> Vec<Term> {
    document::words(text)
}

/// Makes vectors of terms. Shared by any number of threads.
#[derive(Debug)]
pub struct Encoder {
    tokens: TokenVectors,
}

impl Encoder {
    /// Version of the stored form of a text: normalization, weights, token vectors. A change to any
    /// of them needs a new version.
    pub const VERSION: u32 = 1;

    /// Memory for [`TokenVectors`] unless told otherwise: 32 MiB, about 16,000
    /// terms at 16,384 bits, which is most of the vocabulary of everyday talk.
    pub const DEFAULT_TOKEN_BYTES: usize = 32 << 20;

    /// Planes of a text query unless told otherwise: 4 keep recall@5 within .003
    /// of exact sums, 2 lose up to .013.
    pub const DEFAULT_PLANES: usize = 4;

    /// An encoder to vectors of `dim` that keeps at most `token_bytes` of token
    /// vectors.
    pub fn new(dim: Dimension, token_bytes: usize) -> Self {
        let tokens = TokenVectors::new(dim, token_bytes);
        Self { tokens }
    }

    /// The dimension of the vectors.
    pub fn dimension(&self) -> Dimension {
        self.tokens.dimension()
    }

    /// Returns the token vectors that are in memory.
    pub fn tokens(&self) -> &TokenVectors {
        &self.tokens
    }

    /// The vector of a text: the majority of its terms' vectors by weight.
    ///
    /// # Errors
    /// None for terms that [`Document::analyze`] gave.
    pub fn encode(&self, text: &TermVector) -> Result<Hypervector, EncodeError> {
        let vectors = self.vectors(text.terms().iter().map(|&(term, _)| term));
        let rows: Vec<&[u64]> = vectors.iter().map(|vector| vector.words()).collect();
        Ok(Hypervector::majority(&rows, &text.bundle_weights())?)
    }

    /// A query over bits, in `planes` planes.
    ///
    /// # Errors
    /// [`EncodeError::UnknownTerms`] if no memory holds any of its terms,
    /// [`EncodeError::Vector`] unless `planes` is from 1 to
    /// [`SignedPlanes::MAX_PLANES`](crate::hdv::SignedPlanes::MAX_PLANES).
    pub fn query_vector(&self, query: &Question, planes: usize) -> Result<QueryVector, EncodeError> {
        if query.terms().is_empty() {
            return Err(EncodeError::UnknownTerms);
        }
        let vectors = self.vectors(query.terms().iter().map(|&(term, _)| term));
        let rows: Vec<&[u64]> = vectors.iter().map(|vector| vector.words()).collect();
        let weights: Vec<u16> = query.terms().iter().map(|&(_, weight)| weight).collect();
        QueryVector::new(&rows, &weights, planes, query.step())
    }

    /// The vector of a role, such as "goal" or "who": random, the same for the
    /// same name.
    pub fn role(&self, name: &str) -> Hypervector {
        Term::role(name).vector(self.dimension())
    }

    /// A record: the bundle of each role bound with its filler. Binding the
    /// record with a [`role`](Self::role) gives something like the vector of the
    /// filler, to be compared with the candidates' vectors.
    ///
    /// ```
    /// use mnemocore::encoder::{Document, Encoder};
    ///
    /// let encoder = Encoder::default();
    /// let record = encoder.record(&[("who", "Ada"), ("goal", "learn to sail")])?;
    /// let goal = record.bind(&encoder.role("goal"))?;
    /// let [sail, ada] = ["learn to sail", "Ada"].map(|text| Document::new(text).analyze());
    /// assert!(goal.similarity(&encoder.encode(&sail?)?)? > 0.4);
    /// assert!(goal.similarity(&encoder.encode(&ada?)?)? < 0.1);
    /// # Ok::<(), mnemocore::encoder::EncodeError>(())
    /// ```
    ///
    /// # Errors
    /// [`EncodeError::EmptyText`] for a filler of white space,
    /// [`EncodeError::Vector`] without any role.
    pub fn record(&self, roles: &[(&str, &str)]) -> Result<Hypervector, EncodeError> {
        let bound = roles.iter().map(|(role, filler)| {
            let filler = self.encode(&Document::new(filler).analyze()?)?;
            Ok(self.role(role).bind(&filler)?)
        });
        let bound = bound.collect::<Result<Vec<_>, EncodeError>>()?;
        Ok(Hypervector::bundle(&bound.iter().collect::<Vec<_>>())?)
    }

    /// A text as a sequence: the majority of its terms' vectors, each permuted by
    /// its place. For what is the same only in the same order, such as commands
    /// and paths of steps. Not for finding what a text is about: a word put in
    /// front moves all others, and the vectors are then unrelated.
    ///
    /// # Errors
    /// [`EncodeError::EmptyText`].
    pub fn encode_ordered(&self, text: &str) -> Result<Hypervector, EncodeError> {
        let words = document::words(text);
        if words.is_empty() {
            return Err(EncodeError::EmptyText);
        }
        let placed = self.vectors(words.into_iter()).into_iter().enumerate();
        let placed: Vec<_> = placed.map(|(place, vector)| vector.permute(place as isize)).collect();
        Ok(Hypervector::bundle(&placed.iter().collect::<Vec<_>>())?)
    }

    fn vectors(&self, terms: impl Iterator<Item = Term>) -> Vec<Cow<'_, Hypervector>> {
        terms.map(|term| self.tokens.get(term)).collect()
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new(Dimension::default(), Self::DEFAULT_TOKEN_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(encoder: &Encoder, text: &str) -> Hypervector {
        encoder.encode(&Document::new(text).analyze().unwrap()).unwrap()
    }

    #[test]
    fn a_text_is_similar_to_its_parts_and_not_to_others() {
        let encoder = Encoder::default();
        let text = encode(&encoder, "We painted the fence green last summer");
        for part in ["paint", "fence", "green", "summer"] {
            assert!(text.similarity(&encode(&encoder, part)).unwrap() > 0.2, "{part}");
        }
        let other = encode(&encoder, "The train to Prague leaves at noon");
        assert!(text.similarity(&other).unwrap().abs() < 0.05);
    }

    /// The position-rolled encoding drops to chance here.
    #[test]
    fn a_word_in_front_changes_little() {
        let encoder = Encoder::default();
        let text = "we painted the old garden fence green together";
        let longer = encode(&encoder, &format!("Wonderful, {text}"));
        assert!(longer.similarity(&encode(&encoder, text)).unwrap() > 0.6);
    }

    #[test]
    fn the_lighter_of_two_terms_leaves_a_trace() {
        let encoder = Encoder::default();
        let text = encode(&encoder, "pizza pizza pizza napoli");
        for word in ["pizza", "napoli"] {
            assert!(text.similarity(&encode(&encoder, word)).unwrap() > 0.4);
        }
    }

    #[test]
    fn the_vector_does_not_depend_on_the_dictionary() {
        let kept = Encoder::default();
        let generated = Encoder::new(Dimension::default(), 0);
        let text = "no dictionary, no difference";
        assert_eq!(encode(&kept, text), encode(&generated, text));
        assert!(generated.tokens().is_empty());
    }

    #[test]
    fn order_counts_only_where_it_is_asked_for() {
        let encoder = Encoder::default();
        let [there, back] = ["dog bites man", "man bites dog"];
        assert_eq!(encode(&encoder, there), encode(&encoder, back));
        let [there, back] = [there, back].map(|text| encoder.encode_ordered(text).unwrap());
        let shared = there.similarity(&back).unwrap();
        assert!((0.1..0.5).contains(&shared), "{shared}");
        assert_eq!(encoder.encode_ordered(" "), Err(EncodeError::EmptyText));
    }

    #[test]
    fn a_record_gives_each_filler_back() {
        let encoder = Encoder::default();
        let fillers = [("who", "Ada"), ("goal", "learn to sail"), ("where", "Lake Como")];
        let record = encoder.record(&fillers).unwrap();
        for (role, filler) in fillers {
            let answer = record.bind(&encoder.role(role)).unwrap();
            for (_, other) in fillers {
                let similarity = answer.similarity(&encode(&encoder, other)).unwrap();
                assert_eq!(similarity > 0.3, other == filler, "{role} {other} {similarity}");
            }
        }
        assert!(matches!(encoder.record(&[]), Err(EncodeError::Vector(_))));
    }

    #[test]
    fn errors_say_what_was_expected() {
        let error = EncodeError::EmbeddingLength { expected: 384..=384, received: 3 };
        assert_eq!(
            error.to_string(),
            "embedding of 3 numbers where 384 were expected; use one model per projection"
        );
    }
}
