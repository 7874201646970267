//! Benchmarks of your own: the timed operation, its set-up, and a check that it measured what its
//! name says.

use std::error;
use std::time::Instant;

use criterion_gate::measure::{Kind, Latencies, Measurement};

/// An error in a benchmark.
pub type Failure = Box<dyn error::Error + Send + Sync>;

/// A single operation that is timed many times.
///
/// [`run_benchmarks`](crate::run::run_benchmarks) runs it without Criterion; in a
/// bench of Criterion's, `common::Latency::run` does. Either gives
/// `<group>/wall/<case>` and `<group>/p99/<case>`.
///
/// ```
/// use mnemocore_suite::benchmark::{Benchmark, Failure};
/// use mnemocore::{Config, Engine, MemoryId};
///
/// struct Get(Option<(Engine, MemoryId)>);
///
/// impl Benchmark for Get {
///     fn group(&self) -> String {
///         "get".into()
///     }
///
///     fn case(&self) -> String {
///         "1".into()
///     }
///
///     fn set_up(&mut self) -> Result<(), Failure> {
///         let engine = Engine::in_memory(Config::default())?;
///         let id = engine.store("The door code is 4711")?.id;
///         self.0 = Some((engine, id));
///         Ok(())
///     }
///
///     fn run(&mut self) -> Result<(), Failure> {
///         let (engine, id) = self.0.as_ref().ok_or("not set up")?;
///         std::hint::black_box(engine.get(*id)?);
///         Ok(())
///     }
/// }
/// ```
pub trait Benchmark {
    /// Its group, e.g. `recall_hot`, without a slash. Names are an interface: a renamed benchmark
    /// loses its baselines.
    fn group(&self) -> String;

    /// The case within the group, such as the number of memories.
    fn case(&self) -> String;

    /// Builds the state of the operation, and chooses its inputs. It is untimed, and called once
    /// before the first operation.
    ///
    /// # Errors
    /// Any error of the set-up.
    fn set_up(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// The operation. If it changes its state, it must leave it ready for the next one. Results go
    /// through [`black_box`](std::hint::black_box).
    ///
    /// # Errors
    /// Any failure, which ends the benchmark.
    fn run(&mut self) -> Result<(), Failure>;

    /// Checks that the benchmark measured what its name says. It is untimed, and called once at the
    /// end.
    ///
    /// # Errors
    /// The reason why the result would be wrong. Nothing is reported of such a benchmark.
    fn verify(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Times `samples * operations` operations, one by one, after a warm-up of a tenth as many. The
/// values are medians over the samples: of the mean time, and of the P99, as in Criterion's samples
/// of the same names.
pub(super) fn time(
    benchmark: &mut dyn Benchmark,
    samples: usize,
    operations: usize,
) -> Result<[Measurement; 2], Failure> {
    benchmark.set_up()?;
    for _ in 0..(samples * operations).div_ceil(10) {
        benchmark.run()?;
    }
    let (mut all, mut means, mut p99s) = (Latencies::new(), Vec::new(), Vec::new());
    let mut sample = Latencies::new();
    for _ in 0..samples {
        sample.clear();
        for _ in 0..operations {
            let started = Instant::now();
            benchmark.run()?;
            sample.record(started.elapsed());
        }
        means.push(sample.mean().as_nanos() as f64);
        p99s.push(sample.p99().as_nanos() as f64);
        all.merge(&sample);
    }
    benchmark.verify()?;
    let name = |kind: Kind| format!("{}/{}/{}", benchmark.group(), kind.as_str(), benchmark.case());
    Ok([(Kind::Wall, means), (Kind::P99, p99s)]
        .map(|(kind, values)| Measurement::timed(name(kind), kind, median(values), &all)))
}

/// Returns the median of `values`. For an even number it is the mean of the middle two; for none it
/// is not a number.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len().saturating_sub(1) / 2..=values.len() / 2;
    let of_middle = values.get(middle).unwrap_or_default();
    of_middle.iter().sum::<f64>() / of_middle.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counted {
        calls: [usize; 3],
        fails_at: Option<usize>,
    }

    impl Benchmark for Counted {
        fn group(&self) -> String {
            "counted".into()
        }

        fn case(&self) -> String {
            "1".into()
        }

        fn set_up(&mut self) -> Result<(), Failure> {
            self.calls[0] += 1;
            Ok(())
        }

        fn run(&mut self) -> Result<(), Failure> {
            self.calls[1] += 1;
            if self.fails_at == Some(self.calls[1]) { Err("broken".into()) } else { Ok(()) }
        }

        fn verify(&mut self) -> Result<(), Failure> {
            self.calls[2] += 1;
            Ok(())
        }
    }

    #[test]
    fn every_operation_is_counted_once_and_warm_up_is_not() {
        let mut counted = Counted::default();
        let [wall, p99] = time(&mut counted, 3, 50).unwrap();
        assert_eq!(counted.calls, [1, 15 + 150, 1]);
        assert_eq!((wall.name.as_str(), p99.name.as_str()), ("counted/wall/1", "counted/p99/1"));
        assert_eq!([Kind::of_name(&wall.name), Kind::of_name(&p99.name)], [wall.kind, p99.kind]);
        assert_eq!((wall.operations, p99.operations), (150, 150));
    }

    #[test]
    fn a_failing_operation_ends_the_benchmark() {
        let mut counted = Counted { fails_at: Some(40), ..Counted::default() };
        assert_eq!(time(&mut counted, 3, 50).unwrap_err().to_string(), "broken");
        assert_eq!(counted.calls, [1, 40, 0]);
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
        assert!(median(Vec::new()).is_nan());
    }
}
