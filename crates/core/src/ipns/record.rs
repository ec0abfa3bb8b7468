//! A record that was checked, and the very bytes that carry it.

use std::time::Duration;

use bytes::Bytes;
use libp2p_identity::PublicKey;
use prost::Message as _;

use super::wire::{Data, Entry, filled};
use super::{Eol, Name, TTL_DEFAULT, signing_bytes};
use crate::clock::Timestamp;
use crate::content_path::{ContentPath, ContentPathError};
use crate::names::SignedName;

/// The largest record, in bytes (IPNS Record, "Record Size Limit").
pub const RECORD_BYTES_MAX: usize = 10 * 1024;

/// What a record of an empty value points at, as Kubo has it: the empty block.
const EMPTY_TARGET: &str = "/ipfs/bafkqaaa";

/// A record whose signature is its name's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    name: Name,
    value: Vec<u8>,
    sequence: u64,
    eol: Eol,
    ttl: Duration,
    bytes: Bytes,
}

impl Record {
    /// Checks `bytes` from anywhere to be a record of `name` (IPNS Record, "Record Verification", steps 1 to 7); not
    /// whether its time has passed, which [`Self::is_live`] tells.
    ///
    /// # Errors
    /// [`RecordError`] names the first rule that they break.
    pub fn verify(name: &Name, bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        let entry = Entry::decode(&bytes[..]).map_err(|_| RecordError::Protobuf)?;
        let signature = filled(&entry.signature_v2).ok_or(RecordError::NotV2)?;
        let signed = filled(&entry.data).ok_or(RecordError::NotV2)?;
        let key = key_of(name, &entry)?;
        let data: Data = serde_ipld_dagcbor::from_slice(signed).map_err(|_| RecordError::Data)?;
        if !key.verify(&signing_bytes(signed), signature) {
            return Err(RecordError::Signature);
        }
        if let Some(field) = data.differs_from(&entry).filter(|_| entry.has_v1()) {
            return Err(RecordError::Differs(field));
        }
        if data.validity_type != 0 {
            return Err(RecordError::ValidityType(data.validity_type));
        }
        let eol = Eol::parse(&data.validity).ok_or(RecordError::Validity)?;
        let ttl = data.ttl.map_or(TTL_DEFAULT, Duration::from_nanos);
        Ok(Self { name: *name, value: data.value.into_vec(), sequence: data.sequence, eol, ttl, bytes })
    }

    /// Whose record it is.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What it points at, as it was written.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// What it points at: a content path, a CID in binary, or nothing, which is the empty block.
    ///
    /// # Errors
    /// [`ContentPathError`] when it is none of them.
    pub fn target(&self) -> Result<ContentPath, ContentPathError> {
        match self.value.first() {
            None => EMPTY_TARGET.parse(),
            Some(b'/') => std::str::from_utf8(&self.value).map_err(|_| ContentPathError::NotUtf8)?.parse(),
            Some(_) => ContentPath::from_cid_bytes(&self.value),
        }
    }

    /// Its version: the highest counts.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When its life ends.
    pub fn eol(&self) -> Eol {
        self.eol
    }

    /// For how long it may be shown before it is asked for again.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The protobuf, as it travels.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether its time has not passed at `now` ("Record Verification", step 8).
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.eol.timestamp()
    }

    /// Whether it replaces `other` of the same name: the higher sequence, then the later end, then, so that all choose
    /// alike, the greater bytes.
    pub fn replaces(&self, other: &Self) -> bool {
        (self.sequence, self.eol, &self.bytes) > (other.sequence, other.eol, &other.bytes)
    }

    /// The same for those who check it themselves.
    pub fn signed(&self) -> SignedName {
        let valid_until = self.eol.timestamp();
        SignedName { name: self.name.to_cid(), bytes: self.bytes.clone(), ttl: self.ttl, valid_until }
    }
}

/// The key that the record must be signed with: the one it brings if that is the name's, else the one in the name.
fn key_of(name: &Name, entry: &Entry) -> Result<PublicKey, RecordError> {
    let Some(bytes) = filled(&entry.pub_key) else { return name.key().ok_or(RecordError::KeyMissing) };
    let key = PublicKey::try_decode_protobuf(bytes).map_err(|_| RecordError::Key)?;
    if Name::of_libp2p(&key) == *name { Ok(key) } else { Err(RecordError::OtherKey) }
}

/// Why bytes are no record of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Over [`RECORD_BYTES_MAX`].
    #[error("a record of {0} bytes is over the limit of {RECORD_BYTES_MAX}")]
    TooLarge(usize),
    /// Not the outer encoding.
    #[error("it is not a protobuf of an IPNS record")]
    Protobuf,
    /// No `signatureV2` or no `data`: one of the first version, which proves nothing.
    #[error("it has no signatureV2 over its data, and signatureV1 proves nothing")]
    NotV2,
    /// The name does not hold the key, and the record does not bring it.
    #[error("the name's public key is neither in the name nor in the record")]
    KeyMissing,
    /// A key that is none.
    #[error("its public key cannot be read")]
    Key,
    /// The record brings the key of another name.
    #[error("its public key is that of another name")]
    OtherKey,
    /// Not the inner encoding.
    #[error("its data is not dag-cbor with Value, Validity, ValidityType, Sequence and TTL")]
    Data,
    /// Not signed with the name's key.
    #[error("signatureV2 does not verify")]
    Signature,
    /// A field for old readers says something else than what is signed.
    #[error("field {0} differs between the protobuf and what is signed")]
    Differs(&'static str),
    /// No end of life, but something unknown.
    #[error("validity type {0} is not known")]
    ValidityType(u64),
    /// No moment.
    #[error("its validity is not a time as RFC 3339 writes it")]
    Validity,
    /// The end of life cannot be written.
    #[error("a record cannot end after the year 9999")]
    EndTooLate,
    /// The key is none that can have a name.
    #[error("the signing key has no name")]
    Unnamed,
}
