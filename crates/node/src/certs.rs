//! The node's certificates: opened before anything is served, followed while it runs. They are files; a crash loses nothing.

use std::sync::Arc;
use std::time::Duration;

use atoll_certs::{Config, FileError, Manager, Store};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Folder;
use crate::ticks::Ticks;

/// What authorities issued, if any is to be asked.
///
/// # Errors
/// [`FileError`] if what was issued before cannot be read.
pub(crate) fn open(folder: &Folder, store: &Arc<Store>, config: &Config) -> Result<Option<Arc<Manager>>, FileError> {
    let open = || Manager::open(&folder.tls().join("acme"), config.acme.clone(), Arc::clone(store));
    config.acme.is_used().then(open).transpose().map(|manager| manager.map(Arc::new))
}

/// Keeps certificates new until `stop` changes: files are followed, authorities are asked.
pub(crate) fn spawn(
    store: Arc<Store>,
    manager: Option<Arc<Manager>>,
    reload: Duration,
    tasks: &mut JoinSet<()>,
    stop: &watch::Receiver<bool>,
) {
    if let Some(manager) = manager {
        let stop = stop.clone();
        tasks.spawn(async move { manager.run(stop).await });
    }
    tasks.spawn(run(store, reload, stop.clone()));
}

/// Follows what certificates are made of until `stop` changes.
async fn run(store: Arc<Store>, interval: Duration, stop: watch::Receiver<bool>) {
    let mut ticks = Ticks::new(interval, stop);
    while ticks.next().await {
        let store = Arc::clone(&store);
        // A panic costs this look, not the next.
        let _ = tokio::task::spawn_blocking(move || store.refresh()).await;
    }
}
