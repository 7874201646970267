//! The logs against a map.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// One change: a key, and the length of its value, of which long ones stay in the journal.
type Put = (u8, Option<u16>);

#[derive(Clone, Debug)]
enum Step {
    Commit {
        puts: Vec<Put>,
        synced: bool,
    },
    Rewrite {
        whole: bool,
    },
    /// Closed, or killed, and opened again.
    Reopen {
        closed: bool,
    },
}

fn some_step() -> impl Strategy<Value = Step> {
    let puts = prop::collection::vec((any::<u8>(), prop::option::weighted(0.7, 0u16..300)), 1..8);
    prop_oneof![
        8 => (puts, any::<bool>()).prop_map(|(puts, synced)| Step::Commit { puts, synced }),
        2 => any::<bool>().prop_map(|whole| Step::Rewrite { whole }),
        2 => any::<bool>().prop_map(|closed| Step::Reopen { closed }),
    ]
}

fn table(key: u8) -> Table {
    Table::ALL[usize::from(key % 3)]
}

fn batch_of(puts: &[Put], round: usize) -> Batch {
    let mut batch = Batch::default();
    for &(key, length) in puts {
        let value = length.map(|length| vec![round as u8; length.into()].into());
        batch.change(table(key), vec![key / 16, key], value);
    }
    batch
}

fn check(log: &dyn Log, model: &BTreeMap<(Table, Vec<u8>), Arc<[u8]>>) {
    for of in Table::ALL {
        let mut found = Vec::new();
        log.scan(of, &[], &mut |key, value| {
            found.push((key.to_vec(), Arc::from(value)));
            Ok(())
        })
        .unwrap();
        let expected = model.iter().filter(|((table, _), _)| *table == of);
        assert_eq!(found, expected.map(|((_, key), value)| (key.clone(), value.clone())).collect::<Vec<_>>());
        let mut within = 0;
        log.scan(of, &[3], &mut |key, _| {
            assert_eq!(key[0], 3);
            within += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(within, model.keys().filter(|(table, key)| *table == of && key[0] == 3).count());
    }
    for key in 0..=u8::MAX {
        let (of, key) = (table(key), vec![key / 16, key]);
        let expected = model.get(&(of, key.clone())).cloned();
        assert_eq!(log.contains(of, &key).unwrap(), expected.is_some());
        assert_eq!(log.get(of, &key).unwrap(), expected);
    }
}

proptest! {
    #[test]
    fn a_log_on_disk_and_one_in_memory_behave_as_a_map(steps in prop::collection::vec(some_step(), 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        let (mut disk, volatile) = (DiskLog::open(folder.path()).unwrap(), VolatileLog::default());
        let (mut model, number) = (BTreeMap::new(), disk.number());
        for (round, step) in steps.into_iter().enumerate() {
            match step {
                Step::Commit { puts, synced } => {
                    let batch = batch_of(&puts, round);
                    let durability = if synced { Durability::Synced } else { Durability::Buffered };
                    disk.commit(&batch, durability).unwrap();
                    volatile.commit(&batch, durability).unwrap();
                    for (table, key, value) in batch.changes {
                        match value {
                            Some(value) => model.insert((table, key), value),
                            None => model.remove(&(table, key)),
                        };
                    }
                }
                Step::Rewrite { whole: true } => disk.compact().unwrap(),
                Step::Rewrite { whole: false } => disk.sync().and_then(|()| disk.maintain()).unwrap(),
                Step::Reopen { closed } => {
                    if closed {
                        disk.close().unwrap();
                    }
                    drop(disk);
                    disk = DiskLog::open(folder.path()).unwrap();
                    prop_assert!(disk.repaired().is_empty());
                    prop_assert_eq!(disk.number(), number);
                }
            }
            check(&disk, &model);
        }
        check(&volatile, &model);
        disk.close().unwrap();
        drop(disk);
        check(&DiskLog::open(folder.path()).unwrap(), &model);
    }
}

/// A checkpoint is written beside commits, which are added to it.
#[test]
fn commits_and_reads_go_on_while_the_journal_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = DiskLog::open(folder.path()).unwrap();
    let put = |id: u64, round: u64| {
        let mut batch = Batch::default();
        let record = format!("{id} {round} {}", "text ".repeat(60));
        batch.put_record(MemoryId(id), record.as_bytes().into(), None);
        batch
    };
    let (is_done, rewrites) = (AtomicBool::new(false), [AtomicUsize::new(0), AtomicUsize::new(0)]);
    let last = std::thread::scope(|scope| {
        let rewrite = |count: &AtomicUsize| {
            while !is_done.load(Ordering::SeqCst) {
                log.compact().unwrap();
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        // Two at once: before, they wrote to the same file.
        let rewriting = rewrites.each_ref().map(|count| scope.spawn(move || rewrite(count)));
        scope.spawn(|| {
            while !is_done.load(Ordering::SeqCst) {
                for id in 0..50 {
                    let record = log.record(MemoryId(id)).unwrap();
                    assert!(record.is_none_or(|record| record.starts_with(format!("{id} ").as_bytes())));
                }
            }
        });
        let mut last = BTreeMap::new();
        let is_enough = |round: u64| {
            round >= 4_000 && rewrites.iter().all(|count| count.load(Ordering::SeqCst) > 3)
                || rewriting.iter().any(|thread| thread.is_finished())
        };
        for round in (0..).take_while(|&round| !is_enough(round)) {
            let id = round * 7 % 50;
            log.commit(&put(id, round), Durability::Buffered).unwrap();
            last.insert(id, round);
        }
        is_done.store(true, Ordering::SeqCst);
        last
    });
    let check = |log: &DiskLog| {
        for (&id, &round) in &last {
            let record = log.record(MemoryId(id)).unwrap().unwrap();
            assert!(record.starts_with(format!("{id} {round} ").as_bytes()));
        }
    };
    check(&log);
    drop(log);
    let log = DiskLog::open(folder.path()).unwrap();
    check(&log);
    let entries = std::fs::read_dir(folder.path().join(LOG_FOLDER)).unwrap();
    assert_eq!(entries.count(), 3, "the identity, the reserve and one journal");
}

/// Most of the journal is written again before it is longer than a few times what the log holds, also if
/// nobody asks for it.
#[test]
fn a_journal_that_nobody_maintains_does_not_grow_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = DiskLog::open(folder.path()).unwrap();
    let mut longest = 0;
    for round in 0..60u8 {
        let mut batch = Batch::default();
        batch.put_record(MemoryId(round.into()), vec![round; 1 << 20].into(), None);
        batch.remove_record(MemoryId(u64::from(round).wrapping_sub(1)));
        log.commit(&batch, Durability::Buffered).unwrap();
        let journals = journal::paths(&folder.path().join(LOG_FOLDER)).unwrap();
        longest = longest.max(journals.last().unwrap().1.metadata().unwrap().len());
    }
    assert!(longest < 60 << 20, "{longest}");
    assert_eq!(log.record(MemoryId(59)).unwrap().unwrap()[..], vec![59; 1 << 20]);
}
