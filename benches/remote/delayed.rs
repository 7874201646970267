//! Object storage behind a network that delays each request. The throttled store of `object_store`
//! cannot wrap files.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Object storage that is a network away.
#[derive(Debug)]
pub(crate) struct Delayed {
    storage: Arc<dyn ObjectStore>,
    each: Duration,
}

impl Delayed {
    pub(crate) fn new(storage: Arc<dyn ObjectStore>, each: Duration) -> Self {
        Self { storage, each }
    }

    async fn wait(&self) {
        wait(self.each).await;
    }

    /// Delays a stream of listed or deleted objects.
    fn after_wait<T: Send + 'static>(
        &self,
        stream: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let each = self.each;
        async move {
            wait(each).await;
            stream
        }
        .flatten_stream()
        .boxed()
    }
}

/// On a thread of its own: tokio's timer wakes to a millisecond, which would make about
/// two of one.
async fn wait(time: Duration) {
    if !time.is_zero() {
        // It fails where the runtime ends, and this with it.
        let _ = tokio::task::spawn_blocking(move || std::thread::sleep(time)).await;
    }
}

impl fmt::Display for Delayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?} away", self.storage, self.each)
    }
}

#[async_trait]
impl ObjectStore for Delayed {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.wait().await;
        self.storage.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.wait().await;
        self.storage.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.wait().await;
        self.storage.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.after_wait(self.storage.delete_stream(paths))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.after_wait(self.storage.list(prefix))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.wait().await;
        self.storage.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.wait().await;
        self.storage.copy_opts(from, to, options).await
    }
}
