//! A user's embeddings as hypervectors.

use super::{EncodeError, QueryVector};
use crate::hdv::{Dimension, Hypervector, SignedPlanes};

/// Seeds the signs; part of the stored format, version 1.
const SEED: u64 = u64::from_be_bytes(*b"srp v001");

/// Rounds of signs and Hadamard transform. One leaves structure in the
/// projections of sparse embeddings, three behave like a random rotation
/// (Andoni et al., "Practical and Optimal LSH for Angular Distance", 2015).
const ROUNDS: usize = 3;

/// The narrowest block, so that short embeddings are mixed well, too.
const MIN_BLOCK: usize = 64;

/// Sign random projection: the bits of two projected embeddings differ in a
/// share of `angle / pi` of all places (Charikar, 2002).
///
/// The embedding, padded with zeros to `n`, a power of two, is rotated at random
/// again and again, each rotation giving `n` bits: three rounds of random signs
/// and a fast Walsh-Hadamard transform, `O(bits * log n)` in all. The signs take
/// 3 bits for each bit of the vector, 6 KB at 16,384. Because the projections of one
/// rotation are orthogonal, they lose less than independent ones.
///
/// ```
/// use mnemocore::{encoder::Projection, hdv::Dimension};
///
/// let projection = Projection::new(3, Dimension::default())?;
/// let a = projection.project(&[1.0, 0.0, 0.2])?;
/// let b = projection.project(&[0.9, 0.1, 0.3])?;
/// assert!(a.similarity(&b)? > 0.8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Projection {
    inputs: usize,
    dim: Dimension,
    /// The sign bits of each round of each block.
    signs: Vec<[Hypervector; ROUNDS]>,
}

impl Projection {
    /// A projection of embeddings of `inputs` numbers. The signs are generated
    /// by [`Hypervector::random`] from fixed seeds and depend on nothing else
    /// than block and round.
    ///
    /// # Errors
    /// [`EncodeError::EmbeddingLength`] unless `inputs` is from 1 to 2^20.
    pub fn new(inputs: usize, dim: Dimension) -> Result<Self, EncodeError> {
        let width = inputs.max(MIN_BLOCK).checked_next_power_of_two();
        let (Some(block), false) = (width.and_then(|n| Dimension::new(n).ok()), inputs == 0) else {
            return Err(EncodeError::EmbeddingLength { expected: 1..=Dimension::MAX_BITS, received: inputs });
        };
        let seed = |at: usize, round: usize| SEED ^ (((at * ROUNDS + round) as u64) << 32);
        let signs = (0..dim.bits().div_ceil(block.bits()))
            .map(|at| std::array::from_fn(|round| Hypervector::random(block, seed(at, round))))
            .collect();
        Ok(Self { inputs, dim, signs })
    }

    /// Numbers of an embedding.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The bits of an embedding: 1 where its projection is not negative. Only
    /// its direction counts, so its norm beside the bits is 1.
    ///
    /// # Errors
    /// [`EncodeError::EmbeddingLength`] for another length than `inputs`,
    /// [`EncodeError::InvalidEmbedding`] if a number is not finite or all are 0.
    pub fn project(&self, embedding: &[f32]) -> Result<Hypervector, EncodeError> {
        let projections = self.rotate(embedding)?;
        Ok(Hypervector::from_words(pack(&projections, |value| value >= 0.0))?)
    }

    /// The embedding as a query that keeps how large each projection is, in
    /// `planes` planes. With two planes instead of the bare bits, recall@10
    /// against the exact cosine rises from .917 to .936 at 16,384 bits and from
    /// .63 to .70 for sketches of 512 (clustered vectors of 384 numbers); more
    /// planes add less than .01.
    ///
    /// # Errors
    /// As [`project`](Self::project), and [`EncodeError::Vector`] unless `planes` is
    /// from 1 to [`SignedPlanes::MAX_PLANES`].
    pub fn project_query(&self, embedding: &[f32], planes: usize) -> Result<QueryVector, EncodeError> {
        // Refuses a wrong number of planes; a single row shows the best step.
        let unit_normal = Hypervector::zeros(self.dim);
        let model = SignedPlanes::new(&[unit_normal.words()], &[1], planes)?;
        let step = 2.0 * model.unit() as f32;

        let projections = self.rotate(embedding)?;
        let squares: f32 = projections.iter().map(|value| value * value).sum();
        let deviation = (squares / projections.len() as f32).sqrt();
        // Above 0 the conversion to an integer rounds down.
        let (middle, highest) = (1 << (planes - 1), (1 << planes) - 1);
        let per_step = 1.0 / (deviation * step);
        let level = |value: f32| {
            let level = value * per_step + middle as f32;
            level.clamp(0.0, highest as f32) as i32
        };
        let levels: Vec<i32> = projections.into_iter().map(level).collect();
        let words = (0..planes).flat_map(|plane| pack(&levels, |level| (level >> plane) & 1 == 1)).collect();
        // Of unit deviation, and averaged over the bits.
        let unit = step / 2.0 / self.dim.bits() as f32;
        Ok(QueryVector::from_planes(words, planes, unit))
    }

    /// The first `dim` numbers of all rotations.
    fn rotate(&self, embedding: &[f32]) -> Result<Vec<f32>, EncodeError> {
        if embedding.len() != self.inputs {
            return Err(EncodeError::EmbeddingLength {
                expected: self.inputs..=self.inputs,
                received: embedding.len(),
            });
        }
        let largest = embedding.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
        if largest == 0.0 || embedding.iter().any(|value| !value.is_finite()) {
            return Err(EncodeError::InvalidEmbedding);
        }
        let mut out = Vec::with_capacity(self.dim.bits());
        for rounds in &self.signs {
            let start = out.len();
            out.extend(embedding.iter().map(|value| value / largest));
            let block = rounds.first().map_or(0, |signs| signs.dimension().bits());
            out.resize(start + block, 0.0);
            let rotated = out.get_mut(start..).unwrap_or_default();
            for signs in rounds {
                flip(rotated, signs);
                hadamard(rotated);
            }
        }
        out.truncate(self.dim.bits());
        Ok(out)
    }
}

/// Negates the values whose bit is set.
fn flip(values: &mut [f32], signs: &Hypervector) {
    for (values, &word) in values.chunks_mut(64).zip(signs.words()) {
        for (at, value) in values.iter_mut().enumerate() {
            let sign = (((word >> at) & 1) as u32) << 31;
            *value = f32::from_bits(value.to_bits() ^ sign);
        }
    }
}

/// The Walsh-Hadamard transform in place. Only additions in a fixed order, so
/// the same on every platform; three rounds on values up to 1 stay below
/// `length^3`, at most 2^60.
fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

/// A bit for each value.
fn pack<T: Copy>(values: &[T], bit: impl Fn(T) -> bool) -> Vec<u64> {
    let word = |values: &[T]| {
        let bits = values.iter().enumerate();
        bits.fold(0, |word, (at, &value)| word | (u64::from(bit(value)) << at))
    };
    values.chunks(64).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn embedding(inputs: usize, seed: u64) -> Vec<f32> {
        let dim = Dimension::new(inputs.next_multiple_of(64) * 64).unwrap();
        let noise = Hypervector::random(dim, seed);
        let normal = |word: &u64| word.count_ones() as f32 - 32.0;
        noise.words().iter().take(inputs).map(normal).collect()
    }

    fn mix(a: &[f32], b: &[f32], share: f32) -> Vec<f32> {
        a.iter().zip(b).map(|(a, b)| a * share + b * (1.0 - share)).collect()
    }

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn the_distance_is_the_angle() {
        for inputs in [2, 3, 64, 384, 1000, 16_000] {
            let dim = Dimension::default();
            let projection = Projection::new(inputs, dim).unwrap();
            let (a, b) = (embedding(inputs, 1), embedding(inputs, 2));
            for share in [0.0, 0.3, 0.6, 0.9, 1.0] {
                let other = mix(&a, &b, share);
                let angle = cosine(&a, &other).clamp(-1.0, 1.0).acos();
                let [x, y] = [&a, &other].map(|v| projection.project(v).unwrap());
                let distance = f64::from(x.hamming(&y).unwrap()) / dim.bits() as f64;
                let error = distance - angle / std::f64::consts::PI;
                assert!(error.abs() < 0.025, "{inputs} {share}: {error}");
            }
        }
    }

    #[test]
    fn sparse_embeddings_are_mixed() {
        let projection = Projection::new(128, Dimension::default()).unwrap();
        let one = |at: usize| {
            let mut v = vec![0.0; 128];
            v[at] = 1.0;
            v
        };
        let [a, b] = [0, 77].map(|at| projection.project(&one(at)).unwrap());
        assert!(a.similarity(&b).unwrap().abs() < 0.05);
        let both = projection.project(&mix(&one(0), &one(77), 0.5)).unwrap();
        assert!((both.similarity(&a).unwrap() - 0.5).abs() < 0.05);
    }

    /// The format: projected embeddings are stored.
    #[test]
    fn the_bits_are_those_of_version_1() {
        let ramp: Vec<f32> = (0..100_u8).map(|i| f32::from(i) - 40.0).collect();
        let projected = Projection::new(100, Dimension::default()).unwrap().project(&ramp).unwrap();
        assert_eq!(projected.words()[..2], [0x6e16_c82d_4ff1_2532, 0x161e_25b3_65eb_580f]);
        let hash = xxhash_rust::xxh3::xxh3_64(&projected.to_le_bytes());
        assert_eq!(hash, 0xabab_c994_17b4_2b91);
    }

    #[test]
    fn a_query_ranks_as_the_cosine_does() {
        let dim = Dimension::new(4096).unwrap();
        let projection = Projection::new(384, dim).unwrap();
        let (a, b) = (embedding(384, 1), embedding(384, 2));
        for planes in 1..=SignedPlanes::MAX_PLANES {
            let query = projection.project_query(&a, planes).unwrap();
            let scores = [0.0, 0.3, 0.5, 0.7, 1.0].map(|share| {
                let row = projection.project(&mix(&a, &b, share)).unwrap();
                query.score(row.words(), 1.0)
            });
            assert!(scores.is_sorted(), "{planes}: {scores:?}");
            // The mean absolute value of a unit normal variable.
            assert!((scores[4] - 0.798).abs() < 0.2, "{planes}: {scores:?}");
        }
    }

    #[test]
    fn what_is_no_embedding_is_refused() {
        let dim = Dimension::default();
        assert!(matches!(Projection::new(0, dim), Err(EncodeError::EmbeddingLength { .. })));
        assert!(matches!(Projection::new(usize::MAX, dim), Err(EncodeError::EmbeddingLength { .. })));
        let projection = Projection::new(2, dim).unwrap();
        assert_eq!(
            projection.project(&[1.0]),
            Err(EncodeError::EmbeddingLength { expected: 2..=2, received: 1 })
        );
        for invalid in [[0.0, 0.0], [f32::NAN, 1.0], [1.0, f32::INFINITY], [-0.0, 0.0]] {
            assert_eq!(projection.project(&invalid), Err(EncodeError::InvalidEmbedding));
        }
        assert!(matches!(projection.project_query(&[1.0, 2.0], 0), Err(EncodeError::Vector(_))));
    }

    proptest! {
        #[test]
        fn only_the_direction_counts(values in proptest::collection::vec(-1.0_f32..1.0, 5), power in -60_i32..60) {
            prop_assume!(values.iter().any(|value| *value != 0.0));
            let projection = Projection::new(5, Dimension::new(256).unwrap()).unwrap();
            let scaled: Vec<f32> = values.iter().map(|value| value * 2.0_f32.powi(power)).collect();
            prop_assume!(scaled.iter().zip(&values).all(|(s, v)| s.is_normal() == v.is_normal()));
            let [a, b] = [&values, &scaled].map(|v| projection.project(v).unwrap());
            prop_assert_eq!(a, b);
        }
    }
}
