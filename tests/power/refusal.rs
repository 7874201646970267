//! The operating system refuses calls from some moment on: the disk is full, fails or becomes
//! read-only, or no more files can be opened. Every operation either succeeds, or returns the
//! reason and has no effect. Stored memories can still be read. Writes work again once the cause is
//! gone.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use mnemocore::{Durability, Engine, Error, MemoryId, Namespace, NewMemory, Timestamp};

use crate::common::{copy, everything, find, note, spread, tiny, word};
use crate::trace::{self, Refusal};

const STORED: usize = 40;
const YEAR: i64 = 365 * 86_400_000;

/// A cause, the possible names of its errors, and whether open files can still be read.
struct Cause {
    name: &'static str,
    error: i32,
    calls: &'static [&'static str],
    kinds: &'static [ErrorKind],
    reads: bool,
}

const CAUSES: [Cause; 6] = [
    Cause {
        name: "no space",
        error: libc::ENOSPC,
        calls: &["write", "pwrite", "ftruncate", "create", "mkdir", "rename"],
        kinds: &[ErrorKind::StorageFull],
        reads: true,
    },
    Cause {
        name: "a failing disk",
        error: libc::EIO,
        calls: &["write", "pwrite", "ftruncate", "fsync", "fdatasync"],
        kinds: &[ErrorKind::Other],
        reads: true,
    },
    Cause {
        name: "a disk that syncs nothing",
        error: libc::EIO,
        calls: &["fsync", "fdatasync"],
        kinds: &[ErrorKind::Other],
        reads: true,
    },
    Cause {
        name: "a read-only disk",
        error: libc::EROFS,
        calls: &["write", "pwrite", "ftruncate", "create", "mkdir", "rename", "unlink"],
        kinds: &[ErrorKind::ReadOnlyFilesystem],
        reads: true,
    },
    Cause {
        name: "no permission",
        error: libc::EACCES,
        calls: &["create", "mkdir", "rename", "unlink"],
        kinds: &[ErrorKind::PermissionDenied],
        reads: true,
    },
    Cause { name: "no open files left", error: libc::EMFILE, calls: &["open"], kinds: &[], reads: false },
];

impl Cause {
    /// Fails unless the error names the refused action.
    fn check(&self, error: &Error, context: &str) {
        match error {
            Error::NoSpace { .. } if self.error == libc::ENOSPC => {}
            Error::Io { source, .. } if self.error != libc::ENOSPC => {
                let is = self.kinds.contains(&source.kind()) || source.raw_os_error() == Some(self.error);
                let text = source.to_string();
                let says = text.contains("Input/output error") || text.contains("Too many open files");
                assert!(is || says, "{context}: {source:?}");
            }
            error => panic!("{context}: {error:?}"),
        }
    }
}

/// Memories that must be in the store, and counts of the attempts.
#[derive(Clone, Default)]
struct Expected {
    memories: BTreeMap<MemoryId, String>,
    tried: usize,
    refused: usize,
    /// Times that nothing could be read.
    closed: usize,
}

impl Expected {
    fn of(engine: &Engine) -> Self {
        let memories = everything(engine, &Namespace::default()).into_iter().collect();
        Self { memories, tried: STORED, ..Self::default() }
    }

    fn some(&mut self, count: usize) -> Vec<String> {
        self.tried += count;
        (self.tried - count..self.tried).map(|number| note(&word(number))).collect()
    }

    /// Records the result of an operation.
    fn result<T>(
        &mut self,
        cause: &Cause,
        context: &str,
        result: Result<T, Error>,
        done: impl FnOnce(&mut Self, T),
    ) {
        match result {
            Ok(value) => done(self, value),
            Err(error) => {
                cause.check(&error, context);
                self.refused += 1;
            }
        }
    }

    /// If a call is refused while the log is closed to be reopened, the log stays closed until
    /// later calls reopen it.
    fn check_unless_closed(&mut self, engine: &Engine, cause: &Cause, context: &str) {
        let first = self.memories.keys().next().copied().unwrap_or_default();
        match engine.get(first) {
            Ok(_) if cause.reads => self.check(engine),
            Ok(_) => {}
            Err(error) => {
                cause.check(&error, context);
                self.closed += 1;
            }
        }
    }

    fn check(&self, engine: &Engine) {
        let all: BTreeMap<_, _> = everything(engine, &Namespace::default()).into_iter().collect();
        assert_eq!(all, self.memories);
        assert_eq!(engine.stats().total(), self.memories.len());
        for (&id, text) in &self.memories {
            assert_eq!(engine.get(id).unwrap().unwrap().text, *text);
        }
    }
}

/// Every kind of operation, some of which are refused.
fn operate(engine: &Engine, expected: &mut Expected, cause: &Cause, context: &str) {
    for round in 0..2 {
        for text in expected.some(2) {
            let durability =
                if expected.tried.is_multiple_of(2) { Durability::Synced } else { Durability::Buffered };
            let stored = engine.store_with(text.as_str(), durability).map(MemoryId::from);
            expected.result(cause, context, stored, |expected, id| {
                assert!(expected.memories.insert(id, text).is_none(), "{context}: id {id} was given twice");
            });
        }
        let batch = expected.some(20);
        let memories = batch.iter().map(NewMemory::new).collect();
        expected.result(cause, context, engine.store_batch(memories), |expected, ids| {
            expected.memories.extend(ids.iter().map(MemoryId::from).zip(batch));
        });
        let ids: Vec<MemoryId> = expected.memories.keys().copied().skip(round).step_by(17).collect();
        expected.result(cause, context, engine.forget_batch(&ids), |expected, forgotten| {
            assert_eq!(forgotten, ids);
            ids.iter().for_each(|id| drop(expected.memories.remove(id)));
        });
        expected.check_unless_closed(engine, cause, context);
        let now = Timestamp(Timestamp::now().0 + round as i64 * YEAR);
        expected.result(cause, context, engine.consolidate_at(now), |_, _| ());
        expected.result(cause, context, engine.compact(), |_, ()| ());
        expected.check_unless_closed(engine, cause, context);
    }
}

/// Runs one case. Returns whether anything was refused, and whether reads failed meanwhile.
fn refuse(whole: &Path, cause: &Cause, after: usize) -> (bool, bool) {
    let folder = tempfile::tempdir().unwrap();
    copy(whole, folder.path());
    trace::start(folder.path());
    let context = format!("{} after {after} calls", cause.name);
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    let mut expected = Expected::of(&engine);
    trace::refuse(Some(Refusal { error: cause.error, calls: cause.calls, after }));
    operate(&engine, &mut expected, cause, &context);
    if cause.reads && !cause.calls.contains(&"ftruncate") {
        // What was refused is not there either if the process ends while the cause lasts.
        let killed = tempfile::tempdir().unwrap();
        copy(folder.path(), killed.path());
        expected.check(
            &Engine::open(killed.path(), tiny()).unwrap_or_else(|error| panic!("{context}: {error:?}")),
        );
    }
    let refused = trace::refuse(None) > 0;
    assert!(refused || expected.refused == 0, "{context}: {} errors", expected.refused);
    // The cause is gone.
    let text = note("afterwards");
    let id = engine.store(text.as_str()).unwrap_or_else(|error| panic!("{context}: {error:?} afterwards")).id;
    expected.memories.insert(id, text);
    expected.check(&engine);
    // As a kill at this moment leaves it.
    let killed = tempfile::tempdir().unwrap();
    copy(folder.path(), killed.path());
    expected
        .check(&Engine::open(killed.path(), tiny()).unwrap_or_else(|error| panic!("{context}: {error:?}")));
    engine.consolidate().unwrap();
    engine.compact().unwrap();
    expected.check(&engine);
    engine.close().unwrap();
    trace::stop();
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    expected.check(&engine);
    assert_eq!(find(&engine, "afterwards").unwrap().0, id);
    (refused, expected.closed > 0)
}

#[test]
fn whatever_call_is_refused_says_so_loses_nothing_and_works_again_afterwards() {
    let _alone = crate::alone();
    let whole = tempfile::tempdir().unwrap();
    drop(spread(whole.path(), STORED));
    let steps = crate::number("MNEMO_REFUSALS", 12) as usize;
    for cause in &CAUSES {
        // Refuses first after each call in turn, then after larger steps, until no call is refused.
        let (mut after, mut cases, mut closed) = (0, 0, 0);
        while let (true, unread) = refuse(whole.path(), cause, after) {
            assert!(!unread || after > 0 || !cause.reads, "{}: what is stored cannot be read", cause.name);
            cases += 1;
            closed += usize::from(unread);
            after += 1 + after / steps;
        }
        println!("{}: {cases} cases, up to {after} calls; not to be read in {closed}", cause.name);
        assert!(cases > 5, "{} is hardly ever refused", cause.name);
    }
}
