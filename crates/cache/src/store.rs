//! Responses in memory, by URL and by what they vary by. Bounded in bytes: what was asked for once makes room before what is asked
//! for often. A crash loses them.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::config::Config;
use crate::fill::{Budget, Fill, Writing};
use crate::flight::{Flight, Flights};
use crate::key::Key;
use crate::purge::{self, Degree, Left, Purge, Purges};
use crate::stored::Stored;
use crate::vary::Variant;

/// What a response is counted to take beside its body, its fields and its key, in bytes.
const ENTRY_BYTES: u64 = 1024;
/// What a body that still arrives is counted to take at least, in bytes.
const ARRIVING_BYTES: u64 = 64 * 1024;
/// URLs that are remembered as changed, so that what was on its way then is not stored, and as not to be shared.
const CHANGED_MAX: usize = 64 * 1024;
/// Locks for those who change the responses of a URL.
const STRIPES: usize = 64;

/// The cache.
pub struct Store {
    cache: Cache<Key, Arc<Resource>, Weight>,
    changed: Cache<Key, u64>,
    /// URLs whose last answer could not be shared.
    apart: Cache<Key, ()>,
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
    flights: Arc<Flights>,
    budget: Arc<Budget>,
    variants_max: usize,
    /// Counts changes, so that what began before one is told from what began after it.
    clock: AtomicU64,
    purges: Purges,
}

/// The responses for one URL.
#[derive(Debug)]
struct Resource {
    /// Newest first.
    entries: Vec<Arc<Entry>>,
    /// What they took when this was made. Bodies grow meanwhile; the cache wants one answer for each value.
    weight: u64,
}

/// A response.
#[derive(Debug)]
pub struct Entry {
    /// Its head.
    pub stored: Stored,
    /// Which requests it answers.
    pub variant: Variant,
    /// Its body.
    pub fill: Arc<Fill>,
    /// When its request began, as [`Store::now`] told.
    pub begun: u64,
    /// The groups that it is purged with.
    groups: Vec<String>,
}

/// What is stored for a request.
#[derive(Clone, Debug)]
pub enum Found {
    /// A response to it.
    Entry(Arc<Entry>),
    /// A response to it that is to be validated, whatever its age: it was purged softly.
    Stale(Arc<Entry>),
    /// Only responses to other requests for that URL.
    Others,
    /// Nothing.
    Nothing,
}

#[derive(Clone)]
struct Weight;

impl Store {
    /// An empty one.
    pub fn new(config: &Config) -> Self {
        let mib = |count: usize| (count as u64).saturating_mul(1024 * 1024);
        let (memory, object) = (mib(config.memory_mib), mib(config.object_mib));
        // A part of the cache must hold a few of the largest bodies.
        let shards = usize::try_from(memory / object.saturating_mul(4).max(1)).unwrap_or(64).clamp(1, 64);
        let items = usize::try_from(memory / (16 * 1024)).unwrap_or(usize::MAX).max(16);
        let mut options = OptionsBuilder::new();
        let options = options.estimated_items_capacity(items).weight_capacity(memory).shards(shards).build();
        let cache = match options {
            Ok(options) => {
                Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            Err(_) => Cache::with_weighter(items, memory, Weight),
        };
        Self {
            cache,
            changed: Cache::new(CHANGED_MAX),
            apart: Cache::new(CHANGED_MAX),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            flights: Arc::default(),
            budget: Budget::new(memory, object),
            variants_max: config.variants,
            clock: AtomicU64::new(1),
            purges: Purges::default(),
        }
    }

    /// What is stored for a request.
    pub fn find(&self, key: &Key, request: &HeaderMap) -> Found {
        let Some(resource) = self.cache.get(key) else { return Found::Nothing };
        let mut others = Found::Nothing;
        for entry in &resource.entries {
            let left = self.purges.left(key.url(), &entry.groups, entry.begun);
            let matches = entry.variant.matches(request, entry.stored.headers());
            match (left, matches) {
                (Left::Nothing, _) => {}
                (Left::All, true) => return Found::Entry(Arc::clone(entry)),
                (Left::Stale, true) => return Found::Stale(Arc::clone(entry)),
                (Left::All | Left::Stale, false) => others = Found::Others,
            }
        }
        others
    }

    /// The moment, for what begins now.
    pub fn now(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    /// Goes to the origin for a URL, or waits for who did.
    pub fn board(&self, key: &Key) -> Flight {
        self.flights.board(key)
    }

    /// Remembers that the answer for a URL could not be shared: requests for it need not wait for one another.
    pub fn set_apart(&self, key: &Key) {
        self.apart.insert(key.clone(), ());
    }

    /// Whether the last answer for a URL could not be shared.
    pub fn is_apart(&self, key: &Key) -> bool {
        self.apart.get(key).is_some()
    }

    /// A body that is to be stored, and who fills it; `None` if there is no memory for one of `len` bytes, or at least one.
    pub fn begin(&self, len: Option<u64>) -> Option<(Arc<Fill>, Writing)> {
        self.budget.has_room(len.unwrap_or(1)).then(|| Fill::begin(Arc::clone(&self.budget)))
    }

    /// Stores a response instead of others that answer the same requests, unless its URL was changed or purged since its request
    /// began.
    pub fn insert(&self, key: &Key, entry: Arc<Entry>) {
        let _lock = self.lock(key);
        let changed = self.changed.get(key).is_some_and(|changed| changed > entry.begun);
        if changed || self.purges.left(key.url(), &entry.groups, entry.begun) == Left::Nothing {
            return;
        }
        let mut entries = vec![entry];
        if let Some(others) = self.cache.get(key) {
            let others =
                others.entries.iter().filter(|other| entries.iter().all(|entry| entry.variant != other.variant));
            entries.extend(others.cloned().collect::<Vec<_>>());
        }
        entries.truncate(self.variants_max);
        self.apart.remove(key);
        self.cache.insert(key.clone(), Resource::new(key, entries));
    }

    /// Counts a response anew whose body has arrived, or takes it out if that did not become whole.
    pub fn settle(&self, key: &Key, entry: &Arc<Entry>) {
        let _lock = self.lock(key);
        let Some(resource) = self.cache.peek(key) else { return };
        let mut entries = resource.entries.clone();
        if entry.fill.whole().is_none() {
            entries.retain(|other| !Arc::ptr_eq(&other.fill, &entry.fill));
        }
        if entries.is_empty() {
            self.cache.remove(key);
        } else {
            // Not put back if it was taken out meanwhile.
            let _ = self.cache.replace(key.clone(), Resource::new(key, entries), true);
        }
    }

    /// Forgets all responses for a URL, those on their way too.
    pub fn remove(&self, key: &Key) {
        let _lock = self.lock(key);
        self.changed.insert(key.clone(), self.tick());
        self.cache.remove(key);
    }

    /// Takes out what is purged, what is on its way too.
    pub fn purge(&self, what: &Purge, degree: Degree) {
        self.purges.add(what, degree, self.tick());
        if (what, degree) == (&Purge::Everything, Degree::Hard) {
            self.cache.clear();
        }
    }

    /// Bytes that it takes.
    pub fn weight(&self) -> u64 {
        self.cache.weight()
    }

    /// URLs of which it holds something.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// A moment after all that began before.
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::AcqRel).saturating_add(1)
    }

    fn lock(&self, key: &Key) -> std::sync::MutexGuard<'_, ()> {
        static NONE: Mutex<()> = Mutex::new(());
        let stripe = usize::try_from(self.hasher.hash_one(key) % STRIPES as u64).unwrap_or(0);
        self.stripes.get(stripe).unwrap_or(&NONE).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("len", &self.len()).field("weight", &self.weight()).finish_non_exhaustive()
    }
}

impl Resource {
    fn new(key: &Key, entries: Vec<Arc<Entry>>) -> Arc<Self> {
        let weight =
            entries.iter().map(|entry| entry.weight()).fold(key.as_str().len() as u64 * 2, u64::saturating_add);
        Arc::new(Self { entries, weight })
    }
}

impl Entry {
    /// A response to a request that began at a moment, as [`Store::now`] told.
    pub fn new(stored: Stored, variant: Variant, fill: Arc<Fill>, begun: u64) -> Arc<Self> {
        let groups = purge::groups(stored.headers());
        Arc::new(Self { stored, variant, fill, begun, groups })
    }

    /// Bytes that it takes now.
    fn weight(&self) -> u64 {
        let headers = self.stored.headers();
        let groups: usize = self.groups.iter().map(|group| 32 + group.len()).sum();
        let fields: usize = headers.iter().map(|(name, value)| 64 + name.as_str().len() + value.len()).sum();
        let body = self.fill.whole().map_or_else(|| self.fill.weight().max(ARRIVING_BYTES), |whole| whole.len);
        ENTRY_BYTES.saturating_add((fields + groups + self.variant.weight()) as u64).saturating_add(body)
    }
}

impl Weighter<Key, Arc<Resource>> for Weight {
    fn weight(&self, _key: &Key, resource: &Arc<Resource>) -> u64 {
        resource.weight
    }
}

#[cfg(test)]
mod tests;
