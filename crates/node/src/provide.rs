//! Tells other peers what this node holds: the roots of its pins, when they come and again before they are forgotten.
//! When each was told is in memory only: after a restart all are told anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atoll_core::Cid;
use atoll_swarm::Swarm;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::watch;

use crate::node::Inner;

/// How often new pins are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// Roots that are announced at the same time.
const AT_ONCE: usize = 16;

/// Announces for ever, or until `stop` changes.
pub(crate) async fn run(node: Arc<Inner>, swarm: Swarm, interval: Duration, mut stop: watch::Receiver<bool>) {
    let mut told: HashMap<Cid, Instant> = HashMap::new();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.changed() => return,
        }
        let roots: Vec<Cid> = node.local.store().pins().into_iter().map(|pin| pin.cid).collect();
        told.retain(|root, _| roots.contains(root));
        let due: Vec<Cid> =
            roots.into_iter().filter(|root| told.get(root).is_none_or(|at| at.elapsed() >= interval)).collect();
        let swarm = &swarm;
        let done = stream::iter(due).map(|root| async move { (root, swarm.provide(&root).await) });
        let mut done = done.buffer_unordered(AT_ONCE);
        while let Some((root, heard)) = done.next().await {
            // With nobody there to hear it, it is told again at the next look.
            if heard {
                tracing::debug!(%root, "announced");
                told.insert(root, Instant::now());
            }
        }
    }
}
