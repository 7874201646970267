//! Memory and disk as a Criterion measurement.

use criterion::Throughput;
use criterion::measurement::ValueFormatter;

use super::custom_measurement::custom_measurement;

/// Bytes, measured outside and handed over.
pub struct Bytes;

custom_measurement!(Bytes, &Binary);

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
