//! Fetching a whole DAG into the store: what is there already first, then from whoever has it, every block verified, and
//! counted before it is kept. A crash loses nothing that was stored; the next attempt finds it there.

use std::collections::HashSet;
use std::time::Duration;

use atoll_core::links::{LinksError, links};
use atoll_core::{Block, BlockError, Blocks, Cid, FetchError, Storage, StorageError};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::network::Network;
use crate::store::{Job, Store};

/// Blocks of one DAG that are fetched at one time.
const FETCHES: usize = 16;
/// The most blocks of one DAG.
const BLOCKS_MAX: usize = 4 << 20;

/// What an attempt works with.
pub(crate) struct Attempt<'a> {
    pub(crate) store: &'a Store,
    pub(crate) blocks: &'a dyn Blocks,
    pub(crate) storage: &'a dyn Storage,
    pub(crate) network: &'a dyn Network,
    pub(crate) seek_timeout: Duration,
    pub(crate) job: &'a Job,
}

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    /// Over the publisher's quota.
    #[error("the DAG is larger than what is left of the quota of {0} bytes")]
    Quota(u64),
    /// More blocks than are followed.
    #[error("the DAG has over {BLOCKS_MAX} blocks")]
    TooManyBlocks,
    /// A block that is none of its codec.
    #[error("block {0}: {1}")]
    Links(Cid, LinksError),
    /// A CID that nothing can be verified by.
    #[error("{0}")]
    Block(BlockError),
    /// Nobody was found who has it.
    #[error("nobody was found who has block {0}")]
    Nobody(Cid),
    /// Those who were found did not give it.
    #[error(transparent)]
    Fetch(FetchError),
    /// The store.
    #[error("this service cannot store it: {0}")]
    Storage(#[from] StorageError),
    /// It took too long.
    #[error("it did not arrive in time")]
    Late,
}

impl AttemptError {
    /// Whether another attempt would end in the same way.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Quota(_) | Self::TooManyBlocks | Self::Links(..) | Self::Block(_))
    }
}

/// A DAG that is being walked.
struct Walk {
    seen: HashSet<Cid>,
    waiting: Vec<Cid>,
    /// Blocks that could not be had so far, and why the last of them could not.
    missing: Vec<Cid>,
    why: Option<FetchError>,
}

impl Attempt<'_> {
    /// Brings all of the DAG into the store.
    pub(crate) async fn run(&self) -> Result<(), AttemptError> {
        let root = self.job.held.root;
        let mut walk = Walk { seen: HashSet::from([root]), waiting: vec![root], missing: Vec::new(), why: None };
        // What is here is read before anybody is bothered.
        self.walk(&mut walk, false).await?;
        while let Some(wanted) = walk.missing.last().copied() {
            self.store.note(&self.job.id, "looking for peers that have it");
            if !self.network.seek(&root, &wanted, &self.job.origins, self.seek_timeout).await {
                return Err(walk.why.take().map_or(AttemptError::Nobody(wanted), AttemptError::Fetch));
            }
            self.store.note(&self.job.id, "fetching");
            let before = self.store.counted(&self.job.id);
            walk.waiting.append(&mut walk.missing);
            self.walk(&mut walk, true).await?;
            if !walk.missing.is_empty() && self.store.counted(&self.job.id) == before {
                return Err(walk.why.take().map_or(AttemptError::Nobody(wanted), AttemptError::Fetch));
            }
        }
        Ok(())
    }

    /// Follows links as far as blocks can be had.
    async fn walk(&self, walk: &mut Walk, remote: bool) -> Result<(), AttemptError> {
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < FETCHES
                && let Some(cid) = walk.waiting.pop()
            {
                running.push(self.obtain(cid, remote));
            }
            let Some(answer) = running.next().await else { return Ok(()) };
            match answer? {
                Ok(block) => {
                    let found = links(block.cid(), block.bytes());
                    let found = found.map_err(|error| AttemptError::Links(*block.cid(), error))?;
                    walk.waiting.extend(found.into_iter().rev().filter(|cid| walk.seen.insert(*cid)));
                    if walk.seen.len() > BLOCKS_MAX {
                        return Err(AttemptError::TooManyBlocks);
                    }
                }
                Err((cid, why)) => {
                    walk.missing.push(cid);
                    walk.why = why.or(walk.why.take());
                }
            }
        }
    }

    /// One block, counted and stored; or that it cannot be had now.
    async fn obtain(&self, cid: Cid, remote: bool) -> Result<Result<Block, (Cid, Option<FetchError>)>, AttemptError> {
        if let Some(block) = Block::inline(&cid) {
            return Ok(Ok(block));
        }
        let bytes = match self.storage.get(&cid).await? {
            Some(bytes) => bytes,
            None if !remote => return Ok(Err((cid, None))),
            None => match self.blocks.block(&self.job.held.root, &cid).await {
                Ok(bytes) => bytes,
                Err(error) => return Ok(Err((cid, Some(error)))),
            },
        };
        let block = Block::verified(cid, bytes).map_err(AttemptError::Block)?;
        self.store.charge(&self.job.id, block.bytes().len()).map_err(AttemptError::Quota)?;
        // Also what is there already: from now on it is not collected before it is pinned.
        self.storage.put(block.clone()).await?;
        Ok(Ok(block))
    }
}
