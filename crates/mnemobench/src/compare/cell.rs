//! The unit of measurement: one system, one embedder, one conversation, one round. A finished cell
//! is kept in a file and not measured again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::adapter::digest;
use super::protocol::{Embedder, Hello};
use super::work::{Faults, Refusals, Work};
use criterion_gate::machine::Machine;
use criterion_gate::results::write_whole;

/// Incremented when a field changes its meaning or is removed.
pub const FORMAT: u32 = 1;

/// The most bytes of a row's or conversation's name that are in a file's name. File systems allow 255
/// in all.
const LONGEST_NAME: usize = 200;

/// The identity of a cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellKey {
    /// The row: a variant of a system.
    pub row: String,
    /// The embedder; `None` if the system needs none.
    pub embedder: Option<Embedder>,
    /// The conversation.
    pub conversation: String,
    /// The round, from 1.
    pub round: usize,
}

impl CellKey {
    /// The path of its file below the folder of all cells.
    pub fn path(&self) -> PathBuf {
        let safe = |name: &str| -> String {
            let is_safe = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
            let name: String =
                name.chars().map(|letter| if is_safe(letter) { letter } else { '_' }).collect();
            // A name such as `..` would escape the folder.
            let name = if name.starts_with('.') { format!("_{name}") } else { name };
            if name.len() <= LONGEST_NAME { name } else { shortened(&name) }
        };
        let embedder = self.embedder.map_or("none", Embedder::as_str);
        let file = format!("{}.{}.json", safe(&self.conversation), self.round);
        [safe(&self.row).as_str(), embedder, file.as_str()].iter().collect()
    }
}

/// Shortens a name, and keeps it apart from others that begin alike.
fn shortened(name: &str) -> String {
    let digest = format!("-{:016x}", digest([name.as_bytes()]));
    let most = LONGEST_NAME - digest.len();
    let begins = name.char_indices().map(|(at, _)| at).take_while(|&at| at <= most);
    let begin = name.get(..begins.last().unwrap_or_default()).unwrap_or_default();
    format!("{begin}{digest}")
}

/// The conditions of a measurement. Cells with different ones are not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The hash of the memories and questions.
    pub work: String,
    /// The number of memories to store.
    pub memories: usize,
    /// The number of questions to ask.
    pub questions: usize,
    /// Numbers of concurrent clients.
    pub clients: Vec<usize>,
    /// The duration of the load for each number of clients, in milliseconds.
    pub load_ms: u64,
    /// The processor and its number of cores.
    pub machine: String,
}

impl Basis {
    /// Creates the basis of a conversation. Each number of `clients` recalls for the duration
    /// `load`.
    pub fn new(work: &Work, clients: &[usize], load: Duration, machine: &Machine) -> Self {
        Self {
            work: format!("{:016x}", work.digest()),
            memories: work.memories.len(),
            questions: work.questions.len(),
            clients: clients.into(),
            load_ms: u64::try_from(load.as_millis()).unwrap_or(u64::MAX),
            machine: format!("{}, {} cores", machine.cpu, machine.cores),
        }
    }
}

/// The measured system. Results of different versions are not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The name in reports.
    pub title: String,
    /// The hash of the adapter's files, or of this executable for our own systems.
    pub digest: String,
    /// The description that the system returns for `hello`.
    pub hello: Hello,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// [`FORMAT`].
    pub format: u32,
    /// The identity of the cell.
    pub key: CellKey,
    /// The conditions of the measurement.
    pub basis: Basis,
    /// The measured system.
    pub subject: Subject,
    /// The machine and the revision.
    pub machine: Machine,
    /// The time at which it was finished, in seconds since 1970 UTC.
    pub unix_seconds: u64,
    /// The measurements, or the failure.
    pub outcome: Outcome,
}

/// The result of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "most are measured")]
pub enum Outcome {
    /// The cell was measured to its end.
    Measured(Measured),
    /// The cell failed, for this reason.
    Failed(String),
}

/// Times of a call in nanoseconds: within the system, the embedder's part of it, and as seen by the
/// driver.
pub type Call = [u64; 3];

/// The measurements of a cell. A refused call is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The time from starting the adapter to its response to `hello`.
    pub hello_ns: u64,
    /// The time of `open` on an empty folder.
    pub cold_start: Call,
    /// The stores, one per memory.
    pub stores: Vec<Option<Call>>,
    /// The first recall after the stores. It may include work that the stores deferred.
    pub first_recall: Option<Call>,
    /// The recalls of five memories, one per question.
    pub recalls_of_five: Vec<Option<Call>>,
    /// The recalls of ten memories, one per question.
    pub recalls: Vec<Option<Call>>,
    /// recall@5, recall@10 and nDCG@10 of each question.
    pub qualities: Vec<[f64; 3]>,
    /// The number of valid hits that the recalls of five and of ten returned.
    pub returned: usize,
    /// Counts of invalid hits.
    pub faults: Faults,
    /// Recalls per second by number of clients; `None` if the system does not allow that many.
    pub throughput: BTreeMap<usize, Option<f64>>,
    /// The proportional set size of all processes, in bytes.
    pub ram: Option<u64>,
    /// The allocated disk space in bytes, after closing.
    pub disk: Option<u64>,
    /// The memories and answers that a new process found.
    pub restart: Check<Restart>,
    /// Whether a forgotten memory is gone.
    pub forget: Check<bool>,
    /// Times of composing an answer.
    pub synthesize: Check<Vec<Call>>,
    /// Refused requests.
    pub refusals: Refusals,
}

/// The result of a check that not every system supports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check<T> {
    /// The system does not support it.
    #[default]
    Unsupported,
    /// The check ran.
    Done(T),
    /// The check failed, for this reason.
    Failed(String),
}

impl<T: Clone> Check<T> {
    /// Joins several checks. The result is failed if any failed, otherwise unsupported if any is
    /// unsupported or there is none.
    pub fn all<'c>(checks: impl IntoIterator<Item = &'c Self>, both: impl Fn(&T, &T) -> T) -> Self
    where
        T: 'c,
    {
        let joined = checks.into_iter().cloned().reduce(|all, next| match (all, next) {
            (Self::Failed(reason), _) | (_, Self::Failed(reason)) => Self::Failed(reason),
            (Self::Done(a), Self::Done(b)) => Self::Done(both(&a, &b)),
            _ => Self::Unsupported,
        });
        joined.unwrap_or(Self::Unsupported)
    }

    /// Returns the result, if the check ran.
    pub fn done(&self) -> Option<&T> {
        match self {
            Self::Done(done) => Some(done),
            Self::Unsupported | Self::Failed(_) => None,
        }
    }
}

/// The memories and answers that a new process found in the folder of a closed store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// The time of `open` in the new process.
    pub open: Call,
    /// Sampled memories that were found by their own text before the restart.
    pub found_before: usize,
    /// Those of them that were found after it.
    pub found_after: usize,
    /// Questions that were repeated. Only questions with the same answer twice before the restart
    /// count.
    pub asked: usize,
    /// Those of them that had the same answer.
    pub same: usize,
    /// The number of memories before and after, as counted by the system.
    pub memories: [Option<u64>; 2],
}

impl Restart {
    /// Whether every sampled memory was found again and the counts agree, if they are known.
    pub fn is_whole(&self) -> bool {
        let [before, after] = self.memories;
        self.found_after == self.found_before && before.zip(after).is_none_or(|(b, a)| b == a)
    }

    /// Sums the counts of both, and keeps the time of `self`.
    pub fn plus(&self, other: &Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        let ([before, after], [other_before, other_after]) = (self.memories, other.memories);
        Self {
            open: self.open,
            found_before: self.found_before + other.found_before,
            found_after: self.found_after + other.found_after,
            asked: self.asked + other.asked,
            same: self.same + other.same,
            memories: [sum(before, other_before), sum(after, other_after)],
        }
    }
}

impl Measured {
    /// Returns why the system cannot be ranked, or `None` if it can.
    pub fn disqualified(&self) -> Option<String> {
        let Faults { foreign, repeated, surplus } = self.faults;
        if self.faults.any() {
            let kinds = [
                (foreign, "never stored"),
                (repeated, "stored once and named again"),
                (surplus, "not asked for"),
            ];
            let named: Vec<String> = kinds
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, kind)| format!("{count} {kind}"))
                .collect();
            return Some(format!("returned invalid hits: {}", named.join(", ")));
        }
        (self.returned == 0).then(|| "returned nothing".to_owned())
    }
}

impl Cell {
    /// Reads a cell of the current format. Returns `None` if it is missing, torn or of another
    /// format; the caller then measures it again.
    pub fn read(path: &Path) -> Option<Self> {
        let cell: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (cell.format == FORMAT).then_some(cell)
    }

    /// Reads all valid cells below `folder`, sorted by key.
    pub fn read_all(folder: &Path) -> Vec<Self> {
        let mut cells = Vec::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() { folders.push(path) } else { cells.extend(Self::read(&path)) }
            }
        }
        cells.sort_by(|a, b| a.key.cmp(&b.key));
        cells
    }

    /// Writes the cell below `folder` atomically.
    ///
    /// # Errors
    /// The operating system's, if the file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        write_whole(&folder.join(self.key.path()), &serde_json::to_vec(self)?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a cell of a conversation with two memories and two questions.
    pub(crate) fn cell(row: &str, conversation: &str, round: usize, recall_ns: u64, found: f64) -> Cell {
        let measured = Measured {
            cold_start: [1_000; 3],
            stores: vec![Some([2_000, 0, 3_000]); 2],
            recalls: vec![Some([recall_ns, 0, 2 * recall_ns]), Some([recall_ns + 2, 0, 2 * recall_ns])],
            recalls_of_five: vec![Some([recall_ns, 0, 2 * recall_ns]); 2],
            qualities: vec![[found; 3]; 2],
            returned: 20,
            throughput: [(1, Some(1e9 / recall_ns as f64)), (10, None)].into(),
            ram: Some(1_000_000),
            disk: Some(4_096),
            restart: Check::Done(Restart { open: [500; 3], ..Restart::default() }),
            forget: Check::Done(true),
            ..Measured::default()
        };
        let basis = Basis {
            work: conversation.to_owned(),
            memories: 2,
            questions: 2,
            clients: vec![1, 10],
            load_ms: 2_000,
            machine: "m".into(),
        };
        Cell {
            format: FORMAT,
            key: CellKey { row: row.into(), embedder: None, conversation: conversation.into(), round },
            basis,
            subject: Subject { title: row.to_uppercase(), ..Subject::default() },
            machine: Machine::detect(),
            unix_seconds: 1_700_000_000,
            outcome: Outcome::Measured(measured),
        }
    }

    #[test]
    fn a_cell_is_read_back_and_a_torn_one_is_measured_anew() {
        let folder = tempfile::tempdir().unwrap();
        let written = cell("a", "scope/1", 1, 100, 0.5);
        written.write(folder.path()).unwrap();
        let path = folder.path().join("a/none/scope_1.1.json");
        assert_eq!(Cell::read(&path).as_ref(), Some(&written));
        assert_eq!(Cell::read_all(folder.path()), [written]);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(Cell::read(&path), None);
        fs::write(&path, text.replace("\"format\":1", "\"format\":9")).unwrap();
        assert_eq!(Cell::read(&path), None);
    }

    #[test]
    fn a_cell_stays_below_its_folder_whatever_its_row_is_called() {
        for (row, file) in
            [("..", "_../none/c.1.json"), ("../a", "_.._a/none/c.1.json"), ("", "none/c.1.json")]
        {
            let key = cell(row, "c", 1, 100, 0.5).key;
            assert_eq!(key.path(), Path::new(file));
        }
    }

    #[test]
    fn a_long_name_gives_a_file_that_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let long = "é".repeat(128);
        let cells = ["", "x"].map(|end| cell("a", &format!("{long}{end}"), 1, 100, 0.5));
        cells.iter().for_each(|cell| cell.write(folder.path()).unwrap());
        assert_eq!(Cell::read_all(folder.path()).len(), 2);
    }

    #[test]
    fn what_was_not_stored_or_nothing_at_all_is_not_ranked() {
        let fair = Measured { returned: 1, ..Measured::default() };
        assert_eq!(fair.disqualified(), None);
        assert_eq!(Measured::default().disqualified().as_deref(), Some("returned nothing"));
        let faults = Faults { foreign: 2, repeated: 1, surplus: 0 };
        let reason = Measured { faults, ..fair }.disqualified().unwrap();
        assert!(reason.contains("2 never stored, 1 stored once"), "{reason}");
    }
}
