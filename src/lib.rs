//! MnemoCore: a tiered memory engine for AI agents.

#[cfg(feature = "suite")]
pub mod harness;
