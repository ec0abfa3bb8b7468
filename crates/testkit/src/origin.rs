//! An HTTP server whose answers a test writes byte by byte, and that remembers what it was asked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// What it was asked: the bytes of head and body as they came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Request line and fields.
    pub head: String,
    /// The body, in its chunks if it came so.
    pub body: Vec<u8>,
}

/// See the module. It closes each connection after its answer.
pub struct Origin {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    closing: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Asked {
    /// The value of a field; of several, all of them, as a list.
    pub fn field(&self, name: &str) -> Option<String> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let values: Vec<_> =
            fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The target of the request.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn read(tcp: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = read_until(tcp, &mut bytes, |bytes| bytes.windows(4).position(|four| four == b"\r\n\r\n"))? + 4;
        let mut asked = Self { head: String::from_utf8_lossy(&bytes[..end]).into_owned(), body: Vec::new() };
        let mut body = bytes[end..].to_vec();
        if let Some(len) = asked.field("content-length").and_then(|len| len.parse::<usize>().ok()) {
            read_until(tcp, &mut body, |body| (body.len() >= len).then_some(len))?;
        } else if asked.field("transfer-encoding").is_some() {
            let last = |body: &[u8]| body.windows(5).rposition(|five| five == b"0\r\n\r\n" || five == b"\r\n0\r\n");
            read_until(tcp, &mut body, |body| last(body).filter(|_| body.ends_with(b"\r\n\r\n")))?;
        }
        asked.body = body;
        Some(asked)
    }
}

/// Writes answers with these fields and this body.
fn whole(answer: impl Fn(&Asked) -> (String, Vec<u8>)) -> impl Fn(&Asked, &mut TcpStream) {
    move |asked, tcp| {
        let (fields, body) = answer(asked);
        let len = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len}\r\n{fields}\r\n");
        let bytes = if asked.head.starts_with("HEAD ") { head.into_bytes() } else { [head.as_bytes(), &body].concat() };
        // Who is gone needs no answer.
        let _ = tcp.write_all(&bytes);
    }
}

fn read_until(tcp: &mut TcpStream, bytes: &mut Vec<u8>, found: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(at) = found(bytes) {
            return Some(at);
        }
        match tcp.read(&mut buffer) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}

impl Origin {
    /// One that answers with what `answer` writes.
    ///
    /// # Panics
    /// If there is no port for it.
    pub fn writing(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::over(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// One on a listener of another network, which answers with these fields and this body for as long as the process lives.
    ///
    /// # Panics
    /// If the listener has no address.
    pub fn listening(
        listener: TcpListener,
        answer: impl Fn(&Asked) -> (String, Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let mut origin = Self::over(listener, whole(answer));
        // From here nobody can wake it up.
        origin.listening = None;
        origin
    }

    fn over(listener: TcpListener, answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let (asked, closing) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(AtomicBool::new(false)));
        let (noted, closed, answer) = (Arc::clone(&asked), Arc::clone(&closing), Arc::new(answer));
        let listening = thread::spawn(move || {
            for tcp in listener.incoming() {
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(mut tcp) = tcp else { continue };
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                thread::spawn(move || {
                    let Some(asked) = Asked::read(&mut tcp) else { return };
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
                    answer(&asked, &mut tcp);
                });
            }
        });
        Self { address, asked, closing, listening: Some(listening) }
    }

    /// One that answers with these fields and this body.
    pub fn answering(answer: impl Fn(&Asked) -> (String, Vec<u8>) + Send + Sync + 'static) -> Self {
        Self::writing(whole(answer))
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked up to now.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops listening: connections are refused from now on.
    ///
    /// # Panics
    /// If its thread did.
    pub fn close(&mut self) {
        if let Some(listening) = self.listening.take() {
            self.closing.store(true, Ordering::SeqCst);
            drop(TcpStream::connect(self.address));
            listening.join().unwrap();
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.close();
    }
}
