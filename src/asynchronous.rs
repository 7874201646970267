//! The engine for tokio: every verb runs on the pool for blocking work, so that
//! no task waits for a disk.

mod scope;

use std::sync::Arc;

use tokio::task::spawn_blocking;

pub use self::scope::AsyncScope;
use crate::config::Config;
use crate::engine::{Consolidation, Engine, Query, Recall, Stats, Synthesis};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::key::MemoryId;
use crate::log::Durability;
use crate::memory::{Memory, NewMemory, Stored};

/// An [`Engine`] behind asynchronous verbs; a clone is another handle to the
/// same engine.
///
/// Dropping a future does not stop what it has begun: a store is done or not
/// done as a whole.
///
/// A server with several users gives each of them an [`AsyncScope`]. The verbs of the engine itself are for who may
/// see everything: [`get`](Self::get), [`vector`](Self::vector) and [`forget`](Self::forget) find a memory by its
/// id in all namespaces, and ids are easy to guess.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use mnemocore::{AsyncEngine, Config};
///
/// let engine = AsyncEngine::in_memory(Config::default()).await?;
/// engine.store("The spare key is under the blue pot").await?;
/// let recall = engine.recall("Where is the spare key?").await?;
/// assert_eq!(recall.hits.len(), 1);
/// # Ok::<(), mnemocore::Error>(())
/// # }).unwrap();
/// ```
///
/// # Panics
/// All methods panic outside of a tokio runtime, and when the runtime is shut
/// down while they wait.
#[derive(Clone)]
pub struct AsyncEngine {
    engine: Arc<Engine>,
}

impl AsyncEngine {
    /// As [`Engine::open`].
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub async fn open(path: impl Into<std::path::PathBuf>, config: Config) -> Result<Self, Error> {
        let path = path.into();
        run(move || Engine::open(path, config)).await.map(Self::from)
    }

    /// As [`Engine::in_memory`].
    ///
    /// # Errors
    /// As [`Engine::in_memory`].
    pub async fn in_memory(config: Config) -> Result<Self, Error> {
        run(move || Engine::in_memory(config)).await.map(Self::from)
    }

    /// As [`Engine::store`].
    ///
    /// # Errors
    /// As [`Engine::store`].
    pub async fn store(&self, memory: impl Into<NewMemory>) -> Result<Stored, Error> {
        let memory = memory.into();
        self.with(move |engine| engine.store(memory)).await
    }

    /// As [`Engine::store_batch`].
    ///
    /// # Errors
    /// As [`Engine::store_batch`].
    pub async fn store_batch(&self, memories: Vec<NewMemory>) -> Result<Vec<Stored>, Error> {
        self.with(move |engine| engine.store_batch(memories)).await
    }

    /// As [`Engine::store_with`].
    ///
    /// # Errors
    /// As [`Engine::store`].
    pub async fn store_with(
        &self,
        memory: impl Into<NewMemory>,
        durability: Durability,
    ) -> Result<Stored, Error> {
        let memory = memory.into();
        self.with(move |engine| engine.store_with(memory, durability)).await
    }

    /// As [`Engine::recall`].
    ///
    /// # Errors
    /// As [`Engine::recall`].
    pub async fn recall(&self, query: impl Into<Query>) -> Result<Recall, Error> {
        let query = query.into();
        self.with(move |engine| engine.recall(query)).await
    }

    /// As [`Engine::synthesize`].
    ///
    /// # Errors
    /// As [`Engine::synthesize`].
    pub async fn synthesize(&self, query: impl Into<Query>) -> Result<Synthesis, Error> {
        let query = query.into();
        self.with(move |engine| engine.synthesize(query)).await
    }

    /// As [`Engine::get`], which crosses namespaces. For the memories of one user, call [`AsyncScope::get`].
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub async fn get(&self, id: impl Into<MemoryId>) -> Result<Option<Memory>, Error> {
        let id = id.into();
        self.with(move |engine| engine.get(id)).await
    }

    /// As [`Engine::vector`], which crosses namespaces. For the memories of one user, call [`AsyncScope::vector`].
    ///
    /// # Errors
    /// As [`Engine::vector`].
    pub async fn vector(&self, id: impl Into<MemoryId>) -> Result<Option<Hypervector>, Error> {
        let id = id.into();
        self.with(move |engine| engine.vector(id)).await
    }

    /// As [`Engine::forget`], which crosses namespaces. For the memories of one user, call [`AsyncScope::forget`].
    ///
    /// # Errors
    /// As [`Engine::forget`].
    pub async fn forget(&self, id: impl Into<MemoryId>) -> Result<bool, Error> {
        let id = id.into();
        self.with(move |engine| engine.forget(id)).await
    }

    /// As [`Engine::forget_batch`], which crosses namespaces. For the memories of one user, call
    /// [`AsyncScope::forget_batch`].
    ///
    /// # Errors
    /// As [`Engine::forget_batch`].
    pub async fn forget_batch(
        &self,
        ids: impl IntoIterator<Item = impl Into<MemoryId>>,
    ) -> Result<Vec<MemoryId>, Error> {
        let ids: Vec<MemoryId> = ids.into_iter().map(Into::into).collect();
        self.with(move |engine| engine.forget_batch(ids)).await
    }

    /// As [`Engine::consolidate`].
    ///
    /// # Errors
    /// As [`Engine::consolidate`].
    pub async fn consolidate(&self) -> Result<Consolidation, Error> {
        self.with(Engine::consolidate).await
    }

    /// As [`Engine::compact`].
    ///
    /// # Errors
    /// As [`Engine::compact`].
    pub async fn compact(&self) -> Result<(), Error> {
        self.with(Engine::compact).await
    }

    /// As [`Engine::stats`].
    pub async fn stats(&self) -> Stats {
        self.with(Engine::stats).await
    }

    /// Returns the engine itself, for what has no asynchronous form.
    ///
    /// It also serves tasks that recall often. A recall of a local store takes about 0.1 ms. The hand-over to
    /// the pool and back wakes two threads, which can take as long. `block_in_place` of tokio, on a
    /// runtime of several threads, has no hand-over. The task does nothing else meanwhile.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
    /// # use mnemocore::{AsyncEngine, Config};
    /// # let engine = AsyncEngine::in_memory(Config::default()).await?;
    /// engine.store("The spare key is under the blue pot").await?;
    /// let recall = tokio::task::block_in_place(|| engine.blocking().recall("Where is the spare key?"))?;
    /// assert_eq!(recall.hits.len(), 1);
    /// # Ok::<(), mnemocore::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn blocking(&self) -> &Engine {
        &self.engine
    }

    async fn with<T: Send + 'static>(&self, act: impl FnOnce(&Engine) -> T + Send + 'static) -> T {
        let engine = self.engine.clone();
        run(move || act(&engine)).await
    }
}

impl From<Engine> for AsyncEngine {
    fn from(engine: Engine) -> Self {
        Self { engine: Arc::new(engine) }
    }
}

async fn run<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(act).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(ended) => panic!("the runtime was shut down: {ended}"),
        },
    }
}
