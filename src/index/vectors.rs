//! The vectors of rows: supplied ones as they are stored, those of texts as they are derived.

use crate::encoder::{Encoder, TermVector};
use crate::error::Error;
use crate::hdv::kernels;
use crate::segment::Segment;

/// Reads the vectors of rows, and derives those of texts from their terms: bundling a dozen known
/// terms takes about 2 us.
pub struct RowVectors<'e> {
    encoder: &'e Encoder,
    derived: Vec<u64>,
}

impl<'e> RowVectors<'e> {
    /// Vectors as `encoder` makes them.
    pub fn new(encoder: &'e Encoder) -> Self {
        Self { encoder, derived: Vec::new() }
    }

    /// The vector in `row` of `segment`: the supplied one, or else that of the text.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the row does not read as it was written, [`Error::Encode`].
    pub fn get<'a>(&'a mut self, segment: &'a Segment, row: u32) -> Result<&'a [u64], Error> {
        if segment.is_supplied(row) {
            let vector = segment.vector(row)?;
            let fits = vector.len() == self.encoder.dimension().words();
            return fits.then_some(vector).ok_or_else(|| segment.damaged("a vector"));
        }
        self.derived.clear();
        let vector = self.encoder.encode(&TermVector::from(&segment.counts(row)?))?;
        self.derived.extend_from_slice(vector.words());
        Ok(&self.derived)
    }

    /// Says that the vector in `row` is wanted soon. If it is stored, its first words are then on
    /// their way to the CPU.
    pub fn prefetch(&self, segment: &Segment, row: u32) {
        if segment.is_supplied(row)
            && let Ok(vector) = segment.vector(row)
        {
            kernels::prefetch(vector);
        }
    }
}
