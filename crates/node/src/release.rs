//! What a publish leaves behind: the publishing node's own copy, which goes when its holders have it. A crash loses nothing,
//! since the pins say what is still to be released.

use std::sync::Arc;

use atoll_core::Cid;
use tokio::sync::watch;

use crate::node::Inner;
use crate::work::blocking;

/// Takes back the pin of each publish whose copies are where they belong, or whose site has moved on.
pub(crate) async fn run(node: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let mut changes = node.router.subscribe();
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = stop.changed() => return,
        }
        for (root, name) in released(&node) {
            let store = node.local.store().clone();
            let unpinned = blocking(move || Ok(store.unpin(&root, &name)?)).await;
            match unpinned {
                Ok(_) => tracing::info!(%root, "the copy of a publish is released: its holders have it"),
                Err(error) => tracing::warn!(%root, error, "the copy of a publish could not be released"),
            }
        }
    }
}

/// The pins of publishes that are done.
fn released(node: &Inner) -> Vec<(Cid, String)> {
    let pins = node.local.store().pins();
    if !pins.iter().any(|pin| pin.name.starts_with("publish:")) {
        return Vec::new();
    }
    let network = node.router.snapshot();
    let is_done = |root: &str, site: &str| {
        let Some(placement) = network.placements.iter().find(|placement| placement.site == site) else { return false };
        let own = !placement.ranked.contains(&network.me)
            || pins.iter().any(|pin| pin.cid.to_string() == root && pin.name == format!("site:{site}"));
        let held = placement.ranked.iter().all(|peer| placement.holders.contains(peer));
        placement.root != root || (own && held && placement.ranked.len() as u64 >= placement.target)
    };
    let done =
        pins.iter().filter(|pin| pin.name.strip_prefix("publish:").is_some_and(|s| is_done(&pin.cid.to_string(), s)));
    done.map(|pin| (pin.cid, pin.name.clone())).collect()
}
