//! Processes of a system, and their memory.
//!
//! Reads `/proc`, so it finds processes on Linux only.

use std::collections::HashSet;
use std::fs;

use rustix::io::Errno;

/// A process, distinguished from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// The process id.
    pub pid: i32,
    /// The start time in clock ticks since boot.
    started: u64,
}

/// The parsed fields of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    process: Process,
    parent: i32,
    is_dead: bool,
}

impl Process {
    /// Whether the process still runs.
    pub fn is_running(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.process == *self && !stat.is_dead)
    }

    /// Returns the proportional set size in bytes: a page shared by n processes counts as 1/n. A process
    /// that is ending has none. Returns `None` if the kernel does not report it.
    fn proportional(&self) -> Option<u64> {
        let rollup = match fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)) {
            // Its memory is gone before it is a zombie.
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) || !self.is_running() => {
                return Some(0);
            }
            rollup => rollup.ok()?,
        };
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }
}

/// Returns the running processes among `roots` and all their descendants.
pub fn tree(roots: &[i32]) -> Vec<Process> {
    let all: Vec<Stat> = running().filter(|stat| !stat.is_dead).collect();
    let mut members: HashSet<i32> = roots.iter().copied().collect();
    // `/proc` may list a child before its parent.
    loop {
        let before = members.len();
        members.extend(
            all.iter()
                .filter(|stat| members.contains(&stat.parent))
                .map(|stat| stat.process.pid)
                .collect::<Vec<_>>(),
        );
        if members.len() == before {
            break;
        }
    }
    all.iter().map(|stat| stat.process).filter(|process| members.contains(&process.pid)).collect()
}

/// Whether process `pid` runs, is not this process, and did not start before it. Otherwise it
/// cannot be a descendant of this process.
pub fn is_younger(pid: i32) -> bool {
    let own = i32::try_from(std::process::id()).ok().and_then(stat).map(|own| own.process);
    own.zip(stat(pid))
        .is_some_and(|(own, Stat { process, .. })| own.pid != pid && process.started >= own.started)
}

/// Returns the summed proportional set size of `processes` in bytes. Returns `None` if none runs or
/// the kernel does not report the size of one of them.
pub fn memory(processes: &[Process]) -> Option<u64> {
    let shares = processes.iter().filter(|process| process.is_running()).map(Process::proportional);
    let sum: u64 = shares.sum::<Option<u64>>()?;
    (sum > 0).then_some(sum)
}

fn running() -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir("/proc").ok().into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
}

fn stat(pid: i32) -> Option<Stat> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(pid: i32, text: &str) -> Option<Stat> {
    // The process name before the last `)` may contain spaces and parentheses.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let started = fields.get(19)?.parse().ok()?;
    let is_dead = matches!(*fields.first()?, "Z" | "X");
    Some(Stat { process: Process { pid, started }, parent: fields.get(1)?.parse().ok()?, is_dead })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        let text = "12 (a b) c) S 7 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200";
        let expected = Stat { process: Process { pid: 12, started: 987_654 }, parent: 7, is_dead: false };
        assert_eq!(parse(12, text), Some(expected));
        assert_eq!(parse(12, "12 (torn"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_belongs_to_the_tree_until_it_has_ended() {
        let own = std::process::id() as i32;
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let found = tree(&[own]).into_iter().find(|process| process.pid == pid).unwrap();
        assert!(memory(&tree(&[own])).unwrap() > memory(&[found]).unwrap());
        assert!(is_younger(pid) && !is_younger(own) && !is_younger(1));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!found.is_running() && memory(&[found]).is_none());
    }

    /// Before, there was no figure at all if a process was ending.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_ends_while_it_is_measured_counts_nothing() {
        // Whose memory takes a while to be given back.
        let copy = || {
            std::process::Command::new("dd")
                .args(["if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"])
                .output()
        };
        let spawning =
            std::thread::spawn(move || (0..20).for_each(|_| assert!(copy().unwrap().status.success())));
        let own = std::process::id() as i32;
        while !spawning.is_finished() {
            assert!(memory(&tree(&[own])).is_some());
        }
        spawning.join().unwrap();
    }
}
