//! Measurement of one cell: an empty store, all memories, all questions, a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion_gate::measure::nanoseconds;
use mnemobench::compare::cell::{Call, Check, Measured, Restart};
use mnemobench::compare::protocol::{
    Answer, Embedder, Forgotten, Hello, Hit, Op, Opened, PROTOCOL, Recalled, RefusalKind, Stats, capability,
};
use mnemobench::compare::work::{Checker, Refusals, Stored, Work, qualities};
use mnemocore_suite::footprint::Disk;
use tempfile::TempDir;

use super::client::{Client, Failure, Program};

/// Recalls before the measured ones.
const WARM_UP: usize = 5;
/// The number of memories, and of questions, that check a restart. They are evenly spread.
const CHECKED: usize = 50;
/// The number of questions for `synthesize`.
const SYNTHESIZED: usize = 50;

/// Settings of the measurement.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Numbers of concurrent clients.
    pub(crate) clients: Vec<usize>,
    /// The time limit of one request.
    pub(crate) limit: Duration,
    /// The duration for which recalls are counted for a throughput.
    pub(crate) load: Duration,
}

/// The temporary folder of one cell, deleted on drop.
struct Scratch {
    folder: TempDir,
}

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("mnemobench-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // Some servers refuse to run as root and switch to another user, who must be able to
            // enter.
            builder.permissions(fs::Permissions::from_mode(0o711));
        }
        let folder = builder.tempdir().map_err(io)?;
        let scratch = Self { folder };
        fs::create_dir(scratch.store()).and_then(|()| fs::create_dir(scratch.temporary())).map_err(io)?;
        Ok(scratch)
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }
}

fn io(error: std::io::Error) -> Failure {
    Failure::Broken(format!("temporary folder: {error}"))
}

/// Starts a system and asks it to describe itself.
fn greet(
    program: &Program,
    scratch: &Path,
    limit: Duration,
) -> Result<(Box<dyn Client>, Hello, u64), Failure> {
    let started = Instant::now();
    let client = program.start(scratch, limit)?;
    let Answer::Hello(hello) = client.ask(Op::Hello { protocol: PROTOCOL })? else {
        return Err(unexpected("hello"));
    };
    if hello.protocol != PROTOCOL {
        let reason =
            format!("hello: expected version {PROTOCOL} of the protocol, received {}", hello.protocol);
        return Err(Failure::Broken(reason));
    }
    Ok((client, hello, nanoseconds(started.elapsed())))
}

/// Returns the description of a system.
pub(crate) fn hello(program: &Program, limit: Duration) -> Result<Hello, Failure> {
    let scratch = Scratch::new()?;
    greet(program, &scratch.temporary(), limit).map(|(_, hello, _)| hello)
}

fn unexpected(operation: &str) -> Failure {
    Failure::Broken(format!("{operation}: expected another answer"))
}

/// A cell to measure.
pub(crate) struct Task<'t> {
    /// The system.
    pub(crate) program: &'t Program,
    /// The embedder, for systems that need one.
    pub(crate) embedder: Embedder,
    /// The memories and questions.
    pub(crate) work: &'t Work,
    /// The settings of the measurement.
    pub(crate) settings: &'t Settings,
    /// A callback for progress: the stage, the steps done and the total.
    pub(crate) step: &'t dyn Fn(&str, usize, usize),
}

impl Task<'_> {
    /// Measures the cell.
    pub(crate) fn measure(&self) -> Result<Measured, Failure> {
        let Self { program, embedder, work, settings, .. } = *self;
        let scratch = Scratch::new()?;
        let mut measured = Measured::default();
        let (mut client, hello, hello_ns) = greet(program, &scratch.temporary(), settings.limit)?;
        measured.hello_ns = hello_ns;
        let open = Op::Open { folder: scratch.store(), embedder, memories: work.memories.len() };
        let (opened, cold_start) = ask_open(&*client, &open)?;
        measured.cold_start = cold_start;
        client.adopt(&opened.processes);

        let checker = work.checker();
        let mut run = self.run(&*client, &checker, &mut measured);
        run.stores()?;
        let answers = run.recalls()?;
        let before = run.seen()?.settled(&answers);
        let named: Vec<i32> = opened.processes.iter().chain(&before.stats.processes).copied().collect();
        run.measured.ram = client.memory(&named);
        run.throughput(settings, &hello)?;
        run.synthesize(&hello)?;
        let can_restart = hello.can(capability::RESTART);
        if !can_restart {
            run.forget(&hello)?;
        }
        required(client.ask(Op::Close))?;
        drop(client);
        if can_restart {
            measured.disk = Disk::of(scratch.store()).ok().map(|disk| disk.allocated);
            measured.restart = match self.restart(&open, &before, &mut measured) {
                Ok(restart) => Check::Done(restart),
                Err(Failure::Interrupted) => return Err(Failure::Interrupted),
                Err(failure) => {
                    measured.forget = Check::Failed("not asked".to_owned());
                    Check::Failed(failure.to_string())
                }
            };
        }
        Ok(measured)
    }

    /// Opens the folder in a new process and checks that memories and answers are the same. Then
    /// checks that it can forget a memory.
    fn restart(&self, open: &Op, before: &Seen, measured: &mut Measured) -> Result<Restart, Failure> {
        (self.step)("restart", 0, 0);
        let scratch = Scratch::new()?;
        let (mut client, hello, _) = greet(self.program, &scratch.temporary(), self.settings.limit)?;
        let (opened, call) = ask_open(&*client, open)?;
        client.adopt(&opened.processes);
        let checker = self.work.checker();
        let mut run = self.run(&*client, &checker, measured);
        let after = run.seen()?;
        run.forget(&hello)?;
        required(client.ask(Op::Close))?;
        drop(client);
        let kept = before.own.iter().zip(&after.own).filter(|(before, after)| **before && **after);
        let answers = before.answers.iter().zip(&after.answers).filter(|(before, _)| before.is_some());
        Ok(Restart {
            open: call,
            found_before: before.own.iter().filter(|found| **found).count(),
            found_after: kept.count(),
            asked: answers.clone().count(),
            same: answers.filter(|(before, after)| before == after).count(),
            memories: [before.stats.memories, after.stats.memories],
        })
    }

    fn run<'r>(
        &'r self,
        client: &'r dyn Client,
        checker: &'r Checker<'r>,
        measured: &'r mut Measured,
    ) -> Run<'r> {
        Run { client, work: self.work, checker, measured, step: self.step }
    }
}

fn ask_open(client: &dyn Client, open: &Op) -> Result<(Opened, Call), Failure> {
    let started = Instant::now();
    let answer = required(client.ask(open.clone()))?;
    let call = call(&answer, nanoseconds(started.elapsed()));
    match answer {
        Answer::Opened(opened) => Ok((opened, call)),
        _ => Err(unexpected("open")),
    }
}

/// Turns a refusal into a broken connection, for requests that must succeed.
fn required(answer: Result<Answer, Failure>) -> Result<Answer, Failure> {
    answer.map_err(|failure| match failure {
        Failure::Refused(refusal) => Failure::Broken(format!("refused: {refusal}")),
        other => other,
    })
}

fn call(answer: &Answer, outside: u64) -> Call {
    let times = answer.times();
    [times.total_ns, times.embed_ns.min(times.total_ns), outside]
}

/// The memories and answers to compare before and after a restart.
#[derive(Default)]
struct Seen {
    /// Whether each sampled memory is found by its own text.
    own: Vec<bool>,
    /// The answers to sampled questions; `None` if the answer varies without a restart.
    answers: Vec<Option<Vec<u32>>>,
    stats: Stats,
}

impl Seen {
    /// Drops the answers that differ from those given earlier, when all questions were asked.
    fn settled(mut self, all: &[Vec<u32>]) -> Self {
        let places = spread(all.len(), CHECKED);
        for (answer, earlier) in self.answers.iter_mut().zip(places.into_iter().map(|place| all.get(place))) {
            answer.take_if(|answer| Some(&*answer) != earlier);
        }
        self
    }
}

struct Run<'r> {
    client: &'r dyn Client,
    work: &'r Work,
    checker: &'r Checker<'r>,
    measured: &'r mut Measured,
    step: &'r dyn Fn(&str, usize, usize),
}

impl Run<'_> {
    /// Sends a request and records a refusal.
    fn ask(&mut self, op: Op) -> Result<Option<(Answer, Call)>, Failure> {
        let (name, started) = (op.name(), Instant::now());
        match self.client.ask(op) {
            Ok(answer) => {
                let call = call(&answer, nanoseconds(started.elapsed()));
                Ok(Some((answer, call)))
            }
            Err(Failure::Refused(refusal)) => {
                note(&mut self.measured.refusals, name, refusal.to_string());
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn stores(&mut self) -> Result<(), Failure> {
        let memories = &self.work.memories;
        for (done, memory) in memories.iter().enumerate() {
            (self.step)("store", done, memories.len());
            let op =
                Op::Store { key: memory.key.clone(), text: memory.text.clone(), time: Some(memory.time) };
            let call = self.ask(op)?.map(|(_, call)| call);
            self.measured.stores.push(call);
        }
        self.any_done("store", &self.measured.stores)
    }

    /// Measures the recalls, and returns the answers with ten memories.
    fn recalls(&mut self) -> Result<Vec<Vec<u32>>, Failure> {
        let questions = &self.work.questions;
        for question in questions.iter().cycle().take(WARM_UP) {
            let (_, call) = self.recall(&question.text, 10, &[])?;
            self.measured.first_recall = self.measured.first_recall.or(call);
        }
        let mut of_five = Vec::with_capacity(questions.len());
        for (done, question) in questions.iter().enumerate() {
            (self.step)("recall of 5", done, questions.len());
            let (ranked, call) = self.recall(&question.text, 5, &question.relevant)?;
            self.measured.recalls_of_five.push(call);
            of_five.push(ranked);
        }
        let mut of_ten = Vec::with_capacity(questions.len());
        for (done, (question, of_five)) in questions.iter().zip(&of_five).enumerate() {
            (self.step)("recall of 10", done, questions.len());
            let (ranked, call) = self.recall(&question.text, 10, &question.relevant)?;
            self.measured.recalls.push(call);
            self.measured.returned += ranked.len() + of_five.len();
            self.measured.qualities.push(qualities(of_five, &ranked, &question.relevant));
            of_ten.push(ranked);
        }
        self.any_done("recall", &self.measured.recalls)?;
        Ok(of_ten)
    }

    /// Fails if every call was refused, because there is nothing to measure.
    fn any_done(&self, operation: &str, calls: &[Option<Call>]) -> Result<(), Failure> {
        if calls.iter().any(Option::is_some) {
            return Ok(());
        }
        let reason = self.measured.refusals.get(operation).map_or("", |refused| &refused.first);
        Err(Failure::Broken(format!("every {operation} was refused: {reason}")))
    }

    /// Recalls once, and checks the answer outside the timer.
    fn recall(
        &mut self,
        query: &str,
        k: usize,
        relevant: &[u32],
    ) -> Result<(Vec<u32>, Option<Call>), Failure> {
        let Some((answer, call)) = self.ask(Op::Recall { query: query.to_owned(), k })? else {
            return Ok((Vec::new(), None));
        };
        let ranked = self.check(answer.hits(), k, relevant);
        Ok((ranked, Some(call)))
    }

    fn check(&mut self, hits: &[Hit], k: usize, relevant: &[u32]) -> Vec<u32> {
        let checked = self.checker.check(hits, k, relevant);
        self.measured.faults.add(checked.faults);
        checked.ranked
    }

    fn stats(&mut self) -> Result<Stats, Failure> {
        Ok(match self.ask(Op::Stats)? {
            Some((Answer::Stats(stats), _)) => stats,
            _ => Stats::default(),
        })
    }

    fn seen(&mut self) -> Result<Seen, Failure> {
        let mut seen = Seen { stats: self.stats()?, ..Seen::default() };
        let places: Vec<usize> = spread(self.work.memories.len(), CHECKED);
        let questions = spread(self.work.questions.len(), CHECKED);
        let all = places.len() + questions.len();
        for (done, place) in places.iter().enumerate() {
            (self.step)("look for memories", done, all);
            let Some(memory) = self.work.memories.get(*place) else { continue };
            let (ranked, _) = self.recall(&memory.text, 10, &[*place as u32])?;
            seen.own.push(ranked.contains(&(*place as u32)));
        }
        for (done, place) in questions.iter().enumerate() {
            (self.step)("look for answers", places.len() + done, all);
            let Some(question) = self.work.questions.get(*place) else { continue };
            seen.answers.push(Some(self.recall(&question.text, 10, &question.relevant)?.0));
        }
        Ok(seen)
    }

    /// Measures a closed loop for each number of clients. Each client waits for its answer before
    /// the next request, and the clients take the questions in turns.
    fn throughput(&mut self, settings: &Settings, hello: &Hello) -> Result<(), Failure> {
        for &clients in &settings.clients {
            (self.step)(&format!("{clients} clients"), 0, 0);
            let rate = if clients <= hello.clients { Some(self.load(clients, settings.load)?) } else { None };
            self.measured.throughput.insert(clients, rate);
        }
        Ok(())
    }

    fn load(&self, clients: usize, duration: Duration) -> Result<f64, Failure> {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (client, questions) = (self.client, &self.work.questions);
        let started = Instant::now();
        let work = || -> Result<(), Failure> {
            // Each client asks at least once, however slow the system is.
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(question) = questions.get(number % questions.len().max(1)) else { return Ok(()) };
                match client.ask(Op::Recall { query: question.text.clone(), k: 10 }) {
                    Ok(_) => drop(done.fetch_add(1, Ordering::Relaxed)),
                    // A refusal does not count as a recall. A system that refuses every recall has
                    // failed before.
                    Err(Failure::Refused(_)) => {}
                    Err(failure) => return Err(failure),
                }
                if started.elapsed() >= duration {
                    return Ok(());
                }
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..clients).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| {
                worker.join().unwrap_or_else(|_| Err(Failure::Broken("a client ended".into())))
            })
        })?;
        Ok(done.into_inner() as f64 / started.elapsed().as_secs_f64())
    }

    fn synthesize(&mut self, hello: &Hello) -> Result<(), Failure> {
        if !hello.can(capability::SYNTHESIZE) {
            return Ok(());
        }
        let mut calls = Vec::new();
        for place in spread(self.work.questions.len(), SYNTHESIZED) {
            (self.step)("synthesize", place, self.work.questions.len());
            let Some(question) = self.work.questions.get(place) else { continue };
            let asked = self.ask(Op::Synthesize { query: question.text.clone(), k: 10 })?;
            if let Some((answer, call)) = asked {
                self.check(answer.hits(), 10, &question.relevant);
                calls.push(call);
            }
        }
        self.measured.synthesize = match self.measured.refusals.get("synthesize") {
            Some(refused) if calls.is_empty() => Check::Failed(refused.first.clone()),
            _ => Check::Done(calls),
        };
        Ok(())
    }

    /// Forgets a memory whose text is unique, and checks that it is gone.
    fn forget(&mut self, hello: &Hello) -> Result<(), Failure> {
        if !hello.can(capability::FORGET) {
            return Ok(());
        }
        let memories = &self.work.memories;
        let is_single = |text: &str| memories.iter().filter(|memory| memory.text == text).count() == 1;
        let place = memories.iter().position(|memory| is_single(&memory.text)).unwrap_or_default();
        let Some(memory) = memories.get(place) else { return Ok(()) };
        self.measured.forget = match self.forgets(memory, place as u32) {
            Ok(gone) => Check::Done(gone),
            Err(Failure::Refused(refusal)) if refusal.kind == RefusalKind::Unsupported => Check::Unsupported,
            Err(Failure::Refused(refusal)) => Check::Failed(refusal.to_string()),
            Err(failure) => return Err(failure),
        };
        Ok(())
    }

    fn forgets(&self, memory: &Stored, place: u32) -> Result<bool, Failure> {
        let forget = Op::Forget { key: memory.key.clone() };
        let Answer::Forgotten(Forgotten { forgotten, .. }) = self.client.ask(forget)? else {
            return Err(unexpected("forget"));
        };
        let recall = Op::Recall { query: memory.text.clone(), k: 10 };
        let Answer::Recalled(Recalled { hits, .. }) = self.client.ask(recall)? else {
            return Err(unexpected("recall"));
        };
        Ok(forgotten && !self.checker.check(&hits, 10, &[place]).ranked.contains(&place))
    }
}

fn note(refusals: &mut Refusals, operation: &str, reason: String) {
    let refused = refusals.entry(operation.to_owned()).or_default();
    refused.count += 1;
    if refused.first.is_empty() {
        refused.first = reason;
    }
}

/// Returns at most `most` of `count` positions, evenly spread.
fn spread(count: usize, most: usize) -> Vec<usize> {
    let taken = count.min(most);
    (0..taken).map(|number| number * count / taken).collect()
}
