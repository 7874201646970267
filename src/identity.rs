//! Identifies files and folders independently of their paths.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// The identity of a file or a folder. It is unique while the file or folder is open.
///
/// Only Unix has one in the standard library. Windows hardly needs it, because it refuses to rename
/// or to delete a folder in which files are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Identity {
    #[cfg(unix)]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    #[cfg(not(unix))]
    pub(crate) fn of(_: &Metadata) -> Self {
        Self {}
    }

    /// Whether the file or folder at `path` has this identity.
    ///
    /// # Errors
    /// The error of the operating system, except if nothing is at `path`.
    pub(crate) fn is_at(self, path: &Path) -> io::Result<bool> {
        match std::fs::metadata(path) {
            Ok(found) => Ok(Self::of(&found) == self),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether a file, or a folder on its path, is missing.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The folder in which Linux lists the open files of a thread.
const DESCRIPTORS: &str = "/proc/thread-self/fd";

/// A folder that is kept open.
///
/// On Linux, [`OpenFolder::anchor`] is a path that still leads to the folder after its own path
/// leads elsewhere. On other systems, and without `/proc`, the anchor is its own path.
#[derive(Debug)]
pub(crate) struct OpenFolder {
    path: PathBuf,
    identity: Identity,
    /// Open, so that no other folder gets its identity or its descriptor.
    _handle: Option<File>,
    anchor: Option<PathBuf>,
}

impl OpenFolder {
    /// Opens the folder at `path`, which is absolute.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // Only Unix opens folders as files.
        let handle = if cfg!(unix) { Some(File::open(path)?) } else { None };
        let opened = handle.as_ref().map_or_else(|| std::fs::metadata(path), File::metadata)?;
        let identity = Identity::of(&opened);
        let leads = |anchor: &PathBuf| identity.is_at(anchor).is_ok_and(|leads| leads);
        let anchor = handle.as_ref().and_then(anchor).filter(leads);
        Ok(Self { path: path.into(), identity, _handle: handle, anchor })
    }

    /// The path by which it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether [`OpenFolder::anchor`] still leads to it after a rename.
    #[cfg(feature = "object-store")]
    pub(crate) fn is_anchored(&self) -> bool {
        self.anchor.is_some()
    }

    /// The best path to its files.
    pub(crate) fn anchor(&self) -> &Path {
        self.anchor.as_deref().unwrap_or(&self.path)
    }

    /// Whether `path` leads to it.
    ///
    /// # Errors
    /// As [`Identity::is_at`].
    pub(crate) fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.identity.is_at(path)
    }
}

#[cfg(target_os = "linux")]
fn anchor(folder: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    Some(Path::new(DESCRIPTORS).join(folder.as_raw_fd().to_string()))
}

#[cfg(not(target_os = "linux"))]
fn anchor(_: &File) -> Option<PathBuf> {
    None
}

/// The path to show to people: an anchor is replaced by the path that it leads to.
pub(crate) fn shown(path: &Path) -> PathBuf {
    let Ok(within) = path.strip_prefix(DESCRIPTORS) else { return path.into() };
    let mut parts = within.components();
    let anchor = parts.next().map(|descriptor| Path::new(DESCRIPTORS).join(descriptor));
    let folder = anchor.and_then(|anchor| std::fs::read_link(anchor).ok());
    folder.map_or_else(
        || path.into(),
        |folder| if parts.as_path().as_os_str().is_empty() { folder } else { folder.join(parts) },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn an_anchor_leads_to_its_folder_under_any_name_and_is_shown_by_that() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        std::fs::create_dir(&first).unwrap();
        let open = OpenFolder::open(&first).unwrap();
        assert!(open.anchor.is_some() && open.is_at(&first).unwrap());
        std::fs::write(open.anchor().join("file"), "1").unwrap();
        assert_eq!(shown(&open.anchor().join("file")), first.join("file"));
        std::fs::rename(&first, &second).unwrap();
        std::fs::create_dir(&first).unwrap();
        std::fs::write(open.anchor().join("file"), "2").unwrap();
        assert_eq!(std::fs::read(second.join("file")).unwrap(), b"2");
        assert!(!open.is_at(&first).unwrap() && std::fs::read_dir(&first).unwrap().next().is_none());
        assert_eq!(shown(open.anchor()), second);
        assert_eq!(shown(&first), first);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_keeps_its_identity_under_another_name_and_gives_it_to_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        let file = std::fs::File::create(&first).unwrap();
        let identity = Identity::of(&file.metadata().unwrap());
        assert!(identity.is_at(&first).unwrap() && !identity.is_at(&second).unwrap());
        std::fs::rename(&first, &second).unwrap();
        assert!(identity.is_at(&second).unwrap() && !identity.is_at(&second.join("within")).unwrap());
        std::fs::remove_file(&second).unwrap();
        std::fs::write(&second, "another").unwrap();
        assert!(!identity.is_at(&second).unwrap());
    }
}
