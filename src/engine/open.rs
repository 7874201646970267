//! Opening an engine: finds the store, restores the tiers from the log.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::budget::Budget;
use super::location::{Location, SEGMENTS, check_threads, lock_or_make, settings};
use super::upkeep::Background;
use super::writer::{EMBEDDING, NEXT_ID, NEXT_NAMESPACE, Writer};
use super::{Engine, Shared, Spaces};
use crate::config::Config;
#[cfg(feature = "postgres")]
use crate::config::WarmBackend;
use crate::encoder::{Encoder, Projection};
use crate::error::Error;
use crate::hdv::Dimension;
use crate::key::{MemoryId, NamespaceId, TierKind};
use crate::log::{
    Allowance, Batch, DiskLog, Durability, LOG_FOLDER, Log, Placement, Record, SegmentEntry, VolatileLog,
};
use crate::memory::Namespace;
use crate::process;
use crate::segment::{PreparedMemory, SKETCH_BITS};
use crate::sync::{Mutex, RwLock};
use crate::telemetry::{self, Tally};
use crate::tier::files::{Opened, OpenedFiles, SegmentFiles};
use crate::tier::local::tiers;
#[cfg(feature = "postgres")]
use crate::tier::postgres::{Database, PostgresTier};
use crate::tier::{Effort, Facts, Tier};

/// Memories that are restored at a time: enough to keep all cores busy, and few enough that their
/// vectors take little room on the way (1 MB). That room is scattered among data that stays, and
/// four times as many leave a fifth more RAM in use.
pub(super) const RESTORED_AT_ONCE: usize = 512;

/// Restored batches after which their segments are merged. The inputs of a merge leave scattered
/// room too, which the next batches reuse. If upkeep did the merges, 100,000 memories in WARM would
/// keep half as much again as they need, even with an allocator that returns large blocks. The last
/// batches are left to upkeep: they are few, and the first recall need not wait for them.
pub(super) const MERGED_AFTER: usize = 32;

/// A memory to be restored: its id, where it was, its record.
type Found = (MemoryId, Placement, Arc<[u8]>);

impl Engine {
    /// Opens the store in the folder `path`, or makes one if there is none. A relative
    /// path is made absolute here: a later change of the working folder has no effect.
    /// With the feature `object-store` it may also be the URL of a `Bucket`, such as
    /// `s3://bucket/folder`. On Unix, other users cannot read the folders and files that are made.
    ///
    /// Every acknowledged memory is there again, however the last engine ended. All files are
    /// checked. Damaged files that opening could repair are [listed](Engine::repaired_files). Other
    /// damage is refused with [`Error::Corrupt`], which names the file; use [`Engine::repair`]
    /// then.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open already, or being repaired; [`Error::NotAStore`] if the
    /// folder holds something else; [`Error::Incompatible`] if it was made with another
    /// dimension or a newer version; [`Error::Corrupt`] if the log cannot be
    /// read; [`Error::InvalidConfig`] for a setting that cannot be; [`Error::Io`] or
    /// [`Error::NoSpace`].
    pub fn open(path: impl AsRef<Path>, config: Config) -> Result<Self, Error> {
        let path = path.as_ref();
        config.check()?;
        if let Some(url) = path.to_str().filter(|path| path.contains("://")) {
            return Self::open_url(url, config);
        }
        let lock = lock_or_make(path)?;
        let log = Arc::new(DiskLog::open_locked(lock.clone(), LOG_FOLDER)?);
        let mut engine = Self::start(Location::locked(lock), config, log.clone())?;
        engine.repaired_files.extend_from_slice(log.repaired());
        engine.repaired_files.iter().for_each(|path| telemetry::mended(&path.display()));
        Ok(engine)
    }

    #[cfg(not(feature = "object-store"))]
    fn open_url(url: &str, _config: Config) -> Result<Self, Error> {
        let expected = "the path of a folder; a URL takes the feature `object-store`";
        Err(Error::InvalidConfig { name: "the store's place", expected, received: url.into() })
    }

    /// Returns the damaged files that opening has repaired: e.g. a journal whose last write was torn. If there was
    /// more behind the tear, the next file is `journal.damaged-1`, into which it was set aside. The engine does not
    /// read that file again; it may contain texts of forgotten memories.
    pub fn repaired_files(&self) -> &[PathBuf] {
        &self.repaired_files
    }

    /// Opens an engine whose memories end with it, also if the process is killed. Its WARM and COLD files are in the
    /// system's temporary folder, without names. All tiers are in this process, whatever the settings say.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for an invalid setting, [`Error::Io`] if no thread can be started.
    pub fn in_memory(config: Config) -> Result<Self, Error> {
        config.check()?;
        #[cfg(feature = "postgres")]
        let config = Config { warm: WarmBackend::Local, ..config };
        Self::start(Location::temporary(), config, Arc::new(VolatileLog::default()))
    }

    /// Builds an engine from the caller's parts, e.g. with another kind of log or tier.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for an invalid setting, [`Error::Incompatible`] if the log was made
    /// with other settings, or the errors of the parts.
    #[doc(hidden)]
    pub fn from_parts(config: Config, parts: Parts) -> Result<Self, Error> {
        config.check()?;
        let (location, mut batch) = (Location::folder(PathBuf::new()), Batch::default());
        check_threads(&location.name)?;
        check_settings(&location.name, &config, &*parts.log, &mut batch)?;
        Self::assemble(config, parts, location, batch)
    }

    /// An engine over any log, with its files in `folder`.
    #[cfg(test)]
    pub(super) fn over(log: Arc<dyn Log>, folder: &Path, config: Config) -> Result<Self, Error> {
        Self::start(Location::folder(folder.into()), config, log)
    }

    pub(super) fn start(location: Location, config: Config, log: Arc<dyn Log>) -> Result<Self, Error> {
        check_threads(&location.name)?;
        let mut batch = Batch::default();
        let budget = Budget::new(&config);
        let encoder = Arc::new(Encoder::new(config.dimension, budget.token_cache()));
        // Checked before anything is written: a refused engine leaves the folder as it was.
        check_settings(&location.name, &config, &*log, &mut batch)?;
        let OpenedFiles { files, mut segments } = if location.is_temporary {
            SegmentFiles::unnamed(&log)
        } else {
            SegmentFiles::open(&location.folder.join(SEGMENTS), location.depot(), &log)?
        };
        let elsewhere = open_warm_elsewhere(&location, &config, &encoder, &log)?;
        if elsewhere.is_some() {
            // Memories that are in local files of WARM move there.
            for opened in segments.extract_if(.., |opened| opened.entry.tier == TierKind::Warm) {
                take_out(&opened, &*log)?;
            }
        }
        // What HOT holds of an engine in memory needs no files.
        let hot_files = !location.is_temporary;
        let [hot, warm, cold] =
            tiers(&files, segments, hot_files, &encoder, config.decay_per_day, budget.limits());
        let warm = elsewhere.unwrap_or_else(|| Box::new(warm));
        let parts = Parts { encoder, log, files: Some(files), tiers: [Box::new(hot), warm, Box::new(cold)] };
        Self::assemble(config, parts, location, batch)
    }

    /// `batch` holds the settings of a new store.
    fn assemble(config: Config, parts: Parts, location: Location, batch: Batch) -> Result<Self, Error> {
        let Parts { encoder, log, files, tiers } = parts;
        let projection = OnceLock::new();
        if let Some(length) = log.setting(EMBEDDING)? {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let _ = projection.set(Arc::new(Projection::new(length, config.dimension)?));
        }
        #[cfg(feature = "remote")]
        let tier_counters = tiers.each_ref().map(|tier| tier.counter());
        let reserved = log.setting(NEXT_ID)?.unwrap_or_default();
        let writer = Writer {
            tiers,
            next_id: reserved,
            reserved,
            next_namespace: 0,
            behind: None,
            retired: Vec::new(),
        };
        let background = config.background && location.writable;
        let sketcher = sketcher(config.dimension)?;
        let shared = Arc::new(Shared {
            process: process::id(),
            budget: Budget::new(&config),
            config,
            encoder,
            sketcher,
            log,
            files,
            location,
            spaces: RwLock::new(Spaces::default()),
            queue: Mutex::default(),
            writer: Mutex::new(writer),
            projection,
            upkeep: Mutex::default(),
            upkeep_error: Mutex::default(),
            tally: Tally::default(),
            #[cfg(feature = "remote")]
            tier_counters,
            touched: Mutex::default(),
        });
        shared.restore(batch)?;
        telemetry::opened(shared.fill());
        let start =
            || Background::start(shared.clone()).map_err(|error| Error::io(&shared.location.name, error));
        let background = if background { Some(start()?) } else { None };
        Ok(Self { background, shared, closed: false, repaired_files: Vec::new() })
    }
}

/// An encoder of sketches. Token vectors are streams of words, so the vector of a text in fewer
/// bits is the beginning of its whole vector.
fn sketcher(dimension: Dimension) -> Result<Encoder, Error> {
    Ok(Encoder::new(Dimension::new(dimension.bits().min(SKETCH_BITS))?, 0))
}

/// Opens WARM on another machine, if the settings place it there. A read-only engine has its own.
fn open_warm_elsewhere(
    location: &Location,
    config: &Config,
    encoder: &Arc<Encoder>,
    log: &Arc<dyn Log>,
) -> Result<Option<Box<dyn Tier>>, Error> {
    #[cfg(feature = "postgres")]
    if location.writable && config.warm == WarmBackend::Postgres {
        let (encoder, log, decay) = (encoder.clone(), log.clone(), config.decay_per_day);
        let warm = PostgresTier::open(Database::from_environment()?, encoder, log, config.remote, decay)?;
        return Ok(Some(Box::new(warm)));
    }
    let _ = (location, config, encoder, log);
    Ok(None)
}

/// The parts of an engine; see [`Engine::from_parts`].
pub struct Parts {
    /// The encoder, of the dimension in the settings.
    pub encoder: Arc<Encoder>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The segments' files, if the tiers have any.
    pub files: Option<Arc<SegmentFiles>>,
    /// HOT, WARM and COLD, with the memories that are in files.
    pub tiers: [Box<dyn Tier>; 3],
}

/// Compares the settings that the data depends on. For a new store, records them.
pub(super) fn check_settings(
    path: &Path,
    config: &Config,
    log: &dyn Log,
    batch: &mut Batch,
) -> Result<(), Error> {
    for (what, received) in settings(config) {
        match log.setting(what)? {
            None => batch.put_setting(what, received),
            Some(expected) if expected == received => {}
            Some(expected) => {
                return Err(Error::Incompatible { path: path.into(), what, expected, received });
            }
        }
    }
    Ok(())
}

/// Moves the memories of a file into the log, and takes the file off its list.
pub(super) fn take_out(opened: &Opened, log: &dyn Log) -> Result<(), Error> {
    let Opened { number, entry: SegmentEntry { tier, namespace, .. }, segment, live, .. } = opened;
    let mut batch = Batch::default();
    for row in live.iter() {
        let memory = segment.memory(row, segment.accesses(row))?;
        let noted = log.placement(memory.row.id)?;
        let namespace = segment.owner(row).unwrap_or(*namespace);
        let placement = Placement { tier: *tier, namespace, accesses: memory.row.accesses };
        batch.put_memory(log, placement, &memory)?;
        // The log may have the record and no placement, and one that it has knows of later accesses.
        batch.put_placement(memory.row.id, noted.unwrap_or(placement));
    }
    batch.remove_segment(*number, opened.marked());
    log.commit(&batch, Durability::Synced)
}

/// Merges restored segments in RAM. Nothing is committed yet, and the engine may be a reader, so no
/// file is written or deleted. Skips a tier on another machine.
fn merge_restored(writer: &mut Writer, batch: &mut Batch) -> Result<(), Error> {
    for tier in writer.tiers.iter_mut().filter(|tier| tier.preferred_batch().is_none()) {
        while let Some(work) = tier.upkeep(Effort::Open) {
            if tier.apply(work()?, batch)?.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

impl Shared {
    /// Fills HOT and WARM with the memories of the log that are in no file.
    fn restore(&self, mut batch: Batch) -> Result<(), Error> {
        let mut writer = self.lock_writer();
        let writer = &mut *writer;
        let namespaces = self.log.namespaces()?;
        let noted = self.log.setting(NEXT_NAMESPACE)?.and_then(|next| u32::try_from(next).ok());
        writer.next_namespace =
            namespaces.iter().map(|(id, _)| id.0 + 1).chain(noted).max().unwrap_or_default();
        let mut placements: Vec<(MemoryId, Placement)> = Vec::new();
        self.log.placements(&mut |id, placement| {
            let Placement { tier, namespace, accesses } = placement;
            if !writer.tiers[tier.index()].take_placement(namespace, id, accesses) {
                placements.push((id, placement));
            }
        })?;
        for kind in [TierKind::Hot, TierKind::Warm] {
            writer.tiers[kind.index()].retain(&|id| {
                let found = placements.binary_search_by_key(&id, |&(id, _)| id);
                found.is_ok_and(|at| placements.get(at).is_some_and(|(_, placement)| placement.tier == kind))
            });
        }
        self.drop_redundant(&placements)?;
        for (number, some) in (1..).zip(placements.chunks(RESTORED_AT_ONCE)) {
            let records: Result<Vec<Found>, Error> =
                some.iter().map(|&found| self.with_record(found)).collect();
            self.restore_some(writer, &records?, &mut batch)?;
            if number % MERGED_AFTER == 0 {
                merge_restored(writer, &mut batch)?;
            }
        }
        // The store is sound, so it may be changed.
        self.log.clean_up()?;
        self.location.clean_up()?;
        self.files.iter().try_for_each(|files| files.delete_strays())?;
        // It takes little, and a full disk must not keep a store from opening.
        batch.allowance = Allowance::All;
        self.log.commit(&batch, Durability::Buffered)?;
        for (id, name) in namespaces {
            self.add_space(writer, id, Namespace::new(name)?);
        }
        Ok(())
    }

    /// Removes records from the log whose memories are in files: the engine ended before it was done with that.
    fn drop_redundant(&self, loose: &[(MemoryId, Placement)]) -> Result<(), Error> {
        let mut batch = Batch { is_redundant: true, ..Batch::default() };
        let is_loose = |id: &MemoryId| loose.binary_search_by_key(id, |&(loose, _)| loose).is_ok();
        let recorded = self.log.recorded()?.into_iter();
        recorded.filter(|id| !is_loose(id)).for_each(|id| batch.remove_record(id));
        self.log.commit(&batch, Durability::Buffered)
    }

    fn with_record(&self, (id, placement): (MemoryId, Placement)) -> Result<Found, Error> {
        let lost = || Error::Corrupt { path: self.location.name.clone(), what: format!("memory {id}") };
        Ok((id, placement, self.log.record(id)?.ok_or_else(lost)?))
    }

    fn restore_some(&self, writer: &mut Writer, records: &[Found], batch: &mut Batch) -> Result<(), Error> {
        let kept: Vec<bool> = records
            .iter()
            .map(|(id, placement, _)| writer.tiers[placement.tier.index()].keeps(*id))
            .collect();
        let restore = |((id, placement, bytes), kept): (&Found, bool)| {
            let record = Record::decode(bytes)?;
            let accesses = placement.accesses;
            let facts = Facts { created: record.created, importance: record.importance, accesses };
            let prepared = || self.prepared(*id, bytes.clone(), accesses);
            Ok((*id, *placement, facts, (!kept).then(prepared).transpose()?))
        };
        type Restored = (MemoryId, Placement, Facts, Option<Arc<PreparedMemory>>);
        let restored: Result<Vec<Restored>, Error> = records.par_iter().zip(kept).map(restore).collect();
        let mut by_place: HashMap<(TierKind, NamespaceId), Vec<Arc<PreparedMemory>>> = HashMap::new();
        for (id, Placement { tier, namespace, .. }, facts, prepared) in restored? {
            match prepared {
                Some(prepared) => by_place.entry((tier, namespace)).or_default().push(prepared),
                None => writer.tiers[tier.index()].note_kept(namespace, id, facts),
            }
        }
        for ((tier, namespace), memories) in by_place {
            let tier = &mut writer.tiers[tier.index()];
            let work = tier.stage_restored(namespace, memories);
            tier.apply(work()?, batch)?;
        }
        Ok(())
    }
}
