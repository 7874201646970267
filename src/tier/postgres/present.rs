//! What is in the tier, by the engine's own count: it tells what a view shows
//! without a round trip.

use std::collections::{HashMap, HashSet};

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::reach::Reach;
use crate::encoder::Term;
use crate::key::{MemoryId, NamespaceId};

/// The engine's count of changes; a row is named by its memory and the count at
/// which it was put in.
pub(super) type Seq = i64;

/// A row that is still in the database, and no longer in the tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dead {
    pub id: MemoryId,
    pub seq: Seq,
    /// Views as of before this count show it.
    pub gone: Seq,
}

impl Dead {
    /// A row that is perhaps there: its call had no answer.
    pub(super) fn unsure(id: MemoryId, seq: Seq) -> Self {
        Self { id, seq, gone: seq }
    }

    /// Whether its terms were counted.
    pub(super) fn is_counted(&self) -> bool {
        self.gone != self.seq
    }
}

/// A row of the tier.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub namespace: NamespaceId,
    pub seq: Seq,
    /// Whether its vector was supplied.
    pub supplied: bool,
}

/// What is in the tier.
#[derive(Default)]
pub(super) struct Present {
    live: HashMap<MemoryId, Row>,
    /// Memories of each namespace, those with vectors that were supplied and the others.
    sizes: HashMap<(NamespaceId, bool), usize>,
    /// How far a search has to go for the nearest supplied vectors, where others have most of the
    /// table; and how many memories there were then.
    reaches: HashMap<NamespaceId, (Reach, usize)>,
    dead: HashMap<NamespaceId, Vec<Dead>>,
    /// In how many rows of the database each term is, and its greatest share of them, also of
    /// those that were deleted.
    frequencies: FxHashMap<i64, (u32, f32)>,
}

/// How a term is listed in the database: it differs between stores and
/// namespaces, so that a search for it finds no row of another one.
pub(super) fn key(store: i64, namespace: NamespaceId, term: Term) -> i64 {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&store.to_le_bytes());
    bytes[8..12].copy_from_slice(&namespace.0.to_le_bytes());
    bytes[12..].copy_from_slice(&term.0.to_le_bytes());
    xxh3_64(&bytes).cast_signed()
}

/// What rows are named by.
fn names(rows: &[Dead]) -> HashSet<(MemoryId, Seq)> {
    rows.iter().map(|row| (row.id, row.seq)).collect()
}

impl Present {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Memories of one namespace.
    pub(super) fn size(&self, namespace: NamespaceId) -> usize {
        self.size_of(namespace, true) + self.size_of(namespace, false)
    }

    /// Those with vectors that were supplied, or the others.
    pub(super) fn size_of(&self, namespace: NamespaceId, supplied: bool) -> usize {
        self.sizes.get(&(namespace, supplied)).copied().unwrap_or_default()
    }

    /// How far a search for vectors has to go, if that was found; no longer once there are twice
    /// as many memories.
    pub(super) fn reach(&self, namespace: NamespaceId) -> Option<Reach> {
        let &(reach, size) = self.reaches.get(&namespace)?;
        (self.size(namespace) < 2 * size).then_some(reach)
    }

    pub(super) fn note_reach(&mut self, namespace: NamespaceId, reach: Reach) {
        self.reaches.insert(namespace, (reach, self.size(namespace)));
    }

    pub(super) fn holds(&self, namespace: NamespaceId, id: MemoryId) -> bool {
        self.live.get(&id).is_some_and(|row| row.namespace == namespace)
    }

    /// The row that a view as of `seq` shows for a memory.
    pub(super) fn row(&self, namespace: NamespaceId, id: MemoryId, seq: Seq) -> Option<Seq> {
        let live = self.live.get(&id).filter(|row| row.namespace == namespace && row.seq <= seq);
        let shown = |dead: &&Dead| dead.id == id && dead.seq <= seq && seq < dead.gone;
        live.map(|row| row.seq).or_else(|| self.dead.get(&namespace)?.iter().find(shown).map(|dead| dead.seq))
    }

    /// Rows that a view as of `seq` must not show, though they came before it.
    pub(super) fn hidden(&self, namespace: NamespaceId, seq: Seq) -> Vec<Dead> {
        let dead = self.dead.get(&namespace).into_iter().flatten();
        dead.filter(|dead| dead.seq <= seq && dead.gone <= seq).copied().collect()
    }

    /// Notes a row; of two rows for one memory, the one that came later counts.
    pub(super) fn insert(&mut self, id: MemoryId, row: Row) {
        let Row { namespace, seq, supplied } = row;
        match self.live.get(&id) {
            Some(newer) if newer.seq >= seq => return self.bury(namespace, Dead { id, seq, gone: 0 }),
            Some(_) => drop(self.remove(id, 0)),
            None => {}
        }
        self.live.insert(id, row);
        *self.sizes.entry((namespace, supplied)).or_default() += 1;
    }

    /// Takes a memory out of the tier as of `gone`; whether it was there.
    pub(super) fn remove(&mut self, id: MemoryId, gone: Seq) -> bool {
        let Some(Row { namespace, seq, supplied }) = self.live.remove(&id) else { return false };
        if let Some(size) = self.sizes.get_mut(&(namespace, supplied)) {
            *size = size.saturating_sub(1);
        }
        self.bury(namespace, Dead { id, seq, gone });
        true
    }

    /// Notes a row to be deleted.
    pub(super) fn bury(&mut self, namespace: NamespaceId, dead: Dead) {
        self.dead.entry(namespace).or_default().push(dead);
    }

    /// Namespaces with at least `least` rows that are no longer in the tier.
    pub(super) fn buried(&self, least: usize) -> Vec<NamespaceId> {
        let full = self.dead.iter().filter(|(_, dead)| dead.len() >= least);
        full.map(|(&namespace, _)| namespace).collect()
    }

    /// Up to `limit` rows of a namespace that views as of `oldest` and later do not
    /// show.
    pub(super) fn unseen(&self, namespace: NamespaceId, oldest: Seq, limit: usize) -> Vec<Dead> {
        let dead = self.dead.get(&namespace).into_iter().flatten();
        dead.filter(|dead| dead.gone <= oldest).take(limit).copied().collect()
    }

    /// Notes that the terms of rows are counted no more, which no view shows.
    pub(super) fn count_off(&mut self, namespace: NamespaceId, rows: &[Dead]) {
        let rows = names(rows);
        for dead in self.dead.get_mut(&namespace).into_iter().flatten() {
            if rows.contains(&(dead.id, dead.seq)) {
                *dead = Dead::unsure(dead.id, dead.seq);
            }
        }
    }

    /// Notes that rows are deleted.
    pub(super) fn forget(&mut self, namespace: NamespaceId, deleted: &[Dead]) {
        let deleted = names(deleted);
        if let Some(dead) = self.dead.get_mut(&namespace) {
            dead.retain(|dead| !deleted.contains(&(dead.id, dead.seq)));
            if dead.is_empty() {
                self.dead.remove(&namespace);
            }
        }
    }

    /// Whether a memory is in it, in whatever namespace.
    pub(super) fn has(&self, id: MemoryId) -> bool {
        self.live.contains_key(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = MemoryId> + '_ {
        self.live.keys().copied()
    }

    pub(super) fn frequency(&self, key: i64) -> u32 {
        self.frequencies.get(&key).map_or(0, |&(frequency, _)| frequency)
    }

    /// No row has a greater share of this term.
    pub(super) fn greatest_share(&self, key: i64) -> f32 {
        self.frequencies.get(&key).map_or(0.0, |&(_, share)| share)
    }

    /// Counts rows with a term, more of them or fewer, of which none has a greater share.
    pub(super) fn count(&mut self, key: i64, more: i64, greatest: f32) {
        let (frequency, share) = self.frequencies.entry(key).or_default();
        *share = share.max(greatest);
        *frequency = u32::try_from((i64::from(*frequency) + more).max(0)).unwrap_or(u32::MAX);
        if *frequency == 0 {
            self.frequencies.remove(&key);
        }
    }

    /// Bytes that one namespace takes here, about: the terms are shared out by
    /// the number of memories.
    pub(super) fn bytes(&self, namespace: NamespaceId) -> usize {
        let row = size_of::<(MemoryId, Row)>();
        let terms = self.frequencies.capacity() * size_of::<(i64, (u32, f32))>();
        let share = (terms * self.size(namespace)).checked_div(self.len()).unwrap_or_default();
        self.size(namespace) * row * 8 / 7 + share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: NamespaceId = NamespaceId(3);

    fn row(seq: Seq) -> Row {
        Row { namespace: SPACE, seq, supplied: seq % 2 == 1 }
    }

    #[test]
    fn a_view_shows_a_memory_from_when_it_came_until_it_went() {
        let (mut present, id) = (Present::default(), MemoryId(7));
        present.insert(id, row(2));
        assert!(present.remove(id, 5));
        assert!(!present.remove(id, 6));
        present.insert(id, row(9));
        let shown: Vec<Option<Seq>> = (0..11).map(|seq| present.row(SPACE, id, seq)).collect();
        let (first, second) = (Some(2), Some(9));
        assert_eq!(shown, [None, None, first, first, first, None, None, None, None, second, second]);
        assert_eq!(present.row(NamespaceId(4), id, 10), None);
        assert_eq!((present.len(), present.size(SPACE)), (1, 1));
    }

    #[test]
    fn a_row_is_deleted_once_no_view_shows_it() {
        let mut present = Present::default();
        present.insert(MemoryId(1), row(1));
        present.remove(MemoryId(1), 4);
        assert_eq!((present.buried(1), present.buried(2)), (vec![SPACE], vec![]));
        assert!(present.unseen(SPACE, 3, 10).is_empty());
        assert_eq!((present.hidden(SPACE, 3).len(), present.hidden(SPACE, 4).len()), (0, 1));
        let dead = present.unseen(SPACE, 4, 10);
        present.forget(SPACE, &dead);
        assert!(present.hidden(SPACE, 4).is_empty() && present.buried(1).is_empty());
    }

    #[test]
    fn of_two_rows_for_one_memory_the_later_one_counts() {
        for order in [[1, 8], [8, 1]] {
            let mut present = Present::default();
            order.into_iter().for_each(|seq| present.insert(MemoryId(1), row(seq)));
            assert_eq!((present.row(SPACE, MemoryId(1), 8), present.size(SPACE)), (Some(8), 1));
            let hidden: Vec<Seq> = present.hidden(SPACE, 8).iter().map(|dead| dead.seq).collect();
            assert_eq!(hidden, [1]);
        }
    }

    #[test]
    fn how_far_a_search_goes_is_found_anew_when_a_namespace_has_doubled() {
        let mut present = Present::default();
        present.insert(MemoryId(1), row(1));
        present.insert(MemoryId(2), row(2));
        assert_eq!((present.size_of(SPACE, true), present.size_of(SPACE, false)), (1, 1));
        present.note_reach(SPACE, Reach::All);
        present.insert(MemoryId(3), row(3));
        assert_eq!(present.reach(SPACE), Some(Reach::All));
        present.insert(MemoryId(4), row(4));
        assert_eq!(present.reach(SPACE), None);
    }

    #[test]
    fn terms_of_other_stores_and_namespaces_have_other_keys() {
        let keys = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)]
            .map(|(store, space, term)| key(store, NamespaceId(space), Term(term)));
        let distinct: HashSet<i64> = keys.into_iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn a_term_without_rows_is_not_kept() {
        let mut present = Present::default();
        present.count(5, 2, 0.5);
        present.count(5, -1, 0.0);
        assert_eq!((present.frequency(5), present.greatest_share(5)), (1, 0.5));
        present.count(5, -3, 0.0);
        assert!(present.frequencies.is_empty());
    }
}
