//! Which addresses in a router's record this node tries. A pure rule: the router is a stranger, and so is whoever it names.

use atoll_core::delegated::{BITSWAP, GATEWAY, PeerRecord, is_http};
use atoll_core::{Multiaddr, PeerId, Reach};
use multiaddr::Protocol;

use crate::http::origin;

/// A peer to be tried: an HTTP gateway, or a peer over libp2p, never both, since each is tried in its own way.
pub(super) type Candidate = Vec<Multiaddr>;

/// What is tried, and from whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// This node, which does not ask itself.
    pub(super) me: PeerId,
    /// How near the router may lead.
    pub(super) reach: Reach,
    /// Whether peers over libp2p can be dialled at all.
    pub(super) peers: bool,
}

impl Rule {
    /// The candidates in a record; none when it is of no use.
    pub(super) fn apply(&self, record: &PeerRecord) -> Vec<Candidate> {
        if record.id == self.me {
            return Vec::new();
        }
        let (mut gateway, mut peer) = (Vec::new(), Vec::new());
        for address in &record.addresses {
            let mut address = address.clone();
            if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
                address.pop();
            }
            if !self.may_dial(&address) {
                continue;
            }
            if !is_http(&address) {
                peer.push(address.with(Protocol::P2p(record.id)));
            } else if self.is_safe_gateway(&address) {
                gateway.push(address);
            }
        }
        if !record.may_speak(GATEWAY) {
            gateway.clear();
        }
        if !self.peers || !record.may_speak(BITSWAP) {
            peer.clear();
        }
        [gateway, peer].into_iter().filter(|candidate| !candidate.is_empty()).collect()
    }

    /// Whether an address leads somewhere that a stranger may send this node.
    fn may_dial(&self, address: &Multiaddr) -> bool {
        let begins_well = matches!(
            address.iter().next(),
            Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
        );
        // There is no client of relays yet, and what a relayed address leads to is not in it.
        let is_direct = !address.iter().any(|part| matches!(part, Protocol::P2pCircuit | Protocol::P2p(_)));
        begins_well && is_direct && self.reach.allows(address)
    }

    /// A name may be made to mean an address of this network. With TLS nobody there answers to it; without, it is only
    /// believed of a router that may lead there anyhow.
    fn is_safe_gateway(&self, address: &Multiaddr) -> bool {
        let is_name = !matches!(address.iter().next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
        let Some(origin) = origin(address) else { return false };
        !is_name || origin.starts_with("https:") || self.reach < Reach::Public
    }
}
