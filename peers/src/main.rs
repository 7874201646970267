//! MnemoCore beside text engines: the same texts, the same questions, one thread. `vectors` compares
//! it with an index of vectors instead.

mod fts5;
mod mnemocore;
mod tantivy;
mod usearch;
mod vectors;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use mnemocore_suite::workload::{Workload, partial_query};

/// What can go wrong in a system.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// Hits that are asked for.
const TOP: usize = 10;

/// Questions, each made of a part of one text.
const QUESTIONS: usize = 2_000;

/// The share of a text's words in its question.
const SHARED: f64 = 0.6;

/// Questions before the measured ones.
const WARM_UP: usize = 300;

/// Texts that are stored one by one.
const STORED_SINGLY: usize = 300;

/// A system that stores texts and finds them again.
trait System {
    /// Stores all texts, durably. Their numbers are their places.
    fn load(&mut self, texts: &[String]) -> Outcome<()>;

    /// Merges the stored texts.
    fn merge(&mut self) -> Outcome<()>;

    /// Stores one text, so that the next question can find it.
    fn store(&mut self, text: &str) -> Outcome<()>;

    /// Returns the numbers of the best texts. Their contents are read as well.
    fn recall(&mut self, question: &str) -> Outcome<Vec<u64>>;
}

type Open = fn(&Path) -> Outcome<Box<dyn System>>;

const SYSTEMS: [(&str, Open); 3] = [
    ("mnemocore", |folder| Ok(Box::new(mnemocore::Memories::open(folder)?))),
    ("tantivy", |folder| Ok(Box::new(tantivy::TantivyIndex::open(folder)?))),
    ("fts5", |folder| Ok(Box::new(fts5::Fts5::open(folder)?))),
];

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("vectors").is_some() {
        return vectors::compare(arguments);
    }
    let memories: usize = arguments.next().ok_or("expected a number of memories")?.parse()?;
    let systems = selected(&SYSTEMS, &arguments.collect::<Vec<_>>())?;
    let texts: Vec<String> =
        Workload::new(42).take(memories).map(|item| item.content().into_owned()).collect();
    let later: Vec<String> =
        Workload::new(43).take(STORED_SINGLY).map(|item| item.content().into_owned()).collect();
    let asked = QUESTIONS.min(memories);
    let question = |number: usize| {
        let source = number * (memories / asked);
        (source as u64, partial_query(&texts[source], SHARED, number as u64))
    };
    let questions: Vec<(u64, String)> = (0..asked).map(question).collect();
    println!("{memories} memories, {asked} questions, one thread");
    println!(
        "| system | recall P50 | P95 | P99 | P99 / P50 | source in ten | store P50 | P99 | bulk, a memory | RAM | disk |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, open) in systems {
        let folder = tempfile::tempdir()?;
        let before = anonymous_bytes();
        let mut system = open(folder.path())?;
        let measured = Measured::of(&mut *system, &texts, &questions, &later, before, folder.path())?;
        println!("| {name} {measured}");
    }
    Ok(())
}

/// Returns the systems with these names, or all if there are none.
fn selected<T: Copy>(systems: &[(&'static str, T)], names: &[String]) -> Outcome<Vec<(&'static str, T)>> {
    if names.is_empty() {
        return Ok(systems.to_vec());
    }
    let known = || systems.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let named = |name: &String| -> Outcome<_> {
        let system = systems.iter().find(|(known, _)| known == name).copied();
        system.ok_or_else(|| format!("expected one of {}; received {name}", known()).into())
    };
    names.iter().map(named).collect()
}

/// What one system printed.
struct Measured {
    recalls: Vec<Duration>,
    stores: Vec<Duration>,
    found: f64,
    bulk: Duration,
    ram: u64,
    disk: u64,
}

impl Measured {
    fn of(
        system: &mut dyn System,
        texts: &[String],
        questions: &[(u64, String)],
        later: &[String],
        before: u64,
        folder: &Path,
    ) -> Outcome<Self> {
        let started = Instant::now();
        system.load(texts)?;
        let bulk = started.elapsed() / texts.len().max(1) as u32;
        system.merge()?;
        for (_, question) in questions.iter().take(WARM_UP) {
            system.recall(question)?;
        }
        let (mut recalls, mut found) = (Vec::with_capacity(questions.len()), 0);
        for (source, question) in questions {
            let started = Instant::now();
            let hits = system.recall(question)?;
            recalls.push(started.elapsed());
            let same = |hit: &u64| texts.get(*hit as usize) == texts.get(*source as usize);
            found += usize::from(hits.iter().any(same));
        }
        let ram = anonymous_bytes().saturating_sub(before);
        let disk = bytes_in(folder)?;
        let mut stores = Vec::with_capacity(later.len());
        for text in later {
            let started = Instant::now();
            system.store(text)?;
            stores.push(started.elapsed());
        }
        recalls.sort_unstable();
        stores.sort_unstable();
        let found = found as f64 / questions.len().max(1) as f64;
        Ok(Self { recalls, stores, found, bulk, ram, disk })
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let recall = |share| quantile(&self.recalls, share);
        let (p50, p95, p99) = (recall(0.5), recall(0.95), recall(0.99));
        let (store, longest) = (quantile(&self.stores, 0.5), quantile(&self.stores, 0.99));
        write!(
            f,
            "| {p50:.1} us | {p95:.1} us | {p99:.1} us | {:.2} | {:.4} | {store:.1} us | {longest:.1} us | {:.2} us | {:.1} MB | {:.1} MB |",
            p99 / p50,
            self.found,
            micros(self.bulk),
            megabytes(self.ram),
            megabytes(self.disk),
        )
    }
}

/// Microseconds of the time that a share of the sorted times does not exceed.
fn quantile(times: &[Duration], share: f64) -> f64 {
    micros(times[((times.len() - 1) as f64 * share) as usize])
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Anonymous memory of this process.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// What the files in a folder take on the disk.
fn bytes_in(folder: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.metadata()?;
        bytes += if file.is_dir() { bytes_in(&entry.path())? } else { file.blocks() * 512 };
    }
    Ok(bytes)
}
