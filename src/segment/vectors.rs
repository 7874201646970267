//! The vectors that callers supplied, of the rows of a packed segment.

use xxhash_rust::xxh3::xxh3_64;

use super::column::Column;

/// Words of the supplied vectors, in the order of their rows.
pub(super) struct Vectors {
    /// All vectors, one after another.
    pub(super) words: Column<u64>,
    /// A checksum of each vector.
    pub(super) checksums: Column<u32>,
    /// Words of one vector.
    length: usize,
    /// How many rows before each 64 have a vector.
    ranks: Box<[u32]>,
}

impl Vectors {
    /// Vectors of `length` words each, for the rows whose bit in `supplied` is set, and their
    /// checksums; `None` if there are not as many as such rows.
    pub(super) fn new(
        words: Column<u64>,
        length: usize,
        supplied: &[u64],
        checksums: Column<u32>,
    ) -> Option<Self> {
        let mut rank = 0;
        let ranks = supplied.iter().map(|bits| {
            let before = rank;
            rank += bits.count_ones();
            before
        });
        let ranks = ranks.collect();
        let fits = length.checked_mul(rank as usize) == Some(words.len()) && checksums.len() == rank as usize;
        fits.then_some(Self { words, checksums, length, ranks })
    }

    /// As [`Vectors::new`], of vectors that are not in a file yet.
    pub(super) fn of(words: Vec<u64>, length: usize, supplied: &[u64]) -> Option<Self> {
        let checksums = words.chunks_exact(length.max(1)).map(checksum).collect();
        Self::new(words.into(), length, supplied, checksums)
    }

    /// The vector in `row`, whose bit in `supplied` is set.
    pub(super) fn get(&self, supplied: &[u64], row: u32) -> Option<&[u64]> {
        let start = self.place(supplied, row)? * self.length;
        self.words.get(start..start + self.length)
    }

    /// As [`Vectors::get`]; `None` if it is not the vector that was written.
    pub(super) fn sound(&self, supplied: &[u64], row: u32) -> Option<&[u64]> {
        let expected = *self.checksums.get(self.place(supplied, row)?)?;
        self.get(supplied, row).filter(|vector| checksum(vector) == expected)
    }

    /// How many vectors are before that in `row`.
    fn place(&self, supplied: &[u64], row: u32) -> Option<usize> {
        let (word, bit) = (row as usize / 64, row % 64);
        let within = supplied.get(word)? & ((1 << bit) - 1);
        Some((self.ranks.get(word)? + within.count_ones()) as usize)
    }

    /// Bytes of anonymous memory.
    pub(super) fn heap_bytes(&self) -> usize {
        self.words.heap_bytes() + self.checksums.heap_bytes() + size_of_val(&*self.ranks)
    }
}

fn checksum(vector: &[u64]) -> u32 {
    xxh3_64(bytemuck::cast_slice(vector)) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_has_the_vector_that_came_with_it(
            rows in prop::collection::vec(prop::option::of(any::<[u64; 2]>()), 1..200),
        ) {
            let mut supplied = vec![0u64; rows.len().div_ceil(64)];
            rows.iter().enumerate().filter(|(_, row)| row.is_some()).for_each(|(at, _)| supplied[at / 64] |= 1 << (at % 64));
            let words: Vec<u64> = rows.iter().flatten().flatten().copied().collect();
            let vectors = Vectors::of(words.clone(), 2, &supplied).unwrap();
            for (at, row) in rows.iter().enumerate() {
                if let Some(row) = row {
                    prop_assert_eq!(vectors.get(&supplied, at as u32), Some(row.as_slice()));
                    prop_assert_eq!(vectors.sound(&supplied, at as u32), Some(row.as_slice()));
                }
            }
            prop_assert!(Vectors::of(words, 3, &supplied).is_none() || rows.iter().flatten().count() == 0);
        }
    }
}
