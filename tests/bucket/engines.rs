//! Engines over object storage do what they do over a folder.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use mnemocore::hdv::Dimension;
use mnemocore::{Bucket, Config, Engine, Error, MemoryId, Namespace, NewMemory, Query, RemoteLimits};

use super::common::{assert_complete, everything, find, note, tiny, word};
use super::faulty::{Faulty, LIMITS, on_every_server};

on_every_server! {
    memories_of_all_tiers_are_there_again_on_another_machine,
    a_segment_that_is_gone_from_the_bucket_is_named_and_a_machine_with_a_copy_puts_it_back,
    segments_that_were_replaced_go_from_the_bucket,
    a_snapshot_shows_what_was_stored_before_it_and_takes_nothing,
    a_snapshot_of_nothing_is_refused,
    an_engine_that_was_replaced_stores_nothing_and_goes_on_reading,
    an_engine_that_was_replaced_deletes_no_segment_of_the_one_that_replaced_it,
    an_engine_that_was_replaced_writes_no_segments,
    an_engine_of_other_settings_is_refused_and_replaces_nobody,
    while_the_bucket_is_away_stores_are_refused_recalls_answered_and_nothing_is_lost,
    recalls_alone_write_no_objects,
    a_store_that_does_not_fit_into_the_cache_says_how_large_it_is,
}

fn config(cache: &Path) -> Config {
    tiny().cache_folder(cache).remote(LIMITS)
}

fn open(objects: &Arc<Faulty>, cache: &Path) -> Engine {
    Engine::open_bucket(objects.bucket(LIMITS), config(cache)).unwrap()
}

pub(crate) fn fill(engine: &Engine, numbers: std::ops::Range<usize>) -> Vec<MemoryId> {
    let memories = numbers.map(|number| NewMemory::new(note(&word(number)))).collect();
    engine.store_batch(memories).unwrap().iter().map(MemoryId::from).collect()
}

/// A new store of sixty memories in all tiers, still open.
fn spread(objects: &Arc<Faulty>, cache: &Path) -> Engine {
    let engine = open(objects, cache);
    fill(&engine, 0..60);
    engine.consolidate().unwrap();
    engine
}

/// Another machine finds so many memories, and nothing of what was refused.
fn assert_complete_elsewhere(objects: &Arc<Faulty>, count: usize) {
    let cache = tempfile::tempdir().unwrap();
    let engine = open(objects, cache.path());
    assert_complete(&engine, count);
    assert_eq!(find(&engine, "refused").filter(|(_, text)| text.contains("refused")), None);
}

#[test]
fn memories_of_all_tiers_are_there_again_on_another_machine() {
    let objects = Faulty::new(1);
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = spread(&objects, here.path());
    let stats = engine.stats();
    assert!(stats.memories.iter().all(|&count| count > 0), "{stats:?}");
    drop(engine);
    let engine = open(&objects, there.path());
    assert_eq!(engine.stats().memories, stats.memories);
    assert!(engine.repaired_files().is_empty(), "segments are fetched, not made anew");
    assert_complete(&engine, 60);
}

#[test]
fn a_segment_that_is_gone_from_the_bucket_is_named_and_a_machine_with_a_copy_puts_it_back() {
    let objects = Faulty::new(1);
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = spread(&objects, here.path());
    drop(engine);
    let segments: Vec<String> = objects
        .contents()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.contains("/segments/"))
        .collect();
    assert!(!segments.is_empty());
    for cut in [false, true] {
        for name in &segments {
            let content = objects.contents().into_iter().find(|(other, _)| other == name).unwrap().1;
            objects.overwrite(name, cut.then(|| content[..content.len() - 100].into()));
        }
        fs::remove_dir_all(there.path()).unwrap();
        let refused = Engine::open_bucket(objects.bucket(LIMITS), config(there.path())).map(drop);
        assert!(
            matches!(refused, Err(Error::CorruptObject { ref object, .. }) if object.starts_with("segments/0000000000-")),
            "{refused:?}"
        );
        assert_complete(&open(&objects, here.path()), 60);
        assert_complete(&open(&objects, there.path()), 60);
    }
    // A copy that is damaged is fetched again.
    for path in super::common::files_ending(there.path(), "seg") {
        super::common::flip(&path, 100);
    }
    assert_complete(&open(&objects, there.path()), 60);
}

#[test]
fn segments_that_were_replaced_go_from_the_bucket() {
    let objects = Faulty::new(1);
    let here = tempfile::tempdir().unwrap();
    let engine = open(&objects, here.path());
    for round in 0..6 {
        fill(&engine, round * 30..(round + 1) * 30);
        engine.consolidate().unwrap();
    }
    engine.consolidate().unwrap();
    let segments = objects.contents().iter().filter(|(name, _)| name.contains("/segments/")).count();
    let files = super::common::files_ending(here.path(), "seg").len();
    assert_eq!(segments, files);
    drop(engine);
    assert_complete(&open(&objects, tempfile::tempdir().unwrap().path()), 180);
}

#[test]
fn a_compaction_rewrites_the_segments_of_all_namespaces() {
    let (objects, cache) = (Faulty::new(1), tempfile::tempdir().unwrap());
    let none = config(cache.path()).hot_capacity(0).warm_capacity(0);
    let engine = Engine::open_bucket(objects.bucket(LIMITS), none).unwrap();
    let mut dead = Vec::new();
    for number in 0..20 {
        let namespace = Namespace::new(format!("agent {number}")).unwrap();
        // Enough for a file of their own.
        let some = (0..520).map(|at| NewMemory::new(note(&word(at))).namespace(namespace.clone())).collect();
        dead.push(engine.store_batch(some).unwrap()[0]);
    }
    engine.consolidate().unwrap();
    let cold = || -> BTreeSet<String> {
        let names = objects.contents().into_iter().map(|(name, _)| name);
        names.filter(|name| name.contains("/segments/")).collect()
    };
    let before = cold();
    assert_eq!(before.len(), 20);
    engine.forget_batch(&dead).unwrap();
    engine.compact().unwrap();
    let after = cold();
    assert!(after.len() == 20 && after.is_disjoint(&before), "{after:?}");
}

#[test]
fn a_snapshot_shows_what_was_stored_before_it_and_takes_nothing() {
    let objects = Faulty::new(1);
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = open(&objects, here.path());
    fill(&writer, 0..40);
    writer.consolidate().unwrap();
    let snapshot = || Engine::open_snapshot(objects.bucket(LIMITS), config(there.path())).unwrap();
    let (reader, other) = (snapshot(), snapshot());
    fill(&writer, 40..50);
    assert_complete(&reader, 40);
    assert_complete(&other, 40);
    let refused = [
        reader.store("a memory").map(drop),
        reader.store_batch(vec![NewMemory::new("a memory")]).map(drop),
        reader.forget(MemoryId(0)).map(drop),
        reader.consolidate().map(drop),
        reader.compact(),
    ];
    for answer in refused {
        assert!(matches!(answer, Err(Error::ReadOnly { .. })), "{answer:?}");
    }
    drop(reader);
    assert_complete(&snapshot(), 50);
    writer.store("the writer goes on").unwrap();
}

#[test]
fn a_snapshot_of_nothing_is_refused() {
    let (objects, cache) = (Faulty::new(1), tempfile::tempdir().unwrap());
    let refused = Engine::open_snapshot(objects.bucket(LIMITS), config(cache.path())).map(drop);
    assert!(matches!(refused, Err(Error::NotAStore { .. })));
}

#[test]
fn an_engine_that_was_replaced_stores_nothing_and_goes_on_reading() {
    let objects = Faulty::new(1);
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = open(&objects, here.path());
    let ids = fill(&first, 0..30);
    let second = open(&objects, there.path());
    assert!(matches!(first.store("too late"), Err(Error::Fenced { .. })));
    assert!(matches!(first.forget(ids[0]), Err(Error::Fenced { .. })));
    assert_complete(&first, 30);
    assert!(second.forget(ids[0]).unwrap());
    fill(&second, 30..31);
    assert_eq!(second.stats().total(), 30);
    drop(first);
    drop(second);
    assert_eq!(everything(&open(&objects, here.path()), &Default::default()).len(), 30);
}

#[test]
fn an_engine_that_was_replaced_deletes_no_segment_of_the_one_that_replaced_it() {
    let objects = Faulty::new(1);
    let [here, there, elsewhere] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = open(&objects, here.path());
    let ids = fill(&first, 0..60);
    first.consolidate().unwrap();
    drop(first);
    let first = open(&objects, here.path());
    first.forget(ids[0]).unwrap();
    let second = open(&objects, there.path());
    // Both make the same segment of what is left, and one of them can commit it.
    second.consolidate().unwrap();
    assert!(matches!(first.consolidate(), Err(Error::Fenced { .. })));
    drop((first, second));
    assert!(open(&objects, elsewhere.path()).repaired_files().is_empty());
}

#[test]
fn writers_that_wait_for_a_bucket_that_is_away_are_told_together() {
    const WRITERS: usize = 16;
    let objects = Faulty::new(1);
    let here = tempfile::tempdir().unwrap();
    let limits = RemoteLimits { pause: Duration::from_millis(100), ..LIMITS };
    let bucket = objects.bucket(limits);
    let engine = Engine::open_bucket(bucket.clone(), config(here.path())).unwrap();
    objects.away(true);
    let before = bucket.traffic().requests;
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| assert!(matches!(engine.store("refused"), Err(Error::Unreachable { .. }))));
        }
    });
    // All but the first waited for it, and then for one another.
    let requests = bucket.traffic().requests - before;
    assert!(requests < WRITERS as u64, "{requests} requests");
    let counters = engine.counters();
    assert!(counters.failures == WRITERS as u64 && counters.retries > 0, "{counters:?}");
}

#[test]
fn an_engine_that_was_replaced_writes_no_segments() {
    let objects = Faulty::new(1);
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = open(&objects, here.path());
    fill(&first, 0..60);
    drop(open(&objects, there.path()));
    assert!(matches!(first.store("too late"), Err(Error::Fenced { .. })));
    let names = || objects.contents().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let before = names();
    for _ in 0..3 {
        assert!(matches!(first.consolidate(), Err(Error::Fenced { .. })));
    }
    drop(first);
    assert_eq!(names(), before);
}

#[test]
fn an_engine_of_other_settings_is_refused_and_replaces_nobody() {
    let objects = Faulty::new(1);
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let engine = open(&objects, here.path());
    let wrong = config(there.path()).dimension(Dimension::new(1024).unwrap());
    let refused = Engine::open_bucket(objects.bucket(LIMITS), wrong).map(drop);
    assert!(matches!(refused, Err(Error::Incompatible { .. })));
    engine.store("the writer goes on").unwrap();
}

#[test]
fn while_the_bucket_is_away_stores_are_refused_recalls_answered_and_nothing_is_lost() {
    let objects = Faulty::new(1);
    let here = tempfile::tempdir().unwrap();
    let engine = open(&objects, here.path());
    let ids = fill(&engine, 0..60);
    engine.consolidate().unwrap();
    objects.away(true);
    let error = engine.store(note("refused")).unwrap_err();
    assert!(matches!(error, Error::Unreachable { attempts: 3, .. }), "{error}");
    assert!(matches!(engine.forget(ids[0]), Err(Error::Unreachable { .. })));
    assert_complete(&engine, 60);
    let opened = Engine::open_bucket(objects.bucket(LIMITS), config(here.path())).map(drop);
    assert!(matches!(opened, Err(Error::Unreachable { .. })));
    objects.away(false);
    assert_complete(&engine, 60);
    fill(&engine, 60..90);
    // A move whose segment cannot be written leaves the memories where they were.
    objects.away(true);
    assert!(matches!(engine.consolidate(), Err(Error::Unreachable { .. })));
    assert!(matches!(engine.compact(), Err(Error::Unreachable { .. })));
    assert_complete(&engine, 90);
    objects.away(false);
    engine.compact().unwrap();
    assert_complete(&engine, 90);
    drop(engine);
    assert_complete_elsewhere(&objects, 90);
}

#[test]
fn what_the_bucket_forbids_is_told_at_once_and_nothing_is_lost() {
    let objects = Faulty::new(1);
    let here = tempfile::tempdir().unwrap();
    let engine = open(&objects, here.path());
    let ids = fill(&engine, 0..60);
    objects.forbid(true);
    let error = engine.store(note("refused")).unwrap_err();
    assert!(matches!(&error, Error::Refused { action: "write an object", .. }), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("test://agents/anna: refused to write an object: "), "{text}");
    assert!(text.contains("a role has expired"), "{text}");
    assert!(matches!(engine.forget(ids[0]), Err(Error::Refused { .. })));
    assert!(matches!(engine.consolidate(), Err(Error::Refused { .. })));
    let opened = Engine::open_bucket(objects.bucket(LIMITS), config(here.path())).map(drop);
    assert!(matches!(opened, Err(Error::Refused { .. })));
    assert_complete(&engine, 60);
    objects.forbid(false);
    fill(&engine, 60..90);
    assert_complete(&engine, 90);
    drop(engine);
    assert_complete_elsewhere(&objects, 90);
}

#[test]
fn recalls_alone_write_no_objects() {
    let objects = Faulty::new(1);
    let here = tempfile::tempdir().unwrap();
    let engine = open(&objects, here.path());
    fill(&engine, 0..5);
    let before = objects.contents();
    for number in 0..5 {
        engine.recall(Query::text(word(number))).unwrap();
    }
    engine.consolidate().unwrap();
    assert_eq!(objects.contents(), before);
    drop(engine);
    assert!(objects.contents() != before, "what was recalled is noted when the engine closes");
}

#[test]
fn a_store_that_does_not_fit_into_the_cache_says_how_large_it_is() {
    let (objects, [here, there]) = (Faulty::new(1), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let writer = spread(&objects, here.path());
    let small = config(there.path()).cache_bytes(10_000);
    let error = Engine::open_bucket(objects.bucket(LIMITS), small).map(drop).unwrap_err().to_string();
    assert!(error.contains("cache_bytes") && error.contains("10000"), "{error}");
    writer.store("nobody has replaced the writer").unwrap();
}

/// A server that gives this answer to everything, and its requests so far.
fn answering(answer: &'static str) -> (Bucket, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let settings = [
        ("AWS_ENDPOINT", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    (Bucket::with("s3://memories/agents/anna", &settings, LIMITS).unwrap(), requests)
}

#[test]
fn a_server_that_refuses_is_asked_once_and_its_answer_shows_no_credentials() {
    for (answer, code) in [
        (
            "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n<Error><Code>SignatureDoesNotMatch</Code>\
             <AWSAccessKeyId>hush</AWSAccessKeyId></Error>",
            "SignatureDoesNotMatch",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<Error><Code>ExpiredToken</Code>\
             <Token-0>hush</Token-0></Error>",
            "ExpiredToken",
        ),
    ] {
        let (bucket, requests) = answering(answer);
        let cache = tempfile::tempdir().unwrap();
        let error = Engine::open_bucket(bucket, config(cache.path())).map(drop).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(matches!(error, Error::Refused { action: "list objects", .. }), "{text}");
        assert!(text.contains(code) && !text.contains("hush"), "{text}");
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_segment_that_a_dead_engine_has_left_goes_when_the_store_is_opened() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = format!("file://{}/agents/anna", folder.path().display());
    let open = || Engine::open(&url, config(cache.path())).unwrap();
    let engine = open();
    fill(&engine, 0..60);
    engine.consolidate().unwrap();
    drop(engine);
    let cold = folder.path().join("agents/anna/segments");
    let hours_ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600 + 60);
    let write = |name: &str, time| {
        let file = File::create(cold.join(name)).unwrap();
        file.set_modified(time).unwrap();
    };
    write("0000000077-0123456789abcdef", hours_ago(1));
    write("0000000078-0123456789abcdef", hours_ago(0));
    // As a kill leaves it.
    write("0000000079-0123456789abcdef#1", hours_ago(1));
    write("0000000080-0123456789abcdef#1", hours_ago(0));
    for file in std::fs::read_dir(&cold).unwrap().flatten() {
        if !file.file_name().to_string_lossy().contains("0123456789abcdef") {
            let file = File::options().write(true).open(file.path()).unwrap();
            file.set_modified(hours_ago(9)).unwrap();
        }
    }
    drop(open());
    let left = |name: &str| cold.join(name).exists();
    assert!(!left("0000000077-0123456789abcdef"), "an old one that nothing refers to");
    assert!(left("0000000078-0123456789abcdef"), "a young one may be another engine's");
    assert!(!left("0000000079-0123456789abcdef#1") && left("0000000080-0123456789abcdef#1"));
    let elsewhere = tempfile::tempdir().unwrap();
    let engine = Engine::open(&url, config(elsewhere.path())).unwrap();
    assert!(engine.repaired_files().is_empty(), "those that are listed stay");
    assert_complete(&engine, 60);
}

#[test]
fn a_url_of_a_folder_opens_as_a_bucket() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = format!("file://{}/agents/anna", folder.path().display());
    let engine = Engine::open(&url, config(cache.path())).unwrap();
    fill(&engine, 0..60);
    engine.consolidate().unwrap();
    drop(engine);
    let elsewhere = tempfile::tempdir().unwrap();
    assert_complete(&Engine::open(&url, config(elsewhere.path())).unwrap(), 60);
    let error = Engine::open("ftp://host/folder", config(cache.path())).map(drop).unwrap_err();
    assert!(error.to_string().contains("s3://bucket/folder"), "{error}");
}
