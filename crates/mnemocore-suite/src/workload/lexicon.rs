//! The words that fill a template's gaps.
//!
//! Every class has a hand-written head and, where real life has no end of them
//! (surnames, streets, companies, products), a tail of invented but pronounceable
//! words. A word is a pure function of seed, class and rank, so the lexicon takes
//! no memory and a larger corpus says the same words in the same places.

use std::fmt::Write as _;

use super::words::*;

/// The class of words for a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Class {
    Person,
    Place,
    Street,
    Company,
    Product,
    Project,
    Dish,
    Topic,
    Title,
    Thing,
    Pet,
    Role,
    Gathering,
    Date,
    Weekday,
    Clock,
    Amount,
    Feeling,
    Adjective,
}

impl Class {
    /// The class that a gap of this name takes.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "person" => Self::Person,
            "place" => Self::Place,
            "street" => Self::Street,
            "company" => Self::Company,
            "product" => Self::Product,
            "project" => Self::Project,
            "dish" => Self::Dish,
            "topic" => Self::Topic,
            "title" => Self::Title,
            "thing" => Self::Thing,
            "pet" => Self::Pet,
            "role" => Self::Role,
            "gathering" => Self::Gathering,
            "date" => Self::Date,
            "weekday" => Self::Weekday,
            "clock" => Self::Clock,
            "amount" => Self::Amount,
            "feeling" => Self::Feeling,
            "adj" => Self::Adjective,
            _ => return None,
        })
    }

    /// Returns the number of ranks of the class. Open classes are large enough that rare words keep
    /// coming in a million memories.
    pub(super) fn size(self) -> u32 {
        match self {
            Self::Person => 1 << 15,
            Self::Street | Self::Company => 1 << 16,
            Self::Place | Self::Product => 1 << 14,
            Self::Dish | Self::Pet => 1 << 12,
            Self::Project => combinations(ADJECTIVES, NOUNS),
            Self::Title => combinations(NOUNS, TITLE_ENDS) + combinations(ADJECTIVES, NOUNS),
            Self::Topic => TOPICS.len() as u32 + combinations(MANNERS, TOPICS),
            Self::Thing => THINGS.len() as u32 + combinations(ADJECTIVES, THINGS),
            Self::Date => DAYS,
            Self::Amount => AMOUNTS,
            Self::Clock => HOURS * 4,
            Self::Role => ROLES.len() as u32,
            Self::Gathering => GATHERINGS.len() as u32,
            Self::Weekday => WEEKDAYS.len() as u32,
            Self::Feeling => FEELINGS.len() as u32,
            Self::Adjective => ADJECTIVES.len() as u32,
        }
    }

    /// Whether all ranks are equally likely, as days are, instead of Zipfian.
    pub(super) fn is_even(self) -> bool {
        matches!(self, Self::Date | Self::Weekday | Self::Clock | Self::Amount)
    }
}

const fn combinations(first: &[&str], second: &[&str]) -> u32 {
    (first.len() * second.len()) as u32
}

const DAYS: u32 = 12 * 28;
const HOURS: u32 = 13;
const AMOUNTS: u32 = 400;

/// Writes words of a class by their rank.
#[derive(Clone, Debug)]
pub(super) struct Lexicon {
    seed: u64,
}

impl Lexicon {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Appends the word of `class` at `rank`, which lies in `0..class.size()`.
    pub(super) fn write(&self, class: Class, rank: u32, out: &mut String) {
        match class {
            Class::Person => self.person(rank, out),
            Class::Place => self.listed_or_invented(PLACES, class, rank, PLACE_ENDINGS, out),
            Class::Pet => self.listed_or_invented(PETS, class, rank, PET_ENDINGS, out),
            Class::Company => self.listed_or_invented(COMPANIES, class, rank, COMPANY_ENDINGS, out),
            Class::Product => self.listed_or_invented(PRODUCTS, class, rank, PRODUCT_ENDINGS, out),
            Class::Street => {
                self.invent(class, rank, STREET_ENDINGS, out);
                out.push_str(pick(&[" Street", " Road", " Lane", " Square"], rank));
            }
            Class::Dish => self.dish(rank, out),
            Class::Project => pair(shuffled(rank, Class::Project), ADJECTIVES, NOUNS, out),
            Class::Title => title(rank, out),
            Class::Topic => plain_or_qualified(rank, TOPICS, MANNERS, out),
            Class::Thing => plain_or_qualified(rank, THINGS, ADJECTIVES, out),
            Class::Role => out.push_str(pick(ROLES, rank)),
            Class::Gathering => out.push_str(pick(GATHERINGS, rank)),
            Class::Weekday => out.push_str(pick(WEEKDAYS, rank)),
            Class::Feeling => out.push_str(pick(FEELINGS, rank)),
            Class::Adjective => out.push_str(pick(ADJECTIVES, rank)),
            Class::Date => {
                write_infallibly(out, format_args!("{} {}", rank % 28 + 1, pick(MONTHS, rank / 28)))
            }
            Class::Clock => {
                let quarter = pick(&["", ":15", ":30", ":45"], rank);
                let hour = 8 + rank / 4 % HOURS;
                let half = if hour < 12 { "am" } else { "pm" };
                write_infallibly(out, format_args!("{}{quarter} {half}", (hour - 1) % 12 + 1));
            }
            Class::Amount => write_infallibly(out, format_args!("{} euros", amount(rank))),
        }
    }

    /// First names alone for the best known, first name and surname for the others.
    fn person(&self, rank: u32, out: &mut String) {
        let first_names = FIRST_NAMES.len() as u32;
        out.push_str(pick(FIRST_NAMES, rank));
        if let Some(rank) = rank.checked_sub(first_names) {
            out.push(' ');
            // Several people share a surname, as they do in life.
            self.listed_or_invented(SURNAMES, Class::Person, rank / 3, SURNAME_ENDINGS, out);
        }
    }

    /// A dish, or a dish in the manner of some place.
    fn dish(&self, rank: u32, out: &mut String) {
        if let Some(rank) = rank.checked_sub(DISHES.len() as u32) {
            let place = rank / DISHES.len() as u32 * 7 + rank % 7;
            self.listed_or_invented(PLACES, Class::Place, place, PLACE_ENDINGS, out);
            out.push_str("-style ");
        }
        out.push_str(pick(DISHES, rank));
    }

    fn listed_or_invented(&self, list: &[&str], class: Class, rank: u32, endings: &[&str], out: &mut String) {
        match list.get(rank as usize) {
            Some(word) => out.push_str(word),
            None => self.invent(class, rank - list.len() as u32, endings, out),
        }
    }

    /// An invented, capitalized word: two syllables while those last, then three.
    ///
    /// Each rank has its own combination of syllables and ending; the multiplier
    /// keeps neighboring ranks from looking alike.
    fn invent(&self, class: Class, rank: u32, endings: &[&str], out: &mut String) {
        let syllables = (ONSETS.len() * VOWELS.len()) as u64;
        let endings_count = endings.len() as u64;
        let short = syllables * syllables * endings_count / 4;
        let rank = u64::from(rank);
        let (count, combinations, rank) = if rank < short {
            (2, syllables * syllables * endings_count, rank)
        } else {
            (3, syllables * syllables * syllables * endings_count, rank - short)
        };
        let offset = (self.seed ^ class as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let mut code = (rank * SCRAMBLER + offset) % combinations;

        let start = out.len();
        let ending = pick(endings, (code % endings_count) as u32);
        code /= endings_count;
        for _ in 0..count {
            let syllable = (code % syllables) as u32;
            out.push_str(pick(ONSETS, syllable));
            out.push_str(pick(VOWELS, syllable / ONSETS.len() as u32));
            code /= syllables;
        }
        out.push_str(ending);
        if let Some(initial) = out.get_mut(start..=start) {
            initial.make_ascii_uppercase();
        }
    }
}

/// Prime, so coprime to every number of combinations: a bijection on the ranks.
const SCRAMBLER: u64 = 7_368_787;

fn pick<'a>(list: &[&'a str], rank: u32) -> &'a str {
    list.get(rank as usize % list.len().max(1)).copied().unwrap_or_default()
}

/// A permutation of a class's ranks, so that a pair's first word varies as well.
fn shuffled(rank: u32, class: Class) -> u32 {
    (u64::from(rank) * SCRAMBLER % u64::from(class.size().max(1))) as u32
}

/// Two words, both capitalized.
fn pair(rank: u32, first: &[&str], second: &[&str], out: &mut String) {
    let mut capitalised = |word: &str| {
        let start = out.len();
        out.push_str(word);
        if let Some(initial) = out.get_mut(start..=start) {
            initial.make_ascii_uppercase();
        }
    };
    capitalised(pick(first, rank / second.len().max(1) as u32));
    capitalised(" ");
    capitalised(pick(second, rank));
}

fn title(rank: u32, out: &mut String) {
    let rank = shuffled(rank, Class::Title);
    match rank.checked_sub(combinations(NOUNS, TITLE_ENDS)) {
        Some(rank) => {
            out.push_str("The ");
            pair(rank, ADJECTIVES, NOUNS, out);
        }
        None => {
            pair(rank / TITLE_ENDS.len() as u32, &["the"], NOUNS, out);
            out.push_str(" and the ");
            out.push_str(pick(TITLE_ENDS, rank));
        }
    }
}

fn plain_or_qualified(rank: u32, plain: &[&str], qualifiers: &[&str], out: &mut String) {
    match rank.checked_sub(plain.len() as u32) {
        None => out.push_str(pick(plain, rank)),
        Some(rank) => {
            out.push_str(pick(qualifiers, rank));
            out.push(' ');
            out.push_str(pick(plain, rank / qualifiers.len() as u32));
        }
    }
}

/// Prices as shops write them: fine steps when small, coarse ones when large.
fn amount(rank: u32) -> u32 {
    match rank % AMOUNTS {
        small @ 0..250 => small + 5,
        middle @ 250..350 => 260 + (middle - 250) * 5,
        large => 780 + (large - 350) * 20,
    }
}

fn write_infallibly(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const ALL: &[Class] = &[
        Class::Person,
        Class::Place,
        Class::Street,
        Class::Company,
        Class::Product,
        Class::Project,
        Class::Dish,
        Class::Topic,
        Class::Title,
        Class::Thing,
        Class::Pet,
        Class::Role,
        Class::Gathering,
        Class::Date,
        Class::Weekday,
        Class::Clock,
        Class::Amount,
        Class::Feeling,
        Class::Adjective,
    ];

    fn word(class: Class, rank: u32) -> String {
        let mut out = String::new();
        Lexicon::new(1).write(class, rank, &mut out);
        out
    }

    #[test]
    fn no_two_ranks_of_a_class_share_a_word() {
        for &class in ALL {
            let words: HashSet<String> = (0..class.size()).map(|rank| word(class, rank)).collect();
            assert_eq!(words.len(), class.size() as usize, "{class:?}");
        }
    }

    #[test]
    fn invented_words_can_be_pronounced() {
        for rank in (100..60_000).step_by(977) {
            let word = word(Class::Company, rank);
            let runs = word.to_lowercase();
            let longest = runs.split(['a', 'e', 'i', 'o', 'u', 'y']).map(str::len).max();
            assert!(longest <= Some(4) && word.len() <= 16, "{word}");
        }
    }
}
