//! RAM and disk of HOT, WARM and COLD at 1,000 to 100,000 memories, or as many as
//! `MNEMO_MAX_SCALE` says.
//!
//! A store is filled, closed, and opened again in a fresh process, which merges it,
//! recalls once and then looks at itself, so that nothing of the size before is counted:
//!
//! - `footprint_hot/ram/10000`: anonymous memory over that of an empty engine;
//! - `footprint_heap_hot/ram/10000`: the same by a counting allocator, without
//!   what the system's allocator keeps for itself;
//! - `footprint_rss_hot/ram/10000`: the resident set of the whole process, with the
//!   touched pages of mapped files, which the system takes back when it needs them;
//! - `footprint_hot/disk/10000`: what the closed store takes.
//!
//! Five fresh processes measure each store, and Criterion's ten samples are their values, in turn.
//! The interval that Criterion prints spans these values; it is not a confidence interval over more
//! processes.
//!
//! The allocator of these processes is kept steady, see `mnemocore_suite::footprint_process`. A line
//! of its own shows WARM with the allocator's defaults.
//!
//! Growth is the exponent of the power law through all sizes: 1 is linear. The
//! slope between two sizes is what one more memory costs; what stands once for all
//! (the store's own caches) is not in it. An engine that derives the vectors of texts
//! keeps those of their words, up to `Config::token_cache_bytes`. The processes that
//! are measured keep next to none; what they would take is a line of its own.

mod common;

use std::alloc::System;
use std::collections::BTreeMap;

use common::{
    Bytes, Fixture, Kept as _, Lazy, Recorder, Sampling, empty_engine, measure_aspects, scales_up_to,
    temporary_folder,
};
use criterion::Criterion;
use criterion_gate::profile::Arguments;
use mnemocore::{Config, TierKind};
use mnemocore_suite::footprint::{AGENT, growth_exponent};
use mnemocore_suite::footprint_process::{self, Aspect, Footprint, FootprintProcess, PROCESSES, Seen};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

// Counts, and leaves the rest to the system's allocator.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Texts that are encoded to see what their words take.
const ENCODED: usize = 20_000;

/// The size that the targets are meant for.
const MEANT_FOR: usize = 100_000;
/// MB of anonymous memory, and of disk, per thousand memories.
const TARGETS: [(TierKind, f64, f64); 3] =
    [(TierKind::Hot, 0.5, 0.30), (TierKind::Warm, 0.05, 0.30), (TierKind::Cold, 0.015, 0.25)];

fn main() {
    footprint_process::serve(Some(heap));
    let mut bench = Bench::from_args();
    for (tier, ..) in TARGETS {
        for memories in bench.scales.clone() {
            bench.measure(Fixture::new(tier, memories));
        }
    }
    bench.finish();
}

/// Bytes that live on the heap.
fn heap() -> u64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated) as u64
}

/// Footprints of a tier, by number of memories.
type Rows = BTreeMap<usize, Vec<Footprint>>;

struct Bench {
    arguments: Arguments,
    /// The numbers of memories to measure with.
    scales: Vec<usize>,
    criterion: Criterion<Bytes>,
    recorder: Recorder,
    empty: Lazy<Seen, fn() -> Seen>,
    rows: BTreeMap<TierKind, Rows>,
}

impl Bench {
    fn from_args() -> Self {
        let (profile, arguments) = common::input();
        let scales = scales_up_to(profile.choose(10_000, 100_000, 1_000_000));
        let scales = if arguments.test { vec![100, 200] } else { scales };
        // Plots of values without a spread fail.
        let criterion = common::criterion(Bytes, Sampling::known(), profile, &arguments).without_plots();
        let recorder = Recorder::new(profile, &arguments);
        Self { arguments, scales, criterion, recorder, empty: Lazy::new(empty_engine), rows: BTreeMap::new() }
    }

    /// Every aspect of one store.
    fn measure(&mut self, fixture: Fixture) {
        let processes = if self.arguments.test { 1 } else { PROCESSES };
        let Self { criterion, recorder, empty, .. } = self;
        let case = (fixture.tier, fixture.memories);
        let see = || see(fixture, empty.get(), processes);
        if let Some(seen) = measure_aspects(criterion, recorder, &Aspect::ALL, case, see) {
            self.rows.entry(fixture.tier).or_default().insert(fixture.memories, seen);
        }
    }

    fn finish(mut self) {
        self.criterion.final_summary();
        self.recorder.finish();
        if self.rows.is_empty() || self.arguments.test {
            return;
        }
        println!(
            "\nMB per 1000 memories (fresh processes, median; anonymous and heap over an empty engine's):"
        );
        println!("{:<24}{:>12}{:>12}{:>12}{:>12}", "", "anonymous", "heap", "resident", "disk");
        self.rows.iter().for_each(|(&tier, rows)| print_per_thousand(tier, rows));
        if self.rows.values().any(|rows| rows.len() > 1) {
            println!("\nGrowth, bytes ~ memories ^ exponent:");
            self.rows.iter().for_each(|(&tier, rows)| print_growth(tier, rows));
        }
        println!();
        print_empty(self.empty.get());
        print_agent(self.empty.get());
        if let Some(&memories) = self.rows.get(&TierKind::Warm).and_then(|rows| rows.keys().last()) {
            print_by_default(memories);
        }
        println!("Targets:");
        for (tier, ram, disk) in TARGETS {
            if let Some((&memories, seen)) = self.rows.get(&tier).and_then(BTreeMap::last_key_value) {
                let [anonymous, _, _, on_disk] = medians(seen).map(|bytes| per_thousand(bytes, memories));
                let mut target = |what: &str, measured: f64, most: f64| {
                    let name = format!("{tier} {what} per 1000 of {memories} memories");
                    let (measured_text, target) = (format!("{measured:.3} MB"), format!("<= {most} MB"));
                    let is_measured = memories >= MEANT_FOR;
                    self.recorder.target_of_size(is_measured, name, measured_text, target, measured <= most);
                };
                target("RAM", anonymous, ram);
                target("disk", on_disk, disk);
            }
        }
        self.recorder.finish();
    }
}

/// Measures one store in `processes` fresh processes.
fn see(fixture: Fixture, empty: &Seen, processes: usize) -> Vec<Footprint> {
    // A copy lacks what is derived: opened and closed once, it is whole.
    let folder = fixture.open().close();
    Footprint::of(fixture, folder.path(), empty, processes).expect("fresh processes")
}

/// The median of every aspect, in bytes.
fn medians(seen: &[Footprint]) -> [f64; 4] {
    Aspect::ALL.map(|aspect| {
        let mut values: Vec<u64> = seen.iter().filter_map(aspect.value).collect();
        values.sort_unstable();
        values[values.len() / 2] as f64
    })
}

/// MB per thousand memories.
fn per_thousand(bytes: f64, memories: usize) -> f64 {
    bytes / 1e6 / (memories as f64 / 1e3)
}

fn print_per_thousand(tier: TierKind, rows: &Rows) {
    let print = |label: String, memories: usize, bytes: [f64; 4]| {
        print!("{label:<24}");
        bytes.iter().for_each(|&bytes| print!("{:>12.3}", per_thousand(bytes, memories)));
        println!();
    };
    let rows: Vec<(usize, [f64; 4])> =
        rows.iter().map(|(&memories, seen)| (memories, medians(seen))).collect();
    rows.iter().for_each(|&(memories, bytes)| print(format!("{tier} {memories}"), memories, bytes));
    for (&(few, before), &(many, after)) in rows.iter().zip(rows.iter().skip(1)) {
        let added = std::array::from_fn(|i| after[i] - before[i]);
        print(format!("{tier} slope {few}-{many}"), many - few, added);
    }
}

fn print_growth(tier: TierKind, rows: &Rows) {
    // The resident set is also that of an empty process, of which a power law knows nothing.
    let grown = |(_, aspect): &(usize, &Aspect)| !aspect.group(tier).starts_with("footprint_rss");
    for (i, aspect) in Aspect::ALL.iter().enumerate().filter(grown) {
        let points: Vec<(usize, f64)> =
            rows.iter().map(|(&memories, seen)| (memories, medians(seen)[i])).collect();
        if let Some(exponent) = growth_exponent(&points) {
            let name = match exponent {
                // A change of less than a tenth when the number of memories grows tenfold.
                _ if (exponent - 1.0).abs() < 0.04 => "linear",
                _ if exponent < 1.0 => "sub-linear",
                _ => "super-linear",
            };
            println!("  {:<24}{exponent:>6.2}  {name}", aspect.group(tier));
        }
    }
}

/// Prints the RAM of an agent as in docs/sizing.md: default settings, except for the capacities.
fn print_agent(empty: &Seen) {
    let [hot, warm, cold] = AGENT;
    let fixture = Fixture::new(TierKind::Hot, hot + warm + cold);
    let config = Config::default().hot_capacity(hot).warm_capacity(warm);
    let filled = fixture.open_with(config.clone().decay_per_day(0.0).background(false));
    filled.engine.consolidate().expect("a consolidation");
    assert_eq!(filled.engine.stats().memories, [hot, warm, cold], "memories in the tiers");
    let folder = filled.close();
    let seen =
        FootprintProcess::new(fixture, folder.path()).configured(&config).measure().expect("a fresh process");
    println!(
        "An agent of {} memories ({hot} in HOT, {warm} in WARM) takes {:.1} MB more than an empty engine.",
        fixture.memories,
        grown(&seen, empty) / 1e6,
    );
}

/// With the allocator's defaults, which are subject to some chance.
fn print_by_default(memories: usize) {
    let (fixture, nothing) = (Fixture::new(TierKind::Warm, memories), temporary_folder());
    let folder = fixture.open().close();
    let [full, empty] = [folder.path(), nothing.path()]
        .map(|folder| FootprintProcess::new(fixture, folder).by_default().median().expect("fresh processes"));
    println!(
        "WARM {memories} takes {:.3} MB of anonymous memory per 1000 where the allocator has its defaults.",
        per_thousand(grown(&full, &empty), memories),
    );
}

/// Anonymous bytes that `full` has and `empty` has not.
fn grown(full: &Seen, empty: &Seen) -> f64 {
    full.anonymous().saturating_sub(empty.anonymous()) as f64
}

fn print_empty(empty: &Seen) {
    let folder = temporary_folder();
    let most = Config::default().token_cache_bytes;
    let process =
        FootprintProcess::new(Fixture::new(TierKind::Hot, 1_000), folder.path()).encoding(ENCODED, most);
    let tokens = process.measure().expect("a fresh process");
    let megabytes = |bytes: f64| bytes / 1e6;
    println!("An empty engine takes {:.1} MB of anonymous memory.", megabytes(empty.anonymous() as f64));
    println!(
        "The words of {ENCODED} texts, kept by the encoder, take {:.1} MB more (bounded by {:.1} MB).",
        megabytes(grown(&tokens, empty)),
        megabytes(most as f64),
    );
}
