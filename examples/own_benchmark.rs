//! A benchmark of one's own: how long it takes to forget a memory.
//!
//! ```sh
//! cargo run --release --example own_benchmark [folder]
//! ```
//!
//! In a bench of Criterion's the same `impl` is run by `common::Latency::run`.

use std::env;
use std::error::Error;

use criterion_gate::profile::Profile;
use criterion_gate::results::{NEW, Results};
use mnemocore::{Engine, MemoryId, TierKind};
use mnemocore_suite::benchmark::{Benchmark, Failure};
use mnemocore_suite::fixture::Fixture;
use mnemocore_suite::run::{RunConfig, run_benchmarks};
use tempfile::TempDir;

/// Forgets the memories of a tier one after the other.
struct Forget {
    fixture: Fixture,
    state: Option<(Engine, TempDir)>,
    forgotten: usize,
}

impl Benchmark for Forget {
    fn group(&self) -> String {
        format!("forget_{}", self.fixture.tier).to_lowercase()
    }

    fn case(&self) -> String {
        self.fixture.memories.to_string()
    }

    fn set_up(&mut self) -> Result<(), Failure> {
        let folder = tempfile::tempdir()?;
        let engine = self.fixture.fill(folder.path())?;
        self.fixture.check(&engine)?; // Every memory is in the tier of the name.
        self.state = Some((engine, folder));
        Ok(())
    }

    fn run(&mut self) -> Result<(), Failure> {
        let (engine, _) = self.state.as_ref().ok_or("not set up")?;
        let was_there = engine.forget(MemoryId(self.forgotten as u64))?;
        self.forgotten += 1;
        if was_there { Ok(()) } else { Err("more operations than memories".into()) }
    }

    fn verify(&mut self) -> Result<(), Failure> {
        let (engine, _) = self.state.as_ref().ok_or("not set up")?;
        let left = engine.stats().total();
        if left + self.forgotten == self.fixture.memories { Ok(()) } else { Err("not forgotten".into()) }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let output = env::args_os().nth(1).map_or_else(|| temporary.path().into(), Into::into);
    let config = RunConfig {
        name: "own".into(),
        samples: 5,
        operations: 100,
        output: Some(output),
        ..RunConfig::new(Profile::Quick)
    };
    // A tenth more than are timed, to warm up.
    let forget = |tier| Forget { fixture: Fixture::new(tier, 600), state: None, forgotten: 0 };
    let [mut hot, mut cold] = [TierKind::Hot, TierKind::Cold].map(forget);
    for measurement in run_benchmarks(&config, &mut [&mut hot, &mut cold])? {
        println!("{measurement}");
    }

    // The gate and the report read the same results.
    let output = config.output.unwrap_or_default();
    let results = Results::of_run(&output, NEW).pop().ok_or("no results")??;
    assert_eq!(results.bench, "own");
    for name in ["forget_hot/p99/600", "forget_cold/p99/600"] {
        let entry = &results.entries[name];
        assert!(entry.operations == 500 && entry.percentiles.is_some_and(|all| all.p50 <= all.p99));
    }
    assert!(results.entries.contains_key("forget_hot/wall/600"));
    Ok(())
}
