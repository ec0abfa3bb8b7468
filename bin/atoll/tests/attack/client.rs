//! Attackers: each asks what it is told to, as fast as it is answered, or reads as slowly as it can.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// An answer that is not there by then does not come: the node hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections of one address: fewer than what a node takes requests of at a time.
const PER_ADDRESS: usize = 100;

/// What is asked for.
pub(crate) struct Asked {
    target: String,
    header: String,
    bytes_max: u64,
    refused: bool,
}

impl Asked {
    pub(crate) fn get(target: String) -> Self {
        Self { target, header: String::new(), bytes_max: u64::MAX, refused: false }
    }

    /// With a header line.
    pub(crate) fn header(self, line: String) -> Self {
        Self { header: format!("{line}\r\n"), ..self }
    }

    /// Goes away after so many bytes.
    pub(crate) fn at_most(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
    }

    /// Says that no complete answer of success may come.
    pub(crate) fn refused_if(self, refused: bool) -> Self {
        Self { refused, ..self }
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether it ended as its head had announced.
    pub(crate) complete: bool,
    /// Whether the client went away first.
    left: bool,
}

/// What came back, counted.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Answers that broke off, as the node means it when it finds content to be wrong half-way.
    pub(crate) broken: u64,
    /// What must not have happened.
    pub(crate) wrong: Vec<String>,
}

impl Tally {
    fn add(&mut self, asked: &Asked, answer: io::Result<Answer>) {
        const WRONG_MAX: usize = 5;
        let wrong = match answer {
            Ok(answer) => {
                *self.statuses.entry(answer.status).or_default() += 1;
                self.broken += u64::from(!answer.complete && !answer.left);
                let lie = asked.refused && answer.complete && answer.status < 300;
                lie.then(|| format!("{}: answered {} in full", asked.target, answer.status))
            }
            Err(error) => Some(format!("{}: {error}", asked.target)),
        };
        if self.wrong.len() < WRONG_MAX {
            self.wrong.extend(wrong.map(|text| text.chars().take(200).collect()));
        }
    }

    fn join(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.broken += other.broken;
        self.wrong.extend(other.wrong);
    }
}

/// `clients` threads ask for what `asked` makes of a running number until `length` has passed.
pub(crate) fn flood(
    address: SocketAddr,
    clients: usize,
    length: Duration,
    asked: impl Fn(usize) -> Asked + Sync,
) -> Tally {
    let (next, end) = (AtomicUsize::new(0), Instant::now() + length);
    let client = || {
        let mut tally = Tally::default();
        while Instant::now() < end {
            let asked = asked(next.fetch_add(1, Ordering::Relaxed));
            tally.add(&asked, ask(address, &asked));
        }
        tally
    };
    let mut all = Tally::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        threads.into_iter().for_each(|thread| all.join(thread.join().unwrap()));
    });
    all
}

/// Asks on a connection of its own, and reads to the end.
pub(crate) fn ask(address: SocketAddr, asked: &Asked) -> io::Result<Answer> {
    let mut tcp = connect(address, 0)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    request(&mut tcp, asked)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut head = Vec::new();
    let (status, length) = loop {
        let read = tcp.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..read]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<u64>().ok());
            head.drain(..end + 4);
            break (text.split(' ').nth(1).and_then(|status| status.parse().ok()), length);
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    // The last bytes tell whether a body in chunks ended.
    let (mut last, mut bytes) = (head.clone(), head.len() as u64);
    while bytes < asked.bytes_max {
        match tcp.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                bytes += read as u64;
                last.extend_from_slice(&buffer[..read]);
                last.drain(..last.len().saturating_sub(7));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
    }
    let complete = length.map_or(last.ends_with(b"0\r\n\r\n"), |length| length == bytes);
    Ok(Answer { status, complete, left: bytes >= asked.bytes_max })
}

/// `readers` connections ask for what `asked` makes of their number, then take a kibibyte now and then, until `length` has
/// passed.
pub(crate) fn slow_readers(
    address: SocketAddr,
    readers: usize,
    length: Duration,
    asked: impl Fn(usize) -> Asked,
) -> Tally {
    let open = |at: usize| {
        let mut tcp = connect(address, at / PER_ADDRESS)?;
        request(&mut tcp, &asked(at))?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let mut start = [0; 12];
        tcp.read_exact(&mut start)?;
        tcp.set_nonblocking(true)?;
        let status = String::from_utf8_lossy(&start[9..]).parse().unwrap_or_default();
        io::Result::Ok((tcp, status))
    };
    let mut tally = Tally::default();
    let mut connections = Vec::new();
    let end = Instant::now() + length;
    for at in 0..readers {
        match open(at) {
            Ok((tcp, status)) => {
                connections.push(tcp);
                *tally.statuses.entry(status).or_default() += 1;
            }
            Err(error) => tally.add(&asked(at), Err(error)),
        }
    }
    while Instant::now() < end {
        for tcp in &mut connections {
            let _ = tcp.read(&mut [0; 1024]);
        }
        thread::sleep(Duration::from_millis(100));
    }
    tally
}

fn request(tcp: &mut TcpStream, asked: &Asked) -> io::Result<()> {
    let Asked { target, header, .. } = asked;
    let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{header}\r\n");
    tcp.write_all(request.as_bytes())
}

/// From one of an attacker's addresses; the visitor has another.
fn connect(address: SocketAddr, from: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    let last = u8::try_from(from + 2).unwrap_or(u8::MAX);
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    Ok(socket.into())
}
