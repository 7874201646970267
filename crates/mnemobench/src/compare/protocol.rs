//! The line protocol between the driver and an adapter: one JSON object a line.
//!
//! `adapters/PROTOCOL.md` describes it for adapters in any language.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version that this program speaks.
pub const PROTOCOL: u32 = 1;

/// What turns texts into vectors for the systems that need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Embedder {
    /// Signed hashes of words and word pairs: the memory system alone.
    Hash,
    /// all-MiniLM-L6-v2: a sentence model that runs offline.
    Minilm,
}

impl Embedder {
    /// Its name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Minilm => "minilm",
        }
    }
}

impl fmt::Display for Embedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A line to an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Stands in the answer.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub op: Op,
}

/// What a system is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Say who you are.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
    },
    /// Open the store in a folder.
    Open {
        /// It exists, and is empty or holds what an earlier `open` left.
        folder: PathBuf,
        /// For systems that need one.
        embedder: Embedder,
        /// How many memories will come.
        memories: usize,
    },
    /// Keep a memory.
    Store {
        /// Unique.
        key: String,
        /// What is said.
        text: String,
        /// When, in seconds since 1970 UTC.
        time: Option<i64>,
    },
    /// Find memories.
    Recall {
        /// The question.
        query: String,
        /// At most so many.
        k: usize,
    },
    /// Answer from memories.
    Synthesize {
        /// The question.
        query: String,
        /// From at most so many memories.
        k: usize,
    },
    /// Forget a memory.
    Forget {
        /// As it was stored.
        key: String,
    },
    /// Count.
    Stats,
    /// Close the store.
    Close,
}

impl Op {
    /// Its name in the protocol.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Open { .. } => "open",
            Self::Store { .. } => "store",
            Self::Recall { .. } => "recall",
            Self::Synthesize { .. } => "synthesize",
            Self::Forget { .. } => "forget",
            Self::Stats => "stats",
            Self::Close => "close",
        }
    }
}

/// Names of operations that not every system has, as `hello` lists them.
pub mod capability {
    /// Memories can be forgotten.
    pub const FORGET: &str = "forget";
    /// It answers in its own words.
    pub const SYNTHESIZE: &str = "synthesize";
    /// What was stored is there when the folder is opened again.
    pub const RESTART: &str = "restart";
}

/// A line from an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// Of the request; none of a line that could not be read.
    pub id: Option<u64>,
    /// What was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Value>,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
}

/// Why a system did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of reason it is.
    pub kind: RefusalKind,
    /// In words.
    pub message: String,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The system has no such operation.
    Unsupported,
    /// The request is none.
    Invalid,
    /// It tried.
    Failed,
}

impl Refusal {
    /// The system has no such operation.
    pub fn unsupported(operation: &str) -> Self {
        Self { kind: RefusalKind::Unsupported, message: format!("{operation} is not supported") }
    }

    /// The request is none.
    pub fn invalid(message: impl fmt::Display) -> Self {
        Self { kind: RefusalKind::Invalid, message: message.to_string() }
    }
}

/// Whatever goes wrong in a system has failed. (That is why a refusal is no error
/// itself.)
impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self { kind: RefusalKind::Failed, message: error.to_string() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Who a system is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// Its name as it is shown.
    pub system: String,
    /// Its version, as it is installed.
    pub version: String,
    /// Which of its interfaces is used, in a sentence.
    pub path: String,
    /// Backend, index and the like.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Operations that it has.
    pub capabilities: Vec<String>,
    /// How many requests may be under way.
    pub clients: usize,
    /// Whether it needs an embedder.
    pub embedder: bool,
    /// What is on disk when a store returns, in a sentence.
    pub durability: String,
}

impl Hello {
    /// Whether it has this operation.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|own| own == capability)
    }
}

/// How long a call took within the system, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Around the system's own call.
    pub total_ns: u64,
    /// How much of it the embedder took.
    #[serde(default)]
    pub embed_ns: u64,
}

/// A memory that was found: by its key, or else by its text exactly as stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// As it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// As it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The system's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// What a system answers where it did what it was asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To `hello`.
    Hello(Hello),
    /// To `open`.
    Opened(Opened),
    /// To `store` and `close`.
    Done(Times),
    /// To `recall`.
    Recalled(Recalled),
    /// To `synthesize`.
    Synthesized(Synthesized),
    /// To `forget`.
    Forgotten(Forgotten),
    /// To `stats`.
    Stats(Stats),
}

/// To `open`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// The start of servers, the schema, until the first store can come.
    #[serde(flatten)]
    pub times: Times,
    /// Processes beside the adapter's own that belong to the system.
    #[serde(default)]
    pub processes: Vec<i32>,
}

/// To `recall`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recalled {
    /// Of the call.
    #[serde(flatten)]
    pub times: Times,
    /// The best first.
    pub hits: Vec<Hit>,
}

/// To `synthesize`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Synthesized {
    /// Of the call.
    #[serde(flatten)]
    pub times: Times,
    /// The answer.
    pub text: String,
    /// What it is made of.
    #[serde(default)]
    pub hits: Vec<Hit>,
}

/// To `forget`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Of the call.
    #[serde(flatten)]
    pub times: Times,
    /// Whether it was there.
    pub forgotten: bool,
}

/// To `stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// How many memories there are, by the system's own count.
    pub memories: Option<u64>,
    /// As in [`Opened`].
    #[serde(default)]
    pub processes: Vec<i32>,
}

impl Answer {
    /// Reads what a system answered to an operation of this name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(operation: &str, ok: Value) -> Result<Self, serde_json::Error> {
        fn read<T: DeserializeOwned>(ok: Value, kind: fn(T) -> Answer) -> Result<Answer, serde_json::Error> {
            serde_json::from_value(ok).map(kind)
        }
        match operation {
            "hello" => read(ok, Self::Hello),
            "open" => read(ok, Self::Opened),
            "recall" => read(ok, Self::Recalled),
            "synthesize" => read(ok, Self::Synthesized),
            "forget" => read(ok, Self::Forgotten),
            "stats" => read(ok, Self::Stats),
            _ => read(ok, Self::Done),
        }
    }

    /// The time of the call; zero of those that have none.
    pub fn times(&self) -> Times {
        match self {
            Self::Hello(_) | Self::Stats(_) => Times::default(),
            Self::Opened(Opened { times, .. })
            | Self::Done(times)
            | Self::Recalled(Recalled { times, .. })
            | Self::Synthesized(Synthesized { times, .. })
            | Self::Forgotten(Forgotten { times, .. }) => *times,
        }
    }

    /// What was found, if anything is looked for.
    pub fn hits(&self) -> &[Hit] {
        match self {
            Self::Recalled(Recalled { hits, .. }) | Self::Synthesized(Synthesized { hits, .. }) => hits,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_protocol() {
        let request = Request { id: 7, op: Op::Recall { query: "who?".into(), k: 5 } };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(line, r#"{"id":7,"op":"recall","query":"who?","k":5}"#);
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        let stats: Request = serde_json::from_str(r#"{"op":"stats","id":1}"#).unwrap();
        assert_eq!(stats.op, Op::Stats);
        let open: Request =
            serde_json::from_str(r#"{"id":2,"op":"open","folder":"/x","embedder":"minilm","memories":3}"#)
                .unwrap();
        assert_eq!(open.op, Op::Open { folder: "/x".into(), embedder: Embedder::Minilm, memories: 3 });
    }

    #[test]
    fn answers_keep_their_form_and_lack_of_an_embedder_is_no_time() {
        let ok = serde_json::json!({"total_ns": 9, "hits": [{"key": "a", "score": 0.5}, {"text": "b"}]});
        let answer = Answer::parse("recall", ok).unwrap();
        assert_eq!(answer.times(), Times { total_ns: 9, embed_ns: 0 });
        assert_eq!(answer.hits()[1].text.as_deref(), Some("b"));
        let text = serde_json::to_string(&answer).unwrap();
        assert!(text.starts_with(r#"{"total_ns":9,"embed_ns":0,"hits":[{"key":"a""#), "{text}");
        assert!(Answer::parse("recall", serde_json::json!({"hits": []})).is_err());
        let error: Response =
            serde_json::from_str(r#"{"id":null,"error":{"kind":"invalid","message":"x"}}"#).unwrap();
        assert_eq!(error.error.unwrap().kind, RefusalKind::Invalid);
    }
}
