//! Records of roles: the parts of a memory, bound into one hypervector, so that a query can name
//! any of them.
//!
//! ```sh
//! cargo run --example roles
//! ```

use mnemocore::encoder::Document;
use mnemocore::{Config, Engine, NewMemory, Query};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::in_memory(Config::default())?;
    let encoder = engine.encoder();

    // The same words, in different roles.
    let events = [("Ada", "Bob"), ("Bob", "Ada"), ("Ada", "Carla")];
    for (teacher, pupil) in events {
        let roles = encoder.record(&[("teacher", teacher), ("pupil", pupil)])?;
        engine.store(NewMemory::new(format!("{teacher} teaches {pupil} to sail")).vector(roles))?;
    }

    // A query is a record of the roles that are known. The score is the
    // similarity: near 0 means unrelated.
    for (role, filler) in [("teacher", "Ada"), ("pupil", "Ada")] {
        let asked = encoder.record(&[(role, filler)])?;
        println!("{filler} as the {role}:");
        for hit in engine.recall(Query::vector(asked))?.hits {
            println!("  {:+.2}  {}", hit.score, hit.memory.text);
        }
    }

    // Binding a record with a role asks it for the filler.
    let record = encoder.record(&[("teacher", "Ada"), ("pupil", "Bob")])?;
    let answer = record.bind(&encoder.role("pupil"))?;
    println!("Who is the pupil in \"Ada teaches Bob\"?");
    for name in ["Ada", "Bob", "Carla"] {
        let candidate = encoder.encode(&Document::new(name).analyze()?)?;
        println!("  {:+.2}  {name}", answer.similarity(&candidate)?);
    }
    Ok(())
}
