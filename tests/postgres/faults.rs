//! A server that is unreachable, slow or cut off, during any operation.

use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use mnemocore::hdv::Dimension;
use mnemocore::{
    Config, Engine, Error, MemoryId, Namespace, NewMemory, Query, RemoteLimits, TierKind, Timestamp,
};
use tempfile::TempDir;

use super::common::{everything, find, note, tiny, word};
use super::proxy::Proxy;
use super::server::{PASSWORD, QUICK, Server, connection, open, shared};

/// All memories in WARM.
fn warm() -> Config {
    tiny().hot_capacity(0).warm_capacity(usize::MAX).remote(QUICK)
}

/// The most time for a call to an unreachable server: all attempts, with room for a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn is_away<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.expect_err("the server is away");
    let text = format!("{error} {error:?}");
    assert!(matches!(error, Error::Unreachable { .. }), "{text}");
    assert!(text.contains("127.0.0.1") && !text.contains(PASSWORD), "{text}");
}

/// An engine whose WARM is reached through a network that can be disturbed.
fn behind_proxy(server: &Server) -> (TempDir, Proxy, Engine) {
    let (folder, proxy) = (tempfile::tempdir().unwrap(), Proxy::start("127.0.0.1", server.port));
    let engine = open(folder.path(), &warm(), &connection(proxy.port)).unwrap();
    (folder, proxy, engine)
}

/// Returns the hits of an engine whose WARM is unreachable, which the recall must report.
fn without_warm(engine: &Engine) -> Vec<String> {
    let started = Instant::now();
    let recall = engine.recall(Query::text("journal").limit(100).touch(false)).unwrap();
    assert!(started.elapsed() < PATIENCE);
    assert_eq!(recall.unreachable, [TierKind::Warm]);
    assert!(recall.hits.iter().all(|hit| hit.memory.tier != TierKind::Warm));
    let synthesis = engine.synthesize(Query::text("journal").touch(false)).unwrap();
    assert_eq!(synthesis.unreachable, [TierKind::Warm]);
    recall.hits.into_iter().map(|hit| hit.memory.text).collect()
}

/// Waits until the engine tries the server again after giving it up.
fn wait_until_reached(engine: &Engine) {
    let started = Instant::now();
    while !engine.recall(Query::text("journal").touch(false)).unwrap().unreachable.is_empty() {
        assert!(started.elapsed() < PATIENCE, "the server is not found again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn count(engine: &Engine) -> usize {
    everything(engine, &Namespace::default()).len()
}

#[test]
fn a_restart_finds_what_is_there_and_puts_nothing_in_again() {
    let Some(server) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), &warm(), &server.connection()).unwrap();
    for number in 0..200 {
        engine.store(note(&word(number))).unwrap();
    }
    let sent = engine.traffic(TierKind::Warm).sent;
    let before = everything(&engine, &Namespace::default());
    engine.close().unwrap();
    let engine = open(folder.path(), &warm(), &server.connection()).unwrap();
    let again = engine.traffic(TierKind::Warm).sent;
    assert!(again * 100 < sent, "{again} bytes sent by opening, {sent} by storing");
    assert_eq!(everything(&engine, &Namespace::default()), before);
    assert_eq!(find(&engine, &word(77)).unwrap().1, note(&word(77)));
}

#[test]
fn a_batch_of_stores_is_one_round_trip_and_so_is_a_recall() {
    let Some(server) = shared() else { return };
    let (_folder, proxy, engine) = behind_proxy(server);
    let batch = |from: usize| (from..from + 20).map(|number| NewMemory::new(note(&word(number)))).collect();
    let query = Query::text("journal").limit(10).touch(false);
    let requests = || engine.traffic(TierKind::Warm).requests;
    proxy.delay(Duration::from_millis(50));
    // Includes the first statement of each kind, which the connection has not prepared.
    for from in [0, 20] {
        let (trips, asked) = (proxy.trips(), requests());
        engine.store_batch(batch(from)).unwrap();
        assert_eq!((proxy.trips(), requests()), (trips + 1, asked + 1));
        assert_eq!(engine.recall(&query).unwrap().hits.len(), 10);
        assert_eq!((proxy.trips(), requests()), (trips + 2, asked + 2));
    }
}

#[test]
fn memories_leave_a_full_hot_several_in_one_round_trip() {
    let Some(server) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = tiny().hot_capacity(64).warm_capacity(usize::MAX).remote(QUICK);
    let engine = open(folder.path(), &config, &server.connection()).unwrap();
    let before = engine.traffic(TierKind::Warm).requests;
    (0..164).for_each(|number| assert!(engine.store(note(&word(number))).is_ok()));
    let requests = engine.traffic(TierKind::Warm).requests - before;
    // Moves of a sixteenth of HOT at a time.
    assert!((1..=25).contains(&requests), "{requests} for 100 memories");
    let [hot, warm, _] = engine.stats().memories;
    assert!((60..=64).contains(&hot) && hot + warm == 164, "{hot} in HOT, {warm} in WARM");
}

#[test]
fn two_stores_in_one_database_do_not_see_each_other() {
    let Some(server) = shared() else { return };
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let engines =
        folders.each_ref().map(|folder| open(folder.path(), &warm(), &server.connection()).unwrap());
    for (number, engine) in engines.iter().enumerate() {
        engine
            .store_batch((0..30).map(|at| NewMemory::new(note(&word(100 * number + at)))).collect())
            .unwrap();
    }
    for (number, engine) in engines.iter().enumerate() {
        let all = everything(engine, &Namespace::default());
        let expected: Vec<String> = (0..30).map(|at| note(&word(100 * number + at))).collect();
        assert_eq!(all.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>(), expected);
        let like = engine
            .encoder()
            .encode(&mnemocore::encoder::Document::new("journal").analyze().unwrap())
            .unwrap();
        assert_eq!(engine.recall(Query::like(like).limit(100)).unwrap().hits.len(), 30);
        assert_eq!(find(engine, &word(100 * (1 - number) + 7)).map(|(_, text)| text), None);
    }
    // A forget in one store leaves the other store unchanged.
    engines[0].forget_batch((0..30).map(MemoryId)).unwrap();
    engines[0].consolidate().unwrap();
    assert_eq!((count(&engines[0]), count(&engines[1])), (0, 30));
}

#[test]
fn a_store_that_was_opened_again_refuses_the_engine_that_had_it() {
    let Some(server) = shared() else { return };
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = open(folder.path(), &warm(), &server.connection()).unwrap();
    first.store(note("before")).unwrap();
    super::common::copy(folder.path(), copy.path());
    let second = open(copy.path(), &warm(), &server.connection()).unwrap();
    let refused = first.store(note("late"));
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    second.store(note("after")).unwrap();
    assert_eq!((count(&second), count(&first)), (2, 1));
}

#[test]
fn what_is_forgotten_leaves_the_database() {
    let Some(server) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), &warm(), &server.connection()).unwrap();
    let secret = |number| NewMemory::new(note("confidential")).metadata("number", format!("{number}-7241"));
    let ids = engine.store_batch((0..20).map(secret).collect()).unwrap();
    let kept = || server.ask("SELECT metadata FROM mnemo_warm_512 WHERE metadata::text LIKE '%-7241%'").len();
    assert_eq!(kept(), 20);
    engine.forget_batch(&ids).unwrap();
    engine.compact().unwrap();
    assert_eq!((kept(), count(&engine)), (0, 0));
}

#[test]
fn while_the_server_is_away_what_can_be_done_is_done_and_the_rest_is_a_typed_error() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = tiny().hot_capacity(8).warm_capacity(16).remote(QUICK);
    let engine = open(folder.path(), &config, &server.connection()).unwrap();
    let mut stored: Vec<MemoryId> =
        (0..48).map(|number| engine.store(note(&word(number))).unwrap().id).collect();
    engine.consolidate().unwrap();
    assert_eq!(engine.stats().memories, [8, 16, 24]);
    server.stop();

    assert_eq!(without_warm(&engine).len(), 8 + 24);
    // HOT takes them without asking, and exceeds its capacity.
    let asked = engine.traffic(TierKind::Warm).requests;
    stored.extend((48..60).map(|number| engine.store(note(&word(number))).unwrap().id));
    assert_eq!(engine.traffic(TierKind::Warm).requests, asked);
    assert_eq!(engine.stats().memories, [20, 16, 24]);
    assert_eq!(without_warm(&engine).len(), 20 + 24);
    is_away(engine.consolidate());
    is_away(engine.compact());
    // The log has all of them.
    assert!(stored.iter().all(|&id| engine.get(id).unwrap().is_some()));
    let gone = stored.remove(30);
    assert!(engine.forget(gone).unwrap());

    server.resume();
    wait_until_reached(&engine);
    assert_eq!(count(&engine), 59);
    engine.consolidate().unwrap();
    engine.compact().unwrap();
    assert_eq!(engine.stats().memories[0], 8);
    let found: Vec<MemoryId> =
        everything(&engine, &Namespace::default()).into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, stored);
}

#[test]
fn a_server_that_is_away_is_an_error_of_opening_and_of_a_store_that_needs_it() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), &warm(), &server.connection()).unwrap();
    engine.store(note("before")).unwrap();
    server.stop();
    is_away(engine.store(note("meanwhile")));
    assert_eq!(engine.stats().total(), 1);
    engine.close().unwrap();
    is_away(open(folder.path(), &warm(), &server.connection()).map(drop));
    server.resume();
    let engine = open(folder.path(), &warm(), &server.connection()).unwrap();
    engine.store(note("after")).unwrap();
    assert_eq!(count(&engine), 2);
}

#[test]
fn a_server_that_does_not_answer_ends_each_call_with_its_time_limit() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), &warm(), &server.connection()).unwrap();
    engine.store(note("before")).unwrap();
    server.freeze(true);
    assert!(without_warm(&engine).is_empty());
    is_away(engine.store(note("meanwhile")));
    let (other, started) = (tempfile::tempdir().unwrap(), Instant::now());
    is_away(open(other.path(), &warm(), &server.connection()).map(drop));
    assert!(started.elapsed() < PATIENCE, "opening waits for {:?}", started.elapsed());
    server.freeze(false);
    wait_until_reached(&engine);
    engine.store(note("after")).unwrap();
    let all = everything(&engine, &Namespace::default());
    assert_eq!(all.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), [note("before"), note("after")]);
}

#[test]
fn a_slow_network_changes_nothing_but_the_time() {
    let Some(server) = shared() else { return };
    let (_folder, proxy, engine) = behind_proxy(server);
    proxy.delay(Duration::from_millis(60));
    engine.store_batch((0..40).map(|number| NewMemory::new(note(&word(number)))).collect()).unwrap();
    assert_eq!(count(&engine), 40);
    engine.compact().unwrap();
}

#[test]
fn a_call_that_arrives_late_changes_nothing() {
    let Some(server) = shared() else { return };
    let (folder, proxy, engine) = behind_proxy(server);
    engine.store(note("before")).unwrap();
    proxy.silent(true);
    is_away(engine.store(note("late")));
    proxy.silent(false);
    wait_until_reached(&engine);
    let query = Query::text("journal").limit(1).touch(false);
    for _ in 0..20 {
        // A row of an unknown memory takes no place among the hits.
        assert_eq!(engine.recall(&query).unwrap().hits[0].memory.text, note("before"));
        std::thread::sleep(Duration::from_millis(10));
    }
    engine.consolidate().unwrap();
    engine.store(note("after")).unwrap();
    assert_eq!(count(&engine), 2);
    engine.close().unwrap();
    assert_eq!(count(&open(folder.path(), &warm(), &server.connection()).unwrap()), 2);
}

#[test]
fn a_store_whose_answer_was_lost_is_made_again_and_there_once() {
    let Some(server) = shared() else { return };
    let (_folder, proxy, engine) = behind_proxy(server);
    engine.store(note("before")).unwrap();
    let asked = engine.traffic(TierKind::Warm).requests;
    // The server has done the work before the answer is cut.
    proxy.cut_after(0);
    engine.store(NewMemory::new(note("unanswered")).metadata("number", "once-3907")).unwrap();
    assert_eq!(engine.traffic(TierKind::Warm).requests, asked + 2);
    let rows = "SELECT id FROM mnemo_warm_512 WHERE metadata::text LIKE '%once-3907%'";
    assert_eq!((server.ask(rows).len(), count(&engine)), (1, 2));
}

#[test]
fn an_epoch_that_began_without_an_answer_does_not_fence_its_own_engine() {
    let Some(server) = shared() else { return };
    let (_folder, proxy, engine) = behind_proxy(server);
    engine.store(note("before")).unwrap();
    proxy.down(true);
    // It is unknown whether it has arrived, so the next deletion needs a new epoch.
    is_away(engine.store(note("lost")));
    proxy.down(false);
    wait_until_reached(&engine);
    engine.store(note("between")).unwrap();
    proxy.lose_answers(true);
    is_away(engine.compact());
    proxy.lose_answers(false);
    wait_until_reached(&engine);
    engine.store(note("after")).unwrap();
    engine.compact().unwrap();
    assert_eq!(count(&engine), 3);
}

#[test]
fn what_is_deleted_counts_no_more_whichever_answer_was_lost() {
    let Some(server) = shared() else { return };
    let (folder, proxy, mut engine) = behind_proxy(server);
    engine.store_batch((0..10).map(|number| NewMemory::new(note(&word(number)))).collect()).unwrap();
    engine.store("The harbour has other words").unwrap();
    // Scores depend on the number of memories with each word.
    let scores = |engine: &Engine| -> Vec<u32> {
        let recall = engine.recall(Query::text("journal of the harbour").limit(20).touch(false)).unwrap();
        recall.hits.iter().map(|hit| hit.score.to_bits()).collect()
    };
    for cut in (0..1_500).step_by(50) {
        let ids = engine.store_batch((0..3).map(|_| NewMemory::new(note("late"))).collect()).unwrap();
        engine.forget_batch(&ids[..2]).unwrap();
        proxy.cut_after(cut);
        // In every other round the cut lasts until the call fails.
        proxy.stay_cut(cut % 100 == 0);
        match engine.compact() {
            Err(Error::Unreachable { .. }) => {}
            other => other.unwrap(),
        }
        proxy.cut_after(-1);
        proxy.down(false);
        wait_until_reached(&engine);
        engine.forget(ids[2]).unwrap();
        engine.compact().unwrap();
        let before = scores(&engine);
        engine.close().unwrap();
        engine = open(folder.path(), &warm(), &connection(proxy.port)).unwrap();
        assert_eq!(before, scores(&engine), "cut after {cut} bytes");
    }
    proxy.stay_cut(false);
}

#[test]
fn a_statement_that_takes_too_long_does_not_give_the_server_up() {
    let Some(server) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    // A table that no other test uses.
    let remote = RemoteLimits { call: Duration::from_secs(4), ..QUICK };
    let config = warm().dimension(Dimension::new(704).unwrap()).remote(remote);
    let engine = open(folder.path(), &config, &server.connection()).unwrap();
    engine.store(note("before")).unwrap();
    let held = "FROM pg_locks WHERE relation = 'mnemo_warm_704'::regclass AND mode = 'AccessExclusiveLock' AND granted";
    let holder = std::thread::spawn(|| {
        // The connection is cut below.
        let lock = "BEGIN; LOCK TABLE mnemo_warm_704; SELECT pg_sleep(60)";
        let _ = std::panic::catch_unwind(|| server.ask(lock));
    });
    while server.ask(&format!("SELECT 1 {held}")).is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(without_warm(&engine).is_empty());
    server.ask(&format!("SELECT pg_terminate_backend(pid) {held}"));
    holder.join().unwrap();
    let recall = engine.recall(Query::text("journal").touch(false)).unwrap();
    assert_eq!((recall.hits.len(), recall.unreachable), (1, vec![]));
}

/// One operation, and its allowed results if the network is cut within it.
fn operate(
    engine: &Engine,
    random: &mut Rng,
    stored: &mut Vec<(MemoryId, String)>,
    number: &mut usize,
) -> Result<(), Error> {
    match random.u8(..100) {
        0..50 => {
            let texts: Vec<String> = (0..random.usize(1..20)).map(|at| note(&word(*number + at))).collect();
            *number += texts.len();
            let ids = engine.store_batch(texts.iter().map(|text| NewMemory::new(text.as_str())).collect())?;
            stored.extend(ids.iter().map(MemoryId::from).zip(texts));
        }
        50..70 => {
            let query = Query::text("journal").limit(random.usize(1..40));
            let mut ids: Vec<MemoryId> =
                engine.recall(&query)?.hits.iter().map(|hit| hit.memory.id).collect();
            ids.sort_unstable();
            assert!(ids.windows(2).all(|two| two[0] != two[1]), "a memory was recalled twice");
        }
        70..80 if !stored.is_empty() => {
            let (id, _) = stored.swap_remove(random.usize(..stored.len()));
            assert!(engine.forget(id)?);
        }
        80..95 => {
            engine.consolidate_at(Timestamp(Timestamp::now().0 + random.i64(0..300) * 86_400_000))?;
        }
        _ => engine.compact()?,
    }
    Ok(())
}

fn cut_at_random(seed: u64, server: &Server, folder: &Path) {
    let proxy = Proxy::start("127.0.0.1", server.port);
    let mut random = Rng::with_seed(seed);
    let config = tiny().hot_capacity(4 * (seed % 3) as usize).warm_capacity(30).remote(QUICK);
    let mut engine = open(folder, &config, &connection(proxy.port)).unwrap();
    let (mut stored, mut number, mut cut) = (Vec::new(), 0, 0);
    for round in 0..40 {
        proxy.cut_after(random.i64(0..2_000));
        if random.u8(..4) == 0 {
            proxy.down(true);
        }
        for _ in 0..3 {
            match operate(&engine, &mut random, &mut stored, &mut number) {
                Err(Error::Unreachable { .. }) => cut += 1,
                other => other.unwrap(),
            }
        }
        proxy.down(false);
        proxy.cut_after(-1);
        wait_until_reached(&engine);
        if round % 10 == 9 {
            drop(engine);
            engine = open(folder, &config, &connection(proxy.port)).unwrap();
        }
        stored.sort_unstable();
        assert_eq!(everything(&engine, &Namespace::default()), stored, "seed {seed}, round {round}");
    }
    assert!(cut > 0, "nothing was ever cut");
    engine.consolidate().unwrap();
    assert_eq!(everything(&engine, &Namespace::default()), stored);
}

#[test]
fn cut_connections_lose_nothing_that_was_acknowledged_and_store_nothing_twice() {
    let Some(server) = shared() else { return };
    let runs = std::env::var("MNEMO_CUTS").map_or(3, |count| count.parse().unwrap());
    for seed in 0..runs {
        cut_at_random(seed, server, tempfile::tempdir().unwrap().path());
    }
}

#[test]
fn wrong_credentials_are_refused_and_not_repeated() {
    let Some(server) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let wrong = server.connection().replace(PASSWORD, "hunter2-and-more");
    let error = open(folder.path(), &warm(), &wrong).map(drop).expect_err("the password is wrong");
    let text = format!("{error} {error:?}");
    assert!(matches!(error, Error::Refused { .. }), "{text}");
    assert!(text.contains("password authentication failed") && !text.contains("hunter2"), "{text}");
    let database = mnemocore::internals::tier::postgres::Database::parse(&server.connection()).unwrap();
    assert!(!format!("{database:?}").contains(PASSWORD));
}
