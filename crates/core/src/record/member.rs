//! The member record: what a node says of itself, signed with its identity.

use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::RECORD_VERSION;
use crate::envelope::{Record, RecordError};
use crate::id::{PeerId, PublicKey, SiteId};
use crate::keys::{AnswerKey, AnswerPublicKey, Identity, IdentityKey, OperatorKey, verify_ed25519, verify_p256};

/// The most addresses of a member.
pub const MEMBER_ADDRESSES_MAX: usize = 8;
/// The longest operator label, in bytes of UTF-8.
pub const LABEL_BYTES_MAX: usize = 63;
/// The most sites of an allow-list.
const ALLOWED_SITES_MAX: usize = 64;

/// A node, as it presents itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Format version, [`RECORD_VERSION`].
    pub v: u64,
    /// Sequence: the highest wins. By convention milliseconds since the Unix epoch at signing.
    pub seq: u64,
    /// Expiry, in seconds since the Unix epoch.
    pub exp: u64,
    /// Peer id, as bytes of its multihash.
    #[serde(with = "serde_bytes")]
    peer: Vec<u8>,
    /// P-256 answer key, SEC 1 compressed.
    #[serde(with = "serde_bytes")]
    answer: AnswerPublicKey,
    /// The answer key's signature over the peer id.
    #[serde(rename = "answerSig", with = "serde_bytes")]
    answer_sig: [u8; 64],
    /// Who runs it.
    pub operator: OperatorCertificate,
    /// Addresses of the public gateway, as bytes of multiaddrs.
    addrs: Vec<ByteBuf>,
    /// Bytes free for placements.
    pub free: u64,
    /// Which sites it holds for others.
    pub accept: Accept,
}

/// Which placements a node accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accept {
    /// None.
    None,
    /// Those of the listed sites.
    List(Vec<SiteId>),
    /// All, while there is room.
    Any,
}

impl Member {
    /// A member record of this node, to be sealed with `identity`.
    pub fn new(identity: &IdentityKey, answer: &AnswerKey, operator: OperatorCertificate, addrs: &[Multiaddr]) -> Self {
        let peer = identity.peer_id().to_bytes();
        let answer_sig = answer.sign(&answer_message(&peer));
        let addrs = addrs.iter().map(|addr| ByteBuf::from(addr.to_vec())).collect();
        let (v, answer) = (RECORD_VERSION, answer.public());
        Self { v, seq: 0, exp: 0, peer, answer, answer_sig, operator, addrs, free: 0, accept: Accept::Any }
    }

    /// The node's identity. `None` never happens for a record that was checked.
    pub fn peer_id(&self) -> Option<PeerId> {
        PeerId::from_bytes(&self.peer).ok()
    }

    /// The peer id's bytes, as the rank hashes them.
    pub fn peer_bytes(&self) -> &[u8] {
        &self.peer
    }

    /// The key that signs its answers.
    pub fn answer_key(&self) -> &AnswerPublicKey {
        &self.answer
    }

    /// Where its public gateway listens; what does not parse is left out.
    pub fn addresses(&self) -> impl Iterator<Item = Multiaddr> + '_ {
        self.addrs.iter().filter_map(|bytes| Multiaddr::try_from(bytes.to_vec()).ok())
    }

    /// Whether it would hold `bytes` of `site`.
    pub fn accepts(&self, site: &SiteId, bytes: u64) -> bool {
        let listed = match &self.accept {
            Accept::None => false,
            Accept::List(sites) => sites.contains(site),
            Accept::Any => true,
        };
        listed && bytes <= self.free
    }
}

impl Record for Member {
    type Signer = Identity;
    const DOMAIN: &'static str = "atoll-member-1";
    const PAYLOAD_TYPE: &'static str = "/atoll/member";

    fn check(&self, signer: &PublicKey) -> Result<(), RecordError> {
        if self.v != RECORD_VERSION {
            return Err(RecordError::Version(self.v));
        }
        let peer = self.peer_id().ok_or(RecordError::Bounds("peer"))?;
        if PublicKey::from_peer_id(&peer).as_ref() != Some(signer) {
            return Err(RecordError::WrongSigner);
        }
        if !verify_p256(&self.answer, &answer_message(&self.peer), &self.answer_sig) {
            return Err(RecordError::InnerSignature("the answer key"));
        }
        if self.addrs.len() > MEMBER_ADDRESSES_MAX || self.addresses().count() != self.addrs.len() {
            return Err(RecordError::Bounds("addrs"));
        }
        if matches!(&self.accept, Accept::List(sites) if sites.len() > ALLOWED_SITES_MAX) {
            return Err(RecordError::Bounds("accept"));
        }
        // A record that outlived its certificate would claim an operator who no longer vouches.
        if self.exp > self.operator.exp {
            return Err(RecordError::Bounds("exp"));
        }
        self.operator.check(&self.peer)
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn expires(&self) -> u64 {
        self.exp
    }
}

/// An operator's word that a node is its own. Made once, with a key that may stay cold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorCertificate {
    /// The operator: this key, and nothing else.
    pub key: PublicKey,
    /// A label for people. Anybody may claim it.
    pub label: String,
    /// Expiry, in seconds since the Unix epoch.
    pub exp: u64,
    /// The operator's signature.
    #[serde(with = "serde_bytes")]
    sig: [u8; 64],
}

impl OperatorCertificate {
    /// Certifies that `peer` belongs to the owner of `key` until `exp` (seconds since the Unix epoch).
    pub fn issue(key: &OperatorKey, label: &str, peer: &PeerId, exp: u64) -> Self {
        let sig = key.sign(&certificate_message(&peer.to_bytes(), label, exp));
        Self { key: key.public(), label: label.to_owned(), exp, sig }
    }

    /// Checks bounds and signature for the peer of these bytes.
    ///
    /// # Errors
    /// [`RecordError`] names the rule.
    pub fn check(&self, peer: &[u8]) -> Result<(), RecordError> {
        if self.label.len() > LABEL_BYTES_MAX || self.label.chars().any(char::is_control) {
            return Err(RecordError::Bounds("operator.label"));
        }
        if verify_ed25519(&self.key, &certificate_message(peer, &self.label, self.exp), &self.sig) {
            Ok(())
        } else {
            Err(RecordError::InnerSignature("the operator"))
        }
    }
}

/// What the answer key signs.
fn answer_message(peer: &[u8]) -> Vec<u8> {
    [b"atoll-answer-1", peer].concat()
}

/// What the operator signs.
fn certificate_message(peer: &[u8], label: &str, exp: u64) -> Vec<u8> {
    [b"atoll-operator-1", &exp.to_be_bytes()[..], peer, label.as_bytes()].concat()
}
