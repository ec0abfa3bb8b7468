//! Ids: newtypes over public keys and digests, with one text form each (`docs/formats.md`).

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
pub use libp2p_identity::PeerId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Multicodec prefix of an Ed25519 libp2p public key in protobuf form: key type 1, then 32 bytes.
pub(crate) const ED25519_PROTOBUF: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// An Ed25519 public key of 32 bytes that was not checked to be a curve point; verification does that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl PublicKey {
    /// The libp2p protobuf form (36 bytes).
    pub fn to_protobuf(self) -> Vec<u8> {
        [&ED25519_PROTOBUF[..], &self.0].concat()
    }

    /// Reads the libp2p protobuf form; `None` for any other key type or length.
    pub fn from_protobuf(bytes: &[u8]) -> Option<Self> {
        bytes.strip_prefix(&ED25519_PROTOBUF).and_then(|key| key.try_into().ok()).map(Self)
    }

    /// The peer id that this key has as a node's identity.
    pub fn to_peer_id(self) -> Option<PeerId> {
        let key = libp2p_identity::ed25519::PublicKey::try_from_bytes(&self.0).ok()?;
        Some(libp2p_identity::PublicKey::from(key).to_peer_id())
    }

    /// The key that a peer id carries; `None` unless it inlines an Ed25519 key.
    pub fn from_peer_id(peer: &PeerId) -> Option<Self> {
        let hash = peer.as_ref();
        (hash.code() == crate::block::IDENTITY).then(|| Self::from_protobuf(hash.digest())).flatten()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        from_text(text).map(Self)
    }
}

/// A site: SHA-256 of `"atoll-site-1"` and the site's public key, so that a deploy or a rollback changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SiteId(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl SiteId {
    /// The id of the site that `key` speaks for.
    pub fn of(key: &PublicKey) -> Self {
        Self(Sha256::new().chain_update(b"atoll-site-1").chain_update(key.0).finalize().into())
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(&self.0))
    }
}

impl fmt::Debug for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteId({self})")
    }
}

impl FromStr for SiteId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        from_text(text).map(Self)
    }
}

/// A node, as the ledger and signed answers call it: SHA-256 of its answer key as an uncompressed point (SEC 1, 65 bytes).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix("0x").ok_or(IdError::Node)?;
        let bytes = HEXLOWER.decode(digits.as_bytes()).map_err(|_| IdError::Node)?;
        bytes.try_into().map(Self).map_err(|_| IdError::Node)
    }
}

/// Multibase base32, lower case: `b` and 52 characters, short enough for a DNS label.
fn to_text(bytes: &[u8; 32]) -> String {
    let mut text = BASE32_NOPAD.encode(bytes);
    text.make_ascii_lowercase();
    text.insert(0, 'b');
    text
}

/// Reads what [`to_text`] wrote.
fn from_text(text: &str) -> Result<[u8; 32], IdError> {
    let digits = text.strip_prefix('b').ok_or(IdError::Prefix)?;
    let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).map_err(|_| IdError::Base32)?;
    bytes.try_into().map_err(|bytes: Vec<u8>| IdError::Length(bytes.len()))
}

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// No multibase prefix.
    #[error("an id starts with the multibase prefix `b`")]
    Prefix,
    /// A character outside the alphabet, or bits left over.
    #[error("an id is base32 in lower case after its prefix")]
    Base32,
    /// No node's id.
    #[error("a node's id is 0x and 64 hexadecimal digits in lower case")]
    Node,
    /// Another length than 32 bytes.
    #[error("an id is 32 bytes long, this one is {0}")]
    Length(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_come_back() {
        let site = SiteId::of(&PublicKey([7; 32]));
        assert_eq!(site.to_string().len(), 53);
        assert_eq!(site.to_string().parse(), Ok(site));
        assert_eq!("zabc".parse::<SiteId>(), Err(IdError::Prefix));
        assert_eq!("bme".parse::<SiteId>(), Err(IdError::Length(1)));
    }
}
