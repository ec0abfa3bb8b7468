//! The node's certificates: opened before anything is served, followed while it runs. They are files; a crash loses nothing.

use std::sync::Arc;
use std::time::Duration;

use atoll_certs::Store;
use tokio::sync::watch;

/// Follows what certificates are made of until `stop` changes.
pub(crate) async fn run(store: Arc<Store>, interval: Duration, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.changed() => return,
        }
        let store = Arc::clone(&store);
        // A panic costs this look, not the next.
        let _ = tokio::task::spawn_blocking(move || store.refresh()).await;
    }
}
