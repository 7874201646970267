//! A process whose WARM is in a database is killed at random moments, as in
//! `tests/crash.rs`; `MNEMO_CRASHES=100` kills more often.

use std::process::Command;

use super::common::kills;
use super::server::shared;

/// The default is few: each takes seconds, most of them the server's.
const KILLS: u64 = 12;

#[test]
fn acknowledged_operations_survive_kills() {
    let Some(server) = shared() else { return };
    let stores = || server.ask("SELECT store FROM mnemo_stores").len();
    let before = if server.ask("SELECT to_regclass('mnemo_stores')") == [""] { 0 } else { stores() };
    // The environment of a process tells where WARM is, so it is one of its own.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::kill", "--nocapture", "--test-threads=1"])
        .env("MNEMO_WARM", "postgres")
        .env("MNEMO_POSTGRES", server.connection())
        .output()
        .unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    println!("{}", out.lines().find(|line| line.contains("kills")).expect("it says what it did"));
    assert!(stores() > before, "WARM was elsewhere");
}

#[test]
#[ignore = "the process that `acknowledged_operations_survive_kills` starts"]
fn kill() {
    kills::survive(KILLS, "crash::writing_process");
}

#[test]
#[ignore = "the process that `kill` starts and kills"]
fn writing_process() {
    kills::write();
}
