//! HTTP/2 frame by frame (RFC 9113, sections 4 and 6): what no client would send, too.

/// What a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A piece of a body.
pub const DATA: u8 = 0;
/// The fields of a request, an answer or its end.
pub const HEADERS: u8 = 1;
/// Ends a stream.
pub const RST_STREAM: u8 = 3;
/// What one side asks of the other.
pub const SETTINGS: u8 = 4;
/// Is to be sent back.
pub const PING: u8 = 6;
/// Ends the connection.
pub const GOAWAY: u8 = 7;
/// More fields.
pub const CONTINUATION: u8 = 9;

/// A flag: nothing comes behind it on its stream.
pub const END_STREAM: u8 = 1;
/// A flag: these were all fields.
pub const END_HEADERS: u8 = 4;
/// A flag: the other side's frame was read.
pub const ACK: u8 = 1;

/// A frame.
///
/// # Panics
/// With a payload that is too long to be written down.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [0, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes() else { panic!("2^24 bytes or more") };
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}
