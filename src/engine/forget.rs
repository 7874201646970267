//! `forget`: out of every tier at once, off the disk with the next compaction.

use super::Engine;
use super::writer::Work;
use crate::error::Error;
use crate::key::MemoryId;

impl Engine {
    /// Forgets a memory and says whether it was there.
    ///
    /// When it returns, no recall that begins finds the memory, in any tier. Its
    /// text may still lie in files that no recall reads, until
    /// [`Engine::compact`] has run.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Io`] or [`Error::Log`] when the disk refuses
    /// it; the memory is still there then.
    pub fn forget(&self, id: MemoryId) -> Result<bool, Error> {
        Ok(!self.forget_batch(&[id])?.is_empty())
    }

    /// Forgets many memories at once, all or none; returns those that were there.
    ///
    /// # Errors
    /// As [`Engine::forget`].
    pub fn forget_batch(&self, ids: &[MemoryId]) -> Result<Vec<MemoryId>, Error> {
        let shared = self.shared()?;
        shared.submit(Work::Forget(ids.to_vec()), shared.config.durability)
    }
}
