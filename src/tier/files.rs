//! The files of segments in a store's folder, and in its [`Depot`] if there is one.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
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

/// The name of the segments' folder, in a store and in a depot.
pub(crate) const SEGMENTS: &str = "segments";

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
            (number, entry, Self::read(&files.folder, number, entry))
        };
        let read: Vec<_> = listed.par_iter().map(read).collect();
        let (mut segments, mut known, mut damaged) = (Vec::new(), HashSet::new(), Vec::new());
        for (number, entry, segment) in read {
            let (path, marked) = (files.path(number), files.log.marked_rows(number)?);
            match segment {
                Ok(segment) => {
                    known.insert(number);
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
        for stray in unlisted(folder, &known).map_err(|error| Error::io(folder, error))? {
            std::fs::remove_file(&stray).map_err(|error| Error::io(&stray, error))?;
        }
        Ok(OpenedFiles { files: Arc::new(files), segments, damaged })
    }

    /// Opens the file of segment `number` in `folder` as what `entry` says: in RAM for HOT, else
    /// mapped.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Corrupt`].
    pub(crate) fn read(folder: &Path, number: u64, entry: SegmentEntry) -> Result<Segment, Error> {
        let (path, pinned) = (Self::path_in(folder, number), entry.tier == TierKind::Hot);
        file::open(&path, number, (entry.bytes, entry.checksum), pinned)
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
                // If the depot lacks it too, the engine rebuilds it from the log.
                if let Some(content) = content {
                    std::fs::write(&path, content).map_err(|error| Error::io(&path, error))?;
                }
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
            Self::read(&self.folder, number, entry)
        });
        if kept.is_err() {
            self.delete(number);
        }
        Ok((kept?, entry))
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
        let _ = self.log.check().map(|()| std::fs::remove_file(self.path(number)));
    }
}

/// Its name in a depot, which no other content has.
pub(crate) fn depot_name(number: u64, entry: &SegmentEntry) -> String {
    format!("{SEGMENTS}/{number:010}-{:016x}", entry.checksum)
}

/// The files of segments in `folder`, finished or not, that are none of the `listed` ones'.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn unlisted(folder: &Path, listed: &HashSet<u64>) -> io::Result<Vec<PathBuf>> {
    let listed: HashSet<PathBuf> =
        listed.iter().map(|&number| SegmentFiles::path_in(folder, number)).collect();
    let is_segment =
        |path: &PathBuf| path.extension().is_some_and(|ending| ending == "seg" || ending == "tmp");
    let files = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    Ok(files.filter(is_segment).filter(|path| !listed.contains(path)).collect())
}

/// Whether an error says that a file is missing or damaged, so that rebuilding it from the log helps.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } => true,
        Error::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}
