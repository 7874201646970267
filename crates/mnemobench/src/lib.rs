//! Comparison of memory systems, for the program `mnemobench`.

// No input may cause a panic, so `unwrap` and `expect` are avoided even where they cannot fail.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

pub mod compare;
