//! Fills a store with many small namespaces, and prints how long it takes to open, recall and compact, and what
//! it takes in RAM, files and mappings.
//!
//! ```sh
//! cargo run --release --example many_namespaces -- 1000000 1 # namespaces, memories of each
//! ```

use std::env;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use mnemocore::{Config, Engine, Namespace, NewMemory, Query};
use mnemocore_suite::fixture::endless_texts;
use mnemocore_suite::footprint::{Disk, Memory};

/// Memories that are stored at a time.
const BATCH: usize = 1_000;

/// Namespaces that are asked.
const ASKED: usize = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = |default| arguments.next().map_or(Ok(default), |number| number.parse::<usize>());
    let (namespaces, each) = (next(20_000)?, next(1)?);
    let folder = tempfile::tempdir()?;
    let config = Config::default();

    let empty = anonymous();
    let engine = Engine::open(folder.path(), config.clone())?;
    let start = Instant::now();
    let mut texts = endless_texts(7);
    let mut batch = Vec::with_capacity(BATCH);
    for number in 0..namespaces * each {
        let text = texts.next().ok_or("no more texts")?;
        batch.push(NewMemory::new(text).namespace(space(number % namespaces)?));
        if batch.len() == BATCH || number + 1 == namespaces * each {
            engine.store_batch(std::mem::take(&mut batch))?;
        }
    }
    println!("{namespaces} namespaces with {each} memories each");
    println!(
        "stored in {:.2?}, {:.2?} a memory",
        start.elapsed(),
        start.elapsed() / (namespaces * each) as u32
    );
    println!("consolidated in {:.2?}", time(|| engine.consolidate())?);
    println!("closed in {:.2?}", time(|| engine.close())?);

    let start = Instant::now();
    let engine = Engine::open(folder.path(), config)?;
    engine.recall(Query::text("anything").namespace(space(0)?))?;
    println!("opened and first recalled in {:.2?}", start.elapsed());
    let taken = anonymous().saturating_sub(empty) as usize;
    println!("RAM, with what filling the store has left: {} bytes a namespace", taken / namespaces);

    let mut times = Vec::with_capacity(ASKED);
    for number in 0..ASKED {
        let query = Query::text("What happened at the harbour, and who was there?");
        let query = query.namespace(space(number * 7_919 % namespaces)?).touch(false);
        times.push(time(|| engine.recall(query))?);
    }
    times.sort_unstable();
    println!("recall: P50 {:.2?}, P99 {:.2?}", times[ASKED / 2], times[ASKED * 99 / 100]);
    println!("compacted in {:.2?}", time(|| engine.compact())?);
    println!("memories in the tiers: {:?}", engine.stats().memories);
    drop(engine);
    print_files(folder.path());
    Ok(())
}

fn space(number: usize) -> Result<Namespace, mnemocore::Error> {
    Namespace::new(format!("user {number}"))
}

fn time<T, E>(act: impl FnOnce() -> Result<T, E>) -> Result<Duration, E> {
    let start = Instant::now();
    act().map(|_| start.elapsed())
}

fn anonymous() -> u64 {
    Memory::now().and_then(|memory| memory.anonymous).unwrap_or(0)
}

fn print_files(folder: &Path) {
    let files = std::fs::read_dir(folder.join("segments")).map_or(0, Iterator::count);
    let bytes = Disk::of(folder).map_or(0, |disk| disk.apparent);
    println!("{files} files of segments, {bytes} bytes of disk in all");
}
