//! An object store whose answers can be late, lost or refused. Its objects are in memory, or in a
//! server.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use mnemocore::{Bucket, RemoteLimits};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::servers::{Kind, Server, wait};

/// Short limits, so that calls fail soon.
pub(crate) const LIMITS: RemoteLimits =
    RemoteLimits { call: Duration::from_secs(5), attempts: 3, pause: Duration::from_millis(1) };

/// The size of a piece of a content, in bytes.
const PIECE: usize = 256 << 10;

/// An action of another machine.
type Meanwhile = Box<dyn FnOnce() + Send>;

thread_local! {
    /// Where the objects of the current test are, if not in memory.
    static SERVER: Cell<Option<&'static Server>> = const { Cell::new(None) };
}

/// Runs a test with its objects in a server, unless that is to be skipped.
pub(crate) fn run_on(kind: Kind, test: fn()) {
    let Some(server) = Server::shared(kind) else { return };
    // On a thread of its own, so that no other test finds the server there.
    let run = std::thread::spawn(move || {
        SERVER.set(Some(server));
        test();
    });
    if let Err(panic) = run.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The server of the current test.
pub(crate) fn server() -> &'static Server {
    SERVER.get().expect("a test that runs on servers only")
}

/// The number of sequences that a test tries, which is small on a server in a short run.
pub(crate) fn sequences() -> u32 {
    match (SERVER.get(), std::env::var("MNEMO_SEQUENCES")) {
        (Some(_), Ok(count)) => count.parse().unwrap(),
        (Some(_), Err(_)) => 2,
        (None, _) => 24,
    }
}

/// Makes tests that run the functions on each server. Their names are `azurite::the_function`, for
/// example.
macro_rules! on_every_server {
    ($($test:ident),* $(,)?) => {
        on_every_server!(@moto Moto $($test)*);
        on_every_server!(@seaweedfs Seaweedfs $($test)*);
        on_every_server!(@azurite Azurite $($test)*);
        on_every_server!(@gcs Gcs $($test)*);
    };
    (@$server:ident $kind:ident $($test:ident)*) => {
        mod $server {
            $(
                #[test]
                fn $test() {
                    crate::faulty::run_on(crate::servers::Kind::$kind, super::$test);
                }
            )*
        }
    };
}
pub(crate) use on_every_server;

/// Objects that several machines share, and the faults of the network to them.
pub(crate) struct Faulty {
    objects: Arc<dyn ObjectStore>,
    random: Mutex<Rng>,
    /// Percentages of requests that are lost, and of requests whose answers are lost.
    lost: AtomicU8,
    unanswered: AtomicU8,
    away: AtomicBool,
    /// Whether every request is forbidden.
    forbidden: AtomicBool,
    /// Whether the next conditional creation is refused, because of an earlier request for it that
    /// is still on its way.
    conflict: AtomicBool,
    /// Whether conditional creations overwrite existing objects.
    unconditional: AtomicBool,
    /// The delay of each request, and of each piece of a content.
    late: Mutex<Duration>,
    piece: Mutex<Duration>,
    /// Runs between the first and the second half of the names of the next listing.
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Faulty {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let in_memory = || Arc::new(InMemory::new()) as Arc<dyn ObjectStore>;
        Arc::new(Self {
            objects: SERVER.get().map_or_else(in_memory, Server::store),
            random: Mutex::new(Rng::with_seed(seed)),
            lost: AtomicU8::new(0),
            unanswered: AtomicU8::new(0),
            away: AtomicBool::new(false),
            forbidden: AtomicBool::new(false),
            conflict: AtomicBool::new(false),
            unconditional: AtomicBool::new(false),
            late: Mutex::new(Duration::ZERO),
            piece: Mutex::new(Duration::ZERO),
            meanwhile: Mutex::new(None),
        })
    }

    pub(crate) fn bucket(self: &Arc<Self>, limits: RemoteLimits) -> Bucket {
        Bucket::of(self.clone(), "agents/anna", "test://agents/anna", limits).unwrap()
    }

    /// Sets the percentages of lost requests and of lost answers.
    pub(crate) fn lose(&self, requests: u8, answers: u8) {
        self.lost.store(requests, Ordering::SeqCst);
        self.unanswered.store(answers, Ordering::SeqCst);
    }

    /// Sets whether every request is lost.
    pub(crate) fn away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// Sets whether every request is forbidden.
    pub(crate) fn forbid(&self, forbidden: bool) {
        self.forbidden.store(forbidden, Ordering::SeqCst);
    }

    /// Refuses the next conditional creation, as if an earlier request for it were still on its
    /// way.
    pub(crate) fn conflict(&self) {
        self.conflict.store(true, Ordering::SeqCst);
    }

    /// Lets conditional creations overwrite existing objects.
    pub(crate) fn take_any(&self) {
        self.unconditional.store(true, Ordering::SeqCst);
    }

    /// Sets the delay of each request.
    pub(crate) fn late(&self, request: Duration) {
        *self.late.lock().unwrap() = request;
    }

    /// Sets the delay of each further 256 KiB of a content.
    pub(crate) fn slow(&self, piece: Duration) {
        *self.piece.lock().unwrap() = piece;
    }

    /// Runs `others` when the next listing is half done.
    pub(crate) fn meanwhile(&self, others: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(others));
    }

    /// All objects with their contents, sorted by name.
    pub(crate) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        wait(async {
            let mut found = Vec::new();
            for object in self.objects.list(None).try_collect::<Vec<_>>().await.unwrap() {
                let path = object.location;
                let answer = self.objects.get_opts(&path, GetOptions::default()).await.unwrap();
                found.push((path.to_string(), answer.bytes().await.unwrap().to_vec()));
            }
            found.sort();
            found
        })
    }

    pub(crate) fn overwrite(&self, name: &str, content: Option<Vec<u8>>) {
        let path = Path::from(name);
        let write = async {
            match content {
                Some(content) => {
                    self.objects.put_opts(&path, content.into(), PutOptions::default()).await.map(drop)
                }
                None => {
                    let paths = futures_util::stream::iter([Ok(path)]).boxed();
                    self.objects.delete_stream(paths).collect::<Vec<_>>().await;
                    Ok(())
                }
            }
        };
        wait(write).unwrap();
    }

    fn pause(&self) -> Duration {
        *self.piece.lock().unwrap()
    }

    fn chance(&self, percent: &AtomicU8) -> bool {
        self.random.lock().unwrap().u8(0..100) < percent.load(Ordering::SeqCst)
    }

    fn ask(&self) -> Result<()> {
        if self.forbidden.load(Ordering::SeqCst) {
            return Err(Error::PermissionDenied {
                path: "there".into(),
                source: "a role has expired".into(),
            });
        }
        if self.away.load(Ordering::SeqCst) || self.chance(&self.lost) { Err(broken()) } else { Ok(()) }
    }

    fn answer<T>(&self, answer: Result<T>) -> Result<T> {
        if self.chance(&self.unanswered) { Err(broken()) } else { answer }
    }
}

fn broken() -> Error {
    Error::Generic { store: "test", source: "the connection broke".into() }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects in memory")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        self.ask()?;
        if self.unconditional.load(Ordering::SeqCst) {
            options.mode = PutMode::Overwrite;
        }
        let late = *self.late.lock().unwrap();
        tokio::time::sleep(late).await;
        if options.mode == PutMode::Create && self.conflict.swap(false, Ordering::SeqCst) {
            return Err(Error::AlreadyExists { path: path.to_string(), source: "in a moment".into() });
        }
        tokio::time::sleep(self.pause() * (payload.content_length() / PIECE) as u32).await;
        self.answer(self.objects.put_opts(path, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask()?;
        let late = *self.late.lock().unwrap();
        tokio::time::sleep(late).await;
        let answer = self.objects.get_opts(path, options).await?;
        let (meta, range, attributes) =
            (answer.meta.clone(), answer.range.clone(), answer.attributes.clone());
        let (content, pause) = (answer.bytes().await?, self.pause());
        let pieces: Vec<_> = (0..content.len())
            .step_by(PIECE)
            .map(|from| content.slice(from..content.len().min(from + PIECE)))
            .collect();
        let slowly = futures_util::stream::iter(pieces).then(move |piece| async move {
            tokio::time::sleep(pause * (piece.len() / PIECE) as u32).await;
            Ok(piece)
        });
        let payload = GetResultPayload::Stream(slowly.boxed());
        self.answer(Ok(GetResult { payload, meta, range, attributes, extensions: Extensions::default() }))
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if let Err(error) = self.ask() {
            return futures_util::stream::iter([Err(error)]).boxed();
        }
        self.objects.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if let Err(error) = self.ask() {
            return futures_util::stream::iter([Err(error)]).boxed();
        }
        let (objects, prefix) = (self.objects.clone(), prefix.cloned());
        let (others, late) = (self.meanwhile.lock().unwrap().take(), *self.late.lock().unwrap());
        let listed = async move {
            tokio::time::sleep(late).await;
            let Some(others) = others else { return objects.list(prefix.as_ref()) };
            let list = || objects.list(prefix.as_ref()).try_collect::<Vec<_>>();
            let mut listed = list().await.unwrap();
            listed.truncate(listed.len() / 2);
            tokio::task::spawn_blocking(others).await.unwrap();
            let last = listed.last().unwrap().location.clone();
            listed.extend(list().await.unwrap().into_iter().filter(|object| object.location > last));
            futures_util::stream::iter(listed).map(Ok).boxed()
        };
        listed.flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
