//! Repairing a store whose log is damaged.
//!
//! A repair writes the readable part of the log to a new one beside it, and then exchanges the two
//! by renames. Until then it changes nothing in the store. From the first rename on, the new log is
//! complete.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Engine;
use super::location::{REPAIRED, SEGMENTS, finish_repair, is_lock, is_repaired, settings};
use super::writer::NEXT_ID;
use crate::config::Config;
use crate::error::Error;
use crate::identity::shown;
use crate::key::{MemoryId, NamespaceId, TierKind};
use crate::log::{
    Batch, CatalogueKey, DiskLog, Durability, LOCK, LOG_FOLDER, Log, Placement, Record, Salvage,
    SegmentEntry, StoreLock, absolute, sync_folder, words,
};
use crate::memory::Namespace;
use crate::segment::{Block, Live, Segment};
use crate::tier::files::{SegmentFiles, unlisted};

/// Prefix of the name of a damaged log; a number follows.
const DAMAGED: &str = "log.damaged";

/// Ids that may have been given without a trace: all those of a lost journal. A journal has at most
/// 64 MB, and a memory takes more than 64 bytes in it.
const LOST_IDS: u64 = 1 << 20;

/// Changes in one commit.
const CHANGES_AT_ONCE: usize = 4_096;

/// The result of [`Engine::repair`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Memories that the store has now.
    pub kept: usize,
    /// Memories that the store still mentions, but whose text is lost, in ascending order.
    pub lost: Vec<MemoryId>,
    /// Whether the whole log could be read. If not, more memories may be lost than
    /// [`Repair::lost`] lists, and a forgotten memory may be back.
    pub complete: bool,
    /// Memories that have lost the vector supplied with them. Their text still finds them.
    pub without_vector: Vec<MemoryId>,
    /// New names of namespaces whose own name was lost.
    pub renamed: Vec<Namespace>,
    /// Files that were damaged, missing, or from another store.
    pub damaged: Vec<PathBuf>,
    /// The folder of the damaged log, with the segments' files that it does not list. The engine does
    /// not read it again, and you may delete it. Until then it may contain texts of forgotten memories.
    pub set_aside: PathBuf,
}

impl Engine {
    /// Repairs the store in the folder `path` if it does not open because its log is damaged.
    /// Writes a new log of everything that can be read, and sets the damaged one aside as
    /// `log.damaged-1` in the store's folder.
    ///
    /// A memory whose text can be read is kept. If its place is lost, it is in WARM with one
    /// access, unless a segment's file says where it is. If the name of its namespace is lost, the new
    /// name is `recovered-` and a number. If the log has lost memories that are in segments' files,
    /// they are taken from there, provided that the list of these files is whole. Other files are set
    /// aside with the log. Settings in the log
    /// take precedence; for those that are lost, above all the dimension, `config` applies.
    ///
    /// A repair may be interrupted at any moment and started again, and does not harm a sound
    /// store. It holds all texts of the store in memory.
    ///
    /// ```
    /// use mnemocore::{Config, Engine, Error};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path();
    /// # drop(Engine::open(path, Config::default())?);
    /// # std::fs::write(path.join("log/version"), "damaged").unwrap();
    /// let engine = match Engine::open(path, Config::default()) {
    ///     Err(Error::Corrupt { .. }) => {
    ///         let repair = Engine::repair(path, Config::default())?;
    ///         println!("{} memories kept, {} lost", repair.kept, repair.lost.len());
    ///         Engine::open(path, Config::default())?
    ///     }
    ///     opened => opened?,
    /// };
    /// # drop(engine);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`] if the store is open; [`Error::NotAStore`] if the folder holds something
    /// else; [`Error::Incompatible`] if it was made with another dimension or a newer version;
    /// [`Error::InvalidConfig`] for an invalid setting; [`Error::Io`] or [`Error::NoSpace`]. After
    /// an error, the store is unchanged.
    pub fn repair(path: impl AsRef<Path>, config: Config) -> Result<Repair, Error> {
        config.check()?;
        let path = absolute(path.as_ref())?;
        if !is_lock(&path.join(LOCK)) && !DiskLog::is_at(&path.join(LOG_FOLDER)) && !is_repaired(&path) {
            return Err(no_store(&path));
        }
        let lock = Arc::new(StoreLock::acquire(&path)?);
        finish_repair(&lock)?;
        let path = lock.anchor();
        let log = path.join(LOG_FOLDER);
        if !DiskLog::is_at(&log) {
            return Err(no_store(path));
        }
        // If the store's lock file was deleted, an engine may still hold this lock.
        let _log_lock = DiskLog::lock(&log)?;
        let salvage = Salvage::read(&log)?;
        let found = Found::sort(path, &config, &salvage)?;
        let set_aside = free_name(path);
        let mut repair = Repair {
            kept: 0,
            lost: Vec::new(),
            complete: salvage.records.whole && salvage.catalogue.whole,
            without_vector: Vec::new(),
            renamed: Vec::new(),
            damaged: salvage.damaged.clone(),
            set_aside: lock.folder().join(&set_aside),
        };
        let repaired = path.join(REPAIRED);
        if let Err(error) = write(&lock, &config, &found, &salvage, &mut repair).and_then(|()| lock.check()) {
            // On a full disk the unfinished log would only take room.
            let _ = lock.check().map(|()| std::fs::remove_dir_all(&repaired));
            return Err(error);
        }
        let renamed = set_unlisted_aside(path, &found)
            .and_then(|()| sync_folder(path))
            .and_then(|()| std::fs::rename(&log, path.join(&set_aside)))
            .and_then(|()| std::fs::rename(&repaired, &log))
            .and_then(|()| sync_folder(path));
        renamed.map_err(|error| Error::io(path, error))?;
        Ok(repair)
    }
}

fn no_store(path: &Path) -> Error {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return Error::io(path, error),
    };
    match entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).min() {
        Some(found) => Error::NotAStore { path: shown(path), found },
        None => Error::io(path, io::Error::new(io::ErrorKind::NotFound, "there is no store to repair")),
    }
}

/// Moves the files of segments that the new log does not list into the damaged log's folder: the next
/// opening would delete them, and they may hold the last copy of a text.
fn set_unlisted_aside(path: &Path, found: &Found) -> io::Result<()> {
    let (segments, aside) = (path.join(SEGMENTS), path.join(LOG_FOLDER).join(SEGMENTS));
    let files = match unlisted(&segments, &found.segments.keys().copied().collect()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files?,
    };
    for file in files {
        std::fs::create_dir_all(&aside)?;
        std::fs::rename(&file, aside.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Returns the first unused name for a damaged log in `folder`.
fn free_name(folder: &Path) -> String {
    let mut number = 1;
    loop {
        let name = format!("{DAMAGED}-{number}");
        if !folder.join(&name).exists() {
            return name;
        }
        number += 1;
    }
}

/// The salvaged data, by subject.
#[derive(Default)]
struct Found {
    settings: BTreeMap<String, Vec<u8>>,
    names: BTreeMap<NamespaceId, String>,
    placements: HashMap<MemoryId, Placement>,
    segments: BTreeMap<u64, (SegmentEntry, Segment)>,
    dead: BTreeSet<(u64, u32)>,
    /// Which rows of segments count, as noted for each as a whole.
    live: Vec<(u64, Vec<u64>)>,
    /// The segment and row of each memory in a file.
    in_files: HashMap<MemoryId, (u64, u32)>,
    /// Dead rows of memories that are somewhere else now: their text is the same.
    copies: HashMap<MemoryId, (u64, u32)>,
    /// Whether the catalogue and all files are complete. If so, a memory that is in neither was
    /// forgotten.
    all_known: bool,
    next_id: u64,
}

impl Found {
    fn sort(path: &Path, config: &Config, salvage: &Salvage) -> Result<Self, Error> {
        let mut found = Self { all_known: salvage.catalogue.whole, ..Self::default() };
        let ids = salvage.records.ids().chain(salvage.vectors.ids());
        let mut greatest = ids.max();
        for (key, value) in &salvage.catalogue.values {
            let Some(key) = CatalogueKey::decode(key) else { continue };
            if let CatalogueKey::Placement(id) = key {
                greatest = greatest.max(Some(id));
            }
            if let Some(value) = value {
                found.take(path, key, value);
            }
        }
        let Self { segments, dead, live, in_files, copies, placements, .. } = &mut found;
        for (number, words) in live {
            let rows = segments.get(number).map_or(0, |(_, segment)| segment.len());
            dead.extend(Live::from_words(words, rows).unset().map(|row| (*number, row)));
        }
        // A memory that has left a file has a dead row there. If that mark is lost, or if the memory
        // is in two files, the mark is added now: the newest file says where it is.
        for (&number, (entry, segment)) in segments.iter().rev() {
            for (row, id) in (0..segment.len() as u32).filter_map(|row| Some((row, segment.id(row)?))) {
                greatest = greatest.max(Some(id));
                let placed = placements.get(&id);
                let elsewhere = placed.is_some_and(|at| at.tier != entry.tier) || in_files.contains_key(&id);
                if elsewhere {
                    dead.insert((number, row));
                }
                if !dead.contains(&(number, row)) {
                    in_files.insert(id, (number, row));
                } else if placed.is_some() {
                    copies.insert(id, (number, row));
                }
            }
        }
        let noted = found.settings.remove(NEXT_ID).and_then(|value| value.try_into().ok());
        let seen = greatest.map_or(0, |id| id.0 + 1).max(noted.map_or(0, u64::from_le_bytes));
        let whole = salvage.records.whole && salvage.catalogue.whole;
        found.next_id = if whole { seen } else { seen.saturating_add(LOST_IDS) };
        found.check_settings(path, config)?;
        Ok(found)
    }

    fn take(&mut self, path: &Path, key: CatalogueKey<'_>, value: &[u8]) {
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
                let entry = SegmentEntry::decode(value).ok();
                let read = |entry| SegmentFiles::read(&path.join(SEGMENTS), number, entry);
                let file = entry.and_then(|entry| Some((entry, read(entry).ok()?)));
                self.all_known &= file.is_some();
                self.segments.extend(file.map(|file| (number, file)));
            }
            CatalogueKey::Dead(segment, row) => drop(self.dead.insert((segment, row))),
            CatalogueKey::Live(segment) => self.live.push((segment, words(value))),
        }
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

    /// Returns the record of a memory, from the log or from a segment's file.
    fn record(&self, id: MemoryId, salvage: &Salvage) -> Option<Vec<u8>> {
        match salvage.records.of(id) {
            Some(record) => record.filter(|record| Record::decode(record).is_ok()).map(<[u8]>::to_vec),
            // A file may have the record. But if parts of the catalogue are lost, the mark that it
            // was forgotten may be lost too.
            None if salvage.catalogue.whole => {
                let (segment, row) = self.in_file(id)?;
                let mut block = Block::default();
                let record = segment.record(row, &mut block).ok()?;
                Record::decode(record).is_ok().then(|| record.to_vec())
            }
            None => None,
        }
    }

    fn in_file(&self, id: MemoryId) -> Option<(&Segment, u32)> {
        let (number, row) = self.in_files.get(&id).or_else(|| self.copies.get(&id))?;
        self.segments.get(number).map(|(_, segment)| (segment, *row))
    }

    /// The vector that was supplied with a memory.
    fn vector(&self, id: MemoryId, salvage: &Salvage, words: usize) -> Option<Vec<u64>> {
        let logged = salvage.vectors.of(id).flatten().map(|bytes| {
            let words = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
            words.map(u64::from_le_bytes).collect::<Vec<u64>>()
        });
        let vector = logged.or_else(|| {
            let (segment, row) = self.in_file(id)?;
            segment.vector(row).ok().map(<[u64]>::to_vec)
        });
        vector.filter(|vector| vector.len() == words)
    }
}

/// Writes the new log and closes it.
fn write(
    lock: &Arc<StoreLock>,
    config: &Config,
    found: &Found,
    salvage: &Salvage,
    repair: &mut Repair,
) -> Result<(), Error> {
    let path = &lock.anchor().join(REPAIRED);
    lock.check()?;
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(path, error)),
        _ => {}
    }
    let log = DiskLog::open_locked(lock.clone(), REPAIRED, config.log_cache_bytes)?;
    let mut batch = Batch::default();
    for (name, value) in &found.settings {
        if let Ok(value) = value.as_slice().try_into() {
            batch.put_setting(name, u64::from_le_bytes(value));
        }
    }
    batch.put_setting(NEXT_ID, found.next_id);
    let (kept, used) = write_memories(&log, config, found, salvage, repair, &mut batch)?;
    for (&number, (entry, _)) in &found.segments {
        batch.put_segment(number, *entry);
    }
    let dead = found.dead.iter().filter(|(number, _)| found.segments.contains_key(number)).copied();
    let gone = found.in_files.iter().filter(|(id, _)| !kept.contains(id)).map(|(_, &place)| place);
    dead.chain(gone).for_each(|(number, row)| batch.put_dead(number, row));
    let mut names = found.names.clone();
    for id in used {
        if !names.contains_key(&id) {
            let name = fresh_name(id, &names);
            repair.renamed.push(Namespace::new(name.as_str())?);
            names.insert(id, name);
        }
    }
    names.iter().for_each(|(&id, name)| batch.put_namespace(id, name));
    log.commit(&batch, Durability::Buffered)?;
    log.close()
}

/// Writes all memories. Returns their ids, and their namespaces.
fn write_memories(
    log: &DiskLog,
    config: &Config,
    found: &Found,
    salvage: &Salvage,
    repair: &mut Repair,
    batch: &mut Batch,
) -> Result<(HashSet<MemoryId>, BTreeSet<NamespaceId>), Error> {
    let known = || found.placements.keys().chain(found.in_files.keys()).copied();
    let ids: BTreeSet<MemoryId> = salvage.records.ids().chain(known()).collect();
    let (mut kept, mut used) = (HashSet::new(), BTreeSet::new());
    for id in ids {
        let alive = found.placements.contains_key(&id) || found.in_files.contains_key(&id);
        let Some(bytes) = found.record(id, salvage) else {
            // A removed record does not belong to a live memory.
            if alive && salvage.records.of(id).is_none_or(|record| record.is_some()) {
                repair.lost.push(id);
            }
            continue;
        };
        if !alive && found.all_known && !salvage.records.whole {
            // The memory was forgotten, and the damaged part said so.
            continue;
        }
        let mut record = Record::decode(&bytes)?;
        let vector = record.supplied.then(|| found.vector(id, salvage, config.dimension.words())).flatten();
        if record.supplied && vector.is_none() {
            record.supplied = false;
            repair.without_vector.push(id);
        }
        batch.put_record(id, &record.encode(), vector.as_deref());
        used.insert(record.namespace);
        match found.placements.get(&id) {
            // Nothing comes into COLD without a file.
            Some(placement) if placement.tier != TierKind::Cold || found.in_files.contains_key(&id) => {
                batch.put_placement(id, *placement);
            }
            None if found.in_files.contains_key(&id) => {}
            lost => {
                let accesses = lost.map_or(1, |placement| placement.accesses);
                let namespace = record.namespace;
                batch.put_placement(id, Placement { tier: TierKind::Warm, namespace, accesses });
            }
        }
        kept.insert(id);
        if batch.changes.len() >= CHANGES_AT_ONCE {
            log.commit(&std::mem::take(batch), Durability::Buffered)?;
        }
    }
    repair.kept = kept.len();
    Ok((kept, used))
}

/// Returns a new name for a namespace whose own name is lost.
fn fresh_name(id: NamespaceId, names: &BTreeMap<NamespaceId, String>) -> String {
    let mut name = format!("recovered-{}", id.0);
    while names.values().any(|taken| *taken == name) {
        name.push('-');
    }
    name
}
