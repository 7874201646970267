//! A simulated noisy neighbor: threads that keep every core busy.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cli::MOST_THREADS;

/// The period in which each thread works once and rests once.
const PERIOD: Duration = Duration::from_millis(4);

/// Keeps every core busy until it is dropped.
pub(super) struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// Starts `per_core` threads on each core. A fraction makes the threads rest part of the time.
    pub(super) fn start(per_core: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let whole = per_core.clamp(0.0, MOST_THREADS).ceil();
        let work = PERIOD.mul_f64(if whole > 0.0 { (per_core / whole).min(1.0) } else { 0.0 });
        let threads = (0..cores * whole as usize).map(|number| {
            let stop = stop.clone();
            thread::spawn(move || {
                stay_on(number % cores);
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    while started.elapsed() < work {
                        hint::spin_loop();
                    }
                    thread::sleep(PERIOD - work);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }
}

/// Pins this thread to one core, if the system allows it. Otherwise busy threads could share a core
/// and leave another one to the measured process.
fn stay_on(core: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let Ok(allowed) = sched_getaffinity(None) else { return };
        let Some(cpu) = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).nth(core) else { return };
        let mut one = CpuSet::new();
        one.set(cpu);
        // If pinning fails, the thread is still busy on some core.
        let _ = sched_setaffinity(None, &one);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}
