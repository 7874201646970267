//! The comparison of memory systems, which the program `mnemobench` runs.

// No panic that input could reach: what cannot fail is written so that it shows.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

pub mod compare;
