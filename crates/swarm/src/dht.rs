//! One DHT of the swarm as the providing sweep needs it: lookups by Kademlia's own queries, and announcements over streams that
//! this node opens itself, many keys on one, which the library's queries cannot do.
//!
//! There is no answer to an announcement, so that the peer is asked for one of the keys on the same stream, whose messages it takes
//! in turn. Whoever does not name this node then was told nothing; but nodes of Atoll, as all that stand on rust-libp2p, never name
//! to an asker itself, so that of them an answer says that they took what came before it.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use atoll_core::dht::{DhtPeer, K, Key};
use atoll_core::kad::{self, MESSAGE_BYTES_MAX};
use atoll_core::{BoxFuture, Dht, Reach};
use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use libp2p::{PeerId, Stream, StreamProtocol};
use multiaddr::{Multiaddr, Protocol};
use tokio::sync::mpsc;
use tokio::time::timeout;
use unsigned_varint::aio::read_usize;

use crate::behaviour::AGENT;
use crate::driver::{Lookup, Order};
use crate::swarm::Swarm;

/// How long a stream may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take for everything that it is told at once.
const TELL_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of announcements that are written at once.
const WRITE_BYTES: usize = 32 * 1024;
/// How long to wait before a peer is asked again that has not named this node yet: some keep what they are told a moment later.
const ASK_AGAIN: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(500)];

/// Which DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// That of private addresses, and of private networks.
    Lan,
    /// The public one of IPFS.
    Wan,
}

/// One DHT that the swarm takes part in.
#[derive(Clone)]
pub struct Network {
    swarm: Swarm,
    which: Which,
    protocol: StreamProtocol,
}

impl Network {
    pub(crate) fn new(swarm: Swarm, which: Which, protocol: StreamProtocol) -> Self {
        Self { swarm, which, protocol }
    }

    /// What it is called: `lan` or `wan`.
    pub fn name(&self) -> &'static str {
        match self.which {
            Which::Lan => "lan",
            Which::Wan => "wan",
        }
    }

    /// Addresses of this node that those in this DHT can use, without its id.
    fn addresses(&self) -> Vec<Multiaddr> {
        let all = self.swarm.addresses();
        let useful = all.iter().filter(|address| self.which == Which::Lan || Reach::of(address) == Reach::Public);
        useful.map(|address| address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()).collect()
    }

    async fn announce(&self, peer: &DhtPeer, keys: &[Key]) -> io::Result<bool> {
        let me = self.swarm.peer_id();
        let addresses = self.addresses();
        if addresses.is_empty() || !self.swarm.connect(peer.id, peer.addresses.clone()).await {
            return Ok(false);
        }
        let opened = timeout(OPEN_TIMEOUT, self.swarm.opener().open(peer.id, self.protocol.clone()));
        let stream = opened.await.map_err(|_| io::ErrorKind::TimedOut)?.map_err(io::Error::other)?;
        let mut stream = BufReader::new(stream);
        let mut waiting = Vec::new();
        for key in keys {
            waiting.extend(kad::add_provider(key, &me, &addresses));
            if waiting.len() >= WRITE_BYTES {
                stream.write_all(&waiting).await?;
                waiting.clear();
            }
        }
        stream.write_all(&waiting).await?;
        let some = usize::try_from(RandomState::new().hash_one(peer.id)).unwrap_or(0) % keys.len().max(1);
        let Some(key) = keys.get(some) else { return Ok(true) };
        let named = self.read_back(&mut stream, key, peer.id).await?;
        stream.close().await?;
        Ok(named)
    }

    /// Whether the peer names this node as a provider of `key`, or answers and would not name it in any case.
    async fn read_back(&self, stream: &mut BufReader<Stream>, key: &Key, peer: PeerId) -> io::Result<bool> {
        for wait in ASK_AGAIN {
            tokio::time::sleep(wait).await;
            stream.write_all(&kad::get_providers(key)).await?;
            stream.flush().await?;
            let answer = read_message(stream).await?;
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            let named = kad::providers(answer.into()).map_err(invalid)?.contains(&self.swarm.peer_id());
            if named || self.swarm.agent_of(&peer).is_some_and(|agent| agent.starts_with(AGENT)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// One message, without the length before it. Nothing is reserved on the peer's word.
async fn read_message(stream: &mut BufReader<Stream>) -> io::Result<Vec<u8>> {
    let len = read_usize(&mut *stream).await.map_err(io::Error::other)?;
    if len > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = Vec::new();
    stream.take(len as u64).read_to_end(&mut message).await?;
    if message.len() < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(message) }
}

impl Dht for Network {
    fn closest<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Vec<DhtPeer>> {
        Box::pin(async move {
            let (found, mut answers) = mpsc::channel(1);
            let order = Order::Lookup(Lookup::Closest { key: key.to_vec(), only: Some(self.which), found });
            if self.swarm.orders.send(order).await.is_err() {
                return Vec::new();
            }
            // The query ends by itself within that time; a little more, so that what it found until then counts.
            let answer = timeout(self.swarm.find_timeout + OPEN_TIMEOUT, answers.recv()).await;
            let found = answer.ok().flatten().unwrap_or_default().into_iter().take(K);
            found.map(|located| DhtPeer { id: located.peer, addresses: located.addresses }).collect()
        })
    }

    fn tell<'a>(&'a self, peer: &'a DhtPeer, keys: &'a [Key]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            match timeout(TELL_TIMEOUT, self.announce(peer, keys)).await {
                Ok(Ok(told)) => told,
                Ok(Err(error)) => {
                    tracing::debug!(peer = %peer.id, %error, "a peer was not told");
                    false
                }
                Err(_) => {
                    tracing::debug!(peer = %peer.id, "a peer takes too long to be told");
                    false
                }
            }
        })
    }
}

/// Tells whether this node provides a key.
pub type Own = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

#[cfg(test)]
mod tests {
    use atoll_core::blocks::NoopBlocks;
    use atoll_core::keys::IdentityKey;

    use super::*;
    use crate::Config;
    use crate::swarm::Parts;

    #[tokio::test]
    async fn the_public_network_is_told_public_addresses_alone() {
        let public: Multiaddr = "/ip4/203.0.113.7/tcp/4001".parse().unwrap();
        let private: Multiaddr = "/ip4/10.1.2.3/tcp/4001".parse().unwrap();
        for announce in [vec![], vec![public, private]] {
            let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
            let config = Config { listen, announce: announce.clone(), public: true, ..Config::default() };
            let identity = IdentityKey::from_seed(&[1; 32]).to_libp2p();
            let swarm = Swarm::spawn(Parts { identity, blocks: Arc::new(NoopBlocks) }, &config).await.unwrap();
            let told = swarm.networks().into_iter().map(|network| (network.name(), network.addresses()));
            let told: Vec<(&str, Vec<Multiaddr>)> = told.collect();
            assert_eq!((told[0].0, told[0].1.len()), ("lan", 1 + announce.len()));
            assert_eq!(told[1], ("wan", announce.into_iter().take(1).collect()));
        }
    }
}
