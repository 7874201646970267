//! Questions about what was said, and about what was not.

use std::collections::{HashMap, HashSet};

use super::template::Gaps;
use super::{Agent, Fact, Key, Workload, word};
use crate::corpus::Question;
use criterion_gate::random::Random;

/// Tries per question wanted, before a workload counts as too small for more.
const TRIES: usize = 8;

/// At most one answerable question in this many is about something that changed:
/// much talked-about things change often, and would otherwise be most of them.
const CHANGED_SHARE: usize = 3;

/// The current value of a key.
#[derive(Default)]
struct Current {
    value: Option<u32>,
    /// The memories that state it, since it last changed.
    memories: Vec<u32>,
    changed: bool,
}

/// A key as one agent knows it.
type Place = (usize, Key);

impl Workload {
    /// Questions about what was said so far: `answerable` of them with their
    /// answer, and `unanswerable` about things that nobody mentioned.
    ///
    /// An answer is what was said last; [`Question::relevant`] lists the memories
    /// that say so, counted from the workload's first. The category is `who`,
    /// `what`, `where`, `when`, `how_much`, `work` or `preference`, `changed` if
    /// the answer was another one before, and `unanswerable`. The same workload
    /// gives the same questions. Fewer come back where fewer facts were stated.
    pub fn questions(&self, answerable: usize, unanswerable: usize) -> Vec<Question> {
        let mut random = Random::stream(self.seed, 1);
        let asked = self.stated(answerable * 2, &mut random);
        let strange = self.unstated(unanswerable * 2, &mut random);
        let known = self.current(asked.iter().chain(&strange));

        let (changed, constant): (Vec<Place>, Vec<Place>) =
            asked.iter().partition(|place| known.get(place).is_some_and(|current| current.changed));
        let rest = changed.get(answerable / CHANGED_SHARE..).unwrap_or_default();
        let chosen = changed.iter().take(answerable / CHANGED_SHARE).chain(&constant).chain(rest);
        let answered = chosen
            .take(answerable)
            .filter_map(|place| self.question(*place, Some(known.get(place)?), &mut random));
        let mut questions: Vec<Question> = answered.collect();
        let unknown =
            strange.iter().filter(|place| known.get(place).is_none_or(|current| current.value.is_none()));
        let unanswered = unknown.take(unanswerable);
        questions.extend(unanswered.filter_map(|place| self.question(*place, None, &mut random)));
        for (number, question) in (1..).zip(&mut questions) {
            question.id = format!("{}/q{number}", question.scope.as_deref().unwrap_or_default());
        }
        questions
    }

    /// Distinct keys that something was said about.
    fn stated(&self, count: usize, random: &mut Random) -> Vec<Place> {
        self.distinct(count, random, |_, fact, _| fact.key)
    }

    /// Distinct keys of the same kinds, each of somebody or something else: half
    /// of them of one that the agent has heard of in another connection.
    fn unstated(&self, count: usize, random: &mut Random) -> Vec<Place> {
        self.distinct(count, random, |agent, fact, random| {
            let subject_class = |key: Key| {
                let wordings = self.phrases.relations.get(key.relation as usize);
                wordings.map(|wordings| wordings.relation.subject)
            };
            let class = subject_class(fact.key);
            let other = random.pick(&agent.facts).filter(|other| subject_class(other.key) == class);
            let subject = match (other, random.percent(50)) {
                (Some(other), true) => other.key.subject,
                _ => random.below(class.map_or(0, super::Class::size)),
            };
            Key { subject, ..fact.key }
        })
    }

    fn distinct(
        &self,
        count: usize,
        random: &mut Random,
        key: impl Fn(&Agent, &Fact, &mut Random) -> Key,
    ) -> Vec<Place> {
        let mut seen = HashSet::new();
        let mut places = Vec::new();
        for _ in 0..count * TRIES {
            if places.len() == count {
                break;
            }
            let index = random.below(self.agents.len() as u32) as usize;
            let Some(agent) = self.agents.get(index) else {
                continue;
            };
            let Some(fact) = random.pick(&agent.facts) else {
                continue;
            };
            let place = (index, key(agent, fact, random));
            if seen.insert(place) {
                places.push(place);
            }
        }
        places
    }

    /// Collects the current values of `places`, in one pass over all facts.
    fn current<'a>(&self, places: impl Iterator<Item = &'a Place>) -> HashMap<Place, Current> {
        let mut known: HashMap<Place, Current> = places.map(|place| (*place, Current::default())).collect();
        for (index, agent) in self.agents.iter().enumerate() {
            for fact in &agent.facts {
                let Some(current) = known.get_mut(&(index, fact.key)) else {
                    continue;
                };
                if current.value.is_some_and(|value| value != fact.value) {
                    current.changed = true;
                    current.memories.clear();
                }
                current.value = Some(fact.value);
                current.memories.push(fact.memory);
            }
        }
        known
    }

    fn question(
        &self,
        (agent, key): Place,
        current: Option<&Current>,
        random: &mut Random,
    ) -> Option<Question> {
        let wordings = self.phrases.relations.get(key.relation as usize)?;
        let relation = wordings.relation;
        let gaps = Gaps {
            subject: &word(&self.lexicon, relation.subject, key.subject),
            attribute: &relation.attribute.word(&self.lexicon, key.attribute),
            value: "",
        };
        let mut text = String::new();
        random.pick(&wordings.questions)?.fill(gaps, &self.lexicon, random, &mut text);
        let category = match current {
            None => "unanswerable",
            Some(current) if current.changed => "changed",
            Some(_) => relation.category,
        };
        let value = current.and_then(|current| current.value);
        Some(Question {
            id: String::new(),
            text,
            relevant: current.map_or_else(Vec::new, |current| current.memories.clone()),
            category: category.to_owned(),
            answer: value.map(|value| word(&self.lexicon, relation.value_class(key.attribute), value)),
            scope: self.agents.get(agent).map(|agent| agent.scope.clone()),
        })
    }
}
