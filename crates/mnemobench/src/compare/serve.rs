//! A memory system in Rust, and a server that speaks the protocol for it.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock, mpsc};
use std::time::Instant;

use serde_json::Value;

use super::protocol::{
    Answer, Forgotten, Hello, Hit, Op, Opened, Recalled, Refusal, Request, Response, Stats, Synthesized,
    Times,
};
use criterion_gate::measure::nanoseconds;

/// A store of memories to compare with others.
///
/// Methods return a [`Refusal`] on failure; `?` converts any error into one.
pub trait MemorySystem: Send + Sync {
    /// Describes the system. It is called before `open`.
    fn hello(&self) -> Hello;

    /// Opens the store in `folder`, which is empty or holds an earlier store. `memories` is the
    /// number of memories that will be stored.
    ///
    /// # Errors
    /// A [`Refusal`] if the store cannot be opened.
    fn open(&mut self, folder: &Path, memories: usize) -> Result<(), Refusal>;

    /// Stores a memory; `time` is in seconds since 1970 UTC.
    ///
    /// # Errors
    /// A [`Refusal`] if the memory is not stored.
    fn store(&self, key: &str, text: &str, time: Option<i64>) -> Result<(), Refusal>;

    /// Returns at most `k` memories that answer `query`, the best first.
    ///
    /// # Errors
    /// A [`Refusal`] if the search fails.
    fn recall(&self, query: &str, k: usize) -> Result<Vec<Hit>, Refusal>;

    /// Returns an answer as text, and the memories that it is made of.
    ///
    /// # Errors
    /// `Unsupported`, unless the system overrides it.
    fn synthesize(&self, query: &str, k: usize) -> Result<(String, Vec<Hit>), Refusal> {
        let _ = (query, k);
        Err(Refusal::unsupported("synthesize"))
    }

    /// Forgets a memory. Returns whether it existed.
    ///
    /// # Errors
    /// A [`Refusal`] if the memory cannot be deleted.
    fn forget(&self, key: &str) -> Result<bool, Refusal>;

    /// Returns the number of memories, or `None` if the system cannot count them.
    fn memories(&self) -> Option<u64>;

    /// Closes the store; `open` may be called again afterwards.
    ///
    /// # Errors
    /// A [`Refusal`] if the store cannot be closed.
    fn close(&mut self) -> Result<(), Refusal>;
}

/// Performs one operation and times the system's own call.
///
/// # Errors
/// The [`Refusal`] of the system.
pub fn answer<S: MemorySystem + ?Sized>(system: &RwLock<Box<S>>, op: &Op) -> Result<Answer, Refusal> {
    let read = || system.read().unwrap_or_else(PoisonError::into_inner);
    let write = || system.write().unwrap_or_else(PoisonError::into_inner);
    Ok(match op {
        Op::Hello { .. } => Answer::Hello(read().hello()),
        Op::Open { folder, memories, .. } => {
            let (_, times) = timed(|| write().open(folder, *memories))?;
            Answer::Opened(Opened { times, processes: Vec::new() })
        }
        Op::Store { key, text, time } => {
            let system = read();
            Answer::Done(timed(|| system.store(key, text, *time))?.1)
        }
        Op::Recall { query, k } => {
            let system = read();
            let (hits, times) = timed(|| system.recall(query, *k))?;
            Answer::Recalled(Recalled { times, hits })
        }
        Op::Synthesize { query, k } => {
            let system = read();
            let ((text, hits), times) = timed(|| system.synthesize(query, *k))?;
            Answer::Synthesized(Synthesized { times, text, hits })
        }
        Op::Forget { key } => {
            let (forgotten, times) = timed(|| read().forget(key))?;
            Answer::Forgotten(Forgotten { times, forgotten })
        }
        Op::Stats => Answer::Stats(Stats { memories: read().memories(), processes: Vec::new() }),
        Op::Close => Answer::Done(timed(|| write().close())?.1),
    })
}

fn timed<T>(call: impl FnOnce() -> Result<T, Refusal>) -> Result<(T, Times), Refusal> {
    let started = Instant::now();
    let result = call()?;
    Ok((result, Times { total_ns: nanoseconds(started.elapsed()), embed_ns: 0 }))
}

/// Speaks the protocol for `system` until `input` ends. Handles as many requests concurrently as
/// its `hello` declares.
///
/// # Errors
/// The operating system's, if `input` cannot be read or `output` cannot be written.
pub fn serve(
    system: Box<dyn MemorySystem>,
    input: impl BufRead,
    output: impl Write + Send,
) -> io::Result<()> {
    let workers = system.hello().clients.max(1);
    let (system, output) = (RwLock::new(system), Mutex::new(output));
    let (sender, lines) = mpsc::channel::<Vec<u8>>();
    let lines = Mutex::new(lines);
    let next = || lines.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
    let work = || {
        while let Some(line) = next() {
            let mut text = serde_json::to_string(&respond(&system, &line))?;
            text.push('\n');
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.write_all(text.as_bytes())?;
            output.flush()?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        // Read as bytes, so that one line that is not UTF-8 does not end the loop.
        let read: io::Result<()> = input.split(b'\n').try_for_each(|line| {
            let line = line?;
            // Sending cannot fail, because `lines` outlives the loop. Workers that failed to write
            // return their error below.
            if !line.trim_ascii().is_empty() {
                let _ = sender.send(line);
            }
            Ok(())
        });
        drop(sender);
        let written = workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())));
        read.and(written)
    })
}

fn respond(system: &RwLock<Box<dyn MemorySystem>>, line: &[u8]) -> Response {
    let value: Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        Err(error) => return refused(None, Refusal::invalid(format!("expected a line of JSON: {error}"))),
    };
    let id = value.get("id").and_then(Value::as_u64);
    let request = serde_json::from_value::<Request>(value).map_err(Refusal::invalid);
    let done = request.and_then(|request| answer(system, &request.op));
    match done.and_then(|answer| Ok(serde_json::to_value(answer)?)) {
        Ok(ok) => Response { id, ok: Some(ok), error: None },
        Err(refusal) => refused(id, refusal),
    }
}

fn refused(id: Option<u64>, refusal: Refusal) -> Response {
    Response { id, ok: None, error: Some(refusal) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::bm25::Bm25System;
    use crate::compare::engine::EngineSystem;
    use serde_json::json;

    fn talk(system: Box<dyn MemorySystem>, lines: &[String]) -> Vec<Value> {
        let mut output = Vec::new();
        serve(system, lines.join("\n").as_bytes(), &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        let mut answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        answers.sort_by_key(|answer| answer["id"].as_u64());
        answers
    }

    #[test]
    fn a_line_that_is_no_request_is_answered_and_the_next_one_too() {
        let lines = ["no JSON", r#"{"id":1,"op":"dance"}"#, r#"{"id":2,"op":"hello","protocol":1}"#];
        let answers = talk(Box::new(Bm25System::default()), &lines.map(str::to_owned));
        assert_eq!((&answers[0]["id"], &answers[0]["error"]["kind"]), (&Value::Null, &json!("invalid")));
        assert_eq!((&answers[1]["id"], &answers[1]["error"]["kind"]), (&json!(1), &json!("invalid")));
        assert_eq!(answers[2]["ok"]["protocol"], 1);
    }

    #[test]
    fn a_line_that_is_no_utf_8_is_answered_and_the_next_one_too() {
        let mut output = Vec::new();
        let input = b"{\"id\":1,\"op\":\"\xff\"}\n{\"id\":2,\"op\":\"stats\"}\n";
        serve(Box::new(Bm25System::default()), &input[..], &mut output).unwrap();
        let text = String::from_utf8(output).unwrap();
        let mut ids: Vec<Option<u64>> =
            text.lines().map(|line| serde_json::from_str::<Response>(line).unwrap().id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [None, Some(2)]);
        assert!(text.contains(r#""kind":"invalid""#), "{text}");
    }

    /// Calls the system directly, because `serve` may reorder concurrent requests.
    fn one_by_one(make: fn() -> Box<dyn MemorySystem>) {
        let folder = tempfile::tempdir().unwrap();
        let system = RwLock::new(make());
        let ask = |op: Op| answer(&system, &op);
        let open = || Op::Open {
            folder: folder.path().into(),
            embedder: crate::compare::protocol::Embedder::Hash,
            memories: 2,
        };
        assert!(ask(Op::Recall { query: "x".into(), k: 1 }).is_err(), "recall before open");
        ask(open()).unwrap();
        for (key, text) in
            [("a", "Anna sails on the lake"), ("b", "Ben bakes bread"), ("c", "Ben bakes bread")]
        {
            ask(Op::Store { key: key.into(), text: text.into(), time: Some(1_700_000_000) }).unwrap();
        }
        let find = |query: &str| -> Vec<String> {
            let answer = ask(Op::Recall { query: query.into(), k: 5 }).unwrap();
            answer.hits().iter().filter_map(|hit| hit.key.clone()).collect()
        };
        assert_eq!(find("Who sails?"), ["a"]);
        let mut both = find("Who bakes?");
        both.sort();
        assert_eq!(both, ["b", "c"]);
        ask(Op::Close).unwrap();
        ask(open()).unwrap();
        assert_eq!(find("Who sails?"), ["a"]);
        let forget = |key: &str| ask(Op::Forget { key: key.into() }).unwrap();
        assert!(matches!(forget("b"), Answer::Forgotten(Forgotten { forgotten: true, .. })));
        assert!(matches!(forget("b"), Answer::Forgotten(Forgotten { forgotten: false, .. })));
        assert_eq!(find("Who bakes?"), ["c"]);
        assert_eq!(ask(Op::Stats).unwrap(), Answer::Stats(Stats { memories: Some(2), processes: vec![] }));
        ask(Op::Close).unwrap();
        ask(open()).unwrap();
        assert_eq!(find("Who bakes?"), ["c"]);
    }

    #[test]
    fn our_own_systems_keep_and_forget_over_a_restart() {
        one_by_one(|| Box::new(EngineSystem::new()));
        one_by_one(|| Box::new(Bm25System::default()));
    }
}
