//! MnemoCore: a tiered memory engine for AI agents.

pub mod encoder;
pub mod hdv;
