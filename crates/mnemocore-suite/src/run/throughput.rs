//! Operations per second of several threads.

use std::hint::black_box;
use std::panic::resume_unwind;
use std::sync::Barrier;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::latency::{check_grown, group, open_to_grow, queries};
use super::{RunConfig, RunError};
use crate::benchmark::median;
use crate::fixture::new_texts;
use criterion_gate::measure::{Kind, Measurement};
use mnemocore::Error;

/// Measures recalls and stores per second in each of [`RunConfig::sizes`] with
/// every number of [`RunConfig::workers`], as `recall_hot_threads/throughput/4`.
///
/// Threads start behind a barrier and share [`RunConfig::operations`] of a sample;
/// each waits for its operation before the next, so this is a closed loop. Nothing
/// is generated while the clock runs.
///
/// # Errors
/// [`RunError`].
pub fn run_throughput(config: &RunConfig) -> Result<Vec<Measurement>, RunError> {
    config.check()?;
    let mut measured = Vec::new();
    for &(tier, memories) in &config.sizes {
        let fixture = config.fixture(tier, memories);
        let (folder, engine) = config.fill(fixture)?;
        let queries = queries(fixture, &engine)?;
        measured.extend(by_workers(config, &group("recall", tier), &queries, |query| {
            black_box(engine.recall(query)?);
            Ok(())
        })?);
        fixture.check(&engine)?;
        drop(engine);
        let engine = open_to_grow(fixture, folder.path())?;
        let texts = new_texts(config.seed, config.operations);
        measured.extend(by_workers(config, &group("store", tier), &texts, |text| {
            black_box(engine.store(text.as_str())?);
            Ok(())
        })?);
        check_grown(fixture, &engine)?;
    }
    config.save(&measured)?;
    Ok(measured)
}

/// One verb with every number of threads.
fn by_workers<T: Sync>(
    config: &RunConfig,
    group: &str,
    inputs: &[T],
    operation: impl Fn(&T) -> Result<(), Error> + Sync,
) -> Result<Vec<Measurement>, RunError> {
    let mut measured = Vec::new();
    for &workers in &config.workers {
        let mut rates = Vec::with_capacity(config.samples);
        // The first sample warms up.
        for sample in 0..=config.samples {
            let elapsed = time(workers, config.operations, inputs, &operation)?;
            if sample > 0 {
                rates.push(config.operations as f64 / elapsed.as_secs_f64());
            }
        }
        let name = format!("{group}_threads/{}/{workers}", Kind::Throughput.as_str());
        measured.push(Measurement::new(name, Kind::Throughput, median(rates)));
    }
    Ok(measured)
}

/// Measures the time of `operations` operations by `workers` threads on `inputs`, in turn.
fn time<T: Sync>(
    workers: usize,
    operations: usize,
    inputs: &[T],
    operation: &(impl Fn(&T) -> Result<(), Error> + Sync),
) -> Result<Duration, Error> {
    let barrier = Barrier::new(workers);
    let work = |worker: usize| {
        let inputs = inputs.iter().cycle().skip(worker).step_by(workers);
        // If the operations do not divide evenly, the first threads do one more.
        let share = operations / workers + usize::from(worker < operations % workers);
        barrier.wait();
        let started = Instant::now();
        inputs.take(share).try_for_each(operation)?;
        Ok((started, Instant::now()))
    };
    let outcomes: Result<Vec<(Instant, Instant)>, Error> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let work = &work;
                scope.spawn(move || work(worker))
            })
            .collect();
        // A panic of the engine's is resumed here.
        let join =
            |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().map(join).collect()
    });
    // From the first that starts to the last that ends.
    let (started, ended): (Vec<Instant>, Vec<Instant>) = outcomes?.into_iter().unzip();
    let elapsed = started.iter().min().zip(ended.iter().max());
    Ok(elapsed.map_or(Duration::ZERO, |(&started, &ended)| ended - started))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn threads_share_exactly_the_operations_of_a_sample() {
        for (workers, operations) in [(1, 10), (3, 10), (7, 3)] {
            let counts: [AtomicUsize; 4] = Default::default();
            let count = |&input: &usize| {
                counts[input].fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            time(workers, operations, &[0, 1, 2, 3], &count).unwrap();
            let all: usize = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
            assert_eq!(all, operations, "{workers} threads");
        }
    }

    #[test]
    fn an_error_in_one_thread_is_the_error_of_all() {
        let fail = |&input: &usize| if input == 2 { Err(Error::Locked { path: "x".into() }) } else { Ok(()) };
        assert!(time(2, 8, &[0, 1, 2, 3], &fail).is_err());
    }
}
