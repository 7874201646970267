//! The places that hold the memories under test, and counts of the requests to them.

use std::path::PathBuf;
use std::time::Duration;

use mnemocore::{Config, Engine, TierKind, Traffic};
use tempfile::TempDir;

use crate::common::Fixture;

/// A place on other machines where a tier may be.
pub(crate) trait Remote {
    /// As in the names of benchmarks: `cold-s3`, say.
    fn name(&self) -> &str;

    /// The tier that is there.
    fn tier(&self) -> TierKind;

    /// Fills a store of its own for a purpose, and closes it.
    fn fill(&self, purpose: &str, fixture: Fixture) -> Filled;

    /// Bytes that the place holds of it.
    fn bytes(&self, filled: &Filled) -> u64;

    /// Opens it behind a network that adds `delay` to each request, to be stored into as
    /// well.
    fn open(&self, filled: Filled, delay: Duration) -> Opened;

    /// Both, for a purpose with this delay.
    fn fill_and_open(&self, purpose: &str, fixture: Fixture, delay: Duration) -> Opened {
        self.open(self.fill(&format!("{purpose}-{}", delay.as_millis()), fixture), delay)
    }
}

/// A store that was filled, and is closed.
pub(crate) struct Filled {
    pub(crate) fixture: Fixture,
    /// The path and the settings for `Engine::open`.
    pub(crate) store: PathBuf,
    pub(crate) config: Config,
    /// The files on this disk, deleted when this is dropped.
    pub(crate) files: TempDir,
}

/// A store that is open, behind a network.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) fixture: Fixture,
    /// Reads the requests and bytes so far to the place of the memories.
    pub(crate) traffic: Box<dyn Fn(&Engine) -> Traffic>,
    /// The files on this disk, deleted when this is dropped.
    pub(crate) files: TempDir,
}

/// Requests and bytes of one operation of a kind: the mean of several.
pub(crate) struct Spent {
    what: String,
    pub(crate) requests: f64,
    sent: f64,
    received: f64,
}

impl Spent {
    pub(crate) fn new(what: impl Into<String>, before: Traffic, after: Traffic, operations: usize) -> Self {
        let each = |before: u64, after: u64| (after - before) as f64 / operations as f64;
        Self {
            what: what.into(),
            requests: each(before.requests, after.requests),
            sent: each(before.sent, after.sent),
            received: each(before.received, after.received),
        }
    }
}

/// Prints the requests and bytes of operations.
pub(crate) fn print(spent: &[Spent]) {
    if spent.is_empty() {
        return;
    }
    println!("{:<42}{:>10}{:>14}{:>18}", "an operation", "requests", "bytes sent", "bytes received");
    for Spent { what, requests, sent, received } in spent {
        println!("{what:<42}{requests:>10.2}{sent:>14.0}{received:>18.0}");
    }
}
