//! The memories and questions that every system is given, and the evaluation of its answers.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::adapter::digest;
use super::protocol::Hit;
use mnemocore_suite::corpus::Corpus;
use mnemocore_suite::evaluation::Questions;
use mnemocore_suite::quality;

/// A conversation: memories in the order in which they were said, and the questions that they
/// answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The scope of the conversation in the data set, or `all` if questions or memories have none.
    pub name: String,
    /// Memories to store, all into one store.
    pub memories: Vec<Stored>,
    /// Questions to ask after all memories are stored.
    pub questions: Vec<Asked>,
}

/// A memory to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The key, unique within the conversation.
    pub key: String,
    /// The text, as `Speaker: text`.
    pub text: String,
    /// Seconds since 1970 UTC.
    pub time: i64,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The text of the question.
    pub text: String,
    /// Positions in [`Work::memories`] of the memories that answer it.
    pub relevant: Vec<u32>,
}

impl Work {
    /// Returns the conversations of `corpus`, in the order of their first memories.
    ///
    /// Keeps at most `limit` memories of each conversation, and only the questions that these
    /// memories answer. Adversarial questions are left out, because they have no answer to find.
    pub fn of(corpus: &Corpus, limit: usize) -> Vec<Self> {
        let questions = Questions::of(corpus).answerable;
        // If one question spans all scopes, all memories must be in one store.
        let is_scoped = !questions.is_empty() && questions.iter().all(|question| question.scope.is_some());
        let mut works: Vec<Self> = Vec::new();
        let mut places: HashMap<u32, (usize, u32)> = HashMap::new();
        for (position, item) in (0u32..).zip(&corpus.memories) {
            let name = if is_scoped && !item.scope.is_empty() { item.scope.as_str() } else { "all" };
            let at = works.iter().position(|work| work.name == name).unwrap_or_else(|| {
                works.push(Self { name: name.to_owned(), ..Self::default() });
                works.len() - 1
            });
            let Some(work) = works.get_mut(at).filter(|work| work.memories.len() < limit) else { continue };
            places.insert(position, (at, work.memories.len() as u32));
            let (key, text) = (item.id.clone(), item.content().into_owned());
            work.memories.push(Stored { key, text, time: item.timestamp_ms.div_euclid(1000) });
        }
        for question in questions {
            let found: Option<Vec<_>> =
                question.relevant.iter().map(|position| places.get(position).copied()).collect();
            let Some(found) = found else { continue };
            let Some(&(at, _)) = found.first() else { continue };
            let is_elsewhere =
                is_scoped && question.scope.as_deref() != works.get(at).map(|work| work.name.as_str());
            if is_elsewhere || found.iter().any(|&(other, _)| other != at) {
                continue;
            }
            if let Some(work) = works.get_mut(at) {
                let relevant = found.into_iter().map(|(_, place)| place).collect();
                work.questions.push(Asked { text: question.text.clone(), relevant });
            }
        }
        works.retain(|work| !work.questions.is_empty());
        works
    }

    /// Returns a hash of the memories and questions.
    pub fn digest(&self) -> u64 {
        let relevant: Vec<String> =
            self.questions.iter().map(|question| format!("{:?}", question.relevant)).collect();
        let memories =
            self.memories.iter().flat_map(|memory| [memory.key.as_bytes(), memory.text.as_bytes()]);
        let questions = self.questions.iter().map(|question| question.text.as_bytes());
        let relevant = relevant.iter().map(String::as_bytes);
        let parts: Vec<&[u8]> = memories.chain(questions).chain(relevant).collect();
        digest(parts)
    }

    /// Returns a checker of answers to these questions.
    pub fn checker(&self) -> Checker<'_> {
        let mut checker = Checker { keys: HashMap::new(), texts: HashMap::new() };
        for (place, memory) in (0u32..).zip(&self.memories) {
            checker.keys.insert(&memory.key, place);
            checker.texts.entry(&memory.text).or_default().push(place);
        }
        checker
    }
}

/// Maps the keys and texts of hits to stored memories.
#[derive(Debug)]
pub struct Checker<'w> {
    keys: HashMap<&'w str, u32>,
    texts: HashMap<&'w str, Vec<u32>>,
}

/// A checked list of hits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// Positions in [`Work::memories`], the best first.
    pub ranked: Vec<u32>,
    /// The invalid hits in the list.
    pub faults: Faults,
}

/// Counts of invalid hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Hits that name no stored memory.
    pub foreign: usize,
    /// Hits that name a memory more often than it was stored.
    pub repeated: usize,
    /// Hits beyond the requested number.
    pub surplus: usize,
}

impl Faults {
    /// Whether there is any invalid hit.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: Self) {
        self.foreign += other.foreign;
        self.repeated += other.repeated;
        self.surplus += other.surplus;
    }
}

impl Checker<'_> {
    /// Resolves the first `k` of `hits` to positions of memories.
    ///
    /// A text may have been stored several times. Each hit with that text then counts as another of
    /// these memories, `relevant` ones first.
    pub fn check(&self, hits: &[Hit], k: usize, relevant: &[u32]) -> Checked {
        let mut checked = Checked::default();
        checked.faults.surplus = hits.len().saturating_sub(k);
        for hit in hits.iter().take(k) {
            let candidates = match (&hit.key, &hit.text) {
                (Some(key), _) => self.keys.get(key.as_str()).map(std::slice::from_ref),
                (None, Some(text)) => self.texts.get(text.as_str()).map(Vec::as_slice),
                (None, None) => None,
            };
            let Some(candidates) = candidates else {
                checked.faults.foreign += 1;
                continue;
            };
            let open = candidates.iter().filter(|place| !checked.ranked.contains(place));
            match open.min_by_key(|place| !relevant.contains(place)) {
                Some(&place) => checked.ranked.push(place),
                None => checked.faults.repeated += 1,
            }
        }
        checked
    }
}

/// Measures of a ranking, in the order of [`qualities`].
pub const QUALITIES: [&str; 3] = ["recall@5", "recall@10", "nDCG@10"];

/// Returns [`QUALITIES`] for one question. `of_five` and `of_ten` are the answers with limits 5 and
/// 10.
pub fn qualities(of_five: &[u32], of_ten: &[u32], relevant: &[u32]) -> [f64; 3] {
    [
        quality::recall(of_five, relevant, 5),
        quality::recall(of_ten, relevant, 10),
        quality::ndcg(of_ten, relevant, 10),
    ]
    .map(Option::unwrap_or_default)
}

/// Refusals by operation.
pub type Refusals = BTreeMap<String, Refused>;

/// Refusals of one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The number of refused requests.
    pub count: usize,
    /// The reason of the first refusal.
    pub first: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use mnemocore_suite::workload::Workload;

    fn key(key: &str) -> Hit {
        Hit { key: Some(key.to_owned()), ..Hit::default() }
    }

    fn text(text: &str) -> Hit {
        Hit { text: Some(text.to_owned()), ..Hit::default() }
    }

    #[test]
    fn each_conversation_is_a_store_of_its_own_with_questions_it_can_answer() {
        let corpus = Workload::with_agents(42, 3).corpus(300, 60);
        let works = Work::of(&corpus, usize::MAX);
        assert_eq!(works.len(), 3);
        assert_eq!(works.iter().map(|work| work.memories.len()).sum::<usize>(), 300);
        assert_eq!(works.iter().map(|work| work.questions.len()).sum::<usize>(), 60);
        let few = Work::of(&corpus, 60);
        assert!(!few.is_empty());
        for work in &few {
            let whole = works.iter().find(|whole| whole.name == work.name).unwrap();
            assert!(work.memories.len() <= 60 && whole.memories.starts_with(&work.memories), "{}", work.name);
            if whole.memories.len() <= 60 {
                continue;
            }
            assert!(work.questions.len() < whole.questions.len());
            assert!(work.questions.iter().flat_map(|asked| &asked.relevant).all(|&place| place < 60));
            assert_ne!(work.digest(), whole.digest());
        }
        assert_eq!(works[0].digest(), Work::of(&corpus, usize::MAX)[0].digest());
    }

    #[test]
    fn what_was_not_stored_is_found_out() {
        let memory = |key: &str, text: &str| Stored { key: key.into(), text: text.into(), time: 0 };
        let memories = vec![memory("a", "x"), memory("b", "same"), memory("c", "same")];
        let work = Work { name: "w".into(), memories, questions: Vec::new() };
        let checker = work.checker();
        let checked = checker.check(&[text("same"), key("a"), text("same")], 5, &[2]);
        assert_eq!((checked.ranked, checked.faults.any()), (vec![2, 0, 1], false));
        let checked = checker.check(&[key("z"), text("X"), Hit::default(), key("a")], 5, &[]);
        assert_eq!((checked.ranked, checked.faults.foreign), (vec![0], 3));
        let thrice = [text("same"), text("same"), text("same"), key("a"), key("a")];
        assert_eq!(checker.check(&thrice, 5, &[]).faults.repeated, 2);
        assert_eq!(checker.check(&thrice, 2, &[]).faults, Faults { surplus: 3, ..Faults::default() });
    }

    #[test]
    fn recall_at_five_is_that_of_the_answer_for_five() {
        let [at_5, at_10, ndcg] = qualities(&[9, 1], &[9, 2, 1], &[1, 2]);
        assert_eq!((at_5, at_10), (0.5, 1.0));
        assert!(ndcg < 1.0 && ndcg > 0.6);
    }
}
