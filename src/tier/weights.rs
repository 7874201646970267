//! The weights of memories in segments, by which the weakest are found.

use std::collections::HashMap;

use super::shard::Shard;
use super::slot::Slot;
use super::weakest::{Facts, Weighed};
use crate::key::{NamespaceId, Timestamp};

/// What the strength of a memory depends on.
pub(super) fn facts_of(slot: &Slot, row: u32) -> Facts {
    let segment = &slot.part.segment;
    Facts {
        created: Timestamp(segment.created.get(row as usize).unwrap_or_default()),
        importance: segment.importance(row),
        accesses: slot.accesses(row),
    }
}

/// The weight of a memory, if it is here.
pub(super) fn weight(
    shards: &HashMap<NamespaceId, Shard>,
    memory: &Weighed,
    decay: f64,
    now: Timestamp,
) -> Option<f64> {
    let (slot, row) = shards.get(&memory.namespace)?.find(memory.id)?;
    Some(facts_of(slot, row).weight(decay, now))
}

/// All memories by their weights.
pub(super) fn all_weighed(
    shards: &HashMap<NamespaceId, Shard>,
    decay: f64,
    now: Timestamp,
) -> impl Iterator<Item = Weighed> {
    let slots =
        shards.iter().flat_map(|(&namespace, shard)| shard.slots().iter().map(move |slot| (namespace, slot)));
    slots.flat_map(move |(namespace, slot)| {
        slot.part.live.iter().map(move |row| Weighed {
            weight: facts_of(slot, row).weight(decay, now),
            id: slot.part.segment.id(row).unwrap_or_default(),
            namespace,
        })
    })
}
