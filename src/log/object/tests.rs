use std::sync::Arc;

use object_store::memory::InMemory;
use tempfile::TempDir;

use super::*;
use crate::key::MemoryId;
use crate::remote::Limits;

fn open(objects: &Arc<InMemory>) -> (ObjectLog, TempDir) {
    let bucket = Bucket::of(objects.clone(), "agents/anna", "memory://", Limits::default()).unwrap();
    let disk = tempfile::tempdir().unwrap();
    (ObjectLog::open(bucket, &disk.path().join("log"), 1 << 20).unwrap(), disk)
}

fn commit(log: &ObjectLog, id: u64) -> Result<(), Error> {
    let mut batch = Batch::default();
    batch.put_record(MemoryId(id), b"a record", None);
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
