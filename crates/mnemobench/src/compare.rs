//! Memory systems side by side: what they speak, what they are asked, and what their
//! answers are worth.
//!
//! A system is a program that speaks the line protocol of `adapters/PROTOCOL.md`
//! ([`protocol`]); one written in Rust is a [`MemorySystem`] and speaks it by
//! [`serve`](serve::serve). All do the same [`Work`]; what that gave is a [`Cell`],
//! and all cells together are a [`Comparison`]. Who starts and stops the programs is
//! `mnemobench compare`.

pub mod adapter;
pub mod bm25;
pub mod cell;
pub mod engine;
pub mod processes;
pub mod protocol;
pub mod serve;
pub mod summary;
pub mod work;

pub use cell::{Cell, CellKey};
pub use serve::MemorySystem;
pub use summary::Comparison;
pub use work::Work;
