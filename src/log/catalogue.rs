//! Keys of the catalogue, and what the engine reads there.

use super::codec::{self, Placement, SegmentEntry};
use super::{Log, Table};
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId};

/// What a key of the catalogue is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CatalogueKey<'a> {
    Setting(&'a str),
    Namespace(NamespaceId),
    Placement(MemoryId),
    Segment(u64),
    /// A row of a segment that no longer counts.
    Dead(u64, u32),
    /// Which rows of a segment count, but for those that are marked.
    Live(u64),
}

impl<'a> CatalogueKey<'a> {
    /// Reads a key; `None` if it is none of ours.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&letter, rest) = bytes.split_first()?;
        match letter {
            SETTING => std::str::from_utf8(rest).ok().map(Self::Setting),
            NAMESPACE => Some(Self::Namespace(NamespaceId(short(bytes, 1).ok()?))),
            PLACEMENT => Some(Self::Placement(MemoryId(number(bytes, 1).ok()?))),
            SEGMENT => Some(Self::Segment(number(bytes, 1).ok()?)),
            DEAD => Some(Self::Dead(number(bytes, 1).ok()?, short(bytes, 9).ok()?)),
            LIVE => Some(Self::Live(number(bytes, 1).ok()?)),
            _ => None,
        }
    }
}

const DEAD: u8 = b'd';
pub(super) const LIVE: u8 = b'l';
pub(super) const NAMESPACE: u8 = b'n';
pub(super) const SEGMENT: u8 = b's';
const SETTING: u8 = b'x';
const PLACEMENT: u8 = b'm';

pub(super) fn key(letter: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(letter);
    key.extend_from_slice(rest);
    key
}

pub(super) fn setting_key(name: &str) -> Vec<u8> {
    key(SETTING, name.as_bytes())
}

pub(super) fn placement_key(id: MemoryId) -> Vec<u8> {
    key(PLACEMENT, &id.0.to_be_bytes())
}

pub(super) fn dead_key(segment: u64, row: u32) -> Vec<u8> {
    let mut rest = segment.to_be_bytes().to_vec();
    rest.extend_from_slice(&row.to_be_bytes());
    key(DEAD, &rest)
}

/// What the engine reads of the catalogue.
impl dyn Log + '_ {
    /// A number that belongs to the store as a whole.
    pub(crate) fn setting(&self, name: &str) -> Result<Option<u64>, Error> {
        let value = self.get(Table::Catalogue, &setting_key(name))?;
        value
            .map(|bytes| codec::u64_le(&bytes).ok_or_else(|| codec::damaged(format!("setting {name}"))))
            .transpose()
    }

    /// Where memory `id` is, if no file says so.
    pub(crate) fn placement(&self, id: MemoryId) -> Result<Option<Placement>, Error> {
        let bytes = self.get(Table::Catalogue, &placement_key(id))?;
        bytes.map(|bytes| Placement::decode(&bytes)).transpose()
    }

    /// Whether the log holds the record of memory `id`.
    pub(crate) fn has_record(&self, id: MemoryId) -> Result<bool, Error> {
        self.contains(Table::Records, &id.0.to_be_bytes())
    }

    /// All placements, in ascending order of ids.
    pub(crate) fn placements(&self, visit: &mut dyn FnMut(MemoryId, Placement)) -> Result<(), Error> {
        self.scan(Table::Catalogue, &[PLACEMENT], &mut |key, value| {
            visit(MemoryId(number(key, 1)?), Placement::decode(value)?);
            Ok(())
        })
    }

    /// All namespaces.
    pub(crate) fn namespaces(&self) -> Result<Vec<(NamespaceId, String)>, Error> {
        let mut found = Vec::new();
        self.scan(Table::Catalogue, &[NAMESPACE], &mut |key, value| {
            let name =
                String::from_utf8(value.to_vec()).map_err(|_| codec::damaged("a namespace's name".into()))?;
            found.push((NamespaceId(short(key, 1)?), name));
            Ok(())
        })?;
        Ok(found)
    }

    /// All segments.
    pub(crate) fn segments(&self) -> Result<Vec<(u64, SegmentEntry)>, Error> {
        let mut found = Vec::new();
        self.scan(Table::Catalogue, &[SEGMENT], &mut |key, value| {
            found.push((number(key, 1)?, SegmentEntry::decode(value)?));
            Ok(())
        })?;
        Ok(found)
    }

    /// Which rows of a segment count, a bit each, but for the [marked](Self::marked_rows) ones; `None`
    /// if that is all of them.
    pub(crate) fn live_rows(&self, segment: u64) -> Result<Option<Vec<u64>>, Error> {
        let bytes = self.get(Table::Catalogue, &key(LIVE, &segment.to_be_bytes()))?;
        Ok(bytes.map(|bytes| words(&bytes)))
    }

    /// The rows of a segment that are marked as dead.
    pub(crate) fn marked_rows(&self, segment: u64) -> Result<Vec<u32>, Error> {
        let mut found = Vec::new();
        self.scan(Table::Catalogue, &key(DEAD, &segment.to_be_bytes()), &mut |key, _| {
            found.push(short(key, 9)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The vector that a caller supplied with memory `id`.
    pub(crate) fn supplied_vector(&self, id: MemoryId) -> Result<Option<Vec<u64>>, Error> {
        let bytes = self.get(Table::Vectors, &id.0.to_be_bytes())?;
        Ok(bytes.map(|bytes| words(&bytes)))
    }
}

/// Little-endian words.
pub(crate) fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).filter_map(codec::u64_le).collect()
}

/// The memory that a key of the records or vectors is about.
pub(crate) fn memory_id(key: &[u8]) -> Result<MemoryId, Error> {
    number(key, 0).map(MemoryId)
}

fn number(key: &[u8], at: usize) -> Result<u64, Error> {
    let bytes = key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| codec::damaged("a key of the catalogue".into()))
}

fn short(key: &[u8], at: usize) -> Result<u32, Error> {
    let bytes = key.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_be_bytes).ok_or_else(|| codec::damaged("a key of the catalogue".into()))
}
