//! Conversations with agents, invented from a seed, and questions with known answers.
//!
//! People move, change jobs, plan trips, adopt pets, change their minds, and talk
//! about the weather. Words come from hand-written lists that end in a long tail
//! of invented names, and are chosen by Zipf's law, so that a large corpus has
//! the term statistics that text has: few common words, many rare ones.
//!
//! Of a hundred memories 20 come back to an earlier one (13 change it, 7 only
//! mention it), 52 state something new, 28 are small talk. After a change the
//! newest statement is the answer.

mod lexicon;
mod phrases;
mod questions;
mod template;
#[rustfmt::skip] // One word a line would make a thousand lines of it.
mod words;

use std::fmt::Write as _;

use self::lexicon::{Class, Lexicon};
use self::phrases::{Attribute, OPENERS, RELATIONS, Relation, SMALL_TALK, TAILS};
use self::template::{Gaps, Template, draw};
use crate::corpus::{Corpus, Item};
use criterion_gate::random::Random;
use mnemocore::encoder;

/// Percentage of memories that come back to an earlier one.
const REVISITS: u32 = 20;
/// Percentage of memories that state something new.
const STATEMENTS: u32 = 52;
/// Percentage of revisits that change what was said.
const CHANGES: u32 = 66;
/// Percentage of statements about a person that the person itself makes.
const ABOUT_ONESELF: u32 = 45;
/// Percentage of memories with a sentence before, and with one after the core:
/// together they bring the mean to about 16 words and 100 bytes, speaker included.
const OPENED: u32 = 25;
const TAILED: u32 = 60;
/// The number of people who talk to an agent.
const SPEAKERS: u32 = 1 << 10;
/// Turns in a session: a chat, not a chat log.
const TURNS: std::ops::Range<u32> = 6..19;
/// The first session starts at 2024-01-01 10:00 UTC.
const START_MS: i64 = 1_704_103_200_000;

/// An endless stream of memories that follows from its seed alone: the same on
/// every platform, and the first `n` are the same however many are taken.
///
/// ```
/// use mnemocore_suite::workload::Workload;
///
/// let mut workload = Workload::new(42);
/// let memories: Vec<_> = workload.by_ref().take(1000).collect();
/// let questions = workload.questions(20, 5);
/// assert!(memories[0].content().contains(": "));
/// assert_eq!(questions.iter().filter(|question| question.is_answerable()).count(), 20);
/// ```
#[derive(Clone, Debug)]
pub struct Workload {
    seed: u64,
    random: Random,
    lexicon: Lexicon,
    phrases: Phrases,
    agents: Vec<Agent>,
    session: Session,
    now_ms: i64,
    said: u32,
    /// Whether the last memory came back to an earlier one.
    revisited: bool,
}

/// The templates of [`phrases`], taken apart.
#[derive(Clone, Debug)]
struct Phrases {
    relations: Vec<Wordings>,
    small_talk: Vec<Template>,
    openers: Vec<Template>,
    tails: Vec<Template>,
}

#[derive(Clone, Debug)]
struct Wordings {
    relation: &'static Relation,
    own: Vec<Template>,
    told: Vec<Template>,
    own_changes: Vec<Template>,
    told_changes: Vec<Template>,
    follow_ups: Vec<Template>,
    questions: Vec<Template>,
}

/// An agent: its scope, its sessions, and the facts that it was told.
#[derive(Clone, Debug)]
struct Agent {
    scope: String,
    sessions: u32,
    /// Facts in the order in which they were stated. A later fact replaces an earlier one of its
    /// key.
    facts: Vec<Fact>,
}

/// The content of a memory, in ranks of the lexicon.
#[derive(Clone, Copy, Debug)]
struct Fact {
    key: Key,
    value: u32,
    memory: u32,
}

/// The subject of a fact. At any time it has one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    relation: u8,
    subject: u32,
    attribute: u32,
}

#[derive(Clone, Debug, Default)]
struct Session {
    agent: usize,
    id: String,
    user: Speaker,
    other: Speaker,
    turn: u32,
    turns: u32,
}

impl Session {
    fn speaker(&self, is_user: bool) -> &Speaker {
        if is_user { &self.user } else { &self.other }
    }
}

#[derive(Clone, Debug, Default)]
struct Speaker {
    rank: u32,
    name: String,
}

impl Workload {
    /// The conversations of one agent.
    pub fn new(seed: u64) -> Self {
        Self::with_agents(seed, 1)
    }

    /// The conversations of `agents` agents (at least one), session by session in
    /// turns; each has a scope of its own and knows only what was said in it.
    pub fn with_agents(seed: u64, agents: u32) -> Self {
        let lexicon = Lexicon::new(seed);
        let agent = |rank: u32| Agent { scope: scope_name(&lexicon, rank), sessions: 0, facts: Vec::new() };
        Self {
            agents: (0..agents.clamp(1, Class::Person.size())).map(agent).collect(),
            random: Random::stream(seed, 0),
            phrases: Phrases::parse(),
            session: Session::default(),
            now_ms: START_MS,
            said: 0,
            revisited: false,
            lexicon,
            seed,
        }
    }

    /// The next `memories` memories with questions about everything said so far:
    /// `answerable` with an answer and a quarter as many without one.
    ///
    /// Indices in the questions count from the first memory of the workload, so
    /// this is meant for a fresh one.
    pub fn corpus(&mut self, memories: usize, answerable: usize) -> Corpus {
        let memories = self.by_ref().take(memories).collect();
        Corpus { memories, questions: self.questions(answerable, answerable / 4), left_out: Vec::new() }
    }

    fn start_session(&mut self) {
        let random = &mut self.random;
        let index = random.below(self.agents.len() as u32) as usize;
        let Some(agent) = self.agents.get_mut(index) else {
            return;
        };
        agent.sessions += 1;
        let user = random.zipf(SPEAKERS);
        let other = (user + 1 + random.zipf(SPEAKERS - 1)) % SPEAKERS;
        let speaker = |rank| Speaker { rank, name: word(&self.lexicon, Class::Person, rank) };
        self.session = Session {
            agent: index,
            id: format!("{}/{}", agent.scope, agent.sessions),
            user: speaker(user),
            other: speaker(other),
            turn: 0,
            turns: TURNS.start + random.below(TURNS.end - TURNS.start),
        };
        self.now_ms += 60_000 * i64::from(10 + random.below(170));
    }

    /// Writes the statement of one of the two speakers to `text`, and returns whether the user says
    /// it. The speaker may change, because nobody speaks of oneself by name.
    fn say(&mut self, is_user: bool, text: &mut String) -> bool {
        let known = self.agents.get(self.session.agent).map_or(0, |agent| agent.facts.len());
        let choice = self.random.below(100);
        self.revisited = choice < REVISITS && known > 0;
        if self.revisited {
            self.revisit(is_user, known as u32, text)
        } else if choice < REVISITS + STATEMENTS {
            self.state(is_user, text)
        } else {
            if let Some(template) = self.random.pick(&self.phrases.small_talk) {
                template.fill(Gaps::default(), &self.lexicon, &mut self.random, text);
            }
            is_user
        }
    }

    /// Something new, about the speaker or somebody or something else.
    fn state(&mut self, is_user: bool, text: &mut String) -> bool {
        let relation = self.random.below(self.phrases.relations.len() as u32);
        let Some(wordings) = self.phrases.relations.get(relation as usize) else {
            return is_user;
        };
        let about_oneself = !wordings.own.is_empty() && self.random.percent(ABOUT_ONESELF);
        let subject = if about_oneself {
            self.session.speaker(is_user).rank
        } else {
            draw(wordings.relation.subject, &mut self.random)
        };
        let attribute = wordings.relation.attribute.draw(&mut self.random);
        let value = draw(wordings.relation.value_class(attribute), &mut self.random);
        let key = Key { relation: relation as u8, subject, attribute };
        self.utter(is_user, key, Some(value), false, text)
    }

    /// A change of, or a remark on, something said before: mostly lately.
    fn revisit(&mut self, is_user: bool, known: u32, text: &mut String) -> bool {
        let back = self.random.zipf(known) as usize;
        let facts = self.agents.get(self.session.agent).map_or(&[][..], |agent| &agent.facts);
        let Some(&Fact { key, value, .. }) = facts.iter().rev().nth(back) else {
            return is_user;
        };
        if !self.random.percent(CHANGES) {
            return self.utter(is_user, key, None, true, text);
        }
        let class = RELATIONS
            .get(key.relation as usize)
            .map_or(Class::Thing, |relation| relation.value_class(key.attribute));
        let mut changed = draw(class, &mut self.random);
        if changed == value {
            changed = (value + 1) % class.size();
        }
        self.utter(is_user, key, Some(changed), true, text)
    }

    /// Words a fact, and remembers it if it comes with a value.
    fn utter(&mut self, is_user: bool, key: Key, value: Option<u32>, again: bool, text: &mut String) -> bool {
        let Some(wordings) = self.phrases.relations.get(key.relation as usize) else {
            return is_user;
        };
        let relation = wordings.relation;
        let about_speaker =
            relation.subject == Class::Person && self.session.speaker(is_user).rank == key.subject;
        let (own, told) = match (value, again) {
            (Some(_), false) => (&wordings.own, &wordings.told),
            (Some(_), true) => (&wordings.own_changes, &wordings.told_changes),
            (None, _) => (&wordings.follow_ups, &wordings.follow_ups),
        };
        let in_first_person = about_speaker && value.is_some();
        let is_user = is_user != (about_speaker && !in_first_person);

        let value_word = value.map(|value| word(&self.lexicon, relation.value_class(key.attribute), value));
        let gaps = Gaps {
            subject: &word(&self.lexicon, relation.subject, key.subject),
            attribute: &relation.attribute.word(&self.lexicon, key.attribute),
            value: value_word.as_deref().unwrap_or_default(),
        };
        if let Some(template) = self.random.pick(if in_first_person { own } else { told }) {
            template.fill(gaps, &self.lexicon, &mut self.random, text);
        }
        if let (Some(value), Some(agent)) = (value, self.agents.get_mut(self.session.agent)) {
            agent.facts.push(Fact { key, value, memory: self.said });
        }
        is_user
    }

    fn decorate(&mut self, templates: fn(&Phrases) -> &[Template], text: &mut String) {
        if let Some(template) = self.random.pick(templates(&self.phrases)) {
            template.fill(Gaps::default(), &self.lexicon, &mut self.random, text);
        }
    }
}

impl Iterator for Workload {
    type Item = Item;

    /// The next memory; there is always one.
    fn next(&mut self) -> Option<Item> {
        if self.session.turn == self.session.turns {
            self.start_session();
        }
        self.session.turn += 1;
        self.now_ms += 1000 * i64::from(15 + self.random.below(105));

        let mut text = String::with_capacity(128);
        if self.random.percent(OPENED) {
            self.decorate(|phrases| &phrases.openers, &mut text);
            text.push(' ');
        }
        let is_user = self.random.percent(50);
        let is_user = self.say(is_user, &mut text);
        if self.random.percent(TAILED) {
            text.push(' ');
            self.decorate(|phrases| &phrases.tails, &mut text);
        }
        self.said += 1;

        let scope = self.agents.get(self.session.agent).map(|agent| agent.scope.clone());
        let mut id = String::with_capacity(self.session.id.len() + 4);
        // Writing to a `String` cannot fail.
        let _ = write!(id, "{}/{}", self.session.id, self.session.turn);
        Some(Item {
            id,
            text,
            speaker: Some(self.session.speaker(is_user).name.clone()),
            session: self.session.id.clone(),
            timestamp_ms: self.now_ms,
            scope: scope.unwrap_or_default(),
        })
    }
}

impl Phrases {
    fn parse() -> Self {
        let wordings = |relation: &'static Relation| Wordings {
            relation,
            own: Template::parse_all(relation.own),
            told: Template::parse_all(relation.told),
            own_changes: Template::parse_all(relation.own_changes),
            told_changes: Template::parse_all(relation.told_changes),
            follow_ups: Template::parse_all(relation.follow_ups),
            questions: Template::parse_all(relation.questions),
        };
        Self {
            relations: RELATIONS.iter().map(wordings).collect(),
            small_talk: Template::parse_all(SMALL_TALK),
            openers: Template::parse_all(OPENERS),
            tails: Template::parse_all(TAILS),
        }
    }
}

impl Relation {
    /// The class of the value that goes with an attribute.
    fn value_class(&self, attribute: u32) -> Class {
        match self.attribute {
            Attribute::Kind(kinds) => kinds.get(attribute as usize).map_or(self.value, |&(_, class)| class),
            Attribute::None | Attribute::Class(_) => self.value,
        }
    }
}

impl Attribute {
    fn draw(self, random: &mut Random) -> u32 {
        match self {
            Self::None => 0,
            Self::Class(class) => draw(class, random),
            Self::Kind(kinds) => random.zipf(kinds.len() as u32),
        }
    }

    fn word(self, lexicon: &Lexicon, rank: u32) -> String {
        match self {
            Self::None => String::new(),
            Self::Class(class) => word(lexicon, class, rank),
            Self::Kind(kinds) => {
                kinds.get(rank as usize).map_or_else(String::new, |&(word, _)| word.to_owned())
            }
        }
    }
}

fn word(lexicon: &Lexicon, class: Class, rank: u32) -> String {
    let mut out = String::with_capacity(24);
    lexicon.write(class, rank, &mut out);
    out
}

/// The name of a person who has an agent, as an identifier.
fn scope_name(lexicon: &Lexicon, rank: u32) -> String {
    word(lexicon, Class::Person, rank).to_lowercase().replace(' ', "-")
}

/// A query made of `share` of the words of `text` (at least one, if it has any),
/// chosen evenly and kept in order: that share of the words that hold its terms,
/// and that share of the others, such as "the".
///
/// Recall is measured with these queries. Each shares a known part of its terms with a stored
/// memory, and is the same for the same seed.
///
/// ```
/// use mnemocore_suite::workload::partial_query;
///
/// let query = partial_query("the cat sat on the old mat", 0.6, 1);
/// assert_eq!(query.split(' ').count(), 4);
/// ```
pub fn partial_query(text: &str, share: f64, seed: u64) -> String {
    let terms = encoder::terms(text);
    // A word alone is a term even if it is none within a text.
    let holds = |word: &str| encoder::terms(word).iter().any(|term| terms.contains(term));
    let words: Vec<(&str, bool)> = text.split_whitespace().map(|word| (word, holds(word))).collect();
    let holding = words.iter().filter(|(_, holds)| *holds).count();
    let share = |count: usize| (count as f64 * share.clamp(0.0, 1.0)).round() as u32;
    let mut chosen =
        [words.len() - holding, holding].map(|left| Sample { left: left as u32, wanted: share(left) });
    // A text without terms is white space, or a word that is none.
    let least = &mut chosen[usize::from(holding > 0)];
    least.wanted = least.wanted.max(1);
    let mut random = Random::new(seed);
    let kept = words.into_iter().filter(|&(_, holds)| chosen[usize::from(holds)].takes_next(&mut random));
    let mut query = String::with_capacity(text.len());
    for (word, _) in kept {
        if !query.is_empty() {
            query.push(' ');
        }
        query.push_str(word);
    }
    query
}

/// Selection sampling: Knuth, TAOCP 2, algorithm 3.4.2 S.
struct Sample {
    left: u32,
    wanted: u32,
}

impl Sample {
    fn takes_next(&mut self, random: &mut Random) -> bool {
        let takes = random.below(self.left) < self.wanted;
        self.left -= 1;
        self.wanted -= u32::from(takes);
        takes
    }
}

#[cfg(test)]
mod tests;
