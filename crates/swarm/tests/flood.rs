//! What peers can do to a node of the DHT, and what others notice of it: whatever is announced to it, a provider that is there
//! is found all the while, nobody speaks for others, and memory stays within a named budget.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

#[path = "hostile/peer.rs"]
#[expect(dead_code, reason = "another test does more with it")]
mod peer;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use atoll_core::block::RAW;
use atoll_core::blocks::NoopBlocks;
use atoll_core::dht::Key;
use atoll_core::kad;
use atoll_core::keys::IdentityKey;
use atoll_core::{Block, Cid, Dht as _};
use atoll_swarm::{Config, Parts, Swarm};
use atoll_testkit::ordeal::{Ordeal, memory_mib};
use futures_util::future::join_all;
use libp2p::{PeerId, StreamProtocol};
use multiaddr::Multiaddr;
use peer::{Hostile, Wire};
use tokio::time::{Instant, timeout};

const KAD: StreamProtocol = StreamProtocol::new("/ipfs/lan/kad/1.0.0");
/// When a test is stuck.
const PATIENCE: Duration = Duration::from_secs(120);
/// Attackers, each with a connection of its own, and the messages of each.
const ATTACKERS: u32 = 4;
const MESSAGES: u32 = 25_000;
/// Lookups that a well-behaved peer makes at least during an attack.
const LOOKUPS: usize = 200;
const GROWTH_MIB_MAX: u64 = 256;

async fn swarm(seed: u8, bootstrap: &[Multiaddr]) -> Swarm {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let config = Config { listen, bootstrap: bootstrap.to_vec(), ..Config::default() };
    let identity = IdentityKey::from_seed(&[seed; 32]).to_libp2p();
    Swarm::spawn(Parts { identity, blocks: Arc::new(NoopBlocks) }, &config).await.unwrap()
}

fn cid(text: &str) -> Cid {
    *Block::sha2_256(RAW, text.to_owned().into()).unwrap().cid()
}

fn key(cid: &Cid) -> Vec<u8> {
    cid.hash().to_bytes()
}

/// What one attacker does, until it is done or refused.
type Attacking = Pin<Box<dyn Future<Output = ()>>>;

struct Attack {
    name: &'static str,
    run: fn(Hostile, u32) -> Attacking,
}

const ATTACKS: [Attack; 5] = [
    Attack { name: "providers of a hundred thousand keys", run: |peer, at| Box::pin(many_keys(peer, at)) },
    Attack { name: "providers with addresses without end", run: |peer, at| Box::pin(long_addresses(peer, at)) },
    Attack { name: "records for names of others", run: |peer, _| Box::pin(names_of_others(peer)) },
    Attack { name: "questions whose answers are never read", run: |peer, _| Box::pin(never_reads(peer)) },
    Attack { name: "messages that stop in the middle", run: |peer, _| Box::pin(half_messages(peer)) },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_found_whatever_others_announce() {
    let page = cid("calm water");
    for (at, attack) in (0..).zip(&ATTACKS) {
        let middle = swarm(20 + at, &[]).await;
        let bootstrap = middle.addresses();
        let holder = swarm(120 + at, &bootstrap).await;
        let asker = swarm(220 + at, &bootstrap).await;
        let provider = IdentityKey::from_seed(&[120 + at; 32]).peer_id();
        let provided = async {
            loop {
                announce(&holder, &page).await;
                if asker.find(&page).await == [provider] {
                    return;
                }
            }
        };
        timeout(PATIENCE, provided).await.unwrap();

        let mut before = Vec::new();
        for _ in 0..LOOKUPS {
            let begun = Instant::now();
            assert_eq!(asker.find(&page).await, [provider]);
            before.push(begun.elapsed());
        }
        let memory = memory_mib();
        let hostile = join_all((0..ATTACKERS).map(|_| Hostile::connected(&bootstrap[0]))).await;
        let hostile = join_all(hostile.into_iter().zip(0..).map(|(peer, at)| (attack.run)(peer, at)));
        tokio::pin!(hostile);
        let (mut during, mut most, mut over) = (Vec::new(), memory, false);
        while !over || during.len() < LOOKUPS {
            let begun = Instant::now();
            tokio::select! {
                biased;
                _ = &mut hostile, if !over => over = true,
                found = timeout(PATIENCE, asker.find(&page)) => {
                    assert_eq!(found.unwrap(), [provider], "{}", attack.name);
                    during.push(begun.elapsed());
                    most = most.max(memory_mib());
                }
            }
        }
        assert_eq!(middle.snapshot().name_records, 0, "{}", attack.name);
        Ordeal {
            attack: attack.name,
            work: "finding a provider in the DHT",
            before,
            during,
            memory_mib: (memory, most),
            growth_mib_max: GROWTH_MIB_MAX,
        }
        .tell();
    }
}

async fn announce(holder: &Swarm, page: &Cid) {
    let (network, key) = (holder.networks().remove(0), Key::from(key(page)));
    for peer in network.closest(&key).await {
        // Once more if it was not heard.
        let _ = network.tell(&peer, std::slice::from_ref(&key)).await;
    }
}

/// Sends as long as it is listened to.
async fn send_all(stream: &mut Wire, messages: impl Iterator<Item = Vec<u8>>) {
    for message in messages {
        if stream.write(&message).await.is_err() {
            return;
        }
    }
}

async fn many_keys(peer: Hostile, at: u32) {
    let (mut stream, me) = (peer.open_as(KAD).await, peer.me());
    let address: Multiaddr = "/ip4/10.0.0.1/tcp/4001".parse().unwrap();
    let key = |n: u32| [&at.to_be_bytes()[..], &n.to_be_bytes()].concat();
    let own = |n| kad::add_provider(&key(n), &me, std::slice::from_ref(&address));
    // One in so many says that somebody else provides what is looked for meanwhile.
    let other = || kad::add_provider(&self::key(&cid("calm water")), &PeerId::random(), std::slice::from_ref(&address));
    send_all(&mut stream, (0..MESSAGES).map(|n| if n % 50 == 0 { other() } else { own(n) })).await;
}

async fn long_addresses(peer: Hostile, at: u32) {
    let (mut stream, me) = (peer.open_as(KAD).await, peer.me());
    let address: Multiaddr = format!("/dns/{}/tcp/1", "x".repeat(7000)).parse().unwrap();
    let key = |n: u32| [&at.to_be_bytes()[..], &n.to_be_bytes()].concat();
    let messages = (0..MESSAGES / 20).map(|n| kad::add_provider(&key(n), &me, &vec![address.clone(); 8]));
    send_all(&mut stream, messages).await;
}

/// `PUT_VALUE` for a name whose key it has not: a record that nobody signed.
async fn names_of_others(peer: Hostile) {
    let field = |tag: u8, bytes: &[u8]| [&[tag << 3 | 2][..], &length(bytes.len()), bytes].concat();
    let key = [&b"/ipns/"[..], &IdentityKey::from_seed(&[9; 32]).peer_id().to_bytes()].concat();
    let record = |n: u32| [field(1, &key), field(2, &n.to_be_bytes().repeat(500))].concat();
    let message = |n| [field(2, &key), field(3, &record(n))].concat();
    let framed = |n| [length(message(n).len()), message(n)].concat();
    for _ in 0..16 {
        let mut stream = peer.open_as(KAD).await;
        // Each is answered; a stream whose answers are not read takes no more at some time.
        let _ = timeout(Duration::from_millis(300), send_all(&mut stream, (0..MESSAGES).map(framed))).await;
    }
}

async fn never_reads(peer: Hostile) {
    let mut streams = join_all((0..16).map(|_| peer.open_as(KAD))).await;
    let question = kad::get_providers(&key(&cid("calm water")));
    let asking = join_all(streams.iter_mut().map(|stream| send_all(stream, (0..MESSAGES).map(|_| question.clone()))));
    // Nobody takes its questions any more once it does not take the answers.
    let _ = timeout(Duration::from_secs(3), asking).await;
}

async fn half_messages(peer: Hostile) {
    let mut streams = Vec::new();
    for _ in 0..64 {
        let mut stream = peer.open_as(KAD).await;
        // 60,000 bytes are to come, of which there is one.
        if stream.write(&[0xe0, 0xd4, 0x03, 0x08]).await.is_err() {
            break;
        }
        streams.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// An unsigned varint.
fn length(mut len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while len >= 0x80 {
        bytes.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    bytes.push(u8::try_from(len).unwrap());
    bytes
}
