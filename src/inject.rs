//! Deliberate slow-downs, to test that the gate finds them. They need the feature `inject`, which
//! no release has, and the variable `MNEMO_INJECT`:
//!
//! | `MNEMO_INJECT` | what it does |
//! |---|---|
//! | `recall=0.10` | a recall takes 10 % longer |
//! | `store=0.10` | a store takes 10 % longer |
//! | `hot=0.10`, `warm=`, `cold=` | a recall whose best hit is in that tier takes 10 % longer |
//! | `tail=0.10` | one recall of 50 takes 10 % longer than the P99 of the others |
//! | `memory=0.10` | a tenth of the bytes of each memory's vector and text is held for good |
//!
//! Several are separated by commas.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The variable that names the slow-downs.
const VARIABLE: &str = "MNEMO_INJECT";
/// The valid names in the variable.
const NAMES: [&str; 7] = ["recall", "store", "hot", "warm", "cold", "tail", "memory"];
/// One call in this many is in the tail: 2 %, twice the share above a P99.
const TAIL: usize = 50;
/// Calls that the P99 of the others is computed from.
const WINDOW: usize = 1_000;

static SHARES: LazyLock<Vec<(String, f64)>> = LazyLock::new(|| {
    let asked = std::env::var(VARIABLE).unwrap_or_default();
    parse(&asked).unwrap_or_else(|error| {
        // A misspelled slow-down would make the gate look blind.
        eprintln!("error: {VARIABLE}: {error}");
        std::process::exit(2)
    })
});

fn parse(asked: &str) -> Result<Vec<(String, f64)>, String> {
    let one = |part: &str| {
        let (name, share) = part.split_once('=').ok_or_else(|| format!("{part:?}; expected name=share"))?;
        if !NAMES.contains(&name) {
            return Err(format!("{name:?}; expected one of {NAMES:?}"));
        }
        let share: f64 = share.parse().map_err(|_| format!("{share:?}; expected a share such as 0.10"))?;
        Ok((name.to_owned(), share))
    };
    asked.split(',').filter(|part| !part.is_empty()).map(one).collect()
}

fn share(name: &str) -> f64 {
    SHARES.iter().filter(|(asked, _)| asked == name).map(|(_, share)| share).sum()
}

/// Prolongs the time until this is dropped.
pub(crate) struct Slowed {
    share: f64,
    tail: f64,
    started: Instant,
}

/// Starts the slow-down `name`, if the variable asks for it.
pub(crate) fn slow(name: &str) -> Slowed {
    let tail = if name == "recall" { share("tail") } else { 0.0 };
    Slowed { share: share(name), tail, started: Instant::now() }
}

impl Slowed {
    /// Adds the slow-down `name`, if the variable asks for it.
    pub(crate) fn also(&mut self, name: &str) {
        self.share += share(name);
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        if self.share == 0.0 && self.tail == 0.0 {
            return;
        }
        let mut end = self.started.elapsed().mul_f64(1.0 + self.share.max(0.0));
        if self.tail > 0.0 {
            let calls = CALLS.lock();
            end = calls.unwrap_or_else(PoisonError::into_inner).next(end, self.tail);
        }
        while self.started.elapsed() < end {
            std::hint::spin_loop();
        }
    }
}

static CALLS: Mutex<Calls> = Mutex::new(Calls { number: 0, window: Vec::new(), p99: Duration::ZERO });

/// The latest calls outside the tail.
struct Calls {
    number: usize,
    window: Vec<Duration>,
    p99: Duration,
}

impl Calls {
    /// Returns the duration of the next call, which would take `time` without a slow-down.
    fn next(&mut self, time: Duration, tail: f64) -> Duration {
        self.number += 1;
        if self.number.is_multiple_of(TAIL) {
            return time.max(self.p99.mul_f64(1.0 + tail));
        }
        self.window.push(time);
        if self.window.len() == WINDOW {
            self.window.sort_unstable();
            self.p99 = self.window.get(WINDOW * 99 / 100).copied().unwrap_or_default();
            self.window.clear();
        }
        time
    }
}

/// Leaks the share of `bytes` that `MNEMO_INJECT` asks for.
pub(crate) fn hold(bytes: usize) {
    let held = (share("memory").max(0.0) * bytes as f64) as usize;
    // Written to, so that the pages become resident.
    std::mem::forget(vec![1u8; held]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_and_mistakes_are_named() {
        assert_eq!(
            parse("recall=0.1,memory=0.25"),
            Ok(vec![("recall".into(), 0.1), ("memory".into(), 0.25)])
        );
        assert_eq!(parse(""), Ok(Vec::new()));
        for (asked, hint) in [("recal=0.1", "recal"), ("recall", "name=share"), ("store=much", "much")] {
            assert!(parse(asked).unwrap_err().contains(hint), "{asked}");
        }
    }

    #[test]
    fn the_tail_moves_the_p99_and_not_the_median() {
        let mut calls = Calls { number: 0, window: Vec::new(), p99: Duration::ZERO };
        let time = |i: u64| Duration::from_micros(100 + i * 7 % 100);
        let run = |calls: &mut Calls, tail: f64| {
            let mut times: Vec<Duration> = (0..5_000).map(|i| calls.next(time(i), tail)).collect();
            times.sort_unstable();
            [times[2_500], times[4_950]].map(|time| time.as_secs_f64())
        };
        run(&mut calls, 0.0);
        let [p50, p99] = run(&mut calls, 0.0);
        let [slow_p50, slow_p99] = run(&mut calls, 0.2);
        assert!((slow_p99 / p99 - 1.2).abs() < 0.02 && (slow_p50 / p50 - 1.0).abs() < 0.02);
    }
}
