//! The segments of a tier that the log lists, and the files in the depot that it no longer lists.

use std::collections::HashMap;
use std::sync::Arc;

use super::depot::Depot;
use super::files::depot_name;
use super::{Done, Upkeep};
use crate::error::Error;
use crate::log::SegmentEntry;

/// Names that one call deletes from the depot at most.
const DISCARDED_AT_ONCE: usize = 256;

/// The entry of each segment in the log, and the names that have to be deleted from the depot.
#[derive(Default)]
pub(super) struct Listed {
    entries: HashMap<u64, SegmentEntry>,
    /// Segments whose commit reported an error. If another engine has taken the store over, the
    /// commit may have succeeded, and the segments belong to that engine. So they stay in the depot
    /// until a later commit succeeds.
    given_up: Vec<u64>,
    /// Names in the depot that could not be deleted yet.
    left: Vec<String>,
}

/// Names that were to be deleted from the depot, and whether they were.
pub(super) struct Discarded {
    names: Vec<String>,
    gone: Result<(), Error>,
}

impl Listed {
    /// Notes what the log says of a segment.
    pub(super) fn insert(&mut self, number: u64, entry: SegmentEntry) {
        self.entries.insert(number, entry);
    }

    /// Notes a segment whose commit failed.
    pub(super) fn give_up(&mut self, number: u64) {
        self.given_up.push(number);
    }

    /// Notes a file in the depot that was never listed.
    pub(super) fn leave(&mut self, number: u64, entry: &SegmentEntry) {
        self.left.push(depot_name(number, entry));
    }

    /// The names in the depot of segments that a commit has replaced.
    pub(super) fn replaced(&mut self, mut numbers: Vec<u64>) -> Vec<String> {
        if !numbers.is_empty() {
            numbers.append(&mut self.given_up);
        }
        let entries = numbers.into_iter().filter_map(|number| Some((number, self.entries.remove(&number)?)));
        entries.map(|(number, entry)| depot_name(number, &entry)).collect()
    }

    /// The names in the depot that could not be deleted so far.
    pub(super) fn take_left(&mut self) -> Vec<String> {
        std::mem::take(&mut self.left)
    }

    /// Deletes names from the depot, if there are any, some at a time.
    pub(super) fn discard(&mut self, mut names: Vec<String>, depot: &Arc<dyn Depot>) -> Option<Upkeep> {
        self.left.extend(names.drain(DISCARDED_AT_ONCE.min(names.len())..));
        let depot = depot.clone();
        (!names.is_empty()).then(|| {
            Box::new(move || {
                let gone = depot.discard(names.clone());
                Ok(Box::new(Discarded { names, gone }) as Done)
            }) as Upkeep
        })
    }

    /// Takes over what became of names that were to be deleted.
    ///
    /// # Errors
    /// Whatever deleting them reported; they are deleted later.
    pub(super) fn discarded(&mut self, Discarded { names, gone }: Discarded) -> Result<(), Error> {
        if gone.is_err() {
            self.left.extend(names);
        }
        gone
    }
}
