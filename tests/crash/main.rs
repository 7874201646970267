//! A process that stores, recalls, forgets, moves and compacts is killed at
//! random moments; what it had acknowledged must be there again.
//!
//! `MNEMO_CRASHES=1000 cargo test --test crash` kills more often.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "postgres")]
#[path = "../common/postgres.rs"]
mod postgres;
#[cfg(feature = "object-store")]
#[path = "../common/servers.rs"]
mod servers;
mod storage;

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::acknowledged::{Stored, namespaces};
use common::{everything, note, tiny};
use fastrand::Rng;
use mnemocore::{Config, Durability, Engine, MemoryId, Query, Timestamp};
use storage::{Folder, Storage};

const PLACE: &str = "MNEMO_CRASH_PLACE";
const SEED: &str = "MNEMO_CRASH_SEED";

/// Kills of one store before a new one is begun.
const KILLS_PER_STORE: u64 = 12;

fn config(seed: u64) -> Config {
    let durability = if seed.is_multiple_of(2) { Durability::Buffered } else { Durability::Synced };
    tiny().durability(durability).background(true)
}

/// A memory as the reports of the writing process name it.
fn report_of(one: &Stored) -> String {
    format!("{}/{}/{}/{}", one.namespace, one.word, one.importance, one.ballast)
}

fn parse(report: &str) -> Stored {
    let mut parts = report.split('/');
    let mut next = || parts.next().expect("four parts");
    Stored {
        namespace: next().parse().unwrap(),
        word: next().into(),
        importance: next().parse().unwrap(),
        ballast: next().parse().unwrap(),
    }
}

/// Reports a line to the parent process.
fn report(line: String) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{line}").and_then(|()| out.flush()).unwrap();
}

#[test]
#[ignore = "the process that `acknowledged_operations_survive_kills` starts and kills"]
fn writing_process() {
    let (Ok(place), Ok(seed)) = (std::env::var(PLACE), std::env::var(SEED)) else { return };
    let seed: u64 = seed.parse().unwrap();
    let mut random = Rng::with_seed(seed);
    let engine = Engine::open(&place, config(seed)).unwrap();
    report("ready".into());
    let (mut mine, mut number): (Vec<(MemoryId, String)>, u64) = (Vec::new(), 0);
    loop {
        match random.u32(0..100) {
            0..60 => {
                let count = if random.u8(0..5) == 0 { random.u64(2..40) } else { 1 };
                let some: Vec<Stored> =
                    (0..count).map(|at| Stored::random(&mut random, seed, number + at)).collect();
                number += count;
                let reports: Vec<String> = some.iter().map(report_of).collect();
                report(format!("storing {}", reports.join(" ")));
                let ids = if let [one] = &some[..] {
                    vec![engine.store(one.memory()).unwrap()]
                } else {
                    engine.store_batch(some.iter().map(Stored::memory).collect()).unwrap()
                };
                let numbers: Vec<String> = ids.iter().map(|stored| stored.id.to_string()).collect();
                report(format!("stored {}", numbers.join(" ")));
                mine.extend(ids.iter().map(MemoryId::from).zip(some.into_iter().map(|one| one.word)));
            }
            60..75 if !mine.is_empty() => {
                // The newest most often: its id must not be given again.
                let at = mine.len() - 1 - random.usize(0..mine.len()).min(random.usize(0..20));
                let (id, _) = mine.remove(at);
                report(format!("forgetting {id}"));
                assert!(engine.forget(id).unwrap());
                report("forgotten".into());
            }
            75..90 if !mine.is_empty() => {
                let (_, word) = &mine[random.usize(0..mine.len())];
                for namespace in namespaces() {
                    engine.recall(Query::text(word).namespace(namespace).limit(2)).unwrap();
                }
            }
            90..96 => {
                engine.consolidate().unwrap();
            }
            96..98 => {
                let days = random.i64(0..500) * 86_400_000;
                engine.consolidate_at(Timestamp(Timestamp::now().0 + days)).unwrap();
            }
            98..100 => engine.compact().unwrap(),
            _ => {}
        }
    }
}

/// Memories that must be in the store, and memories that may be.
#[derive(Default)]
struct Expected {
    stored: BTreeMap<MemoryId, Stored>,
    forgotten: HashSet<MemoryId>,
    /// What the process is doing.
    current: Operation,
    /// What processes were doing when they were killed, as far as nobody has opened the store for writing since:
    /// a request that was on its way to a bucket may still arrive.
    interrupted: Vec<Operation>,
    acknowledged: u64,
}

/// An operation that was announced.
#[derive(Default)]
struct Operation {
    /// All of a namespace will be there, or none.
    storing: Vec<Stored>,
    forgetting: Option<MemoryId>,
}

impl Expected {
    fn read(&mut self, line: &str) {
        let Some((_, line)) = line.split_once('@') else { return };
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "storing" => self.current.storing = rest.split(' ').map(parse).collect(),
            "stored" => {
                let ids: Vec<MemoryId> = rest.split(' ').map(|id| MemoryId(id.parse().unwrap())).collect();
                assert_eq!(ids.len(), self.current.storing.len());
                for (id, one) in ids.into_iter().zip(std::mem::take(&mut self.current.storing)) {
                    assert!(!self.forgotten.contains(&id), "id {id} was given again");
                    assert!(self.stored.insert(id, one).is_none(), "id {id} was given twice");
                    self.acknowledged += 1;
                }
            }
            "forgetting" => self.current.forgetting = Some(MemoryId(rest.parse().unwrap())),
            "forgotten" => {
                let id = self.current.forgetting.take().expect("announced");
                assert!(self.stored.remove(&id).is_some());
                self.forgotten.insert(id);
                self.acknowledged += 1;
            }
            _ => {}
        }
    }

    /// Compares with the store, and learns the outcomes of the interrupted operations. They may still change if
    /// the store was opened to be read.
    fn check(&mut self, engine: &Engine, is_writable: bool) {
        self.interrupted.push(std::mem::take(&mut self.current));
        let mut found = 0;
        for (number, namespace) in namespaces().into_iter().enumerate() {
            let mut arrived = vec![0; self.interrupted.len()];
            let all = everything(engine, &namespace);
            assert!(all.windows(2).all(|two| two[0].0 != two[1].0), "a memory was recalled twice");
            for (id, text) in &all {
                assert!(!self.forgotten.contains(id), "forgotten memory {id} is back");
                if let Some(one) = self.stored.get(id) {
                    assert_eq!((one.namespace, note(&one.word)), (number, text.clone()));
                    continue;
                }
                let storing = |operation: &Operation| {
                    operation.storing.iter().find(|one| note(&one.word) == *text).cloned()
                };
                let operations = self.interrupted.iter().zip(&mut arrived);
                let one =
                    operations.filter_map(|(operation, arrived)| Some((storing(operation)?, arrived))).next();
                let (one, arrived) = one.unwrap_or_else(|| panic!("{text:?} was never stored"));
                assert_eq!(one.namespace, number);
                self.stored.insert(*id, one);
                *arrived += 1;
            }
            for (operation, arrived) in self.interrupted.iter().zip(arrived) {
                let whole = operation.storing.iter().filter(|one| one.namespace == number).count();
                assert!(arrived == 0 || arrived == whole, "{arrived} of {whole} of a batch");
            }
            found += all.len();
        }
        for id in self.interrupted.iter().filter_map(|operation| operation.forgetting) {
            if engine.get(id).unwrap().is_none() && self.stored.remove(&id).is_some() {
                self.forgotten.insert(id);
            }
        }
        if is_writable {
            self.interrupted.clear();
        }
        let lost: Vec<_> = self.stored.keys().filter(|&&id| engine.get(id).unwrap().is_none()).collect();
        assert_eq!((found, lost), (self.stored.len(), Vec::new()), "memories were lost");
        for (&id, one) in &self.stored {
            one.check(engine, id);
        }
        for &id in &self.forgotten {
            assert_eq!(engine.get(id).unwrap(), None);
        }
        let stats = engine.stats();
        assert_eq!(stats.total(), self.stored.len());
        assert_eq!(stats.namespaces.iter().map(|(_, count)| count).sum::<usize>(), self.stored.len());
    }
}

fn start(storage: &dyn Storage, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "writing_process", "--nocapture", "--test-threads=1"])
        .env(PLACE, storage.place())
        .envs(storage.variables())
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the writing process, kills it, and records what it acknowledged.
fn run_and_kill(storage: &dyn Storage, seed: u64, random: &mut Rng, expected: &mut Expected) {
    let mut child = start(storage, seed);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // One in ten is killed while it opens the store.
    if random.u8(0..10) > 0 {
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("@ready"));
        if !ready {
            let output = child.wait_with_output().unwrap();
            panic!("round {seed} could not open: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<String>>());
    std::thread::sleep(Duration::from_millis(random.u64(2..200)));
    child.kill().unwrap();
    let lines = reader.join().unwrap();
    let output = child.wait_with_output().unwrap();
    let ended_alone = output.status.code().is_some();
    assert!(!ended_alone, "round {seed}: {}", String::from_utf8_lossy(&output.stderr));
    lines.iter().for_each(|line| expected.read(line));
}

/// Kills processes that use stores built by `make`, and checks these stores.
fn kill(default: u64, make: impl Fn(u64) -> Box<dyn Storage>) {
    let crashes: u64 = std::env::var("MNEMO_CRASHES").map_or(default, |number| number.parse().unwrap());
    let first: u64 = std::env::var("MNEMO_CRASH_FIRST").map_or(1, |number| number.parse().unwrap());
    let mut random = Rng::with_seed(first);
    let mut acknowledged = 0;
    let mut done = 0;
    while done < crashes {
        let storage = make(done);
        let mut expected = Expected::default();
        for _ in 0..KILLS_PER_STORE.min(crashes - done) {
            done += 1;
            run_and_kill(&*storage, first * 1_000_000 + done, &mut random, &mut expected);
            let config = config(done).background(false);
            storage.open(config, &mut random, &mut |engine, is_writable| expected.check(engine, is_writable));
        }
        acknowledged += expected.acknowledged;
    }
    println!("{done} kills, {acknowledged} acknowledged stores and forgets");
    assert!(acknowledged > crashes, "the processes hardly did anything");
}

#[test]
fn acknowledged_operations_survive_kills() {
    kill(50, |_| Box::new(Folder(tempfile::tempdir().unwrap())));
}

#[cfg(feature = "object-store")]
#[test]
fn acknowledged_operations_survive_kills_in_a_shared_folder() {
    let folder = tempfile::tempdir().unwrap();
    kill(24, |number| {
        let url = format!("file://{}/{number}", folder.path().display());
        let bucket = mnemocore::Bucket::at(&url, Default::default()).unwrap();
        Box::new(storage::Objects { bucket, variables: Vec::new(), cache: tempfile::tempdir().unwrap() })
    });
}

#[cfg(feature = "object-store")]
fn acknowledged_operations_survive_kills_in_a_bucket(kind: servers::Kind) {
    let Some(server) = servers::Server::shared(kind) else { return };
    kill(24, |_| {
        let bucket = server.bucket(&server.new_folder());
        let cache = tempfile::tempdir().unwrap();
        Box::new(storage::Objects { bucket, variables: server.variables(), cache })
    });
}

#[cfg(feature = "object-store")]
#[test]
fn acknowledged_operations_survive_kills_in_a_bucket_of_moto() {
    acknowledged_operations_survive_kills_in_a_bucket(servers::Kind::Moto);
}

#[cfg(feature = "object-store")]
#[test]
fn acknowledged_operations_survive_kills_in_a_bucket_of_seaweedfs() {
    acknowledged_operations_survive_kills_in_a_bucket(servers::Kind::Seaweedfs);
}

#[cfg(feature = "object-store")]
#[test]
fn acknowledged_operations_survive_kills_in_a_container_of_azurite() {
    acknowledged_operations_survive_kills_in_a_bucket(servers::Kind::Azurite);
}

#[cfg(feature = "object-store")]
#[test]
fn acknowledged_operations_survive_kills_in_a_bucket_of_fake_gcs_server() {
    acknowledged_operations_survive_kills_in_a_bucket(servers::Kind::Gcs);
}

#[cfg(feature = "postgres")]
#[test]
fn acknowledged_operations_survive_kills_with_warm_in_a_database() {
    let Some(server) = postgres::shared() else { return };
    kill(24, |_| Box::new(storage::WarmElsewhere { folder: tempfile::tempdir().unwrap(), server }));
    assert!(!server.ask("SELECT store FROM mnemo_stores").is_empty(), "WARM was elsewhere");
}
