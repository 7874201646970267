//! The kernels in plain Rust, for every CPU, and the twin that the others are
//! tested against. Written for clarity; the compiler may vectorise it.

use super::{Kernels, SKETCH_ROWS, bitslice};

pub(super) static KERNELS: Kernels = Kernels {
    name: "portable",
    hamming,
    hamming_rows,
    asymmetric_rows,
    xor_into,
    weighted_majority,
    quantise_sums,
    sketch_distances,
    sketch_scores,
};

#[inline(always)]
pub(super) fn hamming(a: &[u64], b: &[u64]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

fn hamming_rows(query: &[u64], rows: &[u64], out: &mut [u32]) {
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        *out = hamming(query, row);
    }
}

fn asymmetric_rows(planes: &[u64], count: usize, rows: &[u64], out: &mut [i32]) {
    let words = planes.len() / count;
    for (row, out) in rows.chunks_exact(words).zip(out) {
        let planes = planes.chunks_exact(words).enumerate();
        let weighted: u32 = planes.map(|(p, plane)| hamming(plane, row) << p).sum();
        *out = score(words, count, weighted);
    }
}

/// The score whose weighted distance, `sum_p 2^p * hamming(plane p, row)`, is
/// `weighted`.
#[inline(always)]
pub(super) fn score(words: usize, count: usize, weighted: u32) -> i32 {
    ((words as i32 * 64) << count) - words as i32 * 64 - 2 * weighted as i32
}

#[inline(always)]
pub(super) fn xor_into(a: &[u64], b: &[u64], out: &mut [u64]) {
    for ((a, b), out) in a.iter().zip(b).zip(out) {
        *out = a ^ b;
    }
}

fn weighted_majority(rows: &[&[u64]], weights: &[u8], tie: &[u64], out: &mut [u64]) {
    // SAFETY: `u64` needs no special instructions; `Kernels` checked the lengths.
    unsafe { bitslice::weighted_majority::<u64>(rows, weights, tie, out) }
}

fn quantise_sums(rows: &[&[u64]], weights: &[u16], cuts: &[u32], out: &mut [u64]) {
    // SAFETY: as above.
    unsafe { bitslice::quantise_sums::<u64>(rows, weights, cuts, out) }
}

fn sketch_distances(prefix: &[u64], blocks: &[u64], out: &mut [u16]) {
    let blocks = blocks.chunks_exact(prefix.len() * SKETCH_ROWS);
    for (block, out) in blocks.zip(out.chunks_exact_mut(SKETCH_ROWS)) {
        out.fill(0);
        for (query, words) in prefix.iter().zip(block.chunks_exact(SKETCH_ROWS)) {
            for (out, word) in out.iter_mut().zip(words) {
                *out += (query ^ word).count_ones() as u16;
            }
        }
    }
}

fn sketch_scores(prefixes: &[u64], count: usize, blocks: &[u64], out: &mut [i32]) {
    let words = prefixes.len() / count;
    let blocks = blocks.chunks_exact(words * SKETCH_ROWS);
    for (block, out) in blocks.zip(out.chunks_exact_mut(SKETCH_ROWS)) {
        let mut weighted = [0; SKETCH_ROWS];
        for (p, prefix) in prefixes.chunks_exact(words).enumerate() {
            let mut distances = [0; SKETCH_ROWS];
            sketch_distances(prefix, block, &mut distances);
            for (weighted, distance) in weighted.iter_mut().zip(distances) {
                *weighted += u32::from(distance) << p;
            }
        }
        for (out, weighted) in out.iter_mut().zip(weighted) {
            *out = score(words, count, weighted);
        }
    }
}
