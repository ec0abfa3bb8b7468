//! One block from whoever is fastest: race, hedge, verify, drop liars. Shared by gateways, pulls and the client.

mod peers;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use atoll_core::{
    Block, BlockError, BoxFuture, Cid, Clock, FetchError, Multiaddr, Timestamp, Transport, TransportError,
};
use bytes::Bytes;
use futures_util::future::{FutureExt, Shared, WeakShared, pending};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::config::FetchConfig;
use crate::found::Search;
use crate::time::{millis, within};
pub use peers::PeerStats;
use peers::Peers;

/// The most CIDs of which it is remembered that nobody has them.
const NEGATIVE_MAX: usize = 4096;

/// Told when a peer sent wrong bytes.
pub(crate) type OnLie = Box<dyn Fn(&Multiaddr, &str) + Send + Sync>;

type Flight = BoxFuture<'static, Result<Bytes, FetchError>>;

/// Fetches blocks; one for each node or client, so that all that is learned is shared.
pub(crate) struct Fetcher {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    config: FetchConfig,
    lie_backoff: (Duration, Duration),
    on_lie: OnLie,
    peers: Peers,
    flights: Mutex<HashMap<Cid, WeakShared<Flight>>>,
    negative: Mutex<HashMap<Cid, Timestamp>>,
}

impl Fetcher {
    pub(crate) fn new(
        (transport, clock): (Arc<dyn Transport>, Arc<dyn Clock>),
        config: FetchConfig,
        lie_backoff: (Duration, Duration),
        on_lie: OnLie,
        seed: [u8; 32],
    ) -> Self {
        let (flights, negative) = (Mutex::default(), Mutex::default());
        Self { transport, clock, config, lie_backoff, on_lie, peers: Peers::new(seed), flights, negative }
    }

    /// The verified block from one of `candidates`, or of those that `more` finds. Callers who want the same block at the same
    /// time share one fetch.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        cid: Cid,
        candidates: Vec<Multiaddr>,
        more: Option<Search>,
    ) -> Result<Bytes, FetchError> {
        if more.is_none() && self.is_negative(&cid) {
            return Err(FetchError::NotFound(cid));
        }
        let flight = self.flight(cid, candidates, more);
        flight.await
    }

    /// The candidates that may be asked, the most promising first.
    pub(crate) fn best(&self, candidates: Vec<Multiaddr>) -> Vec<Multiaddr> {
        self.peers.order(candidates, self.config.candidates_max, self.clock.now())
    }

    /// What each peer did.
    pub(crate) fn stats(&self) -> Vec<PeerStats> {
        self.peers.stats()
    }

    /// Takes note that somebody else caught `address` lying.
    pub(crate) fn drop_peer(&self, address: &Multiaddr, reason: &str) {
        self.peers.lied(address, reason, self.clock.now(), self.lie_backoff);
    }

    /// Joins the fetch that is under way, or begins one. It ends when nobody waits for it any more.
    fn flight(self: &Arc<Self>, cid: Cid, mut candidates: Vec<Multiaddr>, more: Option<Search>) -> Shared<Flight> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(&cid).and_then(WeakShared::upgrade) {
            return flight;
        }
        let landing = Landing { fetcher: Arc::downgrade(self), cid };
        let fetcher = Arc::clone(self);
        let flight: Flight = Box::pin(async move {
            let _landing = landing;
            let mut more = More(more);
            if candidates.is_empty() {
                // The search has its own limit; the time for the block begins with the first who may have it.
                candidates = more.next().await.unwrap_or_default();
            }
            let limit = fetcher.config.total_timeout;
            let race = within(&*fetcher.clock, limit, fetcher.race(cid, candidates, more)).await;
            race.unwrap_or(Err(FetchError::TimedOut { cid, limit_ms: millis(limit) }))
        });
        let flight = flight.shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(cid, weak);
        }
        flight
    }

    /// Asks the most promising candidate, then the next when it fails or takes long, until one answers rightly.
    async fn race(&self, cid: Cid, candidates: Vec<Multiaddr>, mut more: More) -> Result<Bytes, FetchError> {
        // The limit is for members. Those who are found are few, and each was there a moment ago.
        let mut waiting = VecDeque::from(self.peers.order(candidates, self.config.candidates_max, self.clock.now()));
        let mut known: HashSet<Multiaddr> = waiting.iter().cloned().collect();
        let mut running = FuturesUnordered::new();
        let mut tally = Tally::default();
        let mut latest: Option<Multiaddr> = None;
        let mut start = true;
        loop {
            if start && let Some(address) = waiting.pop_front() {
                tally.asked = tally.asked.saturating_add(1);
                latest = Some(address.clone());
                running.push(self.ask(address, cid));
            }
            if running.is_empty() && waiting.is_empty() && more.is_over() {
                return Err(self.give_up(cid, tally));
            }
            let may_hedge = running.len() < self.config.racers_max && !waiting.is_empty();
            start = tokio::select! {
                biased;
                Some(answer) = running.next(), if !running.is_empty() => match answer {
                    Ok(bytes) => {
                        return Ok(bytes);
                    }
                    Err(cause) => {
                        tally.failed(&cause);
                        true
                    }
                },
                found = more.next(), if !more.is_over() => {
                    let new = found.unwrap_or_default().into_iter().filter(|address| known.insert(address.clone()));
                    waiting.extend(self.peers.order(new.collect(), usize::MAX, self.clock.now()));
                    running.is_empty()
                }
                () = self.patience(latest.as_ref().filter(|_| may_hedge)) => true,
            };
        }
    }

    /// One peer's block, verified.
    async fn ask(&self, address: Multiaddr, cid: Cid) -> Result<Bytes, Failure> {
        let mut asking = Asking { fetcher: self, begun: self.clock.now(), address: &address, done: false };
        let _running = self.peers.begin(address.clone());
        let limit = self.config.block_timeout;
        let answer = within(&*self.clock, limit, self.transport.block(&address, &cid)).await;
        asking.done = true;
        let bytes = match answer.unwrap_or(Err(TransportError::TimedOut(millis(limit)))) {
            Ok(bytes) => bytes,
            Err(error) => {
                let missing = error == TransportError::NotFound;
                self.peers.failed(&address, self.clock.now(), missing);
                return Err(Failure { missing, text: error.to_string() });
            }
        };
        match Block::verified(cid, bytes) {
            Ok(block) => {
                let elapsed = self.clock.now().since(asking.begun);
                self.peers.succeeded(&address, block.bytes().len(), elapsed);
                Ok(block.into_parts().1)
            }
            Err(BlockError::UnknownHash(code)) => {
                Err(Failure { missing: false, text: BlockError::UnknownHash(code).to_string() })
            }
            Err(_) => {
                let reason = lie(&cid);
                self.drop_peer(&address, &reason);
                (self.on_lie)(&address, &reason);
                Err(Failure { missing: false, text: reason })
            }
        }
    }

    /// Waits until another peer should be asked beside `address`; for ever when there is none.
    async fn patience(&self, address: Option<&Multiaddr>) {
        match address {
            Some(address) => {
                let patience = self.peers.patience(address, self.config.hedge_min, self.config.hedge_max);
                self.clock.sleep(patience).await;
            }
            None => pending().await,
        }
    }

    /// Why nobody gave the block; remembers when nobody has it.
    fn give_up(&self, cid: Cid, tally: Tally) -> FetchError {
        if tally.asked > tally.missing {
            return FetchError::Unreachable { cid, asked: tally.asked, last: tally.last };
        }
        let now = self.clock.now();
        let mut negative = lock(&self.negative);
        if negative.len() >= NEGATIVE_MAX {
            negative.retain(|_, until| *until > now);
        }
        // With nobody to ask, nothing was learned.
        if tally.asked > 0 && negative.len() < NEGATIVE_MAX {
            negative.insert(cid, now.after(self.config.negative_ttl));
        }
        FetchError::NotFound(cid)
    }

    fn is_negative(&self, cid: &Cid) -> bool {
        let mut negative = lock(&self.negative);
        let fresh = negative.get(cid).is_some_and(|until| *until > self.clock.now());
        if !fresh {
            negative.remove(cid);
        }
        fresh
    }
}

/// Candidates that are yet to be found.
struct More(Option<Search>);

impl More {
    fn is_over(&self) -> bool {
        self.0.is_none()
    }

    /// Those that were found since; `None` when there will be no more. Can be dropped while it waits.
    async fn next(&mut self) -> Option<Vec<Multiaddr>> {
        let found = match &mut self.0 {
            Some(search) => search.more().await,
            None => None,
        };
        if found.is_none() {
            self.0 = None;
        }
        found
    }
}

/// How a lie is told to people.
pub(crate) fn lie(cid: &Cid) -> String {
    format!("dropped: wrong bytes for {cid}")
}

/// What one peer did instead of answering.
struct Failure {
    missing: bool,
    text: String,
}

/// What came of the peers that were asked.
#[derive(Default)]
struct Tally {
    asked: usize,
    missing: usize,
    last: String,
}

impl Tally {
    fn failed(&mut self, failure: &Failure) {
        if failure.missing {
            self.missing = self.missing.saturating_add(1);
        } else {
            self.last.clone_from(&failure.text);
        }
    }
}

/// A question; when it is dropped unanswered, because another was faster, its time so far still teaches something.
struct Asking<'a> {
    fetcher: &'a Fetcher,
    begun: Timestamp,
    address: &'a Multiaddr,
    done: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.done {
            let elapsed = self.fetcher.clock.now().since(self.begun);
            self.fetcher.peers.outrun(self.address, elapsed);
        }
    }
}

/// Takes a fetch off the list when it is over or abandoned.
struct Landing {
    fetcher: Weak<Fetcher>,
    cid: Cid,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(fetcher) = self.fetcher.upgrade() {
            lock(&fetcher.flights).remove(&self.cid);
        }
    }
}

/// The value behind a lock, whatever a panicking thread left there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
