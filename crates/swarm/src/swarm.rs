//! The handle to a node's swarm: how the rest of the node fetches from peers, finds providers, and announces itself.

use std::sync::Arc;
use std::time::Duration;

use atoll_core::transport::{ByteStream, Request, Response};
use atoll_core::{Blocks, BoxFuture, Cid, Providers, Transport, TransportError};
use bytes::Bytes;
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, tcp, tls, yamux};
use multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::behaviour::Behaviour;
use crate::bitswap::{Bitswap, PROTOCOLS};
use crate::config::{Config, peer_of};
use crate::driver::{Driver, Order};
use crate::error::SwarmError;
use crate::inbound;

/// Orders that wait for the driver.
const ORDERS_MAX: usize = 1024;
/// The most providers that are taken of one search.
const PROVIDERS_MAX: usize = 16;
/// How long further providers are waited for once one is there.
const SETTLE: Duration = Duration::from_millis(50);
/// A connection that nobody uses is closed after this time.
const IDLE: Duration = Duration::from_secs(120);

/// What a swarm is made of.
pub struct Parts {
    /// The node's identity, as libp2p's protobuf of a private key.
    pub identity: Vec<u8>,
    /// What may be sent to others.
    pub blocks: Arc<dyn Blocks>,
}

/// What is known of the swarm, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Addresses under which others reach this node.
    pub listen: Vec<Multiaddr>,
    /// Connected peers.
    pub peers: Vec<PeerView>,
    /// Peers in the tables of Kademlia.
    pub known: usize,
    /// Keys whose providers are kept for others.
    pub provider_keys: usize,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its id.
    pub peer: String,
}

/// A running swarm. Dropping the last clone ends it.
#[derive(Clone)]
pub struct Swarm {
    orders: mpsc::Sender<Order>,
    bitswap: Arc<Bitswap>,
    told: watch::Receiver<Snapshot>,
    find_timeout: Duration,
    _tasks: Arc<JoinSet<()>>,
}

impl Swarm {
    /// Listens, and joins through the configured peers.
    ///
    /// # Errors
    /// [`SwarmError`] names the address.
    pub async fn spawn(parts: Parts, config: &Config) -> Result<Self, SwarmError> {
        let transport = |error: &dyn std::fmt::Display| SwarmError::Transport(error.to_string());
        let key = Keypair::from_protobuf_encoding(&parts.identity).map_err(|error| transport(&error))?;
        let (incoming, streams) = inbound::Behaviour::new(&PROTOCOLS);
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                (tls::Config::new, noise::Config::new),
                yamux::Config::default,
            )
            .map_err(|error| transport(&error))?
            .with_quic()
            .with_dns()
            .map_err(|error| transport(&error))?
            .with_behaviour(|key| Behaviour::new(key, config, incoming))
            .map_err(|error| transport(&error))?
            .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(IDLE))
            .build();
        for address in &config.announce {
            swarm.add_external_address(address.clone());
        }
        let bitswap = Bitswap::new(swarm.behaviour().stream.new_control(), parts.blocks, config);
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let (tell, told) = watch::channel(Snapshot::default());
        let mut driver = Driver::new(swarm, received, config.bootstrap.clone(), tell);
        driver.listen(&config.listen).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&bitswap).accept(streams));
        tasks.spawn(driver.run());
        Ok(Self { orders, bitswap, told, find_timeout: config.find_timeout, _tasks: Arc::new(tasks) })
    }

    /// The addresses under which others reach this node, each with its peer id.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.told.borrow().listen.clone()
    }

    /// Connects to a peer.
    pub async fn dial(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let _ = self.orders.send(Order::Dial { peer, addresses }).await;
    }

    /// Announces that this node provides a block; whether somebody was told.
    pub async fn provide(&self, cid: &Cid) -> bool {
        let (done, answer) = oneshot::channel();
        let order = Order::Provide { key: cid.hash().to_bytes(), done };
        self.orders.send(order).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Peers that say they have a block, connected already.
    pub async fn find(&self, cid: &Cid) -> Vec<PeerId> {
        let (found, mut peers) = mpsc::channel(PROVIDERS_MAX);
        if self.orders.send(Order::Find { key: cid.hash().to_bytes(), found }).await.is_err() {
            return Vec::new();
        }
        let mut all = Vec::new();
        let mut patience = self.find_timeout;
        while let Ok(Some(peer)) = tokio::time::timeout(patience, peers.recv()).await {
            if !all.contains(&peer) {
                all.push(peer);
            }
            patience = SETTLE;
        }
        all
    }

    /// All that is known now.
    pub fn snapshot(&self) -> Snapshot {
        self.told.borrow().clone()
    }
}

impl Providers for Swarm {
    fn find<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Vec<Multiaddr>> {
        Box::pin(async move {
            let address = |peer| Multiaddr::empty().with(Protocol::P2p(peer));
            Swarm::find(self, cid).await.into_iter().map(address).collect()
        })
    }
}

impl Transport for Swarm {
    fn request<'a>(
        &'a self,
        to: &'a Multiaddr,
        _request: &'a Request,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(async { Err(TransportError::Address(to.clone())) })
    }

    fn block<'a>(&'a self, to: &'a Multiaddr, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, TransportError>> {
        Box::pin(async move {
            let peer = peer_of(to).ok_or_else(|| TransportError::Address(to.clone()))?;
            if to.iter().count() > 1 {
                self.dial(peer, vec![to.clone()]).await;
            }
            self.bitswap.fetch(peer, cid).await
        })
    }

    fn car<'a>(&'a self, to: &'a Multiaddr, _root: &'a Cid) -> BoxFuture<'a, Result<ByteStream, TransportError>> {
        Box::pin(async { Err(TransportError::Address(to.clone())) })
    }
}
