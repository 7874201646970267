//! Formatting of values for readers: three significant digits and a suitable unit.

use criterion_gate::machine::Machine;
use criterion_gate::measure::Unit;
use criterion_gate::results::Kind;

/// Formats a value of a kind, such as `83.1 us`.
pub(crate) fn value(kind: Kind, value: f64) -> String {
    match kind.unit() {
        Unit::Nanoseconds => time(value),
        Unit::Bytes => bytes(value),
        Unit::OperationsPerSecond => format!("{} /s", count(value)),
        Unit::Ratio => format!("{value:.4}"),
    }
}

/// Formats an interval of a kind, such as `82.0 us to 84.3 us`. Returns an empty string for `None`.
pub(crate) fn interval(kind: Kind, interval: Option<[f64; 2]>) -> String {
    interval.map_or_else(String::new, |[low, high]| format!("{} to {}", value(kind, low), value(kind, high)))
}

/// Formats a time in nanoseconds.
pub(crate) fn time(nanoseconds: f64) -> String {
    let units = [("s", 1e9), ("ms", 1e6), ("us", 1e3)];
    scaled(nanoseconds, &units, "ns")
}

/// Formats a number of bytes; 1 kB is 1,000 bytes.
pub(crate) fn bytes(bytes: f64) -> String {
    scaled(bytes, &[("GB", 1e9), ("MB", 1e6), ("kB", 1e3)], "B")
}

fn scaled(value: f64, units: &[(&str, f64)], smallest: &str) -> String {
    // A value such as 999.7 would round to four digits.
    let unit = units.iter().find(|(_, size)| value.abs() >= 0.9995 * size);
    let (name, size) = unit.copied().unwrap_or((smallest, 1.0));
    format!("{} {name}", digits(value / size))
}

/// Formats three significant digits, or as many as the integer part has.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => count(value),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 || size == 0.0 => format!("{value:.2}"),
        size => format!("{value:.*}", (2.0 - size.log10().floor()).clamp(2.0, 9.0) as usize),
    }
}

/// Removes zeros after the decimal point, for the labels of an axis.
pub(crate) fn round(value: &str) -> String {
    value.replace(".00 ", " ").replace(".0 ", " ")
}

/// Formats an integer with thousands separators.
pub(crate) fn count(value: f64) -> String {
    let whole = format!("{value:.0}");
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole.as_str()), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a share as a signed percentage, such as `+3.2 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:+.1} %", 100.0 * share)
}

/// Describes the machine in one line.
pub(crate) fn machine(machine: &Machine) -> String {
    let memory =
        machine.memory_bytes.map_or_else(String::new, |size| format!(", {} of memory", bytes(size as f64)));
    let Machine { cpu, cores, os, rustc, .. } = machine;
    let cores = if *cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    format!("{cpu}, {cores}{memory}, {os}, {rustc}")
}

/// Formats seconds since 1970 as date and time, UTC.
pub(crate) fn date(unix_seconds: u64) -> String {
    formatted(unix_seconds, "%Y-%m-%d %H:%M UTC")
}

/// Formats seconds since 1970 for a file name: `20261124T120000Z`.
pub(crate) fn stamp(unix_seconds: u64) -> String {
    formatted(unix_seconds, "%Y%m%dT%H%M%SZ")
}

fn formatted(unix_seconds: u64, format: &str) -> String {
    let seconds = i64::try_from(unix_seconds).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| unix_seconds.to_string(), |time| time.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_and_a_unit_that_suits() {
        for (nanoseconds, text) in [
            (0.0, "0.00 ns"),
            (0.512, "0.512 ns"),
            (7.0, "7.00 ns"),
            (999.7, "1.00 us"),
            (83_149.0, "83.1 us"),
            (3.15e6, "3.15 ms"),
            (2.0e12, "2,000 s"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
        assert_eq!((bytes(2.6e6), round(&bytes(2e6))), ("2.60 MB".into(), "2 MB".into()));
        assert_eq!(value(Kind::Throughput, 1_234_567.8), "1,234,568 /s");
        assert_eq!([count(999.0), count(-1000.0), count(f64::INFINITY)], ["999", "-1,000", "inf"]);
        assert_eq!(digits(0.021), "0.0210");
    }

    #[test]
    fn times_are_those_of_utc() {
        assert_eq!(stamp(1_795_521_600), "20261124T120000Z");
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(u64::MAX), u64::MAX.to_string());
    }
}
