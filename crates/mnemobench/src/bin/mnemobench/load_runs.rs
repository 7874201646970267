//! The results of a run in the form that the gate needs: Criterion's samples combined with the
//! result sheets of the benches.

use std::collections::BTreeMap;
use std::path::Path;

use criterion_gate::results::{Entry, Kind, Results, ResultsError};
use criterion_gate::{Data, Observation, Origin, Side};

use super::criterion;

const NO_SAMPLES: &str = "Criterion holds no samples of it: it was too fast to be measured, or its files are gone; \
                          run its bench again";

/// Reads the run `run` below Criterion's `home`. Returns an empty side if there is none.
pub(crate) fn of_run(home: &Path, run: &str) -> Side {
    let samples = criterion::read(home, run).into_iter().map(|(id, benchmark)| {
        let data = match benchmark {
            Ok(benchmark) => {
                Data::Samples { values: benchmark.samples, operations: benchmark.elements.unwrap_or(1) }
            }
            Err(error) => Data::Unreadable(error.to_string()),
        };
        (id, data)
    });
    combine(Results::of_run(home, run), samples.collect())
}

/// Combines samples with the result sheets that describe them. An entry is kept if either part is
/// missing.
pub(crate) fn combine(
    sheets: Vec<Result<Results, ResultsError>>,
    mut samples: BTreeMap<String, Data>,
) -> Side {
    let mut side = Side::default();
    for sheet in sheets {
        match sheet {
            Ok(results) => {
                let Results { bench, machine, entries, .. } = results;
                for (id, Entry { kind, value, taken, reference, .. }) in entries {
                    let data = value.map(Data::Value).or_else(|| samples.remove(&id));
                    let data = data.unwrap_or_else(|| Data::Unreadable(NO_SAMPLES.into()));
                    let origin = Some(Origin { taken, machine: machine.clone() });
                    side.observations
                        .insert(id, Observation { bench: bench.clone(), kind, data, reference, origin });
                }
            }
            Err(error) => {
                let bench = error.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let data = Data::Unreadable(error.to_string());
                let id = format!("results of {bench}");
                let kind = Kind::Wall;
                let unknown = Observation { bench, kind, data, reference: None, origin: None };
                side.observations.insert(id, unknown);
            }
        }
    }
    for (id, data) in samples {
        let kind = Kind::of_name(&id);
        let unknown = Observation { bench: String::new(), kind, data, reference: None, origin: None };
        side.observations.entry(id).or_insert(unknown);
    }
    side
}
