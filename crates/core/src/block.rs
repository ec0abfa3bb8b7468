//! Blocks: bytes and the CID that names them, checked against each other once, when the pair is made.
//!
//! A [`Block`] cannot be built from bytes that do not hash to its CID, so holding one is the proof.

use bytes::Bytes;
use cid::CidGeneric;
pub use cid::Version;
use multihash_codetable::{Code, MultihashDigest};

/// The name of a block: a codec and a multihash, with room for identity digests of [`IDENTITY_BYTES_MAX`]
/// (`docs/decisions/0010-identity-cids.md`).
pub type Cid = CidGeneric<IDENTITY_BYTES_MAX>;

/// The multihash of a block, the key under which it is stored whatever its codec.
pub type Multihash = cid::multihash::Multihash<IDENTITY_BYTES_MAX>;

/// The largest block that is accepted, in bytes (Bitswap 1.2 and the trustless gateway both say 2 MiB).
pub const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The largest digest of an identity CID, in bytes (UnixFS, IPIP-512).
pub const IDENTITY_BYTES_MAX: usize = 128;

/// The shortest digest that proves anything, in bytes (Kubo's limit too).
pub const DIGEST_BYTES_MIN: usize = 20;

/// Multicodec of raw bytes.
pub const RAW: u64 = 0x55;
/// Multicodec of dag-pb.
pub const DAG_PB: u64 = 0x70;
/// Multicodec of dag-cbor.
pub const DAG_CBOR: u64 = 0x71;
/// Multicodec of dag-json.
pub const DAG_JSON: u64 = 0x0129;
/// Multicodec of plain CBOR, which has no links.
pub const CBOR: u64 = 0x51;
/// Multicodec of plain JSON, which has no links.
pub const JSON: u64 = 0x0200;
/// Multicodec of a libp2p public key, which has no links.
pub const LIBP2P_KEY: u64 = 0x72;
/// Multihash code of the identity "hash".
pub const IDENTITY: u64 = 0x00;
/// Multihash code of SHA2-256.
pub const SHA2_256: u64 = 0x12;

/// Bytes that were checked against their CID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    bytes: Bytes,
}

impl Block {
    /// Checks `bytes` against `cid`.
    ///
    /// # Errors
    /// [`BlockError`] names the first rule the pair breaks: size, unknown hash function, or a digest that differs.
    pub fn verified(cid: Cid, bytes: Bytes) -> Result<Self, BlockError> {
        verify(&cid, &bytes)?;
        Ok(Self { cid, bytes })
    }

    /// Hashes `bytes` with SHA2-256 and names them as a CIDv1 of `codec`.
    ///
    /// # Errors
    /// [`BlockError::TooLarge`] over [`BLOCK_BYTES_MAX`].
    pub fn sha2_256(codec: u64, bytes: Bytes) -> Result<Self, BlockError> {
        check_size(bytes.len())?;
        let hash = Code::Sha2_256.digest(&bytes).resize().map_err(|_| BlockError::UnknownHash(SHA2_256))?;
        Ok(Self { cid: Cid::new_v1(codec, hash), bytes })
    }

    /// Hashes a dag-pb node with SHA2-256 and names it as a CID of that version.
    ///
    /// # Errors
    /// [`BlockError::TooLarge`] over [`BLOCK_BYTES_MAX`].
    pub fn dag_pb(version: Version, bytes: Bytes) -> Result<Self, BlockError> {
        let block = Self::sha2_256(DAG_PB, bytes)?;
        // A CIDv1 of dag-pb and SHA2-256 has its form of version 0, so that this never falls back.
        let cid = if version == Version::V0 { Cid::new_v0(*block.cid.hash()).unwrap_or(block.cid) } else { block.cid };
        Ok(Self { cid, ..block })
    }

    /// Bytes whose hash was just computed and named `cid`.
    pub(crate) fn hashed(cid: Cid, bytes: Bytes) -> Self {
        Self { cid, bytes }
    }

    /// The block that an identity CID carries in itself, `None` for every other CID.
    pub fn inline(cid: &Cid) -> Option<Self> {
        let hash = cid.hash();
        (hash.code() == IDENTITY && hash.digest().len() <= IDENTITY_BYTES_MAX)
            .then(|| Self { cid: *cid, bytes: Bytes::copy_from_slice(hash.digest()) })
    }

    /// The name of the block.
    pub fn cid(&self) -> &Cid {
        &self.cid
    }

    /// The content; cheap to clone.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Name and content.
    pub fn into_parts(self) -> (Cid, Bytes) {
        (self.cid, self.bytes)
    }
}

/// Checks that `bytes` hash to `cid`, within [`BLOCK_BYTES_MAX`].
///
/// # Errors
/// See [`BlockError`].
pub fn verify(cid: &Cid, bytes: &[u8]) -> Result<(), BlockError> {
    check_size(bytes.len())?;
    let expected = cid.hash();
    if expected.code() == IDENTITY {
        if expected.digest().len() > IDENTITY_BYTES_MAX {
            return Err(BlockError::IdentityTooLarge(expected.digest().len()));
        }
        return if expected.digest() == bytes { Ok(()) } else { Err(BlockError::Mismatch(*cid)) };
    }
    let code = Code::try_from(expected.code()).map_err(|_| BlockError::UnknownHash(expected.code()))?;
    if expected.digest().len() < DIGEST_BYTES_MIN {
        return Err(BlockError::DigestTooShort(expected.digest().len()));
    }
    let actual = code.digest(bytes);
    // A truncated digest would make a collision cheap, so the whole digest must be there.
    if actual.digest() == expected.digest() { Ok(()) } else { Err(BlockError::Mismatch(*cid)) }
}

/// The CID of exactly these bytes.
///
/// Nearly all are CIDv1 of raw, dag-pb or dag-cbor with SHA2-256, and are read here without the way over a reader, which
/// takes four times as long: a directory of 1 MiB has 20,000 of them.
pub fn binary_cid(bytes: &[u8]) -> Option<Cid> {
    match bytes {
        [0x01, codec @ (0x55 | 0x70 | 0x71), 0x12, 0x20, digest @ ..] if digest.len() == 32 => {
            Some(Cid::new_v1(u64::from(*codec), Multihash::wrap(SHA2_256, digest).ok()?))
        }
        _ => Cid::try_from(bytes).ok().filter(|cid| cid.encoded_len() == bytes.len()),
    }
}

/// Refuses what is over [`BLOCK_BYTES_MAX`].
fn check_size(len: usize) -> Result<(), BlockError> {
    if len > BLOCK_BYTES_MAX { Err(BlockError::TooLarge(len)) } else { Ok(()) }
}

/// Why bytes are not the block that a CID names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The bytes hash to something else.
    #[error("the bytes do not hash to {0}")]
    Mismatch(Cid),
    /// Over the limit that every IPFS implementation shares.
    #[error("a block of {0} bytes is over the limit of {BLOCK_BYTES_MAX}")]
    TooLarge(usize),
    /// An identity CID with a digest too long to be one.
    #[error("an identity CID of {0} bytes is over the limit of {IDENTITY_BYTES_MAX}")]
    IdentityTooLarge(usize),
    /// A digest so short that other bytes with the same can be found.
    #[error("a digest of {0} bytes is under the limit of {DIGEST_BYTES_MIN}")]
    DigestTooShort(usize),
    /// A hash function that this node cannot compute, so that nothing named by it can be verified.
    #[error("no hash function is known for multihash code 0x{0:x}")]
    UnknownHash(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_bytes_are_refused() {
        let block = Block::sha2_256(RAW, Bytes::from_static(b"calm water")).unwrap();
        let lie = Block::verified(*block.cid(), Bytes::from_static(b"calm Water"));
        assert_eq!(lie, Err(BlockError::Mismatch(*block.cid())));
    }

    #[test]
    fn a_short_digest_proves_nothing() {
        let digest = Code::Blake2s128.digest(b"calm water").resize().unwrap();
        let block = Block::verified(Cid::new_v1(RAW, digest), Bytes::from_static(b"calm water"));
        assert_eq!(block, Err(BlockError::DigestTooShort(16)));
    }

    #[test]
    fn a_block_of_two_mebibytes_is_the_largest() {
        assert!(Block::sha2_256(RAW, Bytes::from(vec![0; BLOCK_BYTES_MAX])).is_ok());
        let over = Block::sha2_256(RAW, Bytes::from(vec![0; BLOCK_BYTES_MAX + 1]));
        assert_eq!(over, Err(BlockError::TooLarge(BLOCK_BYTES_MAX + 1)));
    }

    #[test]
    fn a_binary_cid_is_read_as_the_crate_reads_it() {
        let block = |codec| *Block::sha2_256(codec, Bytes::from_static(b"calm water")).unwrap().cid();
        let identity = Cid::new_v1(RAW, Multihash::wrap(IDENTITY, &[7; IDENTITY_BYTES_MAX]).unwrap());
        let v0 = Cid::new_v0(*block(DAG_PB).hash()).unwrap();
        for cid in [block(RAW), block(DAG_PB), block(DAG_CBOR), block(DAG_JSON), v0, identity] {
            let bytes = cid.to_bytes();
            assert_eq!(binary_cid(&bytes), Some(cid));
            assert_eq!(binary_cid(&[&bytes[..], &[0]].concat()), None);
            assert_eq!(binary_cid(&bytes[..bytes.len() - 1]), None);
        }
        assert!(Multihash::from_bytes(&[&[0, 0x81, 0x01][..], &[7; 129]].concat()).is_err());
    }

    #[test]
    fn the_empty_identity_cid_carries_itself() {
        let cid: Cid = "bafkqaaa".parse().unwrap();
        assert_eq!(Block::inline(&cid).unwrap().bytes().len(), 0);
    }
}
