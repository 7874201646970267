//! AVX-512 with VPOPCNTDQ: 512-bit registers whose lanes count their bits in one
//! instruction, three-input logic for the adders, and masked tails.

use std::arch::x86_64::*;

use super::bitslice::{Lanes, Pair};
use super::portable::score;
use super::{Kernels, SKETCH_ROWS, bitslice, portable};

static KERNELS: Kernels = Kernels {
    name: "avx512",
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
    let runs = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq");
    runs.then_some(&KERNELS)
}

/// Words in a register, which is also a cache line.
const LANES: usize = 8;

/// Prefetch distance of a scan, in words. Hardware prefetchers stop at the end of each page; two
/// vectors of the default dimension reach over it.
const PREFETCH_WORDS: usize = 512;

// SAFETY: called only by functions of this file, which all enable AVX-512F.
unsafe impl Lanes for __m512i {
    const WORDS: usize = LANES;

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        // SAFETY: the caller runs where AVX-512F is.
        unsafe { _mm512_set1_epi64(word as i64) }
    }
    #[inline(always)]
    unsafe fn load(words: &[u64], at: usize) -> Self {
        debug_assert!(at + LANES <= words.len());
        // SAFETY: as above, and the caller keeps the register inside.
        unsafe { _mm512_loadu_epi64(words.as_ptr().add(at).cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, words: &mut [u64], at: usize) {
        debug_assert!(at + LANES <= words.len());
        // SAFETY: as above, and the caller keeps the register inside.
        unsafe { _mm512_storeu_epi64(words.as_mut_ptr().add(at).cast(), self) }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        // SAFETY: the caller runs where AVX-512F is; also below.
        unsafe { _mm512_and_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_or_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_xor_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn full_add(self, b: Self, c: Self) -> (Self, Self) {
        /// Truth tables over three inputs: an odd number of ones, two or more.
        const ODD: i32 = 0b1001_0110;
        const MAJORITY: i32 = 0b1110_1000;
        // SAFETY: as above.
        unsafe {
            let sum = _mm512_ternarylogic_epi64::<ODD>(self, b, c);
            (sum, _mm512_ternarylogic_epi64::<MAJORITY>(self, b, c))
        }
    }
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn hamming(a: &[u64], b: &[u64]) -> u32 {
    distance::<false>(a, b)
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn hamming_rows(query: &[u64], rows: &[u64], out: &mut [u32]) {
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        *out = distance::<true>(query, row);
    }
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn asymmetric_rows(planes: &[u64], count: usize, rows: &[u64], out: &mut [i32]) {
    let words = planes.len() / count;
    for (row, out) in rows.chunks_exact(words).zip(out) {
        // The first plane brings the row into the L1 cache for the others.
        let (first, others) = planes.split_at(words);
        let mut weighted = distance::<true>(first, row);
        for (plane, p) in others.chunks_exact(words).zip(1..) {
            weighted += distance::<false>(plane, row) << p;
        }
        *out = score(words, count, weighted);
    }
}

/// The Hamming distance; with `PREFETCH`, asks for what follows `b` in memory.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn distance<const PREFETCH: bool>(a: &[u64], b: &[u64]) -> u32 {
    let (a_blocks, a_rest) = a.as_chunks::<{ 4 * LANES }>();
    let (b_blocks, b_rest) = b.as_chunks::<{ 4 * LANES }>();
    // Four sums, so that no addition waits for the one before.
    let mut counts = [_mm512_setzero_si512(); 4];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        let (a, _) = a.as_chunks::<LANES>();
        let (b, _) = b.as_chunks::<LANES>();
        for ((count, a), b) in counts.iter_mut().zip(a).zip(b) {
            if PREFETCH {
                prefetch_line(b);
            }
            *count = add_difference(*count, load(a), load(b));
        }
    }
    let [mut count, ..] = counts;
    for other in &counts[1..] {
        count = _mm512_add_epi64(count, *other);
    }
    for (a, b) in a_rest.chunks(LANES).zip(b_rest.chunks(LANES)) {
        count = add_difference(count, load_masked(a), load_masked(b));
    }
    _mm512_reduce_add_epi64(count) as u32
}

/// Asks for the cache line `PREFETCH_WORDS` behind `line`.
#[inline]
#[target_feature(enable = "avx512f")]
fn prefetch_line(line: &[u64; LANES]) {
    let ahead = line.as_ptr().wrapping_add(PREFETCH_WORDS);
    // SAFETY: prefetching is a hint that may be given for any address.
    #[allow(unused_unsafe, reason = "safe to call in newer compilers than the oldest supported")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
    }
}

/// Adds to each lane of `count` the number of bits in which `a` and `b` differ.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn add_difference(count: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi64(count, _mm512_popcnt_epi64(_mm512_xor_si512(a, b)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(words: &[u64; LANES]) -> __m512i {
    // SAFETY: the array is as long as a register.
    unsafe { _mm512_loadu_epi64(words.as_ptr().cast()) }
}

/// At most a register of words, with zeros for those that are missing.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_masked(words: &[u64]) -> __m512i {
    debug_assert!((1..=LANES).contains(&words.len()));
    let present = u8::MAX >> LANES.saturating_sub(words.len());
    // SAFETY: lanes outside the slice are masked out, and so never read.
    unsafe { _mm512_maskz_loadu_epi64(present, words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn xor_into(a: &[u64], b: &[u64], out: &mut [u64]) {
    // The plain loop, compiled for wider registers.
    portable::xor_into(a, b, out);
}

/// The columns that are summed at once: 128 bytes, two cache lines of each row.
type Block = Pair<__m512i>;

#[target_feature(enable = "avx512f")]
unsafe fn weighted_majority(rows: &[&[u64]], weights: &[u8], tie: &[u64], out: &mut [u64]) {
    // SAFETY: this function enables AVX-512F; `Kernels` checked the lengths.
    unsafe { bitslice::weighted_majority::<Block>(rows, weights, tie, out) }
}

#[target_feature(enable = "avx512f")]
unsafe fn quantise_sums(rows: &[&[u64]], weights: &[u16], cuts: &[u32], out: &mut [u64]) {
    // SAFETY: as above.
    unsafe { bitslice::quantise_sums::<Block>(rows, weights, cuts, out) }
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn sketch_distances(prefix: &[u64], blocks: &[u64], out: &mut [u16]) {
    let blocks = blocks.chunks_exact(prefix.len() * SKETCH_ROWS);
    let (out, _) = out.as_chunks_mut::<SKETCH_ROWS>();
    for (block, out) in blocks.zip(out) {
        let distances = block_distances::<true>(prefix, block);
        let (halves, _) = out.as_chunks_mut::<LANES>();
        for (half, distances) in halves.iter_mut().zip(distances) {
            // SAFETY: eight halfwords are 128 bits.
            unsafe {
                _mm_storeu_si128(half.as_mut_ptr().cast(), _mm512_cvtepi64_epi16(distances));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn sketch_scores(prefixes: &[u64], count: usize, blocks: &[u64], out: &mut [i32]) {
    let words = prefixes.len() / count;
    let constant = _mm512_set1_epi64(score(words, count, 0).into());
    let blocks = blocks.chunks_exact(words * SKETCH_ROWS);
    let (out, _) = out.as_chunks_mut::<SKETCH_ROWS>();
    for (block, out) in blocks.zip(out) {
        let mut weighted = [_mm512_setzero_si512(); 2];
        // From the most significant plane down, doubling what came before.
        for prefix in prefixes.rchunks_exact(words) {
            let distances = block_distances::<false>(prefix, block);
            for (weighted, distance) in weighted.iter_mut().zip(distances) {
                *weighted = _mm512_add_epi64(_mm512_add_epi64(*weighted, *weighted), distance);
            }
        }
        let (halves, _) = out.as_chunks_mut::<LANES>();
        for (half, weighted) in halves.iter_mut().zip(weighted) {
            let scores = _mm512_sub_epi64(constant, _mm512_add_epi64(weighted, weighted));
            // SAFETY: eight words of 32 bits are 256 bits.
            unsafe {
                _mm256_storeu_si256(half.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(scores));
            }
        }
    }
}

/// The distance of `prefix` to each row of a block, a row a lane; with `PREFETCH`,
/// asks for what follows the block in memory.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn block_distances<const PREFETCH: bool>(prefix: &[u64], block: &[u64]) -> [__m512i; 2] {
    let (words, _) = block.as_chunks::<SKETCH_ROWS>();
    let mut distances = [_mm512_setzero_si512(); 2];
    for (&query, rows) in prefix.iter().zip(words) {
        let query = _mm512_set1_epi64(query as i64);
        let (rows, _) = rows.as_chunks::<LANES>();
        for (distance, rows) in distances.iter_mut().zip(rows) {
            if PREFETCH {
                prefetch_line(rows);
            }
            *distance = add_difference(*distance, query, load(rows));
        }
    }
    distances
}
