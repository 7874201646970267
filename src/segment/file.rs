//! The file of a packed segment: a header, then its columns, each aligned to 64 bytes, all
//! little-endian. The log lists the file, with its length and the checksum of the whole.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `MNEMOSEG` |
//! | 8 | version of this layout, 4 |
//! | 8 | version of the text analysis |
//! | 8 | number of columns |
//! | 24 each | id, start and length in bytes of every column that is not empty |
//!
//! The ids of columns are those of [`COLUMNS`]. A reader skips a column that it does not know,
//! unless bit 31 of its id says that the others mean something else with it. These ids are reserved:
//!
//! | id | for |
//! |---|---|
//! | 30 | the session of each row, and its position there |
//! | 31 | the language of each row |
//! | 32 | a hash of each row's content |
//! | 33 | the version of each row |
//! | 2^31 + 34 | when each row expires |
//! | 2^31 + 35 | which rows are superseded, and by what |
#![allow(unsafe_code, reason = "mapping a file is unsafe; the argument stands at the call")]

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;
use xxhash_rust::xxh3::xxh3_64;

use super::column::{AlignedBytes, Bytes, Column, SharedBytes};
use super::forward::Forward;
use super::numbers::Numbers;
use super::records::Records;
use super::vectors::Vectors;
use super::{Contents, Origin, Packed, Postings, Segment};
use crate::encoder::Encoder;
use crate::error::Error;
use crate::identity::shown;

#[cfg(target_endian = "big")]
compile_error!("segments are mapped as they are, little-endian");

const MAGIC: &[u8; 8] = b"MNEMOSEG";
/// The engine rebuilds files of another version from the log, as it does damaged ones.
const VERSION: u64 = 4;
const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 24;
const ALIGNMENT: usize = 64;
/// Far more than a version of this layout will have.
const MAX_COLUMNS: usize = 1_024;
/// The bit of a column's id that says that a reader must know it.
const REQUIRED: u64 = 1 << 31;

/// The ids of the columns, in the order of the file.
pub const COLUMNS: [u64; 25] = {
    let (mut ids, mut at) = ([0; 25], 0);
    while at < ids.len() {
        ids[at] = at as u64 + 1;
        at += 1;
    }
    ids
};

/// The columns of a packed segment, in the order of [`COLUMNS`]; empty ones of a loose segment.
pub(crate) fn columns(segment: &Segment) -> [&[u8]; COLUMNS.len()] {
    let Contents::Packed(packed) = &segment.contents else {
        return [&[]; COLUMNS.len()];
    };
    let Packed { records, forward, vectors } = &**packed;
    let (first_id, ids, far_ids) = segment.ids.columns();
    let (first_time, times, far_times) = segment.created.columns();
    let (terms, offsets, rows, counts) = segment.postings.columns();
    let (first_end, ends, far_ends) = records.ends.columns();
    [
        bytemuck::cast_slice(first_id),
        ids.as_bytes(),
        far_ids.as_bytes(),
        bytemuck::cast_slice(first_time),
        times.as_bytes(),
        far_times.as_bytes(),
        segment.lengths.as_bytes(),
        segment.importance.as_bytes(),
        segment.accesses.as_bytes(),
        segment.supplied.as_bytes(),
        segment.sketches.as_bytes(),
        terms.as_bytes(),
        offsets.as_bytes(),
        rows.as_bytes(),
        counts.as_bytes(),
        bytemuck::cast_slice(first_end),
        ends.as_bytes(),
        far_ends.as_bytes(),
        records.block_starts.as_bytes(),
        records.block_ends.as_bytes(),
        records.bytes.as_bytes(),
        forward.ends.as_bytes(),
        forward.places.as_bytes(),
        forward.counts.as_bytes(),
        vectors.words.as_bytes(),
    ]
}

/// The bytes of a packed segment's file.
pub fn serialize(segment: &Segment) -> AlignedBytes {
    serialize_columns(&columns(segment))
}

/// The bytes of a file with these columns, in the order of [`COLUMNS`].
pub(crate) fn serialize_columns(columns: &[&[u8]; COLUMNS.len()]) -> AlignedBytes {
    let written = || COLUMNS.iter().zip(columns).filter(|(_, column)| !column.is_empty());
    let header = HEADER_BYTES + written().count() * ENTRY_BYTES;
    let mut places = Vec::with_capacity(columns.len());
    let mut end = header;
    for (&id, column) in written() {
        let start = end.next_multiple_of(ALIGNMENT);
        end = start + column.len();
        places.push((id, start, *column));
    }
    let mut bytes = AlignedBytes::zeroed(end);
    let room = bytes.as_mut();
    let count = places.len() as u64;
    let numbers = [u64::from_le_bytes(*MAGIC), VERSION, u64::from(Encoder::VERSION), count];
    let entries = places.iter().flat_map(|&(id, start, column)| [id, start as u64, column.len() as u64]);
    for (to, number) in room.chunks_exact_mut(8).zip(numbers.into_iter().chain(entries)) {
        to.copy_from_slice(&number.to_le_bytes());
    }
    for (_, start, column) in places {
        if let Some(to) = room.get_mut(start..start + column.len()) {
            to.copy_from_slice(column);
        }
    }
    bytes
}

/// A file's length, and its XXH3-64.
pub fn fingerprint(bytes: &AlignedBytes) -> (u64, u64) {
    let bytes = bytes.as_ref();
    (bytes.len() as u64, xxh3_64(bytes))
}

/// Opens the file at `path` as segment `number`: in RAM if it is to be `pinned`, else mapped. It must
/// have the given [`fingerprint`].
///
/// # Errors
/// [`Error::Io`] if it cannot be opened, [`Error::Corrupt`] if its content differs from what was
/// written.
pub fn open(path: &Path, number: u64, expected: (u64, u64), pinned: bool) -> Result<Segment, Error> {
    let damaged = |what: &str| Error::Corrupt { path: shown(path), what: what.into() };
    let failed = |error| Error::io(path, error);
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let Some(length) = usize::try_from(length).ok().filter(|_| length == expected.0) else {
        return Err(damaged("its length"));
    };
    let bytes: SharedBytes = if pinned {
        Arc::new(Bytes::Held(AlignedBytes::read(&mut file, length).map_err(failed)?))
    } else {
        // SAFETY: a map is undefined behaviour when the file changes under it. A
        // segment's file is never written again after it got its name, and the
        // store's lock keeps other engines out.
        Arc::new(Bytes::Mapped(unsafe { Mmap::map(&file) }.map_err(failed)?))
    };
    if xxh3_64((*bytes).as_ref()) != expected.1 {
        return Err(damaged("its content"));
    }
    read(bytes, number, pinned).ok_or_else(|| damaged("its layout"))
}

/// Reads the columns; `None` when they contradict one another.
pub fn read(bytes: SharedBytes, number: u64, pinned: bool) -> Option<Segment> {
    let length = (*bytes).as_ref().len();
    let mut columns = Columns::read(bytes)?;
    let (ids, created) = (columns.numbers()?, columns.numbers()?);
    let lengths: Column<u16> = columns.next()?;
    let (importance, accesses) = (columns.next()?, columns.next()?);
    let (supplied, sketches) = (columns.next::<u64>()?, columns.next()?);
    let (terms, offsets) = (columns.next()?, columns.next()?);
    let postings = Postings::from_columns(terms, offsets, columns.next()?, columns.next()?, ids.len())?;
    let records = Records::new(columns.numbers()?, columns.next()?, columns.next()?, columns.next()?);
    let forward = Forward { ends: columns.next()?, places: columns.next()?, counts: columns.next()? };
    let words: Column<u64> = columns.next()?;
    let count = supplied.iter().map(|bits| bits.count_ones() as usize).sum();
    let length_of_vector = words.len().checked_div(count).unwrap_or_default();
    let vectors = Vectors::new(words, length_of_vector, &supplied)?;
    let segment = Segment {
        ids,
        created,
        shortest: lengths.iter().min().copied().unwrap_or_default().into(),
        lengths,
        importance,
        accesses,
        supplied,
        sketches,
        postings,
        contents: Contents::Packed(Box::new(Packed { records, forward, vectors })),
        origin: Some(Origin { number, bytes: length, pinned }),
    };
    segment.is_consistent().then_some(segment)
}

/// The columns of a file, which are taken in the order of [`COLUMNS`].
struct Columns {
    bytes: SharedBytes,
    ranges: BTreeMap<u64, Range<usize>>,
    order: std::array::IntoIter<u64, { COLUMNS.len() }>,
}

impl Columns {
    fn read(bytes: SharedBytes) -> Option<Self> {
        let all = (*bytes).as_ref();
        let number = |at: usize| all.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let place = |at: usize| usize::try_from(number(at)?).ok();
        (all.get(..8)? == MAGIC && number(8)? == VERSION).then_some(())?;
        (number(16)? == u64::from(Encoder::VERSION)).then_some(())?;
        let count = place(24).filter(|&count| count <= MAX_COLUMNS)?;
        let mut ranges = BTreeMap::new();
        for at in (0..count).map(|entry| HEADER_BYTES + entry * ENTRY_BYTES) {
            let (id, start) = (number(at)?, place(at + 8)?);
            (COLUMNS.contains(&id) || id & REQUIRED == 0).then_some(())?;
            let twice = ranges.insert(id, start..start.checked_add(place(at + 16)?)?);
            twice.is_none().then_some(())?;
        }
        Some(Self { bytes, ranges, order: COLUMNS.into_iter() })
    }

    /// The next column, which is empty if the file does not have it.
    fn next<T: Pod>(&mut self) -> Option<Column<T>> {
        match self.ranges.remove(&self.order.next()?) {
            Some(range) => Column::shared(self.bytes.clone(), range),
            None => Some(Vec::new().into()),
        }
    }

    fn numbers(&mut self) -> Option<Numbers> {
        let least: Column<i64> = self.next()?;
        Numbers::from_columns(&least, self.next()?, self.next()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{Count, Length, Term};
    use crate::key::MemoryId;
    use crate::segment::{Accesses, Codec, Live, PreparedMemory, Row, Source, merge};

    fn segment() -> Segment {
        let memory = |id: u64| {
            let row = Row {
                id: MemoryId(id),
                // Too far from one another for offsets.
                created: id as i64 * i64::from(u32::MAX),
                importance: id as f32,
                accesses: id as u32,
                length: Length::new(1),
                supplied: false,
                terms: [(Term(id), Count::ONE)].into(),
                sketch: [id].into(),
            };
            Arc::new(PreparedMemory { row, vector: None, record: [b't'; 4].into() })
        };
        let loose = Segment::loose((3..9).map(memory).collect());
        let (live, accesses) = (Live::all(loose.len()), Accesses::default());
        let source = Source { segment: &loose, live: &live, accesses: &accesses };
        merge(&[source], Some(Codec::Plain)).unwrap().unwrap()
    }

    fn opened(bytes: &AlignedBytes, pinned: bool) -> Result<Segment, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        std::fs::write(&path, bytes).unwrap();
        open(&path, 7, fingerprint(bytes), pinned)
    }

    #[test]
    fn a_segment_reads_back_from_its_file_mapped_or_pinned() {
        let written = segment();
        for pinned in [false, true] {
            let read = opened(&serialize(&written), pinned).unwrap();
            assert_eq!(columns(&read), columns(&written));
            assert_eq!((read.number(), read.id(2)), (Some(7), Some(MemoryId(5))));
            assert_eq!(read.created.get(2), Some(5 * i64::from(u32::MAX)));
            assert_eq!((read.importance(2), read.accesses(2)), (5.0, 5));
            assert_eq!((read.mapped_bytes() == 0, read.heap_bytes() > 64), (pinned, pinned));
        }
    }

    fn put(bytes: &mut AlignedBytes, at: usize, number: u64) {
        bytes.as_mut()[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }

    #[test]
    fn a_file_of_another_version_or_analysis_counts_as_damaged() {
        for (at, number) in [(8, VERSION - 1), (16, u64::from(Encoder::VERSION) + 1)] {
            let mut bytes = serialize(&segment());
            put(&mut bytes, at, number);
            assert!(matches!(opened(&bytes, false), Err(Error::Corrupt { .. })));
        }
    }

    /// Later versions may add columns.
    #[test]
    fn a_column_that_is_not_known_is_skipped_unless_it_must_be_known() {
        for (id, is_taken) in [(30, true), (REQUIRED | 34, false)] {
            let mut bytes = serialize(&segment());
            // That of importance, which is 1 then.
            let places = (0..).map(|entry| HEADER_BYTES + entry * ENTRY_BYTES);
            let entry = places.clone().find(|&at| bytes.as_ref()[at] == 8).unwrap();
            put(&mut bytes, entry, id);
            let read = opened(&bytes, false);
            assert_eq!(read.is_ok(), is_taken, "{id}");
            assert!(read.ok().is_none_or(|read| read.importance(2) == 1.0));
        }
    }
}
