//! Two processes open a damaged store at once.
//!
//! `MNEMO_RACES=2000 cargo test --test identity race` tries more often.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mnemocore::{Engine, Error, MemoryId};

use super::common::{copy, find, note, spread, tiny, word};
use super::damage;

const STORE: &str = "MNEMO_RACE_STORE";
const ROLE: &str = "MNEMO_RACE_ROLE";

/// Memories of the store when it is damaged.
const STORED: usize = 24;

fn races() -> u64 {
    std::env::var("MNEMO_RACES").map_or(200, |number| number.parse().unwrap())
}

/// Retries while another process has the store.
fn once_free<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match attempt() {
            Err(Error::Locked { .. }) => {}
            done => return done,
        }
    }
}

fn open_or_repair(store: &Path) -> Result<Engine, Error> {
    match Engine::open(store, tiny()) {
        Err(Error::Corrupt { .. }) => {
            Engine::repair(store, tiny())?;
            Engine::open(store, tiny())
        }
        opened => opened,
    }
}

#[test]
#[ignore = "the processes that the races start"]
fn racing_process() {
    let (Some(store), Ok(role)) = (std::env::var_os(STORE).map(PathBuf::from), std::env::var(ROLE)) else {
        return;
    };
    // Both wait for a byte from the parent, because starting a process takes longer than the race.
    std::io::stdin().read_exact(&mut [0]).unwrap();
    let engine = match role.as_str() {
        "repairs" => {
            let _ = Engine::repair(&store, tiny());
            return;
        }
        "repairs and stores" => {
            once_free(|| Engine::repair(&store, tiny())).unwrap();
            once_free(|| Engine::open(&store, tiny())).unwrap()
        }
        _ => once_free(|| open_or_repair(&store)).unwrap(),
    };
    let word = format!("w{}z", std::process::id());
    let id = engine.store(note(&word)).unwrap().id;
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{id} {word}").and_then(|()| out.flush()).unwrap();
    if role == "repairs and stores" {
        // Until the parent kills it.
        std::thread::sleep(Duration::from_secs(60));
    }
    std::process::abort();
}

fn start(store: &Path, role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "race::racing_process", "--nocapture", "--test-threads=1"])
        .env(STORE, store)
        .env(ROLE, role)
        // Other tests change the working folder of this process.
        .current_dir(store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn begin(child: &mut Child) {
    child.stdin.take().unwrap().write_all(b"!").unwrap();
}

/// Kills a process and returns the memory that it acknowledged.
fn acknowledged(mut child: Child) -> (MemoryId, String) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find_map(|line| line.split_once('@').map(|(_, line)| line.to_owned()));
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let line = line.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let (id, word) = line.split_once(' ').unwrap();
    (MemoryId(id.parse().unwrap()), word.to_owned())
}

/// Lets processes race for a damaged store, and checks that their acknowledged memories are there.
fn race(roles: [&str; 2], apart: impl Fn(u64) -> Duration) {
    let (sound, races) = (tempfile::tempdir().unwrap(), races());
    drop(spread(sound.path(), STORED));
    damage(sound.path());
    for round in 0..races {
        let store = tempfile::tempdir().unwrap();
        copy(sound.path(), store.path());
        let [mut first, mut second] = roles.map(|role| start(store.path(), role));
        begin(&mut first);
        std::thread::sleep(apart(round));
        begin(&mut second);
        let mut storing = vec![first];
        if roles[1] == "repairs" {
            second.wait().unwrap();
        } else {
            storing.push(second);
        }
        let found: Vec<_> = storing.into_iter().map(acknowledged).collect();
        let engine = once_free(|| open_or_repair(store.path())).unwrap();
        for (id, word) in &found {
            let kept = find(&engine, word);
            assert_eq!(kept, Some((*id, note(word))), "round {round}: an acknowledged memory is gone");
        }
        for number in 0..STORED {
            assert_eq!(find(&engine, &word(number)).map(|(_, text)| text), Some(note(&word(number))));
        }
        assert_eq!(engine.stats().total(), STORED + found.len(), "round {round}");
    }
}

#[test]
fn two_repairs_at_once_lose_nothing_that_is_stored_after_the_first() {
    race(["repairs and stores", "repairs"], |_| Duration::from_millis(5));
}

#[test]
fn two_processes_that_open_or_repair_at_once_lose_nothing_that_either_stores() {
    race(["opens or repairs", "opens or repairs"], |round| Duration::from_micros(500 * (round % 40)));
}
