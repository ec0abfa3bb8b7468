//! Remote pinning as a node does it: where it listens, and how peers are found that have what is to be pinned. Keeps nothing of
//! its own; requests are `atoll-pinning`'s, blocks and pins the store's.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use atoll_content::local::LocalBlocks;
use atoll_core::{Block, Blocks as _, BoxFuture, Cid, Multiaddr, Reach, Transport as _};
use atoll_pinning::{Config, Network, Parts, Service, Store};
use atoll_routing::{HttpConfig, HttpTransport, RemoteBlocks, Router, TokioClock};
use atoll_security::Lists;
use atoll_swarm::Swarm;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use multiaddr::Protocol;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Folder;
use crate::keys;
use crate::listeners::{Sockets, listen};
use crate::node::NodeError;

/// How often it is looked who has connected.
const LOOK: Duration = Duration::from_millis(250);
/// Peers that are asked for the same block at one time.
const ASKED_AT_ONCE: usize = 16;
/// How long one of them may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a host name in an origin may take to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most addresses that a host name stands for.
const RESOLVED_MAX: usize = 8;

/// What of the node the service stands on.
pub(crate) struct Means {
    local: Arc<LocalBlocks>,
    anywhere: Arc<RemoteBlocks>,
    router: Arc<Router>,
    deny: Arc<Lists>,
    swarm: Option<Swarm>,
}

impl Means {
    pub(crate) fn new(
        (local, anywhere): (&Arc<LocalBlocks>, &Arc<RemoteBlocks>),
        (router, swarm): (&Arc<Router>, &Option<Swarm>),
        deny: &Arc<Lists>,
    ) -> Self {
        Self {
            local: Arc::clone(local),
            anywhere: Arc::clone(anywhere),
            router: Arc::clone(router),
            deny: Arc::clone(deny),
            swarm: swarm.clone(),
        }
    }
}

/// Starts the service, if it is to listen anywhere.
pub(crate) async fn spawn(
    folder: &Folder,
    config: &Config,
    means: Means,
    (tasks, stop): (&mut JoinSet<()>, &watch::Receiver<bool>),
    sockets: &mut Sockets,
) -> Result<Option<Service>, NodeError> {
    let Some(swarm) = means.swarm.filter(|_| !config.listen.is_empty()) else { return Ok(None) };
    let mut listeners = Vec::new();
    for address in &config.listen {
        let bound = listen("pinning.listen", *address, sockets).await;
        listeners.push(bound.map_err(|error| NodeError::Listen("pinning.listen", *address, error))?);
    }
    let path = folder.pinning();
    keys::create_private_dir(&path).map_err(|error| NodeError::Folder(path.clone(), error))?;
    let clock = Arc::new(TokioClock);
    let store = Store::open(&path, Arc::clone(&clock) as _)?;
    let blocks = means.local.store().clone();
    let network = Peers {
        swarm,
        http: HttpTransport::new(HttpConfig::default()),
        router: means.router,
        anywhere: Arc::clone(&means.anywhere),
        local: Arc::clone(&means.local),
        nearest: if config.private_origins { Reach::Loopback } else { Reach::Public },
    };
    let parts = Parts {
        store,
        blocks: means.anywhere,
        storage: means.local,
        hold: Box::new(move || Box::new(blocks.hold())),
        network: Arc::new(network),
        deny: means.deny,
        clock,
        config: config.clone(),
    };
    Ok(Some(Service::spawn(parts, listeners, tasks, stop)))
}

/// The peers of this node.
struct Peers {
    swarm: Swarm,
    http: HttpTransport,
    router: Arc<Router>,
    anywhere: Arc<RemoteBlocks>,
    local: Arc<LocalBlocks>,
    /// What is nearer is not dialled.
    nearest: Reach,
}

impl Network for Peers {
    fn seek<'a>(
        &'a self,
        root: &'a Cid,
        wanted: &'a Cid,
        origins: &'a [String],
        limit: Duration,
    ) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let sought = timeout(limit, async {
                tokio::select! {
                    () = self.ask_anywhere(root, wanted) => {}
                    () = self.ask_connected(root, wanted, origins) => {}
                }
            });
            sought.await.is_ok()
        })
    }

    fn delegates(&self) -> Vec<Multiaddr> {
        let mut all = self.swarm.addresses();
        all.sort_by_key(|address| std::cmp::Reverse(Reach::of(address)));
        // Who is not on this machine has no use for its loopback addresses.
        let farthest = all.first().map(Reach::of).unwrap_or_default();
        all.retain(|address| Reach::of(address) > Reach::Loopback || farthest == Reach::Loopback);
        all
    }
}

impl Peers {
    /// Resolves once members, or peers that say they have the DAG, gave the block; never, if none does.
    async fn ask_anywhere(&self, root: &Cid, wanted: &Cid) {
        let kept = match self.anywhere.block(root, wanted).await {
            Ok(bytes) => match Block::verified(*wanted, bytes) {
                Ok(block) => self.keep(block).await,
                Err(_) => false,
            },
            Err(error) => {
                tracing::debug!(%root, %error, "a DAG to be pinned was not found");
                false
            }
        };
        if !kept {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves once an origin, or a peer that is connected or connects meanwhile, gave the block; never, if none does.
    async fn ask_connected(&self, root: &Cid, wanted: &Cid, origins: &[String]) {
        let mut waiting = self.dial(origins).await;
        let mut asked: HashSet<Multiaddr> = waiting.iter().cloned().collect();
        let mut running = FuturesUnordered::new();
        let mut looks = tokio::time::interval(LOOK);
        loop {
            while running.len() < ASKED_AT_ONCE
                && let Some(address) = waiting.pop()
            {
                running.push(self.ask(address, wanted));
            }
            tokio::select! {
                Some(answer) = running.next() => {
                    if let Some(address) = answer {
                        tracing::debug!(%root, %address, "found somebody who has a DAG to be pinned");
                        self.router.suggest(root, vec![address]);
                        return;
                    }
                }
                _ = looks.tick() => {
                    let peers = self.swarm.snapshot().peers.into_iter();
                    let peers = peers.filter_map(|view| format!("/p2p/{}", view.peer).parse::<Multiaddr>().ok());
                    waiting.extend(peers.filter(|address| asked.insert(address.clone())));
                }
            }
        }
    }

    /// Asks one peer for a block; its address, once the block is here.
    async fn ask(&self, address: Multiaddr, wanted: &Cid) -> Option<Multiaddr> {
        let over_libp2p = address.iter().any(|part| matches!(part, Protocol::P2p(_)));
        let answer = if over_libp2p { self.swarm.block(&address, wanted) } else { self.http.block(&address, wanted) };
        let block = timeout(ANSWER_TIMEOUT, answer).await.ok()?.ok()?;
        self.keep(block).await.then_some(address)
    }

    /// Stores a block.
    async fn keep(&self, block: Block) -> bool {
        self.local.keep(block).await.is_ok()
    }

    /// Connects to origins that may be dialled. Those that are gateways are asked over HTTP: the answer.
    async fn dial(&self, origins: &[String]) -> Vec<Multiaddr> {
        let mut gateways = Vec::new();
        for origin in origins.iter().filter_map(|origin| origin.parse::<Multiaddr>().ok()) {
            for address in self.dialable(&origin).await {
                match address.iter().last() {
                    Some(Protocol::P2p(peer)) => self.swarm.dial(peer, vec![address.clone()]).await,
                    _ => gateways.push(address),
                }
            }
        }
        gateways
    }

    /// The addresses behind an origin, without those that lead into a network of this node's.
    async fn dialable(&self, origin: &Multiaddr) -> Vec<Multiaddr> {
        let mut parts = origin.iter();
        let (Some(first), Some(Protocol::Tcp(_) | Protocol::Udp(_))) = (parts.next(), parts.next()) else {
            return Vec::new();
        };
        let is_direct = !origin.iter().any(|part| matches!(part, Protocol::P2pCircuit));
        let ends_well = matches!(origin.iter().last(), Some(Protocol::P2p(_) | Protocol::Http));
        if !is_direct || !ends_well {
            return Vec::new();
        }
        // A name is resolved here, since what it means decides whether it may be dialled.
        let hosts = match &first {
            Protocol::Ip4(_) | Protocol::Ip6(_) => vec![first.acquire()],
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => resolve(name).await,
            _ => Vec::new(),
        };
        let with_host = |host| std::iter::once(host).chain(origin.iter().skip(1)).collect::<Multiaddr>();
        hosts.into_iter().map(with_host).filter(|address| self.nearest.allows(address)).collect()
    }
}

async fn resolve(name: &str) -> Vec<Protocol<'static>> {
    let found = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((name, 0))).await;
    let Ok(Ok(found)) = found else { return Vec::new() };
    found.take(RESOLVED_MAX).map(|socket| Protocol::from(socket.ip())).collect()
}
