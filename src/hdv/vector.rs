//! One hypervector and its algebra.

use std::sync::LazyLock;

use super::random::Xoshiro256PlusPlus;
use super::{Dimension, HdvError, kernels};

/// Seeds the vector that decides ties. Part of the format: bundles are stored,
/// so changing it changes what is bundled again from the same inputs.
const TIE_SEED: u64 = 0x7469_6520_7275_6C65;

/// The tie vector of the largest dimension; smaller ones are its prefixes.
static TIE_WORDS: LazyLock<Box<[u64]>> =
    LazyLock::new(|| Xoshiro256PlusPlus::from_seed(TIE_SEED).take(Dimension::MAX_BITS / 64).collect());

/// A binary hypervector.
///
/// ```
/// use mnemocore::hdv::{Dimension, Hypervector};
///
/// let dim = Dimension::new(4096)?;
/// let (a, b) = (Hypervector::random(dim, 1), Hypervector::random(dim, 2));
/// assert!(a.similarity(&b)?.abs() < 0.1);             // unrelated
/// assert_eq!(a.bind(&b)?.bind(&b)?, a);               // binding undoes itself
/// assert_eq!(a.permute(7).permute(-7), a);
/// # Ok::<(), mnemocore::hdv::HdvError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Hypervector {
    words: Box<[u64]>,
}

impl Hypervector {
    /// The vector without a set bit, the neutral element of [`bind`](Self::bind).
    pub fn zeros(dim: Dimension) -> Self {
        Self { words: vec![0; dim.words()].into() }
    }

    /// A random vector, the same for the same seed on every platform and in
    /// every version: the first words of xoshiro256++ whose state SplitMix64
    /// filled from `seed`. A smaller dimension gives a prefix of a larger one.
    pub fn random(dim: Dimension, seed: u64) -> Self {
        Self { words: Xoshiro256PlusPlus::from_seed(seed).take(dim.words()).collect() }
    }

    /// The vector with these words; bit `i` is bit `i % 64` of word `i / 64`.
    ///
    /// # Errors
    /// [`HdvError::InvalidDimension`] if their bits are not a [`Dimension`].
    pub fn from_words(words: impl Into<Box<[u64]>>) -> Result<Self, HdvError> {
        let words = words.into();
        Dimension::new(words.len().saturating_mul(64))?;
        Ok(Self { words })
    }

    /// The vector from what [`to_le_bytes`](Self::to_le_bytes) gave.
    ///
    /// # Errors
    /// [`HdvError::PartialWord`] or [`HdvError::InvalidDimension`].
    pub fn from_le_bytes(bytes: &[u8]) -> Result<Self, HdvError> {
        let (words, []) = bytes.as_chunks() else {
            return Err(HdvError::PartialWord { received: bytes.len() });
        };
        Self::from_words(words.iter().map(|&word| u64::from_le_bytes(word)).collect::<Vec<_>>())
    }

    /// The words as little-endian bytes, bit `i` being bit `i % 8` of byte `i / 8`.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The words, for kernels and storage.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The number of bits.
    pub fn dimension(&self) -> Dimension {
        Dimension::of_valid(&self.words)
    }

    /// Binds two vectors (XOR): the result is unrelated to both, and binding
    /// it with one of them gives back the other.
    ///
    /// # Errors
    /// [`HdvError::DimensionMismatch`].
    pub fn bind(&self, other: &Self) -> Result<Self, HdvError> {
        self.expect_same(&other.words)?;
        let mut bound = Self::zeros(self.dimension());
        kernels::best().xor_into(&self.words, &other.words, &mut bound.words);
        Ok(bound)
    }

    /// Binds `other` into this vector.
    ///
    /// # Errors
    /// [`HdvError::DimensionMismatch`].
    pub fn bind_assign(&mut self, other: &Self) -> Result<(), HdvError> {
        self.expect_same(&other.words)?;
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word ^= other;
        }
        Ok(())
    }

    /// Rotates the whole bit string: bit `i` moves to `(i + shift) mod D`.
    /// The inverse is `permute(-shift)`.
    pub fn permute(&self, shift: isize) -> Self {
        let words = self.words.len();
        let shift = shift.rem_euclid(words as isize * 64) as usize;
        let (word_shift, bit_shift) = (shift / 64, shift % 64);

        let mut rotated = Vec::with_capacity(words);
        let (low, high) = self.words.split_at(words - word_shift);
        rotated.extend_from_slice(high);
        rotated.extend_from_slice(low);
        if bit_shift > 0 {
            shift_left_cyclic(&mut rotated, bit_shift as u32);
        }
        Self { words: rotated.into() }
    }

    /// The number of bits in which two vectors differ.
    ///
    /// # Errors
    /// [`HdvError::DimensionMismatch`].
    pub fn hamming(&self, other: &Self) -> Result<u32, HdvError> {
        self.expect_same(&other.words)?;
        Ok(kernels::best().hamming(&self.words, &other.words))
    }

    /// `1 - 2 h / D` for Hamming distance `h`: 1 for equal vectors, about 0 for
    /// unrelated ones, -1 for complements. It is the cosine of the vectors read
    /// as ±1.
    ///
    /// # Errors
    /// [`HdvError::DimensionMismatch`].
    pub fn similarity(&self, other: &Self) -> Result<f64, HdvError> {
        let distance = f64::from(self.hamming(other)?);
        Ok(1.0 - 2.0 * distance / self.dimension().bits() as f64)
    }

    /// The majority of each bit: a vector similar to every input.
    ///
    /// With an even number of vectors a bit can be tied. Ties take the bit of
    /// one fixed pseudo-random vector ([`random`](Self::random) with a constant
    /// seed), so the result does not depend on the order of the inputs and
    /// zeros and ones stay balanced.
    ///
    /// # Errors
    /// [`HdvError::NothingToBundle`] without vectors,
    /// [`HdvError::DimensionMismatch`].
    pub fn bundle(vectors: &[&Self]) -> Result<Self, HdvError> {
        let rows: Vec<&[u64]> = vectors.iter().map(|vector| vector.words()).collect();
        Self::majority(&rows, &vec![1; rows.len()])
    }

    /// The weighted majority of each bit: 1 where the vectors with a 1 hold
    /// more than half of the total weight; ties as in [`bundle`](Self::bundle).
    /// A weight of zero leaves its vector out.
    ///
    /// # Errors
    /// [`HdvError::NothingToBundle`] without a weight above zero,
    /// [`HdvError::DimensionMismatch`].
    pub fn weighted_bundle(vectors: &[(&Self, u8)]) -> Result<Self, HdvError> {
        let (rows, weights): (Vec<&[u64]>, Vec<u8>) =
            vectors.iter().map(|(vector, weight)| (vector.words(), *weight)).unzip();
        Self::majority(&rows, &weights)
    }

    /// [`weighted_bundle`](Self::weighted_bundle) over bare rows of words, for
    /// vectors that are kept in tables.
    ///
    /// # Errors
    /// As there, and [`HdvError::WeightCount`] or [`HdvError::InvalidDimension`].
    pub fn majority(rows: &[&[u64]], weights: &[u8]) -> Result<Self, HdvError> {
        let dim = check_weighted_rows(rows, weights)?;
        let mut bundled = Self::zeros(dim);
        let tie = TIE_WORDS.get(..dim.words()).unwrap_or_default();
        kernels::best().weighted_majority(rows, weights, tie, &mut bundled.words);
        Ok(bundled)
    }

    fn expect_same(&self, other: &[u64]) -> Result<(), HdvError> {
        expect_words(self.words.len(), other.len())
    }
}

impl std::fmt::Debug for Hypervector {
    /// The dimension and the first word: 256 words would drown every message.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.words.first().copied().unwrap_or_default();
        write!(f, "Hypervector({} bits, {first:#018x}..)", self.words.len() * 64)
    }
}

impl AsRef<[u64]> for Hypervector {
    fn as_ref(&self) -> &[u64] {
        &self.words
    }
}

pub(super) fn expect_words(expected: usize, received: usize) -> Result<(), HdvError> {
    if expected == received {
        return Ok(());
    }
    Err(HdvError::DimensionMismatch { expected: expected * 64, received: received * 64 })
}

/// The common dimension of rows that are about to be summed with weights.
pub(super) fn check_weighted_rows<W: Copy + Into<u32>>(
    rows: &[&[u64]],
    weights: &[W],
) -> Result<Dimension, HdvError> {
    if rows.len() != weights.len() {
        return Err(HdvError::WeightCount { expected: rows.len(), received: weights.len() });
    }
    let Some(first) = rows.first() else {
        return Err(HdvError::NothingToBundle);
    };
    if weights.iter().all(|&weight| weight.into() == 0) {
        return Err(HdvError::NothingToBundle);
    }
    for row in rows {
        expect_words(first.len(), row.len())?;
    }
    Dimension::new(first.len() * 64)
}

/// Moves every bit up by `shift` (1..=63), the top bits of the last word
/// coming in at the bottom of the first.
fn shift_left_cyclic(words: &mut [u64], shift: u32) {
    let mut carry = words.last().copied().unwrap_or_default() >> (64 - shift);
    for word in words {
        let next_carry = *word >> (64 - shift);
        *word = *word << shift | carry;
        carry = next_carry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dims() -> impl Strategy<Value = Dimension> {
        prop::sample::select(vec![64, 128, 192, 704, 4096, 8192, 16_384])
            .prop_map(|bits| Dimension::new(bits).unwrap())
    }

    fn bit(vector: &Hypervector, at: usize) -> bool {
        vector.words[at / 64] >> (at % 64) & 1 == 1
    }

    #[test]
    fn random_vectors_are_the_same_for_good() {
        let vector = Hypervector::random(Dimension::new(128).unwrap(), 42);
        assert_eq!(*vector.words(), [0xD076_4D4F_4476_689F, 0x519E_4174_576F_3791]);
    }

    #[test]
    fn operands_of_different_dimensions_are_refused() {
        let a = Hypervector::zeros(Dimension::new(128).unwrap());
        let b = Hypervector::zeros(Dimension::new(192).unwrap());
        let mismatch = HdvError::DimensionMismatch { expected: 128, received: 192 };
        assert_eq!(a.bind(&b), Err(mismatch.clone()));
        assert_eq!(a.clone().bind_assign(&b), Err(mismatch.clone()));
        assert_eq!(a.hamming(&b), Err(mismatch.clone()));
        assert_eq!(a.similarity(&b), Err(mismatch.clone()));
        assert_eq!(Hypervector::bundle(&[&a, &b]), Err(mismatch));
    }

    #[test]
    fn bundling_nothing_is_an_error_not_a_vector() {
        let a = Hypervector::zeros(Dimension::default());
        assert_eq!(Hypervector::bundle(&[]), Err(HdvError::NothingToBundle));
        assert_eq!(Hypervector::weighted_bundle(&[(&a, 0)]), Err(HdvError::NothingToBundle));
    }

    #[test]
    fn ties_are_balanced_and_independent_of_the_inputs() {
        let dim = Dimension::default();
        let (a, b) = (Hypervector::random(dim, 1), Hypervector::random(dim, 2));
        let bundled = Hypervector::bundle(&[&a, &b]).unwrap();
        assert!((bundled.similarity(&a).unwrap() - 0.5).abs() < 0.05);
        assert!((bundled.similarity(&b).unwrap() - 0.5).abs() < 0.05);
        assert!(bundled.similarity(&Hypervector::zeros(dim)).unwrap().abs() < 0.05);
    }

    #[test]
    fn bytes_that_are_no_vector_are_refused() {
        assert_eq!(Hypervector::from_le_bytes(&[0; 9]), Err(HdvError::PartialWord { received: 9 }));
        assert_eq!(Hypervector::from_le_bytes(&[]), Err(HdvError::InvalidDimension { received: 0 }));
    }

    proptest! {
        #[test]
        fn bind_is_its_own_inverse_and_preserves_distance(dim in dims(), seed: u64) {
            let [a, b, key] = [0, 1, 2].map(|i| Hypervector::random(dim, seed.wrapping_add(i)));
            let (bound_a, bound_b) = (a.bind(&key).unwrap(), b.bind(&key).unwrap());
            prop_assert_eq!(bound_a.hamming(&bound_b), a.hamming(&b));
            let mut unbound = bound_a;
            unbound.bind_assign(&key).unwrap();
            prop_assert_eq!(unbound, a);
        }

        #[test]
        fn permute_moves_every_bit_and_is_undone_by_the_opposite(
            dim in dims(), seed: u64, shift in prop_oneof![-70_000_isize..70_000, any::<isize>()],
        ) {
            let vector = Hypervector::random(dim, seed);
            let rotated = vector.permute(shift);
            for at in 0..dim.bits() {
                let to = (at as i128 + shift as i128).rem_euclid(dim.bits() as i128) as usize;
                prop_assert_eq!(bit(&rotated, to), bit(&vector, at));
            }
            prop_assert_eq!(rotated.permute(shift.wrapping_neg()), vector);
        }

        #[test]
        fn bundle_does_not_depend_on_the_order(seed: u64, count in 1_u64..20, turn in 0_usize..20) {
            let dim = Dimension::new(704).unwrap();
            let vectors: Vec<_> =
                (0..count).map(|i| Hypervector::random(dim, seed.wrapping_add(i))).collect();
            let mut refs: Vec<_> = vectors.iter().collect();
            let bundled = Hypervector::bundle(&refs).unwrap();
            let turn = turn % refs.len();
            refs.rotate_left(turn);
            prop_assert_eq!(Hypervector::bundle(&refs).unwrap(), bundled);
        }

        #[test]
        fn a_weight_counts_like_copies(seed: u64, weights in prop::collection::vec(0_u8..9, 1..8)) {
            prop_assume!(weights.iter().any(|&weight| weight > 0));
            let dim = Dimension::new(192).unwrap();
            let vectors: Vec<_> =
                weights.iter().zip(seed..).map(|(_, s)| Hypervector::random(dim, s)).collect();
            let weighted: Vec<_> = vectors.iter().zip(weights.iter().copied()).collect();
            let copies: Vec<_> = weighted
                .iter()
                .flat_map(|&(vector, weight)| std::iter::repeat_n(vector, weight.into()))
                .collect();
            prop_assert_eq!(
                Hypervector::weighted_bundle(&weighted).unwrap(),
                Hypervector::bundle(&copies).unwrap()
            );
        }

        #[test]
        fn bytes_round_trip_bit_by_bit(dim in dims(), seed: u64) {
            let vector = Hypervector::random(dim, seed);
            let bytes = vector.to_le_bytes();
            prop_assert_eq!(bytes.len(), dim.bytes());
            for at in 0..dim.bits() {
                prop_assert_eq!(bytes[at / 8] >> (at % 8) & 1 == 1, bit(&vector, at));
            }
            prop_assert_eq!(Hypervector::from_le_bytes(&bytes), Ok(vector));
        }
    }
}
