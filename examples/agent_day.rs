//! A day of an agent's notes: stored, found again after a restart, put
//! together, and forgotten.
//!
//! ```sh
//! cargo run --example agent_day              # in a temporary folder
//! cargo run --example agent_day -- my-notes  # in a folder that stays
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};

use mnemocore::{Config, Engine, NewMemory, Query, Recall, SynthesisKind, Timestamp};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// The day's events: hour and minute, kind of note, importance, and the text that the agent wrote
/// down.
const NOTES: [(i64, i64, &str, f32, &str); 10] = [
    (8, 5, "person", 2.0, "Marta Kern runs the violin workshop in Cremona"),
    (8, 20, "person", 3.0, "Marta is allergic to walnuts and carries an adrenaline pen"),
    (9, 0, "plan", 1.0, "Dinner with Marta and Jonas on Friday at eight, at the Trattoria Cerri"),
    (9, 45, "plan", 1.0, "The flight to Milan leaves on Thursday at 7:10 from gate B22"),
    (11, 30, "fact", 0.5, "The rental car has a manual gearbox"),
    (13, 10, "preference", 1.0, "Jonas would like the blue guest room"),
    (15, 40, "preference", 1.0, "Jonas changed his mind: he would like the guest room with the balcony"),
    (16, 5, "fact", 2.0, "The workshop's insurance policy is number KX-4471, valid until March"),
    (17, 25, "fact", 1.0, "The code of the apartment's key box is 9034"),
    (18, 0, "plan", 1.0, "Buy strings for the cello before Saturday's rehearsal"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::args_os().nth(1).map_or_else(|| temporary.path().join("notes"), PathBuf::from);

    write_down_the_day(&folder)?;
    println!("The agent stops, and starts again.");

    let engine = Engine::open(&folder, Config::from_env())?;
    println!("{} memories are there again.", engine.stats().total());

    heading("Recall");
    ask(&engine, "Where is Marta's workshop?", |query| query.limit(1))?;
    // Both wishes come back, with their times: the later one counts.
    ask(&engine, "Which guest room would Jonas like?", |query| query.limit(2))?;

    heading("Recall among plans, and among the afternoon's notes");
    ask(&engine, "What is on with Marta?", |query| query.metadata("kind", "plan"))?;
    ask(&engine, "What was said about the workshop?", |query| query.created(today(12, 0)..today(24, 0)))?;

    heading("Synthesize");
    answer(&engine, "Can the trattoria serve Marta dinner with walnuts?")?;
    answer(&engine, "When does the flight to Milan leave?")?;
    answer(&engine, "What is the name of the dentist's receptionist?")?;

    heading("Forget");
    forget(&engine, "the code of the key box")
}

/// Stores the notes, as an agent does while the day goes by.
fn write_down_the_day(folder: &Path) -> Result<(), mnemocore::Error> {
    let engine = Engine::open(folder, Config::from_env())?;
    for (hour, minute, kind, importance, text) in NOTES {
        let note =
            NewMemory::new(text).metadata("kind", kind).importance(importance).created(today(hour, minute));
        engine.store(note)?;
    }
    println!("{} notes are stored in {}.", NOTES.len(), folder.display());
    // Dropping the engine closes it. What was stored is safe before that.
    Ok(())
}

fn ask(engine: &Engine, question: &str, narrow: impl FnOnce(Query) -> Query) -> Result<(), mnemocore::Error> {
    println!("> {question}");
    let Recall { hits, confidence, .. } = engine.recall(narrow(Query::text(question)))?;
    for hit in hits {
        println!("  {}  {}", clock(hit.memory.created), hit.memory.text);
    }
    println!("  (confidence {confidence:.2})");
    Ok(())
}

fn answer(engine: &Engine, question: &str) -> Result<(), mnemocore::Error> {
    println!("> {question}");
    let synthesis = engine.synthesize(question)?;
    match synthesis.kind {
        SynthesisKind::Nothing => println!("  Nobody has told me."),
        _ => {
            for line in synthesis.text.lines() {
                println!("  {line}");
            }
            let (memories, confidence) = (synthesis.fragments.len(), synthesis.confidence);
            println!("  (from {memories} of the memories, confidence {confidence:.2})");
        }
    }
    Ok(())
}

/// Forgets the memory that fits best.
fn forget(engine: &Engine, what: &str) -> Result<(), Box<dyn Error>> {
    println!("> Forget {what}.");
    let query = Query::text(what).limit(1);
    let recall = engine.recall(&query)?;
    let hit = recall.hits.first().ok_or("there is nothing to forget")?;
    engine.forget(hit.memory.id)?;
    println!("  Forgotten: {}", hit.memory.text);

    let again = engine.recall(&query)?;
    println!("  Asked again: {}", if again.is_answerable() { "still there" } else { "no such memory" });
    // No recall reads its text any more; now it leaves the disk as well.
    engine.compact()?;
    println!("  Compacted; {} memories are left.", engine.stats().total());
    Ok(())
}

fn heading(title: &str) {
    println!("\n== {title}");
}

/// A time of this day, UTC.
fn today(hour: i64, minute: i64) -> Timestamp {
    let now = Timestamp::now().0;
    Timestamp(now - now % DAY + (60 * hour + minute) * MINUTE)
}

/// The time of day, UTC.
fn clock(time: Timestamp) -> String {
    let minutes = time.0.rem_euclid(DAY) / MINUTE;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}
