//! Tiers: where memories are, and what moves them from one to another.
//!
//! Every memory is in the [log](crate::log) or in a segment's file that the log lists. A move between
//! tiers is one commit to the log, so it never risks a memory.
//!
//! All tiers on this machine are one implementation, [`local::LocalTier`]: segments that differ in
//! where they are.
//!
//! | tier | segments |
//! |---|---|
//! | [`Hot`](TierKind::Hot) | in RAM; in files, from which they are read when the engine opens |
//! | [`Warm`](TierKind::Warm) | in mapped files; the newest memories in RAM |
//! | [`Cold`](TierKind::Cold) | in mapped files, with compressed records |
//!
//! No tier holds the vector of a text: it is derived when a search asks for it.
//!
//! [`Tier`] is the writer's side of one and [`TierView`] the reader's. All that
//! the engine knows of a tier is in these two, so one that lives elsewhere (an
//! object store, a vector database) needs only them, and a line where the engine
//! opens its tiers.

mod depot;
pub mod files;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod listed;
pub mod local;
mod plan;
#[cfg(feature = "postgres")]
pub mod postgres;
mod record_cache;
mod residency;
mod shard;
mod slot;
mod view;
mod weakest;
mod weights;
mod written;

use std::sync::Arc;

use crate::encoder::Term;
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::index::{QueryTerm, RowFilter, TextQuery, TopK, cascade};
use crate::key::{MemoryId, NamespaceId, TierKind, Timestamp};
use crate::log::Batch;
use crate::segment::PreparedMemory;

pub use self::depot::Depot;
pub use self::plan::Effort;
pub use self::weakest::Facts;

/// Strengths between which a memory stays where it is: the hysteresis that
/// keeps one from moving to and fro.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// A memory weaker than this leaves the tier.
    pub leave: f64,
    /// A memory at least as strong as this, and recalled, enters it from below.
    pub enter: f64,
}

/// Long-term potentiation: S = I ln(1 + accesses) exp(-lambda age), with the
/// age in days. Storing counts as the first access.
pub fn strength(importance: f32, accesses: u32, age_days: f64, decay_per_day: f64) -> f64 {
    f64::from(importance) * f64::from(accesses).ln_1p() * (-decay_per_day * age_days).exp()
}

/// What a memory is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A text: every memory is scored by its words.
    Text(&'a TextQuery),
    /// A vector, to be compared with supplied vectors or with those of texts without one;
    /// memories of the other kind are left out.
    Vector {
        /// The query.
        vector: &'a Hypervector,
        /// Whether memories with a supplied vector are asked for.
        supplied: bool,
    },
}

/// How a search finds its candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By inverted lists for texts, by the sketch cascade for vectors.
    #[default]
    Indexed,
    /// By scoring every memory: the oracle. For a text, it reads and analyzes all texts.
    Exact,
}

/// One search within a tier.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// What is looked for.
    pub target: Target<'a>,
    /// How.
    pub method: Method,
    /// What is left out.
    pub filter: &'a RowFilter,
    /// How far a search by sketches goes.
    pub cascade_limits: cascade::Limits,
}

/// Bytes that a tier takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierBytes {
    /// Anonymous memory, by its own count.
    pub ram: u64,
    /// Files that are mapped.
    pub mapped: u64,
}

/// What the work of a tier may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a merge: of what it reads, and what it makes.
    pub merged_bytes: usize,
    /// Bytes of memories that wait to be packed. Beyond them, more is packed, sooner.
    pub loose_bytes: usize,
    /// Bytes of decompressed records that are kept.
    pub cached_bytes: usize,
}

impl Default for Limits {
    /// Those of the default budget.
    fn default() -> Self {
        Self { merged_bytes: 64 << 20, loose_bytes: 16 << 20, cached_bytes: 8 << 20 }
    }
}

/// What a tier takes on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Rows, whether they count or not.
    pub rows: usize,
    /// Bytes of anonymous memory, by its own count.
    pub bytes: usize,
    /// The bytes of memories that wait to be packed.
    pub loose: usize,
}

impl Size {
    /// The sum of two.
    pub fn plus(self, other: Self) -> Self {
        let Self { rows, bytes, loose } = other;
        Self { rows: self.rows + rows, bytes: self.bytes + bytes, loose: self.loose + loose }
    }

    /// The difference of two, of which `other` is a part of this.
    pub fn less(self, other: Self) -> Self {
        let Self { rows, bytes, loose } = other;
        Self {
            rows: self.rows.saturating_sub(rows),
            bytes: self.bytes.saturating_sub(bytes),
            loose: self.loose.saturating_sub(loose),
        }
    }
}

/// The writer's side of a tier. All calls come from one writer at a time.
pub trait Tier: Send {
    /// Which one it is.
    fn kind(&self) -> TierKind;

    /// Number of memories in it, over all namespaces.
    fn len(&self) -> usize;

    /// Whether it holds nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Work that prepares memories, in ascending order of ids, for being taken
    /// in. It needs no lock; what it returns goes to [`Tier::apply`].
    fn stage(&mut self, namespace: NamespaceId, memories: Vec<Arc<PreparedMemory>>) -> Upkeep {
        Box::new(move || Ok(Box::new(Staged { namespace, memories }) as Done))
    }

    /// As [`Tier::stage`], while the engine opens: no file is written then.
    fn stage_restored(&mut self, namespace: NamespaceId, memories: Vec<Arc<PreparedMemory>>) -> Upkeep {
        self.stage(namespace, memories)
    }

    /// Puts the result of [`Tier::stage`] or [`Tier::upkeep`] in place, and adds
    /// to `batch` what has to become durable with it; returns the namespaces whose
    /// views have changed. Readers see it from the next [`Tier::view`] on, which
    /// the engine asks for once `batch` is committed.
    ///
    /// # Errors
    /// Whatever storing it reports; the tier is as before then.
    fn apply(&mut self, done: Done, batch: &mut Batch) -> Result<Vec<NamespaceId>, Error>;

    /// Adds to `batch` what has to become durable when memory `id` is removed,
    /// and says whether it is here.
    fn stage_removal(&self, namespace: NamespaceId, id: MemoryId, batch: &mut Batch) -> bool;

    /// Takes a memory out and says whether it was there.
    fn remove(&mut self, namespace: NamespaceId, id: MemoryId) -> bool;

    /// What the strength of memory `id` depends on, if it is here.
    fn facts(&self, namespace: NamespaceId, id: MemoryId) -> Option<Facts>;

    /// Adds to `batch` the change of the log that says how often memory `id` was accessed. The memory
    /// must be in this tier.
    fn stage_accesses(&self, namespace: NamespaceId, id: MemoryId, accesses: u32, batch: &mut Batch);

    /// Notes how often memory `id` was accessed, and says whether it is here.
    fn set_accesses(&mut self, namespace: NamespaceId, id: MemoryId, accesses: u32) -> bool;

    /// Called while the engine opens: takes over how often memory `id` was accessed from its
    /// placement in the log, and says whether it is here.
    fn take_placement(&mut self, namespace: NamespaceId, id: MemoryId, accesses: u32) -> bool {
        self.set_accesses(namespace, id, accesses)
    }

    /// The weakest memory as of `now`, which stays. COLD, from which none sinks, gives none.
    fn weakest(&mut self, now: Timestamp) -> Option<(NamespaceId, MemoryId)>;

    /// The weakest memory, which is no longer listed as such: it has to leave the tier, or be
    /// [put back](Tier::put_back).
    fn take_weakest(&mut self, now: Timestamp) -> Option<(NamespaceId, MemoryId)> {
        let (namespace, id) = self.weakest(now)?;
        self.unlist(namespace, id);
        Some((namespace, id))
    }

    /// Takes the weakest memory, which is `id`, off the list of the weakest.
    fn unlist(&mut self, namespace: NamespaceId, id: MemoryId);

    /// Lists a memory again that was to leave, and stays.
    fn put_back(&mut self, namespace: NamespaceId, id: MemoryId);

    /// All of memory `id`, if it is here and need not be fetched from another machine. HOT gives
    /// every memory: one may have to leave with the very commit that brings it to the log.
    ///
    /// # Errors
    /// Whatever reading it reports.
    fn memory(&self, namespace: NamespaceId, id: MemoryId) -> Result<Option<Arc<PreparedMemory>>, Error>;

    /// What readers of `namespace` see from now on.
    fn view(&mut self, namespace: NamespaceId) -> Arc<dyn TierView>;

    /// The next piece of upkeep that `effort` asks for, if any: work without the
    /// lock, whose result goes to [`Tier::apply`].
    fn upkeep(&mut self, effort: Effort) -> Option<Upkeep>;

    /// What it takes on this machine.
    fn size(&self) -> Size {
        Size::default()
    }

    /// How many memories are best taken in together, where each time costs a round
    /// trip; `None` where it does not matter.
    fn preferred_batch(&self) -> Option<usize> {
        None
    }

    /// Work that finds out, without a lock, whether the tier can be reached again, if it
    /// could not be of late: until then nobody should wait for it with a lock.
    fn check_health(&self) -> Option<Upkeep> {
        None
    }

    /// Whether the tier has kept memory `id` since the engine was last open, so that
    /// it need not be taken in again.
    fn keeps(&self, _id: MemoryId) -> bool {
        false
    }

    /// Called while the engine opens: what the strength of a memory depends on that the tier has
    /// [kept](Tier::keeps).
    fn note_kept(&mut self, _namespace: NamespaceId, _id: MemoryId, _facts: Facts) {}

    /// Called once while the engine opens: of what the tier has [kept](Tier::keeps),
    /// only those memories stay that the log says are in it.
    fn retain(&mut self, _stays: &dyn Fn(MemoryId) -> bool) {}

    /// Counts what is sent to other machines and received from them.
    #[cfg(feature = "remote")]
    fn counter(&self) -> Option<Arc<crate::remote::Counter>> {
        None
    }

    /// Called when the batch of the last [`Tier::apply`] could not be committed:
    /// undoes an upkeep; memories that were taken in are removed one by one.
    fn revert(&mut self) {}
}

/// Memories that needed no preparation: what [`Tier::stage`] hands to
/// [`Tier::apply`] unless a tier has its own.
pub struct Staged {
    /// Whose they are.
    pub namespace: NamespaceId,
    /// In ascending order of ids.
    pub memories: Vec<Arc<PreparedMemory>>,
}

/// Work on immutable parts of a tier that needs no lock.
pub type Upkeep = Box<dyn FnOnce() -> Result<Done, Error> + Send>;

/// What an [`Upkeep`] made; only the tier that asked for it can read it.
pub type Done = Box<dyn std::any::Any + Send>;

/// The reader's side of a tier, for one namespace: a snapshot that does not
/// change while it is held.
pub trait TierView: Send + Sync {
    /// Number of memories in it.
    fn len(&self) -> usize;

    /// Whether it holds nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In how many of them `term` occurs.
    fn document_frequency(&self, term: Term) -> usize;

    /// Offers the best of them to `top`.
    ///
    /// # Errors
    /// Whatever reading them reports.
    fn search(&self, search: &Search<'_>, top: &mut TopK) -> Result<(), Error>;

    /// Whether memory `id` is in it.
    fn contains(&self, id: MemoryId) -> bool;

    /// Which of `terms` memory `id` holds; `None` if the view cannot tell without reading its text.
    fn held_terms(&self, id: MemoryId, terms: &[QueryTerm]) -> Option<Vec<Term>>;

    /// The record of memory `id`, if it is here.
    ///
    /// # Errors
    /// Whatever reading it reports.
    fn record(&self, id: MemoryId) -> Result<Option<Arc<[u8]>>, Error>;

    /// All of memory `id`, which was accessed so often, if it is here and need not be fetched from
    /// another machine.
    ///
    /// # Errors
    /// Whatever reading it reports.
    fn memory(&self, _id: MemoryId, _accesses: u32) -> Result<Option<Arc<PreparedMemory>>, Error> {
        Ok(None)
    }

    /// The vector that was supplied with memory `id`, if both are here.
    ///
    /// # Errors
    /// Whatever reading it reports.
    fn vector(&self, _id: MemoryId) -> Result<Option<Vec<u64>>, Error> {
        Ok(None)
    }

    /// Bytes that this namespace takes in the tier.
    fn bytes(&self) -> TierBytes;
}

/// A tier without memories.
pub(crate) struct EmptyView;

impl TierView for EmptyView {
    fn len(&self) -> usize {
        0
    }

    fn document_frequency(&self, _term: Term) -> usize {
        0
    }

    fn search(&self, _search: &Search<'_>, _top: &mut TopK) -> Result<(), Error> {
        Ok(())
    }

    fn contains(&self, _id: MemoryId) -> bool {
        false
    }

    fn held_terms(&self, _id: MemoryId, _terms: &[QueryTerm]) -> Option<Vec<Term>> {
        None
    }

    fn record(&self, _id: MemoryId) -> Result<Option<Arc<[u8]>>, Error> {
        Ok(None)
    }

    fn bytes(&self) -> TierBytes {
        TierBytes::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_never_recalled_loses_half_its_strength_in_69_days() {
        let fresh = strength(1.0, 1, 0.0, 0.01);
        assert!((fresh - std::f64::consts::LN_2).abs() < 1e-12);
        let later = strength(1.0, 1, 69.3147, 0.01);
        assert!((later / fresh - 0.5).abs() < 1e-6);
    }

    #[test]
    fn strength_grows_with_importance_and_accesses() {
        assert!(strength(2.0, 1, 5.0, 0.01) > strength(1.0, 1, 5.0, 0.01));
        assert!(strength(1.0, 9, 5.0, 0.01) > strength(1.0, 8, 5.0, 0.01));
    }
}
