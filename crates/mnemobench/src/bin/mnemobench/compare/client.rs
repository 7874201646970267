//! Clients of a system: an adapter in a separate process, or a built-in system in this process.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use mnemobench::compare::processes::{self, Process};
use mnemobench::compare::protocol::{Answer, Op, Refusal, Request, Response};
use mnemobench::compare::serve::{self, MemorySystem};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{self, ProcessGroup};

/// The interval between checks for an interrupt while a response is pending.
const POLL: Duration = Duration::from_millis(50);
/// The time in which a system must stop its servers after its input ends. Then it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// The factor on the time limit for `hello`, `open` and `close`, which may start or stop servers.
const SLOW: u32 = 10;
/// Characters of an invalid line that are shown in the error.
const SHOWN: usize = 100;

/// The reason why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The system refused the request; further requests are possible.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection is broken; no further requests are possible.
    #[error("{0}")]
    Broken(String),
    /// The user interrupted the command.
    #[error("interrupted")]
    Interrupted,
}

/// A connection to a system, which several threads may use at once. Dropping it ends the system.
pub(crate) trait Client: Sync {
    /// Sends a request and waits for the answer.
    fn ask(&self, op: Op) -> Result<Answer, Failure>;

    /// Returns the memory of all its processes in bytes. `named` are further processes that the
    /// system has named.
    fn memory(&self, named: &[i32]) -> Option<u64>;

    /// Registers processes of the system that must be ended with it.
    fn adopt(&mut self, named: &[i32]);
}

/// A program or a built-in system to start.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// An adapter.
    Adapter {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// The working folder.
        folder: PathBuf,
    },
    /// A built-in system, run in this process.
    Own(fn() -> Box<dyn MemorySystem>),
}

impl Program {
    /// Starts the system. Its temporary files go to `scratch`, and a request may take `limit`.
    pub(crate) fn start(
        &self,
        scratch: &std::path::Path,
        limit: Duration,
    ) -> Result<Box<dyn Client>, Failure> {
        match self {
            Self::Own(make) => Ok(Box::new(InProcess(RwLock::new(make())))),
            Self::Adapter { program, arguments, folder } => {
                let mut command = Command::new(program);
                command.args(arguments).current_dir(folder).env("TMPDIR", scratch);
                Ok(Box::new(AdapterProcess::start(&mut command, limit)?))
            }
        }
    }
}

/// A built-in system in this process.
struct InProcess(RwLock<Box<dyn MemorySystem>>);

impl Client for InProcess {
    fn ask(&self, op: Op) -> Result<Answer, Failure> {
        if process::is_interrupted() {
            return Err(Failure::Interrupted);
        }
        serve::answer(&self.0, &op).map_err(Failure::Refused)
    }

    fn memory(&self, _named: &[i32]) -> Option<u64> {
        // Its memory cannot be separated from the driver's.
        None
    }

    fn adopt(&mut self, _named: &[i32]) {}
}

/// An adapter in its own process group. All of its processes are killed when this value is dropped.
struct AdapterProcess {
    group: ProcessGroup,
    /// Lines for its standard input, which is closed when the sender is dropped.
    lines: Option<Sender<String>>,
    waiting: Arc<Mutex<Waiting>>,
    next_id: AtomicU64,
    limit: Duration,
    /// The file that captures its standard error.
    words: Mutex<File>,
    /// Servers that the adapter has named.
    named: Vec<i32>,
}

/// Pending requests, and the reason once the connection is broken.
#[derive(Default)]
struct Waiting {
    requests: HashMap<u64, Sender<Result<Response, String>>>,
    broken: Option<String>,
}

impl AdapterProcess {
    fn start(command: &mut Command, limit: Duration) -> Result<Self, Failure> {
        let program = command.get_program().to_string_lossy().into_owned();
        let broken = |error: std::io::Error| Failure::Broken(format!("{program}: {error}"));
        process::watch_interrupts().map_err(Failure::Broken)?;
        let words = tempfile::tempfile().map_err(broken)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(words.try_clone().map_err(broken)?);
        let mut group = ProcessGroup::spawn(command).map_err(broken)?;
        let (Some(mut input), Some(output)) = (group.leader.stdin.take(), group.leader.stdout.take()) else {
            return Err(Failure::Broken(format!("{program}: it has no standard input or output")));
        };
        // A separate thread writes, because an adapter that does not read would block the caller.
        let (lines, to_write) = mpsc::channel::<String>();
        std::thread::spawn(move || {
            for line in to_write {
                if input.write_all(line.as_bytes()).is_err() {
                    break;
                }
            }
        });
        let waiting = Arc::<Mutex<Waiting>>::default();
        let readers = waiting.clone();
        std::thread::spawn(move || read(output, &readers));
        let (next_id, words) = (AtomicU64::new(1), Mutex::new(words));
        Ok(Self { group, lines: Some(lines), waiting, next_id, limit, words, named: Vec::new() })
    }

    fn wait(
        &self,
        name: &str,
        response: &mpsc::Receiver<Result<Response, String>>,
    ) -> Result<Response, Failure> {
        let limit = if matches!(name, "open" | "close" | "hello") { SLOW * self.limit } else { self.limit };
        let started = Instant::now();
        loop {
            match response.recv_timeout(POLL.min(limit)) {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(reason)) => return Err(self.broken(name, reason)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.broken(name, "it ended".to_owned())),
                Err(RecvTimeoutError::Timeout) if process::is_interrupted() => {
                    return Err(Failure::Interrupted);
                }
                Err(RecvTimeoutError::Timeout) if started.elapsed() >= limit => {
                    let reason = format!("no answer within {} s", limit.as_secs_f64());
                    return Err(self.broken(name, reason));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Creates the failure, with the end of the adapter's standard error.
    fn broken(&self, name: &str, reason: String) -> Failure {
        if process::is_interrupted() {
            return Failure::Interrupted;
        }
        let mut file = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let words = process::last_words(&mut file);
        let words = if words.is_empty() { words } else { format!("; it said: {words}") };
        Failure::Broken(format!("{name}: {reason}{words}"))
    }

    fn roots(&self, named: &[i32]) -> Vec<i32> {
        let own = i32::try_from(self.group.leader.id()).ok();
        own.into_iter().chain(named.iter().copied()).collect()
    }
}

impl Client for AdapterProcess {
    fn ask(&self, op: Op) -> Result<Answer, Failure> {
        if process::is_interrupted() {
            return Err(Failure::Interrupted);
        }
        let (name, id) = (op.name(), self.next_id.fetch_add(1, Ordering::Relaxed));
        let mut line =
            serde_json::to_string(&Request { id, op }).map_err(|e| Failure::Broken(e.to_string()))?;
        line.push('\n');
        let (sender, response) = mpsc::channel();
        {
            let mut waiting = lock(&self.waiting);
            if let Some(reason) = &waiting.broken {
                return Err(self.broken(name, reason.clone()));
            }
            waiting.requests.insert(id, sender);
        }
        if let Some(lines) = &self.lines {
            // Fails if the writing thread has ended, because the adapter closed its input. The
            // reading thread reports the reason.
            let _ = lines.send(line);
        }
        let Response { ok, error, .. } = self.wait(name, &response)?;
        match (ok, error) {
            (Some(ok), None) => Answer::parse(name, ok).map_err(|error| {
                self.broken(name, format!("expected an answer as the protocol says: {error}"))
            }),
            (_, Some(refusal)) => Err(Failure::Refused(refusal)),
            (None, None) => Err(self.broken(name, "expected `ok` or `error`, found neither".to_owned())),
        }
    }

    fn memory(&self, named: &[i32]) -> Option<u64> {
        processes::memory(&processes::tree(&self.roots(named)))
    }

    fn adopt(&mut self, named: &[i32]) {
        // A wrong process id must not end an unrelated process.
        self.named.extend(named.iter().filter(|pid| processes::is_younger(**pid)));
    }
}

impl Drop for AdapterProcess {
    fn drop(&mut self) {
        // Servers may have left the process group, and get another parent when the adapter ends.
        let all = processes::tree(&self.roots(&self.named));
        // Closing its input lets the adapter stop its servers itself.
        self.lines = None;
        self.group.ends_within(GRACE);
        all.iter().filter(|process| process.is_running()).for_each(kill);
        // Dropping `group` kills the rest of the process group.
    }
}

fn kill(process: &Process) {
    if let Some(pid) = Pid::from_raw(process.pid) {
        // Fails if the process has ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Passes each line to the request that waits for it, until the output ends or a line is invalid.
fn read(output: ChildStdout, waiting: &Mutex<Waiting>) {
    let reason = BufReader::new(output).split(b'\n').find_map(|line| {
        let line = match line {
            Ok(line) => line,
            Err(error) => return Some(error.to_string()),
        };
        let no_answer = |reason: &str| {
            let shown: String = String::from_utf8_lossy(&line).chars().take(SHOWN).collect();
            Some(format!("{reason}, found {shown:?}"))
        };
        match serde_json::from_slice::<Response>(&line) {
            Err(_) => no_answer("expected an answer as a line of JSON"),
            Ok(response) => match response.id.and_then(|id| lock(waiting).requests.remove(&id)) {
                Some(sender) => {
                    // Fails if the request has timed out.
                    let _ = sender.send(Ok(response));
                    None
                }
                None => no_answer("expected the answer to a request"),
            },
        }
    });
    let mut waiting = lock(waiting);
    let reason = waiting.broken.insert(reason.unwrap_or_else(|| "it ended".to_owned())).clone();
    for (_, sender) in waiting.requests.drain() {
        let _ = sender.send(Err(reason.clone()));
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
