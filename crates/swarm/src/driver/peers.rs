//! What is known of connected peers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::{PeerId, StreamProtocol, identify};
use multiaddr::Multiaddr;

use super::ADDRESSES_MAX;
use crate::swarm::{FoundBy, PeerView};

/// The longest name of a program that is shown, in characters.
const AGENT_CHARS_MAX: usize = 64;
/// The most names' records that one peer may put in a minute, since each costs a signature's check.
const VALUES_PER_MINUTE: u32 = 600;

/// The most peers of which it is remembered how they were found while they are dialled.
const EXPECTED_MAX: usize = 4096;

/// The connected peers.
pub(super) struct Peers {
    connected: HashMap<PeerId, About>,
    /// What members speak.
    members_speak: StreamProtocol,
    met: u64,
    /// How those were found that are being dialled.
    expected: HashMap<PeerId, FoundBy>,
}

struct About {
    address: Multiaddr,
    outbound: bool,
    since: Instant,
    agent: String,
    member: bool,
    round_trip: Option<Duration>,
    listens: Vec<Multiaddr>,
    found_by: FoundBy,
    /// Names' records that it put in the minute that began then.
    values: (Instant, u32),
}

impl Peers {
    pub(super) fn new(members_speak: StreamProtocol) -> Self {
        Self { connected: HashMap::new(), members_speak, met: 0, expected: HashMap::new() }
    }

    pub(super) fn connected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        let expected = self.expected.remove(&peer);
        // Whoever nobody else wanted was dialled by Kademlia.
        let found_by = if endpoint.is_dialer() { expected.unwrap_or(FoundBy::Dht) } else { FoundBy::Itself };
        self.connected.entry(peer).or_insert_with(|| About {
            address: endpoint.get_remote_address().clone(),
            outbound: endpoint.is_dialer(),
            since: now,
            agent: String::new(),
            member: false,
            round_trip: None,
            listens: Vec::new(),
            found_by,
            values: (now, 0),
        });
    }

    /// It is about to be dialled.
    pub(super) fn expect(&mut self, peer: PeerId, found_by: FoundBy) {
        if self.expected.len() < EXPECTED_MAX && !self.connected.contains_key(&peer) {
            self.expected.entry(peer).or_insert(found_by);
        }
    }

    /// It was dialled in vain.
    pub(super) fn missed(&mut self, peer: &PeerId) {
        self.expected.remove(peer);
    }

    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.connected.remove(peer);
    }

    pub(super) fn identified(&mut self, peer: &PeerId, info: &identify::Info) {
        if let Some(about) = self.connected.get_mut(peer) {
            about.agent = info.agent_version.chars().filter(|char| !char.is_control()).take(AGENT_CHARS_MAX).collect();
            about.listens = info.listen_addrs.iter().take(ADDRESSES_MAX).cloned().collect();
            let member = info.protocols.contains(&self.members_speak);
            self.met = self.met.saturating_add(u64::from(member && !about.member));
            about.member = member;
        }
    }

    /// It answered a ping; whether that is the first.
    pub(super) fn answered(&mut self, peer: &PeerId, round_trip: Duration) -> bool {
        let about = self.connected.get_mut(peer);
        about.is_some_and(|about| about.round_trip.replace(round_trip).is_none())
    }

    /// Whether another name's record of `peer` is to be looked at.
    pub(super) fn affords_value(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(about) = self.connected.get_mut(peer) else { return false };
        let (began, count) = &mut about.values;
        if now.duration_since(*began) >= Duration::from_secs(60) {
            (*began, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= VALUES_PER_MINUTE
    }

    /// How many peers were met since the start that speak as members do.
    pub(super) fn met(&self) -> u64 {
        self.met
    }

    /// All of them, in the order of their ids.
    pub(super) fn views(&self) -> Vec<PeerView> {
        let mut views: Vec<PeerView> = self.connected.iter().map(|(peer, about)| about.view(peer)).collect();
        views.sort_by(|one, other| one.peer.cmp(&other.peer));
        views
    }
}

impl About {
    fn view(&self, peer: &PeerId) -> PeerView {
        PeerView {
            peer: peer.to_string(),
            address: self.address.clone(),
            outbound: self.outbound,
            agent: self.agent.clone(),
            member: self.member,
            round_trip_us: self.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            connected_seconds: self.since.elapsed().as_secs(),
            listens: self.listens.clone(),
            found_by: self.found_by,
        }
    }
}
