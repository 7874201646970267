//! Service levels.

use criterion_gate::thresholds::Slo;

use super::Section;
use crate::run_results::RunResults;
use crate::slo::{self, Levels};

pub(super) fn section(measured: &RunResults, own: &[Slo]) -> Section {
    let mut section = Section::new(
        "slo",
        "Service levels",
        "mnemobench slo",
        "The worst benchmark of each level counts. The margin is the distance to the limit, as a share of it.",
    );
    let levels = Levels::judge(measured, own);
    section.table(slo::GENERAL.trim_end_matches(':'), slo::table(&levels.general));
    section.table(slo::OWN.trim_end_matches(':'), slo::table(&levels.own));
    if measured.benchmarks.is_empty() {
        section.parts.clear();
    }
    section
}
