//! Servers of object storage that others maintain, running on this machine.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "translator.rs"]
mod translator;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use mnemocore::{Bucket, RemoteLimits};
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};

/// The bucket or container of all tests.
const BUCKET: &str = "memories";

/// The account that Azurite has from the start, with its published key.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The right to create containers in that account, signed with that key.
const ACCOUNT_TOKEN: &str = "sv=2022-11-02&ss=b&srt=sco&sp=rwdlac&se=2126-01-01T00%3A00%3A00Z\
                             &sig=v6P8GyYtZunjaIjpOiWuh1LHNVr%2BQ4ntskVC7H%2BtDOU%3D";

/// The users of SeaweedFS. Without a list of users, it checks no signature.
const USERS: &str = r#"{"identities": [{"name": "tests", "actions": ["Admin"],
    "credentials": [{"accessKey": "key", "secretKey": "secret"}]}]}"#;

/// A user of fake-gcs-server, which checks no credentials. Clients ask nobody for a token.
const SERVICE_ACCOUNT: &str = r#"{"private_key": "secret", "private_key_id": "tests", "client_email": "tests",
    "disable_oauth": true}"#;

/// Ports that a server uses at most.
const PORTS: usize = 8;

/// Runs a server in a folder until its own input ends, which the end of this process causes, however
/// that ends. Then removes the folder.
const GUARD: &str = r#"
    cd "$0" || exit
    "$@" >log 2>&1 &
    read -r _
    kill -KILL $!
    wait
    rm -rf "$0"
"#;

/// A program that serves object storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// moto, which imitates S3.
    Moto,
    /// SeaweedFS, a distributed store with an S3 gateway.
    Seaweedfs,
    /// Azurite, Microsoft's emulator of Azure.
    Azurite,
    /// fake-gcs-server, which imitates Google Cloud Storage, behind a translator.
    Gcs,
}

impl Kind {
    /// Its name in `MNEMO_SKIP`.
    fn name(self) -> &'static str {
        match self {
            Self::Moto => "moto",
            Self::Seaweedfs => "seaweedfs",
            Self::Azurite => "azurite",
            Self::Gcs => "gcs",
        }
    }

    /// The path of its program; `None` if the tests are to do without it.
    ///
    /// # Panics
    /// If there is no moto, so that a skipped test is not taken for a passed one.
    fn program(self) -> Option<String> {
        if crate::common::skips(self.name()) {
            return None;
        }
        let variable = format!("MNEMO_{}", self.name().to_uppercase());
        let program = match std::env::var(&variable) {
            Ok(program) => program,
            Err(_) if self == Self::Moto => "moto_server".into(),
            Err(_) => {
                crate::common::tell(&format!("left out: {variable} names no program"));
                return None;
            }
        };
        let found = Command::new(&program).arg("--help").output().is_ok();
        assert!(
            found,
            "{program} does not run: install it as CONTRIBUTING.md says, and name it in {variable}; or leave \
             its tests out with MNEMO_SKIP={}",
            self.name()
        );
        Some(program)
    }

    /// The arguments of its program. It serves objects at the first port.
    fn arguments(self, ports: &[u16; PORTS]) -> Vec<String> {
        let line = match self {
            Self::Moto => "-H 127.0.0.1 -p {0}",
            Self::Seaweedfs => {
                "server -dir=. -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false -volume.max=0 \
                 -master.volumeSizeLimitMB=64 -s3 -s3.config=users.json -s3.iam=false -s3.port.iceberg=0 \
                 -s3.port.lance=0 -s3.port={0} -s3.port.grpc={1} -master.port={2} -master.port.grpc={3} \
                 -volume.port={4} -volume.port.grpc={5} -filer.port={6} -filer.port.grpc={7}"
            }
            Self::Azurite => {
                "--blobHost 127.0.0.1 --blobPort {0} --inMemoryPersistence --disableTelemetry --silent \
                 --skipApiVersionCheck"
            }
            Self::Gcs => {
                "-scheme http -host 127.0.0.1 -port {0} -public-host 127.0.0.1 -backend memory \
                 -log-level error"
            }
        };
        let with = |line: String, at: usize| line.replace(&format!("{{{at}}}"), &ports[at].to_string());
        (0..PORTS).fold(line.to_owned(), with).split_whitespace().map(str::to_owned).collect()
    }
}

/// A running server, which ends with this process.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    guard: Child,
    /// The port at which its clients find it.
    pub(crate) port: u16,
    /// The port of the program itself.
    pub(crate) own_port: u16,
}

impl Server {
    /// The server that is shared by the tests that do not stop it; `None` if it is to be skipped.
    pub(crate) fn shared(kind: Kind) -> Option<&'static Self> {
        static SHARED: [OnceLock<Option<Server>>; 4] = [const { OnceLock::new() }; 4];
        SHARED[kind as usize].get_or_init(|| Self::start(kind)).as_ref()
    }

    /// Starts a new server; `None` if it is to be skipped.
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        let program = kind.program()?;
        let folder = tempfile::Builder::new().prefix("mnemo-server").tempdir().unwrap().keep();
        std::fs::write(folder.join("users.json"), USERS).unwrap();
        let ports = free_ports();
        let guard = Command::new("sh")
            .args(["-c", GUARD])
            .arg(&folder)
            .arg(program)
            .args(kind.arguments(&ports))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let port = if kind == Kind::Gcs { translator::start(ports[0]) } else { ports[0] };
        let server = Self { kind, guard, port, own_port: ports[0] };
        server.make_bucket(&folder.join("log"));
        Some(server)
    }

    /// Waits until it answers, and makes the bucket.
    fn make_bucket(&self, log: &Path) {
        let asked = Instant::now();
        while let Err(error) = self.ask_for_bucket() {
            let log = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(asked.elapsed() < Duration::from_secs(60), "it does not start: {error}\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask_for_bucket(&self) -> Result<(), String> {
        let (start, host, body) = match self.kind {
            // It makes the bucket of the first object.
            Kind::Seaweedfs => {
                let written = async { self.store().put(&"first".into(), "object".into()).await };
                return wait(written).map(drop).map_err(|error| error.to_string());
            }
            Kind::Moto => (format!("PUT /{BUCKET}"), "s3.us-east-1.amazonaws.com", String::new()),
            Kind::Azurite => {
                let path = format!("/{ACCOUNT}/{BUCKET}?restype=container&{ACCOUNT_TOKEN}");
                (format!("PUT {path}"), "127.0.0.1", String::new())
            }
            Kind::Gcs => {
                let path = "/storage/v1/b?project=tests";
                (format!("POST {path}"), "127.0.0.1", format!("{{\"name\": \"{BUCKET}\"}}"))
            }
        };
        let length = body.len();
        let request = format!("{start} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}");
        let mut answer = String::new();
        let asked = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            stream.read_to_string(&mut answer)
        });
        asked.map_err(|error| error.to_string())?;
        if answer.contains(" 200 ") || answer.contains(" 201 ") { Ok(()) } else { Err(answer) }
    }

    /// The environment variables of a process that uses it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        self.variables_at(self.port)
    }

    /// As [`Server::variables`], for a process that finds it at another port.
    fn variables_at(&self, port: u16) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://127.0.0.1:{port}");
        let (endpoint, others) = match self.kind {
            Kind::Moto | Kind::Seaweedfs => (
                ("AWS_ENDPOINT", endpoint),
                [
                    ("AWS_ACCESS_KEY_ID", "key"),
                    ("AWS_SECRET_ACCESS_KEY", "secret"),
                    ("AWS_REGION", "us-east-1"),
                    ("AWS_ALLOW_HTTP", "true"),
                ]
                .as_slice(),
            ),
            Kind::Azurite => (
                ("AZURE_STORAGE_ENDPOINT", format!("{endpoint}/{ACCOUNT}")),
                [
                    ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
                    ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY),
                    ("AZURE_ALLOW_HTTP", "true"),
                ]
                .as_slice(),
            ),
            Kind::Gcs => (
                ("GOOGLE_BASE_URL", endpoint),
                [("GOOGLE_SERVICE_ACCOUNT_KEY", SERVICE_ACCOUNT), ("GOOGLE_ALLOW_HTTP", "true")].as_slice(),
            ),
        };
        let others = others.iter().map(|(name, value)| (*name, (*value).to_owned()));
        [endpoint].into_iter().chain(others).collect()
    }

    /// The URL of a folder in its bucket.
    pub(crate) fn url(&self, folder: &str) -> String {
        let scheme = match self.kind {
            Kind::Moto | Kind::Seaweedfs => "s3",
            Kind::Azurite => "az",
            Kind::Gcs => "gs",
        };
        format!("{scheme}://{BUCKET}/{folder}")
    }

    /// The same folder, without an environment.
    pub(crate) fn bucket(&self, folder: &str) -> Bucket {
        self.bucket_at(self.port, folder, &[], RemoteLimits::default())
    }

    /// The same folder through another port, with further settings.
    pub(crate) fn bucket_at(
        &self,
        port: u16,
        folder: &str,
        more: &[(&str, &str)],
        limits: RemoteLimits,
    ) -> Bucket {
        let variables = self.variables_at(port);
        let own = variables.iter().map(|(name, value)| (*name, value.as_str()));
        let settings: Vec<(&str, &str)> = own.chain(more.iter().copied()).collect();
        Bucket::with(&self.url(folder), &settings, limits).unwrap()
    }

    /// A bucket or container that is not there.
    pub(crate) fn missing(&self, limits: RemoteLimits) -> Bucket {
        let variables = self.variables();
        let settings: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Bucket::with(&self.url("").replace(BUCKET, "missing"), &settings, limits).unwrap()
    }

    /// A new folder in its bucket.
    pub(crate) fn new_folder(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        format!("folder-{}", NUMBER.fetch_add(1, Ordering::SeqCst))
    }

    /// The objects of a new folder.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        let all = self.bucket("").storage().0.clone();
        Arc::new(PrefixStore::new(all, self.new_folder()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Runs `work` to its end. Connections that it leaves open serve later work.
pub(crate) fn wait<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    });
    RUNTIME.block_on(work)
}

fn free_ports() -> [u16; PORTS] {
    let taken = [(); PORTS].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    taken.map(|listener| listener.local_addr().unwrap().port())
}
