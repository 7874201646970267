//! SQLite's FTS5 with the porter stemmer.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::Connection;

use crate::{Outcome, System, TOP};

/// Texts of one transaction.
const BATCH: usize = 4_096;

pub struct Fts5 {
    connection: Connection,
    stop_words: HashSet<&'static str>,
}

impl Fts5 {
    pub fn open(folder: &Path) -> Outcome<Self> {
        let connection = Connection::open(folder.join("memories.db"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = wal; PRAGMA synchronous = normal; \
             CREATE VIRTUAL TABLE memories USING fts5(body, tokenize = 'porter unicode61');",
        )?;
        Ok(Self { connection, stop_words: mnemocore::internals::stop_words().collect() })
    }
}

impl System for Fts5 {
    fn load(&mut self, texts: &[String]) -> Outcome<()> {
        for texts in texts.chunks(BATCH) {
            let transaction = self.connection.transaction()?;
            for text in texts {
                transaction.prepare_cached("INSERT INTO memories (body) VALUES (?)")?.execute([text])?;
            }
            transaction.commit()?;
        }
        self.connection.execute_batch("PRAGMA wal_checkpoint(full)")?;
        Ok(())
    }

    fn merge(&mut self) -> Outcome<()> {
        self.connection.execute_batch("INSERT INTO memories (memories) VALUES ('optimize')")?;
        Ok(())
    }

    fn store(&mut self, text: &str) -> Outcome<()> {
        self.connection.prepare_cached("INSERT INTO memories (body) VALUES (?)")?.execute([text])?;
        Ok(())
    }

    fn recall(&mut self, question: &str) -> Outcome<Vec<u64>> {
        let words = question.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
        let counting = words.filter(|word| !word.is_empty() && !self.stop_words.contains(word.as_str()));
        let any: Vec<String> = counting.map(|word| format!("\"{word}\"")).collect();
        if any.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "SELECT rowid, body FROM memories WHERE memories MATCH ? ORDER BY rank LIMIT ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map((any.join(" OR "), TOP as i64), |row| {
            std::hint::black_box(row.get::<_, String>(1)?);
            row.get::<_, i64>(0)
        })?;
        // Rows are counted from 1.
        Ok(rows.map(|row| row.map(|number| (number - 1) as u64)).collect::<Result<_, _>>()?)
    }
}
