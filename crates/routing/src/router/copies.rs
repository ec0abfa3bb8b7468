//! Whether a member really has a copy: every block of it is fetched back and verified.

use std::sync::Arc;

use atoll_core::{Block, Cid, Multiaddr, PeerId, TransportError};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::Shared;
use crate::dag::Walk;
use crate::error::PullError;
use crate::time::{millis, within};

/// Blocks that are asked for at the same time.
const AT_ONCE: usize = 32;

impl Shared {
    /// Fetches every block under `root` from `peer` alone; how many blocks and bytes they are.
    pub(super) async fn read_back(self: &Arc<Self>, peer: &PeerId, root: Cid) -> Result<(u64, u64), PullError> {
        let address = self.lock().table.members.get(peer).and_then(|entry| entry.address().cloned());
        let address = address.ok_or(PullError::Member(TransportError::NotFound))?;
        let mut walk = Walk::new(root, u64::MAX);
        let (mut blocks, mut bytes) = (0_u64, 0_u64);
        let mut coming = FuturesUnordered::new();
        loop {
            while coming.len() < AT_ONCE
                && let Some(cid) = walk.next()
            {
                match Block::inline(&cid) {
                    Some(block) => walk.arrived(&block)?,
                    None => coming.push(self.block_from(&address, cid)),
                }
            }
            let Some(block) = coming.next().await else { return Ok((blocks, bytes)) };
            let block = block?;
            blocks = blocks.saturating_add(1);
            bytes = bytes.saturating_add(block.bytes().len() as u64);
            walk.arrived(&block)?;
        }
    }

    /// A block from `address`, or from the own store when that is this node's.
    async fn block_from(&self, address: &Multiaddr, cid: Cid) -> Result<Block, PullError> {
        if self.lock().addresses.contains(address) {
            let bytes = self.storage.get(&cid).await?.ok_or(PullError::Member(TransportError::NotFound))?;
            return Ok(Block::verified(cid, bytes)?);
        }
        let limit = self.config.request_timeout;
        let answer = within(&*self.clock, limit, self.transport.block(address, &cid)).await;
        answer.unwrap_or(Err(TransportError::TimedOut(millis(limit)))).map_err(PullError::Member)
    }
}
