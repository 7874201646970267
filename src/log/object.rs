//! The log in object storage: every commit is an object that is made once, with
//! a copy of their sum on the local disk.
//!
//! The objects are a sequence. Whoever makes the next one has committed; object
//! storage sees to it that nobody else makes the same one, and that is all that
//! it is asked for. An engine that opens the log for writing makes an empty one:
//! from then on the writer before finds its place taken, and learns so that it
//! was replaced. Empty objects are not deleted while anybody may still come upon
//! them. A writer that commits too quickly to be overtaken is asked to stop, by an
//! object of its own, which it looks for when it folds. What was committed is in
//! the sequence before it is in the local copy, so a machine that is lost takes
//! nothing with it, and a copy that is behind, or gone, is made anew.

mod fold;
mod open;
mod span;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::fold::Folds;
use self::span::{Content, Span};
use super::{Batch, Changes, DiskLog, Durability, Log, Table, Visit, setting_key};
use crate::bucket::{Bucket, Created};
use crate::error::Error;
use crate::sync::{Mutex, RwLock, lock, read, write};
use crate::telemetry;

/// The number of the log, in the local copy.
const LOG: &str = "object log";

/// The next commit that the local copy lacks, there.
const NEXT: &str = "object next";

/// Bytes that are written to the local copy at a time.
const COPIED_AT_ONCE: usize = 8 << 20;

/// A writer that has not committed for so long looks whether it was replaced
/// before it does, for what would tell it may be deleted after [`fold`]'s week.
const QUIET: Duration = Duration::from_secs(3600);

/// What the commits that are not in the local copy amount to; shown to readers
/// before it.
type Overlay = Changes;

/// The log of an engine whose memories are in object storage.
pub struct ObjectLog {
    bucket: Bucket,
    local: DiskLog,
    /// `None` for one that only reads.
    writer: Option<u64>,
    head: Mutex<Head>,
    folds: Folds,
    overlay: RwLock<Overlay>,
}

/// The end of the sequence, as far as it is known here.
#[derive(Debug, Default)]
struct Head {
    /// The log's number.
    log: u64,
    next: u64,
    /// Whether another engine has taken over.
    fenced: bool,
    /// A commit that was given up without an answer: it may have been made.
    doubt: Option<Changes>,
    /// What takes such commits back that were made, for the next one to do.
    undo: Changes,
    /// What was committed and the copy lacks, because it could not be written.
    lacking: Changes,
    /// When the bucket last took a commit.
    heard: Option<SystemTime>,
}

impl ObjectLog {
    /// Makes an object, or says what is in its place.
    fn make(&self, content: &Content) -> Result<Made, Error> {
        let bytes = content.encode().map_err(|error| Error::io(self.path(), error))?;
        let (name, length) = (content.span.name(), bytes.len());
        if self.bucket.create(&name, bytes.clone())? == Created::New {
            return Ok(Made::Ours(length));
        }
        // An attempt may have made it whose answer was lost.
        match self.bucket.read(&name)? {
            Some(there) if there == bytes => Ok(Made::Ours(length)),
            Some(there) => self.decode(content.span, &there).map(Made::Others),
            None if self.folds.list()?.iter().any(|object| object.span.last >= content.span.last) => {
                Ok(Made::Gone)
            }
            // So S3 answers while an attempt that was given up is still on its way.
            None => Err(self.unreachable("write an object", 1, "another request is writing it")),
        }
    }

    fn decode(&self, span: Span, bytes: &[u8]) -> Result<Content, Error> {
        let content = Content::decode(bytes).filter(|content| content.span == span);
        content.ok_or_else(|| self.bucket.damaged(span.name()))
    }

    /// Adds changes to the local copy, which is then as `head` says. Where a part of
    /// them was added, it says which log it is of, and lacks the same commits as before.
    fn copy(&self, changes: &Changes, head: &Head) -> Result<(), Error> {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        batch.put_setting(LOG, head.log);
        for ((table, key), value) in changes {
            bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            batch.change(*table, key.clone(), value.clone());
            if bytes > COPIED_AT_ONCE {
                self.local.commit(&std::mem::take(&mut batch), Durability::Buffered)?;
                bytes = 0;
            }
        }
        batch.put_setting(NEXT, head.next);
        self.local.commit(&batch, Durability::Buffered)
    }

    /// Finds out about a commit that was given up: whether it was made shows when
    /// an empty one is to take its place.
    fn settle(&self, head: &mut Head, writer: u64) -> Result<(), Error> {
        let Some(doubt) = &head.doubt else { return Ok(()) };
        let void = Content { span: Span::of(head.next), log: head.log, writer, changes: Changes::new() };
        match self.make(&void)? {
            // Not told to the folds, which need nothing that is empty: the name may have
            // been free because others have folded what was there.
            Made::Ours(_) => {}
            Made::Others(made) if made.writer == writer => {
                for (table, key) in doubt.keys() {
                    let before = self.get(*table, key)?;
                    head.undo.insert((*table, key.clone()), before);
                }
                self.folds.made(made, 0);
            }
            Made::Others(_) | Made::Gone => return Err(self.fence(head)),
        }
        head.next += 1;
        head.doubt = None;
        Ok(())
    }

    fn fence(&self, head: &mut Head) -> Error {
        head.fenced = true;
        Error::Fenced { path: self.bucket.name().into() }
    }

    /// Commits to the sequence, then to the copy. The caller holds the head.
    fn append(&self, head: &mut Head, writer: u64, changes: Changes) -> Result<(), Error> {
        if head.fenced || self.folds.are_claimed() {
            return Err(self.fence(head));
        }
        // A clock that was set back tells nothing of how long it was.
        let lately = |heard: SystemTime| heard.elapsed().is_ok_and(|passed| passed <= QUIET);
        // What is in doubt may be there, and is this writer's own.
        let own = head.next + u64::from(head.doubt.is_some());
        if !head.heard.is_some_and(lately) && self.folds.list()?.iter().any(|object| object.span.last >= own)
        {
            return Err(self.fence(head));
        }
        // What was not worth a commit of its own. What only the copy lacks was committed.
        let shown = read(&self.overlay).clone();
        self.settle(head, writer)?;
        let noted = shown.iter().filter(|&(key, value)| head.lacking.get(key) != Some(value));
        let mut all = head.undo.clone();
        all.extend(noted.map(|(key, value)| (key.clone(), value.clone())));
        all.extend(changes);
        let content = Content { span: Span::of(head.next), log: head.log, writer, changes: all };
        match self.make(&content) {
            Ok(Made::Ours(bytes)) => {
                head.next += 1;
                head.heard = Some(SystemTime::now());
                head.undo.clear();
                let lacking = if head.lacking.is_empty() {
                    Cow::Borrowed(&content.changes)
                } else {
                    let mut all = std::mem::take(&mut head.lacking);
                    all.extend(content.changes.clone());
                    Cow::Owned(all)
                };
                let copied =
                    telemetry::or_warn("write a commit to the local copy", self.copy(&lacking, head));
                let mut overlay = write(&self.overlay);
                if copied.is_some() {
                    // All of it is in the copy, or something newer is.
                    overlay.retain(|key, value| shown.get(key) != Some(value));
                } else {
                    // It is committed all the same. The copy gets it with the next
                    // commit, or from the bucket when the log is opened again.
                    overlay.extend(content.changes.clone());
                    head.lacking = lacking.into_owned();
                }
                drop(overlay);
                self.folds.made(content, bytes);
                if self.folds.found_damage() {
                    // Of what is damaged there, this copy may be the only one. The commit
                    // stands, whether that can be mended now or with a later one.
                    telemetry::or_warn("mend the objects of the log", self.fold_all(head));
                }
                Ok(())
            }
            Ok(Made::Others(_) | Made::Gone) => Err(self.fence(head)),
            Err(error) => {
                head.doubt = Some(content.changes);
                Err(error)
            }
        }
    }

    /// Makes all commits one object.
    fn fold_all(&self, head: &Head) -> Result<(), Error> {
        let span = Span { first: 0, last: head.next.saturating_sub(1) };
        let writer = self.writer.unwrap_or_default();
        self.folds.replace_all(&Content { span, log: head.log, writer, changes: self.contents()? })
    }

    fn path(&self) -> &Path {
        Path::new(self.bucket.name())
    }

    fn unreachable(&self, action: &'static str, attempts: u32, message: &str) -> Error {
        Error::Unreachable { what: self.bucket.name().into(), action, attempts, message: message.into() }
    }

    /// All that is in the log, without what is the local copy's own.
    fn contents(&self) -> Result<Changes, Error> {
        let own = [LOG, NEXT].map(setting_key);
        let mut contents = Changes::new();
        for table in Table::ALL {
            self.scan(table, &[], &mut |key, value| {
                if table != Table::Catalogue || !own.iter().any(|own| own == key) {
                    contents.insert((table, key.to_vec()), Some(value.into()));
                }
                Ok(())
            })?;
        }
        Ok(contents)
    }
}

/// What an object was found to be when it was to be made.
enum Made {
    /// As it was to be, of so many bytes.
    Ours(usize),
    Others(Content),
    /// It was there, and others have folded it since.
    Gone,
}

impl Log for ObjectLog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, Error> {
        let overlay = read(&self.overlay);
        if !overlay.is_empty()
            && let Some(value) = overlay.get(&(table, key.to_vec()))
        {
            return Ok(value.clone());
        }
        drop(overlay);
        self.local.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let overlay = read(&self.overlay);
        let from = overlay.range((table, prefix.to_vec())..);
        let over: Overlay = from
            .take_while(|((of, key), _)| *of == table && key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        drop(overlay);
        if over.is_empty() {
            return self.local.scan(table, prefix, visit);
        }
        let mut found = Changes::new();
        self.local.scan(table, prefix, &mut |key, value| {
            found.insert((table, key.to_vec()), Some(value.into()));
            Ok(())
        })?;
        found.extend(over);
        found
            .iter()
            .try_for_each(|((_, key), value)| value.as_ref().map_or(Ok(()), |value| visit(key, value)))
    }

    fn commit(&self, batch: &Batch, _durability: Durability) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        if batch.is_redundant {
            return self.note(batch);
        }
        let changes = changes(batch);
        match self.writer {
            Some(writer) => self.append(&mut lock(&self.head), writer, changes),
            None => {
                write(&self.overlay).extend(changes);
                Ok(())
            }
        }
    }

    fn note(&self, batch: &Batch) -> Result<(), Error> {
        write(&self.overlay).extend(changes(batch));
        Ok(())
    }

    fn number(&self) -> u64 {
        lock(&self.head).log
    }

    fn memory(&self) -> usize {
        self.local.memory()
    }

    fn clean_up(&self) -> Result<(), Error> {
        self.local.clean_up()
    }

    fn maintain(&self) -> Result<(), Error> {
        self.local.maintain()
    }

    fn check(&self) -> Result<(), Error> {
        let mut head = lock(&self.head);
        if head.fenced { Err(self.fence(&mut head)) } else { self.local.check() }
    }

    fn compact(&self) -> Result<(), Error> {
        let Some(writer) = self.writer else { return Ok(()) };
        let mut head = lock(&self.head);
        // Also what is in doubt and what was noted.
        self.append(&mut head, writer, Changes::new())?;
        self.fold_all(&head)?;
        drop(head);
        self.local.compact()
    }

    fn close(&self) -> Result<(), Error> {
        if let Some(writer) = self.writer {
            let mut head = lock(&self.head);
            let noted = !read(&self.overlay).is_empty();
            if (noted || head.doubt.is_some()) && !head.fenced {
                self.append(&mut head, writer, Changes::new())?;
            }
            let fenced = head.fenced;
            drop(head);
            // Of one that was replaced, the other takes care.
            if fenced {
                self.folds.wait();
            } else {
                self.folds.finish()?;
                if self.folds.found_damage() {
                    self.fold_all(&lock(&self.head))?;
                }
            }
        }
        self.local.close()
    }
}

fn changes(batch: &Batch) -> Changes {
    batch.changes.iter().map(|(table, key, value)| ((*table, key.clone()), value.clone())).collect()
}
