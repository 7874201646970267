//! The storage of processes that are killed.

use std::path::PathBuf;

use fastrand::Rng;
use mnemocore::{Config, Engine};
use tempfile::TempDir;

use super::common::copy;

/// A store that processes open one after another.
pub(crate) trait Storage {
    /// The path or URL that they open.
    fn place(&self) -> PathBuf;

    /// Their environment variables.
    fn variables(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Opens it after a kill, and hands it to `check`, with whether it is open for writing.
    fn open(&self, config: Config, random: &mut Rng, check: &mut dyn FnMut(&Engine, bool));
}

/// A folder on this machine.
pub(crate) struct Folder(pub(crate) TempDir);

impl Storage for Folder {
    fn place(&self) -> PathBuf {
        self.0.path().into()
    }

    fn open(&self, config: Config, random: &mut Rng, check: &mut dyn FnMut(&Engine, bool)) {
        // Copies it sometimes, so that opening does not tidy up between all kills.
        if random.bool() {
            check(&Engine::open(self.0.path(), config).unwrap(), true);
        } else {
            let elsewhere = tempfile::tempdir().unwrap();
            copy(self.0.path(), elsewhere.path());
            check(&Engine::open(elsewhere.path(), config).unwrap(), true);
        }
    }
}

/// Object storage, and the killed processes' local copy of it.
#[cfg(feature = "object-store")]
pub(crate) struct Objects {
    pub(crate) bucket: mnemocore::Bucket,
    pub(crate) variables: Vec<(&'static str, String)>,
    pub(crate) cache: TempDir,
}

#[cfg(feature = "object-store")]
impl Storage for Objects {
    fn place(&self) -> PathBuf {
        self.bucket.name().into()
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let cache = ("MNEMO_CACHE", self.cache.path().display().to_string());
        self.variables.iter().cloned().chain([cache]).collect()
    }

    /// Opens it on the same machine, on one without a copy, or read-only.
    fn open(&self, config: Config, random: &mut Rng, check: &mut dyn FnMut(&Engine, bool)) {
        let elsewhere = tempfile::tempdir().unwrap();
        let cache = if random.bool() { self.cache.path() } else { elsewhere.path() };
        let config = config.cache_folder(cache);
        let is_writable = random.u8(0..3) > 0;
        let open = if is_writable { Engine::open_bucket } else { Engine::open_snapshot };
        match open(self.bucket.clone(), config.clone()) {
            Ok(engine) => check(&engine, is_writable),
            // The process was killed before it had made anything.
            Err(mnemocore::Error::NotAStore { .. }) => {
                check(&Engine::open_bucket(self.bucket.clone(), config).unwrap(), true);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A folder on this machine, with WARM in a database.
#[cfg(feature = "postgres")]
pub(crate) struct WarmElsewhere {
    pub(crate) folder: TempDir,
    pub(crate) server: &'static super::postgres::Server,
}

#[cfg(feature = "postgres")]
impl Storage for WarmElsewhere {
    fn place(&self) -> PathBuf {
        self.folder.path().into()
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![("MNEMO_WARM", "postgres".into()), ("MNEMO_POSTGRES", self.server.connection())]
    }

    /// Sometimes from a copy of the folder, which takes over the rows of the store.
    fn open(&self, config: Config, random: &mut Rng, check: &mut dyn FnMut(&Engine, bool)) {
        let open = |folder: &std::path::Path| {
            super::postgres::open(folder, &config, &self.server.connection()).unwrap()
        };
        if random.bool() {
            check(&open(self.folder.path()), true);
        } else {
            let elsewhere = tempfile::tempdir().unwrap();
            copy(self.folder.path(), elsewhere.path());
            check(&open(elsewhere.path()), true);
        }
    }
}
