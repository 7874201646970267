//! A process that stores, recalls, forgets, moves and compacts is killed at
//! random moments; what it had acknowledged must be there again.
//!
//! `MNEMO_CRASHES=1000 cargo test --test crash` kills more often.
#![cfg(unix)]

mod common;

use common::kills;

#[test]
#[ignore = "the process that `acknowledged_operations_survive_kills` starts and kills"]
fn writing_process() {
    kills::write();
}

#[test]
fn acknowledged_operations_survive_kills() {
    kills::survive(50, "writing_process");
}
