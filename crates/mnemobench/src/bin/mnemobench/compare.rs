//! `mnemobench compare` measures memory systems side by side. `mnemobench adapter` serves a
//! built-in one.

mod client;
mod measure;
mod plan;
mod subject;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use criterion_gate::results;
use indicatif::ProgressBar;
use mnemobench::compare::bm25::Bm25System;
use mnemobench::compare::cell::{self, Basis, Cell, Outcome};
use mnemobench::compare::engine::EngineSystem;
use mnemobench::compare::protocol::Embedder;
use mnemobench::compare::summary::{Absent, Settings};
use mnemobench::compare::{CellKey, Comparison, MemorySystem, Work, serve};
use mnemocore_suite::corpus::Corpus;
use mnemocore_suite::workload::Workload;

use self::client::Failure;
use self::measure::Task;
use self::plan::{Run, Step};
use self::subject::{Candidate, Subject};
use crate::cli::{CompareArgs, OwnSystem};
use crate::process;
use crate::progress;
use crate::report;
use crate::streams;

/// Generated data if no data set is given. A conversation is about as long as one of LoCoMo's.
const SEED: u64 = 42;
const AGENTS: u32 = 8;
const MEMORIES: usize = 4_000;
const QUESTIONS: usize = 800;
/// A system is skipped after this many consecutive failures.
const FAILURES: usize = 2;
/// The exit code with which a shell reports SIGINT.
const INTERRUPTED: u8 = 130;

/// Serves a built-in system until standard input ends.
pub(crate) fn adapter(system: OwnSystem) -> Result<u8, Box<dyn Error>> {
    let system: Box<dyn MemorySystem> = match system {
        OwnSystem::Mnemocore => Box::new(EngineSystem::new()),
        OwnSystem::Bm25 => Box::<Bm25System>::default(),
    };
    serve::serve(system, io::stdin().lock(), io::stdout())?;
    Ok(0)
}

/// Measures the missing cells and writes the comparison.
pub(crate) fn compare(arguments: &CompareArgs) -> Result<u8, Box<dyn Error>> {
    if cfg!(debug_assertions) {
        streams::note(
            "warning: this is a debug build, in which our own rows are many times slower; use --release",
        );
    }
    // Also needed if only the built-in engine runs, in this process.
    process::watch_interrupts()?;
    let Prepared { run, plan, mut absent, bases, name } = match prepare(arguments)? {
        Ok(prepared) => prepared,
        Err(Interrupted) => return Ok(INTERRUPTED),
    };
    let cells = arguments.output.join("cells");
    if arguments.fresh {
        plan.iter().filter_map(|step| run.key(step)).try_for_each(|key| forget(&cells.join(key.path())))?;
    }
    let finished = run_plan(&run, &plan, &cells, arguments.retry)?;

    let (kept, left_out) = plan::select(Cell::read_all(&cells), &bases, &run.subjects);
    absent.retain(|absent| !kept.iter().any(|cell| cell.key.row == absent.row));
    let rounds = kept.iter().map(|cell| cell.key.round).max().unwrap_or_default();
    let settings = Settings {
        data: name,
        limit: arguments.limit.map(|limit| limit as usize),
        conversations: bases.len(),
        clients: run.settings.clients.clone(),
        rounds,
    };
    let comparison = Comparison::new(settings, &kept, absent, left_out);
    write(&comparison, &arguments.output)?;
    match finished {
        Ok(()) => Ok(0),
        Err(Interrupted) => {
            streams::note("interrupted; the measurements are kept, and the same command continues them");
            Ok(INTERRUPTED)
        }
    }
}

/// The user interrupted the command.
struct Interrupted;

/// Everything that is determined before the first measurement.
struct Prepared {
    run: Run,
    plan: Vec<Step>,
    absent: Vec<Absent>,
    /// The conditions of all conversations of the data set, including those not measured now.
    bases: BTreeMap<String, Basis>,
    /// The name of the data set.
    name: String,
}

fn prepare(arguments: &CompareArgs) -> Result<Result<Prepared, Interrupted>, Box<dyn Error>> {
    let (name, corpus) = corpus(arguments.data.as_deref())?;
    let works = Work::of(&corpus, arguments.limit.map_or(usize::MAX, |limit| limit as usize));
    if works.is_empty() {
        return Err(format!(
            "{name}: the stored memories answer no question; raise --limit, or give another --data"
        )
        .into());
    }
    let machine = mnemocore_suite::machine();
    let clients: Vec<usize> = arguments.clients.iter().map(|&clients| clients as usize).collect();
    let seconds = |option: &str, value: f64| {
        Duration::try_from_secs_f64(value).map_err(|error| format!("{option}: {error}"))
    };
    let (limit, load) = (seconds("--timeout", arguments.timeout)?, seconds("--load", arguments.load)?);
    let candidates = subject::find(&arguments.adapters()?, &arguments.systems)?;
    let (subjects, absent) = match greet(candidates, limit) {
        Ok(greeted) => greeted,
        Err(Interrupted) => return Ok(Err(Interrupted)),
    };
    let embedders: Vec<Embedder> = arguments.embedder.iter().map(|&embedder| embedder.into()).collect();
    let conversations = arguments.conversations.map_or(works.len(), |count| works.len().min(count as usize));
    let plan = plan::plan(&subjects, &embedders, conversations, arguments.rounds as usize);
    let run = Run { subjects, works, settings: measure::Settings { clients, limit, load }, machine };
    let bases = run.works.iter().map(|work| (work.name.clone(), run.basis(work))).collect();
    Ok(Ok(Prepared { run, plan, absent, bases, name }))
}

/// Asks all systems to describe themselves. A system that fails becomes an absent row.
fn greet(
    candidates: Vec<Result<Candidate, Absent>>,
    limit: Duration,
) -> Result<(Vec<Subject>, Vec<Absent>), Interrupted> {
    let (mut subjects, mut absent) = (Vec::new(), Vec::new());
    let bar = progress::bar(candidates.len());
    for candidate in candidates {
        match candidate {
            Err(missing) => absent.push(missing),
            Ok(candidate) => {
                bar.set_message(format!("{}: hello", candidate.row));
                match candidate.greet(limit) {
                    Ok(subject) => subjects.push(subject),
                    Err(Failure::Interrupted) => return Err(Interrupted),
                    Err(failure) => absent.push(candidate.absent(failure.to_string())),
                }
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((subjects, absent))
}

fn corpus(data: Option<&Path>) -> Result<(String, Corpus), Box<dyn Error>> {
    let Some(folder) = data else {
        let corpus = Workload::with_agents(SEED, AGENTS).corpus(MEMORIES, QUESTIONS);
        return Ok((format!("generated_{MEMORIES}"), corpus));
    };
    let name = folder.canonicalize().unwrap_or_else(|_| folder.into());
    let corpus = Corpus::read(folder)?;
    for row in &corpus.left_out {
        streams::note(row);
    }
    Ok((name.file_name().unwrap_or_default().to_string_lossy().into_owned(), corpus))
}

/// Measures the cells of the plan that are missing.
fn run_plan(
    run: &Run,
    plan: &[Step],
    cells: &Path,
    retry: bool,
) -> Result<Result<(), Interrupted>, Box<dyn Error>> {
    let bar = progress::bar(plan.len());
    let mut failures: BTreeMap<(usize, Option<Embedder>), usize> = BTreeMap::new();
    for step in plan {
        let (subject, work, key) = (run.subject(step), run.work(step), run.key(step));
        let (Some(subject), Some(work), Some(key)) = (subject, work, key) else { continue };
        let basis = run.basis(work);
        let failed = failures.entry((step.subject, step.embedder)).or_default();
        if *failed < FAILURES && !is_finished(cells, &key, &basis, subject, retry) {
            let Ok(outcome) = run_cell(run, &key, subject, work, &bar) else {
                bar.finish_and_clear();
                return Ok(Err(Interrupted));
            };
            *failed = if matches!(outcome, Outcome::Failed(_)) { *failed + 1 } else { 0 };
            let (about, machine) = (subject.about.clone(), run.machine.clone());
            let (format, unix_seconds) = (cell::FORMAT, results::unix_seconds());
            let cell = Cell { format, key, basis, subject: about, machine, unix_seconds, outcome };
            cell.write(cells).map_err(|error| format!("{}: {error}", cells.display()))?;
            // Without a progress bar, lines show the progress in a log file.
            if bar.is_hidden() {
                let done = bar.position() + 1;
                streams::note(format!("{done}/{} {}", plan.len(), describe(&cell.key)));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Ok(()))
}

fn run_cell(
    run: &Run,
    key: &CellKey,
    subject: &Subject,
    work: &Work,
    bar: &ProgressBar,
) -> Result<Outcome, Interrupted> {
    let what = describe(key);
    let show = |stage: &str, done: usize, all: usize| {
        let done = if all > 0 { format!(" {done}/{all}") } else { String::new() };
        bar.set_message(format!("{what}: {stage}{done}"));
    };
    show("start", 0, 0);
    // `open` requires an embedder, which a system that needs none ignores.
    let embedder = key.embedder.unwrap_or(Embedder::Hash);
    let task = Task { program: &subject.program, embedder, work, settings: &run.settings, step: &show };
    match task.measure() {
        Ok(measured) => Ok(Outcome::Measured(measured)),
        Err(Failure::Interrupted) => Err(Interrupted),
        Err(failure) => {
            bar.suspend(|| streams::note(format!("{what}: {failure}")));
            Ok(Outcome::Failed(failure.to_string()))
        }
    }
}

fn is_finished(cells: &Path, key: &CellKey, basis: &Basis, subject: &Subject, retry: bool) -> bool {
    Cell::read(&cells.join(key.path())).is_some_and(|cell| {
        let is_failed = matches!(cell.outcome, Outcome::Failed(_));
        cell.key == *key && cell.basis == *basis && cell.subject == subject.about && !(is_failed && retry)
    })
}

fn forget(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

fn describe(key: &CellKey) -> String {
    let embedder = key.embedder.map_or_else(String::new, |embedder| format!(", {embedder}"));
    format!("{}{embedder}, {}, round {}", key.row, key.conversation, key.round)
}

/// Writes JSON and Markdown, and prints the tables.
fn write(comparison: &Comparison, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let json = serde_json::to_string_pretty(comparison)? + "\n";
    report::save(&folder.join("compare.json"), &json)?;
    let chapter = report::Chapter::of(comparison)?;
    report::save(&folder.join("compare.md"), &chapter.markdown())?;
    streams::print(&chapter.text())?;
    streams::line(format!("{}: compare.json and compare.md", folder.display()))?;
    Ok(())
}
