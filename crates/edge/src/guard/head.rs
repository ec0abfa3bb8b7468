//! Lines of a request's head and of trailers, and what a head says of the body behind it.

use super::{Refused, bytes};

/// The longest method, in bytes.
const METHOD_BYTES_MAX: u8 = 32;
/// The longest name of a field that says something of the body, in bytes.
const NAME_BYTES_MAX: usize = 17;
/// No body has a length of more digits than this.
const LENGTH_DIGITS_MAX: u8 = 18;
const CHUNKED: &[u8] = b"chunked";
/// What most request lines end in.
const VERSION_LINE: &[u8] = b"HTTP/1.1\r\n";

/// Where in a head the next byte stands.
#[derive(Debug)]
pub(super) enum Line {
    /// So many bytes of the method were read.
    Method(u8),
    /// The target, whether a byte of it was read.
    Target(bool),
    /// So many bytes of the version were read.
    Version(u8),
    /// After the CR of a line.
    Cr(Ended),
    /// At the beginning of a field, or of the empty line.
    Begin,
    Name(Name),
    Value(Field),
}

/// What a line was that ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    Line,
    /// The empty line.
    Fields,
}

/// A name as far as it was read, in lower case and with `-` for `_`.
#[derive(Debug, Default)]
pub(super) struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
    underscores: bool,
}

/// A field whose value is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Other,
    /// `Content-Length`: so many digits were read, and whether a space followed.
    Length(u8, bool),
    /// `Transfer-Encoding`: so many bytes of `chunked` were read, and whether a space followed.
    Coding(u8, bool),
}

/// What the fields of a request say of its body.
#[derive(Debug, Default)]
pub(super) struct Fields {
    version_1_0: bool,
    trailers: bool,
    length: Option<u64>,
    chunked: bool,
    pub(super) upgrade: bool,
}

/// How long a body is (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
}

impl Default for Line {
    fn default() -> Self {
        Self::Method(0)
    }
}

impl Line {
    /// The fields behind a chunked body.
    pub(super) fn trailers() -> Self {
        Self::Begin
    }

    /// Reads on; what is left of `bytes`, and whether the fields are over.
    #[inline]
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8], fields: &mut Fields) -> Result<(&'a [u8], bool), Refused> {
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            rest = match self {
                Self::Value(Field::Other) => {
                    let behind = rest.get(bytes::value(rest)..).unwrap_or_default();
                    self.end_of_value(behind)?
                }
                Self::Target(begun) => {
                    let len = bytes::target(rest);
                    *begun |= len > 0;
                    let behind = rest.get(len..).unwrap_or_default();
                    self.end_of_target(behind)?
                }
                Self::Cr(ended) => {
                    let over = matches!(ended, Ended::Fields);
                    if byte != b'\n' {
                        return Err(Refused("a carriage return alone"));
                    }
                    *self = Self::Begin;
                    if over {
                        return Ok((behind, true));
                    }
                    behind
                }
                Self::Version(0) if rest.starts_with(VERSION_LINE) => {
                    *self = Self::Begin;
                    rest.get(VERSION_LINE.len()..).unwrap_or_default()
                }
                Self::Begin if let Some(len) = Name::plain(rest) => {
                    *self = Self::Value(Field::Other);
                    rest.get(len..).unwrap_or_default()
                }
                Self::Name(name) => {
                    if let Some(field) = name.read(byte, fields)? {
                        *self = Self::Value(field);
                    }
                    behind
                }
                _ => {
                    self.step(byte, fields)?;
                    behind
                }
            };
        }
        Ok((rest, false))
    }

    /// One byte, of a part that is short.
    fn step(&mut self, byte: u8, fields: &mut Fields) -> Result<(), Refused> {
        *self = match self {
            Self::Method(len) if bytes::is_token(byte) && *len < METHOD_BYTES_MAX => Self::Method(*len + 1),
            Self::Method(1..) if byte == b' ' => Self::Target(false),
            Self::Method(_) => return Err(Refused("the method is no token")),
            Self::Version(8) if byte == b'\r' => Self::Cr(Ended::Line),
            Self::Version(7) if matches!(byte, b'0' | b'1') => {
                fields.version_1_0 = byte == b'0';
                Self::Version(8)
            }
            Self::Version(at) if b"HTTP/1.".get(usize::from(*at)) == Some(&byte) => Self::Version(*at + 1),
            Self::Version(_) => return Err(Refused("the version is neither HTTP/1.0 nor HTTP/1.1")),
            Self::Begin => match byte {
                b'\r' => Self::Cr(Ended::Fields),
                b' ' | b'\t' => return Err(Refused("a folded line")),
                b'\n' => return Err(Refused("a line feed alone")),
                _ => {
                    let mut name = Name::default();
                    name.read(byte, fields)?;
                    Self::Name(name)
                }
            },
            Self::Value(field) => match field.read(byte, fields)? {
                Some(field) => Self::Value(field),
                None => Self::Cr(Ended::Line),
            },
            Self::Target(_) | Self::Cr(_) | Self::Name(_) => return Err(Refused("out of place")),
        };
        Ok(())
    }

    fn end_of_value<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refused> {
        match rest.split_first() {
            None => Ok(rest),
            Some((b'\r', rest)) => {
                *self = Self::Cr(Ended::Line);
                Ok(rest)
            }
            Some((b'\n', _)) => Err(Refused("a line feed alone")),
            Some(_) => Err(Refused("a control character in a value")),
        }
    }

    fn end_of_target<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refused> {
        match (&*self, rest.split_first()) {
            (_, None) => Ok(rest),
            (Self::Target(true), Some((b' ', rest))) => {
                *self = Self::Version(0);
                Ok(rest)
            }
            _ => Err(Refused("the target has bytes that it may not have, or none")),
        }
    }
}

impl Name {
    /// How long a name with its colon is, if it is all there and none that says anything of the body or the connection.
    fn plain(bytes: &[u8]) -> Option<usize> {
        let len = bytes::token(bytes);
        let is_other =
            len > 0 && ["host", "upgrade", "content-length", "transfer-encoding"].iter().all(|name| name.len() != len);
        (is_other && bytes.get(len) == Some(&b':')).then(|| len + 1)
    }

    /// One byte more; the field, if that was the colon.
    fn read(&mut self, byte: u8, fields: &mut Fields) -> Result<Option<Field>, Refused> {
        if byte == b':' {
            return self.field(fields).map(Some);
        }
        if !bytes::is_token(byte) {
            return Err(Refused("a field's name is no token"));
        }
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            self.underscores |= byte == b'_';
        }
        self.len = self.len.saturating_add(1);
        Ok(None)
    }

    fn field(&self, fields: &mut Fields) -> Result<Field, Refused> {
        if self.len == 0 {
            return Err(Refused("a field without a name"));
        }
        let field = match self.bytes.get(..self.len) {
            Some(b"content-length") if fields.length.is_some() => return Err(Refused("two lengths")),
            Some(b"content-length") => Field::Length(0, false),
            Some(b"transfer-encoding") if fields.chunked => return Err(Refused("two transfer codings")),
            Some(b"transfer-encoding") => Field::Coding(0, false),
            Some(b"host") if fields.trailers => return Err(Refused("a host behind the body")),
            Some(b"upgrade") => {
                fields.upgrade = true;
                Field::Other
            }
            _ => return Ok(Field::Other),
        };
        match field {
            Field::Other => Ok(field),
            _ if self.underscores => Err(Refused("a field's name that some take for one of the body's length")),
            _ if fields.trailers => Err(Refused("a length behind the body")),
            _ => Ok(field),
        }
    }
}

impl Field {
    /// One byte more of the value; `None` at its CR.
    fn read(self, byte: u8, fields: &mut Fields) -> Result<Option<Self>, Refused> {
        let field = match (self, byte) {
            // Before the value, and behind it.
            (Self::Length(0, _) | Self::Coding(0, _), b' ') => self,
            (Self::Length(digits, _), b' ') => Self::Length(digits, true),
            (Self::Coding(read, _), b' ') => Self::Coding(read, true),
            (Self::Length(digits, false), b'0'..=b'9') if digits < LENGTH_DIGITS_MAX => {
                let before = fields.length.unwrap_or(0);
                fields.length = Some(before.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
                Self::Length(digits + 1, false)
            }
            (Self::Length(1.., _), b'\r') => return Ok(None),
            (Self::Length(..), _) => return Err(Refused("the length is no number")),
            (Self::Coding(read, false), _) if CHUNKED.get(usize::from(read)) == Some(&byte.to_ascii_lowercase()) => {
                Self::Coding(read + 1, false)
            }
            (Self::Coding(read, _), b'\r') if usize::from(read) == CHUNKED.len() => {
                fields.chunked = true;
                return Ok(None);
            }
            (Self::Coding(..), _) => return Err(Refused("the transfer coding is not `chunked` alone")),
            (Self::Other, _) => return Err(Refused("out of place")),
        };
        Ok(Some(field))
    }
}

impl Fields {
    pub(super) fn of_trailers() -> Self {
        Self { trailers: true, ..Self::default() }
    }

    /// How long the body is.
    pub(super) fn framing(&self) -> Result<Framing, Refused> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Refused("a length and a transfer coding")),
            (None, true) if self.version_1_0 => Err(Refused("a transfer coding in HTTP/1.0")),
            (None, true) => Ok(Framing::Chunked),
            (Some(length), false) => Ok(Framing::Length(length)),
            (None, false) => Ok(Framing::None),
        }
    }
}
