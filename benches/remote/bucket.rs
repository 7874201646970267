//! Memories in object storage.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use mnemocore::{Bucket, Config, Engine, RemoteLimits, TierKind};
use tempfile::TempDir;

use crate::backend::{Filled, Opened, Remote};
use crate::common::{Fixture, asked_for, temporary_folder};
use crate::delayed::Delayed;

/// The environment variable with the URL of a folder to work in.
const VARIABLE: &str = "MNEMO_BUCKET";

/// A folder in object storage.
pub(crate) struct Place {
    /// `cold-s3`, say.
    pub(crate) tier: String,
    url: String,
    /// Deleted in the end, if it is on this disk.
    _folder: Option<TempDir>,
}

impl Place {
    /// Returns the folder that the environment names, or a new one on this disk. Ends the process if
    /// the environment names none that can be used.
    pub(crate) fn from_env() -> Self {
        let given = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty());
        let folder = given.is_none().then(temporary_folder);
        let local = || folder.as_ref().map(|folder| format!("file://{}", folder.path().display()));
        let root = given.or_else(local).unwrap_or_default();
        let scheme = root.split("://").next().unwrap_or_default();
        let run = std::process::id();
        let url = format!("{root}/bench-{run}");
        let readable = Bucket::at(&url, RemoteLimits::default());
        asked_for(readable.map_err(|error| format!("{VARIABLE}: {error}")));
        Self { tier: format!("cold-{scheme}"), url, _folder: folder }
    }

    /// One of its folders, behind a network that adds `delay` to each request.
    pub(crate) fn bucket(&self, folder: &str, delay: Duration) -> Bucket {
        at(&self.url_of(folder), delay)
    }

    fn url_of(&self, folder: &str) -> String {
        format!("{}/{folder}", self.url).trim_end_matches('/').to_owned()
    }

    /// Deletes what was made. What cannot be deleted is the user's to delete.
    pub(crate) fn clear(&self) {
        let bucket = self.bucket("", Duration::ZERO);
        let (store, folder) = bucket.storage();
        let all = store.list(Some(folder)).map_ok(|object| object.location).boxed();
        let _ = block_on(store.delete_stream(all).try_collect::<Vec<_>>());
    }
}

impl Remote for Place {
    fn name(&self) -> &str {
        &self.tier
    }

    fn tier(&self) -> TierKind {
        TierKind::Cold
    }

    fn fill(&self, folder: &str, fixture: Fixture) -> Filled {
        let files = temporary_folder();
        let config = settings(fixture, &files);
        let engine = Engine::open_bucket(self.bucket(folder, Duration::ZERO), config.clone());
        let engine = engine.unwrap_or_else(|error| panic!("{error}"));
        fixture.fill_in(&engine).expect("room for a store");
        engine.close().expect("a bucket that can be written to");
        Filled { fixture, store: self.url_of(folder).into(), config, files }
    }

    fn bytes(&self, filled: &Filled) -> u64 {
        let bucket = at(&filled.store.to_string_lossy(), Duration::ZERO);
        let (store, folder) = bucket.storage();
        let listed = block_on(store.list(Some(folder)).try_collect::<Vec<_>>());
        listed.expect("objects that can be listed").iter().map(|object| object.size).sum()
    }

    fn open(&self, filled: Filled, delay: Duration) -> Opened {
        let Filled { fixture, store, config, files, .. } = filled;
        let bucket = at(&store.to_string_lossy(), delay);
        let config = config.background(true);
        let engine = Engine::open_bucket(bucket.clone(), config).unwrap_or_else(|error| panic!("{error}"));
        Opened { engine, fixture, traffic: Box::new(move |_| bucket.traffic()), files }
    }
}

fn at(url: &str, delay: Duration) -> Bucket {
    let bucket =
        Bucket::at(url, RemoteLimits::default()).unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
    bucket.behind(|store| Arc::new(Delayed::new(store, delay)))
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a thread").block_on(work)
}

/// Settings of a fixture, with its copy in a folder that goes away.
pub(crate) fn settings(fixture: Fixture, cache: &TempDir) -> Config {
    fixture.config().cache_folder(cache.path())
}
