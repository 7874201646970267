//! What a log holds now, in RAM: small values themselves, and the places of records and vectors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::journal::read_at;
use super::{Change, Table};

/// Bytes that an entry takes in a journal besides its key and value.
const ENTRY_BYTES: u64 = 4;

/// Bytes that an entry takes in RAM besides a value that is held: its key, and its part of a node, which is
/// little more than half full.
const HELD_ENTRY_BYTES: usize = 184;

/// Values at least this long stay in the journal.
const LONG: usize = 64;

pub(super) type Key = Box<[u8]>;

/// Where in a journal the values of a table stand, in ascending order of keys.
pub(super) type Places = Vec<(Key, u64)>;

/// A value.
#[derive(Clone, Debug)]
enum Value {
    Held(Arc<[u8]>),
    /// In the journal.
    At {
        offset: u64,
        length: u32,
        checksum: u32,
    },
}

impl Value {
    fn held(&self) -> usize {
        if let Self::Held(bytes) = self { bytes.len() } else { 0 }
    }

    fn len(&self) -> usize {
        match self {
            Self::Held(bytes) => bytes.len(),
            Self::At { length, .. } => *length as usize,
        }
    }
}

/// The keys and values of all tables.
#[derive(Debug, Default)]
pub(super) struct State {
    tables: [BTreeMap<Key, Value>; Table::ALL.len()],
    /// The journal that holds the long values; `None` if nothing is in a journal.
    journal: Option<Arc<File>>,
    /// Bytes that all entries take in a journal.
    bytes: u64,
    /// Bytes of the values in RAM.
    held: usize,
}

impl State {
    /// An empty state whose long values are in `journal`.
    pub(super) fn over(journal: Arc<File>) -> Self {
        Self { journal: Some(journal), ..Self::default() }
    }

    /// Bytes that all entries take in a journal.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of RAM, about.
    pub(super) fn memory(&self) -> usize {
        self.tables.iter().map(BTreeMap::len).sum::<usize>() * HELD_ENTRY_BYTES + self.held
    }

    /// Makes a change. A value begins at `offset` of the journal, if there is one.
    pub(super) fn apply(&mut self, (table, key, value): &Change, offset: u64) {
        let size = |key: &[u8], value: &Value| key.len() as u64 + value.len() as u64 + ENTRY_BYTES;
        let entries = &mut self.tables[*table as usize];
        let before = match value {
            Some(value) => {
                let value = match u32::try_from(value.len()) {
                    Ok(length) if self.journal.is_some() && value.len() >= LONG => {
                        Value::At { offset, length, checksum: checksum(value) }
                    }
                    _ => Value::Held(value.clone()),
                };
                self.bytes += size(key, &value);
                self.held += value.held();
                entries.insert(key.as_slice().into(), value)
            }
            None => entries.remove(key.as_slice()),
        };
        if let Some(before) = before {
            self.bytes -= size(key, &before);
            self.held -= before.held();
        }
    }

    /// Whether there is a value for the key.
    pub(super) fn contains(&self, table: Table, key: &[u8]) -> bool {
        self.tables[table as usize].contains_key(key)
    }

    /// How to get the value of a key without this state, which may change meanwhile.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<Found> {
        self.tables[table as usize].get(key).map(|value| self.found(value))
    }

    /// Bytes of the journal.
    ///
    /// # Errors
    /// The operating system's, and [`io::ErrorKind::NotFound`] if there is no journal.
    pub(super) fn written(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let journal = self.journal.as_ref().ok_or(io::ErrorKind::NotFound)?;
        read_at(journal, at, length)
    }

    fn found(&self, value: &Value) -> Found {
        match (value, &self.journal) {
            (&Value::At { offset, length, checksum }, Some(journal)) => {
                Found::Written { journal: journal.clone(), offset, length, checksum }
            }
            (Value::Held(bytes), _) => Found::Held(bytes.clone()),
            (Value::At { .. }, None) => Found::Held(Arc::default()),
        }
    }

    /// All keys of a table that start with `prefix`, in ascending order, with their values.
    pub(super) fn all(&self, table: Table, prefix: &[u8]) -> Vec<(Key, Found)> {
        let entries = self.from(table, prefix).take_while(|(key, _)| key.starts_with(prefix));
        entries.map(|(key, value)| (key.clone(), self.found(value))).collect()
    }

    /// The keys of a table from `start` on, in ascending order, with their values: about as many as
    /// have `bytes` bytes.
    pub(super) fn some(&self, table: Table, start: &[u8], bytes: usize) -> Vec<(Key, Found)> {
        let mut taken = 0;
        let entries = self.from(table, start).take_while(|(key, value)| {
            let fits = taken < bytes;
            taken += key.len() + value.len();
            fits
        });
        entries.map(|(key, value)| (key.clone(), self.found(value))).collect()
    }

    fn from(&self, table: Table, start: &[u8]) -> impl Iterator<Item = (&Key, &Value)> {
        self.tables[table as usize].range::<[u8], _>((Bound::Included(start), Bound::Unbounded))
    }

    /// Reads long values from another journal from now on. `places` says where it has them, in ascending
    /// order of keys. What the former journal had behind `since`, this one has behind `end`.
    pub(super) fn move_values(
        &mut self,
        journal: Arc<File>,
        places: &[Places; Table::ALL.len()],
        since: u64,
        end: u64,
    ) {
        for (entries, places) in self.tables.iter_mut().zip(places) {
            let mut places = places.iter().peekable();
            for (key, value) in entries {
                while places.next_if(|(other, _)| other < key).is_some() {}
                let Value::At { offset, .. } = value else { continue };
                if *offset >= since {
                    *offset = *offset - since + end;
                } else if let Some((_, at)) = places.next_if(|(other, _)| other == key) {
                    *offset = *at;
                }
            }
        }
        self.journal = Some(journal);
    }
}

/// Of a value in a journal. Without it, a checkpoint would give a damaged value a checksum that is right.
fn checksum(value: &[u8]) -> u32 {
    xxh3_64(value) as u32
}

/// A value that was found.
pub(super) enum Found {
    Held(Arc<[u8]>),
    Written { journal: Arc<File>, offset: u64, length: u32, checksum: u32 },
}

impl Found {
    /// The value.
    ///
    /// # Errors
    /// The operating system's, and [`io::ErrorKind::InvalidData`] if the checksum does not match.
    pub(super) fn read(self) -> io::Result<Arc<[u8]>> {
        match self {
            Self::Held(bytes) => Ok(bytes),
            Self::Written { journal, offset, length, checksum: expected } => {
                let bytes = read_at(&journal, offset, length as usize)?;
                if checksum(&bytes) != expected {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Ok(bytes.into())
            }
        }
    }
}
