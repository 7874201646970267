//! What an engine tells of its work: the spans of its verbs, counters, and errors of upkeep.

use std::time::Instant;

use super::{Consolidation, Engine, Shared, lock};
use crate::error::Error;
use crate::key::{TierKind, Timestamp};
use crate::memory::{Memory, Namespace};
use crate::telemetry::{self, Call, Counters, Fill, Outcome, Verb};

/// An error of upkeep: of moves between tiers and merges, whether the background thread, a thread that stores or
/// [`Engine::consolidate`] did them.
///
/// It is kept after upkeep has succeeded again, with `failures` 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpkeepError {
    /// The error's message. Like all errors, it holds no text of a memory.
    pub message: String,
    /// When it happened.
    pub at: Timestamp,
    /// Failures since upkeep last succeeded; 0 if it has succeeded since. While it is greater, a tier may exceed
    /// its capacity.
    pub failures: u64,
}

impl Engine {
    /// Returns counts of what the engine has done since it was opened, for a monitor. It takes no lock, and as
    /// long however many memories and namespaces there are.
    ///
    /// In the text form of Prometheus:
    ///
    /// ```
    /// use mnemocore::{Config, Engine};
    ///
    /// let engine = Engine::in_memory(Config::default())?;
    /// engine.store("The spare key is under the blue pot")?;
    /// engine.recall("Where is the spare key?")?;
    ///
    /// let mut page = String::new();
    /// for (name, value) in engine.counters().named() {
    ///     page += &format!("# TYPE mnemocore_{name}_total counter\nmnemocore_{name}_total {value}\n");
    /// }
    /// assert!(page.contains("\nmnemocore_stores_total 1\n") && page.contains("\nmnemocore_recalls_total 1\n"));
    /// # Ok::<(), mnemocore::Error>(())
    /// ```
    pub fn counters(&self) -> Counters {
        Counters { retries: self.shared.retries(), ..self.shared.tally.read() }
    }

    /// Enters the span of a verb.
    ///
    /// # Errors
    /// [`Error::Forked`]: in a forked process, whoever listens may wait forever.
    pub(super) fn begin(&self, verb: Verb, namespace: Option<&Namespace>) -> Result<Call<'_>, Error> {
        Ok(Call::begin(&self.shared()?.tally, verb, namespace.map(Namespace::as_str)))
    }

    /// Ends the span of a verb, and returns its result as [`Shared::explain`] does.
    pub(super) fn end<T>(
        &self,
        call: Call<'_>,
        done: Result<T, Error>,
        outcome: impl FnOnce(&T) -> Outcome,
    ) -> Result<T, Error> {
        call.end(self.shared.explain(done), outcome)
    }
}

/// What has come of a call that returns memories.
pub(super) fn returned<'m>(memories: impl IntoIterator<Item = &'m Memory>) -> Outcome {
    Outcome::from_tiers(memories.into_iter().map(|memory| memory.tier.index()))
}

/// The namespace of all that a call works on, if it is one.
pub(super) fn only<'n>(mut namespaces: impl Iterator<Item = &'n Namespace>) -> Option<&'n Namespace> {
    let first = namespaces.next()?;
    namespaces.all(|other| other == first).then_some(first)
}

impl Shared {
    /// Returns [`Error::Moved`] in place of an error of a file that is not there any more for that reason. A check
    /// before an operation does not notice what happens during it.
    pub(super) fn explain<T>(&self, done: Result<T, Error>) -> Result<T, Error> {
        done.map_err(|error| {
            let is_io = matches!(error, Error::Io { .. });
            let checked = if is_io { self.log.check() } else { Ok(()) };
            checked.err().filter(|found| matches!(found, Error::Moved { .. })).unwrap_or(error)
        })
    }

    /// Notes what has come of a pass of upkeep.
    pub(super) fn upkeep_ended(&self, done: &Result<Consolidation, Error>, began: Instant) {
        match done {
            Ok(done) => {
                let failures =
                    lock(&self.upkeep_error).as_mut().map_or(0, |error| std::mem::take(&mut error.failures));
                if failures > 0 {
                    telemetry::upkeep_recovered(&self.location.name, failures);
                }
                telemetry::upkeep_done([done.promoted, done.demoted, done.merged], began, || self.fill());
            }
            Err(error) => self.upkeep_failed(error.to_string()),
        }
    }

    /// Notes a failure of upkeep. No caller waits for what the background does.
    pub(super) fn upkeep_failed(&self, message: String) {
        self.tally.upkeep_failures.add(1);
        let mut last = lock(&self.upkeep_error);
        let failures = last.as_ref().map_or(0, |last| last.failures) + 1;
        *last = Some(UpkeepError { message: message.clone(), at: Timestamp::now(), failures });
        drop(last);
        telemetry::upkeep_failed(&message, failures, || self.fill());
    }

    /// Returns how full the tiers are. The caller does not hold the writer's lock.
    pub(super) fn fill(&self) -> Fill<'_> {
        let writer = self.lock_writer();
        let tiers = TierKind::ALL.map(|kind| writer.tiers[kind.index()].len());
        Fill { store: &self.location.name, tiers, hot_capacity: self.hot_capacity(&writer) }
    }

    /// Counts memories that were moved between tiers.
    pub(super) fn count_moves(&self, from: TierKind, to: TierKind, moved: usize) {
        let count = if to < from { &self.tally.promoted } else { &self.tally.demoted };
        count.add(moved);
    }

    fn retries(&self) -> u64 {
        #[allow(unused_mut, reason = "only features make calls to other machines")]
        let mut retries = 0;
        #[cfg(feature = "remote")]
        for counter in self.tier_counters.iter().flatten() {
            retries += counter.retries();
        }
        #[cfg(feature = "object-store")]
        if let Some(copy) = &self.location.copy {
            retries += copy.bucket().counter().retries();
        }
        retries
    }
}
