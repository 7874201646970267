//! Reads all that can be read of a damaged log, changing nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal::{self, End, Journal};
use super::{Changes, Table, identity};
use crate::error::Error;
use crate::identity::shown;

/// What could be read of a log.
#[derive(Debug, Default)]
pub(crate) struct Salvage {
    /// The newest value of each key; `None` for one that was removed.
    pub values: Changes,
    /// Whether the whole log could be read. If so, it did not hold a key that is missing here.
    pub is_whole: bool,
    /// Whether its last commits may be missing without a trace: nothing says that the journal is the last one, or it
    /// ends within a batch, which may be damage as well as a crash.
    pub may_lack_commits: bool,
    /// The number of the log, if that is known.
    pub number: Option<u64>,
    /// No journal of the log has had this generation yet, as far as is known.
    pub next_generation: u64,
    /// The sequence number of the next commit, as far as the journal could be read.
    pub sequence: u64,
    /// Files that are damaged, missing or another store's.
    pub damaged: BTreeSet<PathBuf>,
}

impl Salvage {
    /// Reads the log in `folder`: of its journal every batch whose checksum is right. `labels` are the
    /// numbers of logs that the files of this store's segments bear.
    ///
    /// # Errors
    /// [`Error::Io`] if the operating system refuses a file.
    pub(crate) fn read(folder: &Path, labels: &BTreeSet<u64>) -> Result<Self, Error> {
        let mut salvage = Self::default();
        let identity = identity::read(folder).unwrap_or_default();
        let known = identity.map(|identity| identity.number);
        salvage.next_generation = identity.map_or(0, |identity| identity.generation.saturating_add(1));
        let mut newest: Option<(PathBuf, Journal)> = None;
        let mut are_headers_sound = true;
        let failed = |error| Error::io(&shown(folder), error);
        for (generation, path) in journal::paths(folder).map_err(failed)? {
            let failed = |error| Error::io(&shown(&path), error);
            let journal = journal::read(&path).map_err(failed)?;
            if journal.as_ref().is_none_or(|journal| journal.header.generation != generation) {
                are_headers_sound = false;
                salvage.damaged.insert(shown(&path));
            }
            let journal = match journal {
                Some(journal) => {
                    let next = journal.header.generation.saturating_add(1);
                    salvage.next_generation = salvage.next_generation.max(next);
                    journal
                }
                None => {
                    let logs = labels.iter().copied().chain(known).collect();
                    match journal::read_without_header(&path, generation, &logs).map_err(failed)? {
                        journal if journal.batches.is_empty() => continue,
                        journal => journal,
                    }
                }
            };
            // Older ones hold nothing that it lacks.
            let is_older =
                |(_, newest): &(PathBuf, Journal)| newest.header.generation > journal.header.generation;
            if !newest.as_ref().is_some_and(is_older) {
                newest = Some((path, journal));
            }
        }
        let Some((path, journal)) = newest else {
            salvage.number = known;
            if known.is_none() {
                salvage.damaged.insert(shown(&identity::path(folder)));
            }
            if salvage.damaged.is_empty() {
                salvage.damaged.insert(shown(&folder.join(journal::file_name(0))));
            }
            return Ok(salvage);
        };
        let number = journal.header.number;
        let is_known = known == Some(number);
        let is_own = is_known || if labels.is_empty() { known.is_none() } else { labels.contains(&number) };
        if !is_known && (is_own || known.is_none()) {
            // It is damaged, or another store's.
            salvage.damaged.insert(shown(&identity::path(folder)));
        }
        salvage.number = known;
        let is_last = identity.is_none_or(|identity| identity.generation <= journal.header.generation);
        salvage.may_lack_commits = !is_known || journal.end != End::Whole;
        if !is_last {
            salvage.damaged.insert(shown(&path));
        }
        salvage.take(&path, journal, is_own);
        // One that is damaged may be a newer one.
        salvage.is_whole &= are_headers_sound && is_last;
        Ok(salvage)
    }

    /// Takes over what a journal holds if it is this store's.
    fn take(&mut self, path: &Path, journal: Journal, is_own: bool) {
        // What is behind a tear was committed too, if not for certain.
        let is_sound = journal.end != End::Damaged && journal.rest.is_empty();
        if !(is_own && journal.end == End::Whole) {
            self.damaged.insert(shown(path));
        }
        self.is_whole = is_own && is_sound;
        if !is_own {
            return;
        }
        self.number = Some(journal.header.number);
        let behind = journal.rest.last().map_or(0, |last| last.sequence.saturating_add(1));
        self.sequence = journal.next_sequence().max(behind);
        let batches = journal.batches.into_iter().chain(journal.rest);
        for change in batches.flat_map(|batch| batch.changes) {
            let (table, key, value) = change.into_change();
            self.values.insert((table, key), value);
        }
    }

    /// The values of a table that are there.
    pub(crate) fn table(&self, table: Table) -> impl Iterator<Item = (&[u8], &Arc<[u8]>)> {
        let of_table = self.values.range((table, Vec::new())..).take_while(move |((of, _), _)| *of == table);
        of_table.filter_map(|((_, key), value)| Some((key.as_slice(), value.as_ref()?)))
    }

    /// The value of a key; `Some(None)` if it was removed.
    pub(crate) fn of(&self, table: Table, key: &[u8]) -> Option<Option<&Arc<[u8]>>> {
        self.values.get(&(table, key.to_vec())).map(Option::as_ref)
    }
}
