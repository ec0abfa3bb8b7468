//! A client that sees every byte of an answer, and sends whatever it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer takes longer unless the server hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects to a server.
///
/// # Panics
/// If it does not listen.
pub fn connect(to: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(to).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp
}

/// Sends bytes, and reads all that comes until the connection ends.
///
/// # Panics
/// If the connection breaks, or does not end in time.
pub fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = connect(to);
    tcp.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    answer
}

/// Sends a request on a connection of its own; headers as whole lines.
///
/// # Panics
/// If what comes back is no answer.
pub fn request(to: SocketAddr, method: &str, host: &str, target: &str, headers: &[&str]) -> Reply {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    Reply::parse(&exchange(to, request.as_bytes()), method == "HEAD")
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status code.
    pub status: u16,
    /// Its headers in their order, names as they were sent.
    pub headers: Vec<(String, String)>,
    /// Its body, out of its chunks.
    pub body: Vec<u8>,
    /// Whether the body ended as its head announced.
    pub complete: bool,
}

impl Reply {
    /// Reads the bytes of an answer; `head` says that it answers HEAD.
    ///
    /// # Panics
    /// If they are none.
    pub fn parse(bytes: &[u8], head: bool) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let text = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers =
            lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let mut reply = Self { status, headers, body: bytes[end + 4..].to_vec(), complete: true };
        if reply.header("transfer-encoding") == Some("chunked") && !head {
            (reply.body, reply.complete) = unchunk(&reply.body);
        } else if let (Some(len), false) = (reply.header("content-length"), head || status == 304) {
            reply.complete = len.parse::<usize>().unwrap() == reply.body.len();
        }
        reply
    }

    /// The value of a header.
    ///
    /// # Panics
    /// If it comes twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} comes twice");
        value
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let len = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if len == 0 {
            return (body, true);
        }
        let Some(chunk) = bytes.get(end + 2..end + 2 + len) else { break };
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 4 + len..).unwrap_or_default();
    }
    (body, false)
}
