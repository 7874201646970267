//! Damaged, missing and exchanged files of segments: the store is refused, and a repair keeps what was
//! not hit.

mod common;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use common::{assert_complete, copy, everything, files_ending, find, flip, note, spread, tiny, word};
use mnemocore::hdv::Hypervector;
use mnemocore::{Config, Engine, Error, MemoryId, Namespace, NewMemory, Query, Repair, TierKind};

const CASES: usize = 12;

/// The segments of a store, the largest first.
fn segments(store: &Path) -> Vec<PathBuf> {
    let mut segments = files_ending(&store.join("segments"), "seg");
    segments.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    segments
}

/// Opens a damaged store, which is refused with an error that names the file, and repairs it.
fn repaired(store: &Path, config: &Config, damaged: &Path) -> (Engine, Repair) {
    match Engine::open(store, config.clone()) {
        Err(Error::Corrupt { path, .. }) => assert_eq!(path, damaged),
        other => panic!("{:?}", other.err()),
    }
    let repair = Engine::repair(store, config.clone()).unwrap();
    assert!(repair.damaged.contains(&damaged.into()) && !repair.complete, "{repair:?}");
    (Engine::open(store, config.clone()).unwrap(), repair)
}

/// Damages a closed store's segments. A repair must keep all memories of the others, and name those
/// that it knows to be lost. Returns how many are lost in each case.
fn damage_segments(damage: impl Fn(&[PathBuf], usize)) -> Vec<usize> {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = spread(folder.path(), 48);
    // A second namespace, for other segments.
    let other = Namespace::new("other").unwrap();
    let memory = |number: usize| NewMemory::new(note(&word(number))).namespace(other.clone());
    engine.store_batch((0..40).map(memory).collect()).unwrap();
    engine.consolidate().unwrap();
    let forgotten = find(&engine, &word(30)).unwrap().0;
    engine.forget(forgotten).unwrap();
    let all = |engine: &Engine| -> BTreeSet<(MemoryId, String)> {
        [&Namespace::default(), &other].into_iter().flat_map(|name| everything(engine, name)).collect()
    };
    let before = all(&engine);
    drop(engine);
    let mut counts = Vec::new();
    for case in 0..CASES {
        let damaged = copies.path().join(case.to_string());
        copy(folder.path(), &damaged);
        let segments = segments(&damaged);
        assert!(segments.len() >= 2, "{segments:?}");
        damage(&segments, case);
        let (engine, repair) = repaired(&damaged, &tiny(), &segments[0]);
        let after = all(&engine);
        assert!(after.is_subset(&before), "case {case}");
        let lost: BTreeSet<MemoryId> = before.difference(&after).map(|(id, _)| *id).collect();
        assert!(repair.lost.iter().all(|id| lost.contains(id)), "case {case}: {repair:?}");
        assert_eq!((repair.kept, repair.renamed), (after.len(), Vec::new()), "case {case}");
        assert!(engine.get(forgotten).unwrap().is_none());
        engine.consolidate().unwrap();
        drop(engine);
        let engine = Engine::open(&damaged, tiny()).unwrap();
        assert_eq!(all(&engine), after, "case {case}");
        counts.push(lost.len());
        fs::remove_dir_all(&damaged).unwrap();
    }
    counts
}

#[test]
fn a_segment_with_a_flipped_byte_costs_the_rows_that_it_hits() {
    let lost = damage_segments(|segments, case| {
        let length = fs::metadata(&segments[0]).unwrap().len() as usize;
        // Padding is of no use to anybody.
        let bytes = fs::read(&segments[0]).unwrap();
        let place = case * length / CASES;
        let at = (place..length).find(|&at| bytes[at] != 0).unwrap();
        flip(&segments[0], at);
    });
    println!("lost: {lost:?}");
    assert!(lost.iter().filter(|&&lost| lost == 0).count() >= CASES / 2, "{lost:?}");
}

#[test]
fn a_segment_that_was_cut_costs_its_own_memories_alone() {
    let lost = damage_segments(|segments, case| {
        let length = fs::metadata(&segments[0]).unwrap().len();
        let file = OpenOptions::new().write(true).open(&segments[0]).unwrap();
        file.set_len(case as u64 * length / CASES as u64).unwrap();
    });
    println!("lost: {lost:?}");
    assert!(lost[0] > 8 && lost[CASES - 1] == 0, "{lost:?}");
}

#[test]
fn of_segments_that_are_gone_or_exchanged_nothing_is_taken() {
    let lost = damage_segments(|segments, case| match case % 3 {
        0 => fs::remove_file(&segments[0]).unwrap(),
        1 => fs::write(&segments[0], "something else").unwrap(),
        _ => drop(fs::copy(&segments[1], &segments[0]).unwrap()),
    });
    assert!(lost.iter().all(|&count| count == lost[0]) && lost[0] > 8, "{lost:?}");
}

/// A kill while a segment is written leaves such files.
#[test]
fn unfinished_files_of_segments_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    drop(spread(folder.path(), 48));
    let segment = segments(folder.path()).remove(0);
    let strays = ["0000000077.tmp", "0000000078.tmp"].map(|name| segment.with_file_name(name));
    for stray in &strays {
        fs::copy(&segment, stray).unwrap();
    }
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    assert!(strays.iter().all(|stray| !stray.exists()));
    assert_complete(&engine, 48);
}

/// Before, the damaged memory was chosen again and again: WARM outgrew its capacity, and the texts of forgotten
/// memories stayed.
#[test]
fn a_damaged_record_keeps_no_other_memory_from_moving_and_no_text_from_being_removed() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path(), tiny().warm_capacity(500)).unwrap();
    let spoiled = Namespace::new("spoiled").unwrap();
    let memory = |number: usize| NewMemory::new(note(&word(number))).namespace(spoiled.clone());
    engine.store_batch((0..100).map(memory).collect()).unwrap();
    engine.consolidate().unwrap();
    let in_files = |text: &str| {
        let holds =
            |file: &PathBuf| fs::read(file).unwrap().windows(text.len()).position(|at| at == text.as_bytes());
        segments(folder.path()).into_iter().find_map(|file| Some((holds(&file)?, file)))
    };
    let (at, file) = in_files(&note(&word(3))).unwrap();
    // In place, because the engine has mapped the file.
    use std::os::unix::fs::FileExt;
    OpenOptions::new().write(true).open(&file).unwrap().write_all_at(b"X", at as u64).unwrap();
    let others =
        engine.store_batch((1_000..3_000).map(|number| note(&word(number)).into()).collect()).unwrap();
    assert!(matches!(engine.consolidate(), Err(Error::Corrupt { .. })));
    let [hot, warm, cold] = engine.stats().memories;
    assert!(hot <= 8 && warm <= 501 && cold >= 1_590, "{hot} {warm} {cold}");
    let found = engine.get(MemoryId(3));
    assert!(matches!(found, Err(Error::Corrupt { .. })), "{found:?}");
    let (last, text) = (others[1_999], note(&word(2_999)));
    assert!(in_files(&text).is_some());
    engine.forget(last).unwrap();
    assert!(matches!(engine.compact(), Err(Error::Corrupt { .. })));
    assert!(in_files(&text).is_none());
}

#[test]
fn a_flipped_byte_in_hot_or_warm_costs_one_memory_at_most_and_vectors_are_told_from_texts() {
    const COUNT: usize = 40;
    for (tier, hot_capacity) in [(TierKind::Hot, 100), (TierKind::Warm, 0)] {
        let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config = tiny().hot_capacity(hot_capacity).warm_capacity(100);
        let engine = Engine::open(folder.path(), config.clone()).unwrap();
        let vectors: Vec<Hypervector> =
            (0..COUNT as u64).map(|seed| Hypervector::random(config.dimension, seed)).collect();
        let memory = |(number, vector): (usize, &Hypervector)| {
            NewMemory::new(note(&word(number))).vector(vector.clone())
        };
        engine.store_batch(vectors.iter().enumerate().map(memory).collect()).unwrap();
        engine.consolidate().unwrap();
        drop(engine);
        let bytes = fs::read(&segments(folder.path())[0]).unwrap();
        let text = bytes.windows(8).position(|window| window == b" journal").unwrap();
        let words = vectors[7].words()[3].to_le_bytes();
        // Sketches begin with the same words.
        let vector = bytes.windows(8).rposition(|window| window == words).unwrap();
        for (at, lost, without) in [(60, 0, 0), (text, 1, 0), (vector, 0, 1)] {
            let damaged = copies.path().join(format!("{tier}-{at}"));
            copy(folder.path(), &damaged);
            flip(&segments(&damaged)[0], at);
            let (engine, repair) = repaired(&damaged, &config, &segments(&damaged)[0]);
            assert_eq!(
                (repair.lost.len(), repair.without_vector.len()),
                (lost, without),
                "{tier}, byte {at}"
            );
            assert_eq!(engine.stats().memories_in(tier), COUNT - lost);
            let mut nearest = 0;
            for (vector, number) in vectors.iter().zip(0..) {
                let query = Query::vector(vector.clone()).limit(1).touch(false);
                let hit = engine.recall(query).unwrap().hits.remove(0);
                nearest += usize::from(hit.score == 1.0 && hit.memory.text == note(&word(number)));
            }
            assert_eq!(nearest, COUNT - lost - without, "{tier}, byte {at}");
        }
    }
}
