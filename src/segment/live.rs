//! Which rows of a segment still count.

/// A bit per row and the number of set bits; copied when it changes, so that a
/// reader's view stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    words: Box<[u64]>,
    rows: usize,
    count: usize,
}

impl Live {
    /// `rows` rows, all set.
    pub fn all(rows: usize) -> Self {
        let mut words = vec![u64::MAX; rows.div_ceil(64)];
        if let (Some(last), tail @ 1..) = (words.last_mut(), rows % 64) {
            *last = (1 << tail) - 1;
        }
        Self { words: words.into(), rows, count: rows }
    }

    /// The first `rows` bits of `words`; those that are missing are not set.
    pub fn from_words(words: &[u64], rows: usize) -> Self {
        let mut live = Self::all(rows);
        live.intersect_words(words.iter().copied());
        live
    }

    /// The bits.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// `rows` rows, none set.
    pub fn none(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)].into(), rows, count: 0 }
    }

    /// Whether `row` is set; rows out of range are not.
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Sets `row`; out of range it does nothing.
    pub fn insert(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut(row as usize / 64) {
            let bit = 1 << (row % 64);
            self.count += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// Clears `row` and says whether it was set.
    pub fn remove(&mut self, row: u32) -> bool {
        let Some(word) = self.words.get_mut(row as usize / 64) else { return false };
        let bit = 1 << (row % 64);
        let was_set = *word & bit != 0;
        *word &= !bit;
        self.count -= usize::from(was_set);
        was_set
    }

    /// Keeps the rows that are also in `other`.
    pub fn intersect(&mut self, other: &Live) {
        self.intersect_words(other.words.iter().copied());
    }

    fn intersect_words(&mut self, others: impl Iterator<Item = u64>) {
        for (word, with) in self.words.iter_mut().zip(others.chain(std::iter::repeat(0))) {
            *word &= with;
        }
        self.count = self.words.iter().map(|word| word.count_ones() as usize).sum();
    }

    /// The rows that are not set, in ascending order.
    pub fn unset(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.rows as u32).filter(|&row| !self.contains(row))
    }

    /// The rows that are not set, and are in `before`, or in all without it.
    pub fn unset_since(&self, before: Option<&Live>) -> Vec<u32> {
        self.unset().filter(|&row| before.is_none_or(|before| before.contains(row))).collect()
    }

    /// Number of set rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no row is set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The set rows in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros();
                    left &= left - 1;
                    index as u32 * 64 + bit
                })
            })
        })
    }

    /// Bytes of memory behind the bits.
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set_of_rows(rows in 0usize..200, removed in prop::collection::vec(0u32..256, 0..64), inserted in prop::collection::vec(0u32..256, 0..64)) {
            let mut live = Live::all(rows);
            let mut model: BTreeSet<u32> = (0..rows as u32).collect();
            for row in removed {
                prop_assert_eq!(live.remove(row), model.remove(&row));
            }
            for row in inserted.into_iter().filter(|&row| (row as usize) < rows) {
                live.insert(row);
                model.insert(row);
            }
            prop_assert_eq!(&Live::from_words(live.words(), rows), &live);
            prop_assert_eq!(live.len(), model.len());
            prop_assert_eq!(live.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert!(live.unset().eq((0..rows as u32).filter(|row| !model.contains(row))));
            prop_assert!((0..300).all(|row| live.contains(row) == model.contains(&row)));
        }
    }
}
