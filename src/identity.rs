//! What tells a file or a folder from all others, whatever path leads to it.

use std::fs::Metadata;
use std::io;
use std::path::Path;

/// The identity of a file or a folder. No other one has it while this one is open.
///
/// Only Unix has one in the standard library. Windows hardly needs it: it refuses to rename
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

    /// Whether `path` leads to what has this identity.
    ///
    /// # Errors
    /// The operating system's, unless it is that nothing is there.
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

#[cfg(test)]
mod tests {
    use super::*;

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
