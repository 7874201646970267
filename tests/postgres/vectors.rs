//! Memories that come with vectors, in a table that several stores share.

use std::path::Path;

use fastrand::Rng;
use mnemocore::hdv::{Dimension, Hypervector};
use mnemocore::{Config, Engine, Method, NewMemory, Query, TierKind};

use super::common::tiny;
use super::server::{Server, open};

fn config() -> Config {
    let dimension = Dimension::new(512).unwrap();
    tiny().dimension(dimension).hot_capacity(0).warm_capacity(usize::MAX)
}

/// A store of so many memories, every tenth of a kind of its own.
fn filled(folder: &Path, server: &Server, random: &mut Rng, memories: usize) -> Engine {
    let config = config();
    let engine = open(folder, &config, &server.connection()).unwrap();
    let memories: Vec<NewMemory> = (0..memories)
        .map(|number| {
            let vector = Hypervector::random(config.dimension, random.u64(..));
            let memory = NewMemory::new(format!("note {number}")).vector(vector);
            if number % 10 == 0 { memory.metadata("kind", "tenth") } else { memory }
        })
        .collect();
    for batch in memories.chunks(256) {
        engine.store_batch(batch.to_vec()).unwrap();
    }
    engine
}

#[test]
fn as_many_are_found_as_are_asked_for_however_rare_a_store_is_in_the_table() {
    let Some(server) = Server::start() else { return };
    // So few are found as quickly without the index.
    server.ask("ALTER ROLE mnemo SET enable_sort = off");
    let mut random = Rng::with_seed(11);
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    // More than are compared one by one; a quarter and three quarters of the table.
    let [rare, common] = [(&folders[0], 2_200), (&folders[1], 6_600)]
        .map(|(folder, memories)| filled(folder.path(), &server, &mut random, memories));
    let mut ask = |engine: &Engine, limit: usize, filtered: bool| {
        let query = Query::vector(Hypervector::random(config().dimension, random.u64(..)));
        let query = query.limit(limit).touch(false);
        let query = if filtered { query.metadata("kind", "tenth") } else { query };
        let before = engine.traffic(TierKind::Warm).requests;
        let found = engine.recall(&query).unwrap().hits.len();
        (found, engine.traffic(TierKind::Warm).requests - before)
    };
    // The hundred nearest of the table hold about 25 of the one and 75 of the other.
    assert_eq!(ask(&common, 50, false), (50, 1));
    assert_eq!(ask(&rare, 50, false), (50, 2), "too few at first, so they are compared");
    assert_eq!(ask(&rare, 50, false), (50, 1), "which is remembered");
    for engine in [&rare, &common] {
        assert_eq!(ask(engine, 50, true), (50, 1), "with a filter");
        assert_eq!(ask(engine, 300, false), (300, 1), "more than the index looks at");
    }
    let nobody = Query::vector(Hypervector::random(config().dimension, 5)).metadata("kind", "eleventh");
    let before = rare.traffic(TierKind::Warm);
    assert!(rare.recall(&nobody).unwrap().hits.is_empty());
    assert_eq!(rare.traffic(TierKind::Warm), before, "what nobody has is not asked for");
    server.ask("ALTER ROLE mnemo SET hnsw.max_scan_tuples = 100");
    common.close().unwrap();
    let common = open(folders[1].path(), &config(), &server.connection()).unwrap();
    assert_eq!(ask(&common, 5_000, false), (5_000, 2), "the index gives up, so all are compared");
    assert_eq!(ask(&common, 5_000, false), (5_000, 1), "which is remembered");
    for _ in 0..10 {
        let query = Query::vector(Hypervector::random(config().dimension, random.u64(..)));
        let query = query.limit(50).touch(false);
        let found = |query: &Query| -> Vec<_> {
            rare.recall(query).unwrap().hits.iter().map(|hit| hit.memory.id).collect()
        };
        // Of others the index finds some of the nearest; so few are compared.
        assert_eq!(found(&query), found(&query.clone().method(Method::Exact)));
    }
}
