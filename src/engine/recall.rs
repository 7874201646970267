//! `recall`: the most relevant memories of one namespace, over all tiers.

use std::ops::Range;

use super::observe::returned;
use super::ranking::TIES;
use super::store::check_text;
use super::{Engine, Shared, Space, View};
use crate::encoder::{Projection, Question, Term};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::index::{RowFilter, TextQuery, TopK};
use crate::key::{TierKind, Timestamp};
use crate::memory::{Memory, Metadata, Namespace};
use crate::telemetry::Verb;
use crate::tier::{Method, Search, Target};

/// A question, and the memories among which it is asked.
///
/// ```
/// use mnemocore::{Query, TierKind};
///
/// let query = Query::text("Where does Anna live now?").limit(5).metadata("source", "chat").tiers(&[TierKind::Hot]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    target: Asked,
    namespace: Namespace,
    limit: usize,
    tiers: Vec<TierKind>,
    metadata: Metadata,
    created: Option<Range<i64>>,
    method: Method,
    touch: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Text(String),
    Embedding(Vec<f32>),
    Vector { vector: Hypervector, supplied: bool },
}

impl Query {
    fn new(target: Asked) -> Self {
        Self {
            target,
            namespace: Namespace::default(),
            limit: 10,
            tiers: TierKind::ALL.into(),
            metadata: Metadata::new(),
            created: None,
            method: Method::default(),
            touch: true,
        }
    }

    /// Finds memories that share words with `text`, compared by their stems: "moved" finds
    /// "moves". Words such as "the" and "where" do not count.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Asked::Text(text.into()))
    }

    /// Finds memories whose own embedding is near this one.
    pub fn embedding(embedding: Vec<f32>) -> Self {
        Self::new(Asked::Embedding(embedding))
    }

    /// Finds memories whose own vector is near this one.
    pub fn vector(vector: Hypervector) -> Self {
        Self::new(Asked::Vector { vector, supplied: true })
    }

    /// Finds memories whose text's hypervector is near this one, e.g. a bundle of encoded
    /// texts.
    pub fn like(vector: Hypervector) -> Self {
        Self::new(Asked::Vector { vector, supplied: false })
    }

    /// Searches this namespace instead of the default one.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    /// Returns at most this many hits; 10 by default.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Searches these tiers only; all by default.
    pub fn tiers(mut self, tiers: &[TierKind]) -> Self {
        self.tiers = tiers.into();
        self
    }

    /// Finds only memories with this pair in their metadata. If called more than once, a memory
    /// must have every pair.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Finds only memories created from `range.start` on and before `range.end`.
    pub fn created(mut self, range: Range<Timestamp>) -> Self {
        self.created = Some(range.start.0..range.end.0);
        self
    }

    /// Sets how candidates are found: by inverted lists or sketches (the default), or by
    /// scoring every memory.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets whether the hits count as accessed, which strengthens them; true by default.
    pub fn touch(mut self, touch: bool) -> Self {
        self.touch = touch;
        self
    }

    pub(super) fn namespace_asked(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn touches(&self) -> bool {
        self.touch
    }
}

impl From<&str> for Query {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<&String> for Query {
    fn from(text: &String) -> Self {
        Self::text(text)
    }
}

impl From<String> for Query {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&Query> for Query {
    fn from(query: &Query) -> Self {
        query.clone()
    }
}

/// A recalled memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The memory.
    pub memory: Memory,
    /// For a text, the weighted overlap of words, as in BM25. For a vector, the similarity: 1 for
    /// equal, 0 for unrelated. Scores of different recalls cannot be compared.
    pub score: f32,
}

/// The result of a recall.
#[derive(Clone, Debug, PartialEq)]
pub struct Recall {
    /// The hits, best first. Among texts with equal scores, the first is the one that has the
    /// question as a phrase (at least half of its pairs of neighboring words), then the newer one. Of
    /// the texts that tie with the last hit, the 256 newest are compared so.
    /// Among equal vectors, the newest memory is first.
    pub hits: Vec<Hit>,
    /// The part of the query that the best of the first five hits covers, from 0 to 1.
    ///
    /// For a text it is the mean of two shares: of the query's weight, and of its
    /// number of terms. Below [`Recall::ANSWERABLE`] the memories probably hold no
    /// answer. For a vector it is the best similarity.
    pub confidence: f32,
    /// Tiers on another machine that could not be reached, whose memories are missing from the
    /// hits. Empty if every tier answered.
    pub unreachable: Vec<TierKind>,
}

impl Recall {
    /// Returns whether the memories probably contain an answer: the confidence is at least
    /// [`Recall::ANSWERABLE`].
    pub fn is_answerable(&self) -> bool {
        self.confidence >= Self::ANSWERABLE
    }

    /// The confidence that separates questions with an answer from those
    /// without. On the questions of LoCoMo it keeps nine of ten that have an
    /// answer, and refuses nine of ten that were put to the wrong conversation.
    pub const ANSWERABLE: f32 = Question::CONFIDENT;
}

impl Engine {
    /// Returns the memories that fit `query` best: a text, or a [`Query`].
    ///
    /// Sees every memory stored before the call began. An unknown namespace returns no hits.
    /// If a tier on another machine cannot be reached, the others answer, and
    /// [`Recall::unreachable`] names it.
    ///
    /// ```
    /// use mnemocore::{Config, Engine, Query};
    ///
    /// let engine = Engine::in_memory(Config::default())?;
    /// engine.store("The spare key is under the blue pot")?;
    /// assert_eq!(engine.recall("Where is the spare key?")?.hits.len(), 1);
    /// assert!(engine.recall(Query::text("Where is the key?").limit(0))?.hits.is_empty());
    /// # Ok::<(), mnemocore::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::EmptyText`], [`Error::TextTooLong`], [`Error::Encode`] or
    /// [`Error::Hdv`] for a query that cannot be asked; [`Error::Io`],
    /// [`Error::Log`] or [`Error::Corrupt`] when a memory cannot be read.
    pub fn recall(&self, query: impl Into<Query>) -> Result<Recall, Error> {
        let query = query.into();
        let call = self.begin(Verb::Recall, Some(&query.namespace))?;
        let recall = self.shared.recall(&query);
        self.shared.tally.recalls.add(recall.iter().count());
        self.end(call, recall, |recall| returned(recall.hits.iter().map(|hit| &hit.memory)))
    }
}

/// The hits of a search, and the tiers that could not be reached.
pub(super) struct Found {
    pub hits: Vec<Hit>,
    pub unreachable: Vec<TierKind>,
}

/// An encoded query.
pub(super) enum Probe {
    Text(TextQuery),
    Vector { vector: Hypervector, supplied: bool },
}

impl Probe {
    fn target(&self) -> Target<'_> {
        match self {
            Probe::Text(query) => Target::Text(query),
            Probe::Vector { vector, supplied } => Target::Vector { vector, supplied: *supplied },
        }
    }
}

impl Shared {
    fn recall(&self, query: &Query) -> Result<Recall, Error> {
        #[cfg(feature = "inject")]
        let mut slowed = crate::inject::slow("recall");
        let space = self.space(&query.namespace);
        let view = space.as_ref().map(|space| space.view.load_full());
        let probe = self.probe(query, view.as_deref())?;
        let (Some(space), Some(view)) = (space, view) else {
            return Ok(Recall { hits: Vec::new(), confidence: 0.0, unreachable: Vec::new() });
        };
        let Found { hits, unreachable } = self.search(query, &probe, &space, &view)?;
        #[cfg(feature = "inject")]
        if let Some(best) = hits.first() {
            slowed.also(&best.memory.tier.to_string().to_lowercase());
        }
        if query.touch {
            self.touch(space.id, hits.iter().map(|hit| hit.memory.id));
        }
        let confidence = probe.confidence(&view, &hits)?;
        Ok(Recall { hits, confidence, unreachable })
    }

    /// Checks and encodes a query. The weights of a text use the statistics of `view`.
    pub(super) fn probe(&self, query: &Query, view: Option<&View>) -> Result<Probe, Error> {
        Ok(match &query.target {
            Asked::Text(text) => {
                check_text(text)?;
                let nothing = View::default();
                Probe::Text(TextQuery::new(text, view.unwrap_or(&nothing))?)
            }
            Asked::Embedding(values) => {
                // A query must not fix the length of embeddings.
                let vector = match self.projection.get() {
                    Some(projection) => projection.project(values)?,
                    None => Projection::new(values.len(), self.config.dimension)?.project(values)?,
                };
                Probe::Vector { vector, supplied: true }
            }
            Asked::Vector { vector, supplied } => {
                Probe::Vector { vector: self.fitting(vector.clone())?, supplied: *supplied }
            }
        })
    }

    /// Searches the requested tiers and fetches the hits. An unreachable tier is left out.
    pub(super) fn search(
        &self,
        query: &Query,
        probe: &Probe,
        space: &Space,
        view: &View,
    ) -> Result<Found, Error> {
        let holding = query.metadata.iter().map(|(key, value)| Term::metadata(key, value));
        let filter = RowFilter { holding: holding.collect(), created: query.created.clone() };
        let search = Search {
            target: probe.target(),
            method: query.method,
            filter: &filter,
            cascade_limits: self.config.cascade_limits,
        };
        let limit = query.limit.min(view.len());
        let mut top = match probe {
            Probe::Text(_) => TopK::with_ties(limit, TIES),
            Probe::Vector { .. } => TopK::new(limit),
        };
        let mut unreachable = Vec::new();
        for (kind, tier) in TierKind::ALL.into_iter().zip(&view.tiers) {
            if query.tiers.contains(&kind) {
                match tier.search(&search, &mut top) {
                    Err(Error::Unreachable { .. }) => unreachable.push(kind),
                    searched => searched?,
                }
            }
        }
        let hits = probe.hits(top.into_sorted(), limit, space, view)?;
        Ok(Found { hits, unreachable })
    }
}
