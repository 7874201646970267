//! A system that misbehaves as the file `behaviour` in its folder says.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use mnemobench::compare::MemorySystem;
use mnemobench::compare::bm25::Bm25System;
use mnemobench::compare::protocol::{Hello, Hit, Refusal};
use mnemobench::compare::serve::serve;

/// The shell command that runs this executable as the stub, by the ignored test below. The stub
/// writes to descriptor 3, apart from the output of the test runner.
pub const COMMAND: &str =
    r#"exec "$0" --ignored --exact stub::be_a_system --nocapture --quiet 3>&1 >/dev/null"#;

struct Stub {
    behaviour: String,
    inner: Bm25System,
    server: Option<(Child, TcpListener)>,
}

impl Stub {
    fn is(&self, word: &str) -> bool {
        self.behaviour.split_whitespace().any(|own| own == word)
    }

    /// Hangs, exits or refuses in an operation, if the behavior says so.
    fn misbehave(&self, operation: &str) -> Result<(), Refusal> {
        if self.is(&format!("hang={operation}")) {
            sleep(Duration::from_secs(1_000));
        }
        if self.is(&format!("die={operation}")) {
            eprintln!("out of order");
            std::process::exit(3);
        }
        if self.is(&format!("refuse={operation}")) {
            return Err(std::io::Error::other("not today").into());
        }
        Ok(())
    }
}

impl MemorySystem for Stub {
    fn hello(&self) -> Hello {
        let mut hello = Hello { embedder: self.is("embeds"), ..self.inner.hello() };
        if self.is("version") {
            hello.protocol = 2;
        }
        if self.is("single") {
            hello.clients = 1;
        }
        hello.capabilities.retain(|capability| !self.is(&format!("without={capability}")));
        hello
    }

    fn open(&mut self, folder: &Path, memories: usize) -> Result<(), Refusal> {
        let own = std::env::current_dir()?;
        let name = own.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = |file: &str, text: String| -> Result<(), Refusal> {
            let mut file = OpenOptions::new().create(true).append(true).open(own.join("../..").join(file))?;
            Ok(file.write_all(text.as_bytes())?)
        };
        log("opened", format!("{name}\n"))?;
        if self.is("server") {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            // In a separate session, as servers are.
            let child = Command::new("setsid").args(["sleep", "1000"]).spawn()?;
            log("servers", format!("{} {}\n", child.id(), listener.local_addr()?.port()))?;
            self.server = Some((child, listener));
        }
        self.inner.open(folder, memories)
    }

    fn store(&self, key: &str, text: &str, time: Option<i64>) -> Result<(), Refusal> {
        self.misbehave("store")?;
        self.inner.store(key, text, time)
    }

    fn recall(&self, query: &str, k: usize) -> Result<Vec<Hit>, Refusal> {
        self.misbehave("recall")?;
        if self.is("slow") {
            sleep(Duration::from_millis(50));
        }
        // Delays every second answer, so that later ones overtake it.
        if self.is("overtakes") && query.len().is_multiple_of(2) {
            sleep(Duration::from_millis(5));
        }
        if self.is("nothing") {
            return Ok(Vec::new());
        }
        let mut hits = self.inner.recall(query, k)?;
        if self.is("foreign") {
            hits.truncate(k - 1);
            hits.push(Hit { text: Some("nobody said that".into()), ..Hit::default() });
        }
        Ok(hits)
    }

    fn forget(&self, key: &str) -> Result<bool, Refusal> {
        self.misbehave("forget")?;
        // Claims to have forgotten the memory but keeps it.
        if self.is("keeps") { Ok(true) } else { self.inner.forget(key) }
    }

    fn memories(&self) -> Option<u64> {
        self.inner.memories()
    }

    fn close(&mut self) -> Result<(), Refusal> {
        self.inner.close()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.server {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

#[test]
#[ignore = "a program for the others, which speaks until its input ends"]
fn be_a_system() {
    // Does nothing if somebody runs all ignored tests.
    let Ok(behaviour) = fs::read_to_string("behaviour") else { return };
    let mut output = File::options().write(true).open("/dev/fd/3").unwrap();
    let stub = Stub { behaviour, inner: Bm25System::default(), server: None };
    if stub.is("garbage") {
        output.write_all(b"Traceback (most recent call last):\n").unwrap();
    }
    serve(Box::new(stub), BufReader::new(std::io::stdin()), output).unwrap();
}
