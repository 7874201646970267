//! What a power loss leaves of fjall's journal, put right before fjall reads it.
//!
//! Sectors of the last writes may be missing, whichever they are; they read as
//! zeros. fjall 3.1 drops a batch that ends too early or makes no sense, but
//! refuses the whole journal when the zeros lie in the middle of a value. So the
//! journal is cut here, after its last whole batch.
//!
//! A batch is a start (tag 1, number of items, sequence number), its items (tag 2
//! with a key and a value, or tag 4) and an end (tag 3, XXH3-64 of the items,
//! `FJL` and 3); all numbers are little-endian.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// The least that disks write at once.
const SECTOR_BYTES: u64 = 512;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";

/// Bytes between the tag of an item and its key: kind, compression, keyspace,
/// and the lengths of the key, of the value, and of the value as it is written.
const HEADER_BYTES: usize = 20;

/// Cuts a torn end off the newest journal in `folder`; the others were synced
/// before it was begun. Nobody else may have the log open.
pub(super) fn cut_torn_end(folder: &Path) -> io::Result<()> {
    let Some(path) = newest(folder)? else { return Ok(()) };
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut scan = Scan::new(&file, length);
    let mut whole = 0;
    while let Batch::Whole = scan.batch()? {
        whole = scan.position;
    }
    // A batch that is damaged otherwise is for fjall to refuse: what follows may
    // have been synced long ago.
    if scan.torn && whole < length {
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(())
}

fn newest(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".jnl")).and_then(|name| name.parse().ok());
        if let Some(number) = number
            && newest.as_ref().is_none_or(|(other, _)| *other < number)
        {
            newest = Some((number, path));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

enum Batch {
    Whole,
    Broken,
}

struct Scan<'f> {
    reader: BufReader<&'f File>,
    position: u64,
    length: u64,
    /// Whether the batch that is read may lack sectors.
    torn: bool,
    checksum: Xxh3,
}

impl<'f> Scan<'f> {
    fn new(file: &'f File, length: u64) -> Self {
        let reader = BufReader::with_capacity(1 << 16, file);
        Self { reader, position: 0, length, torn: false, checksum: Xxh3::new() }
    }

    /// Reads a batch.
    fn batch(&mut self) -> io::Result<Batch> {
        self.torn = false;
        self.checksum.reset();
        match self.whole_batch() {
            Ok(true) => Ok(Batch::Whole),
            Ok(false) => Ok(Batch::Broken),
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => {
                self.torn = true;
                Ok(Batch::Broken)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether what reads as a batch is one.
    fn whole_batch(&mut self) -> io::Result<bool> {
        if self.array::<1>()? != [START] {
            return Err(ErrorKind::InvalidData.into());
        }
        let (items, _sequence) = (u32::from_le_bytes(self.array()?), self.array::<8>()?);
        let mut read = 0;
        loop {
            match self.array()? {
                [ITEM] => self.item()?,
                [CLEAR] => {
                    self.checksum.update(&[CLEAR]);
                    self.summed(8)?;
                }
                [END] => break,
                _ => return Err(ErrorKind::InvalidData.into()),
            }
            read += 1;
        }
        let checksum = u64::from_le_bytes(self.array()?);
        if self.array::<4>()? != *TRAILER {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(read == items && checksum == self.checksum.digest())
    }

    fn item(&mut self) -> io::Result<()> {
        self.checksum.update(&[ITEM]);
        let header: [u8; HEADER_BYTES] = self.array()?;
        self.checksum.update(&header);
        let [.., k0, k1, _, _, _, _, v0, v1, v2, v3] = header;
        self.summed(u64::from(u16::from_le_bytes([k0, k1])))?;
        self.summed(u64::from(u32::from_le_bytes([v0, v1, v2, v3])))
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads `count` bytes for the checksum alone.
    fn summed(&mut self, mut count: u64) -> io::Result<()> {
        if count > self.length.saturating_sub(self.position) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut some = [0; 4096];
        while count > 0 {
            let part = some.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            let (part, _) = some.split_at_mut(part);
            self.read(part)?;
            self.checksum.update(part);
            count -= part.len() as u64;
        }
        Ok(())
    }

    /// Reads, and looks at the last byte of each sector: it is zero where the
    /// sector or its end is missing.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(bytes)?;
        let first = (SECTOR_BYTES - 1 - self.position % SECTOR_BYTES) as usize;
        self.torn |= bytes.iter().skip(first).step_by(SECTOR_BYTES as usize).any(|&byte| byte == 0);
        self.position += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;
    use crate::key::MemoryId;
    use crate::log::{self, DiskLog, Durability, Log};

    /// A journal of twelve batches, each with a value of so many ones, and its
    /// length.
    fn journal(folder: &Path, value: usize) -> (PathBuf, u64) {
        let (open, closed) = (folder.join("log"), folder.join("closed"));
        let disk = DiskLog::open(&open, 1 << 20).unwrap();
        for id in 0..12 {
            let mut batch = log::Batch::default();
            batch.put_record(MemoryId(id), &vec![1; value], None);
            disk.commit(&batch, Durability::Buffered).unwrap();
        }
        fs::create_dir(&closed).unwrap();
        let (from, to) = (newest(&open).unwrap().unwrap(), closed.join("0.jnl"));
        fs::copy(from, &to).unwrap();
        cut_torn_end(&closed).unwrap();
        let length = fs::metadata(&to).unwrap().len();
        assert!(length > 12 * value as u64 && length < 12 * (value as u64 + 200), "{length}");
        (to, length)
    }

    #[test]
    fn a_whole_journal_stays_as_it_is_and_zeros_behind_it_go() {
        let folder = tempfile::tempdir().unwrap();
        let (path, length) = journal(folder.path(), 300);
        let whole = fs::read(&path).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(length + 100_000).unwrap();
        cut_torn_end(path.parent().unwrap()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn a_journal_cut_at_any_byte_ends_with_a_whole_batch() {
        let folder = tempfile::tempdir().unwrap();
        let (path, length) = journal(folder.path(), 30);
        let whole = fs::read(&path).unwrap();
        let one = length / 12;
        for cut in 0..length {
            fs::write(&path, &whole[..cut as usize]).unwrap();
            cut_torn_end(path.parent().unwrap()).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), cut / one * one, "cut at {cut}");
        }
    }

    #[test]
    fn a_sector_missing_from_a_value_cuts_and_another_byte_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, length) = journal(folder.path(), 2_000);
        let one = length / 12;
        let mut file = File::options().write(true).open(&path).unwrap();
        let mut overwrite = |at, bytes: &[u8]| {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(bytes).unwrap();
        };
        // In the middle of the seventh value.
        let at = (6 * one + 1_000) / SECTOR_BYTES * SECTOR_BYTES;
        overwrite(at, &[7]);
        cut_torn_end(path.parent().unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), length, "what followed the damage is lost");
        overwrite(at, &[0; SECTOR_BYTES as usize]);
        cut_torn_end(path.parent().unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 6 * one);
    }
}
