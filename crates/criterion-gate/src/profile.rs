//! Profiles of a run, and the command line of a bench.

use std::fmt;
use std::str::FromStr;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use crate::baseline_name::{BaselineNameError, check_baseline_name};

/// The thoroughness of a run: `MNEMO_PROFILE=quick`, `default` or `full`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// For a quick look: small sizes, few samples.
    Quick,
    /// For results that are recorded and compared.
    #[default]
    Default,
    /// With a million memories.
    Full,
}

/// The environment variable that chooses the profile.
pub const PROFILE_VARIABLE: &str = "MNEMO_PROFILE";

/// The environment names an unknown profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{PROFILE_VARIABLE} is {0:?}; expected quick, default or full")]
pub struct UnknownProfile(String);

impl Profile {
    /// Reads the profile from the environment; [`Profile::Default`] if the variable is not set.
    ///
    /// # Errors
    /// [`UnknownProfile`], so that a typing error does not run for an hour.
    pub fn from_env() -> Result<Self, UnknownProfile> {
        match std::env::var_os(PROFILE_VARIABLE) {
            None => Ok(Self::default()),
            Some(name) => name.to_string_lossy().parse(),
        }
    }

    /// Returns the value that belongs to this profile.
    pub fn choose<T>(self, quick: T, default: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Default => default,
            Self::Full => full,
        }
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        match name {
            "quick" => Ok(Self::Quick),
            "" | "default" => Ok(Self::Default),
            "full" => Ok(Self::Full),
            _ => Err(UnknownProfile(name.to_owned())),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.choose("quick", "default", "full"))
    }
}

/// The command-line arguments that a bench itself reads, besides its framework.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The saved baseline to compare with: `--baseline NAME`, `-b NAME` and their
    /// joined spellings.
    pub baseline: Option<String>,
    /// The name to save the results under: `--save-baseline NAME`, `-s NAME` and
    /// their joined spellings.
    pub save: Option<String>,
    /// All names of baselines, also those of `--baseline-lenient` and `--load-baseline`.
    pub names: Vec<String>,
    /// Each benchmark runs once, to see that it works: `--test`, or without the
    /// `--bench` that `cargo bench` adds.
    pub test: bool,
    /// Names only: `--list`.
    pub list: bool,
    /// Two samples only: `--quick`.
    pub quick: bool,
    /// Only benchmarks whose name this matches.
    pub filter: Option<String>,
}

/// Criterion's long options that are followed by a value.
const WITH_VALUE: [&str; 12] = [
    "color",
    "format",
    "profile-time",
    "sample-size",
    "warm-up-time",
    "measurement-time",
    "nresamples",
    "noise-threshold",
    "confidence-level",
    "significance-level",
    "plotting-backend",
    "output-format",
];

impl Arguments {
    /// Reads the arguments of this process.
    pub fn from_env() -> Self {
        Self::parse(std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()))
    }

    /// Reads the arguments behind the program's name. Everything unknown is left
    /// to the framework, which also reports mistakes.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Self {
        let mut parsed = Self { test: true, ..Self::default() };
        let (mut bench, mut test) = (false, false);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--" => break,
                "--bench" => bench = true,
                "--test" => test = true,
                "--list" => parsed.list = true,
                "--quick" => parsed.quick = true,
                "--baseline" => parsed.baseline = parsed.named(arguments.next()),
                "--save-baseline" => parsed.save = parsed.named(arguments.next()),
                "--baseline-lenient" | "--load-baseline" => drop(parsed.named(arguments.next())),
                "-c" => drop(arguments.next()),
                other => match other.strip_prefix("--") {
                    Some(long) => {
                        if let Some(name) = long.strip_prefix("baseline=") {
                            parsed.baseline = parsed.named(Some(name.to_owned()));
                        } else if let Some(name) = long.strip_prefix("save-baseline=") {
                            parsed.save = parsed.named(Some(name.to_owned()));
                        } else if let Some(name) = (long.strip_prefix("baseline-lenient="))
                            .or_else(|| long.strip_prefix("load-baseline="))
                        {
                            parsed.named(Some(name.to_owned()));
                        } else if WITH_VALUE.contains(&long) {
                            // It may look like a filter, or a short option of ours.
                            arguments.next();
                        }
                    }
                    None if other.starts_with('-') => parsed.short_options(other, &mut arguments),
                    None => parsed.filter = Some(other.to_owned()),
                },
            }
        }
        parsed.test = test || !bench;
        parsed
    }

    /// Checks all names of baselines. A bench has to do so before it measures, because Criterion
    /// writes to whatever folder a name leads to.
    ///
    /// # Errors
    /// The first name that [`check_baseline_name`] refuses.
    pub fn check_names(&self) -> Result<(), BaselineNameError> {
        self.names.iter().try_for_each(|name| check_baseline_name(name))
    }

    /// Notes the name of a baseline.
    fn named(&mut self, name: Option<String>) -> Option<String> {
        self.names.extend(name.clone());
        name
    }

    /// Whether the filter admits `name`. The filter is a regular expression, as Criterion's is. If
    /// it is no valid expression, it is searched for as plain text.
    pub fn admits(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| match Regex::new(filter) {
            Ok(regex) => regex.is_match(name),
            Err(_) => name.contains(filter),
        })
    }

    /// Reads a cluster such as `-b`, `-bmain`, `-b=main` or `-vns main`.
    fn short_options(&mut self, cluster: &str, rest: &mut impl Iterator<Item = String>) {
        // The short flags without a value may come before it.
        let option = cluster.trim_start_matches('-').trim_start_matches(['v', 'n']);
        let Some(name) = option.strip_prefix(['b', 's']) else { return };
        let is_equal = name.starts_with('=');
        let name = name.strip_prefix('=').unwrap_or(name);
        let name = if name.is_empty() && !is_equal { rest.next() } else { Some(name.to_owned()) };
        let name = self.named(name);
        *(if option.starts_with('b') { &mut self.baseline } else { &mut self.save }) = name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_spelling_of_the_baseline_is_found() {
        for line in [
            "--bench --baseline main",
            "--baseline=main --bench",
            "-b main --bench",
            "-bmain --bench recall",
            "-b=main",
            "-vnb main",
            "recall/hot --baseline main --noplot",
        ] {
            assert_eq!(parse(line).baseline.as_deref(), Some("main"), "{line}");
        }
        for line in [
            "",
            "--bench",
            "main",
            "--save-baseline main",
            "-smain",
            "-s -b",
            "-- -b main",
            "--baseline-lenient main",
        ] {
            assert_eq!(parse(line).baseline, None, "{line}");
        }
    }

    #[test]
    fn every_spelling_of_the_name_to_save_under_is_found() {
        for line in ["--save-baseline main", "--save-baseline=main", "-s main", "-smain", "-vns=main"] {
            assert_eq!(parse(line).save.as_deref(), Some("main"), "{line}");
            assert_eq!(parse(line).filter, None, "{line}");
        }
        assert_eq!(parse("--bench --baseline save-baseline").save, None);
    }

    #[test]
    fn every_spelling_of_a_name_that_leads_elsewhere_is_refused() {
        for line in [
            "--save-baseline /abs",
            "--save-baseline=../evil",
            "-s new",
            "-snew",
            "-s=",
            "--baseline new",
            "-b=../evil",
            "--baseline-lenient ../evil",
            "--load-baseline=/abs",
            "-s main -b new",
        ] {
            assert!(parse(line).check_names().is_err(), "{line}");
        }
        for line in ["", "-s main -b feature/login", "--baseline-lenient old --load-baseline=old new"] {
            assert_eq!(parse(line).check_names(), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_filter_is_told_from_the_values_of_options() {
        for line in [
            "--bench --save-baseline main",
            "-s main",
            "--sample-size 10 --color never",
            "-b main",
            "--bench --noplot quality",
            "qual --bench",
            "latency|quality",
            "^(latency|quality)$",
        ] {
            assert!(parse(line).admits("quality"), "{line}");
        }
        for line in ["--bench recall", "--sample-size 10 recall/hot", "recall --save-baseline quality"] {
            assert!(!parse(line).admits("quality"), "{line}");
        }
    }

    #[test]
    fn cargo_test_runs_benches_as_tests() {
        assert!(parse("").test && parse("--bench --test").test && parse("--test").test);
        assert!(!parse("--bench").test);
        assert!(parse("--bench --list").list && parse("--bench --quick").quick);
    }

    #[test]
    fn profiles_are_read_back_and_a_typing_error_is_reported() {
        for profile in [Profile::Quick, Profile::Default, Profile::Full] {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        let error = "fast".parse::<Profile>().unwrap_err().to_string();
        assert!(error.contains("fast") && error.contains("quick, default or full"), "{error}");
    }
}
