//! One block from anywhere: members, peers that exchange blocks, providers that are remembered or searched for.

use atoll_core::{Block, Cid, FetchError, Multiaddr};

use crate::fetch::Candidates;
use crate::router::Shared;

/// A block of the DAG under `root`. Providers are searched for when members have it not.
pub(crate) async fn fetch(shared: &Shared, root: &Cid, cid: &Cid) -> Result<Block, FetchError> {
    let Shared { fetcher, found, .. } = shared;
    let candidates = |addresses: Vec<Multiaddr>| Candidates::new(Some(*root), addresses);
    let holders = shared.holders(&[*root]);
    if let Some(search) = found.known(root) {
        return fetcher.fetch(*cid, candidates(holders), Some(search)).await;
    }
    if !holders.is_empty() {
        match fetcher.fetch(*cid, candidates(holders), None).await {
            Err(FetchError::NotFound(_) | FetchError::Unreachable { .. }) => {}
            other => return other,
        }
    }
    fetcher.fetch(*cid, candidates(Vec::new()), Some(found.search(root))).await
}
