//! One block from whoever is fastest: race, hedge, verify, drop liars. Shared by gateways, pulls and the client.

mod peers;
mod sizes;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use atoll_core::delegated::is_http;
use atoll_core::{
    Block, BlockError, BoxFuture, Cid, Clock, Exchange, FetchError, Multiaddr, Timestamp, Transport, TransportError,
};
use futures_util::future::{FutureExt, Shared, WeakShared, pending};
use futures_util::stream::{FuturesUnordered, StreamExt};
use multiaddr::Protocol;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::config::FetchConfig;
use crate::found::Search;
use crate::time::{millis, within};
pub use peers::PeerStats;
use peers::{Peers, Source};
use sizes::Sizes;

/// The most CIDs of which it is remembered that nobody has them.
const NEGATIVE_MAX: usize = 4096;

/// Told when a peer sent wrong bytes.
pub(crate) type OnLie = Box<dyn Fn(&Multiaddr, &str) + Send + Sync>;

type Flight = BoxFuture<'static, Result<Block, FetchError>>;

/// How blocks come, and what time it is.
pub(crate) struct Means {
    /// From whoever is reached at an address.
    pub(crate) transport: Arc<dyn Transport>,
    /// From peers that exchange them.
    pub(crate) exchange: Arc<dyn Exchange>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Who may have a block.
#[derive(Clone, Default)]
pub(crate) struct Candidates {
    /// The DAG for which it is wanted: whoever had others of its blocks is asked too.
    root: Option<Cid>,
    /// Over HTTP.
    http: Vec<Multiaddr>,
    /// Over the exchange.
    peers: Vec<Multiaddr>,
}

impl Candidates {
    /// Those at `addresses`.
    pub(crate) fn new(root: Option<Cid>, addresses: Vec<Multiaddr>) -> Self {
        let (http, peers) = addresses.into_iter().partition(|address| !is_peer(address));
        Self { root, http, peers }
    }

    fn is_empty(&self) -> bool {
        self.http.is_empty() && self.peers.is_empty()
    }

    /// Adds more; those of them that speak HTTP.
    fn add(&mut self, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let more = Self::new(None, addresses);
        self.http.extend(more.http.iter().cloned());
        self.peers.extend(more.peers);
        more.http
    }
}

/// Whether it is a peer of the exchange: one that is named, and not reached over HTTP.
pub(crate) fn is_peer(address: &Multiaddr) -> bool {
    !is_http(address) && address.iter().any(|part| matches!(part, Protocol::P2p(_)))
}

/// Fetches blocks; one for each node or client, so that all that is learned is shared.
pub(crate) struct Fetcher {
    means: Means,
    config: FetchConfig,
    lie_backoff: (Duration, Duration),
    on_lie: OnLie,
    peers: Peers,
    flights: Mutex<HashMap<Cid, WeakShared<Flight>>>,
    negative: Mutex<HashMap<Cid, Timestamp>>,
    sizes: Sizes,
    /// Where large blocks are received and verified: a visitor's thread has others to serve. Small ones cost less than the way
    /// to another thread and back.
    runtime: Handle,
}

impl Fetcher {
    /// Wants to be made within a runtime, whose threads then do the work.
    pub(crate) fn new(
        means: Means,
        config: FetchConfig,
        lie_backoff: (Duration, Duration),
        on_lie: OnLie,
        seed: [u8; 32],
    ) -> Self {
        let (flights, negative) = (Mutex::default(), Mutex::default());
        let (peers, sizes, runtime) = (Peers::new(seed), Sizes::default(), Handle::current());
        Self { means, config, lie_backoff, on_lie, peers, flights, negative, sizes, runtime }
    }

    /// The verified block from one of `candidates`, or of those that `more` finds. Callers who want the same block at the same
    /// time share one fetch.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        cid: Cid,
        candidates: Candidates,
        more: Option<Search>,
    ) -> Result<Block, FetchError> {
        if more.is_none() && self.is_negative(&cid) {
            return Err(FetchError::NotFound(cid));
        }
        let flight = self.flight(cid, candidates, more);
        flight.await
    }

    /// The candidates that may be asked, the most promising first.
    pub(crate) fn best(&self, candidates: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let candidates = candidates.into_iter().map(Source::At).collect();
        let order = self.peers.order(candidates, self.config.candidates_max, self.means.clock.now()).into_iter();
        let address = |source| if let Source::At(address) = source { Some(address) } else { None };
        order.filter_map(address).collect()
    }

    /// What each peer did.
    pub(crate) fn stats(&self) -> Vec<PeerStats> {
        self.peers.stats()
    }

    /// Takes note that somebody else caught `address` lying.
    pub(crate) fn drop_peer(&self, address: &Multiaddr, reason: &str) {
        self.peers.lied(address, reason, self.means.clock.now(), self.lie_backoff);
    }

    /// Joins the fetch that is under way, or begins one. It ends when nobody waits for it any more.
    fn flight(self: &Arc<Self>, cid: Cid, candidates: Candidates, more: Option<Search>) -> Shared<Flight> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(&cid).and_then(WeakShared::upgrade) {
            return flight;
        }
        let landing = Landing { fetcher: Arc::downgrade(self), cid };
        let fetcher = Arc::clone(self);
        let is_small = candidates.root.is_some_and(|root| self.sizes.are_small(&root));
        let race = async move { fetcher.race(cid, candidates, More(more)).await };
        let race: Flight = if is_small { race.boxed() } else { on(self.runtime.clone(), cid, race).boxed() };
        let flight: Flight = Box::pin(async move {
            let _landing = landing;
            race.await
        });
        let flight = flight.shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(cid, weak);
        }
        flight
    }

    /// How those are asked who were found while others are asked: over HTTP, or with all others of the exchange, who are told of
    /// what is asked of them already.
    fn later(&self, candidates: &mut Candidates, new: Vec<Multiaddr>) -> Vec<Source> {
        let before = candidates.peers.len();
        let http = candidates.add(new).into_iter().map(Source::At).collect();
        // Without the limit, as in `order`.
        let mut sources = self.peers.order(http, usize::MAX, self.means.clock.now());
        let new = candidates.peers.get(before..).filter(|new| !new.is_empty());
        if let Some((root, peers)) = candidates.root.zip(new) {
            self.means.exchange.join(&root, peers);
            sources.push(Source::Exchange(root));
        }
        sources
    }

    /// Asks the most promising candidate, then the next when it fails or takes long, until one answers rightly. The time for
    /// the block runs while somebody is asked who may have it; a search has a limit of its own.
    async fn race(&self, cid: Cid, mut candidates: Candidates, mut more: More) -> Result<Block, FetchError> {
        let found = candidates.add(more.next().now_or_never().flatten().unwrap_or_default()).len();
        let mut known: HashSet<Multiaddr> = candidates.http.iter().chain(&candidates.peers).cloned().collect();
        let mut race = Race { waiting: self.order(&candidates, found).into(), ..Race::default() };
        let mut running = FuturesUnordered::new();
        let (mut limit, mut start) = (None, true);
        loop {
            if start && let Some(source) = race.waiting.pop_front() {
                // Whether anybody of the exchange is there to be asked is not known before.
                let somebody = matches!(source, Source::At(_)) || !candidates.peers.is_empty();
                race.asked = race.asked.saturating_add(usize::from(somebody));
                race.running.push(source.clone());
                running.push(self.ask(source, cid, candidates.peers.clone()));
            }
            if running.is_empty() && race.waiting.is_empty() && more.is_over() {
                return Err(self.give_up(cid, race));
            }
            if running.is_empty() || candidates.is_empty() {
                limit = None;
            } else if limit.is_none() {
                limit = Some(self.means.clock.sleep(self.config.total_timeout));
            }
            let may_hedge = running.len() < self.config.racers_max && !race.waiting.is_empty();
            start = tokio::select! {
                biased;
                Some((source, answer)) = running.next(), if !running.is_empty() => match answer {
                    Ok(block) => {
                        self.sizes.saw(candidates.root, block.bytes().len());
                        self.peers.overtaken(race.before(&source), self.means.clock.now());
                        return Ok(block);
                    }
                    Err(cause) => {
                        race.failed(&source, &cause);
                        true
                    }
                },
                found = more.next(), if !more.is_over() => {
                    let mut new = found.unwrap_or_default();
                    new.retain(|address| known.insert(address.clone()));
                    race.later(self.later(&mut candidates, new));
                    running.is_empty()
                }
                () = self.patience(race.running.last().filter(|_| may_hedge)) => true,
                () = passes(&mut limit) => {
                    return Err(FetchError::TimedOut { cid, limit_ms: millis(self.config.total_timeout) });
                }
            };
        }
    }

    /// The sources in the order in which they are asked. The exchange is one of them; when nobody of it is known to have such
    /// blocks, it comes last. `found` of the candidates come on top of the limit, which is for members: those who are found are
    /// few, and each was there a moment ago.
    fn order(&self, candidates: &Candidates, found: usize) -> Vec<Source> {
        let exchange = candidates.root.map(Source::Exchange);
        let (first, last) = if candidates.peers.is_empty() { (None, exchange) } else { (exchange, None) };
        let sources = candidates.http.iter().cloned().map(Source::At).chain(first).collect();
        let most = self.config.candidates_max.saturating_add(found);
        let mut order = self.peers.order(sources, most, self.means.clock.now());
        order.extend(last);
        order
    }

    /// One source's block, verified.
    async fn ask(&self, source: Source, cid: Cid, peers: Vec<Multiaddr>) -> (Source, Result<Block, Failure>) {
        let answer = self.answer(&source, cid, peers).await;
        (source, answer)
    }

    async fn answer(&self, source: &Source, cid: Cid, peers: Vec<Multiaddr>) -> Result<Block, Failure> {
        let mut asking = Asking { fetcher: self, begun: self.means.clock.now(), source, done: false };
        let _running = self.peers.begin(source.clone());
        // The exchange has times of its own for each peer.
        let (answer, limit) = match source {
            Source::At(address) => (self.means.transport.block(address, &cid), self.config.block_timeout),
            Source::Exchange(root) => (self.means.exchange.block(root, &cid, &peers), self.config.total_timeout),
        };
        let answer = within(&*self.means.clock, limit, answer).await;
        asking.done = true;
        match answer.unwrap_or(Err(TransportError::TimedOut(millis(limit)))) {
            Ok(block) => {
                let elapsed = self.means.clock.now().since(asking.begun);
                self.peers.succeeded(source, block.bytes().len(), elapsed);
                Ok(block)
            }
            Err(error) => Err(self.failed(source, &cid, error)),
        }
    }

    /// Notes what a source did instead of answering.
    fn failed(&self, source: &Source, cid: &Cid, error: TransportError) -> Failure {
        match (error, source) {
            (TransportError::Block(error @ BlockError::UnknownHash(_)), _) => {
                Failure { missing: false, text: error.to_string() }
            }
            (TransportError::Block(_), Source::At(address)) => {
                let reason = lie(cid);
                self.drop_peer(address, &reason);
                (self.on_lie)(address, &reason);
                Failure { missing: false, text: reason }
            }
            (error, source) => {
                let missing = error == TransportError::NotFound;
                self.peers.failed(source, self.means.clock.now(), missing);
                Failure { missing, text: error.to_string() }
            }
        }
    }

    /// Waits until another should be asked beside `source`; for ever when there is none.
    async fn patience(&self, source: Option<&Source>) {
        match source {
            Some(source) => {
                let patience = self.peers.patience(source, self.config.hedge_min, self.config.hedge_max);
                self.means.clock.sleep(patience).await;
            }
            None => pending().await,
        }
    }

    /// Why nobody gave the block; remembers when nobody has it.
    fn give_up(&self, cid: Cid, race: Race) -> FetchError {
        if race.failed > 0 {
            return FetchError::Unreachable { cid, asked: race.asked.max(1), last: race.last };
        }
        let now = self.means.clock.now();
        let mut negative = lock(&self.negative);
        if negative.len() >= NEGATIVE_MAX {
            negative.retain(|_, until| *until > now);
        }
        // With nobody to ask, nothing was learned.
        if race.asked > 0 && negative.len() < NEGATIVE_MAX {
            negative.insert(cid, now.after(self.config.negative_ttl));
        }
        FetchError::NotFound(cid)
    }

    fn is_negative(&self, cid: &Cid) -> bool {
        let mut negative = lock(&self.negative);
        let fresh = negative.get(cid).is_some_and(|until| *until > self.means.clock.now());
        if !fresh {
            negative.remove(cid);
        }
        fresh
    }
}

/// Does the work on the threads of `runtime`, until it is dropped.
async fn on(
    runtime: Handle,
    cid: Cid,
    work: impl Future<Output = Result<Block, FetchError>> + Send + 'static,
) -> Result<Block, FetchError> {
    let mut task = JoinSet::new();
    task.spawn_on(work, &runtime);
    match task.join_next().await {
        Some(Ok(answer)) => answer,
        _ => Err(FetchError::Unreachable { cid, asked: 1, last: "the fetch was ended".to_owned() }),
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

/// Who is asked, who is next, and what came of it.
#[derive(Default)]
struct Race {
    waiting: VecDeque<Source>,
    /// In the order in which they were asked.
    running: Vec<Source>,
    /// Peers of the exchange were found while it was asked: what it says may be said without them.
    has_joined: bool,
    asked: usize,
    failed: usize,
    last: String,
}

impl Race {
    /// Takes note of sources that were found.
    fn later(&mut self, sources: Vec<Source>) {
        for source in sources {
            if matches!(source, Source::Exchange(_)) && self.running.contains(&source) {
                self.has_joined = true;
            } else if !self.waiting.contains(&source) {
                self.waiting.push_back(source);
            }
        }
    }

    /// Those who were asked before `winner`, and have not answered.
    fn before(&self, winner: &Source) -> &[Source] {
        self.running.split(|source| source == winner).next().unwrap_or_default()
    }

    fn failed(&mut self, source: &Source, failure: &Failure) {
        self.running.retain(|other| other != source);
        if matches!(source, Source::Exchange(_)) && std::mem::take(&mut self.has_joined) {
            self.waiting.push_back(source.clone());
        } else if !failure.missing {
            self.failed = self.failed.saturating_add(1);
            self.last.clone_from(&failure.text);
        }
    }
}

/// Waits for a limit, if there is one.
async fn passes(limit: &mut Option<BoxFuture<'_, ()>>) {
    match limit {
        Some(limit) => limit.await,
        None => pending().await,
    }
}

/// A question; when it is dropped unanswered, because another was faster, its time so far still teaches something.
struct Asking<'a> {
    fetcher: &'a Fetcher,
    begun: Timestamp,
    source: &'a Source,
    done: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.done {
            let elapsed = self.fetcher.means.clock.now().since(self.begun);
            self.fetcher.peers.outrun(self.source, elapsed);
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
