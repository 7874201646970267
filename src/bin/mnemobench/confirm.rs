//! Pairs of runs: the baseline's executable and the candidate's in fresh processes,
//! in the order A B B A, so that what drifts hits both.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use mnemocore::harness::gate::Suspect;
use mnemocore::harness::gate::statistics::median;
use mnemocore::harness::profile::{PROFILE_VARIABLE, Profile};
use mnemocore::harness::results::{self, NEW};
use rustix::process::{Pid, Signal, kill_process_group};

use super::criterion;

/// How one process of a pair samples: briefly, because the pairs are the samples.
const SAMPLING: [&str; 8] = [
    "--bench", // Otherwise the benchmarks are only tested.
    "--noplot",
    "--sample-size=10",
    "--warm-up-time=0.1",
    "--measurement-time=0.3",
    "--nresamples=1000",
    "--color=never",
    "--quiet",
];
/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(10);
/// Characters of a failed process's own words that are passed on.
const WORDS: usize = 300;

/// The d of each pair of a suspect, or why there are none.
pub(crate) type Pairs = BTreeMap<String, Result<Vec<f64>, String>>;

/// What to run.
pub(crate) struct Confirmation<'a> {
    /// Criterion's folder, with the executables.
    pub(crate) home: &'a Path,
    /// The names of the baseline and of the candidate.
    pub(crate) runs: [&'a str; 2],
    /// How many pairs.
    pub(crate) pairs: usize,
    /// The time of one process.
    pub(crate) limit: Duration,
}

/// The user wants it to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on an interrupt ends what runs here, instead of this process alone.
pub(crate) fn watch_interrupts() -> Result<(), String> {
    static WATCHED: OnceLock<Result<(), String>> = OnceLock::new();
    let watch =
        || ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)).map_err(|e| e.to_string());
    WATCHED.get_or_init(watch).clone()
}

impl Confirmation<'_> {
    /// Runs the pairs of all suspects, those of one bench together.
    pub(crate) fn run(&self, suspects: &[Suspect]) -> Result<Pairs, Box<dyn std::error::Error>> {
        watch_interrupts()?;
        let mut benches: BTreeMap<(&str, Profile), Vec<&str>> = BTreeMap::new();
        for suspect in suspects {
            benches.entry((&suspect.bench, suspect.profile)).or_default().push(&suspect.id);
        }
        let bar = progress(2 * self.pairs * benches.len());
        let mut all = Pairs::new();
        for ((bench, profile), ids) in benches {
            bar.set_message(format!("confirming {} of {bench}", ids.len()));
            match self.run_bench(bench, profile, &ids, &bar) {
                Ok(pairs) => all.extend(pairs),
                Err(Failure::Interrupted) => return Err(Interrupted.into()),
                Err(Failure::Reason(reason)) => {
                    all.extend(ids.iter().map(|id| ((*id).to_owned(), Err(reason.clone()))));
                }
            }
        }
        bar.finish_and_clear();
        Ok(all)
    }

    fn run_bench(
        &self,
        bench: &str,
        profile: Profile,
        ids: &[&str],
        bar: &ProgressBar,
    ) -> Result<Pairs, Failure> {
        let [old, new] = self.runs.map(|run| results::program(self.home, run, bench));
        for (program, run) in [(&old, self.runs[0]), (&new, self.runs[1])] {
            if !program.is_file() {
                return Err(Failure::Reason(missing(program, run)));
            }
        }
        let process = Process { home: self.home, profile, filter: filter(ids), limit: self.limit };
        let mut differences: Pairs = ids.iter().map(|id| ((*id).to_owned(), Ok(Vec::new()))).collect();
        for pair in 0..self.pairs {
            let (before, after);
            if pair % 2 == 0 {
                before = process.run(&old, bar)?;
                after = process.run(&new, bar)?;
            } else {
                after = process.run(&new, bar)?;
                before = process.run(&old, bar)?;
            }
            for (id, differences) in &mut differences {
                let difference = match (before.get(id), after.get(id)) {
                    (Some(before), Some(after)) => Ok((after / before).ln()),
                    (None, _) => Err(format!("{} did not measure it when run again", old.display())),
                    (_, None) => Err(format!("{} did not measure it when run again", new.display())),
                };
                match (differences.as_mut(), difference) {
                    (Ok(list), Ok(difference)) => list.push(difference),
                    (Ok(_), Err(reason)) => *differences = Err(reason),
                    (Err(_), _) => {}
                }
            }
        }
        Ok(differences)
    }
}

fn missing(program: &Path, run: &str) -> String {
    let again =
        if run == NEW { "cargo bench".into() } else { format!("cargo bench -- --save-baseline {run}") };
    format!("not confirmed: {} is not there; on its revision, run {again}", program.display())
}

fn progress(steps: usize) -> ProgressBar {
    // Hides itself where standard error is no terminal.
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
    let bar = ProgressBar::new(steps as u64);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The regular expression that lets through these benchmarks alone.
fn filter(ids: &[&str]) -> String {
    let escaped: Vec<String> = ids.iter().map(|id| regex_lite::escape(id)).collect();
    format!("^({})$", escaped.join("|"))
}

enum Failure {
    Interrupted,
    Reason(String),
}

/// How a bench is run again.
struct Process<'a> {
    home: &'a Path,
    profile: Profile,
    filter: String,
    limit: Duration,
}

impl Process<'_> {
    /// Runs it in a home of its own and returns the medians.
    fn run(&self, program: &Path, bar: &ProgressBar) -> Result<BTreeMap<String, f64>, Failure> {
        let failed =
            |reason: String| Failure::Reason(format!("not confirmed: {}: {reason}", program.display()));
        // Beside the executables: these can be linked there.
        let home = tempfile::Builder::new().prefix("mnemobench-pair-").tempdir_in(self.home);
        let home = home.map_err(|error| failed(error.to_string()))?;
        let words = home.path().join("stderr");
        let mut command = Command::new(program);
        command.args(SAMPLING).arg(&self.filter);
        command.env("CRITERION_HOME", home.path()).env(PROFILE_VARIABLE, self.profile.to_string());
        // Spares it asking git.
        command.env("MNEMO_REVISION", "pair");
        let stderr = File::create(&words).map_err(|error| failed(error.to_string()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);

        let mut group = ProcessGroup::spawn(&mut command).map_err(|error| failed(error.to_string()))?;
        let status = match group.wait(self.limit) {
            Ended::Interrupted => return Err(Failure::Interrupted),
            Ended::Late => return Err(failed(format!("it was stopped after {} s", self.limit.as_secs()))),
            Ended::Unknown(error) => return Err(failed(error)),
            Ended::Status(status) => status,
        };
        bar.inc(1);
        if !status.success() {
            return Err(failed(format!("{status}: {}", last_words(&words))));
        }
        let run = criterion::read(home.path(), NEW);
        let medians =
            run.into_iter().filter_map(|(id, benchmark)| Some((id, median(&benchmark.ok()?.samples)?)));
        Ok(medians.collect())
    }
}

fn last_words(path: &PathBuf) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let text = text.trim();
    let from = text.char_indices().rev().nth(WORDS).map_or(0, |(at, _)| at);
    text[from..].replace('\n', " / ")
}

/// A process with all that it starts. None outlives this value.
struct ProcessGroup {
    leader: Child,
}

enum Ended {
    Status(ExitStatus),
    Late,
    Interrupted,
    Unknown(String),
}

impl ProcessGroup {
    fn spawn(command: &mut Command) -> std::io::Result<Self> {
        // A group of its own, which an interrupt from the terminal does not reach.
        Ok(Self { leader: command.process_group(0).spawn()? })
    }

    fn wait(&mut self, limit: Duration) -> Ended {
        let started = Instant::now();
        loop {
            match self.leader.try_wait() {
                Ok(Some(status)) => return Ended::Status(status),
                Err(error) => return Ended::Unknown(error.to_string()),
                Ok(None) if INTERRUPTED.load(Ordering::Relaxed) => return Ended::Interrupted,
                Ok(None) if started.elapsed() >= limit => return Ended::Late,
                Ok(None) => std::thread::sleep(POLL),
            }
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.leader.id()).ok().and_then(Pid::from_raw) {
            // Fails when all have ended, which is as well.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.leader.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_through_what_it_names_and_nothing_else() {
        let regex = regex_lite::Regex::new(&filter(&["a/p99/5", "b(c).d/wall/1"])).unwrap();
        for id in ["a/p99/5", "b(c).d/wall/1"] {
            assert!(regex.is_match(id), "{id}");
        }
        for id in ["a/p99/50", "xa/p99/5", "b(c)xd/wall/1", ""] {
            assert!(!regex.is_match(id), "{id}");
        }
    }

    #[test]
    fn what_a_stopped_process_started_is_stopped_too() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60"]);
        let mut group = ProcessGroup::spawn(&mut command).unwrap();
        let pid = Pid::from_raw(group.leader.id() as i32).unwrap();
        assert!(matches!(group.wait(Duration::from_millis(50)), Ended::Late));
        drop(group);
        // The group is gone once its members are reaped, by whoever is their parent now.
        let gone = (0..500).any(|_| {
            std::thread::sleep(POLL);
            rustix::process::test_kill_process_group(pid).is_err()
        });
        assert!(gone, "a process outlived its group");
    }
}
