//! `store`: check, encode, commit.

use std::sync::Arc;

use rayon::prelude::*;

use super::observe::only;
use super::writer::{Prepared, Work};
use super::{Engine, Shared};
use crate::encoder::{Count, Document, Projection, Term, TermCounts, TermVector};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::key::{MemoryId, NamespaceId, Timestamp};
use crate::log::{Durability, Record};
use crate::memory::{MAX_CHARS, MAX_METADATA_BYTES, Metadata, NewMemory, Stored, Supplied};
use crate::segment::{PreparedMemory, Row, SKETCH_BITS};
use crate::telemetry::{Outcome, Verb};

/// Batches of at least this size are encoded by several threads.
const PARALLEL: usize = 64;

impl Engine {
    /// Stores a memory and returns once it is visible to every recall
    /// and as durable as [`Config::durability`](crate::Config::durability) says.
    ///
    /// # Errors
    /// [`Error::EmptyText`], [`Error::TextTooLong`], [`Error::MetadataTooLarge`],
    /// [`Error::Importance`], [`Error::Encode`] or [`Error::Hdv`] for what
    /// cannot be stored; [`Error::NoSpace`], [`Error::Io`] or [`Error::Log`] when
    /// the disk refuses it; [`Error::Moved`] if the store's folder is not there any more.
    /// Nothing is stored then.
    pub fn store(&self, memory: impl Into<NewMemory>) -> Result<Stored, Error> {
        self.store_with(memory, self.shared.config.durability)
    }

    /// As [`Engine::store`], with the given durability.
    ///
    /// # Errors
    /// As [`Engine::store`].
    pub fn store_with(&self, memory: impl Into<NewMemory>, durability: Durability) -> Result<Stored, Error> {
        #[cfg(feature = "inject")]
        let _slowed = crate::inject::slow("store");
        let memory = memory.into();
        let call = self.begin(Verb::Store, Some(&memory.namespace))?;
        self.end(call, self.shared.store(memory, durability), |_| Outcome::of(1))
    }

    /// Stores many memories at once, all or none; their ids ascend in the order
    /// given.
    ///
    /// # Errors
    /// As [`Engine::store`], for the first that cannot be stored.
    pub fn store_batch(&self, memories: Vec<NewMemory>) -> Result<Vec<Stored>, Error> {
        let call = self.begin(Verb::StoreBatch, only(memories.iter().map(|memory| &memory.namespace)))?;
        self.end(call, self.shared.store_batch(memories), |stored| Outcome::of(stored.len()))
    }
}

impl Shared {
    fn store(&self, memory: NewMemory, durability: Durability) -> Result<Stored, Error> {
        let projection = self.projection_of(std::slice::from_ref(&memory))?;
        let prepared = self.prepare(memory, Timestamp::now(), projection.as_ref())?;
        let ids = self.submit(Work::Store(vec![prepared]), durability)?;
        self.tally.stores.add(1);
        Ok(Stored::new(ids.into_iter().next().unwrap_or_default()))
    }

    fn store_batch(&self, memories: Vec<NewMemory>) -> Result<Vec<Stored>, Error> {
        let (now, projection) = (Timestamp::now(), self.projection_of(&memories)?);
        let prepare = |memory| self.prepare(memory, now, projection.as_ref());
        let prepared: Result<Vec<Prepared>, Error> = if memories.len() < PARALLEL {
            memories.into_iter().map(prepare).collect()
        } else {
            memories.into_par_iter().map(prepare).collect()
        };
        let ids = match prepared? {
            none if none.is_empty() => Vec::new(),
            prepared => self.submit(Work::Store(prepared), self.config.durability)?,
        };
        self.tally.stores.add(ids.len());
        Ok(ids.into_iter().map(Stored::new).collect())
    }

    /// Checks and encodes a memory. `projection` encodes an embedding.
    fn prepare(
        &self,
        memory: NewMemory,
        now: Timestamp,
        projection: Option<&Arc<Projection>>,
    ) -> Result<Prepared, Error> {
        let NewMemory { text, namespace, metadata, created, importance, vector } = memory;
        check_text(&text)?;
        check_size(&metadata)?;
        if !(importance > 0.0 && importance.is_finite()) {
            return Err(Error::Importance { received: importance });
        }
        let (supplied, projection) = match vector {
            Supplied::Nothing => (None, None),
            Supplied::Embedding(values) => {
                (projection.map(|projection| projection.project(&values)).transpose()?, projection.cloned())
            }
            Supplied::Hypervector(vector) => (Some(self.fitting(vector)?), None),
        };
        let record = Record {
            // Set by the writer, which knows the numbers of the namespaces.
            namespace: NamespaceId::default(),
            created: created.unwrap_or(now),
            importance,
            supplied: supplied.is_some(),
            text,
            metadata,
        };
        let vector = supplied.as_ref().map(Hypervector::words);
        let row = self.row(MemoryId::default(), &record, vector, 1)?;
        Ok(Prepared { namespace, record: record.encode(), row, vector: vector.map(Arc::from), projection })
    }

    /// Returns the projection for the embeddings of `memories`, if there are any. It is the
    /// engine's, or a new one for the length of the first embedding. The new one becomes the
    /// engine's when the memories are committed.
    fn projection_of(&self, memories: &[NewMemory]) -> Result<Option<Arc<Projection>>, Error> {
        if let Some(projection) = self.projection.get() {
            return Ok(Some(projection.clone()));
        }
        let first = memories.iter().find_map(|memory| match &memory.vector {
            Supplied::Embedding(values) => Some(values.len()),
            _ => None,
        });
        let new = |length| Projection::new(length, self.config.dimension).map(Arc::new);
        Ok(first.map(new).transpose()?)
    }

    /// Returns the vector if it has the engine's dimension.
    pub(super) fn fitting(&self, vector: Hypervector) -> Result<Hypervector, Error> {
        let (expected, received) = (self.config.dimension.bits(), vector.dimension().bits());
        if expected == received {
            Ok(vector)
        } else {
            Err(crate::hdv::HdvError::DimensionMismatch { expected, received }.into())
        }
    }

    /// Returns the index row of a record.
    fn row(
        &self,
        id: MemoryId,
        record: &Record,
        supplied: Option<&[u64]>,
        accesses: u32,
    ) -> Result<Row, Error> {
        let counts = Document::new(&record.text).counts()?;
        let sketch = match supplied {
            Some(vector) => vector.iter().take(SKETCH_BITS / 64).copied().collect(),
            None => self.sketcher.encode(&TermVector::from(&counts))?.words().into(),
        };
        #[cfg(feature = "inject")]
        crate::inject::hold(supplied.map_or(0, size_of_val) + record.text.len());
        Ok(Row {
            id,
            created: record.created.0,
            importance: record.importance,
            accesses,
            length: counts.length(),
            supplied: record.supplied,
            terms: terms(&counts, &record.metadata).into(),
            sketch,
        })
    }

    /// Prepares a memory of the log, which was accessed so often, for a tier.
    pub(super) fn prepared(
        &self,
        id: MemoryId,
        record: Arc<[u8]>,
        accesses: u32,
    ) -> Result<Arc<PreparedMemory>, Error> {
        let decoded = Record::decode(&record)?;
        let supplied = if decoded.supplied { self.log.supplied_vector(id)? } else { None };
        let row = self.row(id, &decoded, supplied.as_deref(), accesses)?;
        Ok(Arc::new(PreparedMemory { row, vector: supplied.map(Arc::from), record }))
    }

    /// As [`Shared::prepared`], with the record from the log; `None` if it was forgotten.
    pub(super) fn prepared_from_log(
        &self,
        id: MemoryId,
        accesses: u32,
    ) -> Result<Option<Arc<PreparedMemory>>, Error> {
        let record = self.log.record(id)?;
        record.map(|record| self.prepared(id, record, accesses)).transpose()
    }
}

/// The terms under which a memory is listed.
fn terms(text: &TermCounts, metadata: &Metadata) -> Vec<(Term, Count)> {
    let pairs = metadata.iter().map(|(key, value)| (Term::metadata(key, value), Count::NONE));
    text.terms().iter().copied().chain(pairs).collect()
}

/// Refuses a text without a visible character, or a longer one than is taken.
///
/// # Errors
/// [`Error::TextTooLong`] or [`Error::EmptyText`].
pub fn check_text(text: &str) -> Result<(), Error> {
    // No text of this many bytes has more characters.
    let length = if text.len() <= MAX_CHARS { text.len() } else { text.chars().count() };
    if length > MAX_CHARS {
        return Err(Error::TextTooLong { received: length, max: MAX_CHARS });
    }
    if text.chars().all(is_invisible) {
        return Err(Error::EmptyText { received: text.chars().count() });
    }
    Ok(())
}

/// Whether a character shows nothing: white space, a control character, one that Unicode 16 calls
/// a default ignorable code point, or the blank Braille pattern.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
            | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

fn check_size(metadata: &Metadata) -> Result<(), Error> {
    let received = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if received > MAX_METADATA_BYTES {
        return Err(Error::MetadataTooLarge { received, max: MAX_METADATA_BYTES });
    }
    Ok(())
}
