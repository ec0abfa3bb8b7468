//! Swarms of ours on loopback: they find each other, exchange blocks, and put up with what others send.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use atoll_core::block::RAW;
use atoll_core::dht::{DhtPeer, Key};
use atoll_core::keys::IdentityKey;
use atoll_core::{Block, Blocks, BoxFuture, Cid, Dht as _, FetchError, PeerId, Transport, TransportError};
use atoll_swarm::{Config, Parts, Swarm};
use bytes::Bytes;
use multiaddr::Multiaddr;
use tokio::time::timeout;

/// Blocks in memory.
#[derive(Default)]
struct Held(HashMap<Cid, Bytes>);

impl Held {
    fn of(blocks: &[Block]) -> Arc<Self> {
        Arc::new(Self(blocks.iter().map(|block| (*block.cid(), block.bytes().clone())).collect()))
    }
}

impl Blocks for Held {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        self.0.get(cid).cloned()
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move { self.cached(cid).ok_or(FetchError::NotFound(*cid)) })
    }
}

fn block(n: u32, len: usize) -> Block {
    let bytes: Vec<u8> = n.to_be_bytes().into_iter().cycle().take(len).collect();
    Block::sha2_256(RAW, bytes.into()).unwrap()
}

async fn swarm(seed: u8, blocks: &[Block], listen: &str, bootstrap: &[Multiaddr]) -> Swarm {
    let config = Config {
        listen: vec![listen.parse().unwrap()],
        bootstrap: bootstrap.to_vec(),
        find_timeout: Duration::from_secs(5),
        ..Config::default()
    };
    assert_eq!(config.problems(), Vec::<String>::new());
    let identity = IdentityKey::from_seed(&[seed; 32]).to_libp2p();
    Swarm::spawn(Parts { identity, blocks: Held::of(blocks) }, &config).await.unwrap()
}

/// Tells the peers that are nearest; whether somebody was told.
async fn announce(holder: &Swarm, cid: &Cid) -> bool {
    let (network, key) = (holder.networks().remove(0), Key::from(cid.hash().to_bytes()));
    let mut told = false;
    for peer in network.closest(&key).await {
        told |= network.tell(&peer, std::slice::from_ref(&key)).await;
    }
    told
}

/// Who provides a block, once somebody does. `ADD_PROVIDER` is not answered: who was told may still be reading.
async fn found(asker: &Swarm, cid: &Cid) -> Vec<PeerId> {
    let found = timeout(Duration::from_secs(30), async {
        loop {
            let found = asker.find(cid).await;
            if !found.is_empty() {
                return found;
            }
        }
    });
    found.await.unwrap()
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_every_size_come_over_tcp_and_quic() {
    let blocks: Vec<_> = [1, 1024, 256 * 1024, 1024 * 1024, 2 * 1024 * 1024].map(|len| block(1, len)).into();
    for (seed, listen) in [(1, TCP), (2, QUIC)] {
        let (holder, asker) = (swarm(seed, &blocks, listen, &[]).await, swarm(9, &[], TCP, &[]).await);
        let address = holder.addresses()[0].clone();
        for block in &blocks {
            let answer = Transport::block(&asker, &address, block.cid()).await;
            assert!(answer.as_ref() == Ok(block), "{listen}: {:?}", answer.err());
        }
        let missing = block(2, 5);
        let answer = timeout(Duration::from_secs(4), Transport::block(&asker, &address, missing.cid())).await.unwrap();
        assert_eq!(answer, Err(TransportError::NotFound));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_blocks_at_once_all_come() {
    let blocks: Vec<_> = (0..3000).map(|n| block(n, 4096)).collect();
    let (holder, asker) = (swarm(1, &blocks, TCP, &[]).await, swarm(2, &[], TCP, &[]).await);
    let address = holder.addresses()[0].clone();
    let all = blocks.iter().map(|block| Transport::block(&asker, &address, block.cid()));
    let answers = timeout(Duration::from_secs(60), futures_util::future::join_all(all)).await.unwrap();
    for (answer, block) in answers.iter().zip(&blocks) {
        assert!(answer.as_ref() == Ok(block), "{:?}", answer.as_ref().err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_started_anew_is_answered_where_it_is_now() {
    let blocks: Vec<_> = (0..4).map(|n| block(n, 4096)).collect();
    let holder = swarm(1, &blocks, TCP, &[]).await;
    // Their connections stay open, as those of a machine that lost its power do.
    let mut before = Vec::new();
    for block in &blocks {
        let asker = swarm(2, &[], TCP, &[]).await;
        let answer = Transport::block(&asker, &holder.addresses()[0], block.cid()).await;
        assert!(answer.as_ref() == Ok(block), "start {}: {:?}", before.len(), answer.err());
        before.push(asker);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_found_by_whoever_knows_somebody() {
    let page = block(1, 100);
    let known = swarm(1, &[], TCP, &[]).await;
    let bootstrap = known.addresses();
    let holder = swarm(2, std::slice::from_ref(&page), TCP, &bootstrap).await;
    let asker = swarm(3, &[], TCP, &bootstrap).await;
    let told = timeout(Duration::from_secs(30), async { while !announce(&holder, page.cid()).await {} });
    told.await.unwrap();
    let found = found(&asker, page.cid()).await;
    let address: Multiaddr = format!("/p2p/{}", found[0]).parse().unwrap();
    assert_eq!(Transport::block(&asker, &address, page.cid()).await.as_ref(), Ok(&page));
    assert!(asker.find(block(9, 9).cid()).await.is_empty());
}

#[tokio::test]
async fn an_address_that_nobody_listens_on_fails_soon() {
    let asker = swarm(1, &[], TCP, &[]).await;
    let nobody: Multiaddr =
        format!("/ip4/127.0.0.1/tcp/1/p2p/{}", IdentityKey::from_seed(&[7; 32]).peer_id()).parse().unwrap();
    let answer = timeout(Duration::from_secs(15), Transport::block(&asker, &nobody, block(1, 1).cid())).await.unwrap();
    assert!(matches!(answer, Err(TransportError::Connect(_) | TransportError::TimedOut(_))), "{answer:?}");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port()).parse().unwrap();
    let config = Config { listen: vec![listen.clone()], ..Config::default() };
    let identity = IdentityKey::from_seed(&[1; 32]).to_libp2p();
    let error = Swarm::spawn(Parts { identity, blocks: Held::of(&[]) }, &config).await.err().unwrap();
    assert!(error.to_string().contains(&listen.to_string()) && error.to_string().contains("swarm.listen"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dht_tells_who_provides_and_where_without_dialling() {
    let page = block(1, 100);
    let known = swarm(1, &[], TCP, &[]).await;
    let bootstrap = known.addresses();
    let holder = swarm(2, std::slice::from_ref(&page), TCP, &bootstrap).await;
    let asker = swarm(3, &[], TCP, &bootstrap).await;
    let id = |seed| IdentityKey::from_seed(&[seed; 32]).peer_id();
    let mut where_it_listens = holder.addresses()[0].clone();
    where_it_listens.pop();
    let found = timeout(Duration::from_secs(30), async {
        while !announce(&holder, page.cid()).await {}
        loop {
            let mut located = asker.locate(page.cid()).await;
            while let Some(located) = located.recv().await {
                if located.addresses.contains(&where_it_listens) {
                    return located.peer;
                }
            }
        }
    });
    assert_eq!(found.await.unwrap(), id(2));
    assert!(asker.locate(block(9, 9).cid()).await.recv().await.is_none());
    // The peers that are nearest to a peer include it, and say where it is.
    assert!(asker.find_peer(id(2)).await.contains(&where_it_listens));
    assert!(asker.find_peer(id(8)).await.is_empty());
    let closest = asker.closest(page.cid().hash().to_bytes()).await;
    let mut peers: Vec<_> = closest.iter().map(|located| located.peer).collect();
    peers.sort();
    let mut expected = vec![id(1), id(2)];
    expected.sort();
    assert_eq!(peers, expected);
    assert!(closest.iter().all(|located| !located.addresses.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_tells_who_is_there() {
    let (holder, asker) = (swarm(1, &[], TCP, &[]).await, swarm(2, &[], TCP, &[]).await);
    let nobody: Multiaddr =
        format!("/ip4/127.0.0.1/tcp/1/p2p/{}", IdentityKey::from_seed(&[7; 32]).peer_id()).parse().unwrap();
    let peer = IdentityKey::from_seed(&[1; 32]).peer_id();
    let dead: Multiaddr = format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}").parse().unwrap();
    let found = asker.probe(&[dead.clone(), holder.addresses()[0].clone()]).await;
    assert_eq!(found, Ok(format!("/p2p/{peer}").parse().unwrap()));
    for alone in [vec![nobody], asker.addresses(), Vec::new()] {
        assert!(asker.probe(&alone).await.is_err(), "{alone:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_told_of_many_keys_over_one_stream() {
    let known = swarm(1, &[], TCP, &[]).await;
    let holder = swarm(2, &[], TCP, &known.addresses()).await;
    let asker = swarm(3, &[], TCP, &known.addresses()).await;
    let network = holder.networks().remove(0);
    let keys: Vec<Key> = (0..4000).map(|n| Key::from(block(n, 8).cid().hash().to_bytes())).collect();
    let peer = timeout(Duration::from_secs(30), async {
        loop {
            let closest = network.closest(&keys[0]).await;
            if let Some(peer) = closest.into_iter().find(|peer| peer.id == IdentityKey::from_seed(&[1; 32]).peer_id()) {
                return peer;
            }
        }
    });
    let peer = peer.await.unwrap();
    assert!(network.tell(&peer, &keys).await);
    assert_eq!(found(&asker, block(3999, 8).cid()).await, [IdentityKey::from_seed(&[2; 32]).peer_id()]);
    // What it provides, a node says itself when it is asked.
    assert!(holder.find(block(4000, 8).cid()).await.is_empty());
    holder.set_own(Arc::new(|key| *key == block(4000, 8).cid().hash().to_bytes())).await;
    assert_eq!(found(&asker, block(4000, 8).cid()).await, [IdentityKey::from_seed(&[2; 32]).peer_id()]);
    // Nobody there, nobody told.
    let nobody = DhtPeer { id: IdentityKey::from_seed(&[7; 32]).peer_id(), addresses: Vec::new() };
    assert!(!network.tell(&nobody, &keys).await);
}
