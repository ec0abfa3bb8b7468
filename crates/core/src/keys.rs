//! Keys: Ed25519 for identities, operators and sites, P-256 for answers. Each is stored as PKCS#8 PEM (RFC 5958, RFC 8410),
//! which OpenSSL reads. Secrets never appear in `Debug`.

use std::fmt;
use std::marker::PhantomData;

use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use p256::ecdsa::RecoveryId;
use p256::ecdsa::signature::Verifier;
use sha2::{Digest as _, Sha256};

use crate::id::{NodeId, PeerId, PublicKey, SiteId};

/// What an Ed25519 key is for. A key of one role cannot sign where another is wanted.
pub trait Role: 'static {
    /// The word for it in messages and file names.
    const NAME: &'static str;
}

/// A node's libp2p identity: signs member records and probe answers.
#[derive(Debug, Clone, Copy)]
pub enum Identity {}
/// An operator: certifies the nodes that it runs. May stay cold.
#[derive(Debug, Clone, Copy)]
pub enum Operator {}
/// A site: signs placements. Never on a node.
#[derive(Debug, Clone, Copy)]
pub enum Site {}

impl Role for Identity {
    const NAME: &'static str = "identity";
}
impl Role for Operator {
    const NAME: &'static str = "operator";
}
impl Role for Site {
    const NAME: &'static str = "site";
}

/// How libp2p's protobuf of an Ed25519 private key begins: key type 1, then 64 bytes, or of old 96.
const LIBP2P_PRIVATE: [[u8; 4]; 2] = [[0x08, 0x01, 0x12, 0x40], [0x08, 0x01, 0x12, 0x60]];

/// An Ed25519 secret key with a [`Role`].
pub struct SecretKey<R> {
    key: SigningKey,
    role: PhantomData<fn() -> R>,
}

/// See [`Identity`].
pub type IdentityKey = SecretKey<Identity>;
/// See [`Operator`].
pub type OperatorKey = SecretKey<Operator>;
/// See [`Site`].
pub type SiteKey = SecretKey<Site>;

impl<R: Role> SecretKey<R> {
    /// A fresh key from the operating system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the operating system has none.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self::from_seed(&random_bytes()?))
    }

    /// The key of a 32-byte seed (RFC 8032 §5.1.5), for vectors and simulations.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(seed), role: PhantomData }
    }

    /// Reads PKCS#8 PEM.
    ///
    /// # Errors
    /// [`KeyError::Pem`] when it is anything else.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Pem("Ed25519"))?;
        Ok(Self { key, role: PhantomData })
    }

    /// Writes PKCS#8 PEM.
    ///
    /// # Errors
    /// [`KeyError::Pem`] never in practice.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Pem("Ed25519"))?;
        Ok(pem.to_string())
    }

    /// Reads libp2p's protobuf of a private key, as `ipfs key export` writes it: the seed, then the public key once or, of
    /// old, twice (libp2p peer ids, "Ed25519").
    ///
    /// # Errors
    /// [`KeyError::Libp2p`] when it is anything else, or when the public key is not the seed's.
    pub fn from_libp2p(bytes: &[u8]) -> Result<Self, KeyError> {
        let body = LIBP2P_PRIVATE.iter().find_map(|head| bytes.strip_prefix(head)).ok_or(KeyError::Libp2p)?;
        let (seed, public) = body.split_at_checked(32).ok_or(KeyError::Libp2p)?;
        let key = Self::from_seed(seed.try_into().map_err(|_| KeyError::Libp2p)?);
        let is_own = |public: &[u8]| public == key.public().0;
        let whole = matches!((bytes.len(), public.len()), (68, 32) | (100, 64));
        if whole && public.chunks(32).all(is_own) { Ok(key) } else { Err(KeyError::Libp2p) }
    }

    /// Writes libp2p's protobuf of a private key, as Kubo reads it.
    pub fn to_libp2p(&self) -> Vec<u8> {
        [&LIBP2P_PRIVATE[0][..], self.key.as_bytes(), &self.public().0].concat()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    /// Signs `message` (RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl SecretKey<Identity> {
    /// The peer id of this identity.
    pub fn peer_id(&self) -> PeerId {
        let bytes = self.public().to_protobuf();
        // The protobuf form is 36 bytes, under libp2p's limit of 42 for inlining, so this cannot fail.
        cid::multihash::Multihash::wrap(crate::block::IDENTITY, &bytes)
            .ok()
            .and_then(|hash| PeerId::from_multihash(hash).ok())
            .unwrap_or_else(|| unreachable_peer_id(&self.public()))
    }
}

impl SecretKey<Site> {
    /// The id of the site that this key speaks for.
    pub fn site_id(&self) -> SiteId {
        SiteId::of(&self.public())
    }
}

impl<R: Role> fmt::Debug for SecretKey<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey<{}>({})", R::NAME, self.public())
    }
}

/// Falls back on libp2p's own derivation.
fn unreachable_peer_id(key: &PublicKey) -> PeerId {
    key.to_peer_id().unwrap_or_else(PeerId::random)
}

/// Checks an Ed25519 signature strictly: canonical encodings, no small-order keys.
pub fn verify_ed25519(key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// A node's P-256 secret: signs its answers (RFC 9421, `ecdsa-p256-sha256`).
pub struct AnswerKey(p256::ecdsa::SigningKey);

/// The public half of an [`AnswerKey`]: SEC 1 compressed, 33 bytes.
pub type AnswerPublicKey = [u8; 33];

impl AnswerKey {
    /// A fresh key from the operating system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the operating system has none.
    pub fn generate() -> Result<Self, KeyError> {
        // A random scalar is out of range with probability 2⁻³², so a few tries always do.
        (0..8).find_map(|_| Self::from_scalar(&random_bytes().ok()?)).ok_or(KeyError::Randomness)
    }

    /// The key of a big-endian scalar, `None` when it is zero or not below the order.
    pub fn from_scalar(scalar: &[u8; 32]) -> Option<Self> {
        p256::ecdsa::SigningKey::from_slice(scalar).ok().map(Self)
    }

    /// Reads PKCS#8 PEM.
    ///
    /// # Errors
    /// [`KeyError::Pem`] when it is anything else.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        use p256::pkcs8::DecodePrivateKey as _;
        let key = p256::SecretKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Pem("P-256"))?;
        Ok(Self(key.into()))
    }

    /// Writes PKCS#8 PEM.
    ///
    /// # Errors
    /// [`KeyError::Pem`] never in practice.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        use p256::pkcs8::EncodePrivateKey as _;
        let key = p256::SecretKey::from(&self.0);
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Pem("P-256"))?;
        Ok(pem.to_string())
    }

    /// The public half, SEC 1 compressed.
    pub fn public(&self) -> AnswerPublicKey {
        compressed(self.0.verifying_key())
    }

    /// The public half as PEM (SubjectPublicKeyInfo), for programs that others wrote.
    ///
    /// # Errors
    /// [`KeyError::Pem`] never in practice.
    pub fn public_pem(&self) -> Result<String, KeyError> {
        use p256::pkcs8::EncodePublicKey as _;
        let key = p256::PublicKey::from(self.0.verifying_key());
        key.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Pem("P-256"))
    }

    /// The id of the node that signs with it.
    pub fn node_id(&self) -> NodeId {
        node_id(self.0.verifying_key())
    }

    /// Signs SHA-256 of `message`, deterministically (RFC 6979): raw r‖s with s in the lower half.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature: p256::ecdsa::Signature = self.0.sign(message);
        signature.normalize_s().to_bytes().into()
    }
}

impl fmt::Debug for AnswerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerKey({})", data_encoding::HEXLOWER.encode(&self.public()))
    }
}

/// Checks an ECDSA P-256 signature over SHA-256 of `message`: raw r‖s, s in the lower half.
pub fn verify_p256(key: &AnswerPublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(key) = p256::ecdsa::VerifyingKey::from_sec1_bytes(key) else { return false };
    let Ok(signature) = p256::ecdsa::Signature::from_slice(signature) else { return false };
    signature.normalize_s() == signature && key.verify(message, &signature).is_ok()
}

/// The key with which the node of that id made a signature over SHA-256 of `message`: raw r‖s, s in either half, as the ledger
/// takes it. A signature fits at most four keys (SEC 1, section 4.1.6), and the id is the hash of one, so that no key need be
/// known beforehand. `None` if that node did not make it.
pub fn signer_p256(node: &NodeId, message: &[u8], signature: &[u8; 64]) -> Option<AnswerPublicKey> {
    let signature = p256::ecdsa::Signature::from_slice(signature).ok()?.normalize_s();
    let hash = Sha256::digest(message);
    let candidates = (0..=RecoveryId::MAX).filter_map(RecoveryId::from_byte);
    let mut keys =
        candidates.filter_map(|id| p256::ecdsa::VerifyingKey::recover_from_prehash(&hash, &signature, id).ok());
    let key = keys.find(|key| node_id(key) == *node)?;
    key.verify(message, &signature).ok()?;
    Some(compressed(&key))
}

fn node_id(key: &p256::ecdsa::VerifyingKey) -> NodeId {
    NodeId(Sha256::digest(key.to_sec1_point(false).as_bytes()).into())
}

fn compressed(key: &p256::ecdsa::VerifyingKey) -> AnswerPublicKey {
    let mut bytes = [0; 33];
    bytes.copy_from_slice(key.to_sec1_point(true).as_bytes());
    bytes
}

/// 32 bytes of the operating system's randomness.
fn random_bytes() -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| KeyError::Randomness)?;
    Ok(bytes)
}

/// Why a key could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not what OpenSSL would write for this algorithm.
    #[error("not a PKCS#8 PEM private key for {0} (\"-----BEGIN PRIVATE KEY-----\")")]
    Pem(&'static str),
    /// Not what `ipfs key export` writes for an Ed25519 key.
    #[error("not an Ed25519 private key in libp2p's form (`ipfs key export`)")]
    Libp2p,
    /// `getrandom` failed.
    #[error("the operating system gave no randomness")]
    Randomness,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_comes_back() {
        let site = SiteKey::from_seed(&[1; 32]);
        assert_eq!(SiteKey::from_pem(&site.to_pem().unwrap()).unwrap().public(), site.public());
        let answer = AnswerKey::from_scalar(&[1; 32]).unwrap();
        assert_eq!(AnswerKey::from_pem(&answer.to_pem().unwrap()).unwrap().public(), answer.public());
        assert!(SiteKey::from_pem(&answer.to_pem().unwrap()).is_err());
    }

    #[test]
    fn libp2ps_form_comes_back() {
        let site = SiteKey::from_seed(&[1; 32]);
        let mut bytes = site.to_libp2p();
        let theirs = libp2p_identity::Keypair::from_protobuf_encoding(&bytes).unwrap();
        assert_eq!(theirs.public().encode_protobuf(), site.public().to_protobuf());
        assert_eq!(SiteKey::from_libp2p(&bytes).unwrap().public(), site.public());
        let old = [&[0x08, 0x01, 0x12, 0x60][..], &bytes[4..], &site.public().0].concat();
        assert_eq!(SiteKey::from_libp2p(&old).unwrap().public(), site.public());
        assert!(SiteKey::from_libp2p(&bytes[..67]).is_err());
        bytes[40] ^= 1;
        assert!(SiteKey::from_libp2p(&bytes).is_err());
    }

    #[test]
    fn peer_id_is_libp2ps() {
        let key = IdentityKey::from_seed(&[2; 32]);
        assert_eq!(Some(key.peer_id()), key.public().to_peer_id());
        assert_eq!(PublicKey::from_peer_id(&key.peer_id()), Some(key.public()));
        assert!(key.peer_id().to_string().starts_with("12D3KooW"));
    }

    #[test]
    fn a_high_s_is_refused() {
        let key = AnswerKey::from_scalar(&[3; 32]).unwrap();
        let low = key.sign(b"calm");
        assert!(verify_p256(&key.public(), b"calm", &low));
        let signature = p256::ecdsa::Signature::from_slice(&low).unwrap();
        let (r, s) = signature.split_scalars();
        let high = p256::ecdsa::Signature::from_scalars(r, -s).unwrap();
        let high = high.to_bytes().into();
        assert!(!verify_p256(&key.public(), b"calm", &high));
        // What browsers and the ledger take, clients take.
        assert_eq!(signer_p256(&key.node_id(), b"calm", &high), Some(key.public()));
        assert_eq!(signer_p256(&key.node_id(), b"calm", &low), Some(key.public()));
        assert_eq!(signer_p256(&key.node_id(), b"storm", &low), None);
    }
}
