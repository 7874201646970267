//! Folding: several objects of the log become one, so that there are few to read
//! when the log is opened.
//!
//! It takes nothing away before what replaces it is there, and what replaces it
//! follows from the commits alone; so it needs no agreement with other engines,
//! and may fail, or be interrupted, at any moment.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::span::{Content, Span, chain};
use crate::bucket::{Bucket, Object};
use crate::error::Error;
use crate::log::Changes;
use crate::log::codec::u64_le;
use crate::sync::{Mutex, lock};
use crate::telemetry;

/// Commits that wait to be folded. With half as many, an engine would write a
/// third more objects; with twice as many, one that opens would read so many more.
const COMMITS: usize = 16;

/// Bytes of commits that wait at most, for they are kept in memory.
const COMMIT_BYTES: usize = 4 << 20;

/// An older object is folded in as well while it is not larger than so many times
/// what it is folded into: so every byte is written a logarithm of times, and
/// the number of objects is a logarithm too.
const GROWTH: usize = 2;

/// No object is folded in that would make one of more bytes: S3 takes five times as many
/// in one request.
const LARGEST: usize = 1 << 30;

/// How long an empty object keeps its name at least. Engines that open the log make
/// them, and it is by these names that those which they replace learn of it; an
/// engine that has heard nothing for [`QUIET`](super::QUIET) looks first.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The object that asks the writer to stop: it holds the next commit, as far as was
/// known to who asks.
const CLAIM: &str = "claim";

/// An object of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub span: Span,
    pub bytes: usize,
    age: Duration,
}

/// What there is to fold of one log.
#[derive(Clone)]
pub(super) struct Folds {
    bucket: Bucket,
    state: Arc<Mutex<State>>,
    /// Bytes of an object without changes.
    empty: usize,
}

#[derive(Default)]
struct State {
    /// The objects of the sequence before `recent`.
    parts: Vec<Listed>,
    /// Commits, with the bytes of their objects.
    recent: Vec<(Arc<Content>, usize)>,
    /// Objects that are not needed any more. They go with the next fold: somebody
    /// who has listed them may still be reading.
    superseded: Vec<Span>,
    worker: Option<JoinHandle<()>>,
    /// The first commit of the writer that folds.
    own: u64,
    /// Whether another engine asks for the log.
    claimed: bool,
    /// Whether the objects in the bucket begin with the first commit.
    complete: bool,
    /// Whether one of them could not be read.
    damaged: bool,
}

impl Folds {
    pub(super) fn of(bucket: Bucket) -> Result<Self, Error> {
        let empty = Content::empty_bytes().map_err(|error| Error::io(bucket.name().as_ref(), error))?;
        Ok(Self { bucket, state: Arc::default(), empty })
    }

    /// The objects of the log, in the order of their spans.
    ///
    /// # Errors
    /// [`Error::NotAStore`] if there are others instead.
    pub(super) fn list(&self) -> Result<Vec<Listed>, Error> {
        let objects = self.bucket.list("log")?;
        let ours = |object: &Object| {
            let span = Span::named(&object.name)?;
            Some(Listed { span, bytes: object.bytes as usize, age: object.age })
        };
        let listed: Vec<Listed> = objects.iter().filter_map(ours).collect();
        match objects.first() {
            Some(other) if listed.is_empty() => {
                let found = format!("log/{}", other.name);
                Err(Error::NotAStore { path: self.bucket.name().into(), found })
            }
            _ => Ok(listed),
        }
    }

    /// Takes note of all objects of the log.
    pub(super) fn found(&self, listed: &[Listed]) {
        let needed = needed(listed);
        let mut state = lock(&self.state);
        state.complete = needed.is_some();
        let (parts, others) = needed.unwrap_or_else(|| (listed.to_vec(), Vec::new()));
        state.parts = parts;
        state.superseded =
            others.iter().filter(|object| self.may_go(object)).map(|object| object.span).collect();
    }

    /// Whether an object that is not needed may be deleted.
    fn may_go(&self, object: &Listed) -> bool {
        object.bytes != self.empty || object.age > KEPT
    }

    /// Whether the objects in the bucket are the whole log.
    pub(super) fn are_complete(&self) -> bool {
        lock(&self.state).complete
    }

    /// Says that this engine writes, from the commit `own` on.
    pub(super) fn lead(&self, own: u64) {
        lock(&self.state).own = own;
    }

    /// Asks the writer, who commits too quickly to be replaced, to stop. It looks
    /// when it folds; one that has begun after the commit `next` does not heed it.
    pub(super) fn claim(&self, next: u64) -> Result<(), Error> {
        self.bucket.put(CLAIM, next.to_le_bytes().into())
    }

    /// Whether another engine has asked the writer to stop.
    pub(super) fn are_claimed(&self) -> bool {
        lock(&self.state).claimed
    }

    fn look_for_claim(&self) -> Result<(), Error> {
        let claim = self.bucket.read(CLAIM)?.as_deref().and_then(u64_le);
        let mut state = lock(&self.state);
        state.claimed |= claim.is_some_and(|next| next > state.own);
        Ok(())
    }

    /// Takes note of a commit, and folds if there are enough of them.
    pub(super) fn made(&self, content: Content, bytes: usize) {
        let mut state = lock(&self.state);
        state.recent.push((Arc::new(content), bytes));
        let waiting: usize = state.recent.iter().map(|(_, bytes)| bytes).sum();
        let due = state.recent.len() >= COMMITS || waiting >= COMMIT_BYTES;
        let idle = state.worker.as_ref().is_none_or(JoinHandle::is_finished);
        if due && idle {
            let folds = self.clone();
            let work = move || {
                if let Err(error) = folds.look_for_claim().and_then(|()| folds.fold()) {
                    folds.put_off(&error);
                }
            };
            let worker = std::thread::Builder::new().name("mnemocore-fold".into()).spawn(work);
            state.worker = telemetry::or_warn("start a thread that folds commits", worker);
        }
    }

    /// After a fold that failed: its commits are read again when there are enough new
    /// ones for the next. Until then they need not be kept here, for they are objects.
    fn put_off(&self, error: &Error) {
        telemetry::unreported("fold commits", error);
        let mut state = lock(&self.state);
        let recent = std::mem::take(&mut state.recent);
        let age = Duration::ZERO;
        state.parts.extend(recent.iter().map(|(commit, bytes)| Listed {
            span: commit.span,
            bytes: *bytes,
            age,
        }));
        state.damaged |= matches!(error, Error::CorruptObject { .. });
    }

    /// Whether a fold has met an object that cannot be read, since this was last asked.
    pub(super) fn found_damage(&self) -> bool {
        std::mem::take(&mut lock(&self.state).damaged)
    }

    /// Folds what there is, and waits for it.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.wait();
        match self.fold() {
            // For who has it all to mend.
            Err(error @ Error::CorruptObject { .. }) => {
                self.put_off(&error);
                Ok(())
            }
            folded => folded,
        }
    }

    /// Waits for a fold that has begun.
    pub(super) fn wait(&self) {
        let worker = lock(&self.state).worker.take();
        if let Some(worker) = worker {
            // Had it panicked, the objects are as they were.
            let _ = worker.join();
        }
    }

    /// Puts one object in the place of all, and deletes those.
    pub(super) fn replace_all(&self, whole: &Content) -> Result<(), Error> {
        self.wait();
        let bytes = self.put(whole)?;
        let mut others = self.list()?;
        others.retain(|object| object.span != whole.span && object.span.last <= whole.span.last);
        others.retain(|object| self.may_go(object));
        self.bucket.delete(others.iter().map(|object| object.span.name()).collect())?;
        let mut state = lock(&self.state);
        state.parts = vec![Listed { span: whole.span, bytes, age: Duration::ZERO }];
        state.recent.clear();
        state.superseded.clear();
        state.complete = true;
        Ok(())
    }

    fn put(&self, content: &Content) -> Result<usize, Error> {
        let bytes = content.encode().map_err(|error| Error::io(self.bucket.name().as_ref(), error))?;
        let length = bytes.len();
        self.bucket.put(&content.span.name(), bytes)?;
        Ok(length)
    }

    fn fold(&self) -> Result<(), Error> {
        while !self.fold_once()? {
            self.look_again()?;
        }
        Ok(())
    }

    /// Takes note of the objects that are there, after others have folded some.
    fn look_again(&self) -> Result<(), Error> {
        let mut before = self.list()?;
        let mut state = lock(&self.state);
        let first = state.recent.first().map_or(u64::MAX, |(content, _)| content.span.first);
        before.retain(|object| object.span.last < first);
        state.parts = needed(&before).unwrap_or_default().0;
        Ok(())
    }

    /// Folds what there is, and says whether it could: not if an object is gone
    /// because others have folded it.
    fn fold_once(&self) -> Result<bool, Error> {
        let (recent, parts) = {
            let state = lock(&self.state);
            (state.recent.clone(), state.parts.clone())
        };
        let Some((newest, _)) = recent.last() else { return Ok(true) };
        let age = Duration::ZERO;
        let mut folded: Vec<Listed> =
            recent.iter().map(|(content, bytes)| Listed { span: content.span, bytes: *bytes, age }).collect();
        let mut size: usize = recent.iter().map(|(_, bytes)| bytes).sum();
        let mut changes = Changes::new();
        for (content, _) in &recent {
            changes.extend(content.changes.clone());
        }
        let mut kept = parts.as_slice();
        while let Some((part, older)) = kept.split_last()
            && part.bytes <= (GROWTH * size).min(LARGEST.saturating_sub(size))
        {
            let span = part.span;
            let Some(content) = self.bucket.read(&span.name())? else { return Ok(false) };
            let content = Content::decode(&content).ok_or_else(|| self.bucket.damaged(span.name()))?;
            let newer = std::mem::replace(&mut changes, content.changes);
            changes.extend(newer);
            folded.push(*part);
            size += part.bytes;
            kept = older;
        }
        let first = folded.iter().map(|object| object.span.first).min().unwrap_or_default();
        if first == 0 {
            changes.retain(|_, value| value.is_some());
        }
        let span = Span { first, last: newest.span.last };
        let bytes = self.put(&Content { span, changes, ..Content::clone(newest) })?;
        self.put_in_place(Listed { span, bytes, age }, kept.to_vec(), &folded).map(|()| true)
    }

    /// Notes a new object, and deletes what the one before has superseded.
    fn put_in_place(&self, new: Listed, mut parts: Vec<Listed>, folded: &[Listed]) -> Result<(), Error> {
        let superseded = folded.iter().filter(|old| old.span != new.span && self.may_go(old));
        let mut state = lock(&self.state);
        state.recent.retain(|(content, _)| content.span.first > new.span.last);
        parts.push(new);
        state.parts = parts;
        let gone = std::mem::replace(&mut state.superseded, superseded.map(|old| old.span).collect());
        drop(state);
        let deleted = self.bucket.delete(gone.iter().map(|span| span.name()).collect());
        if deleted.is_err() {
            lock(&self.state).superseded.extend(gone);
        }
        deleted
    }
}

/// Sets those objects that are the whole log apart from the others, each in the
/// order given; `None` if a commit is in none of them.
fn needed(listed: &[Listed]) -> Option<(Vec<Listed>, Vec<Listed>)> {
    let spans: Vec<Span> = listed.iter().map(|object| object.span).collect();
    let needed = chain(&spans, 0).ok()?;
    Some(listed.iter().partition(|object| needed.contains(&object.span)))
}
