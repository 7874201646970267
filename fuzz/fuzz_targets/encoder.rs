//! Any text through the whole encoder and through an engine.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use mnemocore::encoder::{
    Count, Document, EncodeError, Encoder, Phrase, Question, Term, TermCounts, TermStatistics, TermVector,
    terms,
};
use mnemocore::internals::index::TextQuery;
use mnemocore::{Engine, Error, MAX_CHARS, Method, Query};
use mnemocore_fuzz::{scratch, tiny};

/// Texts of more bytes are not taken through everything.
const LONG: usize = 2_000;

/// The statistics of a single text.
struct Alone<'a>(&'a TermCounts);

impl TermStatistics for Alone<'_> {
    fn documents(&self) -> u64 {
        1
    }

    fn document_frequency(&self, term: Term) -> u64 {
        self.0.contains(term).into()
    }
}

struct Kept {
    engine: Engine,
    cached: Encoder,
    uncached: Encoder,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&form, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    // Now and then the longest text that is taken, and one character more.
    let text = match form {
        0 => stretched(&text, MAX_CHARS),
        1 => stretched(&text, MAX_CHARS + 1),
        _ => text.into_owned(),
    };
    KEPT.with_borrow_mut(|kept| {
        let kept = kept.get_or_insert_with(|| {
            drop(scratch());
            let (dim, bytes) = (tiny().dimension, tiny().token_cache_bytes);
            let engine = Engine::in_memory(tiny()).expect("an engine");
            Kept { engine, cached: Encoder::new(dim, bytes), uncached: Encoder::new(dim, 0) }
        });
        let has_terms = encode(kept, &text);
        store(&kept.engine, &text, has_terms);
    });
});

/// `text` again and again, up to `chars` characters.
fn stretched(text: &str, chars: usize) -> String {
    if text.is_empty() { String::new() } else { text.chars().cycle().take(chars).collect() }
}

/// Takes a text through every way of encoding it. Returns whether it has terms.
fn encode(kept: &Kept, text: &str) -> bool {
    let counts = match Document::new(text).counts() {
        Ok(counts) => counts,
        Err(error) => {
            assert_eq!(error, EncodeError::EmptyText);
            assert!(terms(text).is_empty());
            assert_eq!(Document::new(text).analyze(), Err(EncodeError::EmptyText));
            assert_eq!(kept.cached.encode_ordered(text), Err(EncodeError::EmptyText));
            return false;
        }
    };
    assert_eq!(Document::new(text).counts().as_ref(), Ok(&counts), "another count");
    assert!(counts.terms().is_sorted_by(|a, b| a.0 < b.0) && !counts.terms().is_empty());
    assert!(counts.terms().iter().all(|&(_, count)| count >= Count::ONE));
    let document = Document::new(text).analyze().expect("a text with terms");
    assert_eq!(TermVector::from(&counts), document, "the counts have other weights than the analysis");
    assert!(document.terms().is_sorted() && !document.terms().is_empty());
    assert!(document.terms().iter().all(|(_, weight)| (1..=TermVector::MAX_WEIGHT).contains(weight)));
    assert!(document.norm().is_finite() && document.norm() > 0.0, "norm {}", document.norm());
    let vector = kept.cached.encode(&document).expect("a vector");
    assert_eq!(kept.uncached.encode(&document).as_ref(), Ok(&vector), "the dictionary makes a difference");

    let query = TextQuery::new(text, &Alone(&counts)).expect("a query");
    let score = query.score(&counts);
    assert!(score.is_finite() && score > 0.0, "score {score}");
    assert!(query.phrase().in_text(text) <= Phrase::MAX_PAIRS as u32);
    let coverage = query.coverage(|term| counts.contains(term));
    // All of its terms, but up to a third of their weight is rounded away.
    assert!((0.8..=1.0).contains(&coverage), "a text covers {coverage} of itself");
    let question = Question::new(text, &Alone(&counts)).expect("a question");
    assert!(question.terms().iter().all(|(_, weight)| (1..=Question::MAX_WEIGHT).contains(weight)));

    // Quadratic in what it permutes, so not of the longest.
    if text.len() < LONG {
        let ordered = kept.cached.encode_ordered(text).expect("a sequence");
        assert_eq!(kept.uncached.encode_ordered(text).as_ref(), Ok(&ordered));
        let half = (0..=text.len() / 2).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let (speaker, rest) = text.split_at(half);
        if let Ok(turn) = Document::new(rest).speaker(speaker).context(text).analyze() {
            assert!(turn.norm().is_finite() && turn.norm() > 0.0);
            kept.cached.encode(&turn).expect("a vector of a turn");
        }
        let _ = kept.cached.record(&[(speaker, rest), ("whole", text)]);
    }
    true
}

/// Stores a text, which finds itself and is what an answer is made of; forgets it.
fn store(engine: &Engine, text: &str, has_terms: bool) {
    let characters = text.chars().count();
    // Of others, only the engine says which ones show something.
    let visible = text.chars().any(|c| c.is_ascii_graphic());
    let id = match engine.store(text) {
        Ok(stored) => stored.id,
        Err(Error::TextTooLong { received, max }) => {
            return assert!(received == characters && max == MAX_CHARS && characters > MAX_CHARS);
        }
        Err(Error::EmptyText { received }) => return assert!(received == characters && !visible),
        Err(Error::Encode(EncodeError::EmptyText)) => return assert!(!has_terms),
        Err(error) => panic!("refused: {error}"),
    };
    assert!(has_terms && characters <= MAX_CHARS);
    let scores = [Method::Indexed, Method::Exact].map(|method| {
        let recall = engine.recall(Query::text(text).method(method)).expect("a recall");
        let [hit] = recall.hits.as_slice() else { panic!("{method:?} finds {} memories", recall.hits.len()) };
        assert_eq!((hit.memory.id, hit.memory.text.as_str()), (id, text));
        assert!(hit.score.is_finite() && recall.is_answerable());
        hit.score
    });
    assert_eq!(scores[0], scores[1], "the index and the oracle differ");
    if text.len() < LONG {
        synthesize(engine, text);
    }
    assert!(engine.forget(id).expect("forgets"));
}

fn synthesize(engine: &Engine, text: &str) {
    let synthesis = engine.synthesize(Query::text(text)).expect("a synthesis");
    let [fragment] = synthesis.fragments.as_slice() else { panic!("no synthesis of a text's own words") };
    assert!(text.contains(&fragment.excerpt) && synthesis.text == fragment.excerpt);
}
