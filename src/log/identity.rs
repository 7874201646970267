//! The identity of a log: a small file beside the journal that says which journal belongs here.
//!
//! The engine that has the log open also keeps this file locked, so that deleting the store's lock
//! file admits nobody.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `MNEMOLOG` |
//! | 8 | the number, chosen at random when the log is made |
//! | 8 | the generation of the journal, or of one before it |
//! | 8 | XXH3-64 of the preceding bytes |

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::codec::u64_le;
use super::durable::open_or_make_file;
use crate::error::Error;
use crate::key::Timestamp;

const MAGIC: &[u8; 8] = b"MNEMOLOG";
const HASHED: usize = 24;

/// Which journal belongs to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Tells the log from any other.
    pub number: u64,
    /// No journal of an earlier generation is its last one.
    pub generation: u64,
}

/// A number that nothing else has, on any machine.
pub(super) fn random_number() -> u64 {
    RandomState::new().hash_one(Timestamp::now())
}

/// Where the identity of the log in `folder` lies.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("identity")
}

/// The identity of the log in `folder`; `None` if the file does not hold one.
///
/// # Errors
/// The operating system's, also if there is no file.
pub(super) fn read(folder: &Path) -> io::Result<Option<Identity>> {
    std::fs::read(path(folder)).map(|bytes| decode(&bytes))
}

fn decode(bytes: &[u8]) -> Option<Identity> {
    let (hashed, checksum) = bytes.split_at_checked(HASHED)?;
    (xxh3_64(hashed).to_le_bytes() == checksum).then_some(())?;
    let (number, generation) = hashed.strip_prefix(MAGIC)?.split_first_chunk()?;
    Some(Identity { number: u64::from_le_bytes(*number), generation: u64_le(generation)? })
}

/// Writes the identity over the content of the file in `folder`, durably. A torn file counts as one without an
/// identity.
///
/// # Errors
/// [`Error::NoSpace`], [`Error::Io`].
pub(super) fn write(folder: &Path, identity: Identity) -> Result<(), Error> {
    let path = path(folder);
    write_to(&path, identity).map_err(|error| Error::io(&path, error))
}

fn write_to(path: &Path, Identity { number, generation }: Identity) -> io::Result<()> {
    let (mut file, _) = open_or_make_file(path)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    file.write_all(&bytes)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_and_a_damaged_one_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).is_err());
        let written = Identity { number: 7, generation: 3 };
        write(folder.path(), written).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(written));
        let bytes = std::fs::read(path(folder.path())).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(path(folder.path()), &flipped).unwrap();
            assert_eq!(read(folder.path()).unwrap(), None, "byte {at}");
            std::fs::write(path(folder.path()), &bytes[..at]).unwrap();
            assert_eq!(read(folder.path()).unwrap(), None, "cut at {at}");
        }
    }
}
