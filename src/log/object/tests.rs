use std::sync::Arc;

use object_store::memory::InMemory;
use tempfile::TempDir;

use super::open::open_copy;
use super::*;
use crate::key::MemoryId;
use crate::log::StoreLock;
use crate::remote::Limits;

fn open(objects: &Arc<InMemory>) -> (ObjectLog, TempDir) {
    let bucket = Bucket::of(objects.clone(), "agents/anna", "memory://", Limits::default()).unwrap();
    let disk = tempfile::tempdir().unwrap();
    (ObjectLog::open(bucket, disk.path()).unwrap(), disk)
}

fn snapshot(objects: &Arc<InMemory>, disk: &TempDir) -> ObjectLog {
    let bucket = Bucket::of(objects.clone(), "agents/anna", "memory://", Limits::default()).unwrap();
    ObjectLog::snapshot(bucket, disk.path()).unwrap()
}

fn value(log: &ObjectLog, id: u64) -> Option<Vec<u8>> {
    log.record(MemoryId(id)).unwrap().map(|record| record.to_vec())
}

fn commit(log: &ObjectLog, id: u64) -> Result<(), Error> {
    let mut batch = Batch::default();
    batch.put_record(MemoryId(id), b"a record".as_slice().into(), None);
    log.commit(&batch, Durability::Buffered)
}

#[test]
fn a_writer_that_was_away_for_a_week_with_a_commit_in_doubt_overwrites_nothing() {
    let objects = Arc::new(InMemory::new());
    let (first, _here) = open(&objects);
    commit(&first, 1).unwrap();
    {
        let mut head = lock(&first.head);
        head.doubt = Some(Changes::new());
        head.heard = None;
    }
    let (second, _there) = open(&objects);
    (2..5).for_each(|id| commit(&second, id).unwrap());
    second.compact().unwrap();
    // As after a week.
    let fence = lock(&first.head).next;
    second.bucket.delete(vec![Span::of(fence).name()]).unwrap();
    assert!(matches!(commit(&first, 9), Err(Error::Fenced { .. })));
}

#[test]
fn what_only_the_copy_lacks_is_not_committed_again() {
    let objects = Arc::new(InMemory::new());
    let (log, _here) = open(&objects);
    let mut batch = Batch::default();
    batch.put_record(MemoryId(1), [7; 10_000].as_slice().into(), None);
    log.commit(&batch, Durability::Buffered).unwrap();
    // As if the copy's disk had been full.
    let lacking = changes(&batch);
    let mut removed = Batch::default();
    lacking.keys().for_each(|(table, key)| removed.change(*table, key.clone(), None));
    log.local.commit(&removed, Durability::Buffered).unwrap();
    write(&log.overlay).extend(lacking.clone());
    lock(&log.head).lacking = lacking;
    let sent = log.bucket.traffic().sent;
    commit(&log, 2).unwrap();
    assert!(log.bucket.traffic().sent - sent < 1_000);
    assert!(read(&log.overlay).is_empty() && lock(&log.head).lacking.is_empty());
    assert_eq!(value(&log, 1).unwrap(), [7; 10_000]);
}

#[test]
fn what_the_copy_lacked_does_not_come_back_after_a_later_commit() {
    let objects = Arc::new(InMemory::new());
    let (log, _here) = open(&objects);
    let key = (Table::Records, MemoryId(1).0.to_be_bytes().to_vec());
    for later in [Some(b"new".to_vec()), None] {
        let lacking = Changes::from([(key.clone(), Some(b"old".as_slice().into()))]);
        write(&log.overlay).extend(lacking.clone());
        lock(&log.head).lacking = lacking;
        let mut batch = Batch::default();
        batch.change(key.0, key.1.clone(), later.as_deref().map(Arc::from));
        log.commit(&batch, Durability::Buffered).unwrap();
        assert_eq!(value(&log, 1), later);
        commit(&log, 2).unwrap();
        let there = tempfile::tempdir().unwrap();
        assert_eq!((value(&log, 1), value(&snapshot(&objects, &there), 1)), (later.clone(), later));
    }
}

#[test]
fn what_was_removed_while_a_copy_was_half_made_is_not_in_it() {
    let objects = Arc::new(InMemory::new());
    let (log, _here) = open(&objects);
    commit(&log, 1).unwrap();
    let there = tempfile::tempdir().unwrap();
    let local = open_copy(&Arc::new(StoreLock::acquire(there.path()).unwrap())).unwrap();
    // The first part of a copy of what was there when memory 9 was, and no more.
    let mut part = Batch::default();
    part.put_setting(LOG, lock(&log.head).log);
    part.put_record(MemoryId(9), b"removed since".as_slice().into(), None);
    local.commit(&part, Durability::Buffered).unwrap();
    drop(local);
    let snapshot = snapshot(&objects, &there);
    assert!(value(&snapshot, 1).is_some() && value(&snapshot, 9).is_none());
}
