//! The mark of a log: a small file beside fjall's that says whose journals
//! belong here, and whether the last engine closed them.
//!
//! fjall takes any journal that it finds for its own, another store's too. So
//! the first batch of every journal repeats the mark's number, and a log that
//! was closed has nothing in its journals.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `MNEMOLOG` |
//! | 8 | the number, made at random with the log |
//! | 1 | 1 if the log was closed, 0 while it is open |
//! | 8 | XXH3-64 of what is before |

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::key::Timestamp;

const MAGIC: &[u8; 8] = b"MNEMOLOG";
const HASHED: usize = 17;

/// The name of the mark's setting in the catalogue.
pub(super) const SETTING: &str = "log";

/// A number that nobody else has, not on another machine either.
pub(super) fn random_number() -> u64 {
    RandomState::new().hash_one(Timestamp::now())
}

/// What a log says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Tells this log from any other.
    pub number: u64,
    /// Whether everything is in tables and the journals are empty.
    pub closed: bool,
}

impl Mark {
    /// The mark of a log that is made now.
    pub(super) fn new() -> Self {
        Self { number: random_number(), closed: false }
    }

    /// Where the mark of the log in `folder` lies.
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join("mark")
    }

    /// The mark in `folder`; `None` if there is none that can be read. Logs of
    /// before the marks have none, and lose nothing by it but the two checks.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        Self::try_read(folder).ok().flatten()
    }

    /// As [`Mark::read`], if the file can be read at all.
    pub(super) fn try_read(folder: &Path) -> io::Result<Option<Self>> {
        std::fs::read(Self::path(folder)).map(|bytes| Self::decode(&bytes))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (hashed, checksum) = bytes.split_at_checked(HASHED)?;
        (xxh3_64(hashed).to_le_bytes() == checksum).then_some(())?;
        let (magic, rest) = hashed.split_at_checked(MAGIC.len())?;
        let (number, closed) = rest.split_at_checked(8)?;
        let number = u64::from_le_bytes(number.try_into().ok()?);
        (magic == MAGIC).then_some(Self { number, closed: closed == [1] })
    }

    /// Writes the mark over the one in `folder`, durably. It is too short to
    /// need room on a full disk; one that is torn counts as none.
    pub(super) fn write(self, folder: &Path) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.push(u8::from(self.closed));
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        let path = Self::path(folder);
        let fresh = !path.try_exists()?;
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.write_all(&bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_data()?;
        if fresh { sync_folder(folder) } else { Ok(()) }
    }
}

/// A new or renamed file survives a power loss only once its folder is flushed
/// too.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_a_damaged_one_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(folder.path()), None);
        let mark = Mark::new();
        mark.write(folder.path()).unwrap();
        assert_eq!(Mark::read(folder.path()), Some(mark));
        let closed = Mark { closed: true, ..mark };
        closed.write(folder.path()).unwrap();
        assert_eq!(Mark::read(folder.path()), Some(closed));
        let path = Mark::path(folder.path());
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(Mark::read(folder.path()), None, "byte {at}");
            std::fs::write(&path, &bytes[..at]).unwrap();
            assert_eq!(Mark::read(folder.path()), None, "cut at {at}");
        }
    }
}
