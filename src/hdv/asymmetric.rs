//! Signed queries: integer weights against bits.

use super::vector::{check_weighted_rows, expect_words};
use super::{HdvError, kernels};

/// The step between quantizer levels, in standard deviations, that has the
/// least squared error for a normal variable and 2, 4, 8 or 16 levels
/// (J. Max, "Quantizing for Minimum Distortion", 1960, table II).
const STEPS: [f64; kernels::MAX_PLANES] = [1.596, 0.9957, 0.5860, 0.3352];

/// A weighted sum of vectors that keeps, unlike their bundle, how decided each
/// bit is: the query of an asymmetric comparison, in a few bits per dimension.
///
/// With rows read as ±1, bit `b` of the query is the sum
/// `s_b = sum_i w_i * row_i[b]`, rounded to an odd integer `q_b` from
/// `-(2^P - 1)` to `2^P - 1` so that `s_b` is near `q_b * unit`. The levels are
/// equidistant, the step is the best one for a normal `s_b` of standard
/// deviation `sqrt(sum_i w_i^2)`, and larger sums are clamped. A sum of exactly
/// zero counts as positive; bundles decide ties by a random vector instead, so
/// that tied bits of a query and of a bundle do not seem to agree.
///
/// ```
/// use mnemocore::hdv::{Dimension, Hypervector, SignedPlanes};
///
/// let dim = Dimension::default();
/// let [cat, mat, dog] = [1, 2, 3].map(|seed| Hypervector::random(dim, seed));
/// let query = SignedPlanes::new(&[cat.words(), mat.words()], &[9, 2], 2)?;
///
/// let about_cats = query.score(cat.words())?;
/// assert!(about_cats > query.score(mat.words())?);
/// assert!(about_cats > query.score(dog.words())?);
/// # Ok::<(), mnemocore::hdv::HdvError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SignedPlanes {
    /// `count` rows of words, one after another; plane `p` has the value `2^p`.
    planes: Box<[u64]>,
    count: usize,
    unit: f64,
}

impl SignedPlanes {
    /// The most planes, `P` above.
    pub const MAX_PLANES: usize = kernels::MAX_PLANES;

    /// The sum of `rows` times `weights`, in `planes` planes. Two planes lose
    /// little against exact sums; one plane is a bundle.
    ///
    /// # Errors
    /// [`HdvError::PlaneCount`] unless `planes` is from 1 to
    /// [`MAX_PLANES`](Self::MAX_PLANES); [`HdvError::WeightCount`],
    /// [`HdvError::NothingToBundle`] and [`HdvError::DimensionMismatch`] for rows
    /// and weights that do not fit each other.
    pub fn new(rows: &[&[u64]], weights: &[u16], planes: usize) -> Result<Self, HdvError> {
        let Some(step) = planes.checked_sub(1).and_then(|index| STEPS.get(index)) else {
            return Err(HdvError::PlaneCount { received: planes });
        };
        let dim = check_weighted_rows(rows, weights)?;
        let squares: f64 = weights.iter().map(|&weight| f64::from(weight).powi(2)).sum();
        let step = step * squares.sqrt();

        let mut query =
            Self { planes: vec![0; planes * dim.words()].into(), count: planes, unit: step / 2.0 };
        let cuts = cuts(weights, planes, step);
        kernels::best().quantise_sums(rows, weights, &cuts, &mut query.planes);
        Ok(query)
    }

    /// `sum_b q_b * (±1 of bit b of row)`. Times [`unit`](Self::unit) it is about
    /// the dot product of the unrounded sums with the row.
    ///
    /// # Errors
    /// [`HdvError::DimensionMismatch`].
    pub fn score(&self, row: &[u64]) -> Result<i32, HdvError> {
        expect_words(self.words(), row.len())?;
        Ok(kernels::best().asymmetric_score(&self.planes, self.count, row))
    }

    /// The [`score`](Self::score) of every row of `rows`, which stand one after
    /// another, into `out`.
    ///
    /// # Errors
    /// [`HdvError::DimensionMismatch`] unless `rows` holds `out.len()` rows.
    pub fn score_rows(&self, rows: &[u64], out: &mut [i32]) -> Result<(), HdvError> {
        expect_words(self.words().saturating_mul(out.len()), rows.len())?;
        kernels::best().asymmetric_rows(&self.planes, self.count, rows, out);
        Ok(())
    }

    /// Returns the weight that a difference of 1 in `q_b` stands for: half a step.
    pub fn unit(&self) -> f64 {
        self.unit
    }

    /// The number of planes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The words of one plane.
    pub fn words(&self) -> usize {
        self.planes.len() / self.count
    }

    /// The planes one after another, the least significant first.
    pub fn planes(&self) -> &[u64] {
        &self.planes
    }

    /// The first `words` words of every plane, one after another: the query for
    /// sketches of that length.
    ///
    /// # Errors
    /// [`HdvError::SketchLength`] if `words` is 0 or more than a plane has.
    pub fn prefixes(&self, words: usize) -> Result<Vec<u64>, HdvError> {
        if words == 0 || words > self.words() {
            return Err(HdvError::SketchLength { received: words.saturating_mul(64) });
        }
        let planes = self.planes.chunks_exact(self.words());
        Ok(planes.flat_map(|plane| plane.iter().take(words).copied()).collect())
    }
}

/// The least weights of ones at which a bit reaches the levels above the
/// lowest: `s_b = 2 * ones - total` is cut at the multiples of `step`.
fn cuts(weights: &[u16], planes: usize, step: f64) -> Vec<u32> {
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let middle = 1 << (planes - 1);
    (1..2 * middle)
        .map(|level| (total + f64::from(level - middle) * step) / 2.0)
        .map(|ones| ones.ceil().max(0.0) as u32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hdv::{Dimension, Hypervector};

    fn rows(dim: Dimension, count: u64) -> Vec<Hypervector> {
        (0..count).map(|seed| Hypervector::random(dim, seed)).collect()
    }

    /// The sums `s_b` in plain arithmetic.
    fn sums(rows: &[&[u64]], weights: &[u16], bits: usize) -> Vec<f64> {
        let sign = |row: &[u64], at: usize| (row[at / 64] >> (at % 64) & 1) as f64 * 2.0 - 1.0;
        (0..bits)
            .map(|at| rows.iter().zip(weights).map(|(row, &w)| f64::from(w) * sign(row, at)).sum())
            .collect()
    }

    fn quantised(query: &SignedPlanes, at: usize) -> f64 {
        let planes = query.planes().chunks_exact(query.words()).enumerate();
        planes
            .map(|(p, plane)| ((plane[at / 64] >> (at % 64) & 1) as f64 * 2.0 - 1.0) * f64::from(1 << p))
            .sum()
    }

    #[test]
    fn each_sum_goes_to_the_nearest_level() {
        let dim = Dimension::new(704).unwrap();
        let rows = rows(dim, 20);
        let rows: Vec<_> = rows.iter().map(Hypervector::words).collect();
        let weights: Vec<u16> = (1..=20).map(|i| i * i).collect();
        for planes in 1..=SignedPlanes::MAX_PLANES {
            let query = SignedPlanes::new(&rows, &weights, planes).unwrap();
            let highest = f64::from((1 << planes) - 1);
            for (at, sum) in sums(&rows, &weights, dim.bits()).into_iter().enumerate() {
                let level = (sum / query.unit() / 2.0).floor() * 2.0 + 1.0;
                assert_eq!(quantised(&query, at), level.clamp(-highest, highest), "{sum}");
            }
        }
    }

    #[test]
    fn more_planes_leave_the_error_that_max_computed() {
        let dim = Dimension::default();
        let rows = rows(dim, 60);
        let rows: Vec<_> = rows.iter().map(Hypervector::words).collect();
        let weights = [100; 60];
        let sums = sums(&rows, &weights, dim.bits());
        let variance: f64 = sums.iter().map(|sum| sum * sum).sum();
        for (planes, expected) in [(1, 0.363), (2, 0.119), (3, 0.0374), (4, 0.0115)] {
            let query = SignedPlanes::new(&rows, &weights, planes).unwrap();
            let error: f64 = sums
                .iter()
                .enumerate()
                .map(|(at, sum)| (sum - quantised(&query, at) * query.unit()).powi(2))
                .sum();
            assert!((error / variance / expected - 1.0).abs() < 0.15, "{planes}: {}", error / variance);
        }
    }

    #[test]
    fn a_single_row_scores_itself_highest() {
        let dim = Dimension::new(4096).unwrap();
        let row = Hypervector::random(dim, 1);
        for planes in 1..=SignedPlanes::MAX_PLANES {
            let query = SignedPlanes::new(&[row.words()], &[3], planes).unwrap();
            assert!(query.score(row.words()).unwrap() > 0);
            let mut scores = [0; 2];
            query.score_rows(&[row.words(), row.words()].concat(), &mut scores).unwrap();
            assert_eq!(scores, [query.score(row.words()).unwrap(); 2]);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let row = [0; 4];
        let new = SignedPlanes::new;
        assert_eq!(new(&[&row], &[1], 0), Err(HdvError::PlaneCount { received: 0 }));
        assert_eq!(new(&[&row], &[1], 5), Err(HdvError::PlaneCount { received: 5 }));
        assert_eq!(new(&[&row], &[], 2), Err(HdvError::WeightCount { expected: 1, received: 0 }));
        assert_eq!(new(&[&row], &[0], 2), Err(HdvError::NothingToBundle));
        let query = new(&[&row], &[1], 2).unwrap();
        let mismatch = HdvError::DimensionMismatch { expected: 256, received: 192 };
        assert_eq!(query.score(&row[..3]), Err(mismatch));
        assert_eq!(query.prefixes(5), Err(HdvError::SketchLength { received: 320 }));
    }
}
