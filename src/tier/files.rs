//! The files of segments in a store's folder, and in its [`Depot`] if there is one.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::depot::Depot;
use crate::error::Error;
use crate::identity::shown;
use crate::key::{MemoryId, NamespaceId, TierKind};
use crate::log::{
    Allowance, Batch, Durability, Log, SegmentEntry, make_file, make_folder, remove_unneeded, sync_folder,
    write_file,
};
use crate::segment::column::{AlignedBytes, Bytes};
use crate::segment::file::{self, Label};
use crate::segment::{Live, Part, Segment};
use crate::sync::{Mutex, RwLock, lock, read, write};
use crate::telemetry;

/// The name of the segments' folder, in a store and in a depot.
pub(crate) const SEGMENTS: &str = "segments";

/// The name under which the log keeps the number of the next segment.
const NEXT_SEGMENT: &str = "next segment";

/// Files that are fetched from the depot at a time: they are in memory until they are
/// written.
const FETCHED_AT_ONCE: usize = 8;

/// The files of a store's segments, which all tiers share.
pub struct SegmentFiles {
    /// None if the files have no names: they end with the process, however it ends.
    folder: Option<PathBuf>,
    depot: Option<Arc<dyn Depot>>,
    /// Says whether the folder is still the store's.
    log: Arc<dyn Log>,
    next_number: AtomicU64,
    /// Whose memories each file holds.
    ids: RwLock<HashMap<u64, Ids>>,
    /// Files of segments that were found, and are not listed.
    strays: Mutex<Vec<PathBuf>>,
}

/// The ids in a segment's file.
enum Ids {
    /// Those of one namespace, between the least and the greatest.
    Own(NamespaceId, RangeInclusive<u64>),
    /// Those of several.
    Shared(Arc<Segment>),
}

/// A segment that was opened, with what the log says of it.
pub struct Opened {
    /// Its number.
    pub number: u64,
    /// Its entry in the log.
    pub entry: SegmentEntry,
    /// Its content.
    pub segment: Segment,
    /// Which of its rows count.
    pub live: Live,
    /// Which of them counted when that was noted for the segment as a whole.
    pub noted: Option<Live>,
}

impl Opened {
    /// The rows that were marked since as dead.
    pub fn marked(&self) -> Vec<u32> {
        self.live.unset_since(self.noted.as_ref())
    }
}

/// The folder of a store's segments as it was opened.
pub struct OpenedFiles {
    /// The files, for all tiers.
    pub files: Arc<SegmentFiles>,
    /// The segments, by their numbers.
    pub segments: Vec<Opened>,
}

impl SegmentFiles {
    /// Opens the segments in `folder` that `log` lists. A `depot` keeps all files for other machines, and
    /// is asked for those that are missing or damaged here. Other files are deleted by
    /// [`delete_strays`](Self::delete_strays), if they are of this store, and not newer than the log.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::CorruptObject`] if a file is missing or damaged, or is none that the log
    /// explains; [`Error::Io`] if one cannot be read, or what the log or the depot reports.
    pub fn open(
        folder: &Path,
        depot: Option<Arc<dyn Depot>>,
        log: &Arc<dyn Log>,
    ) -> Result<OpenedFiles, Error> {
        let listed = log.segments()?;
        // If it was lost with the files, that is damage, and the store stays as it is.
        if listed.is_empty() || depot.is_some() {
            make_segments_folder(folder).map_err(|error| Error::io(folder, error))?;
        }
        let noted = log.setting(NEXT_SEGMENT)?;
        let next = listed.iter().map(|(number, _)| number + 1).chain(noted).max().unwrap_or_default();
        let known = listed.iter().map(|(number, _)| *number).collect();
        let strays = unlisted(folder, &known).map_err(|error| Error::io(folder, error))?;
        let (log, next_number) = (log.clone(), AtomicU64::new(next));
        let (here, strays) = (Some(folder.to_path_buf()), Mutex::new(strays));
        let files = Self { folder: here, depot, log, next_number, ids: RwLock::default(), strays };
        files.explain_strays()?;
        files.fetch_missing(folder, &listed)?;
        let read = |&(number, entry): &(u64, SegmentEntry)| files.read_or_fetch(folder, number, entry);
        let read: Vec<_> = listed.par_iter().map(read).collect();
        let mut segments = Vec::new();
        for ((number, entry), segment) in listed.into_iter().zip(read) {
            let segment = segment?;
            let noted = files.log.live_rows(number)?;
            let noted = noted.map(|words| Live::from_words(&words, segment.len()));
            let mut live = noted.clone().unwrap_or_else(|| Live::all(segment.len()));
            for row in files.log.marked_rows(number)? {
                live.remove(row);
            }
            segments.push(Opened { number, entry, segment, live, noted });
        }
        Ok(OpenedFiles { files: Arc::new(files), segments })
    }

    /// The segments of a log that ends with the process. Their files are in the system's temporary folder without
    /// names, so nobody else can open them, and nothing is left of them.
    pub(crate) fn unnamed(log: &Arc<dyn Log>) -> OpenedFiles {
        let (ids, strays, next_number) = (RwLock::default(), Mutex::default(), AtomicU64::default());
        let files = Self { folder: None, depot: None, log: log.clone(), next_number, ids, strays };
        OpenedFiles { files: Arc::new(files), segments: Vec::new() }
    }

    /// Refuses files that are neither listed, nor what a crash before or after a commit leaves. A copy in
    /// front of a depot may be left by an earlier engine at any moment.
    fn explain_strays(&self) -> Result<(), Error> {
        if self.depot.is_some() || self.log.number() == 0 {
            return Ok(());
        }
        for path in lock(&self.strays).iter().filter(|path| is_finished(path)) {
            let label = file::describe(path).map_err(|error| Error::io(&shown(path), error))?;
            let what = match label.map(|(label, _)| label) {
                None => "its header",
                Some(label) if label.log != self.log.number() => "it is another store's: the segment",
                Some(label) if self.path(label.number).as_ref() != Some(path) => "its name: the segment",
                Some(label) if label.commit > self.log.sequence() => {
                    "the journal is older than this segment: the log"
                }
                Some(_) => continue,
            };
            return Err(Error::Corrupt { path: shown(path), what: what.into() });
        }
        Ok(())
    }

    /// Deletes what crashes and interrupted merges have left, before any other file is written.
    ///
    /// # Errors
    /// [`Error::Io`], or what the log reports.
    pub(crate) fn delete_strays(&self) -> Result<(), Error> {
        let strays = std::mem::take(&mut *lock(&self.strays));
        if !strays.is_empty() {
            // A power loss must not bring their entries back.
            self.log.sync()?;
        }
        strays
            .iter()
            .try_for_each(|path| std::fs::remove_file(path).map_err(|error| Error::io(&shown(path), error)))
    }

    /// Reads a segment from its file, or from the depot if that is damaged.
    fn read_or_fetch(&self, folder: &Path, number: u64, entry: SegmentEntry) -> Result<Segment, Error> {
        match (Self::read(folder, number, entry), &self.depot) {
            (Err(Error::Corrupt { .. }), Some(depot)) => {
                self.fetch(folder, &[(number, entry)])?;
                let read = Self::read(folder, number, entry);
                let file = Self::path_in(folder, number);
                read.inspect(|_| telemetry::mended(&shown(&file).display())).map_err(|error| match error {
                    Error::Corrupt { .. } => {
                        let (bucket, object) = (depot.place().into(), depot_name(number, &entry));
                        Error::CorruptObject { bucket, object }
                    }
                    error => error,
                })
            }
            (read, _) => read,
        }
    }

    /// Opens the file of segment `number` in `folder` as what `entry` says: in RAM for HOT, else
    /// mapped.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is missing or damaged, [`Error::Io`].
    pub(crate) fn read(folder: &Path, number: u64, entry: SegmentEntry) -> Result<Segment, Error> {
        let (path, pinned) = (Self::path_in(folder, number), entry.tier == TierKind::Hot);
        match file::open(&path, number, (entry.bytes, entry.checksum), pinned) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(Error::Corrupt { path: shown(&path), what: "it is missing: the segment".into() })
            }
            read => read,
        }
    }

    /// Where segment `number` lies; `None` if files have no names.
    pub fn path(&self, number: u64) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| Self::path_in(folder, number))
    }

    /// Where segment `number` lies in `folder`.
    pub(crate) fn path_in(folder: &Path, number: u64) -> PathBuf {
        folder.join(file_name(number))
    }

    /// Notes which ids a file holds.
    pub(super) fn note_ids(&self, number: u64, namespace: NamespaceId, segment: &Arc<Segment>) {
        let ids = if segment.is_shared() {
            Some(Ids::Shared(segment.clone()))
        } else {
            let ids = segment.ids.get(0).zip(segment.ids.last());
            ids.map(|(first, last)| Ids::Own(namespace, first.cast_unsigned()..=last.cast_unsigned()))
        };
        write(&self.ids).extend(ids.map(|ids| (number, ids)));
    }

    /// Notes that a file is of no use any more.
    pub(super) fn forget_ids(&self, numbers: &[u64]) {
        if numbers.is_empty() {
            return;
        }
        let mut ids = write(&self.ids);
        ids.retain(|number, _| !numbers.contains(number));
    }

    /// The namespaces of the files that may hold memory `id`.
    pub(crate) fn namespaces_of(&self, id: MemoryId) -> Vec<NamespaceId> {
        let ids = read(&self.ids);
        let namespace = |ids: &Ids| match ids {
            Ids::Own(namespace, ids) => ids.contains(&id.0).then_some(*namespace),
            Ids::Shared(segment) => segment.owner(segment.find(id)?),
        };
        let mut found: Vec<NamespaceId> = ids.values().filter_map(namespace).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether a row of a file is of a namespace, whether it counts or not.
    pub(crate) fn have_rows_of(&self, namespace: NamespaceId) -> bool {
        read(&self.ids).values().any(|ids| match ids {
            Ids::Own(of, _) => *of == namespace,
            Ids::Shared(segment) => Part::of(segment, namespace).is_some(),
        })
    }

    /// A number that no other segment has.
    pub fn take_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds to `batch` that segment `number` is listed, and that its number is not given again.
    pub(super) fn put_segment(&self, number: u64, entry: SegmentEntry, batch: &mut Batch) {
        batch.put_segment(number, entry);
        batch.put_setting(NEXT_SEGMENT, self.next_number.load(Ordering::Relaxed));
    }

    /// The log that lists the files.
    pub(super) fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// Where files are kept for other machines.
    pub fn depot(&self) -> Option<&Arc<dyn Depot>> {
        self.depot.as_ref()
    }

    /// Fetches the files that are not here from the depot.
    fn fetch_missing(&self, folder: &Path, listed: &[(u64, SegmentEntry)]) -> Result<(), Error> {
        let here = |number: u64, entry: &SegmentEntry| {
            std::fs::metadata(Self::path_in(folder, number)).is_ok_and(|file| file.len() == entry.bytes)
        };
        let missing: Vec<(u64, SegmentEntry)> =
            listed.iter().filter(|(number, entry)| !here(*number, entry)).copied().collect();
        missing.chunks(FETCHED_AT_ONCE).try_for_each(|some| self.fetch(folder, some))
    }

    /// Fetches files from the depot, as far as that has them. Reading one that it lacks says so.
    fn fetch(&self, folder: &Path, some: &[(u64, SegmentEntry)]) -> Result<(), Error> {
        let Some(depot) = &self.depot else { return Ok(()) };
        let contents =
            depot.fetch(some.iter().map(|(number, entry)| depot_name(*number, entry)).collect())?;
        for ((number, _), content) in some.iter().zip(contents) {
            let path = Self::path_in(folder, *number);
            if let Some(content) = content {
                let written = make_file(&path).and_then(|mut file| file.write_all(&content));
                written.map_err(|error| Error::io(&path, error))?;
            }
        }
        Ok(())
    }

    /// Writes a packed segment to the file of a number, and to the depot, and returns it as it is
    /// read from there: in RAM if it is to be `pinned`.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Io`], or what the log or the depot reports. No file is left, if
    /// it can be deleted; if not, it is deleted when the engine opens.
    pub fn write(
        &self,
        number: u64,
        tier: TierKind,
        namespace: NamespaceId,
        segment: &Segment,
    ) -> Result<(Segment, SegmentEntry), Error> {
        self.log.check()?;
        let (log, commit) = (self.log.number(), self.announce()?);
        let bytes = file::serialize(segment, Label { log, number, commit, tier, namespace });
        let (length, checksum) = file::fingerprint(&bytes);
        let entry = SegmentEntry { tier, namespace, bytes: length, checksum };
        let Some(folder) = &self.folder else {
            let written = file::write_unnamed(bytes.as_ref());
            let written = written.map_err(|error| Error::io(&std::env::temp_dir(), error))?;
            let read = file::read(written, number, false);
            return Ok((read.ok_or_else(|| segment.damaged("what was written"))?, entry));
        };
        let unfinished = format!("{number:010}.tmp");
        if let Err(error) = write_file(folder, &unfinished, &file_name(number), bytes.as_ref()) {
            // Makes room for whatever comes next.
            remove_unneeded(&folder.join(unfinished));
            return Err(Error::io(&Self::path_in(folder, number), error));
        }
        let kept = self.keep(number, &entry, &bytes).and_then(|()| {
            if tier == TierKind::Hot {
                let read = file::read(Arc::new(Bytes::Held(bytes)), number, true);
                return read.ok_or_else(|| segment.damaged("what was written"));
            }
            // One that is missing already is no damage.
            file::open(&Self::path_in(folder, number), number, (length, checksum), false)
        });
        if kept.is_err() {
            self.delete(number);
        }
        Ok((kept?, entry))
    }

    /// Commits that another file is about to be written, durably, and returns the number of the next commit. So the
    /// file is newer than every copy of the log without that commit, and tells if one takes the log's place.
    fn announce(&self) -> Result<u64, Error> {
        if self.log.sequence() > 0 {
            let mut batch = Batch { allowance: Allowance::All, ..Batch::default() };
            batch.put_setting(NEXT_SEGMENT, self.next_number.load(Ordering::Relaxed));
            self.log.commit(&batch, Durability::Buffered)?;
        }
        let commit = self.log.sequence();
        self.log.sync()?;
        Ok(commit)
    }

    fn keep(&self, number: u64, entry: &SegmentEntry, bytes: &AlignedBytes) -> Result<(), Error> {
        let Some(depot) = &self.depot else { return Ok(()) };
        // The folder may have been exchanged since the file was written.
        self.log.check()?;
        depot.keep(&depot_name(number, entry), bytes.as_ref().to_vec())
    }

    /// Deletes the file of a segment that is not listed. If it cannot be deleted now, it is when the
    /// engine opens.
    pub fn delete(&self, number: u64) {
        let Some(path) = self.path(number) else { return };
        let gone = self.log.check();
        let gone = gone.and_then(|()| std::fs::remove_file(&path).map_err(|error| Error::io(&path, error)));
        telemetry::or_warn("delete the file of a segment", gone);
    }
}

/// Makes the folder of segments, if there is none, so that it survives a power loss.
fn make_segments_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    make_folder(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

fn file_name(number: u64) -> String {
    format!("{number:010}.seg")
}

/// Its name in a depot, which no other content has.
pub(crate) fn depot_name(number: u64, entry: &SegmentEntry) -> String {
    format!("{SEGMENTS}/{number:010}-{:016x}", entry.checksum)
}

/// Whether this is the file of a segment that was written to its end.
pub(crate) fn is_finished(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "seg")
}

/// The files of segments in `folder`, finished or not, that are none of the `listed` ones'.
///
/// # Errors
/// If the folder cannot be read. One that is missing holds no files.
pub(crate) fn unlisted(folder: &Path, listed: &HashSet<u64>) -> io::Result<Vec<PathBuf>> {
    let listed: HashSet<PathBuf> =
        listed.iter().map(|&number| SegmentFiles::path_in(folder, number)).collect();
    let is_segment =
        |path: &PathBuf| is_finished(path) || path.extension().is_some_and(|ending| ending == "tmp");
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let files: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    Ok(files?.into_iter().filter(is_segment).filter(|path| !listed.contains(path)).collect())
}
