//! What others want to know of the DHT without anything being fetched: who provides, where a peer is, who is near a key.

use std::collections::{HashMap, HashSet};

use libp2p::core::Endpoint;
use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{
    self, GetClosestPeersError, GetClosestPeersOk, GetProvidersOk, PeerInfo, QueryId, QueryResult, RecordKey,
};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, NetworkBehaviour as _};
use libp2p::{PeerId, Swarm};
use multiaddr::{Multiaddr, Protocol};
use tokio::sync::{mpsc, oneshot};

use super::{ADDRESSES_MAX, Driver};
use crate::behaviour::Behaviour;
use crate::dht::Which;
use crate::lookup::Located;
use crate::records::Records;
use crate::swarm::FoundBy;

/// The most queries of lookups under way; more are refused.
const LOOKUPS_MAX: usize = 1024;

/// A question to the DHT, or to what is known already.
pub(crate) enum Lookup {
    /// Who provides a key, and where. Nobody is dialled. The channel closes at the end.
    Providers {
        /// The multihash.
        key: Vec<u8>,
        /// Where they go.
        found: mpsc::Sender<Located>,
    },
    /// The peers nearest to a key, once for each network.
    Closest {
        /// The key, before it is hashed.
        key: Vec<u8>,
        /// The only network to ask; otherwise all.
        only: Option<Which>,
        /// Where they go.
        found: mpsc::Sender<Vec<Located>>,
    },
    /// Where a peer is, as far as that is known without asking anybody.
    Known {
        /// Who.
        peer: PeerId,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<Multiaddr>>,
    },
    /// Connect to a peer. It is named once it is connected; the channel closes when it cannot be.
    Connect {
        /// Whom.
        peer: PeerId,
        /// Where it may be.
        addresses: Vec<Multiaddr>,
        /// Where the answer goes.
        found: mpsc::Sender<PeerId>,
    },
}

/// A lookup under way.
enum Asked {
    Providers { key: RecordKey, seen: HashSet<PeerId>, found: mpsc::Sender<Located> },
    Closest { found: mpsc::Sender<Vec<Located>> },
}

/// Lookups under way, and where connected peers say that they listen.
#[derive(Default)]
pub(super) struct Lookups {
    asked: HashMap<QueryId, Asked>,
    identified: HashMap<PeerId, Vec<Multiaddr>>,
}

impl Lookups {
    /// A connected peer has said where it listens.
    pub(super) fn identified(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        self.identified.insert(peer, addresses.iter().take(ADDRESSES_MAX).cloned().collect());
    }

    /// A peer is not connected any more.
    pub(super) fn gone(&mut self, peer: &PeerId) {
        self.identified.remove(peer);
    }

    /// Starts a query in each network, or only in one.
    fn start(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        only: Option<Which>,
        query: impl Fn(&mut kad::Behaviour<Records>) -> QueryId,
        asked: impl Fn() -> Asked,
    ) {
        if self.asked.len() >= LOOKUPS_MAX {
            return;
        }
        match only {
            Some(which) => {
                self.asked.extend(swarm.behaviour_mut().table(which).map(|kad| (query(kad), asked())));
            }
            None => self.asked.extend(swarm.behaviour_mut().tables().map(|kad| (query(kad), asked()))),
        }
    }

    /// Takes what a query found, if it is one of these.
    pub(super) fn progress(&mut self, swarm: &mut Swarm<Behaviour>, id: QueryId, result: &QueryResult, last: bool) {
        let me = *swarm.local_peer_id();
        match (result, self.asked.get_mut(&id)) {
            (
                QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
                Some(Asked::Providers { key, seen, found }),
            ) => {
                let new = providers.iter().filter(|peer| **peer != me && seen.insert(**peer));
                for peer in new.copied().collect::<Vec<_>>() {
                    let said = self.identified.get(&peer).cloned().unwrap_or_default();
                    let located = Located { peer, addresses: addresses_of(swarm, peer, said, Some(key)) };
                    // Nobody waits for more than it can hold.
                    let _ = found.try_send(located);
                }
            }
            (QueryResult::GetClosestPeers(result), Some(Asked::Closest { found })) => {
                let peers = match result {
                    Ok(GetClosestPeersOk { peers, .. }) | Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                let located = |info: &PeerInfo| Located { peer: info.peer_id, addresses: plain(info.addrs.clone()) };
                let _ = found.try_send(peers.iter().map(located).collect());
            }
            _ => {}
        }
        if last {
            self.asked.remove(&id);
        }
    }
}

impl Driver {
    pub(super) fn look(&mut self, lookup: Lookup) {
        let Self { swarm, lookups, .. } = self;
        match lookup {
            Lookup::Providers { key, found } => {
                let key = RecordKey::from(key);
                let asked = || Asked::Providers { key: key.clone(), seen: HashSet::new(), found: found.clone() };
                lookups.start(swarm, None, |kad| kad.get_providers(key.clone()), asked);
            }
            Lookup::Closest { key, only, found } => {
                lookups.start(
                    swarm,
                    only,
                    |kad| kad.get_closest_peers(key.clone()),
                    || Asked::Closest { found: found.clone() },
                );
            }
            Lookup::Known { peer, answer } => {
                let said = lookups.identified.get(&peer).cloned().unwrap_or_default();
                // Whoever asked may have gone.
                let _ = answer.send(addresses_of(swarm, peer, said, None));
            }
            Lookup::Connect { peer, addresses, found } => self.connect(peer, addresses, found),
        }
    }

    fn connect(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, found: mpsc::Sender<PeerId>) {
        if peer == *self.swarm.local_peer_id() {
            return;
        }
        if self.swarm.is_connected(&peer) {
            let _ = found.try_send(peer);
            return;
        }
        self.dialled.entry(peer).or_default().push(found);
        self.peers.expect(peer, FoundBy::Dht);
        let dial = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).addresses(addresses);
        match self.swarm.dial(dial.build()) {
            // When it is dialled already, that dial answers.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => {
                tracing::debug!(%peer, %error, "not dialled");
                self.dialled.remove(&peer);
            }
        }
    }
}

/// Where a peer is: as it said itself, as the tables and the queries under way know, and as it announced for `key`.
fn addresses_of(
    swarm: &mut Swarm<Behaviour>,
    peer: PeerId,
    mut addresses: Vec<Multiaddr>,
    key: Option<&RecordKey>,
) -> Vec<Multiaddr> {
    for kad in swarm.behaviour_mut().tables() {
        let announced = key.map_or(Vec::new(), |key| kad.store_mut().providers(key));
        let announced = announced.into_iter().filter(|record| record.provider == peer);
        addresses.extend(announced.flat_map(|record| record.addresses));
        // What the library would dial, which is all that it knows; nothing is dialled by asking.
        let id = ConnectionId::new_unchecked(0);
        let known = kad.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer);
        addresses.extend(known.unwrap_or_default());
    }
    plain(addresses)
}

/// Without repeats, without the peer's own id at the end, and not too many.
fn plain(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let mut plain = Vec::new();
    for mut address in addresses {
        if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
            address.pop();
        }
        if !address.is_empty() && !plain.contains(&address) && plain.len() < ADDRESSES_MAX {
            plain.push(address);
        }
    }
    plain
}
