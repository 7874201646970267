//! Reader of Criterion's saved results. This is the only module that knows these files. Criterion
//! declares them private, so the version is pinned to 0.8.2 in `Cargo.toml`.
//!
//! ```text
//! <home>/<group>/<function>/<value>/<run>/{benchmark,sample,estimates}.json
//! ```
//!
//! Criterion truncates folder names and makes them unique. A benchmark is therefore identified by
//! the `full_id` in its file, never by its path. An unreadable benchmark is reported, not skipped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Folders in Criterion's home that contain no benchmarks.
const NOT_BENCHMARKS: [&str; 2] = ["mnemobench", "report"];
/// The prefix of the temporary homes of single pairs. A gate that is killed leaves them behind.
pub(crate) const PAIR: &str = "mnemobench-pair-";
/// The depth of group, function, value and run, and one more for unknown layouts.
const DEEPEST: usize = 5;

/// A benchmark of a run, as Criterion saved it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Benchmark {
    /// The id, such as `recall_hot/p99/5000`.
    pub(crate) id: String,
    /// Elements (operations) in one iteration, if the bench declared them.
    pub(crate) elements: Option<u64>,
    /// Values of the samples per iteration, in nanoseconds or bytes. There is at least one, and all
    /// are finite and above 0.
    pub(crate) samples: Vec<f64>,
    /// Criterion's own estimates.
    pub(crate) estimates: Estimates,
    /// The folder of the run.
    pub(crate) folder: PathBuf,
}

/// Criterion's estimates from the samples.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct Estimates {
    /// The mean.
    pub(crate) mean: Estimate,
    /// The median.
    pub(crate) median: Estimate,
    /// The slope of time over iterations; `None` for flat sampling.
    pub(crate) slope: Option<Estimate>,
}

/// A value with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct Estimate {
    /// The value.
    #[serde(rename = "point_estimate")]
    pub(crate) point: f64,
    /// The confidence interval.
    #[serde(rename = "confidence_interval")]
    pub(crate) interval: Interval,
}

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct Interval {
    /// The confidence level, such as 0.95.
    #[serde(rename = "confidence_level")]
    pub(crate) level: f64,
    /// The lower bound.
    #[serde(rename = "lower_bound")]
    pub(crate) lower: f64,
    /// The upper bound.
    #[serde(rename = "upper_bound")]
    pub(crate) upper: f64,
}

/// A benchmark that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}; run the bench again, or delete the folder of a benchmark that is gone", path.display())]
pub(crate) struct Unreadable {
    /// The file or folder.
    pub(crate) path: PathBuf,
    /// The expected and the actual content.
    pub(crate) reason: String,
}

/// The benchmarks of a run, by id. If the id cannot be read, the key is the path below the home.
pub(crate) type Run = BTreeMap<String, Result<Benchmark, Unreadable>>;

/// Reads the run `run` below `home`: `new`, or the name of a saved baseline. The result is empty if
/// there is no such run.
pub(crate) fn read(home: &Path, run: &str) -> Run {
    let mut folders = Vec::new();
    find(home, run, 0, &mut folders);
    let mut found: BTreeMap<String, (SystemTime, Result<Benchmark, Unreadable>)> = BTreeMap::new();
    for of in folders {
        let folder = of.join(run);
        let written =
            fs::metadata(&folder).and_then(|about| about.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let Some((id, benchmark)) = read_folder(of.strip_prefix(home).unwrap_or(&of), folder) else {
            continue;
        };
        // Criterion may choose another folder if a filter leaves out a benchmark of the same name.
        // The newer folder is the run's.
        if found.get(&id).is_none_or(|(other, _)| *other <= written) {
            found.insert(id, (written, benchmark));
        }
    }
    found.into_iter().map(|(id, (_, benchmark))| (id, benchmark)).collect()
}

/// Finds the folders of benchmarks that contain a folder `run` without subfolders. A folder `run`
/// with subfolders is a group of that name. A run such as `feature/login` is a folder within a
/// folder.
fn find(folder: &Path, run: &str, depth: usize, found: &mut Vec<PathBuf>) {
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    for path in folders {
        let name = path.file_name().unwrap_or_default();
        let is_pair = name.to_string_lossy().starts_with(PAIR);
        if depth == 0 && (is_pair || NOT_BENCHMARKS.iter().any(|other| name == *other)) {
            continue;
        }
        let of_run = path.join(run);
        if of_run.is_dir() && !holds_folders(&of_run) {
            found.push(path.clone());
        }
        if depth < DEEPEST {
            find(&path, run, depth + 1, found);
        }
    }
}

fn holds_folders(folder: &Path) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| entry.path().is_dir())
}

/// Reads the results of a run for the benchmark in the folder `of`, a path below the home. Returns
/// `None` if they belong to another benchmark. For example, the run `feature/main` is not the run
/// `main` of a benchmark in `feature`.
fn read_folder(of: &Path, folder: PathBuf) -> Option<(String, Result<Benchmark, Unreadable>)> {
    #[derive(Deserialize)]
    struct About {
        full_id: String,
        directory_name: Option<PathBuf>,
        throughput: Option<serde_json::Value>,
    }
    let About { full_id, directory_name, throughput } = match json(&folder.join("benchmark.json")) {
        Ok(about) => about,
        Err(error) => return Some((of.to_string_lossy().into_owned(), Err(error))),
    };
    if directory_name.is_some_and(|own| own != of) {
        return None;
    }
    let elements = throughput.as_ref().and_then(|throughput| throughput.get("Elements")?.as_u64());
    let benchmark = samples(&folder.join("sample.json")).and_then(|samples| {
        let estimates = json(&folder.join("estimates.json"))?;
        Ok(Benchmark { id: full_id.clone(), elements, samples, estimates, folder })
    });
    Some((full_id, benchmark))
}

/// Reads the values of the samples, per iteration.
fn samples(path: &Path) -> Result<Vec<f64>, Unreadable> {
    #[derive(Deserialize)]
    struct Sample {
        iters: Vec<f64>,
        times: Vec<f64>,
    }
    let Sample { iters, times } = json(path)?;
    let unreadable = |reason: String| Err(Unreadable { path: path.into(), reason });
    if iters.len() != times.len() || times.is_empty() {
        let counts = format!("{} and {}", iters.len(), times.len());
        return unreadable(format!("expected as many iterations as times, at least one; found {counts}"));
    }
    let values: Vec<f64> = times.iter().zip(&iters).map(|(time, iterations)| time / iterations).collect();
    match values.iter().find(|value| !(value.is_finite() && **value > 0.0)) {
        Some(value) => unreadable(format!("expected finite samples above 0; found {value}")),
        None => Ok(values),
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, Unreadable> {
    let unreadable = |reason| Unreadable { path: path.into(), reason };
    let text = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_slice(&text)
        .map_err(|error| unreadable(format!("not what Criterion 0.8.2 writes: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTIMATE: &str = r#"{"confidence_interval":{"confidence_level":0.95,"lower_bound":1.5,"upper_bound":2.5},
        "point_estimate":2.0,"standard_error":0.1}"#;

    /// Writes a benchmark's files into `folder`.
    fn write(folder: &Path, id: &str, sample: &str) {
        fs::create_dir_all(folder).unwrap();
        let about =
            format!(r#"{{"group_id":"g","full_id":"{id}","throughput":{{"Elements":8}},"title":"t"}}"#);
        fs::write(folder.join("benchmark.json"), about).unwrap();
        fs::write(folder.join("sample.json"), sample).unwrap();
        let estimates =
            format!(r#"{{"mean":{ESTIMATE},"median":{ESTIMATE},"slope":null,"std_dev":{ESTIMATE}}}"#);
        fs::write(folder.join("estimates.json"), estimates).unwrap();
    }

    const GOOD: &str = r#"{"sampling_mode":"Flat","iters":[2.0,4.0],"times":[20.0,44.0]}"#;

    #[test]
    fn a_benchmark_is_known_by_its_id_and_not_by_its_path() {
        let home = tempfile::tempdir().unwrap();
        write(&home.path().join("cut/at/64/new"), "a/p99/5", GOOD);
        write(&home.path().join("cut/at/64/main"), "a/p99/5", GOOD);
        write(&home.path().join("new/wall/new"), "new/wall", GOOD);
        write(&home.path().join("mnemobench/x/new"), "ours", GOOD);
        let run = read(home.path(), "new");
        assert_eq!(run.keys().collect::<Vec<_>>(), ["a/p99/5", "new/wall"]);
        let benchmark = run["a/p99/5"].as_ref().unwrap();
        assert_eq!((benchmark.samples.as_slice(), benchmark.elements), ([10.0, 11.0].as_slice(), Some(8)));
        assert_eq!((benchmark.estimates.median.point, benchmark.estimates.slope), (2.0, None));
        assert!(read(home.path(), "other").is_empty() && read(&home.path().join("gone"), "new").is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named_and_hides_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        write(&home.path().join("good/main"), "good", GOOD);
        for (id, sample) in [
            ("truncated", &GOOD[..40]),
            ("null", r#"{"iters":[1.0],"times":[null]}"#),
            ("nan", r#"{"iters":[1.0],"times":[NaN]}"#),
            ("zero", r#"{"iters":[1.0],"times":[0.0]}"#),
            ("no_iterations", r#"{"iters":[0.0],"times":[3.0]}"#),
            ("none", r#"{"iters":[],"times":[]}"#),
            ("uneven", r#"{"iters":[1.0],"times":[1.0,2.0]}"#),
            ("other_form", r#"{"version":2,"samples":[1.0]}"#),
        ] {
            write(&home.path().join(id).join("main"), id, sample);
        }
        fs::create_dir_all(home.path().join("empty/case/main")).unwrap();
        let run = read(home.path(), "main");
        assert_eq!(run.len(), 10, "{run:?}");
        assert!(run["good"].is_ok());
        for (id, benchmark) in run.iter().filter(|(id, _)| *id != "good") {
            let error = benchmark.as_ref().unwrap_err().to_string();
            assert!(error.contains(&format!("{id}/main/")), "{error}");
        }
        assert!(run.contains_key("empty/case"));
    }

    #[test]
    fn of_two_folders_with_one_id_the_newer_counts() {
        let home = tempfile::tempdir().unwrap();
        write(&home.path().join("z/main"), "same", r#"{"iters":[1.0],"times":[1.0]}"#);
        std::thread::sleep(std::time::Duration::from_millis(20));
        write(&home.path().join("a/main"), "same", r#"{"iters":[1.0],"times":[2.0]}"#);
        assert_eq!(read(home.path(), "main")["same"].as_ref().unwrap().samples, [2.0]);
    }
}
