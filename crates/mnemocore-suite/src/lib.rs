//! The building blocks of MnemoCore's benchmarks.
//!
//! | topic | modules |
//! |---|---|
//! | texts and questions to measure with | [`workload`], [`corpus`], [`fixture`] |
//! | how well a recall finds | [`evaluation`], [`quality`], [`bm25`], [`hypervectors`] |
//! | load from many clients | [`load`] |
//! | RAM and disk | [`footprint`], [`footprint_process`] |
//! | benchmarks of your own, with or without Criterion | [`benchmark`], [`run`] |
//!
//! The suite uses the engine, and knows nothing of Criterion. Results and their judgment are in
//! [`criterion_gate`].

// No panic that input could reach: what cannot fail is written so that it shows.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

pub mod benchmark;
pub mod bm25;
pub mod corpus;
pub mod evaluation;
pub mod fixture;
pub mod footprint;
pub mod footprint_process;
pub mod hypervectors;
pub mod load;
pub mod quality;
pub mod run;
pub mod workload;

use criterion_gate::machine::Machine;

/// Describes this machine, and the features that the engine was built with.
pub fn machine() -> Machine {
    let features = [
        ("tokio", true),
        ("object-store", cfg!(feature = "object-store")),
        ("postgres", cfg!(feature = "postgres")),
        ("inject", cfg!(feature = "inject")),
    ];
    let features = features.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()).collect();
    Machine { features, ..Machine::detect() }
}
