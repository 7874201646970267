//! Every kernel of every implementation that this CPU runs, against oracles
//! that look at one bit at a time.

use super::*;

/// Dimensions in words: usual ones, single words, and tails that fill no
/// register of any implementation.
const WORDS: [usize; 14] = [1, 2, 3, 5, 7, 8, 11, 16, 31, 64, 67, 128, 131, 256];

/// SplitMix64: different words for different seeds is all that is asked here.
struct Words(u64);

impl Words {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn take(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.word()).collect()
    }

    fn rows(&mut self, count: usize, words: usize) -> Vec<Vec<u64>> {
        (0..count).map(|_| self.take(words)).collect()
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.word() % limit as u64) as usize
    }
}

fn bit(words: &[u64], at: usize) -> bool {
    words[at / 64] >> (at % 64) & 1 == 1
}

fn sign(bit: bool) -> i32 {
    if bit { 1 } else { -1 }
}

fn naive_hamming(a: &[u64], b: &[u64]) -> u32 {
    (0..a.len() * 64).map(|i| u32::from(bit(a, i) != bit(b, i))).sum()
}

/// The weight of the rows with a 1 at bit `at`.
fn naive_sum<W: Copy + Into<u32>>(rows: &[&[u64]], weights: &[W], at: usize) -> u32 {
    rows.iter().zip(weights).filter(|(row, _)| bit(row, at)).map(|(_, &weight)| weight.into()).sum()
}

fn naive_score(planes: &[u64], count: usize, row: &[u64]) -> i32 {
    let planes: Vec<_> = planes.chunks_exact(planes.len() / count).collect();
    (0..row.len() * 64)
        .map(|at| {
            let query: i32 = (0..count).map(|p| sign(bit(planes[p], at)) << p).sum();
            query * sign(bit(row, at))
        })
        .sum()
}

fn as_slices(rows: &[Vec<u64>]) -> Vec<&[u64]> {
    rows.iter().map(Vec::as_slice).collect()
}

/// Runs `check` for every implementation and number of words.
fn for_each_case(check: impl Fn(&Kernels, usize, &mut Words)) {
    for kernels in available() {
        for words in WORDS {
            check(kernels, words, &mut Words(words as u64));
        }
    }
}

#[test]
fn the_portable_twin_is_always_available_and_last() {
    assert_eq!(available().last().map(Kernels::name), Some("portable"));
    assert_eq!(best().name(), available().next().unwrap().name());
}

#[test]
fn hamming_counts_the_bits_that_differ() {
    for_each_case(|kernels, words, random| {
        let (a, b) = (random.take(words), random.take(words));
        let inverse: Vec<u64> = a.iter().map(|word| !word).collect();
        assert_eq!(kernels.hamming(&a, &b), naive_hamming(&a, &b), "{kernels:?} {words}");
        assert_eq!(kernels.hamming(&a, &a), 0);
        assert_eq!(kernels.hamming(&a, &inverse), words as u32 * 64);
    });
}

#[test]
fn hamming_of_the_largest_dimension_overflows_no_counter() {
    for kernels in available() {
        let (zeros, ones) = (vec![0; 1 << 14], vec![!0; 1 << 14]);
        assert_eq!(kernels.hamming(&zeros, &ones), 1 << 20, "{kernels:?}");
    }
}

#[test]
fn kernels_read_at_any_alignment() {
    for kernels in available() {
        let words = Words(7).take(300);
        for start in 0..8 {
            let (a, b) = (&words[start..start + 150], &words[150..]);
            assert_eq!(kernels.hamming(a, b), naive_hamming(a, b), "{kernels:?} {start}");
        }
    }
}

#[test]
fn hamming_rows_is_hamming_of_each_row() {
    for_each_case(|kernels, words, random| {
        for count in [0, 1, 2, 9] {
            let (query, rows) = (random.take(words), random.take(words * count));
            let mut distances = vec![0; count];
            kernels.hamming_rows(&query, &rows, &mut distances);
            let expected: Vec<u32> = rows.chunks_exact(words).map(|row| naive_hamming(&query, row)).collect();
            assert_eq!(distances, expected, "{kernels:?} {words}");
        }
    });
}

#[test]
fn asymmetric_rows_sums_signed_weights_over_bits() {
    for_each_case(|kernels, words, random| {
        for planes_count in 1..=MAX_PLANES {
            let planes = random.take(words * planes_count);
            let rows = random.take(words * 3);
            let mut scores = [0; 3];
            kernels.asymmetric_rows(&planes, planes_count, &rows, &mut scores);
            for (row, score) in rows.chunks_exact(words).zip(scores) {
                let expected = naive_score(&planes, planes_count, row);
                assert_eq!(score, expected, "{kernels:?} {words} {planes_count}");
                assert_eq!(kernels.asymmetric_score(&planes, planes_count, row), expected);
            }
        }
    });
}

#[test]
fn xor_rows_binds_the_key_to_each_row() {
    for_each_case(|kernels, words, random| {
        let (key, rows) = (random.take(words), random.take(words * 3));
        let mut bound = vec![0; rows.len()];
        kernels.xor_rows(&key, &rows, &mut bound);
        let expected: Vec<u64> = rows.iter().zip(key.iter().cycle()).map(|(row, key)| row ^ key).collect();
        assert_eq!(bound, expected, "{kernels:?} {words}");
    });
}

#[test]
fn weighted_majority_is_the_majority_of_a_counter_per_bit() {
    for_each_case(|kernels, words, random| {
        for count in [0, 1, 2, 3, 4, 12, 63, 64, 65, 130] {
            let rows = random.rows(count, words);
            let limit = [2, 17, 256][random.below(3)];
            let weights: Vec<u8> = (0..count).map(|_| random.below(limit) as u8).collect();
            check_majority(kernels, &as_slices(&rows), &weights, &random.take(words));
        }
    });
}

fn check_majority(kernels: &Kernels, rows: &[&[u64]], weights: &[u8], tie: &[u64]) {
    let mut bundled = vec![0; tie.len()];
    kernels.weighted_majority(rows, weights, tie, &mut bundled);
    let total: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
    for at in 0..tie.len() * 64 {
        let expected = match (2 * naive_sum(rows, weights, at)).cmp(&total) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => bit(tie, at),
            std::cmp::Ordering::Less => false,
        };
        assert_eq!(bit(&bundled, at), expected, "{kernels:?} {weights:?} bit {at}");
    }
}

#[test]
fn weighted_majority_of_thousands_of_heavy_rows_overflows_nothing() {
    for kernels in available() {
        let mut random = Words(1);
        let rows = random.rows(3000, 5);
        check_majority(kernels, &as_slices(&rows), &[255; 3000], &random.take(5));
    }
}

#[test]
fn quantise_sums_counts_the_cuts_that_each_sum_reaches() {
    for_each_case(|kernels, words, random| {
        for planes in 1..=MAX_PLANES {
            for count in [0, 1, 5, 40, 70] {
                let rows = random.rows(count, words);
                let limit = [2, 40, 1 << 16][random.below(3)];
                let weights: Vec<u16> = (0..count).map(|_| random.below(limit) as u16).collect();
                check_quantiser(kernels, &as_slices(&rows), &weights, words, planes, random);
            }
        }
    });
}

fn check_quantiser(
    kernels: &Kernels,
    rows: &[&[u64]],
    weights: &[u16],
    words: usize,
    planes: usize,
    random: &mut Words,
) {
    let total: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
    // Cuts at zero, equal cuts and cuts beyond the total are all legal.
    let mut cuts: Vec<u32> =
        (1..1 << planes).map(|_| random.below(total as usize + total as usize / 4 + 2) as u32).collect();
    cuts[0] = 0;
    cuts.sort_unstable();

    let mut out = vec![0; words * planes];
    kernels.quantise_sums(rows, weights, &cuts, &mut out);
    for at in 0..words * 64 {
        let sum = naive_sum(rows, weights, at);
        let expected = cuts.iter().filter(|&&cut| sum >= cut).count();
        let reached: usize = (0..planes).map(|p| usize::from(bit(&out[p * words..][..words], at)) << p).sum();
        assert_eq!(reached, expected, "{kernels:?} {words} {weights:?} {cuts:?} bit {at}");
    }
}

/// Sketches in rows of `words`, interleaved.
fn interleave(rows: &[u64], words: usize) -> Vec<u64> {
    let mut blocks = Vec::new();
    for block in rows.chunks_exact(words * SKETCH_ROWS) {
        for word in 0..words {
            blocks.extend(block.chunks_exact(words).map(|row| row[word]));
        }
    }
    blocks
}

#[test]
fn sketch_kernels_agree_with_the_row_kernels() {
    for_each_case(|kernels, words, random| {
        for blocks in [0, 1, 3] {
            let count = blocks * SKETCH_ROWS;
            let rows = random.take(words * count);
            let interleaved = interleave(&rows, words);

            let prefix = random.take(words);
            let mut distances = vec![0; count];
            kernels.sketch_distances(&prefix, &interleaved, &mut distances);
            for (row, distance) in rows.chunks_exact(words).zip(distances) {
                assert_eq!(u32::from(distance), naive_hamming(&prefix, row), "{kernels:?} {words}");
            }
            for planes in 1..=MAX_PLANES {
                let prefixes = random.take(words * planes);
                let mut scores = vec![0; count];
                kernels.sketch_scores(&prefixes, planes, &interleaved, &mut scores);
                for (row, score) in rows.chunks_exact(words).zip(scores) {
                    assert_eq!(score, naive_score(&prefixes, planes, row), "{kernels:?} {words}");
                }
            }
        }
    });
}

#[test]
fn sketch_distances_of_the_longest_sketch_overflow_no_counter() {
    for kernels in available() {
        let (prefix, blocks) = (vec![0; 1023], vec![!0; 1023 * SKETCH_ROWS]);
        let mut distances = [0; SKETCH_ROWS];
        kernels.sketch_distances(&prefix, &blocks, &mut distances);
        assert_eq!(distances, [1023 * 64; SKETCH_ROWS], "{kernels:?}");
    }
}

#[test]
#[should_panic(expected = "different lengths")]
fn operands_of_different_lengths_are_refused() {
    best().hamming(&[0; 8], &[0; 4]);
}

#[test]
#[should_panic(expected = "not 2 rows of 8 words")]
fn rows_that_do_not_fill_the_result_are_refused() {
    best().hamming_rows(&[0; 8], &[0; 15], &mut [0; 2]);
}
