//! IPLD data: dag-cbor and dag-json, read as one stream of events, and paths through them.
//!
//! No tree is built, since a block of 2 MiB could hold two million empty lists: whoever wants to know something of a block
//! is told of its values in order and remembers what it needs. Both codecs are read strictly, so that what a reader is
//! told has one meaning only. Nothing is kept, a crash loses nothing.

use crate::block::{BLOCK_BYTES_MAX, Cid, DAG_CBOR, DAG_JSON};

mod cbor;
mod json;
mod lookup;

pub use lookup::{Found, lookup};

/// The most lists and maps that stand in one another (below what `serde_ipld_dagcbor` can go down).
pub const DEPTH_MAX: usize = 100;

/// One step through a block, in the order in which it is written. Every start is followed by its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number of -2^64 to 2^64-1.
    Integer(i128),
    /// A number that is finite.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// The name of another block.
    Link(Cid),
    /// A list begins; its values follow.
    ListStart,
    /// A list ends.
    ListEnd,
    /// A map begins; keys follow, each with its value.
    MapStart,
    /// The key of the value that comes next; no map has one twice.
    Key(&'a str),
    /// A map ends.
    MapEnd,
}

/// Whether blocks of `codec` are IPLD data that [`walk`] reads.
pub fn is_data(codec: u64) -> bool {
    matches!(codec, DAG_CBOR | DAG_JSON)
}

/// Reads a block of `codec` and tells `sink` of everything in it. Whether a block is sound is known when it ends.
///
/// # Errors
/// [`DataError`] names the first rule that the bytes break.
pub fn walk(codec: u64, bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Result<(), DataError> {
    if bytes.len() > BLOCK_BYTES_MAX {
        return Err(DataError::TooLarge(bytes.len()));
    }
    match codec {
        DAG_CBOR => cbor::walk(bytes, sink),
        DAG_JSON => json::walk(bytes, sink),
        other => Err(DataError::Codec(other)),
    }
}

/// Whether a file that begins with `start` is JSON, as far as that tells: a list or a map, alone, and whole or cut off.
pub fn is_json_start(start: &[u8]) -> bool {
    let contained = matches!(start.trim_ascii_start().first(), Some(b'{' | b'['));
    let mut values = serde_json::Deserializer::from_slice(start).into_iter::<serde::de::IgnoredAny>();
    contained
        && match values.next() {
            Some(Ok(_)) => values.next().is_none(),
            Some(Err(cause)) => cause.is_eof(),
            None => false,
        }
}

/// Why a block is no IPLD data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Larger than any block.
    #[error("a block of {0} bytes is over the limit of {BLOCK_BYTES_MAX}")]
    TooLarge(usize),
    /// A codec that is not read here.
    #[error("codec 0x{0:x} is no IPLD data")]
    Codec(u64),
    /// More levels than [`DEPTH_MAX`].
    #[error("lists and maps stand in one another over {DEPTH_MAX} times")]
    TooDeep,
    /// Not dag-cbor, with what its decoder says.
    #[error("not dag-cbor: {0}")]
    DagCbor(String),
    /// Not dag-json.
    #[error("not dag-json: {what}, at byte {at}")]
    DagJson {
        /// The rule that is broken.
        what: &'static str,
        /// The first byte that breaks it.
        at: usize,
    },
}

#[cfg(test)]
mod tests;
