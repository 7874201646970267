//! COLD: a compressed archive in mapped files, one file a segment.
//!
//! A segment holds the ids, sketches and inverted lists of its memories as they
//! stand in RAM elsewhere, and their records in small compressed blocks. Files
//! never change: what is forgotten is noted in the log, and gone from the disk
//! when [`Tier::upkeep`] has rewritten the segment. A file that is missing or cut is
//! fetched from the [`Depot`], if there is one; without one, and when its content is
//! damaged, it is made anew from the log.

mod archive;
mod depot;
mod format;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::archive::{Archive, Block};
pub use self::depot::Depot;
#[cfg(feature = "object-store")]
pub(crate) use self::format::depot_name;
use super::{Admission, Done, Search, Tier, TierBytes, TierView, Upkeep, local};
use crate::encoder::{Encoder, Term, TermCounts};
use crate::error::Error;
use crate::index::{Part, QueryTerm, Row, Segment, Shard, TopK};
use crate::key::{MemoryId, NamespaceId, TierKind};
use crate::log::{Batch, Log, SegmentEntry};

/// Segments with this share of dead rows are rewritten at the next upkeep.
const DEAD_SHARE: f64 = 0.25;

/// Names that one call deletes from the depot at most.
const DISCARDED_AT_ONCE: usize = 256;

/// Files that are fetched from the depot at a time: they are in memory until they are
/// written.
const FETCHED_AT_ONCE: usize = 8;

/// The COLD tier.
pub struct ColdTier {
    folder: PathBuf,
    depot: Option<Arc<dyn Depot>>,
    /// Says whether the folder is still the store's.
    log: Arc<dyn Log>,
    /// What the log says of each segment.
    entries: HashMap<u64, SegmentEntry>,
    encoder: Arc<Encoder>,
    shards: HashMap<NamespaceId, Shard<Archive>>,
    next_number: u64,
    undo: Option<Undo>,
    /// Segments whose commit failed. It may have been made all the same, by an
    /// engine that has been replaced since: then they are another engine's, and
    /// stay in the depot until a commit shows that this one is not replaced.
    given_up: Vec<u64>,
    /// Names in the depot that could not be deleted yet.
    left: Vec<String>,
    len: usize,
}

/// Names that were to be deleted from the depot, and whether they were.
struct Discarded {
    names: Vec<String>,
    gone: Result<(), Error>,
}

/// A namespace as it was before its segments were last rewritten.
struct Undo {
    namespace: NamespaceId,
    shard: Shard<Archive>,
    /// The segments that were rewritten, and the one that they became.
    replaced: Vec<u64>,
    number: u64,
}

/// A segment that was written to its file, and the parts that it replaces.
struct Written {
    namespace: NamespaceId,
    number: u64,
    written: Option<(Segment<Archive>, SegmentEntry)>,
    plan: Vec<Part<Archive>>,
}

impl ColdTier {
    /// Opens the segments in `folder` that `log` lists, and deletes other files.
    ///
    /// Returns the tier and the files of segments that could not be read: their
    /// memories are missing here, and the engine takes them from the log again.
    /// A `depot` keeps all files for other machines, and is asked for those that
    /// are missing here.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read, or what the log or the depot
    /// reports.
    pub fn open(
        folder: &Path,
        depot: Option<Arc<dyn Depot>>,
        encoder: Arc<Encoder>,
        log: &Arc<dyn Log>,
        batch: &mut Batch,
    ) -> Result<(Self, Vec<PathBuf>), Error> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let segments = log.segments()?;
        let mut tier = Self {
            folder: folder.to_path_buf(),
            depot,
            log: log.clone(),
            entries: segments.iter().copied().collect(),
            encoder,
            shards: HashMap::new(),
            next_number: 0,
            undo: None,
            given_up: Vec::new(),
            left: Vec::new(),
            len: 0,
        };
        tier.fetch_missing()?;
        let (mut known, mut damaged) = (HashSet::new(), Vec::new());
        for (number, entry) in segments {
            tier.next_number = tier.next_number.max(number + 1);
            let path = format::path(folder, number);
            let dead = log.dead_rows(number)?;
            match format::open(&path, number, entry) {
                Ok(segment) => {
                    known.insert(path);
                    tier.attach(entry.namespace, segment, &dead);
                }
                Err(error) if is_damage(&error) => {
                    damaged.push(path);
                    batch.remove_segment(number, dead);
                }
                Err(error) => return Err(error),
            }
        }
        tier.delete_unknown(&known)?;
        Ok((tier, damaged))
    }

    /// Fetches the files that are not here from the depot.
    fn fetch_missing(&self) -> Result<(), Error> {
        let Some(depot) = &self.depot else { return Ok(()) };
        let here = |number: u64, entry: &SegmentEntry| {
            std::fs::metadata(format::path(&self.folder, number)).is_ok_and(|file| file.len() == entry.bytes)
        };
        let missing: Vec<(u64, String)> = self
            .entries
            .iter()
            .filter(|(number, entry)| !here(**number, entry))
            .map(|(&number, entry)| (number, format::depot_name(number, entry)))
            .collect();
        for some in missing.chunks(FETCHED_AT_ONCE) {
            let contents = depot.fetch(some.iter().map(|(_, name)| name.clone()).collect())?;
            for ((number, _), content) in some.iter().zip(contents) {
                let path = format::path(&self.folder, *number);
                // One that is not in the depot is made anew, as a damaged one is.
                if let Some(content) = content {
                    std::fs::write(&path, content).map_err(|error| Error::io(&path, error))?;
                }
            }
        }
        Ok(())
    }

    fn attach(&mut self, namespace: NamespaceId, segment: Segment<Archive>, dead: &[u32]) {
        let mut part = Part::new(segment);
        let live = Arc::make_mut(&mut part.live);
        dead.iter().for_each(|&row| {
            live.remove(row);
        });
        self.len += part.live.len();
        self.shards.entry(namespace).or_default().attach(part);
    }

    fn delete_unknown(&self, known: &HashSet<PathBuf>) -> Result<(), Error> {
        let entries = std::fs::read_dir(&self.folder).map_err(|error| Error::io(&self.folder, error))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if format::is_ours(&path) && !known.contains(&path) {
                std::fs::remove_file(&path).map_err(|error| Error::io(&path, error))?;
            }
        }
        Ok(())
    }

    /// The names of segments in the depot, which are not needed any more.
    fn replaced(&mut self, numbers: &[u64]) -> Vec<String> {
        let entries = numbers.iter().filter_map(|number| Some((*number, self.entries.remove(number)?)));
        entries.map(|(number, entry)| format::depot_name(number, &entry)).collect()
    }

    /// Deletes segments from the depot, some at a time.
    fn discard(&mut self, mut names: Vec<String>) -> Option<Upkeep> {
        let depot = self.depot.clone().filter(|_| !names.is_empty())?;
        self.left.extend(names.drain(DISCARDED_AT_ONCE.min(names.len())..));
        Some(Box::new(move || {
            let gone = depot.discard(names.clone());
            Ok(Box::new(Discarded { names, gone }) as Done)
        }))
    }

    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// The ids that are live here.
    pub(crate) fn ids(&self) -> impl Iterator<Item = MemoryId> + '_ {
        let parts = self.shards.values().flat_map(Shard::parts);
        parts.flat_map(|part| part.live.iter().filter_map(|row| part.segment.id(row)))
    }
}

/// A segment's file, read by itself: a second witness of what the log says.
pub(crate) struct ColdFile(Segment<Archive>);

impl ColdFile {
    /// The file of segment `number` in `folder`; `None` if it is not what
    /// `entry` says.
    pub(crate) fn read(folder: &Path, number: u64, entry: SegmentEntry) -> Option<Self> {
        format::open(&format::path(folder, number), number, entry).ok().map(Self)
    }

    /// The ids in its rows.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (u32, MemoryId)> + '_ {
        (0..self.0.len() as u32).filter_map(|row| Some((row, self.0.id(row)?)))
    }

    /// The record in `row`.
    pub(crate) fn record(&self, row: u32) -> Option<Vec<u8>> {
        self.0.rows.record(row, &mut Block::default()).ok().map(<[u8]>::to_vec)
    }

    /// The vector that was supplied with the memory in `row`.
    pub(crate) fn vector(&self, row: u32) -> Option<&[u64]> {
        let supplied = self.0.is_supplied(row);
        supplied.then(|| self.0.rows.vector(&self.0.supplied, row).ok()).flatten()
    }
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

impl Tier for ColdTier {
    fn kind(&self) -> TierKind {
        TierKind::Cold
    }

    fn len(&self) -> usize {
        self.len
    }

    fn stage(&mut self, namespace: NamespaceId, memories: Vec<Admission>) -> Upkeep {
        let (folder, number) = (self.folder.clone(), self.take_number());
        let (depot, log) = (self.depot.clone(), self.log.clone());
        Box::new(move || {
            let rows: Vec<Row> = memories.iter().map(|memory| memory.row.clone()).collect();
            let contents = memories.iter().map(|memory| (&*memory.record, memory.vector.as_deref()));
            let segment = Archive::segment(number, &rows, contents)?;
            let written = Some(write(&folder, depot.as_deref(), &*log, namespace, &segment)?);
            Ok(Box::new(Written { namespace, number, written, plan: Vec::new() }) as Done)
        })
    }

    fn removal(&self, namespace: NamespaceId, id: MemoryId, batch: &mut Batch) -> bool {
        let found = self.shards.get(&namespace).and_then(|shard| shard.find(id));
        if let Some((part, row)) = found {
            batch.put_dead(part.segment.rows.number(), row);
        }
        found.is_some()
    }

    fn remove(&mut self, namespace: NamespaceId, id: MemoryId) -> bool {
        let removed = self.shards.get_mut(&namespace).is_some_and(|shard| shard.remove(id));
        self.len -= usize::from(removed);
        removed
    }

    fn held(&self, _namespace: NamespaceId, _id: MemoryId) -> Option<Admission> {
        None
    }

    fn view(&mut self, namespace: NamespaceId) -> Arc<dyn TierView> {
        let shard = self.shards.get(&namespace).cloned().unwrap_or_default();
        Arc::new(ColdView { shard, encoder: self.encoder.clone() })
    }

    fn upkeep(&mut self, thorough: bool) -> Option<Upkeep> {
        // The last one was committed; its old files take no more room.
        let mut replaced = self.undo.take().map(|undo| undo.replaced).unwrap_or_default();
        if !replaced.is_empty() {
            replaced.append(&mut self.given_up);
        }
        let names = self.replaced(&replaced);
        if let Some(discard) = self.discard(names) {
            return Some(discard);
        }
        let due = self.shards.iter().find_map(|(&namespace, shard)| {
            let plan = if thorough { shard.full_merge_plan() } else { shard.merge_plan_of_all(DEAD_SHARE) };
            plan.map(|plan| (namespace, plan))
        });
        let Some((namespace, plan)) = due else {
            // What could not be deleted waits for all that can be done.
            let left = std::mem::take(&mut self.left);
            return self.discard(left);
        };
        let (folder, number) = (self.folder.clone(), self.take_number());
        let (depot, log) = (self.depot.clone(), self.log.clone());
        Some(Box::new(move || {
            let merged = archive::merge(number, &plan)?;
            let write = |segment| write(&folder, depot.as_deref(), &*log, namespace, &segment);
            let written = merged.map(write).transpose()?;
            Ok(Box::new(Written { namespace, number, written, plan }) as Done)
        }))
    }

    fn apply(&mut self, done: Done, batch: &mut Batch) -> Result<Option<NamespaceId>, Error> {
        let done = match done.downcast::<Written>() {
            Ok(written) => written,
            Err(done) => {
                let Ok(discarded) = done.downcast::<Discarded>() else { return Ok(None) };
                let Discarded { names, gone } = *discarded;
                if gone.is_err() {
                    self.left.extend(names);
                }
                return gone.map(|()| None);
            }
        };
        let Written { namespace, number, written, plan } = *done;
        let (part, entry) = written.map(|(segment, entry)| (Part::new(segment), entry)).unzip();
        let shard = self.shards.entry(namespace).or_default();
        let before = shard.clone();
        // The dead rows as they are now, not as they were when the work began.
        let doomed: Vec<(u64, Vec<u32>)> = shard
            .parts()
            .iter()
            .filter(|part| plan.iter().any(|planned| Arc::ptr_eq(&planned.segment, &part.segment)))
            .map(|part| (part.segment.rows.number(), part.dead_rows().collect()))
            .collect();
        if !shard.replace(&plan, part) {
            return Ok(None);
        }
        self.len = self.len + shard.len() - before.len();
        if let Some(added) = shard.parts().iter().find(|part| part.segment.rows.number() == number) {
            if let Some(entry) = entry {
                batch.put_segment(number, entry);
                self.entries.insert(number, entry);
            }
            added.dead_rows().for_each(|row| batch.put_dead(number, row));
        }
        let replaced = doomed.iter().map(|&(number, _)| number).collect();
        for (number, dead) in doomed {
            batch.remove_segment(number, dead);
            batch.obsolete.push(format::path(&self.folder, number));
        }
        self.undo = (!plan.is_empty()).then_some(Undo { namespace, shard: before, replaced, number });
        Ok(Some(namespace))
    }

    fn revert(&mut self) {
        if let Some(Undo { namespace, shard, number, .. }) = self.undo.take() {
            self.len += shard.len();
            let current = self.shards.insert(namespace, shard);
            self.len -= current.map_or(0, |shard| shard.len());
            // On a full disk every attempt would leave another file. One that
            // cannot be deleted now is deleted when the engine opens.
            let _ = self.log.check().map(|()| std::fs::remove_file(format::path(&self.folder, number)));
            self.given_up.push(number);
        }
    }
}

/// Writes a segment to its file here, and to the depot.
fn write(
    folder: &Path,
    depot: Option<&dyn Depot>,
    log: &dyn Log,
    namespace: NamespaceId,
    segment: &Segment<Archive>,
) -> Result<(Segment<Archive>, SegmentEntry), Error> {
    log.check()?;
    let (segment, entry) = format::write(folder, namespace, segment)?;
    if let Some(depot) = depot {
        let number = segment.rows.number();
        let path = format::path(folder, number);
        let content = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
        // What was read is this store's.
        log.check()?;
        if let Err(error) = depot.keep(&format::depot_name(number, &entry), content) {
            // As when it could not be written here.
            let _ = log.check().map(|()| std::fs::remove_file(&path));
            return Err(error);
        }
    }
    Ok((segment, entry))
}

struct ColdView {
    shard: Shard<Archive>,
    encoder: Arc<Encoder>,
}

impl TierView for ColdView {
    fn len(&self) -> usize {
        self.shard.len()
    }

    fn document_frequency(&self, term: Term) -> usize {
        self.shard.document_frequency(term)
    }

    fn search(&self, search: &Search<'_>, top: &mut TopK) -> Result<(), Error> {
        let source = ColdSource { encoder: &self.encoder, block: Block::default() };
        local::search(self.shard.parts(), TierKind::Cold, search, &self.encoder, source, top)
    }

    fn contains(&self, id: MemoryId) -> bool {
        self.shard.find(id).is_some()
    }

    fn held_terms(&self, id: MemoryId, terms: &[QueryTerm]) -> Option<Vec<Term>> {
        self.shard.held_terms(id, terms)
    }

    fn record(&self, id: MemoryId) -> Result<Option<Vec<u8>>, Error> {
        let Some((part, row)) = self.shard.find(id) else { return Ok(None) };
        let mut block = Block::default();
        part.segment.rows.record(row, &mut block).map(|record| Some(record.to_vec()))
    }

    fn bytes(&self) -> TierBytes {
        let mapped: usize = self.shard.parts().iter().map(|part| part.segment.rows.file_bytes()).sum();
        TierBytes { ram: self.shard.heap_bytes() as u64, mapped: mapped as u64 }
    }
}

struct ColdSource<'e> {
    encoder: &'e Encoder,
    block: Block,
}

impl local::Source<Archive> for ColdSource<'_> {
    fn record<'a>(
        &'a mut self,
        segment: &'a Segment<Archive>,
        row: u32,
    ) -> Result<Option<Cow<'a, [u8]>>, Error> {
        segment.rows.record(row, &mut self.block).map(|record| Some(Cow::Borrowed(record)))
    }

    fn supplied<'a>(&'a self, segment: &'a Segment<Archive>, row: u32) -> Result<&'a [u64], Error> {
        let archive = &segment.rows;
        let vector = archive.vector(&segment.supplied, row)?;
        let fits = vector.len() == self.encoder.dimension().words();
        fits.then_some(vector).ok_or_else(|| archive.damaged("a vector"))
    }

    fn terms(&self, segment: &Segment<Archive>, row: u32) -> Result<Option<TermCounts>, Error> {
        let terms = segment.rows.terms(segment, row);
        terms.map(Some).ok_or_else(|| segment.rows.damaged("the terms of a row"))
    }
}
