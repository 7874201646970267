//! Load: many workers on one system at the same time.
//!
//! A load is closed or open. In a [closed] one each worker waits for its answer
//! before it asks again, so a system that stalls is simply asked less: that
//! measures throughput. In an [open] one operations arrive at a fixed rate,
//! whatever becomes of the earlier ones, so a stall counts against everything
//! that arrives meanwhile: that measures latency under load.
//!
//! What is asked is made before by a [`Traffic`](mix::Traffic), after one of
//! YCSB's [mixes](mix::Mix).

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

/// Numbers of workers, unless [`WORKERS_VARIABLE`] says otherwise: one alone, and
/// a few more than a machine has cores up to many more.
pub const WORKERS: [usize; 5] = [1, 5, 10, 20, 50];

/// Other than numbers of workers were asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{WORKERS_VARIABLE} is {0:?}; expected numbers above 0, separated by commas, such as 3,7")]
pub struct NoWorkers(String);

/// The numbers of workers that the environment asks for, [`WORKERS`] if it does
/// not say.
///
/// # Errors
/// [`NoWorkers`] where they cannot be read.
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

/// What can be put under load. A clone is another handle to the same system.
pub trait System: Clone + Send + 'static {
    /// What it is asked to do.
    type Operation: Send + 'static;
    /// Why it could not.
    type Error: Send + 'static;

    /// Does it, and resolves when it is done.
    fn perform(&self, operation: Self::Operation) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What an engine is asked to do, made before it is timed.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Stores a memory.
    Store(NewMemory),
    /// Recalls.
    Recall(Query),
    /// Recalls, then stores: an agent that looks up what it knows and notes what
    /// has become of it.
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

/// Where time comes from; a test brings its own.
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

    /// Blocks the thread: tokio's timer wakes to a millisecond, which would bunch
    /// arrivals, and the system's to 50 microseconds. So whoever waits for this
    /// should be alone on its thread, as what `block_on` is given to.
    async fn sleep_until(&self, time: Duration) {
        std::thread::sleep(time.saturating_sub(self.now()));
    }
}

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Operations that were done: all, or there would be an error instead.
    pub operations: u64,
    /// From the first start to the last end.
    pub elapsed: Duration,
    /// What single operations took.
    pub latencies: Latencies,
}

impl Finished {
    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }
}

/// The next of `tasks` to end; a panic in one goes on here.
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
