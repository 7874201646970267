//! One memory: what a caller stores, and what comes back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::hdv::Hypervector;
use crate::key::{MemoryId, TierKind, Timestamp};

/// The most characters that a text may have.
pub const MAX_CHARS: usize = 100_000;

/// The most bytes that all keys and values of a memory's metadata may have
/// together.
pub const MAX_METADATA_BYTES: usize = 64 * 1024;

/// The most bytes of a namespace's name.
pub const MAX_NAMESPACE_BYTES: usize = 256;

/// Names and values that a recall can filter by.
pub type Metadata = BTreeMap<String, String>;

/// Whose memories: an agent's, a user's. No recall crosses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The namespace with this name.
    ///
    /// # Errors
    /// [`Error::Namespace`] if the name is empty or longer than
    /// [`MAX_NAMESPACE_BYTES`].
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_NAMESPACE_BYTES {
            return Err(Error::Namespace { received: name.len(), max: MAX_NAMESPACE_BYTES });
        }
        Ok(Self(name.into()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    /// The default namespace, `default`.
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A memory that was stored.
///
/// ```
/// use mnemocore::{Config, Engine};
///
/// let engine = Engine::in_memory(Config::default())?;
/// let stored = engine.store("The spare key is under the blue pot")?;
/// assert!(engine.get(stored.id)?.is_some() && engine.forget(stored)?);
/// # Ok::<(), mnemocore::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Stored {
    /// Its id.
    pub id: MemoryId,
}

impl Stored {
    pub(crate) fn new(id: MemoryId) -> Self {
        Self { id }
    }
}

impl From<Stored> for MemoryId {
    fn from(stored: Stored) -> Self {
        stored.id
    }
}

impl From<&Stored> for MemoryId {
    fn from(stored: &Stored) -> Self {
        stored.id
    }
}

/// A memory to be stored.
///
/// ```
/// use mnemocore::{Namespace, NewMemory};
///
/// let memory = NewMemory::new("Anna moved to Lisbon in May")
///     .namespace(Namespace::new("assistant-7")?)
///     .metadata("source", "chat")
///     .importance(2.0);
/// # Ok::<(), mnemocore::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NewMemory {
    pub(crate) text: String,
    pub(crate) namespace: Namespace,
    pub(crate) metadata: Metadata,
    pub(crate) created: Option<Timestamp>,
    pub(crate) importance: f32,
    pub(crate) vector: Supplied,
}

/// The vector that came with a memory, if any.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Supplied {
    /// None: the vector is derived from the text.
    #[default]
    Nothing,
    /// The user's own embedding, still to be projected.
    Embedding(Vec<f32>),
    /// A hypervector as it is.
    Hypervector(Hypervector),
}

impl NewMemory {
    /// A memory of `text`, of 1 to [`MAX_CHARS`] characters, one of them visible.
    /// If it starts with a label, as in "Ada: I sold the boat", it counts as said by Ada.
    /// [`Engine::store`](crate::Engine::store) reports a text that cannot be stored.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            namespace: Namespace::default(),
            metadata: Metadata::new(),
            created: None,
            importance: 1.0,
            vector: Supplied::Nothing,
        }
    }

    /// Sets the namespace, instead of the default one.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    /// Adds a pair that recalls can filter by; a later value of the same key
    /// replaces the earlier one.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets the time at which it happened; by default the time of the store.
    pub fn created(mut self, created: Timestamp) -> Self {
        self.created = Some(created);
        self
    }

    /// Sets the importance, the I of [`strength`](crate::strength). It must be positive, and is
    /// 1 by default.
    pub fn importance(mut self, importance: f32) -> Self {
        self.importance = importance;
        self
    }

    /// Adds your own embedding of the text, which the engine projects to a hypervector.
    ///
    /// [`Query::embedding`](crate::Query::embedding) finds the memory by it; its words still
    /// find it, too. All embeddings of a store must have the length of the first one, and should
    /// come from one model.
    pub fn embedding(mut self, embedding: Vec<f32>) -> Self {
        self.vector = Supplied::Embedding(embedding);
        self
    }

    /// Adds a hypervector of the engine's dimension, e.g. a
    /// [record of roles](crate::encoder::Encoder::record) or an
    /// [ordered text](crate::encoder::Encoder::encode_ordered).
    ///
    /// [`Query::vector`](crate::Query::vector) finds the memory by it; its words still find it,
    /// too.
    pub fn vector(mut self, vector: Hypervector) -> Self {
        self.vector = Supplied::Hypervector(vector);
        self
    }
}

impl From<&str> for NewMemory {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<&String> for NewMemory {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

impl From<String> for NewMemory {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// A stored memory, as recalls and `get` return it.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Its id.
    pub id: MemoryId,
    /// Its namespace.
    pub namespace: Namespace,
    /// The text, as it was stored.
    pub text: String,
    /// Its metadata.
    pub metadata: Metadata,
    /// The time at which it happened.
    pub created: Timestamp,
    /// Its importance.
    pub importance: f32,
    /// The tier that it is in now.
    pub tier: TierKind,
}
