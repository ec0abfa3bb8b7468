//! The providing sweep: tells the DHT what this node holds, and tells it again before it forgets (48 hours).
//!
//! Keys that lie near each other have the same nearest peers. So the DHT is swept region by region: a few lookups find all peers
//! of a region, and each of them is told over one stream all keys that it is among the 20 nearest to, and asked back for one of them.
//! A key counts as announced when enough of its peers said so. `schedule` says when which region's turn is, `region` which
//! peers are in it; this file does the work. What is announced when is kept in memory, and saved by whoever asks for
//! [`Sweep::saved`]; what was announced since then is announced once more after a crash.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atoll_core::dht::{DhtPeer, Key, Place};
use atoll_core::{Clock, Dht, PeerId, Timestamp};
use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinSet;

mod estimate;
mod region;
mod schedule;

use region::Region;
use schedule::Batch;
pub use schedule::{KEYS_MAX, Schedule};

/// How long to wait when there is nothing to do, or nobody to tell.
const LOOK: Duration = Duration::from_secs(2);
/// Regions that are worked on at the same time.
const REGIONS_AT_ONCE: usize = 4;
/// Peers of a region that are told at the same time.
const PEERS_AT_ONCE: usize = 16;
/// So many keys of a slot are looked up one by one: exploring the region would take more lookups.
const SINGLE_MAX: usize = 3;
/// Keys that a peer is told of over one stream.
const TOLD_AT_ONCE: usize = 4096;
/// A key is announced once one in so many of its nearest peers was told of it and said so.
const ONE_IN: usize = 5;
/// Lookups to learn how many peers there are, before anything is announced.
const SAMPLES: usize = 4;
/// Keys that are compared before others have their turn.
const TURN_KEYS: usize = 1024;
/// Which part of the interval is left for the work itself: the cycle is so much shorter (22 hours: one).
const SLACK: u32 = 22;
/// How often it is looked whether announcements are late.
const CHECK_EVERY: Duration = Duration::from_secs(600);
/// How often it is said again that they are.
const WARN_EVERY: Duration = Duration::from_secs(3600);

/// What a sweep is made of.
pub struct SweepParts {
    /// What it is called in the log and on the status page.
    pub name: &'static str,
    /// This node.
    pub me: PeerId,
    /// The peers.
    pub dht: Arc<dyn Dht>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Every key is announced again within this time.
    pub interval: Duration,
    /// What [`Sweep::saved`] gave in an earlier life; empty if there is none.
    pub saved: Vec<u8>,
}

/// A running sweep. Dropping the last clone ends it.
#[derive(Clone)]
pub struct Sweep {
    inner: Arc<Inner>,
    _task: Arc<JoinSet<()>>,
}

struct Inner {
    parts: SweepParts,
    schedule: Mutex<Schedule>,
    /// Something is due that was not.
    changed: Notify,
    unsaved: AtomicBool,
    lookups: AtomicU64,
    peers_told: AtomicU64,
    peers_failed: AtomicU64,
    records: AtomicU64,
    over: AtomicU64,
}

/// How a sweep is going, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepView {
    /// Which DHT.
    pub network: String,
    /// Keys that are announced.
    pub keys: usize,
    /// Of these, not announced yet.
    pub unannounced: usize,
    /// Keys over the limit, which are not announced.
    pub over: u64,
    /// How long the key that has been due longest has been due, in seconds; 0 when none is.
    pub lag_seconds: u64,
    /// How long ago the oldest announcement was made, in seconds.
    pub oldest_seconds: u64,
    /// Whether that is longer than the interval: others may forget before it is made again.
    pub late: bool,
    /// About how many peers the DHT has; `null` until that is known.
    pub peers: Option<u64>,
    /// Lookups since the start.
    pub lookups: u64,
    /// Peers that were told since the start, each time counted.
    pub peers_told: u64,
    /// Peers that could not be told, or did not say so when they were asked back.
    pub peers_failed: u64,
    /// Records that those who were told took.
    pub records: u64,
}

/// What became of a batch.
enum Outcome {
    Done,
    /// Nobody is there.
    Alone,
}

impl Sweep {
    /// Starts with no keys.
    pub fn spawn(parts: SweepParts) -> Self {
        let cycle = parts.interval - parts.interval / SLACK;
        let mut schedule = Schedule::new(&parts.me, cycle);
        if !parts.saved.is_empty() && !schedule.restore(&parts.saved) {
            tracing::warn!(network = parts.name, "what was announced when is not readable: all is announced anew");
        }
        let [lookups, peers_told, peers_failed, records, over] = std::array::from_fn(|_| AtomicU64::new(0));
        let (changed, unsaved) = (Notify::new(), AtomicBool::new(false));
        let schedule = Mutex::new(schedule);
        let inner =
            Arc::new(Inner { parts, schedule, changed, unsaved, lookups, peers_told, peers_failed, records, over });
        let mut task = JoinSet::new();
        task.spawn(run(Arc::clone(&inner)));
        Self { inner, _task: Arc::new(task) }
    }

    /// From now on, exactly these keys are announced, [`KEYS_MAX`] at most; new ones at once. What was saved of others is
    /// forgotten. Hashes all of them: to be called where work may take its time.
    pub fn keep(&self, keys: &[Key]) {
        let now = self.inner.parts.clock.now();
        let mut places: Vec<(Place, &Key)> = keys.iter().map(|key| (Place::of(key), key)).collect();
        places.sort_unstable_by_key(|(place, _)| *place);
        places.dedup_by_key(|(place, _)| *place);
        self.inner.remove_others(&places);
        let mut over = 0_u64;
        for some in places.chunks(TURN_KEYS) {
            let mut schedule = self.inner.schedule();
            for (place, key) in some {
                over = over.saturating_add(u64::from(!schedule.add(*place, Key::clone(key), now)));
            }
        }
        self.inner.schedule().forget_earlier();
        if self.inner.over.swap(over, Ordering::Relaxed) == 0 && over > 0 {
            tracing::warn!(over, most = KEYS_MAX, "too many keys to announce: these are found by nobody else");
        }
        self.inner.changed.notify_one();
    }

    /// Whether a key is announced by this node.
    pub fn provides(&self, key: &[u8]) -> bool {
        self.inner.schedule().contains(&Place::of(key))
    }

    /// What the next life is to be given; `None` when it is the same as the last time.
    pub fn saved(&self) -> Option<Vec<u8>> {
        self.inner.unsaved.swap(false, Ordering::Relaxed).then(|| self.inner.schedule().save())
    }

    /// How it is going.
    pub fn view(&self) -> SweepView {
        let inner = &self.inner;
        let (standing, peers) = {
            let schedule = inner.schedule();
            (schedule.standing(inner.parts.clock.now()), schedule.peers())
        };
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SweepView {
            network: inner.parts.name.to_owned(),
            keys: standing.keys,
            unannounced: standing.unannounced,
            over: count(&inner.over),
            lag_seconds: standing.lag.as_secs(),
            oldest_seconds: standing.oldest.as_secs(),
            late: standing.oldest > inner.parts.interval,
            peers,
            lookups: count(&inner.lookups),
            peers_told: count(&inner.peers_told),
            peers_failed: count(&inner.peers_failed),
            records: count(&inner.records),
        }
    }
}

impl std::fmt::Debug for Sweep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweep").field("network", &self.inner.parts.name).finish_non_exhaustive()
    }
}

/// Works for ever.
async fn run(inner: Arc<Inner>) {
    let mut check_at = Timestamp::default();
    let mut works = FuturesUnordered::new();
    let mut alone = false;
    loop {
        if !alone {
            alone = !inner.measure().await;
        }
        while !alone && works.len() < REGIONS_AT_ONCE {
            let Some(batch) = inner.take() else { break };
            works.push(inner.announce(batch));
        }
        tokio::select! {
            Some(outcome) = works.next(), if !works.is_empty() => alone |= matches!(outcome, Outcome::Alone),
            () = inner.changed.notified(), if !alone => {}
            () = inner.parts.clock.sleep(LOOK) => alone = false,
        }
        inner.check(&mut check_at);
    }
}

impl Inner {
    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    fn take(&self) -> Option<Batch> {
        self.schedule().take(self.now())
    }

    /// Removes all keys but `places`, which are in order.
    fn remove_others(&self, places: &[(Place, &Key)]) {
        let mut after = None;
        loop {
            let mut schedule = self.schedule();
            let some = schedule.places(after, TURN_KEYS);
            let Some(last) = some.last() else { return };
            after = Some(*last);
            for place in &some {
                if places.binary_search_by_key(place, |(place, _)| *place).is_err() {
                    schedule.remove(place);
                }
            }
        }
    }

    async fn closest(&self, place: &Place, key: &Key) -> Vec<DhtPeer> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let found = self.parts.dht.closest(key).await;
        let places: Vec<Place> = found.iter().map(|peer| Place::of(&peer.id.to_bytes())).collect();
        self.schedule().learn(place, &places);
        found
    }

    /// Sees to it that it is known about how many peers there are; `false` while that is not so, or nothing is due.
    async fn measure(&self) -> bool {
        let sample = {
            let schedule = self.schedule();
            if schedule.depth().is_some() {
                return true;
            }
            schedule.sample(self.now(), SAMPLES)
        };
        for (place, key) in &sample {
            if self.closest(place, key).await.is_empty() {
                return false;
            }
        }
        !sample.is_empty()
    }

    /// Announces the keys of one slot.
    async fn announce(&self, batch: Batch) -> Outcome {
        let told = if batch.keys.len() <= SINGLE_MAX { self.singly(&batch).await } else { self.region(&batch).await };
        let Some(told) = told else {
            self.schedule().release(&batch.keys);
            return Outcome::Alone;
        };
        let now = self.now();
        for some in batch.keys.chunks(TURN_KEYS).zip(told.chunks(TURN_KEYS)) {
            let mut schedule = self.schedule();
            for ((place, _), told) in some.0.iter().zip(some.1) {
                schedule.done(place, *told, now);
            }
        }
        let count = told.iter().filter(|told| **told).count();
        tracing::debug!(network = self.parts.name, keys = told.len(), announced = count, "a region was told");
        self.unsaved.store(true, Ordering::Relaxed);
        Outcome::Done
    }

    /// Looks each key up; which of them were announced, `None` if nobody is there.
    async fn singly(&self, batch: &Batch) -> Option<Vec<bool>> {
        let mut targets = Targets::default();
        for (at, (place, key)) in batch.keys.iter().enumerate() {
            targets.add(at, self.closest(place, key).await.iter());
        }
        self.tell(batch, targets).await
    }

    /// Explores the slot's region; which of its keys were announced, `None` if nobody is there.
    async fn region(&self, batch: &Batch) -> Option<Vec<bool>> {
        let mut region = Region::new(batch.prefix);
        while let Some((place, key)) = region.target(&batch.keys) {
            region.found(&place, self.closest(&place, &key).await);
        }
        let mut targets = Targets::default();
        for (at, (place, _)) in batch.keys.iter().enumerate() {
            targets.add(at, region.closest(place).into_iter());
            if at % TURN_KEYS == 0 {
                tokio::task::yield_now().await;
            }
        }
        self.tell(batch, targets).await
    }

    async fn tell(&self, batch: &Batch, targets: Targets) -> Option<Vec<bool>> {
        if targets.by_peer.is_empty() {
            return None;
        }
        let mut counts = vec![(0_usize, 0_usize); batch.keys.len()];
        let mut done = stream::iter(targets.by_peer.into_values())
            .map(|(peer, at)| async move { (self.tell_one(&peer, &at, batch).await, at) })
            .buffer_unordered(PEERS_AT_ONCE);
        while let Some((told, at)) = done.next().await {
            for (at, told) in at.into_iter().zip(told) {
                if let Some((heard, all)) = counts.get_mut(at) {
                    *heard += usize::from(told);
                    *all += 1;
                }
            }
        }
        Some(counts.into_iter().map(|(heard, all)| heard > 0 && heard * ONE_IN >= all).collect())
    }

    /// Tells one peer of the keys at `at`; which of them it took.
    async fn tell_one(&self, peer: &DhtPeer, at: &[usize], batch: &Batch) -> Vec<bool> {
        let mut took = Vec::with_capacity(at.len());
        for some in at.chunks(TOLD_AT_ONCE) {
            let keys = some.iter().filter_map(|at| batch.keys.get(*at)).map(|(_, key)| Key::clone(key));
            let keys: Vec<Key> = keys.collect();
            // Who did not take some of them is not asked to take more.
            let told = took.last() != Some(&false) && self.parts.dht.tell(peer, &keys).await;
            took.resize(took.len() + some.len(), told);
        }
        let records = took.iter().filter(|took| **took).count();
        self.records.fetch_add(records as u64, Ordering::Relaxed);
        let peers = if records > 0 { &self.peers_told } else { &self.peers_failed };
        peers.fetch_add(1, Ordering::Relaxed);
        took
    }

    /// Says that announcements are late, as long as they are.
    fn check(&self, at: &mut Timestamp) {
        let now = self.now();
        if now < *at {
            return;
        }
        let standing = self.schedule().standing(now);
        let late = standing.oldest > self.parts.interval;
        *at = now.after(if late { WARN_EVERY } else { CHECK_EVERY });
        if late {
            tracing::warn!(
                network = self.parts.name,
                keys = standing.keys,
                unannounced = standing.unannounced,
                oldest_seconds = standing.oldest.as_secs(),
                "announcements to the DHT are late: others may forget that this node has this content"
            );
        }
    }
}

/// Who is to be told of which keys, by their number in the batch.
#[derive(Default)]
struct Targets {
    by_peer: HashMap<PeerId, (DhtPeer, Vec<usize>)>,
}

impl Targets {
    fn add<'a>(&mut self, at: usize, peers: impl Iterator<Item = &'a DhtPeer>) {
        for peer in peers {
            self.by_peer.entry(peer.id).or_insert_with(|| (peer.clone(), Vec::new())).1.push(at);
        }
    }
}
