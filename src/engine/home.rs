//! Where an engine's files are, and what is in the folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

#[cfg(feature = "object-store")]
use super::copy::LocalCopy;
use crate::config::Config;
use crate::encoder::Encoder;
use crate::error::Error;
use crate::log::{DiskLog, sync_folder};
use crate::tier::cold::Depot;

/// Version of the store's layout as a whole.
const FORMAT: u64 = 1;

/// The names in a store's folder.
pub(super) const LOG: &str = "log";
pub(super) const WARM: &str = "warm.vectors";
pub(super) const COLD: &str = "cold";

/// Where an engine's files are.
pub(super) struct Home {
    /// The folder with its files.
    pub folder: PathBuf,
    /// What an error calls it: the folder, or the URL of a bucket.
    pub name: PathBuf,
    /// Whether memories may be stored into it.
    pub writable: bool,
    /// Deleted with the engine; for memories that need not last.
    pub _temporary: Option<TempDir>,
    /// Holds the folder for this engine, if it is a copy of what is in a bucket.
    #[cfg(feature = "object-store")]
    pub copy: Option<LocalCopy>,
}

impl Home {
    /// A folder of the user's.
    pub(super) fn folder(path: PathBuf) -> Self {
        Self {
            name: path.clone(),
            folder: path,
            writable: true,
            _temporary: None,
            #[cfg(feature = "object-store")]
            copy: None,
        }
    }

    /// Where COLD keeps its files besides the folder.
    pub(super) fn depot(&self) -> Option<Arc<dyn Depot>> {
        #[cfg(feature = "object-store")]
        if let Some(copy) = &self.copy {
            return Some(Arc::new(copy.bucket().clone()));
        }
        None
    }

    /// Says that nothing may be stored, if that is so.
    pub(super) fn check_writable(&self) -> Result<(), Error> {
        if self.writable { Ok(()) } else { Err(Error::ReadOnly { path: self.name.clone() }) }
    }

    /// A folder that goes with the engine.
    pub(super) fn temporary() -> Result<Self, Error> {
        let temporary = TempDir::with_prefix("mnemocore-")
            .map_err(|error| Error::io(Path::new("temporary folder"), error))?;
        let path = temporary.path().to_path_buf();
        Ok(Self { _temporary: Some(temporary), ..Self::folder(path) })
    }
}

/// The settings that the data depends on.
pub(super) fn settings(config: &Config) -> [(&'static str, u64); 3] {
    [
        ("format", FORMAT),
        ("dimension", config.dimension.bits() as u64),
        ("encoder version", u64::from(Encoder::VERSION)),
    ]
}

/// Refuses a folder that holds something else than a store.
pub(super) fn check_folder(path: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
    std::fs::create_dir_all(path).map_err(|error| Error::io(path, error))?;
    let entries = std::fs::read_dir(path).map_err(|error| Error::io(path, error))?;
    let names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let log = path.join(LOG);
    let ours = names.iter().any(|name| name == LOG)
        && DiskLog::may_be_at(&log).map_err(|error| Error::io(&log, error))?;
    if names.is_empty() {
        // A new folder survives a power loss once the one that it is in is synced.
        let made_in = path.parent().into_iter().chain(missing.into_iter().filter_map(Path::parent));
        for folder in
            made_in.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
        {
            sync_folder(folder).map_err(|error| Error::io(folder, error))?;
        }
    } else if !ours {
        let found = names.into_iter().min().unwrap_or_default();
        return Err(Error::Foreign { path: path.into(), found });
    }
    Ok(())
}
