//! From text to words: Unicode folding, word boundaries, labels.

use unicode_normalization::UnicodeNormalization;

use super::english;

/// Accents over Latin, Greek and Cyrillic letters. They are dropped, so that
/// "café" meets "cafe"; marks of other scripts are parts of their words.
const ACCENTS: std::ops::RangeInclusive<char> = '\u{300}'..='\u{36F}';

/// The most bytes and words of a label in front of a colon.
const MAX_LABEL: (usize, usize) = (64, 3);

/// Gives `emit` the index form of every word of `text`, in order.
///
/// Stop words are left out, unless there is nothing else: then every word
/// counts as it stands, and where there are no words, every symbol. So only
/// white space has no form at all.
pub(super) fn index_forms(text: &str, mut emit: impl FnMut(&str)) {
    let folded = fold(text);
    let mut found = false;
    let mut emit = |form: &str, found: &mut bool| {
        *found = true;
        emit(form);
    };
    each_word(&folded, |word| {
        english::index_forms(word, |form| emit(form, &mut found));
    });
    if !found {
        each_word(&folded, |word| emit(word, &mut found));
    }
    if !found {
        for symbol in text.chars().filter(|symbol| !symbol.is_whitespace()) {
            emit(symbol.encode_utf8(&mut [0; 4]), &mut found);
        }
    }
}

/// Gives `emit` every word of `text` in order, in its folded form, stop words included.
pub(super) fn words(text: &str, emit: impl FnMut(&str)) {
    each_word(&fold(text), emit);
}

/// Gives `emit` the label of each line that has one: up to three words before
/// the line's first colon and a blank, as in "Ada Lovelace: I have a plan".
pub(super) fn labels<'a>(text: &'a str, mut emit: impl FnMut(&'a str)) {
    for line in text.lines() {
        let Some((label, rest)) = line.split_once(':') else {
            continue;
        };
        let label = label.trim();
        let (bytes, words) = MAX_LABEL;
        let name = |c: char| is_word_char(c) || matches!(c, ' ' | '.' | '-' | '_' | '\'');
        if label.len() <= bytes
            && rest.starts_with(char::is_whitespace)
            && label.starts_with(char::is_alphabetic)
            && label.chars().all(name)
            && label.split_whitespace().count() <= words
        {
            emit(label);
        }
    }
}

/// Lower case, in compatibility decomposition (NFKD), without accents and with
/// one kind of apostrophe.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let folded = text.chars().flat_map(char::to_lowercase).nfkd();
    folded
        .filter(|c| !ACCENTS.contains(c))
        // Compatibility forms of capitals decompose into capitals.
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            '\u{2019}' | '\u{2BC}' | '\u{2018}' => '\'',
            other => other,
        })
        .collect()
}

/// Gives `emit` the words: runs of letters, digits and marks, with apostrophes
/// inside. Scripts that are written without blanks come as overlapping pairs of
/// characters.
fn each_word(folded: &str, mut emit: impl FnMut(&str)) {
    let boundary = |c: char| !is_word_char(c) && c != '\'';
    for run in folded.split(boundary) {
        let run = run.trim_matches('\'');
        if run.is_ascii() {
            if !run.is_empty() {
                emit(run);
            }
        } else {
            each_script(run, &mut emit);
        }
    }
}

/// Splits a run of word characters where scripts with and without blanks meet.
fn each_script(run: &str, emit: &mut impl FnMut(&str)) {
    let mut rest = run;
    while let Some(first) = rest.chars().next() {
        let unspaced = is_unspaced(first);
        let end = rest.find(|c| is_unspaced(c) != unspaced);
        let (part, tail) = rest.split_at(end.unwrap_or(rest.len()));
        if unspaced {
            each_pair(part, emit);
        } else {
            emit(part);
        }
        rest = tail;
    }
}

fn each_pair(part: &str, emit: &mut impl FnMut(&str)) {
    let starts = || part.char_indices().map(|(at, _)| at);
    let ends = starts().skip(2).chain([part.len()]);
    for (start, end) in starts().zip(ends) {
        emit(part.get(start..end).unwrap_or(part));
    }
}

fn is_word_char(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c)
}

/// Han, Hiragana, Katakana, Thai, Lao, Khmer and Myanmar.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forms(text: &str) -> Vec<String> {
        let mut forms = Vec::new();
        index_forms(text, |form| forms.push(form.to_owned()));
        forms
    }

    fn labels_of(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        labels(text, |label| found.push(label));
        found
    }

    #[test]
    fn words_are_folded_and_stop_words_left_out() {
        assert_eq!(forms("The Café's GRAND opening, in May_2023!"), ["cafe", "grand", "open", "may", "2023"]);
        assert_eq!(forms("ﬁve ＡＢＣ ½"), forms("five abc 1⁄2"));
        assert_eq!(forms("don’t panic"), forms("don't panic"));
    }

    #[test]
    fn composed_and_decomposed_text_is_the_same() {
        assert_eq!(forms("Zoë élan Ångström"), forms("Zoe\u{308} e\u{301}lan A\u{30a}ngstro\u{308}m"));
    }

    #[test]
    fn a_text_of_stop_words_keeps_them() {
        assert_eq!(forms("To be, or not to be"), ["to", "be", "or", "not", "to", "be"]);
        assert_eq!(forms("don't"), ["don't"]);
    }

    #[test]
    fn a_text_of_symbols_keeps_them() {
        assert_eq!(forms("🎉 👍"), ["🎉", "👍"]);
        assert_eq!(forms("\u{0}\u{7}"), ["\u{0}", "\u{7}"]);
        assert_eq!(forms("¨"), ["¨"]);
        assert!(forms(" \n\t\u{a0}").is_empty());
    }

    #[test]
    fn other_scripts_keep_their_words() {
        assert_eq!(forms("مرحبا بالعالم"), ["مرحبا", "بالعالم"]);
        assert_eq!(forms("हिन्दी भाषा").len(), 2);
        assert_eq!(forms("東京都 cat"), ["東京", "京都", "cat"]);
        assert_eq!(forms("犬"), ["犬"]);
        assert_eq!(forms("iphoneの色"), ["iphon", "の色"]);
    }

    #[test]
    fn labels_stand_before_a_colon_at_the_start_of_a_line() {
        assert_eq!(labels_of("Ann: hi\n  Dr. Bob Ray: ho: x"), ["Ann", "Dr. Bob Ray"]);
        for none in ["http://x.org", "at 10:30", "10: ten", "one two three four: x", "a (b): c", ": x"] {
            assert!(labels_of(none).is_empty(), "{none}");
        }
    }

    proptest! {
        #[test]
        fn only_white_space_has_no_form(text in "\\PC{0,40}|[\\s\\p{M}\\p{C}]{0,8}") {
            prop_assert_eq!(forms(&text).is_empty(), text.trim().is_empty());
        }

        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }
    }
}
