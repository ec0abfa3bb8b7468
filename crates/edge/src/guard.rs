//! The byte guard between a client and the HTTP/1 parser: it refuses what the parser would take although servers behind it might
//! read it otherwise, the ground of request smuggling (RFC 9112, section 11.2).
//!
//! It follows a connection byte by byte: request line, fields, body by length or by chunks, and the next request. Fields are read
//! in `guard/head.rs`, bodies in `guard/body.rs`. It is stricter than RFC 9112 where that leaves a choice, and it never waits. It
//! keeps a few words of state; a crash loses the connection with it.

mod body;
mod bytes;
mod head;

use head::{Fields, Line};

/// Watches the bytes of one connection before the HTTP/1 parser sees them.
#[derive(Debug, Default)]
pub struct Guard {
    state: State,
    fields: Fields,
    /// Whether the last request asked for another protocol, and no answer to it began.
    upgrade: bool,
}

/// Where in the stream of requests the next byte stands.
#[derive(Debug, Default)]
enum State {
    /// Before a request; one empty line may come first (RFC 9112, section 2.2).
    #[default]
    Start,
    /// After the CR of that line.
    EmptyCr,
    /// After that line.
    Empty,
    /// Within a request's head, or within the trailers of a chunked body.
    Line(Line),
    /// Within a body of known length, of which so many bytes are to come.
    Body(u64),
    /// Within a chunked body.
    Chunks(body::Chunks),
    /// Another protocol was agreed on: its bytes are none of ours.
    Switched,
}

/// Bytes that are not to be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guard refused these bytes: {0}")]
pub struct Refused(
    /// What is wrong with them, for the log.
    pub &'static str,
);

impl Guard {
    /// Looks at the next bytes, which follow those of the last call in any division.
    ///
    /// # Errors
    /// [`Refused`] closes the connection: the client is answered 400, and the parser never sees these bytes. Nothing is to be asked
    /// after that.
    pub fn inspect(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        while let Some((&first, rest)) = bytes.split_first() {
            bytes = match &mut self.state {
                State::Switched => return Ok(()),
                State::Body(left) => {
                    let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= now as u64;
                    if *left == 0 {
                        self.state = State::Start;
                    }
                    bytes.get(now..).unwrap_or_default()
                }
                State::Line(line) => {
                    let (rest, over) = line.read(bytes, &mut self.fields)?;
                    if over {
                        self.end_of_fields()?;
                    }
                    rest
                }
                State::Chunks(chunks) => {
                    let (rest, last) = chunks.read(bytes)?;
                    if last {
                        self.fields = Fields::of_trailers();
                        self.state = State::Line(Line::trailers());
                    }
                    rest
                }
                State::Start if first == b'\r' => self.now(State::EmptyCr, rest),
                State::EmptyCr if first == b'\n' => self.now(State::Empty, rest),
                State::EmptyCr => return Err(Refused("a carriage return alone")),
                State::Start | State::Empty => {
                    self.fields = Fields::default();
                    self.now(State::Line(Line::default()), bytes)
                }
            };
        }
        Ok(())
    }

    /// The head of an answer begins with these bytes. After `101 Switching Protocols` to a request that asked for it, the client's
    /// bytes pass.
    pub fn answer(&mut self, head: &[u8]) {
        // The final answer is still to come.
        if head.starts_with(b"HTTP/1.1 100 ") || !std::mem::take(&mut self.upgrade) {
            return;
        }
        if head.starts_with(b"HTTP/1.1 101 ") && matches!(self.state, State::Start) {
            self.state = State::Switched;
        }
    }

    fn now<'a>(&mut self, state: State, rest: &'a [u8]) -> &'a [u8] {
        self.state = state;
        rest
    }

    /// After the empty line behind a request's fields, or behind trailers: what follows.
    fn end_of_fields(&mut self) -> Result<(), Refused> {
        let framing = self.fields.framing()?;
        self.upgrade = self.fields.upgrade;
        self.state = match framing {
            head::Framing::None | head::Framing::Length(0) => State::Start,
            head::Framing::Length(bytes) => State::Body(bytes),
            head::Framing::Chunked => State::Chunks(body::Chunks::default()),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
