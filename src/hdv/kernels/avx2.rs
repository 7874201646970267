//! AVX2: 256-bit registers.
//!
//! Distances are counted as in Muła, Kurz and Lemire, "Faster Population Counts
//! Using AVX2 Instructions" (2018): carry-save adders (Harley and Seal) reduce
//! sixteen registers to one, whose bits are counted by looking up half-bytes.

use std::arch::x86_64::*;
use std::array;

use super::bitslice::Pair;
use super::portable::score;
use super::{CACHE_LINE, Kernels, SKETCH_ROWS, bitslice, portable};

static KERNELS: Kernels = Kernels {
    name: "avx2",
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
    let runs = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
    runs.then_some(&KERNELS)
}

/// Words in a register.
const LANES: usize = 4;

/// Prefetch distance of a scan, in words. Hardware prefetchers stop at the end of each page; two
/// vectors of the default dimension reach over it.
const PREFETCH_WORDS: usize = 512;

// SAFETY: called only by functions of this file, which all enable AVX2.
unsafe impl bitslice::Lanes for __m256i {
    const WORDS: usize = LANES;

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        // SAFETY: the caller runs where AVX2 is.
        unsafe { _mm256_set1_epi64x(word as i64) }
    }
    #[inline(always)]
    unsafe fn load(words: &[u64], at: usize) -> Self {
        debug_assert!(at + LANES <= words.len());
        // SAFETY: as above, and the caller keeps the register inside.
        unsafe { _mm256_loadu_si256(words.as_ptr().add(at).cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, words: &mut [u64], at: usize) {
        debug_assert!(at + LANES <= words.len());
        // SAFETY: as above, and the caller keeps the register inside.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().add(at).cast(), self) }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        // SAFETY: the caller runs where AVX2 is; also below.
        unsafe { _mm256_and_si256(self, other) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_or_si256(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_xor_si256(self, other) }
    }
}

#[target_feature(enable = "avx2,popcnt")]
fn hamming(a: &[u64], b: &[u64]) -> u32 {
    distance::<false>(a, b)
}

#[target_feature(enable = "avx2,popcnt")]
fn hamming_rows(query: &[u64], rows: &[u64], out: &mut [u32]) {
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        *out = distance::<true>(query, row);
    }
}

#[target_feature(enable = "avx2,popcnt")]
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
#[target_feature(enable = "avx2,popcnt")]
fn distance<const PREFETCH: bool>(a: &[u64], b: &[u64]) -> u32 {
    let (a_blocks, a_rest) = a.as_chunks::<{ 16 * LANES }>();
    let (b_blocks, b_rest) = b.as_chunks::<{ 16 * LANES }>();
    let mut counters = Counters::zero();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        if PREFETCH {
            prefetch_block(b);
        }
        counters.add(a, b);
    }
    let (a_registers, a_tail) = a_rest.as_chunks::<LANES>();
    let (b_registers, b_tail) = b_rest.as_chunks::<LANES>();
    let mut counts = counters.total();
    for (a, b) in a_registers.iter().zip(b_registers) {
        counts = _mm256_add_epi64(counts, count_ones(difference(a, b)));
    }
    sum_lanes(counts) + portable::hamming(a_tail, b_tail)
}

/// Asks for the cache lines `PREFETCH_WORDS` behind those of `block`.
#[inline]
#[target_feature(enable = "avx2")]
fn prefetch_block(block: &[u64]) {
    let ahead = block.as_ptr().wrapping_add(PREFETCH_WORDS);
    for line in 0..block.len() / CACHE_LINE {
        // SAFETY: prefetching is a hint that may be given for any address.
        #[allow(unused_unsafe, reason = "safe to call in newer compilers than the oldest supported")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(CACHE_LINE * line).cast())
        }
    }
}

/// The running sums of a Harley-Seal count: sliced counters of 0..16 for each
/// bit position, and the number of sixteens so far.
struct Counters {
    ones: __m256i,
    twos: __m256i,
    fours: __m256i,
    eights: __m256i,
    sixteens: __m256i,
}

impl Counters {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn zero() -> Self {
        let zero = _mm256_setzero_si256();
        Self { ones: zero, twos: zero, fours: zero, eights: zero, sixteens: zero }
    }

    /// Adds the bits in which sixteen registers differ.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(&mut self, a: &[u64; 16 * LANES], b: &[u64; 16 * LANES]) {
        let (a, _) = a.as_chunks::<LANES>();
        let (b, _) = b.as_chunks::<LANES>();
        let first = self.add_eight(&a[..8], &b[..8]);
        let second = self.add_eight(&a[8..], &b[8..]);
        let sixteen = carry_save(&mut self.eights, first, second);
        self.sixteens = _mm256_add_epi64(self.sixteens, count_ones(sixteen));
    }

    /// Adds the bits in which eight registers differ, and gives the carry.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add_eight(&mut self, a: &[[u64; LANES]], b: &[[u64; LANES]]) -> __m256i {
        let first = self.add_four(&a[..4], &b[..4]);
        let second = self.add_four(&a[4..], &b[4..]);
        carry_save(&mut self.fours, first, second)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add_four(&mut self, a: &[[u64; LANES]], b: &[[u64; LANES]]) -> __m256i {
        let [first, second, third, fourth] = array::from_fn(|i| difference(&a[i], &b[i]));
        let first = carry_save(&mut self.ones, first, second);
        let second = carry_save(&mut self.ones, third, fourth);
        carry_save(&mut self.twos, first, second)
    }

    /// Everything counted, as four lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn total(self) -> __m256i {
        let mut total = self.sixteens;
        for digit in [self.eights, self.fours, self.twos, self.ones] {
            total = _mm256_add_epi64(_mm256_slli_epi64::<1>(total), count_ones(digit));
        }
        total
    }
}

/// Adds `b` and `c` to the sliced counter digit `sum` and gives the carry.
#[inline]
#[target_feature(enable = "avx2")]
fn carry_save(sum: &mut __m256i, b: __m256i, c: __m256i) -> __m256i {
    // SAFETY: this function enables AVX2.
    let carry;
    (*sum, carry) = unsafe { bitslice::Lanes::full_add(*sum, b, c) };
    carry
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[u64; LANES]) -> __m256i {
    // SAFETY: the array is as long as a register.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn difference(a: &[u64; LANES], b: &[u64; LANES]) -> __m256i {
    _mm256_xor_si256(load(a), load(b))
}

/// The set bits of each 64-bit lane.
#[inline]
#[target_feature(enable = "avx2")]
fn count_ones(bits: __m256i) -> __m256i {
    _mm256_sad_epu8(count_bytes(bits), _mm256_setzero_si256())
}

/// The set bits of each byte, looked up for its two halves.
#[inline]
#[target_feature(enable = "avx2")]
fn count_bytes(bits: __m256i) -> __m256i {
    #[rustfmt::skip]
    let ones = _mm256_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
    );
    let half = _mm256_set1_epi8(0x0F);
    let low = _mm256_and_si256(bits, half);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bits), half);
    _mm256_add_epi8(_mm256_shuffle_epi8(ones, low), _mm256_shuffle_epi8(ones, high))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_lanes(lanes: __m256i) -> u32 {
    let pairs = _mm_add_epi64(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
    (_mm_cvtsi128_si64(pairs) + _mm_extract_epi64::<1>(pairs)) as u32
}

#[target_feature(enable = "avx2")]
fn xor_into(a: &[u64], b: &[u64], out: &mut [u64]) {
    // The plain loop, compiled for wider registers.
    portable::xor_into(a, b, out);
}

/// The columns that are summed at once: 128 bytes, two cache lines of each row.
type Block = Pair<Pair<__m256i>>;

#[target_feature(enable = "avx2")]
unsafe fn weighted_majority(rows: &[&[u64]], weights: &[u8], tie: &[u64], out: &mut [u64]) {
    // SAFETY: this function enables AVX2; `Kernels` checked the lengths.
    unsafe { bitslice::weighted_majority::<Block>(rows, weights, tie, out) }
}

#[target_feature(enable = "avx2")]
unsafe fn quantise_sums(rows: &[&[u64]], weights: &[u16], cuts: &[u32], out: &mut [u64]) {
    // SAFETY: as above.
    unsafe { bitslice::quantise_sums::<Block>(rows, weights, cuts, out) }
}

/// Registers that hold one word of every row of a block of sketches.
const BLOCK_REGISTERS: usize = SKETCH_ROWS / LANES;

#[target_feature(enable = "avx2")]
fn sketch_distances(prefix: &[u64], blocks: &[u64], out: &mut [u16]) {
    let blocks = blocks.chunks_exact(prefix.len() * SKETCH_ROWS);
    let (out, _) = out.as_chunks_mut();
    for (block, out) in blocks.zip(out) {
        store_as_u16(block_distances::<true>(prefix, block), out);
    }
}

#[target_feature(enable = "avx2")]
fn sketch_scores(prefixes: &[u64], count: usize, blocks: &[u64], out: &mut [i32]) {
    let words = prefixes.len() / count;
    let constant = _mm256_set1_epi32(score(words, count, 0));
    let blocks = blocks.chunks_exact(words * SKETCH_ROWS);
    let (out, _) = out.as_chunks_mut();
    for (block, out) in blocks.zip(out) {
        let mut weighted = [_mm256_setzero_si256(); BLOCK_REGISTERS];
        // From the most significant plane down, doubling what came before.
        for prefix in prefixes.rchunks_exact(words) {
            let distances = block_distances::<false>(prefix, block);
            for (weighted, distance) in weighted.iter_mut().zip(distances) {
                *weighted = _mm256_add_epi64(_mm256_slli_epi64::<1>(*weighted), distance);
            }
        }
        store_scores(constant, weighted, out);
    }
}

/// The distance of `prefix` to each row of a block, a row a lane; with `PREFETCH`,
/// asks for what follows the block in memory.
#[inline]
#[target_feature(enable = "avx2")]
fn block_distances<const PREFETCH: bool>(prefix: &[u64], block: &[u64]) -> [__m256i; BLOCK_REGISTERS] {
    /// Words whose counts of at most 8 a byte fit that byte.
    const BATCH: usize = 31;

    let (words, _) = block.as_chunks::<SKETCH_ROWS>();
    let mut distances = [_mm256_setzero_si256(); BLOCK_REGISTERS];
    for (prefix, words) in prefix.chunks(BATCH).zip(words.chunks(BATCH)) {
        let mut bytes = [_mm256_setzero_si256(); BLOCK_REGISTERS];
        for (&query, rows) in prefix.iter().zip(words) {
            if PREFETCH {
                prefetch_block(rows);
            }
            let query = _mm256_set1_epi64x(query as i64);
            let (rows, _) = rows.as_chunks::<LANES>();
            for (bytes, rows) in bytes.iter_mut().zip(rows) {
                let differing = _mm256_xor_si256(query, load(rows));
                *bytes = _mm256_add_epi8(*bytes, count_bytes(differing));
            }
        }
        for (distance, bytes) in distances.iter_mut().zip(bytes) {
            let sums = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
            *distance = _mm256_add_epi64(*distance, sums);
        }
    }
    distances
}

/// Narrows sixteen lanes to sixteen halfwords, in order.
#[inline]
#[target_feature(enable = "avx2")]
fn store_as_u16([a, b, c, d]: [__m256i; BLOCK_REGISTERS], out: &mut [u16; SKETCH_ROWS]) {
    // Packing works within 128-bit halves: each round narrows by two and leaves
    // the pairs of lanes a01 b01 c01 d01 a23 b23 c23 d23, which are then sorted.
    let pairs = _mm256_packus_epi32(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    let sorted = _mm256_permutevar8x32_epi32(pairs, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    // SAFETY: the array is as long as the register.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sorted) }
}

/// Stores `constant - 2 * weighted` of sixteen lanes, in order.
#[inline]
#[target_feature(enable = "avx2")]
fn store_scores(constant: __m256i, weighted: [__m256i; BLOCK_REGISTERS], out: &mut [i32; SKETCH_ROWS]) {
    let low_halves = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    let narrow: [__m256i; BLOCK_REGISTERS] =
        array::from_fn(|i| _mm256_permutevar8x32_epi32(weighted[i], low_halves));
    let (out, _) = out.as_chunks_mut::<8>();
    for (out, pair) in out.iter_mut().zip(narrow.chunks_exact(2)) {
        let lanes = _mm256_blend_epi32::<0xF0>(pair[0], pair[1]);
        let scores = _mm256_sub_epi32(constant, _mm256_slli_epi32::<1>(lanes));
        // SAFETY: the array is as long as the register.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), scores) }
    }
}
