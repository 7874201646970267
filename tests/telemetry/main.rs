//! Spans, events, counters and errors of upkeep: what an operator sees, and what nobody must see.

#[path = "../common/mod.rs"]
mod common;

mod collector;
mod upkeep;

use std::sync::Barrier;
use std::time::Duration;

use collector::{Entry, entries, listen};
use common::tiny;
use mnemocore::{Engine, Error, MemoryId, Namespace, NewMemory, Query};
use tracing::Level;

/// Words of texts, of metadata and of queries, none of which may be told.
const SECRETS: [&str; 5] = ["quokka", "zeppelin", "habitatkey", "xenolith", "moonlit"];

fn memory(text: &str) -> NewMemory {
    NewMemory::new(text).metadata("habitatkey", "xenolith")
}

/// The spans of a verb, each with what was told of its end.
fn calls(verb: &str, namespace: &str) -> Vec<(Entry, Vec<Entry>)> {
    let (all, namespace) = (entries(), format!(" namespace={namespace} "));
    let is_told = |told: &&Entry, span: &Entry| told.within == span.id && told.id.is_none();
    let spans = all.iter().filter(|span| span.name == verb && span.fields.contains(&namespace));
    spans
        .map(|span| (span.clone(), all.iter().filter(|told| is_told(told, span)).cloned().collect()))
        .collect()
}

#[test]
fn each_verb_has_a_span_with_its_namespace_and_no_text_is_told() {
    listen();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let engine = Engine::open(&path, tiny()).unwrap();
    let owner = Namespace::new("owner-of-verbs").unwrap();
    let scope = engine.scope(owner.clone());

    // What succeeds, by a scope and by the engine.
    let first = scope.store(memory("The quokka sleeps under the zeppelin")).unwrap().id;
    let second = engine.store(memory("The quokka is awake").namespace(owner.clone())).unwrap().id;
    let batch = (0..3).map(|number| memory(&format!("A moonlit quokka number {number}")));
    let batch = scope.store_batch(batch.collect()).unwrap();
    let query = || Query::text("Where does the moonlit quokka sleep?").metadata("habitatkey", "xenolith");
    assert!(!scope.recall(query()).unwrap().hits.is_empty());
    scope.synthesize(query()).unwrap();
    for id in [first, second] {
        assert!(scope.get(id).unwrap().is_some() && engine.get(id).unwrap().is_some());
        assert!(scope.vector(id).unwrap().is_some() && engine.vector(id).unwrap().is_some());
    }
    engine.recall(Query::vector(engine.vector(first).unwrap().unwrap()).namespace(owner.clone())).unwrap();
    assert!(scope.forget(first).unwrap() && engine.forget(second).unwrap());
    engine.consolidate().unwrap();
    engine.compact().unwrap();

    // What fails.
    let long = "quokka ".repeat(20_000);
    assert!(matches!(scope.store(memory(&long)), Err(Error::TextTooLong { .. })));
    assert!(scope.store(memory("quokka").metadata("habitatkey", "xenolith".repeat(10_000))).is_err());
    assert!(scope.store(memory("quokka").importance(f32::NAN)).is_err());
    assert!(scope.store_batch(vec![memory("quokka"), memory(" ")]).is_err());
    assert!(scope.recall(long.as_str()).is_err() && scope.synthesize(long.as_str()).is_err());
    let moved = folder.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    // An engine looks every 10 ms.
    std::thread::sleep(Duration::from_millis(50));
    assert!(matches!(scope.store(memory("The quokka is late")), Err(Error::Moved { .. })));
    assert!(scope.forget(batch[0].id).is_err() && engine.consolidate().is_err());
    drop(engine);
    Engine::open(&moved, tiny()).unwrap().close().unwrap();

    for verb in ["store", "store_batch", "recall", "synthesize", "get", "vector", "forget"] {
        let calls = calls(verb, owner.as_str());
        let ends = |end: &str| {
            let is_told = |told: &[Entry]| told.iter().any(|told| told.fields.contains(end));
            calls.iter().filter(|(_, told)| is_told(told)).count()
        };
        assert!(calls.iter().all(|(span, _)| span.level == Level::DEBUG), "{verb}");
        assert!(ends(" message=done ") > 0, "{verb}: {calls:?}");
        let fails = !["get", "vector"].contains(&verb);
        assert_eq!(ends(" message=failed ") > 0, fails, "{verb}: {calls:?}");
        assert_eq!(ends(" micros="), calls.len(), "{verb}: {calls:?}");
    }
    let recalls = calls("recall", owner.as_str());
    assert!(recalls[0].1[0].fields.contains(" memories=5  hot=5  warm=0  cold=0 "), "{recalls:?}");
    // By its id, nobody names a namespace: the engine finds it.
    assert_eq!(calls("get", owner.as_str()).len(), 4);
    for verb in ["consolidate", "compact", "close"] {
        assert!(entries().iter().any(|span| span.name == verb), "{verb}");
    }
    for entry in entries() {
        let told = entry.fields.to_lowercase();
        assert!(!SECRETS.iter().any(|secret| told.contains(secret)), "{entry:?}");
    }
}

#[test]
fn counters_say_what_was_done_and_what_failed() {
    let engine = Engine::in_memory(tiny().hot_capacity(4)).unwrap();
    let batch = (0..20).map(|number| NewMemory::new(format!("number {number}")));
    let stored = engine.store_batch(batch.collect()).unwrap();
    engine.store("number 20").unwrap();
    engine.recall("number").unwrap();
    engine.synthesize("number").unwrap();
    engine.forget_batch([stored[0].id, stored[1].id, MemoryId(1_000)]).unwrap();
    assert!(engine.store(" ").is_err() && engine.recall("").is_err() && engine.synthesize("").is_err());
    let done = engine.consolidate().unwrap();
    let counters = engine.counters();
    assert_eq!((counters.stores, counters.forgets), (21, 2));
    assert_eq!((counters.recalls, counters.synthesizes, counters.failures), (1, 1, 3));
    assert_eq!((counters.upkeep_passes, counters.upkeep_failures), (1, 0));
    // The stores have moved what did not fit.
    assert!(counters.demoted > done.demoted as u64 && done.demoted > 0, "{counters:?}, {done:?}");
    assert_eq!((counters.merged, counters.promoted), (done.merged as u64, done.promoted as u64));
    assert_eq!(counters.retries, 0);
    let named: Vec<(&str, u64)> = counters.named().collect();
    assert!(named.contains(&("stores", 21)) && named.contains(&("upkeep_passes", 1)), "{named:?}");
}

#[test]
fn no_count_of_many_threads_is_lost() {
    const THREADS: usize = 8;
    const CALLS: usize = 200;
    let engine = Engine::in_memory(tiny()).unwrap();
    engine.store("The lamp of the lighthouse").unwrap();
    let together = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                together.wait();
                (0..CALLS).for_each(|_| drop(engine.recall("lamp").unwrap()));
            });
        }
    });
    assert_eq!(engine.counters().recalls, (THREADS * CALLS) as u64);
}

/// The key of the bucket is in the settings, and in the headers of each request.
#[cfg(feature = "object-store")]
#[test]
fn retries_are_told_within_the_span_of_the_call_and_without_credentials() {
    use mnemocore::{Bucket, RemoteLimits};

    listen();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let settings = [
        ("AWS_ENDPOINT", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "wombatkey"),
        ("AWS_SECRET_ACCESS_KEY", "wombatsecret"),
    ];
    let limits = RemoteLimits { call: Duration::from_secs(5), attempts: 3, pause: Duration::from_millis(1) };
    let bucket = Bucket::with("s3://no-such-bucket/agents", &settings, limits).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let span = tracing::info_span!(target: "mnemocore-test", "caller");
    let opened = span.in_scope(|| Engine::open_bucket(bucket, tiny().cache_folder(cache.path())));
    assert!(matches!(opened.map(drop), Err(Error::Unreachable { attempts: 3, .. })));
    let all = entries();
    let ours: Vec<&Entry> = all.iter().filter(|told| told.fields.contains("no-such-bucket")).collect();
    let count = |level: Level, message: &str| {
        ours.iter().filter(|told| told.level == level && told.fields.contains(message)).count()
    };
    assert_eq!((count(Level::INFO, "tried again"), count(Level::WARN, "given up")), (2, 1), "{ours:?}");
    assert!(ours.iter().all(|told| told.within == span.id().map(|id| id.into_u64())), "{ours:?}");
    assert!(!all.iter().any(|told| told.fields.contains("wombat")));
}
