//! A node with a hundred thousand keys in a DHT of two thousand peers, in simulated time: what is announced to whom, and what it costs.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test where it stands")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atoll_core::dht::{DhtPeer, K, Key, Place};
use atoll_core::{BoxFuture, Clock, Dht, PeerId, Timestamp};
use atoll_routing::{Sweep, SweepParts};
use atoll_testkit::SimClock;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

const KEYS: u32 = 100_000;
const PEERS: usize = 2000;
const HOUR: Duration = Duration::from_secs(3600);
const INTERVAL: Duration = Duration::from_secs(22 * 3600);
/// How long a lookup takes.
const LOOKUP: Duration = Duration::from_secs(3);
/// How long it takes to tell a peer, beside a millisecond for each record.
const TELL: Duration = Duration::from_millis(300);

/// A DHT in which everybody knows everybody, so that a lookup is exact; its peers come and go.
struct Sea {
    clock: SimClock,
    peers: Mutex<Vec<Peer>>,
    lookups: AtomicU64,
    streams: AtomicU64,
    records: AtomicU64,
}

struct Peer {
    place: Place,
    id: PeerId,
    up: bool,
    /// When it was told of each key.
    told: HashMap<Key, Timestamp>,
}

impl Peer {
    fn new(rng: &mut StdRng) -> Self {
        let mut id = [0; 34];
        rng.fill_bytes(&mut id);
        id[..2].copy_from_slice(&[0x12, 32]);
        Self { place: Place::of(&id), id: PeerId::from_bytes(&id).unwrap(), up: true, told: HashMap::new() }
    }
}

impl Sea {
    fn new(peers: usize, rng: &mut StdRng) -> Arc<Self> {
        let peers = Mutex::new((0..peers).map(|_| Peer::new(rng)).collect());
        let [lookups, streams, records] = std::array::from_fn(|_| AtomicU64::new(0));
        Arc::new(Self { clock: SimClock::start(), peers, lookups, streams, records })
    }

    fn sweep(self: &Arc<Self>, saved: Vec<u8>) -> Sweep {
        let me = PeerId::from_bytes(&[&[0x12, 32][..], &[7; 32]].concat()).unwrap();
        let (dht, clock) = (Arc::clone(self) as _, Arc::new(self.clock));
        Sweep::spawn(SweepParts { name: "sea", me, dht, clock, interval: INTERVAL, saved })
    }

    /// The peers nearest to `place` that are up, by number.
    fn nearest(peers: &[Peer], place: &Place) -> Vec<usize> {
        let up = peers.iter().enumerate().filter(|(_, peer)| peer.up);
        let mut all: Vec<_> = up.map(|(at, peer)| (peer.place.head() ^ place.head(), at)).collect();
        if all.len() > K {
            all.select_nth_unstable(K - 1);
            all.truncate(K);
        }
        all.sort_unstable();
        all.into_iter().map(|(_, at)| at).collect()
    }

    /// For each key, how many of the peers that are nearest to it now were told of it no longer ago than `within`.
    fn coverage(&self, keys: &[Key], within: Duration) -> Vec<usize> {
        let (peers, now) = (self.peers.lock().unwrap(), self.clock.now());
        let of = |key: &Key| {
            let nearest = Self::nearest(&peers, &Place::of(key));
            nearest.iter().filter(|at| peers[**at].told.get(key).is_some_and(|told| now.since(*told) <= within)).count()
        };
        keys.iter().map(of).collect()
    }

    /// One in `share` peers goes for good, and as many others come.
    fn churn(&self, share: usize, rng: &mut StdRng) {
        let mut peers = self.peers.lock().unwrap();
        let up: Vec<usize> = (0..peers.len()).filter(|at| peers[*at].up).collect();
        for _ in 0..up.len() / share {
            let gone = up[rng.random_range(0..up.len())];
            peers[gone].up = false;
            peers[gone].told = HashMap::new();
            peers.push(Peer::new(rng));
        }
    }

    fn report(&self, what: &str, keys: &[Key], counts: &[usize]) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (lookups, streams, records) = (count(&self.lookups), count(&self.streams), count(&self.records));
        let fewest = counts.iter().min().unwrap();
        let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
        println!(
            "{what}: {lookups} lookups, {streams} streams, {records} records for {} keys ({} lookups and {} streams \
             if each were announced alone); told of the nearest {K}: {fewest} at least, {mean:.2} in the mean",
            keys.len(),
            keys.len(),
            keys.len() * K
        );
    }
}

impl Dht for Sea {
    fn closest<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Vec<DhtPeer>> {
        Box::pin(async move {
            self.clock.sleep(LOOKUP).await;
            self.lookups.fetch_add(1, Ordering::Relaxed);
            let peers = self.peers.lock().unwrap();
            let nearest = Self::nearest(&peers, &Place::of(key)).into_iter();
            nearest.map(|at| DhtPeer { id: peers[at].id, addresses: Vec::new() }).collect()
        })
    }

    fn tell<'a>(&'a self, peer: &'a DhtPeer, keys: &'a [Key]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            self.clock.sleep(TELL + Duration::from_millis(keys.len() as u64)).await;
            self.streams.fetch_add(1, Ordering::Relaxed);
            let (mut peers, now) = (self.peers.lock().unwrap(), self.clock.now());
            let Some(peer) = peers.iter_mut().find(|known| known.id == peer.id && known.up) else { return false };
            peer.told.extend(keys.iter().map(|key| (Key::clone(key), now)));
            self.records.fetch_add(keys.len() as u64, Ordering::Relaxed);
            true
        })
    }
}

fn keys(numbers: std::ops::Range<u32>) -> Vec<Key> {
    numbers.map(|number| Key::from([&[0x12, 32][..], &Place::of(&number.to_be_bytes()).0].concat())).collect()
}

fn seed() -> u64 {
    let seed = std::env::var("ATOLL_SEED").ok().map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    seed
}

async fn announced(sea: &Sea, sweep: &Sweep) -> Duration {
    let begun = sea.clock.now();
    while sweep.view().unannounced > 0 {
        assert!(sea.clock.now().since(begun) < INTERVAL, "{:?}", sweep.view());
        sea.clock.sleep(Duration::from_secs(60)).await;
    }
    sea.clock.now().since(begun)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_keys_are_told_to_their_nearest_peers_and_told_again_in_time() {
    let mut rng = StdRng::seed_from_u64(seed());
    let (sea, keys) = (Sea::new(PEERS, &mut rng), keys(0..KEYS));
    let sweep = sea.sweep(Vec::new());
    sweep.keep(&keys);
    let took = announced(&sea, &sweep).await;
    let counts = sea.coverage(&keys, INTERVAL);
    sea.report(&format!("first, in {took:?}"), &keys, &counts);
    assert!(counts.iter().all(|count| *count >= 18));
    // An hour is much less than a day's worth: it is spread over the cycle.
    let before = sea.records.load(Ordering::Relaxed);
    sea.clock.sleep(HOUR).await;
    let hour = sea.records.load(Ordering::Relaxed) - before;
    assert!(hour < u64::from(KEYS) * K as u64 / 10, "{hour} records in an hour");
    sea.clock.sleep(INTERVAL).await;
    let view = sweep.view();
    let counts = sea.coverage(&keys, INTERVAL);
    sea.report("and again", &keys, &counts);
    assert!(counts.iter().all(|count| *count >= 18));
    assert!(!view.late && view.lag_seconds < 600, "{view:?}");
    let lookups = sea.lookups.load(Ordering::Relaxed);
    assert!(lookups < u64::from(KEYS) / 50, "{lookups} lookups");
    // A new key does not wait for its turn.
    let new = self::keys(KEYS..KEYS + 1);
    sweep.keep(&[&keys[..], &new[..]].concat());
    sea.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(sea.coverage(&new, INTERVAL), [K]);
}

#[tokio::test(start_paused = true)]
async fn while_peers_come_and_go_keys_stay_findable() {
    let mut rng = StdRng::seed_from_u64(seed());
    let (sea, keys) = (Sea::new(PEERS, &mut rng), keys(0..KEYS / 5));
    let sweep = sea.sweep(Vec::new());
    sweep.keep(&keys);
    announced(&sea, &sweep).await;
    // A hundredth of the peers goes each hour: in a cycle nearly a fifth.
    for _ in 0..44 {
        sea.clock.sleep(HOUR).await;
        sea.churn(100, &mut rng);
        let view = sweep.view();
        assert!(!view.late && view.unannounced == 0, "{view:?}");
    }
    let counts = sea.coverage(&keys, INTERVAL);
    sea.report("with churn", &keys, &counts);
    assert!(*counts.iter().min().unwrap() >= 8);
    assert!(counts.iter().sum::<usize>() >= keys.len() * 17);
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_announce_all_anew_and_catches_up() {
    let mut rng = StdRng::seed_from_u64(seed());
    let (sea, keys) = (Sea::new(PEERS, &mut rng), keys(0..KEYS / 5));
    let sweep = sea.sweep(Vec::new());
    sweep.keep(&keys);
    announced(&sea, &sweep).await;
    let saved = sweep.saved().unwrap();
    assert_eq!(sweep.saved(), None);
    drop(sweep);
    let records = |sea: &Sea| sea.records.load(Ordering::Relaxed);
    let before = records(&sea);
    let sweep = sea.sweep(saved.clone());
    sweep.keep(&keys);
    sea.clock.sleep(10 * Duration::from_secs(60)).await;
    let again = records(&sea) - before;
    assert!(again < u64::from(KEYS / 5) * K as u64 / 10, "{again} records within ten minutes of a restart");
    assert_eq!(sweep.view().unannounced, 0);
    drop(sweep);
    // Away for a day: all is late, is said to be, and is caught up with.
    sea.clock.sleep(24 * HOUR).await;
    let sweep = sea.sweep(saved);
    sweep.keep(&keys);
    assert!(sweep.view().late);
    sea.clock.sleep(3 * HOUR).await;
    let (view, counts) = (sweep.view(), sea.coverage(&keys, 4 * HOUR));
    sea.report("after a day away", &keys, &counts);
    assert!(!view.late && view.lag_seconds < 600, "{view:?}");
    assert!(counts.iter().all(|count| *count >= 18));
}

#[tokio::test(start_paused = true)]
async fn with_nobody_there_keys_wait_and_are_told_once_somebody_comes() {
    let mut rng = StdRng::seed_from_u64(seed());
    let (sea, keys) = (Sea::new(0, &mut rng), keys(0..200));
    let sweep = sea.sweep(Vec::new());
    sweep.keep(&keys);
    sea.clock.sleep(23 * HOUR).await;
    let view = sweep.view();
    assert!(view.late && view.unannounced == 200 && view.lag_seconds >= 23 * 3600, "{view:?}");
    sea.peers.lock().unwrap().extend((0..3).map(|_| Peer::new(&mut rng)));
    sea.clock.sleep(Duration::from_secs(60)).await;
    assert!(sea.coverage(&keys, INTERVAL).iter().all(|count| *count == 3));
    let view = sweep.view();
    assert!(!view.late && view.unannounced == 0 && view.peers == Some(3), "{view:?}");
}
