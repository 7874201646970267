//! Memories, and questions whose answers among them are known.
//!
//! A corpus comes from the seeded generator ([`crate::workload`]) or from a
//! directory with two files of one JSON object a line:
//!
//! - `memories.jsonl`: `id`, `text`, and optionally `session`, `timestamp`, `speaker`, `scope`;
//! - `queries.jsonl`: `text`, and optionally `id`, `relevant` (memory ids),
//!   `category`, `answer`, `scope`.

#[cfg(test)]
mod tests;
mod time;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet, hash_map};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use mnemocore::internals::check_text;
use mnemocore::{Error, MAX_CHARS, MAX_NAMESPACE_BYTES};
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
    /// The engine takes at most [`MAX_NAMESPACE_BYTES`] bytes as the name of a namespace.
    #[error("its scope has {0} bytes, and the engine takes at most {MAX_NAMESPACE_BYTES}")]
    LongScope(usize),
    /// The scope has no usable memory.
    #[error("no memory has its scope {0:?}")]
    Scope(String),
    /// The memory that answers the question is in another scope, where the question cannot find it.
    #[error("the memory {memory:?}, which answers it, is not in its scope {scope:?}")]
    Elsewhere {
        /// The id of the memory.
        memory: String,
        /// The scope of the question.
        scope: String,
    },
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

    /// Returns why the engine refuses `scope` as the name of a namespace, if it does.
    fn scope(scope: &str) -> Option<Self> {
        (scope.len() > MAX_NAMESPACE_BYTES).then_some(Self::LongScope(scope.len()))
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
        "{path}, line {line}, column {column}: {reason}; \
         expected one JSON object a line with at least `text` (and `id` for a memory)"
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The byte of the line, counted from 1.
        column: usize,
        /// The reason that the JSON parser gives, without a place.
        reason: String,
    },
    /// A line is not UTF-8.
    #[error("{path}, line {line}, column {column}: expected UTF-8, found another encoding")]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The byte of the line, counted from 1.
        column: usize,
    },
    /// Two memories or two questions share an id, so the id does not say which is meant.
    #[error(
        "{path}, line {line}: the id {id:?} was used before, in {path}, line {first}; give each row its own"
    )]
    DuplicateId {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The line that used the id first.
        first: usize,
        /// The id.
        id: String,
    },
    /// A file has no row that can be used.
    #[error("there is nothing to measure: {path} has no usable row{}", first_of(.left_out))]
    Nothing {
        /// The file.
        path: PathBuf,
        /// The rows of both files that cannot be used.
        left_out: Vec<LeftOut>,
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

fn first_of(left_out: &[LeftOut]) -> String {
    left_out.first().map_or_else(String::new, |first| format!("; {} left out, first {first}", left_out.len()))
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
        let [memories, questions] = ["memories.jsonl", "queries.jsonl"].map(|file| dir.join(file));
        let index = corpus.add_memories(&memories, &scopes)?;
        corpus.add_questions(&questions, queries, &index)?;
        let path = match (corpus.memories.is_empty(), corpus.questions.is_empty()) {
            (true, _) => memories,
            (false, true) => questions,
            (false, false) => return Ok(corpus),
        };
        Err(CorpusError::Nothing { path, left_out: corpus.left_out })
    }

    /// Returns the position of each id, `None` if that memory cannot be used.
    fn add_memories(
        &mut self,
        path: &Path,
        scopes: &BTreeSet<&str>,
    ) -> Result<HashMap<String, Option<u32>>, CorpusError> {
        let mut index = HashMap::new();
        let mut ids = Ids::new(path);
        let mut now: i64 = 0;
        for Row { line, value: row } in read_lines::<MemoryRow>(path)? {
            now = row.timestamp.as_ref().and_then(time::parse).unwrap_or(now.saturating_add(1000));
            let scope = row.scope.unwrap_or_else(|| scope_of(&row.id, scopes).to_owned());
            let item = Item {
                scope,
                id: row.id,
                text: row.text,
                speaker: row.speaker.filter(|speaker| !speaker.trim().is_empty()),
                session: row.session.unwrap_or_default(),
                timestamp_ms: now,
            };
            let unusable = Unusable::text(&item.text)
                .or_else(|| Unusable::text(&item.content()))
                .or_else(|| Unusable::scope(&item.scope));
            let position = unusable.is_none().then_some(self.memories.len() as u32);
            ids.add(&item.id, line)?;
            index.insert(item.id.clone(), position);
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
        let mut ids = Ids::new(path);
        for Row { line, value: row } in rows {
            let id = row.id.unwrap_or_else(|| format!("line-{line}"));
            ids.add(&id, line)?;
            // An empty scope is none, as it is for a memory.
            let scope = row.scope.filter(|scope| !scope.is_empty());
            let mut unusable =
                Unusable::text(&row.text).or_else(|| scope.as_deref().and_then(Unusable::scope));
            if let Some(unknown) = scope.as_ref().filter(|scope| !scopes.contains(scope.as_str())) {
                unusable = unusable.or_else(|| Some(Unusable::Scope(unknown.clone())));
            }
            let mut relevant = Vec::new();
            for id in row.relevant {
                match index.get(&id) {
                    Some(Some(memory)) => {
                        let own = self.memories.get(*memory as usize).map(|item| item.scope.as_str());
                        if let Some(scope) = scope.as_ref().filter(|scope| own != Some(scope.as_str())) {
                            let scope = scope.clone();
                            unusable = unusable.or(Some(Unusable::Elsewhere { memory: id, scope }));
                        }
                        relevant.push(*memory);
                    }
                    Some(None) => unusable = unusable.or(Some(Unusable::Relevant(id))),
                    None => return Err(CorpusError::UnknownMemory { path: path.into(), line, id }),
                }
            }
            if let Some(reason) = unusable {
                self.left_out.push(LeftOut { path: path.into(), line, reason });
                continue;
            }
            relevant.sort_unstable();
            relevant.dedup();
            self.questions.push(Question {
                id,
                text: row.text,
                relevant,
                category: row.category.unwrap_or_default(),
                answer: row.answer.map(|answer| match answer {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                }),
                scope,
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

/// The ids of a file, with their lines.
struct Ids<'p> {
    path: &'p Path,
    lines: HashMap<String, usize>,
}

impl<'p> Ids<'p> {
    fn new(path: &'p Path) -> Self {
        Self { path, lines: HashMap::new() }
    }

    /// Fails if another line has this id.
    fn add(&mut self, id: &str, line: usize) -> Result<(), CorpusError> {
        match self.lines.entry(id.to_owned()) {
            hash_map::Entry::Vacant(entry) => {
                entry.insert(line);
                Ok(())
            }
            hash_map::Entry::Occupied(entry) => {
                let (path, first) = (self.path.into(), *entry.get());
                Err(CorpusError::DuplicateId { path, line, first, id: id.to_owned() })
            }
        }
    }
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<Row<T>>, CorpusError> {
    let io_error = |source| CorpusError::Io { path: path.into(), source };
    let reader = BufReader::new(File::open(path).map_err(io_error)?);
    let mut rows = Vec::new();
    for (line, bytes) in (1..).zip(reader.split(b'\n')) {
        let bytes = bytes.map_err(io_error)?;
        let text = str::from_utf8(&bytes).map_err(|error| CorpusError::Utf8 {
            path: path.into(),
            line,
            column: error.valid_up_to() + 1,
        })?;
        // Some editors write a byte-order mark before the first line.
        let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if text.trim().is_empty() {
            continue;
        }
        let value = serde_json::from_str(text).map_err(|error| {
            // The parser counts the lines of this text, which is one.
            let (reason, column) = (error.to_string(), error.column());
            let place = format!(" at line {} column {column}", error.line());
            let reason = reason.strip_suffix(&place).unwrap_or(&reason).to_owned();
            CorpusError::Json { path: path.into(), line, column, reason }
        })?;
        rows.push(Row { line, value });
    }
    Ok(rows)
}
