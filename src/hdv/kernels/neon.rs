//! NEON: 128-bit registers whose bytes count their bits in one instruction.

use std::arch::aarch64::*;

use super::bitslice::Pair;
use super::portable::score;
use super::{Kernels, SKETCH_ROWS, bitslice, portable};

static KERNELS: Kernels = Kernels {
    name: "neon",
    hamming,
    hamming_rows,
    asymmetric_rows,
    xor_into,
    weighted_majority,
    quantise_sums,
    sketch_distances,
    sketch_scores,
};

/// The table, if this CPU can run it.
pub(super) fn detect() -> Option<&'static Kernels> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(&KERNELS)
}

/// Words in a register.
const LANES: usize = 2;

/// Registers whose counts, of at most 8 a byte, fit that byte.
const BYTE_BATCH: usize = 31;

// SAFETY: called only by functions of this file, which all enable NEON.
unsafe impl bitslice::Lanes for uint64x2_t {
    const WORDS: usize = LANES;

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        // SAFETY: the caller runs where NEON is.
        unsafe { vdupq_n_u64(word) }
    }
    #[inline(always)]
    unsafe fn load(words: &[u64], at: usize) -> Self {
        debug_assert!(at + LANES <= words.len());
        // SAFETY: as above, and the caller keeps the register inside.
        unsafe { vld1q_u64(words.as_ptr().add(at)) }
    }
    #[inline(always)]
    unsafe fn store(self, words: &mut [u64], at: usize) {
        debug_assert!(at + LANES <= words.len());
        // SAFETY: as above, and the caller keeps the register inside.
        unsafe { vst1q_u64(words.as_mut_ptr().add(at), self) }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        // SAFETY: the caller runs where NEON is; also below.
        unsafe { vandq_u64(self, other) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vorrq_u64(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { veorq_u64(self, other) }
    }
}

#[target_feature(enable = "neon")]
fn hamming(a: &[u64], b: &[u64]) -> u32 {
    let (a_registers, a_tail) = a.as_chunks::<LANES>();
    let (b_registers, b_tail) = b.as_chunks::<LANES>();
    let mut distance = portable::hamming(a_tail, b_tail);
    for (a, b) in a_registers.chunks(BYTE_BATCH).zip(b_registers.chunks(BYTE_BATCH)) {
        let mut bytes = vdupq_n_u8(0);
        for (a, b) in a.iter().zip(b) {
            bytes = vaddq_u8(bytes, count_bytes(load(a), load(b)));
        }
        distance += u32::from(vaddlvq_u8(bytes));
    }
    distance
}

#[target_feature(enable = "neon")]
fn hamming_rows(query: &[u64], rows: &[u64], out: &mut [u32]) {
    // No prefetching: its instruction is not stable in Rust.
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        *out = hamming(query, row);
    }
}

#[target_feature(enable = "neon")]
fn asymmetric_rows(planes: &[u64], count: usize, rows: &[u64], out: &mut [i32]) {
    let words = planes.len() / count;
    for (row, out) in rows.chunks_exact(words).zip(out) {
        let mut weighted = 0;
        for (plane, p) in planes.chunks_exact(words).zip(0..) {
            weighted += hamming(plane, row) << p;
        }
        *out = score(words, count, weighted);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(words: &[u64; LANES]) -> uint64x2_t {
    // SAFETY: the array is as long as a register.
    unsafe { vld1q_u64(words.as_ptr()) }
}

/// For each byte, the number of bits in which `a` and `b` differ.
#[inline]
#[target_feature(enable = "neon")]
fn count_bytes(a: uint64x2_t, b: uint64x2_t) -> uint8x16_t {
    vcntq_u8(vreinterpretq_u8_u64(veorq_u64(a, b)))
}

#[target_feature(enable = "neon")]
fn xor_into(a: &[u64], b: &[u64], out: &mut [u64]) {
    portable::xor_into(a, b, out);
}

/// The columns that are summed at once: 64 bytes, a cache line of each row.
type Block = Pair<Pair<uint64x2_t>>;

#[target_feature(enable = "neon")]
unsafe fn weighted_majority(rows: &[&[u64]], weights: &[u8], tie: &[u64], out: &mut [u64]) {
    // SAFETY: this function enables NEON; `Kernels` checked the lengths.
    unsafe { bitslice::weighted_majority::<Block>(rows, weights, tie, out) }
}

#[target_feature(enable = "neon")]
unsafe fn quantise_sums(rows: &[&[u64]], weights: &[u16], cuts: &[u32], out: &mut [u64]) {
    // SAFETY: as above.
    unsafe { bitslice::quantise_sums::<Block>(rows, weights, cuts, out) }
}

/// Registers that hold one word of every row of a block of sketches.
const BLOCK_REGISTERS: usize = SKETCH_ROWS / LANES;

#[target_feature(enable = "neon")]
fn sketch_distances(prefix: &[u64], blocks: &[u64], out: &mut [u16]) {
    let blocks = blocks.chunks_exact(prefix.len() * SKETCH_ROWS);
    let (out, _) = out.as_chunks_mut::<SKETCH_ROWS>();
    for (block, out) in blocks.zip(out) {
        for (out, distance) in out.iter_mut().zip(block_distances(prefix, block)) {
            *out = distance as u16;
        }
    }
}

#[target_feature(enable = "neon")]
fn sketch_scores(prefixes: &[u64], count: usize, blocks: &[u64], out: &mut [i32]) {
    let words = prefixes.len() / count;
    let blocks = blocks.chunks_exact(words * SKETCH_ROWS);
    let (out, _) = out.as_chunks_mut::<SKETCH_ROWS>();
    for (block, out) in blocks.zip(out) {
        let mut weighted = [0; SKETCH_ROWS];
        for (prefix, p) in prefixes.chunks_exact(words).zip(0..) {
            for (weighted, distance) in weighted.iter_mut().zip(block_distances(prefix, block)) {
                *weighted += (distance as u32) << p;
            }
        }
        for (out, weighted) in out.iter_mut().zip(weighted) {
            *out = score(words, count, weighted);
        }
    }
}

/// The distance of `prefix` to each row of a block.
#[inline]
#[target_feature(enable = "neon")]
fn block_distances(prefix: &[u64], block: &[u64]) -> [u64; SKETCH_ROWS] {
    let (words, _) = block.as_chunks::<SKETCH_ROWS>();
    let mut distances = [vdupq_n_u64(0); BLOCK_REGISTERS];
    for (prefix, words) in prefix.chunks(BYTE_BATCH).zip(words.chunks(BYTE_BATCH)) {
        let mut bytes = [vdupq_n_u8(0); BLOCK_REGISTERS];
        for (&query, rows) in prefix.iter().zip(words) {
            let query = vdupq_n_u64(query);
            let (rows, _) = rows.as_chunks::<LANES>();
            for (bytes, rows) in bytes.iter_mut().zip(rows) {
                *bytes = vaddq_u8(*bytes, count_bytes(query, load(rows)));
            }
        }
        for (distance, bytes) in distances.iter_mut().zip(bytes) {
            *distance = vaddq_u64(*distance, sum_bytes(bytes));
        }
    }
    let mut lanes = [0; SKETCH_ROWS];
    for (lanes, distance) in lanes.as_chunks_mut::<LANES>().0.iter_mut().zip(distances) {
        // SAFETY: the array is as long as a register.
        unsafe { vst1q_u64(lanes.as_mut_ptr(), distance) }
    }
    lanes
}

/// The sum of the bytes of each lane.
#[inline]
#[target_feature(enable = "neon")]
fn sum_bytes(bytes: uint8x16_t) -> uint64x2_t {
    vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes)))
}
