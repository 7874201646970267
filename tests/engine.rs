//! The engine through its public interface.

use mnemocore::{
    Config, Engine, Error, Method, Namespace, NewMemory, Query, SynthesisKind, TierKind, Timestamp,
};

/// Small tiers and no background thread, so that every move is asked for.
fn small() -> Config {
    Config::default().hot_capacity(8).warm_capacity(16).background(false)
}

fn texts(recall: &mnemocore::Recall) -> Vec<&str> {
    recall.hits.iter().map(|hit| hit.memory.text.as_str()).collect()
}

/// Notes with one word of their own each, so that each can be asked for alone.
fn note(number: usize) -> String {
    const NAMES: [&str; 6] = ["amber", "basil", "cedar", "dahlia", "elder", "fennel"];
    let digits: Vec<&str> =
        number.to_string().bytes().map(|digit| NAMES[usize::from(digit - b'0') % 6]).collect();
    format!("The gardener planted {} behind shed{number} on a rainy morning", digits.join(" and "))
}

fn filled(config: Config, count: usize) -> Engine {
    let engine = Engine::in_memory(config).unwrap();
    engine.store_batch((0..count).map(|number| NewMemory::new(note(number))).collect()).unwrap();
    engine.consolidate().unwrap();
    engine
}

#[test]
fn a_recall_finds_memories_in_every_tier() {
    let engine = filled(small(), 64);
    let stats = engine.stats();
    assert_eq!(stats.memories, [8, 16, 40]);
    let mut seen = [0; 3];
    for number in 0..64 {
        let recall = engine.recall(Query::text(format!("shed{number}")).limit(1).touch(false)).unwrap();
        assert_eq!(texts(&recall), [note(number)]);
        seen[recall.hits[0].memory.tier as usize] += 1;
    }
    assert_eq!(seen, [8, 16, 40]);
}

#[test]
fn a_recall_of_some_tiers_leaves_the_others_out() {
    let engine = filled(small(), 64);
    for tier in TierKind::ALL {
        let recall =
            engine.recall(Query::text("gardener planted").limit(100).tiers(&[tier]).touch(false)).unwrap();
        assert_eq!(recall.hits.len(), engine.stats().memories_in(tier));
        assert!(recall.hits.iter().all(|hit| hit.memory.tier == tier));
    }
}

#[test]
fn scores_do_not_depend_on_the_tier() {
    let engine = filled(small(), 64);
    let hot = filled(small().hot_capacity(100), 64);
    let query = Query::text("gardener planted cedar behind shed12").limit(20).touch(false);
    let (spread, together) = (engine.recall(&query).unwrap(), hot.recall(&query).unwrap());
    assert_eq!(texts(&spread), texts(&together));
    for (a, b) in spread.hits.iter().zip(&together.hits) {
        assert_eq!(a.score, b.score);
    }
}

/// Texts of few words, so that many have equal scores.
fn alike(number: usize) -> String {
    const WORDS: [&str; 9] = ["amber", "basil", "the", "cedar", "elder", "fennel", "and", "ginger", "hazel"];
    let word = |place: usize| WORDS[(number * 7 + place * (number % 5 + 1)) % WORDS.len()];
    (0..2 + number % 4).map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn hits_and_scores_are_those_of_reading_every_text_in_every_tier() {
    let engine = Engine::in_memory(small()).unwrap();
    engine.store_batch((0..300).map(|number| NewMemory::new(alike(number))).collect()).unwrap();
    engine.consolidate().unwrap();
    assert!(engine.stats().memories.iter().all(|&memories| memories > 0));
    let together = Engine::in_memory(Config::default().background(false)).unwrap();
    together.store_batch((0..300).map(|number| NewMemory::new(alike(number))).collect()).unwrap();
    let hits = |engine: &Engine, query: &Query| -> Vec<(u64, f32)> {
        engine.recall(query).unwrap().hits.iter().map(|hit| (hit.memory.id.0, hit.score)).collect()
    };
    for number in 0..100 {
        for limit in [1, 5, 40] {
            let query = Query::text(alike(number)).limit(limit).touch(false);
            let found = hits(&engine, &query);
            assert_eq!(found, hits(&engine, &query.clone().method(Method::Exact)), "{}", alike(number));
            assert_eq!(found, hits(&together, &query), "{}", alike(number));
        }
    }
}

/// Before, the noise of their vectors decided, and the outdated statement came first half the time.
#[test]
fn of_texts_that_fit_equally_well_the_newest_comes_first() {
    let engine = Engine::in_memory(small()).unwrap();
    for city in ["Oslo", "Bern", "Rome", "Riga"] {
        engine.store(format!("Anna lives in {city} now")).unwrap();
    }
    let recall = engine.recall("Where does Anna live?").unwrap();
    let newest_first: Vec<String> =
        ["Riga", "Rome", "Bern", "Oslo"].iter().map(|city| format!("Anna lives in {city} now")).collect();
    assert_eq!(texts(&recall), newest_first);
}

#[test]
fn of_texts_that_fit_equally_well_the_one_with_the_phrase_comes_first() {
    let engine = Engine::in_memory(small()).unwrap();
    engine.store("that old red boat").unwrap();
    engine.store_batch(vec![NewMemory::new("a boat, old and red"); 100]).unwrap();
    let recall = engine.recall(Query::text("that old red boat?").limit(2)).unwrap();
    assert_eq!(texts(&recall), ["that old red boat", "a boat, old and red"]);
    assert_eq!(recall.hits[0].score, recall.hits[1].score);
}

#[test]
fn the_vector_of_a_memory_is_the_supplied_one_or_that_of_its_text() {
    let engine = filled(small(), 64);
    let supplied = mnemocore::hdv::Hypervector::random(engine.config().dimension, 7);
    let with = engine.store(NewMemory::new("a lantern").vector(supplied.clone())).unwrap();
    assert_eq!(engine.vector(with).unwrap(), Some(supplied));
    for number in [0, 20, 63] {
        let query = Query::text(format!("shed{number}")).limit(1).touch(false);
        let memory = engine.recall(&query).unwrap().hits.remove(0).memory;
        let terms = mnemocore::encoder::Document::new(&memory.text).analyze().unwrap();
        let vector = engine.vector(memory.id).unwrap().unwrap();
        assert_eq!(vector, engine.encoder().encode(&terms).unwrap());
        let like = engine.recall(Query::like(vector).limit(1).touch(false)).unwrap();
        assert_eq!((like.hits[0].memory.id, like.hits[0].score), (memory.id, 1.0), "{}", memory.tier);
    }
    assert_eq!(engine.vector(1_000_000).unwrap(), None);
}

#[test]
fn no_recall_crosses_its_namespace() {
    let engine = Engine::in_memory(small()).unwrap();
    let [ada, bob] = ["ada", "bob"].map(|name| Namespace::new(name).unwrap());
    engine.store(NewMemory::new("The door code is 4711").namespace(ada.clone())).unwrap();
    engine.store(NewMemory::new("The door code is 1234").namespace(bob.clone()).metadata("k", "v")).unwrap();
    let ask = |namespace: &Namespace| Query::text("What is the door code?").namespace(namespace.clone());
    assert_eq!(texts(&engine.recall(ask(&ada)).unwrap()), ["The door code is 4711"]);
    assert_eq!(texts(&engine.recall(ask(&bob)).unwrap()), ["The door code is 1234"]);
    assert!(engine.recall(ask(&ada).metadata("k", "v")).unwrap().hits.is_empty());
    assert!(engine.recall(Query::text("What is the door code?")).unwrap().hits.is_empty());
    assert!(engine.recall(ask(&Namespace::new("eve").unwrap())).unwrap().hits.is_empty());
}

#[test]
fn filters_by_metadata_and_time_hold_in_every_tier() {
    let engine = Engine::in_memory(small()).unwrap();
    let memory = |number: usize| {
        let parity = if number.is_multiple_of(2) { "even" } else { "odd" };
        NewMemory::new(note(number)).metadata("parity", parity).created(Timestamp(number as i64))
    };
    engine.store_batch((0..60).map(memory).collect()).unwrap();
    engine.consolidate_at(Timestamp(60)).unwrap();
    let query = Query::text("gardener").limit(100).touch(false);
    let odd = engine.recall(query.clone().metadata("parity", "odd")).unwrap();
    assert_eq!(odd.hits.len(), 30);
    assert!(odd.hits.iter().all(|hit| hit.memory.metadata["parity"] == "odd"));
    let early = engine.recall(query.clone().created(Timestamp(10)..Timestamp(20))).unwrap();
    assert_eq!(early.hits.len(), 10);
    let both = query.metadata("parity", "odd").created(Timestamp(10)..Timestamp(20));
    assert_eq!(engine.recall(&both).unwrap().hits.len(), 5);
}

#[test]
fn a_forgotten_memory_is_gone_from_every_tier_at_once() {
    let engine = filled(small(), 64);
    for number in 0..64 {
        let query = Query::text(format!("shed{number}")).limit(1).touch(false);
        let id = engine.recall(&query).unwrap().hits[0].memory.id;
        assert!(engine.forget(id).unwrap());
        assert!(!engine.forget(id).unwrap());
        assert!(engine.get(id).unwrap().is_none());
        assert!(!texts(&engine.recall(&query).unwrap()).contains(&note(number).as_str()));
    }
    assert_eq!(engine.stats().total(), 0);
    engine.consolidate().unwrap();
    assert_eq!(engine.stats().total(), 0);
}

#[test]
fn recalled_memories_rise_and_the_weakest_make_room() {
    let engine = filled(small(), 64);
    let query = Query::text("shed3").limit(1);
    let before = engine.recall(&query).unwrap().hits[0].memory.clone();
    assert_eq!(before.tier, TierKind::Cold);
    for _ in 0..5 {
        engine.recall(&query).unwrap();
    }
    let done = engine.consolidate().unwrap();
    assert!(done.promoted >= 1, "{done:?}");
    assert_eq!(engine.get(before.id).unwrap().unwrap().tier, TierKind::Hot);
    assert_eq!(engine.stats().memories, [8, 16, 40]);
}

#[test]
fn memories_that_nobody_recalls_sink_with_the_years() {
    let engine = filled(small().hot_capacity(100).warm_capacity(100), 20);
    let days = |days: i64| Timestamp(Timestamp::now().0 + days * 86_400_000);
    engine.consolidate_at(days(60)).unwrap();
    assert_eq!(engine.stats().memories, [20, 0, 0]);
    engine.consolidate_at(days(120)).unwrap();
    assert_eq!(engine.stats().memories, [0, 20, 0]);
    engine.consolidate_at(days(400)).unwrap();
    assert_eq!(engine.stats().memories, [0, 0, 20]);
    assert_eq!(engine.recall(Query::text("shed7").limit(1)).unwrap().hits.len(), 1);
}

#[test]
fn bad_input_is_refused_with_what_was_expected_and_loses_nothing() {
    let engine = filled(small(), 10);
    assert!(matches!(engine.store(" \n\t "), Err(Error::EmptyText { .. })));
    assert!(matches!(engine.store(""), Err(Error::EmptyText { .. })));
    assert!(matches!(
        engine.store("x".repeat(100_001)),
        Err(Error::TextTooLong { received: 100_001, max: 100_000 })
    ));
    assert!(engine.store("é".repeat(100_000)).is_ok());
    let large = NewMemory::new("text").metadata("key", "v".repeat(70_000));
    assert!(matches!(engine.store(large), Err(Error::MetadataTooLarge { .. })));
    assert!(matches!(
        engine.store(NewMemory::new("text").importance(f32::NAN)),
        Err(Error::Importance { .. })
    ));
    assert!(matches!(engine.recall(Query::text("  ")), Err(Error::EmptyText { .. })));
    assert!(Namespace::new("").is_err());
    let batch = vec![NewMemory::new("one good memory"), NewMemory::new("")];
    assert!(engine.store_batch(batch).is_err());
    assert_eq!(engine.stats().total(), 11);
}

#[test]
fn of_equal_memories_the_newest_comes_first() {
    let engine = filled(small(), 30);
    let ids: Vec<_> = (0..5).map(|_| engine.store("The boat is called Marigold").unwrap().id).collect();
    let recall = engine.recall(Query::text("What is the boat called?").limit(5)).unwrap();
    let found: Vec<_> = recall.hits.iter().map(|hit| hit.memory.id).collect();
    assert_eq!(found, ids.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn a_synthesis_combines_what_no_memory_has_alone() {
    let engine = Engine::in_memory(small()).unwrap();
    for text in [
        "Marta works as a violin maker in Cremona",
        "Marta's workshop burned down in March",
        "The bakery opens at six",
        "Jonas bought a bicycle",
    ] {
        engine.store(text).unwrap();
    }
    let one = engine.synthesize(Query::text("When does the bakery open?")).unwrap();
    assert_eq!(one.kind, SynthesisKind::Extracted);
    assert_eq!(one.text, "The bakery opens at six");
    assert_eq!(one.coherence, 1.0);
    let two = engine.synthesize(Query::text("Did the violin maker's workshop in Cremona burn?")).unwrap();
    assert_eq!(two.kind, SynthesisKind::Interpolated);
    assert_eq!(two.fragments.len(), 2);
    assert!(two.text.contains("Cremona") && two.text.contains("burned"));
    assert!(two.confidence < 1.0 && two.confidence > 0.0);
    let none = engine.synthesize(Query::text("quantum chromodynamics lecture")).unwrap();
    assert_eq!(none.kind, SynthesisKind::Nothing);
    assert!(none.text.is_empty() && none.fragments.is_empty());
}
