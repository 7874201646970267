//! A network that can be slow, silent or cut.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Forwards bytes to a server and back.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    network: Arc<Network>,
}

#[derive(Default)]
struct Network {
    /// Connections are refused.
    down: AtomicBool,
    /// Nothing is forwarded, but connections stay open.
    silent: AtomicBool,
    /// Requests arrive, and their answers are lost.
    deaf: AtomicBool,
    /// The delay of everything that is forwarded, in microseconds.
    delay: AtomicU64,
    /// Bytes of answers that are still forwarded before all connections are cut; negative for no
    /// limit.
    answers: AtomicI64,
    /// Whether connections are refused after that.
    stay: AtomicBool,
    /// Requests that followed an answer, and whether an answer came since the last request.
    trips: AtomicU64,
    answered: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts a proxy before a server.
    pub(crate) fn start(host: &str, port: u16) -> Self {
        let server = (host.to_owned(), port);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(Network { answers: AtomicI64::new(-1), ..Network::default() });
        let passing = network.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect((server.0.as_str(), server.1)) else { continue };
                if passing.down.load(Ordering::SeqCst) {
                    continue;
                }
                [&client, &server].iter().for_each(|end| end.set_nodelay(true).unwrap());
                let mut open = passing.open.lock().unwrap();
                open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                drop(open);
                let ends = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
                for (answers, (from, to)) in ends.into_iter().enumerate() {
                    let network = passing.clone();
                    std::thread::spawn(move || network.pass(from, to, answers == 1));
                }
            }
        });
        Self { port, network }
    }

    /// Cuts all connections and refuses new ones, or accepts them again.
    pub(crate) fn down(&self, down: bool) {
        self.network.down.store(down, Ordering::SeqCst);
        if down {
            self.network.cut();
        }
    }

    /// Delays all traffic if `silent`. Otherwise forwards it, including the delayed traffic.
    pub(crate) fn silent(&self, silent: bool) {
        self.network.silent.store(silent, Ordering::SeqCst);
    }

    /// Forwards requests and loses the answers, or forwards both.
    pub(crate) fn lose_answers(&self, lost: bool) {
        self.network.deaf.store(lost, Ordering::SeqCst);
    }

    /// Sets the delay.
    pub(crate) fn delay(&self, delay: Duration) {
        self.network.delay.store(delay.as_micros() as u64, Ordering::SeqCst);
    }

    /// Cuts all connections, once, after this many more bytes of answers.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.network.answers.store(bytes, Ordering::SeqCst);
    }

    /// Sets whether connections are refused after such a cut.
    pub(crate) fn stay_cut(&self, stay: bool) {
        self.network.stay.store(stay, Ordering::SeqCst);
    }

    /// Returns the round trips of all connections so far, except for the first. Requests before an
    /// answer has come back belong to one round trip. If the [delay](Proxy::delay) is longer than
    /// it takes to send a request, the order is certain.
    pub(crate) fn trips(&self) -> u64 {
        self.network.trips.load(Ordering::SeqCst)
    }
}

impl Network {
    fn cut(&self) {
        for end in self.open.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Reads input at once, and lets [`Network::deliver`] forward it. Bytes that travel together
    /// take the delay once.
    fn pass(self: &Arc<Self>, mut from: TcpStream, to: TcpStream, answers: bool) {
        let (pieces, coming) = mpsc::channel::<(Instant, Vec<u8>)>();
        let network = self.clone();
        std::thread::spawn(move || network.deliver(&coming, to, answers));
        let mut bytes = [0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !answers && self.answered.swap(false, Ordering::SeqCst) {
                self.trips.fetch_add(1, Ordering::SeqCst);
            }
            let due = Instant::now() + Duration::from_micros(self.delay.load(Ordering::SeqCst));
            if pieces.send((due, bytes[..count].to_vec())).is_err() {
                break;
            }
        }
    }

    fn deliver(&self, coming: &mpsc::Receiver<(Instant, Vec<u8>)>, mut to: TcpStream, answers: bool) {
        for (due, bytes) in coming {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            while self.silent.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            if answers && self.deaf.load(Ordering::SeqCst) {
                continue;
            }
            if answers && self.answers.load(Ordering::SeqCst) >= 0 {
                let count = bytes.len() as i64;
                let left = self.answers.fetch_sub(count, Ordering::SeqCst) - count;
                if left < 0 {
                    self.answers.store(-1, Ordering::SeqCst);
                    self.down.fetch_or(self.stay.load(Ordering::SeqCst), Ordering::SeqCst);
                    let _ = to.write_all(&bytes[..(count + left).max(0) as usize]);
                    return self.cut();
                }
            }
            // Set before the receiver of the answer can ask again.
            self.answered.fetch_or(answers, Ordering::SeqCst);
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}
