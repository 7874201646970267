//! The errors of the engine.

use std::io;
use std::path::{Path, PathBuf};

use crate::encoder::EncodeError;
use crate::hdv::HdvError;
use crate::identity::shown;

/// An error of the engine. No error loses an acknowledged memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text of a memory or a query has no visible character.
    #[error("expected a text with a visible character, received {received} characters without one")]
    EmptyText {
        /// Characters received.
        received: usize,
    },
    /// The text is too long.
    #[error("expected a text of at most {max} characters, received {received}; store it in parts")]
    TextTooLong {
        /// Characters received.
        received: usize,
        /// Characters allowed.
        max: usize,
    },
    /// The metadata is too large.
    #[error(
        "expected at most {max} bytes of metadata, received {received}; keep large values elsewhere and store a key"
    )]
    MetadataTooLarge {
        /// Bytes received.
        received: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The name of a namespace is empty or too long.
    #[error("expected a namespace's name of 1 to {max} bytes, received {received}")]
    Namespace {
        /// Bytes received.
        received: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The importance of a memory is not a positive number.
    #[error("expected a positive importance, received {received}")]
    Importance {
        /// The value received.
        received: f32,
    },
    /// A setting has a value that is not allowed.
    #[error("setting {name}: expected {expected}, received {received}")]
    InvalidConfig {
        /// Its name in [`Config`](crate::Config).
        name: &'static str,
        /// The allowed values.
        expected: &'static str,
        /// The value received.
        received: String,
    },
    /// The store at this path was made with other settings that its data
    /// depends on.
    #[error(
        "{path}: made with {what} {expected}, opened with {received}; open it with {expected}, or store into a new path"
    )]
    Incompatible {
        /// The store.
        path: PathBuf,
        /// The setting.
        what: &'static str,
        /// Its value in the store.
        expected: u64,
        /// Its value now.
        received: u64,
    },
    /// Another process, or another engine of this one, has the store open.
    #[error("{path}: already open; close the other engine or wait until its process has ended")]
    Locked {
        /// The store.
        path: PathBuf,
    },
    /// The folder or the lock file of an open store was renamed, deleted or replaced. The engine
    /// changes nothing at its path any more.
    #[error(
        "{path}: the store is no longer there: its folder or the file `lock` in it was moved, deleted or replaced; close this engine and open the store where it is now"
    )]
    Moved {
        /// The store, as it was opened.
        path: PathBuf,
    },
    /// The process was forked from the one that opened the store. An engine works only in the
    /// process that opened it: a fork shares its files, but has none of its threads.
    #[error(
        "{path}: opened by process {opened_by} and used by process {used_by}, which was forked from it; use the engine in {opened_by} only, and start other processes without forking from it"
    )]
    Forked {
        /// The store.
        path: PathBuf,
        /// The process that opened it.
        opened_by: u32,
        /// This process.
        used_by: u32,
    },
    /// The folder contains something other than a store.
    #[error("{path}: expected an empty folder or a MnemoCore store, found {found}; choose another path")]
    NotAStore {
        /// The path.
        path: PathBuf,
        /// A file that was found there.
        found: String,
    },
    /// A file of the store is damaged. Call [`Engine::repair`](crate::Engine::repair), or restore the folder
    /// from a backup.
    #[error(
        "{path}: {what} is damaged; call Engine::repair, which keeps everything that can still be read, or restore the folder from a backup"
    )]
    Corrupt {
        /// The file or the store.
        path: PathBuf,
        /// The damaged part.
        what: String,
    },
    /// An object of a store in a bucket is damaged or missing. Delete it if it is there, and open the store for
    /// writing on a machine that has a copy, which writes the object again. Or restore the bucket from a backup.
    #[error(
        "{bucket}: the object {object} is damaged or missing; delete it, and open the store for writing on a machine that has a copy, which writes it again, or restore the bucket from a backup"
    )]
    CorruptObject {
        /// The bucket.
        bucket: String,
        /// Its name in the bucket's folder.
        object: String,
    },
    /// The disk is full. The failed store left nothing behind, and earlier memories are safe.
    /// Stores work again once there is space.
    #[error("{path}: no space left on the device; make room and try again")]
    NoSpace {
        /// The file or the store.
        path: PathBuf,
    },
    /// The operating system reported an error.
    #[error("{path}: {source}")]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// The reported reason.
        source: io::Error,
    },
    /// The log reported an error.
    #[error("{path}: the log could not {action}: {message}")]
    Log {
        /// The store.
        path: PathBuf,
        /// The operation that failed.
        action: &'static str,
        /// The reported reason.
        message: String,
    },
    /// Another machine did not answer, or closed the connection. It may have done what it was
    /// asked. Storing or reading again is safe.
    #[error(
        "{what}: could not {action} in {attempts} attempts ({message}); try again once it can be reached"
    )]
    Unreachable {
        /// The server or the bucket, without credentials.
        what: String,
        /// The operation that failed.
        action: &'static str,
        /// The number of attempts.
        attempts: u32,
        /// The last reason.
        message: String,
    },
    /// Another machine refused the operation, e.g. because credentials, permissions or an
    /// extension are missing.
    #[error("{what}: refused to {action}: {message}")]
    Refused {
        /// The server or the bucket, without credentials.
        what: String,
        /// The operation that failed.
        action: &'static str,
        /// The reported reason.
        message: String,
    },
    /// A bucket has fewer commits of a store than the local copy, e.g. because an old backup was
    /// restored. Neither of them is changed.
    #[error(
        "{what}: it has {there} commits of the store, and the copy of it in {copy} has {here}; bring back what is missing there, or delete the copy to go on without it"
    )]
    BucketBehindCache {
        /// The bucket.
        what: String,
        /// The folder of the copy.
        copy: PathBuf,
        /// Commits in the bucket.
        there: u64,
        /// Commits in the copy.
        here: u64,
    },
    /// Another engine, on this machine or another one, has taken over the store.
    #[error(
        "{path}: another engine writes to it now, and this one cannot any more; open it again to take it back"
    )]
    Fenced {
        /// The store.
        path: PathBuf,
    },
    /// The engine was opened on a snapshot, which is read-only.
    #[error("{path}: opened for reading; open it with Engine::open to write to it")]
    ReadOnly {
        /// The store.
        path: PathBuf,
    },
    /// A hypervector has another dimension than expected, or cannot be made.
    #[error(transparent)]
    Hdv(#[from] HdvError),
    /// A text or an embedding cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Error {
    /// Returns a copy of an error that every waiting caller would meet too, because it concerns the
    /// store and not the request.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Error::Unreachable { what, action, attempts, message } => Some(Error::Unreachable {
                what: what.clone(),
                action,
                attempts: *attempts,
                message: message.clone(),
            }),
            Error::Fenced { path } => Some(Error::Fenced { path: path.clone() }),
            Error::Moved { path } => Some(Error::Moved { path: path.clone() }),
            _ => None,
        }
    }

    /// An operating system's error at `path`.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = shown(path);
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace { path },
            _ => Error::Io { path, source },
        }
    }
}
