//! The cache of ready responses: immutable files whose answer needs no more than a lookup. In memory only.
//!
//! What is large and asked for again and again is sealed: moved to a memory file that the kernel sends without copying it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use atoll_core::{Cid, Resolution};
use atoll_sealed::{Asked, SEALED_BYTES_MIN, Seal, Sealed, Seals};
use bytes::Bytes;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::config;
use crate::respond::Described;

/// What one entry costs beside its body: key, headers, bookkeeping; in bytes.
const ENTRY_BYTES: u64 = 2048;

/// Ready responses by host and path.
pub(crate) struct Hot {
    cache: Cache<Key, Arc<Ready>, Weight>,
    body_bytes_max: u64,
    seals: Arc<Seals>,
}

/// A file, or the page of a directory, that is all in memory.
pub(crate) struct Ready {
    pub(crate) described: Described,
    /// Its bytes, leaf by leaf.
    pub(crate) parts: Vec<Bytes>,
    /// The name that led there, where there was one, and what it pointed at then.
    pub(crate) name: Option<String>,
    pub(crate) root: Cid,
    pub(crate) path: Vec<String>,
    /// The authority that it is for, where its bytes name that.
    pub(crate) authority: Option<Box<str>>,
    /// The version of what is denied, as of before it was looked at.
    pub(crate) deny_version: u64,
    pub(crate) usage: Usage,
}

/// How a ready response is used.
#[derive(Default)]
pub(crate) struct Usage {
    found: Asked,
    /// The file that its only part is of.
    seal: Option<Arc<Seal>>,
}

impl Ready {
    /// Whether it is of what a name points at.
    pub(crate) fn is_of(&self, resolution: &Resolution) -> bool {
        self.root == resolution.root && self.path == resolution.path
    }

    /// The file that its bytes are of.
    pub(crate) fn sealed(&self) -> Option<&Arc<Sealed>> {
        self.usage.seal.as_deref().map(|seal| &**seal)
    }

    fn sealed_as(&self, seal: Arc<Seal>) -> Self {
        Self {
            described: self.described.clone(),
            parts: vec![seal.bytes()],
            name: self.name.clone(),
            root: self.root,
            path: self.path.clone(),
            authority: self.authority.clone(),
            deny_version: self.deny_version,
            usage: Usage { found: Asked::default(), seal: Some(seal) },
        }
    }

    /// Whether this is the request that has it sealed.
    fn is_due(&self) -> bool {
        self.usage.seal.is_none() && self.described.len >= SEALED_BYTES_MIN && self.usage.found.is_due()
    }
}

/// Under what a response is kept: what tells its host from others, empty on path gateways, and the path without query.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    host: Box<str>,
    path: Box<str>,
}

/// A [`Key`] that owns nothing.
struct Borrowed<'a> {
    host: &'a str,
    path: &'a str,
}

#[derive(Clone)]
struct Weight;

impl Hot {
    pub(crate) fn new(config: &config::Hot) -> Self {
        let mib = |count: usize| (count as u64).saturating_mul(1024 * 1024);
        let per_entry = mib(config.memory_mib).saturating_add(ENTRY_BYTES.saturating_mul(config.entries as u64));
        let body_bytes_max = if config.entries == 0 { 0 } else { mib(config.body_mib) };
        Self { cache: Cache::with_weighter(config.entries, per_entry, Weight), body_bytes_max, seals: Seals::new() }
    }

    /// How many of them are sealed.
    pub(crate) fn sealed(&self) -> usize {
        self.seals.used()
    }

    /// The largest body that is kept, in bytes.
    pub(crate) fn body_bytes_max(&self) -> u64 {
        self.body_bytes_max
    }

    pub(crate) fn get(&self, host: &str, path: &str) -> Option<Arc<Ready>> {
        self.cache.get(&Borrowed { host, path })
    }

    /// The same response, sealed if it was found often enough just now.
    pub(crate) fn used(&self, host: &str, path: &str, ready: Arc<Ready>) -> Arc<Ready> {
        if !ready.is_due() {
            return ready;
        }
        let Some(seal) = self.seals.seal(&ready.parts) else { return ready };
        let ready = Arc::new(ready.sealed_as(seal));
        // Not put back if it was forgotten meanwhile.
        let _ = self.cache.replace(Key { host: host.into(), path: path.into() }, Arc::clone(&ready), false);
        ready
    }

    /// Forgets all: what was served may not be held any more, or not be served.
    pub(crate) fn clear(&self) {
        self.cache.clear();
    }

    pub(crate) fn insert(&self, host: &str, path: &str, ready: Arc<Ready>) {
        if ready.described.len <= self.body_bytes_max {
            self.cache.insert(Key { host: host.into(), path: path.into() }, ready);
        }
    }
}

impl Weighter<Key, Arc<Ready>> for Weight {
    fn weight(&self, key: &Key, ready: &Arc<Ready>) -> u64 {
        ENTRY_BYTES.saturating_add((key.path.len() as u64).saturating_mul(2)).saturating_add(ready.described.len)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrowed { host: &self.host, path: &self.path }.hash(state);
    }
}

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.host.hash(state);
        self.path.hash(state);
    }
}

impl Equivalent<Key> for Borrowed<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.path == *key.path && *self.host == *key.host
    }
}
