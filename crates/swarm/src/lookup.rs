//! Asking the DHT for others: who provides a block, where a peer is, who is near a key. Nothing is fetched.

use atoll_core::Cid;
use libp2p::PeerId;
use libp2p::kad::KBucketKey;
use multiaddr::Multiaddr;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::behaviour::K;
use crate::driver::{Lookup, Order};
use crate::swarm::Swarm;

/// The most providers that wait to be taken; further ones are left out.
const WAITING_MAX: usize = 256;
/// How many networks answer for the nearest peers.
const NETWORKS: usize = 2;

/// A peer and where it is said to be. Its addresses come without its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Who.
    pub peer: PeerId,
    /// Where; empty when nobody said.
    pub addresses: Vec<Multiaddr>,
}

impl Swarm {
    /// Peers that say they provide a block, each once, as they are found; this node is not among them. The channel closes
    /// when the search ends, after `swarm.find_timeout` at the latest. Nobody is dialled but whom the DHT leads over.
    pub async fn locate(&self, cid: &Cid) -> mpsc::Receiver<Located> {
        let (found, located) = mpsc::channel(WAITING_MAX);
        self.order(Lookup::Providers { key: cid.hash().to_bytes(), found }).await;
        located
    }

    /// Where a peer is: as is known here, or else as the peers nearest to it say. Empty when nobody knows.
    pub async fn find_peer(&self, peer: PeerId) -> Vec<Multiaddr> {
        let known = self.known(peer).await;
        if !known.is_empty() {
            return known;
        }
        let nearest = self.closest(peer.to_bytes()).await;
        match nearest.into_iter().find(|located| located.peer == peer) {
            Some(located) => located.addresses,
            // The walk may have taught the tables of it.
            None => self.known(peer).await,
        }
    }

    /// The peers nearest to a key by the DHT's distance, the nearest first, at most 20. This node is not among them.
    pub async fn closest(&self, key: Vec<u8>) -> Vec<Located> {
        let target = KBucketKey::from(key.clone());
        let (found, mut answers) = mpsc::channel(NETWORKS);
        self.order(Lookup::Closest { key, only: None, found }).await;
        let mut all: Vec<Located> = Vec::new();
        while let Ok(Some(located)) = timeout(self.find_timeout, answers.recv()).await {
            for located in located {
                if !all.iter().any(|known| known.peer == located.peer) {
                    all.push(located);
                }
            }
        }
        all.sort_by_cached_key(|located| target.distance(&KBucketKey::from(located.peer)));
        all.truncate(K.get());
        all
    }

    /// Connects to a peer at one of `addresses`; whether it is connected within `swarm.find_timeout`.
    pub async fn connect(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> bool {
        let (found, mut connected) = mpsc::channel(1);
        self.order(Lookup::Connect { peer, addresses, found }).await;
        matches!(timeout(self.find_timeout, connected.recv()).await, Ok(Some(_)))
    }

    async fn known(&self, peer: PeerId) -> Vec<Multiaddr> {
        let (answer, known) = oneshot::channel();
        self.order(Lookup::Known { peer, answer }).await;
        known.await.unwrap_or_default()
    }

    /// When the driver has gone, the channel in the order closes.
    async fn order(&self, lookup: Lookup) {
        let _ = self.orders.send(Order::Lookup(lookup)).await;
    }
}
