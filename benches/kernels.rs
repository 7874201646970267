//! The inner loops: bind, bundle, permute, Hamming distance, signed queries,
//! sketches and encoding, at the default dimension. After a complete run it
//! prints how Hamming distance and encoding stand to their targets, as ratios of
//! rounds that alternate in this process.

#![allow(unsafe_code, reason = "the yardstick, plain reading, uses AVX2 loads")]

mod common;
#[path = "kernels/targets.rs"]
mod targets;

use std::cell::{LazyCell, RefCell};
use std::cmp::Ordering;
use std::hint::black_box;
use std::time::Duration;

use common::{Recorder, Sampling};
use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, Criterion, Throughput};
use criterion_gate::profile::Arguments;
use mnemocore::encoder::{
    Document, Encoder, Projection, Question, Term, TermCounts, TermStatistics, TermVector,
};
use mnemocore::hdv::{Dimension, Hypervector, SignedPlanes, SketchBlocks};
use mnemocore::internals::kernels::{self, Kernels};
use mnemocore::internals::segment::SKETCH_BITS;

/// Fits the L1 data cache of every current CPU, beside the query.
const L1_BYTES: usize = 16 << 10;
/// Too large for L1, small enough for L2.
const L2_BYTES: usize = 256 << 10;
/// Several times the last-level cache of most machines.
const DRAM_BYTES: usize = 256 << 20;

/// Vectors in a bundle: a short sentence, a long one.
const BUNDLES: [usize; 2] = [12, 50];
/// The largest weight of a term.
const MAX_WEIGHT: u64 = 16;

/// Sketches in a scan.
const SKETCHES: u64 = 4096;

/// Two typical memories of an agent: a turn of 12 words, and one of 60.
const TEXTS: [(&str, &str); 2] = [
    ("12_words", "Ann: my sister bought a red bicycle from the shop near Utrecht station"),
    (
        "60_words",
        "Ann: we finally went hiking in the mountains last weekend with both kids, and the \
         weather was perfect until the thunderstorm surprised us on the ridge. Luckily a \
         farmer let everybody wait in his barn, gave us hot soup and told stories about the \
         wolves that came back to the valley. Tom now wants to become a ranger or mountain photographer",
    ),
];
/// Numbers of an embedding, as small sentence models give.
const EMBEDDING: usize = 384;

fn main() {
    let mut suite = Suite::new();
    hamming(&mut suite);
    bind_and_permute(&mut suite);
    bundle(&mut suite);
    signed_queries(&mut suite);
    sketches(&mut suite);
    encoding(&mut suite);

    let (mut recorder, complete) = suite.finish();
    if complete {
        println!();
        targets::print(&mut recorder);
        recorder.finish();
    }
}

/// Criterion, and whether a filter left anything out.
struct Suite {
    criterion: Criterion,
    recorder: RefCell<Recorder>,
    arguments: Arguments,
    defined: usize,
}

impl Suite {
    fn new() -> Self {
        let (profile, arguments) = common::input();
        // A loop of nanoseconds needs less time than the operations of an engine.
        let brief = Sampling {
            samples: 30,
            warm_up: Duration::from_millis(500),
            measurement: Duration::from_secs(1),
        };
        let sampling = profile.choose(Sampling::wall(profile), brief, brief);
        Self {
            criterion: common::criterion(WallTime, sampling, profile, &arguments),
            recorder: RefCell::new(Recorder::new(profile, &arguments)),
            arguments,
            defined: 0,
        }
    }

    fn group(&mut self, name: &str, bytes: usize) -> Group<'_> {
        let mut group = self.criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes as u64));
        Group { name: name.into(), group, defined: &mut self.defined, recorder: &self.recorder }
    }

    /// Writes what was measured; says whether that is everything.
    fn finish(self) -> (Recorder, bool) {
        self.criterion.final_summary();
        let mut recorder = self.recorder.into_inner();
        let complete = recorder.len() == self.defined && !self.arguments.test;
        recorder.finish();
        (recorder, complete)
    }
}

/// A group of a [`Suite`]; its throughput is in bytes of vectors read.
struct Group<'a> {
    name: String,
    group: BenchmarkGroup<'a, WallTime>,
    defined: &'a mut usize,
    recorder: &'a RefCell<Recorder>,
}

impl Group<'_> {
    fn bench(&mut self, name: &str, mut routine: impl FnMut(&mut Bencher<'_>)) {
        *self.defined += 1;
        let full = format!("{}/{name}", self.name);
        self.group.bench_function(name, |bencher| {
            self.recorder.borrow_mut().note(&full);
            routine(bencher);
        });
    }
}

/// A query and rows one after another, in memory of a given size.
struct Rows {
    query: Hypervector,
    words: Vec<u64>,
    distances: Vec<u32>,
}

impl Rows {
    fn of_bytes(bytes: usize) -> Self {
        let dim = Dimension::default();
        // The contents are of no consequence, only that they are written: pages
        // never touched are all the same page.
        let words = (0..bytes as u64 / 8).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        Self { query: Hypervector::random(dim, 1), words, distances: vec![0; bytes / dim.bytes()] }
    }

    fn hamming(&mut self, kernels: &Kernels) {
        let query = black_box(self.query.words());
        kernels.hamming_rows(query, black_box(&self.words), &mut self.distances);
        black_box(&self.distances);
    }

    /// The same with `count_ones`, compiled for whatever the build targets: by
    /// default baseline x86-64, which has no instruction for it.
    fn count_ones(&mut self) {
        let query = black_box(self.query.words());
        let rows = black_box(&self.words).chunks_exact(query.len());
        for (row, distance) in rows.zip(&mut self.distances) {
            *distance = query.iter().zip(row).map(|(a, b)| (a ^ b).count_ones()).sum();
        }
        black_box(&self.distances);
    }

    fn read(&mut self) {
        black_box(read(black_box(&self.words)));
    }
}

fn hamming(suite: &mut Suite) {
    // A test need not leave the caches.
    let dram_bytes = if suite.arguments.test { L2_BYTES } else { DRAM_BYTES };
    for (name, bytes) in [("l1", L1_BYTES), ("l2", L2_BYTES), ("dram", dram_bytes)] {
        let (mut built, build) = (None, || Rows::of_bytes(bytes));
        let mut group = suite.group(&format!("hamming/{name}"), bytes);
        for kernels in kernels::available() {
            group.bench(kernels.name(), |bencher| {
                let rows = built.get_or_insert_with(build);
                bencher.iter(|| rows.hamming(kernels));
            });
        }
        group.bench("count_ones", |bencher| {
            let rows = built.get_or_insert_with(build);
            bencher.iter(|| rows.count_ones());
        });
        group.bench("plain_read", |bencher| {
            let rows = built.get_or_insert_with(build);
            bencher.iter(|| rows.read());
        });
    }
}

fn bind_and_permute(suite: &mut Suite) {
    let dim = Dimension::default();
    let (a, b) = (Hypervector::random(dim, 1), Hypervector::random(dim, 2));

    let mut group = suite.group("bind", 2 * dim.bytes());
    for kernels in kernels::available() {
        let mut out = vec![0; dim.words()];
        group.bench(kernels.name(), |bencher| {
            bencher.iter(|| {
                kernels.xor_into(black_box(a.words()), black_box(b.words()), &mut out);
                black_box(&out);
            });
        });
    }
    group.bench("new_vector", |bencher| bencher.iter(|| black_box(&a).bind(black_box(&b))));
    drop(group);

    let mut group = suite.group("permute", dim.bytes());
    for shift in [1, 64] {
        group.bench(&format!("by_{shift}"), |bencher| {
            bencher.iter(|| black_box(&a).permute(black_box(shift)));
        });
    }
}

fn bundle(suite: &mut Suite) {
    let dim = Dimension::default();
    let tie = Hypervector::random(dim, 0);
    for count in BUNDLES {
        let vectors: Vec<_> = (0..count as u64).map(|seed| Hypervector::random(dim, seed)).collect();
        let rows: Vec<_> = vectors.iter().map(Hypervector::words).collect();
        let equal = vec![1; count];
        let weighted: Vec<u8> = (0..count as u64).map(|i| (i * 7 % MAX_WEIGHT + 1) as u8).collect();
        let mut out = vec![0; dim.words()];

        let mut group = suite.group(&format!("bundle/{count}"), count * dim.bytes());
        for kernels in kernels::available() {
            for (weighting, weights) in [("equal", &equal), ("weighted", &weighted)] {
                group.bench(&format!("{}_{weighting}", kernels.name()), |bencher| {
                    bencher.iter(|| {
                        let (rows, weights) = (black_box(&rows), black_box(weights));
                        kernels.weighted_majority(rows, weights, tie.words(), &mut out);
                        black_box(&out);
                    });
                });
            }
        }
        group.bench("counter_per_bit_weighted", |bencher| {
            bencher.iter(|| counter_per_bit(black_box(&rows), black_box(&weighted), tie.words()));
        });
    }
}

/// The baseline for bit-sliced bundling: adds every bit to a counter of its own.
fn counter_per_bit(rows: &[&[u64]], weights: &[u8], tie: &[u64]) -> Vec<u64> {
    let mut counters = vec![0_u32; tie.len() * 64];
    for (row, &weight) in rows.iter().zip(weights) {
        for (word, counters) in row.iter().zip(counters.chunks_exact_mut(64)) {
            for (bit, counter) in counters.iter_mut().enumerate() {
                *counter += (word >> bit & 1) as u32 * u32::from(weight);
            }
        }
    }
    let total: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
    let mut out = tie.to_vec();
    for (word, counters) in out.iter_mut().zip(counters.chunks_exact(64)) {
        for (bit, counter) in counters.iter().enumerate() {
            match (2 * counter).cmp(&total) {
                Ordering::Greater => *word |= 1 << bit,
                Ordering::Less => *word &= !(1 << bit),
                Ordering::Equal => {}
            }
        }
    }
    out
}

fn signed_queries(suite: &mut Suite) {
    let dim = Dimension::default();
    let vectors: Vec<_> = (0..12).map(|seed| Hypervector::random(dim, seed)).collect();
    let terms: Vec<_> = vectors.iter().map(Hypervector::words).collect();
    let weights: Vec<u16> = (0..12).map(|i| i * 37 % 200 + 1).collect();

    let mut group = suite.group("signed_query/from_12", 12 * dim.bytes());
    for planes in 1..=SignedPlanes::MAX_PLANES {
        group.bench(&format!("{planes}_planes"), |bencher| {
            bencher.iter(|| SignedPlanes::new(black_box(&terms), black_box(&weights), planes));
        });
    }
    drop(group);

    let rows = LazyCell::new(|| Rows::of_bytes(L2_BYTES).words);
    let mut scores = vec![0; L2_BYTES / dim.bytes()];
    let mut group = suite.group("asymmetric_score/l2", L2_BYTES);
    for planes in 1..=SignedPlanes::MAX_PLANES {
        let query = SignedPlanes::new(&terms, &weights, planes).expect("terms and weights fit");
        group.bench(&format!("{planes}_planes"), |bencher| {
            let rows: &[u64] = &rows;
            bencher.iter(|| {
                let scored = black_box(&query).score_rows(black_box(rows), &mut scores);
                scored.expect("rows of one dimension");
                black_box(&scores);
            });
        });
    }
}

fn sketches(suite: &mut Suite) {
    let dim = Dimension::default();
    let (a, b) = (Hypervector::random(dim, 1), Hypervector::random(dim, 2));
    let query = SignedPlanes::new(&[a.words(), b.words()], &[2, 3], 2).expect("rows and weights fit");
    let table = LazyCell::new(|| {
        let mut table = SketchBlocks::new(SKETCH_BITS).expect("a legal length");
        for seed in 0..SKETCHES {
            table.push(Hypervector::random(dim, seed).words()).expect("longer than its sketch");
        }
        table
    });

    let mut group = suite.group("sketch", SKETCHES as usize * SKETCH_BITS / 8);
    let mut distances = Vec::new();
    group.bench("distances", |bencher| {
        let table: &SketchBlocks = &table;
        bencher.iter(|| {
            let scanned = black_box(table).distances(black_box(a.words()), &mut distances);
            scanned.expect("longer than a sketch");
            black_box(&distances);
        });
    });
    let mut scores = Vec::new();
    group.bench("scores_2_planes", |bencher| {
        let table: &SketchBlocks = &table;
        bencher.iter(|| {
            let scanned = black_box(table).scores(black_box(&query), &mut scores);
            scanned.expect("longer than a sketch");
            black_box(&scores);
        });
    });
}

fn encoding(suite: &mut Suite) {
    let encoder = Encoder::default();
    for (name, text) in TEXTS {
        let mut group = suite.group(&format!("encode/{name}"), text.len());
        group.bench("terms_known", |bencher| {
            bencher.iter(|| encode(&encoder, black_box(text)));
        });
        group.bench("terms_new", |bencher| {
            let forgetful = Encoder::new(Dimension::default(), 0);
            bencher.iter(|| encode(&forgetful, black_box(text)));
        });
        group.bench("analysis_only", |bencher| {
            bencher.iter(|| Document::new(black_box(text)).analyze());
        });
        group.bench("counter_per_bit", |bencher| {
            bencher.iter(|| encode_by_counters(&encoder, black_box(text)));
        });
        group.bench("as_stored", |bencher| {
            let sketcher = Encoder::new(Dimension::new(SKETCH_BITS).expect("a legal length"), 0);
            bencher.iter(|| as_stored(&sketcher, black_box(text)));
        });
        group.bench("as_query", |bencher| {
            bencher.iter(|| {
                let query = Question::new(black_box(text), &Rare).expect("it has words");
                encoder.query_vector(&query, Encoder::DEFAULT_PLANES)
            });
        });
    }

    let dim = Dimension::default();
    let projection = Projection::new(EMBEDDING, dim).expect("a legal length");
    let embedding: Vec<f32> = (0..EMBEDDING).map(|i| (i * 37 % 101) as f32 - 50.0).collect();
    let mut group = suite.group(&format!("projection/{EMBEDDING}"), dim.bytes());
    group.bench("bits", |bencher| {
        bencher.iter(|| projection.project(black_box(&embedding)));
    });
    group.bench("query_2_planes", |bencher| {
        bencher.iter(|| projection.project_query(black_box(&embedding), 2));
    });
}

/// Term statistics of a thousand memories in which every term is rare.
struct Rare;

impl TermStatistics for Rare {
    fn documents(&self) -> u64 {
        1000
    }

    fn document_frequency(&self, _: Term) -> u64 {
        3
    }
}

/// All that storing a text computes: counts of its terms, and a sketch.
fn as_stored(sketcher: &Encoder, text: &str) -> (TermCounts, Hypervector) {
    let counts = Document::new(text).counts().expect("it has words");
    let sketch = sketcher.encode(&TermVector::from(&counts)).expect("it has terms");
    (counts, sketch)
}

/// The whole hypervector of a text: terms, bits and norm.
fn encode(encoder: &Encoder, text: &str) -> (Hypervector, f32) {
    let terms = Document::new(text).analyze().expect("it has words");
    let vector = encoder.encode(&terms).expect("it has terms");
    (vector, terms.norm())
}

/// The same with a counter per bit.
fn encode_by_counters(encoder: &Encoder, text: &str) -> (Vec<u64>, f32) {
    let terms = Document::new(text).analyze().expect("it has words");
    let (vectors, weights): (Vec<_>, Vec<_>) =
        terms.terms().iter().map(|&(term, weight)| (encoder.tokens().get(term), weight)).unzip();
    let rows: Vec<_> = vectors.iter().map(|vector| vector.words()).collect();
    let tie = vec![0; encoder.dimension().words()];
    (counter_per_bit(&rows, &weights, &tie), terms.norm())
}

/// Reads every word once, in order, and does as little with it as possible.
fn read(words: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2.
        return unsafe { read_avx2(words) };
    }
    words.iter().fold(0, |all, word| all ^ word)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_avx2(words: &[u64]) -> u64 {
    use std::arch::x86_64::*;

    /// Registers that words are gathered in, so that no load waits for another.
    const REGISTERS: usize = 8;

    let mut all = [_mm256_setzero_si256(); REGISTERS];
    let (blocks, rest) = words.as_chunks::<{ 4 * REGISTERS }>();
    for block in blocks {
        for (all, words) in all.iter_mut().zip(block.as_chunks::<4>().0) {
            // SAFETY: four words are as long as a register.
            let loaded = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
            *all = _mm256_xor_si256(*all, loaded);
        }
    }
    let mut lanes = [0; 4];
    for register in all {
        let mut words = [0; 4];
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), register) }
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane ^= word;
        }
    }
    lanes.iter().chain(rest).fold(0, |all, word| all ^ word)
}
