//! HTTP/2 frame by frame: whatever a test wants is sent, also what no client would.

use std::io::{ErrorKind, Read as _, Write as _};

use atoll_testkit::http2::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame,
};
use atoll_testkit::process::Node;
use atoll_testkit::tls::Visitor;

/// The only request of a connection.
const STREAM: u32 = 1;

/// What is sent of one request.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Names and values, in their order.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body; without one, the head ends the request.
    pub(super) data: Option<Vec<u8>>,
    /// Behind the body.
    pub(super) trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The first status that was answered.
    Status(u16),
    /// The request was reset, or the connection ended.
    Reset,
}

/// Sends one request on a connection of its own.
pub(super) fn exchange(node: &Node, visitor: &Visitor, sent: &Sent) -> Outcome {
    let mut stream = visitor.connect(node.secure(), "shop.example", b"h2");
    let last = if sent.data.is_none() && sent.trailers.is_empty() { END_STREAM } else { 0 };
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS | last, STREAM, &block(&sent.fields)));
    if let Some(data) = &sent.data {
        bytes.extend(frame(DATA, if sent.trailers.is_empty() { END_STREAM } else { 0 }, STREAM, data));
    }
    if !sent.trailers.is_empty() {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, STREAM, &block(&sent.trailers)));
    }
    stream.write_all(&bytes).unwrap();
    let mut head = [0; 9];
    loop {
        if let Err(cause) = stream.read_exact(&mut head) {
            let ended = matches!(cause.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset);
            assert!(ended, "no answer and no end: {cause}");
            return Outcome::Reset;
        }
        let [a, b, c, kind, flags, _, _, _, _] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).unwrap();
        match kind {
            HEADERS => return Outcome::Status(status(&payload)),
            RST_STREAM | GOAWAY => return Outcome::Reset,
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).unwrap(),
            PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload)).unwrap(),
            _ => {}
        }
    }
}

/// Fields as literals that are not indexed, their names new (RFC 7541, section 6.2.2).
fn block(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let text = |text: &[u8]| {
        let len = u8::try_from(text.len()).ok().filter(|len| *len < 127).unwrap();
        [&[len], text].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The status that a block begins with: from the static table, or three digits as they are or by Huffman's code (RFC 7541, appendix
/// A and B).
fn status(block: &[u8]) -> u16 {
    match *block {
        [first @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)],
        [_, 3, a, b, c, ..] => [a, b, c].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')),
        // Digits have five bits if they are 0, 1 or 2, and else six.
        [_, len, ref text @ ..] if len & 0x80 != 0 => {
            let bytes = text.iter().take(usize::from(len & 0x7f));
            let mut bits = bytes.flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
            (0..3).fold(0, |sum, _| {
                let five = bits.by_ref().take(5).fold(0, |sum, bit| sum * 2 + bit);
                let digit = if five < 3 { five } else { five * 2 + bits.next().unwrap() - 0x19 + 3 };
                sum * 10 + digit
            })
        }
        _ => panic!("no status: {}", block.escape_ascii()),
    }
}
