//! Inner loops of the engine.

use super::{Section, listed};
use crate::run_results::RunResults;

pub(super) fn section(measured: &RunResults) -> Section {
    let section = Section::new(
        "kernels",
        "Inner loops",
        "cargo bench --bench kernels",
        "Bind, bundle, permute, Hamming distance and encoding, at 16,384 bits.",
    );
    let mut section = section.of_bench(measured, "kernels");
    section.detail("All inner loops", listed(measured.of("kernels")));
    section
}
