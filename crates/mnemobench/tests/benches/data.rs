//! Data sets of the bench `quality`.

use std::fs;

use crate::home::{Home, Judged};
use crate::program::run;

const MEMORIES: [&str; 3] = [
    r#"{"id":"a/1","text":"Ann bought a red bicycle"}"#,
    r#"{"id":"a/2","text":"Tom went to the harbour"}"#,
    r#"{"id":"b/1","text":"The glacier was cold"}"#,
];
const QUESTION: &str = r#"{"id":"q","text":"Who has a bicycle?","relevant":["a/1"],"scope":"a"}"#;

fn quality(home: &Home, memories: &[u8], questions: &[u8]) -> Judged {
    let folder = home.folder.path().join("talks");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("memories.jsonl"), memories).unwrap();
    fs::write(folder.join("queries.jsonl"), questions).unwrap();
    run(home, "quality", &[], &[("MNEMO_DATA", folder.to_str().unwrap())])
}

#[test]
fn rows_that_the_engine_cannot_use_are_named_and_the_rest_is_measured() {
    let home = Home::new();
    let (far, longest) = ("f".repeat(300), "l".repeat(256));
    let memories = [
        MEMORIES.join("\n"),
        format!(r#"{{"id":"c","text":"Far away","scope":"{far}"}}"#),
        format!(r#"{{"id":"d","text":"Just near enough","scope":"{longest}"}}"#),
    ];
    let questions = [
        QUESTION.to_owned(),
        format!(r#"{{"text":"How far?","relevant":["c"],"scope":"{far}"}}"#),
        format!(r#"{{"text":"How near?","relevant":["d"],"scope":"{longest}"}}"#),
        r#"{"text":"How cold is the glacier?","relevant":["b/1"],"scope":"a"}"#.to_owned(),
    ];
    let said = quality(&home, memories.join("\n").as_bytes(), questions.join("\n").as_bytes());
    assert_eq!(said.code, Some(0), "{}", said.errors);
    for part in [
        "memories.jsonl, line 4: left out: its scope has 300 bytes, and the engine takes at most 256",
        "queries.jsonl, line 2: left out: its scope has 300 bytes",
        "queries.jsonl, line 4: left out: the memory \"b/1\", which answers it, is not in its scope \"a\"",
        "4 memories",
        "2 questions with an answer;",
    ] {
        assert!(said.text.contains(part), "{part} is not in\n{}", said.text);
    }
    // The data has no categories.
    assert!(!said.text.contains("( ") && !said.text.contains("recall@5 of  "), "{}", said.text);
}

#[test]
fn categories_are_listed_where_the_data_has_some() {
    let home = Home::new();
    let named = QUESTION.replace("\"id\":\"q\"", r#""category":"who""#);
    let said = quality(&home, MEMORIES.join("\n").as_bytes(), [QUESTION, &named].join("\n").as_bytes());
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.text.contains("2 questions with an answer (who 1);"), "{}", said.text);
    assert_eq!(said.text.matches("recall@5 of ").count(), 2, "scoped and global: {}", said.text);
}

#[test]
fn data_that_cannot_be_read_is_an_error_with_one_place_and_leaves_the_last_results_valid() {
    let memories = MEMORIES.join("\n");
    let no_utf8 = [memories.as_bytes(), b"\n{\"id\":\"\xff\"}"].concat();
    let twice = format!("{QUESTION}\n{QUESTION}");
    let unanswered = r#"{"text":"Why?"}"#;
    let cases: [(&[u8], &[u8], &str); 7] = [
        (memories.as_bytes(), b"{\"text\":1}", "queries.jsonl, line 1, column 9: invalid type: integer `1`"),
        (no_utf8.as_slice(), QUESTION.as_bytes(), "memories.jsonl, line 4, column 8: expected UTF-8"),
        (memories.as_bytes(), twice.as_bytes(), "queries.jsonl, line 2: the id \"q\" was used before"),
        (memories.as_bytes(), twice.as_bytes(), "queries.jsonl, line 1;"),
        (b"", b"", "nothing to measure"),
        (memories.as_bytes(), b"", "nothing to measure"),
        (memories.as_bytes(), unanswered.as_bytes(), "nothing to measure"),
    ];
    let home = Home::new();
    assert_eq!(quality(&home, memories.as_bytes(), QUESTION.as_bytes()).code, Some(0));
    for (memories, questions, part) in cases {
        let said = quality(&home, memories, questions);
        assert_eq!(said.code, Some(2), "{part}: {}{}", said.text, said.errors);
        assert!(said.errors.starts_with("error: ") && said.errors.contains(part), "{part}: {}", said.errors);
        // One line, in words.
        assert_eq!(said.errors.lines().count(), 1, "{}", said.errors);
        assert!(!said.errors.contains(" {") && !said.errors.contains("at line"), "{}", said.errors);
        assert!(!home.path().join("mnemobench/new/quality.running").exists(), "{part}");
    }
}
