//! Hostile peers in the DHT: Sybils around a key, and a newcomer who is surrounded by them. What they answer leads only to one another.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::sync::Arc;
use std::time::Duration;

use atoll_core::Dht as _;
use atoll_core::blocks::NoopBlocks;
use atoll_core::dht::Key;
use atoll_core::keys::IdentityKey;
use atoll_swarm::{Config, Parts, Swarm};
use atoll_testkit::ordeal::{Ordeal, memory_mib};
use futures_util::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::kad::{self, KBucketKey, Mode, StoreInserts, store::MemoryStore};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, identify, noise, tcp, yamux};
use multiaddr::Multiaddr;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// When a test is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
const HONEST: u8 = 8;
/// Fewer than the peers that are told of a key, as all of those cannot be Sybils.
const SYBILS: usize = 16;
/// Keys among which those of the Sybils are chosen: each is nearer to what they surround than any honest peer.
const CANDIDATES: usize = 4000;
/// Lookups before and during the attack.
const LOOKUPS: usize = 100;

/// What a Sybil speaks.
#[derive(NetworkBehaviour)]
struct Speaks {
    identify: identify::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
}

/// Keys of peers that are as near as possible to `target`.
fn nearest_keys(target: &[u8]) -> Vec<Keypair> {
    let target = KBucketKey::new(target.to_vec());
    let mut keys: Vec<Keypair> = (0..CANDIDATES).map(|_| Keypair::generate_ed25519()).collect();
    keys.sort_by_cached_key(|key| KBucketKey::from(key.public().to_peer_id()).distance(&target));
    keys.truncate(SYBILS);
    keys
}

/// Starts them. They know only one another, keep nothing that they are told, and run as long as the set.
async fn sybils(keys: Vec<Keypair>, tasks: &mut JoinSet<()>) -> Vec<Multiaddr> {
    let (mut swarms, mut addresses) = (Vec::new(), Vec::new());
    for key in keys {
        let speaks = |key: &Keypair| {
            let me = key.public().to_peer_id();
            let mut settings = kad::Config::new(StreamProtocol::new("/ipfs/lan/kad/1.0.0"));
            // What it is told goes nowhere.
            settings.set_record_filtering(StoreInserts::FilterBoth).set_kbucket_inserts(kad::BucketInserts::Manual);
            let mut kad = kad::Behaviour::with_config(me, MemoryStore::new(me), settings);
            kad.set_mode(Some(Mode::Server));
            Speaks { identify: identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".into(), key.public())), kad }
        };
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(speaks)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        addresses.push((*swarm.local_peer_id(), address));
        swarms.push(swarm);
    }
    for mut swarm in swarms {
        for (peer, address) in &addresses {
            swarm.behaviour_mut().kad.add_address(peer, address.clone());
        }
        tasks.spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
    }
    addresses.into_iter().map(|(peer, address)| address.with_p2p(peer).unwrap()).collect()
}

async fn honest(seed: u8, bootstrap: &[Multiaddr]) -> Swarm {
    honest_at("/ip4/127.0.0.1/tcp/0".parse().unwrap(), seed, bootstrap).await
}

async fn honest_at(listen: Multiaddr, seed: u8, bootstrap: &[Multiaddr]) -> Swarm {
    let listen = vec![listen];
    let config = Config { listen, bootstrap: bootstrap.to_vec(), ..Config::default() };
    let identity = IdentityKey::from_seed(&[seed; 32]).to_libp2p();
    Swarm::spawn(Parts { identity, blocks: Arc::new(NoopBlocks) }, &config).await.unwrap()
}

fn id(seed: u8) -> PeerId {
    IdentityKey::from_seed(&[seed; 32]).peer_id()
}

async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !so().await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "waited in vain: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_found_though_all_the_nearest_are_sybils_but_a_few() {
    let block = atoll_core::Block::sha2_256(atoll_core::block::RAW, "surrounded".into()).unwrap();
    let (cid, key) = (*block.cid(), Key::from(block.cid().hash().to_bytes()));
    let first = honest(1, &[]).await;
    let known = first.addresses();
    let mut nodes = vec![first];
    for seed in 2..=HONEST {
        nodes.push(honest(seed, &known).await);
    }
    let mut tasks = JoinSet::new();
    let network = nodes[0].networks().remove(0);
    let tell = async |wanted: &dyn Fn(&PeerId) -> bool| {
        let mut told = 0;
        for peer in network.closest(&key).await.iter().filter(|peer| wanted(&peer.id)) {
            told += usize::from(network.tell(peer, std::slice::from_ref(&key)).await);
        }
        told
    };
    until("all are told", async || tell(&|_| true).await >= usize::from(HONEST) - 1).await;
    let mut before = Vec::new();
    for node in nodes[1..].iter().cycle().take(LOOKUPS) {
        before.push(finds(node, &cid).await);
    }
    let memory = memory_mib();
    let hostile = sybils(nearest_keys(&key), &mut tasks).await;
    // Every honest peer has met them all.
    for node in &nodes {
        for address in &hostile {
            let peer = address.iter().last();
            let Some(multiaddr::Protocol::P2p(peer)) = peer else { panic!("{address}") };
            assert!(node.connect(peer, vec![address.clone()]).await);
        }
    }
    let is_sybil = |peer: &PeerId| hostile.iter().any(|address| address.to_string().ends_with(&peer.to_string()));
    until("the Sybils are the nearest", async || {
        let nearest = network.closest(&key).await;
        nearest.iter().take(SYBILS).filter(|peer| is_sybil(&peer.id)).count() == SYBILS
    })
    .await;
    until("honest peers are told too", async || tell(&|peer| !is_sybil(peer)).await >= 20 - SYBILS).await;
    // Whoever joins now, and knows only Sybils and one honest peer, finds it.
    let newcomer = honest(99, &[&hostile[..], &known[..]].concat()).await;
    let mut during = vec![finds(&newcomer, &cid).await];
    for node in nodes[1..].iter().chain([&newcomer]).cycle().take(LOOKUPS) {
        during.push(finds(node, &cid).await);
    }
    Ordeal {
        attack: "16 Sybils of the 20 nearest to a key",
        work: "finding its provider in the DHT",
        before,
        during,
        memory_mib: (memory, memory_mib()),
        growth_mib_max: 256,
    }
    .tell();
}

/// How long it takes until it finds the first peer as the provider.
async fn finds(node: &Swarm, cid: &atoll_core::Cid) -> Duration {
    let begun = Instant::now();
    until("the provider", async || node.find(cid).await.contains(&id(1))).await;
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_among_hostile_peers_finds_the_network_through_the_one_that_is_not() {
    let first = honest(51, &[]).await;
    let known = first.addresses();
    let others = [honest(52, &known).await, honest(53, &known).await];
    let mut tasks = JoinSet::new();
    let before = joins(54, &known, &others).await;
    let memory = memory_mib();
    // They are the newcomer's own neighbourhood.
    let hostile = sybils(nearest_keys(&id(50).to_bytes()), &mut tasks).await;
    let during = joins(50, &[&hostile[..], &known[..]].concat(), &others).await;
    Ordeal {
        attack: "16 hostile peers around a newcomer that knows one honest peer",
        work: "finding honest peers by their ids",
        before,
        during,
        memory_mib: (memory, memory_mib()),
        growth_mib_max: 256,
    }
    .tell();
}

/// How long it takes one that joins through `known` to find each of the peers 52 and 53, the first time and later.
async fn joins(seed: u8, known: &[Multiaddr], others: &[Swarm]) -> Vec<Duration> {
    let newcomer = honest(seed, known).await;
    let mut times = Vec::new();
    for (seed, other) in (52..).zip(others).cycle().take(LOOKUPS) {
        let begun = Instant::now();
        until("an honest peer that it was not told of", async || {
            let found = newcomer.find_peer(id(seed)).await;
            other
                .addresses()
                .iter()
                .any(|address| found.iter().any(|found| address.to_string().starts_with(&found.to_string())))
        })
        .await;
        times.push(begun.elapsed());
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_peer_that_was_away_is_dialled_however_many_others_are_connected() {
    let mut tasks = JoinSet::new();
    let hostile = sybils(nearest_keys(b"anywhere"), &mut tasks).await;
    let away = honest(61, &[]).await;
    let (mut listen, address) = (away.addresses()[0].clone(), away.addresses());
    drop(away);
    listen.pop();
    let newcomer = honest(60, &[&hostile[..], &address[..]].concat()).await;
    until("all hostile peers are connected", async || newcomer.snapshot().peers.len() == SYBILS).await;
    let _back = honest_at(listen, 61, &[]).await;
    let is_there = async || newcomer.snapshot().peers.iter().any(|peer| peer.peer == id(61).to_string());
    until("the one that was away", is_there).await;
}
