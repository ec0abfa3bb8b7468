//! Peers beyond the members that were found to provide a DAG. Searched for once in a while for each root, remembered in
//! memory only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atoll_core::{Cid, Multiaddr, Providers, Timestamp};
use tokio::sync::Semaphore;

/// The most roots whose providers are remembered.
const ROOTS_MAX: usize = 4096;
/// How long providers are remembered, and how long it is remembered that there are none.
const REMEMBERED: Duration = Duration::from_secs(120);
const NOBODY_REMEMBERED: Duration = Duration::from_secs(3);
/// The most searches under way; further ones wait.
const SEARCHES_MAX: usize = 64;

/// Finds providers, and remembers them.
pub(crate) struct Found {
    providers: Arc<dyn Providers>,
    roots: Mutex<HashMap<Cid, Known>>,
    searches: Semaphore,
}

struct Known {
    providers: Vec<Multiaddr>,
    until: Timestamp,
}

impl Found {
    pub(crate) fn new(providers: Arc<dyn Providers>) -> Self {
        Self { providers, roots: Mutex::default(), searches: Semaphore::new(SEARCHES_MAX) }
    }

    /// The providers that are remembered; `None` if it is time to search.
    pub(crate) fn known(&self, root: &Cid, now: Timestamp) -> Option<Vec<Multiaddr>> {
        self.lock().get(root).filter(|known| known.until > now).map(|known| known.providers.clone())
    }

    /// Searches for providers of `root`.
    pub(crate) async fn search(&self, root: &Cid, now: Timestamp) -> Vec<Multiaddr> {
        let Ok(_turn) = self.searches.acquire().await else { return Vec::new() };
        // Another may have found them meanwhile.
        if let Some(providers) = self.known(root, now) {
            return providers;
        }
        let providers = self.providers.find(root).await;
        let lifetime = if providers.is_empty() { NOBODY_REMEMBERED } else { REMEMBERED };
        let mut roots = self.lock();
        if roots.len() >= ROOTS_MAX {
            roots.retain(|_, known| known.until > now);
        }
        if roots.len() < ROOTS_MAX {
            roots.insert(*root, Known { providers: providers.clone(), until: now.after(lifetime) });
        }
        providers
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Cid, Known>> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
