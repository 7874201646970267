//! How the values of the log are laid out: little-endian, each with a version
//! in front.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Error;
use crate::key::{NamespaceId, TierKind, Timestamp};
use crate::leb128;
use crate::memory::Metadata;

/// Version of all layouts in this file.
const VERSION: u8 = 1;

/// Where the number of the namespace stands in a record.
const NAMESPACE: Range<usize> = 2..6;

/// All that is durable of a memory but its standing.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Whose it is.
    pub namespace: NamespaceId,
    /// When it happened.
    pub created: Timestamp,
    /// How much it matters.
    pub importance: f32,
    /// Whether its vector was supplied by the caller.
    pub supplied: bool,
    /// The text.
    pub text: String,
    /// Pairs to filter by.
    pub metadata: Metadata,
}

impl Record {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32 + self.text.len());
        bytes.push(VERSION);
        bytes.push(u8::from(self.supplied));
        bytes.extend_from_slice(&self.namespace.0.to_le_bytes());
        bytes.extend_from_slice(&self.created.0.to_le_bytes());
        bytes.extend_from_slice(&self.importance.to_le_bytes());
        put_bytes(&mut bytes, self.text.as_bytes());
        put_length(&mut bytes, self.metadata.len());
        for (key, value) in &self.metadata {
            put_bytes(&mut bytes, key.as_bytes());
            put_bytes(&mut bytes, value.as_bytes());
        }
        bytes
    }

    /// The bytes of an encoded `record` with another namespace.
    pub(crate) fn placed(record: &[u8], namespace: NamespaceId) -> Arc<[u8]> {
        let mut placed: Arc<[u8]> = record.into();
        let field = Arc::get_mut(&mut placed).and_then(|bytes| bytes.get_mut(NAMESPACE));
        if let Some(field) = field {
            field.copy_from_slice(&namespace.0.to_le_bytes());
        }
        placed
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the bytes are no record.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(&mut Reader(bytes)).ok_or_else(|| damaged("a record".into()))
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        (reader.byte()? == VERSION).then_some(())?;
        let supplied = reader.byte()? != 0;
        let namespace = NamespaceId(u32::from_le_bytes(reader.array()?));
        let created = Timestamp(i64::from_le_bytes(reader.array()?));
        let importance = f32::from_le_bytes(reader.array()?);
        let text = reader.text()?;
        let metadata = (0..reader.length()?).map(|_| reader.pair()).collect::<Option<_>>()?;
        reader.0.is_empty().then_some(Self { namespace, created, importance, supplied, text, metadata })
    }
}

/// Where a memory is and how often it was accessed, where no segment's file says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its tier.
    pub tier: TierKind,
    /// Whose it is.
    pub namespace: NamespaceId,
    /// Accesses, storing it included.
    pub accesses: u32,
}

impl Placement {
    /// The placement as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.tier as u8];
        put_length(&mut bytes, self.namespace.0 as usize);
        put_length(&mut bytes, self.accesses as usize);
        bytes
    }

    /// Reads a placement back.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(&mut Reader(bytes)).ok_or_else(|| damaged("a memory's placement".into()))
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        (reader.byte()? == VERSION).then_some(())?;
        let tier = reader.tier()?;
        let namespace = NamespaceId(u32::try_from(reader.length()?).ok()?);
        let accesses = u32::try_from(reader.length()?).ok()?;
        reader.0.is_empty().then_some(Self { tier, namespace, accesses })
    }
}

/// What the log knows of a segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    /// The tier of its memories.
    pub tier: TierKind,
    /// Whose memories it holds.
    pub namespace: NamespaceId,
    /// Its size in bytes.
    pub bytes: u64,
    /// XXH3-64 of the whole file.
    pub checksum: u64,
}

impl SegmentEntry {
    /// The entry as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.tier as u8];
        bytes.extend_from_slice(&self.namespace.0.to_le_bytes());
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.extend_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    /// Reads an entry back.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader(bytes);
        let mut read = || {
            (reader.byte()? == VERSION).then_some(())?;
            let tier = reader.tier()?;
            let namespace = NamespaceId(u32::from_le_bytes(reader.array()?));
            let bytes = u64::from_le_bytes(reader.array()?);
            let checksum = u64::from_le_bytes(reader.array()?);
            reader.0.is_empty().then_some(Self { tier, namespace, bytes, checksum })
        };
        read().ok_or_else(|| damaged("a segment's entry".into()))
    }
}

/// Something in the log that does not read as it was written.
pub(super) fn damaged(what: String) -> Error {
    Error::Corrupt { path: "log".into(), what }
}

/// Eight bytes as a number.
pub(super) fn u64_le(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// A length.
pub(super) fn put_length(bytes: &mut Vec<u8>, length: usize) {
    leb128::put(bytes, length as u64);
}

/// Bytes with their length in front.
pub(super) fn put_bytes(bytes: &mut Vec<u8>, content: &[u8]) {
    put_length(bytes, content.len());
    bytes.extend_from_slice(content);
}

/// Reads what was put, from the front on.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn tier(&mut self) -> Option<TierKind> {
        TierKind::ALL.get(self.byte()? as usize).copied()
    }

    pub(super) fn length(&mut self) -> Option<usize> {
        usize::try_from(leb128::take(&mut self.0)?).ok()
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn pair(&mut self) -> Option<(String, String)> {
        Some((self.text()?, self.text()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_record() -> impl Strategy<Value = Record> {
        let pairs = || prop::collection::vec((".{0,8}", ".{0,200}"), 0..4);
        (any::<u32>(), any::<i64>(), 0f32..9.0, any::<bool>(), ".{0,300}", pairs()).prop_map(
            |(namespace, created, importance, supplied, text, metadata)| Record {
                namespace: NamespaceId(namespace),
                created: Timestamp(created),
                importance,
                supplied,
                text,
                metadata: metadata.into_iter().collect(),
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was(record in some_record()) {
            prop_assert_eq!(Record::decode(&record.encode()).unwrap(), record.clone());
            let elsewhere = Record { namespace: NamespaceId(7), ..record.clone() };
            prop_assert_eq!(Record::decode(&Record::placed(&record.encode(), NamespaceId(7))).unwrap(), elsewhere);
        }

        #[test]
        fn a_cut_record_is_an_error(record in some_record(), cut in any::<prop::sample::Index>()) {
            let bytes = record.encode();
            prop_assert!(Record::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Record::decode(&bytes), Placement::decode(&bytes), SegmentEntry::decode(&bytes));
        }

        #[test]
        fn a_placement_reads_back_as_it_was(tier in 0usize..3, namespace in any::<u32>(), accesses in any::<u32>()) {
            let (tier, namespace) = (TierKind::ALL[tier], NamespaceId(namespace));
            let placement = Placement { tier, namespace, accesses };
            prop_assert_eq!(Placement::decode(&placement.encode()).unwrap(), placement);
        }
    }
}
