//! Records in small compressed blocks, and the vectors that callers supplied.

use std::cell::RefCell;

use zstd::bulk::Decompressor;

use crate::error::Error;
use crate::index::{Column, Part, Row, Segment};

/// Bytes of records in a block before compression. A block is decoded whole to
/// read one record, in about 8 us.
const BLOCK_BYTES: usize = 4 << 10;

/// Blocks that claim to hold more than this are refused when they are read:
/// far beyond the longest record.
const MAX_BLOCK_BYTES: u64 = 4 << 20;

/// zstd's own default.
const LEVEL: i32 = 3;

/// What COLD keeps of its memories, besides their rows in the index.
pub(super) struct Archive {
    number: u64,
    file_bytes: usize,
    columns: ArchiveColumns,
}

/// The columns of an [`Archive`], as they stand in the file.
pub(super) struct ArchiveColumns {
    /// Where each record ends, counted over all records before compression.
    pub ends: Column<u64>,
    /// Where each block begins, counted the same way.
    pub block_starts: Column<u64>,
    /// Where each compressed block ends in `blocks`.
    pub block_ends: Column<u64>,
    /// The compressed blocks.
    pub blocks: Column<u8>,
    /// Words of the supplied vectors, in the order of their rows.
    pub vectors: Column<u64>,
    /// Words of one vector; one number.
    pub vector_words: Column<u64>,
}

impl Archive {
    /// Compresses `records`; `vectors` are those of the rows whose vector was
    /// supplied, in their order.
    pub(super) fn build<'a>(
        number: u64,
        records: impl IntoIterator<Item = &'a [u8]>,
        vectors: &[&[u64]],
    ) -> Result<Self, Error> {
        let mut blocks = Blocks::default();
        for record in records {
            blocks.push(record)?;
        }
        blocks.flush()?;
        let vector_words = vectors.first().map_or(0, |words| words.len()) as u64;
        let columns = ArchiveColumns {
            ends: blocks.ends.into(),
            block_starts: blocks.starts.into(),
            block_ends: blocks.compressed_ends.into(),
            blocks: blocks.compressed.into(),
            vectors: vectors.iter().flat_map(|words| words.iter().copied()).collect(),
            vector_words: vec![vector_words].into(),
        };
        Ok(Self { number, file_bytes: 0, columns })
    }

    /// An archive whose columns are lent by a file of `file_bytes` bytes.
    pub(super) fn lent(number: u64, file_bytes: usize, columns: ArchiveColumns) -> Self {
        Self { number, file_bytes, columns }
    }

    /// The number of its segment.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of its file.
    pub(super) fn file_bytes(&self) -> usize {
        self.file_bytes
    }

    /// Its columns, for writing them.
    pub(super) fn columns(&self) -> &ArchiveColumns {
        &self.columns
    }

    /// The record in `row`; `block` is room for the block that it stands in.
    pub(super) fn record<'b>(&self, row: u32, block: &'b mut Vec<u8>) -> Result<&'b [u8], Error> {
        let found = self.read(row as usize, block);
        found.and_then(|(from, to)| block.get(from..to)).ok_or_else(|| self.damaged("a record"))
    }

    /// Decodes the block of `row`, and says where in it the record stands.
    fn read(&self, row: usize, block: &mut Vec<u8>) -> Option<(usize, usize)> {
        let columns = &self.columns;
        let end = *columns.ends.get(row)?;
        let start = ending_before(&columns.ends, row)?;
        let at = columns.block_starts.partition_point(|&first| first <= start).checked_sub(1)?;
        let block_start = *columns.block_starts.get(at)?;
        let packed = ending_before(&columns.block_ends, at)? as usize..*columns.block_ends.get(at)? as usize;
        let packed = columns.blocks.get(packed)?;
        let size = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten()?;
        (size <= MAX_BLOCK_BYTES).then_some(())?;
        block.clear();
        block.reserve(size as usize);
        decompress(packed, block)?;
        Some(((start - block_start) as usize, end.checked_sub(block_start)? as usize))
    }

    /// The supplied vector in `row`, of which `supplied` has the bit set.
    pub(super) fn vector(&self, supplied: &[u64], row: u32) -> Result<&[u64], Error> {
        let (word, bit) = (row as usize / 64, row % 64);
        let before: u32 = supplied.iter().take(word).map(|bits| bits.count_ones()).sum();
        let within = supplied.get(word).map_or(0, |bits| (bits & ((1 << bit) - 1)).count_ones());
        let words = self.columns.vector_words.first().copied().unwrap_or_default() as usize;
        let start = (before + within) as usize * words;
        self.columns.vectors.get(start..start + words).ok_or_else(|| self.damaged("a vector"))
    }

    fn damaged(&self, what: &str) -> Error {
        Error::Corrupt { path: format!("COLD segment {}", self.number).into(), what: what.into() }
    }
}

/// Decodes `packed` into the capacity of `block`.
fn decompress(packed: &[u8], block: &mut Vec<u8>) -> Option<()> {
    thread_local! {
        /// Kept: making one takes longer than decoding a block.
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Decompressor::new().ok();
        }
        kept.as_mut()?.decompress_to_buffer(packed, block).ok().map(drop)
    })
}

/// The end of what stands before `at`, which is where it starts itself.
fn ending_before(ends: &[u64], at: usize) -> Option<u64> {
    at.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())
}

/// One segment of all live rows of `parts`; `None` if there are none.
pub(super) fn merge(number: u64, parts: &[Part<Archive>]) -> Result<Option<Segment<Archive>>, Error> {
    let mut sources: Vec<(Row, &Part<Archive>, u32)> = Vec::new();
    for part in parts {
        let mut terms = part.segment.terms_by_row();
        for row in part.live.iter() {
            let terms = terms.get_mut(row as usize).map(std::mem::take).unwrap_or_default();
            sources.push((part.segment.row(row, terms), part, row));
        }
    }
    if sources.is_empty() {
        return Ok(None);
    }
    sources.sort_by_key(|(row, ..)| row.id);
    let (mut records, mut vectors, mut block) = (Vec::new(), Vec::new(), Vec::new());
    for (entry, part, row) in &sources {
        records.push(part.segment.rows.record(*row, &mut block)?.to_vec());
        if entry.supplied {
            vectors.push(part.segment.rows.vector(&part.segment.supplied, *row)?);
        }
    }
    let archive = Archive::build(number, records.iter().map(Vec::as_slice), &vectors)?;
    let rows: Vec<Row> = sources.into_iter().map(|(row, ..)| row).collect();
    Ok(Some(Segment::build(&rows, archive)))
}

/// Collects records into blocks.
#[derive(Default)]
struct Blocks {
    ends: Vec<u64>,
    starts: Vec<u64>,
    compressed_ends: Vec<u64>,
    compressed: Vec<u8>,
    open: Vec<u8>,
}

impl Blocks {
    fn push(&mut self, record: &[u8]) -> Result<(), Error> {
        if !self.open.is_empty() && self.open.len() + record.len() > BLOCK_BYTES {
            self.flush()?;
        }
        let end = self.ends.last().copied().unwrap_or_default();
        if self.open.is_empty() {
            self.starts.push(end);
        }
        self.open.extend_from_slice(record);
        self.ends.push(end + record.len() as u64);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.open.is_empty() {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&self.open, LEVEL);
        let packed = packed.map_err(|error| Error::io(std::path::Path::new("COLD segment"), error))?;
        self.compressed.extend_from_slice(&packed);
        self.compressed_ends.push(self.compressed.len() as u64);
        self.open.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_record_reads_back_from_its_block(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 1..40),
        ) {
            let archive = Archive::build(0, records.iter().map(Vec::as_slice), &[]).unwrap();
            let mut block = Vec::new();
            for (row, record) in records.iter().enumerate() {
                prop_assert_eq!(archive.record(row as u32, &mut block).unwrap(), record.as_slice());
            }
            prop_assert!(archive.record(records.len() as u32, &mut block).is_err());
        }
    }
}
