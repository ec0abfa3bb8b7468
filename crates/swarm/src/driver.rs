//! The task that owns the libp2p swarm: it takes orders, follows queries to their end, and keeps the tables in order.

mod lookups;
mod members;
mod peers;
mod queries;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atoll_core::ipns::Name;
use atoll_core::transport::Request;
use atoll_core::{Answer, Reach};
use bytes::Bytes;
use futures_util::StreamExt as _;
use libp2p::gossipsub::TopicHash;
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{self, InboundRequest};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{PeerId, StreamProtocol, Swarm, identify, ping};
use multiaddr::Multiaddr;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, timeout};

use crate::behaviour::{Behaviour, BehaviourEvent, WAN_KAD};
use crate::bitswap::Spoken;
use crate::config::{Config, peer_of};
use crate::counts::{self, Counts};
use crate::dht::Own;
use crate::error::SwarmError;
use crate::swarm::{FoundBy, Snapshot};
pub(crate) use lookups::Lookup;
use lookups::Lookups;
use members::{Answered, Members};
use peers::Peers;
use queries::Queries;

/// How often peers to join through are dialled.
const JOINING: Duration = Duration::from_secs(10);
/// Expired records are forgotten, and neighbours looked for, in one of so many rounds.
const HOUSEKEEPING_EVERY: usize = 3;
/// How long a listener may take to begin.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);
/// With fewer connections than this, all peers to join through are dialled again; with more, one of them each time, as those
/// who are connected may be no friends.
const CONNECTIONS_FEW: usize = 4;
/// The most addresses that are believed of one peer.
const ADDRESSES_MAX: usize = 16;

/// What others want of the swarm.
pub(crate) enum Order {
    /// Connect to a peer, if there is no connection.
    Dial {
        /// Whom.
        peer: PeerId,
        /// Where it may be.
        addresses: Vec<Multiaddr>,
        /// Told once the attempt has begun.
        begun: oneshot::Sender<()>,
    },
    /// Find who provides a key. Each is named once it is connected; the channel closes at the end.
    Find {
        /// The multihash.
        key: Vec<u8>,
        /// Where they go.
        found: mpsc::Sender<PeerId>,
    },
    /// From now on, this tells which keys this node provides, for whoever asks it.
    Own(Own),
    /// Find records of a name in the DHT; the channel closes at the end.
    GetName {
        /// Whose.
        name: Name,
        /// Where they go, unverified.
        found: mpsc::Sender<Bytes>,
    },
    /// Put a valid record into the DHT; answered with whether somebody keeps it.
    PutName {
        /// Whose.
        name: Name,
        /// The record.
        value: Bytes,
        /// Where the answer goes.
        done: oneshot::Sender<bool>,
    },
    /// Ask a member.
    Ask {
        /// Whom.
        peer: PeerId,
        /// Where it may be, beside what is known.
        addresses: Vec<Multiaddr>,
        /// What.
        request: Box<Request>,
        /// Where the answer goes.
        answered: Answered,
    },
    /// Tell all members; answered with whether somebody is there to hear it.
    Publish {
        /// Messages and their topics.
        news: Vec<(TopicHash, Vec<u8>)>,
        /// Where the answer goes.
        done: oneshot::Sender<bool>,
    },
    /// From now on, members' questions and news go here.
    Serve(Arc<dyn Answer>),
    /// Tell what the DHT knows.
    Lookup(Lookup),
}

/// The owner of the swarm.
pub(crate) struct Driver {
    swarm: Swarm<Behaviour>,
    orders: mpsc::Receiver<Order>,
    queries: Queries,
    lookups: Lookups,
    members: Members,
    peers: Peers,
    /// Providers that are being dialled, and who waits for them.
    dialled: HashMap<PeerId, Vec<mpsc::Sender<PeerId>>>,
    bootstrap: Vec<Multiaddr>,
    /// Rounds of housekeeping so far.
    rounds: usize,
    /// Whether nobody is told of what is listened on.
    announce_only: bool,
    /// Told what peers speak of Bitswap.
    bitswap: Arc<Spoken>,
    /// What is known now, for people.
    told: watch::Sender<Snapshot>,
    counts: Arc<Counts>,
}

impl Driver {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        orders: mpsc::Receiver<Order>,
        config: &Config,
        (members_speak, bitswap): (StreamProtocol, Arc<Spoken>),
        (told, counts): (watch::Sender<Snapshot>, Arc<Counts>),
    ) -> Self {
        Self {
            swarm,
            orders,
            queries: Queries::default(),
            lookups: Lookups::default(),
            members: Members::new(Arc::clone(&counts)),
            peers: Peers::new(members_speak),
            dialled: HashMap::new(),
            bootstrap: config.bootstrap.clone(),
            rounds: 0,
            announce_only: config.announce_only,
            bitswap,
            told,
            counts,
        }
    }

    /// Listens on all of `addresses`, and returns once it does.
    ///
    /// # Errors
    /// [`SwarmError::Listen`] names the first that it cannot listen on.
    pub(crate) async fn listen(&mut self, addresses: &[Multiaddr]) -> Result<(), SwarmError> {
        let failed = |address: &Multiaddr, cause: &dyn std::fmt::Display| SwarmError::Listen {
            address: address.clone(),
            cause: cause.to_string(),
        };
        let mut waiting = HashMap::new();
        for address in addresses {
            let id = self.swarm.listen_on(address.clone()).map_err(|error| failed(address, &error))?;
            waiting.insert(id, address);
        }
        while let Some(address) = waiting.values().next() {
            let event = timeout(LISTEN_TIMEOUT, self.swarm.select_next_some()).await;
            let event = event.map_err(|_| failed(address, &"it does not begin to listen"))?;
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.remove(listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason: Err(cause), .. } => {
                    if let Some(address) = waiting.get(listener_id) {
                        return Err(failed(address, cause));
                    }
                }
                _ => {}
            }
            self.event(event);
        }
        Ok(())
    }

    /// Drives until every handle is gone.
    pub(crate) async fn run(mut self) {
        let mut housekeeping = tokio::time::interval(JOINING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.event(event),
                order = self.orders.recv() => match order {
                    Some(order) => self.order(order),
                    None => return,
                },
                Some(served) = self.members.next() => self.members.served(&mut self.swarm, served),
                _ = housekeeping.tick() => self.keep_house(),
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Dial { peer, addresses, begun } => {
                self.dial(peer, addresses, FoundBy::Member);
                // Whoever asked may have gone.
                let _ = begun.send(());
            }
            Order::Find { key, found } => self.queries.find(&mut self.swarm, &key, &found),
            Order::Own(own) => {
                self.swarm.behaviour_mut().tables().for_each(|kad| kad.store_mut().set_own(Arc::clone(&own)));
            }
            Order::GetName { name, found } => self.queries.get_name(&mut self.swarm, &name, &found),
            Order::PutName { name, value, done } => self.queries.put_name(&mut self.swarm, &name, &value, done),
            Order::Ask { peer, addresses, request, answered } => {
                if !self.swarm.is_connected(&peer) {
                    self.peers.expect(peer, FoundBy::Member);
                }
                self.members.ask(&mut self.swarm, (peer, addresses), *request, answered);
            }
            Order::Publish { news, done } => {
                // Whoever told may have gone.
                let _ = done.send(self.members.publish(&mut self.swarm, news));
            }
            Order::Serve(answer) => self.members.serve(answer),
            Order::Lookup(lookup) => self.look(lookup),
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, found_by: FoundBy) {
        self.peers.expect(peer, found_by);
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        if let Err(error) = self.swarm.dial(dial) {
            tracing::debug!(%peer, %error, "not dialled");
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "the swarm listens");
                // Without an external address the library announces nothing at all.
                if !self.announce_only {
                    self.swarm.add_external_address(address);
                }
                self.tell();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.swarm.remove_external_address(&address);
                self.tell();
            }
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                self.counts.opened(&endpoint);
                self.bitswap.came(peer_id);
                self.peers.connected(peer_id, &endpoint);
                self.connected(peer_id);
                self.tell();
            }
            SwarmEvent::ConnectionClosed { num_established: 1.., endpoint, .. } => self.counts.closed(&endpoint),
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, endpoint, .. } => {
                self.counts.closed(&endpoint);
                self.peers.gone(&peer_id);
                self.lookups.gone(&peer_id);
                self.bitswap.gone(&peer_id);
                self.tell();
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(%error, "a connection to us does not come about");
                counts::one(&self.counts.failed[0]);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                tracing::debug!(%peer, %error, "no connection");
                counts::one(&self.counts.failed[1]);
                self.peers.missed(&peer);
                if !self.swarm.is_connected(&peer) {
                    self.dialled.remove(&peer);
                }
            }
            SwarmEvent::Behaviour(event) => self.said(event),
            _ => {}
        }
    }

    /// One of the protocols has something to say.
    fn said(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.peers.identified(&peer_id, &info);
                if self.swarm.is_connected(&peer_id) {
                    self.lookups.identified(peer_id, &info.listen_addrs);
                    self.bitswap.said(peer_id, &info.protocols);
                }
                self.identified(peer_id, info);
                self.tell();
            }
            BehaviourEvent::Identify(identify::Event::Error { peer_id, .. }) if self.swarm.is_connected(&peer_id) => {
                self.bitswap.silent(peer_id);
            }
            BehaviourEvent::Ping(event) => match event.result {
                Ok(round_trip) => {
                    if self.peers.answered(&event.peer, round_trip) {
                        self.tell();
                    }
                }
                // Nobody is there any more, which TCP would notice after a quarter of an hour.
                Err(ping::Failure::Timeout) => {
                    self.swarm.close_connection(event.connection);
                }
                Err(_) => {}
            },
            BehaviourEvent::Lan(event) | BehaviourEvent::Wan(event) => self.kademlia(event),
            BehaviourEvent::Members(event) => self.members.message(event),
            BehaviourEvent::Gossip(event) => self.members.gossip(&mut self.swarm, event),
            _ => {}
        }
    }

    /// Somebody has said what it speaks and where it listens: it belongs into the tables of those networks.
    fn identified(&mut self, peer: PeerId, info: identify::Info) {
        let behaviour = self.swarm.behaviour_mut();
        let speaks_lan = behaviour.lan.protocol_names().iter().all(|name| info.protocols.contains(name));
        for address in info.listen_addrs.into_iter().take(ADDRESSES_MAX) {
            if Reach::of(&address) == Reach::Public {
                if let Some(wan) = behaviour.wan.as_mut().filter(|_| info.protocols.contains(&WAN_KAD)) {
                    wan.add_address(&peer, address);
                }
            } else if speaks_lan {
                behaviour.lan.add_address(&peer, address);
            }
        }
    }

    fn kademlia(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, stats, step } => {
                if step.last {
                    self.counts.asked(&result, stats.duration());
                }
                self.lookups.progress(&mut self.swarm, id, &result, step.last);
                if let Some((new, found)) = self.queries.progress(id, result, &step) {
                    for peer in new {
                        self.meet(peer, &found);
                    }
                }
            }
            // Which network it came from is not told: whom it is of use to finds it in either.
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                for kad in self.swarm.behaviour_mut().tables() {
                    if let Err(error) = kad.store_mut().add_provider(record.clone()) {
                        tracing::debug!(%error, "a provider is not kept");
                    }
                }
            }
            kad::Event::InboundRequest { request: InboundRequest::PutRecord { record: Some(record), source, .. } } => {
                if !self.peers.affords_value(&source, Instant::now()) {
                    return;
                }
                for kad in self.swarm.behaviour_mut().tables() {
                    if let Err(error) = kad.store_mut().put(record.clone()) {
                        tracing::debug!(%source, %error, "a name's record is not kept");
                    }
                }
            }
            _ => {}
        }
    }

    /// Connects to a provider, whose addresses are known only while it is being looked for.
    fn meet(&mut self, peer: PeerId, found: &mpsc::Sender<PeerId>) {
        if peer == *self.swarm.local_peer_id() {
            return;
        }
        if self.swarm.is_connected(&peer) {
            // Nobody waits for more than it can hold.
            let _ = found.try_send(peer);
            return;
        }
        self.dialled.entry(peer).or_default().push(found.clone());
        self.dial(peer, Vec::new(), FoundBy::Provider);
    }

    fn connected(&mut self, peer: PeerId) {
        for found in self.dialled.remove(&peer).into_iter().flatten() {
            let _ = found.try_send(peer);
        }
    }

    fn keep_house(&mut self) {
        self.join();
        let round = self.rounds;
        self.rounds = round.wrapping_add(1);
        if round.is_multiple_of(HOUSEKEEPING_EVERY) {
            let now = Instant::now();
            self.swarm.behaviour_mut().tables().for_each(|kad| kad.store_mut().sweep(now));
            self.dialled.retain(|_, waiting| {
                waiting.retain(|found| !found.is_closed());
                !waiting.is_empty()
            });
            for kad in self.swarm.behaviour_mut().tables() {
                // With nobody known there is nothing to do.
                let _ = kad.bootstrap();
            }
        }
        self.tell();
    }

    /// Dials peers to join through that are not connected.
    fn join(&mut self) {
        let away = |address: &&Multiaddr| peer_of(address).is_some_and(|peer| !self.swarm.is_connected(&peer));
        let mut away: Vec<Multiaddr> = self.bootstrap.iter().filter(away).cloned().collect();
        if self.swarm.connected_peers().count() >= CONNECTIONS_FEW && !away.is_empty() {
            let turn = self.rounds % away.len();
            away = vec![away.swap_remove(turn)];
        }
        for address in away {
            if let Some(peer) = peer_of(&address) {
                self.dial(peer, vec![address], FoundBy::Bootstrap);
            }
        }
    }

    fn tell(&mut self) {
        let me = *self.swarm.local_peer_id();
        let own = |address: &Multiaddr| address.clone().with_p2p(me).unwrap_or_else(|address| address);
        let mut snapshot = Snapshot {
            listen: self.swarm.external_addresses().map(own).collect(),
            peers: self.peers.views(),
            met: self.peers.met(),
            ..Snapshot::default()
        };
        for kad in self.swarm.behaviour_mut().tables() {
            snapshot.known += kad.kbuckets().map(|bucket| bucket.num_entries()).sum::<usize>();
            snapshot.provider_keys += kad.store_mut().len();
            snapshot.name_records += kad.store_mut().values();
        }
        self.told.send_replace(snapshot);
    }
}
