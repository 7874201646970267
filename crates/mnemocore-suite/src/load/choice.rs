//! The choice among many memories: few are asked for often, most seldom.
//!
//! The distributions are those of YCSB (Cooper et al., "Benchmarking cloud serving
//! systems with YCSB", SoCC 2010, and its generators). Unlike
//! [`random`](criterion_gate::random) they take powers of floating-point numbers:
//! on another platform one draw in very many may differ.

use criterion_gate::random::Random;

/// YCSB's skew.
pub const THETA: f64 = 0.99;

/// Ranks from 0, the most frequent: rank r with a probability proportional to
/// 1 / (r + 1)^[`THETA`].
///
/// After Gray et al., "Quickly generating billion-record synthetic databases",
/// SIGMOD 1994: exact for the first two ranks, close for the others.
///
/// ```
/// use mnemocore_suite::load::choice::Zipfian;
/// use criterion_gate::random::Random;
///
/// let mut random = Random::new(1);
/// let zipfian = Zipfian::new(1000);
/// let first = (0..1000).filter(|_| zipfian.rank(&mut random) == 0).count();
/// assert!(first > 100);
/// ```
#[derive(Clone, Debug)]
pub struct Zipfian {
    count: u64,
    /// The sum of 1 / i^theta for i from 1 to `count`.
    zeta: f64,
    eta: f64,
}

impl Zipfian {
    /// Ranks below `count`, of which there is at least one. Takes time in
    /// proportion to `count`, 20 ns each.
    pub fn new(count: u64) -> Self {
        let mut zipfian = Self { count: 0, zeta: 0.0, eta: 0.0 };
        zipfian.grow_to(count.max(1));
        zipfian
    }

    /// As [`Zipfian::new`] where the sum is known.
    fn with_zeta(count: u64, zeta: f64) -> Self {
        let rest = 1.0 - THETA;
        let eta = (1.0 - (2.0 / count as f64).powf(rest)) / (1.0 - Self::zeta_of_two() / zeta);
        Self { count, zeta, eta }
    }

    fn zeta_of_two() -> f64 {
        1.0 + 0.5f64.powf(THETA)
    }

    /// Ranks below `count` from now on, in time proportional to those added.
    pub fn grow_to(&mut self, count: u64) {
        let added = (self.count + 1..=count).map(|i| (i as f64).powf(-THETA)).sum::<f64>();
        *self = Self::with_zeta(self.count.max(count), self.zeta + added);
    }

    /// Draws a rank.
    pub fn rank(&self, random: &mut Random) -> u64 {
        let unit = random.unit();
        let below = unit * self.zeta;
        if below < 1.0 || self.count == 1 {
            0
        } else if below < Self::zeta_of_two() {
            1
        } else {
            let share = (self.eta * unit - self.eta + 1.0).powf(1.0 / (1.0 - THETA));
            // The product may be rounded up.
            ((self.count as f64 * share) as u64).min(self.count - 1)
        }
    }
}

/// Ranks that YCSB scrambles are drawn below this, whatever the number of items.
const SCRAMBLED_RANKS: u64 = 10_000_000_000;
/// YCSB's sum of 1 / i^0.99 up to [`SCRAMBLED_RANKS`].
const SCRAMBLED_ZETA: f64 = 26.469_028_201_783_02;

/// A Zipfian choice whose frequent items are scattered: YCSB's scrambled Zipfian.
/// A rank below ten billion is hashed to an item.
#[derive(Clone, Debug)]
pub struct Scrambled {
    ranks: Zipfian,
    count: u64,
}

impl Scrambled {
    /// Items below `count`, of which there is at least one.
    pub fn new(count: u64) -> Self {
        let ranks = Zipfian::with_zeta(SCRAMBLED_RANKS, SCRAMBLED_ZETA);
        Self { ranks, count: count.max(1) }
    }

    /// Draws an item.
    pub fn item(&self, random: &mut Random) -> u64 {
        self.item_of(self.ranks.rank(random))
    }

    fn item_of(&self, rank: u64) -> u64 {
        // YCSB's hash is a signed number, of which it takes the amount.
        fnv(&rank.to_le_bytes()).cast_signed().unsigned_abs() % self.count
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, step)
}

/// The newest items most often: YCSB's skewed latest.
#[derive(Clone, Debug)]
pub struct Latest {
    ages: Zipfian,
}

impl Latest {
    /// Items below `count`, of which there is at least one.
    pub fn new(count: u64) -> Self {
        Self { ages: Zipfian::new(count) }
    }

    /// Items below `count` from now on; the new ones are the newest.
    pub fn grow_to(&mut self, count: u64) {
        self.ages.grow_to(count);
    }

    /// Draws an item.
    pub fn item(&self, random: &mut Random) -> u64 {
        self.ages.count - 1 - self.ages.rank(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DRAWS: usize = 400_000;

    /// Returns the number of draws of each of `count` items.
    fn frequencies(count: u64, mut draw: impl FnMut(&mut Random) -> u64) -> Vec<f64> {
        let (mut random, mut seen) = (Random::new(5), vec![0.0; count as usize]);
        (0..DRAWS).for_each(|_| seen[draw(&mut random) as usize] += 1.0);
        seen
    }

    fn zeta(count: u64) -> f64 {
        (1..=count).map(|i| (i as f64).powf(-THETA)).sum()
    }

    /// Five standard deviations of a Poisson count.
    fn assert_near(seen: f64, expected: f64, what: &str) {
        assert!((seen - expected).abs() < 5.0 * expected.sqrt(), "{what}: {seen} of {expected}");
    }

    #[test]
    fn zipfian_frequencies_follow_the_formula() {
        const COUNT: u64 = 1000;
        let zipfian = Zipfian::new(COUNT);
        let seen = frequencies(COUNT, |random| zipfian.rank(random));
        for rank in [0, 1] {
            let expected = DRAWS as f64 * ((rank + 1) as f64).powf(-THETA) / zeta(COUNT);
            assert_near(seen[rank], expected, &format!("rank {rank}"));
        }
        // Gray's approximation: the share of the first ranks, to two hundredths.
        for ranks in [5, 20, 100, 500] {
            let share = seen[..ranks].iter().sum::<f64>() / DRAWS as f64;
            let expected = zeta(ranks as u64) / zeta(COUNT);
            assert!((share - expected).abs() < 0.02, "first {ranks}: {share} of {expected}");
        }
    }

    #[test]
    fn the_sum_for_scrambled_ranks_is_the_right_one() {
        // Euler and Maclaurin: the head one by one, the rest as an integral.
        let (head, all) = (100_000u64, SCRAMBLED_RANKS as f64);
        let integral = |x: f64| x.powf(1.0 - THETA) / (1.0 - THETA);
        let rest = integral(all) - integral(head as f64) - (head as f64).powf(-THETA) / 2.0;
        assert!((zeta(head) + rest - SCRAMBLED_ZETA).abs() < 1e-6, "{}", zeta(head) + rest);
    }

    #[test]
    fn scrambling_scatters_the_frequent_items_and_keeps_their_frequency() {
        const COUNT: u64 = 1000;
        let scrambled = Scrambled::new(COUNT);
        let seen = frequencies(COUNT, |random| scrambled.item(random));
        let of_rank = |rank| scrambled.item_of(rank) as usize;
        assert!((0..5).map(of_rank).zip(0..).any(|(item, rank)| item != rank), "scattered");
        let mut often: Vec<usize> = (0..seen.len()).collect();
        often.sort_by(|&a, &b| seen[b].total_cmp(&seen[a]));
        assert_eq!(often[..2], [of_rank(0), of_rank(1)], "the most frequent");
        // Other ranks fall on the same item, about a thousandth of them each.
        let first = DRAWS as f64 / SCRAMBLED_ZETA;
        assert!(seen[of_rank(0)] > first - 5.0 * first.sqrt(), "{} of {first}", seen[of_rank(0)]);
        assert!(seen[of_rank(0)] < 1.1 * first, "{} of {first}", seen[of_rank(0)]);
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // Test vectors of FNV-1a.
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_newest_are_chosen_most_also_when_there_are_newer_ones() {
        let mut latest = Latest::new(500);
        for count in [500, 1000] {
            latest.grow_to(count);
            let seen = frequencies(count, |random| latest.item(random));
            let newest = count as usize - 1;
            assert_near(seen[newest], DRAWS as f64 / zeta(count), "the newest");
            let half = seen[newest / 2..].iter().sum::<f64>();
            assert!(half > 0.85 * DRAWS as f64, "newer half: {half}");
        }
    }

    proptest! {
        #[test]
        fn draws_follow_from_the_seed_and_stay_in_range(count in 0u64..5000, more in 0u64..50, seed: u64) {
            let draws = || {
                let mut random = Random::new(seed);
                let (mut zipfian, mut latest) = (Zipfian::new(count), Latest::new(count));
                let scrambled = Scrambled::new(count);
                zipfian.grow_to(count + more);
                latest.grow_to(count + more);
                let mut draw = || (zipfian.rank(&mut random), scrambled.item(&mut random), latest.item(&mut random));
                (0..50).map(|_| draw()).collect::<Vec<_>>()
            };
            let drawn = draws();
            prop_assert_eq!(&drawn, &draws());
            let (all, some) = ((count + more).max(1), count.max(1));
            prop_assert!(drawn.iter().all(|&(a, b, c)| a < all && b < some && c < all));
        }

        #[test]
        fn growing_is_the_same_as_starting_larger(count in 1u64..3000, more in 0u64..3000) {
            let mut grown = Zipfian::new(count);
            grown.grow_to(count + more);
            let whole = Zipfian::new(count + more);
            prop_assert!((grown.zeta - whole.zeta).abs() < 1e-9);
            prop_assert!(grown.count == 1 || (grown.eta - whole.eta).abs() < 1e-9 || grown.count == 2);
        }
    }
}
