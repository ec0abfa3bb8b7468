//! The node's certificates: opened before anything is served, followed while it runs. They are files; a crash loses nothing.

use std::sync::Arc;
use std::time::Duration;

use atoll_certs::{Config, FileError, Manager, Store};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Folder;

/// Keeps certificates new until `stop` changes: files are followed, authorities are asked.
///
/// # Errors
/// [`FileError`] if what was issued before cannot be read.
pub(crate) fn spawn(
    folder: &Folder,
    store: Arc<Store>,
    config: &Config,
    tasks: &mut JoinSet<()>,
    stop: &watch::Receiver<bool>,
) -> Result<(), FileError> {
    if config.acme.is_used() {
        let manager = Manager::open(&folder.tls().join("acme"), config.acme.clone(), Arc::clone(&store))?;
        let stop = stop.clone();
        tasks.spawn(async move { manager.run(stop).await });
    }
    tasks.spawn(run(store, config.reload, stop.clone()));
    Ok(())
}

/// Follows what certificates are made of until `stop` changes.
async fn run(store: Arc<Store>, interval: Duration, mut stop: watch::Receiver<bool>) {
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
