//! The weakest memories of a tier, which leave it first.
//!
//! Only a part of the tier is listed: all memories below a ceiling. When these have left, the next
//! ones are looked for among all. So choosing one takes amortized O(log n), and the list takes a
//! small part of the memory that a list of all would take.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::key::{MemoryId, NamespaceId, Timestamp};
use crate::segment::Row;

/// One memory in so many is listed.
const LISTED: usize = 16;

const MILLIS_PER_DAY: f64 = 86_400_000.0;

/// At least so many memories are listed.
const LEAST: usize = 1_024;

/// What a memory's strength depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// When it happened.
    pub created: Timestamp,
    /// How much it matters.
    pub importance: f32,
    /// How often it was accessed, storing it included.
    pub accesses: u32,
}

impl From<&Row> for Facts {
    fn from(row: &Row) -> Self {
        Self { created: Timestamp(row.created), importance: row.importance, accesses: row.accesses }
    }
}

impl Facts {
    /// The logarithm of the [`strength`](super::strength), up to a summand that is the same for all:
    /// ln(I ln(1 + accesses)) + lambda t, with the time t in days. As all decay alike, the order of
    /// two memories changes by accesses only, not by time. A memory of the future does not decay, so
    /// it counts as one of `now`, and its weight grows until its time has come.
    pub fn weight(&self, decay_per_day: f64, now: Timestamp) -> f64 {
        let potential = f64::from(self.importance) * f64::from(self.accesses).ln_1p();
        potential.ln() + decay_per_day * (self.created.min(now).0 as f64 / MILLIS_PER_DAY)
    }
}

/// A memory, by its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weighed {
    /// See [`Facts::weight`].
    pub weight: f64,
    /// Its id.
    pub id: MemoryId,
    /// Whose it is.
    pub namespace: NamespaceId,
}

impl Eq for Weighed {}

impl PartialOrd for Weighed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Weighed {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.weight.total_cmp(&other.weight).then(self.id.cmp(&other.id));
        order.then(self.namespace.cmp(&other.namespace))
    }
}

/// The memories of a tier whose weight is below the ceiling, the weakest first.
///
/// An entry may be older than the memory's last access, or than its leaving. It is then lighter
/// than the truth, and is put right when it comes up.
#[derive(Default)]
pub(super) struct Weakest {
    heap: BinaryHeap<Reverse<Weighed>>,
    /// All memories below it are listed; `None` if it is above all.
    ceiling: Ceiling,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Ceiling {
    /// No memory is below it.
    #[default]
    Bottom,
    At(Weighed),
    /// All memories are below it.
    Top,
}

impl Ceiling {
    fn is_above(&self, memory: &Weighed) -> bool {
        match self {
            Self::Bottom => false,
            Self::At(ceiling) => memory < ceiling,
            Self::Top => true,
        }
    }
}

impl Weakest {
    /// A list that always has all memories of the tier.
    #[cfg(any(test, feature = "postgres"))]
    pub(super) fn of_all() -> Self {
        Self { heap: BinaryHeap::new(), ceiling: Ceiling::Top }
    }

    /// Bytes that the list takes.
    pub(super) fn bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Reverse<Weighed>>()
    }

    /// Lists a memory that has come into the tier, or is put back, unless it is above the ceiling.
    /// `now` gives the weight of a memory as it is now, if it is in the tier, which has `len`.
    pub(super) fn add(&mut self, memory: Weighed, len: usize, now: impl Fn(&Weighed) -> Option<f64>) {
        if self.ceiling.is_above(&memory) {
            self.heap.push(Reverse(memory));
            if self.heap.len() > 2 * most(len, &self.ceiling) {
                self.shorten(len, now);
            }
        }
    }

    /// Drops entries that are not true any more, and lowers the ceiling if too many are left.
    fn shorten(&mut self, len: usize, now: impl Fn(&Weighed) -> Option<f64>) {
        let mut listed: Vec<Weighed> = self.heap.drain().map(|Reverse(memory)| memory).collect();
        listed.sort_unstable_by_key(|memory| (memory.namespace, memory.id));
        listed.dedup_by_key(|memory| (memory.namespace, memory.id));
        listed.retain_mut(|memory| {
            let weight = now(memory);
            memory.weight = weight.unwrap_or_default();
            weight.is_some()
        });
        let ceiling = self.ceiling;
        listed.retain(|memory| ceiling.is_above(memory));
        let most = most(len, &self.ceiling);
        if listed.len() > most {
            let (_, ceiling, _) = listed.select_nth_unstable(most);
            self.ceiling = Ceiling::At(*ceiling);
            listed.truncate(most);
        }
        self.heap = listed.into_iter().map(Reverse).collect();
    }

    /// The weakest memory, which stays listed. `all` gives all memories of the tier, and is called
    /// if none is listed.
    pub(super) fn peek<I: Iterator<Item = Weighed>>(
        &mut self,
        now: impl Fn(&Weighed) -> Option<f64>,
        all: impl FnOnce() -> I,
    ) -> Option<Weighed> {
        if let Some(weakest) = self.peek_listed(&now) {
            return Some(weakest);
        }
        if self.ceiling == Ceiling::Top {
            return None;
        }
        // Those below the ceiling are being moved elsewhere.
        let mut above: Vec<Weighed> = all().filter(|memory| !self.ceiling.is_above(memory)).collect();
        let most = (above.len() / LISTED).max(LEAST);
        self.ceiling = Ceiling::Top;
        if above.len() > most {
            let (_, ceiling, _) = above.select_nth_unstable(most);
            self.ceiling = Ceiling::At(*ceiling);
            above.truncate(most);
        }
        self.heap = above.into_iter().map(Reverse).collect();
        self.peek_listed(&now)
    }

    fn peek_listed(&mut self, now: impl Fn(&Weighed) -> Option<f64>) -> Option<Weighed> {
        loop {
            let mut top = self.heap.peek_mut()?;
            let listed = top.0;
            match now(&listed) {
                Some(weight) if weight > listed.weight => {
                    let memory = Weighed { weight, ..listed };
                    if self.ceiling.is_above(&memory) {
                        top.0 = memory;
                    } else {
                        PeekMut::pop(top);
                    }
                }
                Some(_) => return Some(listed),
                None => _ = PeekMut::pop(top),
            }
        }
    }

    /// Takes the weakest memory, which is `id`, off the list. One that left the tier and came
    /// back is listed twice; as every entry below its true weight has been put right by now, the
    /// two stand one after the other.
    pub(super) fn remove(&mut self, namespace: NamespaceId, id: MemoryId) {
        while self.heap.peek().is_some_and(|top| top.0.id == id && top.0.namespace == namespace) {
            self.heap.pop();
        }
    }
}

/// So many memories of a tier of `len` are listed at most, besides as many that are not there any
/// more.
fn most(len: usize, ceiling: &Ceiling) -> usize {
    match ceiling {
        Ceiling::Top if len <= LEAST * LISTED => len.max(LEAST),
        _ => (len / LISTED).max(LEAST),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn weighed(id: u64, weight: f64) -> Weighed {
        Weighed { weight, id: MemoryId(id), namespace: NamespaceId::default() }
    }

    /// Memories by their weights.
    type Model = RefCell<BTreeMap<u64, f64>>;

    fn peek(weakest: &mut Weakest, model: &Model) -> Option<Weighed> {
        let all = || {
            let all: Vec<Weighed> = model.borrow().iter().map(|(&id, &weight)| weighed(id, weight)).collect();
            all.into_iter()
        };
        weakest.peek(|memory| model.borrow().get(&memory.id.0).copied(), all)
    }

    fn add(weakest: &mut Weakest, model: &Model, id: u64, weight: f64) {
        model.borrow_mut().insert(id, weight);
        let len = model.borrow().len();
        weakest.add(weighed(id, weight), len, |memory| model.borrow().get(&memory.id.0).copied());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_weakest_of_all_comes_first_whatever_was_listed(
            seed in any::<u64>(), size in 1u64..6_000, of_all in any::<bool>(),
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut weakest, model) = (if of_all { Weakest::of_all() } else { Weakest::default() }, Model::default());
            for id in 0..size {
                add(&mut weakest, &model, id, random.f64());
            }
            for _ in 0..2_000 {
                let lightest = model.borrow().iter().map(|(&id, &weight)| weighed(id, weight)).min();
                match random.u8(0..8) {
                    // Stored.
                    0..2 => {
                        let id = random.u64(size..size + 100_000);
                        if !model.borrow().contains_key(&id) {
                            add(&mut weakest, &model, id, random.f64());
                        }
                    }
                    // Recalled.
                    2 => {
                        if let Some(weight) = model.borrow_mut().get_mut(&random.u64(0..size)) {
                            *weight += random.f64();
                        }
                    }
                    // Forgotten.
                    3 => drop(model.borrow_mut().remove(&random.u64(0..size))),
                    // Chosen to leave, and left or put back.
                    4..7 => {
                        let taken = peek(&mut weakest, &model);
                        prop_assert_eq!(taken, lightest);
                        if let Some(taken) = taken {
                            weakest.remove(taken.namespace, taken.id);
                            model.borrow_mut().remove(&taken.id.0);
                            if random.u8(0..4) == 0 {
                                add(&mut weakest, &model, taken.id.0, taken.weight);
                            }
                        }
                    }
                    _ => prop_assert_eq!(peek(&mut weakest, &model), lightest),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn of_two_memories_the_weaker_one_is_lighter(
            a in any::<(i32, u8, u8)>(), b in any::<(i32, u8, u8)>(), now in any::<i32>(),
        ) {
            // Hours before and after 1970, and before and after now.
            let hours = |hours: i32| Timestamp(i64::from(hours) * 3_600_000);
            let facts = |(created, importance, accesses): (i32, u8, u8)| Facts {
                created: hours(created % 100_000),
                importance: f32::from(importance) + 0.5,
                accesses: u32::from(accesses) + 1,
            };
            let (a, b, now, decay) = (facts(a), facts(b), hours(now % 100_000), 0.01);
            let strength = |facts: &Facts| {
                crate::tier::strength(facts.importance, facts.accesses, now.days_since(facts.created), decay)
            };
            let (lighter, weaker) = (a.weight(decay, now) < b.weight(decay, now), strength(&a) < strength(&b));
            let near = (strength(&a) / strength(&b) - 1.0).abs() < 1e-9;
            prop_assert!(lighter == weaker || near, "{:?} {:?}", a, b);
        }
    }

    #[test]
    fn the_list_is_short_beside_a_large_tier_and_does_not_grow_with_what_came_and_went() {
        let (mut weakest, model) = (Weakest::default(), Model::default());
        for id in 0..100_000 {
            add(&mut weakest, &model, id, id as f64);
        }
        assert_eq!(peek(&mut weakest, &model), Some(weighed(0, 0.0)));
        assert_eq!(weakest.heap.len(), 100_000 / LISTED);
        // One that goes to and fro is listed each time that it comes back.
        (0..100_000).for_each(|_| add(&mut weakest, &model, 7, 7.0));
        assert!(weakest.heap.len() <= 2 * 100_000 / LISTED, "{} are listed", weakest.heap.len());
    }
}
