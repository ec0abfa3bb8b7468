//! The boundary between whoever reads a DAG and wherever its blocks come from: memory, disk, other nodes.

use std::pin::Pin;

use bytes::Bytes;

use crate::block::{Block, Cid};
use crate::policy::Denied;

/// A boxed future, for traits that must be objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source of verified blocks.
///
/// Implementations check every byte against its CID before they return it, so a caller need not.
pub trait Blocks: Send + Sync + 'static {
    /// The block if it is in memory: no I/O, no lock held long, no await. The hot path asks this first.
    fn cached(&self, cid: &Cid) -> Option<Bytes>;

    /// The block, from wherever it can be had. `root` is the DAG that it is wanted for: it names whom to ask and
    /// whether policy lets this node ask at all.
    fn block<'a>(&'a self, root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>>;

    /// The bytes of each block that is held here, in the order of `cids`. No block is read for it where there is another way
    /// to know, and nobody else is asked. As it stands, it knows of what is in memory.
    fn sizes<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Vec<Option<u64>>> {
        Box::pin(async move { cids.iter().map(|cid| self.cached(cid).map(|bytes| bytes.len() as u64)).collect() })
    }
}

/// A source that has nothing but what identity CIDs carry in themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopBlocks;

impl Blocks for NoopBlocks {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        Block::inline(cid).map(|block| block.into_parts().1)
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move { self.cached(cid).ok_or(FetchError::NotFound(*cid)) })
    }
}

/// Why a block could not be had. Each names the step that failed, since a visitor and an operator both ask.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nobody who was asked has it.
    #[error("block {0} was not found")]
    NotFound(Cid),
    /// This node does not hold it, and its policy is not to ask others (`gateway.fetch`).
    #[error("block {0} is not held here, and gateway.fetch does not allow fetching it")]
    NotAllowed(Cid),
    /// Every peer that was asked failed; the text says how many, and the last cause.
    #[error("block {cid} could not be fetched from any of {asked} peers: {last}")]
    Unreachable {
        /// The block.
        cid: Cid,
        /// How many peers were asked.
        asked: usize,
        /// What the last of them did.
        last: String,
    },
    /// The deadline passed first.
    #[error("block {cid} was not received within {limit_ms} ms")]
    TimedOut {
        /// The block.
        cid: Cid,
        /// The deadline, in milliseconds.
        limit_ms: u64,
    },
    /// The operator of this node does not show it.
    #[error("block {cid} is denied ({})", denied.status())]
    Denied {
        /// The block.
        cid: Cid,
        /// Why.
        denied: Denied,
    },
    /// The local store failed; the text is for the log.
    #[error("the block store failed: {0}")]
    Store(String),
}
