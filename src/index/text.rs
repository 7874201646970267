//! A text as the index searches for it: by its terms and by its vector.

use crate::encoder::{EncodeError, Encoder, QueryVector, Question, Term, TermStatistics};

/// A query's term, and what it adds to the score of a memory in which its weight
/// is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryTerm {
    /// The term.
    pub term: Term,
    /// Its share of the score; not negative.
    pub weight: f32,
}

/// A question with the weights that the memories' statistics give its terms.
#[derive(Clone, Debug)]
pub struct TextQuery {
    asked: Question,
    terms: Vec<QueryTerm>,
    /// None if no memory holds any of the terms.
    vector: Option<QueryVector>,
    /// Standard deviation of a score, per unit of the norm.
    spread: f32,
}

impl TextQuery {
    /// Encodes `text` for memories of these `statistics`.
    ///
    /// # Errors
    /// [`EncodeError::EmptyText`].
    pub fn new(encoder: &Encoder, text: &str, statistics: &impl TermStatistics) -> Result<Self, EncodeError> {
        let asked = Question::new(text, statistics)?;
        let vector = match encoder.query_vector(&asked, Encoder::DEFAULT_PLANES) {
            Ok(vector) => Some(vector),
            Err(EncodeError::UnknownTerms) => None,
            Err(error) => return Err(error),
        };
        let weighted = |&(term, weight)| QueryTerm { term, weight: f32::from(weight) * asked.step() };
        let terms: Vec<QueryTerm> = asked.terms().iter().map(weighted).collect();
        let squares: f32 = terms.iter().map(|term| term.weight.powi(2)).sum();
        let spread = (squares / encoder.dimension().bits() as f32).sqrt();
        Ok(Self { asked, terms, vector, spread })
    }

    /// The terms that some memory holds.
    pub fn terms(&self) -> &[QueryTerm] {
        &self.terms
    }

    /// The query as a vector; none if no memory holds any of its terms.
    pub fn vector(&self) -> Option<&QueryVector> {
        self.vector.as_ref()
    }

    /// The score of a memory with this vector and norm: an estimate of its
    /// overlap of terms.
    pub fn score(&self, vector: &[u64], norm: f32) -> f32 {
        self.vector.as_ref().map_or(0.0, |query| query.score(vector, norm))
    }

    /// Standard deviation of [`TextQuery::score`] around the overlap.
    pub fn noise(&self, norm: f32) -> f32 {
        self.spread * norm
    }

    /// How far a memory that holds the terms for which `covers` is true covers
    /// the question, from 0 to 1; see [`Question::confidence`].
    pub fn coverage(&self, covers: impl Fn(Term) -> bool) -> f32 {
        self.asked.confidence(covers)
    }
}
