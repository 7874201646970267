//! Mixes of operations: reads and writes in known shares, generated before they are timed.

use std::collections::BTreeSet;

use super::Operation;
use super::choice::{Latest, Scrambled};
use crate::workload::partial_query;
use criterion_gate::random::Random;
use mnemocore::{NewMemory, Query};

/// The share of its words that a query has in common with its memory.
const SHARED: f64 = 0.6;

/// Shares of operations, and which memories are asked for.
///
/// Those with a letter are the core workloads of YCSB, where a read is a recall
/// and an update or insert is a store. YCSB's E, short ranges of keys, has no
/// counterpart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// As it stands in the name of a benchmark.
    pub name: &'static str,
    /// Percentage of recalls.
    pub recalls: u32,
    /// Percentage of recalls that are followed by a store; what is left of a
    /// hundred is stores.
    pub recalls_then_stores: u32,
    /// Which memories are asked for.
    pub choice: Choice,
}

/// Which memories are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Some that are scattered among all that were there first ([`Scrambled`]).
    Zipfian,
    /// The newest, also of what the load itself stores ([`Latest`]).
    Latest,
}

impl Mix {
    /// Stores alone.
    pub const STORE: Self = Self::new("store", 0, Choice::Zipfian);
    /// YCSB's C: recalls alone.
    pub const RECALL: Self = Self::new("recall", 100, Choice::Zipfian);
    /// YCSB's A: half recalls, half stores.
    pub const A: Self = Self::new("mixed_a", 50, Choice::Zipfian);
    /// YCSB's B: 95 % recalls, 5 % stores.
    pub const B: Self = Self::new("mixed_b", 95, Choice::Zipfian);
    /// YCSB's D: 95 % recalls of the latest, 5 % stores.
    pub const D: Self = Self::new("mixed_d", 95, Choice::Latest);
    /// YCSB's F: half recalls, half recalls that are followed by a store.
    pub const F: Self = Self { recalls_then_stores: 50, ..Self::new("mixed_f", 50, Choice::Zipfian) };

    const fn new(name: &'static str, recalls: u32, choice: Choice) -> Self {
        Self { name, recalls, recalls_then_stores: 0, choice }
    }
}

/// An endless stream of operations of one mix, which follows from its seed.
///
/// A query has 60 % of the words of the memory that was chosen, and strengthens
/// what it finds, so that what is asked for often rises to HOT.
#[derive(Clone, Debug)]
pub struct Traffic<T> {
    mix: Mix,
    random: Random,
    /// The texts of the store, then the texts that the operations so far store, in this order.
    texts: Vec<String>,
    /// Texts to be stored.
    fresh: T,
    scrambled: Scrambled,
    latest: Latest,
    /// The positions of the initial memories that were asked for.
    asked: BTreeSet<usize>,
    first: usize,
}

impl<T: Iterator<Item = String>> Traffic<T> {
    /// Operations of `mix` on a store that holds `texts`, of which there is at least
    /// one, and takes those of `fresh`. When there is no fresh one left, all are
    /// recalls.
    pub fn new(mix: Mix, texts: Vec<String>, fresh: T, seed: u64) -> Self {
        let (first, count) = (texts.len(), texts.len() as u64);
        Self {
            mix,
            random: Random::new(seed),
            texts,
            fresh,
            scrambled: Scrambled::new(count),
            latest: Latest::new(count),
            asked: BTreeSet::new(),
            first,
        }
    }

    /// Returns the positions of the initial memories that were asked for, in ascending order.
    pub fn asked(&self) -> impl Iterator<Item = usize> {
        self.asked.iter().copied()
    }

    /// Returns the number of memories in the store after all operations so far.
    pub fn stored(&self) -> usize {
        self.texts.len()
    }

    fn recall(&mut self) -> Query {
        let at = match self.mix.choice {
            Choice::Zipfian => self.scrambled.item(&mut self.random),
            Choice::Latest => self.latest.item(&mut self.random),
        } as usize;
        if at < self.first {
            self.asked.insert(at);
        }
        let text = self.texts.get(at).map_or("", String::as_str);
        Query::text(partial_query(text, SHARED, self.random.next_u64()))
    }

    fn store(&mut self) -> Option<NewMemory> {
        let text = self.fresh.next()?;
        self.texts.push(text.clone());
        self.latest.grow_to(self.texts.len() as u64);
        Some(NewMemory::new(text))
    }
}

impl<T: Iterator<Item = String>> Iterator for Traffic<T> {
    type Item = Operation;

    /// The next operation; there is always one.
    fn next(&mut self) -> Option<Operation> {
        let choice = self.random.below(100);
        let Mix { recalls, recalls_then_stores, .. } = self.mix;
        if choice < recalls {
            return Some(Operation::Recall(self.recall()));
        }
        let query = (choice < recalls + recalls_then_stores).then(|| self.recall());
        Some(match (query, self.store()) {
            (None, Some(memory)) => Operation::Store(memory),
            (Some(query), Some(memory)) => Operation::RecallThenStore(query, memory),
            (Some(query), None) => Operation::Recall(query),
            (None, None) => Operation::Recall(self.recall()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mnemocore::{Config, Engine};

    const MIXES: [Mix; 6] = [Mix::STORE, Mix::RECALL, Mix::A, Mix::B, Mix::D, Mix::F];

    fn traffic(mix: Mix, seed: u64) -> Traffic<impl Iterator<Item = String> + Clone> {
        let texts = (0..200).map(|i| format!("first{i} second{i} third{i} fourth{i} fifth{i}")).collect();
        Traffic::new(mix, texts, (0..).map(|i| format!("new{i} other{i} last{i}")), seed)
    }

    #[test]
    fn shares_are_those_of_the_mix() {
        const OPERATIONS: usize = 20_000;
        for mix in MIXES {
            let mut counts = [0usize; 3];
            for operation in traffic(mix, 1).take(OPERATIONS) {
                match operation {
                    Operation::Recall(_) => counts[0] += 1,
                    Operation::RecallThenStore(..) => counts[1] += 1,
                    Operation::Store(_) => counts[2] += 1,
                    Operation::Forget(_) => panic!("nothing is forgotten"),
                }
            }
            let stores = 100 - mix.recalls - mix.recalls_then_stores;
            for (count, percent) in counts.into_iter().zip([mix.recalls, mix.recalls_then_stores, stores]) {
                let share = 100.0 * count as f64 / OPERATIONS as f64;
                assert!((share - f64::from(percent)).abs() < 2.0, "{}: {counts:?}", mix.name);
            }
        }
    }

    #[test]
    fn traffic_follows_from_its_seed() {
        for mix in MIXES {
            let operations = |seed| traffic(mix, seed).take(300).collect::<Vec<_>>();
            assert_eq!(operations(7), operations(7));
            assert!(mix == Mix::STORE || operations(7) != operations(8), "{}", mix.name);
        }
    }

    #[test]
    fn a_query_finds_the_memory_that_was_chosen() {
        let engine = Engine::in_memory(Config::default().background(false)).unwrap();
        let mut traffic = traffic(Mix::RECALL, 3);
        let memories = traffic.texts.iter().cloned().map(NewMemory::new).collect();
        engine.store_batch(memories).unwrap();
        let mut found = BTreeSet::new();
        for operation in traffic.by_ref().take(100) {
            let Operation::Recall(query) = operation else { panic!("{operation:?}") };
            found.insert(engine.recall(&query).unwrap().hits[0].memory.id.0 as usize);
        }
        assert_eq!(found, traffic.asked().collect());
        assert!(found.len() > 10 && found.len() < 100, "some are asked for again: {}", found.len());
        assert_eq!(traffic.stored(), 200);
    }

    #[test]
    fn read_latest_asks_for_what_it_has_stored_itself() {
        let mut traffic = traffic(Mix { recalls: 50, ..Mix::D }, 4);
        let recalls =
            traffic.by_ref().take(2000).filter(|operation| matches!(operation, Operation::Recall(_)));
        let recalls = recalls.count();
        assert!(traffic.stored() > 1000);
        // The first 200 are soon old.
        assert!(traffic.asked().count() < recalls / 5, "{} of {recalls}", traffic.asked().count());
    }

    #[test]
    fn without_fresh_texts_all_are_recalls() {
        let mut traffic = Traffic::new(Mix::A, vec!["one memory".into()], std::iter::empty(), 1);
        assert!(traffic.by_ref().take(50).all(|operation| matches!(operation, Operation::Recall(_))));
    }
}
