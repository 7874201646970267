//! A process is forked while an engine is open.
#![allow(unsafe_code, reason = "forks, and waits for what it has forked")]

use std::path::Path;

use mnemocore::{Engine, Error, MemoryId, NewMemory, Query};

use super::common::{assert_complete, find, note, spread, tiny, word};

const OWN: usize = 48;

/// A child that runs `act` and says whether it returned true. It is ended after a while,
/// in case it waits for a thread that it does not have.
fn forked(act: impl FnOnce() -> bool) -> libc::pid_t {
    // SAFETY: the child runs what the parent could, with one thread. glibc makes
    // allocation work in it; the locks of the engine are what the test is about.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: takes no memory and returns nowhere.
            unsafe {
                libc::alarm(20);
                libc::_exit(i32::from(!act()))
            }
        }
        child => {
            assert!(child > 0, "{}", std::io::Error::last_os_error());
            child
        }
    }
}

/// Whether the child has returned true.
fn succeeded(child: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: waits for a child of this process and writes its status.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    waited == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

fn is_forked<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Forked { opened_by, used_by, .. })
        if opened_by != used_by && used_by == std::process::id())
}

/// Whether each verb says that it is in a forked process.
fn all_refuse(engine: &Engine) -> bool {
    let many = (0..100).map(|number| NewMemory::new(note(&word(number)))).collect();
    is_forked(engine.store(note("child")))
        && is_forked(engine.store_batch(many))
        && is_forked(engine.recall(Query::text("journal")))
        && is_forked(engine.synthesize(Query::text("journal")))
        && is_forked(engine.get(MemoryId(0)))
        && is_forked(engine.forget(MemoryId(0)))
        && is_forked(engine.consolidate())
        && is_forked(engine.compact())
}

fn open(folder: &Path) -> Engine {
    drop(spread(folder, OWN));
    // With the background thread, which a child does not have.
    Engine::open(folder, tiny().background(true)).unwrap()
}

#[test]
fn a_forked_process_is_refused_by_every_verb_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    assert!(succeeded(forked(|| all_refuse(&engine))));
    engine.store(note(&word(OWN))).unwrap();
    drop(engine);
    assert_complete(&Engine::open(folder.path(), tiny()).unwrap(), OWN + 1);
}

#[test]
fn a_forked_process_that_closes_or_drops_the_engine_leaves_its_parent_the_store() {
    for closes in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path());
        let engine = {
            let mut slot = Some(engine);
            let child = forked(|| {
                let Some(engine) = slot.take() else { return false };
                if closes { is_forked(engine.close()) } else { true }
            });
            assert!(succeeded(child), "closes: {closes}");
            slot.unwrap()
        };
        // The store is still locked, and takes memories.
        assert!(matches!(Engine::open(folder.path(), tiny()).err(), Some(Error::Locked { .. })));
        engine.store(note(&word(OWN))).unwrap();
        engine.compact().unwrap();
        assert_complete(&engine, OWN + 1);
        engine.close().unwrap();
        assert_complete(&Engine::open(folder.path(), tiny()).unwrap(), OWN + 1);
    }
}

#[test]
fn a_store_can_be_closed_and_opened_again_while_a_forked_process_lives() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let child = forked(|| {
        // SAFETY: waits to be ended.
        unsafe { libc::pause() };
        false
    });
    engine.store(note(&word(OWN))).unwrap();
    engine.compact().unwrap();
    engine.close().unwrap();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    assert_complete(&engine, OWN + 1);
    // SAFETY: ends a child of this process.
    unsafe { libc::kill(child, libc::SIGKILL) };
    assert!(!succeeded(child));
}

/// It would wait for threads that it does not have, sooner or later.
#[test]
fn a_forked_process_is_refused_another_store_too() {
    let folder = tempfile::tempdir().unwrap();
    let (own, childs) = (folder.path().join("own"), folder.path().join("childs"));
    let engine = open(&own);
    let child = forked(|| {
        matches!(Engine::open(&own, tiny()).err(), Some(Error::Locked { .. }))
            && is_forked(Engine::open(&childs, tiny()))
            && is_forked(Engine::in_memory(tiny()))
    });
    assert!(succeeded(child));
    engine.close().unwrap();
    assert_complete(&Engine::open(&own, tiny()).unwrap(), OWN);
    Engine::open(&childs, tiny()).unwrap().store(note("parent")).unwrap();
}

#[test]
fn an_engine_in_memory_is_not_shared_with_a_forked_process() {
    let engine = Engine::in_memory(tiny().background(true)).unwrap();
    engine.store(note("parent")).unwrap();
    assert!(succeeded(forked(|| all_refuse(&engine))));
    assert!(find(&engine, "parent").is_some());
}
