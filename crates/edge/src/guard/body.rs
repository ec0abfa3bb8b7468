//! A chunked body (RFC 9112, section 7.1), up to the line of its last chunk.

use super::Refused;

/// No chunk has a size of more digits than this.
const SIZE_DIGITS_MAX: u8 = 15;
/// The extensions of all chunks of a body together, in bytes. Nobody sends any.
const EXTENSIONS_BYTES_MAX: u16 = 1024;

/// Where in a chunked body the next byte stands.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    /// What is to come of the chunk.
    left: u64,
    extensions: u16,
}

#[derive(Debug)]
enum State {
    /// So many digits of a chunk's size were read.
    Size(u8),
    /// Within an extension: what came of it.
    Extension(Extension),
    /// After the CR of a size's line.
    SizeCr,
    Data,
    /// After a chunk's data.
    DataEnd,
    /// After the CR behind it.
    DataCr,
}

/// Where in an extension the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// After its semicolon.
    Begin,
    Inside,
    Quoted,
    /// After a backslash between quotes.
    Escaped,
}

impl Extension {
    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Quoted, b'\\') => Some(Self::Escaped),
            (Self::Quoted, b'"') => Some(Self::Inside),
            (Self::Quoted | Self::Escaped, b'\t' | b' '..=b'~') => Some(Self::Quoted),
            (Self::Inside, b'"') => Some(Self::Quoted),
            (Self::Inside, b';') => Some(Self::Begin),
            (Self::Begin, b'"' | b';') => None,
            (Self::Begin | Self::Inside, b'!'..=b'~') => Some(Self::Inside),
            _ => None,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl Chunks {
    /// Reads on; what is left of `bytes`, and whether the line of the last chunk is over.
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<(&'a [u8], bool), Refused> {
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            if matches!(self.state, State::Data) {
                let now = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                self.left -= now as u64;
                if self.left == 0 {
                    self.state = State::DataEnd;
                }
                rest = rest.get(now..).unwrap_or_default();
                continue;
            }
            self.step(byte)?;
            rest = behind;
            if matches!(self.state, State::Data) && self.left == 0 {
                return Ok((rest, true));
            }
        }
        Ok((rest, false))
    }

    fn step(&mut self, byte: u8) -> Result<(), Refused> {
        self.state = match self.state {
            State::Size(digits @ 0..SIZE_DIGITS_MAX) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = self.left * 16 + u64::from(digit);
                State::Size(digits + 1)
            }
            State::Size(1..) | State::Extension(Extension::Inside) if byte == b'\r' => State::SizeCr,
            State::Size(1..) if byte == b';' => State::Extension(Extension::Begin),
            State::Size(_) => return Err(Refused("the size of a chunk is no number in hexadecimal digits alone")),
            State::Extension(at) => {
                self.extensions = self.extensions.saturating_add(1);
                let next = at.next(byte).filter(|_| self.extensions <= EXTENSIONS_BYTES_MAX);
                State::Extension(next.ok_or(Refused("a chunk's extension is malformed or too long"))?)
            }
            State::SizeCr if byte == b'\n' => State::Data,
            State::DataEnd if byte == b'\r' => State::DataCr,
            State::DataCr if byte == b'\n' => State::Size(0),
            State::SizeCr | State::DataCr => return Err(Refused("a carriage return alone")),
            State::DataEnd | State::Data => return Err(Refused("a chunk is longer than its size")),
        };
        Ok(())
    }
}
