//! The gate on real runs: one executable as baseline and as candidate, as it is
//! and slowed on purpose.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mnemocore::harness::gate::screen;
use mnemocore::harness::gate::thresholds::Thresholds;
use mnemocore::harness::gate::verdict::{Effect, Judgement, Verdict};
use mnemocore::harness::profile::{PROFILE_VARIABLE, Profile};
use mnemocore::harness::results::{self, NEW, Results};

use super::super::cli::SelftestArgs;
use super::super::confirm::Confirmation;
use super::super::{process, sides};
use super::percent;

/// The variable of the feature `inject`.
const INJECT: &str = "MNEMO_INJECT";
/// The baseline's name.
const MAIN: &str = "main";

/// A table: a row for each slow-down, the first of them none.
pub(super) fn run(arguments: &SelftestArgs) -> Result<Vec<Vec<String>>, Box<dyn Error>> {
    let home = arguments.home.home.clone().unwrap_or_else(results::home);
    let program = arguments.program.clone().unwrap_or_else(|| results::program(&home, NEW, &arguments.bench));
    if !program.is_file() {
        let (program, bench) = (program.display(), &arguments.bench);
        return Err(format!(
            "{program}: no executable; run cargo bench --bench {bench}, or name one by --program"
        )
        .into());
    }
    let header = ["injected", "runs", "regressed", "undecided", "seconds a run", "by benchmark: regressed"];
    let mut rows = vec![header.map(String::from).to_vec()];
    let injections: Vec<&str> = match arguments.inject.as_slice() {
        [] => vec![""],
        some => some.iter().map(String::as_str).collect(),
    };
    for injection in injections {
        rows.push(repeat(arguments, &program, injection)?);
    }
    Ok(rows)
}

fn repeat(arguments: &SelftestArgs, program: &Path, injection: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let started = Instant::now();
    let mut judgements = Vec::new();
    for run in 1..=arguments.runs {
        let judgement = once(arguments, program, injection)?;
        let counts: Vec<String> =
            judgement.counts().map(|(verdict, count)| format!("{count} {}", verdict.as_str())).collect();
        eprintln!("{run}/{} {injection}: {}", arguments.runs, counts.join(", "));
        judgements.push(judgement);
    }
    let runs = judgements.len();
    let with = |effect| judgements.iter().filter(|judgement| judgement.effect() == effect).count();
    let mut by_benchmark: Vec<String> = Vec::new();
    let mut ids: Vec<&str> =
        judgements.iter().flat_map(|judgement| &judgement.findings).map(|f| f.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let findings = judgements.iter().flat_map(|judgement| &judgement.findings);
        let found = findings.filter(|f| f.id == id && f.verdict == Verdict::Regressed).count();
        by_benchmark.push(format!("{id} {}", percent(found, runs)));
    }
    Ok(vec![
        if injection.is_empty() { "nothing".into() } else { injection.into() },
        runs.to_string(),
        percent(with(Effect::Regressed), runs),
        percent(with(Effect::CannotJudge), runs),
        format!("{:.0}", started.elapsed().as_secs_f64() / runs.max(1) as f64),
        by_benchmark.join(", "),
    ])
}

/// A baseline, a candidate, and what the gate says.
fn once(arguments: &SelftestArgs, program: &Path, injection: &str) -> Result<Judgement, Box<dyn Error>> {
    let thresholds = Thresholds::default();
    let profile = Profile::from_env()?;
    let folder = program.parent().unwrap_or(Path::new("."));
    let home = tempfile::Builder::new().prefix("selftest-").tempdir_in(folder)?;
    let environment: Vec<(&str, &str)> =
        if injection.is_empty() { Vec::new() } else { vec![(INJECT, injection)] };

    let bench = |save: Option<&str>, environment: &[(&str, &str)]| {
        let mut command = Command::new(program);
        command.args(["--bench", "--noplot"]).args(save.map(|name| format!("--save-baseline={name}")));
        command.args(&arguments.filter).envs(environment.iter().copied());
        command.env("CRITERION_HOME", home.path()).env(PROFILE_VARIABLE, profile.to_string());
        command.env("MNEMO_REVISION", "selftest");
        process::run(&mut command, Duration::from_secs(thresholds.gate.process_seconds))
    };
    bench(Some(MAIN), &[])?;
    // What is taken within the same second as the baseline would be stale.
    std::thread::sleep(Duration::from_millis(1100));
    bench(None, &environment)?;
    if !injection.is_empty() {
        assert_injectable(home.path())?;
    }

    let screening = screen(&sides::of_run(home.path(), MAIN), &sides::of_run(home.path(), NEW), &thresholds);
    let mut confirmation = Confirmation::new(home.path(), [MAIN, NEW], &thresholds.gate);
    confirmation.environment = environment;
    let pairs = confirmation.run(screening.suspects())?;
    let judgement = screening.conclude(&pairs);
    fs::remove_dir_all(home.path())?;
    Ok(judgement)
}

/// Without the feature, nothing is slowed and the gate would look blind.
fn assert_injectable(home: &Path) -> Result<(), Box<dyn Error>> {
    for results in Results::of_run(home, NEW) {
        if !results?.machine.features.iter().any(|feature| feature == "inject") {
            return Err("the executable is built without the feature `inject`".into());
        }
    }
    Ok(())
}
