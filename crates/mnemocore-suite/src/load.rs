//! Load: many workers on one system at the same time.
//!
//! A load is closed or open. In a [closed] loop each worker waits for its answer before it asks
//! again, so a stalled system gets fewer requests: this measures throughput. In an [open] loop
//! operations arrive at a fixed rate, independent of earlier ones, so a stall counts against every
//! operation that arrives meanwhile: this measures latency under load.
//!
//! A [`Traffic`](mix::Traffic) generates the operations in advance, following one of YCSB's
//! [mixes](mix::Mix).

pub mod choice;
pub mod closed;
pub mod mix;
pub mod open;

use std::hint::black_box;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};

use criterion_gate::measure::Latencies;
use mnemocore::{AsyncEngine, Error, MemoryId, NewMemory, Query};

/// The environment variable that chooses the numbers of workers.
pub const WORKERS_VARIABLE: &str = "MNEMO_WORKERS";

/// The default numbers of workers: one alone, then from about the number of cores to many more.
pub const WORKERS: [usize; 5] = [1, 5, 10, 20, 50];

/// [`WORKERS_VARIABLE`] does not hold numbers of workers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{WORKERS_VARIABLE} is {0:?}; expected numbers above 0, separated by commas, such as 3,7")]
pub struct NoWorkers(String);

/// Reads the numbers of workers from the environment; [`WORKERS`] if the variable is not set.
///
/// # Errors
/// [`NoWorkers`] if they cannot be parsed.
pub fn workers_from_env() -> Result<Vec<usize>, NoWorkers> {
    match std::env::var_os(WORKERS_VARIABLE) {
        None => Ok(WORKERS.into()),
        Some(list) => parse_workers(&list.to_string_lossy()),
    }
}

/// Reads numbers of workers: `3,7`.
///
/// # Errors
/// [`NoWorkers`] unless all are numbers above 0.
pub fn parse_workers(list: &str) -> Result<Vec<usize>, NoWorkers> {
    let number = |part: &str| part.trim().parse().ok().filter(|&workers: &usize| workers > 0);
    list.split(',').map(number).collect::<Option<_>>().ok_or_else(|| NoWorkers(list.to_owned()))
}

/// A system that can be put under load. A clone is another handle to the same system.
pub trait System: Clone + Send + 'static {
    /// The type of its operations.
    type Operation: Send + 'static;
    /// The error of an operation.
    type Error: Send + 'static;

    /// Performs the operation, and resolves when it is done.
    fn perform(&self, operation: Self::Operation) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// An operation of an engine, generated before it is timed.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Stores a memory.
    Store(NewMemory),
    /// Recalls.
    Recall(Query),
    /// Recalls, then stores. An agent does this to look up a fact and update it.
    RecallThenStore(Query, NewMemory),
    /// Forgets a memory.
    Forget(MemoryId),
}

impl System for AsyncEngine {
    type Operation = Operation;
    type Error = Error;

    async fn perform(&self, operation: Operation) -> Result<(), Error> {
        match operation {
            Operation::Store(memory) => drop(black_box(self.store(memory).await?)),
            Operation::Recall(query) => drop(black_box(self.recall(query).await?)),
            Operation::RecallThenStore(query, memory) => {
                drop(black_box(self.recall(query).await?));
                black_box(self.store(memory).await?);
            }
            Operation::Forget(id) => drop(black_box(self.forget(id).await?)),
        }
        Ok(())
    }
}

/// A source of time; tests use their own.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The time since some moment before the load.
    fn now(&self) -> Duration;

    /// Resolves at `time`, or a little later.
    fn sleep_until(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct WallClock(Instant);

impl WallClock {
    /// A clock that counts from now on.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for WallClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// Blocks the thread. Tokio's timer has a resolution of a millisecond, which would bunch
    /// arrivals, and the system's timer one of 50 microseconds. So a future that waits for this
    /// should be alone on its thread, as the one given to `block_on`.
    async fn sleep_until(&self, time: Duration) {
        std::thread::sleep(time.saturating_sub(self.now()));
    }
}

/// The result of a load.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Finished operations: all of them, because an error ends the load.
    pub operations: u64,
    /// The time from the first start to the last end.
    pub elapsed: Duration,
    /// The latencies of single operations.
    pub latencies: Latencies,
}

impl Finished {
    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }
}

/// Returns the next of `tasks` to end. Resumes a panic of one here.
async fn next_done<T: 'static>(tasks: &mut JoinSet<T>) -> Option<T> {
    tasks.join_next().await.map(ended)
}

fn ended<T>(task: Result<T, JoinError>) -> T {
    match task.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Nobody aborts a task here, so the runtime itself ends.
        Err(Err(ended)) => panic!("the runtime was shut down: {ended}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mnemocore::Config;

    #[test]
    fn numbers_of_workers_are_read_and_mistakes_reported() {
        assert_eq!(parse_workers("3, 7"), Ok(vec![3, 7]));
        for wrong in ["", "0", "3,", "many", "-1"] {
            let error = parse_workers(wrong).unwrap_err().to_string();
            assert!(error.contains(WORKERS_VARIABLE) && error.contains("3,7"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_engine_does_what_an_operation_says() {
        let engine = AsyncEngine::in_memory(Config::default().background(false)).await.unwrap();
        engine.perform(Operation::Store("the blue boat".into())).await.unwrap();
        let again = Operation::RecallThenStore("blue boat".into(), "the red boat".into());
        engine.perform(again).await.unwrap();
        engine.perform(Operation::Recall("red boat".into())).await.unwrap();
        assert_eq!(engine.stats().await.total(), 2);
        engine.perform(Operation::Forget(MemoryId(0))).await.unwrap();
        assert_eq!(engine.stats().await.total(), 1);
        let error = engine.perform(Operation::Store(" ".into())).await.unwrap_err();
        assert!(matches!(error, Error::EmptyText { .. }), "{error}");
    }
}
