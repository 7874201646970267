//! Repairing a store whose log or segments are damaged.
//!
//! A repair writes a new log of all that can be read beside the damaged one, and then exchanges the two by
//! renames. Until then it changes nothing in the store. From the first rename on, the new log is
//! complete.

mod evidence;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::evidence::{Evidence, Recovered};
use super::Engine;
use super::location::{
    REPAIRED, REPAIRING, finish_repair, has_segments, is_lock, is_repaired, remove_folder,
    remove_unfinished_repair, rename, set_segments_aside, sync,
};
use super::writer::NEXT_ID;
use crate::config::Config;
use crate::error::Error;
use crate::identity::shown;
use crate::key::{MemoryId, NamespaceId};
use crate::log::{
    Batch, DiskLog, Durability, LOCK, LOG_FOLDER, Log, NewLog, StoreLock, absolute, free_name, make_folder,
};
use crate::memory::Namespace;
use crate::telemetry::or_warn;

/// Prefix of the name of a damaged log; a number follows.
const DAMAGED: &str = "log.damaged";

/// Changes in one commit.
const CHANGES_AT_ONCE: usize = 4_096;

/// The result of [`Engine::repair`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Memories that the store has now.
    pub kept: usize,
    /// Memories that the store still mentions, but whose text is lost, in ascending order.
    pub lost: Vec<MemoryId>,
    /// Whether the whole log and all segments could be read, and no commit can be missing. If not, more memories
    /// may be lost than [`Repair::lost`] lists, and a forgotten memory may be back.
    ///
    /// It is also false if the log's identity is lost, or if the journal ends within a batch. A crash can leave such
    /// a journal without a loss of synced memories, but damage to the last commits looks the same.
    pub complete: bool,
    /// Memories that have lost the vector supplied with them. Their text still finds them.
    pub without_vector: Vec<MemoryId>,
    /// New names of namespaces whose own name was lost.
    pub renamed: Vec<Namespace>,
    /// Files that were damaged, missing, or from another store.
    pub damaged: Vec<PathBuf>,
    /// The folder of the damaged log, with damaged and unlisted files of segments. The engine does
    /// not read it again, and you may delete it. Until then it may contain texts of forgotten memories.
    pub set_aside: PathBuf,
}

impl Engine {
    /// Repairs the store in the folder `path` if it does not open because a file is damaged.
    /// Writes a new log of everything that can be read, and sets the damaged one aside as
    /// `log.damaged-1` in the store's folder.
    ///
    /// A memory whose text can be read is kept. If its place is lost, it is in WARM with one
    /// access. If the name of its namespace is lost, the new name is `recovered-` and a number. If the log
    /// is damaged, segments that it does not list any more are taken over, and with them
    /// memories that were forgotten. Settings in the log take precedence; for those that are lost, above all
    /// the dimension, `config` applies.
    ///
    /// A repair may be interrupted at any moment and started again, and does not harm a sound
    /// store.
    ///
    /// ```
    /// use mnemocore::{Config, Engine, Error};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path();
    /// # drop(Engine::open(path, Config::default())?);
    /// # std::fs::write(path.join("log/0000000000.journal"), "damaged").unwrap();
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
    /// else; [`Error::Incompatible`] if it was made with another dimension or another version;
    /// [`Error::InvalidConfig`] for an invalid setting or a URL; [`Error::Io`] or [`Error::NoSpace`].
    /// After an error, nothing in the store has changed, or the repair is done but for its last rename, which
    /// the next opening does.
    pub fn repair(path: impl AsRef<Path>, config: Config) -> Result<Repair, Error> {
        config.check()?;
        if let Some(url) = path.as_ref().to_str().filter(|path| path.contains("://")) {
            let expected = "the path of a folder; an engine that has a copy of a bucket's store writes lost objects again";
            return Err(Error::InvalidConfig { name: "the store's place", expected, received: url.into() });
        }
        let path = absolute(path.as_ref())?;
        let is_there = |path: &Path| DiskLog::is_at(&path.join(LOG_FOLDER)) || has_segments(path);
        if !is_lock(&path.join(LOCK)) && !is_there(&path) && !is_repaired(&path) {
            return Err(no_store(&path));
        }
        let lock = Arc::new(StoreLock::acquire(&path)?);
        finish_repair(&lock)?;
        let path = lock.anchor();
        let log = path.join(LOG_FOLDER);
        if !is_there(path) {
            return Err(no_store(path));
        }
        DiskLog::check_format(&log)?;
        let is_missing = !log.exists();
        make_folder(&log).map_err(|error| Error::io(&log, error))?;
        let repaired = Self::repair_locked(&lock, &config);
        if repaired.is_err() && is_missing {
            or_warn("remove an empty folder", std::fs::remove_dir(&log));
        }
        repaired
    }

    fn repair_locked(lock: &Arc<StoreLock>, config: &Config) -> Result<Repair, Error> {
        let path = lock.anchor();
        // If the store's lock file was deleted, an engine may still hold this lock.
        let _log_lock = DiskLog::lock(&path.join(LOG_FOLDER))?;
        let found = Evidence::collect(path, config)?;
        let set_aside = free_name(path, DAMAGED);
        let segments = found.damaged_segments.iter().chain(&found.strange).map(|path| shown(path));
        let damaged: BTreeSet<PathBuf> = found.log.damaged.iter().cloned().chain(segments).collect();
        let mut repair = Repair {
            kept: 0,
            lost: Vec::new(),
            complete: found.is_complete(),
            without_vector: Vec::new(),
            renamed: Vec::new(),
            damaged: damaged.into_iter().collect(),
            set_aside: lock.folder().join(&set_aside),
        };
        let repairing = path.join(REPAIRING);
        if let Err(error) = write(lock, config, &found, &mut repair).and_then(|()| lock.check()) {
            // On a full disk the unfinished log would only take room.
            if lock.check().is_ok() {
                or_warn("remove an unfinished repair", remove_folder(&repairing));
            }
            return Err(error);
        }
        lock.keep();
        exchange(path, &found, &set_aside)?;
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

/// Puts the new log in the place of the damaged one, which is named `set_aside` then.
fn exchange(path: &Path, found: &Evidence, set_aside: &str) -> Result<(), Error> {
    let (log, repaired) = (path.join(LOG_FOLDER), path.join(REPAIRED));
    rename(&path.join(REPAIRING), &repaired)?;
    sync(path)?;
    set_segments_aside(path, &found.segments.keys().copied().collect())?;
    rename(&log, &path.join(set_aside))?;
    rename(&repaired, &log)?;
    sync(path)
}

/// Writes the new log and closes it.
fn write(lock: &Arc<StoreLock>, config: &Config, found: &Evidence, repair: &mut Repair) -> Result<(), Error> {
    lock.check()?;
    remove_unfinished_repair(lock.anchor())?;
    let (first, generation) = (found.next_commit, found.log.next_generation);
    let log = match found.log.number {
        Some(number) => DiskLog::open_or_make(lock.clone(), REPAIRING, NewLog { number, generation, first })?,
        None => DiskLog::open_locked(lock.clone(), REPAIRING)?,
    };
    let mut batch = Batch::default();
    for (name, value) in &found.settings {
        if let Ok(value) = value.as_slice().try_into() {
            batch.put_setting(name, u64::from_le_bytes(value));
        }
    }
    batch.put_setting(NEXT_ID, found.next_id);
    for (&number, (entry, _)) in &found.segments {
        batch.put_segment(number, *entry);
    }
    let dead = found.dead.iter().filter(|(number, _)| found.segments.contains_key(number));
    dead.for_each(|&(number, row)| batch.put_dead(number, row));
    let mut used = write_memories(&log, config, found, repair, &mut batch)?;
    for (id, (number, row)) in &found.in_files {
        let segment = found.segments.get(number);
        used.extend(segment.map(|(entry, segment)| segment.owner(*row).unwrap_or(entry.namespace)));
        found.placements.get(id).into_iter().for_each(|placement| batch.put_placement(*id, *placement));
    }
    repair.kept += found.in_files.len();
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

/// Writes all memories that are in no file. Returns their namespaces.
fn write_memories(
    log: &DiskLog,
    config: &Config,
    found: &Evidence,
    repair: &mut Repair,
    batch: &mut Batch,
) -> Result<BTreeSet<NamespaceId>, Error> {
    let mut used = BTreeSet::new();
    for id in found.loose() {
        let Some(Recovered { mut record, vector, placement }) = found.recover(id) else {
            if found.is_alive(id) {
                repair.lost.push(id);
            }
            continue;
        };
        let vector = vector.filter(|vector| record.supplied && vector.len() == config.dimension.words());
        if record.supplied && vector.is_none() {
            record.supplied = false;
            repair.without_vector.push(id);
        }
        batch.put_record(id, record.encode().into(), vector.as_deref());
        batch.put_placement(id, placement);
        used.insert(record.namespace);
        repair.kept += 1;
        if batch.changes.len() >= CHANGES_AT_ONCE {
            log.commit(&std::mem::take(batch), Durability::Buffered)?;
        }
    }
    Ok(used)
}

/// Returns a new name for a namespace whose own name is lost.
fn fresh_name(id: NamespaceId, names: &BTreeMap<NamespaceId, String>) -> String {
    let mut name = format!("recovered-{}", id.0);
    while names.values().any(|taken| *taken == name) {
        name.push('-');
    }
    name
}
