//! A column of whole numbers that are near one another, such as ids and times.

use std::ops::Range;

use super::column::Column;
use super::inserted;

/// Numbers as 32-bit offsets from the least of them where they fit, or else as
/// they are.
pub struct Numbers {
    least: i64,
    offsets: Column<u32>,
    /// Empty if the offsets fit.
    whole: Column<i64>,
}

impl Numbers {
    /// Takes what [`Numbers::columns`] gave. `None` if there are both offsets and
    /// whole numbers, or a number does not fit 64 bits.
    pub fn from_columns(least: &[i64], offsets: Column<u32>, whole: Column<i64>) -> Option<Self> {
        let &[least] = least else { return None };
        let greatest = offsets.iter().max().copied().unwrap_or_default();
        let consistent =
            (offsets.is_empty() || whole.is_empty()) && least.checked_add(greatest.into()).is_some();
        consistent.then_some(Self { least, offsets, whole })
    }

    /// The columns, for writing them to a file: the least number alone, the
    /// offsets from it, the numbers if they do not fit that.
    pub fn columns(&self) -> (&[i64], &Column<u32>, &Column<i64>) {
        (std::slice::from_ref(&self.least), &self.offsets, &self.whole)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.offsets.len().max(self.whole.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number at a place.
    pub fn get(&self, at: usize) -> Option<i64> {
        let near = self.offsets.get(at).map(|&offset| self.least + i64::from(offset));
        near.or_else(|| self.whole.get(at).copied())
    }

    /// The last number, if there is one.
    pub fn last(&self) -> Option<i64> {
        self.len().checked_sub(1).and_then(|last| self.get(last))
    }

    /// The place of `number`, if they ascend and it is among them.
    pub fn find(&self, number: i64) -> Option<usize> {
        if self.offsets.is_empty() {
            return self.whole.binary_search(&number).ok();
        }
        let offset = u32::try_from(number.checked_sub(self.least)?).ok()?;
        // Ids are looked up in all segments of a tier, and most of these begin behind others' ends.
        self.offsets.last().filter(|&&last| offset <= last)?;
        self.offsets.binary_search(&offset).ok()
    }

    /// The place of `number`, if those in `range` ascend and it is among them.
    pub fn find_within(&self, number: i64, range: Range<usize>) -> Option<usize> {
        let at = match self.offsets.get(range.clone()) {
            Some(offsets) => {
                let offset = u32::try_from(number.checked_sub(self.least)?).ok()?;
                offsets.binary_search(&offset).ok()?
            }
            None => self.whole.get(range.clone())?.binary_search(&number).ok()?,
        };
        Some(range.start + at)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// These and one more, in front of that at a place.
    pub fn with(&self, at: usize, number: i64) -> Self {
        let offset = number.checked_sub(self.least).and_then(|offset| u32::try_from(offset).ok());
        if let (Some(offset), false) = (offset, self.offsets.is_empty()) {
            let offsets = inserted(&self.offsets, at, offset).into();
            return Self { least: self.least, offsets, whole: Vec::new().into() };
        }
        self.iter().take(at).chain([number]).chain(self.iter().skip(at)).collect()
    }

    /// Whether they ascend.
    pub fn is_sorted(&self) -> bool {
        self.offsets.is_sorted() && self.whole.is_sorted()
    }

    /// Bytes of anonymous memory.
    pub fn heap_bytes(&self) -> usize {
        self.offsets.heap_bytes() + self.whole.heap_bytes()
    }
}

impl FromIterator<i64> for Numbers {
    fn from_iter<I: IntoIterator<Item = i64>>(numbers: I) -> Self {
        let numbers: Vec<i64> = numbers.into_iter().collect();
        let least = numbers.iter().min().copied().unwrap_or_default();
        let offset = |&number: &i64| u32::try_from(number.checked_sub(least)?).ok();
        match numbers.iter().map(offset).collect::<Option<Column<u32>>>() {
            Some(offsets) => Self { least, offsets, whole: Vec::new().into() },
            None => Self { least, offsets: Vec::new().into(), whole: numbers.into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_numbers() -> impl Strategy<Value = Vec<i64>> {
        let near = (i64::MIN..i64::MAX - 5_000_000_000)
            .prop_flat_map(|least| prop::collection::vec(least..least + 5_000_000_000, 0..20));
        prop_oneof![near, prop::collection::vec(any::<i64>(), 0..20)]
    }

    proptest! {
        #[test]
        fn behave_as_a_list_near_or_far(mut list in some_numbers(), absent in any::<i64>()) {
            let numbers: Numbers = list.iter().copied().collect();
            prop_assert_eq!(numbers.len(), list.len());
            prop_assert!((0..list.len() + 1).all(|at| numbers.get(at) == list.get(at).copied()));
            prop_assert_eq!(numbers.is_sorted(), list.is_sorted());
            let place = list.len() / 2;
            list.insert(place, absent);
            prop_assert!(numbers.with(place, absent).iter().eq(list.iter().copied()));
            list.sort_unstable();
            list.dedup();
            let numbers: Numbers = list.iter().copied().collect();
            for number in list.iter().flat_map(|&number| [number, number.wrapping_add(1)]) {
                prop_assert_eq!(numbers.find(number), list.binary_search(&number).ok());
            }
            let (least, offsets, whole) = numbers.columns();
            let columns = (offsets.to_vec().into(), whole.to_vec().into());
            let again = Numbers::from_columns(least, columns.0, columns.1).unwrap();
            prop_assert!((0..list.len()).all(|at| again.get(at) == numbers.get(at)));
        }
    }

    #[test]
    fn numbers_within_32_bits_of_one_another_take_four_bytes_each() {
        let bytes = |numbers: [i64; 2]| numbers.into_iter().collect::<Numbers>().heap_bytes();
        assert_eq!(bytes([-5, i64::from(u32::MAX) - 5]), 8);
        assert_eq!(bytes([-5, i64::from(u32::MAX) - 4]), 16);
    }

    #[test]
    fn columns_that_contradict_one_another_are_refused() {
        let from = |least: &[i64], offsets: &[u32], whole: &[i64]| {
            Numbers::from_columns(least, offsets.to_vec().into(), whole.to_vec().into())
        };
        assert!(from(&[1], &[2], &[]).is_some());
        assert!(from(&[], &[], &[]).is_none(), "no least number");
        assert!(from(&[1], &[2], &[3]).is_none(), "offsets and numbers");
        assert!(from(&[i64::MAX], &[1], &[]).is_none(), "a number that does not fit");
    }
}
