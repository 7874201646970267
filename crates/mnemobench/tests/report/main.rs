//! Tests of `mnemobench slo` and `report` on files as the benches leave them.
#![allow(missing_docs, unreachable_pub, reason = "a test")]

#[allow(dead_code, reason = "the gate's tests use the rest")]
#[path = "../detect/home.rs"]
mod home;
mod page;
mod readme;
mod slo;
mod suite;
