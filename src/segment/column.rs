//! One column of a segment, in memory or lent by a mapped file.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;

/// Bytes that somebody else keeps alive: a mapped file, or a buffer.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A read-only array of `T`, either owned or a view into [`SharedBytes`].
///
/// Views are native-endian; the file formats that lend them are little-endian,
/// which is checked where such a file is opened.
pub enum Column<T> {
    /// In memory.
    Owned(Box<[T]>),
    /// In a mapped file or a shared buffer.
    Shared {
        /// Keeps the bytes alive.
        bytes: SharedBytes,
        /// Where in `bytes` the column lies; checked by [`Column::shared`].
        range: Range<usize>,
    },
}

impl<T: Pod> Column<T> {
    /// A view of `range` of `bytes`.
    ///
    /// Returns `None` when the range is out of bounds, misaligned for `T`, or
    /// not a whole number of `T`s.
    pub fn shared(bytes: SharedBytes, range: Range<usize>) -> Option<Self> {
        let slice = (*bytes).as_ref().get(range.clone())?;
        bytemuck::try_cast_slice::<u8, T>(slice).ok()?;
        Some(Column::Shared { bytes, range })
    }

    /// The column as bytes, for writing it to a file.
    pub fn as_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }

    /// Bytes of anonymous memory that the column holds.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Column::Owned(items) => size_of_val(&**items),
            Column::Shared { .. } => 0,
        }
    }
}

impl<T: Pod> Deref for Column<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Column::Owned(items) => items,
            Column::Shared { bytes, range } => (**bytes)
                .as_ref()
                .get(range.clone())
                .and_then(|slice| bytemuck::try_cast_slice(slice).ok())
                .unwrap_or_default(),
        }
    }
}

impl<T> From<Vec<T>> for Column<T> {
    fn from(items: Vec<T>) -> Self {
        Column::Owned(items.into_boxed_slice())
    }
}

impl<T: Pod> FromIterator<T> for Column<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Column::Owned(items.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_column_reads_back_what_an_owned_one_wrote() {
        let owned: Column<u64> = vec![1, u64::MAX, 3].into();
        let mut padded = vec![0u64; 1];
        padded.extend_from_slice(&owned);
        let bytes: SharedBytes = Arc::new(Words(padded));
        let shared = Column::<u64>::shared(bytes, 8..32).unwrap();
        assert_eq!(&*shared, &*owned);
        assert_eq!(shared.heap_bytes(), 0);
        assert_eq!(owned.heap_bytes(), 24);
    }

    #[test]
    fn out_of_bounds_misaligned_and_ragged_ranges_are_refused() {
        let bytes: SharedBytes = Arc::new(Words(vec![0; 2]));
        for range in [8..32, 1..9, 0..7] {
            assert!(Column::<u64>::shared(bytes.clone(), range).is_none());
        }
    }

    struct Words(Vec<u64>);

    impl AsRef<[u8]> for Words {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
}
