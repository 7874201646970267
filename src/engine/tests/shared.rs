//! Segments that small namespaces share.

use super::*;
use crate::tier::Effort;

fn space(number: usize) -> Namespace {
    Namespace::new(format!("user {number}")).unwrap()
}

/// An engine whose memories stay in HOT, and the number of files that it has.
fn engine(log: &Arc<Refusing>, folder: &Path) -> Engine {
    Engine::over(log.clone(), folder, Config { hot_capacity: 100_000, ..tiny() }).unwrap()
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("segments")).unwrap().count()
}

/// Stores `count` memories for each of the `namespaces`.
fn fill(engine: &Engine, namespaces: std::ops::Range<usize>, count: usize) -> Vec<MemoryId> {
    let memory = |number: usize| {
        NewMemory::new(text(number)).namespace(space(namespaces.start + number % namespaces.len()))
    };
    let stored = engine.store_batch((0..namespaces.len() * count).map(memory).collect()).unwrap();
    stored.iter().map(MemoryId::from).collect()
}

/// The numbers of memories that recalls find in each namespace.
fn found(engine: &Engine, namespaces: usize) -> Vec<usize> {
    let ask = |number| Query::text("harbour").namespace(space(number)).limit(usize::MAX).touch(false);
    (0..namespaces).map(|number| engine.recall(ask(number)).unwrap().hits.len()).collect()
}

#[test]
fn small_namespaces_share_a_file_and_a_refused_commit_takes_it_back() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let engine = engine(&log, folder.path());
    let ids = fill(&engine, 0..50, 3);
    for _ in 0..2 {
        log.countdown.store(1, Ordering::SeqCst);
        assert!(matches!(engine.consolidate(), Err(Error::NoSpace { .. })));
        assert_eq!((files(folder.path()), found(&engine, 50)), (0, vec![3; 50]));
    }
    engine.consolidate().unwrap();
    assert_eq!((files(folder.path()), found(&engine, 50)), (1, vec![3; 50]));
    // Two of each are forgotten, and all of the last.
    engine.forget_batch(&ids[..100]).unwrap();
    engine.forget(ids[149]).unwrap();
    let left = || [vec![1; 49], vec![0]].concat();
    log.countdown.store(1, Ordering::SeqCst);
    assert!(matches!(engine.consolidate(), Err(Error::NoSpace { .. })));
    assert_eq!((files(folder.path()), found(&engine, 50)), (1, left()));
    engine.compact().unwrap();
    assert_eq!((files(folder.path()), found(&engine, 50)), (1, left()));
    assert_eq!(engine.stats().namespaces.len(), 49);
    engine.forget_batch(&ids).unwrap();
    engine.compact().unwrap();
    assert_eq!((files(folder.path()), engine.stats().namespaces.len()), (0, 0));
}

#[test]
fn a_namespace_that_changes_while_a_shared_segment_is_written_is_left_out() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let engine = engine(&log, folder.path());
    let ids = fill(&engine, 0..10, 3);
    let work = engine.shared.lock_writer().tiers[0].upkeep(Effort::All).unwrap();
    let done = work().unwrap();
    fill(&engine, 4..5, 1);
    engine.forget(ids[7]).unwrap();
    let mut batch = Batch::default();
    let mut writer = engine.shared.lock_writer();
    let changed = writer.tiers[0].apply(done, &mut batch).unwrap();
    log.commit(&batch, Durability::Buffered).unwrap();
    engine.shared.publish(&mut writer, changed.clone());
    drop(writer);
    assert_eq!((changed.len(), files(folder.path())), (9, 1));
    let expected = [3, 3, 3, 3, 4, 3, 3, 2, 3, 3];
    assert_eq!(found(&engine, 10), expected);
    std::mem::forget(engine);
    let engine = self::engine(&log, folder.path());
    assert_eq!(found(&engine, 10), expected);
    engine.consolidate().unwrap();
    assert_eq!((files(folder.path()), found(&engine, 10)), (1, expected.to_vec()));
}

#[test]
fn a_namespace_that_has_grown_gets_a_file_of_its_own() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let open = || engine(&log, folder.path());
    let engine = open();
    let mut ids = Vec::new();
    for round in 1..=9 {
        // Too few at a time for a file of its own.
        ids.extend(fill(&engine, 0..1, 500));
        fill(&engine, 1..9, 2);
        engine.consolidate().unwrap();
        assert_eq!(found(&engine, 9), [vec![500 * round], vec![2 * round; 8]].concat());
        assert_eq!(files(folder.path()), if round < 9 { 1 } else { 2 }, "round {round}");
    }
    engine.forget_batch(&ids[..100]).unwrap();
    drop(engine);
    let engine = open();
    let expected = [vec![4_400], vec![18; 8]].concat();
    assert_eq!(found(&engine, 9), expected);
    assert!(engine.get(ids[100]).unwrap().is_some() && engine.get(ids[99]).unwrap().is_none());
    engine.compact().unwrap();
    assert_eq!((files(folder.path()), found(&engine, 9)), (2, expected));
}

/// Before, each took a file, and a mapping of the process: 65,400 of them were all that there are.
#[test]
fn many_namespaces_take_few_files_and_mappings() {
    const COUNT: usize = 3_000;
    let (folder, log) = (tempfile::tempdir().unwrap(), Arc::new(Refusing::default()));
    let config = Config { hot_capacity: 0, warm_capacity: 0, ..tiny() };
    let open = || Engine::over(log.clone(), folder.path(), config.clone()).unwrap();
    let engine = open();
    fill(&engine, 0..COUNT, 1);
    engine.consolidate().unwrap();
    assert_eq!(engine.stats().memories, [0, 0, COUNT]);
    assert_eq!(files(folder.path()), 1);
    drop(engine);
    let engine = open();
    assert_eq!(found(&engine, COUNT), vec![1; COUNT]);
    // Part of the file belongs to each.
    let mapped = engine.stats().bytes[2].mapped;
    let file = std::fs::read_dir(folder.path().join("segments")).unwrap().next().unwrap().unwrap();
    let length = file.metadata().unwrap().len();
    assert!((length - COUNT as u64..=length).contains(&mapped), "{mapped} of {length}");
}
