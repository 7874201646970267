//! Weighted sums of bits, sliced: instead of a counter per bit there are a few
//! *planes*, plane `j` holding bit `j` of the sums of a whole register of
//! columns. Adding is carry-save logic on registers (a full adder takes three
//! bits of one weight and gives one of that weight and one of twice it), and
//! comparing every sum with a constant takes one gate a plane.
//!
//! The code is generic over the register, so that it is written, read and
//! tested once; an implementation instantiates it inside functions that enable
//! its instruction set, into which all of this is inlined.

use std::mem::MaybeUninit;

/// A register of bits: one block of columns.
///
/// # Safety
/// The methods may use instructions of a set that not every CPU has: they are
/// called only where the CPU has it, and from functions that enable it.
pub(super) unsafe trait Lanes: Copy {
    /// Words in a register.
    const WORDS: usize;

    /// A register full of one word.
    unsafe fn splat(word: u64) -> Self;
    /// Words `at..at + WORDS` of `words`, which must be inside.
    unsafe fn load(words: &[u64], at: usize) -> Self;
    /// Writes words `at..at + WORDS` of `words`, which must be inside.
    unsafe fn store(self, words: &mut [u64], at: usize);
    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn xor(self, other: Self) -> Self;

    /// Adds two bits of one weight: (sum, carry).
    #[inline(always)]
    unsafe fn half_add(self, b: Self) -> (Self, Self) {
        // SAFETY: the caller's promise is the one these need.
        unsafe { (self.xor(b), self.and(b)) }
    }

    /// Adds three bits of one weight: (sum, carry).
    #[inline(always)]
    unsafe fn full_add(self, b: Self, c: Self) -> (Self, Self) {
        // SAFETY: the caller's promise is the one these need.
        unsafe {
            let half = b.xor(c);
            (self.xor(half), b.and(c).or(self.and(half)))
        }
    }
}

// SAFETY: no special instructions, and indexing is checked.
unsafe impl Lanes for u64 {
    const WORDS: usize = 1;

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        word
    }
    #[inline(always)]
    unsafe fn load(words: &[u64], at: usize) -> Self {
        words[at]
    }
    #[inline(always)]
    unsafe fn store(self, words: &mut [u64], at: usize) {
        words[at] = self;
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        self & other
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        self | other
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        self ^ other
    }
}

/// Two registers used as one: the work of steering the sums is shared by twice
/// the columns, and the two chains of gates hide each other's latency.
#[derive(Clone, Copy)]
pub(super) struct Pair<L>(L, L);

// SAFETY: the halves are used as `L` demands, the second one right behind the first.
unsafe impl<L: Lanes> Lanes for Pair<L> {
    const WORDS: usize = 2 * L::WORDS;

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        // SAFETY: the caller's promise holds for the halves; so below.
        unsafe { Self(L::splat(word), L::splat(word)) }
    }
    #[inline(always)]
    unsafe fn load(words: &[u64], at: usize) -> Self {
        // SAFETY: as above.
        unsafe { Self(L::load(words, at), L::load(words, at + L::WORDS)) }
    }
    #[inline(always)]
    unsafe fn store(self, words: &mut [u64], at: usize) {
        // SAFETY: as above.
        unsafe {
            self.0.store(words, at);
            self.1.store(words, at + L::WORDS);
        }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(self.0.and(other.0), self.1.and(other.1)) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(self.0.or(other.0), self.1.or(other.1)) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(self.0.xor(other.0), self.1.xor(other.1)) }
    }
    #[inline(always)]
    unsafe fn full_add(self, b: Self, c: Self) -> (Self, Self) {
        // SAFETY: as above.
        unsafe {
            let (low, high) = (self.0.full_add(b.0, c.0), self.1.full_add(b.1, c.1));
            (Self(low.0, high.0), Self(low.1, high.1))
        }
    }
}

/// Rows that are added before their carries move on, so that the carries, at
/// most one for two addends, stay in the L1 cache.
const BATCH_ROWS: usize = 64;

/// The most carries that wait at a level. There are half as many as addends below it, which are at
/// most as many rows and carries. The plane of earlier batches is one more.
const MAX_CARRIES: usize = BATCH_ROWS + 1;

/// Planes of the largest sum: a total weight is a `u32`.
const MAX_LEVELS: usize = 32;

/// Which rows are added at which plane: a row at plane `j` if its weight has
/// bit `j`. Made once a call, since it is the same for every column.
struct Schedule<'a> {
    levels: usize,
    addends: Vec<&'a [u64]>,
    /// The end of the addends of each level: `levels` numbers for each batch.
    ends: Vec<usize>,
}

impl<'a> Schedule<'a> {
    fn new<W: Copy + Into<u32>>(rows: &[&'a [u64]], weights: &[W], total: u32) -> Self {
        let levels = (u32::BITS - total.leading_zeros()) as usize;
        let mut addends = Vec::with_capacity(4 * rows.len());
        let mut ends = Vec::with_capacity(levels * rows.len().div_ceil(BATCH_ROWS));
        for (rows, weights) in rows.chunks(BATCH_ROWS).zip(weights.chunks(BATCH_ROWS)) {
            for level in 0..levels {
                let weighted = rows.iter().zip(weights);
                let at_level = weighted.filter(|&(_, &weight)| weight.into() >> level & 1 == 1);
                addends.extend(at_level.map(|(&row, _)| row));
                ends.push(addends.len());
            }
        }
        Self { levels, addends, ends }
    }

    /// The sums of the columns at `at`, one plane a level.
    ///
    /// # Safety
    /// That of [`Lanes`], and `at + L::WORDS` within every row.
    #[inline(always)]
    unsafe fn sum<'s, L: Lanes>(&self, at: usize, scratch: &'s mut Scratch<L>) -> &'s [L] {
        let planes = scratch.planes.as_mut_ptr().cast::<L>();
        let carries = scratch.carries.as_mut_ptr().cast::<L>();
        let mut start = 0;
        for (batch, ends) in self.ends.chunks_exact(self.levels.max(1)).enumerate() {
            let mut carried = 0;
            for (level, &end) in ends.iter().enumerate() {
                // SAFETY: as the caller promises; there are at most MAX_LEVELS
                // levels, the first batch writes the planes that later ones
                // read, and runs of addends follow one another within the list.
                unsafe {
                    if batch > 0 {
                        carries.add(carried).write(planes.add(level).read());
                        carried += 1;
                    }
                    let rows = self.addends.get_unchecked(start..end);
                    let (plane, carried_on) = add_level(carries, carried, rows, at);
                    planes.add(level).write(plane);
                    // Nothing but zeros leaves the last level: sums are at most
                    // the total.
                    carried = carried_on;
                }
                start = end;
            }
        }
        // SAFETY: a total above zero means levels, rows, and so a first batch.
        unsafe { std::slice::from_raw_parts(planes, self.levels) }
    }
}

/// The registers that do not fit the CPU's: left uninitialized, since filling
/// them takes as long as a bundle of a few rows.
struct Scratch<L> {
    planes: [MaybeUninit<L>; MAX_LEVELS],
    carries: [MaybeUninit<L>; MAX_CARRIES],
}

impl<L: Lanes> Scratch<L> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            planes: [const { MaybeUninit::uninit() }; MAX_LEVELS],
            carries: [const { MaybeUninit::uninit() }; MAX_CARRIES],
        }
    }
}

/// Adds `carried` registers at `carries` and the words at `at` of `rows`, all of
/// one weight. Gives their plane and the number of carries, which replace the
/// addends at `carries`: one for two, they are written no faster than read.
///
/// # Safety
/// That of [`Schedule::sum`], with `carried` registers written at `carries` and
/// room for `MAX_CARRIES`; `rows` are at most `BATCH_ROWS`, `carried` one more.
#[inline(always)]
unsafe fn add_level<L: Lanes>(carries: *mut L, carried: usize, mut rows: &[&[u64]], at: usize) -> (L, usize) {
    let mut out = 0;
    // SAFETY: as the caller promises.
    unsafe {
        let mut plane = L::splat(0);
        let mut taken = 0;
        if carried > 0 {
            plane = carries.read();
            taken = 1;
        } else if let Some((row, rest)) = rows.split_first() {
            plane = L::load(row, at);
            rows = rest;
        }
        while taken + 1 < carried {
            let (a, b) = (carries.add(taken).read(), carries.add(taken + 1).read());
            let (sum, carry) = plane.full_add(a, b);
            carries.add(out).write(carry);
            (plane, out, taken) = (sum, out + 1, taken + 2);
        }
        if taken < carried {
            let a = carries.add(taken).read();
            let (sum, carry) = match rows.split_first() {
                Some((row, rest)) => {
                    rows = rest;
                    plane.full_add(a, L::load(row, at))
                }
                None => plane.half_add(a),
            };
            carries.add(out).write(carry);
            (plane, out) = (sum, out + 1);
        }
        let (pairs, last) = rows.as_chunks::<2>();
        for [a, b] in pairs {
            let (sum, carry) = plane.full_add(L::load(a, at), L::load(b, at));
            carries.add(out).write(carry);
            (plane, out) = (sum, out + 1);
        }
        if let [row] = last {
            let (sum, carry) = plane.half_add(L::load(row, at));
            carries.add(out).write(carry);
            (plane, out) = (sum, out + 1);
        }
        (plane, out)
    }
}

/// The columns whose sum is above `least`, or equal to it where `on_equal` is set.
///
/// # Safety
/// That of [`Lanes`].
#[inline(always)]
unsafe fn at_least<L: Lanes>(planes: &[L], least: u32, on_equal: L) -> L {
    // From the lowest bit up: a higher bit that differs overrules what the
    // lower ones said, one that is equal keeps it.
    let mut above = on_equal;
    for (level, &plane) in planes.iter().enumerate() {
        // SAFETY: as the caller promises.
        above = unsafe { if least >> level & 1 == 1 { plane.and(above) } else { plane.or(above) } };
    }
    above
}

/// [`super::Kernels::weighted_majority`] on registers `L`.
///
/// # Safety
/// That of [`Lanes`]; every row and `tie` as long as `out`, a weight for each
/// row, their total a `u32`.
#[inline(always)]
pub(super) unsafe fn weighted_majority<L: Lanes>(
    rows: &[&[u64]],
    weights: &[u8],
    tie: &[u64],
    out: &mut [u64],
) {
    let total = weights.iter().map(|&weight| u32::from(weight)).sum();
    let schedule = Schedule::new(rows, weights, total);
    let whole = out.len() - out.len() % L::WORDS;
    // SAFETY: as the caller promises; `whole` leaves out what fills no register.
    unsafe {
        majority_of_columns::<L>(&schedule, total, tie, out, 0..whole);
        majority_of_columns::<u64>(&schedule, total, tie, out, whole..out.len());
    }
}

/// # Safety
/// That of [`weighted_majority`]; `columns` within `out` and whole registers.
#[inline(always)]
unsafe fn majority_of_columns<L: Lanes>(
    schedule: &Schedule<'_>,
    total: u32,
    tie: &[u64],
    out: &mut [u64],
    columns: std::ops::Range<usize>,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut scratch = Scratch::<L>::new();
        for at in columns.step_by(L::WORDS) {
            let planes = schedule.sum(at, &mut scratch);
            // An odd total has no ties: its half, rounded up, is a majority.
            let on_equal = if total.is_multiple_of(2) { L::load(tie, at) } else { L::splat(!0) };
            at_least(planes, total.div_ceil(2), on_equal).store(out, at);
        }
    }
}

/// [`super::Kernels::quantise_sums`] on registers `L`.
///
/// # Safety
/// That of [`Lanes`]; `cuts` one fewer than a power of two, `planes_out` as many
/// rows as that has digits, a weight for each row, their total a `u32`.
#[inline(always)]
pub(super) unsafe fn quantise_sums<L: Lanes>(
    rows: &[&[u64]],
    weights: &[u16],
    cuts: &[u32],
    planes_out: &mut [u64],
) {
    let total = weights.iter().map(|&weight| u32::from(weight)).sum();
    let schedule = Schedule::new(rows, weights, total);
    let words = planes_out.len() / (cuts.len() + 1).ilog2() as usize;
    let whole = words - words % L::WORDS;
    // SAFETY: as the caller promises; `whole` leaves out what fills no register.
    unsafe {
        quantise_columns::<L>(&schedule, total, cuts, words, planes_out, 0..whole);
        quantise_columns::<u64>(&schedule, total, cuts, words, planes_out, whole..words);
    }
}

/// # Safety
/// That of [`quantise_sums`]; `columns` within `words` and whole registers.
#[inline(always)]
unsafe fn quantise_columns<L: Lanes>(
    schedule: &Schedule<'_>,
    total: u32,
    cuts: &[u32],
    words: usize,
    planes_out: &mut [u64],
    columns: std::ops::Range<usize>,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut scratch = Scratch::<L>::new();
        for at in columns.step_by(L::WORDS) {
            let planes = schedule.sum(at, &mut scratch);
            let mut digits = [L::splat(0); super::MAX_PLANES];
            for (cut, nth) in cuts.iter().zip(1_usize..).take_while(|&(&cut, _)| cut <= total) {
                let reached = at_least(planes, *cut, L::splat(!0));
                // The cuts ascend, so digit p of the number of cuts reached is
                // the parity of those whose ordinal is a multiple of 2^p.
                for digit in &mut digits[..=nth.trailing_zeros() as usize] {
                    *digit = digit.xor(reached);
                }
            }
            for (plane, digit) in digits.iter().take(planes_out.len() / words).enumerate() {
                digit.store(planes_out, plane * words + at);
            }
        }
    }
}
