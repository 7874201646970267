//! A server that speaks S3, on this machine: moto, from PyPI.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mnemocore::{Bucket, RemoteLimits};

const BUCKET: &str = "memories";

/// A running server, which ends with its parent process.
pub(crate) struct S3 {
    child: Child,
    port: u16,
}

impl S3 {
    /// Starts a server; `None` if it is to be skipped.
    ///
    /// # Panics
    /// If there is none, so that a skipped test is not taken for a passed one.
    pub(crate) fn start() -> Option<Self> {
        if crate::common::skips("s3") {
            return None;
        }
        let program = std::env::var("MNEMO_MOTO").unwrap_or_else(|_| "moto_server".into());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Its input ends with this process, however that ends.
        let script = "\"$0\" -H 127.0.0.1 -p \"$1\" >/dev/null 2>&1 & read -r _; kill $!";
        let found = Command::new(&program).arg("--help").output().is_ok_and(|run| run.status.success());
        assert!(
            found,
            "no {program} found: pip install 'moto[s3,server]==5.2.5', and name it in MNEMO_MOTO if it is not in PATH; \
             or leave these tests out with MNEMO_SKIP=s3"
        );
        let child = Command::new("sh")
            .args(["-c", script, &program, &port.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let server = Self { child, port };
        server.make_bucket();
        Some(server)
    }

    fn make_bucket(&self) {
        let request = format!(
            "PUT /{BUCKET} HTTP/1.0\r\nHost: s3.us-east-1.amazonaws.com\r\nContent-Length: 0\r\n\r\n"
        );
        let asked = Instant::now();
        loop {
            let answer = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
                stream.write_all(request.as_bytes())?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).map(|_| answer)
            });
            match answer {
                Ok(answer) if answer.contains(" 200 ") => return,
                other => {
                    assert!(asked.elapsed() < Duration::from_secs(60), "the server does not start: {other:?}")
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the environment variables of a process that uses it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables: Vec<(&str, String)> = [
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ALLOW_HTTP", "true"),
        ]
        .map(|(name, value)| (name, value.into()))
        .into();
        variables.push(("AWS_ENDPOINT", self.endpoint()));
        variables
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URL of a folder in its bucket.
    pub(crate) fn url(&self, folder: &str) -> String {
        format!("s3://{BUCKET}/{folder}")
    }

    /// The same folder, without an environment.
    pub(crate) fn bucket(&self, folder: &str) -> Bucket {
        let variables = self.variables();
        let settings: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Bucket::with(&self.url(folder), &settings, RemoteLimits::default()).unwrap()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
