//! Seeded random numbers that are the same on every platform and in every version.
//!
//! A workload is only as reproducible as its generator, so nothing here goes
//! through a floating-point function whose last bit depends on the platform.

/// A SplitMix64 generator (Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators", OOPSLA 2014).
///
/// ```
/// use criterion_gate::random::Random;
///
/// let mut random = Random::new(7);
/// assert!(random.below(10) < 10);
/// assert_eq!(Random::new(7).next_u64(), Random::new(7).next_u64());
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose whole sequence follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator for `stream`, unrelated to the other streams of the same seed.
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut mixer = Self::new(seed ^ stream.wrapping_mul(0xA076_1D64_78BD_642F));
        Self::new(mixer.next_u64())
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A whole number in `0..bound`, or 0 when `bound` is 0.
    ///
    /// Multiply and shift (Lemire 2019) without its rejection step: the bias is
    /// below `bound / 2^32`, which no workload can see.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// True in `percent` of a hundred calls.
    #[inline]
    pub fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A number in `[0, 1)`: 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A rank in `0..count` with probability proportional to `1 / (rank + 1)`:
    /// Zipf's law with exponent 1. 0 when `count` is 0.
    ///
    /// By rejection in whole numbers: an octave `2^k..2^(k+1)` is drawn evenly,
    /// a rank in it evenly, and rank `r` is kept with probability `2^k / r`. What
    /// is left is exactly Zipfian, needs no table, and takes 1.4 to 2.9 draws.
    #[inline]
    pub fn zipf(&mut self, count: u32) -> u32 {
        let octaves = u32::BITS - count.leading_zeros();
        if octaves == 0 {
            return 0;
        }
        loop {
            let low = 1u64 << self.below(octaves);
            let bits = self.next_u64();
            let rank = low + (((bits >> 32) * low) >> 32);
            let kept = (bits & 0xFFFF_FFFF) * rank < low << 32;
            if kept && rank <= u64::from(count) {
                return (rank - 1) as u32;
            }
        }
    }

    /// One of `items`, each as likely as the next; `None` when there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u32) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_is_the_published_one() {
        // First outputs for seed 1234567, as printed with the reference C code.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn zipf_frequencies_fall_as_one_over_rank() {
        const COUNT: u32 = 1000;
        const DRAWS: u32 = 400_000;
        let mut random = Random::new(3);
        let mut seen = vec![0u32; COUNT as usize];
        for _ in 0..DRAWS {
            seen[random.zipf(COUNT) as usize] += 1;
        }
        let harmonic: f64 = (1..=COUNT).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1u32, 2, 3, 5, 8, 13, 50] {
            let expected = f64::from(DRAWS) / (f64::from(rank) * harmonic);
            let got = f64::from(seen[rank as usize - 1]);
            // Five standard deviations of a Poisson count.
            assert!((got - expected).abs() < 5.0 * expected.sqrt(), "rank {rank}: {got} of {expected}");
        }
    }

    #[test]
    fn draws_stay_in_range_even_for_empty_and_single_ranges() {
        let mut random = Random::new(9);
        for count in [0, 1, 2, 3, 63, 64, 65] {
            for _ in 0..2000 {
                assert!(random.zipf(count) < count.max(1));
                assert!(random.below(count) < count.max(1));
                assert!((0.0..1.0).contains(&random.unit()));
            }
        }
        assert_eq!(random.pick::<u8>(&[]), None);
    }

    #[test]
    fn streams_of_one_seed_differ() {
        assert_ne!(Random::stream(1, 0).next_u64(), Random::stream(1, 1).next_u64());
    }
}
