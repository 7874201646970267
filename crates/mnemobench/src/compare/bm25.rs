//! BM25 over a file of texts as a system of the comparison.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::protocol::{Hello, Hit, PROTOCOL, Refusal, capability};
use super::serve::MemorySystem;
use mnemocore_suite::bm25::Bm25;

/// Concurrent requests, the same as for the engine.
const CLIENTS: usize = 16;
const FILE: &str = "memories.jsonl";

/// Texts in a file and in memory. A store invalidates the index, because BM25 needs the average
/// length of all texts. The next recall rebuilds it.
#[derive(Default)]
pub struct Bm25System {
    open: Option<Mutex<Open>>,
    index: RwLock<Option<Index>>,
}

struct Open {
    file: File,
    /// Keys and texts in the order of storing; `None` for a forgotten memory.
    texts: Vec<(String, Option<String>)>,
    places: HashMap<String, usize>,
}

struct Index {
    bm25: Bm25,
    keys: Vec<String>,
}

/// A line of the file. A line without a text deletes the memory.
#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    text: Option<String>,
}

impl Open {
    fn note(&mut self, line: Line) {
        match self.places.get(&line.key).and_then(|&place| self.texts.get_mut(place)) {
            Some((_, text)) => *text = line.text,
            None => {
                self.places.insert(line.key.clone(), self.texts.len());
                self.texts.push((line.key, line.text));
            }
        }
    }

    fn write(&mut self, line: Line) -> Result<(), Refusal> {
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        self.note(line);
        Ok(())
    }

    fn holds(&self, key: &str) -> bool {
        let place = self.places.get(key).and_then(|&place| self.texts.get(place));
        place.is_some_and(|(_, text)| text.is_some())
    }
}

impl Bm25System {
    fn open(&self) -> Result<MutexGuard<'_, Open>, Refusal> {
        let open = self.open.as_ref().ok_or_else(|| Refusal::invalid("expected `open` first"))?;
        Ok(open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, line: Line) -> Result<(), Refusal> {
        self.open()?.write(line)?;
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    fn build(&self) -> Result<(), Refusal> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if index.is_none() {
            let open = self.open()?;
            let texts: Vec<(&str, &str)> =
                open.texts.iter().filter_map(|(key, text)| Some((key.as_str(), text.as_deref()?))).collect();
            let bm25 = Bm25::new(texts.iter().map(|&(_, text)| ("", text)));
            *index = Some(Index { bm25, keys: texts.iter().map(|&(key, _)| key.to_owned()).collect() });
        }
        Ok(())
    }
}

impl MemorySystem for Bm25System {
    fn hello(&self) -> Hello {
        let settings = [("k1", "1.5"), ("b", "0.75"), ("terms", "English stop words and stems")];
        let capabilities = ["store", "recall", capability::FORGET, capability::RESTART];
        Hello {
            protocol: PROTOCOL,
            system: "BM25".to_owned(),
            version: "crate bm25 2".to_owned(),
            path: "a file of texts; the first recall after a store builds the index over all of them"
                .to_owned(),
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            capabilities: capabilities.map(str::to_owned).into(),
            clients: CLIENTS,
            embedder: false,
            durability: "handed to the operating system".to_owned(),
        }
    }

    fn open(&mut self, folder: &Path, _memories: usize) -> Result<(), Refusal> {
        let path = folder.join(FILE);
        let lines = match File::open(&path) {
            Ok(file) => BufReader::new(file).lines().collect::<Result<Vec<_>, _>>()?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut open = Open { file, texts: Vec::new(), places: HashMap::new() };
        for line in lines {
            open.note(serde_json::from_str(&line)?);
        }
        self.open = Some(Mutex::new(open));
        self.index = RwLock::default();
        Ok(())
    }

    fn store(&self, key: &str, text: &str, _time: Option<i64>) -> Result<(), Refusal> {
        self.change(Line { key: key.to_owned(), text: Some(text.to_owned()) })
    }

    fn recall(&self, query: &str, k: usize) -> Result<Vec<Hit>, Refusal> {
        loop {
            if let Some(Index { bm25, keys }) = &*self.index.read().unwrap_or_else(PoisonError::into_inner) {
                let hit = |(at, score): (u32, f32)| Hit {
                    key: keys.get(at as usize).cloned(),
                    text: None,
                    score: Some(score.into()),
                };
                return Ok(bm25.search(query, k, None).into_iter().map(hit).collect());
            }
            self.build()?;
        }
    }

    fn forget(&self, key: &str) -> Result<bool, Refusal> {
        if !self.open()?.holds(key) {
            return Ok(false);
        }
        self.change(Line { key: key.to_owned(), text: None })?;
        Ok(true)
    }

    fn memories(&self) -> Option<u64> {
        let open = self.open().ok()?;
        Some(open.texts.iter().filter(|(_, text)| text.is_some()).count() as u64)
    }

    fn close(&mut self) -> Result<(), Refusal> {
        self.open = None;
        self.index = RwLock::default();
        Ok(())
    }
}
