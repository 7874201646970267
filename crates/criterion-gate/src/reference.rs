//! Reference work: the same in every revision, run between the samples of a benchmark, so
//! that two runs show whether they met the same machine.
//!
//! A busy neighbor slows a whole run. Its samples then say nothing about the code, but
//! they look as sound as any. The reference work is slowed as well, and tells.
//!
//! A neighbor on the same core takes slices of some milliseconds. A pass is shorter, so few
//! passes meet a slice, but these take much longer. Therefore the passes take a fixed share
//! of the time, and their mean counts: it rises by as much as the samples do.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Words of the table: 32 KB, so that a pass leaves most of a benchmark's own data in the
/// caches.
const WORDS: usize = 1 << 12;

/// Steps of a pass, about 0.1 ms.
const STEPS: usize = 20_000;

/// Of the time since the last passes, one part in so many is spent on the next.
const ONE_IN: u32 = 10;

/// The most time that is spent at once.
const LONGEST: Duration = Duration::from_millis(100);

/// Times of reference work beside one benchmark.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    table: Vec<u64>,
    passes: u32,
    time: Duration,
    /// When the last passes ended.
    ended: Option<Instant>,
}

impl Reference {
    /// Works for a tenth of the time since it last did, at least once, and notes how long each
    /// pass took.
    pub fn work(&mut self) {
        let since = self.ended.map_or(Duration::ZERO, |ended| ended.elapsed());
        if self.table.is_empty() {
            self.table = (0..WORDS as u64).map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        }
        // So that what the benchmark left in the caches does not count.
        black_box(self.table.iter().fold(0u64, |sum, word| sum.wrapping_add(*word)));
        let budget = (since / ONE_IN).min(LONGEST);
        let started = Instant::now();
        loop {
            black_box(pass(&mut self.table));
            self.passes += 1;
            if started.elapsed() >= budget {
                break;
            }
        }
        let ended = Instant::now();
        self.time += ended - started;
        self.ended = Some(ended);
    }

    /// The mean time of a pass in nanoseconds; `None` if there was none.
    pub fn mean(&self) -> Option<f64> {
        (self.passes > 0).then(|| self.time.as_nanos() as f64 / f64::from(self.passes))
    }
}

/// Reads and writes the table in an order in which each step depends on the last.
#[inline(never)]
fn pass(table: &mut [u64]) -> u64 {
    let mut state = 1u64;
    for _ in 0..STEPS {
        if let Some(word) = table.get_mut(state as usize % WORDS) {
            state = state.rotate_left(23).wrapping_mul(0x2545_f491_4f6c_dd1d) ^ *word;
            *word = word.wrapping_add(state | 1);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_take_a_tenth_of_the_time_between_them_and_are_all_timed() {
        let mut reference = Reference::default();
        assert_eq!(reference.mean(), None);
        for _ in 0..5 {
            reference.work();
        }
        let few = reference.passes;
        assert!(few >= 5 && reference.mean().unwrap() > 0.0);
        reference.ended = reference.ended.map(|ended| ended - Duration::from_millis(200));
        let before = reference.time;
        reference.work();
        assert!(reference.time - before >= Duration::from_millis(20));
    }

    #[test]
    fn a_pass_does_the_same_work_and_depends_on_the_table() {
        let mut table: Vec<u64> = (0..WORDS as u64).collect();
        let first = pass(&mut table.clone());
        assert_eq!(pass(&mut table), first);
        assert_ne!(pass(&mut table), first, "it depends on what is in the table");
    }
}
