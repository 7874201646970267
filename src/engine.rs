//! The engine: opens and owns everything; one writer, many readers.
//!
//! A store goes to the log first, then into a tier, and is published as a new view of its
//! namespace. A recall takes the view that is published when it begins, and waits for nobody.
//! The first of several concurrent stores to reach the writer commits all of them.
//!
//! | verb | module |
//! |---|---|
//! | `open`, `in_memory` | `open`, with `location` for the folder on disk |
//! | `open_bucket`, `open_snapshot` | `bucket`, with `cache` for the local copies |
//! | `repair` | `repair` |
//! | `store`, `store_batch`, `store_with` | `store`, then `queue` and `writer` |
//! | `recall` | `recall` |
//! | `synthesize` | `synthesize` |
//! | `forget`, `forget_batch` | `forget`, then `queue` and `writer` |
//! | `consolidate`, `compact`, `close`, and the thread in the background | `upkeep`, with `movement` between tiers |
//! | `scope` | `scope` |
//! | `counters`, and the spans of all verbs | `observe` |
//! | `get`, `vector`, `stats`, `traffic`, `config`, `encoder` | this module |

#[cfg(feature = "object-store")]
mod bucket;
mod budget;
#[cfg(feature = "object-store")]
mod cache;
mod forget;
mod location;
mod movement;
mod observe;
mod open;
mod queue;
mod ranking;
mod recall;
mod repair;
mod scope;
mod store;
mod synthesize;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;

pub use observe::UpkeepError;
pub use open::Parts;
pub use recall::{Hit, Query, Recall};
pub use repair::Repair;
pub use scope::Scope;
pub use store::check_text;
pub use synthesize::{Fragment, Synthesis, SynthesisKind};
pub use upkeep::Consolidation;

use self::budget::Budget;
use self::location::Location;
use self::observe::returned;
use self::queue::Queue;
use self::upkeep::Background;
use self::writer::{Placed, Writer};
use crate::config::Config;
use crate::encoder::{Document, Encoder, Projection, Term, TermStatistics};
use crate::error::Error;
use crate::hdv::Hypervector;
use crate::key::{MemoryId, NamespaceId, TierKind};
use crate::log::{Log, Record, check_process};
use crate::memory::{Memory, Namespace};
use crate::sync::{ArcSwap, Mutex, MutexGuard, RwLock, RwLockReadGuard, lock, read};
use crate::telemetry::{Call, Outcome, Tally, Verb};
use crate::tier::files::SegmentFiles;
use crate::tier::{Size, TierBytes, TierView};

/// A tiered memory for agents.
///
/// ```
/// use mnemocore::{Config, Engine};
///
/// let engine = Engine::in_memory(Config::default())?;
/// engine.store("Anna is allergic to peanuts")?;
/// engine.store("Ben's flight to Lisbon leaves at nine")?;
///
/// let recall = engine.recall("What is Anna allergic to?")?;
/// assert_eq!(recall.hits[0].memory.text, "Anna is allergic to peanuts");
/// # Ok::<(), mnemocore::Error>(())
/// ```
///
/// If it serves several users, give each of them a [`Scope`]: the verbs of the engine itself reach the memories of
/// all namespaces.
///
/// It is shared between threads by reference or in an [`Arc`]. Dropping it closes the store. It
/// works only in the process that opened it: in a forked process, every verb returns
/// [`Error::Forked`].
pub struct Engine {
    // Ends before `shared` does: the thread holds a reference to it.
    background: Option<Background>,
    shared: Arc<Shared>,
    closed: bool,
    /// Damaged files that opening has repaired.
    repaired_files: Vec<PathBuf>,
}

/// State shared by the engine's threads.
struct Shared {
    /// The process that the engine works in.
    process: u32,
    config: Config,
    budget: Budget,
    encoder: Arc<Encoder>,
    /// Encodes texts to their sketches, the first bits of their vectors.
    sketcher: Encoder,
    log: Arc<dyn Log>,
    /// The segments' files, if the tiers have any.
    files: Option<Arc<SegmentFiles>>,
    location: Location,
    spaces: RwLock<Spaces>,
    /// Requests that wait for the next commit.
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
    /// The projection of the first stored embedding. All other embeddings must have its length.
    projection: OnceLock<Arc<Projection>>,
    /// Held while memories move or segments are merged.
    upkeep: Mutex<()>,
    /// The last error of upkeep.
    upkeep_error: Mutex<Option<UpkeepError>>,
    tally: Tally,
    /// What counts the calls of a tier to other machines.
    #[cfg(feature = "remote")]
    tier_counters: [Option<Arc<crate::remote::Counter>>; 3],
    /// Accesses by recalls that are not yet counted.
    touched: Mutex<FxHashMap<Placed, u32>>,
}

/// All namespaces.
#[derive(Default)]
struct Spaces {
    by_name: HashMap<Namespace, Arc<Space>>,
    by_id: HashMap<NamespaceId, Arc<Space>>,
}

/// One namespace.
struct Space {
    id: NamespaceId,
    name: Namespace,
    view: ArcSwap<View>,
}

/// Bytes that a namespace takes besides its segments: its name, its view, and what the writer notes of it.
const NAMESPACE_BYTES: usize = 900;

/// Where a memory is, as of a view of its namespace.
struct Located {
    space: Arc<Space>,
    view: Arc<View>,
    tier: TierKind,
}

/// A recall's snapshot of one namespace: its three tiers at one moment.
struct View {
    tiers: [Arc<dyn TierView>; 3],
}

impl View {
    fn len(&self) -> usize {
        self.tiers.iter().map(|tier| tier.len()).sum()
    }

    /// Returns the tier of memory `id`.
    fn tier_of(&self, id: MemoryId) -> Option<TierKind> {
        TierKind::ALL.into_iter().find(|kind| self.tiers[kind.index()].contains(id))
    }

    /// Returns the vector that was supplied with memory `id`, if both are here.
    fn vector(&self, id: MemoryId) -> Result<Option<Vec<u64>>, Error> {
        self.tiers.iter().map(|tier| tier.vector(id)).find_map(Result::transpose).transpose()
    }
}

impl Default for View {
    /// The empty view of an unknown namespace.
    fn default() -> Self {
        let empty: Arc<dyn TierView> = Arc::new(crate::tier::EmptyView);
        Self { tiers: [empty.clone(), empty.clone(), empty] }
    }
}

impl TermStatistics for View {
    fn documents(&self) -> u64 {
        self.len() as u64
    }

    fn document_frequency(&self, term: Term) -> u64 {
        self.tiers.iter().map(|tier| tier.document_frequency(term) as u64).sum()
    }
}

/// Counts and sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Memories in HOT, WARM and COLD.
    pub memories: [usize; 3],
    /// Bytes of HOT, WARM and COLD, as the tiers count them.
    pub bytes: [TierBytes; 3],
    /// Bytes of RAM of the engine's data, and of its reserves for caches and merges. At most
    /// [`Config::memory_budget`](field@Config::memory_budget), unless the namespaces, and what the log notes of
    /// recalled and forgotten memories, take more.
    pub ram: usize,
    /// Namespaces with their numbers of memories, in the order of their names.
    pub namespaces: Vec<(Namespace, usize)>,
    /// The last error of upkeep, which no call returned if the background did it. `None` if there was none since
    /// the engine was opened.
    pub last_upkeep_error: Option<UpkeepError>,
}

impl Stats {
    /// Returns the number of memories in one tier.
    pub fn memories_in(&self, tier: TierKind) -> usize {
        self.memories[tier.index()]
    }

    /// Returns the number of memories in all tiers.
    pub fn total(&self) -> usize {
        self.memories.iter().sum()
    }
}

impl Engine {
    /// Returns the memory with this id, whichever tier it is in; `None` if there is none.
    ///
    /// Ids are consecutive numbers from 0 over all namespaces, so this finds the memories of every user.
    /// [`Scope::get`] finds those of one.
    ///
    /// ```
    /// use mnemocore::{Config, Engine, MemoryId, Namespace};
    ///
    /// let engine = Engine::in_memory(Config::default())?;
    /// let (ada, bob) = (engine.scope(Namespace::new("ada")?), engine.scope(Namespace::new("bob")?));
    /// ada.store("The code of the safe is 4711")?;
    ///
    /// let guessed = MemoryId(0);
    /// assert!(engine.get(guessed)?.is_some());
    /// assert!(bob.get(guessed)?.is_none());
    /// # Ok::<(), mnemocore::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Log`] or [`Error::Corrupt`] if it cannot be read.
    pub fn get(&self, id: impl Into<MemoryId>) -> Result<Option<Memory>, Error> {
        self.get_within(None, id.into())
    }

    /// As [`Engine::get`], within one namespace if one is given.
    fn get_within(&self, own: Option<&Namespace>, id: MemoryId) -> Result<Option<Memory>, Error> {
        let call = self.begin(Verb::Get, own)?;
        let found = self.shared.read_within(own, id, &call).map(|found| {
            found.map(|(Located { space, tier, .. }, record)| to_memory(id, record, &space.name, tier))
        });
        self.end(call, found, |memory| returned(memory))
    }

    /// Returns the hypervector of a memory: the one that was supplied with it, or else that of its
    /// text, which the engine derives. `None` if there is no such memory. As [`Engine::get`], this crosses
    /// namespaces; [`Scope::vector`] does not.
    ///
    /// ```
    /// use mnemocore::{Config, Engine, Query};
    ///
    /// let engine = Engine::in_memory(Config::default())?;
    /// let note = engine.store("Anna is allergic to peanuts")?;
    /// engine.store("Anna's allergy is to peanuts, not to walnuts")?;
    /// let vector = engine.vector(note)?.expect("it was stored");
    /// assert_eq!(engine.recall(Query::like(vector))?.hits[0].memory.id, note.id);
    /// # Ok::<(), mnemocore::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn vector(&self, id: impl Into<MemoryId>) -> Result<Option<Hypervector>, Error> {
        self.vector_within(None, id.into())
    }

    /// As [`Engine::vector`], within one namespace if one is given.
    fn vector_within(&self, own: Option<&Namespace>, id: MemoryId) -> Result<Option<Hypervector>, Error> {
        let call = self.begin(Verb::Vector, own)?;
        let vector = self.shared.read_within(own, id, &call).and_then(|found| {
            let vector = |(Located { view, .. }, record): (Located, Record)| {
                self.shared.vector_of(&view, id, &record.text, record.supplied)
            };
            found.map(vector).transpose()
        });
        self.end(call, vector, |vector| Outcome::of(vector.iter().count()))
    }

    /// Returns the number and the size of the memories in each tier. Do not call it in a forked
    /// process, where it may wait forever.
    pub fn stats(&self) -> Stats {
        let spaces: Vec<Arc<Space>> = self.shared.spaces().by_id.values().cloned().collect();
        let ram = self.shared.ram(&self.shared.lock_writer());
        let (memories, bytes) = ([0; 3], [TierBytes::default(); 3]);
        let last_upkeep_error = lock(&self.shared.upkeep_error).clone();
        let mut stats = Stats { memories, bytes, ram, namespaces: Vec::new(), last_upkeep_error };
        for space in spaces {
            let view = space.view.load_full();
            for ((tier, memories), bytes) in view.tiers.iter().zip(&mut stats.memories).zip(&mut stats.bytes)
            {
                *memories += tier.len();
                bytes.ram += tier.bytes().ram;
                bytes.mapped += tier.bytes().mapped;
            }
            stats.namespaces.push((space.name.clone(), view.len()));
        }
        stats.namespaces.sort();
        stats
    }

    /// Returns what a tier has sent to other machines and received from them since the engine
    /// was opened.
    #[cfg(feature = "remote")]
    pub fn traffic(&self, tier: TierKind) -> crate::remote::Traffic {
        self.shared.tier_counters[tier.index()].as_ref().map(|counter| counter.traffic()).unwrap_or_default()
    }

    /// Returns the settings that the engine was opened with.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Returns the encoder, for hypervectors that can be compared with the engine's.
    pub fn encoder(&self) -> &Encoder {
        &self.shared.encoder
    }

    /// Returns the shared state, which the verbs work on.
    ///
    /// # Errors
    /// [`Error::Forked`] in a process that was forked from the engine's own.
    fn shared(&self) -> Result<&Arc<Shared>, Error> {
        check_process(&self.shared.location.name, self.shared.process)?;
        Ok(&self.shared)
    }
}

impl Shared {
    fn space(&self, name: &Namespace) -> Option<Arc<Space>> {
        self.spaces().by_name.get(name).cloned()
    }

    fn space_by_id(&self, id: NamespaceId) -> Option<Arc<Space>> {
        self.spaces().by_id.get(&id).cloned()
    }

    fn spaces(&self) -> RwLockReadGuard<'_, Spaces> {
        read(&self.spaces)
    }

    /// Returns where memory `id` is, and its record; `None` if there is no such memory.
    fn read(&self, id: MemoryId) -> Result<Option<(Located, Record)>, Error> {
        // A memory on its way from a file to the log, or back, is in both for a while. One that was in
        // neither when it was looked for there has come to the former meanwhile.
        for _ in 0..2 {
            let Some(found) = self.find(id)? else { continue };
            if let Some(record) = found.view.tiers[found.tier.index()].record(id)? {
                return Ok(Some((found, Record::decode(&record)?)));
            }
        }
        Ok(None)
    }

    /// As [`read`](Self::read), within one namespace if one is given. Otherwise the call learns the namespace.
    fn read_within(
        &self,
        own: Option<&Namespace>,
        id: MemoryId,
        call: &Call<'_>,
    ) -> Result<Option<(Located, Record)>, Error> {
        let found = self.read(id)?;
        match own {
            Some(own) => return Ok(found.filter(|(found, _)| found.space.name == *own)),
            None => found.iter().for_each(|(found, _)| call.note_namespace(found.space.name.as_str())),
        }
        Ok(found)
    }

    fn find(&self, id: MemoryId) -> Result<Option<Located>, Error> {
        let found = self.namespaces_of(id)?.find_map(|namespace| {
            let space = self.space_by_id(namespace)?;
            let view = space.view.load_full();
            let tier = view.tier_of(id)?;
            Some(Located { space, view, tier })
        });
        Ok(found)
    }

    /// Returns the namespaces that memory `id` may be in: the one that the log says, and those of files.
    fn namespaces_of(&self, id: MemoryId) -> Result<impl Iterator<Item = NamespaceId>, Error> {
        let placed = self.log.placement(id)?.map(|placement| placement.namespace);
        let in_files = self.files.iter().flat_map(move |files| files.namespaces_of(id));
        Ok(placed.into_iter().chain(in_files))
    }

    /// Returns the vector that was supplied with a memory, if it is `supplied` and there is one, or else
    /// that of its text.
    fn vector_of(&self, view: &View, id: MemoryId, text: &str, supplied: bool) -> Result<Hypervector, Error> {
        let vector = if supplied { view.vector(id)? } else { None };
        Ok(match vector {
            Some(words) => Hypervector::from_words(words)?,
            None => self.encoder.encode(&Document::new(text).analyze()?)?,
        })
    }

    /// Records that memories of a namespace were recalled. If nobody counts their accesses for long, only those
    /// are recorded for which the budget has room.
    fn touch(&self, namespace: NamespaceId, ids: impl Iterator<Item = MemoryId>) {
        let mut touched = lock(&self.touched);
        for id in ids {
            let is_full = touched.len() >= self.budget.recalled();
            match touched.entry(Placed { id, namespace }) {
                Entry::Occupied(count) => *count.into_mut() += 1,
                Entry::Vacant(count) if !is_full => {
                    count.insert(1);
                }
                Entry::Vacant(_) => {}
            }
        }
    }

    /// Returns how many memories HOT may hold.
    fn hot_capacity(&self, writer: &Writer) -> usize {
        let hot = writer.tiers[TierKind::Hot.index()].size();
        self.config.hot_capacity.min(self.budget.hot_capacity(hot, self.besides_hot(writer)))
    }

    /// Returns the RAM of the engine in bytes, reserves included.
    fn ram(&self, writer: &Writer) -> usize {
        let hot = writer.tiers[TierKind::Hot.index()].size();
        self.budget.reserved() + hot.bytes + self.besides_hot(writer).bytes
    }

    fn besides_hot(&self, writer: &Writer) -> Size {
        let [_, warm, cold] = &writer.tiers;
        let bytes = NAMESPACE_BYTES * self.spaces().by_id.len() + self.log.memory();
        warm.size().plus(cold.size()).plus(Size { bytes, ..Size::default() })
    }

    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }
}

fn to_memory(id: MemoryId, record: Record, namespace: &Namespace, tier: TierKind) -> Memory {
    Memory {
        id,
        namespace: namespace.clone(),
        text: record.text,
        metadata: record.metadata,
        created: record.created,
        importance: record.importance,
        tier,
    }
}
