//! `forget`: out of every tier at once, off the disk with the next compaction.

use super::Engine;
use super::writer::Work;
use crate::error::Error;
use crate::key::MemoryId;

impl Engine {
    /// Forgets a memory, and returns whether it was there.
    ///
    /// Ids are consecutive numbers from 0 over all namespaces, so this forgets the memories of every user.
    /// [`Scope::forget`](crate::Scope::forget) forgets those of one.
    ///
    /// A recall that begins after `forget` has returned does not find the memory. Its text may
    /// stay in files that no recall reads until [`Engine::compact`] has run.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Io`] or [`Error::Log`] if the disk refuses the change. The
    /// memory is still there then.
    pub fn forget(&self, id: impl Into<MemoryId>) -> Result<bool, Error> {
        Ok(!self.forget_batch([id.into()])?.is_empty())
    }

    /// Forgets many memories at once, all or none, and returns those that were there. As [`Engine::forget`], this
    /// crosses namespaces.
    ///
    /// # Errors
    /// As [`Engine::forget`].
    pub fn forget_batch(
        &self,
        ids: impl IntoIterator<Item = impl Into<MemoryId>>,
    ) -> Result<Vec<MemoryId>, Error> {
        let shared = self.shared()?;
        let ids = ids.into_iter().map(Into::into).collect();
        shared.submit(Work::Forget(ids), shared.config.durability)
    }
}
