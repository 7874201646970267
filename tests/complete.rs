//! `Repair::complete`: if a repair says that it has found everything, nothing is missing, and nothing that was
//! forgotten is back. Damages the journal, the identity and the segments of a store in all combinations.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};

use common::{copy, files_ending, flip, note, tiny, word};
use mnemocore::{Engine, MemoryId, NewMemory, Repair};

/// What must be in a store, and what must not.
#[derive(Clone, Default)]
struct Truth {
    /// The name of the store, which all its texts contain.
    name: &'static str,
    texts: BTreeMap<MemoryId, String>,
    forgotten: Vec<MemoryId>,
}

impl Truth {
    fn store(&mut self, engine: &Engine, count: usize) {
        let first = self.texts.len() + self.forgotten.len();
        let texts: Vec<String> =
            (first..first + count).map(|number| note(&word(number)) + self.name).collect();
        let stored = engine.store_batch(texts.iter().map(NewMemory::new).collect()).unwrap();
        self.texts.extend(stored.iter().map(MemoryId::from).zip(texts));
    }

    fn forget(&mut self, engine: &Engine, count: usize) {
        let ids: Vec<MemoryId> = self.texts.keys().copied().step_by(5).take(count).collect();
        assert_eq!(engine.forget_batch(ids.iter().copied()).unwrap(), ids);
        ids.iter().for_each(|id| drop(self.texts.remove(id)));
        self.forgotten.extend(ids);
    }

    /// The numbers of memories that are missing, and of those that are back.
    fn differences(&self, engine: &Engine) -> (usize, usize) {
        let text = |id: &MemoryId| engine.get(*id).unwrap().map(|memory| memory.text);
        let missing = self.texts.iter().filter(|(id, own)| text(id).as_ref() != Some(own)).count();
        let is_back = |id: &&MemoryId| text(id).is_some_and(|text| text.ends_with(self.name));
        (missing, self.forgotten.iter().filter(is_back).count())
    }
}

/// A store as it was closed or killed, and what helps to damage it.
struct Copy {
    name: &'static str,
    path: PathBuf,
    truth: Truth,
    /// Lengths of its journal after some of its last commits.
    ends: Vec<u64>,
}

/// The only journal of a store.
fn journal(store: &Path) -> PathBuf {
    files_ending(&store.join("log"), "journal").pop().unwrap()
}

/// Copies of a store that was closed, closed later, and killed still later. If it is `quiet`, no segment is written
/// in the second session.
fn make(folder: &Path, name: &'static str, quiet: bool) -> (PathBuf, [Copy; 2]) {
    let (store, mut truth) = (folder.join(name), Truth { name, ..Truth::default() });
    let at = |what: &str| folder.join(format!("{name}-{what}"));
    let engine = Engine::open(&store, tiny()).unwrap();
    truth.store(&engine, 40);
    engine.consolidate().unwrap();
    truth.forget(&engine, 2);
    drop(engine);
    copy(&store, &at("older"));
    let engine = Engine::open(&store, tiny()).unwrap();
    truth.store(&engine, 5);
    truth.forget(&engine, 2);
    if !quiet {
        truth.store(&engine, 25);
        engine.consolidate().unwrap();
    }
    truth.store(&engine, 3);
    drop(engine);
    copy(&store, &at("closed"));
    let closed = truth.clone();
    let engine = Engine::open(&store, tiny()).unwrap();
    let mut ends = Vec::new();
    for round in 0..4 {
        truth.store(&engine, 2);
        if round == 1 {
            truth.forget(&engine, 2);
        }
        ends.push(fs::metadata(journal(&store)).unwrap().len());
    }
    copy(&store, &at("killed"));
    let length = fs::metadata(journal(&at("closed"))).unwrap().len();
    let closed = Copy { name: "closed", path: at("closed"), truth: closed, ends: vec![length] };
    (at("older"), [closed, Copy { name: "killed", path: at("killed"), truth, ends }])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Journal {
    Sound,
    Removed,
    /// Replaced by that of an earlier close.
    Older,
    Foreign,
    /// Cut where its last commit but one ends, as an older copy of it would be.
    CutAtABatch,
    CutWithinTheLastBatch,
    CutInTheMiddle,
    HeaderFlipped,
    MiddleFlipped,
    LastBatchFlipped,
    LastBatchZeroed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    Sound,
    Removed,
    Damaged,
    Older,
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segments {
    Sound,
    NewestRemoved,
    OldestRemoved,
    /// In both headers.
    NewestDamaged,
    OldestDamaged,
}

use Journal::{CutAtABatch, CutInTheMiddle, CutWithinTheLastBatch, HeaderFlipped, LastBatchFlipped};
use Journal::{LastBatchZeroed, MiddleFlipped};

const JOURNALS: [Journal; 11] = [
    Journal::Sound,
    Journal::Removed,
    Journal::Older,
    Journal::Foreign,
    CutAtABatch,
    CutWithinTheLastBatch,
    CutInTheMiddle,
    HeaderFlipped,
    MiddleFlipped,
    LastBatchFlipped,
    LastBatchZeroed,
];
const IDENTITIES: [Identity; 5] =
    [Identity::Sound, Identity::Removed, Identity::Damaged, Identity::Older, Identity::Foreign];
const SEGMENTS: [Segments; 5] = [
    Segments::Sound,
    Segments::NewestRemoved,
    Segments::OldestRemoved,
    Segments::NewestDamaged,
    Segments::OldestDamaged,
];

/// The last batch of a journal, as far as is known.
fn last_batch(copy: &Copy) -> Range<u64> {
    let last = copy.ends[copy.ends.len() - 1];
    copy.ends.iter().rev().nth(1).map_or(last - 30, |end| *end)..last
}

fn damage_journal(damage: Journal, store: &Path, copy: &Copy, older: &Path, foreign: &Path) {
    let path = journal(store);
    let replace = |other: PathBuf| {
        let content = fs::read(&other).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(path.with_file_name(other.file_name().unwrap()), content).unwrap();
    };
    let cut = |length| OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
    let (length, last) = (fs::metadata(&path).unwrap().len(), last_batch(copy));
    match damage {
        Journal::Sound => {}
        Journal::Removed => fs::remove_file(&path).unwrap(),
        Journal::Older => replace(journal(older)),
        Journal::Foreign => replace(journal(foreign)),
        CutAtABatch => cut(last.start),
        CutWithinTheLastBatch => cut(last.start + 10),
        CutInTheMiddle => cut(length / 2),
        HeaderFlipped => flip(&path, 20),
        MiddleFlipped => flip(&path, length as usize / 2),
        LastBatchFlipped => flip(&path, last.end as usize - 3),
        LastBatchZeroed => {
            let mut bytes = fs::read(&path).unwrap();
            bytes[last.start as usize..].fill(0);
            fs::write(&path, bytes).unwrap();
        }
    }
}

fn damage_identity(damage: Identity, store: &Path, older: &Path, foreign: &Path) {
    let path = store.join("log/identity");
    match damage {
        Identity::Sound => {}
        Identity::Removed => fs::remove_file(path).unwrap(),
        Identity::Damaged => flip(&path, 3),
        Identity::Older => drop(fs::copy(older.join("log/identity"), path).unwrap()),
        Identity::Foreign => drop(fs::copy(foreign.join("log/identity"), path).unwrap()),
    }
}

fn damage_segments(damage: Segments, store: &Path) {
    let mut all = files_ending(&store.join("segments"), "seg");
    let (oldest, newest) = (all.remove(0), all.pop().unwrap());
    let damage_both_headers = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let end = bytes.len() - 20;
        [70, end].into_iter().for_each(|at| bytes[at] ^= 1);
        fs::write(path, bytes).unwrap();
    };
    match damage {
        Segments::Sound => {}
        Segments::NewestRemoved => fs::remove_file(newest).unwrap(),
        Segments::OldestRemoved => fs::remove_file(oldest).unwrap(),
        Segments::NewestDamaged => damage_both_headers(&newest),
        Segments::OldestDamaged => damage_both_headers(&oldest),
    }
}

/// Whether nothing in the store tells that it is not all: the last commits of a killed engine are not there, or the
/// journal and the identity are older than the store, and no segment tells.
fn cannot_be_told(copy: &Copy, journal: Journal, identity: Identity) -> bool {
    let is_cut = copy.name == "killed" && journal == CutAtABatch;
    let is_older = journal == Journal::Older && identity == Identity::Older;
    is_cut && matches!(identity, Identity::Sound | Identity::Older) || is_older
}

/// What came of the cases.
#[derive(Debug, Default)]
struct Counts {
    cases: usize,
    complete: usize,
    /// Less than complete, although nothing is missing.
    cautious: usize,
    untold: usize,
}

fn check(repair: &Repair, store: &Path, truth: &Truth, is_excused: bool, case: &str, counts: &mut Counts) {
    let engine = Engine::open(store, tiny()).unwrap_or_else(|error| panic!("{case}: {error}"));
    let (missing, back) = truth.differences(&engine);
    let is_all = (missing, back) == (0, 0);
    counts.cases += 1;
    counts.complete += usize::from(repair.complete);
    counts.cautious += usize::from(is_all && !repair.complete);
    if repair.complete && !is_all {
        assert!(is_excused, "{case}: {missing} are missing and {back} are back: {repair:?}");
        counts.untold += 1;
        return;
    }
    assert!(repair.complete || !repair.damaged.is_empty(), "{case}: it says not why: {repair:?}");
    let id = engine.store("What comes later").unwrap().id;
    let known = truth.texts.contains_key(&id) || truth.forgotten.contains(&id);
    assert!(is_excused || !known, "{case}: {id} is given again");
}

#[test]
fn a_repair_that_calls_itself_complete_has_found_everything() {
    // Hundreds of stores, of which none has to survive a power loss.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let (foreign, _) = make(folder.path(), "foreign", false);
    let (mut counts, case_store) = (Counts::default(), folder.path().join("case"));
    for (name, quiet) in [("quiet", true), ("busy", false)] {
        let (older, copies) = make(folder.path(), name, quiet);
        for (one, journal, identity, segments) in copies.iter().flat_map(|one| {
            let of_identity = move |journal, identity| {
                SEGMENTS.into_iter().map(move |segments| (one, journal, identity, segments))
            };
            JOURNALS.into_iter().flat_map(move |journal| {
                IDENTITIES.into_iter().flat_map(move |identity| of_identity(journal, identity))
            })
        }) {
            copy(&one.path, &case_store);
            damage_journal(journal, &case_store, one, &older, &foreign);
            damage_identity(identity, &case_store, &older, &foreign);
            damage_segments(segments, &case_store);
            let case = format!(
                "{name}, {}, journal {journal:?}, identity {identity:?}, segments {segments:?}",
                one.name
            );
            let repair =
                Engine::repair(&case_store, tiny()).unwrap_or_else(|error| panic!("{case}: {error}"));
            if (journal, identity, segments) == (Journal::Sound, Identity::Sound, Segments::Sound) {
                assert!(repair.complete && repair.damaged.is_empty(), "{case}: {repair:?}");
            }
            let is_excused = cannot_be_told(one, journal, identity);
            check(&repair, &case_store, &one.truth, is_excused, &case, &mut counts);
            fs::remove_dir_all(&case_store).unwrap();
        }
    }
    println!("{counts:?}");
    assert!(counts.cases == 1_100 && counts.complete >= 8 && counts.untold > 0);
}
