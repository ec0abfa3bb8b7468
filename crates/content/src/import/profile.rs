//! How files are cut and folders laid out: the named profiles of IPIP-499. Pure; a crash loses nothing.

use std::fmt;
use std::str::FromStr;

use atoll_core::block::{RAW, Version};
use atoll_core::hamt::Entry;
use atoll_core::{Block, BlockError, unixfs};
use bytes::Bytes;

/// A set of parameters that has a name, so that others make the same CIDs of the same files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// `unixfs-v1-2025`: CIDv1, raw leaves of 1 MiB, 1,024 links a node, directories sharded by the size of their block.
    #[default]
    UnixfsV1,
    /// `unixfs-v0-2015`, what IPFS made for ten years: CIDv0, dag-pb leaves of 256 KiB, 174 links a node, directories sharded
    /// by the bytes of their names and CIDs.
    UnixfsV0,
}

/// Bytes of a directory, by the profile's count, over which it is sharded (IPIP-499: over, not from).
const DIRECTORY_BYTES_MAX: usize = 262_144;

impl Profile {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::UnixfsV1, Self::UnixfsV0];

    /// Its name in IPIP-499.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnixfsV1 => "unixfs-v1-2025",
            Self::UnixfsV0 => "unixfs-v0-2015",
        }
    }

    /// Bytes of a chunk.
    pub fn chunk_bytes(self) -> usize {
        match self {
            Self::UnixfsV1 => super::CHUNK_BYTES,
            Self::UnixfsV0 => 256 * 1024,
        }
    }

    /// Children of a file node at most.
    pub fn file_links_max(self) -> usize {
        match self {
            Self::UnixfsV1 => 1024,
            Self::UnixfsV0 => 174,
        }
    }

    /// The version of all its CIDs.
    pub fn version(self) -> Version {
        match self {
            Self::UnixfsV1 => Version::V1,
            Self::UnixfsV0 => Version::V0,
        }
    }

    /// The block of a chunk.
    pub(super) fn leaf(self, chunk: Bytes) -> Result<Leaf, BlockError> {
        let len = chunk.len() as u64;
        let block = match self {
            Self::UnixfsV1 => Block::sha2_256(RAW, chunk)?,
            Self::UnixfsV0 => Block::dag_pb(Version::V0, unixfs::encode_leaf(chunk).into())?,
        };
        Ok(Leaf { block, len })
    }

    /// Whether a directory of these entries is sharded.
    pub(super) fn shards(self, entries: &[Entry]) -> bool {
        let bytes = match self {
            Self::UnixfsV1 => unixfs::directory_len(entries.iter().map(|entry| entry.link().encoded_len()).sum()),
            Self::UnixfsV0 => entries.iter().map(|entry| entry.name.len() + entry.cid.encoded_len()).sum(),
        };
        bytes > DIRECTORY_BYTES_MAX
    }
}

/// A chunk of a file as a block.
pub(super) struct Leaf {
    pub(super) block: Block,
    /// Bytes of the file in it.
    pub(super) len: u64,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        Self::ALL.into_iter().find(|profile| profile.name() == name).ok_or(UnknownProfile)
    }
}

/// A profile that is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a profile is unixfs-v1-2025 or unixfs-v0-2015")]
pub struct UnknownProfile;
