//! Records in small compressed blocks, the terms of each row, and the vectors
//! that callers supplied.
//!
//! The terms are there so that a row's vector can be derived again without its
//! text: bundling a dozen known terms takes about 2 us, reading the text first
//! five times that.

use std::cell::RefCell;
use std::ops::Range;

use crate::encoder::{Count, Term, TermCounts};
use crate::error::Error;
use crate::index::{Column, Part, Postings, Row, Segment};

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
    /// Where the terms of each row end in the next two columns.
    pub term_ends: Column<u32>,
    /// The terms of every row, by their place in the inverted lists.
    pub term_places: Column<u32>,
    /// The byte of the [`Count`] of each; metadata is left out.
    pub term_counts: Column<u8>,
    /// Words of the supplied vectors, in the order of their rows.
    pub vectors: Column<u64>,
    /// Words of one vector; one number.
    pub vector_words: Column<u64>,
}

impl Archive {
    /// Makes a segment of `rows`, which ascend by id, and of a record and perhaps a supplied
    /// vector each.
    pub(super) fn segment<'a>(
        number: u64,
        rows: &[Row],
        contents: impl IntoIterator<Item = (&'a [u8], Option<&'a [u64]>)>,
    ) -> Result<Segment<Self>, Error> {
        let index = Segment::build(rows, ());
        let (mut blocks, mut vectors, mut vector_words) = (Blocks::default(), Vec::new(), 0);
        for (record, vector) in contents {
            blocks.push(record)?;
            if let Some(vector) = vector {
                vectors.extend_from_slice(vector);
                vector_words = vector.len() as u64;
            }
        }
        blocks.flush()?;
        let terms = RowTerms::of(rows, &index.postings);
        let columns = ArchiveColumns {
            ends: blocks.ends.into(),
            block_starts: blocks.starts.into(),
            block_ends: blocks.compressed_ends.into(),
            blocks: blocks.compressed.into(),
            term_ends: terms.ends.into(),
            term_places: terms.places.into(),
            term_counts: terms.counts.into(),
            vectors: vectors.into(),
            vector_words: vec![vector_words].into(),
        };
        Ok(index.beside(Self { number, file_bytes: 0, columns }))
    }

    /// An archive whose columns are lent by a file of `file_bytes` bytes.
    pub(super) fn lent(number: u64, file_bytes: usize, columns: ArchiveColumns) -> Self {
        Self { number, file_bytes, columns }
    }

    /// Whether the columns are of `rows` rows, `terms` terms and `supplied` vectors,
    /// and point at nothing that is not there.
    pub(super) fn fits(&self, rows: usize, terms: usize, supplied: usize) -> bool {
        let columns = &self.columns;
        let ends_at = |ends: &[u64], length: usize| ends.last() == Some(&(length as u64));
        let records = columns.ends.len() == rows
            && columns.ends.first().is_some_and(|&end| end > 0)
            && columns.ends.is_sorted_by(|a, b| a < b)
            && columns.block_starts.first() == Some(&0)
            && columns.block_starts.is_sorted()
            && columns.block_ends.len() == columns.block_starts.len()
            && columns.block_ends.is_sorted()
            && ends_at(&columns.block_ends, columns.blocks.len());
        let texts = columns.term_ends.len() == rows
            && columns.term_ends.is_sorted()
            && columns.term_ends.last().is_some_and(|&end| end as usize == columns.term_places.len())
            && columns.term_places.len() == columns.term_counts.len()
            && columns.term_places.iter().all(|&place| (place as usize) < terms)
            && columns.term_counts.iter().all(|&count| count != Count::NONE.to_byte());
        let vectors = match &*columns.vector_words {
            [words] => words.checked_mul(supplied as u64) == Some(columns.vectors.len() as u64),
            _ => false,
        };
        records && texts && vectors
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

    /// The record in `row`; its block is decoded into `block`, unless it is
    /// there already.
    pub(super) fn record<'b>(&self, row: u32, block: &'b mut Block) -> Result<&'b [u8], Error> {
        let found = self.read(row as usize, block);
        found.and_then(|range| block.bytes.get(range)).ok_or_else(|| self.damaged("a record"))
    }

    /// Decodes the block of `row`, and says where in it the record stands.
    fn read(&self, row: usize, block: &mut Block) -> Option<Range<usize>> {
        let columns = &self.columns;
        let end = *columns.ends.get(row)?;
        let start = ending_before(&columns.ends, row)?;
        let at = columns.block_starts.partition_point(|&first| first <= start).checked_sub(1)?;
        let block_start = *columns.block_starts.get(at)?;
        if block.place != Some((self.number, at)) {
            let packed =
                ending_before(&columns.block_ends, at)? as usize..*columns.block_ends.get(at)? as usize;
            block.place = None;
            block.decode(columns.blocks.get(packed)?)?;
            block.place = Some((self.number, at));
        }
        Some(start.checked_sub(block_start)? as usize..end.checked_sub(block_start)? as usize)
    }

    /// The supplied vector in `row`, of which `supplied` has the bit set.
    pub(super) fn vector(&self, supplied: &[u64], row: u32) -> Result<&[u64], Error> {
        let (word, bit) = (row as usize / 64, row % 64);
        let before: u32 = supplied.iter().take(word).map(|bits| bits.count_ones()).sum();
        let within = supplied.get(word).map_or(0, |bits| (bits & ((1 << bit) - 1)).count_ones());
        let words = self.columns.vector_words.first().copied().unwrap_or_default() as usize;
        let mut vectors = self.columns.vectors.chunks_exact(words.max(1));
        vectors.nth((before + within) as usize).ok_or_else(|| self.damaged("a vector"))
    }

    /// The terms of the text in `row` of `segment`, whose archive this is; `None` if the columns
    /// contradict one another.
    pub(super) fn terms(&self, segment: &Segment<Self>, row: u32) -> Option<TermCounts> {
        let columns = &self.columns;
        let start =
            row.checked_sub(1).map_or(Some(0), |before| columns.term_ends.get(before as usize).copied())?;
        let range = start as usize..*columns.term_ends.get(row as usize)? as usize;
        let places = columns.term_places.get(range.clone())?.iter();
        let counts = columns.term_counts.get(range)?.iter();
        let pair =
            |(&place, &count)| Some((segment.postings.term_at(place as usize)?, Count::from_byte(count)));
        let mut terms: Vec<(Term, Count)> = places.zip(counts).map(pair).collect::<Option<_>>()?;
        terms.sort_unstable();
        Some(TermCounts::from_parts(terms, segment.length(row)))
    }

    pub(super) fn damaged(&self, what: &str) -> Error {
        Error::Corrupt { path: format!("COLD segment {}", self.number).into(), what: what.into() }
    }
}

/// A block that was decoded last.
#[derive(Default)]
pub(super) struct Block {
    /// Its segment's number and its place there.
    place: Option<(u64, usize)>,
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

/// The end of what stands before `at`, which is where it starts itself.
fn ending_before(ends: &[u64], at: usize) -> Option<u64> {
    at.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())
}

/// One segment of all live rows of `parts`; `None` if there are none.
pub(super) fn merge(number: u64, parts: &[Part<Archive>]) -> Result<Option<Segment<Archive>>, Error> {
    let mut sources: Vec<(Row, usize, u32)> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let mut terms = part.segment.terms_by_row();
        for row in part.live.iter() {
            let terms = terms.get_mut(row as usize).map(std::mem::take).unwrap_or_default();
            sources.push((part.segment.row(row, terms), at, row));
        }
    }
    if sources.is_empty() {
        return Ok(None);
    }
    sources.sort_by_key(|(row, ..)| row.id);
    let mut contents = Vec::with_capacity(sources.len());
    // Rows ascend within each part, so each of its blocks is decoded once.
    let mut blocks: Vec<Block> = parts.iter().map(|_| Block::default()).collect();
    for (entry, at, row) in &sources {
        let segment = &parts[*at].segment;
        let vector = entry.supplied.then(|| segment.rows.vector(&segment.supplied, *row)).transpose()?;
        contents.push((segment.rows.record(*row, &mut blocks[*at])?.to_vec(), vector));
    }
    let contents = contents.iter().map(|(record, vector)| (record.as_slice(), *vector));
    let rows: Vec<Row> = sources.iter().map(|(row, ..)| row.clone()).collect();
    Archive::segment(number, &rows, contents).map(Some)
}

/// The terms of every row, as they stand in the file.
struct RowTerms {
    ends: Vec<u32>,
    places: Vec<u32>,
    counts: Vec<u8>,
}

impl RowTerms {
    fn of(rows: &[Row], postings: &Postings) -> Self {
        let (mut ends, mut places, mut counts) = (Vec::with_capacity(rows.len()), Vec::new(), Vec::new());
        for row in rows {
            for &(term, count) in row.terms.iter().filter(|&&(_, count)| count != Count::NONE) {
                places.extend(postings.place(term).map(|place| place as u32));
                counts.push(count.to_byte());
            }
            ends.push(places.len() as u32);
        }
        Self { ends, places, counts }
    }
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
    use crate::encoder::{Document, Encoder, Length, TermVector};
    use crate::key::MemoryId;

    fn row(id: u64) -> Row {
        let terms = Vec::new();
        Row {
            id: MemoryId(id),
            created: 0,
            length: Length::new(1),
            supplied: false,
            terms,
            sketch: [].into(),
        }
    }

    #[test]
    fn terms_of_a_row_encode_to_the_vector_of_its_text() {
        let long: String = (0..3_000).map(|word| format!("word{} ", word % 700)).collect();
        let texts =
            ["a lighthouse keeper paints lighthouse after lighthouse", "pizza", "pizza napoli", &long];
        let documents = texts.map(|text| Document::new(text).counts().unwrap());
        let rows: Vec<Row> = documents
            .iter()
            .zip(0..)
            .map(|(document, id)| {
                let mut terms = document.terms().to_vec();
                terms.push((Term::metadata("kind", "test"), Count::NONE));
                Row { terms, length: document.length(), ..row(id) }
            })
            .collect();
        let contents = texts.iter().map(|text| (text.as_bytes(), None));
        let segment = Archive::segment(0, &rows, contents).unwrap();
        let encoder = Encoder::default();
        for (document, row) in documents.iter().zip(0..) {
            let terms = segment.rows.terms(&segment, row).unwrap();
            assert_eq!(&terms, document);
            assert!(encoder.encode(&TermVector::from(&terms)).is_ok());
        }
    }

    proptest! {
        #[test]
        fn every_record_reads_back_from_its_block(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 1..40),
        ) {
            let rows: Vec<Row> = (0..records.len() as u64).map(row).collect();
            let contents = records.iter().map(|record| (record.as_slice(), None));
            let archive = Archive::segment(0, &rows, contents).unwrap().rows;
            let mut block = Block::default();
            for (row, record) in records.iter().enumerate() {
                prop_assert_eq!(archive.record(row as u32, &mut block).unwrap(), record.as_slice());
            }
            prop_assert!(archive.record(records.len() as u32, &mut block).is_err());
        }
    }
}
