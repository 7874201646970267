//! Measurements: a value with its unit, and the distribution it came from.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Three significant digits: an error below 0.1 %, far under the noise of a clock.
const SIGNIFICANT_DIGITS: u8 = 3;
/// An hour in nanoseconds. Longer operations are recorded as an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Converts a duration to whole nanoseconds, at most `u64::MAX` (584 years).
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Durations of single operations, in a histogram of fixed size: recording
/// allocates nothing and takes a few nanoseconds.
///
/// ```
/// use std::time::Duration;
/// use criterion_gate::measure::Latencies;
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
        self.histogram.saturating_record(nanoseconds(duration).max(1));
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

    /// Returns the number of recorded operations.
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

/// The unit of a value.
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
    /// Returns the worsening from `old` to `new` as a share of `old`: 0.1 is 10 % worse, and a
    /// negative value is better. If `old` is zero, the result is not finite.
    pub fn worsening(self, old: f64, new: f64) -> f64 {
        match self {
            Self::Lower => (new - old) / old,
            Self::Higher => (old - new) / old,
        }
    }
}

/// The quantity that a benchmark measures. It is part of a benchmark's name, e.g.
/// `recall_hot/p99/5000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Time of one operation, from the outside of a loop.
    Wall,
    /// The time that 99 % of single operations do not exceed.
    P99,
    /// Operations in a unit of time. Criterion's samples of it are times.
    Throughput,
    /// Main memory.
    Ram,
    /// Files.
    Disk,
    /// A quality between 0 and 1, such as recall@10.
    Quality,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Wall, Self::P99, Self::Throughput, Self::Ram, Self::Disk, Self::Quality];

    /// Returns the kind as it stands in a benchmark's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::P99 => "p99",
            Self::Throughput => "throughput",
            Self::Ram => "ram",
            Self::Disk => "disk",
            Self::Quality => "quality",
        }
    }

    /// Reads the kind from a benchmark's name; [`Kind::Wall`] if the name holds none.
    pub fn of_name(name: &str) -> Self {
        let told = |part| Self::ALL.into_iter().find(|kind| kind.as_str() == part);
        name.split('/').skip(1).find_map(told).unwrap_or(Self::Wall)
    }

    /// The unit of a value. For a throughput it is operations per second, although Criterion's
    /// samples are times.
    pub fn unit(self) -> Unit {
        match self {
            Self::Wall | Self::P99 => Unit::Nanoseconds,
            Self::Throughput => Unit::OperationsPerSecond,
            Self::Ram | Self::Disk => Unit::Bytes,
            Self::Quality => Unit::Ratio,
        }
    }

    /// Which way is an improvement.
    pub fn better(self) -> Better {
        match self {
            Self::Wall | Self::P99 | Self::Ram | Self::Disk => Better::Lower,
            Self::Throughput | Self::Quality => Better::Higher,
        }
    }
}

/// One result, taken without Criterion.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The benchmark, such as `recall_hot/p99/5000`.
    pub name: String,
    /// The measured quantity.
    pub kind: Kind,
    /// The value in the unit of its kind.
    pub value: f64,
    /// The distribution of single operations, in nanoseconds, where there is one.
    pub percentiles: Option<Percentiles>,
    /// Single operations that the percentiles rest on, 0 without percentiles.
    pub operations: u64,
}

impl Measurement {
    /// A value without a distribution.
    pub fn new(name: impl Into<String>, kind: Kind, value: f64) -> Self {
        Self { name: name.into(), kind, value, percentiles: None, operations: 0 }
    }

    /// A time in nanoseconds, with the latencies of the operations behind it.
    pub fn timed(name: impl Into<String>, kind: Kind, ns: f64, latencies: &Latencies) -> Self {
        let percentiles = latencies.percentiles();
        Self { percentiles, operations: latencies.len(), ..Self::new(name, kind, ns) }
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, value, .. } = self;
        match kind.unit() {
            Unit::Nanoseconds => write!(f, "{name}: {:.2?}", Duration::from_nanos(value.round() as u64)),
            Unit::Bytes => write!(f, "{name}: {:.3} MB", value / 1e6),
            Unit::OperationsPerSecond => write!(f, "{name}: {value:.0} operations/s"),
            Unit::Ratio => write!(f, "{name}: {value:.4}"),
        }
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
    fn kinds_are_told_by_the_second_part_of_a_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_name(&format!("recall_hot/{}/5000", kind.as_str())), kind);
        }
        assert_eq!(Kind::of_name("hamming/distance"), Kind::Wall);
        assert_eq!(Kind::of_name("p99"), Kind::Wall);
    }

    #[test]
    fn a_measurement_is_printed_in_its_unit() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_micros(1));
        assert!(latencies.to_string().contains("P99 1.00µs"), "{latencies}");
        let timed = Measurement::timed("recall_hot/p99/5000", Kind::P99, 1_000.0, &latencies);
        assert_eq!((timed.operations, timed.percentiles.map(|all| all.p50)), (1, Some(1_000.0)));
        let printed = [
            (timed, "recall_hot/p99/5000: 1.00µs"),
            (Measurement::new("a/ram/1", Kind::Ram, 2.6e6), "a/ram/1: 2.600 MB"),
            (
                Measurement::new("a/throughput/4", Kind::Throughput, 1234.4),
                "a/throughput/4: 1234 operations/s",
            ),
            (Measurement::new("a/quality/1", Kind::Quality, 0.5), "a/quality/1: 0.5000"),
        ];
        for (measurement, expected) in printed {
            assert_eq!(measurement.to_string(), expected);
        }
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
