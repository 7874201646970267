//! Segments that small namespaces share.
//!
//! A namespace with few memories takes no file of its own: its rows are in segments with those of others, a window
//! in each. The tier writes and merges whole segments. A namespace reads its windows alone. A
//! namespace that has grown leaves the segments that it shares for one of its own.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::upkeep::{Undo, unless_damaged};
use super::{LocalTier, in_log};
use crate::error::Error;
use crate::key::NamespaceId;
use crate::log::{Batch, SegmentEntry};
use crate::segment::{Accesses, Codec, Live, Part, Segment, Source, share};
use crate::tier::plan::{
    Bounds, CLOSED_ROWS, Effort, LEAST_PACKED_ROWS, OWN_ROWS, PACKED_ROWS, Plan, Rows, SEGMENT_ROWS, fewest,
    least_live, mostly_dead, same_class,
};
use crate::tier::shard::Shard;
use crate::tier::slot::Slot;
use crate::tier::written::write_file;
use crate::tier::{Done, Upkeep};

/// The shared segments of a tier, by their numbers.
#[derive(Clone, Default)]
pub(super) struct SharedSegments(BTreeMap<u64, Counted>);

/// A shared segment, and how many of its rows count.
#[derive(Clone)]
struct Counted {
    number: u64,
    segment: Arc<Segment>,
    live: usize,
}

impl Rows for Counted {
    fn rows(&self) -> usize {
        self.segment.len()
    }

    fn live(&self) -> usize {
        self.live
    }

    fn content(&self) -> usize {
        self.segment.heap_bytes() + self.segment.mapped_bytes()
    }
}

impl SharedSegments {
    /// Adds a segment of which so many rows count.
    pub(super) fn insert(&mut self, number: u64, segment: Arc<Segment>, live: usize) {
        self.0.insert(number, Counted { number, segment, live });
    }

    /// Notes that so many rows of a segment no longer count.
    pub(super) fn lose(&mut self, number: u64, rows: usize) {
        if let Some(counted) = self.0.get_mut(&number) {
            counted.live = counted.live.saturating_sub(rows);
        }
    }

    /// Those worth merging, if any are.
    fn plan(&self, effort: Effort, bounds: Bounds) -> Option<Vec<Counted>> {
        let all: Vec<Counted> = self.0.values().cloned().collect();
        match effort {
            Effort::Open | Effort::Close => None,
            Effort::Free => least_live(&all).map(|due| vec![due.clone()]),
            Effort::Due => match mostly_dead(&all, bounds.dead_share) {
                Some(due) => Some(due.to_vec()),
                None => same_class(&all, bounds.content),
            },
            Effort::All => fewest(&all, bounds.content).map(<[Counted]>::to_vec),
        }
    }
}

/// Segments to be merged into one that several namespaces share, as they were when the merge was planned.
struct SharedPlan {
    /// Those of each namespace.
    groups: Vec<(NamespaceId, Vec<Slot>)>,
    /// The shared segments that all namespaces leave.
    replaced: Vec<u64>,
}

/// A shared segment that was made, and its file.
pub(super) struct SharedWritten {
    made: Option<Segment>,
    entry: Option<SegmentEntry>,
    plan: SharedPlan,
}

impl SharedPlan {
    /// The merged segment; `None` if no row is live.
    fn merge(&self, codec: Codec) -> Result<Option<Segment>, Error> {
        let mut loose = Vec::new();
        let mut shared: BTreeMap<u64, (&Segment, Live, Accesses)> = BTreeMap::new();
        for (namespace, slot) in
            self.groups.iter().flat_map(|(id, slots)| slots.iter().map(move |slot| (id, slot)))
        {
            let segment = &*slot.part.segment;
            let Some(number) = slot.shared() else {
                for row in slot.part.live.iter() {
                    loose.push((*namespace, segment.memory(row, slot.accesses(row))?));
                }
                continue;
            };
            let (_, live, accesses) = shared
                .entry(number)
                .or_insert_with(|| (segment, Live::none(segment.len()), Accesses::default()));
            slot.part.live.iter().for_each(|row| live.insert(row));
            accesses.extend(slot.accesses.iter().map(|(&row, &count)| (row, count)));
        }
        let loose = Segment::loose_of_many(loose);
        let (all, none) = (Live::all(loose.len()), Accesses::default());
        let mut sources: Vec<Source<'_>> =
            shared.values().map(|(segment, live, accesses)| Source { segment, live, accesses }).collect();
        if !loose.is_empty() {
            sources.push(Source { segment: &loose, live: &all, accesses: &none });
        }
        share(&sources, codec)
    }
}

impl LocalTier {
    /// The next piece of upkeep for namespaces that are too small for files of their own.
    pub(super) fn shared_upkeep(&mut self, effort: Effort) -> Option<Upkeep> {
        let (kind, codec) = (self.residency.kind, self.residency.codec);
        let files = self.files.clone();
        let plan = match self.small_loose(effort) {
            Some(mut groups) if groups.len() == 1 || files.is_none() => {
                let (namespace, slots) = groups.swap_remove(0);
                return Some(self.packing(namespace, Plan { slots, packs: true }));
            }
            Some(groups) => SharedPlan { groups, replaced: Vec::new() },
            None => self.shared_merge(effort)?,
        };
        Some(unless_damaged(NamespaceId::SHARED, move || {
            let made = plan.merge(codec)?;
            let (made, entry) = write_file(files.as_deref(), kind, NamespaceId::SHARED, made)?;
            Ok(Box::new(SharedWritten { made, entry, plan }) as Done)
        }))
    }

    /// The loose segments of small namespaces, if they are enough together for a file. If all namespaces have too
    /// many bytes loose, those of the small ones or of the largest, whichever are more.
    fn small_loose(&mut self, effort: Effort) -> Option<Vec<(NamespaceId, Vec<Slot>)>> {
        let least = match effort {
            Effort::Open | Effort::Free => return None,
            Effort::Due => PACKED_ROWS,
            Effort::Close => CLOSED_ROWS,
            Effort::All => LEAST_PACKED_ROWS,
        };
        self.drop_dead();
        let most = self.bounds().content;
        let (mut groups, mut rows, mut content) = (Vec::new(), 0, 0);
        let (mut largest, mut largest_content) = (None, 0);
        for namespace in &self.loose {
            let slots = self.shards.get(namespace).map(Shard::loose).unwrap_or_default();
            let count: usize = slots.iter().map(Slot::live).sum();
            let own: usize = slots.iter().map(Slot::content).sum();
            if own > largest_content {
                (largest, largest_content) = (Some(*namespace), own);
            }
            // Without files, each is packed by itself.
            let is_enough = self.files.is_some() || count >= least;
            if count < OWN_ROWS && rows + count <= SEGMENT_ROWS && content < most && is_enough {
                rows += count;
                content += own;
                groups.push((*namespace, slots.to_vec()));
            }
        }
        let are_too_many = effort == Effort::Due && self.size.loose > self.limits.loose_bytes;
        if are_too_many && largest_content > content {
            let namespace = largest?;
            return Some(vec![(namespace, self.shards.get(&namespace)?.loose().to_vec())]);
        }
        (rows >= least || content >= most || are_too_many && rows > 0).then_some(groups)
    }

    /// Drops loose segments in which nothing is left. A merge that is under way would miss them, so this is left to
    /// the next one.
    fn drop_dead(&mut self) {
        let (shards, size) = (&mut self.shards, &mut self.size);
        self.loose.retain(|namespace| {
            let Some(shard) = shards.get_mut(namespace) else { return false };
            let before = shard.size();
            shard.drop_dead();
            *size = size.plus(shard.size()).less(before);
            let is_loose = !shard.loose().is_empty();
            if shard.slots().is_empty() {
                shards.remove(namespace);
            }
            is_loose
        });
    }

    /// Bytes that the shared segment takes whose forgotten memories are removed next.
    pub(super) fn shared_room(&self) -> Option<usize> {
        Some(self.shared_due(Effort::Free)?.iter().map(Rows::room).sum())
    }

    fn shared_due(&self, effort: Effort) -> Option<Vec<Counted>> {
        let is_damaged = self.damaged.contains(&NamespaceId::SHARED);
        self.shared.plan(effort, self.bounds()).filter(|_| !is_damaged)
    }

    /// Shared segments that are worth merging.
    fn shared_merge(&self, effort: Effort) -> Option<SharedPlan> {
        let due = self.shared_due(effort)?;
        let replaced: Vec<u64> = due.iter().map(|counted| counted.number).collect();
        let owners = due.iter().filter_map(|counted| counted.segment.owners.as_deref());
        let mut namespaces: Vec<NamespaceId> =
            owners.flat_map(|owners| owners.windows().map(|(id, _)| id)).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let numbers: HashSet<u64> = replaced.iter().copied().collect();
        let windows = |namespace: NamespaceId| {
            let slots = self.shards.get(&namespace).map(Shard::slots).unwrap_or_default();
            let is_due = |slot: &&Slot| slot.shared().is_some_and(|number| numbers.contains(&number));
            slots.iter().filter(is_due).cloned().collect::<Vec<Slot>>()
        };
        let groups = namespaces.into_iter().map(|namespace| (namespace, windows(namespace)));
        Some(SharedPlan { groups: groups.filter(|(_, slots)| !slots.is_empty()).collect(), replaced })
    }

    /// Puts a shared segment in place. Namespaces whose segments have changed meanwhile are left out: their rows
    /// do not count. Returns the others.
    ///
    /// # Errors
    /// What the log reports.
    pub(super) fn put_shared(
        &mut self,
        written: SharedWritten,
        batch: &mut Batch,
    ) -> Result<Vec<NamespaceId>, Error> {
        let SharedWritten { made, entry, plan: SharedPlan { groups, replaced } } = written;
        let mut marked = Vec::with_capacity(replaced.len());
        for &number in &replaced {
            marked.push((number, self.log.marked_rows(number)?));
        }
        let made = made.map(Arc::new);
        let number = made.as_ref().and_then(|segment| segment.number());
        let shared = self.shared.clone();
        let (mut shards, mut dead, mut live, mut left_out) = (Vec::new(), Vec::new(), 0, false);
        for (namespace, slots) in groups {
            let window = made.as_ref().and_then(|segment| Part::of(segment, namespace)).map(Slot::of);
            let rows = window.as_ref().map(|slot| slot.part.rows()).unwrap_or_default();
            let plan = Plan { slots, packs: true };
            let shard = self.shards.entry(namespace).or_default();
            let before = shard.clone();
            let is_placed = shard.replace(&plan, window);
            let placed =
                shard.slots().iter().find(|slot| is_placed && slot.shared() == number && number.is_some());
            match placed {
                Some(placed) => {
                    live += placed.live();
                    dead.extend(placed.part.live.unset());
                    self.redundant.extend(in_log(&plan, placed).into_iter().map(|id| (namespace, id)));
                }
                None => dead.extend(rows),
            }
            self.len = self.len + shard.len() - before.len();
            self.size = self.size.plus(shard.size()).less(before.size());
            if is_placed {
                shards.push((namespace, before));
            } else {
                left_out = true;
            }
        }
        if shards.is_empty() && replaced.is_empty() || left_out && !replaced.is_empty() {
            // Nobody but upkeep takes windows away, so shared segments can always be replaced.
            debug_assert!(replaced.is_empty());
            self.undo = Some(Undo::Merge { shards, shared, replaced: Vec::new(), number: None });
            self.undo_upkeep();
            number.zip(entry).into_iter().for_each(|(number, entry)| self.drop_file(number, &entry));
            return Ok(Vec::new());
        }
        if let (Some(number), Some(entry), Some(segment)) = (number, entry, made) {
            self.listed.insert(number, entry);
            if let Some(files) = &self.files {
                files.put_segment(number, entry, batch);
                files.note_ids(number, NamespaceId::SHARED, &segment);
            }
            dead.into_iter().for_each(|row| batch.put_dead(number, row));
            self.shared.insert(number, segment, live);
        }
        for (number, marked) in marked {
            self.shared.0.remove(&number);
            batch.remove_segment(number, marked);
            batch.obsolete.extend(self.files.as_ref().and_then(|files| files.path(number)));
        }
        let mut changed: Vec<NamespaceId> = shards.iter().map(|(namespace, _)| *namespace).collect();
        self.changed.extend(&changed);
        if changed.is_empty() {
            // Nobody had a live row there, so no view changes, but the file is gone.
            changed.push(NamespaceId::SHARED);
        }
        self.undo = Some(Undo::Merge { shards, shared, replaced, number });
        Ok(changed)
    }
}
