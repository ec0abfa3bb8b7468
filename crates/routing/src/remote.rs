//! Blocks for visitors: from the local store, then from members as far as policy allows. Keeps nothing of its own.

use std::sync::Arc;

use atoll_core::record::Accept;
use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError};
use bytes::Bytes;
use tokio::sync::Semaphore;

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

    /// Whether blocks under `root` may be fetched for strangers, and the roots whose holders have them.
    fn allowed(&self, root: &Cid) -> Option<Vec<Cid>> {
        match &self.policy {
            FetchPolicy::Held => None,
            FetchPolicy::Any => Some(vec![*root]),
            FetchPolicy::AllowList(roots) => roots.contains(&Root(*root)).then(|| vec![*root]),
            FetchPolicy::Placed => self.placed(root),
        }
    }

    /// Whether `root` is, or was a little while ago, the root of a site that this node accepts.
    fn placed(&self, root: &Cid) -> Option<Vec<Cid>> {
        let now = self.shared.clock.now();
        let state = self.shared.lock();
        let own = state.table.members.get(&self.shared.me).map(|entry| &entry.signed.record().accept);
        let accepts = |site| match own {
            Some(Accept::None) => false,
            Some(Accept::List(sites)) => sites.contains(site),
            Some(Accept::Any) | None => true,
        };
        let mut live = state.table.placements.iter().filter(|(_, placed)| placed.signed.is_live(now));
        live.any(|(site, placed)| accepts(site) && placed.roots.contains(root)).then(|| vec![*root])
    }

    /// The block from members that hold one of `roots`, and from whoever else is found to provide the DAG.
    async fn fetch(&self, root: &Cid, cid: &Cid, roots: &[Cid]) -> Result<Bytes, FetchError> {
        let Shared { fetcher, found, .. } = &*self.shared;
        let holders = self.shared.holders(roots);
        if let Some(search) = found.known(root) {
            return fetcher.fetch(*cid, holders, Some(search)).await;
        }
        if !holders.is_empty() {
            match fetcher.fetch(*cid, holders, None).await {
                Err(FetchError::NotFound(_) | FetchError::Unreachable { .. }) => {}
                other => return other,
            }
        }
        fetcher.fetch(*cid, Vec::new(), Some(found.search(root))).await
    }

    /// Stores a fetched block without anybody waiting for it.
    fn keep(&self, cid: Cid, bytes: Bytes) {
        let Ok(permit) = Arc::clone(&self.keeping).try_acquire_owned() else { return };
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let _permit = permit;
            if let Ok(block) = Block::verified(cid, bytes)
                && let Err(error) = shared.storage.put(block).await
            {
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
            let roots = self.allowed(root).ok_or(FetchError::NotAllowed(*cid))?;
            let bytes = self.fetch(root, cid, &roots).await?;
            if self.shared.config.fetch.keep {
                self.keep(*cid, bytes.clone());
            }
            Ok(bytes)
        })
    }
}
