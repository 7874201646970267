//! The files of segments in a store's folder, and in its [`Depot`] if there is one.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::depot::Depot;
use crate::error::Error;
use crate::key::{NamespaceId, TierKind};
use crate::log::{Batch, Log, SegmentEntry, sync_folder};
use crate::segment::column::{AlignedBytes, Bytes};
use crate::segment::{Live, Segment, file};

/// Files that are fetched from the depot at a time: they are in memory until they are
/// written.
const FETCHED_AT_ONCE: usize = 8;

/// The files of a store's segments, which all tiers share.
pub struct SegmentFiles {
    folder: PathBuf,
    depot: Option<Arc<dyn Depot>>,
    /// Says whether the folder is still the store's.
    log: Arc<dyn Log>,
    next_number: AtomicU64,
}

/// A segment that was opened, with what the log says of it.
pub struct Opened {
    /// Its number.
    pub number: u64,
    /// What is listed of it.
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
        marked_since(&self.live, self.noted.as_ref())
    }
}

/// The rows of `live` that do not count, and did when that was `noted`.
pub(super) fn marked_since(live: &Live, noted: Option<&Live>) -> Vec<u32> {
    live.unset().filter(|&row| noted.is_none_or(|noted| noted.contains(row))).collect()
}

/// The folder of a store's segments as it was opened.
pub struct OpenedFiles {
    /// The files, for all tiers.
    pub files: Arc<SegmentFiles>,
    /// The segments that could be read, by their numbers.
    pub segments: Vec<Opened>,
    /// The files of those that could not, and the tiers of their memories.
    pub damaged: Vec<(PathBuf, TierKind)>,
}

impl SegmentFiles {
    /// Opens the segments in `folder` that `log` lists, and deletes other files. Segments that
    /// cannot be read are taken off the list in `batch`: the engine takes their memories from the
    /// log again. A `depot` keeps all files for other machines, and is asked for those that are
    /// missing here.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read, or what the log or the depot reports.
    pub fn open(
        folder: &Path,
        depot: Option<Arc<dyn Depot>>,
        log: &Arc<dyn Log>,
        batch: &mut Batch,
    ) -> Result<OpenedFiles, Error> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let listed = log.segments()?;
        let next = listed.iter().map(|(number, _)| number + 1).max().unwrap_or_default();
        let (log, next_number) = (log.clone(), AtomicU64::new(next));
        let files = Self { folder: folder.to_path_buf(), depot, log, next_number };
        files.fetch_missing(&listed)?;
        let read = |&(number, entry): &(u64, SegmentEntry)| {
            let pinned = entry.tier == TierKind::Hot;
            let segment = file::open(&files.path(number), number, (entry.bytes, entry.checksum), pinned);
            (number, entry, segment)
        };
        let read: Vec<_> = listed.par_iter().map(read).collect();
        let (mut segments, mut known, mut damaged) = (Vec::new(), HashSet::new(), Vec::new());
        for (number, entry, segment) in read {
            let (path, marked) = (files.path(number), files.log.marked_rows(number)?);
            match segment {
                Ok(segment) => {
                    known.insert(path);
                    let noted = files.log.live_rows(number)?;
                    let noted = noted.map(|words| Live::from_words(&words, segment.len()));
                    let mut live = noted.clone().unwrap_or_else(|| Live::all(segment.len()));
                    for row in marked {
                        live.remove(row);
                    }
                    segments.push(Opened { number, entry, segment, live, noted });
                }
                Err(error) if is_damage(&error) => {
                    damaged.push((path, entry.tier));
                    batch.remove_segment(number, marked);
                }
                Err(error) => return Err(error),
            }
        }
        files.delete_unknown(&known)?;
        Ok(OpenedFiles { files: Arc::new(files), segments, damaged })
    }

    /// Opens the file of segment `number` in `folder` as what `entry` says.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Corrupt`].
    pub(crate) fn read(folder: &Path, number: u64, entry: SegmentEntry) -> Result<Segment, Error> {
        file::open(&Self::path_in(folder, number), number, (entry.bytes, entry.checksum), false)
    }

    /// Where segment `number` lies.
    pub fn path(&self, number: u64) -> PathBuf {
        Self::path_in(&self.folder, number)
    }

    /// Where segment `number` lies in `folder`.
    pub(crate) fn path_in(folder: &Path, number: u64) -> PathBuf {
        folder.join(format!("{number:010}.seg"))
    }

    /// A number that no other segment has.
    pub fn take_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Where files are kept for other machines.
    pub fn depot(&self) -> Option<&Arc<dyn Depot>> {
        self.depot.as_ref()
    }

    /// Fetches the files that are not here from the depot.
    fn fetch_missing(&self, listed: &[(u64, SegmentEntry)]) -> Result<(), Error> {
        let Some(depot) = &self.depot else { return Ok(()) };
        let here = |number: u64, entry: &SegmentEntry| {
            std::fs::metadata(self.path(number)).is_ok_and(|file| file.len() == entry.bytes)
        };
        let missing: Vec<&(u64, SegmentEntry)> =
            listed.iter().filter(|(number, entry)| !here(*number, entry)).collect();
        for some in missing.chunks(FETCHED_AT_ONCE) {
            let names = some.iter().map(|(number, entry)| depot_name(*number, entry)).collect();
            let contents = depot.fetch(names)?;
            for ((number, _), content) in some.iter().zip(contents) {
                let path = self.path(*number);
                // One that is not in the depot is made anew, as a damaged one is.
                if let Some(content) = content {
                    std::fs::write(&path, content).map_err(|error| Error::io(&path, error))?;
                }
            }
        }
        Ok(())
    }

    fn delete_unknown(&self, known: &HashSet<PathBuf>) -> Result<(), Error> {
        let entries = std::fs::read_dir(&self.folder).map_err(|error| Error::io(&self.folder, error))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if is_ours(&path) && !known.contains(&path) {
                std::fs::remove_file(&path).map_err(|error| Error::io(&path, error))?;
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
        let bytes = file::serialize(segment);
        let (length, checksum) = file::fingerprint(&bytes);
        let entry = SegmentEntry { tier, namespace, bytes: length, checksum };
        let (path, unfinished) = (self.path(number), self.folder.join(format!("{number:010}.tmp")));
        let written = File::create(&unfinished).and_then(|mut file| {
            file.write_all(bytes.as_ref())?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            sync_folder(&self.folder)
        });
        if let Err(error) = written {
            // Makes room for whatever comes next.
            let _ = std::fs::remove_file(&unfinished);
            return Err(Error::io(&path, error));
        }
        let kept = self.keep(number, &entry, &bytes).and_then(|()| {
            if tier == TierKind::Hot {
                let read = file::read(Arc::new(Bytes::Held(bytes)), number, true);
                return read.ok_or_else(|| segment.damaged("what was written"));
            }
            file::open(&path, number, (length, checksum), false)
        });
        if kept.is_err() {
            self.delete(number);
        }
        Ok((kept?, entry))
    }

    fn keep(&self, number: u64, entry: &SegmentEntry, bytes: &AlignedBytes) -> Result<(), Error> {
        let Some(depot) = &self.depot else { return Ok(()) };
        // What was written is this store's.
        self.log.check()?;
        depot.keep(&depot_name(number, entry), bytes.as_ref().to_vec())
    }

    /// Deletes the file of a segment that is not listed. If it cannot be deleted now, it is when the
    /// engine opens.
    pub fn delete(&self, number: u64) {
        let _ = self.log.check().map(|()| std::fs::remove_file(self.path(number)));
    }
}

/// Its name in a depot, which no other content has.
pub(crate) fn depot_name(number: u64, entry: &SegmentEntry) -> String {
    format!("segments/{number:010}-{:016x}", entry.checksum)
}

/// Whether this is a segment's file, or one that was not finished.
fn is_ours(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "seg" || ending == "tmp")
}

/// Whether an error says that a file cannot be read as it was written, so that
/// making it anew from the log helps.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } => true,
        Error::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}
