//! News that spreads between peers: what is worth it reaches everybody, what is wrong goes no further, and whoever sends that
//! is not listened to for long.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking there")]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atoll_core::blocks::NoopBlocks;
use atoll_core::keys::IdentityKey;
use atoll_core::transport::{Gossip, Request, Response};
use atoll_core::{Answer, BoxFuture, TransportError};
use atoll_swarm::{Config, Parts, Swarm};
use atoll_testkit::ordeal::{Ordeal, memory_mib};
use multiaddr::Multiaddr;
use serde_bytes::ByteBuf;
use tokio::time::{Instant, sleep, timeout};

/// When a test is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// Records that a well-behaved peer tells during the attack, and those of the attack.
const GOOD: u32 = 20;
const BAD: u32 = 5_000;

/// Takes records that begin with `good` for news, once, and calls all others wrong; what it was told.
#[derive(Default)]
struct Listener {
    good: Mutex<HashSet<Vec<u8>>>,
    bad: Mutex<usize>,
}

impl Answer for Listener {
    fn answer(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let Request::Announce { records } = request else { return Err(TransportError::Refused) };
            let record = records.into_iter().next().ok_or(TransportError::Malformed)?.into_vec();
            if record.starts_with(b"good") {
                let accepted = u64::from(self.good.lock().unwrap().insert(record));
                return Ok(Response::Announced { accepted });
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_spreads_what_is_wrong_is_not_listened_to_for_long() {
    let (middle, heard) = peer(1, &[], &[]).await;
    let address = middle.addresses();
    let (honest, _) = peer(2, &address, &[]).await;
    // It hears of others through the middle only.
    let (far, far_heard) = peer(3, &address, &[1]).await;
    let (spammer, _) = peer(4, &address, &[]).await;
    // Gossip flows once the peers have told each other what they listen to.
    for (number, swarm) in (0..).zip([&honest, &spammer]) {
        until("a neighbour", || !swarm.neighbours().is_empty()).await;
        let first = 1_000_000 + number;
        let told = async {
            while !heard.good.lock().unwrap().contains(format!("good {first}").as_bytes()) {
                swarm.publish(&news("good", first)).await;
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, told).await.unwrap();
    }
    until("the far peer listens", || far_heard.heard() > 0 || !far.neighbours().is_empty()).await;
    let spread = async |first: u32| {
        let mut times = Vec::new();
        for number in first..first + GOOD {
            let (begun, want) = (Instant::now(), heard.heard() + 1);
            assert!(honest.publish(&news("good", number)).await);
            until("news of an honest peer", || heard.heard() >= want).await;
            times.push(begun.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
        times
    };
    let before = spread(GOOD).await;
    let memory = memory_mib();
    let attack = tokio::spawn(async move {
        for number in 0..BAD {
            spammer.publish(&news("bad", number)).await;
        }
        spammer
    });
    let during = spread(0).await;
    let _spammer = attack.await.unwrap();
    let looked_at = *heard.bad.lock().unwrap();
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
    assert_eq!(*far_heard.bad.lock().unwrap(), 0, "what is wrong was passed on");
    let last = 2 * GOOD;
    honest.publish(&news("good", last)).await;
    let last = format!("good {last}").into_bytes();
    until("the far peer hears the honest one", || far_heard.good.lock().unwrap().contains(&last)).await;
}
