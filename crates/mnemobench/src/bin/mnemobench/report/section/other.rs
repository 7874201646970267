//! Benches that belong to no other section, such as a user's own.

use super::{Section, listed};
use crate::run_results::RunResults;

const KNOWN: [&str; 5] = ["latency", "throughput", "footprint", "quality", "kernels"];

pub(super) fn section(measured: &RunResults) -> Section {
    let mut section =
        Section::new("other", "Other benches", "cargo bench", "Benches beside those of the suite.");
    for bench in measured.benches.iter().filter(|bench| !KNOWN.contains(&bench.name.as_str())) {
        section.table(&bench.name, listed(measured.of(&bench.name)));
        section = section.of_bench(measured, &bench.name);
    }
    section
}
