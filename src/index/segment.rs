//! An immutable run of memories: what a search has to know of each, by column.

use super::column::Column;
use super::live::Live;
use super::numbers::Numbers;
use super::postings::{DROPPED, Postings};
use crate::encoder::{Count, Length, Term, TermCounts};
use crate::error::Error;
use crate::key::MemoryId;

/// The most bits of a vector in its sketch.
pub const SKETCH_BITS: usize = 512;

/// Rows that share one block of the sketch column.
pub const LANES: usize = 16;

/// Sketches of so many words and more would overflow the counters of
/// [`sketch_distances`](crate::hdv::kernels::Kernels::sketch_distances).
const MAX_SKETCH_WORDS: usize = 1 << 10;

/// What the index has to know of one memory, besides its payload.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub id: MemoryId,
    /// When it happened, in milliseconds since 1970.
    pub created: i64,
    /// The length of its text.
    pub length: Length,
    /// Whether its vector was supplied by the caller, rather than derived from
    /// its text: the two kinds are never compared.
    pub supplied: bool,
    /// Terms of its text, and of its metadata with [`Count::NONE`].
    pub terms: Vec<(Term, Count)>,
    /// The first words of its vector.
    pub sketch: Box<[u64]>,
}

/// Memories in ascending order of ids, by column; `R` is what the tier itself
/// keeps of them.
pub struct Segment<R> {
    /// Ids, ascending.
    pub ids: Numbers,
    /// Times, in milliseconds since 1970.
    pub created: Numbers,
    /// The length of each text.
    pub lengths: Column<u16>,
    /// The length of the shortest text.
    pub shortest: Length,
    /// A bit per row: its vector was supplied by the caller.
    pub supplied: Column<u64>,
    /// The first bits of every vector, in blocks of [`LANES`] rows: word `w` of
    /// all rows of a block stand together.
    pub sketches: Column<u64>,
    /// Inverted lists.
    pub postings: Postings,
    /// The tier's own column.
    pub rows: R,
}

/// Where a tier keeps what only some searches read.
pub trait Contents<R> {
    /// The vector in `row` of `segment`: the supplied one, or else that of the text.
    fn vector<'a>(&'a mut self, segment: &'a Segment<R>, row: u32) -> Result<&'a [u64], Error>;

    /// The terms of the text in `row`, counted again; `None` if it was forgotten in the meantime.
    fn counts(&mut self, segment: &Segment<R>, row: u32) -> Result<Option<TermCounts>, Error>;

    /// Says that the vector in `row` is wanted soon. Where vectors lie in memory,
    /// its first words are then on their way to the CPU.
    fn prefetch(&self, _segment: &Segment<R>, _row: u32) {}
}

impl<R> Segment<R> {
    /// A segment of `rows`, which must ascend by id, beside `payload`.
    pub fn build(rows: &[Row], payload: R) -> Self {
        debug_assert!(rows.is_sorted_by_key(|row| row.id));
        let words = rows.first().map_or(0, |row| row.sketch.len());
        let mut sketches = vec![0; rows.len().div_ceil(LANES) * LANES * words];
        let mut supplied = vec![0u64; rows.len().div_ceil(64)];
        for (at, row) in rows.iter().enumerate() {
            scatter(&mut sketches, words, at, row.sketch.iter().copied());
            set(&mut supplied, at, row.supplied);
        }
        Self {
            ids: rows.iter().map(|row| row.id.0 as i64).collect(),
            created: rows.iter().map(|row| row.created).collect(),
            lengths: rows.iter().map(|row| row.length.get()).collect(),
            shortest: rows.iter().map(|row| row.length).min().unwrap_or_default(),
            supplied: supplied.into(),
            sketches: sketches.into(),
            postings: Postings::build(rows.iter().map(|row| row.terms.as_slice())),
            rows: payload,
        }
    }

    /// The same rows beside another payload.
    pub fn beside<S>(self, rows: S) -> Segment<S> {
        let Self { ids, created, lengths, shortest, supplied, sketches, postings, rows: _ } = self;
        Segment { ids, created, lengths, shortest, supplied, sketches, postings, rows }
    }

    /// Number of rows, live or not.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The row of memory `id`.
    pub fn find(&self, id: MemoryId) -> Option<u32> {
        self.ids.find(i64::try_from(id.0).ok()?).map(|row| row as u32)
    }

    /// The id in `row`, if there is such a row.
    pub fn id(&self, row: u32) -> Option<MemoryId> {
        self.ids.get(row as usize).map(|id| MemoryId(id as u64))
    }

    /// The length of the text in `row`.
    pub fn length(&self, row: u32) -> Length {
        self.lengths.get(row as usize).copied().unwrap_or_default().into()
    }

    /// Whether the vector in `row` was supplied by the caller.
    pub fn is_supplied(&self, row: u32) -> bool {
        self.supplied.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Number of 64-bit words of a sketch.
    pub fn sketch_words(&self) -> usize {
        self.sketches.len().checked_div(self.len().div_ceil(LANES) * LANES).unwrap_or_default()
    }

    /// Whether the ids ascend, none twice, and each can be found.
    pub fn has_ascending_ids(&self) -> bool {
        self.ids.get(0).is_none_or(|first| first >= 0) && self.ids.iter().is_sorted_by(|a, b| a < b)
    }

    /// Whether every row has a sketch, and one that distances can be counted of.
    pub fn has_whole_sketches(&self) -> bool {
        let words = self.sketch_words();
        (1..MAX_SKETCH_WORDS).contains(&words)
            && self.sketches.len() == self.len().div_ceil(LANES) * LANES * words
    }

    /// The words of the sketch in `row`.
    pub fn sketch(&self, row: usize) -> impl Iterator<Item = u64> + '_ {
        let words = self.sketch_words();
        let start = row / LANES * LANES * words + row % LANES;
        self.sketches.get(start..).unwrap_or_default().iter().step_by(LANES).take(words).copied()
    }

    /// What the index knows of `row`, whose terms are given.
    pub fn row(&self, row: u32, terms: Vec<(Term, Count)>) -> Row {
        let at = row as usize;
        Row {
            id: self.id(row).unwrap_or_default(),
            created: self.created.get(at).unwrap_or_default(),
            length: self.length(row),
            supplied: self.is_supplied(row),
            terms,
            sketch: self.sketch(at).collect(),
        }
    }

    /// The rows that hold every one of `terms`.
    pub fn holding(&self, terms: &[Term]) -> Live {
        let mut rows = Live::all(self.len());
        for &term in terms {
            let mut with = Live::none(self.len());
            self.postings.list(term).for_each(|posting| with.insert(posting.row()));
            rows.intersect(&with);
        }
        rows
    }

    /// The rows whose vector was supplied by the caller, or those whose vector
    /// was not.
    pub fn of_kind(&self, supplied: bool) -> Live {
        let mut rows = Live::none(self.len());
        (0..self.len() as u32)
            .filter(|&row| self.is_supplied(row) == supplied)
            .for_each(|row| rows.insert(row));
        rows
    }

    /// Bytes of anonymous memory, without the payload.
    pub fn heap_bytes(&self) -> usize {
        self.ids.heap_bytes()
            + self.created.heap_bytes()
            + self.lengths.heap_bytes()
            + self.supplied.heap_bytes()
            + self.sketches.heap_bytes()
            + self.postings.heap_bytes()
    }

    /// The terms of every row, found by inverting the lists: a forward index
    /// for work that goes through all rows at once.
    pub fn terms_by_row(&self) -> Vec<Vec<(Term, Count)>> {
        let mut rows = vec![Vec::new(); self.len()];
        for (term, list) in self.postings.iter() {
            for posting in list.iter() {
                if let Some(terms) = rows.get_mut(posting.row() as usize) {
                    terms.push((term, posting.count()));
                }
            }
        }
        rows
    }
}

impl<T: Clone> Segment<Vec<T>> {
    /// These rows and one more, in its place. All are copied: it is for short
    /// segments, of which it makes a new one in a few microseconds.
    pub fn with(&self, row: &Row, payload: T) -> Self {
        let at = self.ids.iter().take_while(|&id| id < row.id.0 as i64).count();
        let words = row.sketch.len();
        let size = (self.len() + 1).div_ceil(LANES) * LANES * words;
        let mut sketches = Vec::with_capacity(size);
        sketches.extend_from_slice(&self.sketches);
        sketches.resize(size, 0);
        let mut supplied = vec![0u64; (self.len() + 1).div_ceil(64)];
        for old in 0..self.len() {
            set(&mut supplied, old + usize::from(old >= at), self.is_supplied(old as u32));
        }
        set(&mut supplied, at, row.supplied);
        (at..self.len()).for_each(|old| scatter(&mut sketches, words, old + 1, self.sketch(old)));
        scatter(&mut sketches, words, at, row.sketch.iter().copied());
        Self {
            ids: self.ids.with(at, row.id.0 as i64),
            created: self.created.with(at, row.created),
            lengths: inserted(&self.lengths, at, row.length.get()).into(),
            shortest: self.shortest.min(row.length),
            supplied: supplied.into(),
            sketches: sketches.into(),
            postings: self.postings.with_row(at as u32, &row.terms),
            rows: inserted(&self.rows, at, payload),
        }
    }

    /// One segment of the live rows of `parts`.
    pub fn merge(parts: &[(&Segment<Vec<T>>, &Live)]) -> Self {
        let (order, remaps) = interleave(parts);
        let words = parts.iter().map(|(segment, _)| segment.sketch_words()).max().unwrap_or_default();
        let mut sketches = vec![0; order.len().div_ceil(LANES) * LANES * words];
        let mut supplied = vec![0u64; order.len().div_ceil(64)];
        let mut payload = Vec::with_capacity(order.len());
        for (at, &(part, row)) in order.iter().enumerate() {
            let segment = parts[part].0;
            scatter(&mut sketches, words, at, segment.sketch(row));
            set(&mut supplied, at, segment.is_supplied(row as u32));
            payload.push(segment.rows[row].clone());
        }
        let lists: Vec<(&Postings, &[u32])> = parts
            .iter()
            .zip(&remaps)
            .map(|((segment, _), remap)| (&segment.postings, remap.as_slice()))
            .collect();
        let numbers = |column: fn(&Self) -> &Numbers| {
            order.iter().filter_map(|&(part, row)| column(parts[part].0).get(row)).collect()
        };
        Self {
            ids: numbers(|segment| &segment.ids),
            created: numbers(|segment| &segment.created),
            lengths: order.iter().map(|&(part, row)| parts[part].0.lengths[row]).collect(),
            shortest: parts.iter().map(|(segment, _)| segment.shortest).min().unwrap_or_default(),
            supplied: supplied.into(),
            sketches: sketches.into(),
            postings: Postings::merge(&lists),
            rows: payload,
        }
    }
}

/// The live rows of all parts in ascending order of ids, as (part, row), and
/// for each part the new row of every old one.
fn interleave<R>(parts: &[(&Segment<R>, &Live)]) -> (Vec<(usize, usize)>, Vec<Vec<u32>>) {
    let total = parts.iter().map(|(_, live)| live.len()).sum();
    let mut keyed: Vec<(i64, usize, usize)> = Vec::with_capacity(total);
    for (part, (segment, live)) in parts.iter().enumerate() {
        let ids = live.iter().map(|row| (segment.ids.get(row as usize), part, row as usize));
        keyed.extend(ids.filter_map(|(id, part, row)| Some((id?, part, row))));
    }
    // Runs that are sorted already: the merge sort of the standard library
    // finds them and merges in one pass.
    keyed.sort();
    let mut remaps: Vec<Vec<u32>> = parts.iter().map(|(segment, _)| vec![DROPPED; segment.len()]).collect();
    for (new, &(_, part, row)) in keyed.iter().enumerate() {
        remaps[part][row] = new as u32;
    }
    (keyed.into_iter().map(|(_, part, row)| (part, row)).collect(), remaps)
}

/// `items` with one more at place `at`.
fn inserted<T: Clone>(items: &[T], at: usize, item: T) -> Vec<T> {
    let (before, after) = items.split_at_checked(at).unwrap_or((items, &[]));
    let mut all = Vec::with_capacity(items.len() + 1);
    all.extend_from_slice(before);
    all.push(item);
    all.extend_from_slice(after);
    all
}

fn scatter(sketches: &mut [u64], words: usize, row: usize, sketch: impl Iterator<Item = u64>) {
    let start = row / LANES * LANES * words + row % LANES;
    let places = sketches.iter_mut().skip(start).step_by(LANES);
    places.zip(sketch.take(words)).for_each(|(place, word)| *place = word);
}

fn set(bits: &mut [u64], at: usize, value: bool) {
    if let Some(word) = bits.get_mut(at / 64) {
        *word |= u64::from(value) << (at % 64);
    }
}
