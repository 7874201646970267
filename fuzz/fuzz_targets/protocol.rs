//! The line protocol: any lines to a system, any lines from one, any `system.toml`.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use mnemobench::compare::adapter::{self, Adapter};
use mnemobench::compare::bm25::Bm25System;
use mnemobench::compare::protocol::{Answer, Hello, Hit, Refusal, Request, Response};
use mnemobench::compare::serve::{MemorySystem, serve};
use mnemocore::{Engine, NewMemory, Query};
use mnemocore_fuzz::{scratch, tiny};
use tempfile::TempDir;

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => system_toml(bytes),
        1 | 2 => answers(bytes),
        3 => requests(
            bytes,
            3,
            Box::new(Confined { system: Bm25System::default(), clients: 3, folder: scratch() }),
        ),
        4 => {
            requests(bytes, 1, Box::new(Confined { system: Small::default(), clients: 1, folder: scratch() }))
        }
        _ => requests(
            bytes,
            1,
            Box::new(Confined { system: Bm25System::default(), clients: 1, folder: scratch() }),
        ),
    }
});

/// Each line that is not blank is answered by one line; in its order, where there is
/// one client only.
fn requests(bytes: &[u8], clients: usize, system: Box<dyn MemorySystem>) {
    let mut output = Vec::new();
    serve(system, bytes, &mut output).expect("serves until its input ends");
    let mut answers: Vec<Option<u64>> = lines(&output).map(|line| read(line).id).collect();
    let id = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).ok()?.get("id")?.as_u64();
    let mut asked: Vec<Option<u64>> = lines(bytes).map(id).collect();
    if clients > 1 {
        answers.sort_unstable();
        asked.sort_unstable();
    }
    assert_eq!(answers, asked, "answers to other requests");
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}

fn read(line: &[u8]) -> Response {
    let response: Response = serde_json::from_slice(line).expect("an answer is a line of JSON");
    assert!(response.ok.is_some() != response.error.is_some(), "{response:?}");
    response
}

/// Whatever a program answers is read or refused, and what is read is written again.
fn answers(bytes: &[u8]) {
    for line in lines(bytes) {
        if let Ok(request) = serde_json::from_slice::<Request>(line) {
            let text = serde_json::to_string(&request).expect("JSON");
            assert_eq!(serde_json::from_str::<Request>(&text).expect("a request"), request);
            assert!(!request.op.name().is_empty());
        }
        let Ok(Response { ok: Some(ok), .. }) = serde_json::from_slice(line) else { continue };
        for name in ["hello", "open", "store", "recall", "synthesize", "forget", "stats", "close"] {
            if let Ok(answer) = Answer::parse(name, ok.clone()) {
                let _ = (answer.times(), answer.hits().len());
                let again = serde_json::to_value(&answer).expect("JSON");
                Answer::parse(name, again).expect("it is read as it was written");
            }
        }
    }
}

fn system_toml(bytes: &[u8]) {
    let folder = scratch();
    fs::create_dir(folder.path().join("system")).expect("a folder");
    fs::write(folder.path().join("system").join(adapter::FILE), bytes).expect("a file");
    for adapter in Adapter::find(folder.path()).into_iter().flatten() {
        for variant in adapter.variants() {
            let _ = (adapter.command(&variant), adapter.missing(&variant));
        }
        let _ = (adapter.build(), adapter.digest().expect("a digest"));
    }
}

/// A system that opens no folder but its own, whatever it is told.
struct Confined<S> {
    system: S,
    clients: usize,
    folder: TempDir,
}

impl<S: MemorySystem> MemorySystem for Confined<S> {
    fn hello(&self) -> Hello {
        Hello { clients: self.clients, ..self.system.hello() }
    }

    fn open(&mut self, _folder: &Path, memories: usize) -> Result<(), Refusal> {
        self.system.open(self.folder.path(), memories)
    }

    fn store(&self, key: &str, text: &str, time: Option<i64>) -> Result<(), Refusal> {
        self.system.store(key, text, time)
    }

    fn recall(&self, query: &str, k: usize) -> Result<Vec<Hit>, Refusal> {
        let hits = self.system.recall(query, k)?;
        assert!(hits.len() <= k);
        Ok(hits)
    }

    fn synthesize(&self, query: &str, k: usize) -> Result<(String, Vec<Hit>), Refusal> {
        self.system.synthesize(query, k)
    }

    fn forget(&self, key: &str) -> Result<bool, Refusal> {
        self.system.forget(key)
    }

    fn memories(&self) -> Option<u64> {
        self.system.memories()
    }

    fn close(&mut self) -> Result<(), Refusal> {
        self.system.close()
    }
}

/// An engine in memory: that of `mnemobench adapter` takes a tenth of a second to open.
#[derive(Default)]
struct Small(Option<Engine>);

impl Small {
    fn engine(&self) -> Result<&Engine, Refusal> {
        self.0.as_ref().ok_or_else(|| Refusal::invalid("expected `open` first"))
    }
}

impl MemorySystem for Small {
    fn hello(&self) -> Hello {
        Hello::default()
    }

    fn open(&mut self, _folder: &Path, _memories: usize) -> Result<(), Refusal> {
        self.0 = Some(Engine::in_memory(tiny().warm_capacity(64))?);
        Ok(())
    }

    fn store(&self, key: &str, text: &str, _time: Option<i64>) -> Result<(), Refusal> {
        self.engine()?.store(NewMemory::new(text).metadata("key", key))?;
        Ok(())
    }

    fn recall(&self, query: &str, k: usize) -> Result<Vec<Hit>, Refusal> {
        let recall = self.engine()?.recall(Query::text(query).limit(k))?;
        let hit = |hit: mnemocore::Hit| Hit { score: Some(hit.score.into()), ..Hit::default() };
        Ok(recall.hits.into_iter().map(hit).collect())
    }

    fn forget(&self, key: &str) -> Result<bool, Refusal> {
        let query = Query::text("boat").metadata("key", key).limit(1);
        let found = self.engine()?.recall(&query)?.hits.into_iter().next();
        Ok(match found {
            Some(hit) => self.engine()?.forget(hit.memory.id)?,
            None => false,
        })
    }

    fn memories(&self) -> Option<u64> {
        Some(self.0.as_ref()?.stats().total() as u64)
    }

    fn close(&mut self) -> Result<(), Refusal> {
        self.0 = None;
        Ok(())
    }
}
