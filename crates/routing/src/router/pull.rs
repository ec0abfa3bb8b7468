//! Pulling a site: its whole DAG, as a CAR from the best holder first, then block by block what is still missing.
//!
//! Every block is verified before it is stored. A crash loses nothing that was stored; the next pull goes on from there.

use std::sync::atomic::{AtomicU64, Ordering};

use atoll_core::{Block, Cid, Multiaddr, SiteId, StorageError, TransportError};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::Shared;
use crate::anywhere;
use crate::car::CarReader;
use crate::dag::Walk;
use crate::error::{CarError, PullError};
use crate::fetch::{is_peer, lie};
use crate::time::{millis, within};

/// The most holders that are asked for a CAR in one pull.
const CAR_SOURCES_MAX: usize = 4;
/// How often a pin may find blocks missing, because something else removed them meanwhile.
const PIN_ROUNDS_MAX: usize = 4;

/// How far a pull has come; read by whoever shows it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Blocks known of so far.
    pub(crate) blocks: AtomicU64,
    /// Bytes that arrived.
    pub(crate) bytes: AtomicU64,
}

/// The reason under which the root of a site is pinned.
pub(crate) fn pin_reason(site: &SiteId) -> String {
    format!("site:{site}")
}

/// One pull.
pub(super) struct Pull<'a> {
    pub(super) shared: &'a Shared,
    pub(super) site: SiteId,
    pub(super) root: Cid,
    pub(super) progress: &'a Progress,
}

impl Pull<'_> {
    /// Fetches all of it, and pins it.
    pub(super) async fn run(&self, quota: u64, by_car: bool) -> Result<(), PullError> {
        let mut walk = Walk::new(self.root, quota);
        if by_car && self.shared.storage.get(&self.root).await?.is_none() {
            self.by_car(&mut walk).await?;
        }
        for _ in 0..PIN_ROUNDS_MAX {
            self.by_block(&mut walk).await?;
            match self.shared.storage.pin(&self.root, &pin_reason(&self.site)).await {
                Err(StorageError::Missing(cid)) => walk.again(cid),
                other => return Ok(other?),
            }
        }
        Err(StorageError::Missing(self.root).into())
    }

    /// Reads CARs until one was begun. Whatever it leaves out comes block by block.
    async fn by_car(&self, walk: &mut Walk) -> Result<(), PullError> {
        let holders = self.shared.fetcher.best(self.shared.holders(&[self.root]));
        let holders = holders.into_iter().filter(|address| !is_peer(address));
        for address in holders.take(CAR_SOURCES_MAX) {
            match self.read_car(&address, walk).await? {
                Ok(()) => return Ok(()),
                Err(CarError::Lie(cid)) => {
                    self.shared.fetcher.drop_peer(&address, &lie(&cid));
                    self.shared.drop_members_at(&address, &lie(&cid));
                }
                Err(CarError::Transport(TransportError::NotFound)) => {}
                Err(error) => tracing::debug!(%address, %error, "a CAR broke off"),
            }
            if walk.bytes() > 0 {
                break;
            }
        }
        Ok(())
    }

    /// Takes blocks from one member's CAR. What is wrong with the CAR ends it; what is wrong here ends the pull.
    async fn read_car(&self, address: &Multiaddr, walk: &mut Walk) -> Result<Result<(), CarError>, PullError> {
        let limit = self.shared.config.fetch.block_timeout;
        let timed_out = || CarError::from(TransportError::TimedOut(millis(limit)));
        let open = self.shared.transport.car(address, &self.root);
        let mut reader = match within(&*self.shared.clock, limit, open).await {
            Some(Ok(stream)) => CarReader::new(stream),
            Some(Err(error)) => return Ok(Err(error.into())),
            None => return Ok(Err(timed_out())),
        };
        loop {
            let block = match within(&*self.shared.clock, limit, reader.next()).await.ok_or_else(timed_out) {
                Ok(Ok(Some(block))) => block,
                Ok(Ok(None)) => return Ok(Ok(())),
                Ok(Err(error)) | Err(error) => return Ok(Err(error)),
            };
            if Block::inline(block.cid()).is_some() {
                continue;
            }
            if !walk.take(block.cid()) {
                return Ok(Err(CarError::Unwanted(*block.cid())));
            }
            self.arrived(walk, &block)?;
            self.shared.storage.put(block).await?;
        }
    }

    /// Gets every wanted block from the store or from several holders at once.
    async fn by_block(&self, walk: &mut Walk) -> Result<(), PullError> {
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < self.shared.config.pull_fetches_max
                && let Some(cid) = walk.next()
            {
                running.push(self.obtain(cid));
            }
            match running.next().await {
                Some(block) => self.arrived(walk, &block?)?,
                None => return Ok(()),
            }
        }
    }

    /// One block, stored.
    async fn obtain(&self, cid: Cid) -> Result<Block, PullError> {
        if let Some(block) = Block::inline(&cid) {
            return Ok(block);
        }
        if let Some(bytes) = self.shared.storage.get(&cid).await? {
            return Ok(Block::verified(cid, bytes)?);
        }
        let fetched = anywhere::fetch(self.shared, &self.root, &cid).await;
        let block = fetched.map_err(|error| PullError::Fetch(Box::new(error)))?;
        self.shared.storage.put(block.clone()).await?;
        Ok(block)
    }

    /// Keeps account.
    fn arrived(&self, walk: &mut Walk, block: &Block) -> Result<(), PullError> {
        let account = walk.arrived(block);
        self.progress.blocks.store(walk.blocks() as u64, Ordering::Relaxed);
        self.progress.bytes.store(walk.bytes(), Ordering::Relaxed);
        account
    }
}
