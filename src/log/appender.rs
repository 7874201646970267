//! The end of a journal, where commits are appended.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::durable::write_file;
use super::journal::{Header, Journal, file_name};
use super::state::State;

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
    pub fault: Option<Fault>,
    /// Whether the journal is a checkpoint and nothing else.
    pub is_checkpoint: bool,
    /// The batch being written.
    pub buffer: Vec<u8>,
}

/// What the last error has left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// There may be bytes of a refused batch behind the end.
    Trailing,
    /// The disk did not take the last writes. A later sync may succeed without them, so only
    /// another journal helps.
    Unsynced,
    /// A power loss may take the journal's name away, and leave the former one.
    Unnamed,
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
        Self { file, generation, end, sequence, synced, fault: None, is_checkpoint: true, buffer }
    }

    pub(super) fn position(&self) -> Position {
        Position { generation: self.generation, end: self.end, sequence: self.sequence }
    }

    /// Truncates the file at the end of the last commit.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        (&*self.file).seek(SeekFrom::Start(self.end))?;
        self.fault = None;
        Ok(())
    }
}

/// What a journal amounts to, and its end.
pub(super) fn go_on(path: &Path, journal: Journal) -> io::Result<(State, Appender)> {
    let file = OpenOptions::new().write(true).open(path)?;
    let mut state = State::over(Arc::new(File::open(path)?));
    let Journal { header, batches, .. } = journal;
    let end = batches.last().map_or(header.checkpoint, |last| last.end);
    let behind = batches.last().filter(|last| last.end > header.checkpoint);
    let sequence = behind.map_or(header.first, |last| last.sequence.wrapping_add(1));
    // The page cache may hold later batches that are not on the disk.
    let synced = behind.map_or(header.first.wrapping_sub(1), |last| last.synced);
    for placed in batches.into_iter().flat_map(|batch| batch.changes) {
        let at = placed.value.as_ref().map_or(0, |(_, at)| *at);
        state.apply(&placed.into_change(), at);
    }
    (&file).seek(SeekFrom::Start(end))?;
    let position = Position { generation: header.generation, end, sequence };
    Ok((state, Appender { is_checkpoint: end == header.checkpoint, ..Appender::new(file, position, synced) }))
}

/// Makes the journal of a new log.
pub(super) fn make(folder: &Path, number: u64) -> io::Result<(State, Appender)> {
    let name = file_name(0);
    // No commit has the number before the first.
    let header = Header { number, generation: 0, first: 1, checkpoint: Header::BYTES };
    let file = write_file(folder, &format!("{name}.tmp"), &name, &header.encode())?;
    let state = State::over(Arc::new(File::open(folder.join(name))?));
    let position = Position { generation: 0, end: Header::BYTES, sequence: 1 };
    Ok((state, Appender::new(file, position, 0)))
}
