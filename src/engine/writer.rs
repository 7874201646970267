//! The writer: commits requests in groups and publishes what they changed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::resume_unwind;
use std::sync::Arc;

use super::queue::Request;
use super::{Shared, Space, View};
use crate::encoder::{EncodeError, Projection};
use crate::error::Error;
use crate::key::{MemoryId, NamespaceId, TierKind, Timestamp};
use crate::log::{Allowance, Batch, Durability, Record};
use crate::memory::Namespace;
use crate::segment::{MAX_ROWS, PreparedMemory, Row};
use crate::sync::{ArcSwap, write};
use crate::tier::{Done, Facts, Tier, Upkeep};

/// Ids are reserved in the log so many at a time, so that none is given twice,
/// also when the newest memories are forgotten.
const RESERVED_IDS: u64 = 1_024;

/// Memories that leave HOT with a commit, besides as many as it brings, when HOT
/// holds more than it should: WARM could not be reached for a while.
const BACKLOG: usize = 64;

/// HOT may hold this part of its capacity less, so that memories leave it together.
const SPARED: usize = 16;

/// Memories that leave a large HOT together for a WARM on this machine. Together each takes a third
/// of the time, and one store in so many waits for all of them: too few for the P99.
const EVICTED_TOGETHER: usize = 512;

/// From so many on, memories leave a HOT together.
const LEAST_TOGETHER: usize = 256;

/// From so many memories on, a batch is split into parts for the cores.
const SPLIT_FROM: usize = 32_768;

/// The name under which the log keeps the end of the reserved ids.
pub(super) const NEXT_ID: &str = "next_id";

/// The name under which it keeps the number of the next namespace, once there is
/// none any more that would tell.
pub(super) const NEXT_NAMESPACE: &str = "next namespace";

/// The name under which it keeps the length of embeddings.
pub(super) const EMBEDDING: &str = "embedding length";

pub(super) enum Work {
    /// Store these; answers with their ids.
    Store(Vec<Prepared>),
    /// Forget these; answers with those that were there.
    Forget(Vec<MemoryId>),
}

/// A memory that is encoded and only lacks its id.
pub(super) struct Prepared {
    pub namespace: Namespace,
    /// Its record, still without the number of the namespace.
    pub record: Vec<u8>,
    pub row: Row,
    /// The supplied vector.
    pub vector: Option<Arc<[u64]>>,
    /// What projected its embedding, if it came with one.
    pub projection: Option<Arc<Projection>>,
}

/// A memory in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Placed {
    pub id: MemoryId,
    pub namespace: NamespaceId,
}

/// How far upkeep has fallen behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// The thread that stores does upkeep, unless another thread does it already.
    Some,
    /// The thread that stores waits for that other thread.
    Far,
}

/// The state behind the writer's lock.
pub(super) struct Writer {
    pub tiers: [Box<dyn Tier>; 3],
    pub next_id: u64,
    pub reserved: u64,
    pub next_namespace: u32,
    /// Whether upkeep has fallen behind, and how far.
    pub behind: Option<Behind>,
    /// Views that recalls were reading when others took their places.
    pub retired: Vec<Arc<View>>,
}

impl Writer {
    /// Frees retired views that nobody reads any more. What only such a view held may be many segments, and
    /// freeing them takes milliseconds: the writer's time, and no recall's.
    pub(super) fn free_retired(&mut self) {
        self.retired.retain(|view| Arc::strong_count(view) > 1);
    }

    /// The tier that new memories enter.
    pub(super) fn entry_tier(hot_capacity: usize) -> TierKind {
        if hot_capacity == 0 { TierKind::Warm } else { TierKind::Hot }
    }

    /// The most bytes that wait in a tier to be packed.
    pub(super) fn loose(&self) -> usize {
        self.tiers.iter().map(|tier| tier.size().loose).max().unwrap_or_default()
    }

    /// The tier that a memory is in, and what its strength depends on.
    pub(super) fn find(&self, memory: Placed) -> Option<(TierKind, Facts)> {
        let facts = |kind: TierKind| self.tiers[kind.index()].facts(memory.namespace, memory.id);
        TierKind::ALL.into_iter().find_map(|kind| Some((kind, facts(kind)?)))
    }

    /// The weakest memory of a tier, which stays there.
    pub(super) fn weakest(&mut self, tier: TierKind, now: Timestamp) -> Option<(Placed, Facts)> {
        let tier = &mut self.tiers[tier.index()];
        let (namespace, id) = tier.weakest(now)?;
        Some((Placed { id, namespace }, tier.facts(namespace, id)?))
    }

    /// The `count` weakest memories of a tier. Each has to leave it, or to be put back.
    pub(super) fn take_weakest(&mut self, tier: TierKind, count: usize, now: Timestamp) -> Vec<Placed> {
        let tier = &mut self.tiers[tier.index()];
        let mut next = || tier.take_weakest(now).map(|(namespace, id)| Placed { id, namespace });
        (0..count).map_while(|_| next()).collect()
    }

    /// Lists memories again that could not leave a tier.
    pub(super) fn put_back(&mut self, tier: TierKind, memories: impl IntoIterator<Item = Placed>) {
        for Placed { id, namespace } in memories {
            self.tiers[tier.index()].put_back(namespace, id);
        }
    }
}

impl Shared {
    /// Commits requests together; when that fails, each on its own, unless nobody can
    /// be reached.
    pub(super) fn commit_group(&self, writer: &mut Writer, requests: Vec<Request>) {
        let synced = requests.iter().any(|request| request.durability == Durability::Synced);
        let durability = if synced { Durability::Synced } else { Durability::Buffered };
        match self.commit(writer, &requests, durability) {
            Ok(answers) => {
                for (request, answer) in requests.into_iter().zip(answers) {
                    request.answer(Ok(answer));
                }
            }
            Err(error) if requests.len() > 1 => {
                for request in requests {
                    match error.again() {
                        Some(error) => request.answer(Err(error)),
                        None => self.commit_group(writer, vec![request]),
                    }
                }
            }
            Err(error) => {
                if let Some(request) = requests.into_iter().next() {
                    request.answer(Err(error));
                }
            }
        }
    }

    /// Commits all requests or none.
    fn commit(
        &self,
        writer: &mut Writer,
        requests: &[Request],
        durability: Durability,
    ) -> Result<Vec<Vec<MemoryId>>, Error> {
        let before = writer.reserved;
        let mut group = Group::default();
        let committed = self.plan(writer, requests, &mut group).and_then(|answers| {
            if group.stores.is_empty() {
                group.batch.allowance = Allowance::Half;
            } else {
                self.admit(writer, &mut group)?;
            }
            self.log.commit(&group.batch, durability)?;
            Ok(answers)
        });
        match committed {
            Ok(_) => self.settle(writer, group),
            Err(_) => {
                group.undo(writer);
                writer.reserved = before;
            }
        }
        committed
    }

    /// Adds what all requests ask for to the group; their answers.
    fn plan(
        &self,
        writer: &mut Writer,
        requests: &[Request],
        group: &mut Group,
    ) -> Result<Vec<Vec<MemoryId>>, Error> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            answers.push(match &request.work {
                Work::Store(memories) => self.plan_stores(writer, memories, group)?,
                Work::Forget(ids) => self.plan_removals(writer, ids, group)?,
            });
        }
        Ok(answers)
    }

    /// Gives ids to new memories and adds them to the group.
    fn plan_stores(
        &self,
        writer: &mut Writer,
        memories: &[Prepared],
        group: &mut Group,
    ) -> Result<Vec<MemoryId>, Error> {
        let mut ids = Vec::with_capacity(memories.len());
        let mut last: Option<(&Namespace, NamespaceId)> = None;
        for memory in memories {
            let id = MemoryId(writer.next_id);
            writer.next_id += 1;
            if writer.next_id > writer.reserved {
                writer.reserved = writer.next_id + RESERVED_IDS;
                group.batch.put_setting(NEXT_ID, writer.reserved);
            }
            if let Some(projection) = &memory.projection {
                self.plan_projection(projection, group)?;
            }
            let namespace = match &last {
                Some((name, id)) if **name == memory.namespace => *id,
                _ => self.namespace_id(writer, &memory.namespace, group),
            };
            last = Some((&memory.namespace, namespace));
            let record = Record::placed(&memory.record, namespace);
            let row = Row { id, ..memory.row.clone() };
            let stored = PreparedMemory { row, vector: memory.vector.clone(), record };
            group.stores.entry(namespace).or_default().push(Arc::new(stored));
            ids.push(id);
        }
        Ok(ids)
    }

    /// Refuses an embedding of another length than those that are stored, or that
    /// come before it in the group; the first of all decides.
    fn plan_projection(&self, projection: &Arc<Projection>, group: &mut Group) -> Result<(), Error> {
        let received = projection.inputs();
        match self.projection.get().or(group.projection.as_ref()).map(|first| first.inputs()) {
            None => {
                group.batch.put_setting(EMBEDDING, received as u64);
                group.projection = Some(projection.clone());
            }
            Some(length) if length != received => {
                return Err(EncodeError::EmbeddingLength { expected: length..=length, received }.into());
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn namespace_id(&self, writer: &mut Writer, name: &Namespace, group: &mut Group) -> NamespaceId {
        if let Some(space) = self.space(name) {
            return space.id;
        }
        *group.namespaces.entry(name.clone()).or_insert_with(|| {
            let id = NamespaceId(writer.next_namespace);
            writer.next_namespace += 1;
            group.batch.put_namespace(id, name.as_str());
            id
        })
    }

    /// Adds the removal of what is there of `ids` to the group.
    fn plan_removals(
        &self,
        writer: &Writer,
        ids: &[MemoryId],
        group: &mut Group,
    ) -> Result<Vec<MemoryId>, Error> {
        let mut found = Vec::new();
        for &id in ids {
            if group.removed.contains_key(&id) {
                continue;
            }
            let held = self.namespaces_of(id)?.find_map(|namespace| {
                let holds = |kind: &TierKind| {
                    writer.tiers[kind.index()].stage_removal(namespace, id, &mut group.batch)
                };
                Some((TierKind::ALL.into_iter().find(holds)?, namespace))
            });
            if let Some(place) = held {
                group.batch.remove_record(id);
                group.batch.remove_placement(id);
                group.removed.insert(id, place);
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Takes the new memories in, and the weakest of HOT into WARM instead.
    fn admit(&self, writer: &mut Writer, group: &mut Group) -> Result<(), Error> {
        let tier = Writer::entry_tier(self.hot_capacity(writer));
        let mut stored = 0;
        for (namespace, memories) in std::mem::take(&mut group.stores) {
            stored += memories.len();
            let ids: Vec<MemoryId> = memories.iter().map(|memory| memory.row.id).collect();
            apply(writer, tier, namespace, memories, &mut group.batch)?;
            group.admitted.extend(ids.into_iter().map(|id| (tier, namespace, id)));
        }
        let capacity = self.hot_capacity(writer);
        // What is being forgotten makes room by itself.
        let leaving = group.removed.values().filter(|(tier, _)| *tier == TierKind::Hot).count();
        let room = capacity.saturating_add(leaving);
        let over = writer.tiers[TierKind::Hot.index()].len().saturating_sub(room);
        let warm = &writer.tiers[TierKind::Warm.index()];
        if tier == TierKind::Hot && over > 0 && warm.check_health().is_none() {
            let spared = capacity / SPARED;
            let together = match warm.preferred_batch() {
                Some(batch) => batch.min(spared),
                None if spared >= LEAST_TOGETHER => spared.min(EVICTED_TOGETHER),
                // A small HOT is always full.
                None => 0,
            };
            self.evict(writer, over.min(stored + BACKLOG).max(together), group)?;
        }
        Ok(())
    }

    /// Moves the weakest of HOT to WARM. While WARM is on another machine that cannot
    /// be reached they stay, and HOT holds more than it should.
    fn evict(&self, writer: &mut Writer, count: usize, group: &mut Group) -> Result<(), Error> {
        let now = Timestamp::now();
        while group.evicted.len() < count
            && let Some(memory) = writer.take_weakest(TierKind::Hot, 1, now).pop()
        {
            let forgotten = group.removed.contains_key(&memory.id);
            let list = if forgotten { &mut group.passed_over } else { &mut group.evicted };
            list.push(memory);
        }
        // One may be listed twice among the weakest.
        group.evicted.sort_unstable();
        group.evicted.dedup();
        let hot = TierKind::Hot.index();
        let mut by_namespace: HashMap<NamespaceId, Vec<Arc<PreparedMemory>>> = HashMap::new();
        for &Placed { id, namespace } in &group.evicted {
            by_namespace.entry(namespace).or_default().extend(writer.tiers[hot].memory(namespace, id)?);
        }
        let mut away = HashSet::new();
        for (namespace, mut memories) in by_namespace {
            memories.sort_by_key(|memory| memory.row.id);
            let ids: Vec<MemoryId> = memories.iter().map(|memory| memory.row.id).collect();
            match apply(writer, TierKind::Warm, namespace, memories, &mut group.batch) {
                Ok(()) => group.admitted.extend(ids.into_iter().map(|id| (TierKind::Warm, namespace, id))),
                Err(Error::Unreachable { .. }) => drop(away.insert(namespace)),
                Err(error) => return Err(error),
            }
        }
        let stays = |memory: &mut Placed| away.contains(&memory.namespace);
        writer.put_back(TierKind::Hot, group.evicted.extract_if(.., stays));
        for &Placed { id, namespace } in &group.evicted {
            let Group { batch, .. } = group;
            // A row in a file of HOT no longer counts.
            writer.tiers[hot].stage_removal(namespace, id, batch);
            let accesses = writer.tiers[hot].facts(namespace, id).map_or(1, |facts| facts.accesses);
            writer.tiers[TierKind::Warm.index()].stage_accesses(namespace, id, accesses, batch);
        }
        Ok(())
    }

    /// After the commit: what could not fail any more, and the new views.
    fn settle(&self, writer: &mut Writer, group: Group) {
        let mut changed: BTreeSet<NamespaceId> =
            group.admitted.iter().map(|&(_, namespace, _)| namespace).collect();
        self.count_moves(TierKind::Hot, TierKind::Warm, group.evicted.len());
        for Placed { id, namespace } in group.evicted {
            writer.tiers[TierKind::Hot.index()].remove(namespace, id);
        }
        for (id, (tier, namespace)) in group.removed {
            writer.tiers[tier.index()].remove(namespace, id);
            changed.insert(namespace);
        }
        if let Some(projection) = group.projection {
            // Only here, under the writer's lock, and only while there is none.
            let _ = self.projection.set(projection);
        }
        for (name, id) in group.namespaces {
            self.add_space(writer, id, name);
        }
        writer.behind = self.behind(writer);
        self.publish(writer, changed);
    }

    /// Whether more waits for upkeep than there is memory for. Then those who store do it.
    pub(super) fn behind(&self, writer: &Writer) -> Option<Behind> {
        let (loose, most) = (writer.loose(), self.budget.limits().loose_bytes);
        let hot = &writer.tiers[TierKind::Hot.index()];
        // Rows of HOT that do not count are all that upkeep can free at once.
        let waste = match hot.size().rows > 2 * hot.len() {
            true => self.ram(writer).saturating_sub(self.config.memory_budget),
            false => 0,
        };
        if loose > 2 * most || waste > most {
            return Some(Behind::Far);
        }
        (loose > most || waste > 0).then_some(Behind::Some)
    }

    /// Makes a namespace known to recalls.
    pub(super) fn add_space(&self, writer: &mut Writer, id: NamespaceId, name: Namespace) {
        let view = ArcSwap::from_pointee(view_of(writer, id));
        let space = Arc::new(Space { id, name: name.clone(), view });
        let mut spaces = write(&self.spaces);
        spaces.by_id.insert(id, space.clone());
        spaces.by_name.insert(name, space);
    }

    /// Shows recalls what the tiers hold now.
    pub(super) fn publish(&self, writer: &mut Writer, changed: impl IntoIterator<Item = NamespaceId>) {
        for id in changed {
            if let Some(space) = self.space_by_id(id) {
                let replaced = space.view.swap(Arc::new(view_of(writer, id)));
                writer.retired.push(replaced);
            }
        }
        writer.free_retired();
    }
}

fn view_of(writer: &mut Writer, namespace: NamespaceId) -> View {
    let [hot, warm, cold] = &mut writer.tiers;
    View { tiers: [hot.view(namespace), warm.view(namespace), cold.view(namespace)] }
}

/// Takes memories into a tier within the writer's lock: all, or none after an error.
pub(super) fn apply(
    writer: &mut Writer,
    tier: TierKind,
    namespace: NamespaceId,
    memories: Vec<Arc<PreparedMemory>>,
    batch: &mut Batch,
) -> Result<(), Error> {
    let tier = &mut writer.tiers[tier.index()];
    let ids: Vec<MemoryId> = memories.iter().map(|memory| memory.row.id).collect();
    let staged = parts(memories).into_iter().map(|some| tier.stage(namespace, some)).collect();
    let mut failed = None;
    for done in all_done(staged) {
        // After an error the others are put in place too, so that their files are deleted in the end.
        if let Err(error) = done.and_then(|done| tier.apply(done, batch)) {
            failed = Some(error);
        }
    }
    if let Some(error) = failed {
        for id in ids {
            tier.remove(namespace, id);
        }
        return Err(error);
    }
    Ok(())
}

/// Splits memories into parts of which each fits into a segment; large batches into one for each core.
fn parts(mut memories: Vec<Arc<PreparedMemory>>) -> Vec<Vec<Arc<PreparedMemory>>> {
    let mut parts = Vec::new();
    if memories.len() >= SPLIT_FROM {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let size = memories.len().div_ceil(cores).clamp(SPLIT_FROM / 2, MAX_ROWS);
        while memories.len() > size {
            parts.push(memories.split_off(memories.len() - size));
        }
    }
    parts.push(memories);
    parts.reverse();
    parts
}

/// Does pieces of work, each on a thread of its own. Those of a pool may be waiting for the writer.
fn all_done(mut work: Vec<Upkeep>) -> Vec<Result<Done, Error>> {
    let last = work.pop();
    std::thread::scope(|scope| {
        let others: Vec<_> = work.into_iter().map(|work| scope.spawn(work)).collect();
        let last = last.map(|work| work());
        let others =
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        others.chain(last).collect()
    })
}

/// Requests on their way through a commit.
#[derive(Default)]
struct Group {
    batch: Batch,
    stores: HashMap<NamespaceId, Vec<Arc<PreparedMemory>>>,
    namespaces: HashMap<Namespace, NamespaceId>,
    /// The engine's from the commit on: that of the first embedding of all.
    projection: Option<Arc<Projection>>,
    removed: HashMap<MemoryId, (TierKind, NamespaceId)>,
    /// What is in a tier already, to be taken out again if the commit fails.
    admitted: Vec<(TierKind, NamespaceId, MemoryId)>,
    /// The weakest of HOT, as they were there.
    evicted: Vec<Placed>,
    /// Weaker ones that need not move, because they are removed.
    passed_over: Vec<Placed>,
}

impl Group {
    /// After a commit that failed: everything in memory as it was.
    fn undo(self, writer: &mut Writer) {
        for (tier, namespace, id) in self.admitted {
            writer.tiers[tier.index()].remove(namespace, id);
        }
        writer.put_back(TierKind::Hot, self.evicted.into_iter().chain(self.passed_over));
    }
}
