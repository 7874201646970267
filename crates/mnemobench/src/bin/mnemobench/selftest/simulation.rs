//! The rule on simulated runs, whose truth is known.

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

/// Benchmarks of one run, as the suite has about.
const FAMILY: usize = 40;
/// Samples of one benchmark.
const SAMPLES: usize = 50;
/// One sample of so many is an outlier, half to twice as slow again.
const OUTLIERS: u32 = 20;
/// How far a benchmark drifts from run to run, either way.
const DRIFT: f64 = 0.08;
/// What is left of noise in one pair of runs (standard deviation).
const RESIDUAL: f64 = 0.015;
/// Standard deviations of samples and the share of runs that meet a neighbor: a quiet
/// machine, and a shared one.
const MACHINES: [(f64, u32); 2] = [(0.03, 0), (0.12, 20)];
/// How much slower a neighbour makes a run, at least and at most.
const NEIGHBOUR: [f64; 2] = [0.2, 0.5];
/// So many percent of the second runs of a pair meet what the first did.
const LASTING: u32 = 40;
/// How much slower one benchmark of the family really is.
const EFFECTS: [f64; 5] = [0.0, 0.10, 0.15, 0.20, 0.30];
/// How far the reference work differs between runs on one machine (standard deviation).
const REFERENCE: f64 = 0.005;
/// What slows a run: 20 to 150 %, all its benchmarks or some, seen by the reference work or not.
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
/// How much slower the one benchmark is in a disturbed family.
const HIDDEN: f64 = 0.20;
/// How much more memory one benchmark really takes.
const MEMORY: f64 = 0.25;

/// The benchmark that is slower, and the one that takes more memory.
const SLOWER: &str = "b00/p99/1";
const LARGER: &str = "footprint/ram/1";

/// A table: a row for each rule and noise.
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

/// A table: a row for each run that was slowed throughout.
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

/// What slows a whole run of one side.
#[derive(Clone, Copy)]
struct Disturbance {
    of: usize,
    share: f64,
    /// Only one benchmark of so many.
    of_each: usize,
    /// Whether it slows the reference work too.
    seen: bool,
}

impl Disturbance {
    /// ln of the factor that it makes on a benchmark's time.
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

/// In how many families something was said, by both rules.
#[derive(Clone, Copy, Default)]
struct Tally([Counts; 2]);

#[derive(Clone, Copy, Default)]
struct Counts {
    /// The slower benchmark has regressed.
    slower: usize,
    /// The larger one has.
    larger: usize,
    /// Any other has, falsely.
    others: usize,
    /// Any was left undecided.
    undecided: usize,
    /// Any has improved.
    improved: usize,
    /// The exit code would be 0.
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
            // The larger one is always there.
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
    /// Both runs of a family, judged with pairs and without.
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

    /// The samples of one run, whose ln is off by `slower` and by its drift.
    fn samples(&mut self, slower: f64) -> Data {
        let drift = DRIFT * (2.0 * self.random.unit() - 1.0);
        let sample = |_| {
            let outlier = if self.random.below(OUTLIERS) == 0 { 1.5 + 0.5 * self.random.unit() } else { 1.0 };
            outlier * (slower + drift + self.sigma * self.normal()).exp()
        };
        Data::Samples { values: (0..SAMPLES).map(sample).collect(), operations: 1 }
    }

    /// The time of the reference work beside a benchmark.
    fn reference(&mut self, slowed: f64) -> Option<f64> {
        Some(1e5 * (slowed + REFERENCE * self.normal()).exp())
    }

    /// Two runs, the second slower by `slower`.
    fn pair(&mut self, slower: f64) -> [f64; 2] {
        let first = self.neighbour();
        let second = if self.random.percent(LASTING) { first } else { self.neighbour() };
        let residual = RESIDUAL * self.normal();
        [first.exp(), (second + slower + residual).exp()]
    }

    /// What a neighbour adds to ln of a run.
    fn neighbour(&mut self) -> f64 {
        let [least, most] = NEIGHBOUR;
        let meets = self.random.percent(self.neighbours);
        if meets { (least + (most - least) * self.random.unit()).ln_1p() } else { 0.0 }
    }

    fn normal(&mut self) -> f64 {
        // Never 0, whose quantile is infinite.
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
