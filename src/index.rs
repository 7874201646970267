//! Top-k search over a tier's memories.
//!
//! A tier keeps its memories in immutable [`Segment`]s: columns of ids, times
//! and lengths, inverted lists of terms, and sketches (the first bits of every
//! vector). A new memory makes the newest segment anew, which is short; full
//! ones are merged into fewer and larger ones, so that adding a memory costs
//! amortised O(log n) copies of its postings and readers never see a structure
//! change under them (the logarithmic method of Bentley & Saxe, 1980).
//!
//! Texts are found by [`terms`], which is exact, and vectors by [`cascade`]. The [`exact`] scans
//! are their oracles.

pub mod cascade;
pub mod column;
pub mod exact;
pub mod filter;
pub mod live;
pub mod numbers;
pub mod postings;
pub mod segment;
pub mod shard;
pub mod terms;
pub mod text;
pub mod top;

pub use column::Column;
pub use filter::{RowFilter, Scope};
pub use live::Live;
pub use numbers::Numbers;
pub use postings::Postings;
pub use segment::{Contents, Row, SKETCH_BITS, Segment};
pub use shard::{Part, Shard};
pub use text::{QueryTerm, TextQuery};
pub use top::{Scored, TopK};
