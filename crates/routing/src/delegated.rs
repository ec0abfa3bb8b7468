//! Routers of others (Delegated Routing V1), asked who has content and what names point at. Strangers: what they say is bounded
//! in size, count and time, and each peer that they name is tried before it is used.
//!
//! All routers are asked at once, each by a task of its own with its own limits, and peers are given out as they prove
//! themselves: one that is dead, slow or lies takes nothing from the others. Who fails rests for a while, unless all do.
//! What was learned of them is in memory only.

mod answer;
mod config;
mod names;
#[cfg(test)]
mod tests;
mod usable;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atoll_core::delegated::{GATEWAY, PREFIX, PeerRecord};
use atoll_core::providers::ProviderStream;
use atoll_core::{BoxFuture, Cid, Clock, Multiaddr, PeerId, Providers, Reach, Timestamp, Transport, TransportError};
use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use http::{HeaderValue, Method, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::answer::{Answer, RouterError};
use self::config::Base;
use self::usable::{Candidate, Rule};
use crate::http::HttpTransport;
use crate::time::backoff;

pub use self::config::RoutersConfig;
pub use self::names::WithRouters;

/// Peers that wait to be taken, over all routers.
const FOUND_MAX: usize = 16;
/// The most strangers of whom it is remembered whether they are there.
const TRIED_MAX: usize = 4096;
/// How long it is remembered that a stranger is there, and that it is not.
const ALIVE_REMEMBERED: Duration = Duration::from_secs(60);
const DEAD_REMEMBERED: Duration = Duration::from_secs(30);
/// A stream rather than a list.
const ACCEPT: &str = "application/x-ndjson, application/json;q=0.8";
/// The longest text about a router's last failure, in bytes.
const TROUBLE_BYTES_MAX: usize = 200;

/// A stranger who is being tried; the address at which it is there, if it is.
type Trying<'a> = BoxFuture<'a, Option<Multiaddr>>;

/// What asking routers needs.
pub struct RoutersParts {
    /// How routers are asked.
    pub http: HttpTransport,
    /// How those whom they name are tried.
    pub transport: Arc<dyn Transport>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// This node.
    pub me: PeerId,
    /// Whether `transport` reaches peers over libp2p, beside gateways over HTTP.
    pub peers: bool,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Routers(Arc<Inner>);

struct Inner {
    parts: RoutersParts,
    config: RoutersConfig,
    routers: Vec<Arc<Router>>,
    tried: Mutex<HashMap<Candidate, Tried>>,
}

/// What is remembered of a stranger.
struct Tried {
    address: Option<Multiaddr>,
    until: Timestamp,
}

/// One router.
struct Router {
    base: Base,
    /// Turns to try those whom it names, over all that it is asked.
    probes: Semaphore,
    health: Mutex<Health>,
}

#[derive(Clone, Debug, Default)]
struct Health {
    failures: u32,
    rests_until: Timestamp,
    view: RouterView,
}

/// What is known of a router, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterView {
    /// Its URL.
    pub url: String,
    /// Questions to it.
    pub asked: u64,
    /// Those that it did not answer, or not as a router does.
    pub failed: u64,
    /// Peers that it named.
    pub records: u64,
    /// Those of them that were there when they were tried.
    pub usable: u64,
    /// Whether it rests after failures.
    pub resting: bool,
    /// Its last failure, until it answers again.
    pub trouble: Option<String>,
}

impl Routers {
    /// Asks the routers of checked settings.
    pub fn new(config: &RoutersConfig, parts: RoutersParts) -> Self {
        let router = |base: Base| {
            let view = RouterView { url: base.url.clone(), ..RouterView::default() };
            let health = Mutex::new(Health { view, ..Health::default() });
            Arc::new(Router { base, probes: Semaphore::new(config.probes_max), health })
        };
        let routers = config.urls.iter().filter_map(|url| Base::parse(url)).map(router).collect();
        Self(Arc::new(Inner { parts, config: config.clone(), routers, tried: Mutex::default() }))
    }

    /// All that is known now.
    pub fn views(&self) -> Vec<RouterView> {
        let now = self.0.parts.clock.now();
        let view = |router: &Arc<Router>| {
            let health = router.lock();
            RouterView { resting: health.rests_until > now, ..health.view.clone() }
        };
        self.0.routers.iter().map(view).collect()
    }
}

impl std::fmt::Debug for Routers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routers").field("urls", &self.0.config.urls).finish_non_exhaustive()
    }
}

impl Providers for Routers {
    fn find(&self, cid: &Cid) -> ProviderStream {
        let (found, taken) = mpsc::channel(FOUND_MAX);
        let mut tasks = JoinSet::new();
        for router in self.0.awake() {
            let (inner, found, cid) = (Arc::clone(&self.0), found.clone(), *cid);
            tasks.spawn(async move {
                let outcome = inner.ask_for_providers(&router, &cid, &found).await;
                inner.note(&router, outcome);
            });
        }
        // The tasks end with the stream.
        Box::pin(stream::unfold((taken, tasks), |(mut taken, tasks)| async move {
            let address = taken.recv().await?;
            Some((address, (taken, tasks)))
        }))
    }
}

impl Inner {
    /// The routers that do not rest; all of them, if all do.
    fn awake(&self) -> Vec<Arc<Router>> {
        let now = self.parts.clock.now();
        let awake: Vec<_> =
            self.routers.iter().filter(|router| router.lock().rests_until <= now).map(Arc::clone).collect();
        if awake.is_empty() { self.routers.clone() } else { awake }
    }

    /// Asks one router, tries whom it names, and hands on who is there.
    async fn ask_for_providers(
        &self,
        router: &Router,
        cid: &Cid,
        found: &mpsc::Sender<Multiaddr>,
    ) -> Result<(), RouterError> {
        // Without libp2p, peers that speak nothing else are of no use.
        let filter = if self.parts.peers { "" } else { "?filter-protocols=transport-ipfs-gateway-http,unknown" };
        // Every CID of a block names the same providers, and this text of it is found in caches.
        let path = format!("providers/{}{filter}", Cid::new_v1(cid.codec(), *cid.hash()));
        let Some(mut answer) = self.list(router, &path).await? else { return Ok(()) };
        let (mut probes, mut named, mut used) = (FuturesUnordered::new(), 0_usize, 0_usize);
        let mut outcome = None;
        loop {
            let room = named < self.config.records_max && probes.len() < self.config.probes_max;
            tokio::select! {
                biased;
                Some(tried) = probes.next(), if !probes.is_empty() => if let Some(address) = tried {
                    used = used.saturating_add(1);
                    router.count(|view| view.usable = view.usable.saturating_add(1));
                    if found.send(address).await.is_err() || used >= self.config.providers_max {
                        return outcome.unwrap_or(Ok(()));
                    }
                },
                record = answer.next(), if outcome.is_none() && room => match record {
                    Ok(Some(record)) => {
                        named = named.saturating_add(1);
                        router.count(|view| view.records = view.records.saturating_add(1));
                        self.try_record(router, record, &mut probes);
                    }
                    Ok(None) => outcome = Some(Ok(())),
                    Err(error) => outcome = Some(Err(error)),
                },
                else => return outcome.unwrap_or(Ok(())),
            }
        }
    }

    /// Begins to try whom a record names.
    fn try_record<'a>(&'a self, router: &'a Router, record: PeerRecord, probes: &mut FuturesUnordered<Trying<'a>>) {
        for candidate in self.candidates(router, &record) {
            probes.push(Box::pin(self.try_out(router, candidate)));
        }
        let is_of_use = self.parts.peers || record.may_speak(GATEWAY);
        if record.addresses.is_empty() && is_of_use {
            probes.push(Box::pin(self.look_up(router, record)));
        }
    }

    fn candidates(&self, router: &Router, record: &PeerRecord) -> Vec<Candidate> {
        let reach = if self.config.private { Reach::Loopback } else { router.base.reach };
        Rule { me: self.parts.me, reach, peers: self.parts.peers }.apply(record)
    }

    /// Asks where a peer is that was named without an address ("Peer Schema"), and tries it there.
    async fn look_up(&self, router: &Router, record: PeerRecord) -> Option<Multiaddr> {
        let mut answer = self.list(router, &format!("peers/{}", record.id.to_base58())).await.ok()??;
        while let Ok(Some(mut found)) = answer.next().await {
            if found.id != record.id {
                continue;
            }
            if found.protocols.is_empty() {
                found.protocols.clone_from(&record.protocols);
            }
            for candidate in self.candidates(router, &found) {
                let tried = self.try_out(router, candidate).await;
                if tried.is_some() {
                    return tried;
                }
            }
        }
        None
    }

    /// The address at which a stranger is there, if it is.
    async fn try_out(&self, router: &Router, candidate: Candidate) -> Option<Multiaddr> {
        let now = self.parts.clock.now();
        if let Some(tried) = lock(&self.tried).get(&candidate).filter(|tried| tried.until > now) {
            return tried.address.clone();
        }
        let _turn = router.probes.acquire().await.ok()?;
        let probe = timeout(self.config.timeout, self.parts.transport.probe(&candidate)).await;
        let address = probe.ok().and_then(Result::ok);
        let now = self.parts.clock.now();
        let until = now.after(if address.is_some() { ALIVE_REMEMBERED } else { DEAD_REMEMBERED });
        let mut tried = lock(&self.tried);
        if tried.len() >= TRIED_MAX {
            tried.retain(|_, tried| tried.until > now);
        }
        if tried.len() < TRIED_MAX {
            tried.insert(candidate, Tried { address: address.clone(), until });
        }
        address
    }

    /// The list at a path of a router; `None` when it has nothing.
    async fn list(&self, router: &Router, path: &str) -> Result<Option<Answer>, RouterError> {
        let until = Instant::now() + self.config.timeout;
        let accept = HeaderValue::from_static(ACCEPT);
        let Some(response) = self.get(router, path, accept, until).await? else { return Ok(None) };
        let media_type = media_type(&response);
        let reader = self.parts.http.reader(response.into_body(), until);
        Answer::new(&media_type, reader, self.config.bytes_max, self.config.records_max).map(Some)
    }

    /// Whatever is at a path of a router; `None` where it says that it has nothing, which older ones say with 404.
    async fn get(
        &self,
        router: &Router,
        path: &str,
        accept: HeaderValue,
        until: Instant,
    ) -> Result<Option<http::Response<Incoming>>, RouterError> {
        router.count(|view| view.asked = view.asked.saturating_add(1));
        let uri = format!("{}{PREFIX}{path}", router.base.url);
        let request = http::Request::builder().method(Method::GET).uri(uri).header(header::ACCEPT, accept);
        let agent = concat!("atoll/", env!("CARGO_PKG_VERSION"));
        let request = request.header(header::USER_AGENT, agent).body(Full::<Bytes>::default());
        match self.parts.http.send(request.map_err(|_| TransportError::Malformed)?, until).await {
            Ok(response) => Ok(Some(response)),
            Err(TransportError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes note of how an answer was.
    fn note(&self, router: &Router, outcome: Result<(), RouterError>) {
        let mut health = router.lock();
        match outcome {
            Ok(()) => {
                (health.failures, health.rests_until) = (0, Timestamp::default());
                health.view.trouble = None;
            }
            Err(error) => {
                tracing::debug!(router = router.base.url, %error, "a router failed");
                let (least, most) = (self.config.backoff_min, self.config.backoff_max);
                health.failures = health.failures.saturating_add(1);
                health.rests_until = self.parts.clock.now().after(backoff(least, most, health.failures));
                health.view.failed = health.view.failed.saturating_add(1);
                health.view.trouble = Some(error.to_string().chars().take(TROUBLE_BYTES_MAX).collect());
            }
        }
    }
}

impl Router {
    fn lock(&self) -> MutexGuard<'_, Health> {
        lock(&self.health)
    }

    fn count(&self, count: impl FnOnce(&mut RouterView)) {
        count(&mut self.lock().view);
    }
}

fn media_type(response: &http::Response<Incoming>) -> String {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Several sources as one: all are searched at once.
pub struct Several(Vec<Arc<dyn Providers>>);

impl Several {
    /// These sources.
    pub fn new(sources: Vec<Arc<dyn Providers>>) -> Self {
        Self(sources)
    }
}

impl Providers for Several {
    fn find(&self, cid: &Cid) -> ProviderStream {
        Box::pin(stream::select_all(self.0.iter().map(|source| source.find(cid))))
    }
}

/// Those in a record whom a node that dials all kinds would try.
pub(crate) fn candidates(me: PeerId, reach: Reach, record: &PeerRecord) -> Vec<Candidate> {
    Rule { me, reach, peers: true }.apply(record)
}

/// The value behind a lock, whatever a panicking thread left there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
