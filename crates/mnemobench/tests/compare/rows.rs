//! Every system has a row, with its figures or the reason of its failure.

use std::fs;

use mnemobench::compare::cell::Check;
use mnemobench::compare::protocol::Embedder;
use mnemobench::compare::summary::Figure;

use crate::bench::{Bench, absent, row};

#[test]
fn every_way_to_fail_is_a_row_and_the_others_are_measured_all_the_same() {
    let bench = Bench::new();
    for behaviour in ["version", "garbage", "hang=recall", "die=store", "foreign", "nothing", "refuse=store"]
    {
        bench.stub(behaviour, behaviour);
    }
    bench.stub("good", "overtakes");
    bench.stub("liar", "keeps single without=restart");
    bench.adapter(
        "gone",
        "title = 'Gone'\ncommand = ['./x']\nbuild = './build'\nrequires = ['x', '$NOT_SET']",
    );
    bench.adapter("empty", "title = 'Empty'\ncommand = ['./no-such-program']");
    let said = bench.compare(&["--rounds", "1", "--conversations", "1", "--timeout", "4"]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let comparison = bench.comparison();

    for (name, reason) in [
        ("version", "hello: expected version 1 of the protocol, received 2"),
        ("garbage", "hello: expected an answer as a line of JSON, found \"Traceback (most recent"),
        ("hang=recall", "recall: no answer within 4 s"),
        ("die=store", "store: it ended; it said: "),
        ("refuse=store", "every store was refused: not today"),
        ("gone", "missing: x, $NOT_SET"),
        ("empty", "no-such-program: No such file"),
    ] {
        let absent = absent(&comparison, name);
        assert!(absent.reason.contains(reason), "{absent:#?}");
        assert!(said.text.contains(&absent.reason), "{}", said.text);
    }
    assert!(absent(&comparison, "die=store").reason.contains("out of order"), "its own last words");
    assert_eq!(absent(&comparison, "gone").command.as_deref(), Some("(cd adapters/gone && ./build)"));

    let why = |name: &str| row(&comparison, name).disqualified.as_deref().unwrap_or_default();
    assert!(why("foreign").starts_with("returned invalid hits") && said.text.contains(why("foreign")));
    assert_eq!(why("nothing"), "returned nothing");
    let ranked = comparison.groups[0].ranked().count();
    assert_eq!(ranked, 3 + 2, "our three rows, good and liar");

    let (good, liar) = (row(&comparison, "good"), row(&comparison, "liar"));
    assert!(good.restart.done().unwrap().is_whole() && good.forget == Check::Done(true));
    assert_eq!((&liar.restart, &liar.forget), (&Check::Unsupported, &Check::Done(false)));
    assert_eq!(liar.value(Figure::Throughput(10)), None);
    assert!(good.value(Figure::Throughput(10)).is_some());
    assert_eq!(
        good.value(Figure::RecallAt10).unwrap().value,
        row(&comparison, "bm25").value(Figure::RecallAt10).unwrap().value,
        "answers that overtake each other are those to other questions"
    );
    bench.assert_clean();
}

#[test]
fn our_own_rows_find_what_was_stored_and_have_all_figures() {
    let bench = Bench::new();
    let said = bench.compare(&["--rounds", "2"]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let comparison = bench.comparison();
    let [group] = comparison.groups.as_slice() else { panic!("{comparison:#?}") };
    assert_eq!((group.memories, group.questions, group.rows.len()), (12, 6, 3));
    for row in &group.rows {
        assert_eq!((row.rounds, row.value(Figure::RecallAt5).unwrap().value.point), (2, 1.0), "{row:#?}");
        let restart = row.restart.done().unwrap();
        assert_eq!((restart.memories, restart.asked, restart.same), ([Some(24); 2], 12, 12));
        assert!(restart.is_whole() && restart.found_before == 24 && row.forget == Check::Done(true));
        let has_memory = row.value(Figure::Ram).is_some();
        // The memory of the row in-process cannot be separated from the driver's.
        assert_eq!(has_memory, cfg!(target_os = "linux") && row.row != "mnemocore-in-process");
        assert!(row.refusals.is_empty() && row.value(Figure::Disk).unwrap().value.point > 0.0);
    }
    let ours = row(&comparison, "mnemocore");
    assert!(ours.calls.contains_key("synthesize") && ours.values.iter().all(|v| v.against_ours.is_none()));
    let markdown = fs::read_to_string(bench.path("out/compare.md")).unwrap();
    let at = |text: &str| markdown.find(text).unwrap_or_else(|| panic!("{text} is not in {markdown}"));
    assert!(at("Figures in which another system is better than MnemoCore") < at("Answers and time"));
    assert!(at("--data data --rounds 2 --clients 1,10") < at("| MnemoCore, in-process |"));
    at("We chose the data, the questions");
}

#[test]
fn a_system_with_an_embedder_is_measured_with_each_and_the_others_stand_beside_both() {
    let bench = Bench::new();
    bench.stub("vectors", "embeds");
    let said = bench.compare(&["--rounds", "1", "--conversations", "1", "--systems", "vectors,bm25"]);
    assert_eq!(said.code, Some(0), "{}", said.errors);
    let comparison = bench.comparison();
    let groups: Vec<(Embedder, Vec<&str>)> = comparison
        .groups
        .iter()
        .map(|group| (group.embedder, group.rows.iter().map(|row| row.row.as_str()).collect()))
        .collect();
    assert_eq!(
        groups,
        [(Embedder::Hash, vec!["bm25", "vectors"]), (Embedder::Minilm, vec!["bm25", "vectors"])]
    );
    // Opened and reopened once with each embedder.
    assert_eq!(bench.lines("opened").len(), 4);
}

#[test]
fn what_cannot_be_run_is_said_before_anything_is_measured() {
    let bench = Bench::new();
    let said = bench.compare(&["--systems", "mnemocorn"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.errors.contains("`mnemocorn`") && said.errors.contains("bm25, mnemocore"),
        "{}",
        said.errors
    );
    let said = bench.compare(&["--limit", "1", "--data", "nowhere"]);
    assert!(said.code == Some(2) && said.errors.contains("nowhere"), "{}", said.errors);
    bench.adapter("broken", "title = 3");
    let said = bench.compare(&[]);
    assert!(said.code == Some(2) && said.errors.contains("broken/system.toml"), "{}", said.errors);
    assert!(!bench.path("out").exists());
}
