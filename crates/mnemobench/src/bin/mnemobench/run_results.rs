//! The results of a run: Criterion's files combined with the result sheets of the benches.

use std::collections::BTreeMap;
use std::path::Path;

use criterion_gate::machine::Machine;
use criterion_gate::measure::Percentiles;
use criterion_gate::results::{Entry, Kind, Results, Taken, Target};
use criterion_gate::statistics;

use crate::criterion;

/// The results of a run, either the last one or a saved baseline.
#[derive(Debug, Default)]
pub(crate) struct RunResults {
    /// The benches, sorted by name.
    pub(crate) benches: Vec<Bench>,
    /// All benchmarks, by id.
    pub(crate) benchmarks: BTreeMap<String, Benchmark>,
    /// The reasons why benchmarks and files cannot be read, by id.
    pub(crate) unreadable: BTreeMap<String, String>,
}

/// A bench, without its benchmarks.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The name, such as `latency`.
    pub(crate) name: String,
    /// The machine that it ran on.
    pub(crate) machine: Machine,
    /// Its targets, with the measured values.
    pub(crate) targets: Vec<Target>,
}

/// A benchmark.
#[derive(Debug, Clone)]
pub(crate) struct Benchmark {
    /// The id, such as `recall_hot/p99/5000`.
    pub(crate) id: String,
    /// The bench that it belongs to.
    pub(crate) bench: String,
    /// The measured quantity.
    pub(crate) kind: Kind,
    /// The value in the unit of `kind`.
    pub(crate) value: Value,
    /// Percentiles of single operations.
    pub(crate) percentiles: Option<Percentiles>,
    /// The number of operations that the percentiles rest on.
    pub(crate) operations: u64,
    /// The time, revision and profile of the measurement.
    pub(crate) taken: Taken,
}

/// A value, with a 95 % interval if it is sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Value {
    /// The median of the samples, or the value itself.
    pub(crate) point: f64,
    /// Lower and upper bound.
    pub(crate) interval: Option<[f64; 2]>,
}

impl RunResults {
    /// Reads the run `run` below Criterion's `home`. Samples without an entry in a result sheet are
    /// left out: they are older than the sheets, or belong to a removed benchmark.
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
        // An unreadable benchmark may be one that is missing above.
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

    /// Returns the bench called `name`, if it has run.
    pub(crate) fn bench(&self, name: &str) -> Option<&Bench> {
        self.benches.iter().find(|bench| bench.name == name)
    }

    /// The benchmarks of a bench.
    pub(crate) fn of<'a>(&'a self, bench: &'a str) -> impl Iterator<Item = &'a Benchmark> {
        self.benchmarks.values().filter(move |benchmark| benchmark.bench == bench)
    }
}

/// Returns the value in the unit of the entry's kind.
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
    /// The first part of the id: `recall_hot` of `recall_hot/p99/5000`.
    pub(crate) fn group(&self) -> &str {
        self.id.split('/').next().unwrap_or(&self.id)
    }

    /// The last part of the id: `5000` of `recall_hot/p99/5000`.
    pub(crate) fn case(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or(&self.id)
    }

    /// The last part as a number, such as of memories or workers.
    pub(crate) fn number(&self) -> Option<usize> {
        self.case().parse().ok()
    }
}
