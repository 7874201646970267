//! Notes what was measured, for the gate and the report.

use std::collections::HashMap;

use mnemocore::harness::measure::Latencies;
use mnemocore::harness::profile::{Arguments, Profile};
use mnemocore::harness::reference::Reference;
use mnemocore::harness::results::{self, Kind, NEW, Results};
use mnemocore::harness::tied::end_with_parent;

/// The results of this bench, saved beside Criterion's files when it ends.
pub struct Recorder {
    profile: Profile,
    arguments: Arguments,
    results: Results,
    references: HashMap<String, Reference>,
}

impl Recorder {
    /// Set up by environment and command line, for the bench that is built here.
    pub fn new(profile: Profile, arguments: &Arguments) -> Self {
        end_with_parent();
        let results = Results::new(env!("CARGO_CRATE_NAME"));
        Self { profile, arguments: arguments.clone(), results, references: HashMap::new() }
    }

    /// Notes that Criterion takes a sample of the benchmark `name`, and does the reference
    /// work beside it: once for each sample, outside of its timer.
    pub fn note(&mut self, name: &str) {
        let reference = self.references.entry(name.into()).or_default();
        reference.pass();
        self.results.note(name, self.profile, self.arguments.quick, None, reference.median());
    }

    /// Notes that Criterion measured the benchmark `name`, with the latencies of its single
    /// operations, and the median time of the reference work beside them.
    pub fn note_latencies(&mut self, name: &str, latencies: &Latencies, reference: Option<f64>) {
        self.results.note(name, self.profile, self.arguments.quick, Some(latencies), reference);
    }

    /// Notes a value that Criterion does not hold.
    pub fn note_value(&mut self, name: &str, kind: Kind, value: f64) {
        self.results.note_value(name, kind, value, self.profile);
    }

    /// Prints and notes how a figure stands to its target.
    pub fn target(
        &mut self,
        name: impl Into<String>,
        measured: impl Into<String>,
        target: impl Into<String>,
        met: bool,
    ) {
        println!("  {}", self.results.note_target(name, measured, target, met, self.profile));
    }

    /// How many benchmarks were noted.
    pub fn len(&self) -> usize {
        self.results.entries.len()
    }

    /// Saves them as the last run and, where a baseline is saved, with it, each
    /// beside this executable. Nothing is saved where benchmarks are only tested.
    pub fn finish(&self) {
        let Self { arguments, results, .. } = self;
        if arguments.test || arguments.list || results.is_empty() {
            return;
        }
        let home = results::home();
        let runs = std::iter::once(NEW).chain(arguments.save.as_deref());
        let mut saved = Ok(());
        for run in runs {
            saved =
                saved.and_then(|()| results.save(&home, run)).and_then(|()| results.keep_program(&home, run));
        }
        if let Err(error) = saved {
            // The gate and the report would be missing something.
            eprintln!("error: {error}");
            std::process::exit(1);
        }
    }
}
