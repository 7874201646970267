//! The journal: a file of batches, each with checksums.
//!
//! A journal begins with a checkpoint: batches that put everything the log held when the file was made.
//! The file gets its name once the checkpoint is on the disk. Commits are appended. When the
//! file has become much longer than what it says, the log writes the next one, whose *generation* is
//! one higher, and deletes it.
//!
//! | header | content |
//! |---|---|
//! | 8 | `MNEMOJNL` |
//! | 8 | version of this format, 2 |
//! | 8 | the number of the log |
//! | 8 | the generation |
//! | 8 | the sequence number of the first batch behind the checkpoint, whose own batches count from 0 |
//! | 8 | where the checkpoint ends |
//! | 8 | XXH3-64 of the preceding bytes |
//!
//! Batches follow; [`batch`] has their layout.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::batch::{self, BatchHeader, Placed};
use super::codec::u64_le;

const MAGIC: &[u8; 8] = b"MNEMOJNL";
pub(super) const VERSION: u64 = 2;
const HEADER_BYTES: usize = 56;
const WORD_BYTES: usize = 8;

/// Where the checkpoint of a journal ends whose header is damaged: behind all batches.
const UNKNOWN: u64 = u64::MAX;

/// The least that disks write at once.
const SECTOR_BYTES: usize = 512;

/// A longer run of zeros up to the end of a sector is no part of a batch: the numbers in one have fewer
/// zeros, and values are mostly texts.
const MISSING_BYTES: usize = 17;

/// What a journal says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The log that it belongs to.
    pub number: u64,
    pub generation: u64,
    /// The sequence number of the first batch behind the checkpoint.
    pub first: u64,
    /// Where the checkpoint ends. All bytes before were on the disk when the file got its name.
    pub checkpoint: u64,
}

impl Header {
    pub(super) const BYTES: u64 = HEADER_BYTES as u64;

    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for word in [VERSION, self.number, self.generation, self.first, self.checkpoint] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the version and the rest; `None` if the header is damaged.
    fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let (hashed, checksum) = bytes.get(..HEADER_BYTES)?.split_at_checked(HEADER_BYTES - 8)?;
        (xxh3_64(hashed).to_le_bytes() == checksum && hashed.starts_with(MAGIC)).then_some(())?;
        let words: Vec<u64> = hashed.chunks_exact(8).filter_map(u64_le).collect();
        let [_, version, number, generation, first, checkpoint] = words[..] else { return None };
        Some((version, Self { number, generation, first, checkpoint }))
    }
}

/// The content of a journal.
#[derive(Debug)]
pub(super) struct Journal {
    pub header: Header,
    /// The batches that count: all that can be read, or those before a tear.
    pub batches: Vec<JournalBatch>,
    /// Whole batches behind a tear. Nothing says that they were on the disk.
    pub rest: Vec<JournalBatch>,
    pub end: End,
}

impl Journal {
    /// The sequence number of the next batch.
    pub(super) fn next_sequence(&self) -> u64 {
        let behind = self.batches.last().filter(|last| last.end > self.header.checkpoint);
        behind.map_or(self.header.first, |last| last.sequence.wrapping_add(1))
    }
}

/// How a journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a batch.
    Whole,
    /// Within a batch that begins here and is cut off, as after a kill, or with zeros.
    Unfinished(u64),
    /// With a tear, as after a power loss: here begins something that is no batch, and nothing says that
    /// it, or what follows, was on the disk.
    Torn(u64),
    /// Something that was on the disk, or has whole batches behind it, is no batch.
    Damaged,
}

/// Changes that were committed together.
#[derive(Debug)]
pub(super) struct JournalBatch {
    pub sequence: u64,
    /// The last batch that was on the disk when this one was written.
    pub synced: u64,
    /// The end of the batch in the file.
    pub end: u64,
    pub changes: Vec<Placed>,
}

/// The name of the journal of a generation.
pub(super) fn file_name(generation: u64) -> String {
    format!("{generation:010}.journal")
}

/// The journals in the folder of a log with their generations, the oldest first.
pub(super) fn paths(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let generation = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(generation) = generation.filter(|_| path.extension().is_some_and(|end| end == "journal"))
        {
            found.push((generation, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The version of the journal at `path`; `None` if its header is damaged.
pub(super) fn version(path: &Path) -> io::Result<Option<u64>> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    File::open(path)?.take(Header::BYTES).read_to_end(&mut bytes)?;
    Ok(Header::decode(&bytes).map(|(version, _)| version))
}

/// Reads the journal at `path`; `None` if its header is damaged.
pub(super) fn read(path: &Path) -> io::Result<Option<Journal>> {
    std::fs::read(path).map(|bytes| parse(&bytes))
}

/// Reads a journal of generation `generation` whose header is damaged. It belongs to that one of `logs`, or to the
/// one that the header names, of which it has most batches: their checksums depend on the log.
pub(super) fn read_without_header(path: &Path, generation: u64, logs: &BTreeSet<u64>) -> io::Result<Journal> {
    let bytes = std::fs::read(path)?;
    let named = bytes.get(2 * WORD_BYTES..).and_then(u64_le);
    let (first, checkpoint) = (0, UNKNOWN);
    let read = |number| Scan::new(&bytes, Header { number, generation, first, checkpoint }).journal();
    let known = logs.iter().copied().filter(|number| Some(*number) != named);
    let own = known.map(read).fold(read(named.unwrap_or_default()), |best, read| {
        if read.batches.len() > best.batches.len() { read } else { best }
    });
    Ok(own)
}

fn parse(bytes: &[u8]) -> Option<Journal> {
    let (version, header) = Header::decode(bytes)?;
    (version == VERSION).then(|| Scan::new(bytes, header).journal())
}

/// Reads a journal from its first batch to its end, also where it is damaged.
struct Scan<'a> {
    bytes: &'a [u8],
    header: Header,
    batches: Vec<JournalBatch>,
    gaps: Vec<Gap>,
    /// Where each batch begins, damaged ones too, and which batch it says was on the disk.
    synced: Vec<(usize, u64)>,
    /// Whether no batch is missing but for those in gaps.
    is_in_order: bool,
}

/// Bytes that are no batch.
struct Gap {
    range: Range<usize>,
    /// Whole batches before it.
    batches: usize,
    /// The sequence number of the batch that should begin there.
    expected: u64,
    /// Whether nothing is there but the beginning of a batch that is cut off, or zeros.
    is_unfinished: bool,
}

impl<'a> Scan<'a> {
    fn new(bytes: &'a [u8], header: Header) -> Self {
        let (batches, gaps, synced) = Default::default();
        let mut scan = Self { bytes, header, batches, gaps, synced, is_in_order: true };
        scan.run();
        scan
    }

    fn run(&mut self) {
        let (mut at, mut expected) = (HEADER_BYTES, 0);
        while at < self.bytes.len() {
            if at as u64 == self.header.checkpoint {
                expected = self.header.first;
            }
            let found = BatchHeader::read(self.bytes, at, self.header.number);
            let end = found.as_ref().map_or_else(|| self.next(at, expected), |found| found.changes.end);
            let range = at..end.min(self.bytes.len());
            at = range.end;
            let changes = found.as_ref().and_then(|found| found.read_changes(self.bytes));
            let sequence = match &found {
                Some(BatchHeader { sequence, synced, .. }) => {
                    let is_behind_a_gap = self.gaps.last().is_some_and(|gap| gap.range.end == range.start);
                    self.is_in_order &= *sequence == expected || is_behind_a_gap;
                    self.synced.push((range.start, *synced));
                    *sequence
                }
                None => expected,
            };
            match (found, changes) {
                (Some(BatchHeader { sequence, synced, .. }), Some(changes)) => {
                    self.batches.push(JournalBatch { sequence, synced, end: at as u64, changes });
                }
                (found, _) => {
                    let is_cut = found.map_or(range.len() < batch::HEADER_BYTES, |_| end > self.bytes.len());
                    let is_unfinished = is_cut || self.bytes[range.clone()].iter().all(|&byte| byte == 0);
                    let batches = self.batches.len();
                    self.gaps.push(Gap { range, batches, expected: sequence, is_unfinished });
                }
            }
            expected = sequence.wrapping_add(1);
        }
    }

    /// Where the next batch begins behind `at`, where the header of a batch is damaged. Within the file, such
    /// a batch can have only so many before it. A value may hold a copy of an earlier one.
    fn next(&self, at: usize, expected: u64) -> usize {
        let checkpoint = self.header.checkpoint;
        let is_possible = |sequence: u64, found: usize| {
            let is_behind = (at as u64) < checkpoint && found as u64 >= checkpoint;
            let (from, first) =
                if is_behind { (checkpoint, self.header.first) } else { (at as u64, expected) };
            let most = (found as u64 - from) / batch::HEADER_BYTES as u64;
            checkpoint == UNKNOWN || sequence.checked_sub(first).is_some_and(|between| between <= most)
        };
        let starts = self.bytes.windows(batch::MAGIC.len()).enumerate().skip(at + 1);
        let mut starts = starts.filter(|(_, window)| window == batch::MAGIC).map(|(start, _)| start);
        let begins = |&start: &usize| {
            let found = BatchHeader::read(self.bytes, start, self.header.number);
            found.is_some_and(|found| is_possible(found.sequence, start))
        };
        starts.find(begins).unwrap_or(self.bytes.len())
    }

    fn journal(mut self) -> Journal {
        let is_long_enough = self.bytes.len() as u64 >= self.header.checkpoint;
        let (rest, end) = match self.gaps.first().filter(|gap| self.is_tear(gap)) {
            Some(gap) => {
                let rest = self.batches.split_off(gap.batches);
                let start = gap.range.start as u64;
                let is_unfinished = gap.is_unfinished && gap.range.end == self.bytes.len();
                (rest, if is_unfinished { End::Unfinished(start) } else { End::Torn(start) })
            }
            None if self.gaps.is_empty() && self.is_in_order && is_long_enough => (Vec::new(), End::Whole),
            None => (Vec::new(), End::Damaged),
        };
        Journal { header: self.header, batches: self.batches, rest, end }
    }

    /// Whether a power loss can have left the first gap: no later batch says that it was on the disk.
    ///
    /// Of the last writes before a power loss any sector may be missing, also one with whole batches
    /// behind it. It reads as zeros.
    fn is_tear(&self, gap: &Gap) -> bool {
        let later = self.batches.get(gap.batches..).unwrap_or_default();
        // The sector may have held the end of one batch and the beginning of the next.
        let join = |end: usize, next: &Gap| if next.range.start == end { next.range.end } else { end };
        let lacking = gap.range.start..self.gaps.iter().skip(1).fold(gap.range.end, join);
        let mut synced = self.synced.iter().filter(|(start, _)| *start > gap.range.start);
        gap.range.start as u64 >= self.header.checkpoint
            && self.is_in_order
            && (later.is_empty() || lacks_a_sector(self.bytes, lacking))
            && synced.all(|(_, synced)| *synced < gap.expected)
    }
}

/// Whether a sector of `range`, or the end of one, may never have been written.
fn lacks_a_sector(bytes: &[u8], range: Range<usize>) -> bool {
    let sectors =
        (range.start / SECTOR_BYTES..).map(|sector| sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES);
    sectors.take_while(|sector| sector.start < range.end).any(|sector| {
        let part = &bytes[sector.start.max(range.start)..sector.end.min(range.end)];
        let zeros = part.iter().rev().take_while(|&&byte| byte == 0).count();
        zeros == part.len() || zeros >= MISSING_BYTES
    })
}

/// Reads `length` bytes of `file` from `at` on.
pub(super) fn read_at(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    #[cfg(unix)]
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, at)?;
    #[cfg(not(unix))]
    {
        use std::io::Seek;
        // It moves the place of the file, which must not be the one that is written to.
        let mut file = file;
        file.seek(io::SeekFrom::Start(at))?;
        file.read_exact(&mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::Table;

    const LOG: u64 = 7;

    /// A journal of batches of one value each, whose checkpoint is the first two.
    fn journal(values: &[Vec<u8>], synced: u64) -> Vec<u8> {
        let mut batches = Vec::new();
        let mut checkpoint = 0;
        for (sequence, value) in (10..).zip(values) {
            let key = [sequence as u8];
            // Those of the checkpoint count from 0.
            let sequence = if sequence < 12 { sequence - 10 } else { sequence };
            let changes =
                [(Table::Records, &key[..], Some(value.as_slice())), (Table::Vectors, &key[..], None)];
            batch::encode(&mut batches, LOG, (sequence, synced), changes.into_iter());
            if sequence == 1 {
                checkpoint = batches.len();
            }
        }
        let header =
            Header { number: LOG, generation: 3, first: 12, checkpoint: Header::BYTES + checkpoint as u64 };
        [header.encode(), batches].concat()
    }

    fn values(count: u8, length: usize) -> Vec<Vec<u8>> {
        (0..count).map(|at| vec![at + 1; length]).collect()
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 2..9),
        ) {
            let bytes = journal(&values, 0);
            let read = parse(&bytes).unwrap();
            prop_assert_eq!((read.end, read.batches.len()), (End::Whole, values.len()));
            for (batch, value) in read.batches.iter().zip(&values) {
                let [put, removed] = &batch.changes[..] else { panic!("{} changes", batch.changes.len()) };
                let (read, at) = put.value.as_ref().unwrap();
                prop_assert_eq!(&**read, value.as_slice());
                prop_assert_eq!(&bytes[*at as usize..][..value.len()], value.as_slice());
                prop_assert_eq!((removed.table, &removed.value), (Table::Vectors, &None));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..2_000) {
            let mut whole = journal(&values(6, 200), 0);
            let at = at % whole.len();
            let end = (at + bytes.len()).min(whole.len());
            whole[at..end].copy_from_slice(&bytes[..end - at]);
            let read = parse(&whole);
            prop_assert!(read.is_none_or(|read| read.batches.len() <= 6));
        }
    }

    #[test]
    fn a_cut_behind_the_checkpoint_is_unfinished_and_one_within_it_is_damage() {
        let bytes = journal(&values(6, 100), 0);
        let checkpoint = parse(&bytes).unwrap().header.checkpoint as usize;
        for at in 0..bytes.len() {
            match parse(&bytes[..at]) {
                None => assert!(at < HEADER_BYTES),
                Some(read) if at < checkpoint => assert_eq!(read.end, End::Damaged, "cut at {at}"),
                Some(Journal { end: End::Whole, batches, .. }) => {
                    assert_eq!(batches.last().unwrap().end, at as u64);
                }
                Some(Journal { end, batches, .. }) => {
                    assert_eq!(end, End::Unfinished(batches.last().unwrap().end), "cut at {at}");
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_batch_and_is_damage_unless_it_is_in_the_last() {
        let bytes = journal(&values(6, 100), 0);
        let last = parse(&bytes).unwrap().batches[4].end as usize;
        for at in HEADER_BYTES..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x20;
            let read = parse(&flipped).unwrap();
            assert_eq!((read.batches.len(), read.rest.len()), (5, 0), "byte {at}");
            let expected = if at < last { End::Damaged } else { End::Torn(last as u64) };
            assert_eq!(read.end, expected, "byte {at}");
        }
    }

    #[test]
    fn a_batch_that_is_gone_or_comes_from_elsewhere_is_damage() {
        let bytes = journal(&values(6, 100), 0);
        let ends: Vec<usize> =
            parse(&bytes).unwrap().batches.iter().map(|batch| batch.end as usize).collect();
        let without = [&bytes[..ends[2]], &bytes[ends[3]..]].concat();
        assert_eq!(parse(&without).unwrap().end, End::Damaged);
        let twice = [&bytes[..ends[3]], &bytes[ends[2]..]].concat();
        assert_eq!(parse(&twice).unwrap().end, End::Damaged);
        // The same batch of another log.
        let mut other = bytes[..ends[2]].to_vec();
        let change = (Table::Records, &[13u8][..], Some(&[4u8; 100][..]));
        batch::encode(&mut other, LOG + 1, (13, 0), [change].into_iter());
        other.extend_from_slice(&bytes[ends[3]..]);
        let read = parse(&other).unwrap();
        assert_eq!((read.end, read.batches.len()), (End::Damaged, 5));
    }

    /// Whole batches may follow a torn one, unless one of them says that it was on the disk.
    #[test]
    fn a_missing_sector_is_torn_if_nothing_behind_it_was_synced() {
        for (synced, is_torn) in [(11, true), (15, false)] {
            let bytes = journal(&values(9, 2_000), synced);
            let read = parse(&bytes).unwrap();
            let start = read.batches[3].end as usize;
            let sector = start.next_multiple_of(SECTOR_BYTES);
            for kept in [0, 1, 100, SECTOR_BYTES - MISSING_BYTES] {
                let mut lacking = bytes.clone();
                lacking[sector + kept..sector + SECTOR_BYTES].fill(0);
                let read = parse(&lacking).unwrap();
                let expected = if is_torn { (End::Torn(start as u64), 4, 4) } else { (End::Damaged, 8, 0) };
                let counts = (read.batches.len(), read.rest.len());
                assert_eq!((read.end, counts.0, counts.1), expected, "synced {synced}, from {kept}");
            }
        }
    }

    /// Of two neighbors too.
    #[test]
    fn any_sector_behind_the_checkpoint_may_be_missing() {
        for length in 400..500 {
            let bytes = journal(&values(12, length), 11);
            let checkpoint = parse(&bytes).unwrap().header.checkpoint as usize;
            let first = checkpoint.next_multiple_of(SECTOR_BYTES);
            for at in (first..bytes.len() - SECTOR_BYTES).step_by(SECTOR_BYTES) {
                let mut lacking = bytes.clone();
                lacking[at..at + SECTOR_BYTES].fill(0);
                let end = parse(&lacking).unwrap().end;
                assert!(matches!(end, End::Torn(_) | End::Unfinished(_)), "{length}, from {at}: {end:?}");
            }
        }
    }

    /// Damage to a batch does not make a batch of what a caller has stored.
    #[test]
    fn bytes_within_a_value_are_never_read_as_a_batch() {
        let first = values(3, 100);
        let plain = journal(&first, 0);
        let copied = parse(&plain).unwrap().batches[1].end as usize..plain.len();
        // What a caller who knew the number of the log would forge: the very batch that comes next.
        let mut forged = Vec::new();
        batch::encode(&mut forged, LOG, (14, 0), [(Table::Records, &[12u8][..], None)].into_iter());
        for (name, inner) in [("a copy", plain[copied].to_vec()), ("a forgery", forged)] {
            let mut values = first.clone();
            values.push([vec![1; 700], inner, vec![2; 700]].concat());
            values.extend(self::values(2, 100));
            let bytes = journal(&values, 0);
            let read = parse(&bytes).unwrap();
            let (start, end) = (read.batches[2].end as usize, read.batches[3].end as usize);
            for at in start..end {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x20;
                let read = parse(&damaged).unwrap();
                let sequences: Vec<u64> = read.batches.iter().map(|batch| batch.sequence).collect();
                // Without its header, the batch has no length, and a forgery is told from a batch only by the
                // number of the log.
                if name == "a copy" || at >= start + batch::HEADER_BYTES {
                    assert_eq!(sequences, [0, 1, 12, 14, 15], "{name}, byte {at}");
                }
            }
        }
    }
}
