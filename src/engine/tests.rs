//! Tests that need a log that refuses calls, or access to the queue.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::movement::{Left, Move};
use super::*;
use crate::hdv::Dimension;
use crate::key::Timestamp;
use crate::log::{Batch, Durability, Table, Visit, VolatileLog};
use crate::memory::NewMemory;
use crate::tier::Method;

mod opening;
mod segments;
mod shared;

/// A log that can refuse one commit or one read of a record.
#[derive(Default)]
struct Refusing {
    log: VolatileLog,
    /// Commits up to and including the refused one; 0 for none.
    countdown: AtomicUsize,
    /// Reads of records up to and including the refused one; 0 for none.
    reads: AtomicUsize,
    /// Whether it is unreachable on another machine; counts the attempts.
    away: AtomicBool,
    tried: AtomicUsize,
}

/// Counts down and returns whether this call reached the end.
fn due(countdown: &AtomicUsize) -> bool {
    let step = |left: usize| left.checked_sub(1);
    countdown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step) == Ok(1)
}

fn refusal() -> Error {
    Error::NoSpace { path: "refused".into() }
}

impl Log for Refusing {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, Error> {
        if table == Table::Records && due(&self.reads) {
            return Err(refusal());
        }
        self.log.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        self.log.scan(table, prefix, visit)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), Error> {
        if !batch.is_empty() && due(&self.countdown) {
            return Err(refusal());
        }
        if self.away.load(Ordering::SeqCst) {
            self.tried.fetch_add(1, Ordering::SeqCst);
            let (what, message) = ("a bucket".into(), "no answer".into());
            return Err(Error::Unreachable { what, action: "commit", attempts: 1, message });
        }
        self.log.commit(batch, durability)
    }

    fn compact(&self) -> Result<(), Error> {
        Ok(())
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn tiny() -> Config {
    Config {
        dimension: Dimension::new(256).unwrap(),
        hot_capacity: 4,
        warm_capacity: 6,
        background: false,
        token_cache_bytes: 1 << 16,
        ..Config::default()
    }
}

fn open(log: &Arc<Refusing>, folder: &Path) -> Engine {
    Engine::over(log.clone(), folder, tiny()).unwrap()
}

fn text(word: usize) -> String {
    format!("a harbour pilot remembers q{word}z")
}

/// Returns all memories, after checking every way to read them.
fn everything(engine: &Engine) -> BTreeMap<MemoryId, String> {
    let query = Query::text("harbour").limit(usize::MAX).method(Method::Exact).touch(false);
    let hits = engine.recall(&query).unwrap().hits;
    let found: BTreeMap<_, _> = hits.iter().map(|hit| (hit.memory.id, hit.memory.text.clone())).collect();
    assert_eq!(found.len(), hits.len(), "a memory was recalled twice");
    assert_eq!(engine.stats().total(), found.len());
    for hit in hits {
        assert_eq!(engine.get(hit.memory.id).unwrap(), Some(hit.memory));
    }
    found
}

fn embedding(number: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    (0..8).map(|_| random.f32() - 0.5).collect()
}

/// One random operation; the model follows if it succeeds. Returns whether it did.
fn step(
    engine: &Engine,
    model: &mut BTreeMap<MemoryId, String>,
    random: &mut fastrand::Rng,
    next: &mut usize,
) -> bool {
    let fresh = |next: &mut usize, random: &mut fastrand::Rng| {
        *next += 1;
        let memory = NewMemory::new(text(*next)).importance(random.f32() + 0.1);
        if next.is_multiple_of(3) { memory.embedding(embedding(*next)) } else { memory }
    };
    match random.u8(0..10) {
        0..4 => {
            let memory = fresh(next, random);
            let text = memory.text.clone();
            engine.store(memory).map(|stored| drop(model.insert(stored.id, text))).is_ok()
        }
        4..6 => {
            let memories: Vec<NewMemory> = (0..random.usize(1..9)).map(|_| fresh(next, random)).collect();
            let texts: Vec<String> = memories.iter().map(|memory| memory.text.clone()).collect();
            let stored = engine.store_batch(memories);
            stored.map(|ids| model.extend(ids.iter().map(MemoryId::from).zip(texts))).is_ok()
        }
        6..8 => {
            let ids: Vec<MemoryId> = model.keys().copied().filter(|_| random.u8(0..6) == 0).collect();
            let forgotten = engine.forget_batch(&ids).map(|gone| assert_eq!(gone, ids));
            forgotten.map(|()| model.retain(|id, _| !ids.contains(id))).is_ok()
        }
        8 => {
            for _ in 0..random.u8(1..6) {
                let word = random.usize(0..=*next);
                drop(engine.recall(Query::text(format!("q{word}z")).limit(2)));
            }
            true
        }
        _ => {
            let days = random.i64(0..300) * 86_400_000;
            engine.consolidate_at(Timestamp(Timestamp::now().0 + days)).is_ok()
        }
    }
}

/// Runs random operations over a log that refuses some; returns how many were refused.
fn against_a_model(seed: u64, arm: impl Fn(&Refusing, &mut fastrand::Rng)) -> usize {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut engine = open(&log, folder.path());
    let (mut model, mut next, mut refused) = (BTreeMap::new(), 0, 0);
    for _ in 0..60 {
        arm(&log, &mut random);
        refused += usize::from(!step(&engine, &mut model, &mut random, &mut next));
        log.countdown.store(0, Ordering::SeqCst);
        log.reads.store(0, Ordering::SeqCst);
        assert_eq!(everything(&engine), model, "seed {seed}");
        if random.u8(0..12) == 0 {
            drop(engine);
            engine = open(&log, folder.path());
            assert_eq!(everything(&engine), model, "seed {seed}, after a restart");
        }
    }
    for (id, text) in &model {
        let word: usize = text.trim_end_matches('z').rsplit('q').next().unwrap().parse().unwrap();
        if word.is_multiple_of(3) {
            let hit = engine.recall(Query::embedding(embedding(word)).limit(1)).unwrap().hits.remove(0);
            assert_eq!((hit.memory.id, hit.score), (*id, 1.0), "seed {seed}, in {}", hit.memory.tier);
        }
    }
    engine.consolidate().unwrap();
    assert_eq!(everything(&engine), model, "seed {seed}");
    refused
}

#[test]
fn random_operations_agree_with_a_model() {
    let refused: usize = (0..20).map(|seed| against_a_model(seed, |_, _| {})).sum();
    assert_eq!(refused, 0);
}

#[test]
fn an_operation_whose_commit_is_refused_changes_nothing() {
    let arm = |log: &Refusing, random: &mut fastrand::Rng| {
        log.countdown.store(if random.bool() { random.usize(1..4) } else { 0 }, Ordering::SeqCst);
    };
    let refused: usize = (100..140).map(|seed| against_a_model(seed, arm)).sum();
    assert!(refused > 200, "{refused}");
}

#[test]
fn an_operation_that_cannot_read_the_log_changes_nothing() {
    let arm = |log: &Refusing, random: &mut fastrand::Rng| {
        log.reads.store(if random.bool() { random.usize(1..8) } else { 0 }, Ordering::SeqCst);
    };
    let refused: usize = (200..240).map(|seed| against_a_model(seed, arm)).sum();
    assert!(refused > 100, "{refused}");
}

#[test]
fn the_length_of_embeddings_is_noted_also_when_the_first_commit_was_refused() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let engine = open(&log, folder.path());
    log.countdown.store(1, Ordering::SeqCst);
    let memory = NewMemory::new("first").embedding(embedding(1));
    assert!(matches!(engine.store(memory.clone()), Err(Error::NoSpace { .. })));
    engine.store(memory).unwrap();
    drop(engine);
    let engine = open(&log, folder.path());
    let other = NewMemory::new("of another model").embedding(vec![1.0; 9]);
    assert!(matches!(engine.store(other), Err(Error::Encode(_))));
}

#[test]
fn of_two_first_embeddings_at_once_the_earlier_decides_the_length() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let engine = open(&log, folder.path());
    let of_nine = || NewMemory::new("of another model").embedding(vec![1.0; 9]);
    grouped(
        &engine,
        || assert!(engine.store(NewMemory::new("first").embedding(embedding(1))).is_ok()),
        || assert!(matches!(engine.store(of_nine()), Err(Error::Encode(_)))),
    );
    drop(engine);
    let engine = open(&log, folder.path());
    assert!(matches!(engine.store(of_nine()), Err(Error::Encode(_))));
    assert!(engine.store(NewMemory::new("second").embedding(embedding(2))).is_ok());
}

#[test]
fn ids_are_not_given_again_after_a_refused_commit() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let mut last = None;
    for round in 0..8 {
        let engine = open(&log, folder.path());
        log.countdown.store(1, Ordering::SeqCst);
        assert!(engine.store(text(round)).is_err());
        let id = engine.store(text(round)).unwrap().id;
        assert!(last < Some(id));
        last = Some(id);
        engine.forget(id).unwrap();
    }
}

/// Lets `first` and `second` be committed as one group, in this order.
fn grouped(engine: &Engine, first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
    let waiting = |count: usize| {
        while lock(&engine.shared.queue).waiting.len() < count {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let writer = engine.shared.lock_writer();
        scope.spawn(first);
        waiting(1);
        scope.spawn(second);
        waiting(2);
        drop(writer);
    });
}

#[test]
fn a_log_that_cannot_be_reached_is_tried_once_for_a_whole_group() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let engine = open(&log, folder.path());
    log.away.store(true, Ordering::SeqCst);
    let refused = || assert!(matches!(engine.store(text(1)), Err(Error::Unreachable { .. })));
    grouped(&engine, refused, refused);
    assert_eq!(log.tried.load(Ordering::SeqCst), 1);
    log.away.store(false, Ordering::SeqCst);
    engine.store(text(2)).unwrap();
    assert_eq!(engine.stats().total(), 1);
}

#[test]
fn a_memory_that_is_forgotten_beside_a_store_is_not_moved_instead() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let engine = open(&log, folder.path());
    let weakest = engine.store(NewMemory::new(text(0)).importance(0.01)).unwrap().id;
    for word in 1..4 {
        engine.store(text(word)).unwrap();
    }
    assert_eq!(engine.stats().memories, [4, 0, 0]);
    grouped(&engine, || assert!(engine.forget(weakest).unwrap()), || assert!(engine.store(text(4)).is_ok()));
    assert_eq!(engine.stats().memories, [4, 0, 0]);
    assert_eq!(everything(&engine).len(), 4);
    engine.store(text(5)).unwrap();
    assert_eq!(engine.stats().memories, [4, 1, 0]);
    drop(engine);
    assert_eq!(everything(&open(&log, folder.path())).len(), 5);
}

#[test]
fn a_group_whose_commit_is_refused_is_committed_one_by_one() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let engine = open(&log, folder.path());
    let first = engine.store(text(0)).unwrap().id;
    log.countdown.store(1, Ordering::SeqCst);
    grouped(
        &engine,
        || assert!(engine.store(NewMemory::new(text(1)).embedding(embedding(1))).is_ok()),
        || assert!(engine.forget(first).unwrap()),
    );
    assert_eq!(everything(&engine).into_values().collect::<Vec<_>>(), [text(1)]);
    drop(engine);
    let engine = open(&log, folder.path());
    assert_eq!(everything(&engine).into_values().collect::<Vec<_>>(), [text(1)]);
    assert!(engine.store(NewMemory::new("other").embedding(vec![1.0; 9])).is_err());
}

#[test]
fn a_memory_that_rose_and_sank_again_moves_on_once() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let engine = open(&log, folder.path());
    engine.store_batch((0..10).map(|word| NewMemory::new(text(word))).collect()).unwrap();
    for round in 0..6 {
        // Now these, now those are asked for, so that all rise and sink again.
        for word in (0..10).filter(|word| word % 2 == round % 2) {
            for _ in 0..=3 * round {
                engine.recall(Query::text(format!("q{word}z")).limit(1)).unwrap();
            }
        }
        engine.consolidate().unwrap();
        assert_eq!(engine.stats().memories, [4, 6, 0]);
    }
    let years = Timestamp(Timestamp::now().0 + 2_000 * 86_400_000);
    engine.consolidate_at(years).unwrap();
    assert_eq!(engine.stats().memories, [0, 0, 10]);
    assert_eq!(everything(&engine).len(), 10);
}

#[test]
fn a_refused_merge_leaves_no_file_behind() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let engine = open(&log, folder.path());
    for part in 0..3 {
        // Enough for a file of their own.
        let memory = |word: usize| NewMemory::new(text(part * 1_100 + word));
        engine.store_batch((0..1_100).map(memory).collect()).unwrap();
        engine.shared.demote(Timestamp::now(), true, &mut Left::default()).unwrap();
    }
    let files = || std::fs::read_dir(folder.path().join("segments")).unwrap().count();
    assert_eq!(files(), 3);
    for _ in 0..3 {
        log.countdown.store(1, Ordering::SeqCst);
        assert!(matches!(engine.consolidate(), Err(Error::NoSpace { .. })));
        assert_eq!(files(), 3);
        assert_eq!(everything(&engine).len(), 3_300);
    }
    engine.consolidate().unwrap();
    assert_eq!(files(), 1);
    assert_eq!(everything(&engine).len(), 3_300);
}

fn hot_to(to: TierKind) -> Move {
    Move { from: TierKind::Hot, to, now: Timestamp::now() }
}

#[test]
fn a_memory_that_is_forgotten_while_it_moves_stays_forgotten() {
    for to in [TierKind::Warm, TierKind::Cold] {
        let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
        let engine = open(&log, folder.path());
        let ids: Vec<MemoryId> = (0..4).map(|word| engine.store(text(word)).unwrap().id).collect();
        let admissions = ids.iter().map(|&id| engine.shared.prepared_from_log(id, 1).unwrap().unwrap());
        let admissions = admissions.collect();
        let namespace = engine.shared.space(&Namespace::default()).unwrap().id;
        let moving: Vec<_> = ids.iter().map(|&id| Placed { id, namespace }).collect();
        let work = engine.shared.lock_writer().tiers[to.index()].stage(namespace, admissions);
        let done = work().unwrap();
        engine.forget(ids[1]).unwrap();
        engine.shared.finish_move(namespace, &moving, hot_to(to), done).unwrap();
        assert_eq!(everything(&engine).len(), 3);
        assert_eq!(engine.stats().memories_in(to), 3);
        drop(engine);
        let engine = open(&log, folder.path());
        assert_eq!(everything(&engine).len(), 3);
        assert_eq!(engine.stats().memories_in(to), 3);
    }
}

/// Before, the second move took it out of the log: it was lost with the next opening.
#[test]
fn a_memory_that_two_threads_move_at_once_is_there_once_and_stays() {
    for to in [TierKind::Warm, TierKind::Cold] {
        for packed in [false, true] {
            let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
            let config = Config { hot_capacity: 20, ..tiny() };
            let open = || Engine::over(log.clone(), folder.path(), config.clone()).unwrap();
            let engine = open();
            let ids: Vec<MemoryId> = (0..12).map(|word| engine.store(text(word)).unwrap().id).collect();
            if packed {
                engine.consolidate().unwrap();
            }
            let namespace = engine.shared.space(&Namespace::default()).unwrap().id;
            let moving: Vec<_> = ids[..3].iter().map(|&id| Placed { id, namespace }).collect();
            let stage = || {
                let mut writer = engine.shared.lock_writer();
                let memory = |id: &MemoryId| writer.tiers[0].memory(namespace, *id).unwrap().unwrap();
                let memories = ids[..3].iter().map(memory).collect();
                let work = writer.tiers[to.index()].stage(namespace, memories);
                drop(writer);
                work().unwrap()
            };
            let (first, second) = (stage(), stage());
            for done in [first, second] {
                engine.shared.finish_move(namespace, &moving, hot_to(to), done).unwrap();
                assert_eq!(everything(&engine).len(), 12);
            }
            std::mem::forget(engine);
            let engine = open();
            assert_eq!(everything(&engine).len(), 12, "{to}, packed: {packed}");
            engine.consolidate().unwrap();
            drop(engine);
            let engine = open();
            assert_eq!((everything(&engine).len(), engine.stats().memories_in(TierKind::Hot)), (12, 9));
        }
    }
}

#[test]
fn a_namespace_in_which_nothing_is_left_goes_and_its_number_is_not_given_again() {
    let (log, folder) = (Arc::new(Refusing::default()), tempfile::tempdir().unwrap());
    let [ada, bob] = ["ada", "bob"].map(|name| Namespace::new(name).unwrap());
    let engine = open(&log, folder.path());
    let id = engine.store(NewMemory::new(text(0)).namespace(ada.clone())).unwrap().id;
    let number = engine.shared.space(&ada).unwrap().id;
    engine.compact().unwrap();
    assert_eq!(engine.stats().namespaces, [(ada.clone(), 1)]);
    engine.forget(id).unwrap();
    engine.compact().unwrap();
    assert!(engine.stats().namespaces.is_empty());
    drop(engine);
    let engine = open(&log, folder.path());
    for name in [bob, ada] {
        let id = engine.store(NewMemory::new(text(1)).namespace(name.clone())).unwrap().id;
        assert_ne!(engine.shared.space(&name).unwrap().id, number);
        assert_eq!(engine.get(id).unwrap().unwrap().namespace, name);
    }
}

#[test]
fn what_was_forgotten_is_not_among_the_weakest() {
    let config = Config { hot_capacity: 100, ..tiny() };
    let engine = Engine::in_memory(config).unwrap();
    let kept = [0, 1, 2].map(|number| engine.store(text(number)).unwrap().id);
    for number in 3..2_000 {
        let id = engine.store(text(number)).unwrap().id;
        assert!(engine.forget(id).unwrap());
    }
    let mut writer = engine.shared.lock_writer();
    let weakest: Vec<MemoryId> = writer
        .take_weakest(TierKind::Hot, 10, Timestamp::now())
        .into_iter()
        .map(|memory| memory.id)
        .collect();
    assert_eq!(weakest.len(), kept.len());
    assert!(kept.iter().all(|id| weakest.contains(id)));
}

/// Before, all that were recalled since the last pass rose at once: HOT held 20 times its capacity.
#[test]
fn memories_that_rise_displace_others_before_the_next_ones_rise() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(Refusing::default());
    let engine = open(&log, folder.path());
    let memories: Vec<NewMemory> = (0..1_000).map(|number| NewMemory::new(text(number))).collect();
    engine.store_batch(memories).unwrap();
    engine.consolidate().unwrap();
    for round in 0..3 {
        let recall = engine.recall(Query::text("harbour").limit(1_000)).unwrap();
        assert_eq!(recall.hits.len(), 1_000);
        let (risen, _) = engine.shared.promote(Timestamp::now(), &mut Left::default()).unwrap();
        assert!((1..=1_000).contains(&risen), "{risen} memories rose in round {round}");
        assert_eq!(engine.stats().memories_in(TierKind::Hot), 4);
    }
    assert_eq!(everything(&engine).len(), 1_000);
    engine.recall(Query::text("harbour").limit(1_000)).unwrap();
    drop(engine);
    assert_eq!(open(&log, folder.path()).stats().memories_in(TierKind::Hot), 4);
}

/// Before, every recalled memory was noted until somebody counted the accesses, forgotten ones too.
#[test]
fn recalled_memories_are_noted_as_far_as_the_budget_has_room() {
    let config = Config { background: false, memory_budget: 8 << 20, ..tiny() };
    let engine = Engine::in_memory(config).unwrap();
    let most = engine.shared.budget.recalled();
    engine.store_batch((0..most + 100).map(|word| NewMemory::new(text(word))).collect()).unwrap();
    let namespace = engine.shared.space(&Namespace::default()).unwrap().id;
    for id in (0..most as u64 + 100).chain(0..10) {
        engine.shared.touch(namespace, [MemoryId(id)].into_iter());
    }
    let touched = lock(&engine.shared.touched).clone();
    assert_eq!(touched.len(), most);
    assert_eq!(touched[&Placed { id: MemoryId(3), namespace }], 2);
}
