//! The end of a journal, where commits are appended.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::durable::write_file;
use super::identity::Identity;
use super::journal::{End, Header, Journal, file_name};
use super::state::State;
use crate::error::Error;

/// The end of the journal.
pub(super) struct Appender {
    pub file: Arc<File>,
    pub generation: u64,
    /// Where the last batch that was committed ends.
    pub end: u64,
    /// The sequence number of the next batch.
    pub sequence: u64,
    /// The sequence number of the last batch that is on the disk.
    pub synced: u64,
    pub faults: Faults,
    /// Where to set aside what is behind the end, if an earlier engine has left something there.
    pub rest: Option<PathBuf>,
    /// Whether the journal is a checkpoint and nothing else.
    pub is_checkpoint: bool,
    /// The batch being written.
    pub buffer: Vec<u8>,
}

/// What an error or an earlier engine has left, to be mended before the next commit.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    /// There may be bytes behind the end: of a refused batch, or of a torn one.
    pub trailing: bool,
    /// The disk did not take the last writes. A later sync may succeed without them, so only
    /// another journal helps.
    pub unsynced: bool,
    /// A power loss may take the journal's name away, and leave the former one. Or the identity does
    /// not say which journal it is.
    pub unnamed: bool,
}

/// The end of a journal at one moment.
#[derive(Clone, Copy)]
pub(super) struct Position {
    pub generation: u64,
    pub end: u64,
    pub sequence: u64,
}

impl Appender {
    /// The end of a journal whose batches up to `synced` are on the disk.
    pub(super) fn new(file: File, Position { generation, end, sequence }: Position, synced: u64) -> Self {
        let (file, buffer) = (Arc::new(file), Vec::new());
        Self {
            file,
            generation,
            end,
            sequence,
            synced,
            faults: Faults::default(),
            rest: None,
            is_checkpoint: true,
            buffer,
        }
    }

    pub(super) fn position(&self) -> Position {
        Position { generation: self.generation, end: self.end, sequence: self.sequence }
    }

    /// The identity of the log `number` while this is its journal.
    pub(super) fn identity(&self, number: u64) -> Identity {
        Identity { number, generation: self.generation }
    }

    /// Truncates the file at the end of the last commit.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        (&*self.file).seek(SeekFrom::Start(self.end))?;
        self.faults.trailing = false;
        Ok(())
    }
}

/// What a journal amounts to, and its end.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn go_on(path: &Path, journal: Journal) -> Result<(State, Appender), Error> {
    let failed = |error| Error::io(path, error);
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    let mut state = State::over(Arc::new(File::open(path).map_err(failed)?));
    let sequence = journal.next_sequence();
    let Journal { header, batches, end: found, .. } = journal;
    let end = batches.last().map_or(header.checkpoint, |last| last.end);
    let behind = batches.last().filter(|last| last.end > header.checkpoint);
    // The page cache may hold later batches that are not on the disk.
    let synced = behind.map_or(header.first.wrapping_sub(1), |last| last.synced);
    for placed in batches.into_iter().flat_map(|batch| batch.changes) {
        let at = placed.value.as_ref().map_or(0, |(_, at)| *at);
        state.apply(&placed.into_change(), at);
    }
    (&file).seek(SeekFrom::Start(end)).map_err(failed)?;
    let position = Position { generation: header.generation, end, sequence };
    let faults = Faults { trailing: found != End::Whole, ..Faults::default() };
    let is_checkpoint = end == header.checkpoint;
    Ok((state, Appender { is_checkpoint, faults, ..Appender::new(file, position, synced) }))
}

/// How a new log begins.
#[derive(Clone, Copy)]
pub(crate) struct NewLog {
    /// Tells it from any other.
    pub number: u64,
    /// The generation of its first journal.
    pub generation: u64,
    /// The sequence number of its first batch.
    pub first: u64,
}

/// Makes the journal of a new log.
///
/// # Errors
/// [`Error::NoSpace`], [`Error::Io`].
pub(super) fn make(folder: &Path, new: NewLog) -> Result<(State, Appender), Error> {
    let NewLog { number, generation, first } = new;
    let name = file_name(generation);
    let header = Header { number, generation, first, checkpoint: Header::BYTES };
    let path = folder.join(&name);
    let written = write_file(folder, &format!("{name}.tmp"), &name, &header.encode());
    let opened = written.and_then(|file| Ok((file, File::open(&path)?)));
    let (file, reader) = opened.map_err(|error| Error::io(&path, error))?;
    let state = State::over(Arc::new(reader));
    let position = Position { generation, end: Header::BYTES, sequence: first };
    Ok((state, Appender::new(file, position, first.wrapping_sub(1))))
}
