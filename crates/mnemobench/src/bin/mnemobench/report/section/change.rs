//! Changes against a baseline, with the verdicts of `detect`.

use super::{Runs, Section};
use crate::report::plot::{self, Axis, Error, Outcome, Scale, Shift};
use crate::run_results::RunResults;
use crate::table::Table;
use crate::units;
use crate::verdicts::{Judged, Verdicts};

/// The maximum number of changes in the plot, so that the worst stay visible.
const DRAWN: usize = 30;

pub(super) fn section(measured: &RunResults, verdicts: &Verdicts) -> Result<Section, Error> {
    let mut section = Section::new(
        "change",
        "Change against the baseline",
        "mnemobench detect --baseline NAME && mnemobench report --baseline NAME",
        "The verdicts of mnemobench detect, the worst first, with the 90 % interval of the change. The values, the \
         change and the interval of a row come from the same data: from pairs of runs where some were made, otherwise \
         from the saved samples.",
    );
    let (changed, others): (Vec<&Judged>, Vec<&Judged>) =
        verdicts.benchmarks.iter().partition(|judged| bounds(judged).is_some());
    let drawn = changed.get(..DRAWN).unwrap_or(&changed);
    let shifts: Vec<Shift> = drawn.iter().filter_map(|judged| shift(judged)).collect();
    let axis = Axis::new("change of the value, %", Scale::Linear, |percent| format!("{percent:+.0}"));
    let count = changed.len();
    let which =
        if drawn.len() < count { format!("the worst {DRAWN} of {count}") } else { format!("all {count}") };
    let caption = format!("Change since the baseline, {which}");
    section.plot(&caption, plot::shifts(&axis, &shifts)?, table(drawn));
    if drawn.len() < count {
        section.detail("All changes", table(&changed));
    }
    section.table("Not compared", reasons(&others));
    section.notes.extend(outdated(measured, verdicts));
    if section.is_measured() {
        let baseline = &verdicts.baseline;
        section.origin = format!("The baseline `{}`: {}.", baseline.name, Runs::of(baseline.taken.iter()));
    }
    Ok(section)
}

fn bounds(judged: &Judged) -> Option<[f64; 3]> {
    judged.change.as_ref()?.bounds()
}

fn shift(judged: &Judged) -> Option<Shift> {
    let change = bounds(judged)?.map(|share| 100.0 * share);
    Some(Shift { label: judged.id.clone(), change, outcome: Outcome::of(judged.verdict) })
}

fn table(changed: &[&Judged]) -> Table {
    let mut table =
        Table::new(["benchmark", "#before", "#now", "#change", "#90 % interval", "#pairs", "verdict"]);
    for judged in changed {
        let Judged { id, kind, verdict, baseline, candidate, change, .. } = judged;
        let [before, now] = [baseline, candidate]
            .map(|value| value.map_or_else(String::new, |value| units::value(*kind, value)));
        let [point, low, high] = bounds(judged).unwrap_or_default();
        let interval = if low == high {
            String::new()
        } else {
            format!("{} to {}", units::percent(low), units::percent(high))
        };
        let pairs = change.as_ref().map_or(0, |change| change.pairs);
        let pairs = if pairs == 0 { String::new() } else { pairs.to_string() };
        table.row([id.clone(), before, now, units::percent(point), interval, pairs, verdict.as_str().into()]);
    }
    table.without_empty_columns()
}

fn reasons(others: &[&Judged]) -> Table {
    let mut table = Table::new(["benchmark", "verdict", "reason"]);
    for judged in others {
        let reason = judged.reason.clone().unwrap_or_default();
        table.row([judged.id.clone(), judged.verdict.as_str().into(), reason]);
    }
    table.without_empty_columns()
}

/// Returns a note if benchmarks were measured after the verdicts.
fn outdated(measured: &RunResults, verdicts: &Verdicts) -> Option<String> {
    let judged = verdicts.candidate.taken.as_ref()?.unix_seconds;
    let newer =
        measured.benchmarks.values().filter(|benchmark| benchmark.taken.unix_seconds > judged).count();
    (newer > 0).then(|| {
        format!(
            "{newer} benchmarks were measured after these verdicts: run mnemobench detect --baseline {}.",
            verdicts.baseline.name
        )
    })
}
