//! What the engine tells of its work: spans and events of `tracing`, and counters.
//!
//! None of them holds a text, metadata, a query, a vector or a credential. Namespaces and paths may be in them, and
//! errors, which hold none of these either. If nobody listens, a span or an event costs a comparison.

use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tracing::span::EnteredSpan;
use tracing::{Level, Span, debug, enabled, info, warn};

/// The target of all spans and events.
const TARGET: &str = "mnemocore";

macro_rules! verbs {
    ($($verb:ident $name:literal),* $(,)?) => {
        /// A verb of the engine.
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Verb {
            $($verb),*
        }

        impl Verb {
            /// A span of this name. Without a namespace, it can be [noted](Call::note_namespace) later.
            fn span(self, namespace: Option<&str>) -> Span {
                match self {
                    $(Self::$verb => tracing::debug_span!(target: TARGET, $name, namespace = namespace)),*
                }
            }
        }
    };
}

verbs! {
    Store "store", StoreBatch "store_batch", Recall "recall", Synthesize "synthesize", Get "get", Vector "vector",
    Forget "forget", Consolidate "consolidate", Compact "compact", Close "close",
}

/// A call of a verb, within its span.
pub(crate) struct Call<'t> {
    tally: &'t Tally,
    span: EnteredSpan,
    /// When it began, if anybody listens.
    began: Option<Instant>,
}

impl<'t> Call<'t> {
    /// Enters the span of a verb.
    pub(crate) fn begin(tally: &'t Tally, verb: Verb, namespace: Option<&str>) -> Self {
        let span = verb.span(namespace);
        let began = (!span.is_disabled()).then(Instant::now);
        Self { tally, span: span.entered(), began }
    }

    /// Whether anybody listens, so that it is worth finding out what to tell.
    pub(crate) fn is_heard(&self) -> bool {
        self.began.is_some()
    }

    /// Adds the namespace, for a verb that learns it only while it runs.
    pub(crate) fn note_namespace(&self, name: &str) {
        self.span.record("namespace", name);
    }

    /// Tells and counts what has come of the call. `outcome` is asked only if anybody listens.
    pub(crate) fn end<T, E: Display>(
        self,
        done: Result<T, E>,
        outcome: impl FnOnce(&T) -> Outcome,
    ) -> Result<T, E> {
        if done.is_err() {
            self.tally.failures.add(1);
        }
        if let Some(began) = self.began {
            let micros = began.elapsed().as_micros() as u64;
            match &done {
                Ok(value) => {
                    let Outcome { memories, tiers } = outcome(value);
                    let [hot, warm, cold] = tiers.map_or([None; 3], |tiers| tiers.map(Some));
                    debug!(target: TARGET, memories, hot, warm, cold, micros, "done");
                }
                Err(error) => debug!(target: TARGET, %error, micros, "failed"),
            }
        }
        done
    }
}

/// What has come of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// The memories that were stored, returned or forgotten.
    memories: Option<usize>,
    /// In which tiers they are.
    tiers: Option<[usize; 3]>,
}

impl Outcome {
    /// That of a call whose memories may be anywhere.
    pub(crate) fn of(memories: usize) -> Self {
        Self { memories: Some(memories), tiers: None }
    }

    /// That of a call that returned memories from these tiers, by their places.
    pub(crate) fn from_tiers(places: impl Iterator<Item = usize>) -> Self {
        let mut tiers = [0; 3];
        places.for_each(|place| tiers.iter_mut().skip(place).take(1).for_each(|count| *count += 1));
        Self { memories: Some(tiers.iter().sum()), tiers: Some(tiers) }
    }
}

/// A store, and how full its tiers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill<'s> {
    /// Its path or URL.
    pub store: &'s Path,
    /// Memories in HOT, WARM and COLD.
    pub tiers: [usize; 3],
    /// What HOT may hold.
    pub hot_capacity: usize,
}

/// A pass of upkeep has moved or merged something.
pub(crate) fn upkeep_done<'s>(
    [promoted, demoted, merged]: [usize; 3],
    began: Instant,
    fill: impl FnOnce() -> Fill<'s>,
) {
    if promoted + demoted + merged > 0 && enabled!(target: TARGET, Level::INFO) {
        let micros = began.elapsed().as_micros() as u64;
        let Fill { store, tiers: [hot, warm, cold], hot_capacity } = fill();
        info!(
            target: TARGET,
            store = %store.display(), promoted, demoted, merged, hot, warm, cold, hot_capacity, micros, "upkeep"
        );
    }
}

/// Upkeep has failed, `failures` times in a row by now.
pub(crate) fn upkeep_failed<'s>(error: &dyn Display, failures: u64, fill: impl FnOnce() -> Fill<'s>) {
    // The background tries five times a second, perhaps for days.
    if failures.is_power_of_two() && enabled!(target: TARGET, Level::WARN) {
        let Fill { store, tiers: [hot, warm, cold], hot_capacity } = fill();
        warn!(
            target: TARGET,
            store = %store.display(), %error, failures, hot, warm, cold, hot_capacity,
            "upkeep failed, and is tried again"
        );
    }
}

/// Upkeep has succeeded again after so many failures.
pub(crate) fn upkeep_recovered(store: &Path, failures: u64) {
    info!(target: TARGET, store = %store.display(), failures, "upkeep works again");
}

/// A store was opened.
pub(crate) fn opened(Fill { store, tiers: [hot, warm, cold], hot_capacity }: Fill<'_>) {
    info!(target: TARGET, store = %store.display(), hot, warm, cold, hot_capacity, "opened");
}

/// Something damaged or missing was mended.
pub(crate) fn mended(what: &dyn Display) {
    warn!(target: TARGET, %what, "mended");
}

/// Tells an error that no call returns.
pub(crate) fn unreported(action: &'static str, error: &dyn Display) {
    warn!(target: TARGET, action, %error, "failed");
}

/// The value, or `None` after an error, which no call returns.
pub(crate) fn or_warn<T, E: Display>(action: &'static str, done: Result<T, E>) -> Option<T> {
    done.inspect_err(|error| unreported(action, error)).ok()
}

/// A call to another machine has failed, and is made again.
#[cfg(feature = "remote")]
pub(crate) fn retried(place: &str, action: &'static str, attempt: u32, attempts: u32, error: &dyn Display) {
    info!(target: TARGET, place, action, attempt, attempts, %error, "tried again");
}

/// A call to another machine has failed for good.
#[cfg(feature = "remote")]
pub(crate) fn given_up(place: &str, action: &'static str, attempts: u32, error: &dyn Display) {
    warn!(target: TARGET, place, action, attempts, %error, "given up");
}

macro_rules! counters {
    ($($(#[$about:meta])* $name:ident),* $(,)?) => {
        /// Counts of what an engine has done since it was opened. They only grow.
        ///
        /// [`Engine::counters`](crate::Engine::counters) has an example.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$about])* pub $name: u64),*
        }

        impl Counters {
            /// Returns each counter with its name, for an exporter of metrics.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }

        /// Counts [`Counters`].
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $name: Count),*
        }

        impl Tally {
            /// Returns the counts so far.
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.get()),* }
            }
        }
    };
}

counters! {
    /// Memories stored, each of a batch counted.
    stores,
    /// Memories forgotten, each of a batch counted.
    forgets,
    /// Recalls that were answered.
    recalls,
    /// Syntheses that were answered, also with [`SynthesisKind::Nothing`](crate::SynthesisKind::Nothing).
    synthesizes,
    /// Calls of any verb that returned an error.
    failures,
    /// Passes of upkeep that were begun, in the background or by
    /// [`Engine::consolidate`](crate::Engine::consolidate).
    upkeep_passes,
    /// Failures of upkeep. [`Stats::last_upkeep_error`](crate::Stats::last_upkeep_error) is the last of them.
    upkeep_failures,
    /// Moves to a quicker tier.
    promoted,
    /// Moves to a slower tier. A memory that moves by two tiers counts twice.
    demoted,
    /// Merges of segments, and steps that tidy up after them.
    merged,
    /// Calls to other machines that were made again because an attempt had failed.
    retries,
}

/// A counter that many threads raise. It has cache lines of its own, so that no thread waits for one that raises
/// another counter.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub(crate) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Returns it.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_their_names_and_values() {
        let tally = Tally::default();
        tally.stores.add(3);
        tally.retries.add(1);
        let counters = tally.read();
        assert_eq!((counters.stores, counters.retries, counters.recalls), (3, 1, 0));
        let named: Vec<(&str, u64)> = counters.named().filter(|(_, value)| *value > 0).collect();
        assert_eq!(named, [("stores", 3), ("retries", 1)]);
    }

    #[test]
    fn a_call_that_fails_is_counted_and_its_error_returned() {
        let tally = Tally::default();
        let call = || Call::begin(&tally, Verb::Recall, Some("ada"));
        assert_eq!(call().end(Ok::<_, &str>(7), |_| panic!("nobody listens")), Ok(7));
        assert_eq!(call().end(Err::<(), _>("full"), |()| Outcome::default()), Err("full"));
        assert_eq!(tally.read().failures, 1);
    }
}
