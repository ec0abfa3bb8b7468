//! Who answers how fast: learned from every block, and from round trips as long as there were no blocks. Kept in memory only.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atoll_core::{Cid, Multiaddr, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::sizes::SMALL_BYTES;
use crate::health::Dropped;
use crate::nearness::{self, Choice};
use crate::time::{backoff, millis};

/// The most addresses that are remembered.
const PEERS_MAX: usize = 4096;
/// Blocks are compared as if each had this size, so that a fast sender of large blocks does not seem slow.
const TYPICAL_BYTES: f64 = 256.0 * 1024.0;
/// What is known of a source's speed is forgotten when its round trip was measured so often since its last block.
const UNASKED_MAX: u32 = 40;
/// A large block of the exchange is asked for as if it took so many times as long.
const FRAMED: u32 = 3;
/// A source seems twice as slow with this many questions under way.
const BUSY: u32 = 8;
/// What one recent failure costs in the order, doubled for each further one.
const FAILURE: Duration = Duration::from_millis(500);
/// One fetch in so many begins with a random peer, so that one who became fast is noticed.
const EXPLORE_EVERY: u32 = 32;

/// Whom a block may be asked of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Whoever is reached at an address.
    At(Multiaddr),
    /// The peers that exchange the blocks of a DAG.
    Exchange(Cid),
}

/// What is known of each source.
pub(crate) struct Peers {
    inner: Mutex<Inner>,
}

struct Inner {
    peers: HashMap<Source, Peer>,
    rng: StdRng,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    /// Smoothed time of a block of typical size, and how much it varies, in milliseconds.
    time: Option<(f64, f64)>,
    round_trip: Option<Duration>,
    /// How often the round trip was measured since the last block.
    unasked: u32,
    running: u32,
    /// Failures in a row, and the last one's time.
    failures: u32,
    failed_at: Timestamp,
    lies: u32,
    dropped: Option<Dropped>,
    stats: (u64, u64, u64),
}

/// What one peer did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerStats {
    /// Its address.
    pub address: Multiaddr,
    /// Blocks that verified.
    pub blocks: u64,
    /// Bytes that verified.
    pub bytes: u64,
    /// Questions that it did not answer, or not rightly.
    pub failures: u64,
    /// Smoothed time of a block of 256 KiB or less, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Why it is no longer asked.
    pub dropped: Option<String>,
}

impl Peers {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { inner: Mutex::new(Inner { peers: HashMap::new(), rng: StdRng::from_seed(seed) }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The candidates that may be asked, the most promising first, at most `most`; of those that promise as much, who has less to do.
    pub(crate) fn order(&self, candidates: Vec<Source>, most: usize, now: Timestamp) -> Vec<Source> {
        let inner = &mut *self.lock();
        let allowed = candidates.into_iter().filter_map(|source| match inner.peers.get(&source) {
            None => Some(Choice { who: source, cost: Duration::ZERO, running: 0 }),
            Some(peer) if peer.is_dropped(now) => None,
            Some(peer) => {
                Some(Choice { cost: peer.cost(now) * peer.weight(&source), running: peer.running, who: source })
            }
        });
        let mut choices: Vec<_> = allowed.collect();
        let explores = choices.len() > 1 && inner.rng.random_range(0..EXPLORE_EVERY) == 0;
        let by_chance = explores.then(|| inner.rng.random_range(0..choices.len()));
        let is_good = |index: &usize| {
            let peer = choices.get(*index).and_then(|choice| inner.peers.get(&choice.who));
            peer.is_none_or(|peer| !peer.failed_lately(now))
        };
        let first = by_chance.filter(is_good).map(|index| choices.swap_remove(index).who);
        let mut order = Vec::from_iter(first);
        let rest = most.saturating_sub(order.len());
        order.extend(nearness::order(choices, rest, &mut inner.rng));
        order
    }

    /// How long to wait for `source` before another is asked: about its 95th percentile.
    pub(crate) fn patience(&self, source: &Source, least: Duration, most: Duration) -> Duration {
        let time = self.lock().peers.get(source).and_then(|peer| peer.time);
        let expected =
            time.map(|(mean, deviation)| Duration::from_secs_f64((mean + 2.0 * deviation).max(0.0) / 1000.0));
        expected.unwrap_or(most / 4).clamp(least, most.max(least))
    }

    /// Counts a question as under way until the returned guard is finished or dropped.
    pub(crate) fn begin(&self, source: Source) -> Running<'_> {
        if let Some(peer) = self.lock().peer(source.clone()) {
            peer.running = peer.running.saturating_add(1);
        }
        Running { peers: self, source }
    }

    /// The round trip to whoever is at `address` is as long as that.
    fn near(&self, address: &Multiaddr, round_trip: Duration) {
        if let Some(peer) = self.lock().peer(Source::At(address.clone())) {
            peer.round_trip = Some(round_trip);
            peer.unasked = peer.unasked.saturating_add(1);
            if peer.unasked > UNASKED_MAX {
                peer.time = None;
            }
        }
    }

    /// A verified block of `bytes` came after `elapsed`.
    pub(crate) fn succeeded(&self, source: &Source, bytes: usize, elapsed: Duration) {
        if let Some(peer) = self.lock().peers.get_mut(source) {
            (peer.failures, peer.unasked) = (0, 0);
            peer.stats.0 = peer.stats.0.saturating_add(1);
            peer.stats.1 = peer.stats.1.saturating_add(bytes as u64);
            #[expect(clippy::cast_precision_loss, reason = "a block is far below 2^52 bytes")]
            let scale = (bytes as f64 / TYPICAL_BYTES).max(1.0);
            peer.observe(elapsed.as_secs_f64() * 1000.0 / scale);
        }
    }

    /// Another was faster; this one took at least `elapsed`.
    pub(crate) fn outrun(&self, source: &Source, elapsed: Duration) {
        if let Some(peer) = self.lock().peers.get_mut(source) {
            let elapsed = elapsed.as_secs_f64() * 1000.0;
            if peer.time.is_none_or(|(mean, _)| mean < elapsed) {
                peer.observe(elapsed);
            }
        }
    }

    /// Others were asked after these, and answered before them: they come later in the order for a while.
    pub(crate) fn overtaken(&self, sources: &[Source], now: Timestamp) {
        let mut inner = self.lock();
        for source in sources {
            if let Some(peer) = inner.peers.get_mut(source) {
                peer.failures = peer.failures.saturating_add(1);
                peer.failed_at = now;
            }
        }
    }

    /// It does not have the block, which says nothing about its speed, or it failed.
    pub(crate) fn failed(&self, source: &Source, now: Timestamp, missing: bool) {
        if let Some(peer) = self.lock().peers.get_mut(source).filter(|_| !missing) {
            peer.failures = peer.failures.saturating_add(1);
            peer.failed_at = now;
            peer.stats.2 = peer.stats.2.saturating_add(1);
        }
    }

    /// It sent wrong bytes: it is not asked until its backoff, from `least` doubling to `most`, is over.
    pub(crate) fn lied(&self, address: &Multiaddr, reason: &str, now: Timestamp, times: (Duration, Duration)) {
        let mut inner = self.lock();
        let peer = inner.peers.entry(Source::At(address.clone())).or_default();
        peer.lies = peer.lies.saturating_add(1);
        peer.stats.2 = peer.stats.2.saturating_add(1);
        let until = now.after(backoff(times.0, times.1, peer.lies));
        peer.dropped = Some(Dropped { reason: reason.to_owned(), until });
    }

    /// Everybody, by address.
    pub(crate) fn stats(&self) -> Vec<PeerStats> {
        let inner = self.lock();
        let known = inner.peers.iter().filter_map(|(source, peer)| match source {
            Source::At(address) => Some(peer.stats(address)),
            Source::Exchange(_) => None,
        });
        let mut stats: Vec<_> = known.collect();
        stats.sort_by_cached_key(|stats| stats.address.to_string());
        stats
    }
}

impl super::Fetcher {
    /// Takes note of how near whoever is at `address` is.
    pub(crate) fn near(&self, address: &Multiaddr, round_trip: Duration) {
        self.peers.near(address, round_trip);
    }
}

impl Inner {
    /// What is known of a source, if there is room for it.
    fn peer(&mut self, source: Source) -> Option<&mut Peer> {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&source) {
            self.peers.retain(|_, peer| peer.running > 0 || peer.dropped.is_some());
        }
        let has_room = self.peers.len() < 2 * PEERS_MAX || self.peers.contains_key(&source);
        has_room.then(|| self.peers.entry(source).or_default())
    }
}

impl Peer {
    fn is_dropped(&self, now: Timestamp) -> bool {
        self.dropped.as_ref().is_some_and(|dropped| dropped.until > now)
    }

    /// The time that is expected, longer the more it has to do and the more it failed lately: that of its last blocks, or its
    /// round trip, below which none comes. An unknown one costs nothing: try it.
    fn cost(&self, now: Timestamp) -> Duration {
        let time = Duration::from_secs_f64(self.time.map_or(0.0, |(mean, _)| mean.max(0.0)) / 1000.0);
        let time = time.max(self.round_trip.unwrap_or_default()).max(Duration::from_millis(1));
        let waiting = time + time.saturating_mul(self.running) / BUSY;
        if self.failed_lately(now) { waiting.saturating_add(self.penalty()) } else { waiting }
    }

    /// How much more a block of it costs than the time it takes: those of the exchange come encrypted and in frames, over one
    /// connection, which costs large ones dearly.
    fn weight(&self, source: &Source) -> u32 {
        let (blocks, bytes, _) = self.stats;
        let is_large = bytes > blocks.saturating_mul(SMALL_BYTES as u64);
        if is_large && matches!(source, Source::Exchange(_)) { FRAMED } else { 1 }
    }

    fn failed_lately(&self, now: Timestamp) -> bool {
        self.failures > 0 && now.since(self.failed_at) < self.penalty() * 4
    }

    fn penalty(&self) -> Duration {
        backoff(FAILURE, FAILURE * 64, self.failures)
    }

    /// Smooths as TCP does its round trip (RFC 6298 §2).
    fn observe(&mut self, sample: f64) {
        self.time = Some(match self.time {
            None => (sample, sample / 2.0),
            Some((mean, deviation)) => (0.875 * mean + 0.125 * sample, 0.75 * deviation + 0.25 * (mean - sample).abs()),
        });
    }

    fn stats(&self, address: &Multiaddr) -> PeerStats {
        let (blocks, bytes, failures) = self.stats;
        let latency_ms = self.time.map(|(mean, _)| millis(Duration::from_secs_f64(mean.max(0.0) / 1000.0)));
        let dropped = self.dropped.as_ref().map(|dropped| dropped.reason.clone());
        PeerStats { address: address.clone(), blocks, bytes, failures, latency_ms, dropped }
    }
}

/// A question under way.
pub(crate) struct Running<'a> {
    peers: &'a Peers,
    source: Source,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(peer) = self.peers.lock().peers.get_mut(&self.source) {
            peer.running = peer.running.saturating_sub(1);
        }
    }
}
