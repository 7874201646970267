//! The gate on real runs: the same executables as baseline and as candidate, unchanged or slowed on
//! purpose.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use criterion_gate::profile::{PROFILE_VARIABLE, Profile};
use criterion_gate::results::{self, NEW, Results};
use criterion_gate::statistics::median;
use criterion_gate::thresholds::Thresholds;
use criterion_gate::verdict::{Effect, Finding, Judgement, Verdict};
use criterion_gate::{Observation, screen};
use tempfile::TempDir;

use super::super::cli::{BusySide, SelftestArgs};
use super::super::confirm::Confirmation;
use super::super::{load_runs, process, streams};
use super::busy::Busy;
use super::percent;

/// The environment variable that the feature `inject` reads.
const INJECT: &str = "MNEMO_INJECT";
/// The names of the two runs that are compared.
const RUNS: [&str; 2] = ["even", "odd"];
/// Up to this many benchmarks are all listed. Of more, only those that ever regressed are listed.
const LISTED: usize = 12;

/// Returns a table with a row for each injected slowdown.
pub(super) fn run(arguments: &SelftestArgs) -> Result<Vec<Vec<String>>, Box<dyn Error>> {
    let header = [
        "injected",
        "runs",
        "exit code 1",
        "exit code 2",
        "exit code 0",
        "any improved",
        "samples alone",
        "seconds a run",
        "by benchmark: regressed",
    ];
    let mut rows = vec![header.map(String::from).to_vec()];
    let injections: Vec<&str> = match arguments.inject.as_slice() {
        [] => vec![""],
        some => some.iter().map(String::as_str).collect(),
    };
    for injection in injections {
        rows.push(repeat(arguments, injection)?);
    }
    Ok(rows)
}

/// Runs the requested number of comparisons.
///
/// If nothing is slowed, each run is the candidate of one comparison and the baseline of the next.
/// Otherwise each candidate has a baseline of its own.
fn repeat(arguments: &SelftestArgs, injection: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let trial = Trial::new(arguments, injection)?;
    let started = Instant::now();
    let (mut judgements, mut apparent) = (Vec::new(), Vec::new());
    let [mut baseline, mut candidate] = RUNS;
    for run in 1..=arguments.runs {
        let began = Instant::now();
        let threads = |side| (arguments.busy == Some(side)).then_some(arguments.threads);
        if run == 1 || !injection.is_empty() || arguments.busy.is_some() {
            trial.measure(baseline, "", threads(BusySide::Baseline))?;
            trial.refuse_nothing(baseline)?;
        }
        // A candidate taken in the same second as the baseline would count as stale.
        std::thread::sleep(Duration::from_millis(1100));
        trial.measure(candidate, injection, threads(BusySide::Candidate))?;
        let measured = began.elapsed().as_secs();
        let (judgement, change) = trial.judge([baseline, candidate])?;
        apparent.extend(change);
        let counts: Vec<String> =
            judgement.counts().map(|(verdict, count)| format!("{count} {}", verdict.as_str())).collect();
        let (counts, confirmed) = (counts.join(", "), began.elapsed().as_secs() - measured);
        streams::note(format!(
            "{run}/{} {injection}: {counts}; measured {measured} s, confirmed {confirmed} s",
            arguments.runs
        ));
        judgement.findings.iter().filter(|finding| is_worth_a_line(finding)).for_each(print);
        judgements.push(judgement);
        if injection.is_empty() && arguments.busy.is_none() {
            (baseline, candidate) = (candidate, baseline);
        }
    }
    let seconds = started.elapsed().as_secs_f64() / judgements.len().max(1) as f64;
    Ok(row(&judgements, median(&apparent), injection, seconds))
}

/// Whether the finding did not pass or was measured in pairs.
fn is_worth_a_line(finding: &Finding) -> bool {
    finding.effect != Effect::Pass || finding.change.is_some_and(|change| change.pairs > 0)
}

fn print(finding: &Finding) {
    let change = finding.change.map_or_else(String::new, |change| {
        let [estimate, lower, upper] =
            [change.estimate, change.lower, change.upper].map(|share| 100.0 * share);
        format!(" {estimate:+.1} % ({lower:+.1} to {upper:+.1}) in {} pairs", change.pairs)
    });
    streams::note(format!("  {} {}{change}", finding.verdict.as_str(), finding.id));
}

fn row(judgements: &[Judgement], apparent: Option<f64>, injection: &str, seconds: f64) -> Vec<String> {
    let runs = judgements.len();
    let with = |effect| judgements.iter().filter(|judgement| judgement.effect() == effect).count();
    let findings = || judgements.iter().flat_map(|judgement| &judgement.findings);
    let ids: BTreeSet<&str> = findings().map(|finding| finding.id.as_str()).collect();
    let by_benchmark = ids.iter().filter_map(|id| {
        let found = findings().filter(|f| f.id == *id && f.verdict == Verdict::Regressed).count();
        (found > 0 || ids.len() <= LISTED).then(|| format!("{id} {}", percent(found, runs)))
    });
    vec![
        if injection.is_empty() { "nothing".into() } else { injection.into() },
        runs.to_string(),
        percent(with(Effect::Regressed), runs),
        percent(with(Effect::CannotJudge), runs),
        percent(with(Effect::Pass), runs),
        percent(judgements.iter().filter(|judgement| has_improved(judgement)).count(), runs),
        apparent.map_or_else(|| "-".into(), |change| format!("{:+.0} %", 100.0 * change.exp_m1())),
        format!("{seconds:.0}"),
        by_benchmark.collect::<Vec<_>>().join(", "),
    ]
}

fn has_improved(judgement: &Judgement) -> bool {
    judgement.findings.iter().any(|finding| finding.verdict == Verdict::Improved)
}

/// The executables to run, and a folder for their results.
struct Trial<'a> {
    programs: Vec<PathBuf>,
    filter: Option<&'a str>,
    /// Whether the cores are busy only beside every second benchmark.
    half: bool,
    injection: &'a str,
    profile: Profile,
    thresholds: Thresholds,
    home: TempDir,
}

impl<'a> Trial<'a> {
    fn new(arguments: &'a SelftestArgs, injection: &'a str) -> Result<Self, Box<dyn Error>> {
        let kept = arguments.home.criterion()?;
        let thresholds = arguments.home.thresholds(None)?;
        let programs = programs(&kept, &arguments.bench)?;
        Ok(Self {
            programs,
            filter: arguments.filter.as_deref(),
            half: arguments.half,
            injection,
            profile: Profile::from_env()?,
            thresholds,
            // Created beside the executables, so that these can be linked.
            home: tempfile::Builder::new().prefix("selftest-").tempdir_in(kept)?,
        })
    }

    /// Runs all benches and saves their results as `run`. Meanwhile `threads` threads keep each
    /// core busy, if given.
    fn measure(&self, run: &str, injection: &str, threads: Option<f64>) -> Result<(), Box<dyn Error>> {
        for program in &self.programs {
            let limit = Duration::from_secs(self.thresholds.gate.process_seconds);
            let sample = |filter: Option<&str>, threads: Option<f64>| {
                let _busy = threads.map(Busy::start);
                let mut command = self.command(program, filter);
                command.args(["--noplot", &format!("--save-baseline={run}")]).env(INJECT, injection);
                process::run(&mut command, limit)
            };
            if self.half && threads.is_some() {
                let [busy, quiet] = self.halves(program)?;
                sample(Some(&busy), threads)?;
                sample(Some(&quiet), None)?;
            } else {
                sample(self.filter, threads)?;
            }
        }
        if !injection.is_empty() {
            assert_injectable(self.home.path(), run)?;
        }
        Ok(())
    }

    /// Fails if nothing was measured, because a run without benchmarks cannot be judged.
    fn refuse_nothing(&self, run: &str) -> Result<(), String> {
        if !load_runs::of_run(self.home.path(), run).observations.is_empty() {
            return Ok(());
        }
        let benches: Vec<String> = self.programs.iter().filter_map(|program| name_of(program)).collect();
        let benches = benches.join(", ");
        Err(match self.filter {
            Some(filter) => format!("--filter {filter}: no benchmark of {benches} has such a name"),
            None => format!("the executables of {benches} measured nothing"),
        })
    }

    fn command(&self, program: &Path, filter: Option<&str>) -> Command {
        let mut command = Command::new(program);
        command.arg("--bench").args(filter).env("MNEMO_REVISION", "selftest");
        command.env("CRITERION_HOME", self.home.path()).env(PROFILE_VARIABLE, self.profile.to_string());
        command
    }

    /// Returns a filter for every second benchmark of `program`, and one for the others.
    fn halves(&self, program: &Path) -> Result<[String; 2], Box<dyn Error>> {
        let listed = self.command(program, self.filter).arg("--list").output()?;
        let listed = String::from_utf8(listed.stdout)?;
        let ids: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": benchmark")).collect();
        if ids.len() < 2 {
            return Err(format!("--half: {} has fewer than two such benchmarks", program.display()).into());
        }
        let half = |first: usize| {
            let ids: Vec<String> =
                ids.iter().skip(first).step_by(2).map(|id| regex_lite::escape(id)).collect();
            format!("^({})$", ids.join("|"))
        };
        Ok([half(0), half(1)])
    }

    /// Returns the verdicts, and the median difference of the samples as a logarithm.
    fn judge(&self, runs: [&str; 2]) -> Result<(Judgement, Option<f64>), Box<dyn Error>> {
        let [old, new] = runs.map(|run| load_runs::of_run(self.home.path(), run));
        let shown = |observation: &Observation| observation.data.shown(observation.kind);
        let change = |(id, old)| Some((shown(new.observations.get(id)?)? / shown(old)?).ln());
        let apparent = median(&old.observations.iter().filter_map(change).collect::<Vec<f64>>());
        let screening = screen(&old, &new, &self.thresholds);
        let mut confirmation = Confirmation::new(self.home.path(), runs, &self.thresholds.gate);
        if !self.injection.is_empty() {
            confirmation.environment = vec![(INJECT, self.injection)];
        }
        let pairs = confirmation.run(&screening)?;
        Ok((screening.conclude(&pairs), apparent))
    }
}

fn name_of(program: &Path) -> Option<String> {
    Some(program.file_name()?.to_string_lossy().into_owned())
}

/// Returns the executables kept with the last run, of `benches` or, if it is empty, of all benches.
fn programs(home: &Path, benches: &[String]) -> Result<Vec<PathBuf>, String> {
    let none = |program: &Path| {
        format!("{}: no executable; run cargo bench, with --features inject to slow it", program.display())
    };
    if benches.is_empty() {
        let folder = results::programs(home, NEW);
        let entries = fs::read_dir(&folder).map_err(|_| none(&folder))?;
        let mut programs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        programs.sort();
        return if programs.is_empty() { Err(none(&folder)) } else { Ok(programs) };
    }
    let programs = benches.iter().map(|bench| results::program(home, NEW, bench));
    programs.map(|program| if program.is_file() { Ok(program) } else { Err(none(&program)) }).collect()
}

/// Fails if an executable lacks the feature, because nothing would be slowed and the gate would
/// seem to miss it.
fn assert_injectable(home: &Path, run: &str) -> Result<(), Box<dyn Error>> {
    for results in Results::of_run(home, run) {
        if !results?.machine.features.iter().any(|feature| feature == "inject") {
            return Err("an executable is built without the feature `inject`".into());
        }
    }
    Ok(())
}
