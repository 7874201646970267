//! Memory and disk per thousand memories in HOT, WARM and COLD.
//!
//! A store is filled, closed, and opened again in a fresh process, which recalls
//! once and then looks at itself. RAM is anonymous memory beyond that of an empty
//! engine; beside it stand the pages of mapped files, which the system takes back
//! when it needs them. Disk is what the closed store takes.
//!
//! The slope between two sizes is what one more memory costs; what stands once for
//! all (the store's own caches) is not in it. The vectors of words that the encoder
//! keeps are bounded by `Config::token_cache_bytes`, so the processes that are
//! measured keep next to none; what they would take is a line of its own.

mod common;

use std::env;
use std::path::Path;
use std::process::Command;

use common::{Kept as _, Stock, new_texts};
use mnemocore::encoder::Document;
use mnemocore::harness::footprint::{Disk, Memory};
use mnemocore::harness::profile::{Arguments, Profile};
use mnemocore::{Config, Engine, Query, TierKind};
use serde::{Deserialize, Serialize};

/// Tells a process of this bench what to measure.
const TASK: &str = "MNEMO_FOOTPRINT_TASK";
/// Token vectors that a measured process keeps: next to none.
const FEW_TOKENS: usize = 64 << 10;
/// Texts that are encoded to see what their words take.
const ENCODED: usize = 20_000;

/// MB of anonymous memory, and of disk, per thousand memories.
const TARGETS: [(TierKind, f64, Option<f64>); 3] =
    [(TierKind::Hot, 2.8, None), (TierKind::Warm, 0.30, Some(2.6)), (TierKind::Cold, 0.03, Some(0.45))];

fn main() {
    if let Some(task) = env::var_os(TASK) {
        let task = task.into_string().expect("a task in JSON");
        return run(&serde_json::from_str(&task).expect("a task in JSON"));
    }
    let arguments = Arguments::from_env();
    if arguments.list {
        return println!("0 tests, 0 benchmarks");
    }
    let sizes: &[usize] = match common::profile() {
        _ if arguments.test => &[100, 200],
        Profile::Quick => &[2_000, 5_000],
        Profile::Default => &[10_000, 50_000, 100_000],
        Profile::Full => &[10_000, 100_000, 1_000_000],
    };
    let lines = print(sizes);
    if !arguments.test {
        println!("Targets:");
        lines.iter().for_each(|line| println!("  {line}"));
    }
}

/// What a fresh process does before it looks at itself.
#[derive(Serialize, Deserialize)]
struct Task {
    /// The store to open.
    store: String,
    /// Capacities of HOT and WARM.
    capacities: [usize; 2],
    token_cache_bytes: usize,
    /// Texts to encode.
    encode: usize,
}

impl Task {
    /// Opens the store of a stock.
    fn open(stock: Stock, folder: &Path) -> Self {
        let Config { hot_capacity, warm_capacity, .. } = stock.config();
        let store = folder.to_str().expect("a path in Unicode").to_owned();
        Self { store, capacities: [hot_capacity, warm_capacity], token_cache_bytes: FEW_TOKENS, encode: 0 }
    }

    /// Lets a fresh process do it, and returns what that saw of itself.
    fn measure(&self) -> Memory {
        let task = serde_json::to_string(self).expect("a task in JSON");
        let program = env::current_exe().expect("the path of this bench");
        let output = Command::new(program).env(TASK, task).output().expect("a second process");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a measurement in JSON")
    }
}

/// In the fresh process: does `task` and prints what this process holds then.
fn run(task: &Task) {
    let [hot_capacity, warm_capacity] = task.capacities;
    let config = Config {
        hot_capacity,
        warm_capacity,
        token_cache_bytes: task.token_cache_bytes,
        decay_per_day: 0.0,
        background: false,
        ..Config::default()
    };
    let engine = Engine::open(&task.store, config).expect("a store");
    for text in new_texts(task.encode) {
        let terms = Document::new(&text).analyze().expect("words");
        engine.encoder().encode(&terms).expect("words");
    }
    let recall = engine.recall(&Query::text("Where does Anna live now?").touch(false));
    recall.expect("a recall");
    let memory = Memory::now().expect("a system that tells what a process holds");
    println!("{}", serde_json::to_string(&memory).expect("a measurement in JSON"));
}

/// What one size of one tier takes, in bytes.
#[derive(Clone, Copy)]
struct Row {
    memories: usize,
    anonymous: i64,
    mapped: i64,
    disk: i64,
}

impl Row {
    fn of(stock: Stock, empty: Memory) -> Self {
        // A copy lacks what is derived: opened and closed once, it is whole.
        let folder = stock.open().close();
        let disk = Disk::of(folder.path()).expect("a store that can be read").allocated;
        let memory = Task::open(stock, folder.path()).measure();
        let growth = |of: fn(Memory) -> Option<u64>| {
            of(memory).unwrap_or(memory.resident) as i64 - of(empty).unwrap_or(empty.resident) as i64
        };
        Self {
            memories: stock.memories,
            anonymous: growth(|memory| memory.anonymous),
            mapped: growth(|memory| memory.mapped),
            disk: disk as i64,
        }
    }

    /// What comes on top of `smaller`.
    fn since(self, smaller: Self) -> Self {
        Self {
            memories: self.memories - smaller.memories,
            anonymous: self.anonymous - smaller.anonymous,
            mapped: self.mapped - smaller.mapped,
            disk: self.disk - smaller.disk,
        }
    }

    /// MB per thousand memories.
    fn per_thousand(self, bytes: i64) -> f64 {
        bytes as f64 / 1e6 / (self.memories as f64 / 1e3)
    }

    fn print(self, label: &str) {
        let [ram, mapped, disk] = [self.anonymous, self.mapped, self.disk].map(|b| self.per_thousand(b));
        println!("{label:<24} {ram:>10.3} {mapped:>10.3} {disk:>10.3}");
    }
}

/// Measures and prints all tiers; returns how they stand to their targets.
fn print(sizes: &[usize]) -> Vec<String> {
    let empty = |token_cache_bytes, encode| {
        let folder = common::temporary_folder();
        let task = Task::open(Stock::new(TierKind::Hot, 1_000), folder.path());
        Task { token_cache_bytes, encode, ..task }.measure()
    };
    let base = empty(FEW_TOKENS, 0);
    println!("Footprint, MB per 1000 memories over an empty engine (fresh process):");
    println!("{:<24} {:>10} {:>10} {:>10}", "", "anonymous", "mapped", "disk");
    let mut lines = Vec::new();
    for (tier, ram_target, disk_target) in TARGETS {
        let rows: Vec<Row> = sizes.iter().map(|&size| Row::of(Stock::new(tier, size), base)).collect();
        rows.iter().for_each(|row| row.print(&format!("{tier} {}", row.memories)));
        for pair in rows.windows(2) {
            let [smaller, larger] = [pair[0], pair[1]];
            let label = format!("{tier} slope {}-{}", smaller.memories, larger.memories);
            larger.since(smaller).print(&label);
        }
        if let Some(&largest) = rows.last() {
            lines.push(target(tier, "RAM", largest.per_thousand(largest.anonymous), ram_target));
            lines.extend(
                disk_target.map(|most| target(tier, "disk", largest.per_thousand(largest.disk), most)),
            );
        }
    }
    let megabytes = |memory: Memory| memory.anonymous.unwrap_or(memory.resident) as f64 / 1e6;
    let tokens = empty(Config::default().token_cache_bytes, ENCODED);
    println!("An empty engine takes {:.1} MB of anonymous memory.", megabytes(base));
    println!(
        "The words of {ENCODED} texts, kept by the encoder, take {:.1} MB more (bounded by {:.1} MB).",
        megabytes(tokens) - megabytes(base),
        Config::default().token_cache_bytes as f64 / 1e6,
    );
    lines
}

fn target(tier: TierKind, what: &str, measured: f64, most: f64) -> String {
    let verdict = if measured <= most { "met" } else { "MISSED" };
    format!("{tier} {what} per 1000 memories: {measured:.3} MB (target <= {most} MB) {verdict}")
}
