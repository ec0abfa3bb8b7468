//! What peers can do to a node over Bitswap, and what a well-behaved peer notices of it: it is served all the while, memory
//! stays within a named budget, and whoever lies is asked less and less.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

#[path = "hostile/peer.rs"]
#[expect(dead_code, reason = "another test does more with it")]
mod peer;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atoll_core::bitswap::{Entry, Message, Payload, Wish};
use atoll_core::block::{BLOCK_BYTES_MAX, RAW};
use atoll_core::blocks::NoopBlocks;
use atoll_core::keys::IdentityKey;
use atoll_core::{Block, Blocks, BoxFuture, Cid, FetchError, Transport};
use atoll_swarm::{Config, Parts, Swarm};
use atoll_testkit::ordeal::{Ordeal, memory_mib};
use bytes::Bytes;
use futures_util::future::join_all;
use multiaddr::Multiaddr;
use peer::Hostile;
use tokio::time::{Instant, timeout};

/// When a test is stuck.
const PATIENCE: Duration = Duration::from_secs(120);
/// Blocks that a well-behaved peer gets during each attack, and their size.
const WANTED: u32 = 48;
const WANTED_BYTES: usize = 256 * 1024;
/// Entries of one hostile message.
const ENTRIES: u32 = 8192;

/// A holder of the blocks 0 to [`WANTED`], which it makes when it is asked.
struct Made;

impl Blocks for Made {
    fn cached(&self, _cid: &Cid) -> Option<Bytes> {
        None
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move {
            let made = made().iter().find(|block| block.cid() == cid);
            made.map(|block| block.bytes().clone()).ok_or(FetchError::NotFound(*cid))
        })
    }

    fn sizes<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Vec<Option<u64>>> {
        let size = |cid: &Cid| made().iter().any(|block| block.cid() == cid).then_some(WANTED_BYTES as u64);
        Box::pin(async move { cids.iter().map(size).collect() })
    }
}

fn made() -> &'static [Block] {
    static MADE: std::sync::OnceLock<Vec<Block>> = std::sync::OnceLock::new();
    MADE.get_or_init(|| (0..WANTED).map(|n| block(n, WANTED_BYTES)).collect())
}

fn block(n: u32, len: usize) -> Block {
    let bytes: Vec<u8> = n.to_be_bytes().into_iter().cycle().take(len).collect();
    Block::sha2_256(RAW, bytes.into()).unwrap()
}

async fn swarm(seed: u8, blocks: Arc<dyn Blocks>) -> (Swarm, Multiaddr) {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let config = Config { listen, sending_mib: 16, ..Config::default() };
    let identity = IdentityKey::from_seed(&[seed; 32]).to_libp2p();
    let swarm = Swarm::spawn(Parts { identity, blocks }, &config).await.unwrap();
    let address = swarm.addresses()[0].clone();
    (swarm, address)
}

fn wants(cids: impl Iterator<Item = Cid>, wish: Wish) -> Message {
    let entry = |cid| Entry { cid, priority: 1, wish, send_dont_have: true };
    Message { entries: cids.map(entry).collect(), ..Message::default() }
}

/// Names of blocks that nobody has.
fn unknown(from: u32) -> impl Iterator<Item = Cid> {
    (from..from + ENTRIES).map(|n| *block(1_000_000 + n, 8).cid())
}

/// An attack on a holder of blocks; it goes on until it is done, or refused.
struct Attack {
    name: &'static str,
    growth_mib_max: u64,
    /// Attackers, each with a connection of its own.
    peers: usize,
    run: fn(Hostile) -> Pin<Box<dyn Future<Output = ()>>>,
}

const ATTACKS: [Attack; 5] = [
    Attack {
        name: "a million wants for what is not there",
        growth_mib_max: 192,
        peers: 4,
        run: |peer| Box::pin(million(peer)),
    },
    Attack { name: "full lists without end", growth_mib_max: 192, peers: 4, run: |peer| Box::pin(full_lists(peer)) },
    Attack { name: "blocks that nobody asked for", growth_mib_max: 192, peers: 4, run: |peer| Box::pin(unasked(peer)) },
    Attack {
        name: "messages that stop in the middle",
        growth_mib_max: 320,
        peers: 8,
        run: |peer| Box::pin(half_messages(peer)),
    },
    Attack {
        name: "wants whose blocks are never read",
        growth_mib_max: 320,
        peers: 40,
        run: |peer| Box::pin(never_reads(peer)),
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_are_bounded_and_others_are_served() {
    for (at, attack) in (0..).zip(&ATTACKS) {
        let (holder, address) = swarm(10 + at, Arc::new(Made)).await;
        let (asker, _) = swarm(100 + at, Arc::new(NoopBlocks)).await;
        let serve = async || {
            let (mut times, mut most) = (Vec::new(), 0);
            for block in made() {
                let begun = Instant::now();
                let came = timeout(PATIENCE, Transport::block(&asker, &address, block.cid())).await;
                assert!(came.unwrap().as_ref() == Ok(block), "{}", attack.name);
                times.push(begun.elapsed());
                most = most.max(memory_mib());
            }
            (times, most)
        };
        // Once for the connection and the memory of its buffers.
        serve().await;
        let (before, memory) = serve().await;
        let hostile = (0..attack.peers).map(|_| Hostile::connected(&address));
        let hostile = join_all(join_all(hostile).await.into_iter().map(attack.run));
        // The attack goes on at least as long as somebody else is served.
        let ((), (during, most)) = tokio::join!(async { drop(timeout(PATIENCE, hostile).await.unwrap()) }, serve());
        Ordeal {
            attack: attack.name,
            work: "a block of 256 KiB over Bitswap",
            before,
            during,
            memory_mib: (memory, most.max(memory_mib())),
            growth_mib_max: attack.growth_mib_max,
        }
        .tell();
        // It serves on, after it too.
        assert!(Transport::block(&asker, &address, made()[0].cid()).await.as_ref() == Ok(&made()[0]));
        drop(holder);
    }
}

async fn million(peer: Hostile) {
    let mut stream = peer.open().await;
    for round in 0..32 {
        let wish = if round % 2 == 0 { Wish::Have } else { Wish::Block };
        stream.send(&wants(unknown(round * ENTRIES), wish)).await.unwrap();
    }
}

async fn full_lists(peer: Hostile) {
    let mut stream = peer.open().await;
    for round in 0..64 {
        let cids = made().iter().map(|block| *block.cid()).chain(unknown(round));
        stream.send(&Message { full: true, ..wants(cids, Wish::Have) }).await.unwrap();
    }
}

async fn unasked(peer: Hostile) {
    let junk = block(7, 512 * 1024);
    let payload = vec![Payload::new(junk.cid(), junk.bytes().clone())];
    let message = Message { payload, ..Message::default() };
    // What may be on its way, several times over: it ends before.
    let mut sent = 0;
    let mut stream = peer.open().await;
    while sent < 4096 && stream.send(&message).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 4096, "nobody minded");
}

async fn half_messages(peer: Hostile) {
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut stream = peer.open().await;
        // A length of 1 MiB, the head of a field of nearly as much, and no more than its beginning.
        if stream.write(&[0x80, 0x80, 0x40, 0x0a, 0xf0, 0xff, 0x3f, 0, 0, 0]).await.is_err() {
            break;
        }
        held.push(stream);
    }
}

async fn never_reads(mut peer: Hostile) {
    for _ in 0..3 {
        let mut stream = peer.open().await;
        let all = wants(made().iter().map(|block| *block.cid()), Wish::Block);
        // It is left alone as soon as others wait, and comes again.
        for _ in 0..2 {
            if stream.send(&all).await.is_err() {
                break;
            }
            peer.hold_next_stream().await;
        }
    }
}

/// Asks for blocks of one DAG, which a hostile provider and an honest one are said to have; how many the hostile one was
/// asked for.
async fn exchange_with(seed: u8, blocks: usize, answer: fn(&Message) -> Message) -> usize {
    let (_honest, address) = swarm(seed, Arc::new(Made)).await;
    let (asker, _) = swarm(seed + 1, Arc::new(NoopBlocks)).await;
    let (asked, hostile) = (Arc::new(AtomicUsize::new(0)), Hostile::listening().await);
    let counted = Arc::clone(&asked);
    let hostile_address = hostile.address.clone();
    tokio::spawn(hostile.answer(move |message| {
        let blocks = message.entries.iter().filter(|entry| entry.wish == Wish::Block).count();
        counted.fetch_add(blocks, Ordering::Relaxed);
        answer(message)
    }));
    let peers = [hostile_address, address];
    let root = *made()[0].cid();
    for block in made().iter().take(blocks) {
        let came = timeout(PATIENCE, asker.block_of(&root, block.cid(), &peers)).await.unwrap();
        assert!(came.as_ref() == Ok(block), "{:?}", came.err());
    }
    asked.load(Ordering::Relaxed)
}

/// So that the call is not taken for that of [`Transport`].
trait BlockOf {
    fn block_of<'a>(
        &'a self,
        root: &'a Cid,
        cid: &'a Cid,
        peers: &'a [Multiaddr],
    ) -> BoxFuture<'a, Result<Block, atoll_core::TransportError>>;
}

impl BlockOf for Swarm {
    fn block_of<'a>(
        &'a self,
        root: &'a Cid,
        cid: &'a Cid,
        peers: &'a [Multiaddr],
    ) -> BoxFuture<'a, Result<Block, atoll_core::TransportError>> {
        atoll_core::Exchange::block(self, root, cid, peers)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_says_it_has_all_and_sends_nothing_is_asked_less_and_less() {
    let says_yes = |message: &Message| {
        let presences =
            message.entries.iter().filter(|entry| entry.wish != Wish::Cancel).map(|entry| (entry.cid, true));
        Message { presences: presences.collect(), ..Message::default() }
    };
    let asked = Box::pin(exchange_with(1, WANTED as usize, says_yes)).await;
    assert!(asked <= 12, "{asked} of {WANTED} were asked of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_of_wrong_bytes_is_asked_less_and_less() {
    let lies = |message: &Message| {
        let wrong = Bytes::from(vec![7; 64 * 1024]);
        let wanted = message.entries.iter().filter(|entry| entry.wish == Wish::Block);
        Message { payload: wanted.map(|entry| Payload::new(&entry.cid, wrong.clone())).collect(), ..Message::default() }
    };
    let asked = Box::pin(exchange_with(3, WANTED as usize, lies)).await;
    assert!(asked <= 12, "{asked} of {WANTED} were asked of it");
}

/// Holds what was put into it.
#[derive(Default)]
struct Filled(Mutex<Option<Block>>);

impl Blocks for Filled {
    fn cached(&self, cid: &Cid) -> Option<Bytes> {
        let held = self.0.lock().unwrap();
        held.as_ref().filter(|block| block.cid() == cid).map(|block| block.bytes().clone())
    }

    fn block<'a>(&'a self, _root: &'a Cid, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        Box::pin(async move { self.cached(cid).ok_or(FetchError::NotFound(*cid)) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_later_is_sent_once_to_whoever_still_wants_it() {
    let blocks = Arc::new(Filled::default());
    let (holder, address) = swarm(7, Arc::clone(&blocks) as _).await;
    let peer = Hostile::connected(&address).await;
    let mut stream = peer.open().await;
    let (later, taken_back) = (block(1, 5000), block(2, 5000));
    let (heard, mut said) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(peer.answer(move |message| {
        heard.send(message.clone()).unwrap();
        Message::default()
    }));
    let mut hear = async || timeout(PATIENCE, said.recv()).await.unwrap().unwrap();
    stream.send(&wants([*later.cid(), *taken_back.cid()].into_iter(), Wish::Block)).await.unwrap();
    assert_eq!(hear().await.presences, [(*later.cid(), false), (*taken_back.cid(), false)]);
    // Once it has its answer to the next question, it was told of the cancel too.
    let next = *block(3, 8).cid();
    stream.send(&wants(std::iter::once(*taken_back.cid()), Wish::Cancel)).await.unwrap();
    stream.send(&wants(std::iter::once(next), Wish::Have)).await.unwrap();
    assert_eq!(hear().await.presences, [(next, false)]);
    for block in [&taken_back, &later, &later] {
        *blocks.0.lock().unwrap() = Some(block.clone());
        holder.arrivals().arrived(block.cid().hash());
    }
    let sent = hear().await.payload;
    assert_eq!(sent.iter().map(Payload::cid).collect::<Vec<_>>(), [Some(*later.cid())]);
    stream.send(&wants(std::iter::once(*block(4, 8).cid()), Wish::Have)).await.unwrap();
    assert_eq!(hear().await.presences.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_a_limit_is_no_block() {
    let (_holder, address) = swarm(5, Arc::new(NoopBlocks)).await;
    let (asker, _) = swarm(6, Arc::new(NoopBlocks)).await;
    let hostile = Hostile::listening().await;
    let hostile_address = hostile.address.clone();
    tokio::spawn(hostile.answer(|message| {
        let large = Bytes::from(vec![7; BLOCK_BYTES_MAX + 1]);
        Message { payload: vec![Payload::new(&message.entries[0].cid, large)], ..Message::default() }
    }));
    let wanted = *block(1, 8).cid();
    let answer = timeout(Duration::from_secs(3), Transport::block(&asker, &hostile_address, &wanted)).await;
    assert!(!matches!(answer, Ok(Ok(_))));
    assert!(timeout(PATIENCE, Transport::block(&asker, &address, &wanted)).await.unwrap().is_err());
}
