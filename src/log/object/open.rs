//! Opening the log: the local copy catches up with the objects, and who writes
//! takes the log over.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::fold::{Folds, Listed};
use super::span::{Content, HEADER_BYTES, Span, chain};
use super::{Head, LOG, Made, NEXT, ObjectLog};
use crate::bucket::{Bucket, Created};
use crate::error::Error;
use crate::log::identity::random_number;
use crate::log::{Changes, DiskLog, LOG_FOLDER, Log, StoreLock};
use crate::sync::{Mutex, RwLock, lock};

/// How often objects that went while they were being read are looked for anew:
/// they were folded into others.
const READINGS: usize = 9;

const TWICE: &str = "it has taken two of one name; a store needs conditional writes (If-None-Match), \
                     which tell its writers apart";

impl ObjectLog {
    /// Opens the log in `bucket` for writing, or makes one there, with its local
    /// copy in the folder `copy`, which exists. Another engine that has it open cannot commit
    /// any more.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::Refused`] when the bucket does not answer or
    /// refuses; [`Error::NotAStore`] if something else is in it; [`Error::Corrupt`]
    /// if objects are missing or damaged; [`Error::BucketBehindCache`] if the copy has more;
    /// [`Error::Locked`] if the copy is in use.
    pub fn open(bucket: Bucket, copy: &Path) -> Result<Self, Error> {
        Self::open_if(bucket.afresh(), Arc::new(StoreLock::acquire(copy)?), &|_| Ok(()))
    }

    /// As [`ObjectLog::open`], if `fits` has nothing against what is there: it is asked
    /// before anybody is replaced. The caller has locked the copy.
    pub(crate) fn open_if(
        bucket: Bucket,
        copy: Arc<StoreLock>,
        fits: &dyn Fn(&dyn Log) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut log = Self::follow(bucket, &copy)?;
        fits(&log)?;
        let mut readings = 1;
        while !log.take_over()? {
            readings += 1;
            if readings > READINGS {
                return Err(log.busy());
            }
            log = log.follow_again(&copy)?;
        }
        if !log.folds.are_complete() {
            // Objects are missing, all of which the copy has.
            log.fold_all(&lock(&log.head))?;
        }
        Ok(log)
    }

    /// Opens the log in `bucket` as it is now, for reading. What is committed to
    /// it from now on stays with this engine, and ends with it.
    ///
    /// # Errors
    /// As [`ObjectLog::open`].
    pub fn snapshot(bucket: Bucket, copy: &Path) -> Result<Self, Error> {
        Self::snapshot_locked(bucket.afresh(), Arc::new(StoreLock::acquire(copy)?))
    }

    /// As [`ObjectLog::snapshot`], with a copy that the caller has locked.
    pub(crate) fn snapshot_locked(bucket: Bucket, copy: Arc<StoreLock>) -> Result<Self, Error> {
        let log = Self::follow(bucket, &copy)?;
        match lock(&log.head).next {
            0 => Err(Error::NotAStore { path: log.bucket.name().into(), found: "no store".into() }),
            _ => Ok(()),
        }?;
        Ok(log)
    }

    /// The copy in `copy`, brought up to date.
    fn follow(bucket: Bucket, copy: &Arc<StoreLock>) -> Result<Self, Error> {
        let local = open_copy(copy)?;
        let folds = Folds::of(bucket.clone())?;
        let (head, overlay) = (Mutex::default(), RwLock::default());
        Self { bucket, local, writer: None, head, folds, overlay }.follow_again(copy)
    }

    fn follow_again(mut self, copy: &Arc<StoreLock>) -> Result<Self, Error> {
        for _ in 0..READINGS {
            match self.catch_up(copy.folder())? {
                CaughtUp::Yes => return Ok(self),
                CaughtUp::ObjectsWent => {}
                CaughtUp::CopyIsUseless => {
                    self.local.close()?;
                    drop(self.local);
                    remove_copy(copy)?;
                    self.local = open_copy(copy)?;
                }
            }
        }
        Err(self.busy())
    }

    /// Reads what the copy lacks, once.
    fn catch_up(&mut self, copy: &Path) -> Result<CaughtUp, Error> {
        let listed = self.folds.list()?;
        let spans: Vec<Span> = listed.iter().map(|object| object.span).collect();
        let (copied, number) =
            ((&self.local as &dyn Log).setting(NEXT)?, (&self.local as &dyn Log).setting(LOG)?);
        if copied.is_none() && number.is_some() {
            // Its engine ended while it was made. What is in it may have been removed
            // since, of which the object that begins with the first commit says nothing.
            return Ok(CaughtUp::CopyIsUseless);
        }
        let next = copied.unwrap_or_default();
        let newest = spans.iter().max_by_key(|span| span.last).copied();
        let end = newest.map_or(0, |span| span.last + 1);
        if next > end {
            match newest.map(|newest| self.log_of(newest)).transpose()? {
                Some(None) => return Ok(CaughtUp::ObjectsWent),
                // Of another log the copy is useless; of this one it is all that is left.
                Some(log) if log != number => {}
                // Others may have folded what was there in the middle of the listing.
                _ if self.folds.list()?.iter().any(|object| object.span.last >= end) => {
                    return Ok(CaughtUp::ObjectsWent);
                }
                _ => {
                    let (what, copy) = (self.bucket.name().into(), copy.into());
                    return Err(Error::BucketBehindCache { what, copy, there: end, here: next });
                }
            }
        }
        let chain = match chain(&spans, next) {
            Ok(chain) if next <= end => chain,
            // Not before all of it can be read from the bucket.
            _ => match chain(&spans, 0) {
                Ok(_) => return Ok(CaughtUp::CopyIsUseless),
                Err(missing) => return self.missing(missing),
            },
        };
        if chain.is_empty()
            && let Some(newest) = newest
            && self.log_of(newest)? != number
        {
            return Ok(CaughtUp::CopyIsUseless);
        }
        let mut head = Head { log: number.unwrap_or_default(), next, ..Head::default() };
        let contents = self.bucket.read_all(chain.iter().map(|span| span.name()).collect())?;
        for (span, bytes) in chain.iter().zip(contents) {
            let Some(bytes) = bytes else { return Ok(CaughtUp::ObjectsWent) };
            let content = self.decode(*span, &bytes)?;
            match number {
                Some(number) if number != content.log => return Ok(CaughtUp::CopyIsUseless),
                // Without a copy the first object tells.
                None if head.next > 0 && head.log != content.log => {
                    return Err(self.bucket.damaged(format!("{}, which is another store's,", span.name())));
                }
                _ => head.log = content.log,
            }
            head.next = span.last + 1;
            self.copy(&content.changes, &head)?;
        }
        self.folds.found(&listed);
        self.head = Mutex::new(head);
        Ok(CaughtUp::Yes)
    }

    /// The log that an object belongs to, where nothing new is read that would tell:
    /// another log may have as many commits.
    fn log_of(&self, span: Span) -> Result<Option<u64>, Error> {
        let start = self.bucket.read_start(&span.name(), HEADER_BYTES as u64)?;
        Ok(start.as_deref().and_then(Content::log_of))
    }

    /// Looks again for a commit that was in none of the objects that were listed:
    /// others may have folded some of them in the middle of the listing.
    fn missing(&self, commit: u64) -> Result<CaughtUp, Error> {
        let spans: Vec<Span> = self.folds.list()?.iter().map(|object| object.span).collect();
        match chain(&spans, 0) {
            Err(missing) if missing == commit => {
                Err(self.bucket.damaged(format!("commit {commit}, which is in no object,")))
            }
            _ => Ok(CaughtUp::ObjectsWent),
        }
    }

    /// Makes the next object, an empty one, and says whether it could: not if others
    /// have gone on since the objects were listed. They are asked to stop then.
    fn take_over(&mut self) -> Result<bool, Error> {
        let writer = random_number();
        let mut head = lock(&self.head);
        if head.next == 0 {
            head.log = random_number();
        }
        let content = Content { span: Span::of(head.next), log: head.log, writer, changes: Changes::new() };
        let Made::Ours(bytes) = self.make(&content)? else {
            self.folds.claim(head.next)?;
            return Ok(false);
        };
        if !self.is_made_once(&content)? {
            let what = self.bucket.name().into();
            return Err(Error::Refused { what, action: "make an object once", message: TWICE.into() });
        }
        // The name may have been free because others have gone beyond it, and have
        // folded what they had there.
        let own = content.span;
        let newest = |object: &Listed| object.span == own || object.span.last < own.last;
        if !self.folds.list()?.iter().all(newest) {
            return Ok(false);
        }
        head.next += 1;
        head.heard = Some(SystemTime::now());
        self.copy(&content.changes, &head)?;
        drop(head);
        self.folds.lead(content.span.first);
        self.folds.made(content, bytes);
        self.writer = Some(writer);
        Ok(true)
    }

    /// Whether the bucket refuses an object that is there: some servers that speak S3 take
    /// the condition, and overwrite.
    fn is_made_once(&self, content: &Content) -> Result<bool, Error> {
        let bytes = content.encode().map_err(|error| Error::io(self.path(), error))?;
        Ok(self.bucket.create(&content.span.name(), bytes)? == Created::Exists)
    }

    fn busy(&self) -> Error {
        self.unreachable("follow the log", READINGS as u32, "other engines write to it all the time")
    }
}

/// How far reading the sequence has come.
enum CaughtUp {
    Yes,
    ObjectsWent,
    CopyIsUseless,
}

/// Opens a local copy; one that is damaged is made anew, for all of it is in the
/// bucket.
pub(super) fn open_copy(copy: &Arc<StoreLock>) -> Result<DiskLog, Error> {
    let open = || DiskLog::open_locked(copy.clone(), LOG_FOLDER);
    match open() {
        Err(Error::Corrupt { .. }) => {
            remove_copy(copy)?;
            open()
        }
        opened => opened,
    }
}

fn remove_copy(copy: &StoreLock) -> Result<(), Error> {
    copy.check()?;
    let log = copy.anchor().join(LOG_FOLDER);
    std::fs::remove_dir_all(&log).map_err(|error| Error::io(&log, error))
}
