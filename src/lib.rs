//! MnemoCore: a tiered memory engine for AI agents.
