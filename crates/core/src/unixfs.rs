//! UnixFS: files, directories and symlinks over dag-pb and raw blocks (specs.ipfs.tech/unixfs, 2026-03-05).
//!
//! [`Node::decode`] turns a block into one of four kinds and refuses nodes whose parts contradict each other: sizes that
//! do not add up, links without sizes, a shard whose bitfield and links disagree. Nothing is kept, a crash loses nothing.

use bytes::Bytes;
use prost::Message;

use crate::block::{Cid, DAG_PB, RAW};
use crate::dagpb::{self, DagPbError, Link};
use crate::hamt::{HamtError, Shard};

/// The longest target of a symlink, in bytes (Linux `PATH_MAX`).
pub const SYMLINK_BYTES_MAX: usize = 4096;

/// A decoded UnixFS node; names borrow from the block, file bytes share it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Node<'a> {
    /// A file, or a part of one.
    File(File),
    /// A directory whose entries stand in this block.
    Directory(Directory<'a>),
    /// A directory, or a part of one, spread over many blocks.
    Shard(Shard<'a>),
    /// A symlink.
    Symlink(Symlink),
}

/// A file: its own bytes, then those of its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Bytes that stand in this block, before those of the children.
    pub inline: Bytes,
    /// The parts, in order.
    pub children: Vec<Child>,
    /// All bytes of the file: inline and children.
    pub len: u64,
    /// What the node says beside its content.
    pub meta: Meta,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// The block with which it begins.
    pub cid: Cid,
    /// The bytes of the file that it holds, as its parent claims; a reader refuses a child that holds others.
    pub len: u64,
}

/// A directory in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory<'a> {
    /// The entries, in the order of the block.
    pub entries: Vec<Link<'a>>,
    /// What the node says beside its content.
    pub meta: Meta,
}

/// A symlink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symlink {
    /// Where it points: any text, possibly outside of the DAG. Never followed by this crate.
    pub target: Bytes,
    /// What the node says beside its content.
    pub meta: Meta,
}

/// Optional metadata (UnixFS 1.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// POSIX permissions and the three bits above them.
    pub mode: Option<u32>,
    /// Modification time: seconds since 1970-01-01T00:00:00Z and nanoseconds.
    pub mtime: Option<(i64, u32)>,
}

impl<'a> Node<'a> {
    /// Decodes the block of `cid`, whose codec decides how.
    ///
    /// # Errors
    /// [`UnixFsError`] names the rule that the bytes break.
    pub fn decode(cid: &Cid, bytes: &'a Bytes) -> Result<Self, UnixFsError> {
        match cid.codec() {
            RAW => Ok(Self::File(File::leaf(bytes.clone()))),
            DAG_PB => Self::decode_dag_pb(bytes),
            other => Err(UnixFsError::Codec(other)),
        }
    }

    fn decode_dag_pb(bytes: &'a Bytes) -> Result<Self, UnixFsError> {
        let node = dagpb::Node::decode(bytes)?;
        let data = node.data.ok_or(UnixFsError::NoData)?;
        let data = Data::decode(bytes.slice_ref(data)).map_err(|_| UnixFsError::BadData)?;
        let meta = data.meta()?;
        match data.kind.ok_or(UnixFsError::BadData)? {
            KIND_RAW | KIND_FILE => File::assemble(data, &node.links, meta).map(Self::File),
            KIND_DIRECTORY => Ok(Self::Directory(Directory { entries: node.links, meta })),
            KIND_SHARD => {
                let fanout = data.fanout.ok_or(HamtError::Fanout(0))?;
                let bitfield = data.data.unwrap_or_default();
                Ok(Self::Shard(Shard::assemble(fanout, data.hash_type, &bitfield, node.links, meta)?))
            }
            KIND_SYMLINK => Symlink::assemble(data, &node.links, meta).map(Self::Symlink),
            other => Err(UnixFsError::Kind(other)),
        }
    }
}

impl File {
    /// A file, or part of one, that is a raw block.
    pub fn leaf(bytes: Bytes) -> Self {
        Self { len: bytes.len() as u64, inline: bytes, children: Vec::new(), meta: Meta::default() }
    }

    fn assemble(data: Data, links: &[Link<'_>], meta: Meta) -> Result<Self, UnixFsError> {
        if data.block_sizes.len() != links.len() {
            return Err(UnixFsError::SizesDiffer { sizes: data.block_sizes.len(), links: links.len() });
        }
        let inline = data.data.unwrap_or_default();
        let mut len = inline.len() as u64;
        let mut children = Vec::with_capacity(links.len());
        for (link, &size) in links.iter().zip(&data.block_sizes) {
            len = len.checked_add(size).ok_or(UnixFsError::SizeOverflow)?;
            children.push(Child { cid: link.cid, len: size });
        }
        // Old writers left the size of a childless node out; then its bytes say it.
        let claimed = data.file_size.unwrap_or(if children.is_empty() { len } else { 0 });
        if claimed != len {
            return Err(UnixFsError::SizeLies { claimed, actual: len });
        }
        Ok(Self { inline, children, len, meta })
    }
}

impl<'a> Directory<'a> {
    /// The entry of that name; the first, if a hostile block repeats it.
    pub fn find(&self, name: &str) -> Option<&Link<'a>> {
        self.entries.iter().find(|entry| entry.name() == name)
    }
}

impl Symlink {
    fn assemble(data: Data, links: &[Link<'_>], meta: Meta) -> Result<Self, UnixFsError> {
        let target = data.data.unwrap_or_default();
        if !links.is_empty() {
            return Err(UnixFsError::SymlinkWithLinks);
        }
        if target.len() > SYMLINK_BYTES_MAX {
            return Err(UnixFsError::SymlinkTooLong(target.len()));
        }
        Ok(Self { target, meta })
    }
}

const KIND_RAW: i32 = 0;
const KIND_DIRECTORY: i32 = 1;
const KIND_FILE: i32 = 2;
const KIND_SYMLINK: i32 = 4;
const KIND_SHARD: i32 = 5;

/// The message in the data of a dag-pb node; field numbers are those of `unixfs.proto`.
#[derive(Clone, PartialEq, Message)]
struct Data {
    #[prost(int32, optional, tag = "1")]
    kind: Option<i32>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    data: Option<Bytes>,
    #[prost(uint64, optional, tag = "3")]
    file_size: Option<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    block_sizes: Vec<u64>,
    #[prost(uint64, optional, tag = "5")]
    hash_type: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    fanout: Option<u64>,
    #[prost(uint32, optional, tag = "7")]
    mode: Option<u32>,
    #[prost(message, optional, tag = "8")]
    mtime: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
    #[prost(fixed32, optional, tag = "2")]
    nanos: Option<u32>,
}

impl Data {
    fn meta(&self) -> Result<Meta, UnixFsError> {
        let mtime = match self.mtime {
            None => None,
            Some(Timestamp { seconds, nanos }) => {
                let nanos = nanos.unwrap_or(0);
                if nanos > 999_999_999 {
                    return Err(UnixFsError::BadMtime);
                }
                Some((seconds.ok_or(UnixFsError::BadMtime)?, nanos))
            }
        };
        Ok(Meta { mode: self.mode, mtime })
    }
}

/// The dag-pb block of a file with these children, in order.
///
/// # Errors
/// [`UnixFsError::SizeOverflow`] if the sizes do not add up within 64 bits.
pub fn encode_file(children: &[(Child, u64)]) -> Result<Vec<u8>, UnixFsError> {
    let mut len = 0_u64;
    for (child, _) in children {
        len = len.checked_add(child.len).ok_or(UnixFsError::SizeOverflow)?;
    }
    let data = Data {
        kind: Some(KIND_FILE),
        file_size: Some(len),
        block_sizes: children.iter().map(|(child, _)| child.len).collect(),
        ..Data::default()
    };
    let links = children.iter().map(|(child, tsize)| Link::new(child.cid, "", *tsize)).collect();
    Ok(encode(links, &data))
}

/// The dag-pb block of a file, or a part of one, that holds its bytes itself (leaves of `unixfs-v0-2015`).
pub fn encode_leaf(bytes: Bytes) -> Vec<u8> {
    let file_size = Some(bytes.len() as u64);
    let data = Some(bytes).filter(|bytes| !bytes.is_empty());
    encode(Vec::new(), &Data { kind: Some(KIND_FILE), data, file_size, ..Data::default() })
}

/// The dag-pb block of a directory. The entries must be sorted by the bytes of their names.
pub fn encode_directory(entries: Vec<Link<'_>>) -> Vec<u8> {
    encode(entries, &Data { kind: Some(KIND_DIRECTORY), ..Data::default() })
}

/// The size that [`encode_directory`] would give for entries whose [`Link::encoded_len`] sum up to `links_len`.
pub fn directory_len(links_len: usize) -> usize {
    // Data: tag, length, and the kind in two bytes.
    links_len.saturating_add(4)
}

/// The dag-pb block of a shard: its bitfield without leading zeros, and its links, names already prefixed, in order.
pub(crate) fn encode_shard(links: Vec<Link<'_>>, bitfield: Vec<u8>, fanout: u64) -> Vec<u8> {
    let data = Data {
        kind: Some(KIND_SHARD),
        data: Some(bitfield.into()),
        hash_type: Some(crate::hamt::MURMUR3_X64_64),
        fanout: Some(fanout),
        ..Data::default()
    };
    encode(links, &data)
}

/// The dag-pb block of a symlink.
///
/// # Errors
/// [`UnixFsError::SymlinkTooLong`] over [`SYMLINK_BYTES_MAX`].
pub fn encode_symlink(target: &[u8]) -> Result<Vec<u8>, UnixFsError> {
    if target.len() > SYMLINK_BYTES_MAX {
        return Err(UnixFsError::SymlinkTooLong(target.len()));
    }
    let target = Bytes::copy_from_slice(target);
    Ok(encode(Vec::new(), &Data { kind: Some(KIND_SYMLINK), data: Some(target), ..Data::default() }))
}

fn encode(links: Vec<Link<'_>>, data: &Data) -> Vec<u8> {
    dagpb::Node { links, data: Some(&data.encode_to_vec()) }.encode()
}

/// Why a block is not a UnixFS node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnixFsError {
    /// A codec that carries no UnixFS.
    #[error("codec 0x{0:x} carries no UnixFS")]
    Codec(u64),
    /// Not dag-pb.
    #[error("not a dag-pb node: {0}")]
    DagPb(#[from] DagPbError),
    /// Dag-pb without data, hence without a kind.
    #[error("a dag-pb node without data is no UnixFS node")]
    NoData,
    /// The data is not the message that UnixFS defines.
    #[error("the data is no UnixFS message")]
    BadData,
    /// A kind that is not known or not supported.
    #[error("unknown UnixFS kind {0}")]
    Kind(i32),
    /// As many sizes as links are needed.
    #[error("{sizes} sizes for {links} links")]
    SizesDiffer {
        /// Entries of `blocksizes`.
        sizes: usize,
        /// Entries of `Links`.
        links: usize,
    },
    /// The size of a file is not the sum of its parts.
    #[error("the file claims {claimed} bytes, its parts have {actual}")]
    SizeLies {
        /// `filesize`.
        claimed: u64,
        /// Inline bytes and `blocksizes`.
        actual: u64,
    },
    /// Sizes over 64 bits.
    #[error("the sizes of the parts overflow 64 bits")]
    SizeOverflow,
    /// A sharded directory whose parts contradict each other.
    #[error("bad directory shard: {0}")]
    Hamt(#[from] HamtError),
    /// A symlink has no links.
    #[error("a symlink with links")]
    SymlinkWithLinks,
    /// The target is over the limit.
    #[error("a symlink of {0} bytes is over the limit of {SYMLINK_BYTES_MAX}")]
    SymlinkTooLong(usize),
    /// A time without seconds, or with nanoseconds over a second.
    #[error("the modification time is not a time")]
    BadMtime,
}

#[cfg(test)]
mod tests;
