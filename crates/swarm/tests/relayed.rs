//! Twenty nodes whose every link takes 20 ms each way: what a site found through the DHT costs in round trips.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use atoll_core::block::RAW;
use atoll_core::dht::Key;
use atoll_core::keys::IdentityKey;
use atoll_core::{Block, Blocks, BoxFuture, Cid, Dht as _, Exchange, FetchError, Providers};
use atoll_swarm::{Config, Parts, Swarm};
use atoll_testkit::relay::{Sea, Swell};
use bytes::Bytes;
use futures_util::StreamExt as _;
use multiaddr::{Multiaddr, Protocol};
use tokio::time::{Instant, sleep, timeout};

const NODES: u8 = 20;
const DELAY: Duration = Duration::from_millis(20);
/// When the test is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many sites are looked for.
const SITES: u32 = 5;

/// Blocks of a DAG that is read while connections tear.
const LEAVES: u32 = 600;

/// What one node holds.
#[derive(Default)]
struct Held(Vec<Block>);

impl Blocks for Held {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        self.0.iter().find(|block| block.cid() == cid).map(|block| block.bytes().clone())
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move { self.cached(cid).ok_or(FetchError::NotFound(*cid)) })
    }
}

fn site(number: u32) -> Block {
    Block::sha2_256(RAW, Bytes::from(format!("site {number}"))).unwrap()
}

fn leaf(number: u32) -> Block {
    Block::sha2_256(RAW, number.to_be_bytes().repeat(8192).into()).unwrap()
}

/// Where a node listens, on an address of this process, so that others are in nobody's way. The sea knows it by its port, and no
/// two tests have nodes of the same number.
fn listens(node: u8) -> SocketAddr {
    let process = std::process::id().to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(127, process[2] | 1, process[3], 1).into(), 4001 + u16::from(node))
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

/// A node that is reached through a relay only.
async fn node(sea: &Sea, number: u8, held: Vec<Block>, bootstrap: &[Multiaddr]) -> Swarm {
    let listen = listens(number);
    let config = Config {
        listen: vec![multiaddr(listen)],
        announce: vec![multiaddr(sea.relay(listen).await)],
        announce_only: true,
        bootstrap: bootstrap.to_vec(),
        ..Config::default()
    };
    assert_eq!(config.problems(), Vec::<String>::new());
    let identity = IdentityKey::from_seed(&[number + 1; 32]).to_libp2p();
    Swarm::spawn(Parts { identity, blocks: Arc::new(Held(held)) }, &config).await.unwrap()
}

async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !so().await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "waited in vain: {what}");
}

/// Tells the peers that are nearest to a key, but for the asker, who would know without asking; whether as many as can were told.
async fn announce(holder: &Swarm, cid: &Cid) -> bool {
    let asker = IdentityKey::from_seed(&[NODES; 32]).peer_id();
    let (network, key) = (holder.networks().remove(0), Key::from(cid.hash().to_bytes()));
    let nearest = network.closest(&key).await;
    let mut told = 0;
    for peer in nearest.iter().filter(|peer| peer.id != asker) {
        told += usize::from(network.tell(peer, std::slice::from_ref(&key)).await);
    }
    told >= usize::from(NODES) - 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_found_through_the_dht_takes_the_lookup_and_one_round_trip() {
    let sea = Sea::new(Swell { delay: DELAY, jitter: Duration::ZERO, seed: 1 });
    let first = node(&sea, 0, Vec::new(), &[]).await;
    let known = first.addresses();
    let mut nodes = vec![first];
    let sites: Vec<Block> = (0..SITES).map(site).collect();
    for number in 1..NODES {
        let held = if number == 1 { sites.clone() } else { Vec::new() };
        nodes.push(node(&sea, number, held, &known).await);
    }
    let (holder, asker) = (&nodes[1], &nodes[usize::from(NODES) - 1]);
    let all = usize::from(NODES) - 1;
    until("everybody knows everybody", async || {
        for node in &nodes {
            node.closest(b"anything".to_vec()).await;
        }
        nodes.iter().all(|node| node.snapshot().known >= all)
    })
    .await;
    let peers = asker.snapshot().peers;
    assert!(peers.len() >= all - 1 && peers.iter().all(|peer| is_relayed(&peer.address)), "{peers:?}");
    for site in &sites {
        until("all are told", async || announce(holder, site.cid()).await).await;
    }

    for site in &sites {
        let me = listens(NODES - 1).port();
        sea.forget_hops();
        let begun = Instant::now();
        let provider = timeout(PATIENCE, Providers::find(asker, site.cid()).next()).await.unwrap().unwrap();
        let (found, lookup) = (begun.elapsed(), sea.hops_to(me).div_ceil(2));
        let providers = [provider];
        let block = Exchange::block(asker, site.cid(), site.cid(), &providers);
        let block = timeout(PATIENCE, block).await.unwrap().unwrap();
        let (took, all) = (begun.elapsed(), sea.hops_to(me).div_ceil(2));
        assert_eq!(block.cid(), site.cid());
        println!("found after {found:?}, {lookup} round trips; first byte after {took:?}, {all} round trips");
        assert!(lookup >= 1 && all <= lookup + 1, "{lookup} round trips of the lookup, {all} in all");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dag_comes_over_links_that_delay_at_random_and_tear() {
    for seed in 1..=3 {
        println!("seed {seed}");
        let jitter = Duration::from_millis(30);
        let sea = Sea::new(Swell { delay: Duration::from_millis(5), jitter, seed });
        let dag: Vec<Block> = (0..LEAVES).map(leaf).collect();
        let first = u8::try_from(seed).unwrap() * 3 + NODES;
        let holders = [node(&sea, first, dag.clone(), &[]).await, node(&sea, first + 1, dag.clone(), &[]).await];
        let asker = node(&sea, first + 2, Vec::new(), &[]).await;
        let peers: Vec<Multiaddr> = holders.iter().map(|holder| holder.addresses()[0].clone()).collect();
        let (root, torn) = (*dag[0].cid(), sea.clone());
        let storm = tokio::spawn(async move {
            loop {
                sleep(Duration::from_millis(400)).await;
                torn.tear(true);
                sleep(Duration::from_millis(100)).await;
                torn.tear(false);
            }
        });
        let begun = Instant::now();
        for together in dag.chunks(32) {
            let fetches = together.iter().map(|block| Exchange::block(&asker, &root, block.cid(), &peers));
            let came = timeout(PATIENCE, futures_util::future::join_all(fetches)).await.unwrap();
            assert!(came.iter().zip(together).all(|(came, block)| came.as_ref() == Ok(block)), "{came:?}");
        }
        storm.abort();
        println!("{LEAVES} blocks after {:?}", begun.elapsed());
    }
}

/// Whether a connection runs through a relay: those listen on 127.0.0.1, and come from there.
fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().next() == Some(Protocol::Ip4(Ipv4Addr::LOCALHOST))
}
