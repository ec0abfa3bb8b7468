//! Blocks for visitors: from the local store, then from members as far as policy allows. Keeps nothing of its own.

use std::sync::Arc;

use atoll_core::record::Accept;
use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError};
use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::anywhere;
use crate::config::{FetchPolicy, Root};
use crate::router::Shared;

/// The most fetched blocks that are on their way into the store; beyond, they are not kept.
const KEEPING_MAX: usize = 64;

/// [`Blocks`] of a gateway.
pub struct RemoteBlocks {
    shared: Arc<Shared>,
    local: Arc<dyn Blocks>,
    policy: FetchPolicy,
    keeping: Arc<Semaphore>,
}

impl RemoteBlocks {
    pub(crate) fn new(shared: Arc<Shared>, local: Arc<dyn Blocks>, policy: FetchPolicy) -> Self {
        Self { shared, local, policy, keeping: Arc::new(Semaphore::new(KEEPING_MAX)) }
    }

    /// Whether blocks under `root` may be fetched for strangers.
    fn allows(&self, root: &Cid) -> bool {
        match &self.policy {
            FetchPolicy::Held => false,
            FetchPolicy::Any => true,
            FetchPolicy::AllowList(roots) => roots.contains(&Root(*root)),
            FetchPolicy::Placed => self.is_placed(root),
        }
    }

    /// Whether `root` is, or was a little while ago, the root of a site that this node accepts.
    fn is_placed(&self, root: &Cid) -> bool {
        let now = self.shared.clock.now();
        let state = self.shared.lock();
        let own = state.table.members.get(&self.shared.me).map(|entry| &entry.signed.record().accept);
        let accepts = |site| match own {
            Some(Accept::None) => false,
            Some(Accept::List(sites)) => sites.contains(site),
            Some(Accept::Any) | None => true,
        };
        let mut live = state.table.placements.iter().filter(|(_, placed)| placed.signed.is_live(now));
        live.any(|(site, placed)| accepts(site) && placed.roots.contains(root))
    }

    /// Stores a fetched block without anybody waiting for it.
    fn keep(&self, block: Block) {
        let Ok(permit) = Arc::clone(&self.keeping).try_acquire_owned() else { return };
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let _permit = permit;
            let cid = *block.cid();
            if let Err(error) = shared.storage.put(block).await {
                tracing::debug!(%cid, %error, "a fetched block is not kept");
            }
        });
    }
}

impl Blocks for RemoteBlocks {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        self.local.cached(cid)
    }

    fn block<'a>(&'a self, root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move {
            match self.local.block(root, cid).await {
                Err(FetchError::NotFound(_)) => {}
                other => return other,
            }
            if !self.allows(root) {
                return Err(FetchError::NotAllowed(*cid));
            }
            let block = anywhere::fetch(&self.shared, root, cid).await?;
            if self.shared.config.fetch.keep {
                self.keep(block.clone());
            }
            Ok(block.into_parts().1)
        })
    }

    fn sizes<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Vec<Option<u64>>> {
        self.local.sizes(cids)
    }
}
