//! Room that a store keeps on its disk, so that it can forget, and compact itself, when the disk is full.
//!
//! The room is a file of noise, which no file system can compress. It is given up in parts when a forget or a
//! compaction finds the disk full, and filled again when there is room. Until then, nothing is stored. It is enough
//! for the log to be written again, so that at least this is always possible.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::durable::append_file;
use crate::error::Error;

/// The smallest and the largest reserve, in bytes.
const LEAST: u64 = 64 << 10;
const MOST: u64 = 16 << 20;

/// The reserve is at least this part of the store.
const SHARE: u64 = 64;

/// Parts in which the reserve is given up.
const PARTS: u64 = 4;

/// How much of the reserve a commit may use up when the disk is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allowance {
    /// Nothing. If the reserve is not as large as the log needs it after the commit, it is filled before.
    #[default]
    None,
    /// Half of the part that the log does not need to be written again. Compactions need the rest.
    Half,
    /// All of it, because what the commit removes takes more room than the commit.
    All,
}

/// The reserve of a log.
pub(super) struct Reserve {
    path: PathBuf,
    held: u64,
    /// What it held when it was whole.
    whole: u64,
}

/// Where the reserve of the log in `folder` lies.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("reserve")
}

impl Reserve {
    /// The reserve of the log in `folder`, as it was left.
    pub(super) fn of(folder: &Path) -> Self {
        let mut reserve = Self { path: path(folder), held: 0, whole: LEAST };
        reserve.look();
        reserve.whole = reserve.held.max(LEAST);
        reserve
    }

    /// What a store keeps that has so many bytes, and so many of them in a log that was just written again.
    pub(super) fn due(store: u64, log: u64) -> u64 {
        // Powers of two, so that a store that grows seldom changes it.
        ((store / SHARE).max(1).next_power_of_two().max(LEAST) + log.next_multiple_of(LEAST)).min(MOST)
    }

    /// Fills it up to what it was when it was whole, and to what the log takes when it is written again.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Io`].
    pub(super) fn fill(&mut self, log: u64) -> Result<(), Error> {
        while !self.is_full(log) {
            self.grow(self.whole.max(Self::due(0, log)), LEAST)?;
        }
        Ok(())
    }

    /// Whether [`fill`](Self::fill) has nothing to do.
    pub(super) fn is_full(&self, log: u64) -> bool {
        self.held >= self.whole.max(Self::due(0, log))
    }

    /// Brings it by at most `step` bytes nearer to `due` bytes. Returns whether it has reached them. A reserve
    /// that is a little larger than is due stays so.
    ///
    /// # Errors
    /// As [`Reserve::fill`].
    pub(super) fn grow(&mut self, due: u64, step: u64) -> Result<bool, Error> {
        let changed = if self.held > PARTS * due {
            self.cut(due)
        } else if self.held < due {
            self.append(step.min(due - self.held))
        } else {
            Ok(())
        };
        changed.map_err(|error| Error::io(&self.path, error))?;
        if self.held >= due {
            self.whole = due;
        }
        Ok(self.held >= due)
    }

    /// Gives up a part, within the allowance. Returns whether there was anything to give. The log takes so many
    /// bytes when it is written again.
    pub(super) fn give_up(&mut self, allowance: Allowance, log: u64) -> bool {
        let least = match allowance {
            Allowance::None => return false,
            // A forgotten row takes the log a mark, so it may need more than it did.
            Allowance::Half => u64::midpoint(self.whole, log).max(log),
            Allowance::All => 0,
        };
        let rest = self.held.saturating_sub(self.whole / PARTS).max(least);
        rest < self.held && self.cut(rest).is_ok()
    }

    fn append(&mut self, bytes: u64) -> io::Result<()> {
        let written = append_file(&self.path).and_then(|mut file| file.write_all(&noise(self.held, bytes)));
        // A full disk may have taken a part of it.
        self.look();
        written
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(&self.path)?.set_len(length)?;
        self.held = length;
        Ok(())
    }

    fn look(&mut self) {
        self.held = fs::metadata(&self.path).map_or(0, |file| file.len());
    }
}

/// Bytes that cannot be compressed, as they are from `start` on.
fn noise(start: u64, bytes: u64) -> Vec<u8> {
    let words = start / 8..(start + bytes).div_ceil(8);
    words.flat_map(|word| xxh3_64_with_seed(&word.to_le_bytes(), LEAST).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_steps_is_given_up_in_parts_and_filled_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::of(folder.path());
        reserve.fill(0).unwrap();
        assert_eq!(reserve.held, LEAST);
        assert!(!reserve.grow(4 * LEAST, LEAST).unwrap());
        assert_eq!(reserve.whole, LEAST, "the part that is new was never promised");
        while !reserve.grow(4 * LEAST, LEAST).unwrap() {}
        assert!(!reserve.give_up(Allowance::None, 0));
        let mut parts =
            |allowance| std::iter::from_fn(|| reserve.give_up(allowance, 0).then_some(())).count();
        assert_eq!((parts(Allowance::Half), parts(Allowance::Half), parts(Allowance::All)), (2, 0, 2));
        assert_eq!(reserve.held, 0);
        reserve.fill(4 * LEAST).unwrap();
        assert_eq!(Reserve::of(folder.path()).held, 5 * LEAST);
        assert!(reserve.grow(LEAST, LEAST).unwrap());
        assert_eq!(fs::metadata(path(folder.path())).unwrap().len(), LEAST);
    }

    #[test]
    fn it_is_enough_for_the_log_and_at_least_a_64th_of_the_store_within_its_limits() {
        assert_eq!((Reserve::due(0, 0), Reserve::due(1 << 40, 1 << 30)), (LEAST, MOST));
        assert_eq!(Reserve::due(4 << 20, 3 << 20), (3 << 20) + LEAST);
        for store in [5 << 20, 100 << 20, 800 << 20] {
            let due = Reserve::due(store, 0);
            assert!(due >= store / SHARE && due < store / SHARE * 2, "{due} of {store}");
        }
    }

    #[test]
    fn its_content_cannot_be_compressed() {
        let noise = noise(4_096, LEAST);
        assert_eq!(noise.len() as u64, LEAST);
        assert!(zstd::bulk::compress(&noise, 3).unwrap().len() >= noise.len());
    }
}
