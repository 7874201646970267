//! The line protocol between the driver and an adapter, one JSON object per line.
//!
//! `adapters/PROTOCOL.md` describes it for adapters in any language.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The protocol version of this program.
pub const PROTOCOL: u32 = 1;

/// The embedder of systems that need vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Embedder {
    /// Signed hashes of words and word pairs. Isolates the memory system from a model.
    Hash,
    /// The sentence model all-MiniLM-L6-v2, run offline.
    Minilm,
}

impl Embedder {
    /// The name in the protocol.
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
    /// The id, which the response repeats.
    pub id: u64,
    /// The operation.
    #[serde(flatten)]
    pub op: Op,
}

/// An operation of a system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Describe the system.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
    },
    /// Open the store in a folder.
    Open {
        /// An existing folder, which is empty or holds an earlier store.
        folder: PathBuf,
        /// The embedder, for systems that need one.
        embedder: Embedder,
        /// The number of memories that will be stored.
        memories: usize,
    },
    /// Store a memory.
    Store {
        /// The key, unique within the store.
        key: String,
        /// The text of the memory.
        text: String,
        /// The time of the memory, in seconds since 1970 UTC.
        time: Option<i64>,
    },
    /// Search memories.
    Recall {
        /// The question.
        query: String,
        /// The maximum number of hits.
        k: usize,
    },
    /// Compose an answer from memories.
    Synthesize {
        /// The question.
        query: String,
        /// The maximum number of memories to use.
        k: usize,
    },
    /// Forget a memory.
    Forget {
        /// The key of the memory.
        key: String,
    },
    /// Count the memories.
    Stats,
    /// Close the store.
    Close,
}

impl Op {
    /// The name in the protocol.
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

/// Names of optional operations, as listed in [`Hello::capabilities`].
pub mod capability {
    /// The system can forget a memory.
    pub const FORGET: &str = "forget";
    /// The system can compose an answer as text.
    pub const SYNTHESIZE: &str = "synthesize";
    /// The system keeps its memories if the folder is closed and opened again.
    pub const RESTART: &str = "restart";
}

/// A line from an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The id of the request; `None` if the line could not be parsed.
    pub id: Option<u64>,
    /// The result, if the operation succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Value>,
    /// The reason, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
}

/// The reason why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The kind of reason.
    pub kind: RefusalKind,
    /// The reason in words.
    pub message: String,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The system has no such operation.
    Unsupported,
    /// The request is malformed or not allowed in this state.
    Invalid,
    /// The operation failed.
    Failed,
}

impl Refusal {
    /// Creates a refusal of an operation that the system does not have.
    pub fn unsupported(operation: &str) -> Self {
        Self { kind: RefusalKind::Unsupported, message: format!("{operation} is not supported") }
    }

    /// Creates a refusal of an invalid request.
    pub fn invalid(message: impl fmt::Display) -> Self {
        Self { kind: RefusalKind::Invalid, message: message.to_string() }
    }
}

/// Converts any error to [`RefusalKind::Failed`]. For this blanket implementation, `Refusal` must
/// not implement `Error` itself.
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

/// The description of a system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol version of the adapter.
    pub protocol: u32,
    /// The name of the system.
    pub system: String,
    /// The installed version of the system.
    pub version: String,
    /// The interface of the system that the adapter uses, in a sentence.
    pub path: String,
    /// Settings such as backend and index.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Operations that the system supports.
    pub capabilities: Vec<String>,
    /// The maximum number of concurrent requests.
    pub clients: usize,
    /// Whether the system needs an embedder.
    pub embedder: bool,
    /// The durability of a memory when `store` returns, in a sentence.
    pub durability: String,
}

impl Hello {
    /// Whether the system supports an operation.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|own| own == capability)
    }
}

/// The time of a call within the adapter, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The time of the system's own call, including the embedder.
    pub total_ns: u64,
    /// The part of it that the embedder took.
    #[serde(default)]
    pub embed_ns: u64,
}

/// A hit, identified by its key or, without a key, by its exact text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The key of the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The text of the memory, exactly as stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The system's own score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// The result of a successful operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// The result of `hello`.
    Hello(Hello),
    /// The result of `open`.
    Opened(Opened),
    /// The result of `store` and `close`.
    Done(Times),
    /// The result of `recall`.
    Recalled(Recalled),
    /// The result of `synthesize`.
    Synthesized(Synthesized),
    /// The result of `forget`.
    Forgotten(Forgotten),
    /// The result of `stats`.
    Stats(Stats),
}

/// The result of `open`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// The time until the store is ready, including servers and schema.
    #[serde(flatten)]
    pub times: Times,
    /// Ids of the system's processes besides the adapter and its children.
    #[serde(default)]
    pub processes: Vec<i32>,
}

/// The result of `recall`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recalled {
    /// The time of the call.
    #[serde(flatten)]
    pub times: Times,
    /// The hits, the best first.
    pub hits: Vec<Hit>,
}

/// The result of `synthesize`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Synthesized {
    /// The time of the call.
    #[serde(flatten)]
    pub times: Times,
    /// The composed answer.
    pub text: String,
    /// The memories that the answer is made of.
    #[serde(default)]
    pub hits: Vec<Hit>,
}

/// The result of `forget`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The time of the call.
    #[serde(flatten)]
    pub times: Times,
    /// Whether the memory existed.
    pub forgotten: bool,
}

/// The result of `stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The number of memories, as counted by the system.
    pub memories: Option<u64>,
    /// Ids of further processes, as in [`Opened`].
    #[serde(default)]
    pub processes: Vec<i32>,
}

impl Answer {
    /// Parses the result of the operation with this name.
    ///
    /// # Errors
    /// The parse error, if `ok` does not have the fields of that operation.
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

    /// Returns the time of the call, or zero for `hello` and `stats`.
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

    /// Returns the hits of `recall` and `synthesize`, and none for other operations.
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
