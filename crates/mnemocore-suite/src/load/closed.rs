//! The closed loop: each worker asks again when it has its answer.

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Clock, Finished, System, next_done};
use criterion_gate::measure::Latencies;

/// Lets `workers` tasks (at least one) do `operations`, each its share one after the
/// other. They begin together, when all are there; nothing is made while they run.
///
/// Latencies are those of a closed loop: what would have been asked while the
/// system stalls is not in them. See [`open`](super::open).
///
/// # Errors
/// The first error of any operation. Workers that still run are stopped.
///
/// # Panics
/// If an operation does, or outside of a tokio runtime.
pub async fn run<S: System>(
    system: &S,
    operations: Vec<S::Operation>,
    workers: usize,
    clock: &impl Clock,
) -> Result<Finished, S::Error> {
    let shares = share(operations, workers.max(1));
    let barrier = Arc::new(Barrier::new(shares.len()));
    let mut tasks = JoinSet::new();
    for share in shares {
        let (system, clock, barrier) = (system.clone(), clock.clone(), barrier.clone());
        let mut latencies = Latencies::new();
        tasks.spawn(async move {
            barrier.wait().await;
            let started = clock.now();
            let mut last = started;
            for operation in share {
                system.perform(operation).await?;
                let now = clock.now();
                latencies.record(now - last);
                last = now;
            }
            Ok((started, last, latencies))
        });
    }
    let (mut first, mut last, mut latencies) = (None, None, Latencies::new());
    while let Some(done) = next_done(&mut tasks).await {
        let (started, ended, some) = done?;
        first = Some(first.map_or(started, |first| started.min(first)));
        last = last.max(Some(ended));
        latencies.merge(&some);
    }
    let elapsed = last.zip(first).map(|(last, first)| last - first).unwrap_or_default();
    Ok(Finished { operations: latencies.len(), elapsed, latencies })
}

/// Deals `items` out to `workers`, one at a time.
fn share<T>(items: Vec<T>, workers: usize) -> Vec<Vec<T>> {
    let mut shares: Vec<Vec<T>> = Vec::new();
    shares.resize_with(workers, || Vec::with_capacity(items.len().div_ceil(workers)));
    for (item, worker) in items.into_iter().zip((0..workers).cycle()) {
        shares[worker].push(item);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::WallClock;
    use proptest::prelude::*;
    use std::sync::Mutex;

    /// Notes what it is asked for; odd numbers are errors if it says so.
    #[derive(Clone, Default)]
    struct Noting {
        asked: Arc<Mutex<Vec<usize>>>,
        refuses_odd: bool,
    }

    impl System for Noting {
        type Operation = usize;
        type Error = usize;

        async fn perform(&self, operation: usize) -> Result<(), usize> {
            self.asked.lock().unwrap().push(operation);
            if self.refuses_odd && operation % 2 == 1 { Err(operation) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn all_operations_are_done_once() {
        for (operations, workers) in [(1000, 7), (3, 50), (0, 5), (10, 1)] {
            let system = Noting::default();
            let finished =
                run(&system, (0..operations).collect(), workers, &WallClock::start()).await.unwrap();
            let mut asked = system.asked.lock().unwrap().clone();
            asked.sort_unstable();
            assert_eq!(asked, (0..operations).collect::<Vec<_>>());
            assert_eq!(finished.operations, operations as u64);
        }
    }

    /// On one thread, tasks run in the order in which they were spawned. Without the barrier the
    /// first worker would do its first operation before the last one has started. With it, the last
    /// worker to arrive begins.
    #[tokio::test]
    async fn nobody_begins_before_all_are_there() {
        let system = Noting::default();
        run(&system, (0..100).collect(), 10, &WallClock::start()).await.unwrap();
        let first = system.asked.lock().unwrap()[0];
        assert_eq!(first, 9, "the first operation is the last worker's");
    }

    #[tokio::test]
    async fn an_error_ends_the_load_and_is_returned() {
        let system = Noting { refuses_odd: true, ..Noting::default() };
        let error = run(&system, vec![2, 4, 6, 7, 8, 10], 2, &WallClock::start()).await.unwrap_err();
        assert_eq!(error, 7);
    }

    #[tokio::test]
    #[should_panic(expected = "a bug in the system")]
    async fn a_panic_in_a_worker_is_not_swallowed() {
        #[derive(Clone)]
        struct Broken;
        impl System for Broken {
            type Operation = ();
            type Error = ();
            async fn perform(&self, (): ()) -> Result<(), ()> {
                panic!("a bug in the system");
            }
        }
        let _ = run(&Broken, vec![()], 1, &WallClock::start()).await;
    }

    proptest! {
        #[test]
        fn shares_differ_by_one_at_most_and_keep_the_order(items in 0usize..200, workers in 1usize..60) {
            let shares = share((0..items).collect::<Vec<_>>(), workers);
            prop_assert_eq!(shares.len(), workers);
            prop_assert_eq!(shares.iter().map(Vec::len).sum::<usize>(), items);
            for (worker, share) in shares.iter().enumerate() {
                prop_assert!(share.len() == items / workers || share.len() == items / workers + 1);
                prop_assert!(share.iter().enumerate().all(|(nth, &item)| item == worker + nth * workers));
            }
        }
    }
}
