//! Compares Hamming distance and encoding with their targets. Ratios come from rounds that alternate
//! in this process, so that noise affects both sides.

use std::hint::black_box;
use std::time::Instant;

use mnemocore::encoder::Encoder;
use mnemocore::internals::kernels;

use super::common::Recorder;
use super::{DRAM_BYTES, L2_BYTES, Rows, TEXTS, encode, encode_by_counters};

/// Prints the targets of Hamming distance and encoding.
pub(super) fn print(to: &mut Recorder) {
    let best = kernels::best();

    let mut rows = Rows::of_bytes(DRAM_BYTES);
    let (hamming, read) = (|rows: &mut Rows| rows.hamming(best), Rows::read);
    let ratio = median_ratio(15, 1, &mut rows, hamming, read);
    to.target("Hamming over DRAM", format!("{ratio:.2} of plain reading"), "<= 1.3", ratio <= 1.3);

    let mut rows = Rows::of_bytes(L2_BYTES);
    let ratio = median_ratio(101, 10, &mut rows, Rows::count_ones, hamming);
    let measured = format!("{ratio:.1} times faster than count_ones");
    to.target("Hamming in L2", measured, ">= 3.5", ratio >= 3.5);
    if cfg!(target_feature = "popcnt") {
        println!("  (built for a CPU with popcnt: this is not count_ones for baseline x86-64)");
    }

    let [(_, text), _] = TEXTS;
    let mut encoder = Encoder::default();
    let fast = |encoder: &mut Encoder| drop(black_box(encode(encoder, black_box(text))));
    let slow = |encoder: &mut Encoder| {
        drop(black_box(encode_by_counters(encoder, black_box(text))));
    };
    let ratio = median_ratio(101, 10, &mut encoder, slow, fast);
    let micros = median_seconds(101, 100, &mut encoder, fast) * 1e6;
    to.target("Encoding 12 words, terms known", format!("{micros:.1} us"), "<= 5 us", micros <= 5.0);
    let measured = format!("{ratio:.0} times faster than a counter per bit");
    to.target("Encoding 12 words", measured, ">= 30", ratio >= 30.0);
}

/// The median over `rounds` of the time of one pass.
fn median_seconds<S>(rounds: usize, passes: usize, state: &mut S, mut run: impl FnMut(&mut S)) -> f64 {
    let mut times: Vec<f64> = (0..rounds).map(|_| time(passes, state, &mut run) / passes as f64).collect();
    times.sort_by(f64::total_cmp);
    times[rounds / 2]
}

/// The seconds of `passes` passes.
fn time<S>(passes: usize, state: &mut S, run: &mut impl FnMut(&mut S)) -> f64 {
    // Not timed: the first pass fills the caches with what it works on.
    run(state);
    let start = Instant::now();
    for _ in 0..passes {
        run(state);
    }
    start.elapsed().as_secs_f64()
}

/// The median over `rounds` of the time of `a` divided by that of `b`. Each round runs both, in
/// alternating order, so that noise affects both.
fn median_ratio<S>(
    rounds: usize,
    passes: usize,
    state: &mut S,
    mut a: impl FnMut(&mut S),
    mut b: impl FnMut(&mut S),
) -> f64 {
    let mut ratios: Vec<f64> = (0..rounds)
        .map(|round| {
            let (time_a, time_b);
            if round.is_multiple_of(2) {
                time_a = time(passes, state, &mut a);
                time_b = time(passes, state, &mut b);
            } else {
                time_b = time(passes, state, &mut b);
                time_a = time(passes, state, &mut a);
            }
            time_a / time_b
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[rounds / 2]
}
