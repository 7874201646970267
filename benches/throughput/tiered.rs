//! A store that spans the tiers, and load on it.

use mnemocore::{AsyncEngine, Config, Durability, Engine, MemoryId, TierKind};
use mnemocore_suite::load::mix::{Mix, Traffic};
use mnemocore_suite::load::{Finished, Operation};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::common::{Fixture, Kept as _, copy_folder, endless_texts, run_closed, run_open, temporary_folder};

/// Seed of the operations of a load.
const SEED: u64 = 11;

/// A store with a tenth of its memories in HOT, three in WARM, the rest in COLD. It
/// stays as it is; a load works on a copy.
pub(crate) struct Tiered {
    folder: TempDir,
    texts: Vec<String>,
    /// The tier of each memory, by its id.
    tiers: Vec<TierKind>,
}

impl Tiered {
    /// Makes one from the kept stores.
    pub(crate) fn new(memories: usize) -> Self {
        let fixture = Fixture::new(TierKind::Hot, memories);
        let store = fixture.open_with(config(memories).background(false));
        store.engine.consolidate().expect("a consolidation");
        let tiers: Vec<TierKind> = (0..memories).map(|at| tier_of(&store.engine, at)).collect();
        for (tier, tenths) in TierKind::ALL.into_iter().zip([1, 3, 6]) {
            let here = tiers.iter().filter(|&&other| other == tier).count();
            assert_eq!(here, tenths * memories / 10, "memories in {tier}");
        }
        Self { folder: store.close(), texts: fixture.texts(), tiers }
    }

    /// A copy of it, for operations of `mix`.
    pub(crate) fn load(&self, mix: Mix, durability: Durability) -> Load<'_> {
        let folder = temporary_folder();
        copy_folder(self.folder.path(), folder.path()).expect("room for a copy of a store");
        let config = config(self.texts.len()).durability(durability);
        let engine = Engine::open(folder.path(), config).expect("a store that can be opened");
        let traffic = Traffic::new(mix, self.texts.clone(), Box::new(endless_texts()) as Texts, SEED);
        Load { engine: engine.into(), traffic, mix, tiered: self, _folder: folder }
    }
}

/// Nothing decays, so that only recalls strengthen; the background thread works.
fn config(memories: usize) -> Config {
    Config::default().hot_capacity(memories / 10).warm_capacity(3 * memories / 10).decay_per_day(0.0)
}

fn tier_of(engine: &Engine, at: usize) -> TierKind {
    let memory = engine.get(MemoryId(at as u64)).expect("a readable memory");
    memory.expect("ids count from 0, and nothing is forgotten").tier
}

type Texts = Box<dyn Iterator<Item = String>>;

/// Load of one mix on a store of its own.
pub(crate) struct Load<'t> {
    // Closed before its folder is deleted.
    engine: AsyncEngine,
    traffic: Traffic<Texts>,
    mix: Mix,
    tiered: &'t Tiered,
    _folder: TempDir,
}

impl Load<'_> {
    /// The next `count` operations by `workers`, each of which waits for its answers.
    pub(crate) fn closed(&mut self, runtime: &Runtime, count: usize, workers: usize) -> Finished {
        let operations = self.operations(count);
        run_closed(runtime, &self.engine, operations, workers)
    }

    /// Moves and merges what there is to move and to merge.
    pub(crate) fn consolidate(&self) {
        self.engine.blocking().consolidate().expect("a consolidation");
    }

    /// The next `count` operations, which arrive at `rate` per second.
    pub(crate) fn open(&mut self, runtime: &Runtime, count: usize, rate: f64) -> Finished {
        let operations = self.operations(count);
        run_open(runtime, &self.engine, operations, rate)
    }

    fn operations(&mut self, count: usize) -> Vec<Operation> {
        self.traffic.by_ref().take(count).collect()
    }

    /// # Panics
    /// Unless all that was to be stored is there, and memories that were recalled
    /// have risen to a quicker tier.
    pub(crate) fn assert_done(self) {
        self.consolidate();
        let engine = self.engine.blocking();
        assert_eq!(engine.stats().total(), self.traffic.stored(), "memories after {}", self.mix.name);
        let risen = self.traffic.asked().filter(|&at| tier_of(engine, at) < self.tiered.tiers[at]).count();
        assert!(risen > 0 || self.mix == Mix::STORE, "{} moves no memory", self.mix.name);
    }
}
