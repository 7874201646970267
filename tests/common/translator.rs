//! Turns uploads through the XML interface of Google Cloud Storage, which the engine uses, into uploads
//! through its JSON interface, because fake-gcs-server knows conditions only there. Other requests and
//! all answers pass unchanged, but for an `ETag` that fake-gcs-server leaves out.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Separates the parts of an upload. No content contains it.
const BOUNDARY: &str = "b4ac7f1d-0e5a-4a0c-9d63-2f1f6f0a3c58";

/// Starts a translator before the server at `server`, and returns its port.
pub(super) fn start(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // If a client ends within a request, nothing is forwarded.
            std::thread::spawn(move || forward(client, server));
        }
    });
    port
}

/// Forwards one request and its answer. Then the connection ends.
fn forward(mut client: TcpStream, server: u16) -> io::Result<()> {
    let mut request = Request::read(&mut client)?;
    let is_upload = request.method == "PUT";
    if is_upload {
        request = request.into_json();
    }
    let mut server = TcpStream::connect(("127.0.0.1", server))?;
    server.write_all(&request.encode())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if is_upload {
        let line = answer.windows(2).position(|two| two == b"\r\n").ok_or(io::ErrorKind::InvalidData)?;
        answer.splice(line..line, *b"\r\nETag: \"0\"");
    }
    client.write_all(&answer)
}

struct Request {
    method: String,
    /// The path with the query.
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(from: &mut TcpStream) -> io::Result<Self> {
        let (mut bytes, mut more) = (Vec::new(), [0; 64 << 10]);
        let mut fill = |bytes: &mut Vec<u8>| match from.read(&mut more)? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            count => {
                bytes.extend_from_slice(&more[..count]);
                Ok(())
            }
        };
        let end = loop {
            match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end,
                None => fill(&mut bytes)?,
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let mut start = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, path) = (start.next().unwrap_or_default(), start.next().unwrap_or_default());
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers = lines.filter_map(header).collect();
        let mut request = Self { method, path, headers, body: bytes.split_off(end + 4) };
        let length = request.remove("content-length").map_or(0, |length| length.parse().unwrap());
        while request.body.len() < length {
            fill(&mut request.body)?;
        }
        Ok(request)
    }

    fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.headers.iter().position(|(other, _)| other == name)?;
        Some(self.headers.swap_remove(at).1)
    }

    /// The same upload through the other interface.
    fn into_json(mut self) -> Self {
        let (bucket, name) = self.path.trim_start_matches('/').split_once('/').unwrap();
        let condition = self.headers.iter().find(|(name, _)| name == "x-goog-if-generation-match");
        let condition = condition.map_or(String::new(), |(_, value)| format!("&ifGenerationMatch={value}"));
        let path = format!("/upload/storage/v1/b/{bucket}/o?uploadType=multipart&name={name}{condition}");
        let mut body = format!(
            "--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n\
             --{BOUNDARY}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.append(&mut self.body);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        self.remove("content-type");
        self.headers.push(("content-type".into(), format!("multipart/related; boundary={BOUNDARY}")));
        Self { method: "POST".into(), path, headers: self.headers, body }
    }

    fn encode(mut self) -> Vec<u8> {
        self.remove("connection");
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            bytes += &format!("{name}: {value}\r\n");
        }
        bytes += &format!("connection: close\r\ncontent-length: {}\r\n\r\n", self.body.len());
        [bytes.into_bytes(), self.body].concat()
    }
}
