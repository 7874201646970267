//! Load: throughput, latency under load, and other waits of an agent.
//!
//! | benchmark | what it is |
//! |---|---|
//! | `store`, `recall`, `mixed_*` `/throughput/<workers>` | closed loop: so many tokio tasks, each waits for its answer; a kind of operations is a mix, see [`Mix`] |
//! | `store_synced/throughput/<workers>` | the same with `Durability::Synced` |
//! | `*_open/p99/1000_per_s` | open loop: so many arrive in a second, latencies count from the intended start |
//! | `*_open/throughput/p99_5ms` | the highest rate of arrivals with such a P99 within 5 ms; not in the quick profile |
//! | `time_to_visible` | from the start of `store` to the end of the first recall with it |
//! | `recall_while_storing`, `forget_under_load` | while others store, and recall, at a fixed rate |
//! | `recall_filtered/*/<percent>` | under a metadata filter that leaves out so many percent of the memories |
//! | `cold_start/wall/<memories>` | from `Engine::open` to the end of the first recall, files in the page cache |
//! | `frontier_vector` | recall@10 against queries per second of a search by vector, by its limits |
//!
//! Loads run on a store that spans the tiers: a tenth of the memories in HOT, three
//! in WARM, the rest in COLD. Recalls strengthen what they find, so that memories
//! rise and others sink while the load runs, on the background thread. It is a fresh
//! copy for each benchmark, and grows by what the benchmark stores. `time_to_visible`,
//! `recall_while_storing` and `forget_under_load` are in HOT.

#[path = "throughput/closed.rs"]
mod closed;
#[path = "throughput/cold_start.rs"]
mod cold_start;
mod common;
#[path = "throughput/contention.rs"]
mod contention;
#[path = "throughput/filters.rs"]
mod filters;
#[path = "throughput/frontier.rs"]
mod frontier;
#[path = "throughput/open.rs"]
mod open;
#[path = "throughput/tiered.rs"]
mod tiered;

use std::cell::OnceCell;

use common::{Latency, Sampling, criterion};
use criterion::Criterion;
use criterion::measurement::WallTime;
use criterion_gate::profile::Profile;
use mnemocore_suite::load::mix::Mix;
use tokio::runtime::Runtime;

use tiered::Tiered;

fn main() {
    let mut bench = Bench::from_args();
    closed::measure(&mut bench);
    for mix in [Mix::STORE, Mix::RECALL, Mix::B] {
        open::measure(&mut bench, mix);
    }
    contention::time_to_visible(&mut bench);
    contention::recall_while_storing(&mut bench);
    contention::forget_under_load(&mut bench);
    filters::measure(&mut bench);
    cold_start::measure(&mut bench);
    frontier::measure(&mut bench);
    bench.latency.finish();
}

/// The state that all parts of this bench share.
struct Bench {
    latency: Latency,
    /// For throughput, with samples of its own.
    load: Criterion<WallTime>,
    runtime: Runtime,
    workers: Vec<usize>,
    /// The number of memories that loads run on.
    memories: usize,
    tiered: OnceCell<Tiered>,
}

impl Bench {
    fn from_args() -> Self {
        let workers = common::workers();
        let latency = Latency::from_args();
        let (profile, test) = (latency.profile, latency.arguments.test);
        let runtime = tokio::runtime::Builder::new_multi_thread().build();
        Self {
            load: criterion(WallTime, Sampling::load(profile), profile, &latency.arguments),
            runtime: runtime.expect("threads for a runtime"),
            memories: if test { 300 } else { profile.choose(2_000, 20_000, 1_000_000) },
            workers,
            tiered: OnceCell::new(),
            latency,
        }
    }

    /// Whether benchmarks only run once, to see that they work.
    fn test(&self) -> bool {
        self.latency.arguments.test
    }

    fn profile(&self) -> Profile {
        self.latency.profile
    }

    /// Whether a value that is no benchmark of Criterion's is asked for.
    fn admits(&self, name: &str) -> bool {
        !self.latency.arguments.list && self.latency.arguments.admits(name)
    }
}
