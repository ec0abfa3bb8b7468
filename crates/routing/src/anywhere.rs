//! One block from anywhere: members, peers that exchange blocks, providers that are remembered or searched for.

use atoll_core::{Block, Cid, FetchError, Multiaddr};

use crate::fetch::Candidates;
use crate::router::Shared;

/// A block of the DAG under `root`. Members that are known to hold it are asked first; when nobody is, or they have it not,
/// all members and all providers that a search finds are asked at once.
pub(crate) async fn fetch(shared: &Shared, root: &Cid, cid: &Cid) -> Result<Block, FetchError> {
    let Shared { fetcher, found, .. } = shared;
    let candidates = |addresses: Vec<Multiaddr>| Candidates::new(Some(*root), addresses);
    let (holders, mut members) = (shared.known_holders(&[*root]), shared.holders(&[*root]));
    let known = found.known(root);
    if !holders.is_empty() && known.is_none() {
        match fetcher.fetch(*cid, candidates(holders), None).await {
            Err(FetchError::NotFound(_) | FetchError::Unreachable { .. }) => members.clear(),
            other => return other,
        }
    }
    let search = known.unwrap_or_else(|| found.search(root));
    fetcher.fetch(*cid, candidates(members), Some(search)).await
}
