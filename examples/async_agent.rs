//! The same engine from tokio tasks: many agents write and ask at once, each in
//! a namespace of its own.
//!
//! ```sh
//! cargo run --features tokio --example async_agent
//! ```

use mnemocore::{AsyncEngine, Config, Error, Namespace, NewMemory, Query};

const AGENTS: [(&str, &str); 3] = [
    ("ada", "The door code of the studio is 4711"),
    ("bruno", "The door code of the boat house is 1234"),
    ("chiara", "The door code of the archive is 8080"),
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = AsyncEngine::in_memory(Config::default()).await?;

    // A clone is another handle to the same engine. Stores that come together
    // are committed together.
    let tasks: Vec<_> =
        AGENTS.into_iter().map(|(name, note)| tokio::spawn(live(engine.clone(), name, note))).collect();
    for task in tasks {
        println!("{}", task.await??);
    }
    println!("{} memories in {} namespaces", engine.stats().await.total(), AGENTS.len());
    Ok(())
}

/// Stores a note, asks for it, and says what came back.
async fn live(engine: AsyncEngine, name: &str, note: &str) -> Result<String, Error> {
    let namespace = Namespace::new(name)?;
    engine.store(NewMemory::new(note).namespace(namespace.clone())).await?;

    let recall = engine.recall(Query::text("What is the door code?").namespace(namespace)).await?;
    // One hit: no recall crosses its namespace.
    let found: Vec<&str> = recall.hits.iter().map(|hit| hit.memory.text.as_str()).collect();
    Ok(format!("{name} remembers: {}", found.join("; ")))
}
