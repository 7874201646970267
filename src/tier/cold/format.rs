//! The file of a COLD segment: a header, then its columns, each aligned to 64
//! bytes, all little-endian. The log holds the checksum of the whole.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `MNEMOSEG` |
//! | 8 | version of this layout, 3 |
//! | 16 each | start and length in bytes of every column, in the order of [`columns`] |
#![allow(unsafe_code, reason = "mapping a file is unsafe; the argument stands at the call")]

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;
use xxhash_rust::xxh3::xxh3_64;

use super::archive::{Archive, ArchiveColumns};
use crate::error::Error;
use crate::identity::shown;
use crate::index::column::SharedBytes;
use crate::index::postings::MAX_ROWS;
use crate::index::{Column, Numbers, Postings, Segment};
use crate::key::NamespaceId;
use crate::log::{SegmentEntry, sync_folder};

#[cfg(target_endian = "big")]
compile_error!("segments are mapped as they are, little-endian");

const MAGIC: &[u8; 8] = b"MNEMOSEG";
/// Files of another version are made anew from the log, as damaged ones are.
const VERSION: u64 = 3;
pub(super) const COLUMNS: usize = 22;
const HEADER_BYTES: usize = 16 + COLUMNS * 16;
const ALIGNMENT: usize = 64;

/// Where segment `number` lies in `folder`.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.seg"))
}

/// Its name in a depot, which no other content has.
pub(crate) fn depot_name(number: u64, entry: &SegmentEntry) -> String {
    format!("cold/{number:010}-{:016x}", entry.checksum)
}

/// Whether this is a segment's file, or one that was not finished.
pub(super) fn is_ours(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "seg" || ending == "tmp")
}

/// The columns of a segment, in the order of the file.
pub(super) fn columns(segment: &Segment<Archive>) -> [&[u8]; COLUMNS] {
    let (first_id, ids, far_ids) = segment.ids.columns();
    let (first_time, times, far_times) = segment.created.columns();
    let (terms, offsets, rows, counts) = segment.postings.columns();
    let archive = segment.rows.columns();
    [
        bytemuck::cast_slice(first_id),
        ids.as_bytes(),
        far_ids.as_bytes(),
        bytemuck::cast_slice(first_time),
        times.as_bytes(),
        far_times.as_bytes(),
        segment.lengths.as_bytes(),
        segment.supplied.as_bytes(),
        segment.sketches.as_bytes(),
        terms.as_bytes(),
        offsets.as_bytes(),
        rows.as_bytes(),
        counts.as_bytes(),
        archive.ends.as_bytes(),
        archive.block_starts.as_bytes(),
        archive.block_ends.as_bytes(),
        archive.blocks.as_bytes(),
        archive.term_ends.as_bytes(),
        archive.term_places.as_bytes(),
        archive.term_counts.as_bytes(),
        archive.vectors.as_bytes(),
        archive.vector_words.as_bytes(),
    ]
}

/// Writes a segment to its file, durably, and opens that in its place.
pub(super) fn write(
    folder: &Path,
    namespace: NamespaceId,
    segment: &Segment<Archive>,
) -> Result<(Segment<Archive>, SegmentEntry), Error> {
    let number = segment.rows.number();
    let bytes = serialise(&columns(segment));
    let entry = SegmentEntry { namespace, bytes: bytes.len() as u64, checksum: xxh3_64(&bytes) };
    let (path, unfinished) = (path(folder, number), folder.join(format!("{number:010}.tmp")));
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)?;
        sync_folder(folder)
    });
    if let Err(error) = written {
        // Makes room for whatever comes next; if that fails too, the file is
        // deleted when the engine opens.
        let _ = std::fs::remove_file(&unfinished);
        return Err(Error::io(&path, error));
    }
    let segment = open(&path, number, entry).inspect_err(|_| {
        // As above: nothing lists it.
        let _ = std::fs::remove_file(&path);
    });
    Ok((segment?, entry))
}

/// The bytes of a file with these columns.
pub(super) fn serialise(columns: &[&[u8]; COLUMNS]) -> Vec<u8> {
    let room: usize = columns.iter().map(|column| column.len() + ALIGNMENT).sum();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + ALIGNMENT + room);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    let mut start = HEADER_BYTES.next_multiple_of(ALIGNMENT);
    for column in columns {
        bytes.extend_from_slice(&(start as u64).to_le_bytes());
        bytes.extend_from_slice(&(column.len() as u64).to_le_bytes());
        start = (start + column.len()).next_multiple_of(ALIGNMENT);
    }
    for column in columns {
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes.extend_from_slice(column);
    }
    bytes
}

/// Maps the file of segment `number` and checks it against `entry`.
///
/// # Errors
/// [`Error::Io`] if it cannot be opened, [`Error::Corrupt`] if it is not what
/// was written.
pub(super) fn open(path: &Path, number: u64, entry: SegmentEntry) -> Result<Segment<Archive>, Error> {
    let damaged = |what: &str| Error::Corrupt { path: shown(path), what: what.into() };
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let length = file.metadata().map_err(|error| Error::io(path, error))?.len();
    if length != entry.bytes {
        return Err(damaged("its length"));
    }
    // SAFETY: a map is undefined behaviour when the file changes under it. A
    // segment's file is never written again after it got its name, and the
    // store's lock keeps other engines out.
    let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::io(path, error))?;
    if xxh3_64(&map) != entry.checksum {
        return Err(damaged("its content"));
    }
    read(Arc::new(map), number).ok_or_else(|| damaged("its layout"))
}

/// Reads the columns; `None` when they contradict one another.
pub(super) fn read(bytes: SharedBytes, number: u64) -> Option<Segment<Archive>> {
    let all = (*bytes).as_ref();
    let file_bytes = all.len();
    (all.get(..8)? == MAGIC && number_at(all, 8)? == VERSION as usize).then_some(())?;
    let mut ranges = [const { 0..0 }; COLUMNS];
    for (range, at) in ranges.iter_mut().zip((16..).step_by(16)) {
        let (start, length) = (number_at(all, at)?, number_at(all, at + 8)?);
        *range = start..start.checked_add(length)?;
    }
    let columns = &mut ranges.into_iter();
    let ids = lend_numbers(&bytes, columns)?;
    let rows = ids.len();
    let created = lend_numbers(&bytes, columns)?;
    let lengths: Column<u16> = lend(&bytes, columns)?;
    let supplied: Column<u64> = lend(&bytes, columns)?;
    let sketches: Column<u64> = lend(&bytes, columns)?;
    let (terms, offsets) = (lend(&bytes, columns)?, lend(&bytes, columns)?);
    let postings =
        Postings::from_columns(terms, offsets, lend(&bytes, columns)?, lend(&bytes, columns)?, rows)?;
    let archive = ArchiveColumns {
        ends: lend(&bytes, columns)?,
        block_starts: lend(&bytes, columns)?,
        block_ends: lend(&bytes, columns)?,
        blocks: lend(&bytes, columns)?,
        term_ends: lend(&bytes, columns)?,
        term_places: lend(&bytes, columns)?,
        term_counts: lend(&bytes, columns)?,
        vectors: lend(&bytes, columns)?,
        vector_words: lend(&bytes, columns)?,
    };
    let rows = Archive::lent(number, file_bytes, archive);
    let shortest = lengths.iter().min().copied().unwrap_or_default().into();
    let segment = Segment { ids, created, lengths, shortest, supplied, sketches, postings, rows };
    is_consistent(&segment).then_some(segment)
}

/// Whether all columns are of the same rows and point at nothing that is not there.
/// What a block holds shows when it is read.
fn is_consistent(segment: &Segment<Archive>) -> bool {
    let rows = segment.len();
    let supplied = segment.supplied.iter().map(|bits| bits.count_ones() as usize).sum();
    (1..=MAX_ROWS).contains(&rows)
        && segment.created.len() == rows
        && segment.lengths.len() == rows
        && segment.supplied.len() == rows.div_ceil(64)
        && segment.has_ascending_ids()
        && segment.has_whole_sketches()
        && segment.rows.fits(rows, segment.postings.terms(), supplied)
}

fn lend<T: Pod>(bytes: &SharedBytes, ranges: &mut impl Iterator<Item = Range<usize>>) -> Option<Column<T>> {
    Column::shared(bytes.clone(), ranges.next()?)
}

fn lend_numbers(bytes: &SharedBytes, ranges: &mut impl Iterator<Item = Range<usize>>) -> Option<Numbers> {
    let least: Column<i64> = lend(bytes, ranges)?;
    Numbers::from_columns(&least, lend(bytes, ranges)?, lend(bytes, ranges)?)
}

fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(number)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{Count, Length, Term};
    use crate::index::Row;
    use crate::key::MemoryId;

    fn segment() -> Segment<Archive> {
        let row = |id: u64| Row {
            id: MemoryId(id),
            // Too far from one another for offsets.
            created: id as i64 * i64::from(u32::MAX),
            length: Length::new(1),
            supplied: false,
            terms: vec![(Term(id), Count::ONE)],
            sketch: [id].into(),
        };
        let rows: Vec<Row> = (3..9).map(row).collect();
        Archive::segment(0, &rows, rows.iter().map(|_| (b"text".as_slice(), None))).unwrap()
    }

    #[test]
    fn a_segment_reads_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (written, (read, _)) =
            (segment(), write(folder.path(), NamespaceId::default(), &segment()).unwrap());
        assert_eq!(columns(&read), columns(&written));
        assert_eq!(read.id(2), Some(MemoryId(5)));
        assert_eq!(read.created.get(2), Some(5 * i64::from(u32::MAX)));
    }

    #[test]
    fn a_file_of_the_version_before_counts_as_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = serialise(&columns(&segment()));
        bytes[8..16].copy_from_slice(&(VERSION - 1).to_le_bytes());
        let path = path(folder.path(), 0);
        std::fs::write(&path, &bytes).unwrap();
        let (namespace, checksum) = (NamespaceId::default(), xxh3_64(&bytes));
        let entry = SegmentEntry { namespace, bytes: bytes.len() as u64, checksum };
        assert!(matches!(open(&path, 0, entry), Err(Error::Corrupt { .. })));
    }
}
