//! What a client sends over HTTP/2, frame by frame, before the parser sees it: floods end there, of resets (CVE-2023-44487), of
//! continuations (CVE-2024-24549 and others), of pings, settings and empty frames (CVE-2019-9512, 9515, 9518).
//!
//! Only the nine bytes before each frame are read. A crash loses the connection.

use std::time::{Duration, Instant};

use crate::config::Http2;

/// The bytes before frames: the client's preface (RFC 9113, section 3.4).
const PREFACE_BYTES: u32 = 24;
const HEADER_BYTES: usize = 9;
/// The time in which frames are counted.
const WINDOW: Duration = Duration::from_secs(10);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const STREAM_CLOSED: u8 = 0x5;
const ENHANCE_YOUR_CALM: u8 = 0xb;
/// How many requests that the client gave up last are remembered.
const GIVEN_UP_MAX: usize = 8;

/// Counts the frames of one connection.
#[derive(Debug)]
pub(crate) struct Frames {
    limits: Http2,
    /// Bytes to come that are no frame's header.
    skip: u32,
    header: [u8; HEADER_BYTES],
    read: usize,
    window: Instant,
    resets: u32,
    control: u32,
    updates: u32,
    continuations: u32,
    /// The last request that was begun.
    stream: [u8; 4],
    /// The last requests that the client gave up.
    given_up: [[u8; 4]; GIVEN_UP_MAX],
    fault: Option<Fault>,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The client goes over a limit, named as it is set.
    #[error("too many frames: gateway.http2.{0}")]
    Flood(&'static str),
    /// A request goes on after the client gave it up (RFC 9113, section 5.1, "closed"). The parser may pass over that.
    #[error("a request goes on after it was given up")]
    GivenUp,
}

impl Frames {
    pub(crate) fn new(limits: Http2) -> Self {
        Self {
            limits,
            skip: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            read: 0,
            window: Instant::now(),
            resets: 0,
            control: 0,
            updates: 0,
            continuations: 0,
            stream: [0; 4],
            // No request has this number.
            given_up: [[u8::MAX; 4]; GIVEN_UP_MAX],
            fault: None,
        }
    }

    /// Looks at the next bytes, which follow those of the last call in any division.
    ///
    /// # Errors
    /// [`Fault`] ends the connection.
    pub(crate) fn inspect(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let looked = self.look(bytes);
        self.fault = looked.err();
        looked
    }

    fn look(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        let now = Instant::now();
        if now.duration_since(self.window) >= WINDOW {
            self.window = now;
            (self.resets, self.control, self.updates) = (0, 0, 0);
        }
        while !bytes.is_empty() {
            if self.skip > 0 {
                let now = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= u32::try_from(now).unwrap_or(self.skip);
                bytes = bytes.get(now..).unwrap_or_default();
                continue;
            }
            let missing = self.header.get_mut(self.read..).unwrap_or_default();
            let now = missing.len().min(bytes.len());
            let (header, rest) = bytes.split_at(now);
            missing.iter_mut().zip(header).for_each(|(place, byte)| *place = *byte);
            self.read += now;
            bytes = rest;
            if self.read == HEADER_BYTES {
                self.read = 0;
                self.count()?;
            }
        }
        Ok(())
    }

    /// Counts the frame whose header was read.
    fn count(&mut self) -> Result<(), Fault> {
        let [a, b, c, kind, flags, stream @ ..] = self.header;
        self.skip = u32::from_be_bytes([0, a, b, c]);
        if matches!(kind, DATA | HEADERS | CONTINUATION) && self.given_up.contains(&stream) {
            return Err(Fault::GivenUp);
        }
        let (count, most, name) = match kind {
            HEADERS => {
                (self.stream, self.continuations) = (stream, 0);
                return Ok(());
            }
            DATA if self.skip > 0 || flags & END_STREAM != 0 => return Ok(()),
            RST_STREAM => {
                self.given_up.rotate_right(1);
                self.given_up[0] = stream;
                (&mut self.resets, self.limits.resets, "resets")
            }
            WINDOW_UPDATE => (&mut self.updates, self.limits.window_updates, "window_updates"),
            CONTINUATION => (&mut self.continuations, self.limits.continuations, "continuations"),
            _ => (&mut self.control, self.limits.control_frames, "control_frames"),
        };
        *count = count.saturating_add(1);
        if *count > most { Err(Fault::Flood(name)) } else { Ok(()) }
    }

    /// The frame that tells the client why: `GOAWAY` with the last request that was begun.
    pub(crate) fn go_away(&self) -> [u8; HEADER_BYTES + 8] {
        let [a, b, c, d] = self.stream;
        let code = if self.fault == Some(Fault::GivenUp) { STREAM_CLOSED } else { ENHANCE_YOUR_CALM };
        [0, 0, 8, 7, 0, 0, 0, 0, 0, a & 0x7f, b, c, d, 0, 0, 0, code]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: u8, kind: u8, flags: u8, stream: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, len, kind, flags, 0, 0, 0, stream];
        frame.resize(HEADER_BYTES + usize::from(len), 0xff);
        frame
    }

    fn after_preface() -> Frames {
        let mut frames = Frames::new(Http2 { resets: 2, control_frames: 2, continuations: 1, ..Http2::default() });
        frames.inspect(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames
    }

    #[test]
    fn each_kind_has_its_own_limit_however_bytes_are_divided() {
        for (kind, name) in [(3, "resets"), (4, "control_frames"), (6, "control_frames"), (99, "control_frames")] {
            for step in 1..20 {
                let mut frames = after_preface();
                let two = [frame(8, kind, 0, 1), frame(8, kind, 0, 1)].concat();
                two.chunks(step).for_each(|bytes| frames.inspect(bytes).unwrap());
                let third = frame(8, kind, 0, 1);
                assert_eq!(third.chunks(step).find_map(|bytes| frames.inspect(bytes).err()), Some(Fault::Flood(name)));
            }
        }
    }

    #[test]
    fn requests_and_bodies_are_not_counted_and_continuations_are_for_each_request() {
        let mut frames = after_preface();
        for stream in 0..100 {
            frames.inspect(&frame(5, HEADERS, 0, stream)).unwrap();
            frames.inspect(&frame(5, CONTINUATION, 4, stream)).unwrap();
            frames.inspect(&frame(5, DATA, 0, stream)).unwrap();
            frames.inspect(&frame(0, DATA, END_STREAM, stream)).unwrap();
        }
        assert_eq!(frames.go_away()[9..13], [0, 0, 0, 99]);
        assert_eq!(frames.inspect(&frame(5, CONTINUATION, 4, 99)), Err(Fault::Flood("continuations")));
        assert!(frames.inspect(&frame(0, DATA, 0, 1)).is_ok());
    }

    #[test]
    fn a_body_ends_with_its_request() {
        let mut frames = after_preface();
        frames.inspect(&frame(4, RST_STREAM, 0, 1)).unwrap();
        frames.inspect(&frame(5, DATA, 0, 3)).unwrap();
        assert_eq!(frames.inspect(&frame(5, DATA, 0, 1)), Err(Fault::GivenUp));
        assert_eq!(frames.go_away().last(), Some(&STREAM_CLOSED));
    }
}
