//! Asking for names: one question at a time for each, so many at once, and none again too soon. In memory; a crash loses
//! what visitors wait for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atoll_core::content_path::Root;
use atoll_core::ipns::Name;
use atoll_core::names::{NameExchange, NameRecords};
use atoll_core::{Clock, Timestamp};
use bytes::Bytes;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::dnslink::DnsLinks;
use crate::store::Store;

/// The most names of which it is remembered that nobody knew them.
const UNKNOWN_MAX: usize = 4096;
/// For each name that is asked for, so many others may wait their turn.
const WAITING_PER_LOOKUP: usize = 32;
/// The most records of one answer that are looked at.
const ANSWERS_MAX: usize = 64;

/// See the module.
pub(crate) struct Lookups {
    store: Store,
    links: Arc<dyn DnsLinks>,
    exchange: Arc<dyn NameExchange>,
    clock: Arc<dyn Clock>,
    retry_after: Duration,
    timeout: Duration,
    /// Names that are being asked for; who holds a receiver waits for the end.
    under_way: Mutex<HashMap<Root, watch::Receiver<()>>>,
    waiting_max: usize,
    places: Semaphore,
    /// Until when it is no use to ask.
    unknown: Cache<Root, Timestamp>,
    runtime: Handle,
}

impl Lookups {
    /// Asks on the runtime that this is called on.
    pub(crate) fn new(parts: &crate::Parts) -> Self {
        let config = &parts.config;
        Self {
            store: parts.store.clone(),
            links: Arc::clone(&parts.links),
            exchange: Arc::clone(&parts.exchange),
            clock: Arc::clone(&parts.clock),
            retry_after: config.retry_after,
            timeout: config.resolve_timeout,
            under_way: Mutex::default(),
            waiting_max: config.lookups_max.saturating_mul(WAITING_PER_LOOKUP),
            places: Semaphore::new(config.lookups_max),
            unknown: Cache::new(UNKNOWN_MAX),
            runtime: Handle::current(),
        }
    }

    /// Whether it was asked for lately, in vain.
    pub(crate) fn is_unknown(&self, root: &Root) -> bool {
        self.unknown.get(root).is_some_and(|until| self.clock.now() < until)
    }

    /// Asks for `root`, unless that is under way already. The receiver's sender goes when it is done; `None` when too many
    /// wait already.
    pub(crate) fn start(self: &Arc<Self>, root: &Root) -> Option<watch::Receiver<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = under_way.get(root) {
            return Some(running.clone());
        }
        if under_way.len() >= self.waiting_max {
            return None;
        }
        let (sender, receiver) = watch::channel(());
        under_way.insert(root.clone(), receiver.clone());
        let ended = Ended { lookups: Arc::clone(self), root: root.clone(), sender: Some(sender) };
        self.runtime.spawn(async move {
            ended.lookups.run(&ended.root).await;
            drop(ended);
        });
        Some(receiver)
    }

    /// Asks, and waits; `false` when too many wait already.
    pub(crate) async fn ask(self: &Arc<Self>, root: &Root) -> bool {
        let Some(mut running) = self.start(root) else { return false };
        // Nothing is ever sent: it ends when the sender goes.
        while running.changed().await.is_ok() {}
        true
    }

    async fn run(&self, root: &Root) {
        let Ok(_place) = self.places.acquire().await else { return };
        let found = tokio::select! {
            biased;
            found = self.find(root) => found,
            () = self.clock.sleep(self.timeout) => false,
        };
        if !found {
            self.unknown.insert(root.clone(), self.clock.now().after(self.retry_after));
        }
    }

    /// Whether anything is known of `root` now.
    async fn find(&self, root: &Root) -> bool {
        match root {
            Root::Ipfs(_) => true,
            Root::Domain(domain) => self.links.look_up(domain).await.is_ok(),
            Root::Ipns(name) => self.find_name(name).await,
        }
    }

    async fn find_name(&self, name: &Name) -> bool {
        if let Some(entry) = self.store.entry(name) {
            // If this is cut off, it is not asked for again at once.
            entry.set_retry(self.clock.now().after(self.retry_after));
        }
        let asked = self.exchange.ask(name).await;
        let is_conclusive = asked.is_conclusive();
        let records: Vec<(Name, Bytes)> =
            asked.records.into_iter().take(ANSWERS_MAX).map(|bytes| (*name, bytes)).collect();
        if !records.is_empty() {
            self.store.offer(records).await;
        }
        let Some(entry) = self.store.entry(name) else { return false };
        if is_conclusive {
            entry.set_checked(self.clock.now());
            entry.set_retry(Timestamp::default());
        }
        entry.is_live(self.clock.now())
    }
}

/// Tells those who wait that a lookup is over, however it ended.
struct Ended {
    lookups: Arc<Lookups>,
    root: Root,
    sender: Option<watch::Sender<()>>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut under_way = self.lookups.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.root);
        drop(under_way);
        self.sender.take();
    }
}
