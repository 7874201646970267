//! No process, port or temporary folder outlives the driver.

use std::net::TcpStream;

use mnemobench::compare::processes::{Process, tree};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Bench, files, wait_for};

const RUN: [&str; 6] = ["--systems", "served", "--rounds", "3", "--timeout", "300"];

/// Returns all processes below the driver, and servers in sessions of their own.
fn descendants(bench: &Bench, driver: u32) -> Vec<Process> {
    let servers = bench.lines("servers");
    let servers = servers.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap());
    let roots: Vec<i32> = servers.chain([driver as i32]).collect();
    tree(&roots).into_iter().filter(|process| process.pid != driver as i32).collect()
}

fn ports(bench: &Bench) -> Vec<u16> {
    bench.lines("servers").iter().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Starts a comparison, sends the signal once a server runs, and waits for the end of all processes
/// and ports. Returns the driver's exit code.
fn end_by(signal: Signal, bench: &Bench, ready: impl Fn() -> bool) -> Option<i32> {
    let mut driver = bench.start(&RUN);
    let mut all = Vec::new();
    wait_for("the start of a server", || {
        all = descendants(bench, driver.id());
        // At least a shell or an adapter, and its server.
        all.len() >= 2 && ready()
    });
    let pid = Pid::from_raw(driver.id() as i32).unwrap();
    kill_process(pid, signal).unwrap();
    let code = driver.wait().unwrap().code();
    wait_for("the end of all processes", || all.iter().all(|process| !process.is_running()));
    // Includes processes that were started after `all` was read.
    wait_for("the end of all servers", || descendants(bench, driver.id()).is_empty());
    for port in ports(bench) {
        wait_for("the end of all ports", || !is_open(port));
    }
    code
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_ends_all_processes_keeps_what_is_measured_and_can_be_gone_on_with() {
    let bench = Bench::new();
    bench.stub("served", "server slow");
    let cells = || files(&bench.path("out/cells"), ".json");
    assert_eq!(end_by(Signal::INT, &bench, || !cells().is_empty()), Some(130));
    bench.assert_clean();
    let kept: Vec<_> = cells().into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
    assert!(!kept.is_empty() && kept.len() < 6, "{kept:?}");

    let said = bench.compare(&RUN);
    assert_eq!((said.code, cells().len()), (Some(0), 6), "{}", said.errors);
    assert!(kept.iter().all(|(bytes, path)| std::fs::read(path).unwrap() == *bytes), "measured twice");
    bench.assert_clean();
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_ends_a_system_that_hangs_and_does_not_read() {
    let bench = Bench::new();
    bench.stub("served", "server hang=store");
    assert_eq!(end_by(Signal::TERM, &bench, || true), Some(130));
    bench.assert_clean();
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_driver_leaves_no_process_and_no_port() {
    let bench = Bench::new();
    bench.stub("served", "server slow");
    assert_eq!(end_by(Signal::KILL, &bench, || true), None);
}
