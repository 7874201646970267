//! Templates taken apart once, so that filling one is a walk over its pieces.

use super::lexicon::{Class, Lexicon};
use criterion_gate::random::Random;

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Text(&'static str),
    Subject,
    Attribute,
    Value,
    /// Any word of the class.
    Any(Class),
}

/// A text with gaps.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

/// The words for the gaps that belong to a fact.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gaps<'a> {
    pub subject: &'a str,
    pub attribute: &'a str,
    pub value: &'a str,
}

impl Template {
    /// Splits `text` at its `{gaps}`. A gap of an unknown class stays in the text; a test checks
    /// that there is none.
    pub(super) fn parse(text: &'static str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            let gap = match name {
                "S" => Piece::Subject,
                "A" => Piece::Attribute,
                "V" => Piece::Value,
                name => Class::named(name).map_or(Piece::Text(name), Piece::Any),
            };
            pieces.extend([Piece::Text(before), gap]);
            rest = after;
        }
        pieces.push(Piece::Text(rest));
        pieces.retain(|piece| *piece != Piece::Text(""));
        Self { pieces }
    }

    pub(super) fn parse_all(texts: &[&'static str]) -> Vec<Self> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    /// Appends the text with its gaps filled.
    pub(super) fn fill(&self, gaps: Gaps<'_>, lexicon: &Lexicon, random: &mut Random, out: &mut String) {
        for piece in &self.pieces {
            let start = out.len();
            match *piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Subject => out.push_str(gaps.subject),
                Piece::Attribute => out.push_str(gaps.attribute),
                Piece::Value => out.push_str(gaps.value),
                Piece::Any(class) => lexicon.write(class, draw(class, random), out),
            }
            mend_article(out, start);
        }
    }
}

/// Turns the `a` before the word at `start` into `an` if the word needs it.
fn mend_article(text: &mut String, start: usize) {
    let (before, word) = text.split_at_checked(start).unwrap_or_default();
    let vowel = word.starts_with(['a', 'e', 'i', 'o', 'u']) && !word.starts_with("uku");
    if vowel && (before.ends_with(" a ") || before == "A ") {
        text.insert(start - 1, 'n');
    }
}

/// Draws a rank of `class`, with the frequency that people speak of it.
pub(super) fn draw(class: Class, random: &mut Random) -> u32 {
    if class.is_even() { random.below(class.size()) } else { random.zipf(class.size()) }
}

#[cfg(test)]
mod tests {
    use super::super::phrases::{OPENERS, RELATIONS, SMALL_TALK, TAILS};
    use super::*;

    #[test]
    fn every_gap_of_every_phrase_is_known() {
        let relations = RELATIONS.iter().flat_map(|relation| {
            [
                relation.own,
                relation.told,
                relation.own_changes,
                relation.told_changes,
                relation.follow_ups,
                relation.questions,
            ]
        });
        for text in relations.chain([SMALL_TALK, OPENERS, TAILS]).flatten() {
            let pieces = Template::parse(text).pieces;
            let gaps = pieces.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count();
            assert_eq!(gaps, text.matches('{').count(), "{text}");
        }
    }

    #[test]
    fn statements_say_the_value_and_questions_do_not() {
        for relation in RELATIONS {
            let (with, without) = (
                [relation.own, relation.told, relation.own_changes, relation.told_changes],
                [relation.follow_ups, relation.questions],
            );
            assert!(with.iter().flat_map(|texts| texts.iter()).all(|text| text.contains("{V}")));
            assert!(without.iter().flat_map(|texts| texts.iter()).all(|text| !text.contains("{V}")));
            assert!(relation.questions.iter().all(|text| text.contains("{S}")));
        }
    }

    #[test]
    fn articles_fit_the_word_that_follows() {
        for (word, expected) in [("umbrella", "an umbrella"), ("mug", "a mug"), ("ukulele", "a ukulele")] {
            let gaps = Gaps { attribute: word, ..Gaps::default() };
            let mut out = String::new();
            let template = Template::parse("Got a {A}.");
            template.fill(gaps, &Lexicon::new(0), &mut Random::new(0), &mut out);
            assert_eq!(out, format!("Got {expected}."));
        }
    }

    #[test]
    fn fills_its_gaps_in_order() {
        let gaps = Gaps { subject: "Ann", attribute: "cat", value: "Tom" };
        let mut out = String::from(">");
        Template::parse("{S}'s {A}: {V}").fill(gaps, &Lexicon::new(0), &mut Random::new(0), &mut out);
        assert_eq!(out, ">Ann's cat: Tom");
    }
}
