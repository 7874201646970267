//! Talks to a system: to an adapter in a process of its own, or to one of ours within
//! this process.

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

/// How often an interrupt is looked for while an answer is waited for.
const POLL: Duration = Duration::from_millis(50);
/// A system that is told to end stops its servers within this time, or is killed.
const GRACE: Duration = Duration::from_secs(5);
/// Opening and closing start and stop servers: they may take so many times as long as
/// any other request.
const SLOW: u32 = 10;
/// Characters of a line that is no answer which are passed on.
const SHOWN: usize = 100;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The system said so; it can be asked more.
    #[error("{0}")]
    Refused(Refusal),
    /// It can't be asked any more.
    #[error("{0}")]
    Broken(String),
    /// The user wants all to end.
    #[error("interrupted")]
    Interrupted,
}

/// A system that can be asked, by several threads at once. It ends with this value.
pub(crate) trait Client: Sync {
    /// Asks, and waits for the answer.
    fn ask(&self, op: Op) -> Result<Answer, Failure>;

    /// What all its processes hold in main memory; `named` are those that it named.
    fn memory(&self, named: &[i32]) -> Option<u64>;

    /// Notes processes that belong to it, to be ended with it.
    fn adopt(&mut self, named: &[i32]);
}

/// What to start.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// An adapter.
    Adapter {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// Where it runs.
        folder: PathBuf,
    },
    /// One of ours, within this process.
    Own(fn() -> Box<dyn MemorySystem>),
}

impl Program {
    /// Starts it. Its temporary files go to `scratch`; a request may take `limit`.
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

/// One of ours.
struct InProcess(RwLock<Box<dyn MemorySystem>>);

impl Client for InProcess {
    fn ask(&self, op: Op) -> Result<Answer, Failure> {
        if process::is_interrupted() {
            return Err(Failure::Interrupted);
        }
        serve::answer(&self.0, &op).map_err(Failure::Refused)
    }

    fn memory(&self, _named: &[i32]) -> Option<u64> {
        // It cannot be told from the driver's own.
        None
    }

    fn adopt(&mut self, _named: &[i32]) {}
}

/// An adapter in a process group of its own. None of its processes outlives this value.
struct AdapterProcess {
    group: ProcessGroup,
    /// Goes to its standard input, which ends with it.
    lines: Option<Sender<String>>,
    waiting: Arc<Mutex<Waiting>>,
    next_id: AtomicU64,
    limit: Duration,
    /// What it says on standard error.
    words: Mutex<File>,
    /// Servers that it named.
    named: Vec<i32>,
}

/// Requests under way, until it breaks.
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
        // A thread of its own, because an adapter that does not read blocks who writes.
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

    /// What happened, with what it said of it.
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
            // Whoever reads no more has ended, which the other thread sees.
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
        // A wrong number must not end somebody else's process.
        self.named.extend(named.iter().filter(|pid| processes::is_younger(**pid)));
    }
}

impl Drop for AdapterProcess {
    fn drop(&mut self) {
        // Servers may have left the group, and have other parents once the adapter ends.
        let all = processes::tree(&self.roots(&self.named));
        // Its input ends, so that it stops its servers by itself.
        self.lines = None;
        self.group.ends_within(GRACE);
        all.iter().filter(|process| process.is_running()).for_each(kill);
        // The rest of its group ends with the value.
    }
}

fn kill(process: &Process) {
    if let Some(pid) = Pid::from_raw(process.pid) {
        // Fails when it has ended meanwhile, which is as well.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Hands each line to who waits for it, until there are no more or one is no answer.
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
                    // Nobody waits for what came too late.
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
