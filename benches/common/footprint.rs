//! The footprint of a store as seen by fresh processes, as benchmarks.

use std::env;
use std::fmt::Display;

use criterion::{BenchmarkId, Criterion, SamplingMode};
use mnemocore::hdv::Dimension;
use mnemocore_suite::footprint::{MAX_SCALE_VARIABLE, scales};
use mnemocore_suite::footprint_process::{Aspect, Footprint, FootprintProcess, Seen};

use super::asked_for;
use super::bytes::Bytes;
use super::jitter::Jitter;
use super::lazy::Lazy;
use super::recorder::Recorder;
use super::store::temporary_folder;

/// Returns the numbers of memories to measure with, up to `most`. `MNEMO_MAX_SCALE` overrides `most`;
/// if it cannot be parsed, the process ends.
pub fn scales_up_to(most: usize) -> Vec<usize> {
    let Some(max) = env::var_os(MAX_SCALE_VARIABLE) else { return scales(most) };
    let read = max.to_string_lossy().replace('_', "").parse().ok().filter(|&max| max > 0);
    scales(asked_for(
        read.ok_or_else(|| format!("{MAX_SCALE_VARIABLE} is {max:?}; expected a number of memories")),
    ))
}

/// Measures a fresh process that holds an empty engine.
pub fn empty_engine() -> Seen {
    FootprintProcess::empty(Dimension::default(), temporary_folder().path()).expect("a fresh process")
}

/// Measures some aspects of one store as benchmarks that share their fresh processes. Criterion's
/// samples are the values of these processes, in turn. Returns these values, or `None` if the
/// filter admits none of the benchmarks.
pub fn measure_aspects(
    criterion: &mut Criterion<Bytes>,
    recorder: &mut Recorder,
    aspects: &[Aspect],
    (tier, memories): (impl Display, usize),
    see: impl FnOnce() -> Vec<Footprint>,
) -> Option<Vec<Footprint>> {
    let mut seen = Lazy::new(see);
    for aspect in aspects {
        let name = aspect.group(&tier);
        let (mut jitter, mut calls) = (Jitter::default(), 0);
        let mut group = criterion.benchmark_group(&name);
        // Every sample is one value.
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(BenchmarkId::from_parameter(memories), |bencher| {
            let seen = seen.get();
            let footprint = seen[calls % seen.len()];
            calls += 1;
            let value = (aspect.value)(&footprint).expect("an aspect that was measured") as f64;
            bencher.iter_custom(|iterations| value * iterations as f64 * jitter.next());
            recorder.note(&format!("{name}/{memories}"));
        });
        group.finish();
    }
    seen.into_value()
}
