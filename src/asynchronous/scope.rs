//! A handle for one namespace that moves into a task.

use super::AsyncEngine;
use crate::engine::{Query, Recall, Scope, Synthesis};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::key::MemoryId;
use crate::log::Durability;
use crate::memory::{Memory, Namespace, NewMemory, Stored};

/// The verbs of a [`Scope`], asynchronously. It owns its part in the engine, so it moves into tasks. A clone is
/// another handle to the same namespace.
///
/// Give each user of a server a scope of their own. No verb of a scope reads, forgets or counts a memory of
/// another namespace, whatever id or namespace the user sends.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use mnemocore::{AsyncEngine, Config, Namespace};
///
/// let engine = AsyncEngine::in_memory(Config::default()).await?;
/// let ada = engine.scope(Namespace::new("ada")?);
/// let bob = engine.scope(Namespace::new("bob")?);
/// let task = tokio::spawn(async move { ada.store("The code of the safe is 4711").await });
/// let id = task.await.unwrap()?;
///
/// assert!(bob.recall("What is the code?").await?.hits.is_empty());
/// assert!(bob.get(id).await?.is_none());
/// assert!(!bob.forget(id).await?);
/// # Ok::<(), mnemocore::Error>(())
/// # }).unwrap();
/// ```
///
/// # Panics
/// As [`AsyncEngine`].
#[derive(Clone)]
pub struct AsyncScope {
    engine: AsyncEngine,
    namespace: Namespace,
}

impl AsyncEngine {
    /// Returns a handle for one namespace, as [`Engine::scope`](crate::Engine::scope) does.
    pub fn scope(&self, namespace: Namespace) -> AsyncScope {
        AsyncScope { engine: self.clone(), namespace }
    }
}

impl AsyncScope {
    /// Returns the namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// As [`Scope::store`].
    ///
    /// # Errors
    /// As [`Scope::store`].
    pub async fn store(&self, memory: impl Into<NewMemory>) -> Result<Stored, Error> {
        let memory = memory.into();
        self.with(move |scope| scope.store(memory)).await
    }

    /// As [`Scope::store_with`].
    ///
    /// # Errors
    /// As [`Scope::store`].
    pub async fn store_with(
        &self,
        memory: impl Into<NewMemory>,
        durability: Durability,
    ) -> Result<Stored, Error> {
        let memory = memory.into();
        self.with(move |scope| scope.store_with(memory, durability)).await
    }

    /// As [`Scope::store_batch`].
    ///
    /// # Errors
    /// As [`Scope::store_batch`].
    pub async fn store_batch(&self, memories: Vec<NewMemory>) -> Result<Vec<Stored>, Error> {
        self.with(move |scope| scope.store_batch(memories)).await
    }

    /// As [`Scope::recall`].
    ///
    /// # Errors
    /// As [`Scope::recall`].
    pub async fn recall(&self, query: impl Into<Query>) -> Result<Recall, Error> {
        let query = query.into();
        self.with(move |scope| scope.recall(query)).await
    }

    /// As [`Scope::synthesize`].
    ///
    /// # Errors
    /// As [`Scope::synthesize`].
    pub async fn synthesize(&self, query: impl Into<Query>) -> Result<Synthesis, Error> {
        let query = query.into();
        self.with(move |scope| scope.synthesize(query)).await
    }

    /// As [`Scope::get`].
    ///
    /// # Errors
    /// As [`Scope::get`].
    pub async fn get(&self, id: impl Into<MemoryId>) -> Result<Option<Memory>, Error> {
        let id = id.into();
        self.with(move |scope| scope.get(id)).await
    }

    /// As [`Scope::vector`].
    ///
    /// # Errors
    /// As [`Scope::vector`].
    pub async fn vector(&self, id: impl Into<MemoryId>) -> Result<Option<Hypervector>, Error> {
        let id = id.into();
        self.with(move |scope| scope.vector(id)).await
    }

    /// As [`Scope::forget`].
    ///
    /// # Errors
    /// As [`Scope::forget`].
    pub async fn forget(&self, id: impl Into<MemoryId>) -> Result<bool, Error> {
        let id = id.into();
        self.with(move |scope| scope.forget(id)).await
    }

    /// As [`Scope::forget_batch`].
    ///
    /// # Errors
    /// As [`Scope::forget_batch`].
    pub async fn forget_batch(
        &self,
        ids: impl IntoIterator<Item = impl Into<MemoryId>>,
    ) -> Result<Vec<MemoryId>, Error> {
        let ids: Vec<MemoryId> = ids.into_iter().map(Into::into).collect();
        self.with(move |scope| scope.forget_batch(ids)).await
    }

    /// Returns the scope itself, for what [`AsyncEngine::blocking`] is for.
    pub fn blocking(&self) -> Scope<'_> {
        self.engine.blocking().scope(self.namespace.clone())
    }

    async fn with<T: Send + 'static>(&self, act: impl FnOnce(&Scope<'_>) -> T + Send + 'static) -> T {
        let namespace = self.namespace.clone();
        self.engine.with(move |engine| act(&engine.scope(namespace))).await
    }
}
