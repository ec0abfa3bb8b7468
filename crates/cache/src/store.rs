//! Responses in memory, by URL and by what they vary by, above those on disk. Bounded in bytes: what was asked for once makes room
//! before what is asked for often. A crash loses what is not on disk yet; what was purged stays purged.

mod apart;
mod revive;
mod seal;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use atoll_sealed::{Asked, Seals};
use http::{HeaderMap, header};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use tokio::sync::Semaphore;

use crate::coding::Coding;
use crate::config::Config;
use crate::disk::{Disk, DiskError, DiskFigures, Plan};
use crate::fill::{Budget, Fill, Writing};
use crate::flight::Flights;
use crate::key::Key;
use crate::purge::{self, Degree, Left, Noted, Purge, Purges};
use crate::stored::Stored;
use crate::vary::Variant;

/// What a response is counted to take beside its body, its fields and its key, in bytes.
const ENTRY_BYTES: u64 = 1024;
/// What a body that still arrives is counted to take at least, in bytes.
const ARRIVING_BYTES: u64 = 64 * 1024;
/// URLs that are remembered as changed, so that what was on its way then is not stored, and as not to be shared.
const CHANGED_MAX: usize = 64 * 1024;
/// A response that its origin said still holds is written again if it is fresh for so long.
const WORTH_WRITING: Duration = Duration::from_secs(60);
/// Bodies that are coded at one time.
const CODERS_MAX: usize = 2;
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
    clock: Arc<AtomicU64>,
    purges: Arc<Purges>,
    disk: Option<Arc<Disk>>,
    /// For those who make bodies smaller.
    coders: Arc<Semaphore>,
    /// URLs that are being read from the disk.
    readings: Arc<Flights>,
    /// For bodies that are sent without a copy.
    seals: Arc<Seals>,
    /// Whether another process answers for what is stored.
    given_up: AtomicBool,
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
    /// The purges up to which it is known to be left.
    checked: AtomicU64,
    /// Whether it was asked for again.
    used: AtomicBool,
    /// Whether it is on disk, or was handed over to be written there.
    written: AtomicBool,
    /// How often a body of it was sent that could be sealed.
    copied: Asked,
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

pub use revive::Looked;

#[derive(Clone)]
struct Weight;

impl Store {
    /// An empty one, in memory alone.
    pub fn new(config: &Config) -> Self {
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
            clock: Arc::new(AtomicU64::new(1)),
            purges: Arc::default(),
            disk: None,
            coders: Arc::new(Semaphore::new(CODERS_MAX)),
            readings: Arc::default(),
            seals: Seals::new(),
            given_up: AtomicBool::new(false),
        }
    }

    /// One with what is on disk in a folder, if `config` has it keep anything there. What was there is found again meanwhile:
    /// [`Store::recovered`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(config: &Config, folder: &Path) -> Result<Self, DiskError> {
        let mut store = Self::new(config);
        if config.disk_mib > 0 {
            let (bytes_max, object_bytes_max) = (mib(config.disk_mib), mib(config.object_mib));
            let plan = Plan { bytes_max, object_bytes_max, variants_max: config.variants };
            store.disk = Some(Arc::new(Disk::open(folder, plan, &store.purges, &store.clock)?));
        }
        Ok(store)
    }

    /// Returns once all that was on disk is found again.
    pub async fn recovered(&self) {
        if let Some(disk) = &self.disk {
            disk.recovered().await;
        }
    }

    /// Writes what is to be written to disk, and writes no more.
    pub async fn close(&self) {
        if let Some(disk) = self.disk.clone() {
            // It fails only if the runtime ends.
            let _ = tokio::task::spawn_blocking(move || disk.close()).await;
        }
    }

    /// Writes what is to be written to disk, and lets another process have the folder. From now on nothing is found here and nothing is
    /// stored, since what is purged there is not heard of here; bodies that are being sent go on.
    pub async fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.cache.clear();
        if let Some(disk) = self.disk.clone() {
            // It fails only if the runtime ends.
            let _ = tokio::task::spawn_blocking(move || disk.give_up()).await;
        }
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Figures of the disk, if anything is kept there.
    pub fn disk(&self) -> Option<DiskFigures> {
        self.disk.as_ref().map(|disk| disk.figures())
    }

    /// What is stored in memory for a request.
    pub fn find(&self, key: &Key, request: &HeaderMap) -> Found {
        let Some(resource) = self.cache.get(key).filter(|_| !self.is_given_up()) else { return Found::Nothing };
        let mut others = Found::Nothing;
        for entry in &resource.entries {
            let left = self.left(key, entry);
            let matches = entry.variant.matches(request, entry.stored.headers());
            match (left, matches) {
                (Left::Nothing, _) => {}
                (Left::All, true) => {
                    self.note_use(key, entry);
                    return Found::Entry(Arc::clone(entry));
                }
                (Left::Stale, true) => return Found::Stale(Arc::clone(entry)),
                (Left::All | Left::Stale, false) => others = Found::Others,
            }
        }
        others
    }

    /// What is left of a response.
    fn left(&self, key: &Key, entry: &Entry) -> Left {
        let version = self.purges.version();
        if entry.checked.load(Ordering::Acquire) == version {
            return Left::All;
        }
        let left = self.purges.left(key.url(), &entry.groups, entry.begun);
        if left == Left::All {
            entry.checked.store(version, Ordering::Release);
        }
        left
    }

    /// Notes that a response was asked for again, which makes it worth its room on disk.
    fn note_use(&self, key: &Key, entry: &Arc<Entry>) {
        let Some(disk) = &self.disk else { return };
        if entry.used.load(Ordering::Relaxed) || entry.used.swap(true, Ordering::Relaxed) {
            return;
        }
        if entry.written.load(Ordering::Acquire) {
            disk.used(key, &entry.variant);
        } else {
            let _lock = self.lock(key);
            self.offer(key, entry);
        }
    }

    /// Has a response written to disk, if it is all there and worth it. The URL is locked.
    fn offer(&self, key: &Key, entry: &Arc<Entry>) {
        let Some(disk) = &self.disk else { return };
        let changed = self.changed.get(key).is_some_and(|changed| changed > entry.begun);
        let wanted = disk.has_room() || entry.used.load(Ordering::Relaxed) || disk.has(key);
        if entry.fill.whole().is_some() && !changed && wanted && !entry.written.swap(true, Ordering::AcqRel) {
            disk.offer(key, entry);
        }
    }

    /// The moment, for what begins now.
    pub fn now(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    /// A body that is to be stored, and who fills it; `None` if there is no memory for one of `len` bytes, or at least one.
    pub fn begin(&self, len: Option<u64>) -> Option<(Arc<Fill>, Writing)> {
        self.budget.has_room(len.unwrap_or(1)).then(|| Fill::begin(Arc::clone(&self.budget)))
    }

    /// Stores a response instead of others that answer the same requests, unless its URL was changed or purged since its request
    /// began. One that still arrives is to be settled then.
    pub fn insert(&self, key: &Key, entry: Arc<Entry>) {
        let _lock = self.lock(key);
        let changed = self.changed.get(key).is_some_and(|changed| changed > entry.begun);
        let is_purged = || self.purges.left(key.url(), &entry.groups, entry.begun) == Left::Nothing;
        if changed || self.is_given_up() || is_purged() {
            return;
        }
        self.offer(key, &entry);
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

    /// Stores what is known of a response now that its origin said that it still holds, in its place.
    pub fn freshen(&self, key: &Key, prior: &Entry, stored: Stored, begun: u64) -> Arc<Entry> {
        let now = SystemTime::now();
        // What is on disk would answer after a restart as it is; it is worth writing only if that would be wrong, or of little use.
        let again = stored.lifetime() >= WORTH_WRITING || prior.stored.is_fresh(now);
        let fresh = Entry::new(stored, prior.variant.clone(), Arc::clone(&prior.fill), begun);
        fresh.used.store(prior.used.load(Ordering::Relaxed), Ordering::Relaxed);
        fresh.written.store(prior.written.load(Ordering::Acquire) && !again, Ordering::Release);
        if prior.fill.is_sound() {
            self.insert(key, Arc::clone(&fresh));
            let _lock = self.lock(key);
            self.offer(key, &fresh);
        }
        fresh
    }

    /// Counts a response anew whose body has arrived, or takes it out if that did not become whole.
    pub fn settle(&self, key: &Key, entry: &Arc<Entry>) {
        let _lock = self.lock(key);
        let resource = self.cache.peek(key);
        let mut entries = resource.map(|resource| resource.entries.clone()).unwrap_or_default();
        let has_same_fill = |other: &Arc<Entry>| Arc::ptr_eq(&other.fill, &entry.fill);
        // Memory may have let go of it already; the disk need not.
        if !entries.iter().any(|other| other.variant == entry.variant) {
            self.offer(key, entry);
        }
        if entry.fill.whole().is_none() {
            entries.retain(|other| !has_same_fill(other));
        }
        for other in entries.iter().filter(|other| has_same_fill(other)) {
            self.offer(key, other);
        }
        if entries.is_empty() {
            self.cache.remove(key);
        } else {
            // Not put back if it was taken out meanwhile.
            let _ = self.cache.replace(key.clone(), Resource::new(key, entries), true);
        }
    }

    /// Has the body of a response made in a coding, for those who come later, unless that was done or others are being made.
    pub fn code(self: &Arc<Self>, key: &Key, entry: &Arc<Entry>, coding: Coding) {
        let Ok(turn) = Arc::clone(&self.coders).try_acquire_owned() else { return };
        if entry.fill.whole().is_none() || !entry.fill.begin_coding(coding) {
            return;
        }
        let (store, key, entry) = (Arc::clone(self), key.clone(), Arc::clone(entry));
        drop(tokio::task::spawn_blocking(move || {
            let Some(whole) = entry.fill.whole() else { return };
            match coding.code(whole) {
                Ok(coded) => entry.fill.set_coded(coding, coded),
                Err(error) => tracing::warn!(%error, %key, "a body could not be compressed"),
            }
            store.settle(&key, &entry);
            drop(turn);
        }));
    }

    /// Forgets all responses for a URL, those on their way too. When it returns, a crash does not bring them back.
    pub async fn remove(&self, key: &Key) {
        if let (Some(disk), Some((noted, moment))) = (self.disk.clone(), self.remove_now(key)) {
            let added = tokio::task::spawn_blocking(move || disk.note(&noted, moment, false)).await;
            if !matches!(added, Ok(Ok(()))) {
                tracing::warn!(%key, "that a URL was changed could not be written; a crash may bring back what was stored");
            }
        }
    }

    /// The same in memory; what the journal is to say.
    fn remove_now(&self, key: &Key) -> Option<(Noted, u64)> {
        let _lock = self.lock(key);
        let moment = self.tick();
        self.changed.insert(key.clone(), moment);
        self.cache.remove(key);
        self.disk.as_ref()?.remove(key, moment).map(|noted| (noted, moment))
    }

    /// Takes out what is purged, what is on its way too. When it returns, not even a loss of power brings it back.
    ///
    /// # Errors
    /// That of the disk, if that could not be written. It is purged until the next start.
    pub async fn purge(&self, what: &Purge, degree: Degree) -> io::Result<()> {
        self.purge_then(what, degree, true).await
    }

    /// Takes out what an origin says is no longer what it was. When it returns, a crash does not bring it back.
    pub async fn invalidate(&self, what: &Purge) {
        if let Err(error) = self.purge_then(what, Degree::Hard, false).await {
            tracing::warn!(%error, ?what, "an invalidation could not be written; a crash may bring back what was stored");
        }
    }

    async fn purge_then(&self, what: &Purge, degree: Degree, synced: bool) -> io::Result<()> {
        let (noted, moment) = (Noted::Purged(what.clone(), degree), self.tick());
        self.purges.add(&noted, moment);
        let everything = (what, degree) == (&Purge::Everything, Degree::Hard);
        if everything {
            self.cache.clear();
        }
        let Some(disk) = self.disk.clone() else { return Ok(()) };
        if everything {
            disk.clear();
        }
        let added = tokio::task::spawn_blocking(move || disk.note(&noted, moment, synced)).await;
        added.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
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

fn mib(count: usize) -> u64 {
    (count as u64).saturating_mul(1024 * 1024)
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
        let (checked, used, written) = (AtomicU64::new(u64::MAX), AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { stored, variant, fill, begun, groups, checked, used, written, copied: Asked::default() })
    }

    /// The length of an object of which only the head is here: its body is stored in slices, under keys of their own.
    pub fn sliced(&self) -> Option<u64> {
        let headless = self.fill.whole().is_some_and(|whole| whole.len == 0);
        let len = self.stored.headers().get(header::CONTENT_LENGTH).filter(|_| headless)?;
        len.to_str().ok()?.parse().ok().filter(|len| *len > 0)
    }

    /// The groups that it is purged with.
    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Bytes that it takes now.
    fn weight(&self) -> u64 {
        let headers = self.stored.headers();
        let groups: usize = self.groups.iter().map(|group| 32 + group.len()).sum();
        let fields: usize = headers.iter().map(|(name, value)| 64 + name.as_str().len() + value.len()).sum();
        let least = if self.fill.whole().is_some() { 0 } else { ARRIVING_BYTES };
        let body = self.fill.weight().max(least);
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
