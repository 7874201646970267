//! Opening an engine whose memories are in object storage.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::cache::LocalCopy;
use super::location::{Location, SEGMENTS, check_threads};
use super::open::check_settings;
use crate::bucket::Bucket;
use crate::config::Config;
use crate::error::Error;
use crate::log::{Batch, Log, ObjectLog};
use crate::telemetry;
use crate::tier::files::{SegmentFiles, depot_name};

/// Age from which an unlisted segment or an incomplete object counts as abandoned.
const LEFT: Duration = Duration::from_secs(3600);

impl Engine {
    pub(super) fn open_url(url: &str, config: Config) -> Result<Self, Error> {
        Self::open_bucket(Bucket::at(url, config.remote)?, config)
    }

    /// Opens the store in `bucket`, or makes one there, as [`Engine::open`] does with a URL. A
    /// store has one writer at a time. If another engine opens it, on this or another machine, the
    /// earlier writer gets [`Error::Fenced`] from its next store on. It can still read the memories
    /// that it had.
    ///
    /// A store or a forget returns when the bucket has it, whatever the durability. The local disk
    /// holds a copy, see [`Config::cache_folder`].
    ///
    /// # Errors
    /// As [`Engine::open`], and [`Error::Unreachable`] or [`Error::Refused`] if the bucket does not
    /// answer, or refuses; [`Error::BucketBehindCache`] if the bucket holds less than the copy.
    pub fn open_bucket(bucket: Bucket, config: Config) -> Result<Self, Error> {
        Self::over_copy(bucket, config, true)
    }

    /// Opens the store in `bucket` as it is at this moment, for reading. Any number of such engines
    /// may exist beside the one that writes, and they do not disturb it. To see later memories,
    /// open the store again; reopening reads only the new objects.
    ///
    /// ```
    /// use mnemocore::{Bucket, Config, Engine};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let config = Config::default().cache_folder(folder.path().join("cache"));
    /// # let url = format!("file://{}/agents/anna", folder.path().display());
    /// // On one machine; the URL may also be `s3://bucket/agents/anna`, say.
    /// let writer = Engine::open(&url, config.clone())?;
    /// writer.store("The boat to the island leaves at noon")?;
    ///
    /// // On another one.
    /// let reader = Engine::open_snapshot(Bucket::at(&url, config.remote)?, config)?;
    /// let recall = reader.recall("When does the boat leave?")?;
    /// assert_eq!(recall.hits.len(), 1);
    /// # Ok::<(), mnemocore::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::open_bucket`], and [`Error::NotAStore`] if there is no store.
    pub fn open_snapshot(bucket: Bucket, config: Config) -> Result<Self, Error> {
        Self::over_copy(bucket, config, false)
    }

    fn over_copy(bucket: Bucket, config: Config, writable: bool) -> Result<Self, Error> {
        config.check()?;
        check_threads(bucket.name().as_ref())?;
        let bucket = bucket.afresh();
        let copy = LocalCopy::hold(&config.cache_folder, bucket.clone())?;
        let name = PathBuf::from(bucket.name());
        let lock = copy.lock().clone();
        let log = if writable {
            // Checked before another writer is fenced.
            let fits = |log: &dyn Log| {
                check_settings(&name, &config, log, &mut Batch::default())?;
                copy.check_room(segment_bytes(log)?, config.cache_bytes)
            };
            ObjectLog::open_if(bucket, lock.clone(), &fits)?
        } else {
            ObjectLog::snapshot_locked(bucket, lock.clone())?
        };
        let most = config.cache_bytes;
        let location = Location { name, writable, copy: Some(copy), ..Location::locked(lock) };
        let log = Arc::new(log);
        let engine = Self::start(location, config, log.clone())?;
        if let Some(copy) = &engine.shared.location.copy {
            copy.make_room(most)?;
            if writable {
                // An object that cannot be deleted now is deleted when the store is next opened.
                let swept = sweep(copy.bucket(), &*log, &engine.shared.location.folder.join(SEGMENTS));
                telemetry::or_warn("delete abandoned objects", swept);
            }
        }
        Ok(engine)
    }
}

/// Returns the bytes of the segments' files.
fn segment_bytes(log: &dyn Log) -> Result<u64, Error> {
    Ok(log.segments()?.iter().map(|(_, entry)| entry.bytes).sum())
}

/// Deletes what an interrupted write, move or compaction has left: incomplete objects, and segments
/// that the log does not list. These may hold texts that were forgotten since. Young objects stay,
/// because another engine may be about to list them. Puts back segments that the bucket has lost, or that
/// have another length there, and the local copy in `folder` has.
fn sweep(bucket: &Bucket, log: &dyn Log, folder: &Path) -> Result<(), Error> {
    ["log", SEGMENTS].into_iter().try_for_each(|folder| bucket.delete_unfinished(folder, LEFT))?;
    let listed = log.segments()?.into_iter();
    let listed: HashMap<String, (u64, u64)> =
        listed.map(|(number, entry)| (depot_name(number, &entry), (number, entry.bytes))).collect();
    let there = bucket.list(SEGMENTS)?.into_iter();
    let there: HashMap<String, (u64, Duration)> =
        there.map(|object| (format!("{SEGMENTS}/{}", object.name), (object.bytes, object.age))).collect();
    let is_whole = |name: &str, length: u64| there.get(name).is_some_and(|(bytes, _)| *bytes == length);
    for (name, (number, _)) in listed.iter().filter(|(name, (_, length))| !is_whole(name, *length)) {
        let path = SegmentFiles::path_in(folder, *number);
        bucket.put(name, std::fs::read(&path).map_err(|error| Error::io(&path, error))?)?;
        telemetry::mended(name);
    }
    let old = there.into_iter().filter(|(name, (_, age))| *age > LEFT && !listed.contains_key(name));
    bucket.delete(old.map(|(name, _)| name).collect())
}
