//! How far a search for the nearest vectors goes, in a table that stores share.

use super::client::NEIGHBOURS;

/// In a namespace of up to so many memories all vectors are compared, which
/// takes as long as the index takes to find some.
pub(super) const COMPARED: usize = 2_048;

/// So many more are compared for each vector of others that the index passes over,
/// which takes it as long (measured with all in RAM, ten asked for among 300,000).
const FOR_EACH_PASSED: usize = 12;

/// How far a search for the nearest vectors goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The index gives the nearest of the whole table at once.
    Nearest,
    /// The index goes on until there are as many as are asked for, or it gives up. That
    /// takes half as long again even where the nearest would have been enough.
    Enough,
    /// All of the namespace are compared.
    All,
}

impl Reach {
    /// What to do if it gave `found` of the `wanted` ones, in a namespace of `len`.
    pub(super) fn further(self, len: usize, wanted: usize, found: usize) -> Self {
        match self {
            Self::Nearest if !is_soon_compared(len, wanted, found) => Self::Enough,
            _ => Self::All,
        }
    }
}

/// Whether all vectors of a namespace are compared in the time in which the index finds the
/// `wanted` ones, if only `found` of the nearest of the table belong to it.
fn is_soon_compared(len: usize, wanted: usize, found: usize) -> bool {
    let passed = wanted.saturating_mul(NEIGHBOURS) / found.max(1);
    len <= COMPARED.saturating_add(passed.saturating_mul(FOR_EACH_PASSED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_vectors_are_compared_the_more_of_others_are_passed_over() {
        let most = |wanted, found| (0..100_000).rfind(|&len| is_soon_compared(len, wanted, found));
        // All of the hundred nearest, a half, a third, one of them; none, of more.
        let found =
            [(100, 100), (100, 50), (10, 3), (10, 1), (50, 0)].map(|(wanted, found)| most(wanted, found));
        assert_eq!(found, [3_248, 4_448, 6_044, 14_048, 62_048].map(Some));
    }

    #[test]
    fn a_search_that_gave_too_few_ends_with_all() {
        let further = |reach: Reach| reach.further(20_000, 10, 3);
        assert_eq!(further(Reach::Nearest), Reach::Enough);
        assert_eq!(further(Reach::Enough), Reach::All);
        assert_eq!(Reach::Nearest.further(5_000, 10, 3), Reach::All);
    }
}
