//! Why routing refuses or fails. Keeps nothing.

use std::time::Duration;

use atoll_core::links::LinksError;
use atoll_core::{BlockError, Cid, FetchError, RecordError, StorageError, TransportError};

/// Why a record was refused, or a router could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The record itself is wrong.
    #[error("record refused: {0}")]
    Record(#[from] RecordError),
    /// Its time is over.
    #[error("record refused: it expired")]
    Expired,
    /// It would bind this node for longer than is allowed.
    #[error("record refused: it expires more than {} days from now", .0.as_secs() / 86_400)]
    TooLong(Duration),
    /// A newer one of the same signer is known.
    #[error("record refused: a newer one of sequence {0} is known")]
    Older(u64),
    /// The table is full of others that still count.
    #[error("record refused: the table of {0} is full; raise `routing.{0}_max`")]
    Full(&'static str),
    /// More records in one message than [`atoll_core::transport::RECORDS_MAX`], or too many bad ones.
    #[error("message refused: too many records, or too many that are refused")]
    Message,
    /// The configuration is unsound.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
    /// The block store failed.
    #[error("the block store failed: {0}")]
    Storage(#[from] StorageError),
    /// The file of known records could not be read or written.
    #[error("records could not be kept: {0}")]
    Log(String),
}

impl RouteError {
    /// Whether the record is wrong by itself, whatever is known here and however old this node is: whoever passed it on
    /// should have seen that.
    pub(crate) fn is_senders_fault(&self) -> bool {
        match self {
            Self::Record(cause) => !matches!(cause, RecordError::OtherKind | RecordError::Version(_)),
            _ => false,
        }
    }
}

/// Why a site could not be pulled.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The DAG is larger than its placement says.
    #[error("the DAG is larger than its placement's quota of {0} bytes")]
    Quota(u64),
    /// More blocks than this node keeps account of.
    #[error("the DAG has more than {0} blocks")]
    Blocks(usize),
    /// A verified block that does not decode as its codec says.
    #[error("block {0} cannot be followed: {1}")]
    Links(Cid, LinksError),
    /// A member did not send a block.
    #[error("the member: {0}")]
    Member(TransportError),
    /// A block could not be had.
    #[error(transparent)]
    Fetch(Box<FetchError>),
    /// The store gave wrong bytes.
    #[error("the block store failed: {0}")]
    Block(#[from] BlockError),
    /// The block store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a CAR stopped being useful. What came before it was verified and stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// The bytes are not a CAR, or end too early.
    #[error(transparent)]
    Framing(#[from] atoll_core::car::CarError),
    /// A block whose bytes do not hash to its CID.
    #[error("wrong bytes for {0}")]
    Lie(Cid),
    /// A block that nothing before it links to.
    #[error("block {0} was not asked for")]
    Unwanted(Cid),
    /// A block that cannot be verified.
    #[error(transparent)]
    Block(BlockError),
    /// The connection broke.
    #[error(transparent)]
    Transport(#[from] TransportError),
}
