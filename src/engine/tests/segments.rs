//! The files of segments, and what the log says of them.

use super::*;
use crate::engine::open::take_out;
use crate::memory::Stored;
use crate::tier::Effort;
use crate::tier::files::{OpenedFiles, SegmentFiles};

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
    let ids = engine.store_batch((0..20).map(|word| NewMemory::new(text(word))).collect()).unwrap();
    // One of the segments that were packed is another one by now.
    let done = written();
    let more = engine.store(text(20)).unwrap();
    put_in_place(done);
    assert_eq!((files(), everything(&engine).len()), (0, 21));
    // Nothing is left of them.
    let done = written();
    engine.forget_batch(ids.iter().chain([&more])).unwrap();
    put_in_place(done);
    assert_eq!((files(), everything(&engine).len()), (0, 0));
}

/// Packing them later would write each twice.
#[test]
fn a_large_batch_is_in_files_at_once_and_not_in_the_log() {
    const COUNT: usize = 37_000;
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let config = Config { hot_capacity: 20_000, warm_capacity: 100_000, ..tiny() };
    let open = || Engine::over(log.clone(), folder.path(), config.clone()).unwrap();
    let engine = open();
    log.countdown.store(1, Ordering::SeqCst);
    let memories = || (0..COUNT).map(|word| NewMemory::new(text(word))).collect();
    assert!(matches!(engine.store_batch(memories()), Err(Error::NoSpace { .. })));
    assert_eq!(engine.stats().total(), 0);
    let ids = engine.store_batch(memories()).unwrap();
    let recorded = |of: &[Stored]| {
        of.iter()
            .filter(|stored| log.log.contains(Table::Records, &stored.id.0.to_be_bytes()).unwrap())
            .count()
    };
    assert_eq!(engine.stats().memories, [20_000, 17_000, 0]);
    assert_eq!(recorded(&ids), 0);
    let (first, last) = (ids[0].id, ids[COUNT - 1].id);
    for id in [first, last] {
        assert!(engine.get(id).unwrap().is_some());
        assert!(engine.forget(id).unwrap() && !engine.forget(id).unwrap());
        assert!(engine.get(id).unwrap().is_none());
    }
    std::mem::forget(engine);
    let engine = open();
    assert_eq!(engine.stats().memories, [20_000 - 1, 17_000 - 1, 0]);
    engine.consolidate().unwrap();
    assert_eq!((recorded(&ids), everything(&engine).len()), (0, COUNT - 2));
}

/// Before, loose segments piled up, and the log with them.
#[test]
fn those_who_store_pack_memories_if_nobody_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(Refusing::default());
    let config = Config { hot_capacity: usize::MAX, memory_budget: 128 << 20, ..tiny() };
    let engine = Engine::over(log.clone(), folder.path(), config).unwrap();
    for part in 0..20 {
        let some = (0..4_000).map(|word| NewMemory::new(text(part * 4_000 + word)));
        engine.store_batch(some.collect()).unwrap();
    }
    let loose = engine.shared.lock_writer().tiers[0].size().loose;
    assert!(loose <= 8 << 20, "{loose} bytes are loose");
    let files = std::fs::read_dir(folder.path().join("segments")).unwrap().count();
    assert!(files > 0 && engine.stats().total() == 80_000);
}

/// Before, they stayed in the log until the next opening.
#[test]
fn memories_that_are_stored_and_packed_with_one_commit_leave_the_log() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let open = |hot_capacity| {
        let config = Config { hot_capacity, warm_capacity: 100_000, ..tiny() };
        Engine::over(log.clone(), folder.path(), config).unwrap()
    };
    let some = |count| (0..count).map(|word| NewMemory::new(text(word))).collect();
    open(1_000).store_batch(some(1_000)).unwrap();
    let engine = open(10);
    engine.store_batch(some(16_383)).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("segments")).unwrap().count(), 2);
    engine.consolidate().unwrap();
    assert_eq!(log.recorded().unwrap().len(), 0);
    assert_eq!(everything(&engine).len(), 17_383);
}

/// Before, memories whose record was in the log, and whose placement was not, were lost.
#[test]
fn memories_that_are_taken_out_of_a_file_are_in_the_log_with_their_place() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let config = Config { hot_capacity: 0, warm_capacity: 1_000, ..tiny() };
    let engine = Engine::over(log.clone(), folder.path(), config.clone()).unwrap();
    let ids = engine.store_batch((0..100).map(|word| NewMemory::new(text(word))).collect()).unwrap();
    engine.consolidate().unwrap();
    drop(engine);
    let shared: Arc<dyn Log> = log.clone();
    let OpenedFiles { segments, .. } =
        SegmentFiles::open(&folder.path().join("segments"), None, &shared).unwrap();
    // As a kill leaves it between two commits.
    let mut batch = Batch::default();
    let memory = segments[0].segment.memory(0, 1).unwrap();
    batch.put_record(memory.row.id, memory.record.clone(), None);
    log.commit(&batch, Durability::Buffered).unwrap();
    segments.iter().for_each(|opened| take_out(opened, &*log).unwrap());
    assert!(shared.segments().unwrap().is_empty());
    let engine = Engine::over(log.clone(), folder.path(), config).unwrap();
    assert_eq!(
        everything(&engine).into_keys().collect::<Vec<_>>(),
        ids.iter().map(MemoryId::from).collect::<Vec<_>>()
    );
}

/// Before, its row was in the new segment twice, which was refused as damaged.
#[test]
fn a_memory_that_is_listed_twice_moves_once() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let config = Config { hot_capacity: 0, warm_capacity: 100, ..tiny() };
    let engine = Engine::over(log.clone(), folder.path(), config).unwrap();
    let id = engine.store(text(1)).unwrap().id;
    let namespace = engine.shared.space(&Namespace::default()).unwrap().id;
    let way = Move { from: TierKind::Warm, to: TierKind::Cold, now: Timestamp::now() };
    let twice = vec![Placed { id, namespace }; 2];
    assert_eq!(engine.shared.move_all(twice, way, &mut Left::default()).unwrap(), 1);
    assert_eq!(engine.stats().memories, [0, 0, 1]);
}

/// Before, the recall that read a view last freed it: 10 ms in place of 0.1 ms after a merge.
#[test]
fn a_view_that_a_recall_has_read_is_freed_by_the_writer() {
    let engine = Engine::in_memory(Config { background: false, ..tiny() }).unwrap();
    engine.store(text(0)).unwrap();
    let space = engine.shared.space(&Namespace::default()).unwrap();
    let view = space.view.load_full();
    let retired = Arc::downgrade(&view);
    engine.store(text(1)).unwrap();
    drop(view);
    assert!(retired.upgrade().is_some(), "the reader freed it");
    engine.store(text(2)).unwrap();
    assert!(retired.upgrade().is_none(), "the writer did not free it at the next store");

    let retired = Arc::downgrade(&space.view.load_full());
    engine.store(text(3)).unwrap();
    assert!(retired.upgrade().is_none(), "nobody read it");
}

/// Views may be the last to hold segments that were merged.
#[test]
fn retired_views_are_freed_by_upkeep_where_nothing_is_stored() {
    let engine = Engine::in_memory(Config { background: false, ..tiny() }).unwrap();
    engine.store(text(0)).unwrap();
    let space = engine.shared.space(&Namespace::default()).unwrap();
    let view = space.view.load_full();
    engine.store(text(1)).unwrap();
    let retired = Arc::downgrade(&view);
    drop(view);
    engine.consolidate().unwrap();
    assert!(retired.upgrade().is_none());
}
