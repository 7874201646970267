//! The open loop: operations arrive at a fixed rate, and their latency counts
//! from when they should have begun.
//!
//! A closed loop asks less while the system stalls, so it leaves out exactly the operations that
//! would have waited: coordinated omission (Tene, "How not to measure latency"). Here each
//! operation has its intended start. Any delay after it, by the system or by the load itself, is
//! part of the latency.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Clock, Finished, System, ended, next_done};
use criterion_gate::measure::Latencies;

/// Starts `operations` at `rate` per second, evenly spaced, whether or not earlier
/// ones are done, and waits for all of them.
///
/// # Errors
/// The first error of any operation. Those that still run are stopped.
///
/// # Panics
/// If an operation does, or outside of a tokio runtime.
pub async fn run<S: System>(
    system: &S,
    operations: Vec<S::Operation>,
    rate: f64,
    clock: &impl Clock,
) -> Result<Finished, S::Error> {
    let (mut tasks, mut done, mut latencies) = (JoinSet::new(), 0, Latencies::new());
    let start = clock.now();
    for (number, operation) in operations.into_iter().enumerate() {
        let intended = start + Duration::from_secs_f64(number as f64 / rate);
        clock.sleep_until(intended).await;
        let (system, clock) = (system.clone(), clock.clone());
        tasks.spawn(async move {
            system.perform(operation).await?;
            Ok(clock.now() - intended)
        });
        // Errors at once, and nothing that piles up.
        while let Some(latency) = tasks.try_join_next() {
            latencies.record(ended(latency)?);
            done += 1;
        }
    }
    while let Some(latency) = next_done(&mut tasks).await {
        latencies.record(latency?);
        done += 1;
    }
    Ok(Finished { operations: done, elapsed: clock.now() - start, latencies })
}

/// A search for the highest rate whose P99 stays within a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// The limit of the P99.
    pub limit: Duration,
    /// The rate to begin with, per second.
    pub start: f64,
    /// No lower rate is tried.
    pub lowest: f64,
    /// No higher rate is tried.
    pub highest: f64,
    /// The search ends when the ratio of the failing rate to the holding rate is at most this.
    pub precision: f64,
}

impl Search {
    /// Returns the highest rate found whose P99, measured by `p99_at`, is within the limit. It
    /// doubles or halves the rate until one rate holds and one fails, then bisects between the two.
    /// Returns `None` if the lowest rate fails.
    ///
    /// # Errors
    /// The first error of `p99_at`.
    pub fn run<E>(&self, mut p99_at: impl FnMut(f64) -> Result<Duration, E>) -> Result<Option<f64>, E> {
        let mut holds = |rate| Ok(p99_at(rate)? <= self.limit);
        let (mut held, mut failed) = (None, None);
        let mut rate = self.start.clamp(self.lowest, self.highest);
        loop {
            *(if holds(rate)? { &mut held } else { &mut failed }) = Some(rate);
            rate = match (held, failed) {
                (Some(held), None) if held < self.highest => (2.0 * held).min(self.highest),
                (None, Some(failed)) if failed > self.lowest => (failed / 2.0).max(self.lowest),
                // The mean of their logarithms: equal ratios on both sides.
                (Some(held), Some(failed)) if failed / held > self.precision => (held * failed).sqrt(),
                _ => return Ok(held),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::closed;
    use proptest::prelude::*;
    use std::convert::Infallible;
    use std::sync::Arc;
    use tokio::sync::Mutex;
    use tokio::time;

    /// The logical clock of a tokio runtime whose time is paused: it moves on when
    /// every task waits.
    #[derive(Clone, Copy)]
    struct Logical(time::Instant);

    impl Clock for Logical {
        fn now(&self) -> Duration {
            self.0.elapsed()
        }

        async fn sleep_until(&self, time: Duration) {
            time::sleep_until(self.0 + time).await;
        }
    }

    /// Serves one operation at a time, a millisecond each, and stops once.
    #[derive(Clone)]
    struct Stalling {
        served: Arc<Mutex<usize>>,
        stall: Duration,
    }

    impl System for Stalling {
        type Operation = ();
        type Error = Infallible;

        async fn perform(&self, (): ()) -> Result<(), Infallible> {
            let mut served = self.served.lock().await;
            *served += 1;
            let stall = if *served == 300 { self.stall } else { Duration::ZERO };
            time::sleep(Duration::from_millis(1) + stall).await;
            Ok(())
        }
    }

    fn stalling(stall: Duration) -> (Stalling, Logical) {
        (Stalling { served: Arc::default(), stall }, Logical(time::Instant::now()))
    }

    /// A thousand operations in two seconds, of which the system stands still for
    /// one: half of all that arrive have to wait, and one in a thousand of those
    /// that are asked one after the other.
    #[tokio::test(start_paused = true)]
    async fn a_stall_is_in_the_p99_of_the_open_loop_and_not_of_the_closed() {
        let second = Duration::from_secs(1);
        let (system, clock) = stalling(second);
        let closed = closed::run(&system, vec![(); 1000], 1, &clock).await.unwrap();
        let (system, clock) = stalling(second);
        let open = run(&system, vec![(); 1000], 500.0, &clock).await.unwrap();

        assert_eq!((closed.operations, open.operations), (1000, 1000));
        assert!(closed.latencies.p99() < Duration::from_millis(3), "closed: {}", closed.latencies);
        assert!(closed.latencies.max() >= second, "closed: {}", closed.latencies);
        assert!(open.latencies.p99() > Duration::from_millis(900), "open: {}", open.latencies);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_stall_both_loops_agree() {
        let (system, clock) = stalling(Duration::ZERO);
        let open = run(&system, vec![(); 1000], 500.0, &clock).await.unwrap();
        assert!(open.latencies.p99() < Duration::from_millis(3), "open: {}", open.latencies);
        // 999 gaps of 2 ms and the last operation.
        assert!((1_999..2_003).contains(&open.elapsed.as_millis()), "{:?}", open.elapsed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_above_capacity_piles_up_and_shows() {
        let (system, clock) = stalling(Duration::ZERO);
        // Twice what it can serve: the last of a second waits for another second.
        let open = run(&system, vec![(); 2000], 2000.0, &clock).await.unwrap();
        assert_eq!(open.operations, 2000);
        assert!(open.latencies.p99() > Duration::from_millis(900), "open: {}", open.latencies);
        assert!(open.rate() < 1100.0, "{}", open.rate());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_ends_the_load_and_is_returned() {
        #[derive(Clone)]
        struct Refusing;
        impl System for Refusing {
            type Operation = u32;
            type Error = u32;
            async fn perform(&self, operation: u32) -> Result<(), u32> {
                if operation == 5 { Err(operation) } else { Ok(()) }
            }
        }
        let clock = Logical(time::Instant::now());
        assert_eq!(run(&Refusing, (0..10).collect(), 1000.0, &clock).await.unwrap_err(), 5);
        // Long before the last would have come.
        assert!(clock.now() < Duration::from_millis(9), "{:?}", clock.now());
    }

    const SEARCH: Search = Search {
        limit: Duration::from_millis(5),
        start: 1000.0,
        lowest: 50.0,
        highest: 1e6,
        precision: 1.05,
    };

    #[test]
    fn a_system_that_never_holds_has_no_rate_and_one_that_always_does_the_highest() {
        let never = SEARCH.run(|_| Ok::<_, Infallible>(Duration::from_millis(6))).unwrap();
        assert_eq!(never, None);
        let always = SEARCH.run(|_| Ok::<_, Infallible>(Duration::from_millis(5))).unwrap();
        assert_eq!(always, Some(SEARCH.highest));
        assert_eq!(SEARCH.run(|_| Err("refused")), Err("refused"));
    }

    proptest! {
        #[test]
        fn the_rate_found_is_just_below_capacity(capacity in 51.0f64..9e5) {
            let mut trials = 0;
            let found = SEARCH.run(|rate| {
                trials += 1;
                let over = if rate <= capacity { 1 } else { 9 };
                Ok::<_, Infallible>(Duration::from_millis(over))
            });
            let found = found.unwrap().unwrap();
            prop_assert!(found <= capacity && found * SEARCH.precision >= capacity, "{found} of {capacity}");
            prop_assert!(trials <= 17, "{trials} trials");
        }
    }
}
