//! Pairs of runs: the baseline's executable and the candidate's in fresh processes,
//! in the order A B B A, so that what drifts hits both.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use mnemocore::harness::gate::statistics::median;
use mnemocore::harness::gate::thresholds::Gate;
use mnemocore::harness::gate::{Pairs, Suspect};
use mnemocore::harness::profile::{PROFILE_VARIABLE, Profile};
use mnemocore::harness::results::{self, NEW};

use super::criterion;
use super::process::{self, Failure};

/// How one process of a pair samples: briefly, because the pairs are the samples.
const SAMPLING: [&str; 8] = [
    "--bench", // Otherwise the benchmarks are only tested.
    "--noplot",
    "--sample-size=10",
    "--warm-up-time=0.1",
    "--measurement-time=0.3",
    "--nresamples=1000",
    "--color=never",
    "--quiet",
];
/// What to run.
pub(crate) struct Confirmation<'a> {
    /// Criterion's folder, with the executables.
    pub(crate) home: &'a Path,
    /// The names of the baseline and of the candidate.
    pub(crate) runs: [&'a str; 2],
    /// How many pairs.
    pub(crate) pairs: usize,
    /// The time of one process.
    pub(crate) limit: Duration,
    /// More variables for the candidate's processes.
    pub(crate) environment: Vec<(&'a str, &'a str)>,
}

impl<'a> Confirmation<'a> {
    /// As the settings say.
    pub(crate) fn new(home: &'a Path, runs: [&'a str; 2], gate: &Gate) -> Self {
        let limit = Duration::from_secs(gate.process_seconds);
        Self { home, runs, pairs: gate.pairs, limit, environment: Vec::new() }
    }

    /// Runs the pairs of all suspects, those of one bench together.
    pub(crate) fn run(&self, suspects: &[Suspect]) -> Result<Pairs, Failure> {
        let mut benches: BTreeMap<(&str, Profile), Vec<&str>> = BTreeMap::new();
        for suspect in suspects {
            benches.entry((&suspect.bench, suspect.profile)).or_default().push(&suspect.id);
        }
        let bar = progress(2 * self.pairs * benches.len());
        let mut all = Pairs::new();
        for ((bench, profile), ids) in benches {
            bar.set_message(format!("confirming {} of {bench}", ids.len()));
            match self.run_bench(bench, profile, &ids, &bar) {
                Ok(pairs) => all.extend(pairs),
                Err(Failure::Interrupted) => return Err(Failure::Interrupted),
                Err(failure) => {
                    let reason = format!("not confirmed: {failure}");
                    all.extend(ids.iter().map(|id| ((*id).to_owned(), Err(reason.clone()))));
                }
            }
        }
        bar.finish_and_clear();
        Ok(all)
    }

    fn run_bench(
        &self,
        bench: &str,
        profile: Profile,
        ids: &[&str],
        bar: &ProgressBar,
    ) -> Result<Pairs, Failure> {
        let [old, new] = self.runs.map(|run| results::program(self.home, run, bench));
        for (program, run) in [(&old, self.runs[0]), (&new, self.runs[1])] {
            if !program.is_file() {
                return Err(missing(program, run));
            }
        }
        let filter = filter(ids);
        let run = |program: &Path, environment: &[(&str, &str)]| {
            let medians = self.run_once(program, profile, &filter, environment);
            bar.inc(1);
            medians
        };
        let mut differences: Pairs = ids.iter().map(|id| ((*id).to_owned(), Ok(Vec::new()))).collect();
        for pair in 0..self.pairs {
            let (before, after);
            if pair % 2 == 0 {
                before = run(&old, &[])?;
                after = run(&new, &self.environment)?;
            } else {
                after = run(&new, &self.environment)?;
                before = run(&old, &[])?;
            }
            for (id, differences) in &mut differences {
                let difference = match (before.get(id), after.get(id)) {
                    (Some(before), Some(after)) => Ok((after / before).ln()),
                    (None, _) => Err(format!("{} did not measure it when run again", old.display())),
                    (_, None) => Err(format!("{} did not measure it when run again", new.display())),
                };
                match (differences.as_mut(), difference) {
                    (Ok(list), Ok(difference)) => list.push(difference),
                    (Ok(_), Err(reason)) => *differences = Err(reason),
                    (Err(_), _) => {}
                }
            }
        }
        Ok(differences)
    }

    /// Runs a bench in a home of its own and returns the medians.
    fn run_once(
        &self,
        program: &Path,
        profile: Profile,
        filter: &str,
        environment: &[(&str, &str)],
    ) -> Result<BTreeMap<String, f64>, Failure> {
        // Beside the executables: these can be linked there.
        let home = tempfile::Builder::new().prefix("mnemobench-pair-").tempdir_in(self.home);
        let home = home.map_err(|error| Failure::new(program, error))?;
        let mut command = Command::new(program);
        command.args(SAMPLING).arg(filter).envs(environment.iter().copied());
        command.env("CRITERION_HOME", home.path()).env(PROFILE_VARIABLE, profile.to_string());
        // Spares it asking git.
        command.env("MNEMO_REVISION", "pair");
        process::run(&mut command, self.limit)?;
        let run = criterion::read(home.path(), NEW);
        let medians =
            run.into_iter().filter_map(|(id, benchmark)| Some((id, median(&benchmark.ok()?.samples)?)));
        Ok(medians.collect())
    }
}

fn missing(program: &Path, run: &str) -> Failure {
    let again =
        if run == NEW { "cargo bench".into() } else { format!("cargo bench -- --save-baseline {run}") };
    Failure::new(program, format!("it is not there; on its revision, run {again}"))
}

fn progress(steps: usize) -> ProgressBar {
    // Hides itself where standard error is no terminal.
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
    let bar = ProgressBar::new(steps as u64);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The regular expression that lets through these benchmarks alone.
fn filter(ids: &[&str]) -> String {
    let escaped: Vec<String> = ids.iter().map(|id| regex_lite::escape(id)).collect();
    format!("^({})$", escaped.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_through_what_it_names_and_nothing_else() {
        let regex = regex_lite::Regex::new(&filter(&["a/p99/5", "b(c).d/wall/1"])).unwrap();
        for id in ["a/p99/5", "b(c).d/wall/1"] {
            assert!(regex.is_match(id), "{id}");
        }
        for id in ["a/p99/50", "xa/p99/5", "b(c)xd/wall/1", ""] {
            assert!(!regex.is_match(id), "{id}");
        }
    }
}
