//! A tiered memory engine for AI agents.
//!
//! It stores what an agent is told, encodes each text as a binary hypervector
//! without a model, and finds it again by the words of a question, whichever of
//! the three tiers it is in. A durable log holds the truth about all memories.
//!
//! ```
//! use mnemocore::{Config, Engine, NewMemory, Query, SynthesisKind};
//!
//! let engine = Engine::in_memory(Config::default())?; // or `Engine::open(path, config)`
//! engine.store("Marta is allergic to walnuts")?;
//! let dinner = NewMemory::new("Dinner with Marta on Friday at eight").metadata("kind", "plan");
//! let dinner = engine.store(dinner)?;
//!
//! let recall = engine.recall(&Query::text("When is the dinner?").metadata("kind", "plan"))?;
//! assert_eq!(recall.hits[0].memory.id, dinner);
//! assert!(recall.is_answerable());
//!
//! let synthesis = engine.synthesize(&Query::text("Who is the dentist's receptionist?"))?;
//! assert_eq!(synthesis.kind, SynthesisKind::Nothing); // Nobody has told it.
//!
//! engine.forget(dinner)?;
//! # Ok::<(), mnemocore::Error>(())
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the verbs: store, recall, synthesize, get, forget, consolidate, compact | [`Engine`], with the feature `tokio` also `AsyncEngine` |
//! | what is stored, and what comes back | [`NewMemory`], [`Memory`], [`Metadata`], [`Namespace`] |
//! | one agent's memories and no other's | [`Scope`] |
//! | what is asked, and what is found | [`Query`], [`Recall`], [`Hit`], [`Synthesis`], [`Fragment`] |
//! | settings and what a store waits for | [`Config`], [`Durability`] |
//! | what can go wrong, and the way out of a damaged log | [`Error`], [`Engine::repair`], [`Repair`] |
//!
//! # Floors
//!
//! Each floor uses only itself and those below it. All take ids and times from
//! [`key`] and report through [`error`]; [`config`] gathers their settings.
//!
//! | floor | modules | |
//! |---|---|---|
//! | 4 | `harness` | what the benches share; with the feature `suite` |
//! | 3 | [`engine`] | opens and owns everything: one writer, many readers |
//! | 2 | [`memory`], [`tier`], [`log`] | one memory; where it is at hand; where it is safe |
//! | 1 | [`encoder`], [`index`], `remote` | text to hypervector; the best of many; calls to other machines, with the features `object-store` and `postgres` |
//! | 0 | [`hdv`] | hypervectors and their SIMD kernels |
// No panic that input could reach: what cannot fail is written so that it shows.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(feature = "object-store")]
pub mod bucket;
pub mod config;
pub mod encoder;
pub mod engine;
pub mod error;
#[cfg(feature = "suite")]
pub mod harness;
pub mod hdv;
mod identity;
pub mod index;
#[cfg(feature = "inject")]
mod inject;
pub mod key;
pub mod log;
pub mod memory;
mod process;
#[cfg(feature = "remote")]
pub mod remote;
mod sync;
pub mod tier;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncEngine;
#[cfg(feature = "object-store")]
pub use bucket::Bucket;
pub use config::Config;
pub use engine::{
    Consolidation, Engine, Fragment, Hit, Parts, Query, Recall, Repair, Scope, Stats, Synthesis,
    SynthesisKind,
};
pub use error::Error;
pub use key::{MemoryId, TierKind, Timestamp};
pub use log::Durability;
pub use memory::{Memory, Metadata, Namespace, NewMemory};
pub use tier::Method;

/// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
