//! Texts with equal scores are put in order by the phrases that they share with the question.

use xxhash_rust::xxh3::xxh3_64;

use super::normalise;

/// The pairs of neighboring words of a question, stop words included.
///
/// ```
/// use mnemocore::encoder::Phrase;
///
/// let question = Phrase::new("the same old song");
/// assert_eq!(question.in_text("She sang the same old song again."), 3);
/// assert_eq!(question.in_text("That song is the same, and old."), 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Phrase {
    /// Hashes of the words.
    pairs: Vec<(u64, u64)>,
}

impl Phrase {
    /// The most pairs that count; those behind them are left out.
    pub const MAX_PAIRS: usize = 64;

    /// The pairs of `question`.
    pub fn new(question: &str) -> Self {
        let mut pairs = Vec::new();
        each_pair(question, |pair| {
            if pairs.len() < Self::MAX_PAIRS && !pairs.contains(&pair) {
                pairs.push(pair);
            }
        });
        Self { pairs }
    }

    /// Returns how many of the pairs are neighbors in `text`, in the same order; 0 if fewer than half
    /// are. A question such as "When did Anna move?" shares a pair or two with many texts by chance.
    pub fn in_text(&self, text: &str) -> u32 {
        let mut found = 0_u64;
        each_pair(text, |pair| {
            if let Some(at) = self.pairs.iter().position(|&asked| asked == pair) {
                found |= 1 << at;
            }
        });
        let found = found.count_ones();
        if found as usize * 2 >= self.pairs.len() { found } else { 0 }
    }
}

fn each_pair(text: &str, mut emit: impl FnMut((u64, u64))) {
    let mut before = None;
    normalise::words(text, |word| {
        let word = xxh3_64(word.as_bytes());
        if let Some(before) = before.replace(word) {
            emit((before, word));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_count_once_and_in_their_order() {
        let question = Phrase::new("Is the cat the cat's?");
        // Its pairs: is the, the cat, cat the, the cat's.
        for (text, pairs) in
            [("THE CAT, the cat", 2), ("is the cat the", 3), ("cat the", 0), ("the black cat", 0), ("", 0)]
        {
            assert_eq!(question.in_text(text), pairs, "{text:?}");
        }
    }

    #[test]
    fn a_long_question_counts_its_first_pairs() {
        let long: String = (0..1_000).map(|word| format!("w{word} ")).collect();
        assert_eq!(Phrase::new(&long).in_text(&long), Phrase::MAX_PAIRS as u32);
    }
}
