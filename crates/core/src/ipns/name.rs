//! A name: the multihash of a public key, and its forms as text.

use std::fmt;
use std::str::FromStr;

use cid::multibase::Base;
use libp2p_identity::PeerId;

use crate::block::Cid;
use crate::id::{PublicKey, SiteId};

/// Multicodec of a libp2p public key.
const LIBP2P_KEY: u64 = 0x72;
/// The longest text that is looked at, in bytes: base 2 would be longer, and nobody writes it.
const TEXT_BYTES_MAX: usize = 160;

/// An IPNS name (IPNS Record, "IPNS Name"): a key inlined in an identity multihash, or its SHA-256. Its one text form is
/// the CIDv1 of codec libp2p-key in base36.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(PeerId);

impl Name {
    /// The name of an Ed25519 key; `None` when its 32 bytes are no curve point.
    pub fn of(key: &PublicKey) -> Option<Self> {
        key.to_peer_id().map(Self)
    }

    /// The name of any key.
    pub(super) fn of_libp2p(key: &libp2p_identity::PublicKey) -> Self {
        Self(key.to_peer_id())
    }

    /// The name that a CID stands for, whatever its codec: subdomains of old are of dag-pb.
    ///
    /// # Errors
    /// [`NameParseError`] when its multihash is none of a key.
    pub fn from_cid(cid: &Cid) -> Result<Self, NameParseError> {
        Self::from_bytes(&cid.hash().to_bytes())
    }

    /// Reads a multihash.
    ///
    /// # Errors
    /// [`NameParseError`] when it is none of a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameParseError> {
        PeerId::from_bytes(bytes).map(Self).map_err(|_| NameParseError)
    }

    /// The multihash.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// The CIDv1 of codec libp2p-key.
    pub fn to_cid(self) -> Cid {
        // A key's multihash is shorter than that of a CID may be, so this cannot fail.
        Cid::new_v1(LIBP2P_KEY, self.0.as_ref().resize().unwrap_or_default())
    }

    /// The site whose key this is, if it is one: a site's key is also its IPNS key (`docs/decisions/0011-a-sites-key-is-its-name.md`).
    pub fn site(&self) -> Option<SiteId> {
        PublicKey::from_peer_id(&self.0).map(|key| SiteId::of(&key))
    }

    /// The key, when the name inlines it.
    pub(super) fn key(&self) -> Option<libp2p_identity::PublicKey> {
        let hash = self.0.as_ref();
        let is_inline = hash.code() == crate::block::IDENTITY;
        is_inline.then(|| libp2p_identity::PublicKey::try_decode_protobuf(hash.digest()).ok()).flatten()
    }
}

impl FromStr for Name {
    type Err = NameParseError;

    /// Reads `k51…`, `12D3KooW…`, `Qm…`, and a CIDv1 of any codec in any base.
    fn from_str(text: &str) -> Result<Self, NameParseError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(NameParseError);
        }
        if text.starts_with('1') || text.starts_with("Qm") {
            return text.parse().map(Self).map_err(|_| NameParseError);
        }
        let cid: Cid = text.parse().map_err(|_| NameParseError)?;
        Self::from_cid(&cid)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_cid().to_string_of_base(Base::Base36Lower).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// A text or a CID that is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an IPNS name is the multihash of a public key: k51…, k2k4…, 12D3KooW…, Qm…, or a CIDv1")]
pub struct NameParseError;
