use super::*;
use std::collections::{HashMap, HashSet};

fn taken(seed: u64, count: usize) -> Vec<Item> {
    Workload::new(seed).take(count).collect()
}

#[test]
fn same_seed_same_memories_and_a_larger_corpus_begins_with_the_smaller() {
    let large = taken(5, 3000);
    assert_eq!(taken(5, 500), large[..500]);
    assert_ne!(taken(6, 500), large[..500]);
}

#[test]
fn what_it_writes_does_not_drift() {
    // Recorded results are only comparable as long as this holds.
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for item in taken(42, 2000) {
        for byte in item.content().bytes().chain(item.id.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
    assert_eq!(hash, 15_334_353_658_661_990_874, "FNV-1a of the first 2,000 memories of seed 42");
}

#[test]
fn memories_are_of_natural_length_and_about_a_hundred_bytes() {
    let items = taken(1, 20_000);
    let bytes: usize = items.iter().map(|item| item.content().len()).sum();
    let words: usize = items.iter().map(|item| item.text.split(' ').count()).sum();
    let count = items.len() as f64;
    assert!((90.0..110.0).contains(&(bytes as f64 / count)), "{} bytes", bytes as f64 / count);
    assert!((12.0..20.0).contains(&(words as f64 / count)), "{} words", words as f64 / count);
    assert!(items.iter().all(|item| item.text.is_ascii() && !item.text.contains("  ")));
    assert!(items.iter().all(|item| !item.text.contains(['{', '}'])));
}

#[test]
fn ids_are_unique_times_rise_and_scopes_begin_ids() {
    let items: Vec<Item> = Workload::with_agents(3, 4).take(5000).collect();
    let ids: HashSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids.len(), items.len());
    assert!(items.is_sorted_by(|a, b| a.timestamp_ms < b.timestamp_ms));
    assert!(items.iter().all(|item| item.id.starts_with(&format!("{}/", item.scope))));
    let scopes: HashSet<&str> = items.iter().map(|item| item.scope.as_str()).collect();
    assert_eq!(scopes.len(), 4);
}

#[test]
fn changes_and_remarks_on_earlier_facts_are_a_fifth() {
    let mut workload = Workload::new(11);
    let revisits = (0..20_000).filter(|_| {
        workload.next();
        workload.revisited
    });
    let share = revisits.count() as f64 / 20_000.0;
    assert!((0.19..0.21).contains(&share), "{share}");
}

#[test]
fn the_newest_statement_is_the_answer_and_says_it() {
    let mut workload = Workload::with_agents(8, 3);
    let corpus = workload.corpus(20_000, 400);
    let answerable: Vec<_> = corpus.questions.iter().filter(|q| q.is_answerable()).collect();
    assert_eq!(answerable.len(), 400);
    assert!(answerable.iter().any(|question| question.category == "changed"));
    for question in answerable {
        let answer = question.answer.as_deref().unwrap();
        for &index in &question.relevant {
            let memory = &corpus.memories[index as usize];
            assert!(memory.text.contains(answer), "{question:?} {memory:?}");
            assert_eq!(Some(&memory.scope), question.scope.as_ref());
        }
        // Naive oracle: nothing later in the agent's facts has the same key.
        let agent = workload.agents.iter().find(|a| Some(&a.scope) == question.scope.as_ref());
        let facts = &agent.unwrap().facts;
        let last = question.relevant.last().unwrap();
        let key = facts.iter().find(|fact| fact.memory == *last).unwrap().key;
        let newest = facts.iter().rfind(|fact| fact.key == key).unwrap();
        assert_eq!(newest.memory, *last, "{question:?}");
    }
}

#[test]
fn unanswerable_questions_have_no_evidence() {
    let corpus = Workload::new(8).corpus(5000, 200);
    let unanswerable: Vec<_> = corpus.questions.iter().filter(|q| !q.is_answerable()).collect();
    assert_eq!(unanswerable.len(), 50);
    let answerable: HashMap<&str, _> = corpus
        .questions
        .iter()
        .filter(|question| question.is_answerable())
        .map(|question| (question.text.as_str(), question))
        .collect();
    for question in unanswerable {
        assert_eq!((question.category.as_str(), &question.answer), ("unanswerable", &None));
        assert!(!answerable.contains_key(question.text.as_str()), "{question:?}");
    }
}

#[test]
fn questions_about_nothing_are_none() {
    assert_eq!(Workload::new(1).questions(10, 10), []);
}

#[test]
fn term_frequencies_follow_zipf_and_new_terms_keep_coming() {
    let (slope, distinct) = statistics(&taken(2, 20_000));
    assert!((-1.3..-0.7).contains(&slope), "slope {slope}");
    let (_, fewer) = statistics(&taken(2, 10_000));
    assert!(distinct as f64 > fewer as f64 * 1.2, "{fewer} then {distinct}");
}

#[test]
fn partial_query_keeps_the_share_in_order() {
    let words: Vec<String> = (0..20).map(|word| format!("w{word:02}")).collect();
    let text = words.join(" ");
    for seed in 0..50 {
        let query = partial_query(&text, 0.6, seed);
        let kept: Vec<&str> = query.split(' ').collect();
        assert_eq!(kept.len(), 12);
        assert!(kept.is_sorted() && kept.iter().all(|word| text.contains(word)));
    }
    for seed in 0..50 {
        let query = partial_query("it was so that she had a violin", 0.2, seed);
        assert!(query.contains("violin"), "{query} holds no term of the text");
    }
    assert_eq!(partial_query("alone", 0.1, 1), "alone");
    assert_eq!(partial_query(" ", 0.6, 1), "");
    assert_eq!(partial_query(&text, 1.0, 1), text);
}

/// Slope of log frequency over log rank, by least squares over ranks 1 to 5,000
/// taken at even steps of the logarithm, and the number of distinct words.
fn statistics(items: &[Item]) -> (f64, usize) {
    let mut counts: HashMap<String, u32> = HashMap::new();
    for item in items {
        for word in item.content().split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()) {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    let mut frequencies: Vec<u32> = counts.into_values().collect();
    frequencies.sort_unstable_by(|a, b| b.cmp(a));
    let points: Vec<(f64, f64)> = (0..100)
        .map(|step| 5000f64.powf(f64::from(step) / 99.0))
        .filter_map(|rank| Some((rank.ln(), f64::from(*frequencies.get(rank as usize - 1)?).ln())))
        .collect();
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / count, y / count);
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (covariance / variance, frequencies.len())
}

/// Prints samples and the statistics of three sizes:
/// `cargo test --release --lib workload -- --ignored --nocapture`.
#[test]
#[ignore = "prints, asserts nothing"]
fn show() {
    let corpus = Workload::new(42).corpus(5000, 30);
    for item in corpus.memories.iter().skip(1000).take(40) {
        println!("{:>14}  {}", item.id, item.content());
    }
    for question in &corpus.questions {
        println!("{:>12}  {}  {:?}", question.category, question.text, question.answer);
        for &index in question.relevant.iter().rev().take(2) {
            println!("{:>16}{}", "", corpus.memories[index as usize].content());
        }
    }
    for count in [5_000, 100_000, 1_000_000] {
        let started = std::time::Instant::now();
        let items = taken(42, count);
        let seconds = started.elapsed().as_secs_f64();
        let bytes: usize = items.iter().map(|item| item.content().len()).sum();
        let words: usize = items.iter().map(|item| item.text.split(' ').count()).sum();
        let texts: HashSet<&str> = items.iter().map(|item| item.text.as_str()).collect();
        let (slope, distinct) = statistics(&items);
        println!(
            "{count}: {:.0}/s, {:.1} bytes, {:.1} words, {distinct} terms, slope {slope:.3}, {} distinct texts",
            count as f64 / seconds,
            bytes as f64 / count as f64,
            words as f64 / count as f64,
            texts.len(),
        );
    }
}
