//! A verifying client of many gateways: races them, drops liars, and goes on until a deadline. Keeps nothing on disk.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atoll_core::exchange::NoopExchange;
use atoll_core::transport::{Request, Response};
use atoll_core::{Block, Blocks, BoxFuture, Cid, Clock, FetchError, Multiaddr, Transport, TransportError};
use bytes::Bytes;
use multiaddr::Protocol;
use serde::Serialize;

use crate::config::{Config, FetchConfig};
use crate::fetch::{Candidates, Fetcher, Means, PeerStats};
use crate::table::Opened;
use crate::time::{millis, within};
use atoll_core::Reach;

/// The most gateways that a client knows.
const GATEWAYS_MAX: usize = 1024;
/// The most pages of records that are read from one gateway.
const PAGES_MAX: usize = 64;
/// How long to wait before everybody is asked again; doubles each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest such wait.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Settings of a [`Client`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// By when a block must have come, all retries included.
    pub deadline: Duration,
    /// How each attempt races.
    pub fetch: FetchConfig,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let fetch = FetchConfig { negative_ttl: Duration::ZERO, ..FetchConfig::default() };
        Self { deadline: Duration::from_secs(10), fetch }
    }
}

/// Fetches verified blocks from gateways that need not be trusted.
pub struct Client {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    fetcher: Arc<Fetcher>,
    gateways: Mutex<BTreeSet<Vec<u8>>>,
    deadline: Duration,
}

/// What a client did so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClientStats {
    /// Blocks that verified.
    pub blocks: u64,
    /// Bytes that verified.
    pub bytes: u64,
    /// By gateway.
    pub peers: Vec<PeerStats>,
}

impl Client {
    /// A client of `gateways`; `seed` is fresh randomness.
    pub fn new(
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        gateways: &[Multiaddr],
        config: ClientConfig,
        seed: [u8; 32],
    ) -> Self {
        let defaults = Config::default();
        let lie_backoff = (defaults.lie_backoff_min, defaults.lie_backoff_max);
        let means =
            Means { transport: Arc::clone(&transport), exchange: Arc::new(NoopExchange), clock: Arc::clone(&clock) };
        let fetcher = Fetcher::new(means, config.fetch, lie_backoff, Box::new(|_, _| {}), seed);
        let gateways = gateways.iter().take(GATEWAYS_MAX).map(Multiaddr::to_vec).collect();
        let (fetcher, gateways) = (Arc::new(fetcher), Mutex::new(gateways));
        Self { transport, clock, fetcher, gateways, deadline: config.deadline }
    }

    /// Learns of more gateways from the members that the known ones know; how many were new. None is nearer than the nearest
    /// known one: gateways on the internet cannot lead into this machine or its network.
    pub async fn discover(&self) -> usize {
        let mut found = 0;
        let known = self.gateways();
        let reach = Reach::nearest(&known);
        for gateway in known {
            let limit = self.deadline;
            match within(&*self.clock, limit, self.ask_members(&gateway)).await {
                Some(Ok(mut addresses)) => {
                    addresses.retain(|address| reach.allows(address));
                    found += self.add(&addresses);
                }
                Some(Err(error)) => tracing::debug!(%gateway, %error, "no records"),
                None => tracing::debug!(%gateway, "no records in time"),
            }
        }
        found
    }

    /// The gateways that are known.
    pub fn gateways(&self) -> Vec<Multiaddr> {
        let gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        gateways.iter().filter_map(|bytes| Multiaddr::try_from(bytes.clone()).ok()).collect()
    }

    /// Who was dropped, and why.
    pub fn dropped(&self) -> Vec<(Multiaddr, String)> {
        self.fetcher.stats().into_iter().filter_map(|peer| Some((peer.address, peer.dropped?))).collect()
    }

    /// What came from whom.
    pub fn stats(&self) -> ClientStats {
        let peers = self.fetcher.stats();
        let sum = |part: fn(&PeerStats) -> u64| peers.iter().map(part).fold(0, u64::saturating_add);
        ClientStats { blocks: sum(|peer| peer.blocks), bytes: sum(|peer| peer.bytes), peers }
    }

    /// Adds what is new of `addresses`.
    fn add(&self, addresses: &[Multiaddr]) -> usize {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        let room = GATEWAYS_MAX.saturating_sub(gateways.len());
        let fresh: Vec<_> =
            addresses.iter().map(Multiaddr::to_vec).filter(|bytes| !gateways.contains(bytes)).take(room).collect();
        let count = fresh.len();
        gateways.extend(fresh);
        count
    }

    /// The addresses in the member records that one gateway knows, each checked.
    async fn ask_members(&self, gateway: &Multiaddr) -> Result<Vec<Multiaddr>, TransportError> {
        let (mut epoch, mut since, mut addresses) = (0, 0, Vec::new());
        for _ in 0..PAGES_MAX {
            let response = self.transport.request(gateway, &Request::Records { epoch, since }).await?;
            let Response::Records { epoch: named, next, records, more } = response else {
                return Err(TransportError::Malformed);
            };
            for record in records {
                if let Ok(Opened::Member(signed, _)) = Opened::open(Bytes::from(record.into_vec()))
                    && signed.is_live(self.clock.now())
                {
                    let is_gateway = |address: &Multiaddr| !address.iter().any(|part| matches!(part, Protocol::P2p(_)));
                    addresses.extend(signed.record().addresses().filter(is_gateway));
                }
            }
            (epoch, since) = (named, next);
            if !more || addresses.len() >= GATEWAYS_MAX {
                break;
            }
        }
        Ok(addresses)
    }

    /// Tries until it works; the deadline is the caller's.
    async fn persist(&self, cid: Cid, last: &Mutex<Option<FetchError>>) -> Block {
        let mut pause = PAUSE_MIN;
        loop {
            match self.fetcher.fetch(cid, Candidates::new(None, self.gateways()), None).await {
                Ok(block) => return block,
                Err(error) => *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Blocks for Client {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        Block::inline(cid).map(|block| block.into_parts().1)
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move {
            if let Some(bytes) = self.cached(cid) {
                return Ok(bytes);
            }
            let last = Mutex::new(None);
            match within(&*self.clock, self.deadline, self.persist(*cid, &last)).await {
                Some(block) => Ok(block.into_parts().1),
                None => {
                    let last = last.into_inner().unwrap_or_else(PoisonError::into_inner);
                    Err(last.unwrap_or(FetchError::TimedOut { cid: *cid, limit_ms: millis(self.deadline) }))
                }
            }
        })
    }
}
