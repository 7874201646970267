//! The generator of random hypervectors.
//!
//! xoshiro256++ (Blackman and Vigna, 2019) with its state filled by SplitMix64,
//! as its authors recommend: seeds that stand close together give unrelated
//! streams. Vectors made from a seed may be stored anywhere, so the stream is
//! fixed for good, on every platform; a test holds it.

/// An endless stream of random words.
pub(crate) struct Xoshiro256PlusPlus {
    state: [u64; 4],
}

impl Xoshiro256PlusPlus {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut counter = seed;
        let state = std::array::from_fn(|_| {
            counter = counter.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (counter ^ (counter >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        });
        Self { state }
    }
}

impl Iterator for Xoshiro256PlusPlus {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let [a, b, c, d] = self.state;
        let word = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first words from the state 1, 2, 3, 4 as the authors' C code gives them.
    #[test]
    fn the_stream_is_the_published_one() {
        let published =
            [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386, 9_228_616_714_210_784_205];
        let stream = Xoshiro256PlusPlus { state: [1, 2, 3, 4] };
        assert!(stream.take(5).eq(published));
    }

    /// SplitMix64 from seed 0, likewise.
    #[test]
    fn the_seed_is_spread_by_the_published_function() {
        let published =
            [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F, 0xF88B_B8A8_724C_81EC];
        assert_eq!(Xoshiro256PlusPlus::from_seed(0).state, published);
    }
}
