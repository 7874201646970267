//! The forward index: the terms of each row, the inverse of the inverted lists.

use super::column::Column;
use super::postings::Postings;
use crate::encoder::{Count, Term};

/// The terms of every row, by their places in the inverted lists of the same segment.
pub(super) struct Forward {
    /// Where the terms of each row end in the other two columns.
    pub(super) ends: Column<u32>,
    /// Places of terms, ascending within a row.
    pub(super) places: Column<u32>,
    /// The byte of the [`Count`] of each.
    pub(super) counts: Column<u8>,
}

impl Forward {
    /// Inverts the lists of `rows` rows.
    pub(super) fn invert(postings: &Postings, rows: usize) -> Self {
        let mut ends = vec![0u32; rows];
        for (_, list) in postings.iter() {
            for &row in list.rows {
                if let Some(count) = ends.get_mut(usize::from(row)) {
                    *count += 1;
                }
            }
        }
        // Each becomes the start of its row, and moves to its end below.
        let mut total = 0;
        for count in &mut ends {
            (*count, total) = (total, total + *count);
        }
        let (mut places, mut counts) = (vec![0u32; total as usize], vec![0u8; total as usize]);
        for (place, (_, list)) in (0u32..).zip(postings.iter()) {
            for (&row, &byte) in list.rows.iter().zip(list.counts) {
                let Some(at) = ends.get_mut(usize::from(row)) else { continue };
                let next = *at as usize;
                if let (Some(to), Some(count)) = (places.get_mut(next), counts.get_mut(next)) {
                    (*to, *count) = (place, byte);
                }
                *at += 1;
            }
        }
        Self { ends: ends.into(), places: places.into(), counts: counts.into() }
    }

    /// Whether it is of `rows` rows and `terms` terms, and every place is within the columns.
    pub(super) fn fits(&self, rows: usize, terms: usize) -> bool {
        self.ends.len() == rows
            && self.ends.is_sorted()
            && self.ends.last().is_some_and(|&end| end as usize == self.places.len())
            && self.places.len() == self.counts.len()
            && self.places.iter().all(|&place| (place as usize) < terms)
    }

    /// The terms of `row`, in ascending order; `None` if there is no such row, or the columns
    /// contradict `postings`.
    pub(super) fn terms(&self, row: u32, postings: &Postings) -> Option<Vec<(Term, Count)>> {
        let before = row.checked_sub(1);
        let start = before.map_or(Some(0), |before| self.ends.get(before as usize).copied())?;
        let range = start as usize..*self.ends.get(row as usize)? as usize;
        let (places, counts) = (self.places.get(range.clone())?, self.counts.get(range)?);
        let terms = places.iter().zip(counts);
        terms
            .map(|(&place, &count)| Some((postings.term_at(place as usize)?, Count::from_byte(count))))
            .collect()
    }

    /// Bytes of anonymous memory.
    pub(super) fn heap_bytes(&self) -> usize {
        self.ends.heap_bytes() + self.places.heap_bytes() + self.counts.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

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
            let postings = Postings::build(listed.iter().map(Vec::as_slice));
            let forward = Forward::invert(&postings, rows.len());
            prop_assert!(rows.is_empty() || forward.fits(rows.len(), postings.terms()));
            for (row, expected) in (0..).zip(&listed) {
                let terms = forward.terms(row, &postings);
                prop_assert_eq!(terms.as_ref(), Some(expected));
            }
            prop_assert!(forward.terms(rows.len() as u32, &postings).is_none());
        }
    }
}
