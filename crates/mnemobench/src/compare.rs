//! Comparison of memory systems: the protocol that they speak, the work that they do, and the
//! evaluation of their answers.
//!
//! A system is a program that speaks the line protocol of `adapters/PROTOCOL.md` ([`protocol`]). A
//! system in Rust implements [`MemorySystem`], and [`serve`](serve::serve) speaks the protocol for
//! it. All systems do the same [`Work`]. One measurement of it is a [`Cell`], and all cells
//! together are a [`Comparison`]. `mnemobench compare` starts and stops the programs.

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
