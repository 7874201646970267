//! One column of a segment, in memory or lent by a mapped file.
#![allow(
    unsafe_code,
    reason = "a column is read millions of times a recall; the argument stands at the call"
)]

use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::{Mmap, MmapMut};

/// Bytes that several columns lend: a mapped file, or a copy of one in RAM. Nothing changes or moves
/// them.
pub enum Bytes {
    /// Mapped.
    Mapped(Mmap),
    /// In RAM.
    Held(AlignedBytes),
}

/// [`Bytes`] that live as long as one of their columns does.
pub type SharedBytes = Arc<Bytes>;

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Held(bytes) => bytes.as_ref(),
        }
    }
}

/// Bytes in RAM that start as a mapped file does, aligned for every column.
pub struct AlignedBytes {
    memory: Memory,
    length: usize,
}

enum Memory {
    Heap(Vec<u64>),
    /// In huge pages, where the operating system has them. A search goes to places all over a segment: with
    /// small pages, finding out where they are in RAM takes longer than reading them.
    Pages(MmapMut),
}

impl Memory {
    fn in_huge_pages(pages: MmapMut) -> Self {
        // Where there are none, small pages do as well.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Self::Pages(pages)
    }
}

/// Twice the size of a huge page: at least one fits, wherever the memory begins.
const LARGE: usize = 4 << 20;

impl AlignedBytes {
    /// So many zeros.
    pub(super) fn zeroed(length: usize) -> Self {
        let pages = (length >= LARGE).then(|| MmapMut::map_anon(length).ok()).flatten();
        let heap = || Memory::Heap(vec![0; length.div_ceil(8)]);
        Self { memory: pages.map_or_else(heap, Memory::in_huge_pages), length }
    }

    /// The next bytes of a file.
    pub(super) fn read(file: &mut File, length: usize) -> io::Result<Self> {
        let mut bytes = Self::zeroed(length);
        file.read_exact(bytes.as_mut())?;
        Ok(bytes)
    }

    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        let all: &mut [u8] = match &mut self.memory {
            Memory::Heap(words) => bytemuck::cast_slice_mut(words),
            Memory::Pages(pages) => pages,
        };
        all.get_mut(..self.length).unwrap_or_default()
    }
}

impl From<&[u8]> for AlignedBytes {
    fn from(content: &[u8]) -> Self {
        let mut bytes = Self::zeroed(content.len());
        bytes.as_mut().copy_from_slice(content);
        bytes
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        let all: &[u8] = match &self.memory {
            Memory::Heap(words) => bytemuck::cast_slice(words),
            Memory::Pages(pages) => pages,
        };
        all.get(..self.length).unwrap_or_default()
    }
}

/// A read-only array of `T`, either owned or a view into [`SharedBytes`].
///
/// Views are native-endian; the file formats that lend them are little-endian,
/// which is checked where such a file is opened.
pub struct Column<T>(Storage<T>);

enum Storage<T> {
    Owned(Box<[T]>),
    Shared(Lent<T>),
}

/// A part of some bytes as an array. It was checked when it was made, so that nothing need be checked
/// each time that it is read.
struct Lent<T> {
    start: *const T,
    length: usize,
    /// Keeps the bytes where they are.
    _bytes: SharedBytes,
}

// SAFETY: a `Lent` is no more than a `&[T]` and a share in what it points at, which nobody changes;
// both may be sent to and used by other threads if `T` may.
unsafe impl<T: Sync> Send for Lent<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Lent<T> {}

impl<T: Pod> Column<T> {
    /// A view of `range` of `bytes`.
    ///
    /// Returns `None` when the range is out of bounds, misaligned for `T`, or
    /// not a whole number of `T`s.
    pub fn shared(bytes: SharedBytes, range: Range<usize>) -> Option<Self> {
        let items = bytemuck::try_cast_slice::<u8, T>((*bytes).as_ref().get(range)?).ok()?;
        let (start, length) = (items.as_ptr(), items.len());
        Some(Self(Storage::Shared(Lent { start, length, _bytes: bytes })))
    }

    /// The column as bytes, for writing it to a file.
    pub fn as_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }

    /// Bytes of anonymous memory that the column holds.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Storage::Owned(items) => size_of_val(&**items),
            Storage::Shared(_) => 0,
        }
    }
}

impl<T: Pod> Deref for Column<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Storage::Owned(items) => items,
            // SAFETY: start and length are those of a slice of `T`s that `Column::shared` was given
            // by the same bytes. These stay where they are and as they are while `_bytes` lives: a
            // `Bytes` in an `Arc` is never borrowed mutably, a map does not move with its handle,
            // and the words of `AlignedBytes` lie on the heap. Any bits are a `T`, which is `Pod`.
            Storage::Shared(Lent { start, length, .. }) => unsafe {
                std::slice::from_raw_parts(*start, *length)
            },
        }
    }
}

impl<T> From<Vec<T>> for Column<T> {
    fn from(items: Vec<T>) -> Self {
        Self(Storage::Owned(items.into_boxed_slice()))
    }
}

impl<T: Pod> FromIterator<T> for Column<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        items.into_iter().collect::<Vec<T>>().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(content: &[u8]) -> SharedBytes {
        Arc::new(Bytes::Held(content.into()))
    }

    fn mapped(content: &[u8]) -> SharedBytes {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        // SAFETY: nobody else knows the file, which goes when this returns; the map stays.
        Arc::new(Bytes::Mapped(unsafe { Mmap::map(file.as_file()) }.unwrap()))
    }

    proptest! {
        /// The safe twin: casting the bytes each time.
        #[test]
        fn a_view_reads_what_a_cast_of_the_bytes_reads(
            content in prop::collection::vec(any::<u8>(), 8..200),
            start in any::<prop::sample::Index>(), end in any::<prop::sample::Index>(),
        ) {
            let range = start.index(content.len())..end.index(content.len() + 1);
            for bytes in [held(&content), mapped(&content)] {
                let cast = (*bytes).as_ref().get(range.clone());
                let cast = cast.and_then(|part| bytemuck::try_cast_slice::<u8, u32>(part).ok()).map(<[u32]>::to_vec);
                let column = Column::<u32>::shared(bytes, range.clone());
                // In another thread, and after all other shares in the bytes are gone.
                let read = std::thread::spawn(move || column.map(|column| column.to_vec())).join().unwrap();
                prop_assert_eq!(read, cast);
            }
        }
    }

    #[test]
    fn a_shared_column_reads_back_what_an_owned_one_wrote() {
        let owned: Column<u64> = vec![1, u64::MAX, 3].into();
        let shared = Column::<u64>::shared(held(&[&[0; 8], owned.as_bytes()].concat()), 8..32).unwrap();
        assert_eq!(&*shared, &*owned);
        assert_eq!((shared.heap_bytes(), owned.heap_bytes()), (0, 24));
    }

    #[test]
    fn out_of_bounds_misaligned_and_ragged_ranges_are_refused() {
        let bytes = held(&[0; 16]);
        for range in [8..32, 1..9, 0..7] {
            assert!(Column::<u64>::shared(bytes.clone(), range).is_none());
        }
    }
}
