//! [`Names`] over the store, the DNSLinks and the members.
//!
//! What is known is followed in memory, without waiting. What is past its TTL is shown while it is asked for again, for as
//! long as the settings allow; what is unknown, expired or too old is asked for while the visitor waits, within a deadline.
//! Nothing here is on disk.

use std::sync::{Arc, Mutex, PoisonError};

use atoll_core::content_path::Root;
use atoll_core::ipns::{Name, Record};
use atoll_core::names::{NameError, NameExchange, Names, RECURSION_MAX, Resolution, SignedName};
use atoll_core::{BoxFuture, Clock};
use bytes::Bytes;
use quick_cache::sync::Cache;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::dnslink::DnsLinks;
use crate::error::StoreError;
use crate::lookup::Lookups;
use crate::store::{Imported, Kept, Origin, Store};
use crate::walk::{Known, Walk, text_of};

/// The most names whose way is remembered.
const SEEN_MAX: usize = 8192;

/// What a resolver is made of.
pub struct Parts {
    /// The records.
    pub store: Store,
    /// The DNSLinks.
    pub links: Arc<dyn DnsLinks>,
    /// The members.
    pub exchange: Arc<dyn NameExchange>,
    /// What time it is, and how to wait.
    pub clock: Arc<dyn Clock>,
    /// The settings, checked.
    pub config: Config,
}

/// See the module. Dropping it ends its tasks.
pub struct Resolver {
    inner: Arc<Inner>,
    tasks: Mutex<JoinSet<()>>,
}

struct Inner {
    parts: Parts,
    lookups: Arc<Lookups>,
    /// By the very text that was asked for, so that the hot path parses nothing.
    seen: Cache<String, Seen>,
}

/// A way that was followed.
#[derive(Clone)]
struct Seen {
    resolution: Arc<Resolution>,
    /// The store's version then.
    version: u64,
}

impl Resolver {
    /// Starts to put again what this node stands for. Wants a tokio runtime, on which all its lookups run.
    pub fn spawn(parts: Parts) -> Self {
        let lookups = Arc::new(Lookups::new(&parts));
        let inner = Arc::new(Inner { parts, lookups, seen: Cache::new(SEEN_MAX) });
        let mut tasks = JoinSet::new();
        tasks.spawn(put_again(Arc::clone(&inner)));
        Self { inner, tasks: Mutex::new(tasks) }
    }

    /// Keeps a publisher's record and passes it on; it survives power loss once this returns. If `expected` is given, that
    /// must be the last known sequence, or `None` that no record is known.
    ///
    /// # Errors
    /// [`StoreError`] says why it is refused.
    pub async fn publish(&self, record: Record, expected: Option<Option<u64>>) -> Result<(), StoreError> {
        self.inner.parts.store.put(record.clone(), Origin::Own, expected).await?;
        self.inner.parts.exchange.tell(&record);
        Ok(())
    }

    /// Keeps what an operator loads for `name`, valid or not; what is valid and lives is passed on.
    ///
    /// # Errors
    /// As [`Store::import`].
    pub async fn import(&self, name: Name, bytes: Bytes) -> Result<Imported, StoreError> {
        let imported = self.inner.parts.store.import(name, bytes).await?;
        if let Imported::Valid(record) = &imported
            && record.is_live(self.inner.parts.clock.now())
        {
            self.inner.parts.exchange.tell(record);
        }
        Ok(imported)
    }

    /// Asks members for `name` even if what is known is fresh, and returns the newest.
    pub async fn latest(&self, name: &Name) -> Option<Kept> {
        self.inner.lookups.ask(&Root::Ipns(*name)).await;
        self.inner.parts.store.get(name)
    }

    /// Ends its tasks.
    pub async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

impl Inner {
    fn known(&self) -> Known<'_> {
        let Parts { store, links, clock, config, .. } = &self.parts;
        Known { store, links: &**links, config, now: clock.now() }
    }

    /// What is known of `name`, if it counts; what of it is stale is asked for meanwhile.
    fn cached(&self, name: &str) -> Option<Arc<Resolution>> {
        let version = self.parts.store.version();
        let now = self.parts.clock.now();
        let is_good =
            |seen: &Seen| seen.version == version && now < seen.resolution.fresh_until && seen.resolution.is_valid(now);
        if let Some(seen) = self.seen.get(name).filter(is_good) {
            return Some(seen.resolution);
        }
        let Walk::Found { resolution, stale, too_old: false } = self.known().walk(&parse(name).ok()?) else {
            return None;
        };
        Some(self.show(name, *resolution, &stale, version))
    }

    /// Asks for what is stale, and remembers the way.
    fn show(&self, name: &str, resolution: Resolution, stale: &[Root], version: u64) -> Arc<Resolution> {
        for root in stale {
            self.lookups.start(root);
        }
        let resolution = Arc::new(resolution);
        self.seen.insert(name.to_owned(), Seen { resolution: Arc::clone(&resolution), version });
        resolution
    }

    async fn resolve(&self, name: &str) -> Result<Arc<Resolution>, NameError> {
        let start = parse(name)?;
        if let Some(known) = self.cached(name) {
            return Ok(known);
        }
        let limit = self.parts.config.resolve_timeout;
        let resolved = tokio::select! {
            biased;
            resolved = self.follow(name, &start) => Some(resolved),
            () = self.parts.clock.sleep(limit) => None,
        };
        if let Some(resolved) = resolved {
            return resolved;
        }
        // Old is better than nothing, as long as it is valid.
        let version = self.parts.store.version();
        match self.known().walk(&start) {
            Walk::Found { resolution, .. } => Ok(self.show(name, *resolution, &[], version)),
            _ => Err(self.timed_out(name)),
        }
    }

    /// Walks, asks where that ends, and walks again. Each name is asked for once.
    async fn follow(&self, name: &str, start: &Root) -> Result<Arc<Resolution>, NameError> {
        let mut asked: Vec<Root> = Vec::new();
        loop {
            let version = self.parts.store.version();
            let next = match self.known().walk(start) {
                Walk::Fails(error) => return Err(error),
                Walk::Found { resolution, stale, too_old } => {
                    match stale.iter().find(|root| too_old && !asked.contains(root)) {
                        Some(root) => root.clone(),
                        None => return Ok(self.show(name, *resolution, &stale, version)),
                    }
                }
                Walk::Stuck(root, error) => {
                    if asked.contains(&root) || self.lookups.is_unknown(&root) {
                        return Err(error);
                    }
                    root
                }
            };
            if asked.len() > RECURSION_MAX {
                return Err(NameError::TooDeep(text_of(start)));
            }
            if !self.lookups.ask(&next).await {
                return Err(self.timed_out(name));
            }
            asked.push(next);
        }
    }

    async fn record(&self, name: &str) -> Result<SignedName, NameError> {
        let Ok(Root::Ipns(name)) = parse(name) else { return Err(NameError::Malformed(name.to_owned())) };
        let root = Root::Ipns(name);
        let is_good = self.known().usable(&name).is_ok_and(|entry| !self.known().is_too_old(&entry));
        if !is_good && !self.lookups.is_unknown(&root) {
            tokio::select! {
                biased;
                _ = self.lookups.ask(&root) => {}
                () = self.parts.clock.sleep(self.parts.config.resolve_timeout) => {}
            }
        }
        let known = self.known();
        let entry = known.usable(&name)?;
        if known.is_stale(&entry) {
            self.lookups.start(&root);
        }
        entry.set_used(known.now);
        entry.held.record().map(Record::signed).ok_or_else(|| NameError::NotFound(name.to_string()))
    }

    fn timed_out(&self, name: &str) -> NameError {
        let limit = self.parts.config.resolve_timeout;
        NameError::TimedOut { name: name.to_owned(), limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Reads what is asked for: a key in any form, or a host name.
fn parse(name: &str) -> Result<Root, NameError> {
    name.parse().map_err(|_| NameError::Malformed(name.to_owned()))
}

/// Puts what this node stands for to members again, for ever. What they know already they do not pass on.
async fn put_again(inner: Arc<Inner>) {
    loop {
        inner.parts.clock.sleep(inner.parts.config.put_interval).await;
        for record in inner.parts.store.own_records() {
            inner.parts.exchange.tell(&record);
            tokio::task::yield_now().await;
        }
    }
}

impl Names for Resolver {
    fn cached(&self, name: &str) -> Option<Arc<Resolution>> {
        self.inner.cached(name)
    }

    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Resolution>, NameError>> {
        Box::pin(self.inner.resolve(name))
    }

    fn record<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<SignedName, NameError>> {
        Box::pin(self.inner.record(name))
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("store", &self.inner.parts.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
