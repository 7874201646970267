//! The work of an engine until the power fails, and the contents that must survive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use mnemocore::{Config, Durability, Engine, MemoryId, Query, Timestamp};

use crate::common::acknowledged::{Stored, namespaces};
use crate::common::{everything, note, tiny};
use crate::trace::{self, Op};

/// Bytes of a batch that is written as a table at once, and of one of its memories.
const LARGE: usize = 5 << 20;
const LARGEST: usize = 60_000;

/// The contents of a store.
#[derive(Clone, Default)]
pub(crate) struct Contents {
    pub(crate) memories: BTreeMap<MemoryId, Stored>,
    /// All ids that were ever given.
    pub(crate) used: BTreeSet<MemoryId>,
}

impl Contents {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Store(some) => {
                self.used.extend(some.iter().map(|(id, _)| *id));
                self.memories.extend(some.iter().cloned());
            }
            Change::Forget(some) => some.iter().for_each(|id| drop(self.memories.remove(id))),
            Change::Nothing => {}
        }
    }

    /// Fails unless `get` and `recall` find these contents and nothing else.
    pub(crate) fn check(&self, engine: &Engine) {
        self.memories.iter().for_each(|(&id, one)| one.check(engine, id));
        for &id in self.used.iter().filter(|id| !self.memories.contains_key(id)) {
            assert_eq!(engine.get(id).unwrap(), None);
        }
        let stats = engine.stats();
        assert_eq!(stats.total(), self.memories.len());
        assert_eq!(stats.namespaces.iter().map(|(_, count)| count).sum::<usize>(), self.memories.len());
    }
}

enum Change {
    Store(Vec<(MemoryId, Stored)>),
    Forget(Vec<MemoryId>),
    /// Closing and compacting, which sync everything.
    Nothing,
}

/// An operation that was acknowledged.
struct Step {
    change: Change,
    durability: Durability,
    /// The number of operations before it began, and when it was acknowledged.
    began: usize,
    ended: usize,
}

/// A run of an engine, from one power loss to the next.
pub(crate) struct Run {
    before: Contents,
    steps: Vec<Step>,
    /// The number of leading operations that stand for earlier content.
    first: usize,
    pub(crate) ops: Vec<Op>,
}

pub(crate) fn config(durability: Durability) -> Config {
    tiny().durability(durability)
}

/// Records what an engine does to the store in `folder`, which holds `before`.
pub(crate) fn record(folder: &Path, before: Contents, seed: u64, operations: u64) -> Run {
    trace::start(folder);
    let first = trace::position();
    let mut work = Work {
        store: folder.join("store"),
        random: Rng::with_seed(seed),
        seed,
        stored: 0,
        now: before.clone(),
        steps: Vec::new(),
        durability: Durability::Synced,
    };
    let mut engine = work.open();
    for _ in 0..operations {
        work.operate(&mut engine);
    }
    work.step(Durability::Synced, || engine.take().map(Engine::close).transpose().map(|_| Change::Nothing));
    Run { before, steps: work.steps, first, ops: trace::stop() }
}

struct Work {
    store: PathBuf,
    random: Rng,
    seed: u64,
    stored: u64,
    now: Contents,
    steps: Vec<Step>,
    durability: Durability,
}

impl Work {
    fn open(&mut self) -> Option<Engine> {
        self.durability = *self.random.choice(&[Durability::Buffered, Durability::Synced]).unwrap();
        Some(Engine::open(&self.store, config(self.durability)).unwrap())
    }

    /// Runs an operation and records when it was acknowledged.
    fn step(&mut self, durability: Durability, act: impl FnOnce() -> Result<Change, mnemocore::Error>) {
        let began = trace::position();
        let change = act().unwrap();
        self.now.apply(&change);
        self.steps.push(Step { change, durability, began, ended: trace::position() });
    }

    fn operate(&mut self, slot: &mut Option<Engine>) {
        let Some(engine) = slot else { return };
        match self.random.u32(0..1_000) {
            0..450 => {
                let durability = *self.random.choice(&[Durability::Buffered, self.durability]).unwrap();
                let one = self.some(1).remove(0);
                self.step(durability, || {
                    let id = engine.store_with(one.memory(), durability)?.id;
                    Ok(Change::Store(vec![(id, one)]))
                });
            }
            450..560 => {
                let count = self.random.u64(2..20);
                let some = self.some(count);
                self.step(self.durability, || store_batch(engine, some));
            }
            560..563 => self.grow(engine),
            563..780 if !self.now.memories.is_empty() => {
                // Mostly of the newest, because their ids must not be reused.
                let ids: Vec<MemoryId> = self.now.memories.keys().copied().collect();
                let count = if self.random.u8(0..4) == 0 { self.random.usize(1..12) } else { 1 };
                let at = ids.len() - self.random.usize(0..ids.len()).min(self.random.usize(0..20)) - 1;
                let ids: Vec<MemoryId> = ids[at..].iter().copied().take(count).collect();
                self.step(self.durability, || Ok(Change::Forget(engine.forget_batch(&ids)?)));
            }
            780..870 => {
                for (_, one) in self.now.memories.iter().take(self.random.usize(0..6)) {
                    let query = Query::text(&one.word).namespace(namespaces()[one.namespace].clone());
                    engine.recall(query.limit(2)).unwrap();
                }
            }
            870..930 => drop(engine.consolidate().unwrap()),
            930..950 => {
                let days = self.random.i64(0..500) * 86_400_000;
                engine.consolidate_at(Timestamp(Timestamp::now().0 + days)).unwrap();
            }
            950..970 => self.step(Durability::Synced, || engine.compact().map(|()| Change::Nothing)),
            970..1_000 => {
                let engine = slot.take();
                self.step(Durability::Synced, || {
                    engine.map(Engine::close).transpose().map(|_| Change::Nothing)
                });
                *slot = self.open();
            }
            _ => {}
        }
    }

    fn some(&mut self, count: u64) -> Vec<Stored> {
        let first = self.stored;
        self.stored += count;
        (first..self.stored).map(|number| Stored::random(&mut self.random, self.seed, number)).collect()
    }

    /// Stores so much that tables are written meanwhile. Forgets most of it, to keep the checks
    /// short.
    fn grow(&mut self, engine: &Engine) {
        let mut some = self.some((LARGE / LARGEST) as u64);
        some.iter_mut().for_each(|one| one.ballast = LARGEST);
        self.step(self.durability, || store_batch(engine, some));
        let large = self.now.memories.iter().filter(|(_, one)| one.ballast == LARGEST);
        let ids: Vec<MemoryId> = large.map(|(&id, _)| id).skip(2).collect();
        self.step(self.durability, || Ok(Change::Forget(engine.forget_batch(&ids)?)));
    }
}

fn store_batch(engine: &Engine, some: Vec<Stored>) -> Result<Change, mnemocore::Error> {
    let ids = engine.store_batch(some.iter().map(Stored::memory).collect())?;
    Ok(Change::Store(ids.iter().map(MemoryId::from).zip(some).collect()))
}

impl Run {
    /// Acknowledged operations.
    pub(crate) fn acknowledged(&self) -> usize {
        self.steps.len()
    }

    /// Returns a moment for the power loss, mostly around a sync, a change of a name or an
    /// acknowledgment.
    pub(crate) fn moment(&self, random: &mut Rng) -> usize {
        let at = match random.u8(0..5) {
            // While everything is synced,
            0 => {
                let all = self.steps.iter().filter(|step| matches!(step.change, Change::Nothing));
                let Step { began, ended, .. } = random.choice(all.collect::<Vec<_>>()).unwrap();
                random.usize(began..=ended)
            }
            // or, most of all, between one table and the next.
            4 => {
                let ops = self.ops.iter().enumerate().skip(self.first);
                let all = ops.filter(|(_, op)| matches!(op, Op::Rename { .. }));
                random.choice(all.collect::<Vec<_>>()).map_or(0, |(at, _)| at + random.usize(2..12))
            }
            1 => random.usize(self.first..=self.ops.len()),
            2 => {
                let step = &self.steps[random.usize(..self.steps.len())];
                if random.bool() { step.began } else { step.ended }
            }
            _ => {
                let telling = |(_, op): &(usize, &Op)| !matches!(op, Op::Write { .. } | Op::SetLength { .. });
                let ops = self.ops.iter().enumerate().skip(self.first);
                let all: Vec<usize> = ops.filter(telling).map(|(at, _)| at).collect();
                *random.choice(&all).unwrap_or(&0)
            }
        };
        (at + random.usize(0..3)).saturating_sub(1).clamp(self.first, self.ops.len())
    }

    /// Returns the possible contents after a power loss after `moment` operations. They hold
    /// everything up to the last acknowledgment of `Synced`, and a prefix of the later operations,
    /// each of them whole.
    fn possible(&self, moment: usize) -> Vec<Contents> {
        let synced = |step: &Step| step.ended <= moment && step.durability == Durability::Synced;
        let safe = self.steps.iter().rposition(synced).map_or(0, |at| at + 1);
        let mut contents = self.before.clone();
        self.steps[..safe].iter().for_each(|step| contents.apply(&step.change));
        let mut possible = vec![contents.clone()];
        for step in self.steps[safe..].iter().take_while(|step| step.began < moment) {
            contents.apply(&step.change);
            possible.push(contents.clone());
        }
        possible
    }

    /// Fails unless the store holds the contents of the end; returns them.
    pub(crate) fn check_at_its_end(&self, folder: &Path) -> Contents {
        let engine = Engine::open(folder.join("store"), config(Durability::Synced)).unwrap();
        self.check(&engine, self.ops.len())
    }

    /// Fails unless the engine holds possible contents; returns those that it holds.
    pub(crate) fn check(&self, engine: &Engine, moment: usize) -> Contents {
        let mut found = BTreeMap::new();
        for (number, namespace) in namespaces().iter().enumerate() {
            let all = everything(engine, namespace);
            assert!(all.windows(2).all(|two| two[0].0 != two[1].0), "a memory was recalled twice");
            found.extend(all.into_iter().map(|(id, text)| (id, (number, text))));
        }
        let mut possible = self.possible(moment);
        let is = |contents: &Contents| {
            let expected = contents.memories.iter().map(|(&id, one)| (id, (one.namespace, note(&one.word))));
            expected.eq(found.iter().map(|(&id, text)| (id, text.clone())))
        };
        let Some(at) = possible.iter().position(is) else {
            let must = &possible[0].memories;
            let may = &possible[possible.len() - 1].memories;
            let lost: Vec<_> =
                must.keys().filter(|id| may.contains_key(id) && !found.contains_key(id)).collect();
            let more: Vec<_> = found.keys().filter(|id| !must.contains_key(id)).collect();
            panic!(
                "{} of {} memories are lost, {} are there too, with {} later operations: {:?}, {:?}",
                lost.len(),
                must.len(),
                more.len(),
                possible.len() - 1,
                lost.first(),
                more.first(),
            )
        };
        let contents = possible.swap_remove(at);
        contents.check(engine);
        contents
    }
}
