//! An immutable run of memories, by column: what a search has to know of each, and all that is
//! stored of it.
//!
//! A segment is *loose* while it is short: its rows share the memories that were handed in, so that
//! one more row is added in a few microseconds. A *packed* one holds everything in columns, which
//! are in RAM or lent by a mapped [file]. All tiers are made of these two.

pub mod column;
pub mod file;
mod forward;
pub mod live;
mod merge;
pub mod numbers;
pub mod owners;
mod part;
pub mod postings;
mod records;
pub mod salvage;
mod vectors;

use std::sync::Arc;

use rustc_hash::FxHashMap;

pub use self::column::Column;
pub use self::live::Live;
pub use self::merge::{Source, merge, share};
pub use self::numbers::Numbers;
pub use self::owners::Owners;
pub use self::part::Part;
pub use self::postings::{MAX_ROWS, Postings};
pub use self::records::{Block, Codec, CompressedRow};

use self::forward::Forward;
use self::records::Records;
use self::vectors::Vectors;
use crate::encoder::{Count, Length, Term, TermCounts};
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId};

/// The most bits of a vector in its sketch.
pub const SKETCH_BITS: usize = 512;

/// Rows that share one block of the sketch column.
pub const LANES: usize = 16;

/// Sketches of so many words and more would overflow the counters of
/// [`sketch_distances`](crate::hdv::kernels::Kernels::sketch_distances).
const MAX_SKETCH_WORDS: usize = 1 << 10;

/// What the index has to know of one memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its id.
    pub id: MemoryId,
    /// When it happened, in milliseconds since 1970.
    pub created: i64,
    /// How much it matters.
    pub importance: f32,
    /// How often it was accessed, storing it included.
    pub accesses: u32,
    /// The length of its text.
    pub length: Length,
    /// Whether its vector was supplied by the caller, rather than derived from
    /// its text: the two kinds are never compared.
    pub supplied: bool,
    /// Terms of its text, and of its metadata with [`Count::NONE`].
    pub terms: Arc<[(Term, Count)]>,
    /// The first words of its vector.
    pub sketch: Arc<[u64]>,
}

/// A memory that is analyzed and ready to be put into a segment.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedMemory {
    /// What the index has to know.
    pub row: Row,
    /// The words of its vector, if the caller supplied one.
    pub vector: Option<Arc<[u64]>>,
    /// The record, as the log holds it.
    pub record: Arc<[u8]>,
}

/// How often rows were accessed, where that is not what the segment says.
pub type Accesses = FxHashMap<u32, u32>;

/// Memories in ascending order of ids, by column. In a shared segment, they are in ascending order of
/// namespaces first.
pub struct Segment {
    /// Ids, ascending in each namespace.
    pub ids: Numbers,
    /// Times, in milliseconds since 1970.
    pub created: Numbers,
    /// The length of each text.
    pub lengths: Column<u16>,
    /// How much each memory matters. Empty if that is 1 for all.
    importance: Column<f32>,
    /// How often each memory was accessed when it was put here. Empty if that is once for all.
    accesses: Column<u32>,
    /// A bit per row: its vector was supplied by the caller.
    pub supplied: Column<u64>,
    /// The first bits of every vector, in blocks of [`LANES`] rows: word `w` of
    /// all rows of a block stand together.
    pub sketches: Column<u64>,
    /// Inverted lists.
    pub postings: Postings,
    /// Whose memories they are, if they are of several namespaces.
    pub owners: Option<Box<Owners>>,
    contents: Contents,
    origin: Option<Origin>,
}

/// What a segment holds besides the columns that searches go through.
enum Contents {
    /// The memories as they were handed in.
    Loose(Vec<Arc<PreparedMemory>>),
    /// Columns.
    Packed(Box<Packed>),
}

struct Packed {
    records: Records,
    forward: Forward,
    vectors: Vectors,
}

/// The file that a segment was read from.
#[derive(Clone, Copy)]
struct Origin {
    number: u64,
    bytes: usize,
    /// Whether its bytes are in RAM, rather than mapped.
    pinned: bool,
}

impl Segment {
    /// A loose segment of `memories`, which must ascend by id.
    pub fn loose(memories: Vec<Arc<PreparedMemory>>) -> Self {
        debug_assert!(memories.iter().is_sorted_by_key(|memory| memory.row.id));
        Self::of_rows(memories)
    }

    /// A loose segment of memories of several namespaces. It is only there to be [shared](share).
    pub fn loose_of_many(mut memories: Vec<(NamespaceId, Arc<PreparedMemory>)>) -> Self {
        memories.sort_unstable_by_key(|(namespace, memory)| (*namespace, memory.row.id));
        let (namespaces, memories): (Vec<_>, Vec<_>) = memories.into_iter().unzip();
        let mut segment = Self::of_rows(memories);
        segment.owners = Some(Box::new(Owners::new(namespaces, &segment.ids)));
        segment
    }

    fn of_rows(memories: Vec<Arc<PreparedMemory>>) -> Self {
        let rows = || memories.iter().map(|memory| &memory.row);
        let words = rows().next().map_or(0, |row| row.sketch.len());
        let mut sketches = vec![0; memories.len().div_ceil(LANES) * LANES * words];
        let mut supplied = vec![0u64; memories.len().div_ceil(64)];
        for (at, row) in rows().enumerate() {
            scatter(&mut sketches, words, at, row.sketch.iter().copied());
            set(&mut supplied, at, row.supplied);
        }
        Self {
            ids: rows().map(|row| row.id.0 as i64).collect(),
            created: rows().map(|row| row.created).collect(),
            lengths: rows().map(|row| row.length.get()).collect(),
            importance: unless_all(rows().map(|row| row.importance), 1.0),
            accesses: unless_all(rows().map(|row| row.accesses), 1),
            supplied: supplied.into(),
            sketches: sketches.into(),
            postings: Postings::build(rows().map(|row| (&*row.terms, row.length))),
            owners: None,
            contents: Contents::Loose(memories),
            origin: None,
        }
    }

    /// The rows of a loose segment and one more, in its place. All are copied: it is for short
    /// segments, of which it makes a new one in a few microseconds. `None` if this one is packed.
    pub fn with(&self, memory: Arc<PreparedMemory>) -> Option<Self> {
        let Contents::Loose(memories) = &self.contents else { return None };
        let row = &memory.row;
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
        let memories = inserted(memories, at, memory.clone());
        let rows = || memories.iter().map(|memory| &memory.row);
        Some(Self {
            ids: self.ids.with(at, row.id.0 as i64),
            created: self.created.with(at, row.created),
            lengths: inserted(&self.lengths, at, row.length.get()).into(),
            importance: unless_all(rows().map(|row| row.importance), 1.0),
            accesses: unless_all(rows().map(|row| row.accesses), 1),
            supplied: supplied.into(),
            sketches: sketches.into(),
            postings: self.postings.with_row(at as u32, (&row.terms, row.length)),
            owners: None,
            contents: Contents::Loose(memories),
            origin: None,
        })
    }

    /// Number of rows, live or not.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether it is loose.
    pub fn is_loose(&self) -> bool {
        matches!(self.contents, Contents::Loose(_))
    }

    /// Whether several namespaces share it.
    pub fn is_shared(&self) -> bool {
        self.owners.is_some()
    }

    /// The number of the file that it was read from, if it was.
    pub fn number(&self) -> Option<u64> {
        self.origin.map(|origin| origin.number)
    }

    /// The row of memory `id`.
    pub fn find(&self, id: MemoryId) -> Option<u32> {
        let id = i64::try_from(id.0).ok()?;
        match &self.owners {
            Some(owners) => owners.find(id, &self.ids),
            None => self.ids.find(id).map(|row| row as u32),
        }
    }

    /// Whose memory is in `row`; `None` if all are of one namespace.
    pub fn owner(&self, row: u32) -> Option<NamespaceId> {
        self.owners.as_ref()?.of(row)
    }

    /// The id in `row`, if there is such a row.
    pub fn id(&self, row: u32) -> Option<MemoryId> {
        self.ids.get(row as usize).map(|id| MemoryId(id as u64))
    }

    /// The length of the text in `row`.
    pub fn length(&self, row: u32) -> Length {
        self.lengths.get(row as usize).copied().unwrap_or_default().into()
    }

    /// How much the memory in `row` matters.
    pub fn importance(&self, row: u32) -> f32 {
        self.importance.get(row as usize).copied().unwrap_or(1.0)
    }

    /// How often the memory in `row` was accessed when it was put here.
    pub fn accesses(&self, row: u32) -> u32 {
        self.accesses.get(row as usize).copied().unwrap_or(1)
    }

    /// Whether the vector in `row` was supplied by the caller.
    pub fn is_supplied(&self, row: u32) -> bool {
        self.supplied.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Number of 64-bit words of a sketch.
    pub fn sketch_words(&self) -> usize {
        self.sketches.len().checked_div(self.len().div_ceil(LANES) * LANES).unwrap_or_default()
    }

    /// The words of the sketch in `row`.
    pub fn sketch(&self, row: usize) -> impl Iterator<Item = u64> + '_ {
        let words = self.sketch_words();
        let start = row / LANES * LANES * words + row % LANES;
        self.sketches.get(start..).unwrap_or_default().iter().step_by(LANES).take(words).copied()
    }

    /// The record in `row`. If records are compressed, `block` holds the block that was decoded.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn record<'b>(&'b self, row: u32, block: &'b mut Block) -> Result<&'b [u8], Error> {
        let record = match &self.contents {
            Contents::Loose(memories) => memories.get(row as usize).map(|memory| &*memory.record),
            Contents::Packed(packed) => self.id(row).and_then(|id| packed.records.get(row, id, block)),
        };
        record.ok_or_else(|| self.damaged("a record"))
    }

    /// The name of the record in `row`, if it is compressed: then reading it takes longer than a look into a cache.
    pub fn compressed(&self, row: u32) -> Option<CompressedRow> {
        match &self.contents {
            Contents::Loose(_) => None,
            Contents::Packed(packed) => packed.records.compressed(row),
        }
    }

    /// The vector that the caller supplied with the memory in `row`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], also if no vector was supplied.
    pub fn vector(&self, row: u32) -> Result<&[u64], Error> {
        let vector = match &self.contents {
            Contents::Loose(memories) => {
                memories.get(row as usize).and_then(|memory| memory.vector.as_deref())
            }
            Contents::Packed(packed) => packed.vectors.get(&self.supplied, row),
        };
        vector.ok_or_else(|| self.damaged("a vector"))
    }

    /// The terms under which the memory in `row` is listed.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn terms(&self, row: u32) -> Result<Vec<(Term, Count)>, Error> {
        let terms = match &self.contents {
            Contents::Loose(memories) => memories.get(row as usize).map(|memory| memory.row.terms.to_vec()),
            Contents::Packed(packed) => packed.forward.terms(row, &self.postings),
        };
        terms.ok_or_else(|| self.damaged("the terms of a row"))
    }

    /// The terms of the text in `row`.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn counts(&self, row: u32) -> Result<TermCounts, Error> {
        let mut terms = self.terms(row)?;
        terms.retain(|&(_, count)| count != Count::NONE);
        terms.sort_unstable();
        Ok(TermCounts::from_parts(terms, self.length(row)))
    }

    /// All of the memory in `row`, which was accessed so often.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn memory(&self, row: u32, accesses: u32) -> Result<Arc<PreparedMemory>, Error> {
        if let Contents::Loose(memories) = &self.contents
            && let Some(memory) = memories.get(row as usize)
            && memory.row.accesses == accesses
        {
            return Ok(memory.clone());
        }
        let supplied = self.is_supplied(row);
        let vector = supplied.then(|| self.vector(row)).transpose()?.map(Arc::from);
        let record = self.record(row, &mut Block::default())?.into();
        let at = row as usize;
        let row = Row {
            id: self.id(row).unwrap_or_default(),
            created: self.created.get(at).unwrap_or_default(),
            importance: self.importance(row),
            accesses,
            length: self.length(row),
            supplied,
            terms: self.terms(row)?.into(),
            sketch: self.sketch(at).collect(),
        };
        Ok(Arc::new(PreparedMemory { row, vector, record }))
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

    /// Bytes of anonymous memory.
    pub fn heap_bytes(&self) -> usize {
        let contents = match &self.contents {
            Contents::Loose(memories) => memories.iter().map(|memory| memory.bytes()).sum(),
            Contents::Packed(packed) => packed.heap_bytes(),
        };
        let pinned = self.origin.filter(|origin| origin.pinned).map_or(0, |origin| origin.bytes);
        self.ids.heap_bytes()
            + self.created.heap_bytes()
            + self.lengths.heap_bytes()
            + self.importance.heap_bytes()
            + self.accesses.heap_bytes()
            + self.supplied.heap_bytes()
            + self.sketches.heap_bytes()
            + self.postings.heap_bytes()
            + self.owners.as_ref().map_or(0, |owners| owners.heap_bytes())
            + contents
            + pinned
    }

    /// Bytes of the mapped file.
    pub fn mapped_bytes(&self) -> usize {
        self.origin.filter(|origin| !origin.pinned).map_or(0, |origin| origin.bytes)
    }

    /// Whether the columns are of the same rows and point at nothing that is not there. What a
    /// compressed block holds shows when it is read.
    fn is_consistent(&self) -> bool {
        let (rows, words) = (self.len(), self.sketch_words());
        let all_or_none = |length: usize| length == 0 || length == rows;
        let Contents::Packed(packed) = &self.contents else { return false };
        (1..=MAX_ROWS).contains(&rows)
            && self.ids.iter().all(|id| id >= 0)
            && (self.is_shared() || self.ids.iter().is_sorted_by(|a, b| a < b))
            && self.created.len() == rows
            && self.lengths.len() == rows
            && all_or_none(self.importance.len())
            && self.importance.iter().all(|&importance| importance > 0.0 && importance.is_finite())
            && all_or_none(self.accesses.len())
            && self.supplied.len() == rows.div_ceil(64)
            && (1..MAX_SKETCH_WORDS).contains(&words)
            && self.sketches.len() == rows.div_ceil(LANES) * LANES * words
            && packed.records.fits(rows)
            && packed.forward.fits(rows)
    }

    /// The error for a row that does not read as it was written.
    pub fn damaged(&self, what: &str) -> Error {
        let path = self.number().map_or("a segment in RAM".into(), |number| format!("segment {number}"));
        Error::Corrupt { path: path.into(), what: what.into() }
    }
}

impl PreparedMemory {
    /// Bytes of RAM, without its postings in a loose segment.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.row.terms)
            + size_of_val(&*self.row.sketch)
            + self.vector.as_deref().map_or(0, size_of_val)
            + self.record.len()
    }
}

impl Packed {
    fn heap_bytes(&self) -> usize {
        let Records { ends, block_starts, block_ends, bytes, checksums, .. } = &self.records;
        ends.heap_bytes()
            + block_starts.heap_bytes()
            + block_ends.heap_bytes()
            + bytes.heap_bytes()
            + checksums.heap_bytes()
            + self.forward.heap_bytes()
            + self.vectors.heap_bytes()
    }
}

/// The column of `values`, or an empty one if all of them are `usual`.
fn unless_all<T: PartialEq + Copy>(values: impl Iterator<Item = T> + Clone, usual: T) -> Column<T> {
    let all: Vec<T> = if values.clone().all(|value| value == usual) { Vec::new() } else { values.collect() };
    all.into()
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
