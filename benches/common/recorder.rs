//! Notes what was measured, for the gate and the report.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use criterion_gate::measure::Latencies;
use criterion_gate::parent_death::end_with_parent;
use criterion_gate::profile::{Arguments, Profile};
use criterion_gate::reference::Reference;
use criterion_gate::results::{self, Kind, NEW, Results, ResultsError};

/// The results of this bench, saved beside Criterion's files when it ends.
pub struct Recorder {
    profile: Profile,
    arguments: Arguments,
    results: Results,
    /// Criterion's folder; `None` where benchmarks are only tested, which leaves no results.
    home: Option<PathBuf>,
    references: HashMap<String, Reference>,
    /// Figures whose targets are meant for another size.
    not_judged: Vec<String>,
}

impl Recorder {
    /// Set up by environment and command line, for the bench that is built here. Until
    /// [`Recorder::finish`], the results of its last run are invalid, so the bench checks all of its
    /// input first.
    pub fn new(profile: Profile, arguments: &Arguments) -> Self {
        end_with_parent();
        let results = Results::new(env!("CARGO_CRATE_NAME"), mnemocore_suite::machine());
        let home = (!arguments.test && !arguments.list).then(results::home);
        let (arguments, references, not_judged) = (arguments.clone(), HashMap::new(), Vec::new());
        let recorder = Self { profile, arguments, results, home, references, not_judged };
        recorder.for_each_run(|home, run| recorder.results.begin(home, run));
        recorder
    }

    /// Notes that Criterion takes a sample of the benchmark `name`, and does the reference
    /// work beside it, outside of its timer.
    pub fn note(&mut self, name: &str) {
        let reference = self.references.entry(name.into()).or_default();
        reference.work();
        self.results.note(name, self.profile, self.arguments.quick, None, reference.mean());
    }

    /// Notes that Criterion measured the benchmark `name`, with the latencies of its single
    /// operations, and the mean time of the reference work beside them.
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

    /// As [`Recorder::target`], for a target that is meant for a certain size. Unless that
    /// `is_measured`, prints the figure alone.
    pub fn target_of_size(
        &mut self,
        is_measured: bool,
        name: impl Into<String>,
        measured: impl Into<String>,
        target: impl Into<String>,
        met: bool,
    ) {
        if is_measured {
            return self.target(name, measured, target, met);
        }
        let name = name.into();
        println!("  {name}: {}", measured.into());
        self.not_judged.push(name);
    }

    /// Returns the number of noted benchmarks.
    pub fn len(&self) -> usize {
        self.results.entries.len()
    }

    /// Saves them as the last run and, where a baseline is saved, with it, each
    /// beside this executable. Nothing is saved where benchmarks are only tested.
    pub fn finish(&mut self) {
        let not_judged = std::mem::take(&mut self.not_judged);
        if !not_judged.is_empty() {
            let names = not_judged.join("; ");
            println!(
                "Not judged, as their targets are meant for other sizes than this profile measures: {names}"
            );
        }
        let results = &self.results;
        self.for_each_run(|home, run| {
            if !results.is_empty() {
                results.save(home, run)?;
                results.keep_program(home, run)?;
            }
            results.end(home, run)
        });
    }

    /// Calls `act` for the last run and, if a baseline is being saved, for that baseline as well.
    /// Does nothing if benchmarks are only tested.
    fn for_each_run(&self, act: impl Fn(&Path, &str) -> Result<(), ResultsError>) {
        let Some(home) = &self.home else { return };
        let mut runs = std::iter::once(NEW).chain(self.arguments.save.as_deref());
        if let Err(error) = runs.try_for_each(|run| act(home, run)) {
            // The gate and the report would be missing something.
            eprintln!("error: {error}");
            std::process::exit(1);
        }
    }
}
