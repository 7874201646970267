//! The forward index: the terms of each row, the inverse of the inverted lists.

use super::column::Column;
use super::postings::Postings;
use crate::encoder::{Count, Term};
use crate::leb128;

/// The byte of [`Count::ONE`].
const ONCE: u8 = Count::ONE.to_byte();

/// The terms of every row, by their places in the inverted lists of the same segment.
///
/// A row is a run of terms in ascending order. Each is its distance from the one before, doubled, as
/// LEB128. One more says that the byte of its [`Count`] follows; if none does, the term occurs once.
pub(super) struct Forward {
    /// Where each row ends in the bytes.
    pub(super) ends: Column<u32>,
    /// The rows.
    pub(super) bytes: Column<u8>,
}

impl Forward {
    /// Inverts the lists of `rows` rows.
    pub(super) fn invert(postings: &Postings, rows: usize) -> Self {
        let starts = starts(postings, rows);
        let mut next = starts.clone();
        let mut entries = vec![(0u32, 0u8); starts.last().map_or(0, |&end| end as usize)];
        for (place, (_, list)) in (0u32..).zip(postings.iter()) {
            for (&row, &count) in list.rows.iter().zip(list.counts) {
                let Some(at) = next.get_mut(usize::from(row)) else { continue };
                if let Some(entry) = entries.get_mut(*at as usize) {
                    *entry = (place, count);
                }
                *at += 1;
            }
        }
        let (mut ends, mut bytes) = (Vec::with_capacity(rows), Vec::new());
        for row in starts.windows(2) {
            let terms = entries.get(row[0] as usize..row[1] as usize).unwrap_or_default();
            let mut before = 0;
            for &(place, count) in terms {
                let is_once = count == ONCE;
                leb128::put(&mut bytes, u64::from(place - before) << 1 | u64::from(!is_once));
                bytes.extend((!is_once).then_some(count));
                before = place;
            }
            ends.push(bytes.len() as u32);
        }
        Self { ends: ends.into(), bytes: bytes.into() }
    }

    /// Whether it is of `rows` rows, and every one is within the bytes. What they hold shows when they
    /// are read.
    pub(super) fn fits(&self, rows: usize) -> bool {
        self.ends.len() == rows
            && self.ends.is_sorted()
            && self.ends.last().is_some_and(|&end| end as usize == self.bytes.len())
    }

    /// The terms of `row`, in ascending order; `None` if there is no such row, or the columns
    /// contradict `postings`.
    pub(super) fn terms(&self, row: u32, postings: &Postings) -> Option<Vec<(Term, Count)>> {
        let before = row.checked_sub(1);
        let start = before.map_or(Some(0), |before| self.ends.get(before as usize).copied())?;
        let mut bytes = self.bytes.get(start as usize..*self.ends.get(row as usize)? as usize)?;
        let (mut terms, mut place) = (Vec::new(), 0usize);
        while !bytes.is_empty() {
            let distance = leb128::take(&mut bytes)?;
            place = place.checked_add(usize::try_from(distance >> 1).ok()?)?;
            let count =
                if distance & 1 == 0 { Count::ONE } else { Count::from_byte(*bytes.split_off_first()?) };
            terms.push((postings.term_at(place)?, count));
        }
        Some(terms)
    }

    /// Bytes of anonymous memory.
    pub(super) fn heap_bytes(&self) -> usize {
        self.ends.heap_bytes() + self.bytes.heap_bytes()
    }
}

/// Where the terms of each row begin among those of all rows, and where the last ones end.
fn starts(postings: &Postings, rows: usize) -> Vec<u32> {
    let mut starts = vec![0u32; rows + 1];
    for (_, list) in postings.iter() {
        for &row in list.rows {
            if let Some(count) = starts.get_mut(usize::from(row) + 1) {
                *count += 1;
            }
        }
    }
    let mut total = 0;
    for start in &mut starts {
        total += *start;
        *start = total;
    }
    starts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::encoder::Length;

    proptest! {
        #[test]
        fn the_terms_of_every_row_are_those_it_was_listed_with(
            rows in prop::collection::vec(prop::collection::btree_map(any::<u64>(), 0usize..70, 0..8), 0..30),
        ) {
            let rows: Vec<BTreeMap<Term, Count>> = rows
                .into_iter()
                .map(|row| row.into_iter().map(|(term, count)| (Term((term % 40) << 50), Count::new(count))).collect())
                .collect();
            let listed: Vec<Vec<(Term, Count)>> =
                rows.iter().map(|row| row.iter().map(|(&term, &count)| (term, count)).collect()).collect();
            let postings = Postings::build(listed.iter().map(|terms| (terms.as_slice(), Length::default())));
            let forward = Forward::invert(&postings, rows.len());
            prop_assert!(rows.is_empty() || forward.fits(rows.len()));
            for (row, expected) in (0..).zip(&listed) {
                let terms = forward.terms(row, &postings);
                prop_assert_eq!(terms.as_ref(), Some(expected));
            }
            prop_assert!(forward.terms(rows.len() as u32, &postings).is_none());
        }
    }
}
