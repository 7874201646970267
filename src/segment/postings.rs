//! Inverted lists: for every term, the rows that hold it and how often.

use std::ops::Range;

use super::column::Column;
use crate::encoder::{Count, Length, Term};

/// The most rows that one segment can hold.
pub const MAX_ROWS: usize = 1 << 16;

/// The terms of a row, and the length of its text.
pub type RowTerms<'a> = (&'a [(Term, Count)], Length);

/// A row, and how often a term occurs in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    row: u16,
    count: Count,
    /// The term's share of the text, rounded up.
    share: u8,
}

impl Posting {
    fn new(row: u32, count: Count, length: Length) -> Self {
        debug_assert!((row as usize) < MAX_ROWS);
        Self { row: row as u16, count, share: count.share_bound(length) }
    }

    /// The row.
    pub fn row(self) -> u32 {
        self.row.into()
    }

    /// How often the term occurs in that row.
    pub fn count(self) -> Count {
        self.count
    }
}

/// The postings of one term, in ascending order of rows, by column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct List<'a> {
    /// Rows.
    pub rows: &'a [u16],
    /// The byte of each [`Count`].
    pub counts: &'a [u8],
    /// The term's share of each text in 255ths, rounded up: a bound of what it adds to a score.
    pub shares: &'a [u8],
    /// The largest share of the whole list.
    pub highest: u8,
}

impl<'a> List<'a> {
    /// The first `count` postings, and the others.
    pub(crate) fn split_at(self, count: usize) -> (Self, Self) {
        let (rows, later_rows) = split(self.rows, count);
        let (counts, later_counts) = split(self.counts, count);
        let (shares, later_shares) = split(self.shares, count);
        let later = Self { rows: later_rows, counts: later_counts, shares: later_shares, ..self };
        (Self { rows, counts, shares, ..self }, later)
    }

    /// The postings of a range of rows.
    pub(crate) fn within(self, rows: Range<u32>) -> Self {
        let below = |end: u32| self.rows.partition_point(|&row| u32::from(row) < end);
        let (start, end) = (below(rows.start), below(rows.end));
        self.split_at(end).0.split_at(start).1
    }

    /// The number of postings whose rows are below `row`, in a list of rows of `range`. It is searched from
    /// where it would be if they were evenly spread.
    pub(crate) fn count_below(self, row: usize, range: &Range<usize>) -> usize {
        let guess = row.saturating_sub(range.start) * self.rows.len() / range.len().max(1);
        first_from(guess, self.rows, |&held| usize::from(held) < row)
    }

    /// The place of `row` in a list of rows of `range`.
    pub(crate) fn find(self, row: u16, range: &Range<usize>) -> Option<usize> {
        let at = self.count_below(row.into(), range);
        (self.rows.get(at) == Some(&row)).then_some(at)
    }

    pub(crate) fn iter(self) -> impl ExactSizeIterator<Item = Posting> + Clone + 'a {
        let columns = self.rows.iter().zip(self.counts).zip(self.shares);
        columns.map(|((&row, &count), &share)| Posting { row, count: Count::from_byte(count), share })
    }
}

fn split<T>(items: &[T], at: usize) -> (&[T], &[T]) {
    items.split_at_checked(at).unwrap_or((items, &[]))
}

/// Returns the first place in `sorted` whose value is not below. Searches in doubling steps from `guess`.
fn first_from<T>(guess: usize, sorted: &[T], is_below: impl Fn(&T) -> bool) -> usize {
    let guess = guess.min(sorted.len());
    let (mut low, mut high) = (guess, guess);
    let mut step = 4;
    while low > 0 && sorted.get(low - 1).is_some_and(|at| !is_below(at)) {
        high = low - 1;
        low = low.saturating_sub(step);
        step *= 2;
    }
    step = 4;
    while sorted.get(high).is_some_and(&is_below) {
        low = high + 1;
        high = (high + step).min(sorted.len());
        step *= 2;
    }
    let window = sorted.get(low..high).unwrap_or_default();
    low + window.partition_point(is_below)
}

/// All inverted lists of a segment: sorted term hashes, and for each a run of
/// [`Posting`]s in ascending order of rows (compressed sparse rows).
pub struct Postings {
    terms: Column<u64>,
    offsets: Column<u32>,
    rows: Column<u16>,
    counts: Column<u8>,
    shares: Column<u8>,
    /// The largest share of each term.
    highest: Column<u8>,
}

impl Postings {
    /// Builds the lists of rows `0..` from each row's terms, in any order. Of the
    /// rows, only the first [`MAX_ROWS`] are taken.
    pub fn build<'a>(rows: impl IntoIterator<Item = RowTerms<'a>>) -> Self {
        let mut tuples: Vec<(u64, Posting)> = Vec::new();
        for ((terms, length), row) in rows.into_iter().take(MAX_ROWS).zip(0..) {
            tuples.extend(terms.iter().map(|&(term, count)| (term.0, Posting::new(row, count, length))));
        }
        tuples.sort_unstable();
        let mut lists = Builder::with_capacity(tuples.len(), tuples.len());
        for (term, posting) in tuples {
            lists.push(term, posting);
        }
        lists.finish()
    }

    /// These lists with one more row, whose terms come in any order; the rows
    /// from `row` on move up by one.
    pub fn with_row(&self, row: u32, (terms, length): RowTerms<'_>) -> Self {
        let mut added: Vec<(u64, Posting)> =
            terms.iter().map(|&(term, count)| (term.0, Posting::new(row, count, length))).collect();
        added.sort_unstable();
        let up = |held: u16| held + u16::from(u32::from(held) >= row);
        let fresh = added.iter().filter(|&&(term, _)| self.find(term).is_none()).count();
        let mut lists = Builder::with_capacity(self.terms() + fresh, self.rows.len() + added.len());
        let mut from = 0;
        for (term, posting) in added {
            let before = self.terms.iter().skip(from).take_while(|&&held| held < term).count();
            lists.copy(self, from..from + before, up);
            from += before;
            let mut run = List::default();
            if self.terms.get(from) == Some(&term) {
                run = self.run(from);
                from += 1;
            }
            let below = run.rows.partition_point(|&held| u32::from(held) < row);
            let above = run.iter().skip(below).map(|held| Posting { row: up(held.row), ..held });
            let postings = run.iter().take(below).chain([posting]).chain(above);
            postings.for_each(|posting| lists.push(term, posting));
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
        let mut lists = Builder::with_capacity(sum(Self::terms), sum(|postings| postings.rows.len()));
        let mut run: Vec<Posting> = Vec::new();
        loop {
            let heads =
                parts.iter().zip(&cursors).filter_map(|((postings, _), &at)| postings.terms.get(at).copied());
            let Some(term) = heads.min() else { break };
            run.clear();
            for ((postings, remap), at) in parts.iter().zip(&mut cursors) {
                if postings.terms.get(*at) == Some(&term) {
                    run.extend(postings.run(*at).iter().filter_map(|posting| moved(posting, remap)));
                    *at += 1;
                }
            }
            if !run.is_sorted() {
                run.sort_unstable();
            }
            run.iter().for_each(|&posting| lists.push(term, posting));
        }
        lists.finish()
    }

    /// Takes the columns of a file, or `None` when they contradict one another, a
    /// term or a row is out of order, or a posting names a row not below `count`.
    pub fn from_columns(
        (terms, offsets): (Column<u64>, Column<u32>),
        rows: Column<u16>,
        [counts, shares, highest]: [Column<u8>; 3],
        count: usize,
    ) -> Option<Self> {
        let consistent = offsets.len() == terms.len() + 1
            && offsets.first() == Some(&0)
            && offsets.last().is_some_and(|&last| last as usize == rows.len())
            && offsets.is_sorted()
            && terms.is_sorted()
            && (counts.len(), shares.len(), highest.len()) == (rows.len(), rows.len(), terms.len())
            && rows.iter().all(|&row| usize::from(row) < count)
            && offsets.windows(2).all(|run| match *run {
                [start, end] => rows.get(start as usize..end as usize).is_some_and(<[u16]>::is_sorted),
                _ => true,
            });
        consistent.then_some(Self { terms, offsets, rows, counts, shares, highest })
    }

    /// The columns, for writing them to a file: terms, offsets, rows, counts, shares, highest shares.
    pub fn columns(&self) -> [&[u8]; 6] {
        let Self { terms, offsets, rows, counts, shares, highest } = self;
        let (terms, offsets, rows) = (terms.as_bytes(), offsets.as_bytes(), rows.as_bytes());
        [terms, offsets, rows, counts.as_bytes(), shares.as_bytes(), highest.as_bytes()]
    }

    /// The postings of `term`, in ascending order of rows; empty if it does not
    /// occur.
    pub fn list(&self, term: Term) -> impl ExactSizeIterator<Item = Posting> + Clone + '_ {
        self.columns_of(term).iter()
    }

    /// The postings of `term` by column.
    pub(crate) fn columns_of(&self, term: Term) -> List<'_> {
        self.find(term.0).map_or(List::default(), |at| self.run(at))
    }

    /// Whether `row` holds `term`.
    pub fn holds(&self, term: Term, row: u32) -> bool {
        u16::try_from(row).is_ok_and(|row| self.columns_of(term).rows.binary_search(&row).is_ok())
    }

    /// How many rows hold `term`.
    pub fn document_frequency(&self, term: Term) -> usize {
        self.columns_of(term).rows.len()
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

    /// Every term with its postings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Term, List<'_>)> {
        self.terms.iter().enumerate().map(|(at, &term)| (Term(term), self.run(at)))
    }

    /// Bytes of anonymous memory.
    pub fn heap_bytes(&self) -> usize {
        self.terms.heap_bytes()
            + self.offsets.heap_bytes()
            + self.rows.heap_bytes()
            + self.counts.heap_bytes()
            + self.shares.heap_bytes()
            + self.highest.heap_bytes()
    }

    fn run(&self, at: usize) -> List<'_> {
        let range = match (self.offsets.get(at), self.offsets.get(at + 1)) {
            (Some(&start), Some(&end)) => start as usize..end as usize,
            _ => return List::default(),
        };
        let columns = (self.rows.get(range.clone()), self.counts.get(range.clone()), self.shares.get(range));
        match columns {
            (Some(rows), Some(counts), Some(shares)) => {
                List { rows, counts, shares, highest: self.highest.get(at).copied().unwrap_or(u8::MAX) }
            }
            _ => List::default(),
        }
    }

    /// Interpolation search: term hashes are uniform, so the guess lands within a few places.
    fn find(&self, term: u64) -> Option<usize> {
        let guess = ((u128::from(term) * self.terms.len() as u128) >> 64) as usize;
        let at = first_from(guess, &self.terms, |&held| held < term);
        (self.terms.get(at) == Some(&term)).then_some(at)
    }
}

/// Stands for "not in the merged segment" in a map of rows.
pub const DROPPED: u32 = u32::MAX;

fn moved(posting: Posting, remap: &[u32]) -> Option<Posting> {
    let row = *remap.get(posting.row() as usize)?;
    (row != DROPPED).then_some(Posting { row: row as u16, ..posting })
}

struct Builder {
    terms: Vec<u64>,
    offsets: Vec<u32>,
    rows: Vec<u16>,
    counts: Vec<u8>,
    shares: Vec<u8>,
    highest: Vec<u8>,
}

impl Builder {
    fn with_capacity(terms: usize, postings: usize) -> Self {
        Self {
            terms: Vec::with_capacity(terms),
            offsets: Vec::with_capacity(terms + 1),
            rows: Vec::with_capacity(postings),
            counts: Vec::with_capacity(postings),
            shares: Vec::with_capacity(postings),
            highest: Vec::with_capacity(terms),
        }
    }

    fn push(&mut self, term: u64, Posting { row, count, share }: Posting) {
        if self.terms.last() != Some(&term) {
            self.terms.push(term);
            self.offsets.push(self.rows.len() as u32);
            self.highest.push(0);
        }
        self.rows.push(row);
        self.counts.push(count.to_byte());
        self.shares.push(share);
        if let Some(highest) = self.highest.last_mut() {
            *highest = share.max(*highest);
        }
    }

    /// Adds the lists at some places of another, whose terms are above all here,
    /// each row moved as `up` says.
    fn copy(&mut self, from: &Postings, places: Range<usize>, up: impl Fn(u16) -> u16) {
        let (Some(terms), Some(offsets)) =
            (from.terms.get(places.clone()), from.offsets.get(places.start..=places.end))
        else {
            return;
        };
        let (Some(&start), Some(&end)) = (offsets.first(), offsets.last()) else { return };
        let (start, end) = (start as usize, end as usize);
        let base = self.rows.len();
        self.terms.extend_from_slice(terms);
        self.highest.extend_from_slice(from.highest.get(places).unwrap_or_default());
        self.offsets
            .extend(offsets.iter().take(terms.len()).map(|&offset| (offset as usize - start + base) as u32));
        let rows = from.rows.get(start..end).unwrap_or_default();
        self.rows.extend(rows.iter().map(|&row| up(row)));
        self.counts.extend_from_slice(from.counts.get(start..end).unwrap_or_default());
        self.shares.extend_from_slice(from.shares.get(start..end).unwrap_or_default());
    }

    fn finish(mut self) -> Postings {
        self.offsets.push(self.rows.len() as u32);
        let Self { terms, offsets, rows, counts, shares, highest } = self;
        Postings {
            terms: terms.into(),
            offsets: offsets.into(),
            rows: rows.into(),
            counts: counts.into(),
            shares: shares.into(),
            highest: highest.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Rows = Vec<BTreeMap<u8, u8>>;

    fn counted(row: &BTreeMap<u8, u8>) -> Vec<(Term, Count)> {
        row.iter().map(|(&name, &count)| (term(name), Count::new(count.into()))).collect()
    }

    /// Spreads small numbers over the hash range, as real term hashes are.
    fn term(name: u8) -> Term {
        Term(u64::from(name).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn length(row: &BTreeMap<u8, u8>) -> Length {
        Length::new(row.values().map(|&count| usize::from(count)).sum())
    }

    fn build(rows: &Rows) -> Postings {
        let rows: Vec<_> = rows.iter().map(|row| (counted(row), length(row))).collect();
        Postings::build(rows.iter().map(|(terms, length)| (terms.as_slice(), *length)))
    }

    fn naive_list(rows: &Rows, name: u8) -> Vec<(u32, Count)> {
        let with_row = rows.iter().enumerate();
        with_row
            .filter_map(|(at, row)| row.get(&name).map(|&count| (at as u32, Count::new(count.into()))))
            .collect()
    }

    fn lists(postings: &Postings, name: u8) -> Vec<(u32, Count)> {
        postings.list(term(name)).map(|posting| (posting.row(), posting.count())).collect()
    }

    fn some_rows() -> impl Strategy<Value = Rows> {
        prop::collection::vec(prop::collection::btree_map(0u8..40, any::<u8>(), 0..8), 0..30)
    }

    proptest! {
        #[test]
        fn lists_equal_scanning_every_row(rows in some_rows()) {
            let postings = build(&rows);
            for name in 0..=40 {
                prop_assert_eq!(lists(&postings, name), naive_list(&rows, name));
                let list = postings.columns_of(term(name));
                let length = |row: u16| length(&rows[usize::from(row)]);
                let bounds = list.iter().map(|posting| posting.count.share_bound(length(posting.row)));
                prop_assert_eq!(bounds.clone().collect::<Vec<_>>(), list.shares);
                prop_assert_eq!(list.highest, bounds.max().unwrap_or_default());
            }
        }

        #[test]
        fn a_search_from_any_guess_finds_the_first_place(
            mut numbers in prop::collection::vec(0u8..50, 0..60),
            sought in 0u8..51,
            guess in 0usize..80,
        ) {
            numbers.sort_unstable();
            let is_below = |&number: &u8| number < sought;
            prop_assert_eq!(first_from(guess, &numbers, is_below), numbers.partition_point(is_below));
        }

        #[test]
        fn lists_with_one_more_row_equal_those_built_with_it(
            mut rows in prop::collection::vec(prop::collection::btree_map(0u8..40, any::<u8>(), 0..8), 1..30),
            at in any::<prop::sample::Index>(),
        ) {
            let whole = build(&rows);
            let at = at.index(rows.len());
            let row = rows.remove(at);
            let added = build(&rows).with_row(at as u32, (&counted(&row), length(&row)));
            prop_assert_eq!(added.columns(), whole.columns());
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
            let built = build(&merged);
            prop_assert_eq!(result.columns(), built.columns());
        }
    }

    #[test]
    fn columns_that_contradict_one_another_are_refused() {
        let from = |terms: &[u64], offsets: &[u32], rows: &[u16], counts: &[u8]| {
            let lists = (terms.to_vec().into(), offsets.to_vec().into());
            let shares = [counts, counts, &vec![1; terms.len()]].map(|bytes| bytes.to_vec().into());
            Postings::from_columns(lists, rows.to_vec().into(), shares, 5)
        };
        let one = Count::ONE.to_byte();
        assert!(from(&[1], &[0, 1], &[4], &[one]).is_some());
        assert!(from(&[1], &[0, 1], &[5], &[one]).is_none(), "a row that is not there");
        assert!(from(&[2, 1], &[0, 0, 0], &[], &[]).is_none(), "descending terms");
        assert!(from(&[1], &[0, 2], &[0], &[one]).is_none(), "too few postings");
        assert!(from(&[1], &[0, 1], &[0], &[]).is_none(), "no count");
        assert!(from(&[1, 2], &[0, 1, 3], &[3, 0, 2], &[one; 3]).is_some());
        assert!(from(&[1], &[0, 2], &[3, 2], &[one; 2]).is_none(), "descending rows");
    }
}
