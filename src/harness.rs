//! The parts that the benches and the command line share: workloads, data sets, retrieval
//! quality, results, and the description of the machine.
//!
//! It may use the engine, and knows nothing of Criterion.

pub mod benchmark;
pub mod bm25;
pub mod compare;
pub mod corpus;
pub mod evaluation;
pub mod footprint;
pub mod gate;
pub mod load;
pub mod machine;
pub mod measure;
pub mod probe;
pub mod profile;
pub mod quality;
pub mod random;
pub mod reference;
pub mod results;
pub mod run;
pub mod sizing;
pub mod stock;
pub mod tied;
pub mod workload;
