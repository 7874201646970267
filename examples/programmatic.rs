//! The suite without Criterion: latency, throughput and footprint of a small engine,
//! written where `mnemobench` reads them.
//!
//! ```sh
//! cargo run --release --example programmatic [folder]
//! ```

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use criterion_gate::measure::{Kind, Measurement};
use criterion_gate::profile::Profile;
use criterion_gate::results::{NEW, Results};
use mnemocore::TierKind;
use mnemocore_suite::footprint_process;
use mnemocore_suite::run::{RunConfig, run_footprint, run_latency, run_throughput};

fn main() -> Result<(), Box<dyn Error>> {
    // Footprint is measured by fresh processes of this program: they end here.
    footprint_process::serve(None);

    let temporary = tempfile::tempdir()?;
    let output: PathBuf = env::args_os().nth(1).map_or_else(|| temporary.path().into(), Into::into);
    let config = RunConfig {
        sizes: TierKind::ALL.map(|tier| (tier, 300)).to_vec(),
        scales: vec![100, 1_000],
        samples: 2,
        operations: 30,
        workers: vec![1, 4],
        output: Some(output.clone()),
        ..RunConfig::new(Profile::Quick)
    };

    let measured = [run_latency(&config)?, run_throughput(&config)?, run_footprint(&config)?].concat();
    measured.iter().for_each(|measurement| println!("{measurement}"));
    check(&output, &measured)
}

/// The results hold what was measured, with percentiles where there are any.
fn check(output: &Path, measured: &[Measurement]) -> Result<(), Box<dyn Error>> {
    let mut runs = Results::of_run(output, NEW);
    assert_eq!(runs.len(), 1, "one file of results");
    let results = runs.remove(0)?;
    println!("{} results of {:?} on {}", results.entries.len(), results.bench, results.machine.cpu);
    for Measurement { name, kind, value, .. } in measured {
        let entry = &results.entries[name];
        let read = entry.value.ok_or("no value")?;
        // JSON keeps all but the last digit.
        assert!(entry.kind == *kind && (read - value).abs() <= value * 1e-9, "{name}: {read}, {value}");
    }
    for name in ["store_hot/p99/300", "recall_warm/p99/300", "synthesize_cold/p99/300"] {
        let percentiles = results.entries[name].percentiles.ok_or("no percentiles")?;
        assert!(percentiles.p50 <= percentiles.p95 && percentiles.p95 <= percentiles.p99);
    }
    assert_eq!(results.entries["recall_cold_threads/throughput/4"].kind, Kind::Throughput);
    let bytes = |name: &str| results.entries[name].value.unwrap_or_default();
    assert!(bytes("footprint_hot/ram/1000") > bytes("footprint_hot/ram/100"));
    assert!(bytes("footprint_hot/ram/1000") > bytes("footprint_cold/ram/1000"));
    Ok(())
}
