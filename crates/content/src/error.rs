//! Why a DAG could not be read: each variant names the step, and the block or the path segment at which it failed.
//!
//! Nothing is kept, a crash loses nothing.

use atoll_core::car::CarError;
use atoll_core::data::DataError;
use atoll_core::links::LinksError;
use atoll_core::unixfs::UnixFsError;
use atoll_core::{Cid, FetchError};

/// Why a path, a file, a directory or a DAG could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A block could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A directory has no entry of that name.
    #[error("there is no \"{name}\" in directory {directory}")]
    NoEntry {
        /// The path segment.
        name: String,
        /// The directory that was asked.
        directory: Cid,
    },
    /// A path goes on below something that is no directory.
    #[error("\"{name}\" cannot be looked up in {cid}, which is no directory")]
    NotDirectory {
        /// The path segment.
        name: String,
        /// What stands there instead.
        cid: Cid,
    },
    /// IPLD data has no value under that key or at that place.
    #[error("there is no \"{name}\" in the data of {cid}")]
    NoValue {
        /// The path segment.
        name: String,
        /// The block that was asked.
        cid: Cid,
    },
    /// Bytes that hash right but are no IPLD data of the codec that their name says.
    #[error("the data of block {cid} cannot be read: {cause}")]
    Data {
        /// The block.
        cid: Cid,
        /// The rule it breaks.
        cause: DataError,
    },
    /// What was to be listed is no directory, or a part of one is none.
    #[error("{0} is no directory")]
    NotListable(Cid),
    /// A part of a file, or what was to be read as one, is something else.
    #[error("{0} is no file")]
    NotFile(Cid),
    /// Bytes that hash right but are no UnixFS node.
    #[error("block {cid} is no UnixFS node: {cause}")]
    Node {
        /// The block.
        cid: Cid,
        /// The rule it breaks.
        cause: UnixFsError,
    },
    /// Bytes that hash right but whose links are not known.
    #[error("the links of block {cid} cannot be read: {cause}")]
    Links {
        /// The block.
        cid: Cid,
        /// The rule it breaks.
        cause: LinksError,
    },
    /// A child holds another number of bytes than its parent says.
    #[error("block {cid} holds {actual} bytes of the file, its parent says {claimed}")]
    SizeLies {
        /// The child.
        cid: Cid,
        /// What the parent says.
        claimed: u64,
        /// What the child says.
        actual: u64,
    },
    /// A shard stands where the hashes of its names do not lead, or is empty.
    #[error("directory shard {0} is misplaced or empty")]
    Misplaced(Cid),
    /// An entry that an archive must not hold: its name leads out of its archive, onto another entry, or is no name.
    #[error("an entry of {directory} is named {name:?}, which an archive cannot hold")]
    EntryName {
        /// The name.
        name: String,
        /// The directory.
        directory: Cid,
    },
    /// More entries than [`crate::archive::ENTRIES_MAX`].
    #[error("the archive would have more than {max} entries", max = crate::archive::ENTRIES_MAX)]
    TooManyEntries,
    /// More levels than [`crate::reader::DEPTH_MAX`] (or its like for CARs).
    #[error("block {cid} lies deeper than {max} levels")]
    TooDeep {
        /// The first block over the limit.
        cid: Cid,
        /// The limit.
        max: usize,
    },
    /// More path segments than [`crate::reader::SEGMENTS_MAX`].
    #[error("a path of {0} segments is over the limit of {max}", max = crate::reader::SEGMENTS_MAX)]
    PathTooLong(usize),
    /// More links would have to be remembered than [`crate::dag::PENDING_MAX`].
    #[error("the DAG below {0} is too wide: over {max} links to remember", max = crate::dag::PENDING_MAX)]
    TooWide(Cid),
    /// All walks together remember more links than [`crate::dag::PENDING_ALL_MAX`]; a later one may find room.
    #[error("too many wide DAGs are being read at this time")]
    Crowded,
    /// A CAR that cannot begin.
    #[error(transparent)]
    Car(#[from] CarError),
    /// More blocks than [`crate::dag::BLOCKS_MAX`].
    #[error("the DAG has more than {max} blocks", max = crate::dag::BLOCKS_MAX)]
    TooManyBlocks,
    /// A range that begins behind the end of the file.
    #[error("bytes {start}.. are behind the end of a file of {len} bytes")]
    Range {
        /// The first byte wanted.
        start: u64,
        /// The length of the file.
        len: u64,
    },
    /// A range of which the file has no byte.
    #[error("no byte of the range lies in a file of {len} bytes")]
    Outside {
        /// The length of the file.
        len: u64,
    },
}

impl ReadError {
    /// Whether it says that a path leads nowhere, which the blocks up to there prove.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NoEntry { .. } | Self::NotDirectory { .. } | Self::NoValue { .. })
    }
}
