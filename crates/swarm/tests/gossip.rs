//! News that spreads between peers: what is worth it reaches everybody, what is wrong goes no further, whoever sends that
//! is not listened to for long, and what is told again is not looked at again.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atoll_core::blocks::NoopBlocks;
use atoll_core::keys::IdentityKey;
use atoll_core::transport::{Gossip, Request, Response, encode};
use atoll_core::{Answer, BoxFuture, TransportError};
use atoll_swarm::{Config, Parts, Swarm};
use atoll_testkit::ordeal::{Ordeal, memory_mib};
use futures_util::StreamExt as _;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, MessageAuthenticity, MessageId, PublishError, ValidationMode,
};
use libp2p::{noise, tcp, yamux};
use multiaddr::Multiaddr;
use serde_bytes::ByteBuf;
use tokio::time::{Instant, sleep, timeout};

/// When a test is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// Records that a well-behaved peer tells during the attack, and those of the attack.
const GOOD: u32 = 20;
const BAD: u32 = 5_000;
/// How often what is known is told again, and so many times in a row.
const REPLAYS: u32 = 20_000;
const AT_ONCE: u32 = 50;

/// Takes records that begin with `good` for news, once, and calls all others wrong; what it was told.
#[derive(Default)]
struct Listener {
    good: Mutex<HashSet<Vec<u8>>>,
    bad: Mutex<usize>,
    again: Mutex<usize>,
}

impl Answer for Listener {
    fn answer(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let Request::Announce { records } = request else { return Err(TransportError::Refused) };
            let record = records.into_iter().next().ok_or(TransportError::Malformed)?.into_vec();
            if record.starts_with(b"good") {
                let is_new = self.good.lock().unwrap().insert(record);
                *self.again.lock().unwrap() += usize::from(!is_new);
                return Ok(Response::Announced { accepted: u64::from(is_new) });
            }
            *self.bad.lock().unwrap() += 1;
            Err(TransportError::Malformed)
        })
    }
}

impl Listener {
    fn heard(&self) -> usize {
        self.good.lock().unwrap().len()
    }

    fn has(&self, number: u32) -> bool {
        self.good.lock().unwrap().contains(format!("good {number}").as_bytes())
    }
}

async fn peer(seed: u8, bootstrap: &[Multiaddr], allow: &[u8]) -> (Swarm, Arc<Listener>) {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let allow = allow.iter().map(|seed| IdentityKey::from_seed(&[*seed; 32]).peer_id().to_string()).collect();
    let config = Config { listen, bootstrap: bootstrap.to_vec(), allow, ..Config::default() };
    let identity = IdentityKey::from_seed(&[seed; 32]).to_libp2p();
    let swarm = Swarm::spawn(Parts { identity, blocks: Arc::new(NoopBlocks) }, &config).await.unwrap();
    let listener = Arc::new(Listener::default());
    swarm.serve(Arc::clone(&listener) as Arc<dyn Answer>).await;
    (swarm, listener)
}

fn news(kind: &str, number: u32) -> Request {
    Request::Announce { records: vec![ByteBuf::from(format!("{kind} {number}").into_bytes())] }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "waited in vain: {what}");
}

/// Three peers in a row: who tells news, who passes it on, and who hears of it through that one only.
struct Row {
    honest: Swarm,
    middle: Swarm,
    heard: Arc<Listener>,
    far: Swarm,
    far_heard: Arc<Listener>,
}

impl Row {
    async fn start() -> Self {
        let (middle, heard) = peer(1, &[], &[]).await;
        let address = middle.addresses();
        let (honest, _) = peer(2, &address, &[]).await;
        let (far, far_heard) = peer(3, &address, &[1]).await;
        let row = Self { honest, middle, heard, far, far_heard };
        row.is_listened_to(&row.honest, 1_000_000).await;
        row
    }

    /// Gossip flows once the peers have told each other what they listen to.
    async fn is_listened_to(&self, swarm: &Swarm, first: u32) {
        until("a neighbour", || !swarm.neighbours().is_empty()).await;
        let told = async {
            while !self.heard.has(first) {
                swarm.publish(&news("good", first)).await;
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, told).await.unwrap();
        until("the far peer listens", || self.far_heard.heard() > 0 || !self.far.neighbours().is_empty()).await;
    }

    /// How long news take to the middle, each.
    async fn spread(&self, first: u32) -> Vec<Duration> {
        let mut times = Vec::new();
        for number in first..first + GOOD {
            let begun = Instant::now();
            assert!(self.honest.publish(&news("good", number)).await);
            until("news of an honest peer", || self.heard.has(number)).await;
            times.push(begun.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
        times
    }

    /// The last of them still gets through to the far end.
    async fn reaches_the_far_end(&self) {
        self.honest.publish(&news("good", 2 * GOOD)).await;
        until("the far peer hears the honest one", || self.far_heard.has(2 * GOOD)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_spreads_what_is_wrong_is_not_listened_to_for_long() {
    let row = Row::start().await;
    let (spammer, _) = peer(4, &row.middle.addresses(), &[]).await;
    row.is_listened_to(&spammer, 1_000_001).await;
    let before = row.spread(GOOD).await;
    let memory = memory_mib();
    let attack = tokio::spawn(async move {
        for number in 0..BAD {
            spammer.publish(&news("bad", number)).await;
        }
        spammer
    });
    let during = row.spread(0).await;
    let _spammer = attack.await.unwrap();
    let looked_at = *row.heard.bad.lock().unwrap();
    println!("{looked_at} of {BAD} wrong records were looked at");
    Ordeal {
        attack: "gossip of wrong records",
        work: "news of a record to a neighbour",
        before,
        during,
        memory_mib: (memory, memory_mib()),
        growth_mib_max: 128,
    }
    .tell();
    assert!(looked_at > 0, "the attack never began");
    assert!(looked_at <= 100, "{looked_at} of {BAD} were looked at");
    assert_eq!(*row.far_heard.bad.lock().unwrap(), 0, "what is wrong was passed on");
    row.reaches_the_far_end().await;
}

/// A peer for which each message is a new one, however often it was sent before.
async fn parrot(to: &Multiaddr) -> libp2p::Swarm<gossipsub::Behaviour> {
    static SENT: AtomicU64 = AtomicU64::new(0);
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|_| MessageId::new(&SENT.fetch_add(1, Ordering::Relaxed).to_be_bytes()))
        .build()
        .unwrap();
    let mut swarm = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap())
        .unwrap()
        .build();
    swarm.dial(to.clone()).unwrap();
    swarm
}

/// Tells record after record, each as soon as there is room.
async fn repeat(swarm: &mut libp2p::Swarm<gossipsub::Behaviour>, numbers: impl Iterator<Item = u32>) {
    for (at, number) in (1..).zip(numbers) {
        let message = encode(&news("good", number)).unwrap();
        loop {
            let said = swarm.behaviour_mut().publish(IdentTopic::new("/atoll/records/1"), message.clone());
            if said.is_err() || at % AT_ONCE == 0 {
                let _ = timeout(Duration::from_millis(1), swarm.select_next_some()).await;
            }
            match said {
                Ok(_) => break,
                Err(PublishError::AllQueuesFull(_) | PublishError::NoPeersSubscribedToTopic) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_again_and_again_is_looked_at_once_and_passed_on_once() {
    let row = Row::start().await;
    let before = row.spread(GOOD).await;
    let memory = memory_mib();
    let mut parrot = parrot(&row.middle.addresses()[0]).await;
    let attack = tokio::spawn(async move {
        repeat(&mut parrot, (0..REPLAYS).map(|number| GOOD + number % GOOD)).await;
        // Told in order: once this one is heard, the others were received.
        repeat(&mut parrot, std::iter::once(2_000_000)).await;
        loop {
            parrot.select_next_some().await;
        }
    });
    let during = row.spread(0).await;
    until("the end of the attack", || row.heard.has(2_000_000)).await;
    Ordeal {
        attack: "gossip told again, 20,000 times",
        work: "news of a record to a neighbour",
        before,
        during,
        memory_mib: (memory, memory_mib()),
        growth_mib_max: 128,
    }
    .tell();
    row.reaches_the_far_end().await;
    let again = [&row.heard, &row.far_heard].map(|heard| *heard.again.lock().unwrap());
    assert_eq!(again, [0, 0], "what was known was looked at again");
    attack.abort();
}
