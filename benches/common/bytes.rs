//! Memory and disk as a Criterion measurement.

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};

/// Bytes, measured outside and handed over through `Bencher::iter_custom`.
///
/// A value is `f64`: closures that take no time drive Criterion's iterations so
/// high that integers would wrap.
pub struct Bytes;

impl Measurement for Bytes {
    type Intermediate = ();
    type Value = f64;

    fn start(&self) {}

    /// # Panics
    /// Always: what a store takes cannot be had from the outside of a loop.
    fn end(&self, (): ()) -> f64 {
        unreachable!("bytes need `iter_custom`");
    }

    fn add(&self, left: &f64, right: &f64) -> f64 {
        left + right
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Binary
    }
}

/// Formats bytes in powers of 1024.
struct Binary;

impl Binary {
    fn unit(typical: f64) -> (f64, &'static str) {
        let units = [(1_f64, "B"), (1024.0, "KiB"), (1048576.0, "MiB"), (1073741824.0, "GiB")];
        *units.iter().rev().find(|(bytes, _)| typical >= *bytes).unwrap_or(&units[0])
    }
}

impl ValueFormatter for Binary {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        let (bytes, unit) = Self::unit(typical);
        values.iter_mut().for_each(|value| *value /= bytes);
        unit
    }

    /// Bytes have no throughput.
    fn scale_throughputs(&self, typical: f64, _: &Throughput, values: &mut [f64]) -> &'static str {
        self.scale_values(typical, values)
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "B"
    }
}
