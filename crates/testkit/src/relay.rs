//! A sea between processes or swarms on loopback: every link runs through a relay that delays each byte, and may lose its connections.
//!
//! Delays are drawn from a seed. The sea also counts hops: each message carries how many hops in a row led to it (Lamport's
//! logical clock), so that a test can say how many round trips stood one after another before an answer, whatever the machine's
//! pace was.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Bytes that are passed on at once.
const PIECE: usize = 64 * 1024;
/// Pieces on their way in one direction of a connection; the sender waits beyond.
const PIECES_MAX: usize = 1024;

/// What every link does.
#[derive(Clone, Debug)]
pub struct Swell {
    /// How long each byte takes, one way.
    pub delay: Duration,
    /// How much longer at most.
    pub jitter: Duration,
    /// What decides that.
    pub seed: u64,
}

/// See the module.
#[derive(Clone)]
pub struct Sea {
    swell: Swell,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    hops: Mutex<Hops>,
    /// While it is set, nothing passes, and connections end.
    torn: AtomicBool,
    links: Mutex<u64>,
}

/// How many hops in a row led to what came to each, at most, since they were forgotten.
#[derive(Default)]
struct Hops {
    /// How often they were.
    age: u64,
    to: HashMap<u16, u32>,
}

impl Sea {
    /// Without relays.
    pub fn new(swell: Swell) -> Self {
        Self { swell, inner: Arc::default() }
    }

    /// A relay that leads to `target`, for as long as the runtime lives; where it listens. Each is known by its port: that of its
    /// relay's target, from which libp2p connects to others too.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn relay(&self, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sea = self.clone();
        tokio::spawn(async move {
            while let Ok((from, peer)) = listener.accept().await {
                tokio::spawn(sea.clone().link(from, peer.port(), target));
            }
        });
        address
    }

    /// Forgets all hops.
    pub fn forget_hops(&self) {
        let mut hops = self.hops();
        hops.age += 1;
        hops.to.clear();
    }

    /// How many hops in a row led to what came to the node of this port since they were forgotten: twice the round trips.
    pub fn hops_to(&self, port: u16) -> u32 {
        self.hops().to.get(&port).copied().unwrap_or(0)
    }

    /// Tears all connections, and lets nobody connect, until it is calm again.
    pub fn tear(&self, torn: bool) {
        self.inner.torn.store(torn, Ordering::Relaxed);
    }

    fn hops(&self) -> std::sync::MutexGuard<'_, Hops> {
        self.inner.hops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_torn(&self) -> bool {
        self.inner.torn.load(Ordering::Relaxed)
    }

    async fn link(self, near: TcpStream, from: u16, target: SocketAddr) {
        if self.is_torn() {
            return;
        }
        let Ok(far) = TcpStream::connect(target).await else { return };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let number = {
            let mut links = self.inner.links.lock().unwrap_or_else(PoisonError::into_inner);
            *links += 1;
            *links
        };
        let rng = |way: u64| StdRng::seed_from_u64(self.swell.seed ^ (number << 1) ^ way);
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        let there = self.clone().carry(near_in, far_out, (from, target.port()), rng(0));
        let back = self.clone().carry(far_in, near_out, (target.port(), from), rng(1));
        tokio::join!(there, back);
    }

    /// Carries one direction of a connection to its end.
    async fn carry(self, mut from: OwnedReadHalf, to: OwnedWriteHalf, (sender, receiver): (u16, u16), mut rng: StdRng) {
        let (queue, arrivals) = mpsc::channel(PIECES_MAX);
        let arrive = self.clone().arrive(arrivals, to, receiver);
        let leave = async move {
            let mut at = Instant::now();
            loop {
                let mut piece = vec![0; PIECE];
                let read = from.read(&mut piece).await.unwrap_or(0);
                if read == 0 || self.is_torn() {
                    return;
                }
                piece.truncate(read);
                let age = self.hops().age;
                let hops = (age, self.hops_to(sender) + 1);
                let jitter = rng.random_range(Duration::ZERO..=self.swell.jitter);
                // In order, as TCP is.
                at = at.max(Instant::now() + self.swell.delay + jitter);
                if queue.send((at, hops, piece)).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(leave, arrive);
    }

    async fn arrive(
        self,
        mut pieces: mpsc::Receiver<(Instant, (u64, u32), Vec<u8>)>,
        mut to: OwnedWriteHalf,
        receiver: u16,
    ) {
        while let Some((at, (age, hops), piece)) = pieces.recv().await {
            tokio::time::sleep_until(at).await;
            {
                let mut all = self.hops();
                // What set out before they were forgotten does not count.
                if all.age == age {
                    let most = all.to.entry(receiver).or_default();
                    *most = hops.max(*most);
                }
            }
            if self.is_torn() || to.write_all(&piece).await.is_err() {
                return;
            }
        }
    }
}
