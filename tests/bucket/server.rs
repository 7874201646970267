//! What only a server shows: how its protocol, and the client of it, behave.

use std::path::Path;

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use mnemocore::internals::log::{Log, ObjectLog};
use mnemocore::{Config, Engine, Error};
use object_store::{ObjectStoreExt, PutMode, PutOptions};

use super::common::{assert_complete, tiny};
use super::engines::fill;
use super::faulty::{LIMITS, on_every_server, sequences, server};
use super::proxy::Proxy;
use super::sequence::{Values, commit, records, value};
use super::servers::{Kind, Server, wait};

fn config(cache: &Path) -> Config {
    tiny().cache_folder(cache)
}

on_every_server! {
    of_requests_for_one_object_at_the_same_time_one_makes_it,
    more_objects_than_a_page_of_a_listing_are_listed_and_deleted,
    memories_of_all_tiers_are_kept_and_writers_fenced,
    answers_that_are_cut_off_lose_no_commit_and_repeat_none,
    an_object_of_many_megabytes_reads_as_it_was_written,
    a_server_that_is_not_there_is_a_typed_error_without_credentials,
    a_bucket_that_is_not_there_is_refused_at_once,
}

fn of_requests_for_one_object_at_the_same_time_one_makes_it() {
    const REQUESTS: u8 = 8;
    let objects = server().store();
    for round in 0..3 * sequences().min(16) {
        let path = format!("object {round}").as_str().into();
        let make = |number| {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            objects.put_opts(&path, vec![number; 1_000].into(), options)
        };
        let answers = wait(join_all((0..REQUESTS).map(make)));
        let made: Vec<usize> = (0..answers.len()).filter(|&number| answers[number].is_ok()).collect();
        assert_eq!(made.len(), 1, "{answers:?}");
        for answer in answers {
            let told = matches!(
                answer,
                Ok(_)
                    | Err(
                        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }
                    )
            );
            assert!(told, "{answer:?}");
        }
        let content = wait(async { objects.get(&path).await.unwrap().bytes().await.unwrap() });
        assert_eq!(content, vec![made[0] as u8; 1_000]);
    }
}

fn more_objects_than_a_page_of_a_listing_are_listed_and_deleted() {
    const OBJECTS: usize = 1_100;
    let objects = server().store();
    let path = |number: usize| object_store::path::Path::from(format!("log/{number:04}"));
    let put = |number| {
        let (objects, path) = (objects.clone(), path(number));
        async move { objects.put(&path, "content".into()).await }
    };
    let folder = object_store::path::Path::from("log");
    let list = || wait(objects.list(Some(&folder)).try_collect::<Vec<_>>()).unwrap();
    wait(stream::iter(0..OBJECTS).map(put).buffered(16).try_collect::<Vec<_>>()).unwrap();
    let listed = list();
    assert!(listed.iter().map(|object| object.location.clone()).eq((0..OBJECTS).map(path)));
    assert!(listed.iter().all(|object| object.size == 7));
    // Some that are not there must not keep the others.
    let paths: Vec<_> = (0..2 * OBJECTS).step_by(2).chain((1..OBJECTS).step_by(2)).map(path).collect();
    for deleted in wait(objects.delete_stream(stream::iter(paths).map(Ok).boxed()).collect::<Vec<_>>()) {
        assert!(matches!(deleted, Ok(_) | Err(object_store::Error::NotFound { .. })), "{deleted:?}");
    }
    assert_eq!(list(), []);
}

fn memories_of_all_tiers_are_kept_and_writers_fenced() {
    let folder = server().new_folder();
    let bucket = || server().bucket(&folder);
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = Engine::open_bucket(bucket(), config(here.path())).unwrap();
    fill(&first, 0..60);
    first.consolidate().unwrap();
    let second = Engine::open_bucket(bucket(), config(there.path())).unwrap();
    assert!(second.repaired_files().is_empty());
    assert_complete(&second, 60);
    assert!(matches!(first.store("too late"), Err(Error::Fenced { .. })));
    fill(&second, 60..80);
    second.compact().unwrap();
    drop((first, second));
    assert_complete(&Engine::open_snapshot(bucket(), config(here.path())).unwrap(), 80);
}

/// Connections break at any byte of an answer, after the server has done what it was asked.
fn answers_that_are_cut_off_lose_no_commit_and_repeat_none() {
    let (folder, proxy) = (server().new_folder(), Proxy::start("127.0.0.1", server().port));
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let bucket = server().bucket_at(proxy.port, &folder, &[], LIMITS);
    let log = ObjectLog::open(bucket, here.path()).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let (mut expected, mut refused, mut cut) = (Values::new(), 0, 0);
    for number in 0..200 {
        let stays = random.u8(0..4) == 0;
        if random.bool() {
            cut += 1;
            proxy.stay_cut(stays);
            proxy.cut_after(if random.bool() { 0 } else { random.i64(1..300) });
        }
        match commit(&log, number % 23, &number.to_string()) {
            Ok(()) => drop(expected.insert((number % 23).to_be_bytes().into(), number.to_string().into())),
            Err(Error::Unreachable { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        proxy.down(false);
        assert_eq!(records(&log), expected);
    }
    assert!(cut > 50 && refused > 5, "{cut} cuts, {refused} refused");
    proxy.cut_after(-1);
    commit(&log, 99, "settled").unwrap();
    expected.insert(99u64.to_be_bytes().into(), b"settled".into());
    drop(log);
    let log = ObjectLog::open(server().bucket(&folder), there.path()).unwrap();
    assert_eq!(records(&log), expected);
}

fn an_object_of_many_megabytes_reads_as_it_was_written() {
    let folder = server().new_folder();
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut random = fastrand::Rng::with_seed(1);
    let text: String = std::iter::repeat_with(|| random.alphanumeric()).take(24 << 20).collect();
    let log = ObjectLog::open(server().bucket(&folder), here.path()).unwrap();
    commit(&log, 1, &text).unwrap();
    for _ in 0..2 {
        let snapshot = ObjectLog::snapshot(server().bucket(&folder), there.path()).unwrap();
        assert!(value(&snapshot, 1).unwrap() == text);
        drop(snapshot);
        std::fs::remove_dir_all(there.path()).unwrap();
        std::fs::create_dir(there.path()).unwrap();
        log.compact().unwrap();
    }
}

fn a_server_that_is_not_there_is_a_typed_error_without_credentials() {
    let (proxy, cache) = (Proxy::start("127.0.0.1", server().port), tempfile::tempdir().unwrap());
    proxy.down(true);
    let bucket = server().bucket_at(proxy.port, "agents/anna", &[], LIMITS);
    let error = Engine::open_bucket(bucket, config(cache.path())).map(drop).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let text = format!("{error} {error:?}");
    assert!(text.contains(&server().url("agents/anna")), "{text}");
    for (name, value) in server().variables() {
        assert!(!name.contains("KEY") || !text.contains(&value), "{text}");
    }
}

fn a_bucket_that_is_not_there_is_refused_at_once() {
    let (bucket, cache) = (server().missing(LIMITS), tempfile::tempdir().unwrap());
    let error = Engine::open_bucket(bucket.clone(), config(cache.path())).map(drop).unwrap_err();
    // fake-gcs-server answers 500, which might pass.
    if server().kind == Kind::Gcs {
        assert!(matches!(error, Error::Unreachable { action: "list objects", .. }), "{error}");
        return;
    }
    assert!(matches!(error, Error::Refused { action: "list objects", .. }), "{error}");
    assert_eq!(bucket.traffic().requests, 1);
    let snapshot = Engine::open_snapshot(bucket, config(cache.path())).map(drop);
    assert!(matches!(snapshot, Err(Error::Refused { .. })), "{snapshot:?}");
}

#[test]
fn wrong_credentials_are_refused_and_not_shown() {
    // The others check none.
    for (kind, setting) in
        [(Kind::Seaweedfs, "AWS_SECRET_ACCESS_KEY"), (Kind::Azurite, "AZURE_STORAGE_ACCOUNT_KEY")]
    {
        let Some(server) = Server::shared(kind) else { continue };
        let cache = tempfile::tempdir().unwrap();
        let wrong = "d3Jvbmcgd3Jvbmcgd3Jvbmc=";
        let bucket = server.bucket_at(server.port, "agents/anna", &[(setting, wrong)], LIMITS);
        let error = Engine::open_bucket(bucket, config(cache.path())).map(drop).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains(wrong) && !text.contains("devstoreaccount1:"), "{text}");
    }
}

/// If this fails, the translator may be superfluous.
#[test]
fn fake_gcs_server_alone_refuses_the_uploads_of_the_engine() {
    let Some(server) = Server::shared(Kind::Gcs) else { return };
    let cache = tempfile::tempdir().unwrap();
    let bucket = server.bucket_at(server.own_port, "agents/anna", &[], LIMITS);
    let error = Engine::open_bucket(bucket, config(cache.path())).map(drop).unwrap_err();
    assert!(matches!(error, Error::Refused { action: "write an object", .. }), "{error}");
}
