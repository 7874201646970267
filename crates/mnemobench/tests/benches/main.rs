//! Tests of the benches with input that they refuse: the results of the last run have to stay valid.
#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod data;
#[allow(dead_code, reason = "the gate's tests use the rest")]
#[path = "../detect/home.rs"]
mod home;
mod input;
mod program;
#[allow(dead_code, reason = "the report's tests use the rest")]
#[path = "../report/suite.rs"]
mod suite;
