//! The handle to a node's swarm: how the rest of the node fetches from peers, finds providers, and announces itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atoll_core::ipns::{Name, Record};
use atoll_core::names::Asked;
use atoll_core::providers::ProviderStream;
use atoll_core::transport::{ByteStream, Gossip, Request, Response};
use atoll_core::{Answer, Block, Blocks, BoxFuture, Cid, Exchange, Providers, Transport, TransportError};
use futures_util::stream::{self, StreamExt as _};
use libp2p::identity::Keypair;
use libp2p::{PeerId, StreamProtocol};
use multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::behaviour::{WAN_KAD, lan_kad, protocol};
use crate::bitswap::{Arrivals, Bitswap, Key, PROTOCOLS};
use crate::config::{Config, peer_of};
use crate::counts::Counts;
use crate::dht::{Network, Own, Which};
use crate::driver::{Driver, Order};
use crate::error::SwarmError;
use crate::streams::{self, Opener};
use crate::{gossip, messages, transport};

/// Orders that wait for the driver.
const ORDERS_MAX: usize = 1024;
/// The most providers that are taken of one search.
const PROVIDERS_MAX: usize = 16;
/// The most records of one name that are taken of one search.
const NAMES_MAX: usize = 16;
/// How long further records of a name are waited for once one is there.
const NAME_SETTLE: Duration = Duration::from_millis(500);
/// When a block is asked for again after the connections to peers broke that gave others before.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600), Duration::from_secs(1)];
/// How long further providers are waited for once one is there.
const SETTLE: Duration = Duration::from_millis(50);

/// What a swarm is made of.
pub struct Parts {
    /// The node's identity, as libp2p's protobuf of a private key.
    pub identity: Vec<u8>,
    /// What may be sent to others.
    pub blocks: Arc<dyn Blocks>,
}

/// What is known of the swarm, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Addresses under which others reach this node.
    pub listen: Vec<Multiaddr>,
    /// Connected peers.
    pub peers: Vec<PeerView>,
    /// Peers in the tables of Kademlia.
    pub known: usize,
    /// Keys whose providers are kept for others.
    pub provider_keys: usize,
    /// IPNS records that are kept for others.
    pub name_records: usize,
    /// Peers that were met since the start and speak as members do.
    pub met: u64,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its id.
    pub peer: String,
    /// Where it is, as seen from here.
    pub address: Multiaddr,
    /// Whether this node dialled.
    pub outbound: bool,
    /// What it calls itself; empty until it has said so.
    pub agent: String,
    /// Whether it speaks as members of Atoll do.
    pub member: bool,
    /// Its last round trip, in microseconds.
    pub round_trip_us: Option<u64>,
    /// How long it has been connected.
    pub connected_seconds: u64,
    /// Where it says that it listens.
    #[serde(default)]
    pub listens: Vec<Multiaddr>,
    /// How it was found.
    #[serde(default)]
    pub found_by: FoundBy,
}

/// How a peer was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FoundBy {
    /// It came by itself.
    #[default]
    Itself,
    /// The settings name it (`swarm.bootstrap`).
    Bootstrap,
    /// It is a member, or was named by one or by a router.
    Member,
    /// It provides what was looked for.
    Provider,
    /// On the way of a question to the DHT.
    Dht,
}

/// A running swarm. Dropping the last clone ends it.
#[derive(Clone)]
pub struct Swarm {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) find_timeout: Duration,
    me: PeerId,
    opener: Opener,
    networks: Arc<[(Which, StreamProtocol)]>,
    bitswap: Arc<Bitswap>,
    counts: Arc<Counts>,
    told: watch::Receiver<Snapshot>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Swarm {
    /// Listens, and joins through the configured peers.
    ///
    /// # Errors
    /// [`SwarmError`] names the address.
    pub async fn spawn(parts: Parts, config: &Config) -> Result<Self, SwarmError> {
        let key = Keypair::from_protobuf_encoding(&parts.identity);
        let key = key.map_err(|error| SwarmError::Transport(error.to_string()))?;
        let (behaviour, opener, streams) = streams::Behaviour::new(&PROTOCOLS);
        let mut swarm = transport::build(key, config, behaviour)?;
        for address in &config.announce {
            swarm.add_external_address(address.clone());
        }
        let me = *swarm.local_peer_id();
        let networks = [(Which::Lan, lan_kad(config)?), (Which::Wan, WAN_KAD)].into_iter();
        let networks = networks.take(1 + usize::from(config.public)).collect();
        let counts = Arc::<Counts>::default();
        let bitswap = Bitswap::new(opener.clone(), (parts.blocks, Arc::clone(&counts)), config);
        let members_speak = protocol(config, messages::PROTOCOL)?;
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let (tell, told) = watch::channel(Snapshot::default());
        let with = (members_speak, bitswap.spoken());
        let mut driver = Box::new(Driver::new(swarm, received, config, with, (tell, Arc::clone(&counts))));
        driver.listen(&config.listen).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&bitswap).accept(streams));
        tasks.spawn(driver.run());
        let (find_timeout, tasks) = (config.find_timeout, Arc::new(Mutex::new(tasks)));
        Ok(Self { orders, find_timeout, me, opener, networks, bitswap, counts, told, tasks })
    }

    /// Ends it, whoever still has a clone; another process can be this peer then.
    pub async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }

    /// The addresses under which others reach this node, each with its peer id.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.told.borrow().listen.clone()
    }

    /// Begins to connect to a peer.
    pub async fn dial(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let (begun, begins) = oneshot::channel();
        if self.orders.send(Order::Dial { peer, addresses, begun }).await.is_ok() {
            let _ = begins.await;
        }
    }

    /// The DHTs that it takes part in: that of private addresses, or of the private network, and then the public one if it does.
    pub fn networks(&self) -> Vec<Network> {
        self.networks.iter().map(|(which, protocol)| Network::new(self.clone(), *which, protocol.clone())).collect()
    }

    /// From now on, `own` tells which keys (multihashes) this node provides, for peers that ask it. It is asked by the task that
    /// owns the swarm, and must not take long.
    pub async fn set_own(&self, own: Own) {
        let _ = self.orders.send(Order::Own(own)).await;
    }

    /// This node's id.
    pub(crate) fn peer_id(&self) -> PeerId {
        self.me
    }

    /// What a connected peer calls itself.
    pub(crate) fn agent_of(&self, peer: &PeerId) -> Option<String> {
        let peer = peer.to_string();
        self.told.borrow().peers.iter().find(|view| view.peer == peer).map(|view| view.agent.clone())
    }

    /// What opens streams.
    pub(crate) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// Peers that say they have a block, connected already.
    pub async fn find(&self, cid: &Cid) -> Vec<PeerId> {
        let (found, mut peers) = mpsc::channel(PROVIDERS_MAX);
        if self.orders.send(Order::Find { key: cid.hash().to_bytes(), found }).await.is_err() {
            return Vec::new();
        }
        let mut all = Vec::new();
        let mut patience = self.find_timeout;
        while let Ok(Some(peer)) = tokio::time::timeout(patience, peers.recv()).await {
            if !all.contains(&peer) {
                all.push(peer);
            }
            patience = SETTLE;
        }
        all
    }

    /// From now on, `answer` answers members' questions, and judges their news.
    pub async fn serve(&self, answer: Arc<dyn Answer>) {
        let _ = self.orders.send(Order::Serve(answer)).await;
    }

    /// What the DHT holds of `name`, unverified. Once there is a record, others are waited for a little: theirs may be newer.
    pub async fn get_name(&self, name: &Name) -> Asked {
        let (found, mut records) = mpsc::channel(NAMES_MAX);
        if self.told.borrow().known == 0 || self.orders.send(Order::GetName { name: *name, found }).await.is_err() {
            return Asked::default();
        }
        let mut asked = Asked { asked: 1, ..Asked::default() };
        let first = tokio::time::timeout(self.find_timeout, records.recv()).await;
        asked.answered = usize::from(first.is_ok());
        asked.records.extend(first.ok().flatten());
        if !asked.records.is_empty() {
            let rest = async {
                while let Some(record) = records.recv().await {
                    asked.records.push(record);
                }
            };
            let _ = tokio::time::timeout(NAME_SETTLE, rest).await;
        }
        asked
    }

    /// Puts a valid record into the DHT; whether somebody keeps it.
    pub async fn put_name(&self, record: &Record) -> bool {
        let (done, answer) = oneshot::channel();
        let order = Order::PutName { name: *record.name(), value: record.bytes().clone(), done };
        self.orders.send(order).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Takes the news that blocks arrived at this node.
    pub fn arrivals(&self) -> Arrivals {
        self.bitswap.arrivals()
    }

    /// Has those of `addresses` dialled that say more than who it is, and are of no peer that the session knows.
    async fn reach(&self, key: Key, addresses: &[Multiaddr]) {
        let strangers = self.bitswap.strangers(key, addresses.iter().filter_map(peer_of));
        self.dial_each(strangers, addresses).await;
    }

    /// Has those of `peers` dialled of which `addresses` say more than who it is, and that are not connected.
    async fn dial_each(&self, peers: impl IntoIterator<Item = PeerId>, addresses: &[Multiaddr]) {
        for peer in peers {
            let of_peer = || addresses.iter().filter(|address| peer_of(address) == Some(peer));
            if of_peer().any(|address| address.iter().count() > 1) {
                self.dial(peer, of_peer().cloned().collect()).await;
            }
        }
    }

    /// What was counted since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// All that is known now.
    pub fn snapshot(&self) -> Snapshot {
        self.told.borrow().clone()
    }
}

impl Providers for Swarm {
    fn find(&self, cid: &Cid) -> ProviderStream {
        let (found, peers) = mpsc::channel(PROVIDERS_MAX);
        let order = Order::Find { key: cid.hash().to_bytes(), found };
        let (orders, until) = (self.orders.clone(), tokio::time::Instant::now() + self.find_timeout);
        let start = async move { orders.send(order).await.ok().map(|()| peers) };
        Box::pin(stream::once(start).filter_map(|peers| async { peers }).flat_map(move |peers| {
            stream::unfold(peers, move |mut peers| async move {
                let peer = tokio::time::timeout_at(until, peers.recv()).await.ok()??;
                Some((Multiaddr::empty().with(Protocol::P2p(peer)), peers))
            })
        }))
    }
}

impl Gossip for Swarm {
    fn publish<'a>(&'a self, news: &'a Request) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            let order = Order::Publish { news: gossip::messages(news), done };
            self.orders.send(order).await.is_ok() && answer.await.unwrap_or(false)
        })
    }

    fn neighbours(&self) -> Vec<Multiaddr> {
        let address = |view: &PeerView| Some(Multiaddr::empty().with(Protocol::P2p(view.peer.parse().ok()?)));
        self.told.borrow().peers.iter().filter(|peer| peer.member).filter_map(address).collect()
    }

    fn met(&self, so_far: u64) -> BoxFuture<'_, u64> {
        let mut told = self.told.clone();
        Box::pin(async move {
            let met = told.wait_for(|snapshot| snapshot.met > so_far).await.map(|snapshot| snapshot.met);
            match met {
                Ok(met) => met,
                // The swarm is gone: nobody will be met.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

impl Exchange for Swarm {
    fn block<'a>(
        &'a self,
        root: &'a Cid,
        cid: &'a Cid,
        peers: &'a [Multiaddr],
    ) -> BoxFuture<'a, Result<Block, TransportError>> {
        Box::pin(async move {
            let of = || peers.iter().filter_map(peer_of);
            self.reach(Key::Root(*root), peers).await;
            let mut pauses = RETRIES.iter();
            loop {
                let answer = self.bitswap.ask(Key::Root(*root), cid, of())?.answer().await;
                // Nobody can be asked: whoever gave blocks before may be back in a moment.
                let is_away = matches!(answer, Err(TransportError::Broken(_) | TransportError::Connect(_)));
                match pauses.next() {
                    Some(pause) if is_away && self.bitswap.has_given(of()) => tokio::time::sleep(*pause).await,
                    _ => return answer,
                }
                let each: BTreeSet<PeerId> = of().collect();
                self.dial_each(each, peers).await;
            }
        })
    }

    fn join(&self, root: &Cid, peers: &[Multiaddr]) {
        let (swarm, key, peers) = (self.clone(), Key::Root(*root), peers.to_vec());
        tokio::spawn(async move {
            swarm.reach(key, &peers).await;
            swarm.bitswap.join(key, peers.iter().filter_map(peer_of));
        });
    }
}

impl Transport for Swarm {
    fn request<'a>(
        &'a self,
        to: &'a Multiaddr,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(async move {
            let peer = peer_of(to).ok_or_else(|| TransportError::Address(to.clone()))?;
            let addresses = if to.iter().count() > 1 { vec![to.clone()] } else { Vec::new() };
            let (answered, answer) = oneshot::channel();
            let order = Order::Ask { peer, addresses, request: Box::new(request.clone()), answered };
            self.orders.send(order).await.map_err(|_| TransportError::Refused)?;
            answer.await.unwrap_or(Err(TransportError::Refused))
        })
    }

    fn block<'a>(&'a self, to: &'a Multiaddr, cid: &'a Cid) -> BoxFuture<'a, Result<Block, TransportError>> {
        Box::pin(async move {
            let peer = peer_of(to).ok_or_else(|| TransportError::Address(to.clone()))?;
            self.reach(Key::Peer(peer), std::slice::from_ref(to)).await;
            self.bitswap.ask(Key::Peer(peer), cid, std::iter::once(peer))?.answer().await
        })
    }

    fn probe<'a>(&'a self, addresses: &'a [Multiaddr]) -> BoxFuture<'a, Result<Multiaddr, TransportError>> {
        Box::pin(async move {
            let peer = addresses.first().and_then(peer_of).ok_or(TransportError::Refused)?;
            let connected = self.connect(peer, addresses.to_vec()).await;
            let unreachable = || TransportError::Connect("the peer cannot be reached".to_owned());
            connected.then(|| Multiaddr::empty().with(Protocol::P2p(peer))).ok_or_else(unreachable)
        })
    }

    fn car<'a>(&'a self, to: &'a Multiaddr, _root: &'a Cid) -> BoxFuture<'a, Result<ByteStream, TransportError>> {
        Box::pin(async { Err(TransportError::Address(to.clone())) })
    }

    fn round_trip(&self, to: &Multiaddr) -> Option<Duration> {
        let peer = peer_of(to)?.to_string();
        let told = self.told.borrow();
        let view = told.peers.iter().find(|view| view.peer == peer)?;
        view.round_trip_us.map(Duration::from_micros)
    }
}
