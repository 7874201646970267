//! Top-k search over the [segments](crate::segment) of a tier.
//!
//! Texts are found by [`terms`], which is exact, and vectors by [`cascade`]. The [`exact`] scans
//! are their oracles.

pub mod cascade;
pub mod exact;
pub mod filter;
pub mod terms;
pub mod text;
pub mod top;
pub mod vectors;

pub use filter::{RowFilter, Scope};
pub use text::{QueryTerm, TextQuery};
pub use top::{Scored, TopK};
pub use vectors::RowVectors;
