//! What the benches and the command line share: workloads, data sets, retrieval
//! quality, results, and what the machine looks like.
//!
//! Floor 4 of the crate: it may use the engine, and knows nothing of Criterion.

pub mod corpus;
pub mod random;
pub mod workload;
