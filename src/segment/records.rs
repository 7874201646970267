//! Records of a packed segment: one after another, or in small compressed blocks.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::column::Column;
use super::numbers::Numbers;
use crate::error::Error;
use crate::key::MemoryId;

/// Bytes of records in a block before compression. A block is decoded whole to
/// read one record, in about 4 us. Twice as large ones take 3 % less of the disk in COLD.
const BLOCK_BYTES: usize = 2 << 10;

/// Blocks that claim to hold more than this are refused when they are read:
/// far beyond the longest record.
const MAX_BLOCK_BYTES: u64 = 4 << 20;

/// zstd's own default.
const LEVEL: i32 = 3;

/// How records are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As they are, so that a record is read without decoding anything.
    Plain,
    /// In blocks of 2 KB, compressed with zstd.
    Zstd,
}

/// A record that has to be decompressed: names it among all of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompressedRow {
    records: u64,
    row: u32,
}

#[cfg(test)]
impl CompressedRow {
    pub(crate) fn new(records: u64, row: u32) -> Self {
        Self { records, row }
    }
}

/// The records of a packed segment, in the order of its rows.
pub(super) struct Records {
    /// Tells them from all others of this process.
    id: u64,
    /// Where each record ends, counted over all records before compression.
    pub(super) ends: Numbers,
    /// Where each block begins, counted the same way. Empty if nothing is compressed.
    pub(super) block_starts: Column<u64>,
    /// Where each compressed block ends in `bytes`. Empty if nothing is compressed.
    pub(super) block_ends: Column<u64>,
    /// The records, or the compressed blocks.
    pub(super) bytes: Column<u8>,
    /// A checksum of each record before compression.
    pub(super) checksums: Column<u32>,
}

/// The checksum of the record of memory `id`.
fn checksum(id: MemoryId, record: &[u8]) -> u32 {
    xxh3_64_with_seed(record, id.0) as u32
}

impl Records {
    pub(super) fn new(
        ends: Numbers,
        block_starts: Column<u64>,
        block_ends: Column<u64>,
        bytes: Column<u8>,
        checksums: Column<u32>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), ends, block_starts, block_ends, bytes, checksums }
    }

    /// Whether there are `rows` records and every place is within the columns.
    pub(super) fn fits(&self, rows: usize) -> bool {
        let Self { ends, block_starts, block_ends, bytes, checksums, .. } = self;
        let records = ends.len() == rows
            && checksums.len() == rows
            && ends.get(0).is_some_and(|end| end > 0)
            && ends.iter().is_sorted_by(|a, b| a < b);
        let plain = block_starts.is_empty()
            && block_ends.is_empty()
            && ends.last().and_then(|end| usize::try_from(end).ok()) == Some(bytes.len());
        let blocks = block_starts.first() == Some(&0)
            && block_starts.is_sorted()
            && block_ends.len() == block_starts.len()
            && block_ends.is_sorted()
            && block_ends.last() == Some(&(bytes.len() as u64));
        records && (plain || blocks)
    }

    /// The name of the record in `row`, if it is compressed.
    pub(super) fn compressed(&self, row: u32) -> Option<CompressedRow> {
        (!self.block_starts.is_empty()).then_some(CompressedRow { records: self.id, row })
    }

    /// The record in `row`, of memory `id`. A compressed block is decoded into `block`, unless it is there
    /// already. `None` if the record is not what was written.
    pub(super) fn get<'b>(&'b self, row: u32, id: MemoryId, block: &'b mut Block) -> Option<&'b [u8]> {
        let expected = *self.checksums.get(row as usize)?;
        self.unchecked(row, block).filter(|record| checksum(id, record) == expected)
    }

    fn unchecked<'b>(&'b self, row: u32, block: &'b mut Block) -> Option<&'b [u8]> {
        let range = self.range(row as usize)?;
        if self.block_starts.is_empty() {
            return self.bytes.get(range);
        }
        let at = self.block_starts.partition_point(|&first| first <= range.start as u64).checked_sub(1)?;
        let start = usize::try_from(*self.block_starts.get(at)?).ok()?;
        if block.of != Some((self.id, at)) {
            block.of = None;
            let packed_start =
                at.checked_sub(1).map_or(Some(0), |before| self.block_ends.get(before).copied())?;
            block.decode(self.bytes.get(packed_start as usize..*self.block_ends.get(at)? as usize)?)?;
            block.of = Some((self.id, at));
        }
        block.bytes.get(range.start.checked_sub(start)?..range.end.checked_sub(start)?)
    }

    /// Where the record in `row` stands before compression.
    fn range(&self, row: usize) -> Option<Range<usize>> {
        let start = row.checked_sub(1).map_or(Some(0), |before| self.ends.get(before))?;
        Some(usize::try_from(start).ok()?..usize::try_from(self.ends.get(row)?).ok()?)
    }
}

/// The block that was decoded last.
#[derive(Default)]
pub struct Block {
    /// The id of its records, and its place there.
    of: Option<(u64, usize)>,
    bytes: Vec<u8>,
}

impl Block {
    fn decode(&mut self, packed: &[u8]) -> Option<()> {
        let size = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten()?;
        (size <= MAX_BLOCK_BYTES).then_some(())?;
        self.bytes.clear();
        self.bytes.reserve(size as usize);
        DECODER.with_borrow_mut(|decoder| {
            if decoder.is_none() {
                *decoder = zstd::bulk::Decompressor::new().ok();
            }
            decoder.as_mut()?.decompress_to_buffer(packed, &mut self.bytes).ok().map(drop)
        })
    }
}

thread_local! {
    /// Making a decoder takes longer than decoding a block.
    static DECODER: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Collects the records of a packed segment.
pub(super) struct RecordsBuilder {
    codec: Codec,
    ends: Vec<i64>,
    block_starts: Vec<u64>,
    block_ends: Vec<u64>,
    bytes: Vec<u8>,
    checksums: Vec<u32>,
    /// The records of the block that is not compressed yet.
    open: Vec<u8>,
}

impl RecordsBuilder {
    pub(super) fn new(codec: Codec, rows: usize) -> Self {
        let (block_starts, block_ends, bytes, open) = Default::default();
        let (ends, checksums) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        Self { codec, ends, block_starts, block_ends, bytes, checksums, open }
    }

    /// Adds the record of memory `id`.
    ///
    /// # Errors
    /// [`Error::Io`] if a block cannot be compressed.
    pub(super) fn push(&mut self, id: MemoryId, record: &[u8]) -> Result<(), Error> {
        self.checksums.push(checksum(id, record));
        let start = self.ends.last().copied().unwrap_or_default();
        self.ends.push(start + record.len() as i64);
        if self.codec == Codec::Plain {
            self.bytes.extend_from_slice(record);
            return Ok(());
        }
        if !self.open.is_empty() && self.open.len() + record.len() > BLOCK_BYTES {
            self.compress()?;
        }
        if self.open.is_empty() {
            self.block_starts.push(start.cast_unsigned());
        }
        self.open.extend_from_slice(record);
        Ok(())
    }

    fn compress(&mut self) -> Result<(), Error> {
        if !self.open.is_empty() {
            let packed = zstd::bulk::compress(&self.open, LEVEL);
            let packed = packed.map_err(|error| Error::io(Path::new("a block of records"), error))?;
            self.bytes.extend_from_slice(&packed);
            self.block_ends.push(self.bytes.len() as u64);
            self.open.clear();
        }
        Ok(())
    }

    /// The columns.
    ///
    /// # Errors
    /// As [`RecordsBuilder::push`].
    pub(super) fn finish(mut self) -> Result<Records, Error> {
        self.compress()?;
        let Self { ends, block_starts, block_ends, bytes, checksums, .. } = self;
        let ends = ends.into_iter().collect();
        Ok(Records::new(ends, block_starts.into(), block_ends.into(), bytes.into(), checksums.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_record_reads_back_whatever_the_codec(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 1..40),
        ) {
            for codec in [Codec::Plain, Codec::Zstd] {
                let mut builder = RecordsBuilder::new(codec, records.len());
                let id = |row: usize| MemoryId(row as u64);
                records.iter().enumerate().for_each(|(row, record)| builder.push(id(row), record).unwrap());
                let packed = builder.finish().unwrap();
                prop_assert!(packed.fits(records.len()));
                let mut block = Block::default();
                for (row, record) in records.iter().enumerate() {
                    prop_assert_eq!(packed.get(row as u32, id(row), &mut block), Some(record.as_slice()));
                    prop_assert!(packed.get(row as u32, id(row + 1), &mut block).is_none(), "another memory's");
                }
                prop_assert!(packed.get(records.len() as u32, id(0), &mut block).is_none());
            }
        }
    }
}
