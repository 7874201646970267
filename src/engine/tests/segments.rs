//! The files of segments, and what the log says of them.

use super::*;
use crate::tier::Effort;

/// Each marked row is an entry of the log that an opening reads.
#[test]
fn many_marked_rows_of_a_segment_become_one_entry_and_stay_dead() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let config = Config { hot_capacity: 0, warm_capacity: 20_000, ..tiny() };
    let open = || Engine::over(log.clone(), folder.path(), config.clone()).unwrap();
    let engine = open();
    let ids = engine.store_batch((0..9_000).map(|word| NewMemory::new(text(word))).collect()).unwrap();
    engine.consolidate().unwrap();
    let (number, _) = (&*log as &dyn Log).segments().unwrap()[0];
    let entries = || {
        let log: &dyn Log = &*log;
        (log.live_rows(number).unwrap().is_some(), log.marked_rows(number).unwrap().len())
    };
    engine.forget_batch(&ids[..4_200]).unwrap();
    assert_eq!(entries(), (false, 4_200));
    log.countdown.store(1, Ordering::SeqCst);
    assert!(matches!(engine.shared.upkeep(Timestamp::now(), false), Err(Error::NoSpace { .. })));
    assert_eq!(entries(), (false, 4_200));
    engine.shared.upkeep(Timestamp::now(), false).unwrap();
    assert_eq!(entries(), (true, 0));
    engine.forget_batch(&ids[4_200..4_210]).unwrap();
    assert_eq!(entries(), (true, 10));
    drop(engine);
    let engine = open();
    let left: Vec<MemoryId> = everything(&engine).into_keys().collect();
    assert_eq!(left, ids[4_210..].iter().map(MemoryId::from).collect::<Vec<_>>());
    engine.consolidate().unwrap();
    assert_eq!(entries(), (false, 0), "the segment is gone");
    drop(engine);
    assert_eq!(everything(&open()).len(), 4_790);
}

/// Before, a file that nothing lists stayed until the next opening, with texts that were forgotten.
#[test]
fn a_file_that_is_of_no_use_any_more_when_it_is_written_is_deleted() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let config = Config { hot_capacity: 100, ..tiny() };
    let engine = Engine::over(log.clone(), folder.path(), config).unwrap();
    let files = || std::fs::read_dir(folder.path().join("segments")).unwrap().count();
    let written = || {
        let work = engine.shared.lock_writer().tiers[0].upkeep(Effort::All).unwrap();
        let done = work().unwrap();
        assert_eq!(files(), 1);
        done
    };
    let put_in_place = |done| {
        let mut batch = Batch::default();
        engine.shared.lock_writer().tiers[0].apply(done, &mut batch).unwrap();
        log.commit(&batch, Durability::Buffered).unwrap();
    };
    let ids = engine.store_batch((0..40).map(|word| NewMemory::new(text(word))).collect()).unwrap();
    // One of the segments that were packed is another one by now.
    let done = written();
    let more = engine.store(text(40)).unwrap();
    put_in_place(done);
    assert_eq!((files(), everything(&engine).len()), (0, 41));
    // Nothing is left of them.
    let done = written();
    engine.forget_batch(ids.iter().chain([&more])).unwrap();
    put_in_place(done);
    assert_eq!((files(), everything(&engine).len()), (0, 0));
}
