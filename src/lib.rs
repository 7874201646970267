//! MnemoCore: a tiered memory engine for AI agents.

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

pub use config::Config;
pub use engine::{Consolidation, Engine, Fragment, Hit, Query, Recall, Stats, Synthesis, SynthesisKind};
pub use error::Error;
pub use key::{MemoryId, TierKind, Timestamp};
pub use log::Durability;
pub use memory::{Memory, Metadata, Namespace, NewMemory};
pub use tier::Method;
