//! Load on an engine, in time.

use mnemocore::{AsyncEngine, Error};
use mnemocore_suite::load::{Finished, Operation, WallClock, closed, open};
use tokio::runtime::Runtime;

/// `operations` by so many workers, each of which waits for its answers.
pub fn run_closed(
    runtime: &Runtime,
    engine: &AsyncEngine,
    operations: Vec<Operation>,
    workers: usize,
) -> Finished {
    let (count, clock) = (operations.len(), WallClock::start());
    done(runtime.block_on(closed::run(engine, operations, workers, &clock)), count)
}

/// `operations` that arrive at `rate` per second.
pub fn run_open(runtime: &Runtime, engine: &AsyncEngine, operations: Vec<Operation>, rate: f64) -> Finished {
    let (count, clock) = (operations.len(), WallClock::start());
    done(runtime.block_on(open::run(engine, operations, rate, &clock)), count)
}

/// # Panics
/// If an operation failed or was left out: then there is nothing to measure.
fn done(finished: Result<Finished, Error>, count: usize) -> Finished {
    let finished = finished.unwrap_or_else(|error| panic!("under load: {error}"));
    assert_eq!(finished.operations, count as u64, "operations done");
    finished
}
