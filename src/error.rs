//! What can go wrong, and what to do then.

use std::io;
use std::path::{Path, PathBuf};

use crate::encoder::EncodeError;
use crate::hdv::HdvError;
use crate::identity::shown;

/// An error of the engine. None of them loses a memory that was acknowledged.
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
    /// Metadata are too large.
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
    /// A setting is outside of what it may be.
    #[error("setting {name}: expected {expected}, received {received}")]
    InvalidConfig {
        /// Its name in [`Config`](crate::Config).
        name: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it was.
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
    /// The path of an open store leads to something else now, or to nothing: its folder
    /// or its lock file was renamed, deleted or replaced. The engine changes nothing
    /// there.
    #[error(
        "{path}: the store that was opened is not there any more: its folder or the file `lock` in it was moved, deleted or replaced; close this engine and open the store where it is now"
    )]
    Moved {
        /// The store, as it was opened.
        path: PathBuf,
    },
    /// The process was forked from the one that opened the store, or any other. An engine
    /// works in the process that opened it only: a fork shares its files and has none of its
    /// threads.
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
    /// The path holds something else than a store.
    #[error("{path}: expected an empty folder or a MnemoCore store, found {found}; choose another path")]
    NotAStore {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// Something in the store does not read as it was written. What is derived,
    /// in COLD and WARM, is made anew when the store is opened; for the log there
    /// is [`Engine::repair`](crate::Engine::repair).
    #[error(
        "{path}: {what} is damaged; open the store again, which makes COLD and WARM anew, and if that is refused too, call Engine::repair, which keeps all that can still be read, or restore the folder from a backup"
    )]
    Corrupt {
        /// The file or the store.
        path: PathBuf,
        /// What could not be read.
        what: String,
    },
    /// The disk is full. Nothing of what was being stored is kept, everything
    /// stored before is; storing works again once there is space.
    #[error("{path}: no space left on the device; make room and try again")]
    NoSpace {
        /// The file or the store.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("{path}: {source}")]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// The embedded store refused something.
    #[error("{path}: the log could not {action}: {message}")]
    Log {
        /// The store.
        path: PathBuf,
        /// What it was asked to do.
        action: &'static str,
        /// Its answer.
        message: String,
    },
    /// Another machine did not answer, or broke off. What it was asked for may be
    /// done there all the same; storing or reading again is safe.
    #[error(
        "{what}: could not {action} in {attempts} attempts ({message}); try again once it can be reached"
    )]
    Unreachable {
        /// The server or the bucket, without credentials.
        what: String,
        /// What it was asked to do.
        action: &'static str,
        /// How often.
        attempts: u32,
        /// What came back last.
        message: String,
    },
    /// Another machine has answered that it will not do it: credentials or
    /// permissions are missing, say, or something is not installed there.
    #[error("{what}: refused to {action}: {message}")]
    Refused {
        /// The server or the bucket, without credentials.
        what: String,
        /// What it was asked to do.
        action: &'static str,
        /// Its answer.
        message: String,
    },
    /// A bucket has less of a store than its copy on this machine: another place is
    /// mounted there, say, or an old backup. Nothing of either is changed.
    #[error(
        "{what}: it has {there} commits of the store, and the copy of it in {copy} has {here}; bring back what is missing there, or delete the copy to go on without it"
    )]
    BucketBehindCache {
        /// The bucket.
        what: String,
        /// The copy's folder.
        copy: PathBuf,
        /// Commits in the bucket.
        there: u64,
        /// Commits in the copy.
        here: u64,
    },
    /// Another engine has taken the store over, on this machine or another one.
    #[error(
        "{path}: another engine writes to it now, and nothing of this one is taken any more; open it again to take it back"
    )]
    Fenced {
        /// The store.
        path: PathBuf,
    },
    /// The engine shows a snapshot and takes nothing.
    #[error("{path}: opened for reading; open it with Engine::open to write to it")]
    ReadOnly {
        /// The store.
        path: PathBuf,
    },
    /// A hypervector does not fit.
    #[error(transparent)]
    Hdv(#[from] HdvError),
    /// A text or an embedding cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Error {
    /// The same error once more, for who would only meet it again: it is not about
    /// what was asked, but about who was.
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
