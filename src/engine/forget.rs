//! `forget`: out of every tier at once, off the disk with the next compaction.

use super::observe::only;
use super::writer::Work;
use super::{Engine, Shared};
use crate::error::Error;
use crate::key::MemoryId;
use crate::memory::Namespace;
use crate::telemetry::{Call, Outcome, Verb};

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
        self.forget_within(None, ids.into_iter().map(Into::into).collect())
    }

    /// As [`Engine::forget_batch`], within one namespace if one is given.
    pub(super) fn forget_within(
        &self,
        own: Option<&Namespace>,
        ids: Vec<MemoryId>,
    ) -> Result<Vec<MemoryId>, Error> {
        let call = self.begin(Verb::Forget, own)?;
        let forgotten = self.shared.forget(own, ids, &call);
        self.end(call, forgotten, |ids| Outcome::of(ids.len()))
    }
}

impl Shared {
    fn forget(
        &self,
        own: Option<&Namespace>,
        mut ids: Vec<MemoryId>,
        call: &Call<'_>,
    ) -> Result<Vec<MemoryId>, Error> {
        if let Some(own) = own {
            let mut ours = Vec::new();
            for id in ids {
                // A memory never changes its namespace.
                if self.read(id)?.is_some_and(|(found, _)| found.space.name == *own) {
                    ours.push(id);
                }
            }
            ids = ours;
        } else if call.is_heard() {
            let spaces: Vec<_> = ids.iter().filter_map(|&id| Some(self.find(id).ok()??.space)).collect();
            let only = only(spaces.iter().map(|space| &space.name));
            only.into_iter().for_each(|name| call.note_namespace(name.as_str()));
        }
        let forgotten = self.submit(Work::Forget(ids), self.config.durability)?;
        self.tally.forgets.add(forgotten.len());
        Ok(forgotten)
    }
}
