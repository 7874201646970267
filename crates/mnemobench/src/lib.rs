//! The comparison of memory systems, which the program `mnemobench` runs.

pub mod compare;
