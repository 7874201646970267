//! A server with several users, in tokio tasks. Each user has a scope, which reaches no memory of another user.
//!
//! ```sh
//! cargo run --features tokio --example async_agent
//! ```

use mnemocore::{AsyncEngine, AsyncScope, Config, Error, MemoryId, Namespace};

const USERS: [(&str, &str); 3] = [
    ("ada", "The door code of the studio is 4711"),
    ("bruno", "The door code of the boat house is 1234"),
    ("chiara", "The door code of the archive is 8080"),
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = AsyncEngine::in_memory(Config::default()).await?;

    // Only the server has the engine. A task has the scope of its user.
    let mut tasks = Vec::new();
    for (name, note) in USERS {
        tasks.push(tokio::spawn(serve(engine.scope(Namespace::new(name)?), note)));
    }
    for task in tasks {
        println!("{}", task.await??);
    }
    println!("{} memories of {} users", engine.stats().await.total(), USERS.len());
    Ok(())
}

/// Stores a note, asks for it, and returns what came back.
async fn serve(user: AsyncScope, note: &str) -> Result<String, Error> {
    user.store(note).await?;
    let recall = user.recall("What is the door code?").await?;
    let found: Vec<&str> = recall.hits.iter().map(|hit| hit.memory.text.as_str()).collect();

    // Ids are easy to guess. The scope finds its own memory only.
    let mut guessed = 0;
    for id in 0..USERS.len() as u64 {
        guessed += usize::from(user.get(MemoryId(id)).await?.is_some());
    }
    Ok(format!("{} remembers: {}. {guessed} id guessed", user.namespace(), found.join("; ")))
}
