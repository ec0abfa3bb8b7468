//! IPNS: names that are keys, and the records that say what they point at (IPNS Record and Protocol, 2025-02-28).
//!
//! [`Record`] is made by signing or by checking, in no other way, so holding one is the proof. Whether its time has passed
//! is asked apart, since that changes while it lies. Nothing is kept, a crash loses nothing.

mod create;
mod eol;
mod name;
mod record;
mod wire;

pub use create::{LIFETIME_DEFAULT, NewRecord, TTL_DEFAULT};
pub use eol::Eol;
pub use name::{Name, NameParseError};
pub use record::{RECORD_BYTES_MAX, Record, RecordError};

/// Media type of a record ("Record Serialization Format").
pub const MEDIA_TYPE: &str = "application/vnd.ipfs.ipns-record";

/// What the V2 signature is over, before the data: no other signature of Atoll's keys begins so.
const SIGNATURE_PREFIX: &[u8] = b"ipns-signature:";

/// The bytes that `signatureV2` signs.
fn signing_bytes(data: &[u8]) -> Vec<u8> {
    [SIGNATURE_PREFIX, data].concat()
}

#[cfg(test)]
mod tests;
