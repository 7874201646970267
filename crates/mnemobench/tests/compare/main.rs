//! Tests of `mnemobench compare` with systems that misbehave on demand.
#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod bench;
mod ended;
mod example;
mod kept;
mod options;
mod rows;
mod stub;
