//! Floods over HTTP/2 against a node beside visitors who behave: whoever floods is cut off and told why, the visitors are all served, and
//! memory stays bounded.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atoll_testkit::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame,
};
use atoll_testkit::process::Node;
use atoll_testkit::tls::{Visitor, made};
use atoll_testkit::trial::noise;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use crate::INLINE;
use crate::visits::{Site, Visits};

const ENHANCE_YOUR_CALM: u8 = 0xb;
/// Attackers at one time.
const ATTACKERS: usize = 4;
/// By how much the node may grow while it is attacked, in MiB.
const GROWTH_MIB_MAX: u64 = 192;

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// One of the ways.
struct Flood {
    name: &'static str,
    /// All that is sent behind the preface.
    bytes: Vec<u8>,
    /// Whether the connection ends with `ENHANCE_YOUR_CALM`.
    is_cut: bool,
}

/// The fields of a request, none of them remembered (RFC 7541, section 6.2.2).
fn fields(path: &str) -> Vec<u8> {
    let host = "127.0.0.1";
    let text = |index: u8, text: &str| [&[index, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [&[0x82, 0x87][..], &text(4, path), &text(1, host)].concat()
}

fn repeated(count: u32, of: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(of).collect()
}

fn floods(stored: &str) -> Vec<Flood> {
    let request = fields(INLINE);
    let reset = |number: u32| {
        let stream = 2 * number + 1;
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields(stored));
        [head, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    let begun = frame(HEADERS, END_STREAM, 1, &request);
    let field = [&[0x00, 1, b'x', 0x7f, 0x81, 0x7e][..], &[b'a'; 16_256]].concat();
    // A field of 4 KiB that is remembered, and then named 16,000 times.
    let remembered = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'a'; 4_000]].concat();
    let bomb = [&request[..], &remembered, &vec![0xbe; 11_000]].concat();
    let upload = [0x83, 0x87].iter().chain(&request[2..]).copied().collect::<Vec<_>>();
    let flood = |name, bytes, is_cut| Flood { name, bytes, is_cut };
    vec![
        flood("rapid reset", repeated(600, reset), true),
        flood("continuation", [begun, repeated(32, |_| frame(CONTINUATION, 0, 1, &field))].concat(), true),
        flood("settings", repeated(1_200, |_| frame(SETTINGS, 0, 0, &[])), true),
        flood("ping", repeated(1_200, |_| frame(PING, 0, 0, &[7; 8])), true),
        flood(
            "empty data",
            [frame(HEADERS, END_HEADERS, 1, &upload), repeated(1_200, |_| frame(DATA, 0, 1, &[]))].concat(),
            true,
        ),
        flood("HPACK bomb", frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb), false),
    ]
}

fn open(node: &Node, visitor: &Visitor, window: u32) -> Tls {
    let mut tls = visitor.connect(node.secure(), "localhost", b"h2");
    tls.sock.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE
    let window = [&[0, 4][..], &window.to_be_bytes()].concat();
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &window)].concat();
    tls.write_all(&begin).unwrap();
    tls
}

/// The frames that come until the connection ends, or until `enough`.
fn frames(tls: &mut Tls, enough: impl Fn(&[(u8, Vec<u8>)]) -> bool) -> Vec<(u8, Vec<u8>)> {
    let (mut bytes, mut place, mut frames) = (Vec::new(), [0; 16 * 1024], Vec::new());
    while !enough(&frames) {
        match tls.read(&mut place) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&place[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("{error}"),
            _ => break,
        }
        while let Some(len) =
            bytes.get(..3).map(|len: &[u8]| usize::from(len[0]) << 16 | usize::from(len[1]) << 8 | usize::from(len[2]))
        {
            if bytes.len() < 9 + len {
                break;
            }
            let frame: Vec<u8> = bytes.drain(..9 + len).collect();
            frames.push((frame[3], frame[9..].to_vec()));
        }
    }
    frames
}

impl Flood {
    /// Attacks on one connection after the other; how many, and on how many the node said why it ends them. Where the attacker still
    /// sends, a reset may come before that is read.
    fn run(&self, node: &Node, visitor: &Visitor, over: &AtomicBool) -> (u64, u64) {
        let (mut connections, mut told) = (0, 0);
        while !over.load(Ordering::SeqCst) {
            let mut tls = open(node, visitor, 65_535);
            // It may be cut off before all is sent.
            let _ = tls.write_all(&self.bytes);
            let is_end =
                |(kind, _): &(u8, Vec<u8>)| *kind == GOAWAY || (!self.is_cut && matches!(*kind, RST_STREAM | HEADERS));
            let seen = frames(&mut tls, |frames| frames.iter().any(is_end));
            let code = seen.iter().find(|(kind, _)| *kind == GOAWAY).map(|(_, payload)| payload[7]);
            if self.is_cut {
                assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{}: {seen:?}", self.name);
                told += u64::from(code.is_some());
            } else {
                assert!(seen.iter().any(is_end), "{}: {seen:?}", self.name);
            }
            connections += 1;
        }
        (connections, told)
    }
}

/// A node, visitors of it, and what they are asked for.
fn begin() -> (Node, Visitor, Visits, String) {
    let node = Node::home(env!("CARGO_BIN_EXE_atoll")).set(&["gateway.tls.listen=127.0.0.1:0"]);
    let (certificate, key) = (node.path("cert.pem"), node.path("key.pem"));
    let (shown, its_key) = made("localhost");
    std::fs::write(&certificate, &shown).unwrap();
    std::fs::write(&key, its_key).unwrap();
    let node = node.configured(&format!("[certs]\nfiles = [{{ certificate = {certificate:?}, key = {key:?} }}]\n"));
    let node = node.started();
    let stored = format!("/ipfs/{}", node.import_bytes(&noise(5, 8 << 20), "size-262144"));
    let visitor = Visitor::trusting(&shown);
    let site = Site {
        plain: node.gateway(),
        secure: node.secure(),
        visitor: visitor.clone(),
        host: "127.0.0.1",
        paths: vec![INLINE.to_owned()],
    };
    let visits = Visits::begin(&site, None);
    visits.more(20);
    (node, visitor, visits, stored)
}

/// What was seen of an attack.
fn tell(node: &Node, name: &str, connections: u64, before: u64) {
    let after = node.memory_mib();
    println!("{name}: {connections} connections of attackers; {before} MiB before, {after} MiB after");
    assert!(after <= before + GROWTH_MIB_MAX, "{name}: the node has grown from {before} to {after} MiB");
}

#[test]
fn who_floods_over_http2_is_cut_off_and_visitors_are_served() {
    let (node, visitor, visits, stored) = begin();
    let before = node.memory_mib();
    for flood in floods(&stored) {
        let over = AtomicBool::new(false);
        let runs = std::thread::scope(|scope| {
            let attackers: Vec<_> = (0..ATTACKERS).map(|_| scope.spawn(|| flood.run(&node, &visitor, &over))).collect();
            visits.more(50);
            over.store(true, Ordering::SeqCst);
            attackers.into_iter().map(|attacker| attacker.join().unwrap()).collect::<Vec<_>>()
        });
        let told: u64 = runs.iter().map(|(_, told)| told).sum();
        assert!(!flood.is_cut || told > 0, "{}: nobody was told", flood.name);
        tell(&node, flood.name, runs.iter().map(|(connections, _)| connections).sum(), before);
    }
    visits.end();
}

#[test]
fn slow_readers_of_many_answers_on_a_connection_keep_nobody_out() {
    let (node, visitor, visits, stored) = begin();
    let before = node.memory_mib();
    // Windows of nothing: each answer of 8 MiB waits to be taken, a hundred of them on each connection.
    let mut readers: Vec<_> = (0..50).map(|_| open(&node, &visitor, 0)).collect();
    for reader in &mut readers {
        let request = fields(&stored);
        let all = repeated(100, |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &request));
        reader.write_all(&all).unwrap();
    }
    for reader in &mut readers {
        // Most are refused: those of one address may be so many.
        let answered = |frames: &[(u8, Vec<u8>)]| frames.iter().filter(|(kind, _)| *kind == HEADERS).count() >= 50;
        assert!(answered(&frames(reader, answered)));
    }
    visits.more(50);
    tell(&node, "slow readers", readers.len() as u64, before);
    drop(readers);
    visits.end();
}

/// A socket that notes how long the records are that come over it (RFC 8446, section 5.1).
struct Tapped {
    tcp: TcpStream,
    /// What was read since the last whole record.
    rest: Vec<u8>,
    records: Vec<usize>,
}

impl std::io::Read for Tapped {
    fn read(&mut self, place: &mut [u8]) -> std::io::Result<usize> {
        let read = self.tcp.read(place)?;
        self.rest.extend_from_slice(&place[..read]);
        while let Some(len) = self.rest.get(3..5).map(|len| usize::from(len[0]) << 8 | usize::from(len[1])) {
            if self.rest.len() < 5 + len {
                break;
            }
            self.rest.drain(..5 + len);
            self.records.push(len);
        }
        Ok(read)
    }
}

impl std::io::Write for Tapped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.tcp.flush()
    }
}

#[test]
fn a_large_answer_comes_in_full_records() {
    const BYTES: usize = 1 << 20;
    let (node, visitor, visits, stored) = begin();
    visits.end();
    let Tls { conn, sock } = open(&node, &visitor, u32::MAX >> 1);
    let mut tls = StreamOwned::new(conn, Tapped { tcp: sock, rest: Vec::new(), records: Vec::new() });
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&stored));
    // WINDOW_UPDATE of the connection.
    tls.write_all(&[frame(8, 0, 0, &(u32::MAX >> 2).to_be_bytes()), request].concat()).unwrap();
    let mut bytes = vec![0; BYTES];
    tls.read_exact(&mut bytes).unwrap();
    let records = tls.sock.records.split_off(tls.sock.records.len() / 2);
    // With a tag and a type. Between two blocks of the file there is one that is not full.
    let full = records.iter().filter(|len| **len == 16 * 1024 + 17).count();
    assert!(full * 4 >= records.len() * 3, "{full} of {} records are full: {records:?}", records.len());
}
