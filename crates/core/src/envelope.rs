//! Records in libp2p signed envelopes (libp2p RFC 0002): canonical dag-cbor inside, one domain string for each kind.
//!
//! [`Signed`] is made by signing or by checking, in no other way, so holding one is the proof.

use bytes::Bytes;
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use crate::clock::Timestamp;
use crate::id::PublicKey;
use crate::keys::{Role, SecretKey, verify_ed25519};

/// The largest envelope, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = 4096;

/// A kind of record.
pub trait Record: Serialize + DeserializeOwned {
    /// Whose key signs it.
    type Signer: Role;
    /// The domain string, which no other kind shares.
    const DOMAIN: &'static str;
    /// The payload type in the envelope.
    const PAYLOAD_TYPE: &'static str;

    /// Checks what the codec cannot: versions, counts, inner signatures, and that `signer` may say this.
    ///
    /// # Errors
    /// [`RecordError`] names the rule.
    fn check(&self, signer: &PublicKey) -> Result<(), RecordError>;

    /// Which of two records of one signer is newer.
    fn seq(&self) -> u64;

    /// Until when it counts, in seconds since the Unix epoch.
    fn expires(&self) -> u64;
}

/// A record with a checked signature, and the very bytes that carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<R> {
    record: R,
    signer: PublicKey,
    bytes: Bytes,
}

impl<R: Record> Signed<R> {
    /// Signs `record`.
    ///
    /// # Errors
    /// [`RecordError`] when `record` itself breaks a rule, so that nothing leaves that others would refuse.
    pub fn seal(record: R, key: &SecretKey<R::Signer>) -> Result<Self, RecordError> {
        let signer = key.public();
        record.check(&signer)?;
        let payload = encode(&record)?;
        let signature = key.sign(&signing_bytes(R::DOMAIN, R::PAYLOAD_TYPE, &payload)).to_vec();
        let public_key = signer.to_protobuf();
        let wire = Envelope { public_key, payload_type: R::PAYLOAD_TYPE.into(), payload, signature };
        let bytes = Bytes::from(wire.encode_to_vec());
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        Ok(Self { record, signer, bytes })
    }

    /// Checks an envelope from anywhere: size, canonical form, signature, rules; not its expiry, which [`Self::is_live`] tells.
    ///
    /// # Errors
    /// [`RecordError`] names the first rule it breaks.
    pub fn open(bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        let wire = Envelope::decode(&bytes[..]).map_err(|_| RecordError::Envelope)?;
        if wire.encode_to_vec() != bytes {
            return Err(RecordError::NotCanonical);
        }
        if wire.payload_type != R::PAYLOAD_TYPE.as_bytes() {
            return Err(RecordError::OtherKind);
        }
        let signer = PublicKey::from_protobuf(&wire.public_key).ok_or(RecordError::KeyType)?;
        let signature: [u8; 64] = wire.signature.as_slice().try_into().map_err(|_| RecordError::Signature)?;
        if !verify_ed25519(&signer, &signing_bytes(R::DOMAIN, R::PAYLOAD_TYPE, &wire.payload), &signature) {
            return Err(RecordError::Signature);
        }
        let record: R = serde_ipld_dagcbor::from_slice(&wire.payload).map_err(|_| RecordError::Payload)?;
        if encode(&record)? != wire.payload {
            return Err(RecordError::NotCanonical);
        }
        record.check(&signer)?;
        Ok(Self { record, signer, bytes })
    }

    /// The record.
    pub fn record(&self) -> &R {
        &self.record
    }

    /// Who signed it.
    pub fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// The envelope, as it travels.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether it has not expired at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < Timestamp::from_secs(self.record.expires())
    }

    /// Whether it replaces `other` of the same signer: a higher sequence, or between equals the greater bytes, so that
    /// all nodes choose alike.
    pub fn replaces(&self, other: &Self) -> bool {
        (self.record.seq(), &self.bytes) > (other.record.seq(), &other.bytes)
    }
}

/// The payload type of an envelope from anywhere, unchecked: tells which kind to open it as.
pub fn payload_type(bytes: &[u8]) -> Option<String> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        return None;
    }
    Envelope::decode(bytes).ok().and_then(|wire| String::from_utf8(wire.payload_type).ok())
}

/// libp2p RFC 0002, "Signature Production / Verification": each part behind its length as an unsigned varint.
fn signing_bytes(domain: &str, payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(domain.len() + payload_type.len() + payload.len() + 8);
    for part in [domain.as_bytes(), payload_type.as_bytes(), payload] {
        let mut length = unsigned_varint::encode::usize_buffer();
        out.extend_from_slice(unsigned_varint::encode::usize(part.len(), &mut length));
        out.extend_from_slice(part);
    }
    out
}

/// Canonical dag-cbor.
fn encode<R: Serialize>(record: &R) -> Result<Vec<u8>, RecordError> {
    serde_ipld_dagcbor::to_vec(record).map_err(|_| RecordError::Payload)
}

/// The wire form of libp2p RFC 0002. Field 4 is reserved there.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(bytes = "vec", tag = "1")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    payload_type: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    signature: Vec<u8>,
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Over [`ENVELOPE_BYTES_MAX`].
    #[error("an envelope of {0} bytes is over the limit of {ENVELOPE_BYTES_MAX}")]
    TooLarge(usize),
    /// Not the protobuf of libp2p RFC 0002.
    #[error("not a signed envelope")]
    Envelope,
    /// The same meaning could be written otherwise, which would give one record two names.
    #[error("the envelope or its payload is not in canonical form")]
    NotCanonical,
    /// Another kind of record, or an unknown one.
    #[error("the envelope carries another kind of record")]
    OtherKind,
    /// Only Ed25519 signs records.
    #[error("the envelope's key is not an Ed25519 key")]
    KeyType,
    /// The outer signature does not verify.
    #[error("the envelope's signature does not verify")]
    Signature,
    /// Not dag-cbor, or not of this shape.
    #[error("the payload is not dag-cbor of the expected shape")]
    Payload,
    /// A version from the future, or from nowhere.
    #[error("record version {0} is not known; this node may be too old")]
    Version(u64),
    /// The signer speaks for somebody else.
    #[error("the signer may not sign this record")]
    WrongSigner,
    /// An inner signature does not verify.
    #[error("the signature of {0} does not verify")]
    InnerSignature(&'static str),
    /// A field outside its bounds.
    #[error("field `{0}` is outside its bounds")]
    Bounds(&'static str),
}
