//! A handle that is confined to one namespace, for an agent that must not see the memories of
//! others.

use super::{Engine, Query, Recall, Synthesis};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::key::MemoryId;
use crate::log::Durability;
use crate::memory::{Memory, Namespace, NewMemory, Stored};

/// The verbs of an [`Engine`] within one namespace, whatever namespace a memory
/// or a query names, and whatever ids are asked for.
///
/// Give each user of a server a scope of their own. `AsyncEngine::scope` returns one that moves into tasks.
///
/// ```
/// use mnemocore::{Config, Engine, Namespace};
///
/// let engine = Engine::in_memory(Config::default())?;
/// let ada = engine.scope(Namespace::new("ada")?);
/// let bob = engine.scope(Namespace::new("bob")?);
/// let id = ada.store("The code of the safe is 4711")?;
///
/// assert_eq!(ada.recall("What is the code?")?.hits.len(), 1);
/// assert!(bob.recall("What is the code?")?.hits.is_empty());
/// assert!(bob.get(id)?.is_none());
/// assert!(!bob.forget(id)?);
/// # Ok::<(), mnemocore::Error>(())
/// ```
#[derive(Clone)]
pub struct Scope<'e> {
    engine: &'e Engine,
    namespace: Namespace,
}

impl Engine {
    /// Returns a handle for one namespace, which reaches no memory of another one.
    pub fn scope(&self, namespace: Namespace) -> Scope<'_> {
        Scope { engine: self, namespace }
    }
}

impl Scope<'_> {
    /// Returns the namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// As [`Engine::store`].
    ///
    /// # Errors
    /// As [`Engine::store`].
    pub fn store(&self, memory: impl Into<NewMemory>) -> Result<Stored, Error> {
        self.engine.store(memory.into().namespace(self.namespace.clone()))
    }

    /// As [`Engine::store_with`].
    ///
    /// # Errors
    /// As [`Engine::store`].
    pub fn store_with(&self, memory: impl Into<NewMemory>, durability: Durability) -> Result<Stored, Error> {
        self.engine.store_with(memory.into().namespace(self.namespace.clone()), durability)
    }

    /// As [`Engine::store_batch`].
    ///
    /// # Errors
    /// As [`Engine::store_batch`].
    pub fn store_batch(&self, memories: Vec<NewMemory>) -> Result<Vec<Stored>, Error> {
        let ours = memories.into_iter().map(|memory| memory.namespace(self.namespace.clone()));
        self.engine.store_batch(ours.collect())
    }

    /// As [`Engine::recall`].
    ///
    /// # Errors
    /// As [`Engine::recall`].
    pub fn recall(&self, query: impl Into<Query>) -> Result<Recall, Error> {
        self.engine.recall(query.into().namespace(self.namespace.clone()))
    }

    /// As [`Engine::synthesize`].
    ///
    /// # Errors
    /// As [`Engine::synthesize`].
    pub fn synthesize(&self, query: impl Into<Query>) -> Result<Synthesis, Error> {
        self.engine.synthesize(query.into().namespace(self.namespace.clone()))
    }

    /// As [`Engine::get`]; `None` also for a memory of another namespace.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get(&self, id: impl Into<MemoryId>) -> Result<Option<Memory>, Error> {
        self.engine.get_within(Some(&self.namespace), id.into())
    }

    /// As [`Engine::vector`]; `None` also for a memory of another namespace.
    ///
    /// # Errors
    /// As [`Engine::vector`].
    pub fn vector(&self, id: impl Into<MemoryId>) -> Result<Option<Hypervector>, Error> {
        self.engine.vector_within(Some(&self.namespace), id.into())
    }

    /// As [`Engine::forget`]; a memory of another namespace stays.
    ///
    /// # Errors
    /// As [`Engine::forget`].
    pub fn forget(&self, id: impl Into<MemoryId>) -> Result<bool, Error> {
        Ok(!self.forget_batch([id.into()])?.is_empty())
    }

    /// As [`Engine::forget_batch`]; memories of other namespaces stay.
    ///
    /// # Errors
    /// As [`Engine::forget_batch`].
    pub fn forget_batch(
        &self,
        ids: impl IntoIterator<Item = impl Into<MemoryId>>,
    ) -> Result<Vec<MemoryId>, Error> {
        self.engine.forget_within(Some(&self.namespace), ids.into_iter().map(Into::into).collect())
    }
}
