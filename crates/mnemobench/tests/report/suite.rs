//! Files as a run of the whole suite leaves them.

use std::time::Duration;

use criterion_gate::measure::Latencies;
use criterion_gate::profile::Profile;
use criterion_gate::results::{Kind, NEW, Results};

use crate::home::{CANDIDATE, Home, entry, samples, sheet};

/// The tiers as they appear in names.
pub const TIERS: [&str; 3] = ["hot", "warm", "cold"];
/// Operations in each sample of `write_samples`.
const OPERATIONS: f64 = 100.0;

/// A bench of the run `new`, before it is saved.
pub struct Bench<'h> {
    home: &'h Home,
    results: Results,
}

impl<'h> Bench<'h> {
    pub fn new(home: &'h Home, name: &str) -> Self {
        Self { home, results: Results { bench: name.into(), ..sheet(CANDIDATE) } }
    }

    /// Adds a benchmark with samples about `value`, in the unit of its kind.
    pub fn sampled(&mut self, id: &str, value: f64) {
        let kind = Kind::of_name(id);
        let center = if kind == Kind::Throughput { OPERATIONS * 1e9 / value } else { value };
        self.home.write_samples(NEW, id, &samples(center, 0.01));
        let mut entry = entry(&self.results, kind, None, CANDIDATE);
        if kind == Kind::P99 {
            let mut latencies = Latencies::new();
            for percent in 1..=100 {
                latencies.record(Duration::from_nanos((value * f64::from(percent) / 99.0) as u64));
            }
            entry.percentiles = latencies.percentiles();
            entry.operations = latencies.len();
        }
        self.results.entries.insert(id.into(), entry);
    }

    /// Adds a value without samples.
    pub fn value(&mut self, id: &str, value: f64) {
        let entry = entry(&self.results, Kind::of_name(id), Some(value), CANDIDATE);
        self.results.entries.insert(id.into(), entry);
    }

    pub fn target(&mut self, name: &str, met: bool) {
        self.results.note_target(name, "5.1 us", "<= 5 us", met, Profile::Quick);
    }

    pub fn save(self) {
        self.results.save(&self.home.path(), NEW).unwrap();
    }
}

/// Writes all benches, well within all service levels.
pub fn whole(home: &Home) {
    latency(home, &TIERS);
    throughput(home);
    footprint(home, 3e6);
    let mut quality = Bench::new(home, "quality");
    for system in ["mnemocore", "mnemocore_hypervectors", "bm25"] {
        for (measure, value) in [("recall5", 0.5), ("recall10", 0.6), ("ndcg10", 0.4)] {
            quality.value(&format!("quality_talks/quality/scoped_{system}_{measure}"), value);
        }
    }
    quality.value("quality_talks/quality/adversarial_mnemocore_auc", 0.7);
    quality.save();
    let mut kernels = Bench::new(home, "kernels");
    kernels.sampled("hamming/l1/portable", 900.0);
    kernels.target("Encoding 12 words", false);
    kernels.save();
}

pub fn latency(home: &Home, tiers: &[&str]) {
    let mut bench = Bench::new(home, "latency");
    for tier in tiers {
        for (verb, micros) in [("store", 80.0), ("recall", 120.0), ("synthesize", 180.0)] {
            bench.sampled(&format!("{verb}_{tier}/p99/5000"), micros * 1e3);
            bench.sampled(&format!("{verb}_{tier}/wall/5000"), micros * 400.0);
        }
    }
    bench.sampled("recall_exact/wall/5000", 2e6);
    bench.save();
}

pub fn throughput(home: &Home) {
    let mut bench = Bench::new(home, "throughput");
    for (workers, rate) in [(1, 2_000.0), (10, 9_000.0), (50, 8_000.0)] {
        bench.sampled(&format!("store/throughput/{workers}"), rate);
        bench.sampled(&format!("recall/throughput/{workers}"), 1.5 * rate);
    }
    for (limits, recall, rate) in
        [("c64_z2.25", 0.9, 16_000.0), ("c4096_z2.25", 0.99, 9_000.0), ("c4096_z3", 0.99, 8_000.0)]
    {
        bench.value(&format!("frontier_vector/quality/{limits}"), recall);
        bench.value(&format!("frontier_vector/throughput/{limits}"), rate);
    }
    bench.save();
}

/// Writes a footprint of `bytes` of RAM per thousand memories in every tier.
pub fn footprint(home: &Home, bytes: f64) {
    let mut bench = Bench::new(home, "footprint");
    for tier in TIERS {
        for thousands in [1.0, 10.0] {
            bench.sampled(&format!("footprint_{tier}/ram/{}", thousands * 1e3), bytes * thousands);
            bench.sampled(&format!("footprint_{tier}/disk/{}", thousands * 1e3), 4e5 * thousands);
        }
    }
    bench.save();
}
