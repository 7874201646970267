//! The decision rule applied to simulated runs, of which the truth is known.

use std::fmt;

use criterion_gate::machine::Machine;
use criterion_gate::profile::Profile;
use criterion_gate::random::Random;
use criterion_gate::results::{Kind, Taken};
use criterion_gate::thresholds::Thresholds;
use criterion_gate::verdict::{Effect, Judgement, Verdict};
use criterion_gate::{Data, Observation, Origin, Pairs, Side, Suspect, screen};
use indicatif::{ParallelProgressIterator, ProgressBar};
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, Normal};

use super::super::cli::SelftestArgs;
use super::percent;

/// Benchmarks in one run, about as many as in the suite.
const FAMILY: usize = 40;
/// Samples of one benchmark.
const SAMPLES: usize = 50;
/// One of this many samples is an outlier, 1.5 to 2 times as slow.
const OUTLIERS: u32 = 20;
/// The largest drift of a benchmark between runs, in either direction.
const DRIFT: f64 = 0.08;
/// The noise that remains in one pair of runs (standard deviation).
const RESIDUAL: f64 = 0.015;
/// The standard deviation of samples, and the percentage of runs that meet a noisy neighbor: a
/// quiet machine, then a shared one.
const MACHINES: [(f64, u32); 2] = [(0.03, 0), (0.12, 20)];
/// The smallest and largest slowdown by a neighbor.
const NEIGHBOUR: [f64; 2] = [0.2, 0.5];
/// The percentage of pairs in which the second run meets the neighbor of the first. Otherwise its
/// neighbor is drawn independently.
const LASTING: u32 = 40;
/// The true slowdown of one benchmark of the family.
const EFFECTS: [f64; 5] = [0.0, 0.10, 0.15, 0.20, 0.30];
/// The noise of the reference work between runs on one machine (standard deviation).
const REFERENCE: f64 = 0.005;
/// Disturbances of 20 to 150 %, of all benchmarks of a run or some, with and without an effect on
/// the reference work.
const DISTURBANCES: [Disturbance; 13] = [
    Disturbance { of: BASELINE, share: 0.2, of_each: 1, seen: true },
    Disturbance { of: BASELINE, share: 0.5, of_each: 1, seen: true },
    Disturbance { of: BASELINE, share: 1.5, of_each: 1, seen: true },
    Disturbance { of: CANDIDATE, share: 0.2, of_each: 1, seen: true },
    Disturbance { of: CANDIDATE, share: 0.5, of_each: 1, seen: true },
    Disturbance { of: CANDIDATE, share: 1.5, of_each: 1, seen: true },
    Disturbance { of: BASELINE, share: 0.5, of_each: 2, seen: true },
    Disturbance { of: CANDIDATE, share: 0.5, of_each: 2, seen: true },
    Disturbance { of: BASELINE, share: 0.2, of_each: 2, seen: false },
    Disturbance { of: BASELINE, share: 0.2, of_each: 5, seen: false },
    Disturbance { of: BASELINE, share: 0.2, of_each: 10, seen: false },
    Disturbance { of: BASELINE, share: 0.5, of_each: 5, seen: false },
    Disturbance { of: CANDIDATE, share: 0.2, of_each: 5, seen: false },
];
const QUIET: Disturbance = Disturbance { of: BASELINE, share: 0.0, of_each: 1, seen: true };
const BASELINE: usize = 0;
const CANDIDATE: usize = 1;
/// The true slowdown of one benchmark in a disturbed family.
const HIDDEN: f64 = 0.20;
/// The true increase of one benchmark's memory.
const MEMORY: f64 = 0.25;

/// The benchmark with the slowdown, and the one with the increased memory.
const SLOWER: &str = "b00/p99/1";
const LARGER: &str = "footprint/ram/1";

/// Returns a table with a row for each rule and noise level.
pub(super) fn run(arguments: &SelftestArgs) -> Vec<Vec<String>> {
    let header =
        ["rule, sigma of samples, runs that meet a neighbor", "A/A: any regressed", "A/A: undecided"];
    let found = EFFECTS[1..].iter().map(|effect| format!("+{:.0} % found", 100.0 * effect));
    let mut rows = vec![header.map(String::from).into_iter().chain(found).collect::<Vec<_>>()];
    rows[0].push(format!("memory +{:.0} % found", 100.0 * MEMORY));
    let bar = ProgressBar::new((MACHINES.len() * EFFECTS.len() * arguments.families) as u64);
    for machine in MACHINES {
        let cells: Vec<Tally> =
            EFFECTS.map(|effect| families(machine, effect, QUIET, arguments, &bar)).into();
        let (sigma, neighbours) = machine;
        for (rule, name) in ["screen and pairs", "saved samples alone"].iter().enumerate() {
            let of = |tally: &Tally, count: fn(&Counts) -> usize| {
                percent(count(&tally.0[rule]), arguments.families)
            };
            let mut row = vec![format!("{name}, {:.0} %, {neighbours} %", 100.0 * sigma)];
            row.push(of(&cells[0], |counts| counts.others));
            row.push(of(&cells[0], |counts| counts.undecided));
            row.extend(cells[1..].iter().map(|tally| of(tally, |counts| counts.slower)));
            row.push(of(&cells[0], |counts| counts.larger));
            rows.push(row);
        }
    }
    bar.finish_and_clear();
    rows
}

/// Returns a table with a row for each disturbance of a whole run.
pub(super) fn run_disturbed(arguments: &SelftestArgs) -> Vec<Vec<String>> {
    let header = [
        "slowed throughout",
        "A/A: any regressed",
        "A/A: any improved",
        "A/A: undecided",
        "+20 % found",
        "+20 %: exit code 0",
    ];
    let mut rows = vec![header.map(String::from).to_vec()];
    let bar = ProgressBar::new((DISTURBANCES.len() * 2 * arguments.families) as u64);
    for disturbance in DISTURBANCES {
        let judged = |effect| families(MACHINES[0], effect, disturbance, arguments, &bar).0[0];
        let (same, slower) = (judged(0.0), judged(HIDDEN));
        let of = |count: usize| percent(count, arguments.families);
        rows.push(vec![
            disturbance.to_string(),
            of(same.others),
            of(same.improved),
            of(same.undecided),
            of(slower.slower),
            of(slower.passed),
        ]);
    }
    bar.finish_and_clear();
    rows
}

/// A slowdown of a whole run of one side.
#[derive(Clone, Copy)]
struct Disturbance {
    of: usize,
    share: f64,
    /// One benchmark out of this many is slowed.
    of_each: usize,
    /// Whether the reference work is slowed as well.
    seen: bool,
}

impl Disturbance {
    /// Returns ln of the factor on a benchmark's time.
    fn log(self, side: usize, benchmark: usize) -> f64 {
        let spared = side != self.of || !benchmark.is_multiple_of(self.of_each);
        if spared { 0.0 } else { self.share.ln_1p() }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.of == BASELINE { "baseline" } else { "candidate" };
        write!(f, "{side} by {:.0} %", 100.0 * self.share)?;
        if self.of_each > 1 {
            write!(f, ", one benchmark of {}", self.of_each)?;
        }
        if self.seen { Ok(()) } else { write!(f, ", unseen by the reference work") }
    }
}

/// Numbers of families with certain verdicts: by screen and pairs, then by saved samples alone.
#[derive(Clone, Copy, Default)]
struct Tally([Counts; 2]);

#[derive(Clone, Copy, Default)]
struct Counts {
    /// Families in which the slower benchmark has regressed.
    slower: usize,
    /// Families in which the benchmark with more memory has regressed.
    larger: usize,
    /// Families with any other regression, which is a false alarm.
    others: usize,
    /// Families with any undecided benchmark.
    undecided: usize,
    /// Families with any improvement.
    improved: usize,
    /// Families with exit code 0.
    passed: usize,
}

impl Counts {
    fn of(judgement: &Judgement, effect: f64) -> Self {
        let any = |holds: &dyn Fn(&str) -> bool, verdict: Verdict| {
            let mut findings = judgement.findings.iter();
            usize::from(findings.any(|finding| finding.verdict == verdict && holds(&finding.id)))
        };
        let mut findings = judgement.findings.iter();
        Self {
            slower: any(&|id| id == SLOWER, Verdict::Regressed),
            larger: any(&|id| id == LARGER, Verdict::Regressed),
            others: any(&|id| id != LARGER && (id != SLOWER || effect == 0.0), Verdict::Regressed),
            undecided: usize::from(findings.any(|finding| finding.effect == Effect::CannotJudge)),
            improved: any(&|_| true, Verdict::Improved),
            // The memory increase is in every family, so it is excluded.
            passed: usize::from(
                judgement
                    .findings
                    .iter()
                    .all(|finding| finding.id == LARGER || finding.effect == Effect::Pass),
            ),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            slower: self.slower + other.slower,
            larger: self.larger + other.larger,
            others: self.others + other.others,
            undecided: self.undecided + other.undecided,
            improved: self.improved + other.improved,
            passed: self.passed + other.passed,
        }
    }
}

fn families(
    (sigma, neighbours): (f64, u32),
    effect: f64,
    disturbance: Disturbance,
    arguments: &SelftestArgs,
    bar: &ProgressBar,
) -> Tally {
    let judge = |family: usize| {
        let seed = arguments.seed ^ sigma.to_bits() ^ effect.to_bits();
        let random = Random::stream(seed, family as u64);
        let judgements = Noise { random, sigma, neighbours }.family(effect, disturbance);
        Tally(judgements.map(|judgement| Counts::of(&judgement, effect)))
    };
    let sum = |a: Tally, b: Tally| Tally([a.0[0].plus(b.0[0]), a.0[1].plus(b.0[1])]);
    (0..arguments.families).into_par_iter().progress_with(bar.clone()).map(judge).reduce(Tally::default, sum)
}

struct Noise {
    random: Random,
    sigma: f64,
    neighbours: u32,
}

impl Noise {
    /// Simulates both runs of a family, and judges them with pairs and without.
    fn family(&mut self, effect: f64, disturbance: Disturbance) -> [Judgement; 2] {
        let (mut old, mut new) = (Side::default(), Side::default());
        let truth = |id: &str| if id == SLOWER { effect.ln_1p() } else { 0.0 };
        for i in 0..FAMILY {
            let id = format!("b{i:02}/p99/1");
            let slowed = [BASELINE, CANDIDATE].map(|side| disturbance.log(side, i));
            let slower = truth(&id);
            let (before, after) = (self.samples(slowed[0]), self.samples(slower + slowed[1]));
            let [reference_before, reference_after] =
                slowed.map(|slowed| self.reference(if disturbance.seen { slowed } else { 0.0 }));
            old.observations.insert(id.clone(), observation(Kind::P99, before, reference_before, 1));
            new.observations.insert(id, observation(Kind::P99, after, reference_after, 2));
        }
        let larger = 1e6 * (1.0 + MEMORY);
        old.observations.insert(LARGER.into(), observation(Kind::Ram, Data::Value(1e6), None, 1));
        new.observations.insert(LARGER.into(), observation(Kind::Ram, Data::Value(larger), None, 2));

        let thresholds = Thresholds::default();
        let screening = screen(&old, &new, &thresholds);
        let mut pairs = Pairs::new();
        let mut confirm = |suspects: &[Suspect], pairs: &mut Pairs| {
            for suspect in suspects {
                let mean = truth(&suspect.id);
                let mut runs = Vec::new();
                while runs.len() < thresholds.gate.pairs && !suspect.is_cleared_by(&runs) {
                    runs.push(self.pair(mean));
                }
                pairs.insert(suspect.id.clone(), Ok(runs));
            }
        };
        confirm(screening.suspects(), &mut pairs);
        confirm(screening.audited(), &mut pairs);
        if screening.is_contradicted_by(&pairs) {
            confirm(screening.unaudited(), &mut pairs);
        }
        [screening.clone().conclude(&pairs), screening.conclude_alone()]
    }

    /// Simulates the samples of one run. `slower` is added to their ln, and so is a random drift.
    fn samples(&mut self, slower: f64) -> Data {
        let drift = DRIFT * (2.0 * self.random.unit() - 1.0);
        let sample = |_| {
            let outlier = if self.random.below(OUTLIERS) == 0 { 1.5 + 0.5 * self.random.unit() } else { 1.0 };
            outlier * (slower + drift + self.sigma * self.normal()).exp()
        };
        Data::Samples { values: (0..SAMPLES).map(sample).collect(), operations: 1 }
    }

    /// Simulates the reference work beside a benchmark.
    fn reference(&mut self, slowed: f64) -> Option<f64> {
        Some(1e5 * (slowed + REFERENCE * self.normal()).exp())
    }

    /// Simulates two runs, the second slower by `slower` in ln.
    fn pair(&mut self, slower: f64) -> [f64; 2] {
        let first = self.neighbour();
        let second = if self.random.percent(LASTING) { first } else { self.neighbour() };
        let residual = RESIDUAL * self.normal();
        [first.exp(), (second + slower + residual).exp()]
    }

    /// The amount that a neighbor adds to ln of a run, often 0.
    fn neighbour(&mut self) -> f64 {
        let [least, most] = NEIGHBOUR;
        let meets = self.random.percent(self.neighbours);
        if meets { (least + (most - least) * self.random.unit()).ln_1p() } else { 0.0 }
    }

    fn normal(&mut self) -> f64 {
        // The argument is never 0, where the quantile is infinite.
        Normal::standard().inverse_cdf(1.0 - self.random.unit())
    }
}

fn observation(kind: Kind, data: Data, reference: Option<f64>, unix_seconds: u64) -> Observation {
    let machine = Machine {
        cpu: "simulated".into(),
        cpu_features: Vec::new(),
        cores: 1,
        memory_bytes: None,
        os: String::new(),
        architecture: String::new(),
        rustc: String::new(),
        features: Vec::new(),
        revision: String::new(),
    };
    let taken = Taken { unix_seconds, revision: String::new(), profile: Profile::Default, quick: false };
    let origin = Some(Origin { taken, machine });
    Observation { bench: "simulated".into(), kind, data, reference, origin }
}
