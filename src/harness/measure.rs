//! What a measurement is: a value with its unit, and the distribution it came from.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Three significant digits: an error below 0.1 %, far under the noise of a clock.
const SIGNIFICANT_DIGITS: u8 = 3;
/// An hour in nanoseconds; what takes longer is recorded as an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Durations of single operations, in a histogram of fixed size: recording
/// allocates nothing and takes a few nanoseconds.
///
/// ```
/// use std::time::Duration;
/// use mnemocore::harness::measure::Latencies;
///
/// let mut latencies = Latencies::new();
/// for micros in 1..=1000 {
///     latencies.record(Duration::from_micros(micros));
/// }
/// assert!((latencies.p99().as_micros() as i64 - 990).abs() <= 1);
/// ```
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// Nothing recorded yet.
    #[allow(clippy::expect_used, reason = "the bounds are constants, and a test builds one")]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS);
        Self { histogram: histogram.expect("bounds of a histogram") }
    }

    /// Adds one operation. Less than a nanosecond counts as one.
    #[inline]
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(ns.max(1));
    }

    /// Adds everything that `other` recorded.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so that nothing can be out of range.
        let _ = self.histogram.add(&other.histogram);
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// How many operations were recorded.
    pub fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// The duration that a `share` (0 to 1) of the operations did not exceed, to
    /// three digits; zero when nothing was recorded.
    pub fn quantile(&self, share: f64) -> Duration {
        if self.is_empty() {
            return Duration::ZERO;
        }
        // The histogram answers with the upper end of a bucket, which may lie
        // above the longest operation in it.
        Duration::from_nanos(self.histogram.value_at_quantile(share).min(self.histogram.max()))
    }

    /// The median.
    pub fn p50(&self) -> Duration {
        self.quantile(0.50)
    }

    /// The 95th percentile.
    pub fn p95(&self) -> Duration {
        self.quantile(0.95)
    }

    /// The 99th percentile.
    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    /// The longest operation, to three digits.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.histogram.max())
    }

    /// The mean, from the histogram's buckets.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.histogram.mean().round() as u64)
    }

    /// The percentiles as numbers; `None` when nothing was recorded.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let ns = |duration: Duration| duration.as_nanos() as f64;
        (!self.is_empty()).then(|| Percentiles {
            p50: ns(self.p50()),
            p95: ns(self.p95()),
            p99: ns(self.p99()),
            max: ns(self.max()),
        })
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "P50 {:.2?}  P95 {:.2?}  P99 {:.2?}  max {:.2?}  ({} operations)",
            self.p50(),
            self.p95(),
            self.p99(),
            self.max(),
            self.len(),
        )
    }
}

/// Percentiles of a distribution, in the unit of the measurement they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest value.
    pub max: f64,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Time.
    Nanoseconds,
    /// Memory or disk.
    Bytes,
    /// Throughput.
    OperationsPerSecond,
    /// A share or a quality between 0 and 1, or a ratio of two values.
    Ratio,
}

/// Which way is an improvement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Time, bytes.
    Lower,
    /// Throughput, recall.
    Higher,
}

impl Better {
    /// How much worse `new` is than `old`, as a share of `old`: 0.1 is 10 % worse,
    /// negative is better. Not a number where `old` is zero.
    pub fn worsening(self, old: f64, new: f64) -> f64 {
        match self {
            Self::Lower => (new - old) / old,
            Self::Higher => (old - new) / old,
        }
    }
}

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What was measured, such as `recall/hot/p99/5000`.
    pub name: String,
    /// The value, in `unit`.
    pub value: f64,
    /// The unit of the value and of the percentiles.
    pub unit: Unit,
    /// Which way is an improvement.
    pub better: Better,
    /// How many observations the value rests on.
    pub samples: u64,
    /// The distribution, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentiles: Option<Percentiles>,
}

impl Measurement {
    /// The P99 of single operations.
    pub fn p99(name: impl Into<String>, latencies: &Latencies) -> Self {
        Self {
            name: name.into(),
            value: latencies.p99().as_nanos() as f64,
            unit: Unit::Nanoseconds,
            better: Better::Lower,
            samples: latencies.len(),
            percentiles: latencies.percentiles(),
        }
    }

    /// `operations` in `elapsed`.
    pub fn throughput(name: impl Into<String>, operations: u64, elapsed: Duration) -> Self {
        let value = operations as f64 / elapsed.as_secs_f64();
        Self { samples: operations, ..Self::of(name, value, Unit::OperationsPerSecond, Better::Higher) }
    }

    /// A number of bytes.
    pub fn bytes(name: impl Into<String>, bytes: u64) -> Self {
        Self::of(name, bytes as f64, Unit::Bytes, Better::Lower)
    }

    /// A quality between 0 and 1, as the mean over `samples` questions.
    pub fn quality(name: impl Into<String>, value: f64, samples: u64) -> Self {
        Self { samples, ..Self::of(name, value, Unit::Ratio, Better::Higher) }
    }

    fn of(name: impl Into<String>, value: f64, unit: Unit, better: Better) -> Self {
        Self { name: name.into(), value, unit, better, samples: 1, percentiles: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_histogram_is_all_zeros() {
        let latencies = Latencies::new();
        assert!(latencies.is_empty() && latencies.percentiles().is_none());
        assert_eq!((latencies.p99(), latencies.max(), latencies.mean()), Default::default());
    }

    #[test]
    fn durations_out_of_range_are_kept_at_the_ends() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::MAX);
        assert_eq!(latencies.len(), 2);
        assert_eq!(latencies.quantile(0.0), Duration::from_nanos(1));
        assert!(latencies.max() >= Duration::from_secs(3600));
    }

    #[test]
    fn worsening_follows_the_direction() {
        assert!((Better::Lower.worsening(100.0, 110.0) - 0.1).abs() < 1e-12);
        assert!((Better::Higher.worsening(100.0, 90.0) - 0.1).abs() < 1e-12);
        assert!(Better::Higher.worsening(100.0, 120.0) < 0.0);
    }

    #[test]
    fn a_result_survives_json() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_micros(3));
        for result in [
            Measurement::p99("recall/hot/p99/5000", &latencies),
            Measurement::bytes("footprint/hot/1000", 12),
            Measurement::throughput("store/4", 10, Duration::from_secs(2)),
        ] {
            let json = serde_json::to_string(&result).unwrap();
            assert_eq!(serde_json::from_str::<Measurement>(&json).unwrap(), result);
        }
        assert!(latencies.to_string().contains("P99 3.0"), "{latencies}");
    }

    proptest! {
        #[test]
        fn percentiles_equal_those_of_the_sorted_list_to_three_digits(
            values in prop::collection::vec(1u64..10_000_000_000, 1..300),
            split in 0usize..300,
            share in 0.0f64..=1.0,
        ) {
            let (left, right) = values.split_at(split.min(values.len()));
            let mut latencies = Latencies::new();
            let mut other = Latencies::new();
            left.iter().for_each(|&ns| latencies.record(Duration::from_nanos(ns)));
            right.iter().for_each(|&ns| other.record(Duration::from_nanos(ns)));
            latencies.merge(&other);

            let mut sorted = values;
            sorted.sort_unstable();
            // The smallest value that at least the share of the values do not exceed.
            let rank = ((share * sorted.len() as f64).ceil() as usize).max(1);
            let expected = sorted[rank - 1] as f64;
            let got = latencies.quantile(share).as_nanos() as f64;
            prop_assert!((got - expected).abs() <= expected * 1e-3 + 1.0, "{} {}", got, expected);
        }
    }
}
