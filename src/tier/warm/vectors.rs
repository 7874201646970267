//! The mapped file of vectors: slots of one vector each, written through the
//! file and read through the maps.
#![allow(unsafe_code, reason = "mapping a file is unsafe; the argument stands at the call")]

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};

use crate::error::Error;
#[cfg(feature = "object-store")]
use crate::hdv::Dimension;

/// Vectors of one map. At 16,384 bits it is 8 MB: the file grows in steps that
/// are small beside a tier, and a map is made once in some thousands of stores.
const EXTENT_ROWS: usize = 4_096;

/// Bytes of the file for so many vectors.
#[cfg(feature = "object-store")]
pub(crate) fn file_bytes(vectors: usize, dimension: Dimension) -> u64 {
    (vectors.next_multiple_of(EXTENT_ROWS) * dimension.bytes()) as u64
}

/// The writer's side: hands out slots and fills them.
pub(super) struct VectorFile {
    path: PathBuf,
    file: File,
    row_bytes: usize,
    extents: Arc<Vec<Arc<Mmap>>>,
    used: u32,
    free: Vec<u32>,
    /// Where the file stands, if that is known.
    position: Option<u64>,
}

impl VectorFile {
    /// An empty file for vectors of `row_bytes` bytes, a multiple of 8.
    pub(super) fn create(path: &Path, row_bytes: usize) -> Result<Self, Error> {
        // A new file under the old name: whoever still maps the old one keeps it.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(path, error)),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(|error| Error::io(path, error))?;
        let path = path.to_path_buf();
        Ok(Self { path, file, row_bytes, extents: Arc::default(), used: 0, free: Vec::new(), position: None })
    }

    /// Writes a vector and returns its slot.
    pub(super) fn write(&mut self, vector: &[u8]) -> Result<u32, Error> {
        debug_assert_eq!(vector.len(), self.row_bytes);
        let slot = self.free.last().copied().unwrap_or(self.used);
        if slot as usize >= self.extents.len() * EXTENT_ROWS {
            self.grow()?;
        }
        let at = u64::from(slot) * self.row_bytes as u64;
        // Most slots follow the last one.
        let moved =
            if self.position.take() == Some(at) { Ok(at) } else { self.file.seek(SeekFrom::Start(at)) };
        let written = moved.and_then(|_| self.file.write_all(vector));
        written.map_err(|error| Error::io(&self.path, error))?;
        self.position = Some(at + vector.len() as u64);
        if self.free.pop().is_none() {
            self.used += 1;
        }
        Ok(slot)
    }

    /// Gives a slot back. No reader may look at it any more.
    pub(super) fn free(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// The reader's side, as it is now.
    pub(super) fn extents(&self) -> Extents {
        Extents { maps: self.extents.clone(), row_bytes: self.row_bytes }
    }

    fn grow(&mut self) -> Result<(), Error> {
        let bytes = EXTENT_ROWS * self.row_bytes;
        let start = (self.extents.len() * bytes) as u64;
        let map = self.file.set_len(start + bytes as u64).and_then(|()| {
            // SAFETY: a map is undefined behaviour when what it shows changes
            // under a reference. The file is this engine's own: it is created
            // anew, never truncated, and the store's lock keeps other engines
            // out. A slot is written only while no view shows it (it is fresh,
            // or was given back after its last view was dropped), and readers
            // look at slots of their view alone.
            unsafe { MmapOptions::new().offset(start).len(bytes).map(&self.file) }
        });
        let map = map.map_err(|error| Error::io(&self.path, error))?;
        Arc::make_mut(&mut self.extents).push(Arc::new(map));
        Ok(())
    }
}

/// The reader's side of the file.
#[derive(Clone)]
pub(super) struct Extents {
    maps: Arc<Vec<Arc<Mmap>>>,
    row_bytes: usize,
}

impl Extents {
    /// Bytes of a vector.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The vector in `slot`.
    pub(super) fn words(&self, slot: u32) -> Result<&[u64], Error> {
        let (extent, row) = (slot as usize / EXTENT_ROWS, slot as usize % EXTENT_ROWS);
        let bytes =
            self.maps.get(extent).and_then(|map| map.get(row * self.row_bytes..(row + 1) * self.row_bytes));
        bytes.and_then(|bytes| bytemuck::try_cast_slice(bytes).ok()).ok_or_else(|| Error::Corrupt {
            path: "the file of WARM vectors".into(),
            what: format!("slot {slot}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The safe twin of the mapped file: every vector in a map from slots.
    #[test]
    fn mapped_slots_read_as_they_were_written_also_when_reused() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = VectorFile::create(&folder.path().join("vectors"), 16).unwrap();
        let mut twin = std::collections::HashMap::new();
        for value in 0..(2 * EXTENT_ROWS as u64 + 5) {
            let words = [value, !value];
            twin.insert(file.write(bytemuck::cast_slice(&words)).unwrap(), words);
            if value % 3 == 0 {
                let slot = *twin.keys().min().unwrap();
                twin.remove(&slot);
                file.free(slot);
            }
        }
        let extents = file.extents();
        for (slot, words) in twin {
            assert_eq!(extents.words(slot).unwrap(), words);
        }
    }

    #[test]
    fn a_slot_beyond_the_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = VectorFile::create(&folder.path().join("vectors"), 16).unwrap();
        assert!(matches!(file.extents().words(0), Err(Error::Corrupt { .. })));
    }
}
