//! Which rows of a segment still count.

use std::ops::Range;

/// A bit for each row of a range, and the number of set bits; copied when it changes, so that a
/// reader's view stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The first row.
    start: u32,
    words: Box<[u64]>,
    rows: usize,
    count: usize,
}

impl Live {
    /// The first `rows` rows, all set.
    pub fn all(rows: usize) -> Self {
        Self::range_of(0..rows as u32)
    }

    /// A range of rows, all set.
    pub fn range_of(range: Range<u32>) -> Self {
        let rows = range.len();
        let mut words = vec![u64::MAX; rows.div_ceil(64)];
        if let (Some(last), tail @ 1..) = (words.last_mut(), rows % 64) {
            *last = (1 << tail) - 1;
        }
        Self { start: range.start, words: words.into(), rows, count: rows }
    }

    /// The range of the rows.
    pub fn range(&self) -> Range<u32> {
        self.start..self.start + self.rows as u32
    }

    /// These rows, as far as they are in `range`.
    pub fn within(&self, range: Range<u32>) -> Self {
        let mut live = Self::range_of(range.clone());
        range.filter(|&row| !self.contains(row)).for_each(|row| _ = live.remove(row));
        live
    }

    /// The first `rows` bits of `words`; those that are missing are not set.
    pub fn from_words(words: &[u64], rows: usize) -> Self {
        let mut live = Self::all(rows);
        live.intersect_words(words.iter().copied());
        live
    }

    /// The bits, of which the first is that of the first row.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The first `rows` rows, none set.
    pub fn none(rows: usize) -> Self {
        Self { start: 0, words: vec![0; rows.div_ceil(64)].into(), rows, count: 0 }
    }

    /// Whether `row` is set; rows out of range are not.
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        let at = row.wrapping_sub(self.start);
        self.words.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// How many of `rows` are set.
    pub fn count(&self, rows: &[u16]) -> usize {
        rows.iter().filter(|&&row| self.contains(row.into())).count()
    }

    /// Sets `row`; out of range it does nothing.
    pub fn insert(&mut self, row: u32) {
        let at = row.wrapping_sub(self.start);
        if let Some(word) = self.words.get_mut(at as usize / 64) {
            let bit = 1 << (at % 64);
            self.count += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// Clears `row` and says whether it was set.
    pub fn remove(&mut self, row: u32) -> bool {
        let at = row.wrapping_sub(self.start);
        let Some(word) = self.words.get_mut(at as usize / 64) else { return false };
        let bit = 1 << (at % 64);
        let was_set = *word & bit != 0;
        *word &= !bit;
        self.count -= usize::from(was_set);
        was_set
    }

    /// Keeps the rows that are also in `other`, which begins with the same row.
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
        self.range().filter(|&row| !self.contains(row))
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
        let starts = (self.start..).step_by(64);
        self.words.iter().zip(starts).flat_map(|(&word, start)| {
            let mut left = word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros();
                    left &= left - 1;
                    start + bit
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

        #[test]
        fn a_range_of_rows_behaves_as_those_rows_of_all(
            start in 0u32..200,
            rows in 0u32..150,
            removed in prop::collection::vec(0u32..400, 0..64),
        ) {
            let range = start..start + rows;
            let (mut all, mut part) = (Live::all(400), Live::range_of(range.clone()));
            for row in removed {
                all.remove(row);
                prop_assert_eq!(part.contains(row), range.contains(&row) && part.remove(row));
            }
            prop_assert_eq!(&all.within(range.clone()), &part);
            prop_assert!(part.iter().eq(all.iter().filter(|row| range.contains(row))));
            prop_assert!(part.unset().eq(all.unset().filter(|row| range.contains(row))));
            prop_assert_eq!((part.len(), part.range()), (part.iter().count(), range));
        }
    }
}
