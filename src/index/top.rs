//! The k best of what a search has seen so far.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::key::{MemoryId, TierKind};

/// One scored memory.
///
/// Ordered by score, and among equal scores by id: the newer memory is the
/// greater, so that ties are decided the same way on every run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The score; what it means depends on the query.
    pub score: f32,
    /// Whose score it is.
    pub id: MemoryId,
    /// Where it was found.
    pub tier: TierKind,
}

impl Eq for Scored {}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.id.cmp(&other.id)).then(self.tier.cmp(&other.tier))
    }
}

/// Collects the `k` greatest [`Scored`].
#[derive(Clone, Debug)]
pub struct TopK {
    k: usize,
    heap: BinaryHeap<Reverse<Scored>>,
}

impl TopK {
    /// An empty collection for the `k` best.
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k.saturating_add(1).min(1024)) }
    }

    /// How many are wanted.
    pub fn k(&self) -> usize {
        self.k
    }

    /// How many were found, at most `k`.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing was offered yet.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The score that a newcomer must reach: that of the k-th best, or minus
    /// infinity while fewer than `k` are known.
    pub fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(Reverse(worst)) if self.heap.len() >= self.k => worst.score,
            _ => f32::NEG_INFINITY,
        }
    }

    /// Offers one; keeps it if it is among the `k` best.
    pub fn push(&mut self, scored: Scored) {
        if self.k == 0 {
            return;
        }
        if self.heap.len() < self.k {
            self.heap.push(Reverse(scored));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && scored > worst.0
        {
            *worst = Reverse(scored);
        }
    }

    /// The best first.
    pub fn into_sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(scored)| scored).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_sorting_everything_and_cutting(k in 0usize..20, scores in prop::collection::vec(-3i8..4, 0..100)) {
            let all: Vec<Scored> = scores
                .iter()
                .enumerate()
                .map(|(id, &score)| Scored { score: f32::from(score), id: MemoryId(id as u64), tier: TierKind::Hot })
                .collect();
            let mut top = TopK::new(k);
            all.iter().for_each(|&scored| top.push(scored));
            let mut sorted = all;
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            sorted.truncate(k);
            prop_assert_eq!(top.into_sorted(), sorted);
        }
    }

    #[test]
    fn of_equal_scores_the_newer_memory_wins() {
        let mut top = TopK::new(1);
        for id in [2, 3, 1] {
            top.push(Scored { score: 1.0, id: MemoryId(id), tier: TierKind::Warm });
        }
        assert_eq!(top.into_sorted()[0].id, MemoryId(3));
    }
}
