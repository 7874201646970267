//! `detect`: reads both sides, screens them, confirms suspects and prints the verdicts.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::{fs, io};

use criterion_gate::baseline_name::check_baseline_name;
use criterion_gate::results::NEW;
use criterion_gate::thresholds::{FEWEST_PAIRS, Override, Thresholds};
use criterion_gate::{Side, screen};

use super::cli::{DetectArgs, Format};
use super::confirm::Confirmation;
use super::output::{Report, Source};
use super::{baselines, load_runs, output, streams, verdicts};

/// Judges the candidate, prints the report and returns the exit code.
pub(crate) fn detect(arguments: &DetectArgs) -> Result<u8, Box<dyn Error>> {
    let home = arguments.home.criterion();
    let judged = home.as_deref().map_err(|error| error.as_str().into());
    let report = match judged.and_then(|home| judge(arguments, home)) {
        Ok(report) => report,
        // Text readers expect errors on standard error. Programs expect them in the format that
        // they asked for.
        Err(error) if arguments.output.is_none() && matches!(arguments.format, Format::Text) => {
            return Err(error);
        }
        Err(error) => {
            if arguments.output.is_some() {
                streams::note(format!("error: {error}"));
            }
            Report::failed(&arguments.baseline, &arguments.candidate, error.to_string())
        }
    };
    let json = output::json(&report)?;
    if let (None, Ok(home)) = (&report.error, &home) {
        let kept = verdicts::save(home, &arguments.candidate, &arguments.baseline, &json);
        kept.unwrap_or_else(|error| {
            streams::note(format!("warning: report will lack these verdicts: {error}"))
        });
    }
    let text = match arguments.format {
        Format::Text => output::text(&report),
        Format::Json => json,
        Format::Markdown => output::markdown(&report),
    };
    let printed = match &arguments.output {
        Some(path) => fs::write(path, text)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        None => streams::print(&text),
    };
    Ok(streams::exit_code(report.exit_code, printed))
}

fn judge(arguments: &DetectArgs, home: &Path) -> Result<Report, Box<dyn Error>> {
    let DetectArgs { baseline, candidate, .. } = arguments;
    check_baseline_name(baseline)?;
    if candidate != NEW {
        check_baseline_name(candidate)?;
    }
    // An older verdict must not survive if this judgement fails.
    let forgotten = verdicts::forget(home, candidate, baseline);
    forgotten
        .unwrap_or_else(|error| streams::note(format!("warning: report may show older verdicts: {error}")));
    let thresholds = thresholds(arguments)?;

    let new = load_runs::of_run(home, candidate);
    if new.observations.is_empty() {
        return Err(format!("{}: nothing measured as `{candidate}`; run cargo bench", home.display()).into());
    }
    let (old, source) = baseline_side(arguments, home, &new)?;
    check_names([&old, &new], &arguments.bench, &thresholds)?;
    let [old, new] = only([old, new], &arguments.bench);

    let screening = screen(&old, &new, &thresholds);
    let judgement = if arguments.no_confirm {
        screening.conclude_alone()
    } else {
        let runs = [baseline.as_str(), candidate.as_str()];
        let pairs = Confirmation::new(home, runs, &thresholds.gate).run(&screening)?;
        screening.conclude(&pairs)
    };
    Ok(Report::new(arguments, source, [&old, &new], judgement))
}

fn thresholds(arguments: &DetectArgs) -> Result<Thresholds, Box<dyn Error>> {
    let mut thresholds = arguments.home.thresholds(arguments.thresholds.as_deref())?;
    if let Some(pairs) = arguments.pairs {
        if pairs < FEWEST_PAIRS {
            return Err(
                format!("--pairs is {pairs}; expected {FEWEST_PAIRS} or more, fewer decide nothing").into()
            );
        }
        thresholds.gate.pairs = pairs;
    }
    Ok(thresholds)
}

/// Returns the baseline saved by Criterion, or otherwise a recorded one of that name.
fn baseline_side(
    arguments: &DetectArgs,
    home: &Path,
    candidate: &Side,
) -> Result<(Side, Source), Box<dyn Error>> {
    let name = &arguments.baseline;
    let saved = load_runs::of_run(home, name);
    if !saved.observations.is_empty() {
        return Ok((saved, Source::Criterion));
    }
    let folder = arguments.home.baselines()?;
    if let Some((side, folder)) = baselines::find(&folder, name, candidate)?
        && !side.observations.is_empty()
    {
        return Ok((side, Source::Recorded(folder)));
    }
    let (home, folder) = (home.display(), folder.display());
    Err(format!(
        "no baseline `{name}` in {home} or recorded in {folder}; \
         on the revision to compare with, run cargo bench -- --save-baseline {name}"
    )
    .into())
}

/// Refuses benches and overrides that match nothing, because a typing error would let everything
/// pass. If benches are named, overrides may match benches that were not.
fn check_names(sides: [&Side; 2], benches: &[String], thresholds: &Thresholds) -> Result<(), String> {
    let observations = || sides.iter().flat_map(|side| &side.observations);
    let measured: BTreeSet<&str> =
        observations().map(|(_, observation)| observation.bench.as_str()).collect();
    if let Some(bench) = benches.iter().find(|bench| !measured.contains(bench.as_str())) {
        let measured: Vec<&str> = measured.into_iter().collect();
        return Err(format!("--bench {bench}: nothing is measured of it; there is {}", measured.join(", ")));
    }
    let fits = |exception: &&Override| observations().any(|(id, _)| exception.id.matches(id));
    match thresholds.overrides.iter().find(|exception| !fits(exception)) {
        Some(exception) if benches.is_empty() => Err(format!(
            "override {}: no benchmark has such a name; correct it, take it out of the thresholds, or name the \
             benches that were run with --bench",
            exception.id
        )),
        _ => Ok(()),
    }
}

/// Keeps the benchmarks that belong to one of `benches` on either side, or all if `benches` is
/// empty. A benchmark that is there on one side only may have moved from another bench.
fn only(mut sides: [Side; 2], benches: &[String]) -> [Side; 2] {
    if !benches.is_empty() {
        let observations = sides.iter().flat_map(|side| &side.observations);
        let asked = observations.filter(|(_, observation)| benches.contains(&observation.bench));
        let asked: BTreeSet<String> = asked.map(|(id, _)| id.clone()).collect();
        sides.iter_mut().for_each(|side| side.observations.retain(|id, _| asked.contains(id)));
    }
    sides
}
