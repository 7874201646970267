//! The weakest memories of HOT and WARM, which leave first when a tier is full:
//! finding one takes O(log n).

use std::cmp::{Ordering, Reverse};

use super::writer::{Entry, Writer};
use crate::key::{MemoryId, TierKind};

/// Memories that have left a tier and may remain on its list of the weakest, in addition to as many
/// as are in the tier. Beyond that, the list is rebuilt.
const UNLISTED: usize = 1_024;

/// The logarithm of a memory's strength, up to a summand that is the same for
/// all: ln(I ln(1 + accesses)) + lambda t, with the time t in days. As all decay
/// alike, the order of two memories changes by accesses only, not by time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weakness {
    pub key: f64,
    pub id: MemoryId,
}

impl Eq for Weakness {}

impl PartialOrd for Weakness {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Weakness {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.total_cmp(&other.key).then(self.id.cmp(&other.id))
    }
}

impl Writer {
    /// Notes that memory `id` is in HOT or WARM now, or has become stronger.
    pub(super) fn note(&mut self, id: MemoryId, entry: Entry) {
        self.catalogue.insert(id, entry);
        let tier = entry.tier.index();
        let Some(heap) = self.weakest.get_mut(tier) else { return };
        heap.push(Reverse(Weakness { key: entry.key(self.decay_per_day), id }));
        if heap.len() > 2 * self.tiers[tier].len() + UNLISTED {
            self.relist(entry.tier);
        }
    }

    /// Rebuilds the list of a tier's weakest without memories that have left the tier. In a tier
    /// that never fills up, nothing else takes them off the list.
    fn relist(&mut self, tier: TierKind) {
        let Some(heap) = self.weakest.get_mut(tier.index()) else { return };
        let mut ids: Vec<MemoryId> = heap.drain().map(|Reverse(listed)| listed.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let listed = ids.into_iter().filter_map(|id| {
            let entry = self.catalogue.get(&id).filter(|entry| entry.tier == tier)?;
            Some(Reverse(Weakness { key: entry.key(self.decay_per_day), id }))
        });
        *heap = listed.collect();
    }

    /// The weakest memory of HOT or WARM, which stays there.
    pub(super) fn weakest(&mut self, tier: TierKind) -> Option<(MemoryId, Entry)> {
        let heap = self.weakest.get_mut(tier.index())?;
        loop {
            let mut top = heap.peek_mut()?;
            let Weakness { key, id } = top.0;
            let now = self.catalogue.get(&id).filter(|entry| entry.tier == tier);
            match now.map(|entry| (*entry, entry.key(self.decay_per_day))) {
                Some((_, stronger)) if stronger > key => top.0.key = stronger,
                Some((entry, _)) => return Some((id, entry)),
                None => drop(std::collections::binary_heap::PeekMut::pop(top)),
            }
        }
    }

    /// The `count` weakest memories of HOT or WARM; they are no longer listed as
    /// such, so each has to be [noted](Self::note) again or leave the tier.
    pub(super) fn take_weakest(&mut self, tier: TierKind, count: usize) -> Vec<(MemoryId, Entry)> {
        let mut taken = Vec::with_capacity(count.min(1 << 16));
        while taken.len() < count
            && let Some(weakest) = self.weakest(tier)
        {
            self.unlist(tier, weakest.0);
            taken.push(weakest);
        }
        taken
    }

    /// Takes the weakest memory of a tier, which is `id`, off its list. One that
    /// left the tier and came back is listed twice; as every entry below its
    /// true weight has been put right by now, the two stand one after the other.
    fn unlist(&mut self, tier: TierKind, id: MemoryId) {
        if let Some(heap) = self.weakest.get_mut(tier.index()) {
            while heap.peek().is_some_and(|top| top.0.id == id) {
                heap.pop();
            }
        }
    }
}
