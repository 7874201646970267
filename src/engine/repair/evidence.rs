//! What a repair has to go by: the readable part of the log, and the segments' files.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::engine::location::{SEGMENTS, settings};
use crate::engine::writer::NEXT_ID;
use crate::error::Error;
use crate::identity::shown;
use crate::key::{MemoryId, NamespaceId, TierKind};
use crate::log::{
    CatalogueKey, LOG_FOLDER, Placement, Record, Salvage, SegmentEntry, Table, memory_id, words,
};
use crate::memory::Namespace;
use crate::segment::file::{self, Label};
use crate::segment::salvage::{SalvagedFile, salvage};
use crate::segment::{Block, Live, Segment};
use crate::tier::files::{SegmentFiles, is_finished, unlisted};

/// Ids that may have been given without a trace, if the journal is lost: more than it has had room for.
const LOST_IDS: u64 = 1 << 28;

/// All that is known of a damaged store, by subject.
#[derive(Default)]
pub(super) struct Evidence {
    pub settings: BTreeMap<String, Vec<u8>>,
    pub names: BTreeMap<NamespaceId, String>,
    pub placements: HashMap<MemoryId, Placement>,
    /// The segments whose files are whole.
    pub segments: BTreeMap<u64, (SegmentEntry, Segment)>,
    /// What could be read of other segments' files.
    salvaged: BTreeMap<u64, (SegmentEntry, SalvagedFile)>,
    /// The files of these.
    pub damaged_segments: Vec<PathBuf>,
    /// Files of segments that no crash can have left: they are another store's, or not listed and unreadable.
    pub strange: Vec<PathBuf>,
    /// Rows that no longer count.
    pub dead: BTreeSet<(u64, u32)>,
    /// The segment and row of each memory in a file that is whole.
    pub in_files: HashMap<MemoryId, (u64, u32)>,
    /// Those in damaged files.
    in_damaged: BTreeMap<MemoryId, (u64, u32)>,
    /// Dead rows of memories that are somewhere else now: their text is the same.
    copies: HashMap<MemoryId, (u64, u32)>,
    /// Memories that are in a file, and cannot be read.
    pub lost: BTreeSet<MemoryId>,
    pub next_id: u64,
    /// The number of the next commit.
    pub next_commit: u64,
    pub log: Salvage,
}

/// A memory that can be read.
pub(super) struct Recovered {
    pub record: Record,
    pub vector: Option<Vec<u64>>,
    /// Where it was.
    pub placement: Placement,
}

impl Evidence {
    /// Collects it from the store in the folder `path`, changing nothing.
    pub(super) fn collect(path: &Path, config: &Config) -> Result<Self, Error> {
        let (labels, unknown) = labels(path)?;
        let logs = labels.values().map(|(_, label, _)| label.log).collect();
        let mut found = Self { log: Salvage::read(&path.join(LOG_FOLDER), &logs)?, ..Self::default() };
        let (mut live, mut entries) = (Vec::new(), BTreeMap::new());
        let catalogue: Vec<(Vec<u8>, Arc<[u8]>)> =
            found.log.table(Table::Catalogue).map(|(key, value)| (key.to_vec(), value.clone())).collect();
        for (key, value) in &catalogue {
            if let Some(key) = CatalogueKey::decode(key) {
                found.take(key, value, &mut live, &mut entries);
            }
        }
        found.find_strange(path, &labels, unknown, &entries);
        // A journal that lists a file that is gone may be an older one, and one that lacks commits that were
        // before a file is.
        let mut own = labels.values().filter(|(_, label, _)| Some(label.log) == found.log.number);
        let is_older = own.any(|(_, label, _)| label.commit > found.log.sequence);
        found.log.damaged.extend(is_older.then(|| shown(&path.join(LOG_FOLDER))));
        found.log.is_whole &= entries.keys().all(|number| labels.contains_key(number)) && !is_older;
        let commits = labels.values().map(|(_, label, _)| label.commit);
        found.next_commit = commits.chain([1, found.log.sequence]).max().unwrap_or_default();
        if !found.log.is_whole {
            // What lists others may be lost.
            let own = found.log.number.or_else(|| labels.values().map(|(_, label, _)| label.log).max());
            found.log.number = own;
            let unlisted = labels.iter().filter(|(number, _)| !entries.contains_key(number));
            let unlisted: Vec<(u64, SegmentEntry)> = unlisted
                .filter(|(_, (_, label, _))| Some(label.log) == own)
                .map(|(&number, &(_, Label { tier, namespace, .. }, (bytes, checksum)))| {
                    (number, SegmentEntry { tier, namespace, bytes, checksum })
                })
                .collect();
            entries.extend(unlisted);
        }
        for (number, entry) in entries {
            found.open(path, number, entry)?;
        }
        for (number, words) in live {
            let rows = found.segments.get(&number).map_or(words.len() * 64, |(_, segment)| segment.len());
            found.dead.extend(Live::from_words(&words, rows).unset().map(|row| (number, row)));
        }
        found.place();
        found.check_settings(path, config)?;
        Ok(found)
    }

    /// Whether the log and all segments could be read, and nothing can be missing besides what they mention.
    pub(super) fn is_complete(&self) -> bool {
        self.is_all_known() && self.damaged_segments.is_empty()
    }

    /// Whether the log could be read, and no commit can be missing.
    fn is_all_known(&self) -> bool {
        self.log.is_whole && !self.log.may_lack_commits && self.strange.is_empty()
    }

    /// Finds files of segments that are another store's, or `unknown` and not listed.
    fn find_strange(
        &mut self,
        path: &Path,
        labels: &BTreeMap<u64, Labeled>,
        unknown: Vec<PathBuf>,
        entries: &BTreeMap<u64, SegmentEntry>,
    ) {
        let listed: HashSet<PathBuf> =
            entries.keys().map(|&number| SegmentFiles::path_in(&path.join(SEGMENTS), number)).collect();
        let foreign = labels.values().filter(|(_, label, _)| Some(label.log) != self.log.number);
        let unlisted = unknown.into_iter().filter(|file| !listed.contains(file));
        self.strange = foreign.map(|(file, ..)| file.clone()).chain(unlisted).collect();
    }

    fn take(
        &mut self,
        key: CatalogueKey<'_>,
        value: &[u8],
        live: &mut Vec<(u64, Vec<u64>)>,
        entries: &mut BTreeMap<u64, SegmentEntry>,
    ) {
        match key {
            CatalogueKey::Setting(name) => drop(self.settings.insert(name.into(), value.into())),
            CatalogueKey::Namespace(id) => {
                let name = String::from_utf8(value.into()).ok();
                self.names
                    .extend(name.filter(|name| Namespace::new(name.as_str()).is_ok()).map(|name| (id, name)));
            }
            CatalogueKey::Placement(id) => {
                self.placements.extend(Placement::decode(value).ok().map(|placement| (id, placement)));
            }
            CatalogueKey::Segment(number) => {
                entries.extend(SegmentEntry::decode(value).ok().map(|entry| (number, entry)));
            }
            CatalogueKey::Dead(segment, row) => drop(self.dead.insert((segment, row))),
            CatalogueKey::Live(segment) => live.push((segment, words(value))),
        }
    }

    /// Opens a segment's file, or reads what can be read of it.
    fn open(&mut self, path: &Path, number: u64, entry: SegmentEntry) -> Result<(), Error> {
        let folder = path.join(SEGMENTS);
        match SegmentFiles::read(&folder, number, entry) {
            Ok(segment) => drop(self.segments.insert(number, (entry, segment))),
            Err(Error::Corrupt { .. }) => {
                let file = SegmentFiles::path_in(&folder, number);
                let salvaged = match salvage(&file, entry.checksum) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => SalvagedFile::default(),
                    salvaged => salvaged.map_err(|error| Error::io(&shown(&file), error))?,
                };
                self.salvaged.insert(number, (entry, salvaged));
                self.damaged_segments.push(file);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Finds out where each memory is.
    fn place(&mut self) {
        let mut greatest = self.placements.keys().copied().max();
        let ids = self.log.values.keys().filter(|(table, _)| *table != Table::Catalogue);
        greatest = greatest.max(ids.filter_map(|(_, key)| memory_id(key).ok()).max());
        let mut rows: BTreeMap<u64, (TierKind, Vec<(u32, MemoryId)>)> = BTreeMap::new();
        for (&number, (entry, segment)) in &self.segments {
            let all = (0..segment.len() as u32).filter_map(|row| Some((row, segment.id(row)?)));
            rows.insert(number, (entry.tier, all.collect()));
        }
        for (&number, (entry, file)) in &self.salvaged {
            let read = file.rows.iter().map(|(&row, memory)| (row, memory.id));
            let all = read.chain(file.lost.iter().map(|(&row, &id)| (row, id)));
            rows.insert(number, (entry.tier, all.collect()));
        }
        // A memory that has left a file has a dead row there. If that mark is lost, or if the memory
        // is in two files, the mark is added now: the newest file says where it is.
        let mut seen = HashSet::new();
        for (number, (tier, rows)) in rows.into_iter().rev() {
            for (row, id) in rows {
                greatest = greatest.max(Some(id));
                let placed = self.placements.get(&id);
                if placed.is_some_and(|at| at.tier != tier) || seen.contains(&id) {
                    self.dead.insert((number, row));
                }
                let (is_dead, place) = (self.dead.contains(&(number, row)), (number, row));
                let lost = self.salvaged.get(&number).is_some_and(|(_, file)| file.lost.contains_key(&row));
                match (is_dead, lost, self.salvaged.contains_key(&number)) {
                    (true, false, _) if placed.is_some() => drop(self.copies.insert(id, place)),
                    (true, ..) => {}
                    (false, true, _) => drop(self.lost.insert(id)),
                    (false, false, true) => drop(self.in_damaged.insert(id, place)),
                    (false, false, false) => drop(self.in_files.insert(id, place)),
                }
                if !is_dead {
                    seen.insert(id);
                }
            }
        }
        let noted = self.settings.remove(NEXT_ID).and_then(|value| value.try_into().ok());
        let next = greatest.map_or(0, |id| id.0 + 1).max(noted.map_or(0, u64::from_le_bytes));
        self.next_id = if self.is_all_known() { next } else { next.saturating_add(LOST_IDS) };
    }

    fn check_settings(&self, path: &Path, config: &Config) -> Result<(), Error> {
        for (what, received) in settings(config) {
            let value = self.settings.get(what).and_then(|value| value.as_slice().try_into().ok());
            match value.map(u64::from_le_bytes) {
                Some(expected) if expected != received => {
                    return Err(Error::Incompatible { path: shown(path), what, expected, received });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The memories that are in no whole file, in ascending order of ids: those that the log holds, or
    /// mentions, or that were in damaged files. The journal may hold the record of a memory that has moved into
    /// a file: the log drops such a record in RAM only. It removes the record of a forgotten memory durably.
    pub(super) fn loose(&self) -> BTreeSet<MemoryId> {
        let in_log = self.log.table(Table::Records).filter_map(|(key, _)| memory_id(key).ok());
        let all = in_log.chain(self.placements.keys().copied()).chain(self.in_damaged.keys().copied());
        all.chain(self.lost.iter().copied()).filter(|id| !self.in_files.contains_key(id)).collect()
    }

    /// Reads a memory that is in no whole file.
    pub(super) fn recover(&self, id: MemoryId) -> Option<Recovered> {
        let logged = || {
            let record = self.log.of(Table::Records, &id.0.to_be_bytes())??;
            let vector = self.log.of(Table::Vectors, &id.0.to_be_bytes()).flatten();
            Some((Record::decode(record).ok()?, vector.map(|bytes| words(bytes))))
        };
        let in_file = || self.read_row(*self.in_damaged.get(&id).or_else(|| self.copies.get(&id))?);
        let (record, vector) = logged().or_else(in_file)?;
        let was_in = self.in_damaged.get(&id).and_then(|(number, row)| {
            let (entry, file) = self.salvaged.get(number)?;
            let (tier, namespace) = (entry.tier, record.namespace);
            Some(Placement { tier, namespace, accesses: file.rows.get(row)?.accesses })
        });
        let unknown = Placement { tier: TierKind::Warm, namespace: record.namespace, accesses: 1 };
        let placement = self.placements.get(&id).copied().or(was_in).unwrap_or(unknown);
        Some(Recovered { record, vector, placement })
    }

    fn read_row(&self, (number, row): (u64, u32)) -> Option<(Record, Option<Vec<u64>>)> {
        if let Some((_, segment)) = self.segments.get(&number) {
            let record = Record::decode(segment.record(row, &mut Block::default()).ok()?).ok()?;
            return Some((record, segment.vector(row).ok().map(<[u64]>::to_vec)));
        }
        let memory = self.salvaged.get(&number)?.1.rows.get(&row)?;
        Some((Record::decode(&memory.record).ok()?, memory.vector.clone()))
    }

    /// Whether a memory is mentioned besides by a record.
    pub(super) fn is_alive(&self, id: MemoryId) -> bool {
        self.placements.contains_key(&id) || self.in_damaged.contains_key(&id) || self.lost.contains(&id)
    }
}

/// A file, its label, and its fingerprint.
type Labeled = (PathBuf, Label, (u64, u64));

/// What the files of segments say of themselves, by the numbers of the segments; and those that say nothing, or have
/// the name of another one.
fn labels(path: &Path) -> Result<(BTreeMap<u64, Labeled>, Vec<PathBuf>), Error> {
    let folder = path.join(SEGMENTS);
    let files = unlisted(&folder, &HashSet::new()).map_err(|error| Error::io(&folder, error))?;
    let (mut found, mut unknown) = (BTreeMap::new(), Vec::new());
    for file in files.into_iter().filter(|file| is_finished(file)) {
        match file::describe(&file).map_err(|error| Error::io(&file, error))? {
            Some((label, print)) if file == SegmentFiles::path_in(&folder, label.number) => {
                found.insert(label.number, (file, label, print));
            }
            _ => unknown.push(file),
        }
    }
    Ok((found, unknown))
}
