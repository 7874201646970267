//! Memories, and questions whose answers among them are known.
//!
//! A corpus comes from the seeded generator ([`crate::workload`]) or from a
//! directory with two files of one JSON object a line:
//!
//! - `memories.jsonl`: `id`, `text`, and optionally `session`, `timestamp`, `speaker`, `scope`;
//! - `queries.jsonl`: `text`, and optionally `id`, `relevant` (memory ids),
//!   `category`, `answer`, `scope`.

mod time;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use mnemocore::internals::check_text;
use mnemocore::{Error, MAX_CHARS};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A memory as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Unique within the corpus.
    pub id: String,
    /// The words, without the speaker.
    pub text: String,
    /// The speaker, if there is one.
    pub speaker: Option<String>,
    /// The conversation it belongs to; empty where the data names none.
    pub session: String,
    /// When it was said, in milliseconds since 1970 UTC; within a corpus never
    /// smaller than zero.
    pub timestamp_ms: i64,
    /// The agent or user it belongs to, a namespace of the engine; empty where
    /// the data knows only one.
    pub scope: String,
}

impl Item {
    /// Returns the text to store: `Speaker: text`, or the text alone if there is no speaker.
    pub fn content(&self) -> Cow<'_, str> {
        match &self.speaker {
            Some(speaker) => Cow::Owned(format!("{speaker}: {}", self.text)),
            None => Cow::Borrowed(&self.text),
        }
    }
}

/// A question and the memories that answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Unique within the corpus.
    pub id: String,
    /// The question as asked.
    pub text: String,
    /// Indices into [`Corpus::memories`]; empty when nothing there answers it.
    pub relevant: Vec<u32>,
    /// The kind of question.
    pub category: String,
    /// The answer in words, where the data gives it.
    pub answer: Option<String>,
    /// The scope it is asked in; `None` means all memories.
    pub scope: Option<String>,
}

impl Question {
    /// Whether a memory of the corpus answers it.
    pub fn is_answerable(&self) -> bool {
        !self.relevant.is_empty()
    }
}

/// Memories in the order in which they were said, and questions about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corpus {
    /// The memories; their position is what [`Question::relevant`] refers to.
    pub memories: Vec<Item>,
    /// The questions.
    pub questions: Vec<Question>,
    /// Rows of the files that cannot be used.
    pub left_out: Vec<LeftOut>,
}

/// A row of a data set that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The file.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Why.
    pub reason: Unusable,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: left out: {}", self.path.display(), self.line, self.reason)
    }
}

/// Why a memory or a question cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The engine takes no text without a visible character.
    #[error("its text is empty")]
    Empty,
    /// The engine takes at most [`MAX_CHARS`] characters.
    #[error("its text has {0} characters, and the engine takes at most {MAX_CHARS}")]
    TooLong(usize),
    /// The scope has no usable memory.
    #[error("no memory has its scope {0:?}")]
    Scope(String),
    /// The memory that answers the question is not usable.
    #[error("the memory {0:?}, which answers it, was left out")]
    Relevant(String),
}

impl Unusable {
    /// Returns why the engine refuses `text`, if it does.
    fn text(text: &str) -> Option<Self> {
        match check_text(text).err()? {
            Error::TextTooLong { received, .. } => Some(Self::TooLong(received)),
            _ => Some(Self::Empty),
        }
    }
}

/// Why a corpus could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// A file is missing or cannot be read.
    #[error("cannot read {path}: {source}; expected a directory with memories.jsonl and queries.jsonl")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A line is not the JSON object it should be.
    #[error(
        "{path}, line {line}: {source}; expected one JSON object a line with at least `text` (and `id` for a memory)"
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// Two memories share an id, so a question could not say which it means.
    #[error("{path}, line {line}: the memory id {id:?} was used before; give each memory its own id")]
    DuplicateId {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The id.
        id: String,
    },
    /// A question names a memory that does not exist.
    #[error(
        "{path}, line {line}: relevant memory {id:?} is not in memories.jsonl; correct the id or add the memory"
    )]
    UnknownMemory {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The id.
        id: String,
    },
}

#[derive(Deserialize)]
struct MemoryRow {
    id: String,
    text: String,
    session: Option<String>,
    timestamp: Option<serde_json::Value>,
    speaker: Option<String>,
    scope: Option<String>,
}

#[derive(Deserialize)]
struct QueryRow {
    id: Option<String>,
    text: String,
    #[serde(default)]
    relevant: Vec<String>,
    category: Option<String>,
    answer: Option<serde_json::Value>,
    scope: Option<String>,
}

impl Corpus {
    /// Reads `memories.jsonl` and `queries.jsonl` from `dir`.
    ///
    /// A memory without a `scope` gets the longest scope of a question that is a prefix of its id.
    /// If there is none, the scope is the part before the first `/` of its id. A timestamp that
    /// cannot be parsed becomes one second after the memory before it, so that the order is kept.
    /// Rows that cannot be used are in [`Corpus::left_out`].
    ///
    /// # Errors
    /// [`CorpusError`] with the file, and the line where there is one.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self, CorpusError> {
        let dir = dir.as_ref();
        let queries: Vec<Row<QueryRow>> = read_lines(&dir.join("queries.jsonl"))?;
        let scopes: BTreeSet<&str> = queries.iter().filter_map(|row| row.value.scope.as_deref()).collect();

        let mut corpus = Self::default();
        let index = corpus.add_memories(&dir.join("memories.jsonl"), &scopes)?;
        corpus.add_questions(&dir.join("queries.jsonl"), queries, &index)?;
        Ok(corpus)
    }

    /// Returns the position of each id, `None` if that memory cannot be used.
    fn add_memories(
        &mut self,
        path: &Path,
        scopes: &BTreeSet<&str>,
    ) -> Result<HashMap<String, Option<u32>>, CorpusError> {
        let mut index = HashMap::new();
        let mut now = 0;
        for Row { line, value: row } in read_lines::<MemoryRow>(path)? {
            now = row.timestamp.as_ref().and_then(time::parse).unwrap_or(now + 1000);
            let scope = row.scope.unwrap_or_else(|| scope_of(&row.id, scopes).to_owned());
            let item = Item {
                scope,
                id: row.id,
                text: row.text,
                speaker: row.speaker.filter(|speaker| !speaker.trim().is_empty()),
                session: row.session.unwrap_or_default(),
                timestamp_ms: now,
            };
            let unusable = Unusable::text(&item.text).or_else(|| Unusable::text(&item.content()));
            let position = unusable.is_none().then_some(self.memories.len() as u32);
            if index.insert(item.id.clone(), position).is_some() {
                return Err(CorpusError::DuplicateId { path: path.into(), line, id: item.id });
            }
            match unusable {
                None => self.memories.push(item),
                Some(reason) => self.left_out.push(LeftOut { path: path.into(), line, reason }),
            }
        }
        Ok(index)
    }

    fn add_questions(
        &mut self,
        path: &Path,
        rows: Vec<Row<QueryRow>>,
        index: &HashMap<String, Option<u32>>,
    ) -> Result<(), CorpusError> {
        let scopes: HashSet<&str> = self.memories.iter().map(|item| item.scope.as_str()).collect();
        for Row { line, value: row } in rows {
            let (mut relevant, mut unusable) = (Vec::new(), Unusable::text(&row.text));
            for id in row.relevant {
                match index.get(&id) {
                    Some(Some(memory)) => relevant.push(*memory),
                    Some(None) => unusable = unusable.or(Some(Unusable::Relevant(id))),
                    None => return Err(CorpusError::UnknownMemory { path: path.into(), line, id }),
                }
            }
            let unknown = row.scope.as_ref().filter(|scope| !scopes.contains(scope.as_str()));
            if let Some(reason) = unusable.or_else(|| unknown.cloned().map(Unusable::Scope)) {
                self.left_out.push(LeftOut { path: path.into(), line, reason });
                continue;
            }
            relevant.sort_unstable();
            relevant.dedup();
            self.questions.push(Question {
                id: row.id.unwrap_or_else(|| format!("line-{line}")),
                text: row.text,
                relevant,
                category: row.category.unwrap_or_default(),
                answer: row.answer.map(|answer| match answer {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                }),
                scope: row.scope,
            });
        }
        Ok(())
    }

    /// The indices of the memories that `question` is asked of.
    pub fn candidates(&self, question: &Question) -> Vec<u32> {
        (0u32..)
            .zip(&self.memories)
            .filter(|(_, item)| question.scope.as_ref().is_none_or(|scope| *scope == item.scope))
            .map(|(index, _)| index)
            .collect()
    }
}

/// The longest of `scopes` that begins `id` and ends where a part of it ends
/// (so that `conv-2` does not claim `conv-26/1`), or the part before the first `/`.
fn scope_of<'a>(id: &'a str, scopes: &BTreeSet<&str>) -> &'a str {
    let ends_a_part = |scope: &&&str| {
        id.strip_prefix(**scope).is_some_and(|rest| {
            let joins = |c: char| c.is_alphanumeric();
            !(rest.starts_with(joins) && scope.ends_with(joins))
        })
    };
    let longest = scopes.iter().filter(ends_a_part).map(|scope| scope.len()).max();
    match longest {
        Some(length) => id.get(..length).unwrap_or_default(),
        None => id.split_once('/').map_or("", |(scope, _)| scope),
    }
}

struct Row<T> {
    line: usize,
    value: T,
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<Row<T>>, CorpusError> {
    let io_error = |source| CorpusError::Io { path: path.into(), source };
    let reader = BufReader::new(File::open(path).map_err(io_error)?);
    let mut rows = Vec::new();
    for (line, text) in (1..).zip(reader.lines()) {
        let text = text.map_err(io_error)?;
        // Some editors write a byte-order mark before the first line.
        let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text.as_str() };
        if text.trim().is_empty() {
            continue;
        }
        let value = serde_json::from_str(text).map_err(|source| CorpusError::Json {
            path: path.into(),
            line,
            source,
        })?;
        rows.push(Row { line, value });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn corpus(memories: &str, queries: &str) -> Result<Corpus, CorpusError> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memories.jsonl"), memories).unwrap();
        fs::write(dir.path().join("queries.jsonl"), queries).unwrap();
        Corpus::read(dir.path())
    }

    const MEMORIES: &str = concat!(
        r#"{"id":"c-2/1","text":"Hello","session":"c-2/s","timestamp":"1:56 pm on 8 May, 2023","speaker":"Ann"}"#,
        "\n\n",
        r#"{"id":"c-26/1","text":"Bye","timestamp":"soon","speaker":""}"#,
        "\n",
    );

    #[test]
    fn reads_memories_and_resolves_relevant_ids() {
        let queries =
            r#"{"id":"q","text":"Who?","relevant":["c-26/1","c-2/1","c-2/1"],"answer":7,"scope":"c-2"}"#;
        let corpus = corpus(MEMORIES, queries).unwrap();
        let [first, second] = &corpus.memories[..] else { panic!("two memories") };
        assert_eq!(first.content(), "Ann: Hello");
        assert_eq!(first.timestamp_ms, 1_683_554_160_000);
        assert_eq!((first.scope.as_str(), second.scope.as_str()), ("c-2", "c-26"));
        assert_eq!(second.content(), "Bye");
        assert_eq!(second.timestamp_ms, first.timestamp_ms + 1000);
        let question = &corpus.questions[0];
        assert_eq!(question.relevant, [0, 1]);
        assert_eq!(question.answer.as_deref(), Some("7"));
        assert_eq!(corpus.candidates(question), [0]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_row() {
        let corpus = corpus(&format!("\u{feff}{MEMORIES}"), "\u{feff}").unwrap();
        assert_eq!((corpus.memories.len(), corpus.left_out.len()), (2, 0));
    }

    #[test]
    fn the_scope_of_a_memory_is_read_from_its_row() {
        let memory = r#"{"id":"c-2/1","text":"Hello","scope":"Ann's"}"#;
        let corpus = corpus(memory, r#"{"text":"Who?","scope":"Ann's"}"#).unwrap();
        assert_eq!(corpus.memories[0].scope, "Ann's");
        assert_eq!(corpus.candidates(&corpus.questions[0]), [0]);
    }

    #[test]
    fn rows_that_cannot_be_used_are_named_and_the_rest_is_read() {
        let long = "a ".repeat(MAX_CHARS);
        let memories = [
            r#"{"id":"c/1","text":"Hello"}"#,
            r#"{"id":"c/2","text":" "}"#,
            &format!(r#"{{"id":"c/3","text":"{long}"}}"#),
        ];
        let queries = [
            r#"{"text":"","relevant":["c/1"]}"#,
            r#"{"text":"Who?","relevant":["c/1"],"scope":"d"}"#,
            r#"{"text":"Who?","relevant":["c/1","c/2"]}"#,
            r#"{"text":"Who?","relevant":["c/1"],"scope":"c"}"#,
        ];
        let corpus = corpus(&memories.join("\n"), &queries.join("\n")).unwrap();
        assert_eq!((corpus.memories.len(), corpus.questions.len()), (1, 1));
        let name = |left_out: &LeftOut| left_out.path.file_name().unwrap().to_str().unwrap().to_owned();
        let reasons: Vec<_> =
            corpus.left_out.iter().map(|row| (name(row), row.line, row.reason.clone())).collect();
        let (memories, queries) = ("memories.jsonl", "queries.jsonl");
        let expected = [
            (memories, 2, Unusable::Empty),
            (memories, 3, Unusable::TooLong(2 * MAX_CHARS)),
            (queries, 1, Unusable::Empty),
            (queries, 2, Unusable::Scope("d".into())),
            (queries, 3, Unusable::Relevant("c/2".into())),
        ];
        assert_eq!(reasons, expected.map(|(file, line, reason)| (file.into(), line, reason)));
    }

    #[test]
    fn one_scope_does_not_claim_the_ids_of_another_that_it_begins() {
        let scopes = BTreeSet::from(["conv-2", "conv-26", "user:a", "user:a/work"]);
        assert_eq!(scope_of("conv-26/D1:3", &scopes), "conv-26");
        assert_eq!(scope_of("conv-2/D1:3", &scopes), "conv-2");
        assert_eq!(scope_of("user:a/work/1", &scopes), "user:a/work");
        assert_eq!(scope_of("conv-3/D1:3", &scopes), "conv-3");
        assert_eq!(scope_of("31715818", &scopes), "");
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let at_line = |memories: &str, queries: &str| corpus(memories, queries).unwrap_err().to_string();
        let broken = at_line(&format!("{MEMORIES}{{\"id\":1}}"), "");
        assert!(broken.contains("memories.jsonl, line 4"), "{broken}");
        let twice = at_line(&format!("{MEMORIES}{MEMORIES}"), "");
        assert!(twice.contains("line 4") && twice.contains("c-2/1"), "{twice}");
        let unknown = at_line(MEMORIES, r#"{"text":"x","relevant":["gone"]}"#);
        assert!(unknown.contains("queries.jsonl, line 1") && unknown.contains("gone"), "{unknown}");
        let missing = Corpus::read("no/such/directory").unwrap_err().to_string();
        assert!(missing.contains("no/such/directory"), "{missing}");
    }
}
