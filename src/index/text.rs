//! A text as the index searches for it: its terms, and what each is worth.

use crate::encoder::{EncodeError, Phrase, Question, Term, TermCounts, TermStatistics};

/// A query's term, and what it adds to the score of a memory in which its share is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryTerm {
    /// The term.
    pub term: Term,
    /// The most that it can add; positive.
    pub weight: f32,
}

/// A question with the weights that the memories' statistics give its terms.
#[derive(Clone, Debug)]
pub struct TextQuery {
    question: Question,
    terms: Vec<QueryTerm>,
    text: Box<str>,
}

impl TextQuery {
    /// Weighs the terms of `text` for memories of these `statistics`.
    ///
    /// # Errors
    /// [`EncodeError::EmptyText`].
    pub fn new(text: &str, statistics: &impl TermStatistics) -> Result<Self, EncodeError> {
        let question = Question::new(text, statistics)?;
        let mut terms: Vec<QueryTerm> =
            question.weights().iter().map(|&(term, weight)| QueryTerm { term, weight }).collect();
        terms.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.term.cmp(&b.term)));
        Ok(Self { question, terms, text: text.into() })
    }

    /// The terms that some memory holds, the heaviest first.
    pub fn terms(&self) -> &[QueryTerm] {
        &self.terms
    }

    /// The score of a text: its shares of the terms by their weights, added up in the order of
    /// the terms, as every search does.
    pub fn score(&self, text: &TermCounts) -> f32 {
        self.terms.iter().fold(0.0, |sum, term| sum + term.weight * text.share(term.term))
    }

    /// The wording of the question, by which ties are put in order. Few recalls ask for it.
    pub fn phrase(&self) -> Phrase {
        Phrase::new(&self.text)
    }

    /// How far a memory that holds the terms for which `covers` is true covers
    /// the question, from 0 to 1; see [`Question::confidence`].
    pub fn coverage(&self, covers: impl Fn(Term) -> bool) -> f32 {
        self.question.confidence(covers)
    }
}
