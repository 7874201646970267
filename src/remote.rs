//! Calls to other machines, with time limits, attempts and counters. The engine is synchronous, so
//! its threads wait for them here.
use std::future::Future;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use crate::error::Error;
use crate::telemetry::{self, Count};

/// Threads that wait for other machines, for all engines of the process.
const THREADS: usize = 2;

/// The least time limit of a call: less than this is no time for an answer.
const LEAST_CALL: Duration = Duration::from_millis(10);

/// The greatest time limit of a call. PostgreSQL takes none of a month.
const MOST_CALL: Duration = Duration::from_secs(86_400);

/// The most attempts of a call. So many, with a minute between two, take 17 hours.
const MOST_ATTEMPTS: u32 = 1_000;

/// The longest mean pause between two attempts.
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// Time limits and attempts of a call to another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time limit of one call, besides the time that its content takes at a million bytes
    /// per second. From 10 milliseconds to one day.
    pub call: Duration,
    /// Attempts before the call fails, including the first one. From 1 to 1,000.
    pub attempts: u32,
    /// The mean pause before the second attempt, at most one minute. It doubles with each further attempt,
    /// up to one minute, and is drawn at random, so that machines that were cut off together do not
    /// return together.
    pub pause: Duration,
}

impl Default for Limits {
    /// Half a minute in total if a machine does not answer: enough for the restart of a server.
    fn default() -> Self {
        Self { call: Duration::from_secs(7), attempts: 4, pause: Duration::from_millis(100) }
    }
}

impl Limits {
    /// Refuses limits with which no call succeeds, or one that fails takes forever.
    pub(crate) fn check(self) -> Result<(), Error> {
        let Self { call, attempts, pause } = self;
        let invalid = |name, expected, received| Err(Error::InvalidConfig { name, expected, received });
        if !(LEAST_CALL..=MOST_CALL).contains(&call) {
            return invalid("remote.call", "from 10 milliseconds to one day", format!("{call:?}"));
        }
        if !(1..=MOST_ATTEMPTS).contains(&attempts) {
            return invalid("remote.attempts", "from 1 to 1,000", attempts.to_string());
        }
        if pause > MOST_PAUSE {
            return invalid("remote.pause", "at most one minute", format!("{pause:?}"));
        }
        Ok(())
    }

    /// The limits of a call that carries `bytes` bytes.
    pub(crate) fn carrying(self, bytes: u64) -> Self {
        Self { call: self.call.saturating_add(Duration::from_micros(bytes)), ..self }
    }
}

/// Requests to another machine and their bytes, since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests, each attempt counted.
    pub requests: u64,
    /// Bytes of contents sent.
    pub sent: u64,
    /// Bytes of contents received.
    pub received: u64,
}

/// Counts [`Traffic`], and attempts after the first.
#[derive(Debug, Default)]
pub struct Counter {
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    retries: Count,
}

impl Counter {
    /// Counts one request that sends so many bytes.
    pub(crate) fn request(&self, sent: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(sent as u64, Ordering::Relaxed);
    }

    /// Counts the bytes of an answer.
    pub(crate) fn answer(&self, received: usize) {
        self.received.fetch_add(received as u64, Ordering::Relaxed);
    }

    /// Returns the number of attempts after the first of a call.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.get()
    }

    /// Returns the traffic so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic { requests: read(&self.requests), sent: read(&self.sent), received: read(&self.received) }
    }
}

/// Why one attempt of a call failed.
pub(crate) trait Failed {
    /// Whether the same call may succeed later.
    fn passes(&self) -> bool;

    /// What it says, without credentials.
    fn reason(&self) -> String;
}

/// The reason why a call has no answer.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    /// All attempts failed with errors that may pass.
    Unreachable(Error),
    /// The other machine refused the call.
    Refused(E),
}

/// Repeats a call until it succeeds, is refused, or reaches `limits`.
pub(crate) async fn attempt<T, E: Failed, F: Future<Output = Result<T, E>>>(
    limits: Limits,
    what: &str,
    action: &'static str,
    counter: &Counter,
    mut call: impl FnMut() -> F,
) -> Result<T, Failure<E>> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let message = match timeout(limits.call, call()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if !error.passes() => return Err(Failure::Refused(error)),
            Ok(Err(error)) => error.reason(),
            Err(_) => format!("no answer within {:?}", limits.call),
        };
        if attempts >= limits.attempts {
            telemetry::given_up(what, action, attempts, &message);
            let what = what.to_owned();
            return Err(Failure::Unreachable(Error::Unreachable { what, action, attempts, message }));
        }
        telemetry::retried(what, action, attempts, limits.attempts, &message);
        counter.retries.add(1);
        let doubled = limits.pause.saturating_mul(1 << (attempts - 1).min(16));
        sleep(doubled.min(MOST_PAUSE).mul_f64(0.5 + fastrand::f64())).await;
    }
}

/// Runs `work` on the threads for other machines and waits for it. It may be called from anywhere,
/// including a task of another runtime.
///
/// # Errors
/// [`Error::Io`] if the threads cannot be started, or if `work` has panicked.
pub(crate) fn wait<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
    static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("mnemocore-remote")
            .enable_all()
            .build()
    });
    let failed =
        |message: String| Error::io("threads for other machines".as_ref(), std::io::Error::other(message));
    let runtime = RUNTIME.as_ref().map_err(|error| failed(error.to_string()))?;
    let (sender, answer) = std::sync::mpsc::sync_channel(1);
    // The receiver is gone only if its thread has ended.
    // Within the span of the verb that waits.
    runtime.spawn(async move { drop(sender.send(work.await)) }.in_current_span());
    answer.recv().map_err(|_| failed("the call has panicked".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Limits =
        Limits { call: Duration::from_millis(20), attempts: 3, pause: Duration::from_millis(1) };

    impl Failed for &str {
        fn passes(&self) -> bool {
            *self != "no"
        }

        fn reason(&self) -> String {
            (*self).into()
        }
    }

    /// The answer, the number of calls, and that of the retries.
    fn attempt_now<T: Send + 'static>(
        mut call: impl FnMut(u32) -> Result<T, &'static str> + Send + 'static,
    ) -> (Result<T, Failure<&'static str>>, u32, u64) {
        wait(async move {
            let (mut calls, counter) = (0, Counter::default());
            let answer = attempt(QUICK, "a server", "answer", &counter, || {
                calls += 1;
                std::future::ready(call(calls))
            })
            .await;
            (answer, calls, counter.retries())
        })
        .unwrap()
    }

    #[test]
    fn what_passes_is_tried_again_and_what_is_refused_is_not() {
        let (answer, calls, retries) = attempt_now(|call| if call < 3 { Err("busy") } else { Ok(call) });
        assert_eq!((answer.unwrap(), calls, retries), (3, 3, 2));
        let (answer, calls, retries) = attempt_now(|_| Err::<(), _>("no"));
        assert!(matches!(answer, Err(Failure::Refused("no"))));
        assert_eq!((calls, retries), (1, 0));
    }

    #[test]
    fn after_the_last_attempt_the_error_says_what_was_tried_and_how_often() {
        let (answer, calls, _) = attempt_now(|_| Err::<(), _>("busy"));
        let Err(Failure::Unreachable(error)) = answer else { panic!("it was answered") };
        assert_eq!(calls, 3);
        let text = error.to_string();
        assert!(text.contains("a server") && text.contains("3 attempts") && text.contains("busy"), "{text}");
    }

    #[test]
    fn a_call_without_an_answer_ends_with_its_time_limit() {
        let answer = wait(async {
            let pending = std::future::pending::<Result<(), &str>>;
            attempt(QUICK, "a server", "answer", &Counter::default(), pending).await
        });
        let Err(Failure::Unreachable(error)) = answer.unwrap() else { panic!("it was answered") };
        assert!(error.to_string().contains("no answer within 20ms"), "{error}");
    }

    #[test]
    fn waiting_works_within_a_task_of_another_runtime() {
        let runtime = Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(async { wait(async { 7 }).unwrap() }), 7);
    }

    #[test]
    fn a_call_that_panics_is_an_error() {
        assert!(wait(async { panic!("on purpose") }).is_err());
    }
}
