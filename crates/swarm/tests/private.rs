//! Private swarms on loopback, over TCP and QUIC: who is not listed is refused, who is of another network is not heard, and who
//! has not the key does not even connect.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atoll_core::block::RAW;
use atoll_core::dht::Key;
use atoll_core::keys::IdentityKey;
use atoll_core::transport::{Gossip, Request, Response};
use atoll_core::{Answer, Block, Blocks, BoxFuture, Cid, Dht as _, FetchError, Transport, TransportError};
use atoll_swarm::{Config, Parts, Swarm, SwarmError};
use bytes::Bytes;
use multiaddr::Multiaddr;
use serde_bytes::ByteBuf;
use tokio::time::{sleep, timeout};

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// When a test is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Blocks in memory.
struct Held(HashMap<Cid, Bytes>);

impl Blocks for Held {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        self.0.get(cid).cloned()
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move { self.cached(cid).ok_or(FetchError::NotFound(*cid)) })
    }
}

/// Takes all that it is told for news.
#[derive(Default)]
struct Listener(Mutex<Vec<Request>>);

impl Answer for Listener {
    fn answer(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        self.0.lock().unwrap().push(request);
        Box::pin(async { Ok(Response::Announced { accepted: 1 }) })
    }
}

impl Listener {
    fn heard(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn page() -> Block {
    Block::sha2_256(RAW, "calm water".into()).unwrap()
}

/// A swarm that has one page, on TCP and, unless it is behind a key, on QUIC.
async fn start(seed: u8, mut config: Config) -> (Swarm, Arc<Listener>) {
    let ways = if config.key_file.as_os_str().is_empty() { vec![TCP, QUIC] } else { vec![TCP] };
    config.listen = ways.iter().map(|way| way.parse().unwrap()).collect();
    config.find_timeout = Duration::from_secs(2);
    assert_eq!(config.problems(), Vec::<String>::new());
    let identity = IdentityKey::from_seed(&[seed; 32]).to_libp2p();
    let (cid, bytes) = page().into_parts();
    let blocks = if seed == 1 { HashMap::from([(cid, bytes)]) } else { HashMap::new() };
    let swarm = Swarm::spawn(Parts { identity, blocks: Arc::new(Held(blocks)) }, &config).await.unwrap();
    let listener = Arc::new(Listener::default());
    swarm.serve(Arc::clone(&listener) as Arc<dyn Answer>).await;
    (swarm, listener)
}

fn over(swarm: &Swarm, way: &str) -> Multiaddr {
    swarm.addresses().into_iter().find(|address| address.to_string().contains(way)).unwrap()
}

async fn read(asker: &Swarm, at: &Multiaddr) -> Result<Block, TransportError> {
    timeout(PATIENCE, Transport::block(asker, at, page().cid())).await.unwrap()
}

async fn until(so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_those_on_the_list_are_served() {
    let listed = IdentityKey::from_seed(&[2; 32]).peer_id().to_string();
    let (holder, _) = start(1, Config { allow: vec![listed.clone()], ..Config::default() }).await;
    for way in ["/tcp/", "/quic-v1"] {
        let (friend, _) = start(2, Config::default()).await;
        assert_eq!(read(&friend, &over(&holder, way)).await, Ok(page()), "{way}");
        let (stranger, _) = start(3, Config::default()).await;
        let refused = read(&stranger, &over(&holder, way)).await;
        assert!(refused.is_err(), "{way}: {refused:?}");
        let asked = Transport::request(&stranger, &over(&holder, way), &Request::Records { epoch: 0, since: 0 }).await;
        assert!(asked.is_err(), "{way}: {asked:?}");
        let here = holder.snapshot().peers;
        assert!(here.iter().all(|peer| peer.peer == listed), "{here:?}");
    }
}

/// Whether `teller` is heard by whoever else is there, within a while.
async fn tell(teller: &Swarm) -> bool {
    let news = Request::Announce { records: vec![ByteBuf::from(b"news".to_vec())] };
    let telling = async {
        while !teller.publish(&news).await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(3), telling).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_of_another_network_are_not_heard() {
    let reef = || Config { network: "reef".to_owned(), ..Config::default() };
    let key = Key::from(page().cid().hash().to_bytes());
    for way in ["/tcp/", "/quic-v1"] {
        let (holder, heard) = start(1, reef()).await;
        for (seed, network) in [(3, "lagoon"), (4, "")] {
            let at = vec![over(&holder, way)];
            let other = Config { network: network.to_owned(), bootstrap: at.clone(), ..Config::default() };
            let (other, _) = start(seed, other).await;
            until(|| other.snapshot().peers.iter().any(|peer| !peer.agent.is_empty())).await;
            assert!(!tell(&other).await, "{network:?} has nobody to tell");
            let asked = Transport::request(&other, &at[0], &Request::Records { epoch: 0, since: 0 }).await;
            assert_eq!(asked, Err(TransportError::Refused), "{network:?}");
            assert!(other.networks()[0].closest(&key).await.is_empty(), "{network:?} has no part in the DHT");
            assert!(!holder.snapshot().peers.iter().any(|peer| peer.member), "{network:?}");
        }
        assert_eq!((heard.heard(), holder.snapshot().known), (0, 0));
        let (friend, _) = start(2, Config { bootstrap: vec![over(&holder, way)], ..reef() }).await;
        until(|| friend.snapshot().peers.iter().any(|peer| peer.member)).await;
        assert!(tell(&friend).await);
        until(|| heard.heard() > 0).await;
        assert_eq!(friend.networks()[0].closest(&key).await.len(), 1);
    }
}

/// A file with a key, as Kubo has it.
fn key_file(folder: &tempfile::TempDir, byte: u8) -> PathBuf {
    let path = folder.path().join(format!("{byte}.key"));
    fs::write(&path, format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", format!("{byte:02x}").repeat(32))).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_key_nobody_connects() {
    let folder = tempfile::tempdir().unwrap();
    let behind = |byte| Config { key_file: key_file(&folder, byte), ..Config::default() };
    let (holder, _) = start(1, behind(7)).await;
    let at = over(&holder, "/tcp/");
    for (seed, config) in [(3, behind(8)), (4, Config::default())] {
        let (stranger, _) = start(seed, config).await;
        assert!(read(&stranger, &at).await.is_err());
        assert!(holder.snapshot().peers.is_empty());
    }
    let (friend, _) = start(2, behind(7)).await;
    assert_eq!(read(&friend, &at).await, Ok(page()));
    let (public, _) = start(5, Config::default()).await;
    assert!(read(&friend, &over(&public, "/tcp/")).await.is_err(), "nor does it go out without");
}

#[tokio::test]
async fn a_key_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let spoiled = folder.path().join("spoiled.key");
    fs::write(&spoiled, "/key/swarm/psk/1.0.0/\n/base16/\n0123\n").unwrap();
    for key_file in [spoiled, folder.path().join("none.key")] {
        let parts =
            Parts { identity: IdentityKey::from_seed(&[1; 32]).to_libp2p(), blocks: Arc::new(Held(HashMap::new())) };
        let started = Swarm::spawn(parts, &Config { key_file, ..Config::default() }).await;
        let said = started.map(drop).unwrap_err();
        assert!(matches!(said, SwarmError::Key { .. }) && said.to_string().contains("swarm.key_file"), "{said}");
    }
}
