//! Merges while an engine opens.

use super::*;
use crate::engine::open::{MERGED_AFTER, Parts, RESTORED_AT_ONCE};
use crate::tier::cold::ColdTier;
use crate::tier::hot::HotTier;
use crate::tier::warm::WarmTier;
use crate::tier::{Admission, Done, Tier, TierView, Upkeep};

/// A few more memories than are restored before the first merge.
const COUNT: usize = MERGED_AFTER * RESTORED_AT_ONCE + 100;

/// A HOT tier that counts the calls for upkeep. It may act as a tier on another machine, or on a
/// disk that refuses.
struct Watched {
    hot: HotTier,
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

    fn apply(&mut self, done: Done, batch: &mut Batch) -> Result<Option<NamespaceId>, Error> {
        self.hot.apply(done, batch)
    }

    fn removal(&self, namespace: NamespaceId, id: MemoryId, batch: &mut Batch) -> bool {
        self.hot.removal(namespace, id, batch)
    }

    fn remove(&mut self, namespace: NamespaceId, id: MemoryId) -> bool {
        self.hot.remove(namespace, id)
    }

    fn held(&self, namespace: NamespaceId, id: MemoryId) -> Option<Admission> {
        self.hot.held(namespace, id)
    }

    fn view(&mut self, namespace: NamespaceId) -> Arc<dyn TierView> {
        self.hot.view(namespace)
    }

    fn upkeep(&mut self, thorough: bool) -> Option<Upkeep> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.refuses { Some(Box::new(|| Err(refusal()))) } else { self.hot.upkeep(thorough) }
    }

    fn together(&self) -> Option<usize> {
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
    let hot = watched(HotTier::new(encoder.clone()));
    let warm = WarmTier::create(&folder.join("warm"), config.dimension, encoder.clone(), log.clone());
    let cold = ColdTier::open(&folder.join("cold"), None, encoder.clone(), log, &mut Batch::default());
    let tiers: [Box<dyn Tier>; 3] = [Box::new(hot), Box::new(warm.unwrap()), Box::new(cold.unwrap().0)];
    let engine = Engine::from_parts(config, Parts { encoder, log: log.clone(), tiers });
    (engine, asked.load(Ordering::SeqCst))
}

fn roomy() -> Config {
    Config { hot_capacity: COUNT, warm_capacity: COUNT, ..tiny() }
}

/// A log with [`COUNT`] memories in HOT.
fn full() -> Arc<dyn Log> {
    let log: Arc<dyn Log> = Arc::new(VolatileLog::default());
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::over(log.clone(), folder.path(), roomy()).unwrap();
    engine.store_batch((0..COUNT).map(|word| NewMemory::new(text(word))).collect()).unwrap();
    log
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
        let due = engine.shared.lock_writer().tiers[tier.index()].upkeep(false);
        assert!(due.is_none(), "{tier} is unmerged");
    }
}

/// Its upkeep is calls to another machine.
#[test]
fn a_tier_elsewhere_is_left_alone_while_an_engine_opens() {
    let (log, folder) = (full(), tempfile::tempdir().unwrap());
    let (engine, asked) = opened(&log, folder.path(), Some(256), false);
    assert_eq!((engine.unwrap().stats().total(), asked), (COUNT, 0));
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
    let ids = engine.store_batch(memories.collect()).unwrap();
    drop(engine);
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
