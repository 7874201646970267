//! Reference work: the same in every revision, run between the samples of a benchmark, so
//! that two runs show whether they met the same machine.
//!
//! A busy neighbor slows a whole run. Its samples then say nothing about the code, but
//! they look as sound as any. The reference work is slowed as well, and tells.

use std::hint::black_box;
use std::time::Instant;

use super::gate::statistics::median;

/// Words of the table: 32 KB, so that a pass leaves most of a benchmark's own data in the
/// caches.
const WORDS: usize = 1 << 12;

/// Steps of a pass, about 0.1 ms.
const STEPS: usize = 20_000;

/// Times of reference work beside one benchmark.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    table: Vec<u64>,
    nanoseconds: Vec<f64>,
}

impl Reference {
    /// Works once, and notes how long that took.
    pub fn pass(&mut self) {
        if self.table.is_empty() {
            self.table = (0..WORDS as u64).map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        }
        let started = Instant::now();
        black_box(work(&mut self.table));
        self.nanoseconds.push(started.elapsed().as_nanos() as f64);
    }

    /// The median of all passes in nanoseconds; `None` if there were none.
    pub fn median(&self) -> Option<f64> {
        median(&self.nanoseconds)
    }
}

/// Reads and writes the table in an order in which each step depends on the last.
#[inline(never)]
fn work(table: &mut [u64]) -> u64 {
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
    fn every_pass_is_timed_and_does_the_same_work() {
        let mut reference = Reference::default();
        assert_eq!(reference.median(), None);
        for _ in 0..5 {
            reference.pass();
        }
        assert!(reference.nanoseconds.len() == 5 && reference.median().unwrap() > 0.0);
        let mut table: Vec<u64> = (0..WORDS as u64).collect();
        let first = work(&mut table.clone());
        assert_eq!(work(&mut table), first);
        assert_ne!(work(&mut table), first, "it depends on what is in the table");
    }
}
