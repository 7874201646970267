//! What was measured: Criterion's files and the benches' own results as one.

use std::collections::BTreeMap;
use std::path::Path;

use criterion_gate::machine::Machine;
use criterion_gate::measure::Percentiles;
use criterion_gate::results::{Entry, Kind, Results, Taken, Target};
use criterion_gate::statistics;

use crate::criterion;

/// A run: the last one, or a saved baseline.
#[derive(Debug, Default)]
pub(crate) struct RunResults {
    /// The benches, in the order of their names.
    pub(crate) benches: Vec<Bench>,
    /// All benchmarks by their names.
    pub(crate) benchmarks: BTreeMap<String, Benchmark>,
    /// Benchmarks and files that cannot be read, and why.
    pub(crate) unreadable: BTreeMap<String, String>,
}

/// What is known of a bench beside its benchmarks.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Such as `latency`.
    pub(crate) name: String,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// How its figures stand to their targets.
    pub(crate) targets: Vec<Target>,
}

/// A benchmark.
#[derive(Debug, Clone)]
pub(crate) struct Benchmark {
    /// Its whole name, such as `recall_hot/p99/5000`.
    pub(crate) id: String,
    /// Its bench.
    pub(crate) bench: String,
    /// What it measures.
    pub(crate) kind: Kind,
    /// In the unit of its kind.
    pub(crate) value: Value,
    /// The distribution of single operations.
    pub(crate) percentiles: Option<Percentiles>,
    /// How many operations that rests on.
    pub(crate) operations: u64,
    /// When and how.
    pub(crate) taken: Taken,
}

/// A value, and the 95 % interval of what is sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Value {
    /// The median of the samples, or the value itself.
    pub(crate) point: f64,
    /// Lower and upper bound.
    pub(crate) interval: Option<[f64; 2]>,
}

impl RunResults {
    /// Reads the run `run` below Criterion's `home`. What no bench noted is left
    /// out: it is older than the results, or of a benchmark that is gone.
    pub(crate) fn read(home: &Path, run: &str) -> Self {
        let mut measured = Self::default();
        let mut sampled = criterion::read(home, run);
        for results in Results::of_run(home, run) {
            match results {
                Ok(results) => measured.add(results, &mut sampled),
                Err(error) => {
                    let bench = error.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    measured.unreadable.insert(format!("results of {bench}"), error.to_string());
                }
            }
        }
        // Whatever has no readable name may be a benchmark that is missing above.
        for (id, benchmark) in sampled {
            if let Err(error) = benchmark {
                measured.unreadable.insert(id, error.to_string());
            }
        }
        measured
    }

    fn add(&mut self, results: Results, sampled: &mut criterion::Run) {
        let Results { bench, machine, entries, targets, .. } = results;
        for (id, entry) in entries {
            match value(&entry, sampled.remove(&id)) {
                Ok(value) => {
                    let Entry { kind, percentiles, operations, taken, .. } = entry;
                    let bench = bench.clone();
                    let benchmark =
                        Benchmark { id: id.clone(), bench, kind, value, percentiles, operations, taken };
                    self.benchmarks.insert(id, benchmark);
                }
                Err(reason) => drop(self.unreadable.insert(id, reason)),
            }
        }
        self.benches.push(Bench { name: bench, machine, targets });
    }

    /// The bench called `name`, if it has run.
    pub(crate) fn bench(&self, name: &str) -> Option<&Bench> {
        self.benches.iter().find(|bench| bench.name == name)
    }

    /// The benchmarks of a bench.
    pub(crate) fn of<'a>(&'a self, bench: &'a str) -> impl Iterator<Item = &'a Benchmark> {
        self.benchmarks.values().filter(move |benchmark| benchmark.bench == bench)
    }
}

/// The value in the unit of the kind.
fn value(
    entry: &Entry,
    sampled: Option<Result<criterion::Benchmark, criterion::Unreadable>>,
) -> Result<Value, String> {
    let finite = |value: Value| {
        let sound = value.point.is_finite() && value.interval.is_none_or(|[low, high]| low <= high);
        sound.then_some(value).ok_or_else(|| format!("expected a finite value; found {}", value.point))
    };
    if let Some(point) = entry.value {
        return finite(Value { point, interval: None });
    }
    let sampled = match sampled {
        Some(Ok(sampled)) => sampled,
        Some(Err(error)) => return Err(error.to_string()),
        None => return Err("Criterion holds no samples of it; run its bench again".to_owned()),
    };
    let point = statistics::median(&sampled.samples).unwrap_or(f64::NAN);
    let (low, high) = (sampled.estimates.median.interval.lower, sampled.estimates.median.interval.upper);
    let value = match (entry.kind, sampled.elements) {
        (Kind::Throughput, Some(elements)) => {
            let rate = |nanoseconds: f64| elements as f64 * 1e9 / nanoseconds;
            Value { point: rate(point), interval: Some([rate(high), rate(low)]) }
        }
        (Kind::Throughput, None) => {
            return Err(
                "expected a throughput in elements, found a time alone; its bench does not set one".into()
            );
        }
        _ => Value { point, interval: Some([low, high]) },
    };
    finite(value)
}

impl Benchmark {
    /// What its name begins with: `recall_hot` of `recall_hot/p99/5000`.
    pub(crate) fn group(&self) -> &str {
        self.id.split('/').next().unwrap_or(&self.id)
    }

    /// What its name ends with: `5000` of `recall_hot/p99/5000`.
    pub(crate) fn case(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or(&self.id)
    }

    /// The case where it is a number: of memories, of workers.
    pub(crate) fn number(&self) -> Option<usize> {
        self.case().parse().ok()
    }
}
