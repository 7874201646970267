//! `detect`: read both sides, screen, confirm, print.

use std::error::Error;
use std::fs;
use std::path::Path;

use mnemocore::harness::gate::thresholds::{FEWEST_PAIRS, Thresholds};
use mnemocore::harness::gate::{Side, screen};

use super::cli::{DetectArgs, Format};
use super::confirm::Confirmation;
use super::output::{Report, Source};
use super::{baselines, output, sides};

/// Judges as told, prints, and returns the exit code.
pub(crate) fn detect(arguments: &DetectArgs) -> Result<u8, Box<dyn Error>> {
    let report = match judge(arguments) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error}");
            Report::failed(&arguments.baseline, &arguments.candidate, error.to_string())
        }
    };
    let text = match arguments.format {
        Format::Text => output::text(&report),
        Format::Json => output::json(&report)?,
        Format::Markdown => output::markdown(&report),
    };
    match &arguments.output {
        Some(path) => fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?,
        None => print!("{text}"),
    }
    Ok(report.exit_code)
}

fn judge(arguments: &DetectArgs) -> Result<Report, Box<dyn Error>> {
    let thresholds = thresholds(arguments)?;
    let home = arguments.home.criterion();
    let DetectArgs { baseline, candidate, .. } = arguments;

    let new = only(sides::of_run(&home, candidate), &arguments.bench);
    if new.observations.is_empty() {
        return Err(format!("{}: nothing measured as `{candidate}`; run cargo bench", home.display()).into());
    }
    let (old, source) = baseline_side(arguments, &home, &new)?;

    let screening = screen(&old, &new, &thresholds);
    let judgement = if arguments.no_confirm {
        screening.conclude_alone()
    } else {
        let runs = [baseline.as_str(), candidate.as_str()];
        let pairs = Confirmation::new(&home, runs, &thresholds.gate).run(screening.suspects())?;
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

/// Criterion's baseline, or where there is none of that name a recorded one.
fn baseline_side(
    arguments: &DetectArgs,
    home: &Path,
    candidate: &Side,
) -> Result<(Side, Source), Box<dyn Error>> {
    let name = &arguments.baseline;
    let saved = only(sides::of_run(home, name), &arguments.bench);
    if !saved.observations.is_empty() {
        return Ok((saved, Source::Criterion));
    }
    if let Some((side, folder)) = baselines::find(&arguments.home.baselines, name, candidate)? {
        let side = only(side, &arguments.bench);
        if !side.observations.is_empty() {
            return Ok((side, Source::Recorded(folder)));
        }
    }
    let (home, folder) = (home.display(), arguments.home.baselines.display());
    Err(format!(
        "no baseline `{name}` in {home} or recorded in {folder}; \
         on the revision to compare with, run cargo bench -- --save-baseline {name}"
    )
    .into())
}

/// What belongs to the benches that are asked for; all if none is.
fn only(mut side: Side, benches: &[String]) -> Side {
    side.observations.retain(|_, observation| benches.is_empty() || benches.contains(&observation.bench));
    side
}
