//! Quality of the answers: recall, nDCG, and whether the engine recognizes that it has no answer,
//! beside BM25 and a ranking by hypervectors on the same memories.
//!
//! Without `MNEMO_DATA=<directory>` it asks questions about generated conversations. Nothing is
//! timed; the output depends on the data alone, not on the machine.
//!
//! The results are named `quality_<data set>/quality/<reach>_<system>_<measure>`, e.g.
//! `quality_generated_5000/quality/scoped_mnemocore_recall5`.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use common::Recorder;

use criterion_gate::profile::Profile;
use criterion_gate::results::Kind;
use mnemocore::{Config, Recall};
use mnemocore_suite::bm25::{Bm25, EnglishTerms};
use mnemocore_suite::corpus::{Corpus, Question};
use mnemocore_suite::evaluation::{
    EngineTerms, Evaluation, Normalised, Questions, Reach, Separation, StoredCorpus, System, SystemError, ask,
};
use mnemocore_suite::hypervectors::Hypervectors;
use mnemocore_suite::quality::{self, Difference};
use mnemocore_suite::workload::Workload;

const SEED: u64 = 42;
/// Agents in a generated corpus: scopes to be told apart.
const AGENTS: u32 = 8;
/// Questions without an answer that a meaningful area under the curve needs.
const ENOUGH: usize = 30;

type Outcome<T> = Result<T, SystemError>;

fn main() {
    let (profile, arguments) = common::input();
    if arguments.list || !arguments.admits("quality") {
        return;
    }
    let data = std::env::var_os("MNEMO_DATA").filter(|_| !arguments.test);
    let data = data.map(|folder| common::asked_for(read(&folder)));
    let mut recorder = Recorder::new(profile, &arguments);
    let quick = arguments.quick || profile == Profile::Quick;
    let reported = match data {
        Some((name, corpus)) => report(&name, &corpus, &mut recorder),
        None if arguments.test => report("test", &generated(400, 40), &mut recorder),
        None => {
            let sizes: &[usize] = if quick { &[5_000] } else { &[5_000, 20_000] };
            sizes.iter().try_for_each(|&size| {
                report(&format!("generated_{size}"), &generated(size, 600), &mut recorder)
            })
        }
    };
    if let Err(error) = reported {
        common::fail(&*error, 1);
    }
    recorder.finish();
}

/// Reads a data set and its name, and prints the rows that cannot be used.
fn read(folder: &OsStr) -> Outcome<(String, Corpus)> {
    let corpus = Corpus::read(folder)?;
    for row in &corpus.left_out {
        println!("{row}");
    }
    if Questions::of(&corpus).answerable.is_empty() {
        let folder = Path::new(folder).display();
        return Err(format!(
            "there is nothing to measure: no usable question in {folder} has an answer among the memories"
        )
        .into());
    }
    Ok((name_of(Path::new(folder)), corpus))
}

/// A data set is named after its folder, by what a benchmark's name may hold.
fn name_of(directory: &Path) -> String {
    let folder = directory.canonicalize().unwrap_or_else(|_| directory.into());
    let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.split(|letter: char| !letter.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

fn generated(memories: usize, questions: usize) -> Corpus {
    Workload::with_agents(SEED, AGENTS).corpus(memories, questions)
}

/// The notes on one data set.
struct Notes<'r> {
    recorder: &'r mut Recorder,
    data_set: String,
    targets: Vec<(String, Difference)>,
}

impl Notes<'_> {
    fn value(&mut self, name: &str, value: f64) {
        let name = format!("quality_{}/quality/{name}", self.data_set);
        self.recorder.note_value(&name, Kind::Quality, value);
    }

    /// All differences are to be above zero.
    fn targets(self) {
        for (name, above) in self.targets {
            let noise = if above.is_significant() || above.mean <= 0.0 { "" } else { ", within the noise" };
            let measured = format!("{}{noise}", interval(above));
            let name = format!("{}, {name}", self.data_set);
            self.recorder.target(name, measured, "above 0", above.mean > 0.0);
        }
    }
}

/// The engine and its peers, over one corpus.
struct Systems {
    engine: StoredCorpus,
    hypervectors: Hypervectors,
    english: Bm25,
    own_terms: Bm25<EngineTerms>,
}

fn report(name: &str, corpus: &Corpus, recorder: &mut Recorder) -> Outcome<()> {
    let questions = Questions::of(corpus);
    println!("quality: {name}, {} memories", corpus.memories.len());
    println!(
        "{} questions with an answer{}; left out of recall: {} adversarial, {} without evidence\n",
        questions.answerable.len(),
        categories(&questions.answerable),
        questions.adversarial.len(),
        questions.unanswerable.len(),
    );
    let systems = Systems {
        engine: StoredCorpus::new(corpus, Config::default())?,
        hypervectors: Hypervectors::of_corpus(corpus)?,
        english: Bm25::of_corpus(EnglishTerms::default(), corpus),
        own_terms: Bm25::of_corpus(EngineTerms, corpus),
    };
    let mut notes = Notes { recorder, data_set: name.to_owned(), targets: Vec::new() };
    let has_scopes = corpus.questions.iter().any(|question| question.scope.is_some());
    if has_scopes {
        recall_table(&systems, &questions, Reach::Scoped, &mut notes)?;
    }
    recall_table(&systems, &questions, Reach::Global, &mut notes)?;
    separation_table(&systems, &questions, &mut notes)?;
    notes.targets();
    println!();
    Ok(())
}

/// Returns the number of questions of each category, between brackets. A data set may name none.
fn categories(questions: &[&Question]) -> String {
    let mut counts = BTreeMap::new();
    for question in questions.iter().filter(|question| !question.category.is_empty()) {
        *counts.entry(question.category.as_str()).or_insert(0) += 1;
    }
    let named: Vec<String> = counts.iter().map(|(category, count)| format!("{category} {count}")).collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}

fn recall_table(
    systems: &Systems,
    questions: &Questions<'_>,
    reach: Reach,
    notes: &mut Notes<'_>,
) -> Outcome<()> {
    let reach_name = match reach {
        Reach::Scoped => "scoped",
        Reach::Global => "global",
    };
    let evaluate = |system: &dyn System| Evaluation::of(system, &questions.answerable, reach);
    let ours = evaluate(&systems.engine)?;
    let hypervectors = evaluate(&systems.hypervectors)?;
    let bar = evaluate(&systems.english)?;
    let own_terms = evaluate(&systems.own_terms)?;

    println!("{reach_name:<34} recall@5  recall@10  nDCG@10  recall@5 less BM25's [95 %]");
    let rows = [
        ("MnemoCore", "mnemocore", &ours),
        ("MnemoCore's hypervectors", "mnemocore_hypervectors", &hypervectors),
        ("BM25", "bm25", &bar),
        ("BM25 on MnemoCore's terms", "bm25_own_terms", &own_terms),
    ];
    for (name, system, evaluation) in rows {
        let [at_5, at_10, ndcg] = evaluation.means();
        for (measure, value) in [("recall5", at_5), ("recall10", at_10), ("ndcg10", ndcg)] {
            notes.value(&format!("{reach_name}_{system}_{measure}"), value);
        }
        let above = evaluation.recall_at_5_above(&bar).map_or_else(String::new, interval);
        println!("  {name:<32}    {at_5:.3}      {at_10:.3}    {ndcg:.3}  {above}");
    }
    for (category, ours, theirs) in by_category(&questions.answerable, &ours, &bar) {
        println!("  recall@5 of {category:<20}    {ours:.3}, of BM25 {theirs:.3}");
    }
    println!();
    if let Some(above) = ours.recall_at_5_above(&bar) {
        notes.targets.push((format!("recall@5 {reach_name}, less BM25's"), above));
    }
    Ok(())
}

/// Returns the mean recall@5 of both for each category. Questions without one are in the total alone.
fn by_category<'q>(
    questions: &[&'q Question],
    ours: &Evaluation,
    theirs: &Evaluation,
) -> Vec<(&'q str, f64, f64)> {
    let mut recalls: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for ((question, &ours), &theirs) in questions.iter().zip(&ours.recall_at_5).zip(&theirs.recall_at_5) {
        let recalls = recalls.entry(&question.category).or_default();
        recalls.0.push(ours);
        recalls.1.push(theirs);
    }
    recalls.remove("");
    let mean = |values: &[f64]| quality::mean(values).unwrap_or_default();
    recalls.iter().map(|(category, (ours, theirs))| (*category, mean(ours), mean(theirs))).collect()
}

fn separation_table(systems: &Systems, questions: &Questions<'_>, notes: &mut Notes<'_>) -> Outcome<()> {
    let elsewhere = questions.elsewhere();
    let kinds: [(&str, &str, Vec<&Question>); 3] = [
        ("adversarial", "adversarial", questions.adversarial.clone()),
        ("put to another scope", "elsewhere", elsewhere.iter().collect()),
        ("without evidence", "unanswerable", questions.unanswerable.clone()),
    ];
    if kinds.iter().all(|(_, _, questions)| questions.is_empty()) {
        return Ok(());
    }
    let normalised = Normalised(&systems.english);
    let answer = |asked: &[&Question]| -> Outcome<_> {
        let answers = |system: &dyn System| ask(system, asked.iter().copied(), Reach::Scoped);
        Ok([answers(&systems.engine)?, answers(&systems.english)?, answers(&normalised)?])
    };
    let answerable = answer(&questions.answerable)?;

    println!(
        "questions without an answer            area under the curve              at a confidence of {:.2}",
        Recall::ANSWERABLE
    );
    println!("                              number  MnemoCore   BM25  BM25 / largest  kept   refused");
    for (kind, slug, unanswerable) in kinds {
        if unanswerable.is_empty() {
            continue;
        }
        let answers = answer(&unanswerable)?;
        let separation = |system: usize| Separation::of(&answerable[system], &answers[system]);
        let [ours, raw, normalised] = [0, 1, 2].map(separation);
        let auc = |separation: &Separation| separation.auc().unwrap_or(f64::NAN);
        let (kept, refused) = ours.kept_and_refused(Recall::ANSWERABLE.into());
        println!(
            "  {kind:<26} {:>8}    {:.3}    {:.3}      {:.3}      {:>5.1} %  {:>5.1} %",
            unanswerable.len(),
            auc(&ours),
            auc(&raw),
            auc(&normalised),
            kept * 100.0,
            refused * 100.0,
        );
        if unanswerable.len() >= ENOUGH {
            for (system, separation) in
                [("mnemocore", &ours), ("bm25", &raw), ("bm25_normalised", &normalised)]
            {
                if let Some(auc) = separation.auc() {
                    notes.value(&format!("{slug}_{system}_auc"), auc);
                }
            }
            for (name, bar) in [("BM25's", &raw), ("that of BM25 / largest", &normalised)] {
                let above = ours.auc_above(bar);
                notes.targets.extend(above.map(|above| (format!("area, {kind}, less {name}"), above)));
            }
        }
    }
    println!();
    Ok(())
}

fn interval(difference: Difference) -> String {
    let Difference { mean, low, high } = difference;
    format!("{mean:+.3} [{low:+.3}, {high:+.3}]")
}
