//! What changed against a baseline.

use mnemocore::harness::gate::statistics::Bootstrap;
use mnemocore::harness::gate::{Data, Observation, Side};
use mnemocore::harness::measure::Better;
use mnemocore::harness::results::Kind;

use super::{Runs, Section};
use crate::measured::{Benchmark, Measured};
use crate::report::plot::{self, Axis, Direction, Error, Scale, Shift};
use crate::table::Table;
use crate::units;

/// What is drawn; more would hide them.
const DRAWN: usize = 30;

pub(super) fn section(measured: &Measured, baseline: &Side) -> Result<Section, Error> {
    let mut section = Section::new(
        "change",
        "Change against the baseline",
        "mnemobench report --baseline NAME",
        "The worst first, with the bootstrap's 95 % interval for the ratio of the medians. That covers the noise \
         within a run and not that between two runs: what blocks a change is decided by mnemobench detect.",
    );
    let mut changes: Vec<Change<'_>> = measured
        .benchmarks
        .values()
        .filter_map(|new| Change::new(new, baseline.observations.get(&new.id)?, measured))
        .collect();
    changes.sort_by(|a, b| b.worsening().total_cmp(&a.worsening()));

    let table = |changes: &[Change<'_>]| {
        let mut table = Table::new(["benchmark", "#before", "#now", "#change", "#95 % interval", ""]);
        changes.iter().for_each(|change| table.row(change.cells()));
        table
    };
    let shift = |change: &Change<'_>| Shift {
        label: change.new.id.clone(),
        change: change.change.map(|share| 100.0 * share),
        direction: change.direction(),
    };
    let drawn = changes.get(..DRAWN).unwrap_or(&changes);
    let shifts: Vec<Shift> = drawn.iter().map(shift).collect();
    let axis = Axis::new("change of the value, %", Scale::Linear, |percent| format!("{percent:+.0}"));
    let count = changes.len();
    let which =
        if drawn.len() < count { format!("the worst {DRAWN} of {count}") } else { format!("all {count}") };
    section.plot(&format!("Change since the baseline, {which}"), plot::shifts(&axis, &shifts)?, table(drawn));
    if drawn.len() < count {
        section.detail("All changes", table(&changes));
    }
    if section.is_measured() {
        let origins = baseline.observations.values().filter_map(|observation| observation.origin.as_ref());
        section.origin = format!("The baseline: {}.", Runs::of(origins.map(|origin| &origin.taken)));
    }
    Ok(section)
}

/// A benchmark then and now.
struct Change<'m> {
    /// The value of the baseline.
    old: f64,
    new: &'m Benchmark,
    /// Of the value: the estimate, its lower and its upper bound.
    change: [f64; 3],
}

impl<'m> Change<'m> {
    /// `None` where both cannot be compared: other profiles, times of other machines,
    /// a baseline of 0.
    fn new(new: &'m Benchmark, old: &Observation, measured: &Measured) -> Option<Self> {
        let origin = old.origin.as_ref()?;
        if new.kind != old.kind || new.taken.profile != origin.taken.profile {
            return None;
        }
        let is_exact = matches!(new.kind, Kind::Ram | Kind::Disk | Kind::Quality);
        if !is_exact && !measured.bench(&new.bench)?.machine.is_comparable(&origin.machine) {
            return None;
        }
        let before = old.data.shown(old.kind)?;
        let change = match &old.data {
            Data::Samples { values, .. } if !is_exact => {
                let bootstrap = Bootstrap::log_ratio(values, &new.samples)?;
                let logs = [bootstrap.estimate, bootstrap.quantile(0.025), bootstrap.quantile(0.975)];
                // Samples are times.
                if new.kind == Kind::Throughput { [-logs[0], -logs[2], -logs[1]] } else { logs }
            }
            _ => [(new.value.point / before).ln(); 3],
        };
        let change = change.map(f64::exp_m1);
        change.iter().all(|share| share.is_finite()).then_some(Self { old: before, new, change })
    }

    fn cells(&self) -> [String; 6] {
        let Self { old, new, change: [point, low, high] } = self;
        let [before, now] = [*old, new.value.point].map(|value| units::value(new.kind, value));
        let interval = if low == high {
            String::new()
        } else {
            format!("{} to {}", units::percent(*low), units::percent(*high))
        };
        let direction = self.direction().as_str().to_owned();
        [new.id.clone(), before, now, units::percent(*point), interval, direction]
    }

    /// How much worse it is; of a benchmark that may be unchanged the estimate.
    fn worsening(&self) -> f64 {
        match self.new.kind.better() {
            Better::Lower => self.change[0],
            Better::Higher => -self.change[0],
        }
    }

    fn direction(&self) -> Direction {
        let [_, low, high] = self.change;
        match (low <= ROUNDING && high >= -ROUNDING, self.worsening() > 0.0) {
            (true, _) => Direction::Open,
            (false, true) => Direction::Worse,
            (false, false) => Direction::Better,
        }
    }
}

/// Less than this is what rounding makes of nothing.
const ROUNDING: f64 = 1e-6;
