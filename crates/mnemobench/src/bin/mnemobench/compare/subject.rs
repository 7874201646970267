//! The available systems: the built-in ones and those of the adapters' folder.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use mnemobench::compare::adapter::{Adapter, digest};
use mnemobench::compare::cell;
use mnemobench::compare::engine::EngineSystem;
use mnemobench::compare::protocol::Hello;
use mnemobench::compare::summary::{Absent, IN_PROCESS, OURS};

use super::client::{Failure, Program};
use super::measure;

/// A system that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The name of the row.
    pub(crate) row: String,
    title: String,
    program: Program,
    digest: String,
    /// The command that builds the environment.
    build: Option<String>,
}

/// A system that has answered `hello`.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The name of the row.
    pub(crate) row: String,
    /// The program to run.
    pub(crate) program: Program,
    /// The title, digest and description.
    pub(crate) about: cell::Subject,
}

impl Candidate {
    /// Starts the system and asks it to describe itself.
    pub(crate) fn greet(&self, limit: Duration) -> Result<Subject, Failure> {
        let hello: Hello = measure::hello(&self.program, limit)?;
        let (title, digest) = (self.title.clone(), self.digest.clone());
        let about = cell::Subject { title, digest, hello };
        Ok(Subject { row: self.row.clone(), program: self.program.clone(), about })
    }

    /// Returns the row of the system for the case that it cannot be measured.
    pub(crate) fn absent(&self, reason: String) -> Absent {
        let (row, title, command) = (self.row.clone(), self.title.clone(), self.build.clone());
        Absent { row, title, embedder: None, reason, command }
    }
}

/// Returns the rows that match `names`, the built-in ones first. Without names, returns all except
/// examples. A system with missing requirements is an `Err`.
pub(crate) fn find(
    adapters: &Path,
    names: &[String],
) -> Result<Vec<Result<Candidate, Absent>>, Box<dyn Error>> {
    let (mut found, mut known) = (Vec::new(), Vec::new());
    let mut is_asked = |folder: &str, row: &str, by_default: bool| {
        known.extend([folder.to_owned(), row.to_owned()]);
        if names.is_empty() { by_default } else { names.iter().any(|name| name == folder || name == row) }
    };
    for own in own()? {
        if is_asked(&own.row, &own.row, true) {
            found.push(Ok(own));
        }
    }
    for adapter in Adapter::find(adapters)? {
        for variant in adapter.variants() {
            if !is_asked(&adapter.name, &variant.name, !adapter.about.example) {
                continue;
            }
            let (program, arguments) = adapter.command(&variant);
            let title = variant.title.clone().unwrap_or_else(|| {
                let title = &adapter.about.title;
                if adapter.about.variants.is_empty() {
                    title.clone()
                } else {
                    format!("{title}: {}", variant.name)
                }
            });
            let candidate = Candidate {
                row: variant.name.clone(),
                title,
                program: Program::Adapter { program, arguments, folder: adapter.folder.clone() },
                digest: format!("{:016x}", adapter.digest()?),
                build: adapter.build(),
            };
            let missing = adapter.missing(&variant);
            found.push(if missing.is_empty() {
                Ok(candidate)
            } else {
                Err(candidate.absent(format!("missing: {}", missing.join(", "))))
            });
        }
    }
    known.sort();
    known.dedup();
    match names.iter().find(|name| !known.contains(name)) {
        Some(name) => Err(format!("no system `{name}`; expected one of {}", known.join(", ")).into()),
        None => Ok(found),
    }
}

fn own() -> Result<Vec<Candidate>, Box<dyn Error>> {
    let program = env::current_exe()?;
    let digest = format!("{:016x}", digest([fs::read(&program)?.as_slice()]));
    let folder = env::current_dir()?;
    let adapter = |name: &str| Program::Adapter {
        program: program.clone(),
        arguments: vec!["adapter".to_owned(), name.to_owned()],
        folder: folder.clone(),
    };
    let in_process = Program::Own(|| Box::new(EngineSystem::new()));
    let rows = [
        (OURS, "MnemoCore", adapter("mnemocore")),
        (IN_PROCESS, "MnemoCore, in-process", in_process),
        ("bm25", "BM25", adapter("bm25")),
    ];
    let candidate = |(row, title, program): (&str, &str, Program)| Candidate {
        row: row.to_owned(),
        title: title.to_owned(),
        program,
        digest: digest.clone(),
        build: None,
    };
    Ok(rows.map(candidate).into())
}
