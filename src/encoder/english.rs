//! The English rules of the encoder: stop words, irregular forms, numbers and contractions. The
//! Snowball stemmer does the rest.
//!
//! The lists are part of the stored format, because a term is a hash of the form that they produce.
//! Words of other languages pass through unchanged, or at most stemmed, and match themselves.

use std::borrow::Cow;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use snowball_stemmers_rs::{Algorithm, Stemmer};

use super::word_cache;

/// Words that say how a sentence is built and not what it is about, and the
/// common contractions as they are typed without an apostrophe. Standard
/// function words: a longer list loses words that questions ask for, the 33
/// words that Lucene drops leave too much noise.
const STOP_WORDS: &str = "\
    a about above after again against all am an and any are as at be because been before being
    below between both but by can cannot cant could couldnt did didnt do does doesnt doing dont
    down during each few for from further had has have having he her here hers herself him
    himself his how i if im in into is isnt it its itself ive just me more most my myself no
    nor not now of off on once only or other our ours ourselves out over own same she should so
    some such than that thats the their theirs them themselves then there these they this those
    through to too under until up very was wasnt we were what whats when where which while who
    whom why will with wont would wouldnt you your youre yours yourself yourselves";

/// Returns the words that do not count unless a text has no others.
pub fn stop_words() -> impl Iterator<Item = &'static str> {
    STOP_WORDS.split_whitespace()
}

/// Irregular verbs, `lemma:forms`. Stemming joins "paint" with "painted", only a
/// list joins "buy" with "bought". Forms that are at least as often another word
/// ("ground", "bound", "lay") are not in it.
const IRREGULAR: &str = "\
    arise:arisen,arose awake:awoke,awoken bear:bore,borne beat:beaten become:became
    begin:began,begun bend:bent bid:bade,bidden bite:bit,bitten bleed:bled blow:blew,blown
    break:broke,broken breed:bred bring:brought build:built burn:burnt buy:bought catch:caught
    choose:chose,chosen cling:clung come:came creep:crept deal:dealt dig:dug draw:drawn,drew
    dream:dreamt drink:drank,drunk drive:driven,drove eat:ate,eaten fall:fallen,fell feed:fed
    feel:felt fight:fought find:found flee:fled fling:flung fly:flew,flown
    forbid:forbade,forbidden foresee:foresaw,foreseen forget:forgot,forgotten
    forgive:forgave,forgiven freeze:froze,frozen get:got,gotten give:gave,given
    go:goes,gone,went grow:grew,grown hang:hung hear:heard hide:hid,hidden hold:held keep:kept
    kneel:knelt know:knew,known lay:laid lead:led lean:leant leap:leapt learn:learnt leave:left
    lend:lent lie:lain light:lit lose:lost make:made mean:meant meet:met mislead:misled
    mistake:mistaken,mistook misunderstand:misunderstood mow:mown outgrow:outgrew,outgrown
    overcome:overcame overhear:overheard oversee:oversaw,overseen overtake:overtaken,overtook
    pay:paid prove:proved,proven rebuild:rebuilt redo:redid,redone repay:repaid
    rewrite:rewritten,rewrote ride:ridden,rode ring:rang,rung rise:risen,rose run:ran say:said
    see:saw,seen seek:sought sell:sold send:sent sew:sewn shake:shaken,shook shine:shone
    shoot:shot show:showed,shown shrink:shrank,shrunk sing:sang,sung sink:sank,sunk sit:sat
    slay:slain,slew sleep:slept slide:slid sling:slung smell:smelt sow:sown speak:spoke,spoken
    speed:sped spell:spelt spend:spent spill:spilt spin:spun spoil:spoilt spring:sprang,sprung
    stand:stood steal:stole,stolen stick:stuck sting:stung stink:stank,stunk strike:struck
    string:strung strive:striven,strove swear:swore,sworn sweep:swept swell:swollen
    swim:swam,swum swing:swung take:taken,took teach:taught tear:tore,torn tell:told
    think:thought throw:threw,thrown tread:trod,trodden undergo:undergone,underwent
    understand:understood undertake:undertaken,undertook undo:undid,undone uphold:upheld
    wake:woke,woken wear:wore,worn weave:wove,woven weep:wept win:won
    withdraw:withdrawn,withdrew withhold:withheld wring:wrung write:written,wrote";

/// Numbers, `digits:word`. "Second" is a time as often as an ordinal.
const NUMBERS: &str = "\
    0:zero 1:one 1st:first 2:two 3:three 3rd:third 4:four 5:five 6:six 7:seven 8:eight 9:nine
    10:ten 11:eleven 12:twelve 13:thirteen 14:fourteen 15:fifteen 16:sixteen 17:seventeen
    18:eighteen 19:nineteen 20:twenty 30:thirty 40:forty 50:fifty 60:sixty 70:seventy 80:eighty
    90:ninety 100:hundred";

/// Endings after an apostrophe that are no words of their own: "Bob's", "we're". A word in "n't" is
/// a stop word as a whole.
const CLITICS: [&str; 8] = ["d", "em", "ll", "m", "re", "s", "t", "ve"];

/// Longer words are identifiers and links, which are not stemmed.
const MAX_STEMMED: usize = 40;

/// The treatment of a word before stemming.
enum Rule {
    Drop,
    Replace(&'static str),
}

/// A map with a fast hash, because every word is looked up. Its keys are constants, so no input can
/// cause collisions.
static RULES: LazyLock<FxHashMap<&str, Rule>> = LazyLock::new(|| {
    let replacements = [IRREGULAR, NUMBERS].into_iter().flat_map(|list| {
        list.split_whitespace().flat_map(|entry| {
            let (lemma, forms) = entry.split_once(':').unwrap_or((entry, ""));
            forms.split(',').map(move |form| (form, Rule::Replace(lemma)))
        })
    });
    let dropped = stop_words().map(|word| (word, Rule::Drop));
    replacements.chain(dropped).collect()
});

static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

/// Gives `emit` the index form of each meaningful part of `word`, which is in
/// lower case and may have apostrophes inside.
pub(super) fn index_forms(word: &str, mut emit: impl FnMut(&str)) {
    if word.ends_with("n't") {
        return;
    }
    for (place, part) in word.split('\'').enumerate() {
        if part.is_empty() || (place > 0 && CLITICS.contains(&part)) {
            continue;
        }
        word_cache::with_form(part, index_form, &mut emit);
    }
}

/// The form under which a word is indexed; none for a stop word.
fn index_form(word: &str) -> Option<Cow<'_, str>> {
    let word = match RULES.get(word) {
        Some(Rule::Drop) => return None,
        Some(Rule::Replace(lemma)) => lemma,
        None => word,
    };
    let stemmable = word.len() <= MAX_STEMMED && word.bytes().all(|b| b.is_ascii_lowercase());
    Some(if stemmable { STEMMER.stem(word) } else { Cow::Borrowed(word) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(word: &str) -> Vec<String> {
        let mut forms = Vec::new();
        index_forms(word, |form| forms.push(form.to_owned()));
        forms
    }

    #[test]
    fn forms_of_one_word_meet() {
        for family in [
            &["buy", "buys", "buying", "bought"][..],
            &["go", "goes", "went", "gone"],
            &["paint", "painted", "painting", "paints"],
            &["three", "3"],
        ] {
            for word in family {
                assert_eq!(forms(word), forms(family[0]), "{word}");
            }
        }
    }

    #[test]
    fn contractions_leave_only_the_word() {
        assert_eq!(forms("caroline's"), forms("caroline"));
        assert_eq!(forms("o'clock"), ["o", "clock"]);
        for nothing in ["i'm", "don't", "can't", "won't", "you've", "it's"] {
            assert!(forms(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn no_entry_overwrites_another() {
        let entries = |list: &'static str| {
            list.split_whitespace()
                .flat_map(|entry| entry.split_once(':').map_or(entry, |(_, forms)| forms).split(','))
                .count()
        };
        let listed = [STOP_WORDS, IRREGULAR, NUMBERS].map(entries);
        assert_eq!(RULES.len(), listed.iter().sum::<usize>());
    }

    /// A stemmer with other results would orphan every stored term.
    #[test]
    fn stems_are_those_that_stored_terms_were_made_of() {
        let stems = ["memories", "generously", "caring", "dying", "skies", "university"]
            .map(|word| forms(word).concat());
        assert_eq!(stems, ["memori", "generous", "care", "die", "sky", "universiti"]);
    }

    #[test]
    fn identifiers_are_not_stemmed() {
        let hash = "abcdefghij".repeat(5) + "ing";
        assert_eq!(forms(&hash), [hash]);
        assert_eq!(forms("b12s"), ["b12s"]);
    }
}
