//! P99 of single operations as a Criterion measurement.

use criterion::measurement::{Measurement as _, WallTime};
use criterion_gate::measure::Latencies;
use criterion_gate::reference::Reference;

use super::custom_measurement::custom_measurement;
use super::jitter::Jitter;
use super::warm_up::WarmUp;

/// Nanoseconds that 99 % of single operations do not exceed.
///
/// Criterion sees a time per iteration like any other; what makes it a percentile
/// is the [`Sampler`] that fills it through `Bencher::iter_custom`.
pub struct P99;

custom_measurement!(P99, {
    const WALL: &WallTime = &WallTime;
    WALL.formatter()
});

/// Gathers latencies of single operations and turns every sample into its P99.
pub struct Sampler {
    operations: u64,
    sample: Latencies,
    all: Latencies,
    warm_up: WarmUp,
    jitter: Jitter,
    reference: Reference,
}

impl Sampler {
    /// One iteration of Criterion's is `operations` operations.
    pub fn new(operations: u64) -> Self {
        Self {
            operations,
            sample: Latencies::new(),
            all: Latencies::new(),
            warm_up: WarmUp::default(),
            jitter: Jitter::default(),
            reference: Reference::default(),
        }
    }

    /// One of Criterion's samples: `measure` records the latencies of as many
    /// operations as it is told. Returns their P99 in nanoseconds, times
    /// `iterations`, because Criterion divides by that.
    pub fn sample(&mut self, iterations: u64, measure: impl FnOnce(u64, &mut Latencies)) -> f64 {
        self.reference.work();
        self.sample.clear();
        measure(iterations.saturating_mul(self.operations), &mut self.sample);
        if self.warm_up.was_all(iterations) {
            self.all.clear();
        }
        self.all.merge(&self.sample);
        self.sample.p99().as_nanos() as f64 * iterations as f64 * self.jitter.next()
    }

    /// The mean time of a pass of the reference work between the samples.
    pub fn reference(&self) -> Option<f64> {
        self.reference.mean()
    }

    /// All operations of the measured samples; `None` if there were none.
    pub fn into_latencies(self) -> Option<Latencies> {
        Some(self.all).filter(|all| !all.is_empty())
    }
}
