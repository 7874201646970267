//! One system, one embedder, one conversation, one round: the unit that is measured,
//! kept in a file, and not measured again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::protocol::{Embedder, Hello};
use super::work::{Faults, Refusals, Work};
use criterion_gate::machine::Machine;
use criterion_gate::results::write_whole;

/// Raised when a field changes its meaning or goes away.
pub const FORMAT: u32 = 1;

/// Which cell it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellKey {
    /// The row: a variant of a system.
    pub row: String,
    /// None of a system that needs none.
    pub embedder: Option<Embedder>,
    /// The conversation.
    pub conversation: String,
    /// From 1.
    pub round: usize,
}

impl CellKey {
    /// Where its file is, below the folder of all.
    pub fn path(&self) -> PathBuf {
        let safe = |name: &str| -> String {
            let is_safe = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
            let name: String =
                name.chars().map(|letter| if is_safe(letter) { letter } else { '_' }).collect();
            // `..` would be the folder above.
            if name.starts_with('.') { format!("_{name}") } else { name }
        };
        let embedder = self.embedder.map_or("none", Embedder::as_str);
        let file = format!("{}.{}.json", safe(&self.conversation), self.round);
        [safe(&self.row).as_str(), embedder, file.as_str()].iter().collect()
    }
}

/// What a cell rests on; cells of another basis are not put beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Of memories and questions.
    pub work: String,
    /// How many are stored.
    pub memories: usize,
    /// How many are asked.
    pub questions: usize,
    /// Numbers of clients.
    pub clients: Vec<usize>,
    /// How long each number of them recalls.
    pub load_ms: u64,
    /// The processor and its cores.
    pub machine: String,
}

impl Basis {
    /// Of a conversation, with these numbers of clients which recall for so long.
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

/// What was run; results of another version are not put beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// As it is shown.
    pub title: String,
    /// Of the adapter's files, or of this program.
    pub digest: String,
    /// What it says of itself.
    pub hello: Hello,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// [`FORMAT`].
    pub format: u32,
    /// Which one.
    pub key: CellKey,
    /// What it rests on.
    pub basis: Basis,
    /// What was run.
    pub subject: Subject,
    /// Where, and of which revision.
    pub machine: Machine,
    /// When it was finished.
    pub unix_seconds: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "most are measured")]
pub enum Outcome {
    /// It went through.
    Measured(Measured),
    /// It ended before.
    Failed(String),
}

/// Nanoseconds of a call: within the system, of which within the embedder, and as
/// seen by the driver.
pub type Call = [u64; 3];

/// What was measured; of a call that was refused there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// From the start of the adapter until it has said hello.
    pub hello_ns: u64,
    /// Until the first store could come.
    pub cold_start: Call,
    /// Each memory.
    pub stores: Vec<Option<Call>>,
    /// The first recall after the stores, which may build what stores put off.
    pub first_recall: Option<Call>,
    /// Each question, for five memories.
    pub recalls_of_five: Vec<Option<Call>>,
    /// Each question, for ten.
    pub recalls: Vec<Option<Call>>,
    /// recall@5, recall@10 and nDCG@10 of each question.
    pub qualities: Vec<[f64; 3]>,
    /// Memories that all recalls returned together.
    pub returned: usize,
    /// What was wrong with answers.
    pub faults: Faults,
    /// Recalls a second by the number of clients; none of more than it takes.
    pub throughput: BTreeMap<usize, Option<f64>>,
    /// Bytes of all processes in main memory.
    pub ram: Option<u64>,
    /// Bytes in blocks on disk, after closing.
    pub disk: Option<u64>,
    /// What a new process found of what was stored.
    pub restart: Check<Restart>,
    /// Whether a memory that was forgotten is gone.
    pub forget: Check<bool>,
    /// Answers in words.
    pub synthesize: Check<Vec<Call>>,
    /// What was refused.
    pub refusals: Refusals,
}

/// Something that not every system has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check<T> {
    /// It does not have it.
    #[default]
    Unsupported,
    /// It did it.
    Done(T),
    /// It failed.
    Failed(String),
}

impl<T: Clone> Check<T> {
    /// One of several: failed if one failed, or else unsupported if one is.
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

    /// What was done, if it was.
    pub fn done(&self) -> Option<&T> {
        match self {
            Self::Done(done) => Some(done),
            Self::Unsupported | Self::Failed(_) => None,
        }
    }
}

/// What a new process found in the folder of a closed store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// Until the first recall could come.
    pub open: Call,
    /// Memories that were found by their own text before.
    pub found_before: usize,
    /// How many of them were found after.
    pub found_after: usize,
    /// Questions that were asked again, of those whose answer was the same twice before.
    pub asked: usize,
    /// How many had the same answer.
    pub same: usize,
    /// By the system's own count.
    pub memories: [Option<u64>; 2],
}

impl Restart {
    /// Whether nothing is lost.
    pub fn is_whole(&self) -> bool {
        let [before, after] = self.memories;
        self.found_after == self.found_before && before.zip(after).is_none_or(|(b, a)| b == a)
    }

    /// Both together.
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
    /// Why it cannot be ranked, if it cannot.
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
            return Some(format!("returned what was not stored: {}", named.join(", ")));
        }
        (self.returned == 0).then(|| "returned nothing".to_owned())
    }
}

impl Cell {
    /// Reads a cell of this format; `None` where there is none that can be read, which
    /// is then measured anew.
    pub fn read(path: &Path) -> Option<Self> {
        let cell: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (cell.format == FORMAT).then_some(cell)
    }

    /// All that can be read below `folder`.
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

    /// Writes its file below `folder`, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        write_whole(&folder.join(self.key.path()), &serde_json::to_vec(self)?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A cell of a conversation with two memories and two questions.
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
    fn what_was_not_stored_or_nothing_at_all_is_not_ranked() {
        let fair = Measured { returned: 1, ..Measured::default() };
        assert_eq!(fair.disqualified(), None);
        assert_eq!(Measured::default().disqualified().as_deref(), Some("returned nothing"));
        let faults = Faults { foreign: 2, repeated: 1, surplus: 0 };
        let reason = Measured { faults, ..fair }.disqualified().unwrap();
        assert!(reason.contains("2 never stored, 1 stored once"), "{reason}");
    }
}
