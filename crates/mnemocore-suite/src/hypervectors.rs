//! A ranking of texts by their hypervectors alone, the baseline for the engine's ranking by terms.
//!
//! The score of a hypervector estimates the score of the text's terms, which the engine computes
//! exactly. The difference in quality is the price of keeping bits instead of terms.

use std::collections::HashMap;

use mnemocore::encoder::{
    Document, EncodeError, Encoder, QueryVector, Question, Term, TermStatistics, TermVector,
};
use mnemocore::hdv::Hypervector;

use crate::corpus::Corpus;
use crate::evaluation::{Answer, DEPTH, System, SystemError};

/// Texts that can be searched by their hypervectors, all together or scope by scope.
///
/// ```
/// use mnemocore_suite::evaluation::System;
/// use mnemocore_suite::hypervectors::Hypervectors;
///
/// let texts = [("", "The cat sleeps on the sofa"), ("", "Dogs chase cats"), ("", "Rain again")];
/// let vectors = Hypervectors::new(texts)?;
/// assert_eq!(vectors.answer("a chased cat", None)?.ranked[0].0, 1);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct Hypervectors {
    encoder: Encoder,
    texts: Vec<Text>,
    all: Reached,
    scopes: HashMap<String, Reached>,
}

/// One text as bits.
struct Text {
    /// Only to tell which terms it holds.
    terms: TermVector,
    vector: Hypervector,
    norm: f32,
}

/// The texts of one scope, or all of them, and their term statistics.
#[derive(Default)]
struct Reached {
    texts: Vec<u32>,
    frequencies: HashMap<Term, u64>,
}

impl Hypervectors {
    /// Encodes (scope, text) pairs. A result's index is the position of the text in `texts`.
    ///
    /// # Errors
    /// [`EncodeError::EmptyText`] for a text of white space.
    pub fn new<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, EncodeError> {
        let mut made = Self {
            encoder: Encoder::default(),
            texts: Vec::new(),
            all: Reached::default(),
            scopes: HashMap::new(),
        };
        for (index, (scope, text)) in (0u32..).zip(texts) {
            let terms = Document::new(text).analyze()?;
            made.all.add(index, &terms);
            if !scope.is_empty() {
                made.scopes.entry(scope.to_owned()).or_default().add(index, &terms);
            }
            let (vector, norm) = (made.encoder.encode(&terms)?, terms.norm());
            made.texts.push(Text { terms, vector, norm });
        }
        Ok(made)
    }

    /// Encodes the memories of a corpus.
    ///
    /// # Errors
    /// [`EncodeError::EmptyText`] for a memory of white space.
    pub fn of_corpus(corpus: &Corpus) -> Result<Self, EncodeError> {
        let contents: Vec<_> = corpus.memories.iter().map(|item| item.content()).collect();
        let texts = corpus.memories.iter().zip(&contents);
        Self::new(texts.map(|(item, content)| (item.scope.as_str(), content.as_ref())))
    }

    /// The score of each text that shares a term with the question, as in the engine.
    fn scored<'a>(
        &'a self,
        reached: &'a Reached,
        question: &'a Question,
        query: &'a QueryVector,
    ) -> impl Iterator<Item = (u32, f32)> + 'a {
        let texts = reached.texts.iter().filter_map(|&index| Some((index, self.texts.get(index as usize)?)));
        let shares = |text: &Text| question.terms().iter().any(|&(term, _)| text.terms.contains(term));
        texts
            .filter(move |(_, text)| shares(text))
            .map(|(index, text)| (index, query.score(text.vector.words(), text.norm)))
    }
}

impl Reached {
    fn add(&mut self, index: u32, terms: &TermVector) {
        self.texts.push(index);
        for &(term, _) in terms.terms() {
            *self.frequencies.entry(term).or_default() += 1;
        }
    }
}

impl TermStatistics for Reached {
    fn documents(&self) -> u64 {
        self.texts.len() as u64
    }

    fn document_frequency(&self, term: Term) -> u64 {
        self.frequencies.get(&term).copied().unwrap_or_default()
    }
}

/// Its best score is its confidence. The statistics are those of the scope, or of all texts. Of equal
/// scores, the last text is first, as in the engine.
impl System for Hypervectors {
    fn answer(&self, question: &str, scope: Option<&str>) -> Result<Answer, SystemError> {
        let reached = scope.map_or(Some(&self.all), |scope| self.scopes.get(scope));
        let Some(reached) = reached else { return Ok(Answer::default()) };
        let question = Question::new(question, reached)?;
        let query = match self.encoder.query_vector(&question, Encoder::DEFAULT_PLANES) {
            Err(EncodeError::UnknownTerms) => return Ok(Answer::default()),
            query => query?,
        };
        let mut ranked: Vec<(u32, f32)> = self.scored(reached, &question, &query).collect();
        ranked.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        ranked.truncate(DEPTH);
        let confidence = ranked.first().map_or(0.0, |&(_, score)| score.into());
        Ok(Answer { ranked, confidence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{Evaluation, Questions, Reach};
    use crate::workload::Workload;

    #[test]
    fn a_hit_shares_a_term_and_has_about_the_score_of_its_terms() {
        let texts: Vec<String> = Workload::new(3).take(300).map(|item| item.content().into_owned()).collect();
        let vectors = Hypervectors::new(texts.iter().map(|text| ("", text.as_str()))).unwrap();
        for asked in texts.iter().step_by(30) {
            let question = Question::new(asked, &vectors.all).unwrap();
            let weights: HashMap<Term, f32> = question.weights().iter().copied().collect();
            let answer = vectors.answer(asked, None).unwrap();
            assert!(!answer.ranked.is_empty() && answer.ranked.is_sorted_by(|a, b| a.1 >= b.1));
            for (index, score) in answer.ranked {
                let Text { terms, norm, .. } = &vectors.texts[index as usize];
                let exact = terms.dot(|term| weights.get(&term).copied().unwrap_or_default());
                let squares: f32 = weights.values().map(|weight| weight.powi(2)).sum();
                let deviation = norm * (squares / vectors.encoder.dimension().bits() as f32).sqrt();
                let rounding = 0.05 * exact;
                assert!(exact > 0.0 && (score - exact).abs() < 5.0 * deviation + rounding, "{score} {exact}");
            }
        }
    }

    #[test]
    fn a_scope_is_searched_by_its_own_statistics_and_others_not_at_all() {
        let texts = [("x", "cat"), ("y", "cat"), ("y", "dog"), ("", "cat")];
        let vectors = Hypervectors::new(texts).unwrap();
        let found = |question, scope| vectors.answer(question, scope).unwrap().ranked;
        let indices = |scope| found("cat", scope).iter().map(|found| found.0).collect::<Vec<_>>();
        assert_eq!(indices(None), [3, 1, 0]);
        assert_eq!(indices(Some("y")), [1]);
        assert!(indices(Some("z")).is_empty() && found("bird", None).is_empty());
        assert_ne!(found("cat", Some("x"))[0].1, found("cat", Some("y"))[0].1);
    }

    #[test]
    fn what_was_said_is_found() {
        let corpus = Workload::with_agents(3, 4).corpus(400, 40);
        let vectors = Hypervectors::of_corpus(&corpus).unwrap();
        for reach in [Reach::Scoped, Reach::Global] {
            let evaluation = Evaluation::of(&vectors, &Questions::of(&corpus).answerable, reach).unwrap();
            assert!(evaluation.means()[1] > 0.3, "{:?} {reach:?}", evaluation.means());
        }
    }
}
