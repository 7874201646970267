//! Systems that answer questions, compared with the known answers.
//!
//! Anything that ranks memories implements [`System`]. [`Evaluation`] measures the quality of its
//! rankings, and [`Separation`] how well it recognizes that it has no answer.

use std::collections::{BTreeSet, HashMap};

use crate::bm25::{Bm25, Terms};
use crate::corpus::{Corpus, Question};
use crate::quality::{self, Difference};
use mnemocore::{Config, Engine, Error, MemoryId, Namespace, NewMemory, Query, Recall, Timestamp, encoder};

/// The number of memories that a system returns for a question.
pub const DEPTH: usize = 10;

/// The category of questions that have evidence in the memories but ask for
/// something that they do not say (LoCoMo: somebody else did it).
pub const ADVERSARIAL: &str = "adversarial";

/// Resamples of a bootstrap, its confidence and its seed.
const BOOTSTRAP: (usize, f64, u64) = (2_000, 0.95, 7);

/// Any error of a system.
pub type SystemError = Box<dyn std::error::Error + Send + Sync>;

/// A system's answer to a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Positions in [`Corpus::memories`] with their scores, the best first; at
    /// most [`DEPTH`].
    pub ranked: Vec<(u32, f32)>,
    /// The system's confidence that there is an answer; higher is surer.
    pub confidence: f64,
}

/// Something that ranks the memories of a corpus for a question.
pub trait System {
    /// Answers from the memories of `scope`, or from all.
    ///
    /// # Errors
    /// Any error of the system.
    fn answer(&self, question: &str, scope: Option<&str>) -> Result<Answer, SystemError>;
}

/// The memories among which questions are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of the question's scope.
    Scoped,
    /// All.
    Global,
}

/// The questions of a corpus, by their purpose.
#[derive(Clone, Debug, Default)]
pub struct Questions<'c> {
    /// With an answer: recall is measured on them.
    pub answerable: Vec<&'c Question>,
    /// Of the category [`ADVERSARIAL`].
    pub adversarial: Vec<&'c Question>,
    /// Without a relevant memory.
    pub unanswerable: Vec<&'c Question>,
}

impl<'c> Questions<'c> {
    /// Sorts the questions of `corpus`.
    pub fn of(corpus: &'c Corpus) -> Self {
        let mut sorted = Self::default();
        for question in &corpus.questions {
            let kind = match question {
                _ if question.category == ADVERSARIAL => &mut sorted.adversarial,
                _ if question.is_answerable() => &mut sorted.answerable,
                _ => &mut sorted.unanswerable,
            };
            kind.push(question);
        }
        sorted
    }

    /// Returns the answerable questions, each put to another scope than its own, in turns, so that
    /// no memory there answers them. Returns none if the questions have fewer than two scopes.
    pub fn elsewhere(&self) -> Vec<Question> {
        let scopes: BTreeSet<&str> =
            self.answerable.iter().filter_map(|question| question.scope.as_deref()).collect();
        let put_elsewhere = |(number, question): (usize, &&Question)| {
            let own = question.scope.as_deref()?;
            let mut others = scopes.iter().filter(|&&scope| scope != own);
            let other = others.nth(number % scopes.len().checked_sub(1).filter(|&others| others > 0)?)?;
            Some(Question {
                scope: Some((*other).to_owned()),
                relevant: Vec::new(),
                answer: None,
                ..(*question).clone()
            })
        };
        self.answerable.iter().enumerate().filter_map(put_elsewhere).collect()
    }
}

/// Asks `system` every one of `questions`.
///
/// # Errors
/// The first that the system reports.
pub fn ask<'q>(
    system: &dyn System,
    questions: impl IntoIterator<Item = &'q Question>,
    reach: Reach,
) -> Result<Vec<Answer>, SystemError> {
    let scope = |question: &'q Question| match reach {
        Reach::Scoped => question.scope.as_deref(),
        Reach::Global => None,
    };
    questions.into_iter().map(|question| system.answer(&question.text, scope(question))).collect()
}

/// The quality of one system's rankings, question by question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The system's answers.
    pub answers: Vec<Answer>,
    /// Recall among the first five.
    pub recall_at_5: Vec<f64>,
    /// Recall among the first ten.
    pub recall_at_10: Vec<f64>,
    /// nDCG of the first ten.
    pub ndcg_at_10: Vec<f64>,
}

impl Evaluation {
    /// Asks `system` the `questions`, all of which should be answerable: others
    /// have no recall, and the figures of two systems would no longer be pairs.
    ///
    /// # Errors
    /// The first that the system reports.
    pub fn of(system: &dyn System, questions: &[&Question], reach: Reach) -> Result<Self, SystemError> {
        let answers = ask(system, questions.iter().copied(), reach)?;
        let mut evaluation = Self::default();
        for (question, answer) in questions.iter().zip(&answers) {
            let ranked: Vec<u32> = answer.ranked.iter().map(|&(memory, _)| memory).collect();
            evaluation.recall_at_5.extend(quality::recall(&ranked, &question.relevant, 5));
            evaluation.recall_at_10.extend(quality::recall(&ranked, &question.relevant, 10));
            evaluation.ndcg_at_10.extend(quality::ndcg(&ranked, &question.relevant, 10));
        }
        Ok(Self { answers, ..evaluation })
    }

    /// Returns the means of recall@5, recall@10 and nDCG@10; zeros if there are no questions.
    pub fn means(&self) -> [f64; 3] {
        [&self.recall_at_5, &self.recall_at_10, &self.ndcg_at_10]
            .map(|values| quality::mean(values).unwrap_or_default())
    }

    /// Recall@5 less that of `other` on the same questions, with its 95 %
    /// interval; `None` of no questions.
    pub fn recall_at_5_above(&self, other: &Self) -> Option<Difference> {
        let (resamples, confidence, seed) = BOOTSTRAP;
        quality::paired_bootstrap(&self.recall_at_5, &other.recall_at_5, resamples, confidence, seed)
    }
}

/// Confidences for questions with an answer, and for questions without.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Separation {
    /// For questions with an answer.
    pub answerable: Vec<f64>,
    /// For questions without.
    pub unanswerable: Vec<f64>,
}

impl Separation {
    /// From the answers to either kind.
    pub fn of(answerable: &[Answer], unanswerable: &[Answer]) -> Self {
        let confidences = |answers: &[Answer]| answers.iter().map(|answer| answer.confidence).collect();
        Self { answerable: confidences(answerable), unanswerable: confidences(unanswerable) }
    }

    /// Area under the ROC curve; `None` if either kind is missing.
    pub fn auc(&self) -> Option<f64> {
        quality::auc(&self.answerable, &self.unanswerable)
    }

    /// The area less that of `other` on the same questions, with its 95 %
    /// interval.
    pub fn auc_above(&self, other: &Self) -> Option<Difference> {
        let (resamples, confidence, seed) = BOOTSTRAP;
        let ours = (self.answerable.as_slice(), self.unanswerable.as_slice());
        let theirs = (other.answerable.as_slice(), other.unanswerable.as_slice());
        quality::paired_auc_bootstrap(ours, theirs, resamples, confidence, seed)
    }

    /// Returns the share of answerable questions that reach `threshold`, and the share of
    /// unanswerable ones that do not.
    pub fn kept_and_refused(&self, threshold: f64) -> (f64, f64) {
        let reaching = |scores: &[f64]| {
            let reaching: Vec<f64> =
                scores.iter().map(|&score| f64::from(u8::from(score >= threshold))).collect();
            quality::mean(&reaching).unwrap_or_default()
        };
        (reaching(&self.answerable), 1.0 - reaching(&self.unanswerable))
    }
}

/// A corpus in an engine: every memory once in the namespace of its scope, and
/// once in a namespace that holds them all.
pub struct StoredCorpus {
    engine: Engine,
    /// The namespace of all memories.
    all: Namespace,
    positions: HashMap<MemoryId, u32>,
}

impl StoredCorpus {
    /// Stores `corpus` in memory, all of it in HOT.
    ///
    /// # Errors
    /// Any error of the engine.
    pub fn new(corpus: &Corpus, config: Config) -> Result<Self, Error> {
        let scopes: BTreeSet<&str> = corpus.memories.iter().map(|item| item.scope.as_str()).collect();
        let all = Namespace::new(unused_name(&scopes))?;
        let hot_capacity = 2 * corpus.memories.len();
        let config = config.memory_budget(usize::MAX).hot_capacity(hot_capacity).background(false);
        let engine = Engine::in_memory(config)?;
        let mut memories = Vec::with_capacity(hot_capacity);
        let mut stored = Vec::with_capacity(hot_capacity);
        for (position, item) in (0u32..).zip(&corpus.memories) {
            let memory = NewMemory::new(item.content()).created(Timestamp(item.timestamp_ms));
            if !item.scope.is_empty() {
                memories.push(memory.clone().namespace(Namespace::new(item.scope.as_str())?));
                stored.push(position);
            }
            memories.push(memory.namespace(all.clone()));
            stored.push(position);
        }
        let positions = engine.store_batch(memories)?.iter().map(MemoryId::from).zip(stored).collect();
        Ok(Self { engine, all, positions })
    }
}

/// Returns a short name that no scope has.
fn unused_name(scopes: &BTreeSet<&str>) -> String {
    let names = (0u64..).map(|number| format!("all {number}"));
    names.into_iter().find(|name| !scopes.contains(name.as_str())).unwrap_or_default()
}

impl System for StoredCorpus {
    fn answer(&self, question: &str, scope: Option<&str>) -> Result<Answer, SystemError> {
        let namespace = scope.map_or_else(|| Ok(self.all.clone()), Namespace::new)?;
        let query = Query::text(question).namespace(namespace).limit(DEPTH).touch(false);
        let Recall { hits, confidence, .. } = self.engine.recall(&query)?;
        let position =
            |id: MemoryId| self.positions.get(&id).copied().ok_or("a memory that was never stored");
        let ranked = hits.iter().map(|hit| Ok((position(hit.memory.id)?, hit.score)));
        Ok(Answer { ranked: ranked.collect::<Result<_, SystemError>>()?, confidence: confidence.into() })
    }
}

impl<T: Terms> Bm25<T> {
    /// BM25 over a corpus, its terms split by `terms`.
    pub fn of_corpus(terms: T, corpus: &Corpus) -> Self {
        let contents: Vec<_> = corpus.memories.iter().map(|item| item.content()).collect();
        let texts = corpus.memories.iter().zip(&contents);
        Self::with_terms(terms, texts.map(|(item, content)| (item.scope.as_str(), content.as_ref())))
    }
}

/// Its best score is its confidence.
impl<T: Terms> System for Bm25<T> {
    fn answer(&self, question: &str, scope: Option<&str>) -> Result<Answer, SystemError> {
        let ranked = self.search(question, DEPTH, scope);
        let confidence = ranked.first().map_or(0.0, |&(_, score)| score.into());
        Ok(Answer { ranked, confidence })
    }
}

/// BM25 whose confidence is its best score over the largest possible score.
pub struct Normalised<'b, T>(pub &'b Bm25<T>);

impl<T: Terms> System for Normalised<'_, T> {
    fn answer(&self, question: &str, scope: Option<&str>) -> Result<Answer, SystemError> {
        let answer = self.0.answer(question, scope)?;
        let ceiling = f64::from(self.0.ceiling(question, scope));
        let confidence = if ceiling > 0.0 { answer.confidence / ceiling } else { 0.0 };
        Ok(Answer { confidence, ..answer })
    }
}

/// The terms that the engine stores of a text, labels left out: for a BM25 that
/// differs from the engine in its scores alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineTerms;

impl Terms for EngineTerms {
    fn terms(&self, text: &str) -> Vec<String> {
        encoder::terms(text).into_iter().map(|term| format!("{:x}", term.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bm25::EnglishTerms;
    use crate::corpus::Item;
    use crate::workload::Workload;
    use mnemocore::MAX_NAMESPACE_BYTES;

    /// Answers every question with the same ranking.
    struct Parrot(Vec<(u32, f32)>);

    impl System for Parrot {
        fn answer(&self, question: &str, scope: Option<&str>) -> Result<Answer, SystemError> {
            let confidence = question.len() as f64 + f64::from(u8::from(scope.is_some()));
            Ok(Answer { ranked: self.0.clone(), confidence })
        }
    }

    fn question(text: &str, relevant: &[u32], category: &str, scope: Option<&str>) -> Question {
        Question {
            id: text.into(),
            text: text.into(),
            relevant: relevant.into(),
            category: category.into(),
            answer: None,
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn rankings_are_measured_question_by_question() {
        let questions =
            [question("a", &[3], "", None), question("b", &[8, 9], "", None), question("c", &[1], "", None)];
        let questions: Vec<&Question> = questions.iter().collect();
        let parrot = Parrot(vec![(3, 6.0), (0, 5.0), (2, 4.0), (4, 3.0), (5, 2.0), (9, 1.0)]);
        let evaluation = Evaluation::of(&parrot, &questions, Reach::Global).unwrap();
        assert_eq!(evaluation.recall_at_5, [1.0, 0.0, 0.0]);
        assert_eq!(evaluation.recall_at_10, [1.0, 0.5, 0.0]);
        assert_eq!(evaluation.means()[1], 0.5);
        let nothing = Evaluation::of(&Parrot(Vec::new()), &questions, Reach::Global).unwrap();
        let above = evaluation.recall_at_5_above(&nothing).unwrap();
        assert!((above.mean - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn questions_are_sorted_and_put_to_other_scopes_than_their_own() {
        let scoped = |number: u32, scope| question(&format!("q{number}"), &[number], "who", Some(scope));
        let corpus = Corpus {
            memories: Vec::new(),
            questions: vec![
                scoped(0, "x"),
                scoped(1, "x"),
                scoped(2, "y"),
                scoped(3, "z"),
                question("fooled", &[1], ADVERSARIAL, Some("x")),
                question("nothing", &[], "who", Some("y")),
            ],
            left_out: Vec::new(),
        };
        let questions = Questions::of(&corpus);
        assert_eq!(
            [&questions.answerable, &questions.adversarial, &questions.unanswerable].map(Vec::len),
            [4, 1, 1]
        );
        let elsewhere = questions.elsewhere();
        assert_eq!(elsewhere.len(), 4);
        for (own, foreign) in questions.answerable.iter().zip(&elsewhere) {
            assert!(foreign.scope.is_some() && foreign.scope != own.scope && !foreign.is_answerable());
        }
        let only = Corpus { questions: vec![scoped(0, "x"), question("q", &[1], "", None)], ..corpus };
        assert!(Questions::of(&only).elsewhere().is_empty());
    }

    #[test]
    fn scopes_of_any_name_are_apart_from_each_other_and_from_all() {
        let scopes = ["default".to_owned(), "all 0".to_owned(), "s".repeat(MAX_NAMESPACE_BYTES)];
        let items = scopes.iter().map(|scope| Item {
            id: scope.clone(),
            text: "The same words".into(),
            speaker: None,
            session: String::new(),
            timestamp_ms: 0,
            scope: scope.clone(),
        });
        let corpus = Corpus { memories: items.collect(), ..Corpus::default() };
        let stored = StoredCorpus::new(&corpus, Config::default()).unwrap();
        let found = |scope| -> Vec<u32> {
            let answer = stored.answer("the same words", scope).unwrap();
            answer.ranked.iter().map(|&(memory, _)| memory).collect()
        };
        for (own, scope) in (0..).zip(&scopes) {
            assert_eq!(found(Some(scope)), [own], "{scope}");
        }
        assert_eq!(found(None).len(), 3);
    }

    #[test]
    fn a_threshold_keeps_and_refuses() {
        let separation = Separation { answerable: vec![0.9, 0.4, 0.3], unanswerable: vec![0.39, 0.1] };
        let (kept, refused) = separation.kept_and_refused(0.4);
        assert!((kept - 2.0 / 3.0).abs() < 1e-12 && (refused - 1.0).abs() < 1e-12);
        assert_eq!(separation.auc(), Some(5.0 / 6.0));
        let useless = Separation { answerable: vec![0.5; 3], unanswerable: vec![0.5; 2] };
        assert!((separation.auc_above(&useless).unwrap().mean - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn scopes_reach_the_systems_only_when_asked_for() {
        let asked = [question("who?", &[1], "", Some("x"))];
        let confidence = |reach| ask(&Parrot(Vec::new()), &asked, reach).unwrap()[0].confidence;
        assert_eq!((confidence(Reach::Scoped), confidence(Reach::Global)), (5.0, 4.0));
    }

    #[test]
    fn engine_and_bm25_find_what_was_said_in_the_scope_that_is_asked() {
        let corpus = Workload::with_agents(3, 4).corpus(400, 40);
        let questions = Questions::of(&corpus);
        let stored = StoredCorpus::new(&corpus, Config::default()).unwrap();
        let (english, own) =
            (Bm25::of_corpus(EnglishTerms::default(), &corpus), Bm25::of_corpus(EngineTerms, &corpus));
        for system in [&stored as &dyn System, &english, &own, &Normalised(&english)] {
            for reach in [Reach::Scoped, Reach::Global] {
                let evaluation = Evaluation::of(system, &questions.answerable, reach).unwrap();
                assert!(evaluation.means()[1] > 0.3, "{:?} {reach:?}", evaluation.means());
                for (question, answer) in questions.answerable.iter().zip(&evaluation.answers) {
                    let in_scope = |memory: u32| {
                        Some(&corpus.memories[memory as usize].scope) == question.scope.as_ref()
                    };
                    assert!(
                        reach == Reach::Global || answer.ranked.iter().all(|&(memory, _)| in_scope(memory))
                    );
                }
            }
        }
        let share = Normalised(&english).answer(&questions.answerable[0].text, None).unwrap().confidence;
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
}
