//! A server that reads HTTP/1.1 as strictly as it can be read, and remembers each message or what is in doubt about it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What came of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A head is there; its target.
    Head(String),
    /// One message that can be read in one way only.
    Message(Message),
    /// A message that did not end before its connection did.
    Cut,
    /// Bytes that some server might read otherwise, and why.
    Doubt(&'static str, String),
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) method: String,
    pub(super) target: String,
    /// Names in lower case.
    pub(super) fields: Vec<(String, String)>,
    /// Out of its chunks.
    pub(super) body: String,
    pub(super) trailers: Vec<(String, String)>,
}

/// See the module. It answers every message, and keeps connections.
pub(super) struct Witness {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Witness {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let noted = Arc::clone(&seen);
        // Ends with the process.
        thread::spawn(move || {
            for tcp in listener.incoming() {
                let noted = Arc::clone(&noted);
                thread::spawn(move || watch(tcp.unwrap(), |seen| noted.lock().unwrap().push(seen)));
            }
        });
        Self { address, seen }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether a head with that target is there.
    pub(super) fn has_begun(&self, target: &str) -> bool {
        self.seen().iter().any(|seen| *seen == Seen::Head(target.to_owned()))
    }

    /// Whether a message broke off.
    pub(super) fn has_ended(&self) -> bool {
        self.seen().contains(&Seen::Cut)
    }

    /// What it saw since the last time, without heads.
    pub(super) fn take(&self) -> Vec<Seen> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        seen.into_iter().filter(|seen| !matches!(seen, Seen::Head(_))).collect()
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn watch(mut tcp: TcpStream, note: impl Fn(Seen)) {
    let mut bytes = Vec::new();
    let mut begun = false;
    loop {
        match read(&bytes) {
            Err(why) => return note(Seen::Doubt(why, bytes.escape_ascii().to_string())),
            Ok(Read::Whole(_, len)) if len < bytes.len() => {
                return note(Seen::Doubt("bytes behind the message", bytes.escape_ascii().to_string()));
            }
            Ok(Read::Whole(message, _)) => {
                let head = message.method == "HEAD";
                note(Seen::Message(message));
                let body = if head { "" } else { "ok" };
                let answer = format!("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\n{body}");
                if tcp.write_all(answer.as_bytes()).is_err() {
                    return;
                }
                (bytes, begun) = (Vec::new(), false);
            }
            Ok(Read::Head(target)) if !begun => {
                begun = true;
                note(Seen::Head(target));
            }
            Ok(Read::Head(_) | Read::Part) => {}
        }
        let mut buffer = [0; 16 * 1024];
        match tcp.read(&mut buffer) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
            _ if bytes.is_empty() => return,
            _ => return note(Seen::Cut),
        }
    }
}

/// How much of a message is there.
enum Read {
    Part,
    Head(String),
    Whole(Message, usize),
}

fn read(bytes: &[u8]) -> Result<Read, &'static str> {
    let Some((lines, end)) = lines(bytes)? else { return Ok(Read::Part) };
    let (first, rest) = lines.split_first().ok_or("an empty line before a request")?;
    let parts: Vec<&str> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { return Err("a request line of other parts") };
    let sound = target.starts_with('/') || (method == "OPTIONS" && target == "*");
    if !is_token(method) || !sound || !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err("the request line");
    }
    let fields = fields(rest)?;
    let of = |name: &str| fields.iter().filter(|(known, _)| known == name).map(|(_, it)| &**it).collect::<Vec<_>>();
    if of("host").len() != 1 || of("host")[0].is_empty() {
        return Err("not one host");
    }
    let mut message = Message {
        method: method.to_owned(),
        target: target.to_owned(),
        fields: fields.clone(),
        body: String::new(),
        trailers: Vec::new(),
    };
    let behind = &bytes[end..];
    let len = match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => Some(0),
        ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length = length.parse::<usize>().map_err(|_| "the length")?;
            message.body = behind.get(..length).map(text).unwrap_or_default();
            (behind.len() >= length).then_some(length)
        }
        ([], ["chunked"]) => chunks(behind, &mut message)?,
        _ => return Err("not one framing"),
    };
    let whole = len.map(|len| Read::Whole(message, end + len));
    Ok(whole.unwrap_or_else(|| Read::Head(target.to_owned())))
}

/// The lines before an empty one, each ended by CR LF, and where they end; `None` if that is still to come.
fn lines(bytes: &[u8]) -> Result<Option<(Vec<&str>, usize)>, &'static str> {
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(len) = bytes[at..].iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let line = &bytes[at..at + len];
        match bytes[at + len..] {
            [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => at += len + 2,
            _ => return Err("a line end that is none"),
        }
        if line.is_empty() {
            return Ok(Some((lines, at)));
        }
        lines.push(std::str::from_utf8(line).map_err(|_| "no UTF-8")?);
    }
    Ok(None)
}

fn fields(lines: &[&str]) -> Result<Vec<(String, String)>, &'static str> {
    let field = |line: &&str| {
        let (name, value) = line.split_once(':').ok_or("a line without a colon")?;
        if !is_token(name) || value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err("a field");
        }
        let name = name.to_ascii_lowercase();
        // What some servers take for the same.
        if matches!(&*name.replace('_', "-"), "content-length" | "transfer-encoding" | "host") && name.contains('_') {
            return Err("a field that some take for one of framing");
        }
        Ok((name, value.strip_prefix(' ').unwrap_or(value).to_owned()))
    };
    lines.iter().map(field).collect()
}

fn is_token(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

/// Reads a chunked body with its trailers; its length, if it is all there.
fn chunks(bytes: &[u8], message: &mut Message) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    loop {
        let Some(len) = bytes[at..].windows(2).position(|two| two == b"\r\n") else {
            return if bytes.len() - at > 16 { Err("the size of a chunk") } else { Ok(None) };
        };
        let size = text(&bytes[at..at + len]);
        if size.is_empty() || size.len() > 15 || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("the size of a chunk");
        }
        let size = usize::from_str_radix(&size, 16).map_err(|_| "the size of a chunk")?;
        at += len + 2;
        if size == 0 {
            let Some((lines, end)) = lines(&bytes[at..])? else { return Ok(None) };
            message.trailers = fields(&lines)?;
            return Ok(Some(at + end));
        }
        let Some(data) = bytes.get(at..at + size + 2) else { return Ok(None) };
        let data = data.strip_suffix(b"\r\n").ok_or("the end of a chunk")?;
        message.body += &text(data);
        at += size + 2;
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
