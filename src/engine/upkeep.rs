//! Maintenance in the background: moves, merges, compaction.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::movement::Left;
use super::writer::{Behind, NEXT_NAMESPACE, Writer};
use super::{Engine, Shared, Space, lock};
use crate::error::Error;
use crate::key::{TierKind, Timestamp};
use crate::log::{Allowance, Batch, Durability};
use crate::sync::{Condvar, Mutex, PoisonError, try_lock, write};
use crate::telemetry::{self, Call, Outcome, Verb};
use crate::tier::{Done, Effort};

/// The interval of background passes. If the process dies, a store on this machine loses the access
/// counts since the last pass. A store in a bucket may lose those since its last commit.
const INTERVAL: Duration = Duration::from_millis(200);

/// Failed attempts after which merging is given up: stores interfered, or segments are damaged. A later pass tries
/// again.
const MERGE_ATTEMPTS: usize = 8;

/// The result of a consolidation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consolidation {
    /// Moves to a quicker tier.
    pub promoted: usize,
    /// Moves to a slower tier. A memory that moves by two tiers counts twice.
    pub demoted: usize,
    /// Merges of segments, and steps that tidy up after them.
    pub merged: usize,
}

impl Engine {
    /// Moves every memory to the tier where it belongs now, and merges segments until no merge
    /// is due. The background thread does the same work in small steps.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Io`], [`Error::Log`], [`Error::Moved`] or
    /// [`Error::Corrupt`]. A memory that was not moved stays in its tier.
    pub fn consolidate(&self) -> Result<Consolidation, Error> {
        self.consolidate_at(Timestamp::now())
    }

    /// As [`Engine::consolidate`], with `now` as the current time, e.g. a year ahead.
    ///
    /// # Errors
    /// As [`Engine::consolidate`].
    pub fn consolidate_at(&self, now: Timestamp) -> Result<Consolidation, Error> {
        let call = self.begin(Verb::Consolidate, None)?;
        self.end(call, self.shared.upkeep(now, true), |_| Outcome::default())
    }

    /// Removes the texts of forgotten memories and the names of empty namespaces from the disk.
    ///
    /// Rewrites the log, and the segments that contain forgotten memories. Stores wait until it is
    /// done. Of a damaged segment, the texts of forgotten memories stay.
    ///
    /// On a full disk, memories do not move between tiers, and what needs the least room is rewritten first. The
    /// store keeps room for that: as much as its log takes when it is rewritten, at least 1/64 of the store and
    /// at most 16 MiB. Together with what the rewritten log frees, it has to be enough for the remaining memories of
    /// the smallest segment with forgotten ones.
    ///
    /// # Errors
    /// As [`Engine::consolidate`]. After [`Error::NoSpace`], some texts of forgotten memories are gone, and some
    /// may still be there.
    pub fn compact(&self) -> Result<(), Error> {
        let call = self.begin(Verb::Compact, None)?;
        self.end(call, self.shared.compact(), |()| Outcome::default())
    }
}

impl Engine {
    /// Closes the store and returns errors, which dropping the engine ignores. After an error, all
    /// acknowledged memories are in the log.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Io`] or [`Error::Log`] if access counts or the log
    /// could not be written; [`Error::Moved`] if the store is not there any more;
    /// [`Error::Forked`] in a forked process, which closes nothing.
    pub fn close(mut self) -> Result<(), Error> {
        let shared = self.shared()?.clone();
        let call = Call::begin(&shared.tally, Verb::Close, None);
        call.end(shared.explain(self.shut()), |()| Outcome::default())
    }

    fn shut(&mut self) -> Result<(), Error> {
        self.closed = true;
        if let Err(error) = self.shared() {
            // The threads and files belong to the parent, so nothing is joined, closed or deleted.
            std::mem::forget((self.background.take(), self.shared.clone()));
            return Err(error);
        }
        drop(self.background.take());
        let promoted = if self.shared.location.writable {
            let mut left = Left::default();
            let promoted = self.shared.promote(Timestamp::now(), &mut left).and_then(|_| left.nothing(()));
            // What cannot be packed now is read from the log when the engine opens. Files that end
            // with the engine are not worth it.
            if !self.shared.location.is_temporary {
                telemetry::or_warn("pack the newest memories", self.shared.pack());
            }
            promoted
        } else {
            Ok(())
        };
        self.shared.log.close()?;
        promoted
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.closed {
            match self.shut() {
                // In a forked process, whoever listens may wait forever.
                Ok(()) | Err(Error::Forked { .. }) => {}
                // It loses nothing but access counts.
                Err(error) => telemetry::unreported("close the store", &error),
            }
        }
    }
}

impl Shared {
    /// One pass of upkeep. A `thorough` pass leaves nothing to do.
    pub(super) fn upkeep(&self, now: Timestamp, thorough: bool) -> Result<Consolidation, Error> {
        self.location.check_writable()?;
        let alone = lock(&self.upkeep);
        self.tally.upkeep_passes.add(1);
        let began = Instant::now();
        let done = self.explain(self.pass(now, thorough));
        drop(alone);
        self.upkeep_ended(&done, began);
        done
    }

    fn pass(&self, now: Timestamp, thorough: bool) -> Result<Consolidation, Error> {
        self.lock_writer().free_retired();
        // Checked first, because segments written to a moved store could not be committed.
        self.log.check()?;
        let mut left = Left::default();
        let (promoted, displaced) = self.promote(now, &mut left)?;
        let demoted = displaced + self.demote(now, thorough, &mut left)?;
        let (mut merged, effort) = (0, if thorough { Effort::All } else { Effort::Due });
        for tier in TierKind::ALL {
            let (mut attempts, most) = (0, self.merges(tier)?.saturating_add(merged));
            while attempts < MERGE_ATTEMPTS && merged < most {
                match self.merge(tier, effort) {
                    // The inputs of a merge are deleted before the next merge.
                    Ok(Some(true)) => (merged, attempts) = (merged + 1, 0),
                    Ok(Some(false)) => attempts += 1,
                    Ok(None) => break,
                    // The tier goes on with other segments.
                    Err(error @ Error::Corrupt { .. }) => {
                        attempts += 1;
                        left.note::<()>(Err(error))?;
                    }
                    Err(error) => {
                        left.note::<()>(Err(error))?;
                        break;
                    }
                }
            }
        }
        self.log.maintain()?;
        left.nothing(Consolidation { promoted, demoted, merged })
    }

    /// Packs and merges segments until upkeep is no longer behind.
    pub(super) fn catch_up(&self, behind: Behind) {
        let alone = match behind {
            Behind::Some => try_lock(&self.upkeep),
            Behind::Far => Some(lock(&self.upkeep)),
        };
        if alone.is_some() {
            self.relieve();
        }
    }

    /// As [`catch_up`](Self::catch_up), for who does upkeep already.
    pub(super) fn relieve(&self) {
        for tier in TierKind::ALL {
            let mut failed = 0;
            while failed < MERGE_ATTEMPTS && self.behind(&self.lock_writer()).is_some() {
                match self.explain(self.merge(tier, Effort::Due)) {
                    Ok(Some(true)) => {}
                    Ok(_) => break,
                    // The next pass tries again. If a segment is damaged, the tier goes on with others.
                    Err(error) => {
                        self.upkeep_failed(error.to_string());
                        if !matches!(error, Error::Corrupt { .. }) {
                            break;
                        }
                        failed += 1;
                    }
                }
            }
        }
    }

    fn compact(&self) -> Result<(), Error> {
        let consolidated = self.upkeep(Timestamp::now(), true).map(drop);
        let (consolidated, effort) = match consolidated {
            // Moves need more room than the removal of texts.
            Err(Error::NoSpace { .. }) => (Ok(()), Effort::Free),
            Ok(()) | Err(Error::Corrupt { .. }) => (consolidated, Effort::All),
            Err(_) => return consolidated,
        };
        let _alone = lock(&self.upkeep);
        let mut writer = self.lock_writer();
        if effort == Effort::Free {
            // There is room for that, and it frees more.
            self.log.compact()?;
        }
        // Those that stores have disturbed so far. Most are done, if there was room.
        let merged = self.merge_alone(&mut writer, effort);
        if !matches!(merged, Ok(()) | Err(Error::Corrupt { .. })) {
            return merged;
        }
        self.drop_empty_namespaces(&writer)?;
        self.log.compact()?;
        consolidated.and(merged)
    }

    /// Packs the memories of each tier that are in no file, unless they are few.
    fn pack(&self) -> Result<(), Error> {
        let _alone = lock(&self.upkeep);
        for tier in TierKind::ALL {
            while self.merge(tier, Effort::Close)? == Some(true) {}
        }
        Ok(())
    }

    /// Returns the merges of a tier that one pass may do: as many as there can be work for now. What others store
    /// and forget meanwhile is left to the next pass, which would never end otherwise.
    fn merges(&self, tier: TierKind) -> Result<usize, Error> {
        const SPARE: usize = 64;
        // One step removes 512 memories from the log.
        let steps = self.lock_writer().tiers[tier.index()].len() / 256;
        Ok(self.log.segments()?.len() + self.spaces().by_id.len() + steps + SPARE)
    }

    /// Removes empty namespaces. Their numbers are not reused: if a damaged log brings back one of
    /// their memories, it must not appear in another namespace.
    fn drop_empty_namespaces(&self, writer: &Writer) -> Result<(), Error> {
        let in_files = |id| self.files.as_ref().is_some_and(|files| files.have_rows_of(id));
        let spaces: Vec<Arc<Space>> = self.spaces().by_id.values().cloned().collect();
        let empty = spaces.into_iter().filter(|space| space.view.load().len() == 0 && !in_files(space.id));
        let empty: Vec<Arc<Space>> = empty.collect();
        if empty.is_empty() {
            return Ok(());
        }
        let mut batch = Batch { allowance: Allowance::All, ..Batch::default() };
        batch.put_setting(NEXT_NAMESPACE, writer.next_namespace.into());
        empty.iter().for_each(|space| batch.remove_namespace(space.id));
        self.log.commit(&batch, Durability::Buffered)?;
        let mut spaces = write(&self.spaces);
        for space in empty {
            spaces.by_id.remove(&space.id);
            spaces.by_name.remove(&space.name);
        }
        Ok(())
    }

    /// Does the next merge of a tier. Returns whether it was committed, or `None` if no merge is
    /// due. Unless all is kept that a compaction may need, there is none.
    fn merge(&self, tier: TierKind, effort: Effort) -> Result<Option<bool>, Error> {
        self.log.keep_room()?;
        let Some(work) = self.lock_writer().tiers[tier.index()].upkeep(effort) else { return Ok(None) };
        let done = work()?;
        let mut writer = self.lock_writer();
        let (has_changed, batch) = self.put_merged(&mut writer, tier, done)?;
        drop(writer);
        self.delete_obsolete(&batch)?;
        Ok(Some(has_changed))
    }

    /// Commits what a merge has made. Returns whether anything has changed, and what was committed.
    fn put_merged(&self, writer: &mut Writer, tier: TierKind, done: Done) -> Result<(bool, Batch), Error> {
        let mut batch = Batch { allowance: Allowance::All, ..Batch::default() };
        let changed = writer.tiers[tier.index()].apply(done, &mut batch)?;
        if let Err(error) = self.log.commit(&batch, Durability::Buffered) {
            writer.tiers[tier.index()].revert();
            return Err(error);
        }
        let has_changed = !changed.is_empty();
        self.tally.merged.add(has_changed.into());
        self.publish(writer, changed);
        Ok((has_changed, batch))
    }

    /// Does all merges while nobody can store. Each makes room, so those that lacked it are tried again.
    fn merge_alone(&self, writer: &mut Writer, effort: Effort) -> Result<(), Error> {
        let mut left = Left::default();
        loop {
            let (mut merged, mut full) = (0, Ok(()));
            for tier in TierKind::ALL {
                match self.merge_tier(writer, (tier, effort), &mut merged, &mut left) {
                    Err(error @ Error::NoSpace { .. }) => full = Err(error),
                    done => done?,
                }
            }
            if full.is_ok() || merged == 0 {
                return full.and(left.nothing(()));
            }
        }
    }

    /// Does the merges of a tier, and counts those that have changed something.
    fn merge_tier(
        &self,
        writer: &mut Writer,
        (tier, effort): (TierKind, Effort),
        merged: &mut usize,
        left: &mut Left,
    ) -> Result<(), Error> {
        let mut failed = 0;
        while failed < MERGE_ATTEMPTS
            && let Some(work) = writer.tiers[tier.index()].upkeep(effort)
        {
            match work().and_then(|done| self.put_merged(writer, tier, done)) {
                Ok((has_changed, batch)) => {
                    *merged += usize::from(has_changed);
                    failed += usize::from(!has_changed);
                    self.delete_obsolete(&batch)?;
                }
                // The tier goes on with other segments.
                Err(error @ Error::Corrupt { .. }) => {
                    failed += 1;
                    left.note::<()>(Err(error))?;
                }
                Err(Error::NoSpace { .. }) if self.log.make_room() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes files once a power loss cannot bring their entries back. A file that cannot be deleted now
    /// is deleted when the engine opens.
    fn delete_obsolete(&self, batch: &Batch) -> Result<(), Error> {
        if batch.obsolete.is_empty() {
            return Ok(());
        }
        self.log.sync()?;
        if self.log.check().is_ok() {
            for path in &batch.obsolete {
                let gone = std::fs::remove_file(path).map_err(|error| Error::io(path, error));
                telemetry::or_warn("delete the file of a segment", gone);
            }
        }
        Ok(())
    }
}

/// The background thread.
pub(super) struct Background {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts it.
    pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = stop.clone();
        let run = move || {
            let (flag, signal) = &*stopped;
            let mut stop = lock(flag);
            while !*stop {
                (stop, _) = signal.wait_timeout(stop, INTERVAL).unwrap_or_else(PoisonError::into_inner);
                if *stop {
                    break;
                }
                drop(stop);
                // It notes an error, and the next pass tries again.
                let pass = AssertUnwindSafe(|| shared.upkeep(Timestamp::now(), false));
                if let Err(panic) = catch_unwind(pass) {
                    shared.upkeep_failed("the thread of upkeep has panicked; open the store again".into());
                    resume_unwind(panic);
                }
                stop = lock(flag);
            }
        };
        let thread = std::thread::Builder::new().name("mnemocore-upkeep".into()).spawn(run)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        *lock(&self.stop.0) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread returns nothing. If it panicked, the next opening repeats its work.
            let _ = thread.join();
        }
    }
}
