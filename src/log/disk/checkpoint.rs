//! Writing the journal again, as a checkpoint of what the log holds.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::DiskLog;
use crate::error::Error;
use crate::log::appender::{Appender, Faults, Position};
use crate::log::durable::{make_file, remove_unneeded, sync_folder};
use crate::log::journal::{Header, file_name};
use crate::log::state::{Key, Places};
use crate::log::{Log, Table, batch, identity};
use crate::sync::{lock, read, write};

/// Bytes of a checkpoint's batch: what one damaged byte costs.
const CHECKPOINT_BYTES: usize = 4 << 10;

/// A checkpoint that was written, but is not the journal yet.
pub(super) struct Checkpoint {
    file: File,
    path: PathBuf,
    /// Where it ends.
    end: u64,
    /// The journal that it was made of, and its end and next sequence number at that time.
    of: Position,
    /// The keys whose values are in the file, in ascending order for each table, and where.
    values: [Places; Table::ALL.len()],
}

impl DiskLog {
    /// Writes the checkpoint of the next journal, beside commits.
    pub(super) fn checkpoint(&self, of: Position) -> Result<Checkpoint, Error> {
        self.check()?;
        // Several may be written at a time, of which one becomes the journal.
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.anchor().join(format!("{}.{attempt}.tmp", file_name(of.generation + 1)));
        let written = self.write_checkpoint(of, &path);
        if written.is_err() {
            // Makes room for whatever comes next.
            remove_unneeded(&path);
        }
        written.map_err(|error| self.failed_at(&path, error))
    }

    fn write_checkpoint(&self, of: Position, path: &Path) -> io::Result<Checkpoint> {
        let mut file = BufWriter::new(make_file(path)?);
        file.write_all(&[0; Header::BYTES as usize])?;
        let (mut end, mut sequence, mut bytes) = (Header::BYTES, 0, Vec::new());
        let mut values: [Places; Table::ALL.len()] = Default::default();
        for table in Table::ALL {
            let mut from: Key = Box::default();
            loop {
                // Commits that change an entry meanwhile are in the journal behind `of`, and are added
                // later.
                let some = read(&self.state).some(table, &from, CHECKPOINT_BYTES);
                let Some((last, _)) = some.last() else { break };
                // The next key in order.
                from = [last, &[0][..]].concat().into();
                let read = some.into_iter().map(|(key, value)| Ok((key, value.read()?)));
                let read: Vec<(Key, Arc<[u8]>)> = read.collect::<io::Result<_>>()?;
                let changes = read.iter().map(|(key, value)| (table, &**key, Some(&**value)));
                bytes.clear();
                let places = batch::encode(&mut bytes, self.number, (sequence, 0), changes);
                file.write_all(&bytes)?;
                let places = places.into_iter().map(|place| end + place as u64);
                values[table as usize].extend(read.into_iter().map(|(key, _)| key).zip(places));
                (end, sequence) = (end + bytes.len() as u64, sequence + 1);
            }
        }
        let mut file = file.into_inner()?;
        let header = Header {
            number: self.number,
            generation: of.generation + 1,
            first: of.sequence,
            checkpoint: end,
        };
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header.encode())?;
        file.seek(SeekFrom::Start(end))?;
        // Most of it, so that commits wait less for the rest.
        file.sync_data()?;
        Ok(Checkpoint { file, path: path.into(), end, of, values })
    }

    /// Makes a checkpoint the journal, with the batches that came since.
    pub(super) fn switch(&self, journal: &mut Appender, checkpoint: Checkpoint) -> Result<(), Error> {
        let Checkpoint { file, path, end, of, values } = checkpoint;
        if journal.generation != of.generation {
            // Another thread was quicker.
            remove_unneeded(&path);
            return Ok(());
        }
        self.check()?;
        let (folder, generation) = (self.folder.anchor(), of.generation + 1);
        let named = folder.join(file_name(generation));
        let finish = || {
            let since = read(&self.state).written(of.end, (journal.end - of.end) as usize)?;
            (&file).write_all(&since)?;
            file.sync_all()?;
            let reader = File::open(&path)?;
            fs::rename(&path, &named)?;
            Ok(reader)
        };
        let reader: io::Result<File> = finish();
        if reader.is_err() {
            remove_unneeded(&path);
        }
        let reader = reader.map_err(|error| self.failed_at(&path, error))?;
        write(&self.state).move_values(Arc::new(reader), &values, of.end, end);
        let Position { sequence, .. } = journal.position();
        let position = Position { generation, end: end + (journal.end - of.end), sequence };
        let is_checkpoint = journal.end == of.end;
        let faults = Faults { unnamed: true, ..Faults::default() };
        *journal =
            Appender { is_checkpoint, faults, ..Appender::new(file, position, sequence.wrapping_sub(1)) };
        self.name(journal)
    }

    /// Makes the journal's name survive a power loss, says in the identity that it is the last one, and
    /// deletes the former journal.
    pub(super) fn name(&self, journal: &mut Appender) -> Result<(), Error> {
        let folder = self.folder.anchor();
        sync_folder(folder).map_err(|error| self.failed_at(folder, error))?;
        identity::write(folder, journal.identity(self.number))?;
        journal.faults.unnamed = false;
        if let Some(former) = journal.generation.checked_sub(1) {
            remove_unneeded(&folder.join(file_name(former)));
        }
        Ok(())
    }

    /// Writes the journal again if it has more than `spare` bytes beyond `times` of what the log holds.
    pub(super) fn rewrite(&self, times: u64, spare: u64) -> Result<(), Error> {
        let position = lock(&self.appender).position();
        if position.end <= times * read(&self.state).bytes() + spare {
            return Ok(());
        }
        let checkpoint = self.checkpoint(position)?;
        self.switch(&mut lock(&self.appender), checkpoint)
    }
}
