use super::*;
use std::fs;

fn corpus(memories: &str, queries: &str) -> Result<Corpus, CorpusError> {
    corpus_of(memories.as_bytes(), queries.as_bytes())
}

fn corpus_of(memories: &[u8], queries: &[u8]) -> Result<Corpus, CorpusError> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("memories.jsonl"), memories).unwrap();
    fs::write(dir.path().join("queries.jsonl"), queries).unwrap();
    Corpus::read(dir.path())
}

const MEMORIES: &str = concat!(
    r#"{"id":"c-2/1","text":"Hello","session":"c-2/s","timestamp":"1:56 pm on 8 May, 2023","speaker":"Ann"}"#,
    "\n\n",
    r#"{"id":"c-26/1","text":"Bye","timestamp":"soon","speaker":""}"#,
    "\n",
);

#[test]
fn reads_memories_and_resolves_relevant_ids() {
    let queries = r#"{"id":"q","text":"Who?","relevant":["c-26/1","c-2/1","c-2/1"],"answer":7}
        {"text":"Who?","scope":"c-2"}"#;
    let corpus = corpus(MEMORIES, queries).unwrap();
    let [first, second] = &corpus.memories[..] else { panic!("two memories") };
    assert_eq!(first.content(), "Ann: Hello");
    assert_eq!(first.timestamp_ms, 1_683_554_160_000);
    assert_eq!((first.scope.as_str(), second.scope.as_str()), ("c-2", "c-26"));
    assert_eq!(second.content(), "Bye");
    assert_eq!(second.timestamp_ms, first.timestamp_ms + 1000);
    let question = &corpus.questions[0];
    assert_eq!(question.relevant, [0, 1]);
    assert_eq!(question.answer.as_deref(), Some("7"));
    assert_eq!(corpus.candidates(question), [0, 1]);
    assert_eq!(corpus.candidates(&corpus.questions[1]), [0]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_row() {
    let corpus = corpus(&format!("\u{feff}{MEMORIES}"), "\u{feff}{\"text\":\"x\"}").unwrap();
    assert_eq!((corpus.memories.len(), corpus.left_out.len()), (2, 0));
}

#[test]
fn the_scope_of_a_memory_is_read_from_its_row() {
    let memory = r#"{"id":"c-2/1","text":"Hello","scope":"Ann's"}"#;
    let corpus = corpus(memory, r#"{"text":"Who?","scope":"Ann's"}"#).unwrap();
    assert_eq!(corpus.memories[0].scope, "Ann's");
    assert_eq!(corpus.candidates(&corpus.questions[0]), [0]);
}

#[test]
fn rows_that_cannot_be_used_are_named_and_the_rest_is_read() {
    let long = "a ".repeat(MAX_CHARS);
    let far = "f".repeat(MAX_NAMESPACE_BYTES + 1);
    let memories = [
        r#"{"id":"c/1","text":"Hello"}"#,
        r#"{"id":"c/2","text":" "}"#,
        &format!(r#"{{"id":"c/3","text":"{long}"}}"#),
        &format!(r#"{{"id":"c/4","text":"Hello","scope":"{far}"}}"#),
        &format!(r#"{{"id":"{far}/1","text":"Hello"}}"#),
        r#"{"id":"e/1","text":"Hello"}"#,
        // Just short enough.
        &format!(r#"{{"id":"f","text":"Hello","scope":"{}"}}"#, &far[1..]),
    ];
    let queries = [
        r#"{"text":"","relevant":["c/1"]}"#,
        r#"{"text":"Who?","relevant":["c/1"],"scope":"d"}"#,
        r#"{"text":"Who?","relevant":["c/1","c/2"]}"#,
        r#"{"text":"Who?","relevant":["c/1"],"scope":"c"}"#,
        &format!(r#"{{"text":"Who?","relevant":["c/1"],"scope":"{far}"}}"#),
        r#"{"text":"Who?","relevant":["c/1","e/1"],"scope":"c"}"#,
    ];
    let corpus = corpus(&memories.join("\n"), &queries.join("\n")).unwrap();
    assert_eq!((corpus.memories.len(), corpus.questions.len()), (3, 1));
    let name = |left_out: &LeftOut| left_out.path.file_name().unwrap().to_str().unwrap().to_owned();
    let reasons: Vec<_> =
        corpus.left_out.iter().map(|row| (name(row), row.line, row.reason.clone())).collect();
    let (memories, queries) = ("memories.jsonl", "queries.jsonl");
    let expected = [
        (memories, 2, Unusable::Empty),
        (memories, 3, Unusable::TooLong(2 * MAX_CHARS)),
        (memories, 4, Unusable::LongScope(MAX_NAMESPACE_BYTES + 1)),
        (memories, 5, Unusable::LongScope(MAX_NAMESPACE_BYTES + 1)),
        (queries, 1, Unusable::Empty),
        (queries, 2, Unusable::Scope("d".into())),
        (queries, 3, Unusable::Relevant("c/2".into())),
        (queries, 5, Unusable::LongScope(MAX_NAMESPACE_BYTES + 1)),
        (queries, 6, Unusable::Elsewhere { memory: "e/1".into(), scope: "c".into() }),
    ];
    assert_eq!(reasons, expected.map(|(file, line, reason)| (file.into(), line, reason)));
}

#[test]
fn a_data_set_without_a_usable_row_is_an_error() {
    let nothing = |memories: &str, queries: &str| corpus(memories, queries).unwrap_err().to_string();
    for memories in ["", "\n\n"] {
        let error = nothing(memories, "");
        assert!(error.contains("nothing to measure") && error.contains("memories.jsonl has"), "{error}");
    }
    let error = nothing(MEMORIES, "");
    assert!(error.contains("nothing to measure") && error.contains("queries.jsonl has"), "{error}");
    let error = nothing(r#"{"id":"a","text":""}"#, r#"{"text":"Who?"}"#);
    assert!(error.contains("1 left out") && error.contains("memories.jsonl, line 1"), "{error}");
}

#[test]
fn an_empty_scope_is_none() {
    let corpus = corpus(r#"{"id":"a","text":"Hello","scope":""}"#, r#"{"text":"Who?","scope":""}"#).unwrap();
    assert_eq!((corpus.memories[0].scope.as_str(), &corpus.questions[0].scope), ("", &None));
}

#[test]
fn one_scope_does_not_claim_the_ids_of_another_that_it_begins() {
    let scopes = BTreeSet::from(["conv-2", "conv-26", "user:a", "user:a/work"]);
    assert_eq!(scope_of("conv-26/D1:3", &scopes), "conv-26");
    assert_eq!(scope_of("conv-2/D1:3", &scopes), "conv-2");
    assert_eq!(scope_of("user:a/work/1", &scopes), "user:a/work");
    assert_eq!(scope_of("conv-3/D1:3", &scopes), "conv-3");
    assert_eq!(scope_of("31715818", &scopes), "");
}

#[test]
fn errors_name_the_file_and_the_line() {
    let at_line = |memories: &str, queries: &str| corpus(memories, queries).unwrap_err().to_string();
    let broken = at_line(&format!("{MEMORIES}{{\"id\":1}}"), "");
    assert!(broken.contains("memories.jsonl, line 4, column 7: invalid type"), "{broken}");
    assert_eq!(broken.matches("line ").count(), 1 + 1, "one place, and `one JSON object a line`: {broken}");
    let twice = at_line(&format!("{MEMORIES}{MEMORIES}"), "");
    assert!(twice.contains("jsonl, line 4: the id \"c-2/1\""), "{twice}");
    assert!(twice.contains("jsonl, line 1;"), "{twice}");
    let question = r#"{"id":"q","text":"Who?"}"#;
    let twice = at_line(MEMORIES, &format!("{question}\n\n{question}"));
    assert!(twice.contains("queries.jsonl, line 3: the id \"q\""), "{twice}");
    assert!(twice.contains("queries.jsonl, line 1;"), "{twice}");
    let implied = at_line(MEMORIES, "{\"text\":\"x\"}\n{\"id\":\"line-1\",\"text\":\"x\"}");
    assert!(implied.contains("queries.jsonl, line 2"), "{implied}");
    let unknown = at_line(MEMORIES, r#"{"text":"x","relevant":["gone"]}"#);
    assert!(unknown.contains("queries.jsonl, line 1") && unknown.contains("gone"), "{unknown}");
    let bytes = [MEMORIES.as_bytes(), b"{\"id\":\"\xff"].concat();
    let other = corpus_of(&bytes, b"").unwrap_err().to_string();
    assert!(other.contains("memories.jsonl, line 4, column 8: expected UTF-8"), "{other}");
    let missing = Corpus::read("no/such/directory").unwrap_err().to_string();
    assert!(missing.contains("no/such/directory"), "{missing}");
}
