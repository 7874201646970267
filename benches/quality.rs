//! Quality of the answers: recall, nDCG, and whether the engine recognizes that it has no answer,
//! beside BM25 on the same memories.
//!
//! Without `MNEMO_DATA=<directory>` it asks questions about generated conversations. Nothing is
//! timed; the output depends on the data alone, not on the machine.
//!
//! The results are named `quality_<data set>/quality/<reach>_<system>_<measure>`, e.g.
//! `quality_generated_5000/quality/scoped_mnemocore_recall5`.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::Recorder;

use criterion_gate::profile::{Arguments, Profile};
use criterion_gate::results::Kind;
use mnemocore::{Config, Method, Recall};
use mnemocore_suite::bm25::{Bm25, EnglishTerms};
use mnemocore_suite::corpus::{Corpus, Question};
use mnemocore_suite::evaluation::{
    EngineTerms, Evaluation, Normalised, Questions, Reach, Separation, StoredCorpus, System, SystemError, ask,
};
use mnemocore_suite::quality::{self, Difference};
use mnemocore_suite::workload::Workload;

const SEED: u64 = 42;
/// Agents in a generated corpus: scopes to be told apart.
const AGENTS: u32 = 8;
/// Questions without an answer that a meaningful area under the curve needs.
const ENOUGH: usize = 30;

type Outcome<T> = Result<T, SystemError>;

fn main() -> Outcome<()> {
    let (profile, arguments) = (common::profile(), Arguments::from_env());
    if arguments.list || !arguments.admits("quality") {
        return Ok(());
    }
    let mut recorder = Recorder::new(profile, &arguments);
    if arguments.test {
        report("test", &generated(400, 40), &mut recorder)?;
    } else if let Some(directory) = std::env::var_os("MNEMO_DATA") {
        let corpus = Corpus::read(&directory)?;
        for row in &corpus.left_out {
            println!("{row}");
        }
        report(&name_of(Path::new(&directory)), &corpus, &mut recorder)?;
    } else {
        let quick = arguments.quick || profile == Profile::Quick;
        let sizes: &[usize] = if quick { &[5_000] } else { &[5_000, 20_000] };
        for &size in sizes {
            report(&format!("generated_{size}"), &generated(size, 600), &mut recorder)?;
        }
    }
    recorder.finish();
    Ok(())
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
    stored: StoredCorpus,
    english: Bm25,
    own_terms: Bm25<EngineTerms>,
}

fn report(name: &str, corpus: &Corpus, recorder: &mut Recorder) -> Outcome<()> {
    let questions = Questions::of(corpus);
    println!("quality: {name}, {} memories", corpus.memories.len());
    println!(
        "{} questions with an answer ({}); left out of recall: {} adversarial, {} without evidence\n",
        questions.answerable.len(),
        categories(&questions.answerable),
        questions.adversarial.len(),
        questions.unanswerable.len(),
    );
    let systems = Systems {
        stored: StoredCorpus::new(corpus, Config::default())?,
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

fn categories(questions: &[&Question]) -> String {
    let mut counts = BTreeMap::new();
    for question in questions {
        *counts.entry(question.category.as_str()).or_insert(0) += 1;
    }
    let named: Vec<String> = counts.iter().map(|(category, count)| format!("{category} {count}")).collect();
    named.join(", ")
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
    let indexed = evaluate(&systems.stored.by(Method::Indexed))?;
    let exact = evaluate(&systems.stored.by(Method::Exact))?;
    let by_terms = evaluate(&systems.stored.by(Method::Terms))?;
    let bar = evaluate(&systems.english)?;
    let own_terms = evaluate(&systems.own_terms)?;

    println!("{reach_name:<34} recall@5  recall@10  nDCG@10  recall@5 less BM25's [95 %]");
    let rows = [
        ("MnemoCore", "mnemocore", &indexed),
        ("MnemoCore, exact scan", "mnemocore_exact", &exact),
        ("MnemoCore, ranked by terms", "mnemocore_terms", &by_terms),
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
    let overlap = indexed.overlap(&exact).unwrap_or(1.0);
    println!("  recall@10 of MnemoCore against its exact scan: {overlap:.4}");
    notes.value(&format!("{reach_name}_mnemocore_overlap10"), overlap);
    for (category, ours, theirs) in by_category(&questions.answerable, &indexed, &bar) {
        println!("  recall@5 of {category:<20}    {ours:.3}, of BM25 {theirs:.3}");
    }
    println!();
    if let Some(above) = indexed.recall_at_5_above(&bar) {
        notes.targets.push((format!("recall@5 {reach_name}, less BM25's"), above));
    }
    Ok(())
}

/// Mean recall@5 of both, category by category.
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
    let engine = systems.stored.by(Method::Indexed);
    let normalised = Normalised(&systems.english);
    let answer = |asked: &[&Question]| -> Outcome<_> {
        let answers = |system: &dyn System| ask(system, asked.iter().copied(), Reach::Scoped);
        Ok([answers(&engine)?, answers(&systems.english)?, answers(&normalised)?])
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
