//! Recall under a filter by metadata, by how much it leaves out.

use std::cell::OnceCell;

use mnemocore::{MemoryId, Query, TierKind};
use mnemocore_suite::workload::partial_query;

use crate::Bench;
use crate::common::{Fixture, Kept as _, ONE_IN, Store};

/// Distinct queries, asked in turn.
const QUERIES: usize = 500;
/// The share of its words that a query has in common with a memory.
const SHARED: f64 = 0.6;

/// Measures `recall_filtered` for each share of memories that is left out.
pub(crate) fn measure(bench: &mut Bench) {
    let (memories, store) = (bench.memories, OnceCell::new());
    let open = || store.get_or_init(|| Fixture::with_metadata(TierKind::Hot, memories).open());
    for one_in in ONE_IN {
        let set_up = || (open(), queries(open(), one_in).into_iter().cycle());
        let left_out = 100.0 - 100.0 / one_in as f64;
        bench.latency.bench_with(
            "recall_filtered",
            left_out,
            set_up,
            |(_, queries), count| queries.take(count).collect(),
            |(store, _), query: Query| store.engine.recall(&query).expect("a recall"),
        );
        store.get().inspect(|store| assert_filtered(store, one_in));
    }
}

/// Queries for memories that pass the filter, with the filter.
fn queries(store: &Store, one_in: usize) -> Vec<Query> {
    let passing = store.fixture.memories.div_ceil(one_in);
    let spaced = QUERIES.min(passing);
    let ids = (0..spaced).map(|i| MemoryId((i * passing / spaced * one_in) as u64));
    let query = |id: MemoryId| {
        let memory = store.engine.get(id).expect("a readable memory").expect("ids count from 0");
        let text = partial_query(&memory.text, SHARED, id.0);
        Query::text(text).metadata(format!("one in {one_in}"), "yes").touch(false)
    };
    ids.map(query).collect()
}

/// # Panics
/// If a query finds nothing, or what should be left out.
fn assert_filtered(store: &Store, one_in: usize) {
    for query in queries(store, one_in).iter().take(100) {
        let hits = store.engine.recall(query).expect("a recall").hits;
        assert!(!hits.is_empty(), "hits under a filter that one in {one_in} passes");
        assert!(
            hits.iter().all(|hit| hit.memory.id.0.is_multiple_of(one_in as u64)),
            "one in {one_in} passes"
        );
    }
}
