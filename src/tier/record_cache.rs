//! Records that had to be decompressed, kept for the next recall.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::error::Error;
use crate::segment::CompressedRow;

/// Bytes of an entry besides its record: the key, two pointers, counters, and its place in the cache's table.
const ENTRY_BYTES: usize = 128;

/// Bytes of a record and its entry, about.
const TYPICAL_BYTES: usize = 512;

/// The records that were read last or most often, within a bound on their bytes.
///
/// Decompressing a block for one record takes about a third of a recall from COLD. Whole blocks are not
/// kept: a recall's hits are scattered, and seldom read a neighbor.
pub(super) struct RecordCache {
    records: Cache<CompressedRow, Arc<[u8]>, Bytes>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<CompressedRow, Arc<[u8]>> for Bytes {
    fn weight(&self, _: &CompressedRow, record: &Arc<[u8]>) -> u64 {
        (record.len() + ENTRY_BYTES) as u64
    }
}

impl RecordCache {
    /// An empty cache of at most so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { records: Cache::with_weighter(most / TYPICAL_BYTES, most as u64, Bytes) }
    }

    /// The record in `row`, which `read` reads if it is not kept.
    ///
    /// # Errors
    /// Those of `read`; then nothing is kept.
    pub(super) fn get(
        &self,
        row: CompressedRow,
        read: impl FnOnce() -> Result<Arc<[u8]>, Error>,
    ) -> Result<Arc<[u8]>, Error> {
        if let Some(record) = self.records.get(&row) {
            return Ok(record);
        }
        let record = read()?;
        self.records.insert(row, record.clone());
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_is_kept_stays_within_the_bound_and_is_not_read_again() {
        let cache = RecordCache::new(64 << 10);
        let row = |row| CompressedRow::new(1, row);
        for at in 0..10_000 {
            let record = cache.get(row(at), || Ok(at.to_le_bytes().into())).unwrap();
            assert_eq!(*record, at.to_le_bytes());
            let again = cache.get(row(at), || panic!("{at} is read twice")).unwrap();
            assert_eq!(again, record);
            assert!(cache.records.weight() <= 64 << 10, "{} bytes", cache.records.weight());
        }
        assert!(cache.records.len() > 300, "{} records", cache.records.len());
    }

    #[test]
    fn what_cannot_be_read_is_not_kept() {
        let cache = RecordCache::new(64 << 10);
        let row = CompressedRow::new(1, 7);
        let damaged = || Err(Error::NotAStore { path: PathBuf::new(), found: String::new() });
        assert!(cache.get(row, damaged).is_err());
        assert_eq!(*cache.get(row, || Ok([1].into())).unwrap(), [1]);
    }
}
