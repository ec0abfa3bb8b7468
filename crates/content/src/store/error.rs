//! Why the store could not do something, in words that tell the operator what to change. Holds no state.

use std::io;
use std::path::PathBuf;

use atoll_core::Cid;
use atoll_core::block::Multihash;

/// What the store reports. Damaged bytes are an error of their own and never an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process writes to this folder.
    #[error("the store {} is in use by another process: stop it, or give this one another folder", dir.display())]
    Locked {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The operating system refused; the text of `source` says why.
    #[error("{doing} {} failed: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No space left on the device. Reading goes on; writing works again once there is space.
    #[error("the disk that holds {} is full: free some space, or run `atoll gc`", path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The configured budget is used up.
    #[error(
        "{needed} more bytes do not fit: {used} of {bytes_max} bytes are in use; \
         run `atoll gc`, unpin something, or raise the store's bytes_max"
    )]
    BudgetExceeded {
        /// Bytes that the write would have added.
        needed: u64,
        /// Bytes of packs on disk.
        used: u64,
        /// The budget in bytes.
        bytes_max: u64,
    },
    /// The bytes on disk do not hash to their name. The block counts as absent until it is stored again.
    #[error("block {} is damaged on disk (pack {pack}, offset {offset}): it has to be fetched again", hex(hash))]
    Damaged {
        /// The name of the block.
        hash: Box<Multihash>,
        /// The pack that holds the damaged copy.
        pack: u32,
        /// Where its record starts in that pack, in bytes.
        offset: u64,
    },
    /// The index failed; deleting it is safe, since it is rebuilt from the packs.
    #[error("the store's index failed: {0}; stop the node and delete index.redb, it is rebuilt from the packs")]
    Index(#[source] Box<redb::Error>),
    /// The pack was written by a newer Atoll.
    #[error("pack {pack} has format version {version}, and this program reads version {known}: use a newer atoll")]
    PackVersion {
        /// The number of the pack.
        pack: u32,
        /// Its version.
        version: u32,
        /// The version that is understood.
        known: u32,
    },
    /// The disk failed to make written data durable. What the kernel did with it is unknowable, so writing stops.
    #[error("the disk failed to make written data durable: writing stops; check the disk, then restart the node")]
    SyncFailed,
    /// Another process took the store over; this one only reads.
    #[error("the store was handed over to another process: this one only reads")]
    HandedOver,
    /// Garbage is collected already.
    #[error("garbage collection is already running")]
    Collecting,
    /// A pinned DAG lacks an inner block, so that what it needs is not known and nothing may be deleted.
    #[error("block {cid} of the pinned DAG {root} is missing or damaged: fetch it again (`atoll pin`), or unpin it")]
    PinIncomplete {
        /// The pinned root.
        root: Box<Cid>,
        /// The block that is not there.
        cid: Box<Cid>,
    },
    /// The links of a pinned block could not be read.
    #[error("the links of block {cid} could not be read: {cause}")]
    Links {
        /// The block.
        cid: Box<Cid>,
        /// What the codec said.
        cause: String,
    },
    /// A pin's name that is too long.
    #[error("a pin's name of {len} bytes is over the limit of {max}")]
    PinName {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// More pins than the store keeps.
    #[error("{0} pins are the most a store keeps: unpin something")]
    PinsMax(usize),
    /// The log has used up its pack numbers.
    #[error("the store has used all pack numbers: export it into a new one")]
    PacksMax,
    /// The work was cut short, since the program is stopping or a thread of it panicked.
    #[error("the store was asked while the program is stopping")]
    Stopped,
}

impl StoreError {
    /// Wraps an error of the operating system, telling a full disk from the rest.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if is_full(&source) { Self::DiskFull { path } } else { Self::Io { doing, path, source } }
    }

    /// Wraps an error of the index, telling a full disk from the rest.
    pub(crate) fn index(error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Io(source) => Self::io("writing", "index.redb", source),
            other => Self::Index(Box::new(other)),
        }
    }
}

/// Whether an error means that there is no space left, by whatever limit.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Multihash bytes as lower-case hexadecimal.
pub(crate) fn hex(hash: &Multihash) -> String {
    hash.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
