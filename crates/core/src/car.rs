//! CAR framing: a header with roots, then sections of a CID and its bytes (ipld.io/specs/transport/car, version 1).
//!
//! [`Decoder`] is fed with chunks of any size and keeps at most one section. It frames, it does not verify: whoever takes
//! a [`Section`] hashes it. Version 2 is read too: its payload is found by its header, its index is never looked at.
//! Every error names the byte at which the file is wrong. A crash loses what was not taken.

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use unsigned_varint::{decode, encode};

use crate::block::{BLOCK_BYTES_MAX, Cid};

/// The longest header, in bytes: several hundred roots.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// The longest section, in bytes: a block and its CID.
pub const SECTION_BYTES_MAX: usize = BLOCK_BYTES_MAX + 100;
/// The largest gap between the header of version 2 and its payload, in bytes.
pub const V2_PADDING_BYTES_MAX: u64 = 1024 * 1024;

/// An incremental decoder.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// The position in the file of the first byte of `buffer`.
    offset: u64,
    /// Where the payload ends, if version 2 says so.
    end: Option<u64>,
    state: State,
}

/// What a CAR consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The roots that the header names, first and once. A claim: they may be absent from the file.
    Header(Vec<Cid>),
    /// A block.
    Section(Section),
}

/// A block as it stands in a CAR, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Where its length stands in the file.
    pub offset: u64,
    /// The claimed name.
    pub cid: Cid,
    /// The content.
    pub bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the header; the flag is set inside the payload of version 2, where another version 2 is no header.
    Header {
        inner: bool,
    },
    /// In the fixed header of version 2.
    V2Header,
    /// Before the payload of version 2.
    V2Padding {
        until: u64,
    },
    Sections,
    /// Behind the payload of version 2.
    Index,
    /// An error was returned: what follows cannot be framed.
    Failed,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), offset: 0, end: None, state: State::Header { inner: false } }
    }
}

impl Decoder {
    /// Adds the next bytes of the file. Call [`Decoder::next_item`] until it gives `None` before adding more, so that
    /// the decoder holds no more than a section and a chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.state == State::Index {
            self.offset = self.offset.saturating_add(chunk.len() as u64);
        } else {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// The next item, `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`CarError`] says where and why the file is wrong; after that every call is [`CarFault::Failed`].
    pub fn next_item(&mut self) -> Result<Option<Item>, CarError> {
        let item = self.step();
        if item.is_err() {
            self.state = State::Failed;
        }
        item
    }

    /// To be called at the end of the file.
    ///
    /// # Errors
    /// [`CarFault::Truncated`] if the file ends inside a header or a section.
    pub fn finish(&self) -> Result<(), CarError> {
        let whole = match self.state {
            State::Index => true,
            State::Sections => self.buffer.is_empty() && self.end.is_none_or(|end| end == self.offset),
            _ => false,
        };
        if whole { Ok(()) } else { self.fail(CarFault::Truncated) }
    }

    fn step(&mut self) -> Result<Option<Item>, CarError> {
        loop {
            match self.state {
                State::Header { inner } => {
                    let Some((offset, bytes)) = self.frame(HEADER_BYTES_MAX)? else { return Ok(None) };
                    let fail = |fault| CarError { offset, fault };
                    let header = serde_ipld_dagcbor::from_slice(&bytes).map_err(|_| fail(CarFault::BadHeader))?;
                    match header {
                        Header { version: 1, roots: Some(roots) } => {
                            self.state = State::Sections;
                            return Ok(Some(Item::Header(roots)));
                        }
                        Header { version: 2, roots: None } if !inner => self.state = State::V2Header,
                        Header { version: 1 | 2, .. } => return Err(fail(CarFault::BadHeader)),
                        Header { version, .. } => return Err(fail(CarFault::Version(version))),
                    }
                }
                State::V2Header => {
                    if self.buffer.len() < V2_HEADER_BYTES {
                        return Ok(None);
                    }
                    self.state = State::V2Padding { until: self.v2_header()? };
                }
                State::V2Padding { until } => {
                    self.skip(until);
                    if self.offset < until {
                        return Ok(None);
                    }
                    self.state = State::Header { inner: true };
                }
                State::Sections if self.end == Some(self.offset) => {
                    self.state = State::Index;
                    self.skip(u64::MAX);
                }
                State::Sections => {
                    let Some((offset, bytes)) = self.frame(SECTION_BYTES_MAX)? else { return Ok(None) };
                    return section(offset, bytes).map(|section| Some(Item::Section(section)));
                }
                State::Index => return Ok(None),
                State::Failed => return self.fail(CarFault::Failed),
            }
        }
    }

    /// Takes what stands behind the next length, once it is there in full, and says where the length stood.
    fn frame(&mut self, max: usize) -> Result<Option<(u64, Bytes)>, CarError> {
        let (len, rest) = match decode::u64(&self.buffer) {
            Ok(decoded) => decoded,
            // A length of more than these bytes is over the limit, or longer than it need be.
            Err(decode::Error::Insufficient) if self.buffer.len() <= LENGTH_BYTES_MAX => return Ok(None),
            Err(_) => return self.fail(CarFault::BadVarint),
        };
        let prefix = self.buffer.len() - rest.len();
        let len = match usize::try_from(len) {
            Ok(0) => return self.fail(CarFault::Empty),
            Ok(len) if len <= max => len,
            _ => return self.fail(CarFault::TooLarge { len, max }),
        };
        let offset = self.offset;
        let total = (prefix + len) as u64;
        if self.end.is_some_and(|end| offset.saturating_add(total) > end) {
            return self.fail(CarFault::Truncated);
        }
        if rest.len() < len {
            // Grown once, not per chunk; bounded by `max`.
            self.buffer.reserve(prefix + len - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(prefix);
        self.offset = offset.saturating_add(total);
        Ok(Some((offset, self.buffer.split_to(len).freeze())))
    }

    /// Reads the fixed header of version 2 and returns where the payload begins.
    fn v2_header(&mut self) -> Result<u64, CarError> {
        let start = self.offset;
        let mut fixed = self.buffer.split_to(V2_HEADER_BYTES);
        fixed.advance(16);
        let (data_offset, data_size) = (fixed.get_u64_le(), fixed.get_u64_le());
        self.offset = start + V2_HEADER_BYTES as u64;
        let end = data_offset.checked_add(data_size);
        match end {
            Some(end) if data_offset >= self.offset && data_offset <= self.offset + V2_PADDING_BYTES_MAX => {
                self.end = Some(end);
                Ok(data_offset)
            }
            _ => Err(CarError { offset: start, fault: CarFault::BadV2Header }),
        }
    }

    /// Drops bytes up to the position `until`, as far as they are there.
    fn skip(&mut self, until: u64) {
        let wanted = usize::try_from(until.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let skipped = wanted.min(self.buffer.len());
        self.buffer.advance(skipped);
        self.offset = self.offset.saturating_add(skipped as u64);
    }

    fn fail<T>(&self, fault: CarFault) -> Result<T, CarError> {
        Err(CarError { offset: self.offset, fault })
    }
}

/// Bytes of the longest length that is read: enough for [`SECTION_BYTES_MAX`] and for naming a larger one.
const LENGTH_BYTES_MAX: usize = 9;
/// Characteristics, offset and size of the payload, offset of the index.
const V2_HEADER_BYTES: usize = 40;

/// Splits a section into CID and bytes.
fn section(offset: u64, mut bytes: Bytes) -> Result<Section, CarError> {
    let fail = |fault| CarError { offset, fault };
    let cid = Cid::read_bytes(bytes.as_ref()).map_err(|_| fail(CarFault::BadCid))?;
    let cid_len = cid.encoded_len();
    if cid_len > bytes.len() {
        return Err(fail(CarFault::BadCid));
    }
    bytes.advance(cid_len);
    if bytes.len() > BLOCK_BYTES_MAX {
        return Err(fail(CarFault::TooLarge { len: bytes.len() as u64, max: BLOCK_BYTES_MAX }));
    }
    Ok(Section { offset, cid, bytes })
}

/// The header in dag-cbor; fields in the order in which dag-cbor sorts them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roots: Option<Vec<Cid>>,
    version: u64,
}

/// The bytes with which a CAR of version 1 with these roots begins.
///
/// # Errors
/// [`CarFault::TooLarge`] over [`HEADER_BYTES_MAX`].
pub fn encode_header(roots: &[Cid]) -> Result<Bytes, CarError> {
    let header = Header { roots: Some(roots.to_vec()), version: 1 };
    let bytes = serde_ipld_dagcbor::to_vec(&header).map_err(|_| CarError { offset: 0, fault: CarFault::BadHeader })?;
    if bytes.len() > HEADER_BYTES_MAX {
        let fault = CarFault::TooLarge { len: bytes.len() as u64, max: HEADER_BYTES_MAX };
        return Err(CarError { offset: 0, fault });
    }
    let mut buffer = encode::usize_buffer();
    Ok([encode::usize(bytes.len(), &mut buffer), &bytes].concat().into())
}

/// What stands before the bytes of a block in a section: the length, and the CID.
pub fn encode_section_prefix(cid: &Cid, len: usize) -> Bytes {
    let cid = cid.to_bytes();
    let mut buffer = encode::usize_buffer();
    [encode::usize(cid.len().saturating_add(len), &mut buffer), &cid].concat().into()
}

/// Where and why a CAR is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the CAR: {fault}")]
pub struct CarError {
    /// The position in the file of the header or section at fault.
    pub offset: u64,
    /// What is wrong there.
    pub fault: CarFault,
}

/// What can be wrong with a CAR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarFault {
    /// The end comes inside a header or section.
    #[error("the file ends too early")]
    Truncated,
    /// A length over 64 bits, or longer than it need be.
    #[error("a length is over 64 bits or not minimal")]
    BadVarint,
    /// A header or section without bytes (zero padding, which no writer should leave).
    #[error("a length of zero")]
    Empty,
    /// Over a limit.
    #[error("{len} bytes are over the limit of {max}")]
    TooLarge {
        /// The length that was read.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// A header that is not the dag-cbor it should be.
    #[error("the header is not a CAR header")]
    BadHeader,
    /// A version other than 1 and 2.
    #[error("CAR version {0} is not supported")]
    Version(u64),
    /// The header of version 2 points outside of its bounds.
    #[error("the header of version 2 is out of bounds")]
    BadV2Header,
    /// A section that does not begin with a CID.
    #[error("the section does not begin with a CID")]
    BadCid,
    /// The decoder was used after an error.
    #[error("what follows an error cannot be read")]
    Failed,
}

#[cfg(test)]
mod tests;
