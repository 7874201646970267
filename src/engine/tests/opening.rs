//! Merges while an engine opens.

use super::*;
use crate::engine::open::{MERGED_AFTER, Parts, RESTORED_AT_ONCE};
use crate::memory::Stored;
use crate::segment::PreparedMemory;
use crate::tier::files::{OpenedFiles, SegmentFiles};
use crate::tier::local::{LocalTier, tiers};
use crate::tier::{Done, Effort, Facts, Limits, Tier, TierView, Upkeep};

/// A few more memories than are restored before the first merge.
const COUNT: usize = MERGED_AFTER * RESTORED_AT_ONCE + 100;

/// A HOT tier that counts the calls for upkeep. It may act as a tier on another machine, or on a
/// disk that refuses.
struct Watched {
    hot: LocalTier,
    together: Option<usize>,
    asked: Arc<AtomicUsize>,
    refuses: bool,
}

impl Tier for Watched {
    fn kind(&self) -> TierKind {
        self.hot.kind()
    }

    fn len(&self) -> usize {
        self.hot.len()
    }

    fn apply(&mut self, done: Done, batch: &mut Batch) -> Result<Vec<NamespaceId>, Error> {
        self.hot.apply(done, batch)
    }

    fn stage_removal(&self, namespace: NamespaceId, id: MemoryId, batch: &mut Batch) -> bool {
        self.hot.stage_removal(namespace, id, batch)
    }

    fn remove(&mut self, namespace: NamespaceId, id: MemoryId) -> bool {
        self.hot.remove(namespace, id)
    }

    fn facts(&self, namespace: NamespaceId, id: MemoryId) -> Option<Facts> {
        self.hot.facts(namespace, id)
    }

    fn stage_accesses(&self, namespace: NamespaceId, id: MemoryId, accesses: u32, batch: &mut Batch) {
        self.hot.stage_accesses(namespace, id, accesses, batch);
    }

    fn set_accesses(&mut self, namespace: NamespaceId, id: MemoryId, accesses: u32) -> bool {
        self.hot.set_accesses(namespace, id, accesses)
    }

    fn weakest(&mut self, now: Timestamp) -> Option<(NamespaceId, MemoryId)> {
        self.hot.weakest(now)
    }

    fn unlist(&mut self, namespace: NamespaceId, id: MemoryId) {
        self.hot.unlist(namespace, id);
    }

    fn put_back(&mut self, namespace: NamespaceId, id: MemoryId) {
        self.hot.put_back(namespace, id);
    }

    fn memory(&self, namespace: NamespaceId, id: MemoryId) -> Result<Option<Arc<PreparedMemory>>, Error> {
        self.hot.memory(namespace, id)
    }

    fn view(&mut self, namespace: NamespaceId) -> Arc<dyn TierView> {
        self.hot.view(namespace)
    }

    fn upkeep(&mut self, effort: Effort) -> Option<Upkeep> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.refuses { Some(Box::new(|| Err(refusal()))) } else { self.hot.upkeep(effort) }
    }

    fn preferred_batch(&self) -> Option<usize> {
        self.together
    }
}

/// Opens `log` with a watched HOT, and files in `folder`. Returns the number of calls for upkeep.
fn opened(
    log: &Arc<dyn Log>,
    folder: &Path,
    together: Option<usize>,
    refuses: bool,
) -> (Result<Engine, Error>, usize) {
    let config = roomy();
    let encoder = Arc::new(Encoder::new(config.dimension, config.token_cache_bytes));
    let asked = Arc::new(AtomicUsize::new(0));
    let watched = |hot| Watched { hot, together, asked: asked.clone(), refuses };
    let opened = SegmentFiles::open(&folder.join("segments"), None, log).unwrap();
    let OpenedFiles { files, segments } = opened;
    let [hot, warm, cold] = tiers(&files, segments, true, &encoder, config.decay_per_day, Limits::default());
    let tiers: [Box<dyn Tier>; 3] = [Box::new(watched(hot)), Box::new(warm), Box::new(cold)];
    let engine = Engine::from_parts(config, Parts { encoder, log: log.clone(), files: Some(files), tiers });
    (engine, asked.load(Ordering::SeqCst))
}

fn roomy() -> Config {
    Config { hot_capacity: COUNT, warm_capacity: COUNT, ..tiny() }
}

/// A log with [`COUNT`] memories in HOT, which are in no file: the engine was killed.
fn full() -> Arc<dyn Log> {
    let log: Arc<dyn Log> = Arc::new(VolatileLog::default());
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::over(log.clone(), folder.path(), roomy()).unwrap();
    store(&engine, (0..COUNT).map(|word| NewMemory::new(text(word))));
    std::mem::forget(engine);
    log
}

/// Stores memories in batches that are not packed at once.
fn store(engine: &Engine, memories: impl Iterator<Item = NewMemory>) -> Vec<Stored> {
    let memories: Vec<NewMemory> = memories.collect();
    memories.chunks(4_096).flat_map(|some| engine.store_batch(some.to_vec()).unwrap()).collect()
}

/// Each search goes through every segment, and merging at the end leaves holes in the heap.
#[test]
fn a_large_store_is_merged_while_it_is_opened() {
    let (log, folder) = (full(), tempfile::tempdir().unwrap());
    for (hot_capacity, tier) in [(COUNT, TierKind::Hot), (0, TierKind::Warm)] {
        let config = Config { hot_capacity, ..roomy() };
        Engine::over(log.clone(), folder.path(), config.clone()).unwrap().consolidate().unwrap();
        let engine = Engine::over(log.clone(), folder.path(), config).unwrap();
        assert_eq!(engine.stats().memories[tier.index()], COUNT);
        let due = engine.shared.lock_writer().tiers[tier.index()].upkeep(Effort::Due);
        assert!(due.is_none(), "{tier} is unmerged");
    }
}

/// Its upkeep is calls to another machine.
#[test]
fn a_tier_elsewhere_is_left_alone_while_an_engine_opens() {
    let (log, folder) = (full(), tempfile::tempdir().unwrap());
    let (engine, asked) = opened(&log, folder.path(), Some(256), false);
    let engine = engine.unwrap();
    assert_eq!((engine.stats().total(), asked), (COUNT, 0));
    std::mem::forget(engine);
    let (engine, asked) = opened(&log, folder.path(), None, false);
    assert_eq!(engine.unwrap().stats().total(), COUNT);
    assert!(asked > 0, "here it is merged");
}

#[test]
fn a_merge_that_fails_while_an_engine_opens_is_told_and_loses_nothing() {
    let (log, folder) = (full(), tempfile::tempdir().unwrap());
    let (engine, _) = opened(&log, folder.path(), None, true);
    assert!(matches!(engine.err(), Some(Error::NoSpace { .. })));
    let (engine, _) = opened(&log, folder.path(), None, false);
    assert_eq!(everything(&engine.unwrap()).len(), COUNT);
}

#[test]
fn every_namespace_has_its_own_memories_again_after_an_opening_that_merges() {
    let (log, folder) = (full(), tempfile::tempdir().unwrap());
    let [ada, bob] = ["ada", "bob"].map(|name| Namespace::new(name).unwrap());
    let engine = Engine::over(log.clone(), folder.path(), roomy()).unwrap();
    let memories = (0..COUNT).map(|word| {
        let namespace = if word % 3 == 0 { &bob } else { &ada };
        NewMemory::new(text(word)).namespace(namespace.clone())
    });
    let ids = store(&engine, memories);
    std::mem::forget(engine);
    let engine = Engine::over(log, folder.path(), roomy()).unwrap();
    for (name, of) in [(&ada, &[1, 2][..]), (&bob, &[0])] {
        let query = Query::text("harbour").limit(usize::MAX).method(Method::Exact).touch(false);
        let hits = engine.scope(name.clone()).recall(&query).unwrap().hits;
        let mut found: Vec<MemoryId> = hits.iter().map(|hit| hit.memory.id).collect();
        found.sort_unstable();
        let expected = ids.iter().enumerate().filter(|(word, _)| of.contains(&(word % 3)));
        assert_eq!(found, expected.map(|(_, stored)| stored.id).collect::<Vec<_>>());
    }
}

/// Before, it packed and merged files, also for a reader, and also in the bucket that the files are
/// shared through.
#[test]
fn an_opening_writes_and_deletes_no_files() {
    let (log, folder): (Arc<dyn Log>, _) = (Arc::new(VolatileLog::default()), tempfile::tempdir().unwrap());
    let config = Config { hot_capacity: 2 * COUNT, ..roomy() };
    let open = || Engine::over(log.clone(), folder.path(), config.clone()).unwrap();
    let some = |count| (0..count).map(|word| NewMemory::new(text(word)));
    for _ in 0..4 {
        store(&open(), some(600));
    }
    let files = || std::fs::read_dir(folder.path().join("segments")).unwrap().count();
    assert_eq!(files(), 4);
    let engine = open();
    store(&engine, some(COUNT));
    std::mem::forget(engine);
    let engine = open();
    assert_eq!(engine.stats().total(), 4 * 600 + COUNT);
    assert_eq!((files(), log.segments().unwrap().len()), (4, 4));
}

/// Before, memories that are large together were packed, which a full disk refused.
#[test]
fn an_opening_writes_no_segment_however_large_the_memories_are() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let config = Config { hot_capacity: 2_000, memory_budget: 8 << 20, background: false, ..tiny() };
    let open = || Engine::over(log.clone(), folder.path(), config.clone()).unwrap();
    let engine = open();
    for word in 0..100 {
        engine.store(text(word) + &" and so on".repeat(900)).unwrap();
    }
    // It is not closed, so nothing is packed.
    std::mem::forget(engine);
    let files = || std::fs::read_dir(folder.path().join("segments")).map_or(0, |files| files.count());
    let before = files();
    let engine = open();
    assert_eq!((files(), engine.stats().total()), (before, 100));
}
