//! The index forms of recent words. Most words of a text were met shortly before, and a form takes far
//! longer to find than a word to compare.

use std::borrow::Cow;
use std::cell::RefCell;
use std::hash::{BuildHasher, BuildHasherDefault};

use rustc_hash::FxHasher;

/// Words that each thread keeps, with 64 KB.
const WORDS: usize = 2_048;

thread_local! {
    /// Each in the place that its hash gives; empty before the first one.
    static KEPT: RefCell<Vec<(Short, Short)>> = const { RefCell::new(Vec::new()) };
}

/// Gives `emit` the form that `form_of` finds for `word`, unless it is `None`. It is not asked for words that
/// the thread keeps.
pub(super) fn with_form(
    word: &str,
    form_of: impl FnOnce(&str) -> Option<Cow<'_, str>>,
    emit: impl FnMut(&str),
) {
    let key = Short::new(word);
    if let Some(form) = key.and_then(kept) {
        form.text().into_iter().for_each(emit);
        return;
    }
    let form = form_of(word);
    let form = form.as_deref();
    if let (Some(key), Some(form)) = (key, form.map_or(Some(Short::NONE), Short::new)) {
        keep(key, form);
    }
    form.into_iter().for_each(emit);
}

fn kept(word: Short) -> Option<Short> {
    KEPT.with_borrow(|all| all.get(word.place()).filter(|kept| kept.0 == word).map(|kept| kept.1))
}

fn keep(word: Short, form: Short) {
    KEPT.with_borrow_mut(|all| {
        all.resize(WORDS, (Short::NONE, Short::NONE));
        if let Some(place) = all.get_mut(word.place()) {
            *place = (word, form);
        }
    });
}

/// A text of at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Short {
    bytes: [u8; 15],
    length: u8,
}

impl Short {
    /// No text.
    const NONE: Self = Self { bytes: [0; 15], length: u8::MAX };

    fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; 15];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, length: text.len() as u8 })
    }

    fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.length.into())?).ok()
    }

    fn place(&self) -> usize {
        BuildHasherDefault::<FxHasher>::default().hash_one(self) as usize % WORDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_form_however_often_it_comes() {
        fn form_of(word: &str) -> Option<Cow<'_, str>> {
            (!word.ends_with('0')).then(|| Cow::Owned(format!("{word}{word}")))
        }
        let mut asked = 0;
        for round in 0..3 {
            // More words than are kept, of which the longest are not, and neither are the forms of others.
            for number in 0..2 * WORDS {
                let word = "w".repeat(number % 20) + &number.to_string();
                let mut emitted = None;
                with_form(
                    &word,
                    |word| {
                        asked += 1;
                        form_of(word)
                    },
                    |form| emitted = Some(form.to_owned()),
                );
                assert_eq!(emitted, form_of(&word).map(Cow::into_owned), "round {round}");
            }
        }
        with_form("anna", |_| Some("anna".into()), |_| ());
        with_form("anna", |_| panic!("the form was not kept"), |form| assert_eq!(form, "anna"));
        assert!(asked < 6 * WORDS, "no form was kept");
    }
}
