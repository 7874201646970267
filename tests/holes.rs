//! Holes in a journal: what was synced is never dropped in silence, and nothing is deleted.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{copy, files_ending, note, tiny, word};
use mnemocore::{Durability, Engine, Error, Repair};

const MEMORIES: usize = 300;

/// The least that disks write at once.
const SECTOR: usize = 512;

/// A killed store of [`MEMORIES`] texts, all of which are in the journal.
struct Killed {
    folder: tempfile::TempDir,
    texts: Vec<String>,
}

impl Killed {
    fn make(durability: Durability, text: impl Fn(usize) -> String) -> Self {
        let killed = Self { folder: tempfile::tempdir().unwrap(), texts: (0..MEMORIES).map(text).collect() };
        let origin = killed.folder.path().join("origin");
        let config = tiny().hot_capacity(1_000).background(false).durability(durability);
        let engine = Engine::open(&origin, config).unwrap();
        for text in &killed.texts {
            engine.store(text.as_str()).unwrap();
        }
        copy(&origin, &killed.store());
        killed
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Changes the journal of a fresh copy of the store.
    fn damaged(&self, change: impl FnOnce(&mut [u8])) -> tempfile::TempDir {
        let case = tempfile::tempdir().unwrap();
        copy(&self.store(), case.path());
        let journal = journal(case.path());
        let mut bytes = fs::read(&journal).unwrap();
        change(&mut bytes);
        fs::write(journal, bytes).unwrap();
        case
    }

    /// The texts that a store has, which are texts of this one.
    fn kept(&self, store: &Path) -> Vec<usize> {
        let engine = Engine::open(store, tiny().hot_capacity(1_000)).unwrap();
        let texts = (0..MEMORIES as u64).filter_map(|id| engine.get(mnemocore::MemoryId(id)).unwrap());
        let kept: Vec<usize> = texts
            .map(|memory| {
                let number = self.texts.iter().position(|text| *text == memory.text);
                number.unwrap_or_else(|| panic!("nobody stored {:?}", memory.text))
            })
            .collect();
        assert_eq!(engine.stats().total(), kept.len());
        kept
    }
}

fn journal(store: &Path) -> PathBuf {
    files_ending(&store.join("log"), "journal").pop().unwrap()
}

fn set_aside(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().contains("journal.damaged-")).collect();
    found.sort();
    found
}

fn repair(store: &Path) -> Repair {
    Engine::repair(store, tiny()).unwrap()
}

/// Where a text begins in the journal.
fn place(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

/// Before, 20 memories of 300 were left, and the others were cut off the disk.
#[test]
fn a_hole_in_what_was_synced_is_refused_and_costs_only_what_it_hit() {
    let killed = Killed::make(Durability::Synced, |number| note(&word(number)));
    let length = fs::metadata(journal(&killed.store())).unwrap().len() as usize;
    for sector in (SECTOR..length - 4 * SECTOR).step_by(7 * SECTOR) {
        let case = killed.damaged(|bytes| bytes[sector..sector + SECTOR].fill(0));
        let before = fs::read(journal(case.path())).unwrap();
        let refused = Engine::open(case.path(), tiny()).map(drop);
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "hole at {sector}: {refused:?}");
        assert_eq!(fs::read(journal(case.path())).unwrap(), before);
        let repair = repair(case.path());
        assert!(!repair.complete && repair.kept >= MEMORIES - 8, "hole at {sector}: {repair:?}");
        assert_eq!(killed.kept(case.path()).len(), repair.kept);
    }
}

/// Before, what was behind the hole was deleted.
#[test]
fn what_is_behind_a_hole_is_set_aside_and_a_repair_reads_it() {
    let killed = Killed::make(Durability::Buffered, |number| note(&word(number)));
    let case = killed.damaged(|bytes| {
        let at = place(bytes, &killed.texts[150]).next_multiple_of(SECTOR);
        bytes[at..at + SECTOR].fill(0);
    });
    let (bytes, journal) = (fs::read(journal(case.path())).unwrap(), journal(case.path()));
    // A repair of the store keeps what is behind the hole too.
    let other = killed.damaged(|other| other.copy_from_slice(&bytes));
    let repaired = repair(other.path());
    assert!(!repaired.complete && repaired.kept >= MEMORIES - 8, "{repaired:?}");
    let engine = Engine::open(case.path(), tiny()).unwrap();
    let files = engine.repaired_files().to_vec();
    let kept = engine.stats().total();
    assert!((140..160).contains(&kept), "{kept}");
    engine.store("What comes later").unwrap();
    drop(engine);
    let aside = set_aside(case.path());
    assert_eq!((&files[0], &files[1..]), (&journal, &aside[..]));
    let rest = fs::read(&aside[0]).unwrap();
    assert!(bytes.ends_with(&rest[56..]) && rest.len() > 10_000, "{} bytes", rest.len());
    // The next opening leaves it alone.
    assert!(Engine::open(case.path(), tiny()).unwrap().repaired_files().is_empty());
    assert_eq!(set_aside(case.path()), aside);
    // As the journal of another store, it can be repaired.
    let another = tempfile::tempdir().unwrap();
    fs::create_dir(another.path().join("log")).unwrap();
    fs::copy(&aside[0], another.path().join("log/0000000000.journal")).unwrap();
    let behind = repair(another.path());
    assert!(kept + behind.kept >= MEMORIES - 8, "{kept} and {behind:?}");
    assert_eq!(killed.kept(another.path()).len(), behind.kept);
}

/// A text that holds zeros looks like a sector that was never written.
#[test]
fn a_flipped_bit_in_a_text_of_zeros_deletes_nothing() {
    let text = |number: usize| format!("{} {}", note(&word(number)), "\0".repeat(1_100));
    for durability in [Durability::Synced, Durability::Buffered] {
        let killed = Killed::make(durability, text);
        let case = killed.damaged(|bytes| {
            let at = place(bytes, &note(&word(40)));
            bytes[at] ^= 0x20;
        });
        let bytes = fs::read(journal(case.path())).unwrap();
        match Engine::open(case.path(), tiny()) {
            Err(Error::Corrupt { .. }) => {
                assert_eq!(fs::read(journal(case.path())).unwrap(), bytes);
                assert_eq!(repair(case.path()).kept, MEMORIES - 1);
            }
            Ok(engine) => {
                assert_eq!((durability, engine.stats().total()), (Durability::Buffered, 40));
                let rest = fs::read(&set_aside(case.path())[0]).unwrap();
                assert!(bytes.ends_with(&rest[56..]) && rest.len() > 200_000, "{} bytes", rest.len());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The same bytes as a batch of the journal, in a text: the checksum of a batch depends on a number that no
/// text knows.
#[test]
fn a_text_that_looks_like_a_batch_is_no_batch() {
    let forged = |number: usize| {
        let batch = ["BTCH", &"\u{1}\0\0\0\0\0\0\0".repeat(5)].concat();
        format!("{} {}", note(&word(number)), batch.repeat(30))
    };
    let killed = Killed::make(Durability::Synced, forged);
    let case = killed.damaged(|bytes| {
        let at = place(bytes, &note(&word(40)));
        // The header of the batch and the beginning of its text.
        bytes[at - 60..at + 40].fill(0x55);
    });
    assert!(matches!(Engine::open(case.path(), tiny()), Err(Error::Corrupt { .. })));
    assert_eq!(repair(case.path()).kept, MEMORIES - 1);
    assert!(!killed.kept(case.path()).contains(&40));
}

#[test]
fn a_journal_of_another_version_is_refused_by_name() {
    let killed = Killed::make(Durability::Buffered, |number| note(&word(number)));
    // A header as a newer or an older engine writes it: the checksum is right, the version is not.
    let case = killed.damaged(|bytes| {
        bytes[8] = 1;
        let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..48]);
        bytes[48..56].copy_from_slice(&checksum.to_le_bytes());
    });
    let (opened, repaired) =
        (Engine::open(case.path(), tiny()).map(drop), Engine::repair(case.path(), tiny()).map(drop));
    for refused in [opened, repaired] {
        assert!(
            matches!(refused, Err(Error::Incompatible { what: "version of the journal", expected: 1, .. })),
            "{refused:?}"
        );
    }
}
