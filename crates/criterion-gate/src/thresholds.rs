//! The allowed worsenings: `baselines/thresholds.toml`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glob::Pattern;
use serde::{Deserialize, Deserializer};

use super::verdict::Effect;
use crate::measure::Better;
use crate::results::Kind;

/// The fewest pairs that can decide, see [`Gate::pairs`].
pub const FEWEST_PAIRS: usize = 12;

/// The gate's settings, the allowed worsenings, and the project's own SLOs.
///
/// An unknown key is an error: a misspelled one would allow what it should forbid.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// The settings of the gate's rule.
    pub gate: Gate,
    /// Allowed worsenings by kind.
    pub default: Defaults,
    /// Exceptions by benchmark. If several match, the last one counts.
    #[serde(rename = "override")]
    pub overrides: Vec<Override>,
    /// Limits of absolute values.
    pub slo: Vec<Slo>,
}

/// The settings of the gate's rule.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Pairs of runs that confirm a suspect, at least [`FEWEST_PAIRS`]. The number is fixed in
    /// advance, because adding pairs until the answer pleases inflates alpha.
    pub pairs: usize,
    /// The chance of any false "regressed" in a run.
    pub alpha: f64,
    /// The effect of an undecided benchmark on the exit code.
    pub undecided: Effect,
    /// Seconds after which the gate stops a process of a pair.
    pub process_seconds: u64,
    /// Minutes that all pairs together may take. Suspects without pairs are inconclusive.
    pub minutes: f64,
    /// The share of the cleared benchmarks that pairs check as well.
    pub audit: f64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            pairs: 20,
            alpha: 0.05,
            undecided: Effect::CannotJudge,
            process_seconds: 300,
            minutes: 15.0,
            audit: 1.0,
        }
    }
}

/// Allowed worsenings as shares of the baseline's value: 0.10 is 10 %.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each is the kind it is named after")]
pub struct Defaults {
    pub wall: f64,
    pub p99: f64,
    pub throughput: f64,
    pub ram: f64,
    pub disk: f64,
    pub quality: f64,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { wall: 0.10, p99: 0.10, throughput: 0.10, ram: 0.20, disk: 0.20, quality: 0.02 }
    }
}

/// An exception.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The benchmarks: an id, with `*` for anything and `?` for any character.
    #[serde(deserialize_with = "pattern")]
    pub id: Pattern,
    /// The allowed worsening.
    pub allowed: Option<f64>,
    /// Whether the benchmark was removed on purpose. If so, it passes when it is missing.
    #[serde(default)]
    pub removed: bool,
}

/// A limit of an absolute value.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// The name of the promise.
    pub name: String,
    /// The benchmark, as in [`Override::id`].
    #[serde(deserialize_with = "pattern")]
    pub id: Pattern,
    /// The value that the limit applies to.
    pub statistic: Statistic,
    /// The limit in the unit of the benchmark's kind: nanoseconds, operations per second, bytes, or
    /// a share. It is a maximum, or a minimum if more is better.
    pub limit: f64,
}

/// A value of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// The median of Criterion's samples, or the value noted in its place.
    Median,
    /// The median of single operations.
    P50,
    /// The 95th percentile of single operations.
    P95,
    /// The 99th percentile of single operations.
    P99,
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
    Pattern::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// `thresholds.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ThresholdsError {
    /// An error of the operating system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not valid TOML, or has other keys or types.
    #[error("{path}: {source}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The position and the cause.
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("{path}: {key} is {received}; expected {expected}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value in the file.
        received: f64,
        /// The values that would be valid.
        expected: &'static str,
    },
}

impl Thresholds {
    /// Reads and checks a file. Settings that it leaves out are as in [`Thresholds::default`].
    ///
    /// # Errors
    /// [`ThresholdsError`] if it cannot be read or makes no sense.
    pub fn read(path: &Path) -> Result<Self, ThresholdsError> {
        let text =
            fs::read_to_string(path).map_err(|source| ThresholdsError::Io { path: path.into(), source })?;
        let thresholds: Self = toml::from_str(&text)
            .map_err(|source| ThresholdsError::Toml { path: path.into(), source: Box::new(source) })?;
        thresholds.check(path)?;
        Ok(thresholds)
    }

    fn check(&self, path: &Path) -> Result<(), ThresholdsError> {
        let value = |key: String, received, sensible, expected| {
            if sensible {
                Ok(())
            } else {
                Err(ThresholdsError::Value { path: path.into(), key, received, expected })
            }
        };
        let share = |key: String, share: f64| {
            value(key, share, share > 0.0 && share < 1.0, "a share above 0 and below 1")
        };
        let Gate { pairs, alpha, process_seconds, minutes, audit, .. } = self.gate;
        value("gate.pairs".into(), pairs as f64, pairs >= FEWEST_PAIRS, "at least 12")?;
        value("gate.process_seconds".into(), process_seconds as f64, process_seconds > 0, "at least 1")?;
        value("gate.minutes".into(), minutes, minutes > 0.0 && minutes < 1e6, "a time above 0")?;
        value("gate.audit".into(), audit, (0.0..=1.0).contains(&audit), "a share from 0 to 1")?;
        share("gate.alpha".into(), alpha)?;
        for kind in Kind::ALL {
            share(format!("default.{}", kind.as_str()), self.default.of(kind))?;
        }
        for exception in &self.overrides {
            if let Some(allowed) = exception.allowed {
                share(format!("override {}", exception.id), allowed)?;
            }
        }
        for slo in &self.slo {
            value(format!("slo {}", slo.name), slo.limit, slo.limit > 0.0, "a limit above 0")?;
        }
        Ok(())
    }

    /// Returns the allowed worsening of a benchmark.
    pub fn allowed(&self, id: &str, kind: Kind) -> Allowed {
        let exception = self.overrides.iter().rev().filter(|exception| exception.id.matches(id));
        let share = exception.filter_map(|exception| exception.allowed).next();
        Allowed { share: share.unwrap_or_else(|| self.default.of(kind)), better: kind.better() }
    }

    /// Whether a benchmark was removed on purpose.
    pub fn is_removed(&self, id: &str) -> bool {
        self.overrides.iter().any(|exception| exception.removed && exception.id.matches(id))
    }
}

impl Defaults {
    fn of(&self, kind: Kind) -> f64 {
        match kind {
            Kind::Wall => self.wall,
            Kind::P99 => self.p99,
            Kind::Throughput => self.throughput,
            Kind::Ram => self.ram,
            Kind::Disk => self.disk,
            Kind::Quality => self.quality,
        }
    }
}

/// The allowed worsening of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowed {
    /// As a share of the baseline's value.
    pub share: f64,
    /// Which way is an improvement.
    pub better: Better,
}

impl Allowed {
    /// ln of the factor of a worsening by `part` of the allowed share: theta for 1. If more is
    /// better, the loss of a tenth is a factor of 1 / 0.9.
    pub fn log(self, part: f64) -> f64 {
        match self.better {
            Better::Lower => (part * self.share).ln_1p(),
            Better::Higher => -(-part * self.share).ln_1p(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Thresholds, ThresholdsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thresholds.toml");
        fs::write(&path, text).unwrap();
        Thresholds::read(&path)
    }

    #[test]
    fn the_committed_file_says_what_holds_without_it() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../baselines/thresholds.toml");
        let committed = Thresholds::read(&path).unwrap();
        assert_eq!((committed.gate, committed.default), Default::default());
        assert!(!committed.slo.is_empty());
    }

    #[test]
    fn nothing_said_is_the_default_and_the_last_exception_counts() {
        assert_eq!(read("").unwrap(), Thresholds::default());
        let thresholds = read(
            r#"
            default.p99 = 0.15
            [[override]]
            id = "archive/*"
            allowed = 0.5
            [[override]]
            id = "archive/wall/1024"
            allowed = 0.25
            [[override]]
            id = "archive/old"
            removed = true
            "#,
        )
        .unwrap();
        let allowed = |id| thresholds.allowed(id, Kind::P99).share;
        assert_eq!(
            ["archive/wall/1024", "archive/p99/7", "archive/old", "recall"].map(allowed),
            [0.25, 0.5, 0.5, 0.15]
        );
        assert!(thresholds.is_removed("archive/old") && !thresholds.is_removed("archive/wall/1024"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, hint) in [
            ("gate.pair = 20", "pair"),
            ("defaults.p99 = 0.1", "defaults"),
            ("default.p98 = 0.1", "p98"),
            ("gate.pairs = 11", "at least 12"),
            ("gate.alpha = 0.0", "gate.alpha is 0"),
            ("gate.undecided = 'regressed'", "undecided"),
            ("default.ram = nan", "default.ram is NaN"),
            ("default.throughput = 1.0", "below 1"),
            ("[[override]]\nid = '['", "attern"),
            ("[[override]]\nallowed = 0.1", "id"),
            ("[[override]]\nid = 'a'\nallowed = -0.1", "override a"),
            ("[[slo]]\nname = 'a'\nid = 'a'\nstatistic = 'p98'\nlimit = 1.0", "p98"),
            ("not toml", "TOML"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(hint) && error.contains("thresholds.toml"), "{text}: {error}");
        }
        assert!(matches!(Thresholds::read(Path::new("no/such/file")), Err(ThresholdsError::Io { .. })));
    }

    #[test]
    fn a_tenth_less_throughput_is_a_time_of_one_over_point_nine() {
        let lower = Allowed { share: 0.1, better: Better::Lower };
        let higher = Allowed { share: 0.1, better: Better::Higher };
        assert!(
            (lower.log(1.0) - 1.1f64.ln()).abs() < 1e-12 && (lower.log(0.5) - 1.05f64.ln()).abs() < 1e-12
        );
        assert!((higher.log(1.0) - (1.0f64 / 0.9).ln()).abs() < 1e-12);
        assert!((higher.log(0.3) - (1.0f64 / 0.97).ln()).abs() < 1e-12);
    }
}
