//! The k best of what a search has seen so far, with those that tie with the last of them.

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

/// Collects the `k` greatest [`Scored`], and those whose score equals the least of these.
#[derive(Clone, Debug)]
pub struct TopK {
    k: usize,
    heap: BinaryHeap<Reverse<Scored>>,
    /// The most memories to keep beside the k best.
    ties: usize,
    /// All have the score of the k-th best, and are older.
    tied: Vec<Scored>,
}

impl TopK {
    /// An empty collection for the `k` best. Of equal scores, the newest count.
    pub fn new(k: usize) -> Self {
        Self::with_ties(k, 0)
    }

    /// An empty collection for the `k` best, and for the newest `ties` whose score equals that of
    /// the k-th best.
    pub fn with_ties(k: usize, ties: usize) -> Self {
        let heap = BinaryHeap::with_capacity(k.saturating_add(1).min(1024));
        Self { k, heap, ties, tied: Vec::new() }
    }

    /// How many are wanted.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The most ties that are kept.
    pub fn ties(&self) -> usize {
        self.ties
    }

    /// How many of the best were found, at most `k`.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing was offered yet.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The score that a newcomer must reach: that of the k-th best, or minus
    /// infinity while fewer than `k` are known.
    #[inline]
    pub fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(Reverse(worst)) if self.heap.len() >= self.k => worst.score,
            _ => f32::NEG_INFINITY,
        }
    }

    /// Offers one; keeps it if it is among the best.
    pub fn push(&mut self, scored: Scored) {
        if self.k == 0 {
            return;
        }
        if self.heap.len() < self.k {
            self.heap.push(Reverse(scored));
            return;
        }
        let Some(mut worst) = self.heap.peek_mut() else { return };
        let left = if scored > worst.0 { std::mem::replace(&mut *worst, Reverse(scored)).0 } else { scored };
        drop(worst);
        if self.ties == 0 {
            return;
        }
        let threshold = self.threshold();
        if self.tied.first().is_some_and(|tied| tied.score < threshold) {
            self.tied.clear();
        }
        if left.score == threshold {
            self.tied.push(left);
            if self.tied.len() >= self.ties.saturating_mul(2) {
                self.cut_ties();
            }
        }
    }

    /// Keeps the newest ties.
    fn cut_ties(&mut self) {
        if self.tied.len() > self.ties {
            self.tied.select_nth_unstable_by(self.ties - 1, |a, b| b.cmp(a));
            self.tied.truncate(self.ties);
        }
    }

    /// The best first, then their ties: in descending order of scores and ids.
    pub fn into_sorted(mut self) -> Vec<Scored> {
        self.cut_ties();
        self.tied.sort_unstable_by(|a, b| b.cmp(a));
        let best = self.heap.into_sorted_vec().into_iter().map(|Reverse(scored)| scored);
        best.chain(self.tied).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_sorting_everything_and_cutting(
            k in 0usize..20,
            ties in 0usize..10,
            scores in prop::collection::vec(-3i8..4, 0..100),
            shuffled in any::<bool>(),
        ) {
            let scored = |(id, &score): (usize, &i8)| {
                let id = if shuffled { id * 37 % 101 } else { id };
                Scored { score: f32::from(score), id: MemoryId(id as u64), tier: TierKind::Hot }
            };
            let all: Vec<Scored> = scores.iter().enumerate().map(scored).collect();
            let mut top = TopK::with_ties(k, ties);
            all.iter().for_each(|&scored| top.push(scored));
            let mut sorted = all;
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            let last = k.checked_sub(1).and_then(|last| sorted.get(last)).map(|last| last.score);
            let tied = sorted.iter().skip(k).take(ties).take_while(|next| Some(next.score) == last).count();
            sorted.truncate(k + tied);
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
