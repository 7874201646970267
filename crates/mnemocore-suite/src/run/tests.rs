//! Small runs, read back as the gate reads them.

use std::path::Path;

use super::*;
use criterion_gate::measure::Kind;

fn small(output: &Path) -> RunConfig {
    RunConfig {
        sizes: TierKind::ALL.map(|tier| (tier, 60)).to_vec(),
        dimension: Dimension::new(1024).unwrap(),
        samples: 2,
        operations: 10,
        workers: vec![1, 3],
        output: Some(output.into()),
        ..RunConfig::new(Profile::Quick)
    }
}

fn read(output: &Path) -> Results {
    let mut all = Results::of_run(output, NEW);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).unwrap()
}

#[test]
fn a_run_leaves_the_latency_of_every_verb_in_every_tier() {
    let output = tempfile::tempdir().unwrap();
    let measured = run_latency(&small(output.path())).unwrap();
    assert_eq!(measured.len(), 3 * 3 * 2);
    let results = read(output.path());
    assert_eq!((results.bench.as_str(), results.entries.len()), ("program", measured.len()));
    for tier in ["hot", "warm", "cold"] {
        for verb in ["recall", "synthesize", "store"] {
            let entry = &results.entries[&format!("{verb}_{tier}/p99/60")];
            assert_eq!((entry.kind, entry.operations), (Kind::P99, 20));
            let percentiles = entry.percentiles.unwrap();
            assert!(0.0 < percentiles.p50 && percentiles.p50 <= percentiles.p99, "{percentiles:?}");
            assert!(entry.value.unwrap() > 0.0 && entry.taken.profile == Profile::Quick);
        }
    }
}

#[test]
fn a_second_run_adds_to_the_results_of_the_first() {
    let output = tempfile::tempdir().unwrap();
    let config = RunConfig { sizes: vec![(TierKind::Hot, 60)], ..small(output.path()) };
    let latencies = run_latency(&config).unwrap();
    let throughput = run_throughput(&config).unwrap();
    let names: Vec<_> = throughput.iter().map(|measurement| measurement.name.as_str()).collect();
    let expected = ["recall", "store"]
        .map(|verb| [1, 3].map(|workers| format!("{verb}_hot_threads/throughput/{workers}")))
        .concat();
    assert_eq!(names, expected);
    assert!(throughput.iter().all(|measurement| measurement.value > 0.0));
    let results = read(output.path());
    assert_eq!(results.entries.len(), latencies.len() + throughput.len());
    for (name, entry) in &results.entries {
        assert_eq!(entry.kind, Kind::of_name(name));
    }
}

#[test]
fn footprint_is_refused_to_a_program_that_does_not_serve() {
    let output = tempfile::tempdir().unwrap();
    let error = run_footprint(&small(output.path())).unwrap_err();
    assert!(matches!(error, RunError::Footprint(FootprintError::NotServed)), "{error}");
    assert!(Results::of_run(output.path(), NEW).is_empty());
}

struct Named(&'static str, &'static str);

impl Benchmark for Named {
    fn group(&self) -> String {
        self.0.into()
    }

    fn case(&self) -> String {
        self.1.into()
    }

    fn run(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn verify(&mut self) -> Result<(), Failure> {
        if self.0 == "wrong" { Err("this is something else".into()) } else { Ok(()) }
    }
}

#[test]
fn names_that_would_be_mistaken_are_refused_before_anything_runs() {
    let output = tempfile::tempdir().unwrap();
    let config = small(output.path());
    for second in [Named("a", "1"), Named("", "1"), Named("b", ""), Named("b/p99", "1")] {
        let mut second = second;
        let error = run_benchmarks(&config, &mut [&mut Named("a", "1"), &mut second]).unwrap_err();
        assert!(matches!(&error, RunError::Name { group, case } if group == second.0 && case == second.1));
    }
    let error = run_benchmarks(&RunConfig { samples: 0, ..config }, &mut []).unwrap_err();
    assert!(matches!(error, RunError::Nothing));
}

#[test]
fn nothing_is_written_of_a_benchmark_that_is_not_what_it_says() {
    let output = tempfile::tempdir().unwrap();
    let config = small(output.path());
    let error =
        run_benchmarks(&config, &mut [&mut Named("right", "1"), &mut Named("wrong", "1")]).unwrap_err();
    assert_eq!(error.to_string(), "wrong: this is something else");
    assert!(Results::of_run(output.path(), NEW).is_empty());
    run_benchmarks(&config, &mut [&mut Named("right", "1")]).unwrap();
    assert_eq!(read(output.path()).entries.keys().collect::<Vec<_>>(), ["right/p99/1", "right/wall/1"]);
}
