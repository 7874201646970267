//! Terms, and the vector of each.

use std::borrow::Cow;
use std::sync::OnceLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::hdv::{Dimension, Hypervector};

/// Seeds of the hash, one for each kind of term: the name of version 1 in ASCII.
/// Part of the stored format.
const WORD_SEED: u64 = u64::from_be_bytes(*b"word v1\0");
const LABEL_SEED: u64 = u64::from_be_bytes(*b"label v1");
const METADATA_SEED: u64 = u64::from_be_bytes(*b"meta v1\0");
const ROLE_SEED: u64 = u64::from_be_bytes(*b"role v1\0");

/// A term: the 64-bit hash (XXH3 with a seed for the kind of term) of a
/// normalized word. The word itself is stored nowhere. Two of a million terms
/// share a hash with a chance of 3 in 10^8.
///
/// Its vector is [`Hypervector::random`] with the hash as the seed: generator
/// version 1, the same on every platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl Term {
    /// The term of a word in its index form.
    pub fn word(form: &str) -> Self {
        Self(xxh3_64_with_seed(form.as_bytes(), WORD_SEED))
    }

    /// The term of a word of a label, which is another than that of the same
    /// word in a text: "Ann: ..." is said by Ann, "... Ann ..." is about her.
    pub fn label(form: &str) -> Self {
        Self(xxh3_64_with_seed(form.as_bytes(), LABEL_SEED))
    }

    /// The term of a metadata pair, which meets no word.
    pub fn metadata(key: &str, value: &str) -> Self {
        let seed = xxh3_64_with_seed(key.as_bytes(), METADATA_SEED);
        Self(xxh3_64_with_seed(value.as_bytes(), seed))
    }

    /// The name of a role, which meets no word.
    pub(super) fn role(name: &str) -> Self {
        Self(xxh3_64_with_seed(name.as_bytes(), ROLE_SEED))
    }

    /// Generates the vector of this term.
    pub fn vector(self, dim: Dimension) -> Hypervector {
        Hypervector::random(dim, self.0)
    }
}

/// The vectors of terms that were met before.
///
/// Generating one costs as much as bundling several, so the first terms to come
/// are kept until the bound on memory is reached; in running text that is most
/// of what ever comes, for word frequencies are Zipfian. What does not fit any
/// more is generated at every use. Nothing is ever moved or dropped: readers
/// take no lock, write no shared counter and borrow the vectors in place.
pub struct TokenVectors {
    dim: Dimension,
    /// Sets of [`WAYS`] slots; a term may stand in one set only.
    slots: Box<[OnceLock<(Term, Hypervector)>]>,
}

/// Slots of a set: with eight nearly the whole table fills before terms are
/// turned away.
const WAYS: usize = 8;

impl TokenVectors {
    /// A dictionary that holds vectors of at most `max_bytes` together.
    pub fn new(dim: Dimension, max_bytes: usize) -> Self {
        let slot = dim.bytes() + size_of::<OnceLock<(Term, Hypervector)>>();
        let sets = max_bytes / slot / WAYS;
        Self { dim, slots: (0..sets * WAYS).map(|_| OnceLock::new()).collect() }
    }

    /// The dimension of the vectors.
    pub fn dimension(&self) -> Dimension {
        self.dim
    }

    /// The number of vectors in memory.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.get().is_some()).count()
    }

    /// Whether no vector is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The vector of `term`, kept if there is room.
    pub fn get(&self, term: Term) -> Cow<'_, Hypervector> {
        for slot in self.set(term) {
            let (kept, vector) = slot.get_or_init(|| (term, term.vector(self.dim)));
            if *kept == term {
                return Cow::Borrowed(vector);
            }
        }
        Cow::Owned(term.vector(self.dim))
    }

    /// The slots in which a term may stand: its hash scaled to the sets.
    fn set(&self, term: Term) -> &[OnceLock<(Term, Hypervector)>] {
        let sets = (self.slots.len() / WAYS) as u128;
        let at = ((u128::from(term.0) * sets) >> 64) as usize * WAYS;
        self.slots.get(at..at + WAYS).unwrap_or_default()
    }
}

impl std::fmt::Debug for TokenVectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { dim, slots } = self;
        write!(f, "TokenVectors({dim}, {} of {})", self.len(), slots.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The format: terms and vectors are stored, and must be the same for ever.
    #[test]
    fn terms_and_vectors_are_those_of_version_1() {
        let words = ["", "memori", "café", "東京"].map(|form| Term::word(form).0);
        assert_eq!(
            words,
            [0x1c86_6e55_644f_0643, 0x2eee_38e2_c392_b607, 0x3e07_3456_bdcd_ca82, 0xd76c_bf86_2754_6092,]
        );
        assert_eq!(Term::label("carolin").0, 0xff83_9ae4_a3e6_e5dc);
        assert_eq!(Term::role("goal").0, 0xdc54_3300_c09e_32d4);
        let vector = Term::word("memori").vector(Dimension::default());
        assert_eq!(vector.words()[..2], [0x36d6_49a2_3a0e_e2f5, 0x51c4_3129_fc54_8f50]);
        let hash = xxhash_rust::xxh3::xxh3_64(&vector.to_le_bytes());
        assert_eq!(hash, 0xd06c_fe3d_8cee_dc8d);
    }

    #[test]
    fn kinds_of_terms_do_not_meet() {
        assert_ne!(Term::word("ann"), Term::label("ann"));
        assert_ne!(Term::word("ann"), Term::role("ann"));
    }

    #[test]
    fn a_bounded_dictionary_gives_the_generated_vectors() {
        let dim = Dimension::new(256).unwrap();
        for bytes in [0, 100, 4096, 1 << 20] {
            let vectors = TokenVectors::new(dim, bytes);
            for _ in 0..2 {
                for term in (0..500).map(|i| Term::word(&i.to_string())) {
                    assert_eq!(*vectors.get(term), term.vector(dim));
                }
            }
            assert!(vectors.len() * dim.bytes() <= bytes);
        }
        let vectors = TokenVectors::new(dim, 1 << 20);
        let kept = (0..500).map(|i| Term::word(&i.to_string()));
        kept.for_each(|term| drop(vectors.get(term)));
        assert_eq!(vectors.len(), 500);
    }

    #[test]
    fn readers_agree_while_the_dictionary_fills() {
        let dim = Dimension::new(1024).unwrap();
        let vectors = TokenVectors::new(dim, 40 * 160);
        std::thread::scope(|scope| {
            for start in 0..4 {
                let vectors = &vectors;
                scope.spawn(move || {
                    for i in 0..400 {
                        let term = Term::word(&((i * 7 + start) % 100).to_string());
                        assert_eq!(*vectors.get(term), term.vector(dim));
                    }
                });
            }
        });
    }
}
