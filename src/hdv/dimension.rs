//! The number of bits of a hypervector.

use super::HdvError;

/// A validated number of bits: a non-zero multiple of 64, at most
/// [`Dimension::MAX_BITS`].
///
/// The default is 16,384: there two unrelated vectors differ in 8,192 ± 64
/// bits, so a similarity of 0.05 is already six standard deviations from chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dimension(usize);

impl Dimension {
    /// The largest dimension, 2^20 bits (128 KiB a vector).
    pub const MAX_BITS: usize = 1 << 20;

    /// A dimension of `bits` bits.
    ///
    /// # Errors
    /// [`HdvError::InvalidDimension`] unless `bits` is a multiple of 64 from 64
    /// to [`Dimension::MAX_BITS`].
    pub const fn new(bits: usize) -> Result<Self, HdvError> {
        if bits == 0 || !bits.is_multiple_of(64) || bits > Self::MAX_BITS {
            return Err(HdvError::InvalidDimension { received: bits });
        }
        Ok(Self(bits))
    }

    /// The dimension of a vector that was validated when it was made.
    pub(super) const fn of_valid(words: &[u64]) -> Self {
        Self(words.len() * 64)
    }

    /// Bits of a vector.
    pub const fn bits(self) -> usize {
        self.0
    }

    /// 64-bit words of a vector.
    pub const fn words(self) -> usize {
        self.0 / 64
    }

    /// Bytes of a vector.
    pub const fn bytes(self) -> usize {
        self.0 / 8
    }
}

impl Default for Dimension {
    fn default() -> Self {
        Self(16_384)
    }
}

impl TryFrom<usize> for Dimension {
    type Error = HdvError;

    fn try_from(bits: usize) -> Result<Self, HdvError> {
        Self::new(bits)
    }
}

impl std::fmt::Display for Dimension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bits", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_non_zero_multiples_of_64_up_to_the_maximum_are_dimensions() {
        for bits in [64, 128, 192, 4096, 16_384, Dimension::MAX_BITS] {
            let dim = Dimension::new(bits).unwrap();
            assert_eq!((dim.bits(), dim.words(), dim.bytes()), (bits, bits / 64, bits / 8));
        }
        for bits in [0, 1, 63, 65, 100, Dimension::MAX_BITS + 64, usize::MAX] {
            assert_eq!(Dimension::new(bits), Err(HdvError::InvalidDimension { received: bits }));
        }
    }

    #[test]
    fn an_invalid_dimension_says_what_was_expected() {
        let message = Dimension::new(100).unwrap_err().to_string();
        assert!(message.contains("multiple of 64") && message.contains("received 100"), "{message}");
    }
}
