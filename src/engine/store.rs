//! `store`: check, encode, commit.

use std::sync::Arc;

use rayon::prelude::*;

use super::writer::{Prepared, Work};
use super::{Engine, Shared};
use crate::encoder::{Document, Projection, Term, TermVector};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::index::Row;
use crate::index::postings::MAX_WEIGHT;
use crate::key::{MemoryId, NamespaceId, Timestamp};
use crate::log::{Durability, Record};
use crate::memory::{MAX_CHARS, MAX_METADATA_BYTES, Metadata, NewMemory, Stored, Supplied};
use crate::tier::Admission;

/// Words of a vector in its sketch: 512 bits.
const SKETCH_WORDS: usize = 8;

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
        let (shared, memory) = (self.shared()?, memory.into());
        let projection = shared.projection_of(std::slice::from_ref(&memory))?;
        let prepared = shared.prepare(memory, Timestamp::now(), projection.as_ref())?;
        let ids = shared.submit(Work::Store(vec![prepared]), durability)?;
        Ok(Stored::new(ids.into_iter().next().unwrap_or_default()))
    }

    /// Stores many memories at once, all or none; their ids ascend in the order
    /// given.
    ///
    /// # Errors
    /// As [`Engine::store`], for the first that cannot be stored.
    pub fn store_batch(&self, memories: Vec<NewMemory>) -> Result<Vec<Stored>, Error> {
        let (shared, now) = (self.shared()?, Timestamp::now());
        let projection = shared.projection_of(&memories)?;
        let prepare = |memory| shared.prepare(memory, now, projection.as_ref());
        let prepared: Result<Vec<Prepared>, Error> = if memories.len() < PARALLEL {
            memories.into_iter().map(prepare).collect()
        } else {
            memories.into_par_iter().map(prepare).collect()
        };
        let ids = match prepared? {
            none if none.is_empty() => Vec::new(),
            prepared => shared.submit(Work::Store(prepared), shared.config.durability)?,
        };
        Ok(ids.into_iter().map(Stored::new).collect())
    }
}

impl Shared {
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
        let (row, vector) =
            self.encode(MemoryId::default(), &record, supplied.as_ref().map(Hypervector::words))?;
        Ok(Prepared { namespace, record, row, vector, projection })
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

    /// Returns the index row of a record, and its vector.
    fn encode(
        &self,
        id: MemoryId,
        record: &Record,
        supplied: Option<&[u64]>,
    ) -> Result<(Row, Arc<[u64]>), Error> {
        let document = Document::new(&record.text).analyze()?;
        let vector: Arc<[u64]> = match supplied {
            Some(words) => words.into(),
            None => self.encoder.encode(&document)?.words().into(),
        };
        #[cfg(feature = "inject")]
        crate::inject::hold(size_of_val(&*vector) + record.text.len());
        let row = Row {
            id,
            created: record.created.0,
            norm: document.norm(),
            supplied: record.supplied,
            terms: terms(&document, &record.metadata),
            sketch: vector.iter().take(SKETCH_WORDS).copied().collect(),
        };
        Ok((row, vector))
    }

    /// Prepares a record of the log for a tier.
    pub(super) fn admission(&self, id: MemoryId, record: Arc<[u8]>) -> Result<Admission, Error> {
        let decoded = Record::decode(&record)?;
        let supplied = if decoded.supplied { self.log.supplied_vector(id)? } else { None };
        let (row, vector) = self.encode(id, &decoded, supplied.as_deref())?;
        Ok(Admission { row, vector, record })
    }
}

/// Adds the terms to what a tier has [held](crate::tier::Tier::held).
pub(super) fn complete(held: &mut Admission) -> Result<(), Error> {
    let record = Record::decode(&held.record)?;
    held.row.terms = terms(&Document::new(&record.text).analyze()?, &record.metadata);
    Ok(())
}

/// The terms under which a memory is listed.
fn terms(document: &TermVector, metadata: &Metadata) -> Vec<(Term, u16)> {
    let pairs = metadata.iter().map(|(key, value)| (Term::metadata(key, value), 0));
    document.shares(MAX_WEIGHT).into_iter().chain(pairs).collect()
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
    if text.chars().all(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::EmptyText { received: text.chars().count() });
    }
    Ok(())
}

fn check_size(metadata: &Metadata) -> Result<(), Error> {
    let received = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if received > MAX_METADATA_BYTES {
        return Err(Error::MetadataTooLarge { received, max: MAX_METADATA_BYTES });
    }
    Ok(())
}
