//! What the strength of each memory in the tier depends on, in RAM.

use std::collections::HashMap;

use crate::key::{MemoryId, NamespaceId, Timestamp};
use crate::tier::weakest::{Facts, Weakest, Weighed};

/// The facts of all memories, and the list of the weakest.
pub(super) struct Strengths {
    facts: HashMap<MemoryId, Facts>,
    weakest: Weakest,
    decay_per_day: f64,
}

impl Strengths {
    /// Those of an empty tier.
    pub(super) fn new(decay_per_day: f64) -> Self {
        Self { facts: HashMap::new(), weakest: Weakest::of_all(), decay_per_day }
    }

    /// Notes a memory that is in the tier now, and lists it among the weakest.
    pub(super) fn insert(&mut self, namespace: NamespaceId, id: MemoryId, facts: Facts) {
        self.facts.insert(id, facts);
        let (all, decay, now) = (&self.facts, self.decay_per_day, Timestamp::now());
        let weight = |memory: &Weighed| all.get(&memory.id).map(|facts| facts.weight(decay, now));
        self.weakest.add(Weighed { weight: facts.weight(decay, now), id, namespace }, all.len(), weight);
    }

    /// Forgets a memory.
    pub(super) fn remove(&mut self, id: MemoryId) {
        self.facts.remove(&id);
    }

    /// What the strength of a memory depends on.
    pub(super) fn get(&self, id: MemoryId) -> Option<Facts> {
        self.facts.get(&id).copied()
    }

    /// Notes how often a memory was accessed, and says whether it is here.
    pub(super) fn set_accesses(&mut self, id: MemoryId, accesses: u32) -> bool {
        self.facts.get_mut(&id).map(|facts| facts.accesses = accesses).is_some()
    }

    /// The weakest memory as of `now`.
    pub(super) fn weakest(&mut self, now: Timestamp) -> Option<(NamespaceId, MemoryId)> {
        let Self { facts, decay_per_day, weakest } = self;
        let weight = |memory: &Weighed| facts.get(&memory.id).map(|facts| facts.weight(*decay_per_day, now));
        weakest.peek(weight, std::iter::empty).map(|weakest| (weakest.namespace, weakest.id))
    }

    /// Takes the weakest memory, which is `id`, off the list.
    pub(super) fn unlist(&mut self, namespace: NamespaceId, id: MemoryId) {
        self.weakest.remove(namespace, id);
    }
}
