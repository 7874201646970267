//! Inverted lists: for every term, the rows that hold it and with what weight.

use std::ops::Range;

use bytemuck::Pod;

use super::column::Column;
use crate::encoder::Term;

/// Bits of a posting that hold the weight; the other 20 hold the row.
const WEIGHT_BITS: u32 = 12;

/// The most rows that one segment can hold.
pub const MAX_ROWS: usize = 1 << (32 - WEIGHT_BITS);

/// The largest weight of a term in a row; it stands for 1.
pub const MAX_WEIGHT: u16 = (1 << WEIGHT_BITS) - 1;

/// A row and a term's weight in it (0 to [`MAX_WEIGHT`]), packed into 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Posting(u32);

impl Posting {
    /// Packs a row below [`MAX_ROWS`] and a weight, which is cut off at
    /// [`MAX_WEIGHT`].
    pub fn new(row: u32, weight: u16) -> Self {
        debug_assert!((row as usize) < MAX_ROWS);
        Self(row << WEIGHT_BITS | u32::from(weight.min(MAX_WEIGHT)))
    }

    /// Reads a posting as a column holds it.
    #[inline]
    pub(crate) fn unpack(entry: u32) -> Self {
        Self(entry)
    }

    /// The row.
    #[inline]
    pub fn row(self) -> u32 {
        self.0 >> WEIGHT_BITS
    }

    /// The term's weight in that row.
    #[inline]
    pub fn weight(self) -> u16 {
        (self.0 & u32::from(MAX_WEIGHT)) as u16
    }
}

/// All inverted lists of a segment: sorted term hashes, and for each a run of
/// [`Posting`]s in ascending order of rows (compressed sparse rows).
pub struct Postings {
    terms: Column<u64>,
    offsets: Column<u32>,
    entries: Column<u32>,
}

impl Postings {
    /// Builds the lists of rows `0..` from each row's terms, in any order.
    pub fn build<'a>(rows: impl IntoIterator<Item = &'a [(Term, u16)]>) -> Self {
        let mut tuples: Vec<(u64, u32)> = Vec::new();
        for (row, terms) in rows.into_iter().enumerate() {
            tuples.extend(terms.iter().map(|&(term, weight)| (term.0, Posting::new(row as u32, weight).0)));
        }
        tuples.sort_unstable();
        let mut lists = Builder::with_capacity(tuples.len(), tuples.len());
        for (term, entry) in tuples {
            lists.push(term, entry);
        }
        lists.finish()
    }

    /// These lists with one more row, whose terms come in any order; the rows
    /// from `row` on move up by one.
    pub fn with_row(&self, row: u32, terms: &[(Term, u16)]) -> Self {
        let mut added: Vec<(u64, u32)> =
            terms.iter().map(|&(term, weight)| (term.0, Posting::new(row, weight).0)).collect();
        added.sort_unstable();
        let floor = Posting::new(row, 0).0;
        let up = |&entry: &u32| entry + (u32::from(entry >= floor) << WEIGHT_BITS);
        let fresh = added.iter().filter(|&&(term, _)| self.find(term).is_none()).count();
        let mut lists = Builder::with_capacity(self.terms() + fresh, self.entries.len() + added.len());
        let mut from = 0;
        for (term, entry) in added {
            let before = self.terms.iter().skip(from).take_while(|&&held| held < term).count();
            lists.copy(self, from..from + before, up);
            from += before;
            let mut run: &[u32] = &[];
            if self.terms.get(from) == Some(&term) {
                run = self.run(from);
                from += 1;
            }
            let (below, above) = run.split_at(run.partition_point(|&held| held < floor));
            let entries = below.iter().copied().chain([entry]).chain(above.iter().map(up));
            entries.for_each(|entry| lists.push(term, entry));
        }
        lists.copy(self, from..self.terms.len(), up);
        lists.finish()
    }

    /// Merges the lists of several segments into those of a new one.
    ///
    /// `remaps[i][row]` is the new row of part `i`'s `row`, or [`DROPPED`]
    /// when it is left out; within a part the new rows ascend.
    pub fn merge(parts: &[(&Postings, &[u32])]) -> Self {
        let mut cursors = vec![0usize; parts.len()];
        let sum = |count: fn(&Postings) -> usize| parts.iter().map(|(postings, _)| count(postings)).sum();
        let mut lists = Builder::with_capacity(sum(Self::terms), sum(|postings| postings.entries.len()));
        let mut run: Vec<u32> = Vec::new();
        loop {
            let heads =
                parts.iter().zip(&cursors).filter_map(|((postings, _), &at)| postings.terms.get(at).copied());
            let Some(term) = heads.min() else { break };
            run.clear();
            for ((postings, remap), at) in parts.iter().zip(&mut cursors) {
                if postings.terms.get(*at) == Some(&term) {
                    run.extend(postings.run(*at).iter().filter_map(|&entry| moved(entry, remap)));
                    *at += 1;
                }
            }
            if !run.is_sorted() {
                run.sort_unstable();
            }
            run.iter().for_each(|&entry| lists.push(term, entry));
        }
        lists.finish()
    }

    /// Takes the three columns of a file, or `None` when they contradict one
    /// another, a term is out of order, or a posting names a row not below
    /// `rows`.
    pub fn from_columns(
        terms: Column<u64>,
        offsets: Column<u32>,
        entries: Column<u32>,
        rows: usize,
    ) -> Option<Self> {
        let consistent = offsets.len() == terms.len() + 1
            && offsets.first() == Some(&0)
            && offsets.last().is_some_and(|&last| last as usize == entries.len())
            && offsets.is_sorted()
            && terms.is_sorted()
            && entries.iter().all(|&entry| (Posting(entry).row() as usize) < rows);
        consistent.then_some(Self { terms, offsets, entries })
    }

    /// The columns, for writing them to a file: terms, offsets, entries.
    pub fn columns(&self) -> (&Column<u64>, &Column<u32>, &Column<u32>) {
        (&self.terms, &self.offsets, &self.entries)
    }

    /// The postings of `term`, in ascending order of rows; empty if it does not
    /// occur.
    pub fn list(&self, term: Term) -> impl ExactSizeIterator<Item = Posting> + Clone + '_ {
        self.entries_of(term).iter().map(|&entry| Posting(entry))
    }

    /// The packed postings of `term`; [`Posting::unpack`] reads one.
    pub(crate) fn entries_of(&self, term: Term) -> &[u32] {
        self.find(term.0).map_or(&[], |at| self.run(at))
    }

    /// How many rows hold `term`.
    pub fn document_frequency(&self, term: Term) -> usize {
        self.entries_of(term).len()
    }

    /// The place of `term` among the terms, in ascending order of hashes.
    pub fn place(&self, term: Term) -> Option<usize> {
        self.find(term.0)
    }

    /// The term at a place.
    pub fn term_at(&self, place: usize) -> Option<Term> {
        self.terms.get(place).copied().map(Term)
    }

    /// Number of distinct terms.
    pub fn terms(&self) -> usize {
        self.terms.len()
    }

    /// Every term with its packed postings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Term, &[u32])> {
        self.terms.iter().enumerate().map(|(at, &term)| (Term(term), self.run(at)))
    }

    /// Bytes of anonymous memory.
    pub fn heap_bytes(&self) -> usize {
        self.terms.heap_bytes() + self.offsets.heap_bytes() + self.entries.heap_bytes()
    }

    fn run(&self, at: usize) -> &[u32] {
        match (self.offsets.get(at), self.offsets.get(at + 1)) {
            (Some(&start), Some(&end)) => self.entries.get(start as usize..end as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Interpolation search: term hashes are uniform, so the guess lands within
    /// a few places and the search narrows from there by doubling steps.
    fn find(&self, term: u64) -> Option<usize> {
        let terms = &*self.terms;
        let guess = ((u128::from(term) * terms.len() as u128) >> 64) as usize;
        let (mut low, mut high) = (guess, guess);
        let mut step = 4;
        while low > 0 && terms.get(low).is_none_or(|&at| at > term) {
            low = low.saturating_sub(step);
            step *= 2;
        }
        step = 4;
        while high < terms.len() && terms.get(high).is_some_and(|&at| at < term) {
            high = (high + step).min(terms.len());
            step *= 2;
        }
        let window = terms.get(low..(high + 1).min(terms.len()))?;
        window.binary_search(&term).ok().map(|at| low + at)
    }
}

/// Stands for "not in the merged segment" in a map of rows.
pub const DROPPED: u32 = u32::MAX;

fn moved(entry: u32, remap: &[u32]) -> Option<u32> {
    let posting = Posting(entry);
    let row = *remap.get(posting.row() as usize)?;
    (row != DROPPED).then(|| Posting::new(row, posting.weight()).0)
}

struct Builder {
    terms: Vec<u64>,
    offsets: Vec<u32>,
    entries: Vec<u32>,
}

impl Builder {
    fn with_capacity(terms: usize, entries: usize) -> Self {
        Self {
            terms: Vec::with_capacity(terms),
            offsets: Vec::with_capacity(terms + 1),
            entries: Vec::with_capacity(entries),
        }
    }

    fn push(&mut self, term: u64, entry: u32) {
        if self.terms.last() != Some(&term) {
            self.terms.push(term);
            self.offsets.push(self.entries.len() as u32);
        }
        self.entries.push(entry);
    }

    /// Adds the lists at some places of another, whose terms are above all here.
    fn copy(&mut self, from: &Postings, places: Range<usize>, change: impl Fn(&u32) -> u32) {
        let (Some(terms), Some(offsets)) =
            (from.terms.get(places.clone()), from.offsets.get(places.start..=places.end))
        else {
            return;
        };
        let (Some(&start), Some(&end)) = (offsets.first(), offsets.last()) else { return };
        let base = self.entries.len() as u32;
        self.terms.extend_from_slice(terms);
        self.offsets.extend(offsets.iter().take(terms.len()).map(|offset| offset - start + base));
        let entries = from.entries.get(start as usize..end as usize).unwrap_or_default();
        self.entries.extend(entries.iter().map(change));
    }

    fn finish(mut self) -> Postings {
        self.offsets.push(self.entries.len() as u32);
        Postings { terms: shrunk(self.terms), offsets: shrunk(self.offsets), entries: shrunk(self.entries) }
    }
}

fn shrunk<T: Pod>(items: Vec<T>) -> Column<T> {
    items.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Rows = Vec<BTreeMap<u8, u16>>;

    /// Spreads small numbers over the hash range, as real term hashes are.
    fn term(name: u8) -> Term {
        Term(u64::from(name).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn build(rows: &Rows) -> Postings {
        let rows: Vec<Vec<(Term, u16)>> = rows
            .iter()
            .map(|row| row.iter().map(|(&name, &weight)| (term(name), weight)).collect())
            .collect();
        Postings::build(rows.iter().map(Vec::as_slice))
    }

    fn naive_list(rows: &Rows, name: u8) -> Vec<(u32, u16)> {
        let with_row = rows.iter().enumerate();
        with_row.filter_map(|(at, row)| row.get(&name).map(|&weight| (at as u32, weight))).collect()
    }

    fn lists(postings: &Postings, name: u8) -> Vec<(u32, u16)> {
        postings.list(term(name)).map(|posting| (posting.row(), posting.weight())).collect()
    }

    fn some_rows() -> impl Strategy<Value = Rows> {
        prop::collection::vec(prop::collection::btree_map(0u8..40, 0..=MAX_WEIGHT, 0..8), 0..30)
    }

    proptest! {
        #[test]
        fn lists_equal_scanning_every_row(rows in some_rows()) {
            let postings = build(&rows);
            for name in 0..=40 {
                prop_assert_eq!(lists(&postings, name), naive_list(&rows, name));
            }
        }

        #[test]
        fn lists_with_one_more_row_equal_those_built_with_it(
            mut rows in prop::collection::vec(prop::collection::btree_map(0u8..40, 0..=MAX_WEIGHT, 0..8), 1..30),
            at in any::<prop::sample::Index>(),
        ) {
            let whole = build(&rows);
            let at = at.index(rows.len());
            let row = rows.remove(at);
            let terms: Vec<(Term, u16)> = row.iter().map(|(&name, &weight)| (term(name), weight)).collect();
            let added = build(&rows).with_row(at as u32, &terms);
            let columns = |postings: &Postings| {
                let (terms, offsets, entries) = postings.columns();
                (terms.to_vec(), offsets.to_vec(), entries.to_vec())
            };
            prop_assert_eq!(columns(&added), columns(&whole));
        }

        #[test]
        fn merging_equals_building_from_the_interleaved_rows(
            parts in prop::collection::vec(some_rows(), 1..4),
            seed in any::<u64>(),
        ) {
            // A seeded draw says which part gives the next row and which rows are dropped.
            let mut remaps: Vec<Vec<u32>> = parts.iter().map(|rows| vec![DROPPED; rows.len()]).collect();
            let (mut at, mut merged, mut state) = (vec![0usize; parts.len()], Rows::new(), seed);
            while let Some(part) = (0..parts.len()).find(|&p| at[p] < parts[p].len()).map(|first| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let open: Vec<usize> = (first..parts.len()).filter(|&p| at[p] < parts[p].len()).collect();
                open[(state >> 33) as usize % open.len()]
            }) {
                if state >> 60 != 0 {
                    remaps[part][at[part]] = merged.len() as u32;
                    merged.push(parts[part][at[part]].clone());
                }
                at[part] += 1;
            }
            let built: Vec<Postings> = parts.iter().map(build).collect();
            let inputs: Vec<(&Postings, &[u32])> = built.iter().zip(&remaps).map(|(p, r)| (p, r.as_slice())).collect();
            let result = Postings::merge(&inputs);
            for name in 0..=40 {
                prop_assert_eq!(lists(&result, name), naive_list(&merged, name));
            }
        }
    }

    #[test]
    fn columns_that_contradict_one_another_are_refused() {
        let bad_row =
            Postings::from_columns(vec![1].into(), vec![0, 1].into(), vec![Posting::new(5, 1).0].into(), 5);
        assert!(bad_row.is_none());
        let descending =
            Postings::from_columns(vec![2, 1].into(), vec![0, 0, 0].into(), Vec::new().into(), 1);
        assert!(descending.is_none());
        let short = Postings::from_columns(vec![1].into(), vec![0, 2].into(), vec![0].into(), 1);
        assert!(short.is_none());
    }
}
