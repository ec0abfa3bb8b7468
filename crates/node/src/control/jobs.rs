//! Long work that the CLI asks of a running node. Each reports its progress, and ends with its result or one line of error.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use atoll_core::links::links;
use atoll_core::{Block, Blocks as _, Cid, Storage};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::Reporter;
use crate::api::{Collected, PinStatus, Verified};
use crate::node::Inner;
use crate::work::{self, blocking};

/// Blocks fetched at one time for a pin.
const PIN_FETCHES: usize = 16;
/// The most blocks under one pin.
const PIN_BLOCKS_MAX: usize = 4 << 20;

/// Removes the blocks that no pin needs, from memory too.
pub(super) async fn gc(node: Arc<Inner>) -> Result<Collected, String> {
    let store = node.local.store().clone();
    let collected = blocking(move || work::gc(&store)).await;
    node.local.forget_all();
    node.kept.forget();
    collected
}

/// Reads and hashes every block; what is damaged and pinned is fetched again.
pub(super) async fn verify(node: Arc<Inner>, reporter: Reporter) -> Result<Verified, String> {
    let store = node.local.store().clone();
    let verified = blocking(move || {
        work::verify(&store, &|bytes, total| {
            reporter.progress(&serde_json::json!({ "bytes": bytes, "total_bytes": total }));
        })
    });
    let mut verified = verified.await?;
    if !verified.damaged.is_empty() {
        verified.mended = mend(&node).await?;
    }
    Ok(verified)
}

/// Fetches what is missing under the pinned roots from members, as far as any has it; how many blocks that were.
async fn mend(node: &Inner) -> Result<u64, String> {
    let roots: BTreeSet<Cid> = node.local.store().pins().into_iter().map(|pin| pin.cid).collect();
    let mut mended = 0_u64;
    for root in roots {
        loop {
            let missing = node.local.missing(root).await.map_err(|error| error.to_string())?;
            let before = mended;
            for cid in missing.cids {
                match node.anywhere.block(&root, &cid).await {
                    Ok(bytes) => {
                        let block = Block::verified(cid, bytes).map_err(|error| error.to_string())?;
                        node.local.keep(block).await.map_err(|error| error.to_string())?;
                        mended = mended.saturating_add(1);
                    }
                    Err(error) => tracing::warn!(%cid, %error, "a damaged block could not be fetched again"),
                }
            }
            if mended == before {
                break;
            }
        }
    }
    Ok(mended)
}

/// Fetches what is missing under `root`, then pins it.
pub(super) async fn pin(node: Arc<Inner>, root: Cid, name: String, reporter: Reporter) -> Result<PinStatus, String> {
    let _hold = node.local.store().hold();
    let mut seen = HashSet::from([root]);
    let mut waiting = vec![root];
    let mut running = FuturesUnordered::new();
    let mut blocks = 0_u64;
    loop {
        while running.len() < PIN_FETCHES
            && let Some(cid) = waiting.pop()
        {
            let node = Arc::clone(&node);
            running.push(async move {
                let bytes = node.anywhere.block(&root, &cid).await.map_err(|error| error.to_string())?;
                let block = Block::verified(cid, bytes).map_err(|error| error.to_string())?;
                node.local.keep(block.clone()).await.map_err(|error| error.to_string())?;
                links(&cid, block.bytes()).map_err(|error| error.to_string())
            });
        }
        let Some(found) = running.next().await else { break };
        blocks = blocks.saturating_add(1);
        waiting.extend(found?.into_iter().filter(|cid| Block::inline(cid).is_none() && seen.insert(*cid)));
        if seen.len() > PIN_BLOCKS_MAX {
            return Err(format!("the DAG has over {PIN_BLOCKS_MAX} blocks"));
        }
        if reporter.is_abandoned() {
            return Err("nobody waits any more".to_owned());
        }
        reporter.progress(&serde_json::json!({ "blocks": blocks }));
    }
    Storage::pin(&*node.local, &root, &name).await.map_err(|error| error.to_string())?;
    Ok(PinStatus { root: root.to_string(), name })
}
