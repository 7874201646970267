//! A folder in object storage. Calls are synchronous, have time limits and attempts, and are
//! counted.

mod disk;
mod response;

use std::fmt::Display;
use std::fs;
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, PutMode, PutOptions, PutPayload, RetryConfig};
use tokio::time::timeout;

use self::disk::Disk;
use self::response::{is_refusal, without_secrets};
use crate::error::Error;
use crate::remote::{Counter, Failed, Failure, Limits, Traffic, attempt, wait};

/// Objects that are read or deleted at the same time.
const AT_ONCE: usize = 8;

// The actions that an error names.
const WRITE: &str = "write an object";
const READ: &str = "read an object";
const LIST: &str = "list objects";
const DELETE: &str = "delete objects";

/// A folder in object storage.
///
/// It is found by its URL: `s3://bucket/folder`, `gs://bucket/folder`,
/// `az://container/folder`, or `file:///folder` for one that several machines
/// have mounted. Credentials, region and endpoint come from the environment, from
/// the variables `AWS_…`, `GOOGLE_…` and `AZURE_…` that the crate `object_store`
/// documents; nothing of them is in a URL, an error or a log.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    /// The folder itself, if it is on a local or mounted disk.
    disk: Option<Disk>,
    name: String,
    limits: Limits,
    counter: Arc<Counter>,
}

/// An object that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its name within the folder that was listed.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The time since it was written. Clock differences between the two machines affect it.
    pub age: Duration,
}

/// Whether an object could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// There was none of that name.
    New,
    /// The name exists already; the object is unchanged.
    Exists,
}

impl Bucket {
    /// Describes the folder at `url`. No request is made yet.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a URL that names no object storage, an environment that contradicts it,
    /// or invalid limits.
    pub fn at(url: &str, limits: Limits) -> Result<Self, Error> {
        Self::with(url, &[], limits)
    }

    /// As [`Bucket::at`], with settings such as `("AWS_ENDPOINT", "https://…")` in
    /// place of the environment's.
    ///
    /// # Errors
    /// As [`Bucket::at`].
    pub fn with(url: &str, settings: &[(&str, &str)], limits: Limits) -> Result<Self, Error> {
        limits.check()?;
        let refused = |received: &dyn Display| Error::InvalidConfig {
            name: "the store's place",
            expected: "a URL such as s3://bucket/folder, gs://bucket/folder, az://container/folder or file:///folder, and an environment that goes with it",
            received: without_secrets(&received.to_string()),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refused(&url))?;
        let (host, within) = rest.split_once('/').unwrap_or((rest, ""));
        // The URL appears in errors, and identifies local copies, so it must not hold credentials.
        if scheme != "file" && (host.contains('@') || url.contains('?')) {
            return Err(refused(&"one with credentials or settings in it"));
        }
        let (place, folder) = (format!("{scheme}://{host}"), if scheme == "file" { rest } else { within });
        // Attempts are counted here, so the client must not retry by itself.
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        // If the program has installed another provider, that one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store: object_store::Result<Arc<dyn ObjectStore>> = match scheme {
            "file" => Ok(Arc::new(LocalFileSystem::new().with_fsync(true))),
            "s3" => {
                let builder = AmazonS3Builder::from_env().with_url(place).with_retry(retry);
                overlaid(builder, settings, AmazonS3Builder::with_config)
                    .build()
                    .map(|store| Arc::new(store) as _)
            }
            "gs" => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(place).with_retry(retry);
                overlaid(builder, settings, GoogleCloudStorageBuilder::with_config)
                    .build()
                    .map(|store| Arc::new(store) as _)
            }
            "az" => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(place).with_retry(retry);
                overlaid(builder, settings, MicrosoftAzureBuilder::with_config)
                    .build()
                    .map(|store| Arc::new(store) as _)
            }
            _ => return Err(refused(&url)),
        };
        let store = store.map_err(|error| refused(&error))?;
        let folder = Path::parse(folder.trim_matches('/')).map_err(|error| refused(&error))?;
        let disk = (scheme == "file").then(|| LocalFileSystem::new().path_to_filesystem(&folder));
        let disk = disk.transpose().map_err(|error| refused(&error))?.map(Disk::of);
        let counter = Arc::default();
        Ok(Self { store, folder, disk, name: url.trim_end_matches('/').into(), limits, counter })
    }

    /// Describes a folder in a store that the caller has built. `name` stands for it in errors, and
    /// identifies its local copies.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a folder that is no path, or invalid limits.
    pub fn of(store: Arc<dyn ObjectStore>, folder: &str, name: &str, limits: Limits) -> Result<Self, Error> {
        limits.check()?;
        let folder = Path::parse(folder).map_err(|error| Error::InvalidConfig {
            name: "the store's place",
            expected: "a path of plain names",
            received: error.to_string(),
        })?;
        Ok(Self { store, folder, disk: None, name: name.into(), limits, counter: Arc::default() })
    }

    /// Returns the same folder behind a wrapper around its storage, e.g. one that adds a limit or a
    /// delay.
    #[must_use]
    pub fn behind(mut self, put: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        self.store = put(self.store);
        self
    }

    /// Returns the storage and the folder in it, for other operations there.
    pub fn storage(&self) -> (&Arc<dyn ObjectStore>, &Path) {
        (&self.store, &self.folder)
    }

    /// Returns its URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the error for an object that does not read as it was written.
    pub(crate) fn damaged(&self, object: String) -> Error {
        Error::CorruptObject { bucket: self.name.clone(), object }
    }

    /// Returns the requests and bytes so far.
    pub fn traffic(&self) -> Traffic {
        self.counter.traffic()
    }

    /// Returns what counts them.
    pub(crate) fn counter(&self) -> &Arc<Counter> {
        &self.counter
    }

    /// Returns the same bucket for an engine that is opened now. A folder on a disk may have been
    /// replaced since another engine used it.
    pub(crate) fn afresh(mut self) -> Self {
        self.disk = self.disk.map(|disk| Disk::of(disk.path));
        self
    }

    fn check_disk(&self) -> Result<(), Error> {
        self.disk.as_ref().map_or(Ok(()), Disk::check)
    }

    /// Makes an object, if there is none of its name.
    pub(crate) fn create(&self, name: &str, content: Vec<u8>) -> Result<Created, Error> {
        match self.write(name, content, PutMode::Create)? {
            Ok(()) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Created::Exists)
            }
            Err(error) => Err(self.refused(WRITE, &error)),
        }
    }

    /// Makes an object, or replaces it.
    pub(crate) fn put(&self, name: &str, content: Vec<u8>) -> Result<(), Error> {
        self.write(name, content, PutMode::Overwrite)?.map_err(|error| self.refused(WRITE, &error))
    }

    fn write(&self, name: &str, content: Vec<u8>, mode: PutMode) -> Result<object_store::Result<()>, Error> {
        self.disk.as_ref().map_or(Ok(()), Disk::make)?;
        self.check_disk()?;
        let (bucket, path) = (self.clone(), self.path(name));
        let payload = PutPayload::from(content);
        let limits = self.limits.carrying(payload.content_length() as u64);
        // The check is repeated below, because an object written to a folder that was moved is not
        // stored.
        self.finish(wait(async move {
            let call = || {
                bucket.counter.request(payload.content_length());
                let options = PutOptions { mode: mode.clone(), ..PutOptions::default() };
                bucket.store.put_opts(&path, payload.clone(), options)
            };
            attempt(limits, &bucket.name, WRITE, &bucket.counter, call).await.map(drop)
        })?)?
        .map_or_else(|error| Ok(Err(error)), |()| self.check_disk().map(Ok))
    }

    /// Returns the content of an object; `None` if the name does not exist.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.read_all(vec![name.into()])?.pop().flatten())
    }

    /// Returns the first `bytes` bytes of an object; `None` if the name does not exist.
    pub(crate) fn read_start(&self, name: &str, bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        let start = Some(GetRange::Bounded(0..bytes));
        Ok(self.read_ranges(vec![name.into()], start)?.pop().flatten())
    }

    /// Returns the contents of several objects, in their order.
    pub(crate) fn read_all(&self, names: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.read_ranges(names, None)
    }

    fn read_ranges(
        &self,
        names: Vec<String>,
        range: Option<GetRange>,
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.check_disk()?;
        let bucket = self.clone();
        let read = wait(async move {
            let read = |name: &str| bucket.clone().read_one(bucket.path(name), range.clone());
            let reads: Vec<_> = names.iter().map(|name| read(name)).collect();
            stream::iter(reads).buffered(AT_ONCE).collect::<Vec<_>>().await
        })?;
        let content = |answer| match self.finish(answer)? {
            Ok(content) => Ok(Some(content)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.refused(READ, &error)),
        };
        read.into_iter().map(content).collect()
    }

    async fn read_one(
        self,
        path: Path,
        range: Option<GetRange>,
    ) -> Result<Vec<u8>, Failure<object_store::Error>> {
        let call = || async {
            self.counter.request(0);
            let options = GetOptions { range: range.clone(), ..GetOptions::default() };
            let answer = in_time(self.limits.call, self.store.get_opts(&path, options)).await?;
            let expected = answer.range.end - answer.range.start;
            let content = in_time(self.limits.carrying(expected).call, answer.bytes()).await?;
            self.counter.answer(content.len());
            if content.len() as u64 != expected {
                let source = format!("{} bytes of {expected}", content.len()).into();
                return Err(object_store::Error::Generic { store: "answer", source });
            }
            Ok(content.to_vec())
        };
        // `call` sets the time limits itself, once the size of the object is known.
        let limits = Limits { call: Duration::MAX, ..self.limits };
        attempt(limits, &self.name, READ, &self.counter, call).await
    }

    /// Lists the objects in a folder of the bucket, sorted by name.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        self.check_disk()?;
        let (bucket, path) = (self.clone(), self.path(folder));
        let prefix = path.clone();
        let listed = self.finish(wait(async move {
            let call = || {
                bucket.counter.request(0);
                bucket.store.list(Some(&path)).try_collect::<Vec<_>>()
            };
            attempt(bucket.limits, &bucket.name, LIST, &bucket.counter, call).await
        })?)?;
        let now = std::time::SystemTime::now();
        let object = |meta: object_store::ObjectMeta| {
            let mut parts = meta.location.prefix_match(&prefix)?;
            let name = parts.next()?.as_ref().to_owned();
            let age = now.duration_since(meta.last_modified.into()).unwrap_or_default();
            parts.next().is_none().then_some(Object { name, bytes: meta.size, age })
        };
        let mut objects: Vec<Object> =
            listed.map_err(|error| self.refused(LIST, &error))?.into_iter().filter_map(object).collect();
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    /// Deletes objects. It is no error if one does not exist.
    pub(crate) fn delete(&self, names: Vec<String>) -> Result<(), Error> {
        let (bucket, paths) = (self.clone(), names.iter().map(|name| self.path(name)).collect::<Vec<_>>());
        if paths.is_empty() {
            return Ok(());
        }
        self.check_disk()?;
        self.finish(wait(async move {
            let call = || {
                bucket.counter.request(0);
                let paths = stream::iter(paths.clone()).map(Ok).boxed();
                // A missing object must not keep the objects after it from being deleted.
                let gone = |answer| match answer {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(error) => Err(error),
                };
                bucket.store.delete_stream(paths).map(gone).try_collect::<()>()
            };
            attempt(bucket.limits, &bucket.name, DELETE, &bucket.counter, call).await
        })?)?
        .map_err(|error| self.refused(DELETE, &error))
    }

    /// Deletes incomplete files older than `age`, in a folder on a disk. A process that was killed
    /// while it wrote an object leaves a file that no listing shows.
    pub(crate) fn delete_unfinished(&self, folder: &str, age: Duration) -> Result<(), Error> {
        let Some(disk) = &self.disk else { return Ok(()) };
        disk.check()?;
        let folder = disk.anchor().map_or(disk.path.as_path(), AsRef::as_ref).join(folder);
        let failed = |error| Error::io(&folder, error);
        // `object_store` writes to `name#1` and then renames it to `name`.
        let is_unfinished = |name: &str| {
            let number = name.rsplit_once('#').map(|(_, number)| number);
            number.is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
            })
        };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let failed = |error| Error::io(&entry.path(), error);
            let written = entry.metadata().and_then(|about| about.modified()).map_err(failed)?;
            let is_old = written.elapsed().is_ok_and(|passed| passed > age);
            if is_old && is_unfinished(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> Path {
        let anchor = self.disk.as_ref().and_then(Disk::anchor);
        let anchor = anchor.and_then(|anchor| Path::parse(anchor.trim_start_matches('/')).ok());
        let folder = anchor.unwrap_or_else(|| self.folder.clone());
        name.split('/').fold(folder, |path, part| path.join(part))
    }

    /// Returns a message of the storage without secrets, and with the folder's own path.
    fn said(&self, message: &str) -> String {
        let said = without_secrets(message);
        match self.disk.as_ref().and_then(|disk| Some((disk.anchor()?, disk.path.to_str()?))) {
            Some((anchor, path)) => said.replace(anchor, path),
            None => said,
        }
    }

    /// Separates refused calls from calls that did not reach the storage.
    fn finish<T>(
        &self,
        answer: Result<T, Failure<object_store::Error>>,
    ) -> Result<object_store::Result<T>, Error> {
        match answer {
            Ok(value) => Ok(Ok(value)),
            Err(Failure::Refused(error)) => Ok(Err(error)),
            Err(Failure::Unreachable(Error::Unreachable { what, action, attempts, message })) => {
                Err(Error::Unreachable { what, action, attempts, message: self.said(&message) })
            }
            Err(Failure::Unreachable(error)) => Err(error),
        }
    }

    fn refused(&self, action: &'static str, error: &object_store::Error) -> Error {
        Error::Refused { what: self.name.clone(), action, message: self.said(&error.to_string()) }
    }
}

/// Returns the answer of a call, or an error that may be retried.
async fn in_time<T>(
    limit: Duration,
    call: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    let late = || object_store::Error::Generic {
        store: "answer",
        source: format!("no answer within {limit:?}").into(),
    };
    timeout(limit, call).await.unwrap_or_else(|_| Err(late()))
}

/// Applies those of the settings that the builder knows. The builder's own time limit ignores the
/// size of objects, so [`Limits`] replaces it.
fn overlaid<B, K: FromStr>(builder: B, settings: &[(&str, &str)], set: impl Fn(B, K, String) -> B) -> B {
    let limit = ("timeout", "1 day");
    [limit].iter().chain(settings).fold(builder, |builder, (name, value)| {
        match name.to_ascii_lowercase().parse() {
            Ok(key) => set(builder, key, (*value).into()),
            Err(_) => builder,
        }
    })
}

impl Failed for object_store::Error {
    fn passes(&self) -> bool {
        matches!(self, Self::Generic { .. } | Self::JoinError { .. }) && !is_refusal(&self.to_string())
    }

    fn reason(&self) -> String {
        without_secrets(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn bucket() -> Bucket {
        Bucket::of(Arc::new(InMemory::new()), "agents/anna", "memory://", Limits::default()).unwrap()
    }

    #[test]
    fn an_object_is_made_once() {
        let bucket = bucket();
        assert_eq!(bucket.create("log/1", b"one".into()).unwrap(), Created::New);
        assert_eq!(bucket.create("log/1", b"two".into()).unwrap(), Created::Exists);
        assert_eq!(bucket.read("log/1").unwrap().unwrap(), b"one");
        assert_eq!(bucket.read_start("log/1", 2).unwrap().unwrap(), b"on");
        assert_eq!(bucket.read_start("log/2", 2).unwrap(), None);
        bucket.put("log/1", b"two".into()).unwrap();
        assert_eq!(bucket.read("log/1").unwrap().unwrap(), b"two");
    }

    #[test]
    fn a_folder_lists_its_own_objects_in_order_and_deletes_them() {
        let bucket = bucket();
        for name in ["log/2", "log/1", "cold/1", "log/deep/3"] {
            bucket.put(name, b"content".into()).unwrap();
        }
        let names = |folder| -> Vec<String> {
            bucket.list(folder).unwrap().into_iter().map(|object| object.name).collect()
        };
        assert_eq!(names("log"), ["1", "2"]);
        bucket.delete(vec!["log/1".into(), "log/never".into()]).unwrap();
        assert_eq!(names("log"), ["2"]);
        assert_eq!(
            bucket.read_all(vec!["log/1".into(), "log/2".into()]).unwrap(),
            [None, Some(b"content".into())]
        );
    }

    #[test]
    fn an_object_that_is_gone_keeps_no_other_from_being_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        let bucket = Bucket::at(&url, Limits::default()).unwrap();
        let names: Vec<String> = (0..40).map(|number| format!("log/{number}")).collect();
        names.iter().for_each(|name| bucket.put(name, b"content".into()).unwrap());
        let never = (0..20).map(|number| format!("log/never-{number}"));
        bucket.delete(never.chain(names).collect()).unwrap();
        assert_eq!(bucket.list("log").unwrap(), []);
    }

    #[test]
    fn requests_and_bytes_are_counted() {
        let bucket = bucket();
        bucket.put("log/1", vec![0; 100]).unwrap();
        bucket.read("log/1").unwrap();
        bucket.list("log").unwrap();
        assert_eq!(bucket.traffic(), Traffic { requests: 3, sent: 100, received: 100 });
    }

    #[test]
    fn a_place_that_is_no_object_storage_is_refused_with_what_would_be_one() {
        for url in ["ftp://host/folder", "folder", "s3:/bucket"] {
            let error = Bucket::at(url, Limits::default()).unwrap_err().to_string();
            assert!(error.contains("s3://bucket/folder") && error.contains(url), "{error}");
        }
    }

    #[test]
    fn a_url_with_credentials_in_it_is_refused_and_not_repeated() {
        for url in ["s3://KEY:secret@bucket/folder", "az://container/folder?sig=secret"] {
            let error = Bucket::at(url, Limits::default()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }
}
