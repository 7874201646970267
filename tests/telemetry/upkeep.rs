//! Upkeep that fails, which no call returns.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mnemocore::encoder::Encoder;
use mnemocore::internals::Parts;
use mnemocore::internals::log::{Batch, Log, Table, Visit, VolatileLog};
use mnemocore::internals::tier::Limits;
use mnemocore::internals::tier::files::{OpenedFiles, SegmentFiles};
use mnemocore::internals::tier::local::tiers;
use mnemocore::{Config, Durability, Engine, Error, NewMemory, UpkeepError};
use tracing::Level;

use crate::collector::{Entry, entries, listen};
use crate::common::{files_ending, tiny};

/// Enough to be packed into a file.
const PACKED: usize = 4_200;

/// Waits for what the background does.
fn wait_for<T>(what: &str, seen: impl Fn() -> Option<T>) -> T {
    for _ in 0..12_000 {
        if let Some(seen) = seen() {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} in two minutes");
}

fn told(level: Level, message: &str, store: &str) -> Vec<Entry> {
    let told = entries().into_iter();
    told.filter(|told| told.level == level && told.fields.contains(message) && told.fields.contains(store))
        .collect()
}

#[test]
fn a_background_pass_that_fails_is_told_counted_and_kept() {
    listen();
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny().hot_capacity(100_000).background(true)).unwrap();
    assert_eq!(engine.stats().last_upkeep_error, None);
    // The superuser may write everywhere, but not into a file as if it were a folder.
    let segments = folder.path().join("segments");
    fs::remove_dir(&segments).unwrap();
    fs::write(&segments, "").unwrap();
    let memories = (0..PACKED).map(|number| NewMemory::new(format!("number {number}")));
    engine.store_batch(memories.collect()).unwrap();

    let failed = || engine.stats().last_upkeep_error.filter(|error| error.failures > 1);
    let error: UpkeepError = wait_for("no error of upkeep", failed);
    assert!(error.message.contains("segments"), "{error:?}");
    assert!(engine.counters().upkeep_failures >= error.failures);
    let store = folder.path().display().to_string();
    let warned = told(Level::WARN, "upkeep failed", &store);
    assert!(warned[0].fields.contains(&format!(" hot={PACKED} ")), "{warned:?}");
    // Of 5 failures a second, 1, 2, 4, 8 and so on are told.
    assert!(warned.len() < 20, "{}", warned.len());

    // The error stays, so that a monitor sees it, and says that upkeep works again.
    fs::remove_file(&segments).unwrap();
    fs::create_dir(&segments).unwrap();
    let mended = || engine.stats().last_upkeep_error.filter(|error| error.failures == 0);
    let kept: UpkeepError = wait_for("upkeep fails", mended);
    assert!(kept.message == error.message && kept.at >= error.at, "{kept:?}");
    assert_eq!(told(Level::INFO, "upkeep works again", &store).len(), 1);
    let merged = || (engine.counters().merged > 0).then_some(());
    wait_for("nothing is packed", merged);
    assert!(!told(Level::INFO, " message=upkeep ", &store).is_empty());
}

#[test]
fn a_file_that_cannot_be_removed_is_told() {
    listen();
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    engine.store("The ferry leaves at noon").unwrap();
    // The engine has the journal open. When it has written the next one, this one is of no use any more.
    let journal = files_ending(&folder.path().join("log"), "journal").remove(0);
    fs::remove_file(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    engine.compact().unwrap();
    let warned = told(Level::WARN, "remove a file", &journal.display().to_string());
    assert_eq!(warned.len(), 1, "{warned:?}");

    // That it is gone already is no failure.
    fs::remove_dir(&journal).unwrap();
    let journal = files_ending(&folder.path().join("log"), "journal").remove(0);
    fs::remove_file(&journal).unwrap();
    engine.store("The ferry leaves at one").unwrap();
    engine.compact().unwrap();
    assert!(told(Level::WARN, "remove a file", &journal.display().to_string()).is_empty());
}

/// A log whose upkeep panics if told so.
#[derive(Default)]
struct Panicking {
    log: VolatileLog,
    panics: AtomicBool,
}

impl Log for Panicking {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, Error> {
        self.log.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        self.log.scan(table, prefix, visit)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), Error> {
        self.log.commit(batch, durability)
    }

    fn maintain(&self) -> Result<(), Error> {
        assert!(!self.panics.load(Ordering::SeqCst), "on purpose");
        Ok(())
    }

    fn compact(&self) -> Result<(), Error> {
        Ok(())
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

fn panicking(config: Config) -> (Engine, Arc<Panicking>, tempfile::TempDir) {
    let (log, folder) = (Arc::new(Panicking::default()), tempfile::tempdir().unwrap());
    let encoder = Arc::new(Encoder::new(config.dimension, config.token_cache_bytes));
    let dynamic: Arc<dyn Log> = log.clone();
    let OpenedFiles { files, segments } = SegmentFiles::open(folder.path(), None, &dynamic).unwrap();
    let [hot, warm, cold] = tiers(&files, segments, true, &encoder, config.decay_per_day, Limits::default());
    let files = Some(files);
    let parts =
        Parts { encoder, log: dynamic, files, tiers: [Box::new(hot), Box::new(warm), Box::new(cold)] };
    (Engine::from_parts(config, parts).unwrap(), log, folder)
}

#[test]
fn a_panic_of_the_background_thread_is_kept_and_stores_go_on() {
    let (engine, log, _folder) = panicking(tiny().background(true));
    log.panics.store(true, Ordering::SeqCst);
    let error = wait_for("no error of upkeep", || engine.stats().last_upkeep_error);
    assert!(error.message.contains("panicked") && error.failures == 1, "{error:?}");
    log.panics.store(false, Ordering::SeqCst);
    engine.store("The lamp of the lighthouse").unwrap();
    engine.consolidate().unwrap();
    assert_eq!(engine.stats().last_upkeep_error.unwrap().failures, 0);
}
