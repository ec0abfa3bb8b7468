//! Lines of a stream (newline-delimited JSON), out of pieces as they come. At most one line is in memory.

/// The longest line, in bytes: a record with all the addresses that a peer of many networks has.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Cuts a stream into lines. Empty ones are left out.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// How much of the buffer was given out.
    taken: usize,
    /// How much of it was looked at for an end.
    searched: usize,
}

impl Lines {
    /// Adds a piece, best of at most [`LINE_BYTES_MAX`]: the buffer holds it and an unfinished line.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.taken);
        self.searched = self.searched.saturating_sub(self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole line, without its end; `None` when more is needed.
    ///
    /// # Errors
    /// [`LineTooLong`], after which the stream is of no use.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                let unfinished = self.buffer.len().saturating_sub(self.taken);
                return if unfinished > LINE_BYTES_MAX { Err(LineTooLong) } else { Ok(None) };
            };
            let (start, end) = (self.taken, self.searched.saturating_add(length));
            (self.taken, self.searched) = (end.saturating_add(1), end.saturating_add(1));
            if end.saturating_sub(start) > LINE_BYTES_MAX {
                return Err(LineTooLong);
            }
            if !is_blank(self.buffer.get(start..end).unwrap_or_default()) {
                return Ok(self.buffer.get(start..end));
            }
        }
    }

    /// What is left at the end of the stream: a last line that nothing ends.
    pub fn rest(&self) -> Option<&[u8]> {
        self.buffer.get(self.taken..).filter(|rest| !is_blank(rest))
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// A line is over [`LINE_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line is over {LINE_BYTES_MAX} bytes")]
pub struct LineTooLong;
