//! Reads fjall's journals, changing nothing: whole batches whose checksum is
//! right, also those behind a damaged one.
//!
//! fjall itself ends at the first byte that it cannot read and cuts the rest
//! off, or refuses the journal. The former is right for what a kill or a power
//! loss has torn, and wrong for one damaged byte with whole batches behind it, so
//! the difference is found here. Of the last writes before a power loss any sector
//! may be missing, also one with whole batches behind it: it reads as zeros.
//!
//! | a batch | |
//! |---|---|
//! | start | tag 1, number of items `u32`, sequence number `u64` |
//! | each item | tag 2, kind (0 a value, 1 or 2 a tombstone), compression (1 LZ4), table `u64`, length of the key `u16`, of the value `u32`, of the stored value `u32`, key, stored value |
//! | end | tag 3, XXH3-64 of all items, `FJL` 3 |

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const TRAILER: &[u8; 4] = b"FJL\x03";

/// Longer values are not ours; refuses what a damaged length claims.
const MAX_VALUE_BYTES: usize = 64 << 20;

/// The least that disks write at once.
const SECTOR_BYTES: usize = 512;

/// So many zeros up to a sector's end are no part of a batch: its numbers have
/// fewer, and values are texts.
const MISSING_BYTES: usize = 17;

/// Journals are made 64 MB long and filled from the front, so what is looked
/// at for zeros is mostly zeros.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A journal's content.
pub(super) struct Journal {
    pub path: PathBuf,
    /// All batches that can be read.
    pub batches: Vec<JournalBatch>,
    pub end: End,
}

/// How a journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a batch, and zeros.
    Whole,
    /// In the middle of a batch, which begins here: what a kill or a power loss
    /// leaves. What is behind it was not synced.
    Torn(u64),
    /// Whole batches stand behind something that is none.
    Damaged,
}

/// Changes that were committed together.
pub(super) struct JournalBatch {
    pub sequence: u64,
    pub changes: Vec<Change>,
}

/// One change to one of fjall's tables.
pub(super) struct Change {
    pub keyspace: u64,
    pub key: Vec<u8>,
    /// `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Whether a file is a journal, by its name.
pub(super) fn is_one(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "jnl")
}

/// The journals in the folder of a log, the oldest first.
pub(super) fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if is_one(&path) {
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Reads the journal at `path`.
pub(super) fn read(path: &Path) -> io::Result<Journal> {
    let bytes = std::fs::read(path)?;
    let written = &bytes[..written(&bytes)];
    let (mut batches, mut at, mut broken) = (Vec::new(), 0, None);
    while at < written.len() {
        match batch(written, at) {
            Some((batch, end)) => {
                if let Some((start, before)) = broken
                    && before == batches.len()
                    && lacks_a_sector(written, start..at)
                {
                    return Ok(Journal { path: path.into(), batches, end: End::Torn(start as u64) });
                }
                batches.push(batch);
                at = end;
            }
            None => {
                broken = broken.or(Some((at, batches.len())));
                at += 1;
                // A batch begins with its tag.
                at += written[at..].iter().position(|&byte| byte == START).unwrap_or(written.len() - at);
            }
        }
    }
    let end = match broken {
        _ if !ascending(&mut batches) => End::Damaged,
        None => End::Whole,
        Some((at, before)) if before == batches.len() => End::Torn(at as u64),
        Some(_) => End::Damaged,
    };
    Ok(Journal { path: path.into(), batches, end })
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

/// Whether the sequence numbers ascend, which no checksum covers. One that does
/// not is put between its neighbours.
fn ascending(batches: &mut [JournalBatch]) -> bool {
    let (mut ascending, mut before) = (true, None);
    for at in 0..batches.len() {
        let next = batches.get(at + 1).map(|batch| batch.sequence);
        let own = batches[at].sequence;
        let low = before.is_some_and(|before| own <= before);
        let high = next.is_some_and(|next| own >= next && before.is_none_or(|before| next > before));
        if low || high {
            ascending = false;
            batches[at].sequence = match before {
                Some(before) => before + 1,
                None => next.unwrap_or_default().saturating_sub(1),
            };
        }
        before = Some(batches[at].sequence);
    }
    ascending
}

/// The end of what is not zero.
fn written(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    while end >= ZEROS.len() && bytes[end - ZEROS.len()..end] == ZEROS {
        end -= ZEROS.len();
    }
    bytes[..end].iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

/// The batch that begins at `at`, and its end.
fn batch(bytes: &[u8], at: usize) -> Option<(JournalBatch, usize)> {
    let mut reader = Reader { bytes, at };
    (reader.byte()? == START).then_some(())?;
    let items = u32::from_le_bytes(reader.array()?);
    let sequence = u64::from_le_bytes(reader.array()?);
    let first = reader.at;
    let items: Vec<Item> = (0..items).map(|_| reader.item()).collect::<Option<_>>()?;
    let end = reader.at;
    (reader.byte()? == END).then_some(())?;
    let checksum = u64::from_le_bytes(reader.array()?);
    (reader.array()? == *TRAILER && xxh3_64(&bytes[first..end]) == checksum).then_some(())?;
    let changes = items.into_iter().map(|item| item.change(bytes)).collect::<Option<_>>()?;
    Some((JournalBatch { sequence, changes }, reader.at))
}

/// Where an item's parts stand.
struct Item {
    keyspace: u64,
    tombstone: bool,
    packed: bool,
    length: usize,
    key: Range<usize>,
    value: Range<usize>,
}

impl Item {
    fn change(self, bytes: &[u8]) -> Option<Change> {
        let stored = &bytes[self.value];
        let value = match (self.tombstone, self.packed) {
            (true, _) => None,
            (false, false) => Some(stored.to_vec()),
            (false, true) => Some(lz4_flex::decompress(stored, self.length).ok()?),
        };
        Some(Change { keyspace: self.keyspace, key: bytes[self.key].to_vec(), value })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Option<Range<usize>> {
        let range = self.at..self.at.checked_add(length)?;
        self.bytes.get(range.clone())?;
        self.at = range.end;
        Some(range)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let range = self.take(N)?;
        self.bytes[range].try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn item(&mut self) -> Option<Item> {
        (self.byte()? == ITEM).then_some(())?;
        let kind = self.byte()?;
        let packed = self.byte()?;
        (kind <= 2 && packed <= 1).then_some(())?;
        let keyspace = u64::from_le_bytes(self.array()?);
        let key_bytes = u16::from_le_bytes(self.array()?) as usize;
        let length = u32::from_le_bytes(self.array()?) as usize;
        let stored = u32::from_le_bytes(self.array()?) as usize;
        (length <= MAX_VALUE_BYTES && (packed == 1 || stored == length)).then_some(())?;
        let (key, value) = (self.take(key_bytes)?, self.take(stored)?);
        Some(Item { keyspace, tombstone: kind != 0, packed: packed == 1, length, key, value })
    }
}

#[cfg(test)]
mod tests {
    use fjall::{Database, KeyspaceCreateOptions, PersistMode};

    use super::*;

    /// A journal of twenty batches, as fjall itself writes it.
    fn written_by_fjall(folder: &Path) -> Vec<u8> {
        let database = Database::builder(folder).open().unwrap();
        let table = database.keyspace("table", KeyspaceCreateOptions::default).unwrap();
        for number in 0..20u8 {
            let mut batch = database.batch().durability(Some(PersistMode::Buffer));
            // Long values are compressed.
            batch.insert(&table, [number], vec![number; if number == 7 { 9_000 } else { 5 }]);
            batch.remove(&table, [number, number]);
            batch.commit().unwrap();
        }
        let bytes = std::fs::read(folder.join("0.jnl")).unwrap();
        bytes[..written(&bytes)].to_vec()
    }

    fn read_bytes(folder: &Path, bytes: &[u8]) -> Journal {
        let path = folder.join("read");
        std::fs::write(&path, bytes).unwrap();
        read(&path).unwrap()
    }

    #[test]
    fn what_fjall_wrote_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = written_by_fjall(folder.path());
        let journal = read_bytes(folder.path(), &bytes);
        assert_eq!((journal.batches.len(), journal.end), (20, End::Whole));
        for (number, batch) in (0..20u8).zip(&journal.batches) {
            let length = if number == 7 { 9_000 } else { 5 };
            assert_eq!(batch.changes[0].key, [number]);
            assert_eq!(batch.changes[0].value, Some(vec![number; length]));
            assert_eq!((batch.changes[1].key.as_slice(), &batch.changes[1].value), (&[number; 2][..], &None));
            assert!(number == 0 || batch.sequence > journal.batches[number as usize - 1].sequence);
        }
        let zeros = [bytes, vec![0; 200_000]].concat();
        assert_eq!(read_bytes(folder.path(), &zeros).end, End::Whole);
    }

    #[test]
    fn a_cut_is_torn_and_a_flipped_byte_costs_one_batch() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = written_by_fjall(folder.path());
        let mut cases = 0;
        for at in (0..bytes.len()).step_by(3) {
            let cut = read_bytes(folder.path(), &bytes[..at]);
            assert_ne!(cut.end, End::Damaged, "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x20;
            let flipped = read_bytes(folder.path(), &flipped);
            let sequences: Vec<u64> = flipped.batches.iter().map(|batch| batch.sequence).collect();
            assert!(sequences.is_sorted_by(|a, b| a < b), "flipped at {at}: {sequences:?}");
            assert!(sequences.len() >= 19 && cut.batches.len() < 20, "at {at}");
            // No order gives away the first number, if lowered, or the last, if raised.
            let first_or_last = sequences.len() == 20 && (at < 20 || at > bytes.len() - 100);
            assert!(first_or_last || flipped.end != End::Whole, "flipped at {at}");
            cases += 2;
        }
        println!("{cases} cases");
    }

    #[test]
    fn a_missing_sector_is_torn_although_whole_batches_follow_and_another_byte_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::builder(folder.path()).open().unwrap();
        let table = database.keyspace("table", KeyspaceCreateOptions::default).unwrap();
        for number in 0..12u8 {
            let mut batch = database.batch().durability(Some(PersistMode::Buffer));
            batch.insert(&table, [number], [number + 1; 2_000]);
            batch.commit().unwrap();
        }
        let bytes = std::fs::read(folder.path().join("0.jnl")).unwrap();
        let bytes = &bytes[..written(&bytes)];
        let (one, mut cases) = (bytes.len() / 12, 0);
        for sector in 0..bytes.len() / SECTOR_BYTES - 4 {
            for kept in [0, 1, 100, SECTOR_BYTES - MISSING_BYTES] {
                let mut lacking = bytes.to_vec();
                let from = sector * SECTOR_BYTES;
                lacking[from + kept..from + SECTOR_BYTES].fill(0);
                let torn = read_bytes(folder.path(), &lacking);
                let batch = (from + kept) / one;
                assert_eq!(torn.end, End::Torn((batch * one) as u64), "sector {sector} from {kept}");
                assert_eq!(torn.batches.len(), batch);
                cases += 1;
            }
            let mut damaged = bytes.to_vec();
            damaged[sector * SECTOR_BYTES] ^= 0x20;
            assert_eq!(read_bytes(folder.path(), &damaged).end, End::Damaged, "sector {sector}");
        }
        println!("{cases} cases");
    }
}
