//! A batch of the journal: changes that were committed together.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | `BTCH` |
//! | 8 | the sequence number, one more than that of the batch before |
//! | 8 | the sequence number of the last batch that was on the disk when this one was written |
//! | 8 | bytes of the changes |
//! | 8 | XXH3-64 of the preceding bytes, seeded with the number of the log |
//! | 8 | XXH3-64 of the changes, seeded with the checksum of the header |
//! | | the changes: table (`u8`, and 128 for a removal), key, value unless it is a removal. Key and value are preceded by their lengths (LEB128) |
//!
//! The header has a checksum of its own, so that a reader skips damaged changes by their length. It never
//! looks for batches within values, which callers supply. No caller knows the number of the log.

use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::codec::{Reader, put_bytes, u64_le};
use super::{Change, Table};

pub(super) const MAGIC: &[u8; 4] = b"BTCH";
pub(super) const HEADER_BYTES: usize = 44;
const HASHED_BYTES: usize = 28;
const REMOVAL: u8 = 128;

/// What a batch says of itself.
#[derive(Clone, Debug)]
pub(super) struct BatchHeader {
    pub sequence: u64,
    /// The last batch that was on the disk when this one was written.
    pub synced: u64,
    /// Where its changes stand in the file. They may end behind it.
    pub changes: Range<usize>,
    checksum: u64,
    of_changes: u64,
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

/// Appends a batch to `bytes`: with its sequence number, and that of the last batch on the disk.
/// Returns where in the batch each value begins.
pub(super) fn encode<'a>(
    bytes: &mut Vec<u8>,
    number: u64,
    (sequence, synced): (u64, u64),
    changes: impl Iterator<Item = (Table, &'a [u8], Option<&'a [u8]>)>,
) -> Vec<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; HEADER_BYTES]);
    let mut values = Vec::with_capacity(changes.size_hint().0);
    for (table, key, value) in changes {
        bytes.push(table as u8 | if value.is_none() { REMOVAL } else { 0 });
        put_bytes(bytes, key);
        value.iter().for_each(|value| put_bytes(bytes, value));
        values.push(bytes.len() - value.map_or(0, <[u8]>::len) - start);
    }
    let (header, content) = bytes[start..].split_at_mut(HEADER_BYTES);
    header[..4].copy_from_slice(MAGIC);
    header[4..12].copy_from_slice(&sequence.to_le_bytes());
    header[12..20].copy_from_slice(&synced.to_le_bytes());
    header[20..28].copy_from_slice(&(content.len() as u64).to_le_bytes());
    let checksum = xxh3_64_with_seed(&header[..HASHED_BYTES], number);
    header[28..36].copy_from_slice(&checksum.to_le_bytes());
    header[36..].copy_from_slice(&xxh3_64_with_seed(content, checksum).to_le_bytes());
    values
}

impl BatchHeader {
    /// Reads the header at `at` of a journal of the log `number`; `None` if there is none.
    pub(super) fn read(bytes: &[u8], at: usize, number: u64) -> Option<Self> {
        let header = bytes.get(at..at.checked_add(HEADER_BYTES)?)?;
        header.starts_with(MAGIC).then_some(())?;
        let word = |from: usize| header.get(from..from + 8).and_then(u64_le);
        let checksum = word(28)?;
        (xxh3_64_with_seed(&header[..HASHED_BYTES], number) == checksum).then_some(())?;
        let start = at + HEADER_BYTES;
        let changes = start..start.checked_add(usize::try_from(word(20)?).ok()?)?;
        Some(Self { sequence: word(4)?, synced: word(12)?, changes, checksum, of_changes: word(36)? })
    }

    /// Reads the changes; `None` if they are damaged.
    pub(super) fn read_changes(&self, bytes: &[u8]) -> Option<Vec<Placed>> {
        let content = bytes.get(self.changes.clone())?;
        (xxh3_64_with_seed(content, self.checksum) == self.of_changes).then_some(())?;
        let mut reader = Reader(content);
        let mut changes = Vec::new();
        while !reader.0.is_empty() {
            let kind = reader.byte()?;
            let table = *Table::ALL.get(usize::from(kind & !REMOVAL))?;
            let key = reader.bytes()?.to_vec();
            let value = if kind & REMOVAL == 0 {
                let value = reader.bytes()?;
                let end = self.changes.end - reader.0.len();
                Some((value.into(), (end - value.len()) as u64))
            } else {
                None
            };
            changes.push(Placed { table, key, value });
        }
        Some(changes)
    }
}
