//! A network of real routers, their disks and their faults.

use std::sync::Arc;
use std::time::Duration;

use atoll_core::keys::{AnswerKey, IdentityKey, OperatorKey};
use atoll_core::names::{NameRecords, NoopNameRecords};
use atoll_core::providers::NoopProviders;
use atoll_core::purges::NoopPurges;
use atoll_core::record::{Accept, Member, OperatorCertificate, ProbeAnswer};
use atoll_core::transport::{NoopGossip, Request, Response};
use atoll_core::{Answer, BoxFuture, Clock, Gossip, Multiaddr, Signed, Timestamp, TransportError};
use atoll_identity::{Config as NamesConfig, MapLinks, Parts as NamesParts, Resolver, Store};
use atoll_routing::{Client, ClientConfig, Config, Parts, PlacementView, Router, Snapshot};
use multiaddr::Protocol;
use serde_bytes::ByteBuf;
use tempfile::TempDir;

use crate::clock::{NodeClock, SimClock};
use crate::gossip::{LocalGossip, Rumours};
use crate::memory::{MemoryLog, MemoryStorage};
use crate::net::{Fault, LocalTransport, Net};
use crate::site::Site;

/// When operators' certificates expire, in seconds since the Unix epoch.
const CERTIFICATES_EXPIRE: u64 = 2_100_000_000;

/// What a network is to be like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The operator of each node, by number.
    pub operators: Vec<u8>,
    /// The routers' settings.
    pub config: Config,
    /// From which everything random comes.
    pub seed: u64,
}

/// The network.
pub struct Network {
    /// What carries the messages.
    pub net: Arc<Net>,
    /// What time it is.
    pub clock: SimClock,
    /// The nodes, up or down.
    pub nodes: Vec<Node>,
    plan: Plan,
    /// How news goes round, if not from node to node by questions alone.
    pub rumours: Option<Arc<Rumours>>,
    /// The settings of names, if the nodes keep any.
    names: Option<NamesConfig>,
    /// Pulls that were finished by routers which are gone.
    pulls: u64,
}

/// One node: its keys and disk, and its router while it is up.
pub struct Node {
    /// Where it is reached.
    pub address: Multiaddr,
    /// Its disk.
    pub storage: Arc<MemoryStorage>,
    /// Its router.
    pub router: Option<Router>,
    /// What it knows of names while it is up, if the network was started with them.
    pub names: Option<Resolver>,
    /// Its peer id in text form.
    pub peer: String,
    /// Bytes that it offers.
    pub free: u64,
    /// What it holds for others; told when it starts.
    pub accept: Accept,
    identity: Arc<IdentityKey>,
    operator: u8,
    log: Arc<MemoryLog>,
    names_folder: TempDir,
    clock: NodeClock,
    starts: u64,
    liar: bool,
}

impl Network {
    /// Starts all nodes; each knows the first and the last as seeds.
    pub async fn start(plan: Plan) -> Self {
        Self::start_with(plan, None, false).await
    }

    /// Starts all nodes, and each keeps names.
    pub async fn start_with_names(plan: Plan, names: NamesConfig) -> Self {
        Self::start_with(plan, Some(names), false).await
    }

    /// Starts all nodes, among whom news goes round by gossip.
    pub async fn start_with_gossip(plan: Plan) -> Self {
        Self::start_with(plan, None, true).await
    }

    async fn start_with(plan: Plan, names: Option<NamesConfig>, gossip: bool) -> Self {
        let clock = SimClock::start();
        let net = Net::new(clock, plan.seed);
        let rumours = gossip.then(|| Rumours::new(&net, plan.seed));
        let mut network = Self { net, clock, nodes: Vec::new(), plan: plan.clone(), rumours, names, pulls: 0 };
        for operator in plan.operators {
            network.add(operator, false);
        }
        for index in 0..network.nodes.len() {
            network.restart(index).await;
        }
        network
    }

    /// Adds a node that is not up yet.
    pub fn add(&mut self, operator: u8, liar: bool) -> usize {
        let index = self.nodes.len();
        let port = u16::try_from(4000 + index).unwrap();
        let mut seed = [0x1d; 32];
        seed[..8].copy_from_slice(&self.plan.seed.to_be_bytes());
        seed[8..10].copy_from_slice(&port.to_be_bytes());
        let identity = Arc::new(IdentityKey::from_seed(&seed));
        let address = Multiaddr::from(std::net::Ipv4Addr::LOCALHOST).with(Protocol::Tcp(port));
        // Gossip is heard by those who are reached over libp2p.
        let address = match &self.rumours {
            Some(_) => address.with(Protocol::P2p(identity.peer_id())),
            None => address.with(Protocol::Http),
        };
        self.nodes.push(Node {
            address,
            storage: Arc::default(),
            router: None,
            peer: identity.peer_id().to_string(),
            free: 1 << 40,
            accept: Accept::Any,
            identity,
            operator,
            log: Arc::default(),
            names: None,
            names_folder: tempfile::tempdir().unwrap(),
            clock: NodeClock::right(self.clock),
            starts: 0,
            liar,
        });
        index
    }

    /// Adds and starts a member with a valid record that says it holds whatever it is asked about, and serves wrong bytes.
    pub async fn add_liar(&mut self, operator: u8) -> usize {
        let index = self.add(operator, true);
        self.restart(index).await;
        self.net.set_fault(&self.nodes[index].address, Fault::Lies);
        index
    }

    /// Starts a node, with what it had on disk.
    pub async fn restart(&mut self, index: usize) {
        let seeds = [0, self.plan.operators.len().saturating_sub(1)].map(|seed| self.nodes[seed].address.clone());
        let node = &mut self.nodes[index];
        node.starts += 1;
        let mut seed = [0x77; 32];
        seed[..8].copy_from_slice(&self.plan.seed.to_be_bytes());
        seed[8..16].copy_from_slice(&(index as u64).to_be_bytes());
        seed[16..24].copy_from_slice(&node.starts.to_be_bytes());
        let store = self.names.as_ref().map(|config| node.open_names(config));
        let records: Arc<dyn NameRecords> = match &store {
            Some(store) => Arc::new(store.clone()),
            None => Arc::new(NoopNameRecords),
        };
        let gossip: Arc<dyn Gossip> = match &self.rumours {
            Some(rumours) => {
                rumours.forget(&node.address);
                LocalGossip::new(rumours, node.address.clone())
            }
            None => Arc::new(NoopGossip),
        };
        let transport = LocalTransport::new(&self.net, node.address.clone());
        let parts = Parts {
            identity: Arc::clone(&node.identity),
            member: node.member_maker(),
            transport: Arc::clone(&transport) as _,
            clock: Arc::new(node.clock.clone()),
            storage: Arc::clone(&node.storage) as _,
            log: Arc::clone(&node.log) as _,
            names: records,
            purges: Arc::new(NoopPurges),
            providers: Arc::new(NoopProviders),
            gossip,
            exchange: transport,
            seeds: seeds.to_vec(),
            seed,
        };
        let router = Router::spawn(parts, self.plan.config.clone()).await.unwrap();
        let answer = match node.liar {
            true => Arc::new(Liar { identity: Arc::clone(&node.identity), honest: router.answer() }),
            false => router.answer(),
        };
        self.net.up(&node.address, answer, Arc::clone(&node.storage));
        router.set_addresses(vec![node.address.clone()]).unwrap();
        node.names = self.names.clone().zip(store).map(|(config, store)| {
            let (links, exchange) = (Arc::new(MapLinks::new(&config)), router.names());
            Resolver::spawn(NamesParts { store, links, exchange, clock: Arc::new(node.clock.clone()), config })
        });
        node.router = Some(router);
    }

    /// Kills a node: its tasks end where they stand, and its disk stays.
    pub fn kill(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        self.net.down(&node.address);
        node.names = None;
        self.pulls += node.router.take().map_or(0, |router| router.snapshot().pulls);
    }

    /// Sets a node's own clock: that many seconds ahead of all others', or behind when that is negative.
    pub fn set_clock(&self, index: usize, ahead_secs: i64) {
        self.nodes[index].clock.set_ahead(ahead_secs.saturating_mul(1000));
    }

    /// The honest nodes that are up.
    pub fn up(&self) -> impl Iterator<Item = (usize, &Node, &Router)> {
        let nodes = self.nodes.iter().enumerate().filter(|(_, node)| !node.liar);
        nodes.filter_map(|(index, node)| Some((index, node, node.router.as_ref()?)))
    }

    /// What a node that is up knows.
    pub fn snapshot(&self, index: usize) -> Snapshot {
        self.nodes[index].router.as_ref().unwrap().snapshot()
    }

    /// What a node that is up knows of a site.
    pub fn placement(&self, index: usize, site: &Site) -> Option<PlacementView> {
        let id = site.id().to_string();
        self.snapshot(index).placements.into_iter().find(|placement| placement.site == id)
    }

    /// Publishes a version of `site` through a node, which keeps a copy as a publisher's node does.
    pub async fn publish(&self, index: usize, site: &Site, version: u32, n: u64) {
        let node = &self.nodes[index];
        node.storage.fill(&site.blocks(version));
        atoll_core::Storage::pin(&*node.storage, &site.root(version), "publish").await.unwrap();
        let envelope = site.placement(version, n, self.clock.now());
        node.router.as_ref().unwrap().announce_placement(envelope).await.unwrap();
    }

    /// Takes back the copy that [`Network::publish`] kept.
    pub async fn release(&self, index: usize, site: &Site, version: u32) {
        atoll_core::Storage::unpin(&*self.nodes[index].storage, &site.root(version), "publish").await.unwrap();
    }

    /// The honest nodes that are up and hold a version of `site` whole, in truth, whatever anybody says.
    pub fn copies(&self, site: &Site, version: u32) -> Vec<usize> {
        let root = site.root(version);
        self.up().filter(|(_, node, _)| node.storage.holds_whole(&root)).map(|(index, ..)| index).collect()
    }

    /// How many pulls all nodes ever finished: each one moved a site.
    pub fn pulls(&self) -> u64 {
        self.up().map(|(.., router)| router.snapshot().pulls).sum::<u64>() + self.pulls
    }

    /// Whether every honest node knows every other as live, and no dead one.
    pub fn is_converged(&self) -> bool {
        let mut up: Vec<&str> = self.up().map(|(_, node, _)| node.peer.as_str()).collect();
        up.sort_unstable();
        self.up().all(|(.., router)| {
            let snapshot = router.snapshot();
            let live = snapshot.members.iter().filter(|member| member.live).map(|member| member.peer.as_str());
            let mut live: Vec<&str> = live.collect();
            live.sort_unstable();
            live == up
        })
    }

    /// Waits until `reached`, in simulated time; how long it took.
    ///
    /// # Panics
    /// When it takes longer than `limit`; `what` and the seed are named then.
    pub async fn until(&self, what: &str, limit: Duration, reached: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.clock.now();
        let step = (limit / 100).max(Duration::from_millis(100));
        while !reached(self) {
            let waited = self.clock.now().since(begun);
            assert!(waited < limit, "seed {}: not within {limit:?}: {what}", self.plan.seed);
            self.clock.sleep(step).await;
        }
        self.clock.now().since(begun)
    }

    /// Lets time pass.
    pub async fn pass(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    /// A client that knows the given nodes' gateways.
    pub fn client(&self, nodes: &[usize]) -> Arc<Client> {
        let gateways: Vec<Multiaddr> = nodes.iter().map(|node| self.nodes[*node].address.clone()).collect();
        let outside = Multiaddr::from(std::net::Ipv4Addr::LOCALHOST).with(Protocol::Tcp(1)).with(Protocol::Http);
        let transport = LocalTransport::new(&self.net, outside);
        Arc::new(Client::new(transport, Arc::new(self.clock), &gateways, ClientConfig::default(), [9; 32]))
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Node {
    /// The records that it has on disk.
    fn open_names(&self, config: &NamesConfig) -> Store {
        let storage = Arc::clone(&self.storage);
        let held = Box::new(move || storage.held_sites());
        Store::open(self.names_folder.path(), config, Arc::new(self.clock.clone()), held).unwrap()
    }

    /// Says what the node offers.
    fn member_maker(&self) -> atoll_routing::MemberMaker {
        let (identity, free, accept) = (Arc::clone(&self.identity), self.free, self.accept.clone());
        let operator = OperatorKey::from_seed(&[self.operator; 32]);
        let label = format!("operator {}", self.operator);
        let certificate = OperatorCertificate::issue(&operator, &label, &identity.peer_id(), CERTIFICATES_EXPIRE);
        let answer = AnswerKey::from_scalar(&[self.operator.saturating_add(1); 32]).unwrap();
        Box::new(move |addresses| {
            let mut member = Member::new(&identity, &answer, certificate.clone(), addresses);
            member.free = free;
            member.accept = accept.clone();
            member
        })
    }
}

/// Says it holds whatever it is asked about, and is honest otherwise.
struct Liar {
    identity: Arc<IdentityKey>,
    honest: Arc<dyn Answer>,
}

impl Answer for Liar {
    fn answer(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        match request {
            Request::Probe { nonce, roots } => {
                let answer = Signed::seal(ProbeAnswer::new(nonce, CERTIFICATES_EXPIRE, roots), &self.identity).unwrap();
                Box::pin(async move { Ok(Response::Probe { answer: ByteBuf::from(answer.bytes().to_vec()) }) })
            }
            other => self.honest.answer(other),
        }
    }
}
