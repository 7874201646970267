//! Local copies of stores that are in buckets: a bounded cache, which keeps those used last.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use xxhash_rust::xxh3::xxh3_64;

use crate::bucket::Bucket;
use crate::error::Error;
use crate::log::{LOCK, LOG_FOLDER, StoreLock, absolute, make_folders};

/// The copy of one store, held for one engine.
pub(super) struct LocalCopy {
    bucket: Bucket,
    /// Its file is as old as the last use of the copy.
    lock: Arc<StoreLock>,
}

impl LocalCopy {
    /// A copy of what is in `bucket` that no other engine uses: one that is there
    /// already, or a new one, in the folder `cache`.
    pub(super) fn hold(cache: &Path, bucket: Bucket) -> Result<Self, Error> {
        let (cache, name) = (absolute(cache)?, xxh3_64(bucket.name().as_bytes()));
        for number in 0.. {
            let folder = cache.join(format!("{name:016x}-{number}"));
            make_folders(&folder).map_err(|error| Error::io(&folder, error))?;
            if let Some(lock) = StoreLock::try_acquire(&folder)? {
                lock.keep();
                lock.touch()?;
                return Ok(Self { bucket, lock: Arc::new(lock) });
            }
        }
        unreachable!("numbers do not end")
    }

    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    pub(super) fn folder(&self) -> &Path {
        self.lock.folder()
    }

    pub(super) fn lock(&self) -> &Arc<StoreLock> {
        &self.lock
    }

    /// Whether the log, which is here, and so many more bytes fit into `most` bytes.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if not; [`Error::Io`].
    pub(super) fn check_room(&self, more: u64, most: u64) -> Result<(), Error> {
        let log = self.folder().join(LOG_FOLDER);
        let log = size(&log).map_err(|error| Error::io(&log, error))?;
        self.check(log + more, most)
    }

    fn check(&self, own: u64, most: u64) -> Result<(), Error> {
        if own <= most {
            return Ok(());
        }
        let received = format!("{most}, while {} takes {own}", self.bucket.name());
        let expected = "room for the store that is opened, which is copied as a whole";
        Err(Error::InvalidConfig { name: "cache_bytes", expected, received })
    }

    /// Removes copies that nobody uses, those first that were used longest ago,
    /// until all together take at most `most` bytes.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if this one alone takes more; [`Error::Io`].
    pub(super) fn make_room(&self, most: u64) -> Result<(), Error> {
        let own = self.folder();
        let cache = own.parent().unwrap_or(own);
        let failed = |error| Error::io(cache, error);
        let own_bytes = size(own).map_err(|error| Error::io(own, error))?;
        self.check(own_bytes, most)?;
        let mut others = Vec::new();
        for entry in fs::read_dir(cache).map_err(failed)?.flatten() {
            let folder = entry.path();
            // Nothing of anybody else's.
            let is_copy = is_copy(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_dir());
            if folder != own && is_copy {
                let used = fs::metadata(folder.join(LOCK)).and_then(|lock| lock.modified());
                let bytes = size(&folder).map_err(|error| Error::io(&folder, error))?;
                others.push((used.unwrap_or(SystemTime::UNIX_EPOCH), bytes, folder));
            }
        }
        others.sort();
        let mut total = own_bytes + others.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        for (_, bytes, folder) in others {
            if total > most && empty(&folder)? {
                total -= bytes;
            }
        }
        Ok(())
    }
}

/// Whether a folder in the cache has the name of a copy.
fn is_copy(name: &OsStr) -> bool {
    let parts = name.to_str().and_then(|name| name.split_once('-'));
    parts.is_some_and(|(hash, number)| {
        hash.len() == 16
            && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
            && number.parse::<u64>().is_ok()
    })
}

/// Removes all of a copy but its lock, which somebody may be waiting for; says
/// whether it could, because nobody uses it.
fn empty(folder: &Path) -> Result<bool, Error> {
    let Some(lock) = StoreLock::try_acquire(folder)? else { return Ok(false) };
    let failed = |error| Error::io(folder, error);
    for entry in fs::read_dir(lock.anchor()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let removed = match entry.file_type() {
            _ if entry.file_name() == LOCK => Ok(()),
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        removed.map_err(|error| Error::io(&path, error))?;
    }
    Ok(true)
}

/// Bytes of all files in a folder; those that go meanwhile do not count.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries.flatten() {
        bytes += match entry.metadata() {
            Ok(found) if found.is_dir() => size(&entry.path())?,
            Ok(found) => found.len(),
            Err(_) => 0,
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use object_store::memory::InMemory;

    use super::*;
    use crate::remote::Limits;

    fn hold(cache: &Path, name: &str) -> LocalCopy {
        let bucket = Bucket::of(Arc::new(InMemory::new()), "", name, Limits::default()).unwrap();
        LocalCopy::hold(cache, bucket).unwrap()
    }

    #[test]
    fn two_engines_of_one_store_have_a_copy_each_and_the_next_gets_one_of_them() {
        let cache = tempfile::tempdir().unwrap();
        let (first, second) = (hold(cache.path(), "s3://a"), hold(cache.path(), "s3://a"));
        assert_ne!(first.folder(), second.folder());
        let folder = first.folder().to_owned();
        drop(first);
        assert_eq!(hold(cache.path(), "s3://a").folder(), folder);
    }

    #[test]
    fn a_copy_that_goes_while_it_is_measured_counts_nothing() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(size(&cache.path().join("gone")).unwrap(), 0);
    }

    #[test]
    fn what_else_is_in_the_cache_makes_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let [cache, outside] = ["cache", "outside"].map(|name| folder.path().join(name));
        let kept =
            [cache.join("photos/cat.jpg"), outside.join("file"), cache.join("0123456789abcdef-x/file")];
        for path in &kept {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [0; 1_000]).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(&outside, cache.join("0123456789abcdef-0")).unwrap();
        let own = hold(&cache, "s3://own");
        own.make_room(500).unwrap();
        for path in kept {
            let around = fs::read_dir(path.parent().unwrap()).unwrap().count();
            assert!(path.exists() && around == 1, "{}", path.display());
        }
    }

    #[test]
    fn the_copies_used_longest_ago_make_room_and_those_in_use_stay() {
        let cache = tempfile::tempdir().unwrap();
        let copies = ["s3://oldest", "s3://used", "s3://newer"].map(|name| {
            let copy = hold(cache.path(), name);
            fs::create_dir(copy.folder().join("log")).unwrap();
            fs::write(copy.folder().join("log/file"), [0; 1_000]).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            copy
        });
        let [oldest, used, newer] = copies;
        let left = |copy: &Path| copy.join("log/file").exists();
        let idle = |copy: LocalCopy| copy.folder().to_owned();
        let (oldest, newer) = (idle(oldest), idle(newer));
        let own = hold(cache.path(), "s3://own");
        fs::write(own.folder().join("file"), [0; 1_000]).unwrap();
        own.make_room(4_000).unwrap();
        assert!(left(&oldest));
        own.make_room(3_000).unwrap();
        assert!(!left(&oldest) && left(used.folder()) && left(&newer));
        own.make_room(1_000).unwrap();
        assert!(left(used.folder()) && !left(&newer));
        let error = own.make_room(999).unwrap_err().to_string();
        assert!(error.contains("999") && error.contains("1000") && error.contains("s3://own"), "{error}");
    }
}
