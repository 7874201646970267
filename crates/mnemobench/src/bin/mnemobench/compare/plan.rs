//! The order of measurements, and the selection of kept cells that are comparable.

use std::collections::BTreeMap;

use criterion_gate::machine::Machine;
use mnemobench::compare::cell::{self, Basis, Cell};
use mnemobench::compare::protocol::Embedder;
use mnemobench::compare::{CellKey, Work};

use super::measure::Settings;
use super::subject::Subject;

/// The subjects, conversations and settings of a run.
pub(crate) struct Run {
    pub(crate) subjects: Vec<Subject>,
    pub(crate) works: Vec<Work>,
    pub(crate) settings: Settings,
    pub(crate) machine: Machine,
}

impl Run {
    pub(crate) fn subject(&self, step: &Step) -> Option<&Subject> {
        self.subjects.get(step.subject)
    }

    pub(crate) fn work(&self, step: &Step) -> Option<&Work> {
        self.works.get(step.work)
    }

    /// Returns the conditions under which cells of `work` are measured.
    pub(crate) fn basis(&self, work: &Work) -> Basis {
        Basis::new(work, &self.settings.clients, self.settings.load, &self.machine)
    }

    pub(crate) fn key(&self, step: &Step) -> Option<CellKey> {
        let (row, conversation) = (self.subject(step)?.row.clone(), self.work(step)?.name.clone());
        Some(CellKey { row, embedder: step.embedder, conversation, round: step.round })
    }
}

/// One cell to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) subject: usize,
    pub(crate) embedder: Option<Embedder>,
    pub(crate) work: usize,
    /// The round, from 1.
    pub(crate) round: usize,
}

/// Returns all cells, by round and conversation. The order of systems is rotated by one for each
/// round and conversation, so that none always comes first.
pub(crate) fn plan(subjects: &[Subject], embedders: &[Embedder], works: usize, rounds: usize) -> Vec<Step> {
    let needs = |subject: &Subject| subject.about.hello.embedder;
    let needs: Vec<bool> = subjects.iter().map(needs).collect();
    order(&needs, embedders, works, rounds)
}

fn order(needs_embedder: &[bool], embedders: &[Embedder], works: usize, rounds: usize) -> Vec<Step> {
    let mut entries: Vec<(usize, Option<Embedder>)> = Vec::new();
    for (subject, &needs) in needs_embedder.iter().enumerate() {
        if needs {
            entries.extend(embedders.iter().map(|&embedder| (subject, Some(embedder))));
        } else {
            entries.push((subject, None));
        }
    }
    let mut steps = Vec::new();
    for round in 1..=rounds {
        for work in 0..works {
            let first = (round - 1 + work) % entries.len().max(1);
            let rotated = entries.iter().cycle().skip(first).take(entries.len());
            steps.extend(rotated.map(|&(subject, embedder)| Step { subject, embedder, work, round }));
        }
    }
    steps
}

/// Returns the comparable cells, and the number of excluded ones. Cells with other data, settings
/// or machines are excluded. So are cells of another version of the system than the one that is run
/// now, or than the row's newest cell if it is not run.
pub(crate) fn select(
    mut cells: Vec<Cell>,
    bases: &BTreeMap<String, Basis>,
    subjects: &[Subject],
) -> (Vec<Cell>, usize) {
    let all = cells.len();
    cells.retain(|cell| bases.get(&cell.key.conversation) == Some(&cell.basis));
    let mut current: BTreeMap<String, cell::Subject> = BTreeMap::new();
    cells.sort_by_key(|cell| cell.unix_seconds);
    for cell in &cells {
        current.insert(cell.key.row.clone(), cell.subject.clone());
    }
    current.extend(subjects.iter().map(|subject| (subject.row.clone(), subject.about.clone())));
    cells.retain(|cell| current.get(&cell.key.row) == Some(&cell.subject));
    cells.sort_by(|a, b| a.key.cmp(&b.key));
    let left_out = all - cells.len();
    (cells, left_out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_system_is_first_and_last_in_turns_and_no_cell_is_left_out() {
        let embedders = [Embedder::Hash, Embedder::Minilm];
        let steps = order(&[false, true, false], &embedders, 2, 4);
        assert_eq!(steps.len(), 4 * 2 * 4);
        let distinct: BTreeSet<String> = steps.iter().map(|step| format!("{step:?}")).collect();
        assert_eq!(distinct.len(), steps.len());
        let firsts: Vec<_> = steps.chunks(4).map(|block| (block[0].subject, block[0].embedder)).collect();
        let entries = [(0, None), (1, Some(Embedder::Hash)), (1, Some(Embedder::Minilm)), (2, None)];
        assert_eq!(firsts[..4], [entries[0], entries[1], entries[1], entries[2]]);
        for entry in entries {
            assert_eq!(firsts.iter().filter(|first| **first == entry).count(), 2, "{entry:?}");
        }
        assert!(order(&[], &embedders, 2, 2).is_empty());
    }
}
