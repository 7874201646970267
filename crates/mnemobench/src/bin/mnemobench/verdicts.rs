//! Verdicts of `detect`, kept with the run that it judged:
//!
//! ```text
//! <home>/mnemobench/<run>/verdicts/<baseline>.json    as `detect --format json` prints it
//! ```
//!
//! `report` shows these verdicts and computes none of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use criterion_gate::results::{self, Kind, Taken};
use criterion_gate::verdict::Verdict;
use serde::Deserialize;

use super::output::VERSION;

/// The fields that `report` needs. Numbers that are not finite are `None`.
#[derive(Debug, Deserialize)]
pub(crate) struct Verdicts {
    pub(crate) baseline: Side,
    pub(crate) candidate: Side,
    /// The worst first.
    pub(crate) benchmarks: Vec<Judged>,
}

/// A side of the comparison.
#[derive(Debug, Deserialize)]
pub(crate) struct Side {
    pub(crate) name: String,
    /// The origin of its latest benchmark.
    pub(crate) taken: Option<Taken>,
}

/// The verdict on a benchmark.
#[derive(Debug, Deserialize)]
pub(crate) struct Judged {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) verdict: Verdict,
    pub(crate) baseline: Option<f64>,
    pub(crate) candidate: Option<f64>,
    pub(crate) change: Option<Change>,
    pub(crate) reason: Option<String>,
}

/// A relative change with its 90 % interval.
#[derive(Debug, Deserialize)]
pub(crate) struct Change {
    estimate: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
    pub(crate) pairs: usize,
}

impl Change {
    /// Returns the estimate, the lower bound and the upper bound.
    pub(crate) fn bounds(&self) -> Option<[f64; 3]> {
        Some([self.estimate?, self.lower?, self.upper?])
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Saves the JSON output of `detect`.
///
/// # Errors
/// The operating system's.
pub(crate) fn save(home: &Path, run: &str, baseline: &str, json: &str) -> io::Result<()> {
    results::write_whole(&path(home, run, baseline), json.as_bytes())
}

/// Removes the verdicts of an earlier `detect`.
///
/// # Errors
/// The operating system's.
pub(crate) fn forget(home: &Path, run: &str, baseline: &str) -> io::Result<()> {
    match fs::remove_file(path(home, run, baseline)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads the verdicts on the run `run` against `baseline`.
///
/// # Errors
/// If `detect` has not judged this run against `baseline`, or has written another version or
/// unreadable verdicts.
pub(crate) fn read(home: &Path, run: &str, baseline: &str) -> Result<Verdicts, String> {
    let path = path(home, run, baseline);
    let again = format!("run mnemobench detect --baseline {baseline}");
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}; {again}", path.display());
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!(
                "{}: the last run was not judged against `{baseline}`; {again}",
                home.display()
            ));
        }
        text => text.map_err(|error| named(&error))?,
    };
    let Versioned { version } = serde_json::from_slice(&text).map_err(|error| named(&error))?;
    if version != VERSION {
        return Err(named(&format!("expected verdicts of version {VERSION}, found {version}")));
    }
    let verdicts: Verdicts = serde_json::from_slice(&text).map_err(|error| named(&error))?;
    let [of, against] = [&verdicts.candidate.name, &verdicts.baseline.name];
    if of != run || against != baseline {
        return Err(named(&format!("expected verdicts of {run}, found those of {of} against {against}")));
    }
    Ok(verdicts)
}

fn path(home: &Path, run: &str, baseline: &str) -> PathBuf {
    results::folder(home, run).join("verdicts").join(format!("{baseline}.json"))
}
