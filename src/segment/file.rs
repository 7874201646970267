//! The file of a packed segment: a header, then its columns, each aligned to 64 bytes, then the header
//! again. All is little-endian. The log lists the file, with its length and the checksum of its header.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `MNEMOSEG` |
//! | 8 | version of this layout, 7 |
//! | 8 | version of the text analysis |
//! | 8 | the number of the log that lists it |
//! | 8 | the number of the segment |
//! | 8 | the number of the log's next commit when the file was written; all before were on the disk |
//! | 4 | the tier of its memories |
//! | 4 | the namespace of its memories |
//! | 8 | number of columns |
//! | 32 each | id, start and length in bytes, and XXH3-64 of every column that is not empty |
//! | 8 | XXH3-64 of the preceding bytes |
//!
//! The last 8 bytes of the file are the length of the header, whose copy is in front of them. With it, one
//! damaged byte costs no more than a few rows: each record has a checksum of its own.
//!
//! The ids of columns are those of [`COLUMNS`]. A reader skips a column that it does not know,
//! unless bit 31 of its id says that the others mean something else with it. These ids are reserved:
//!
//! | id | for |
//! |---|---|
//! | 40 | the session of each row, and its position there |
//! | 41 | the language of each row |
//! | 42 | a hash of each row's content |
//! | 43 | the version of each row |
//! | 2^31 + 44 | when each row expires |
//! | 2^31 + 45 | which rows are superseded, and by what |
#![allow(unsafe_code, reason = "mapping a file is unsafe; the argument stands at the call")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
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
use super::{Contents, Origin, Owners, Packed, Postings, Segment};
use crate::encoder::Encoder;
use crate::error::Error;
use crate::identity::shown;
use crate::key::{NamespaceId, TierKind};

#[cfg(target_endian = "big")]
compile_error!("segments are mapped as they are, little-endian");

const MAGIC: &[u8; 8] = b"MNEMOSEG";
const VERSION: u64 = 7;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;
const ALIGNMENT: usize = 64;
/// Far more than a version of this layout will have.
const MAX_COLUMNS: usize = 1_024;
/// The bit of a column's id that says that a reader must know it.
const REQUIRED: u64 = 1 << 31;

/// The ids of the columns, in the order of the file.
pub const COLUMNS: [u64; 31] = {
    let (mut ids, mut at) = ([0; 31], 0);
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
    let [terms, offsets, rows, counts, shares, highest] = segment.postings.columns();
    let (first_end, ends, far_ends) = records.ends.columns();
    let [namespaces, window_ends, order] = match &segment.owners {
        Some(owners) => owners.columns().map(|column| column.as_bytes()),
        None => [&[][..]; 3],
    };
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
        terms,
        offsets,
        rows,
        counts,
        shares,
        highest,
        bytemuck::cast_slice(first_end),
        ends.as_bytes(),
        far_ends.as_bytes(),
        records.block_starts.as_bytes(),
        records.block_ends.as_bytes(),
        records.checksums.as_bytes(),
        records.bytes.as_bytes(),
        forward.ends.as_bytes(),
        forward.bytes.as_bytes(),
        vectors.words.as_bytes(),
        vectors.checksums.as_bytes(),
        namespaces,
        window_ends,
        order,
    ]
}

/// What a segment's file says of the segment as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The number of the log that lists it.
    pub log: u64,
    /// The number of the segment.
    pub number: u64,
    /// The number of the log's next commit when the file was written. All before were on the disk.
    pub commit: u64,
    /// The tier of its memories.
    pub tier: TierKind,
    /// Whose memories it holds; [`NamespaceId::SHARED`] if they are of several namespaces.
    pub namespace: NamespaceId,
}

/// The bytes of a packed segment's file.
pub fn serialize(segment: &Segment, label: Label) -> AlignedBytes {
    serialize_columns(&columns(segment), label)
}

/// The bytes of a file with these columns, in the order of [`COLUMNS`].
pub(crate) fn serialize_columns(columns: &[&[u8]; COLUMNS.len()], label: Label) -> AlignedBytes {
    let written = || COLUMNS.iter().zip(columns).filter(|(_, column)| !column.is_empty());
    let count = written().count();
    let mut places = Vec::with_capacity(count);
    let mut end = HEADER_BYTES + count * ENTRY_BYTES + CHECKSUM_BYTES;
    for (&id, column) in written() {
        let start = end.next_multiple_of(ALIGNMENT);
        end = start + column.len();
        places.push((id, start, *column));
    }
    let whose = u64::from(label.namespace.0) << 32 | label.tier as u64;
    let analysis = u64::from(Encoder::VERSION);
    let magic = u64::from_le_bytes(*MAGIC);
    let numbers = [magic, VERSION, analysis, label.log, label.number, label.commit, whose, count as u64];
    let entries =
        places.iter().flat_map(|&(id, at, column)| [id, at as u64, column.len() as u64, xxh3_64(column)]);
    let mut header: Vec<u8> = numbers.into_iter().chain(entries).flat_map(u64::to_le_bytes).collect();
    header.extend_from_slice(&xxh3_64(&header).to_le_bytes());
    let mut bytes = AlignedBytes::zeroed(end + header.len() + 8);
    let length = (header.len() as u64).to_le_bytes();
    let columns = places.into_iter().map(|(_, start, column)| (start, column));
    let trailer = [(0, &header[..]), (end, &header), (end + header.len(), &length)];
    for (start, content) in columns.chain(trailer) {
        if let Some(to) = bytes.as_mut().get_mut(start..start + content.len()) {
            to.copy_from_slice(content);
        }
    }
    bytes
}

/// A file's length, and the checksum of its header.
pub fn fingerprint(bytes: &AlignedBytes) -> (u64, u64) {
    let checksum = Header::front(bytes.as_ref()).map_or(0, |header| header.checksum);
    (bytes.as_ref().len() as u64, checksum)
}

/// Opens the file at `path` as segment `number`: in RAM if it is to be `pinned`, else mapped. It must
/// have the given [`fingerprint`]. All its checksums are compared.
///
/// # Errors
/// [`Error::Io`] if it cannot be opened, [`Error::Corrupt`] if its content differs from what was
/// written.
pub fn open(path: &Path, number: u64, expected: (u64, u64), pinned: bool) -> Result<Segment, Error> {
    let damaged = |what: &str| Error::Corrupt { path: shown(path), what: what.into() };
    let bytes = bytes_of(path, pinned).map_err(|error| Error::io(path, error))?;
    if (*bytes).as_ref().len() as u64 != expected.0 {
        return Err(damaged("its length"));
    }
    let header = Header::front((*bytes).as_ref());
    let header = header.filter(|header| header.is_sound && header.checksum == expected.1);
    let header = header.ok_or_else(|| damaged("its header"))?;
    let copy = Header::back((*bytes).as_ref());
    if copy.is_none_or(|copy| !copy.is_sound || copy.checksum != header.checksum) {
        return Err(damaged("the copy of its header"));
    }
    if !header.columns.iter().all(|column| column.is_sound((*bytes).as_ref())) {
        return Err(damaged("its content"));
    }
    read(bytes, number, pinned).ok_or_else(|| damaged("its layout"))
}

/// The content of a file: in RAM if it is to be `pinned`, else mapped.
pub(super) fn bytes_of(path: &Path, pinned: bool) -> io::Result<SharedBytes> {
    let mut file = File::open(path)?;
    if pinned {
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        return Ok(Arc::new(Bytes::Held(AlignedBytes::read(&mut file, length)?)));
    }
    map(&file)
}

/// Writes a file that has no name, and maps it. It is gone when the map is, also if the process is killed.
///
/// # Errors
/// The operating system's.
pub fn write_unnamed(content: &[u8]) -> io::Result<SharedBytes> {
    let mut file = tempfile::tempfile()?;
    file.write_all(content)?;
    map(&file)
}

fn map(file: &File) -> io::Result<SharedBytes> {
    // SAFETY: a map is undefined behaviour when the file changes under it. A segment's file is never written again
    // after it got its name, and the store's lock keeps other engines out. One without a name is nobody else's.
    Ok(Arc::new(Bytes::Mapped(unsafe { Mmap::map(file) }?)))
}

/// Reads the columns, whatever their checksums; `None` when they contradict one another.
pub fn read(bytes: SharedBytes, number: u64, pinned: bool) -> Option<Segment> {
    let length = (*bytes).as_ref().len();
    let mut columns = Columns::new(Header::front((*bytes).as_ref())?, bytes)?;
    let (ids, created) = (columns.numbers()?, columns.numbers()?);
    let lengths: Column<u16> = columns.next()?;
    let (importance, accesses) = (columns.next()?, columns.next()?);
    let (supplied, sketches) = (columns.next::<u64>()?, columns.next()?);
    let lists = (columns.next()?, columns.next()?);
    let rows = columns.next()?;
    let shares = [columns.next()?, columns.next()?, columns.next()?];
    let postings = Postings::from_columns(lists, rows, shares, ids.len())?;
    let records = columns.records()?;
    let forward = Forward { ends: columns.next()?, bytes: columns.next()? };
    let vectors = columns.vectors(&supplied)?;
    let (namespaces, ends, order): (Column<u32>, Column<u32>, Column<u32>) =
        (columns.next()?, columns.next()?, columns.next()?);
    let owners = if namespaces.is_empty() {
        None
    } else {
        Some(Box::new(Owners::from_columns(namespaces, ends, order, &ids)?))
    };
    let segment = Segment {
        ids,
        created,
        lengths,
        importance,
        accesses,
        supplied,
        sketches,
        postings,
        owners,
        contents: Contents::Packed(Box::new(Packed { records, forward, vectors })),
        origin: Some(Origin { number, bytes: length, pinned }),
    };
    segment.is_consistent().then_some(segment)
}

/// What a file says of itself: its label, and its [`fingerprint`]. `None` if both headers are damaged.
///
/// # Errors
/// The operating system's.
pub fn describe(path: &Path) -> io::Result<Option<(Label, (u64, u64))>> {
    let bytes = bytes_of(path, false)?;
    let all = (*bytes).as_ref();
    Ok(Header::sound(all).map(|header| (header.label, (all.len() as u64, header.checksum))))
}

/// The header of a file.
pub(super) struct Header {
    label: Label,
    pub columns: Vec<Place>,
    /// Its own, as it stands there.
    pub checksum: u64,
    /// Whether that is right.
    is_sound: bool,
}

/// Where a column stands.
#[derive(Clone)]
pub(super) struct Place {
    pub id: u64,
    range: Range<usize>,
    checksum: u64,
}

impl Place {
    pub(super) fn is_sound(&self, file: &[u8]) -> bool {
        file.get(self.range.clone()).is_some_and(|column| xxh3_64(column) == self.checksum)
    }
}

impl Header {
    /// The one at the start of a file; `None` if it is none of this version.
    fn front(file: &[u8]) -> Option<Self> {
        let number = |at: usize| file.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let place = |at: usize| usize::try_from(number(at)?).ok();
        (file.get(..8)? == MAGIC && number(8)? == VERSION).then_some(())?;
        (number(16)? == u64::from(Encoder::VERSION)).then_some(())?;
        let whose = number(48)?;
        let tier = *TierKind::ALL.get(whose as u32 as usize)?;
        let label = Label {
            log: number(24)?,
            number: number(32)?,
            commit: number(40)?,
            tier,
            namespace: NamespaceId((whose >> 32) as u32),
        };
        let count = place(56).filter(|&count| count <= MAX_COLUMNS)?;
        let mut columns = Vec::with_capacity(count);
        for at in (0..count).map(|entry| HEADER_BYTES + entry * ENTRY_BYTES) {
            let (id, start) = (number(at)?, place(at + 8)?);
            (COLUMNS.contains(&id) || id & REQUIRED == 0).then_some(())?;
            let range = start..start.checked_add(place(at + 16)?)?;
            columns.push(Place { id, range, checksum: number(at + 24)? });
        }
        let end = HEADER_BYTES + count * ENTRY_BYTES;
        let checksum = number(end)?;
        let is_sound = xxh3_64(file.get(..end)?) == checksum;
        Some(Self { label, columns, checksum, is_sound })
    }

    /// The one whose checksum is right.
    pub(super) fn sound(file: &[u8]) -> Option<Self> {
        [Self::front(file), Self::back(file)].into_iter().flatten().find(|header| header.is_sound)
    }

    /// The copy at the end of a file.
    fn back(file: &[u8]) -> Option<Self> {
        let (content, length) = file.split_last_chunk::<8>()?;
        let start = content.len().checked_sub(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        Self::front(content.get(start..)?)
    }
}

/// The columns of a file, which are taken in the order of [`COLUMNS`].
pub(super) struct Columns {
    bytes: SharedBytes,
    ranges: BTreeMap<u64, Range<usize>>,
    order: std::array::IntoIter<u64, { COLUMNS.len() }>,
    /// Whether a column that was cut is taken as far as it goes.
    pub is_lenient: bool,
}

impl Columns {
    /// `None` if a column is there twice.
    pub(super) fn new(header: Header, bytes: SharedBytes) -> Option<Self> {
        let mut ranges = BTreeMap::new();
        for Place { id, range, .. } in header.columns {
            ranges.insert(id, range).is_none().then_some(())?;
        }
        Some(Self { bytes, ranges, order: COLUMNS.into_iter(), is_lenient: false })
    }

    /// The next column, which is empty if the file does not have it.
    pub(super) fn next<T: Pod>(&mut self) -> Option<Column<T>> {
        let Some(mut range) = self.ranges.remove(&self.order.next()?) else { return Some(Vec::new().into()) };
        if self.is_lenient {
            let left = (*self.bytes).as_ref().len().saturating_sub(range.start).min(range.len());
            range.end = range.start + left / size_of::<T>() * size_of::<T>();
            if range.is_empty() {
                return Some(Vec::new().into());
            }
        }
        Column::shared(self.bytes.clone(), range)
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.order.by_ref().take(count).for_each(drop);
    }

    pub(super) fn numbers(&mut self) -> Option<Numbers> {
        let least: Column<i64> = self.next()?;
        Numbers::from_columns(&least, self.next()?, self.next()?)
    }

    pub(super) fn records(&mut self) -> Option<Records> {
        let (ends, starts, block_ends) = (self.numbers()?, self.next()?, self.next()?);
        let checksums = self.next()?;
        Some(Records::new(ends, starts, block_ends, self.next()?, checksums))
    }

    pub(super) fn vectors(&mut self, supplied: &[u64]) -> Option<Vectors> {
        let words: Column<u64> = self.next()?;
        let count = supplied.iter().map(|bits| bits.count_ones() as usize).sum();
        let length = words.len().checked_div(count).unwrap_or_default();
        Vectors::new(words, length, supplied, self.next()?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::encoder::{Count, Length, Term};
    use crate::key::MemoryId;
    use crate::segment::{Accesses, Codec, Live, PreparedMemory, Row, Source, merge};

    pub(in crate::segment) const LABEL: Label =
        Label { log: 1, number: 7, commit: 2, tier: TierKind::Warm, namespace: NamespaceId(3) };

    pub(in crate::segment) fn segment() -> Segment {
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
            let read = opened(&serialize(&written, LABEL), pinned).unwrap();
            assert_eq!(columns(&read), columns(&written));
            assert_eq!((read.number(), read.id(2)), (Some(7), Some(MemoryId(5))));
            assert_eq!(read.created.get(2), Some(5 * i64::from(u32::MAX)));
            assert_eq!((read.importance(2), read.accesses(2)), (5.0, 5));
            assert_eq!((read.mapped_bytes() == 0, read.heap_bytes() > 64), (pinned, pinned));
        }
    }

    /// Changes a number in both headers, and their checksums.
    fn put(bytes: &mut AlignedBytes, at: usize, number: u64) {
        let bytes = bytes.as_mut();
        let end = HEADER_BYTES + bytes[56] as usize * ENTRY_BYTES;
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let checksum = xxh3_64(&bytes[..end]).to_le_bytes();
        bytes[end..end + 8].copy_from_slice(&checksum);
        let copy = bytes.len() - 8 - (end + 8);
        bytes.copy_within(..end + 8, copy);
    }

    #[test]
    fn a_file_of_another_version_or_analysis_counts_as_damaged() {
        for (at, number) in [(8, VERSION - 1), (16, u64::from(Encoder::VERSION) + 1)] {
            let mut bytes = serialize(&segment(), LABEL);
            put(&mut bytes, at, number);
            assert!(matches!(opened(&bytes, false), Err(Error::Corrupt { .. })));
        }
    }

    /// Later versions may add columns.
    #[test]
    fn a_column_that_is_not_known_is_skipped_unless_it_must_be_known() {
        for (id, is_taken) in [(30, true), (REQUIRED | 34, false)] {
            let mut bytes = serialize(&segment(), LABEL);
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
