//! MnemoCore: a tiered memory engine for AI agents.
// No panic that input could reach: what cannot fail is written so that it shows.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

#[cfg(feature = "tokio")]
mod asynchronous;
pub mod config;
pub mod encoder;
pub mod engine;
pub mod error;
#[cfg(feature = "suite")]
pub mod harness;
pub mod hdv;
pub mod index;
pub mod key;
pub mod log;
pub mod memory;
pub mod tier;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncEngine;
pub use config::Config;
pub use engine::{Consolidation, Engine, Fragment, Hit, Query, Recall, Stats, Synthesis, SynthesisKind};
pub use error::Error;
pub use key::{MemoryId, TierKind, Timestamp};
pub use log::Durability;
pub use memory::{Memory, Metadata, Namespace, NewMemory};
pub use tier::Method;
