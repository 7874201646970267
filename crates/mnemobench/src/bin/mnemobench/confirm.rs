//! Confirmation by pairs of runs. The executables of the baseline and of the candidate run in fresh
//! processes, in the order A B B A, so that drift affects both.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use criterion_gate::profile::PROFILE_VARIABLE;
use criterion_gate::results::{self, Kind, NEW};
use criterion_gate::statistics::median;
use criterion_gate::thresholds::Gate;
use criterion_gate::{Pairs, Screening, Suspect};
use indicatif::ProgressBar;

use super::criterion;
use super::process::{self, Failure};
use super::progress;

/// Criterion's options for one process of a pair. Sampling is brief, because the pairs are the
/// samples.
const SAMPLING: [&str; 8] = [
    "--bench", // Otherwise the benchmarks are only tested.
    "--noplot",
    "--sample-size=10",
    "--warm-up-time=0.05",
    "--measurement-time=0.1",
    "--nresamples=1000",
    "--color=never",
    "--quiet",
];

/// Number of suspects whose pairs are interleaved.
const IN_TURN: usize = 8;

/// The settings of a confirmation.
pub(crate) struct Confirmation<'a> {
    /// Criterion's folder, with the executables.
    pub(crate) home: &'a Path,
    /// The names of the baseline and of the candidate.
    pub(crate) runs: [&'a str; 2],
    /// The maximum number of pairs of a suspect.
    pub(crate) pairs: usize,
    /// The time limit of one process.
    pub(crate) limit: Duration,
    /// The time limit of all processes together.
    pub(crate) budget: Duration,
    /// Additional environment variables for the candidate's processes.
    pub(crate) environment: Vec<(&'a str, &'a str)>,
}

impl<'a> Confirmation<'a> {
    /// Takes the limits from the settings of the gate.
    pub(crate) fn new(home: &'a Path, runs: [&'a str; 2], gate: &Gate) -> Self {
        let limit = Duration::from_secs(gate.process_seconds);
        let budget = Duration::from_secs_f64(60.0 * gate.minutes);
        Self { home, runs, pairs: gate.pairs, limit, budget, environment: Vec::new() }
    }

    /// Runs pairs of all suspects and of the audited benchmarks, for as long as the budget lasts.
    /// If the pairs contradict the saved samples, runs pairs of all other benchmarks too.
    pub(crate) fn run(&self, screening: &Screening) -> Result<Pairs, Failure> {
        let end = Instant::now() + self.budget;
        let mut pairs = Pairs::new();
        self.run_all(screening.suspects(), "confirming", end, &mut pairs)?;
        self.run_all(screening.audited(), "auditing", end, &mut pairs)?;
        if screening.is_contradicted_by(&pairs) {
            self.run_all(screening.unaudited(), "contradicted: confirming", end, &mut pairs)?;
        }
        Ok(pairs)
    }

    /// Runs pairs until there are enough, all suspects are cleared, or the budget is spent.
    ///
    /// A pair measures one suspect, so that its two processes follow each other within a second.
    /// Pairs of a few suspects are interleaved, so that a disturbance of a minute affects only some
    /// pairs of each. Suspects at the front go first.
    fn run_all(
        &self,
        suspects: &[Suspect],
        what: &str,
        end: Instant,
        closed: &mut Pairs,
    ) -> Result<(), Failure> {
        let bar = progress::bar(self.pairs.saturating_mul(suspects.len()));
        bar.set_message(format!("{what} {}", suspects.len()));
        for some in suspects.chunks(IN_TURN) {
            self.run_some(some, end, &bar, closed)?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn run_some(
        &self,
        suspects: &[Suspect],
        end: Instant,
        bar: &ProgressBar,
        closed: &mut Pairs,
    ) -> Result<(), Failure> {
        let mut open: Vec<(&Suspect, Vec<[f64; 2]>)> =
            suspects.iter().map(|suspect| (suspect, Vec::new())).collect();
        for number in 0..self.pairs {
            if open.is_empty() {
                break;
            }
            for (suspect, mut pairs) in std::mem::take(&mut open) {
                bar.inc(1);
                let result = match self.run_pair(suspect, number, end) {
                    Ok(Some(pair)) => {
                        pairs.push(pair);
                        if !suspect.is_cleared_by(&pairs) {
                            open.push((suspect, pairs));
                            continue;
                        }
                        Ok(pairs)
                    }
                    Ok(None) => Err(format!(
                        "the budget of {} minutes for pairs left it undecided; raise gate.minutes, or name fewer \
                         benches with --bench",
                        self.budget.as_secs_f64() / 60.0
                    )),
                    Err(Failure::Interrupted) => return Err(Failure::Interrupted),
                    Err(failure) => Err(format!("not confirmed: {failure}")),
                };
                bar.inc((self.pairs - number - 1) as u64);
                closed.insert(suspect.id.clone(), result);
            }
        }
        closed.extend(open.into_iter().map(|(suspect, pairs)| (suspect.id.clone(), Ok(pairs))));
        Ok(())
    }

    /// Returns the medians of the baseline and of the candidate, or `None` after `end`.
    fn run_pair(&self, suspect: &Suspect, number: usize, end: Instant) -> Result<Option<[f64; 2]>, Failure> {
        if Instant::now() >= end {
            return Ok(None);
        }
        let old = || self.run_once(self.runs[0], suspect, &[]);
        let new = || self.run_once(self.runs[1], suspect, &self.environment);
        if number.is_multiple_of(2) {
            let before = old()?;
            Ok(Some([before, new()?]))
        } else {
            let after = new()?;
            Ok(Some([old()?, after]))
        }
    }

    /// Measures the suspect alone in a temporary home. Returns the median time of an iteration, or
    /// of an operation for a throughput.
    fn run_once(&self, run: &str, suspect: &Suspect, environment: &[(&str, &str)]) -> Result<f64, Failure> {
        let program = results::program(self.home, run, &suspect.bench);
        if !program.is_file() {
            return Err(missing(&program, run));
        }
        // Created beside the executables, so that these can be linked.
        let home = tempfile::Builder::new().prefix(criterion::PAIR).tempdir_in(self.home);
        let home = home.map_err(|error| Failure::new(&program, error))?;
        let mut command = Command::new(&program);
        command.args(SAMPLING).arg(filter(&suspect.id)).envs(environment.iter().copied());
        command.env("CRITERION_HOME", home.path()).env(PROFILE_VARIABLE, suspect.profile.to_string());
        // Avoids a call of git.
        command.env("MNEMO_REVISION", "pair");
        process::run(&mut command, self.limit)?;
        let measured = criterion::read(home.path(), NEW).remove(&suspect.id);
        let value = measured.and_then(|benchmark| {
            let benchmark = benchmark.ok()?;
            let elements = benchmark.elements.filter(|_| suspect.kind() == Kind::Throughput);
            Some(median(&benchmark.samples)? / elements.unwrap_or(1) as f64)
        });
        value.ok_or_else(|| Failure::new(&program, "it did not measure the benchmark when run again"))
    }
}

fn missing(program: &Path, run: &str) -> Failure {
    let again =
        if run == NEW { "cargo bench".into() } else { format!("cargo bench -- --save-baseline {run}") };
    Failure::new(program, format!("it is not there; on its revision, run {again}"))
}

/// Returns the regular expression that matches this benchmark only.
fn filter(id: &str) -> String {
    format!("^{}$", regex_lite::escape(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_through_what_it_names_and_nothing_else() {
        let regex = regex_lite::Regex::new(&filter("b(c).d/wall/1")).unwrap();
        assert!(regex.is_match("b(c).d/wall/1"));
        for id in ["b(c).d/wall/10", "ab(c).d/wall/1", "b(c)xd/wall/1", ""] {
            assert!(!regex.is_match(id), "{id}");
        }
    }
}
