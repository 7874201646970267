//! Child processes with a time limit, which are killed together with their process group.

use std::fmt::Display;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion_gate::parent_death;
use rustix::process::{Pid, Signal, kill_process_group};

/// The interval between checks whether a process has ended.
const POLL: Duration = Duration::from_millis(10);
/// Characters of a failed process's standard error that are passed on.
const WORDS: usize = 300;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The reason why a process failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The user interrupted the command.
    #[error("interrupted")]
    Interrupted,
    /// The process failed for this reason.
    #[error("{program}: {reason}")]
    Reason {
        /// The program that was run.
        program: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl Failure {
    pub(crate) fn new(program: impl AsRef<Path>, reason: impl Display) -> Self {
        Self::Reason { program: program.as_ref().into(), reason: reason.to_string() }
    }
}

/// Runs a program to its end without input or output, for at most `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<(), Failure> {
    let program = PathBuf::from(command.get_program());
    let failed = |reason: String| Failure::new(&program, reason);
    watch_interrupts().map_err(failed)?;
    let mut words = tempfile::tempfile().map_err(|error| failed(error.to_string()))?;
    let stderr = words.try_clone().map_err(|error| failed(error.to_string()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let mut group = ProcessGroup::spawn(command).map_err(|error| failed(error.to_string()))?;
    match group.wait(limit) {
        Ended::Interrupted => Err(Failure::Interrupted),
        Ended::Late => Err(failed(format!("it was stopped after {} s", limit.as_secs()))),
        Ended::Unknown(error) => Err(failed(error)),
        Ended::Status(status) if status.success() => Ok(()),
        Ended::Status(status) => Err(failed(format!("{status}: {}", last_words(&mut words)))),
    }
}

/// Installs a handler so that an interrupt ends the child processes first. Further calls do
/// nothing.
pub(crate) fn watch_interrupts() -> Result<(), String> {
    static WATCHED: OnceLock<Result<(), String>> = OnceLock::new();
    let watch =
        || ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)).map_err(|e| e.to_string());
    WATCHED.get_or_init(watch).clone()
}

/// Whether the user has interrupted the command.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Returns the end of a process's output file, on one line.
pub(crate) fn last_words(file: &mut std::fs::File) -> String {
    let mut text = Vec::new();
    // On an error the text stays empty, and the caller still reports the status.
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let text = text.trim();
    let from = text.char_indices().rev().nth(WORDS).map_or(0, |(at, _)| at);
    text.get(from..).unwrap_or_default().replace('\n', " / ")
}

/// A process that leads a process group. The whole group is killed when this value is dropped.
pub(crate) struct ProcessGroup {
    pub(crate) leader: Child,
}

enum Ended {
    Status(ExitStatus),
    Late,
    Interrupted,
    Unknown(String),
}

impl ProcessGroup {
    pub(crate) fn spawn(command: &mut Command) -> std::io::Result<Self> {
        parent_death::tie(command);
        // A separate process group, which an interrupt from the terminal does not reach.
        Ok(Self { leader: command.process_group(0).spawn()? })
    }

    fn wait(&mut self, limit: Duration) -> Ended {
        let started = Instant::now();
        loop {
            match self.leader.try_wait() {
                Ok(Some(status)) => return Ended::Status(status),
                Err(error) => return Ended::Unknown(error.to_string()),
                Ok(None) if is_interrupted() => return Ended::Interrupted,
                Ok(None) if started.elapsed() >= limit => return Ended::Late,
                Ok(None) => std::thread::sleep(POLL),
            }
        }
    }

    /// Whether the leader ends by itself within `limit`. Interrupts do not shorten the wait.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < limit {
            if !matches!(self.leader.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(POLL);
        }
        false
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.leader.id()).ok().and_then(Pid::from_raw) {
            // Fails if all processes have ended already.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.leader.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stopped_process_started_is_stopped_too() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60"]);
        let mut group = ProcessGroup::spawn(&mut command).unwrap();
        let pid = Pid::from_raw(group.leader.id() as i32).unwrap();
        assert!(matches!(group.wait(Duration::from_millis(50)), Ended::Late));
        drop(group);
        // The group exists until the new parent of its members reaps them.
        let gone = (0..500).any(|_| {
            std::thread::sleep(POLL);
            rustix::process::test_kill_process_group(pid).is_err()
        });
        assert!(gone, "a process outlived its group");
    }
}
