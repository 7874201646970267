//! Hypervectors: long random bit strings that are bound, bundled, permuted
//! and compared (Kanerva, "Hyperdimensional Computing", 2009).
//!
//! | operation | here | undone by |
//! |---|---|---|
//! | bind | XOR | binding again |
//! | bundle | weighted majority per bit | - (the result is similar to each input) |
//! | permute | rotation of the whole bit string | the opposite rotation |
//! | compare | Hamming distance | |
//!
//! Bit `i` of a vector is bit `i % 64` of word `i / 64`; bytes are little-endian.
//!
//! ```
//! use mnemocore::hdv::{Dimension, Hypervector};
//!
//! let dim = Dimension::default();
//! let [role, filler, noise] = [1, 2, 3].map(|seed| Hypervector::random(dim, seed));
//!
//! let pair = role.bind(&filler)?;
//! let record = Hypervector::bundle(&[&pair, &noise, &role])?;
//! // Asking the record for what filled the role gives something like the filler.
//! let answer = record.bind(&role)?;
//! assert!(answer.similarity(&filler)? > 0.4);
//! # Ok::<(), mnemocore::hdv::HdvError>(())
//! ```

mod asymmetric;
mod dimension;
pub(crate) mod kernels;
mod random;
mod sketch;
mod vector;

pub use asymmetric::SignedPlanes;
pub use dimension::Dimension;
pub use sketch::SketchBlocks;
pub use vector::Hypervector;

/// Why hypervectors could not be made or combined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HdvError {
    /// The number of bits is not a [`Dimension`].
    #[error(
        "dimension: expected a multiple of 64 from 64 to {max} bits, received {received}",
        max = Dimension::MAX_BITS
    )]
    InvalidDimension {
        /// Bits asked for.
        received: usize,
    },
    /// Two operands have different lengths.
    #[error(
        "vector of {received} bits where {expected} were expected; \
         vectors are combined only with vectors of their own dimension"
    )]
    DimensionMismatch {
        /// Bits of the first operand, or of the container.
        expected: usize,
        /// Bits of the operand that does not fit.
        received: usize,
    },
    /// Bytes that are not whole words.
    #[error("expected a multiple of 8 bytes, received {received}")]
    PartialWord {
        /// Bytes given.
        received: usize,
    },
    /// A weighted sum over nothing: no rows, or every weight zero.
    #[error("nothing to bundle: expected at least one vector with a weight above zero")]
    NothingToBundle,
    /// Rows and weights do not pair up.
    #[error("expected a weight for each of {expected} vectors, received {received} weights")]
    WeightCount {
        /// Vectors given.
        expected: usize,
        /// Weights given.
        received: usize,
    },
    /// A quantized query with an unsupported number of planes.
    #[error("expected 1 to {max} bit planes, received {received}", max = SignedPlanes::MAX_PLANES)]
    PlaneCount {
        /// Planes asked for.
        received: usize,
    },
    /// A sketch that is not a whole number of words, or longer than its vectors.
    #[error(
        "sketch length: expected a multiple of 64 from 64 to {max} bits, received {received}",
        max = SketchBlocks::MAX_BITS
    )]
    SketchLength {
        /// Bits asked for.
        received: usize,
    },
}
