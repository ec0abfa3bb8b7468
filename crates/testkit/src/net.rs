//! A network of function calls, with faults: hosts that are down, hang, lie or are slow, lost messages, partitions.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atoll_core::car::{encode_header, encode_section_prefix};
use atoll_core::transport::NoopAnswer;
use atoll_core::transport::{ByteStream, Request, Response, decode, encode};
use atoll_core::{Answer, Block, BoxFuture, Cid, Clock, Exchange, Multiaddr, Transport, TransportError};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::SimClock;
use crate::memory::MemoryStorage;

/// What is wrong with one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Takes connections and never answers.
    Hangs,
    /// Answers every question for a block with wrong bytes.
    Lies,
    /// Takes so much longer for everything.
    Slow(Duration),
    /// Breaks off every CAR after so many blocks.
    CutsCars(usize),
}

/// What is wrong with the network between all hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Weather {
    /// Which share of messages is lost.
    pub loss: f64,
    /// How long each message takes.
    pub delay: Range<Duration>,
}

impl Default for Weather {
    fn default() -> Self {
        Self { loss: 0.0, delay: Duration::from_millis(1)..Duration::from_millis(20) }
    }
}

/// The network.
pub struct Net {
    clock: SimClock,
    inner: Mutex<Inner>,
    /// How often a host came up.
    ups: watch::Sender<u64>,
}

struct Inner {
    hosts: BTreeMap<Vec<u8>, Host>,
    weather: Weather,
    rng: StdRng,
}

#[derive(Clone)]
struct Host {
    answer: Arc<dyn Answer>,
    storage: Arc<MemoryStorage>,
    fault: Fault,
    /// Hosts of different groups cannot reach each other.
    group: u32,
    up: bool,
    /// Blocks that were served, right or wrong.
    served: u64,
    /// Where it is, on a line.
    place: Duration,
    /// How long it is busy with each block, one after the other, and until when it is.
    pace: Duration,
    busy_until: Option<Instant>,
}

impl Host {
    /// How long a block waits until it is served.
    fn queue(&mut self) -> Duration {
        let now = Instant::now();
        let served = self.busy_until.map_or(now, |until| until.max(now)) + self.pace;
        self.busy_until = Some(served);
        served.duration_since(now)
    }
}

impl Net {
    /// An empty network.
    pub fn new(clock: SimClock, seed: u64) -> Arc<Self> {
        let inner = Inner { hosts: BTreeMap::new(), weather: Weather::default(), rng: StdRng::seed_from_u64(seed) };
        Arc::new(Self { clock, inner: Mutex::new(inner), ups: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a host, or starts it again, as it was before.
    pub fn up(&self, address: &Multiaddr, answer: Arc<dyn Answer>, storage: Arc<MemoryStorage>) {
        let mut inner = self.lock();
        let new = Host {
            answer: Arc::clone(&answer),
            storage: Arc::clone(&storage),
            fault: Fault::None,
            group: 0,
            up: true,
            served: 0,
            place: Duration::ZERO,
            pace: Duration::ZERO,
            busy_until: None,
        };
        let host = inner.hosts.entry(address.to_vec()).or_insert(new);
        (host.answer, host.storage, host.up) = (answer, storage, true);
        drop(inner);
        self.ups.send_modify(|ups| *ups += 1);
    }

    /// Stops a host: connections to it are refused, and what answered there is let go of.
    pub fn down(&self, address: &Multiaddr) {
        self.change(address, |host| (host.up, host.answer) = (false, Arc::new(NoopAnswer)));
    }

    /// Whether a host is up.
    pub fn is_up(&self, address: &Multiaddr) -> bool {
        self.lock().hosts.get(&address.to_vec()).is_some_and(|host| host.up)
    }

    /// Breaks a host, or mends it.
    pub fn set_fault(&self, address: &Multiaddr, fault: Fault) {
        self.change(address, |host| host.fault = fault);
    }

    /// Puts a host on one side of a partition; all begin in group 0.
    pub fn set_group(&self, address: &Multiaddr, group: u32) {
        self.change(address, |host| host.group = group);
    }

    /// Puts a host somewhere on a line; all begin at its start. A message takes as much longer as two hosts are apart.
    pub fn set_place(&self, address: &Multiaddr, place: Duration) {
        self.change(address, |host| host.place = place);
    }

    /// Has a host serve one block after the other, so long for each.
    pub fn set_pace(&self, address: &Multiaddr, pace: Duration) {
        self.change(address, |host| host.pace = pace);
    }

    /// Changes what is wrong between all hosts.
    pub fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// How many blocks a host has served.
    pub fn served(&self, address: &Multiaddr) -> u64 {
        self.lock().hosts.get(&address.to_vec()).map_or(0, |host| host.served)
    }

    /// What is wrong between all hosts.
    pub(crate) fn weather(&self) -> Weather {
        self.lock().weather.clone()
    }

    /// Its time.
    pub(crate) fn clock(&self) -> SimClock {
        self.clock
    }

    /// The hosts that are up and on the side of `host`, without it.
    pub(crate) fn neighbours(&self, host: &Multiaddr) -> Vec<Multiaddr> {
        let inner = self.lock();
        let me = host.to_vec();
        let group = inner.hosts.get(&me).map_or(0, |host| host.group);
        let others = inner.hosts.iter().filter(|(address, host)| **address != me && host.up && host.group == group);
        others.map(|(address, _)| Multiaddr::try_from(address.clone()).unwrap()).collect()
    }

    /// What answers at `to`, if it can be reached from `from`.
    pub(crate) fn answerer(&self, from: &Multiaddr, to: &Multiaddr) -> Option<Arc<dyn Answer>> {
        let inner = self.lock();
        let group = inner.hosts.get(&from.to_vec()).map_or(0, |host| host.group);
        let host = inner.hosts.get(&to.to_vec())?;
        (host.up && host.group == group && host.fault != Fault::Hangs).then(|| Arc::clone(&host.answer))
    }

    /// Waits until a host has come up more often than `so_far`; how often, since the start.
    pub(crate) async fn met(&self, so_far: u64) -> u64 {
        let mut ups = self.ups.subscribe();
        match ups.wait_for(|ups| *ups > so_far).await.map(|ups| *ups) {
            Ok(ups) => ups,
            Err(_) => std::future::pending().await,
        }
    }

    fn change(&self, address: &Multiaddr, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.lock().hosts.get_mut(&address.to_vec()) {
            change(host);
        }
    }

    /// Carries one message from `from` to `to`, or loses it.
    async fn carry(&self, from: &Multiaddr, to: &Multiaddr) -> Result<Host, TransportError> {
        let (host, delay, lost) = {
            let inner = &mut *self.lock();
            let asker = inner.hosts.get(&from.to_vec());
            let (group, place) = asker.map_or((0, Duration::ZERO), |host| (host.group, host.place));
            let refused = || TransportError::Connect("connection refused".to_owned());
            let host = inner.hosts.get(&to.to_vec()).filter(|host| host.up).cloned().ok_or_else(refused)?;
            let delay = inner.rng.random_range(inner.weather.delay.clone()) + place.abs_diff(host.place);
            let lost = inner.rng.random_bool(inner.weather.loss) || host.group != group || host.fault == Fault::Hangs;
            (host, delay, lost)
        };
        if lost {
            std::future::pending::<()>().await;
        }
        let slow = if let Fault::Slow(by) = host.fault { by } else { Duration::ZERO };
        self.clock.sleep(delay + slow).await;
        // It may have died while the message was on its way.
        if self.is_up(to) { Ok(host) } else { Err(TransportError::Broken("connection reset".to_owned())) }
    }

    /// The bytes that `host` gives for `cid`.
    async fn serve(&self, to: &Multiaddr, host: &Host, cid: &Cid) -> Result<Bytes, TransportError> {
        let mut queue = Duration::ZERO;
        self.change(to, |host| {
            host.served += 1;
            queue = host.queue();
        });
        if !queue.is_zero() {
            self.clock.sleep(queue).await;
        }
        if host.fault == Fault::Lies {
            return Ok(Bytes::from_static(b"a lie"));
        }
        let found = atoll_core::Storage::get(&*host.storage, cid).await;
        found.ok().flatten().ok_or(TransportError::NotFound)
    }
}

/// One host's way into the network.
pub struct LocalTransport {
    net: Arc<Net>,
    from: Multiaddr,
}

impl LocalTransport {
    /// The transport of the host at `from`, which need not be up.
    pub fn new(net: &Arc<Net>, from: Multiaddr) -> Arc<Self> {
        Arc::new(Self { net: Arc::clone(net), from })
    }
}

/// One peer after the other: who is fastest is the business of the real one.
impl Exchange for LocalTransport {
    fn block<'a>(
        &'a self,
        _root: &'a Cid,
        cid: &'a Cid,
        peers: &'a [Multiaddr],
    ) -> BoxFuture<'a, Result<Block, TransportError>> {
        Box::pin(async move {
            let mut last = TransportError::NotFound;
            for peer in peers {
                match Transport::block(self, peer, cid).await {
                    Ok(block) => return Ok(block),
                    Err(TransportError::NotFound) => {}
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }

    fn join(&self, _root: &Cid, _peers: &[Multiaddr]) {}
}

impl Transport for LocalTransport {
    fn request<'a>(
        &'a self,
        to: &'a Multiaddr,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(async move {
            let message = encode(request)?;
            let host = self.net.carry(&self.from, to).await?;
            let answer = encode(&host.answer.answer(decode(&message)?).await?)?;
            self.net.carry(&self.from, to).await?;
            decode(&answer)
        })
    }

    fn block<'a>(&'a self, to: &'a Multiaddr, cid: &'a Cid) -> BoxFuture<'a, Result<Block, TransportError>> {
        Box::pin(async move {
            let host = self.net.carry(&self.from, to).await?;
            Ok(Block::verified(*cid, self.net.serve(to, &host, cid).await?)?)
        })
    }

    fn probe<'a>(&'a self, addresses: &'a [Multiaddr]) -> BoxFuture<'a, Result<Multiaddr, TransportError>> {
        Box::pin(async move {
            let to = addresses.first().ok_or(TransportError::Refused)?;
            self.net.carry(&self.from, to).await.map(|_| to.clone())
        })
    }

    fn car<'a>(&'a self, to: &'a Multiaddr, root: &'a Cid) -> BoxFuture<'a, Result<ByteStream, TransportError>> {
        Box::pin(async move {
            let host = self.net.carry(&self.from, to).await?;
            self.net.serve(to, &host, root).await?;
            let mut pieces = vec![Ok(encode_header(&[*root]).unwrap())];
            let blocks = match host.fault {
                Fault::Lies => vec![(*root, Bytes::from_static(b"a lie"))],
                _ => host.storage.depth_first(root).into_iter().map(Block::into_parts).collect(),
            };
            let whole = blocks.len();
            let kept = if let Fault::CutsCars(kept) = host.fault { kept } else { whole };
            for (cid, bytes) in blocks.into_iter().take(kept) {
                pieces.push(Ok(encode_section_prefix(&cid, bytes.len())));
                pieces.push(Ok(bytes));
            }
            if kept < whole {
                pieces.push(Err(TransportError::Broken("connection reset".to_owned())));
            }
            let (net, to) = (Arc::clone(&self.net), to.clone());
            // A host that dies breaks its CARs off.
            let stream = stream::iter(pieces).then(move |piece| {
                let (net, to) = (Arc::clone(&net), to.clone());
                async move {
                    net.clock.sleep(Duration::from_millis(1)).await;
                    if net.is_up(&to) { piece } else { Err(TransportError::Broken("connection reset".to_owned())) }
                }
            });
            let stream: ByteStream = Box::pin(stream);
            Ok(stream)
        })
    }
}
