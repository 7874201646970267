//! The inner loops over bare words, in the best version the CPU has.
//!
//! Each implementation is a table of functions; [`best`] picks one when it is
//! first called, and from then on a kernel costs an indirect call. The portable
//! table runs everywhere and is what the tests compare the others with.
//!
//! Here, unlike in the rest of [`hdv`](super), lengths that do not fit are bugs
//! of the caller and panic: the checks are a few comparisons in front of a loop
//! over whole rows, and they are what makes the vector code sound.

#![allow(
    unsafe_code,
    reason = "vector instructions run only where the CPU has them, and load through pointers"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bitslice;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

/// Rows of a block of a sketch table; see [`Kernels::sketch_distances`].
pub const SKETCH_ROWS: usize = 16;

/// The most bit planes that a signed query is quantized to.
pub const MAX_PLANES: usize = 4;

/// Words of a cache line.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 8;

/// Lines that [`prefetch`] asks for; where reading goes on behind them, the CPU
/// has noticed and fetches ahead by itself.
#[cfg(target_arch = "x86_64")]
const PREFETCHED_LINES: usize = 4;

/// The words of a vector, or of several one after another.
type Row = [u64];

/// One implementation of every kernel.
///
/// A value exists only for what the CPU can run: [`best`] and [`available`] are
/// the only sources.
pub struct Kernels {
    name: &'static str,
    // SAFETY of the pointers: the CPU has the implementation's instructions,
    // and lengths are as the method of the same name checks.
    hamming: unsafe fn(&Row, &Row) -> u32,
    hamming_rows: unsafe fn(&Row, &Row, &mut [u32]),
    asymmetric_rows: unsafe fn(&Row, usize, &Row, &mut [i32]),
    xor_into: unsafe fn(&Row, &Row, &mut Row),
    weighted_majority: unsafe fn(&[&Row], &[u8], &Row, &mut Row),
    quantise_sums: unsafe fn(&[&Row], &[u16], &[u32], &mut Row),
    sketch_distances: unsafe fn(&Row, &Row, &mut [u16]),
    sketch_scores: unsafe fn(&Row, usize, &Row, &mut [i32]),
}

/// The fastest implementation that this CPU can run.
pub fn best() -> &'static Kernels {
    static BEST: OnceLock<&Kernels> = OnceLock::new();
    BEST.get_or_init(|| available().next().unwrap_or(&portable::KERNELS))
}

/// Every implementation that this CPU can run, the fastest first.
pub fn available() -> impl Iterator<Item = &'static Kernels> {
    #[cfg(target_arch = "x86_64")]
    let vectorised = [avx512::detect(), avx2::detect()];
    #[cfg(target_arch = "aarch64")]
    let vectorised = [neon::detect()];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let vectorised = [None];
    vectorised.into_iter().flatten().chain([&portable::KERNELS])
}

/// Asks for the first cache lines of `words`, which are to be read soon, so that
/// they come from main memory while something else is computed.
#[inline]
pub fn prefetch(words: &[u64]) {
    #[cfg(target_arch = "x86_64")]
    for line in words.chunks(CACHE_LINE).take(PREFETCHED_LINES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching is a hint that may be given for any address; the
        // instruction is part of every x86-64.
        #[allow(unused_unsafe, reason = "safe to call in newer compilers than the oldest supported")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
    // Elsewhere the instruction is not stable in Rust.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = words;
}

impl Kernels {
    /// The instruction set, in lower case.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The number of bits in which `a` and `b` differ.
    ///
    /// # Panics
    /// If their lengths differ.
    #[inline]
    pub fn hamming(&self, a: &[u64], b: &[u64]) -> u32 {
        assert_eq!(a.len(), b.len(), "operands of different lengths");
        // SAFETY: the CPU has the instructions, see `Kernels`; equal lengths.
        unsafe { (self.hamming)(a, b) }
    }

    /// The Hamming distance of `query` to each of the `rows`, which stand one
    /// after another. Memory is read in order and prefetched.
    ///
    /// # Panics
    /// If `rows` does not hold `out.len()` rows as long as `query`.
    pub fn hamming_rows(&self, query: &[u64], rows: &[u64], out: &mut [u32]) {
        assert_rows(query.len(), rows, out.len());
        // SAFETY: the CPU has the instructions, see `Kernels`; whole rows.
        unsafe { (self.hamming_rows)(query, rows, out) }
    }

    /// The score of one row against a signed query of `count` bit planes that
    /// stand one after another: `sum_b q_b * (row bit b ? 1 : -1)`, where
    /// `q_b = sum_p 2^p * (bit b of plane p ? 1 : -1)`. It equals
    /// `sum_p 2^p * (D - 2 * hamming(plane p, row))`.
    ///
    /// # Panics
    /// If `count` is not from 1 to [`MAX_PLANES`] or `planes` does not hold that
    /// many rows as long as `row`.
    #[inline]
    pub fn asymmetric_score(&self, planes: &[u64], count: usize, row: &[u64]) -> i32 {
        let mut score = [0];
        self.asymmetric_rows(planes, count, row, &mut score);
        score[0]
    }

    /// [`asymmetric_score`](Self::asymmetric_score) of each of the `rows`, which
    /// stand one after another. Memory is read in order and prefetched.
    ///
    /// # Panics
    /// If `count` is not from 1 to [`MAX_PLANES`], or `planes` and `rows` do not
    /// hold `count` and `out.len()` rows of one length.
    pub fn asymmetric_rows(&self, planes: &[u64], count: usize, rows: &[u64], out: &mut [i32]) {
        let words = assert_planes(planes, count);
        assert_rows(words, rows, out.len());
        // SAFETY: the CPU has the instructions, see `Kernels`; whole rows.
        unsafe { (self.asymmetric_rows)(planes, count, rows, out) }
    }

    /// Binds: `out = a XOR b`.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn xor_into(&self, a: &[u64], b: &[u64], out: &mut [u64]) {
        assert!(a.len() == b.len() && a.len() == out.len(), "operands of different lengths");
        // SAFETY: the CPU has the instructions, see `Kernels`; equal lengths.
        unsafe { (self.xor_into)(a, b, out) }
    }

    /// Binds `key` to each of the `rows`, which stand one after another, as
    /// their results do in `out`.
    ///
    /// # Panics
    /// If `rows` and `out` differ in length or are not rows as long as `key`.
    pub fn xor_rows(&self, key: &[u64], rows: &[u64], out: &mut [u64]) {
        assert_eq!(rows.len(), out.len(), "rows and results of different lengths");
        assert_rows(key.len(), rows, rows.len() / key.len().max(1));
        let words = key.len().max(1);
        for (row, out) in rows.chunks_exact(words).zip(out.chunks_exact_mut(words)) {
            self.xor_into(key, row, out);
        }
    }

    /// Bundles: a bit of `out` is 1 where the rows with a 1 hold more than half
    /// of the total weight, and the bit of `tie` where they hold exactly half.
    ///
    /// # Panics
    /// If rows and weights differ in number, rows, `tie` and `out` in length, or
    /// the total weight overflows a `u32`.
    pub fn weighted_majority(&self, rows: &[&[u64]], weights: &[u8], tie: &[u64], out: &mut [u64]) {
        assert_weighted(rows, weights, out.len());
        assert_eq!(tie.len(), out.len(), "tie vector and result of different lengths");
        // SAFETY: the CPU has the instructions, see `Kernels`; checked above.
        unsafe { (self.weighted_majority)(rows, weights, tie, out) }
    }

    /// Quantizes the weighted sum of every bit: with `k` the number of `cuts`
    /// that are at most the total weight of the rows with a 1, plane `p` of
    /// `planes_out` takes bit `p` of `k`. The planes stand one after another;
    /// `cuts` ascends and has `2^P - 1` numbers for `P` planes.
    ///
    /// # Panics
    /// If rows and weights differ in number, `cuts` is not the count for 1 to
    /// [`MAX_PLANES`] planes, `planes_out` does not hold that many rows, or the
    /// total weight overflows a `u32`.
    pub fn quantise_sums(&self, rows: &[&[u64]], weights: &[u16], cuts: &[u32], planes_out: &mut [u64]) {
        let count = (cuts.len() + 1).trailing_zeros() as usize;
        assert_eq!(cuts.len() + 1, 1 << count, "cuts for no whole number of planes");
        debug_assert!(cuts.is_sorted());
        let words = assert_planes(planes_out, count);
        assert_weighted(rows, weights, words);
        // SAFETY: the CPU has the instructions, see `Kernels`; checked above.
        unsafe { (self.quantise_sums)(rows, weights, cuts, planes_out) }
    }

    /// The Hamming distance of `prefix` to the sketch of every row of `blocks`.
    ///
    /// A sketch is the first bits of a vector. In a block the sketches of
    /// [`SKETCH_ROWS`] vectors stand interleaved: first word 0 of all of them,
    /// then word 1, so that each lane of a register counts for its own row.
    ///
    /// # Panics
    /// If `blocks` does not hold `out.len()` sketches as long as `prefix`,
    /// `out.len()` is no multiple of [`SKETCH_ROWS`], or the prefix is of 2^16
    /// bits or more.
    pub fn sketch_distances(&self, prefix: &[u64], blocks: &[u64], out: &mut [u16]) {
        assert_blocks(prefix.len(), blocks, out.len());
        // SAFETY: the CPU has the instructions, see `Kernels`; whole blocks.
        unsafe { (self.sketch_distances)(prefix, blocks, out) }
    }

    /// The [`asymmetric_score`](Self::asymmetric_score) of the sketch of every
    /// row of `blocks`, laid out as for
    /// [`sketch_distances`](Self::sketch_distances), with the prefixes of
    /// `count` planes one after another.
    ///
    /// # Panics
    /// As there, and if `count` is not from 1 to [`MAX_PLANES`].
    pub fn sketch_scores(&self, prefixes: &[u64], count: usize, blocks: &[u64], out: &mut [i32]) {
        let words = assert_planes(prefixes, count);
        assert_blocks(words, blocks, out.len());
        // SAFETY: the CPU has the instructions, see `Kernels`; whole blocks.
        unsafe { (self.sketch_scores)(prefixes, count, blocks, out) }
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernels({})", self.name)
    }
}

fn assert_rows(words: usize, rows: &[u64], count: usize) {
    assert!(
        words > 0 && words.checked_mul(count) == Some(rows.len()),
        "{} words are not {count} rows of {words} words",
        rows.len()
    );
}

fn assert_blocks(words: usize, blocks: &[u64], count: usize) {
    assert!(words < 1 << 10, "a sketch of {words} words overflows its counters");
    assert!(count.is_multiple_of(SKETCH_ROWS), "{count} sketches are not whole blocks");
    assert_rows(words, blocks, count);
}

/// The words of each of `count` planes.
fn assert_planes(planes: &[u64], count: usize) -> usize {
    assert!((1..=MAX_PLANES).contains(&count), "{count} planes");
    let words = planes.len() / count;
    assert_rows(words, planes, count);
    words
}

fn assert_weighted<W: Copy + Into<u32>>(rows: &[&[u64]], weights: &[W], words: usize) {
    assert_eq!(rows.len(), weights.len(), "rows and weights differ in number");
    assert!(rows.iter().all(|row| row.len() == words), "rows of different lengths");
    let total: u64 = weights.iter().map(|&weight| u64::from(weight.into())).sum();
    assert!(u32::try_from(total).is_ok(), "a total weight of {total} overflows");
}
