//! Tables of sketches for the first stage of a search.

use super::kernels::{self, SKETCH_ROWS};
use super::{HdvError, SignedPlanes};

/// The first bits of many vectors, in the layout that is scanned fastest:
/// blocks of 16 rows with their words interleaved, so that one register holds
/// the same word of several rows and distances need no sums across lanes.
///
/// The first bits are as good a sample of a vector as any others.
///
/// ```
/// use mnemocore::hdv::{Dimension, Hypervector, SketchBlocks};
///
/// let dim = Dimension::default();
/// let vectors: Vec<_> = (0..100).map(|seed| Hypervector::random(dim, seed)).collect();
/// let mut sketches = SketchBlocks::new(512)?;
/// for vector in &vectors {
///     sketches.push(vector.words())?;
/// }
/// let mut distances = Vec::new();
/// sketches.distances(vectors[42].words(), &mut distances)?;
/// assert_eq!(distances.len(), 100);
/// assert_eq!(distances[42], 0);
/// # Ok::<(), mnemocore::hdv::HdvError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SketchBlocks {
    prefix_words: usize,
    rows: usize,
    /// Whole blocks; rows beyond the last are zero.
    blocks: Vec<u64>,
}

impl SketchBlocks {
    /// The longest sketch: beyond it, distances leave the 16 bits kept for them.
    pub const MAX_BITS: usize = (1 << 16) - 64;

    /// An empty table of sketches of `bits` bits.
    ///
    /// # Errors
    /// [`HdvError::SketchLength`] unless `bits` is a multiple of 64 from 64 to
    /// [`MAX_BITS`](Self::MAX_BITS).
    pub fn new(bits: usize) -> Result<Self, HdvError> {
        if bits == 0 || !bits.is_multiple_of(64) || bits > Self::MAX_BITS {
            return Err(HdvError::SketchLength { received: bits });
        }
        Ok(Self { prefix_words: bits / 64, rows: 0, blocks: Vec::new() })
    }

    /// The number of sketches.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The words of a sketch.
    pub fn prefix_words(&self) -> usize {
        self.prefix_words
    }

    /// Adds the first bits of `vector` as row [`len`](Self::len).
    ///
    /// # Errors
    /// [`HdvError::DimensionMismatch`] if the vector is shorter than a sketch.
    pub fn push(&mut self, vector: &[u64]) -> Result<(), HdvError> {
        let prefix = self.prefix(vector)?;
        if self.rows.is_multiple_of(SKETCH_ROWS) {
            self.blocks.resize(self.blocks.len() + self.prefix_words * SKETCH_ROWS, 0);
        }
        self.rows += 1;
        self.write(self.rows - 1, prefix.iter().copied());
        Ok(())
    }

    /// Replaces row `row`; does nothing if there is no such row.
    ///
    /// # Errors
    /// [`HdvError::DimensionMismatch`] if the vector is shorter than a sketch.
    pub fn replace(&mut self, row: usize, vector: &[u64]) -> Result<(), HdvError> {
        let prefix = self.prefix(vector)?;
        if row < self.rows {
            self.write(row, prefix.iter().copied());
        }
        Ok(())
    }

    /// Removes row `row` by moving the last row to its place, as
    /// [`Vec::swap_remove`] does; does nothing if there is no such row.
    pub fn swap_remove(&mut self, row: usize) {
        if row >= self.rows {
            return;
        }
        let last: Vec<u64> = self.row_words(self.rows - 1).copied().collect();
        self.write(row, last.into_iter());
        self.rows -= 1;
        // Rows beyond the last stay zero, so that equal tables compare equal.
        self.write(self.rows, std::iter::repeat_n(0, self.prefix_words));
        let blocks = self.rows.div_ceil(SKETCH_ROWS);
        self.blocks.truncate(blocks * self.prefix_words * SKETCH_ROWS);
    }

    /// Row `row` as it was added, if there is one.
    pub fn row(&self, row: usize) -> Option<Vec<u64>> {
        (row < self.rows).then(|| self.row_words(row).copied().collect())
    }

    /// The Hamming distance of the first bits of `vector` to every row, in the
    /// order of the rows, into `out`, whose allocation is reused.
    ///
    /// # Errors
    /// [`HdvError::DimensionMismatch`] if the vector is shorter than a sketch.
    pub fn distances(&self, vector: &[u64], out: &mut Vec<u16>) -> Result<(), HdvError> {
        let prefix = self.prefix(vector)?;
        out.resize(self.rows.next_multiple_of(SKETCH_ROWS), 0);
        kernels::best().sketch_distances(prefix, &self.blocks, out);
        out.truncate(self.rows);
        Ok(())
    }

    /// The score of every row against the first bits of a signed query, in the
    /// order of the rows, into `out`, whose allocation is reused.
    ///
    /// # Errors
    /// [`HdvError::SketchLength`] if the query is shorter than a sketch.
    pub fn scores(&self, query: &SignedPlanes, out: &mut Vec<i32>) -> Result<(), HdvError> {
        let prefixes = query.prefixes(self.prefix_words)?;
        out.resize(self.rows.next_multiple_of(SKETCH_ROWS), 0);
        kernels::best().sketch_scores(&prefixes, query.count(), &self.blocks, out);
        out.truncate(self.rows);
        Ok(())
    }

    /// The blocks, for storage and for kernels.
    pub fn blocks(&self) -> &[u64] {
        &self.blocks
    }

    fn prefix<'a>(&self, vector: &'a [u64]) -> Result<&'a [u64], HdvError> {
        vector.get(..self.prefix_words).ok_or(HdvError::DimensionMismatch {
            expected: self.prefix_words * 64,
            received: vector.len() * 64,
        })
    }

    /// The index of the first word of a row. Its words are `SKETCH_ROWS` apart.
    fn start(&self, row: usize) -> usize {
        row / SKETCH_ROWS * self.prefix_words * SKETCH_ROWS + row % SKETCH_ROWS
    }

    fn row_words(&self, row: usize) -> impl Iterator<Item = &u64> {
        self.blocks.iter().skip(self.start(row)).step_by(SKETCH_ROWS).take(self.prefix_words)
    }

    fn write(&mut self, row: usize, words: impl Iterator<Item = u64>) {
        let start = self.start(row);
        let slots = self.blocks.iter_mut().skip(start).step_by(SKETCH_ROWS);
        for (slot, word) in slots.take(self.prefix_words).zip(words) {
            *slot = word;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hdv::{Dimension, Hypervector};
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Edit {
        Push(u64),
        Replace(usize, u64),
        SwapRemove(usize),
    }

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let edit = prop_oneof![
            3 => any::<u64>().prop_map(Edit::Push),
            1 => (0..60_usize, any::<u64>()).prop_map(|(row, seed)| Edit::Replace(row, seed)),
            1 => (0..60_usize).prop_map(Edit::SwapRemove),
        ];
        prop::collection::vec(edit, 0..100)
    }

    proptest! {
        #[test]
        fn a_table_holds_what_a_plain_list_holds(edits in edits(), words in 1_usize..10) {
            let dim = Dimension::new(640).unwrap();
            let mut table = SketchBlocks::new(words * 64).unwrap();
            let mut list: Vec<Hypervector> = Vec::new();
            for edit in edits {
                match edit {
                    Edit::Push(seed) => {
                        list.push(Hypervector::random(dim, seed));
                        table.push(Hypervector::random(dim, seed).words()).unwrap();
                    }
                    Edit::Replace(row, seed) => {
                        let vector = Hypervector::random(dim, seed);
                        table.replace(row, vector.words()).unwrap();
                        if let Some(slot) = list.get_mut(row) {
                            *slot = vector;
                        }
                    }
                    Edit::SwapRemove(row) => {
                        table.swap_remove(row);
                        if row < list.len() {
                            list.swap_remove(row);
                        }
                    }
                }
            }
            prop_assert_eq!(table.len(), list.len());
            let mut afresh = SketchBlocks::new(words * 64).unwrap();
            for (row, vector) in list.iter().enumerate() {
                prop_assert_eq!(table.row(row), Some(vector.words()[..words].to_vec()));
                afresh.push(vector.words()).unwrap();
            }
            prop_assert_eq!(table, afresh);
        }

        #[test]
        fn distances_and_scores_are_those_of_the_prefixes(count in 0_u64..40, words in 1_usize..10) {
            let dim = Dimension::new(640).unwrap();
            let vectors: Vec<_> = (0..count).map(|seed| Hypervector::random(dim, seed)).collect();
            let mut table = SketchBlocks::new(words * 64).unwrap();
            for vector in &vectors {
                table.push(vector.words()).unwrap();
            }
            let query = Hypervector::random(dim, 1000);
            let signed = SignedPlanes::new(&[query.words()], &[3], 2).unwrap();
            let prefixes = signed.prefixes(words).unwrap();
            let (mut distances, mut scores) = (Vec::new(), Vec::new());
            table.distances(query.words(), &mut distances).unwrap();
            table.scores(&signed, &mut scores).unwrap();
            prop_assert_eq!(distances.len(), vectors.len());
            prop_assert_eq!(scores.len(), vectors.len());
            let kernels = kernels::best();
            for ((vector, distance), score) in vectors.iter().zip(distances).zip(scores) {
                let prefix = &vector.words()[..words];
                prop_assert_eq!(u32::from(distance), kernels.hamming(prefix, &query.words()[..words]));
                prop_assert_eq!(score, kernels.asymmetric_score(&prefixes, 2, prefix));
            }
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for bits in [0, 63, 65, SketchBlocks::MAX_BITS + 64] {
            assert_eq!(SketchBlocks::new(bits), Err(HdvError::SketchLength { received: bits }));
        }
        let mut table = SketchBlocks::new(512).unwrap();
        let mismatch = HdvError::DimensionMismatch { expected: 512, received: 256 };
        assert_eq!(table.push(&[0; 4]), Err(mismatch));
        assert!(table.is_empty());
    }
}
