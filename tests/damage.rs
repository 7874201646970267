//! Damaged, missing and foreign files of segments, which are derived from the log.

mod common;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use common::{assert_complete, copy, everything, files_ending, find, flip, note, spread, tiny, word};
use mnemocore::hdv::Hypervector;
use mnemocore::{Engine, Namespace, NewMemory, Query, TierKind};

/// Damages a closed store's first segment, and finds everything again.
fn damage_segments(damage: impl Fn(&[PathBuf], usize)) {
    const COUNT: usize = 48;
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = spread(folder.path(), COUNT);
    engine
        .store_batch((0..9).map(|number| NewMemory::new(note(&format!("more{number}")))).collect())
        .unwrap();
    // A second namespace, for a second segment.
    let other = Namespace::new("other").unwrap();
    let memory = |number: usize| NewMemory::new(note(&word(number))).namespace(other.clone());
    engine.store_batch((0..40).map(memory).collect()).unwrap();
    engine.consolidate().unwrap();
    let forgotten = find(&engine, "more0").unwrap().0;
    engine.forget(forgotten).unwrap();
    let stats = engine.stats();
    drop(engine);
    for case in 0..12 {
        let damaged = copies.path().join(case.to_string());
        copy(folder.path(), &damaged);
        let segments = files_ending(&damaged.join("segments"), "seg");
        assert!(segments.len() >= 2, "{segments:?}");
        damage(&segments, case);
        for opening in ["damaged", "mended"] {
            let engine = Engine::open(&damaged, tiny()).unwrap();
            assert_eq!(engine.stats().total(), stats.total(), "{opening}, case {case}");
            assert_eq!(engine.stats().namespaces, stats.namespaces);
            for number in 0..COUNT {
                assert_eq!(find(&engine, &word(number)).unwrap().1, note(&word(number)), "{opening}");
            }
            assert_eq!(everything(&engine, &other).len(), 40);
            assert_eq!(engine.get(forgotten).unwrap(), None);
            engine.consolidate().unwrap();
            assert_eq!(engine.stats().total(), stats.total(), "{opening}, case {case}");
        }
        fs::remove_dir_all(&damaged).unwrap();
    }
}

#[test]
fn a_segment_with_a_flipped_byte_is_made_anew() {
    damage_segments(|segments, case| {
        let length = fs::metadata(&segments[0]).unwrap().len() as usize;
        flip(&segments[0], if case == 11 { length - 1 } else { case * length / 11 });
    });
}

#[test]
fn a_segment_that_was_cut_is_made_anew() {
    damage_segments(|segments, case| {
        let length = fs::metadata(&segments[0]).unwrap().len();
        let file = OpenOptions::new().write(true).open(&segments[0]).unwrap();
        file.set_len(case as u64 * length / 12).unwrap();
    });
}

#[test]
fn segments_that_are_gone_or_exchanged_are_made_anew() {
    damage_segments(|segments, case| match case % 4 {
        0 => fs::remove_file(&segments[0]).unwrap(),
        1 => segments.iter().for_each(|segment| fs::remove_file(segment).unwrap()),
        2 => drop(fs::copy(&segments[1], &segments[0]).unwrap()),
        _ => fs::remove_dir_all(segments[0].parent().unwrap()).unwrap(),
    });
}

/// A kill between writing a segment and committing it leaves such files.
#[test]
fn files_that_the_log_does_not_list_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    drop(spread(folder.path(), 48));
    let segments = folder.path().join("segments");
    let segment = files_ending(&segments, "seg").remove(0);
    let strays = ["0000000077.seg", "0000000078.tmp"].map(|name| segments.join(name));
    for stray in &strays {
        fs::copy(&segment, stray).unwrap();
    }
    let engine = Engine::open(folder.path(), tiny()).unwrap();
    assert!(strays.iter().all(|stray| !stray.exists()));
    assert_complete(&engine, 48);
}

#[test]
fn segments_of_hot_and_warm_are_made_anew_whatever_became_of_them() {
    const COUNT: usize = 40;
    for (tier, hot_capacity) in [(TierKind::Hot, 100), (TierKind::Warm, 0)] {
        let folder = tempfile::tempdir().unwrap();
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
        let segments = || files_ending(&folder.path().join("segments"), "seg");
        for damage in [
            |path: &Path| fs::remove_file(path).unwrap(),
            |path: &Path| fs::write(path, b"something else").unwrap(),
            |path: &Path| flip(path, 100),
        ] {
            let damaged = segments();
            assert_eq!(damaged.len(), 1, "{tier}");
            damage(&damaged[0]);
            let engine = Engine::open(folder.path(), config.clone()).unwrap();
            assert_eq!(engine.repaired_files(), damaged);
            assert_complete(&engine, COUNT);
            for (vector, number) in vectors.iter().zip(0..) {
                let nearest = Query::vector(vector.clone()).limit(1).touch(false);
                let nearest = engine.recall(nearest).unwrap().hits.remove(0);
                assert_eq!((nearest.score, nearest.memory.text), (1.0, note(&word(number))), "{tier}");
            }
            engine.consolidate().unwrap();
        }
    }
}
