//! A tiered memory engine for AI agents.
//!
//! The engine stores short texts durably and finds them again by the words of a question, without
//! a language model. It ranks texts by the words that they share with the question, and keeps each in
//! one of three tiers. Every recall searches all tiers. One durable log holds every memory.
//!
//! ```
//! use mnemocore::{Config, Engine, NewMemory, Query, SynthesisKind};
//!
//! let engine = Engine::in_memory(Config::default())?; // or `Engine::open(path, config)`
//! engine.store("Marta is allergic to walnuts")?;
//! let dinner = NewMemory::new("Dinner with Marta on Friday at eight").metadata("kind", "plan");
//! let dinner = engine.store(dinner)?;
//!
//! let recall = engine.recall(Query::text("When is the dinner?").metadata("kind", "plan"))?;
//! assert_eq!(recall.hits[0].memory.id, dinner.id);
//! assert!(recall.is_answerable());
//!
//! // No memory covers this question.
//! let synthesis = engine.synthesize("Who is the dentist's receptionist?")?;
//! assert_eq!(synthesis.kind, SynthesisKind::Nothing);
//!
//! engine.forget(dinner)?;
//! # Ok::<(), mnemocore::Error>(())
//! ```
//!
//! # Several users
//!
//! A memory belongs to a namespace. If a program serves several users or agents, give each of them a scope:
//! [`Engine::scope`], or with the feature `tokio` `AsyncEngine::scope`, whose handle moves into tasks. No verb of a
//! scope reaches a memory of another namespace. The verbs of the engine itself do: ids are consecutive numbers over
//! all namespaces, so never pass an id from a user to [`Engine::get`] or [`Engine::forget`].
//!
//! ```
//! use mnemocore::{Config, Engine, Namespace};
//!
//! let engine = Engine::in_memory(Config::default())?;
//! let (ada, bob) = (engine.scope(Namespace::new("ada")?), engine.scope(Namespace::new("bob")?));
//! let code = ada.store("The code of the safe is 4711")?;
//! assert_eq!(ada.recall("What is the code?")?.hits.len(), 1);
//! assert!(bob.recall("What is the code?")?.hits.is_empty());
//! assert!(!bob.forget(code)?);
//! # Ok::<(), mnemocore::Error>(())
//! ```
//!
//! # Where to look
//!
//! | topic | items |
//! |---|---|
//! | one user of several | [`Scope`], and `AsyncScope` with the feature `tokio` |
//! | the verbs: store, recall, synthesize, get, forget, consolidate, compact | [`Engine`], and `AsyncEngine` with the feature `tokio` |
//! | input and output of a store | [`NewMemory`], [`Stored`], [`MemoryId`], [`Memory`], [`Metadata`], [`Namespace`] |
//! | input and output of a recall | [`Query`], [`Recall`], [`Hit`], [`Synthesis`], [`Fragment`] |
//! | settings, durability, and counts | [`Config`], [`Durability`], [`Stats`], [`Counters`] |
//! | errors, and repairing a damaged log | [`Error`], [`Engine::repair`], [`Repair`] |
//! | object storage, with the feature `object-store` | `Bucket`, `Engine::open_bucket`, `Engine::open_snapshot` |
//! | WARM in PostgreSQL, with the feature `postgres` | `Config::warm`, `WarmBackend` |
//!
//! The repository's `docs/architecture.md` describes the path of a store, of a recall and of a
//! restart, the formats on disk, and which modules may use which.
// No panic that input could reach: what cannot fail is written so that it shows.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(feature = "object-store")]
mod bucket;
mod config;
pub mod encoder;
mod engine;
mod error;
pub mod hdv;
mod identity;
mod index;
#[cfg(feature = "inject")]
mod inject;
mod key;
mod leb128;
mod log;
mod memory;
mod process;
#[cfg(feature = "remote")]
mod remote;
mod segment;
mod sync;
mod telemetry;
mod tier;

#[cfg(feature = "tokio")]
pub use asynchronous::{AsyncEngine, AsyncScope};
#[cfg(feature = "object-store")]
pub use bucket::Bucket;
pub use config::Config;
#[cfg(feature = "postgres")]
pub use config::WarmBackend;
pub use encoder::EncodeError;
pub use engine::{
    Consolidation, Engine, Fragment, Hit, Query, Recall, Repair, Scope, Stats, Synthesis, SynthesisKind,
    UpkeepError,
};
pub use error::Error;
pub use hdv::HdvError;
pub use index::cascade::Limits as CascadeLimits;
pub use key::{MemoryId, TierKind, Timestamp};
pub use log::Durability;
pub use memory::{
    MAX_CHARS, MAX_METADATA_BYTES, MAX_NAMESPACE_BYTES, Memory, Metadata, Namespace, NewMemory, Stored,
};
#[cfg(feature = "remote")]
pub use remote::{Limits as RemoteLimits, Traffic};
pub use telemetry::Counters;
pub use tier::{Band, Method, TierBytes, strength};

/// Parts of the engine that its benches and tests reach from outside. They may change in every
/// release.
#[doc(hidden)]
pub mod internals {
    pub use crate::encoder::stop_words;
    pub use crate::engine::{Parts, check_text};
    pub use crate::key::NamespaceId;

    pub mod index {
        pub use crate::index::*;
    }

    pub mod kernels {
        pub use crate::hdv::kernels::*;
    }

    pub mod log {
        pub use crate::log::*;
    }

    pub mod segment {
        pub use crate::segment::*;
    }

    pub mod tier {
        pub use crate::tier::*;
    }
}

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles and runs the examples of the page about the architecture.
#[cfg(doctest)]
#[doc = include_str!("../docs/architecture.md")]
struct Architecture;

/// Compiles the examples of the page about object storage.
#[cfg(all(doctest, feature = "object-store"))]
#[doc = include_str!("../docs/object-storage.md")]
struct ObjectStorage;

/// Compiles the examples of the page about PostgreSQL.
#[cfg(all(doctest, feature = "postgres"))]
#[doc = include_str!("../docs/postgresql.md")]
struct Postgresql;
