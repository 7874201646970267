//! Weighted sums of bits, sliced: instead of a counter per bit there are a few
//! *planes*, plane `j` holding bit `j` of the sums of a whole register of
//! columns. Adding is carry-save logic on registers (a full adder takes three
//! bits of one weight and gives one of that weight and one of twice it), and
//! comparing every sum with a constant takes one gate a plane.
//!
//! The code is generic over the register, so that it is written, read and
//! tested once; an implementation instantiates it inside functions that enable
//! its instruction set, into which all of this is inlined.

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

/// Rows that are added before their carries move on, so that the carries, at
/// most one for two addends, stay in the L1 cache.
const BATCH_ROWS: usize = 64;

/// Planes of the largest sum: a total weight is a `u32`.
const MAX_LEVELS: usize = 32;

/// Which rows are added at which plane: a row at plane `j` if its weight has
/// bit `j`. Made once a call, since it is the same for every column.
struct Schedule<'a> {
    levels: usize,
    addends: Vec<&'a [u64]>,
    /// Where the addends of each level end: `levels` numbers for each batch.
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
        Self {
            levels,
            addends,
            ends,
        }
    }

    /// The sums of the columns at `at`, in the first `levels` of `planes`.
    ///
    /// # Safety
    /// That of [`Lanes`], and `at + L::WORDS` within every row.
    #[inline(always)]
    unsafe fn sum<L: Lanes>(
        &self,
        at: usize,
        planes: &mut [L; MAX_LEVELS],
        carries: &mut [L; BATCH_ROWS],
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            for plane in &mut planes[..self.levels] {
                *plane = L::splat(0);
            }
            let mut start = 0;
            for ends in self.ends.chunks_exact(self.levels.max(1)) {
                let mut carried = 0;
                for (plane, &end) in planes.iter_mut().zip(ends) {
                    let rows = &self.addends[start..end];
                    (*plane, carried) = add_at_level(*plane, carries, carried, rows, at);
                    start = end;
                }
            }
        }
    }
}

/// Adds the first `carried` of `carries` and the words at `at` of `rows` to one
/// plane. Gives the plane and how many carries replace those that went in: they
/// are written no faster than read, one for two, and stay within `BATCH_ROWS`.
///
/// # Safety
/// That of [`Schedule::sum`].
#[inline(always)]
unsafe fn add_at_level<L: Lanes>(
    mut plane: L,
    carries: &mut [L; BATCH_ROWS],
    carried: usize,
    rows: &[&[u64]],
    at: usize,
) -> (L, usize) {
    // SAFETY: as the caller promises.
    unsafe {
        let addends = carried + rows.len();
        for pair in 0..addends / 2 {
            let a = addend(carries, carried, rows, 2 * pair, at);
            let b = addend(carries, carried, rows, 2 * pair + 1, at);
            (plane, carries[pair]) = plane.full_add(a, b);
        }
        if addends % 2 == 1 {
            let last = addend(carries, carried, rows, addends - 1, at);
            (plane, carries[addends / 2]) = (plane.xor(last), plane.and(last));
        }
        (plane, addends.div_ceil(2))
    }
}

/// Addend `i`: the carries come first, then the rows.
///
/// # Safety
/// That of [`Schedule::sum`].
#[inline(always)]
unsafe fn addend<L: Lanes>(
    carries: &[L; BATCH_ROWS],
    carried: usize,
    rows: &[&[u64]],
    i: usize,
    at: usize,
) -> L {
    if i < carried {
        carries[i]
    } else {
        // SAFETY: as the caller promises.
        unsafe { L::load(rows[i - carried], at) }
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
        above = unsafe {
            if least >> level & 1 == 1 {
                plane.and(above)
            } else {
                plane.or(above)
            }
        };
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
        let mut planes = [L::splat(0); MAX_LEVELS];
        let mut carries = [L::splat(0); BATCH_ROWS];
        for at in columns.step_by(L::WORDS) {
            schedule.sum(at, &mut planes, &mut carries);
            // An odd total has no ties: its half, rounded up, is a majority.
            let on_equal = if total.is_multiple_of(2) {
                L::load(tie, at)
            } else {
                L::splat(!0)
            };
            at_least(&planes[..schedule.levels], total.div_ceil(2), on_equal).store(out, at);
        }
    }
}

/// [`super::Kernels::quantise_sums`] on registers `L`.
///
/// # Safety
/// That of [`Lanes`]; every row `words` long and `planes_out` a whole number of
/// times that, a weight for each row, their total a `u32`.
#[inline(always)]
pub(super) unsafe fn quantise_sums<L: Lanes>(
    rows: &[&[u64]],
    weights: &[u16],
    cuts: &[u32],
    words: usize,
    planes_out: &mut [u64],
) {
    let total = weights.iter().map(|&weight| u32::from(weight)).sum();
    let schedule = Schedule::new(rows, weights, total);
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
        let mut planes = [L::splat(0); MAX_LEVELS];
        let mut carries = [L::splat(0); BATCH_ROWS];
        for at in columns.step_by(L::WORDS) {
            schedule.sum(at, &mut planes, &mut carries);
            let mut digits = [L::splat(0); super::MAX_PLANES];
            for (cut, nth) in cuts
                .iter()
                .zip(1_usize..)
                .take_while(|&(&cut, _)| cut <= total)
            {
                let reached = at_least(&planes[..schedule.levels], *cut, L::splat(!0));
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
