//! BM25, the baseline for the engine's recall.
//!
//! A thin wrapper over the `bm25` crate. It adds scopes, an average document length fitted to each
//! scope, and a deterministic order.

use std::collections::{HashMap, HashSet};

use bm25::{DefaultTokenizer, Embedder, EmbedderBuilder, Language, Scorer, Tokenizer};

/// Term frequency saturation and document length normalization, with the values of tuned baselines
/// for conversations in the literature.
const K1: f32 = 1.5;
const B: f32 = 0.75;

/// Splits a text into terms: stop words dropped, the rest stemmed.
pub trait Terms: Sync {
    /// The terms of `text`, in order, repetitions included.
    fn terms(&self, text: &str) -> Vec<String>;
}

impl<F: Fn(&str) -> Vec<String> + Sync> Terms for F {
    fn terms(&self, text: &str) -> Vec<String> {
        self(text)
    }
}

/// The crate's English tokenizer: Unicode words, the NLTK stop list, Snowball's
/// English stemmer.
#[derive(Debug)]
pub struct EnglishTerms(DefaultTokenizer);

impl Default for EnglishTerms {
    fn default() -> Self {
        Self(DefaultTokenizer::new(Language::English))
    }
}

impl Terms for EnglishTerms {
    fn terms(&self, text: &str) -> Vec<String> {
        self.0.tokenize(text)
    }
}

/// The tokenizer for the crate. Texts arrive as terms joined by a separator that no term contains,
/// so that each text is analyzed only once.
#[derive(Debug)]
struct Joined;

const SEPARATOR: char = '\u{1F}';

impl Tokenizer for Joined {
    fn tokenize(&self, joined: &str) -> Vec<String> {
        joined.split(SEPARATOR).filter(|term| !term.is_empty()).map(str::to_owned).collect()
    }
}

/// Texts searchable by BM25, all together or scope by scope.
///
/// ```
/// use mnemocore_suite::bm25::Bm25;
///
/// let texts = [("", "The cat sleeps on the sofa"), ("", "Dogs chase cats"), ("", "Rain again")];
/// let bm25 = Bm25::new(texts);
/// assert_eq!(bm25.search("a chased cat", 10, None)[0].0, 1);
/// ```
pub struct Bm25<T = EnglishTerms> {
    terms: T,
    all: Index,
    scopes: HashMap<String, Index>,
}

/// The term statistics and documents of one scope.
struct Index {
    embedder: Embedder<u64, Joined>,
    scorer: Scorer<u32, u64>,
    documents: usize,
    /// The number of documents that contain a term; the crate does not expose it.
    frequencies: HashMap<String, u32>,
}

impl Bm25 {
    /// Indexes (scope, text) pairs, split by [`EnglishTerms`]. A result's index is
    /// the position of the text in `texts`.
    pub fn new<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::with_terms(EnglishTerms::default(), texts)
    }
}

impl<T: Terms> Bm25<T> {
    /// As [`Bm25::new`], with terms of your own, so that two systems can be compared on the same
    /// terms.
    pub fn with_terms<'a>(terms: T, texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut everything = Vec::new();
        let mut scoped: HashMap<String, Vec<(u32, String)>> = HashMap::new();
        for (index, (scope, text)) in (0u32..).zip(texts) {
            let joined = join(terms.terms(text));
            if !scope.is_empty() {
                scoped.entry(scope.to_owned()).or_default().push((index, joined.clone()));
            }
            everything.push((index, joined));
        }
        let scopes = scoped.into_iter().map(|(scope, texts)| (scope, Index::new(&texts))).collect();
        Self { terms, all: Index::new(&everything), scopes }
    }

    /// The best `k` texts that share a term with `query`, as (index, score), best
    /// first and at the same score in the order of the texts.
    ///
    /// With a scope, only its texts are searched, by its own term statistics; an
    /// unknown scope has none.
    pub fn search(&self, query: &str, k: usize, scope: Option<&str>) -> Vec<(u32, f32)> {
        let index = self.index(scope);
        let terms = join(self.terms.terms(query));
        index.map_or_else(Vec::new, |index| index.search(&terms, k))
    }

    fn index(&self, scope: Option<&str>) -> Option<&Index> {
        scope.map_or(Some(&self.all), |scope| self.scopes.get(scope))
    }

    /// Returns an upper bound of the score of any text for `query`: the limit for a text that
    /// repeats every word of it without end. It is 0 for a scope without texts.
    pub fn ceiling(&self, query: &str, scope: Option<&str>) -> f32 {
        let index = self.index(scope);
        index.map_or(0.0, |index| index.ceiling(&self.terms.terms(query)))
    }
}

impl Index {
    fn new(texts: &[(u32, String)]) -> Self {
        let corpus: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
        let embedder = EmbedderBuilder::with_tokenizer_and_fit_to_corpus(Joined, &corpus).k1(K1).b(B).build();
        let mut scorer = Scorer::new();
        let mut frequencies = HashMap::new();
        for (index, text) in texts {
            scorer.upsert(index, embedder.embed(text));
            for term in HashSet::<String>::from_iter(Joined.tokenize(text)) {
                *frequencies.entry(term).or_default() += 1;
            }
        }
        Self { embedder, scorer, documents: texts.len(), frequencies }
    }

    fn ceiling(&self, terms: &[String]) -> f32 {
        let idf = |term: &String| {
            let held_by = self.frequencies.get(term).map_or(0.0, |&texts| texts as f32);
            (1.0 + (self.documents as f32 - held_by + 0.5) / (held_by + 0.5)).ln()
        };
        if self.documents == 0 { 0.0 } else { terms.iter().map(idf).sum::<f32>() * (K1 + 1.0) }
    }

    fn search(&self, terms: &str, k: usize) -> Vec<(u32, f32)> {
        let matches = self.scorer.matches(&self.embedder.embed(terms));
        let mut ranked: Vec<(u32, f32)> =
            matches.into_iter().map(|document| (document.id, document.score)).collect();
        // The crate leaves ties in the order of a hash table, which differs by run.
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranked.truncate(k);
        ranked
    }
}

fn join(terms: Vec<String>) -> String {
    terms.join(&SEPARATOR.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Corpus;
    use crate::quality::{mean, ndcg, recall};

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_lowercase).collect()
    }

    #[test]
    fn score_is_the_formula() {
        let texts = ["a b", "a a c d", "b c"];
        let bm25 = Bm25::with_terms(words, texts.map(|text| ("", text)));
        // a is in 2 of 3 texts; avgdl = 8/3.
        let idf = (1.0 + (3.0 - 2.0 + 0.5) / (2.0 + 0.5_f32)).ln();
        let score =
            |tf: f32, length: f32| idf * tf * (K1 + 1.0) / (tf + K1 * (1.0 - B + B * length / (8.0 / 3.0)));
        let found = bm25.search("A", 10, None);
        let expected = [(1, score(2.0, 4.0)), (0, score(1.0, 2.0))];
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-5, "{found:?} {expected:?}");
        }
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn nothing_exceeds_the_ceiling_and_endless_repetition_comes_near_it() {
        let repeated = "a ".repeat(1000);
        let texts = ["a b", "a a c d", "b c", repeated.trim()];
        let bm25 = Bm25::with_terms(words, texts.map(|text| ("x", text)));
        for scope in [None, Some("x")] {
            let (best, ceiling) = (bm25.search("a", 1, scope)[0].1, bm25.ceiling("a", scope));
            assert!(best < ceiling && best > 0.5 * ceiling, "{best} of {ceiling}");
            assert!(bm25.search("a a c", 1, scope)[0].1 < bm25.ceiling("a a c", scope));
            assert!(bm25.ceiling("a unheard", scope) > ceiling);
        }
        assert_eq!(bm25.ceiling("a", Some("y")), 0.0);
        assert_eq!(Bm25::with_terms(words, []).ceiling("a", None), 0.0);
    }

    #[test]
    fn a_scope_is_searched_by_its_own_statistics_and_others_not_at_all() {
        let bm25 = Bm25::with_terms(words, [("x", "cat"), ("y", "cat"), ("y", "dog"), ("", "cat")]);
        let indices = |scope| bm25.search("cat", 10, scope).iter().map(|found| found.0).collect::<Vec<_>>();
        assert_eq!(indices(None), [0, 1, 3]);
        assert_eq!(indices(Some("y")), [1]);
        assert!(indices(Some("z")).is_empty());
        assert_ne!(bm25.search("cat", 1, Some("x"))[0].1, bm25.search("cat", 1, Some("y"))[0].1);
    }

    #[test]
    fn ties_keep_the_order_of_the_texts() {
        let texts: Vec<(&str, &str)> = (0..50).map(|_| ("", "the same words")).collect();
        let ranked = Bm25::with_terms(words, texts).search("same", 20, None);
        assert!(ranked.iter().map(|found| found.0).eq(0..20));
    }

    #[test]
    fn empty_corpora_queries_and_stop_words_find_nothing() {
        assert_eq!(Bm25::new([]).search("cat", 5, None), []);
        let bm25 = Bm25::new([("", "a cat"), ("", "")]);
        assert_eq!(bm25.search("", 5, None), []);
        assert_eq!(bm25.search("the of and", 5, None), []);
    }

    /// `MNEMO_DATA=$PWD/<data set> cargo test -p mnemocore-suite --lib bm25 -- --ignored --nocapture`
    #[test]
    #[ignore = "needs a data set in MNEMO_DATA"]
    fn show_quality() {
        let corpus = Corpus::read(std::env::var("MNEMO_DATA").unwrap()).unwrap();
        let contents: Vec<_> = corpus.memories.iter().map(|item| item.content()).collect();
        let texts = corpus.memories.iter().zip(&contents);
        let bm25 = Bm25::new(texts.map(|(item, content)| (item.scope.as_str(), content.as_ref())));
        for scoped in [true, false] {
            let mut columns = [const { Vec::new() }; 3];
            for question in &corpus.questions {
                if question.category == "adversarial" || !question.is_answerable() {
                    continue;
                }
                let scope = question.scope.as_deref().filter(|_| scoped);
                let found = bm25.search(&question.text, 10, scope);
                let found: Vec<u32> = found.into_iter().map(|(index, _)| index).collect();
                columns[0].extend(recall(&found, &question.relevant, 5));
                columns[1].extend(recall(&found, &question.relevant, 10));
                columns[2].extend(ndcg(&found, &question.relevant, 10));
            }
            println!("scoped {scoped}, {} questions: {:.4?}", columns[0].len(), columns.map(|c| mean(&c)));
        }
    }
}
