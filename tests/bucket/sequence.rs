//! The log in object storage as a sequence of commits. Whatever fails on the way, each acknowledged
//! commit is there once and in order, and a fenced writer writes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mnemocore::internals::log::{Batch, Durability, Log, ObjectLog, Table};
use mnemocore::{Error, MemoryId, RemoteLimits};
use proptest::prelude::*;

use super::faulty::{Faulty, LIMITS, on_every_server, sequences};

pub(crate) type Values = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn open(objects: &Arc<Faulty>, copy: &Path) -> ObjectLog {
    ObjectLog::open(objects.bucket(LIMITS), copy).unwrap()
}

fn put(id: u64, value: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put_record(MemoryId(id), value.as_bytes().into(), None);
    batch
}

pub(crate) fn commit(log: &ObjectLog, id: u64, value: &str) -> Result<(), Error> {
    log.commit(&put(id, value), Durability::Buffered)
}

pub(crate) fn value(log: &ObjectLog, id: u64) -> Option<String> {
    log.record(MemoryId(id)).unwrap().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

pub(crate) fn records(log: &ObjectLog) -> Values {
    let mut found = Values::new();
    log.scan(Table::Records, &[], &mut |key, value| {
        found.insert(key.to_vec(), value.to_vec());
        Ok(())
    })
    .unwrap();
    found
}

/// An operation of a machine on a log.
#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, Option<u16>)>),
    Note(u8, u16),
    Compact,
    /// Closed, and opened again on the same machine or with an empty disk.
    Close {
        moves: bool,
    },
    /// The process is killed.
    Kill {
        moves: bool,
    },
}

fn some_step() -> impl Strategy<Value = Step> {
    let change = (any::<u8>(), prop::option::weighted(0.7, any::<u16>()));
    prop_oneof![
        20 => prop::collection::vec(change, 1..6).prop_map(Step::Commit),
        3 => (any::<u8>(), any::<u16>()).prop_map(|(id, value)| Step::Note(id, value)),
        1 => Just(Step::Compact),
        1 => any::<bool>().prop_map(|moves| Step::Close { moves }),
        2 => any::<bool>().prop_map(|moves| Step::Kill { moves }),
    ]
}

fn batch_of(changes: &[(u8, Option<u16>)]) -> Batch {
    let mut batch = Batch::default();
    for &(id, value) in changes {
        match value {
            Some(value) => batch.put_record(MemoryId(id.into()), value.to_le_bytes().as_slice().into(), None),
            None => batch.remove_record(MemoryId(id.into())),
        }
    }
    batch
}

fn apply(values: &mut Values, changes: &[(u8, Option<u16>)]) {
    for &(id, value) in changes {
        let key = u64::from(id).to_be_bytes().to_vec();
        match value {
            Some(value) => drop(values.insert(key, value.to_le_bytes().into())),
            None => drop(values.remove(&key)),
        }
    }
}

on_every_server! {
    any_sequence_of_commits_is_there_again_on_any_machine,
    with_answers_lost_what_was_acknowledged_is_there_and_what_was_refused_is_not,
    a_writer_that_was_replaced_gets_a_typed_error_and_overwrites_nothing,
    of_writers_that_replace_each_other_all_the_time_nothing_acknowledged_is_lost,
    readers_see_what_was_committed_before_while_objects_are_folded_under_them,
    after_a_compaction_nothing_of_what_was_removed_is_in_any_object,
    a_commit_that_meets_itself_on_its_way_fences_nobody,
    objects_that_go_while_they_are_listed_are_no_damage,
    a_writer_that_commits_all_the_time_is_replaced_all_the_same,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sequences()))]

    #[test]
    fn any_sequence_of_commits_is_there_again_on_any_machine(
        steps in prop::collection::vec(some_step(), 1..120),
    ) {
        let objects = Faulty::new(1);
        let mut random = fastrand::Rng::with_seed(steps.len() as u64);
        let mut disk = tempfile::tempdir().unwrap();
        let mut log = open(&objects, disk.path());
        // The committed values, and the deferred changes.
        let (mut expected, mut noted) = (Values::new(), Vec::new());
        for step in steps {
            match step {
                Step::Commit(changes) => {
                    log.commit(&batch_of(&changes), Durability::Buffered).unwrap();
                    apply(&mut expected, &std::mem::take(&mut noted));
                    apply(&mut expected, &changes);
                }
                Step::Note(id, value) => {
                    log.note(&batch_of(&[(id, Some(value))])).unwrap();
                    noted.push((id, Some(value)));
                }
                Step::Compact => {
                    log.compact().unwrap();
                    apply(&mut expected, &std::mem::take(&mut noted));
                }
                Step::Close { moves } => {
                    log.close().unwrap();
                    apply(&mut expected, &std::mem::take(&mut noted));
                    drop(log);
                    if moves {
                        disk = tempfile::tempdir().unwrap();
                    }
                    log = open(&objects, disk.path());
                }
                Step::Kill { moves } => {
                    noted.clear();
                    drop(log);
                    if moves {
                        disk = tempfile::tempdir().unwrap();
                    }
                    log = open(&objects, disk.path());
                }
            }
            let mut shown = expected.clone();
            apply(&mut shown, &noted);
            prop_assert_eq!(&records(&log), &shown);
            if random.u8(0..8) > 0 {
                continue;
            }
            let reader = tempfile::tempdir().unwrap();
            let snapshot =
                ObjectLog::snapshot(objects.bucket(LIMITS), reader.path()).unwrap();
            prop_assert_eq!(&records(&snapshot), &expected);
        }
    }

    #[test]
    fn with_answers_lost_what_was_acknowledged_is_there_and_what_was_refused_is_not(
        seed in any::<u64>(), lost in 0u8..40, unanswered in 0u8..40, attempts in 1u32..4,
    ) {
        let objects = Faulty::new(seed);
        let disk = tempfile::tempdir().unwrap();
        let limits = RemoteLimits { attempts, ..LIMITS };
        let log = ObjectLog::open(objects.bucket(limits), disk.path()).unwrap();
        objects.lose(lost, unanswered);
        let mut expected = Values::new();
        let mut refused = 0;
        for number in 0..80u64 {
            let text = format!("value {number}");
            match commit(&log, number % 23, &text) {
                Ok(()) => drop(expected.insert((number % 23).to_be_bytes().into(), text.into())),
                Err(Error::Unreachable { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
            prop_assert_eq!(&records(&log), &expected);
        }
        prop_assert!(refused < 80 || lost + unanswered > 30);
        objects.lose(0, 0);
        // The next commit finds out whether the last refused one has arrived.
        commit(&log, 99, "settled").unwrap();
        expected.insert(99u64.to_be_bytes().into(), b"settled".into());
        drop(log);
        let elsewhere = tempfile::tempdir().unwrap();
        prop_assert_eq!(&records(&open(&objects, elsewhere.path())), &expected);
        prop_assert_eq!(&records(&open(&objects, disk.path())), &expected);
    }
}

#[test]
fn a_writer_that_was_replaced_gets_a_typed_error_and_overwrites_nothing() {
    let objects = Faulty::new(1);
    let disks = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = open(&objects, disks[0].path());
    commit(&first, 1, "by the first").unwrap();
    let second = open(&objects, disks[1].path());
    for _ in 0..3 {
        let error = commit(&first, 1, "too late").unwrap_err();
        assert!(matches!(&error, Error::Fenced { path } if path.to_str() == Some("test://agents/anna")));
        assert!(matches!(first.compact(), Err(Error::Fenced { .. })));
    }
    assert_eq!(value(&first, 1).unwrap(), "by the first", "it goes on reading what it had");
    assert_eq!(value(&second, 1).unwrap(), "by the first");
    commit(&second, 1, "by the second").unwrap();
    first.close().unwrap();
    second.close().unwrap();
    drop((first, second));
    assert_eq!(value(&open(&objects, disks[0].path()), 1).unwrap(), "by the second");
}

#[test]
fn of_writers_that_replace_each_other_all_the_time_nothing_acknowledged_is_lost() {
    const WRITERS: u64 = 4;
    let objects = Faulty::new(7);
    objects.lose(0, 10);
    let acknowledged = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (objects, acknowledged) = (&objects, &acknowledged);
            scope.spawn(move || {
                let disk = tempfile::tempdir().unwrap();
                let mut number = writer;
                for _ in 0..10 {
                    let Ok(log) = ObjectLog::open(objects.bucket(LIMITS), disk.path()) else {
                        continue;
                    };
                    for _ in 0..40 {
                        let text = format!("value {number}");
                        if commit(&log, number, &text).is_err() {
                            break;
                        }
                        acknowledged.lock().unwrap().insert(number, text);
                        number += WRITERS;
                    }
                }
            });
        }
    });
    objects.lose(0, 0);
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 20, "only {} commits", acknowledged.len());
    let disk = tempfile::tempdir().unwrap();
    let log = open(&objects, disk.path());
    for (id, text) in acknowledged {
        assert_eq!(value(&log, id).as_ref(), Some(&text));
    }
}

#[test]
fn readers_see_what_was_committed_before_while_objects_are_folded_under_them() {
    let objects = Faulty::new(1);
    let disk = tempfile::tempdir().unwrap();
    let log = open(&objects, disk.path());
    let done = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..400 {
                commit(&log, number, &format!("value {number}")).unwrap();
                done.store(number + 1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        scope.spawn(|| {
            let disk = tempfile::tempdir().unwrap();
            loop {
                let before = done.load(std::sync::atomic::Ordering::SeqCst);
                if before > 0 {
                    let bucket = objects.bucket(LIMITS);
                    let snapshot = ObjectLog::snapshot(bucket, disk.path()).unwrap();
                    let found = records(&snapshot);
                    assert!(found.len() as u64 >= before, "{} of {before}", found.len());
                    // Commits become visible in order: the first few of them.
                    let ids: Vec<Vec<u8>> =
                        (0..found.len() as u64).map(|id| id.to_be_bytes().into()).collect();
                    assert_eq!(found.into_keys().collect::<Vec<_>>(), ids);
                }
                if before == 400 {
                    break;
                }
            }
        });
    });
}

#[test]
fn a_logarithm_of_objects_is_left_and_each_byte_is_written_a_logarithm_of_times() {
    let objects = Faulty::new(1);
    let disk = tempfile::tempdir().unwrap();
    let bucket = objects.bucket(LIMITS);
    let log = ObjectLog::open(bucket.clone(), disk.path()).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut plain = 0;
    for number in 0..1_000 {
        let text: String = std::iter::repeat_with(|| random.alphanumeric()).take(200).collect();
        plain += text.len() as u64;
        commit(&log, number, &text).unwrap();
    }
    log.close().unwrap();
    let left = objects.contents().len();
    assert!(left <= 24, "{left} objects");
    let written = bucket.traffic().sent;
    assert!(written < 12 * plain, "{written} bytes for {plain}");
}

#[test]
fn after_a_compaction_nothing_of_what_was_removed_is_in_any_object() {
    let objects = Faulty::new(1);
    let disk = tempfile::tempdir().unwrap();
    let log = open(&objects, disk.path());
    let secret = "the secret that must go";
    commit(&log, 1, secret).unwrap();
    (2..60).for_each(|number| commit(&log, number, "harmless").unwrap());
    let mut batch = Batch::default();
    batch.remove_record(MemoryId(1));
    log.commit(&batch, Durability::Buffered).unwrap();
    log.compact().unwrap();
    let plain = |content: &[u8]| zstd::decode_all(&content[48..content.len() - 8]).unwrap();
    let holding = |text: &str| {
        let holds = |plain: Vec<u8>| plain.windows(text.len()).any(|window| window == text.as_bytes());
        objects.contents().iter().filter(|(_, content)| holds(plain(content))).count()
    };
    assert_eq!((holding("harmless"), holding(secret)), (1, 0));
}

#[test]
fn a_commit_that_meets_itself_on_its_way_fences_nobody() {
    let objects = Faulty::new(1);
    let disk = tempfile::tempdir().unwrap();
    let log = open(&objects, disk.path());
    for number in 0..3 {
        objects.conflict();
        let refused = commit(&log, number, "refused").unwrap_err();
        assert!(matches!(refused, Error::Unreachable { .. }), "{refused}");
        assert_eq!(value(&log, number), None);
        commit(&log, number, "taken").unwrap();
        assert_eq!(value(&log, number).unwrap(), "taken");
    }
}

#[test]
fn objects_that_go_while_they_are_listed_are_no_damage() {
    let objects = Faulty::new(1);
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let log = open(&objects, here.path());
    (0..10).for_each(|number| commit(&log, number, "value").unwrap());
    objects.meanwhile(move || {
        log.compact().unwrap();
        commit(&log, 10, "value").unwrap();
    });
    let snapshot = ObjectLog::snapshot(objects.bucket(LIMITS), there.path()).unwrap();
    assert_eq!(records(&snapshot).len(), 11);
}

#[test]
fn a_large_object_may_take_longer_than_a_small_one() {
    let objects = Faulty::new(1);
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let limits = RemoteLimits { call: Duration::from_millis(400), attempts: 1, ..LIMITS };
    let open = |disk: &Path| ObjectLog::open(objects.bucket(limits), disk);
    let log = open(here.path()).unwrap();
    objects.slow(Duration::from_millis(100));
    let mut random = fastrand::Rng::with_seed(1);
    let text: String = std::iter::repeat_with(|| random.alphanumeric()).take(3 << 20).collect();
    commit(&log, 1, &text).unwrap();
    let snapshot = ObjectLog::snapshot(objects.bucket(limits), there.path()).unwrap();
    assert!(value(&snapshot, 1).unwrap() == text);
    objects.slow(Duration::from_secs(5));
    assert!(matches!(commit(&log, 2, &text), Err(Error::Unreachable { .. })));
}

#[test]
fn a_writer_that_commits_all_the_time_is_replaced_all_the_same() {
    let objects = Faulty::new(1);
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = open(&objects, here.path());
    objects.late(Duration::from_millis(5));
    std::thread::scope(|scope| {
        let acknowledged = scope.spawn(|| {
            let refused =
                (0..2_000).find_map(|number| Some((number, commit(&first, number, "value").err()?)));
            let (count, error) = refused.unwrap();
            assert!(matches!(error, Error::Fenced { .. }), "{error}");
            count
        });
        std::thread::sleep(Duration::from_millis(50));
        let second = open(&objects, there.path());
        assert_eq!(records(&second).len() as u64, acknowledged.join().unwrap());
        // The new writer has its answer, and no other writer asks to replace it.
        (0..40).for_each(|number| commit(&second, number, "value").unwrap());
    });
}
