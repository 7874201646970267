//! Any sequence of operations of an engine, against a map of what must be there.
#![no_main]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use mnemocore::encoder::{Document, Phrase, Question, Term, TermCounts, TermStatistics};
use mnemocore::hdv::{Dimension, Hypervector};
use mnemocore::{
    Config, Engine, Error, Hit, MemoryId, Metadata, Method, Namespace, NewMemory, Query, Recall, TierKind,
    Timestamp,
};
use mnemocore_fuzz::{scratch, tiny};

/// More steps say nothing that fewer don't.
const STEPS: usize = 48;

#[derive(Debug, Arbitrary)]
struct Input {
    /// On disk for few, because that takes twenty times as long.
    place: u8,
    no_hot: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    Store(Note),
    StoreBatch(Vec<Note>),
    Recall(Ask),
    Synthesize(Ask),
    Get(u8),
    Forget(u8),
    ForgetBatch(Vec<u8>),
    Consolidate,
    ConsolidateAt(u16),
    Compact,
    Reopen,
}

#[derive(Debug, Arbitrary)]
struct Note {
    text: Text,
    space: u8,
    pair: Option<(u8, u8)>,
    importance: Importance,
    created: Option<i64>,
    vector: Vector,
}

#[derive(Debug, Arbitrary)]
enum Text {
    Words(Vec<u8>),
    Any(String),
}

#[derive(Debug, Arbitrary)]
enum Importance {
    One,
    Small(u8),
    Any(f32),
}

#[derive(Debug, Arbitrary)]
enum Vector {
    None,
    /// Most of one length, some not.
    Embedding(i8, i8, i8),
    AnyEmbedding(Vec<f32>),
    Hypervector(u8),
    OfAnotherDimension,
}

#[derive(Debug, Arbitrary)]
struct Ask {
    target: Target,
    space: u8,
    pair: Option<(u8, u8)>,
    created: Option<(i64, i64)>,
    limit: Limit,
    tiers: u8,
    method: u8,
    touch: bool,
}

#[derive(Debug, Arbitrary)]
enum Target {
    Text(Text),
    Vector(Vector),
    Like(u8),
}

#[derive(Debug, Arbitrary)]
enum Limit {
    Few(u8),
    All,
}

impl Text {
    fn build(&self) -> String {
        const WORDS: [&str; 16] = [
            "boat",
            "boats",
            "blue",
            "Ada:",
            "keeper",
            "the",
            "sails",
            "weather",
            "journal",
            "Leuchtturm",
            "naïve",
            "\n",
            "Ben:",
            "7",
            "!",
            "storm",
        ];
        match self {
            Self::Words(words) => {
                let word = |at: &u8| WORDS[usize::from(*at) % WORDS.len()];
                words.iter().take(40).map(word).collect::<Vec<_>>().join(" ")
            }
            Self::Any(text) => text.clone(),
        }
    }
}

impl Vector {
    fn embedding(&self) -> Option<Vec<f32>> {
        match self {
            Self::Embedding(a, b, c) => Some([*a, *b, *c].map(f32::from).into()),
            Self::AnyEmbedding(values) => Some(values.clone()),
            _ => None,
        }
    }

    fn hypervector(&self, dimension: Dimension) -> Option<Hypervector> {
        match self {
            Self::Hypervector(seed) => Some(Hypervector::random(dimension, (*seed).into())),
            Self::OfAnotherDimension => {
                let other = Dimension::new(dimension.bits() * 2).expect("a dimension");
                Some(Hypervector::random(other, 1))
            }
            _ => None,
        }
    }
}

fn space(number: u8) -> Namespace {
    match number % 3 {
        0 => Namespace::default(),
        other => Namespace::new(format!("space {other}")).expect("a name"),
    }
}

fn pair(pair: (u8, u8)) -> (String, String) {
    (format!("k{}", pair.0 % 2), format!("v{}", pair.1 % 3))
}

/// A memory that must be there.
struct Held {
    space: Namespace,
    text: String,
    terms: TermCounts,
    metadata: Metadata,
    importance: f32,
    /// Known once it was looked at, where the engine's clock gave it.
    created: Option<Timestamp>,
    supplied: bool,
}

#[derive(Default)]
struct Model {
    memories: BTreeMap<MemoryId, Held>,
    spaces: BTreeSet<Namespace>,
    last: Option<MemoryId>,
    /// The length of embeddings, which the first one stored decides.
    embedding: Option<usize>,
}

/// Statistics by which every term is known.
struct Known;

impl TermStatistics for Known {
    fn documents(&self) -> u64 {
        2
    }

    fn document_frequency(&self, _: Term) -> u64 {
        1
    }
}

impl Model {
    /// Whether a vector can be stored or asked for.
    fn takes(&self, vector: &Vector) -> bool {
        match vector.embedding() {
            Some(values) => {
                let fits = self.embedding.is_none_or(|length| length == values.len());
                fits && values.iter().all(|value| value.is_finite())
                    && values.iter().any(|&value| value != 0.0)
            }
            None => !matches!(vector, Vector::OfAnotherDimension),
        }
    }

    /// The note as a memory, if it can be stored.
    fn memory(&self, note: &Note) -> Option<Held> {
        let text = note.text.build();
        let importance = note.importance();
        let terms = visible(&text).then(|| Document::new(&text).counts().ok())??;
        (importance > 0.0 && importance.is_finite() && self.takes(&note.vector)).then_some(())?;
        Some(Held {
            space: space(note.space),
            text,
            terms,
            metadata: note.pair.map(pair).into_iter().collect(),
            importance,
            created: note.created.map(Timestamp),
            supplied: !matches!(note.vector, Vector::None),
        })
    }

    fn keep(&mut self, id: MemoryId, held: Held, embedding: Option<usize>) {
        assert!(self.last.is_none_or(|last| last < id), "ids ascend");
        self.last = Some(id);
        self.spaces.insert(held.space.clone());
        self.embedding = self.embedding.or(embedding);
        self.memories.insert(id, held);
    }

    /// One that is there, or else one that never was.
    fn pick(&self, number: u8) -> MemoryId {
        let known: Vec<MemoryId> = self.memories.keys().copied().collect();
        known.get(usize::from(number)).copied().unwrap_or(MemoryId(u64::from(number) << 40))
    }
}

fn visible(text: &str) -> bool {
    !text.chars().all(|c| c.is_whitespace() || c.is_control())
}

impl Note {
    fn importance(&self) -> f32 {
        match self.importance {
            Importance::One => 1.0,
            Importance::Small(value) => f32::from(value) / 16.0,
            Importance::Any(value) => value,
        }
    }

    fn build(&self, dimension: Dimension) -> NewMemory {
        let mut memory =
            NewMemory::new(self.text.build()).namespace(space(self.space)).importance(self.importance());
        if let Some((key, value)) = self.pair.map(pair) {
            memory = memory.metadata(key, value);
        }
        if let Some(created) = self.created {
            memory = memory.created(Timestamp(created));
        }
        match (self.vector.embedding(), self.vector.hypervector(dimension)) {
            (Some(values), _) => memory.embedding(values),
            (_, Some(vector)) => memory.vector(vector),
            _ => memory,
        }
    }
}

/// What is asked for, as query and as filter of the model.
struct Asked {
    query: Query,
    valid: bool,
    space: Namespace,
    pair: Option<(String, String)>,
    created: Option<Range<i64>>,
    limit: usize,
    tiers: Vec<TierKind>,
    matches: Box<dyn Fn(&Held) -> bool>,
    /// Of a text; puts texts with equal scores in order.
    phrase: Option<Phrase>,
    /// Whether the search sees every memory: by either method for a text, by the oracle for a vector.
    exact: bool,
}

impl Ask {
    fn build(&self, model: &Model, dimension: Dimension) -> Asked {
        let nothing = || -> Box<dyn Fn(&Held) -> bool> { Box::new(|_| false) };
        let own = |supplied: bool| -> Box<dyn Fn(&Held) -> bool> {
            Box::new(move |held| held.supplied == supplied)
        };
        let mut phrase = None;
        let (query, valid, matches) = match &self.target {
            Target::Text(text) => {
                let text = text.build();
                phrase = Some(Phrase::new(&text));
                let terms = visible(&text).then(|| Question::new(&text, &Known).ok()).flatten();
                let valid = terms.is_some();
                let matches: Box<dyn Fn(&Held) -> bool> = match terms {
                    Some(asked) => {
                        Box::new(move |held| asked.terms().iter().any(|&(term, _)| held.terms.contains(term)))
                    }
                    None => nothing(),
                };
                (Query::text(text), valid, matches)
            }
            Target::Vector(vector) => match (vector.embedding(), vector.hypervector(dimension)) {
                (Some(values), _) => (Query::embedding(values), model.takes(vector), own(true)),
                (_, Some(asked)) => (Query::vector(asked), model.takes(vector), own(true)),
                _ => (Query::text(""), false, nothing()),
            },
            Target::Like(seed) => {
                (Query::like(Hypervector::random(dimension, (*seed).into())), true, own(false))
            }
        };
        let tiers: Vec<TierKind> = match self.tiers % 8 {
            0 => TierKind::ALL.into(),
            bits => TierKind::ALL.into_iter().filter(|tier| bits >> (*tier as u8) & 1 == 1).collect(),
        };
        let limit = match self.limit {
            Limit::Few(limit) => usize::from(limit % 6),
            Limit::All => usize::MAX,
        };
        let method = [Method::Exact, Method::Indexed][usize::from(self.method % 2)];
        let (pair, created) = (self.pair.map(pair), self.created.map(|(from, to)| from..to));
        let mut query =
            query.namespace(space(self.space)).limit(limit).tiers(&tiers).method(method).touch(self.touch);
        if let Some((key, value)) = &pair {
            query = query.metadata(key, value);
        }
        if let Some(range) = &created {
            query = query.created(Timestamp(range.start)..Timestamp(range.end));
        }
        let exact = phrase.is_some() || method == Method::Exact;
        let space = space(self.space);
        Asked { query, valid, space, pair, created, limit, tiers, matches, phrase, exact }
    }
}

impl Asked {
    fn admits(&self, held: &Held, tier: TierKind) -> bool {
        let created = held.created.expect("known");
        held.space == self.space
            && self.tiers.contains(&tier)
            && self.pair.as_ref().is_none_or(|(key, value)| held.metadata.get(key) == Some(value))
            && self.created.as_ref().is_none_or(|range| range.contains(&created.0))
            && (self.matches)(held)
    }
}

struct Run {
    engine: Option<Engine>,
    config: Config,
    folder: Option<tempfile::TempDir>,
    model: Model,
}

fuzz_target!(|input: Input| {
    let config = tiny().hot_capacity(if input.no_hot { 0 } else { tiny().hot_capacity });
    let folder = scratch();
    let folder = (input.place % 16 == 0).then_some(folder);
    let mut run = Run { engine: None, config, folder, model: Model::default() };
    run.open();
    for step in input.steps.into_iter().take(STEPS) {
        run.step(step);
    }
    run.check_all();
});

impl Run {
    fn open(&mut self) {
        let opened = match &self.folder {
            Some(folder) => Engine::open(folder.path(), self.config.clone()),
            None => Engine::in_memory(self.config.clone()),
        };
        self.engine = Some(opened.expect("an engine"));
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("open")
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Store(note) => self.store(&note),
            Step::StoreBatch(notes) => self.store_batch(&notes[..notes.len().min(20)]),
            Step::Recall(ask) => self.recall(&ask),
            Step::Synthesize(ask) => self.synthesize(&ask),
            Step::Get(number) => self.check(self.model.pick(number)),
            Step::Forget(number) => {
                let id = self.model.pick(number);
                let was_there = self.model.memories.remove(&id).is_some();
                assert_eq!(self.engine().forget(id).expect("forgets"), was_there);
                assert_eq!(self.engine().get(id).expect("a memory or none"), None);
            }
            Step::ForgetBatch(numbers) => {
                let ids: Vec<MemoryId> = numbers.iter().map(|&number| self.model.pick(number)).collect();
                let mut gone = self.engine().forget_batch(&ids).expect("forgets");
                gone.sort_unstable();
                let wanted: BTreeSet<MemoryId> = ids.into_iter().collect();
                let there: Vec<MemoryId> =
                    wanted.into_iter().filter(|id| self.model.memories.remove(id).is_some()).collect();
                assert_eq!(gone, there);
            }
            Step::Consolidate => {
                self.engine().consolidate().expect("consolidates");
                self.within_capacity();
            }
            Step::ConsolidateAt(days) => {
                let now = Timestamp::now().0.saturating_add(i64::from(days) * 86_400_000);
                self.engine().consolidate_at(Timestamp(now)).expect("consolidates");
                self.within_capacity();
            }
            Step::Compact => {
                self.engine().compact().expect("compacts");
                let Model { spaces, memories, .. } = &mut self.model;
                spaces.retain(|space| memories.values().any(|held| held.space == *space));
            }
            Step::Reopen => {
                if self.folder.is_some() {
                    self.engine.take().expect("open").close().expect("closes");
                    self.open();
                }
            }
        }
        self.check_counts();
    }

    fn store(&mut self, note: &Note) {
        let expected = self.model.memory(note);
        match (self.engine().store(note.build(self.config.dimension)).map(MemoryId::from), expected) {
            (Ok(id), Some(held)) => {
                self.model.keep(id, held, note.vector.embedding().map(|values| values.len()));
                self.check(id);
            }
            (Err(error), None) => assert_refused(&error),
            (Ok(id), None) => panic!("memory {id} should have been refused: {note:?}"),
            (Err(error), Some(_)) => panic!("refused a memory: {error}: {note:?}"),
        }
    }

    fn store_batch(&mut self, notes: &[Note]) {
        let mut embedding = self.model.embedding;
        let all: Option<Vec<Held>> = notes
            .iter()
            .map(|note| {
                let length = note.vector.embedding().map(|values| values.len());
                let fits = length.is_none_or(|length| *embedding.get_or_insert(length) == length);
                self.model.memory(note).filter(|_| fits)
            })
            .collect();
        let memories = notes.iter().map(|note| note.build(self.config.dimension)).collect();
        match (self.engine().store_batch(memories), all) {
            (Ok(ids), Some(all)) => {
                assert_eq!(ids.len(), all.len());
                for ((stored, held), note) in ids.iter().zip(all).zip(notes) {
                    self.model.keep(stored.id, held, note.vector.embedding().map(|values| values.len()));
                }
                ids.into_iter().for_each(|stored| self.check(stored.id));
            }
            (Err(error), None) => assert_refused(&error),
            (Ok(_), None) => panic!("a batch should have been refused: {notes:?}"),
            (Err(error), Some(_)) => panic!("refused a batch: {error}: {notes:?}"),
        }
    }

    /// A memory is there as it was stored, or not at all.
    fn check(&mut self, id: MemoryId) {
        let found = self.engine().get(id).expect("a memory or none");
        let (Some(found), Some(held)) = (&found, self.model.memories.get_mut(&id)) else {
            assert_eq!(found.is_some(), self.model.memories.contains_key(&id), "memory {id}");
            return;
        };
        let created = *held.created.get_or_insert(found.created);
        assert_eq!(
            (found.id, &found.namespace, &found.text, &found.metadata, found.created, found.importance),
            (id, &held.space, &held.text, &held.metadata, created, held.importance)
        );
    }

    fn check_counts(&self) {
        let stats = self.engine().stats();
        let held = self.model.memories.values();
        let of = |space: &Namespace| held.clone().filter(|held| held.space == *space).count();
        let spaces: Vec<(Namespace, usize)> =
            self.model.spaces.iter().map(|space| (space.clone(), of(space))).collect();
        assert_eq!((stats.total(), &stats.namespaces), (self.model.memories.len(), &spaces));
    }

    fn within_capacity(&self) {
        let [hot, warm, _] = self.engine().stats().memories;
        assert!(hot <= self.config.hot_capacity && warm <= self.config.warm_capacity, "{hot} {warm}");
    }

    fn recall(&mut self, ask: &Ask) {
        let asked = ask.build(&self.model, self.config.dimension);
        match self.engine().recall(&asked.query) {
            Ok(recall) => {
                assert!(asked.valid, "a query should have been refused: {ask:?}");
                self.check_hits(&asked, &recall, ask);
            }
            Err(error) => assert!(!asked.valid, "refused a query: {error}: {ask:?}"),
        }
    }

    fn check_hits(&self, asked: &Asked, recall: &Recall, ask: &Ask) {
        let tier_of = |id| self.engine().get(id).expect("a memory").expect("it is there").tier;
        let wanted: BTreeSet<MemoryId> = self
            .model
            .memories
            .iter()
            .filter(|(id, held)| asked.admits(held, tier_of(**id)))
            .map(|(id, _)| *id)
            .collect();
        let found: BTreeSet<MemoryId> = recall.hits.iter().map(|hit| hit.memory.id).collect();
        assert_eq!(found.len(), recall.hits.len(), "a memory is found twice");
        assert!(found.is_subset(&wanted), "found {found:?} instead of {wanted:?} by {ask:?}");
        if asked.limit >= wanted.len() || asked.exact {
            assert_eq!(
                found.len(),
                wanted.len().min(asked.limit),
                "found {found:?} of {wanted:?} by {ask:?}"
            );
        }
        assert!(recall.hits.iter().all(|hit| hit.score.is_finite()));
        // The best first; of equal texts the one with the phrase, then the newest.
        let place = |hit: &Hit| {
            let text = &hit.memory.text;
            let phrases = asked.phrase.as_ref().map(|phrase| Reverse(phrase.in_text(text)));
            (phrases, Reverse(hit.memory.id))
        };
        let in_order = |a: &Hit, b: &Hit| a.score > b.score || a.score == b.score && place(a) < place(b);
        assert!(recall.hits.is_sorted_by(in_order), "out of order by {ask:?}");
        for hit in &recall.hits {
            let held = &self.model.memories[&hit.memory.id];
            assert_eq!((&hit.memory.text, &hit.memory.metadata), (&held.text, &held.metadata));
        }
        assert!((-1.0..=1.0).contains(&recall.confidence), "confidence {}", recall.confidence);
    }

    fn synthesize(&mut self, ask: &Ask) {
        let asked = ask.build(&self.model, self.config.dimension);
        let synthesis = match self.engine().synthesize(&asked.query) {
            Ok(synthesis) => synthesis,
            Err(error) => return assert!(!asked.valid, "refused a query: {error}: {ask:?}"),
        };
        assert!(asked.valid);
        assert!((0.0..=1.0).contains(&synthesis.confidence), "confidence {}", synthesis.confidence);
        assert!((0.0..=1.0).contains(&synthesis.coherence), "coherence {}", synthesis.coherence);
        for fragment in &synthesis.fragments {
            let held = &self.model.memories[&fragment.memory.id];
            assert!(asked.admits(held, fragment.memory.tier), "a foreign fragment by {ask:?}");
            assert!(held.text.contains(&fragment.excerpt) && synthesis.text.contains(&fragment.excerpt));
        }
    }

    fn check_all(&mut self) {
        let ids: Vec<MemoryId> = self.model.memories.keys().copied().collect();
        ids.into_iter().for_each(|id| self.check(id));
        self.check_counts();
    }
}

/// What is refused is refused for what it is.
fn assert_refused(error: &Error) {
    assert!(
        matches!(
            error,
            Error::EmptyText { .. } | Error::Importance { .. } | Error::Hdv(_) | Error::Encode(_)
        ),
        "{error}"
    );
}
