//! The journal: a file of batches, each with a checksum.
//!
//! A journal begins with a checkpoint: batches that put everything the log held when the file was made.
//! The file gets its name once the checkpoint is on the disk. Commits are appended. When the
//! file has become much longer than what it says, the log writes the next one, whose *generation* is
//! one higher, and deletes it.
//!
//! | header | content |
//! |---|---|
//! | 8 | `MNEMOJNL` |
//! | 8 | version of this format, 1 |
//! | 8 | the number of the log |
//! | 8 | the generation |
//! | 8 | the sequence number of the first batch behind the checkpoint, whose own batches count from 0 |
//! | 8 | where the checkpoint ends |
//! | 8 | XXH3-64 of the preceding bytes |
//!
//! | batch | content |
//! |---|---|
//! | 4 | `BTCH` |
//! | 8 | its sequence number, one more than that of the batch before |
//! | 8 | the sequence number of the last batch that was on the disk when this one was written |
//! | 8 | bytes of the changes |
//! | 8 | XXH3-64 of the rest of the batch, seeded with the number of the log |
//! | | the changes: table (`u8`, and 128 for a removal), key, value unless it is a removal. Key and value are preceded by their lengths (LEB128) |

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::codec::{Reader, put_bytes, u64_le};
use super::{Change, Table};

const MAGIC: &[u8; 8] = b"MNEMOJNL";
const VERSION: u64 = 1;
const HEADER_BYTES: usize = 56;
const WORD_BYTES: usize = 8;
const BATCH_MAGIC: &[u8; 4] = b"BTCH";
const BATCH_HEADER_BYTES: usize = 36;
const REMOVAL: u8 = 128;

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

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (hashed, checksum) = bytes.get(..HEADER_BYTES)?.split_at_checked(HEADER_BYTES - 8)?;
        (xxh3_64(hashed).to_le_bytes() == checksum && hashed.starts_with(MAGIC)).then_some(())?;
        let words: Vec<u64> = hashed.chunks_exact(8).filter_map(u64_le).collect();
        let [_, VERSION, number, generation, first, checkpoint] = words[..] else { return None };
        Some(Self { number, generation, first, checkpoint })
    }
}

/// Appends a batch to `bytes`: with its sequence number, and that of the last batch on the disk.
/// Returns where in the batch each value begins.
pub(super) fn encode_batch<'a>(
    bytes: &mut Vec<u8>,
    number: u64,
    (sequence, synced): (u64, u64),
    changes: impl Iterator<Item = (Table, &'a [u8], Option<&'a [u8]>)>,
) -> Vec<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(BATCH_MAGIC);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&synced.to_le_bytes());
    bytes.extend_from_slice(&[0; 16]);
    let content = bytes.len();
    let mut values = Vec::with_capacity(changes.size_hint().0);
    for (table, key, value) in changes {
        bytes.push(table as u8 | if value.is_none() { REMOVAL } else { 0 });
        put_bytes(bytes, key);
        value.iter().for_each(|value| put_bytes(bytes, value));
        values.push(bytes.len() - value.map_or(0, <[u8]>::len) - start);
    }
    let length = ((bytes.len() - content) as u64).to_le_bytes();
    if let Some(batch) = bytes.get_mut(start..) {
        batch[20..28].copy_from_slice(&length);
        let checksum = checksum(batch, number);
        batch[28..36].copy_from_slice(&checksum.to_le_bytes());
    }
    values
}

/// The checksum of a whole batch, without the bytes of the checksum itself.
fn checksum(batch: &[u8], number: u64) -> u64 {
    let (header, content) = batch.split_at(BATCH_HEADER_BYTES);
    xxh3_64_with_seed(content, xxh3_64_with_seed(&header[..BATCH_HEADER_BYTES - 8], number))
}

/// The content of a journal.
#[derive(Debug)]
pub(super) struct Journal {
    pub header: Header,
    /// All batches that can be read.
    pub batches: Vec<JournalBatch>,
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
    /// Within a batch that begins here, as after a kill or a power loss. Nothing behind it was synced.
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

/// A change, and where its value stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub table: Table,
    pub key: Vec<u8>,
    /// The value and where it begins; `None` for a removal.
    pub value: Option<(Arc<[u8]>, u64)>,
}

impl Placed {
    /// The change alone.
    pub(super) fn into_change(self) -> Change {
        (self.table, self.key, self.value.map(|(value, _)| value))
    }
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

/// Reads the journal at `path`; `None` if its header is damaged.
pub(super) fn read(path: &Path) -> io::Result<Option<Journal>> {
    std::fs::read(path).map(|bytes| parse(&bytes))
}

/// Reads a journal of generation `generation` whose header is damaged. It belongs to that one of `logs`, or to the
/// one that the header names, of which it has most batches: their checksums depend on the log.
pub(super) fn read_without_header(path: &Path, generation: u64, logs: &BTreeSet<u64>) -> io::Result<Journal> {
    let bytes = std::fs::read(path)?;
    let named = bytes.get(2 * WORD_BYTES..).and_then(u64_le);
    // No batch is known to be in the checkpoint, or behind it.
    let (first, checkpoint) = (0, u64::MAX);
    let read = |number| parse_batches(&bytes, Header { number, generation, first, checkpoint });
    let known = logs.iter().copied().filter(|number| Some(*number) != named);
    let own = known.map(read).fold(read(named.unwrap_or_default()), |best, read| {
        if read.batches.len() > best.batches.len() { read } else { best }
    });
    Ok(own)
}

fn parse(bytes: &[u8]) -> Option<Journal> {
    Some(parse_batches(bytes, Header::decode(bytes)?))
}

fn parse_batches(bytes: &[u8], header: Header) -> Journal {
    let (mut batches, mut gaps, mut at) = (Vec::<JournalBatch>::new(), Vec::<Gap>::new(), HEADER_BYTES);
    let mut is_in_order = true;
    while at < bytes.len() {
        let expected = match batches.last() {
            _ if at as u64 == header.checkpoint => header.first,
            last => last.map_or(0, |batch| batch.sequence.wrapping_add(1)),
        };
        if let Some(batch) = batch(bytes, at, header.number) {
            let is_next = batch.sequence == expected;
            is_in_order &= is_next || gaps.last().is_some_and(|gap| gap.range.end == at);
            at = usize::try_from(batch.end).unwrap_or(bytes.len());
            batches.push(batch);
        } else {
            let start = at;
            // Further damage within the same run of bytes that are no batch.
            let ends_here = |at: usize| batch(bytes, at, header.number).is_some();
            let starts = bytes.windows(BATCH_MAGIC.len()).enumerate().skip(at + 1);
            let mut starts = starts.filter(|(_, window)| window == BATCH_MAGIC).map(|(at, _)| at);
            at = starts.find(|&at| ends_here(at)).unwrap_or(bytes.len());
            gaps.push(Gap { range: start..at, batches: batches.len(), expected });
        }
    }
    let length = bytes.len() as u64;
    let is_whole = gaps.is_empty() && is_in_order && length >= header.checkpoint;
    let torn = gaps.first().filter(|gap| {
        let later = batches.get(gap.batches..).unwrap_or_default();
        // Of the last writes before a power loss any sector may be missing, also one with whole
        // batches behind it. It reads as zeros.
        gap.range.start as u64 >= header.checkpoint
            && is_in_order
            && (later.is_empty() || lacks_a_sector(bytes, gap.range.clone()))
            && later.iter().all(|batch| batch.synced < gap.expected)
    });
    let end = match torn {
        Some(gap) => {
            batches.truncate(gap.batches);
            End::Torn(gap.range.start as u64)
        }
        None if is_whole => End::Whole,
        None => End::Damaged,
    };
    Journal { header, batches, end }
}

/// Bytes that are no batch.
struct Gap {
    range: Range<usize>,
    /// Whole batches before it.
    batches: usize,
    /// The sequence number of the batch that should begin there.
    expected: u64,
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

/// The batch that begins at `at`.
fn batch(bytes: &[u8], at: usize, number: u64) -> Option<JournalBatch> {
    let header = bytes.get(at..at.checked_add(BATCH_HEADER_BYTES)?)?;
    header.starts_with(BATCH_MAGIC).then_some(())?;
    let word = |from: usize| header.get(from..from + 8).and_then(u64_le);
    let length = usize::try_from(word(20)?).ok()?;
    let whole = bytes.get(at..at.checked_add(BATCH_HEADER_BYTES)?.checked_add(length)?)?;
    (checksum(whole, number) == word(28)?).then_some(())?;
    let mut reader = Reader(&whole[BATCH_HEADER_BYTES..]);
    let mut changes = Vec::new();
    while !reader.0.is_empty() {
        let kind = reader.byte()?;
        let table = *Table::ALL.get(usize::from(kind & !REMOVAL))?;
        let key = reader.bytes()?.to_vec();
        let value = if kind & REMOVAL == 0 {
            let value = reader.bytes()?;
            let end = at + whole.len() - reader.0.len();
            Some((value.into(), (end - value.len()) as u64))
        } else {
            None
        };
        changes.push(Placed { table, key, value });
    }
    Some(JournalBatch { sequence: word(4)?, synced: word(12)?, end: (at + whole.len()) as u64, changes })
}

/// Reads `length` bytes of `file` from `at` on.
pub(super) fn read_at(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    #[cfg(unix)]
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, at)?;
    #[cfg(not(unix))]
    {
        use std::io::{Read, Seek};
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
            encode_batch(&mut batches, LOG, (sequence, synced), changes.into_iter());
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
    fn a_cut_behind_the_checkpoint_is_torn_and_one_within_it_is_damage() {
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
                    assert_eq!(end, End::Torn(batches.last().unwrap().end), "cut at {at}");
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
            assert_eq!(read.batches.len(), 5, "byte {at}");
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
        encode_batch(&mut other, LOG + 1, (13, 0), [change].into_iter());
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
                let expected = if is_torn { (End::Torn(start as u64), 4) } else { (End::Damaged, 8) };
                assert_eq!((read.end, read.batches.len()), expected, "synced {synced}, from {kept}");
            }
        }
    }
}
