//! No way leads from one namespace to the memories of another: two agents store
//! much the same, and one asks for the other's in every way there is.

mod common;

use std::collections::HashMap;

use common::tiny;
use mnemocore::{Config, Engine, MemoryId, Method, Namespace, NewMemory, Query, TierKind, Timestamp};
use proptest::prelude::*;

const NAMES: [&str; 3] = ["ada", "ada ", "bob"];
const WORDS: [&str; 6] = ["lighthouse", "journal", "weather", "keeper", "harbour", "lamp"];

fn namespaces() -> [Namespace; 3] {
    NAMES.map(|name| Namespace::new(name).unwrap())
}

/// A memory of few words and values, so that those of others are much alike.
#[derive(Clone, Debug)]
struct Given {
    namespace: usize,
    words: Vec<usize>,
    metadata: Vec<(usize, usize)>,
    embedding: bool,
}

impl Given {
    fn memory(&self) -> NewMemory {
        let text = self.words.iter().map(|&word| WORDS[word]).collect::<Vec<_>>().join(" ");
        let mut memory =
            NewMemory::new(text).namespace(namespaces()[self.namespace].clone()).created(Timestamp(1_000));
        for &(key, value) in &self.metadata {
            memory = memory.metadata(keys()[key], NAMES[value]);
        }
        if self.embedding { memory.embedding(embedding(&self.words)) } else { memory }
    }
}

/// Keys of metadata, such as one might expect to name the namespace itself.
fn keys() -> [&'static str; 3] {
    ["namespace", "", "n"]
}

fn embedding(words: &[usize]) -> Vec<f32> {
    (0..8).map(|at| words.iter().map(|&word| ((word * 7 + at * 3) % 5) as f32 - 1.7).sum()).collect()
}

fn some_memories() -> impl Strategy<Value = Vec<Given>> {
    let memory = (
        0..NAMES.len(),
        prop::collection::vec(0..WORDS.len(), 1..4),
        prop::collection::vec((0..keys().len(), 0..NAMES.len()), 0..3),
        any::<bool>(),
    );
    let memory = memory.prop_map(|(namespace, words, metadata, embedding)| Given {
        namespace,
        words,
        metadata,
        embedding,
    });
    prop::collection::vec(memory, 3..24)
}

/// Every way to ask for what `given` holds.
fn questions(engine: &Engine, given: &Given) -> Vec<Query> {
    let text = given.words.iter().map(|&word| WORDS[word]).collect::<Vec<_>>().join(" ");
    let vector = engine.encoder().encode(&text_document(&text)).unwrap();
    let asked = [
        Query::text(&text),
        Query::embedding(embedding(&given.words)),
        Query::like(vector.clone()),
        Query::vector(vector),
    ];
    let mut all = Vec::new();
    for query in asked {
        for method in [Method::Indexed, Method::Exact] {
            let query = query.clone().method(method).limit(1_000).touch(false);
            let mut filtered = query.clone();
            for &(key, value) in &given.metadata {
                filtered = filtered.metadata(keys()[key], NAMES[value]);
            }
            all.push(query.clone().created(Timestamp(i64::MIN)..Timestamp(i64::MAX)));
            all.extend(TierKind::ALL.map(|tier| query.clone().tiers(&[tier])));
            all.extend([query, filtered]);
        }
    }
    all
}

fn text_document(text: &str) -> mnemocore::encoder::TermVector {
    mnemocore::encoder::Document::new(text).analyze().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn no_query_and_no_filter_reaches_a_memory_of_another_namespace(given in some_memories()) {
        let engine = Engine::in_memory(tiny()).unwrap();
        let owners: HashMap<MemoryId, usize> = given
            .iter()
            .map(|given| (engine.store(given.memory()).unwrap().id, given.namespace))
            .collect();
        engine.consolidate().unwrap();
        for (number, namespace) in namespaces().into_iter().enumerate() {
            let scope = engine.scope(namespace.clone());
            let own = |id: &MemoryId| owners[id] == number;
            for given in &given {
                for query in questions(&engine, given) {
                    // The query names the owner; the scope does not care.
                    let query = query.namespace(namespaces()[given.namespace].clone());
                    for hit in scope.recall(&query).unwrap().hits {
                        prop_assert!(own(&hit.memory.id) && hit.memory.namespace == namespace);
                    }
                    for fragment in scope.synthesize(&query).unwrap().fragments {
                        prop_assert!(own(&fragment.memory.id));
                    }
                }
            }
            for id in owners.keys() {
                prop_assert_eq!(scope.get(*id).unwrap().is_some(), own(id));
            }
        }
        let mut others: Vec<MemoryId> = owners.keys().copied().filter(|id| owners[id] != 0).collect();
        let ada = engine.scope(namespaces()[0].clone());
        for &id in &others {
            prop_assert!(!ada.forget(id).unwrap());
        }
        let all: Vec<MemoryId> = owners.keys().copied().collect();
        prop_assert_eq!(ada.forget_batch(&all).unwrap().len(), all.len() - others.len());
        others.sort();
        let left: Vec<MemoryId> = others.iter().filter(|&&id| engine.get(id).unwrap().is_some()).copied().collect();
        prop_assert_eq!(left, others);
    }
}

#[test]
fn what_a_scope_stores_is_its_own_whatever_namespace_the_memory_names() {
    let engine = Engine::in_memory(tiny()).unwrap();
    let [ada, _, bob] = namespaces().map(|namespace| engine.scope(namespace));
    let memory = NewMemory::new("The lamp is lit").namespace(bob.namespace().clone());
    let id = ada.store(memory.clone()).unwrap().id;
    let ids = ada.store_batch(vec![memory]).unwrap();
    for id in [id, ids[0].id] {
        assert_eq!(engine.get(id).unwrap().unwrap().namespace, *ada.namespace());
        assert_eq!(bob.get(id).unwrap(), None);
    }
}

/// Words of one namespace do not weigh in another: what a stranger stores must
/// not change what is found, nor tell by the scores that it is there.
#[test]
fn scores_of_one_namespace_do_not_depend_on_what_others_store() {
    let [ada, _, bob] = namespaces();
    let recall = |strangers: usize| {
        let engine = Engine::in_memory(tiny()).unwrap();
        for text in ["The lamp of the lighthouse", "The keeper of the harbour", "A lamp in the harbour"] {
            engine.scope(ada.clone()).store(text).unwrap();
        }
        for number in 0..strangers {
            engine.scope(bob.clone()).store(format!("lamp lamp harbour {number}")).unwrap();
        }
        let hits = engine.scope(ada.clone()).recall(Query::text("lamp in the harbour")).unwrap();
        hits.hits.into_iter().map(|hit| (hit.memory.text, hit.score)).collect::<Vec<_>>()
    };
    assert_eq!(recall(0), recall(50));
}

/// Before, of more than 512 rows of which some had moved, the frequency of a term was estimated. Two of five of
/// ada's memories sink because bob stores, and they are those without "alpha".
#[test]
fn moves_to_another_tier_change_no_score_and_no_order() {
    let [ada, _, bob] = namespaces();
    let engine = Engine::in_memory(Config::default().background(false).hot_capacity(1_000)).unwrap();
    let word = |number| match number {
        0..9 => "beta",
        590.. => "alpha",
        _ => "gamma",
    };
    let importance = |number| if number < 240 { 0.9 } else { 2.0 };
    let memory =
        |number| NewMemory::new(format!("{} text {number}", word(number))).importance(importance(number));
    let ada = engine.scope(ada);
    ada.store_batch((0..600).map(memory).collect()).unwrap();
    let recall = || {
        let recall = ada.recall(Query::text("alpha or beta?").touch(false)).unwrap();
        recall.hits.into_iter().map(|hit| (hit.memory.id, hit.score)).collect::<Vec<_>>()
    };
    let before = recall();
    for number in 0..640 {
        let other = NewMemory::new(format!("delta {number}")).importance(3.0);
        engine.scope(bob.clone()).store(other).unwrap();
    }
    assert!(engine.stats().memories_in(TierKind::Warm) >= 240, "{:?}", engine.stats());
    assert_eq!(recall(), before);
    engine.consolidate().unwrap();
    assert_eq!(recall(), before);
}

/// Every verb of a scope that moved into a task, called with ids and namespaces of another user.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn an_async_scope_moves_into_a_task_and_reaches_no_other_namespace() {
    use mnemocore::{AsyncEngine, Durability};

    let [ada, _, bob] = namespaces();
    let engine = AsyncEngine::in_memory(tiny()).await.unwrap();
    let theirs = engine.scope(ada.clone());
    let first = theirs.store("The code of the safe is 4711").await.unwrap().id;
    assert_eq!(first, MemoryId(0), "ids can be guessed");
    let ids: Vec<MemoryId> = (0..10).map(MemoryId).collect();
    let owned = engine.scope(bob.clone());
    let task = async move {
        assert_eq!(owned.namespace(), &bob);
        let stolen = || Query::text("What is the code of the safe?").namespace(ada.clone());
        assert!(owned.recall(stolen()).await.unwrap().hits.is_empty());
        assert!(owned.synthesize(stolen()).await.unwrap().fragments.is_empty());
        assert!(owned.get(first).await.unwrap().is_none());
        assert!(owned.vector(first).await.unwrap().is_none());
        assert!(!owned.forget(first).await.unwrap());
        assert!(owned.forget_batch(ids.clone()).await.unwrap().is_empty());
        assert!(owned.blocking().get(first).unwrap().is_none());

        let own = |number| NewMemory::new(format!("The lamp is number {number}")).namespace(ada.clone());
        let mut stored = vec![owned.store(own(1)).await.unwrap().id];
        stored.push(owned.store_with(own(2), Durability::Synced).await.unwrap().id);
        stored.extend(owned.store_batch(vec![own(3)]).await.unwrap().iter().map(|stored| stored.id));
        assert_eq!(owned.recall("lamp").await.unwrap().hits.len(), 3);
        assert_eq!(owned.get(stored[0]).await.unwrap().unwrap().namespace, bob);
        assert!(owned.vector(stored[0]).await.unwrap().is_some());
        assert!(owned.forget(stored[0]).await.unwrap());
        assert_eq!(owned.forget_batch(ids).await.unwrap(), stored[1..]);
    };
    tokio::spawn(task).await.unwrap();
    assert_eq!(theirs.recall("code").await.unwrap().hits[0].memory.id, first);
    assert_eq!(engine.stats().await.total(), 1);
}
