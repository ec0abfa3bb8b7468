//! News that goes round: each node that takes it tells some others. Messages are late, lost, and come twice.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use atoll_core::transport::{Request, Response, decode, encode};
use atoll_core::{BoxFuture, Clock as _, Gossip, Multiaddr};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};

use crate::net::Net;

/// How many others a node tells.
const DEGREE: usize = 6;

/// What goes round among all nodes of a network.
pub struct Rumours {
    net: Arc<Net>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// What each host has heard already.
    heard: BTreeMap<Vec<u8>, HashSet<u64>>,
    rng: StdRng,
    /// Which share of messages comes twice.
    doubled: f64,
    /// Messages that were carried.
    carried: u64,
}

impl Rumours {
    /// Nothing goes round yet. Messages are lost and late as the network's weather has it.
    pub fn new(net: &Arc<Net>, seed: u64) -> Arc<Self> {
        let rng = StdRng::seed_from_u64(seed ^ 0x9055);
        let inner = Inner { heard: BTreeMap::new(), rng, doubled: 0.0, carried: 0 };
        Arc::new(Self { net: Arc::clone(net), inner: Mutex::new(inner) })
    }

    /// From now on, this share of messages comes twice.
    pub fn set_doubled(&self, share: f64) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).doubled = share;
    }

    /// How many messages were carried.
    pub fn carried(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).carried
    }

    /// A host that starts again has heard nothing.
    pub fn forget(&self, host: &Multiaddr) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).heard.remove(&host.to_vec());
    }

    /// Notes that `host` has heard a message; whether it was new to it.
    fn hears(&self, host: &Multiaddr, message: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        message.hash(&mut hasher);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.heard.entry(host.to_vec()).or_default().insert(hasher.finish())
    }

    /// Sends a message from `from` to some others, who pass it on if it is news to them.
    fn spread(self: &Arc<Self>, from: &Multiaddr, message: &Arc<[u8]>) {
        let others = self.net.neighbours(from);
        let weather = self.net.weather();
        let mut letters = Vec::new();
        {
            let inner = &mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            for to in others.into_iter().sample(&mut inner.rng, DEGREE) {
                for _ in 0..1 + u32::from(inner.rng.random_bool(inner.doubled)) {
                    inner.carried += 1;
                    let delay = inner.rng.random_range(weather.delay.clone());
                    if !inner.rng.random_bool(weather.loss) {
                        letters.push((to.clone(), delay));
                    }
                }
            }
        }
        for (to, delay) in letters {
            let (all, from, message) = (Arc::clone(self), from.clone(), Arc::clone(message));
            tokio::spawn(async move {
                all.net.clock().sleep(delay).await;
                all.arrive(&from, &to, &message).await;
            });
        }
    }

    async fn arrive(self: Arc<Self>, from: &Multiaddr, to: &Multiaddr, message: &Arc<[u8]>) {
        let Some(answer) = self.net.answerer(from, to) else { return };
        if !self.hears(to, message) {
            return;
        }
        let news: Request = decode(message).unwrap();
        if let Ok(Response::Announced { accepted: 1.. } | Response::Named { accepted: 1.. }) = answer.answer(news).await
        {
            self.spread(to, message);
        }
    }
}

/// One host's part in it.
pub struct LocalGossip {
    all: Arc<Rumours>,
    me: Multiaddr,
}

impl LocalGossip {
    /// That of the host at `me`.
    pub fn new(all: &Arc<Rumours>, me: Multiaddr) -> Arc<Self> {
        Arc::new(Self { all: Arc::clone(all), me })
    }
}

impl Gossip for LocalGossip {
    fn publish<'a>(&'a self, news: &'a Request) -> BoxFuture<'a, bool> {
        // One record each, so that a record is the same message whoever says it.
        let single: Vec<Request> = match news {
            Request::Announce { records } => {
                records.iter().map(|record| Request::Announce { records: vec![record.clone()] }).collect()
            }
            Request::Names { records } => {
                records.iter().map(|record| Request::Names { records: vec![record.clone()] }).collect()
            }
            _ => Vec::new(),
        };
        for request in single {
            let message: Arc<[u8]> = encode(&request).unwrap().into();
            self.all.hears(&self.me, &message);
            self.all.spread(&self.me, &message);
        }
        let heard = !self.all.net.neighbours(&self.me).is_empty();
        Box::pin(async move { heard })
    }

    fn neighbours(&self) -> Vec<Multiaddr> {
        self.all.net.neighbours(&self.me)
    }

    fn met(&self, so_far: u64) -> BoxFuture<'_, u64> {
        Box::pin(self.all.net.met(so_far))
    }
}
