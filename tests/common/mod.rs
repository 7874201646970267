//! Helpers of the durability tests: engines with tiers so small that a few memories go through all
//! of them, and copies of stores as a kill leaves them.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod acknowledged;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use mnemocore::hdv::Dimension;
use mnemocore::{Config, Engine, MemoryId, Method, Namespace, NewMemory, Query};

/// Whether the tests that need the server `name` are skipped.
pub(crate) fn skips(name: &str) -> bool {
    let skips = std::env::var("MNEMO_SKIP").is_ok_and(|names| names.split(',').any(|own| own == name));
    if skips {
        tell(&format!("left out: MNEMO_SKIP names {name}"));
    }
    skips
}

/// Prints a line even if the test passes, whose output is not shown then.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Small vectors, small tiers and no background thread.
pub(crate) fn tiny() -> Config {
    Config::from_env()
        .dimension(Dimension::new(512).unwrap())
        .hot_capacity(8)
        .warm_capacity(16)
        .background(false)
        .token_cache_bytes(1 << 20)
}

/// A text that shares all words but one with every other. That word finds one memory, and `journal`
/// finds all.
pub(crate) fn note(word: &str) -> String {
    format!("The journal of the lighthouse keeper mentions {word} beside the weather")
}

/// The word that only memory `number` has.
pub(crate) fn word(number: usize) -> String {
    format!("q{number}z")
}

/// The only memory that `word` finds.
pub(crate) fn find(engine: &Engine, word: &str) -> Option<(MemoryId, String)> {
    let recall = engine.recall(Query::text(word).limit(1).touch(false)).unwrap();
    recall.hits.into_iter().next().map(|hit| (hit.memory.id, hit.memory.text))
}

/// The texts of all memories of a namespace, in the order of their ids.
pub(crate) fn everything(engine: &Engine, namespace: &Namespace) -> Vec<(MemoryId, String)> {
    let query = Query::text("journal").namespace(namespace.clone()).limit(usize::MAX);
    let recall = engine.recall(query.method(Method::Exact).touch(false)).unwrap();
    let mut found: Vec<_> = recall.hits.into_iter().map(|hit| (hit.memory.id, hit.memory.text)).collect();
    found.sort();
    found
}

/// Copies a store as a kill at this moment would leave it. The engine may be running.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (source, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}

/// All files below `folder`.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The files below `folder` with this ending.
pub(crate) fn files_ending(folder: &Path, ending: &str) -> Vec<PathBuf> {
    files(folder).into_iter().filter(|path| path.extension().is_some_and(|own| own == ending)).collect()
}

/// Whether a file contains `text`, plain or compressed.
pub(crate) fn holds(path: &Path, text: &str) -> bool {
    const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
    let within = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let bytes = fs::read(path).unwrap();
    let frames = bytes.windows(4).enumerate().filter(|(_, window)| *window == ZSTD);
    within(&bytes)
        || frames.map(|(at, _)| at).any(|at| {
            let mut frame = Vec::new();
            let reader = zstd::stream::read::Decoder::new(&bytes[at..]);
            let read = reader.and_then(|reader| reader.single_frame().read_to_end(&mut frame));
            read.is_ok() && within(&frame)
        })
}

/// A store of `count` memories that are spread over all tiers, still open.
pub(crate) fn spread(folder: &Path, count: usize) -> Engine {
    let engine = Engine::open(folder, tiny()).unwrap();
    engine.store_batch((0..count).map(|number| NewMemory::new(note(&word(number)))).collect()).unwrap();
    engine.consolidate().unwrap();
    engine
}

/// Fails unless each of the first `count` memories is found by its word.
pub(crate) fn assert_complete(engine: &Engine, count: usize) {
    assert_eq!(engine.stats().total(), count);
    for number in 0..count {
        let (id, text) = find(engine, &word(number)).unwrap_or_else(|| panic!("memory {number} is lost"));
        assert_eq!(text, note(&word(number)));
        assert_eq!(engine.get(id).unwrap().unwrap().text, text);
    }
}

/// Damages one byte of a file.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}
