//! One memory: what a caller stores, and what comes back.

use std::collections::BTreeMap;
use std::fmt;

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
pub struct Namespace(Box<str>);

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
    /// The namespace of whoever names none: `default`.
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a caller stores.
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
    /// If it starts with a label, as in "Ada: I sold the boat", it counts as said
    /// by Ada. What cannot be stored is reported by
    /// [`Engine::store`](crate::Engine::store).
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

    /// Puts it into a namespace other than the default one.
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

    /// When it happened; now, if it isn't said.
    pub fn created(mut self, created: Timestamp) -> Self {
        self.created = Some(created);
        self
    }

    /// How much it matters, the I of [`strength`](crate::tier::strength);
    /// positive, 1 by default.
    pub fn importance(mut self, importance: f32) -> Self {
        self.importance = importance;
        self
    }

    /// Gives it the user's own embedding of the text, which is projected to a
    /// hypervector. It is found by [`Query::embedding`](crate::Query::embedding)
    /// then, and still by its words. All embeddings of a store have the length of
    /// the first one, and should come from one model.
    pub fn embedding(mut self, embedding: Vec<f32>) -> Self {
        self.vector = Supplied::Embedding(embedding);
        self
    }

    /// Gives it a hypervector of the engine's dimension: a
    /// [record of roles](crate::encoder::Encoder::record), say, or an
    /// [ordered text](crate::encoder::Encoder::encode_ordered). It is found by
    /// [`Query::vector`](crate::Query::vector) then, and still by its words.
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

impl From<String> for NewMemory {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// A memory as it comes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Its id.
    pub id: MemoryId,
    /// Whose it is.
    pub namespace: Namespace,
    /// The text, as it was stored.
    pub text: String,
    /// Its metadata.
    pub metadata: Metadata,
    /// When it happened.
    pub created: Timestamp,
    /// How much it matters.
    pub importance: f32,
    /// Where it is now.
    pub tier: TierKind,
}
