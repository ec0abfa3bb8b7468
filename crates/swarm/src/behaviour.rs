//! The libp2p protocols that a node speaks, and how each is set.

use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::allow_block_list::AllowedPeers;
use libp2p::identity::Keypair;
use libp2p::kad::{self, Mode};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, StreamProtocol, allow_block_list, connection_limits, gossipsub, identify, ping};

use crate::config::Config;
use crate::dht::Which;
use crate::error::SwarmError;
use crate::records::Records;
use crate::{gossip, identify as own_identify, messages, streams};

/// Kademlia of the public IPFS network.
pub(crate) const WAN_KAD: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");
/// Kademlia among private addresses.
const LAN_KAD: &str = "/ipfs/lan/kad/1.0.0";
/// The same in a private network, behind its name.
const PRIVATE_KAD: &str = "/lan/kad/1.0.0";
/// What IPFS peers call themselves.
const PROTOCOL_VERSION: &str = "ipfs/0.1.0";
/// What nodes of Atoll call themselves, before their version.
pub(crate) const AGENT: &str = "atoll/";
/// The largest message of Kademlia, in bytes: as in other implementations, whose answers are larger than the library's
/// default of 16 KiB.
const KAD_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How long others believe that a provider still provides (Kademlia DHT, "Provider record expiration": 48 hours).
const PROVIDER_LIFETIME: Duration = Duration::from_secs(48 * 3600);
/// How long an IPNS record is kept unless it is put again (IPNS over the DHT: 48 hours).
const VALUE_LIFETIME: Duration = Duration::from_secs(48 * 3600);
/// The nodes that are asked or told at last (Kademlia's k).
pub(crate) const K: NonZeroUsize = NonZeroUsize::new(20).unwrap();

/// All protocols of a node but those that are plain streams.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    allowed: Toggle<allow_block_list::Behaviour<AllowedPeers>>,
    pub(crate) identify: own_identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) lan: kad::Behaviour<Records>,
    pub(crate) wan: Toggle<kad::Behaviour<Records>>,
    /// Streams of Bitswap, and those of announcements.
    streams: streams::Behaviour,
    /// Questions of members.
    pub(crate) members: messages::Behaviour,
    /// Records of members.
    pub(crate) gossip: gossipsub::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(key: &Keypair, config: &Config, streams: streams::Behaviour) -> Result<Self, SwarmError> {
        let me = key.public().to_peer_id();
        let limits = connection_limits::ConnectionLimits::default()
            .with_max_established(Some(config.connections))
            .with_max_established_per_peer(Some(config.connections_per_peer))
            .with_max_pending_incoming(Some(config.connections / 2 + 1))
            .with_max_pending_outgoing(Some(config.connections / 2 + 1));
        let identify = identify::Config::new_with_signed_peer_record(PROTOCOL_VERSION.to_owned(), key)
            .with_agent_version(format!("{AGENT}{}", env!("CARGO_PKG_VERSION")))
            .with_hide_listen_addrs(config.announce_only)
            .with_push_listen_addr_updates(true);
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            allowed: allowed(config).into(),
            identify: own_identify::Behaviour::new(&identify, config.public),
            ping: ping::Behaviour::default(),
            lan: kademlia(me, lan_kad(config)?, Mode::Server, config),
            wan: config.public.then(|| kademlia(me, WAN_KAD, Mode::Client, config)).into(),
            streams,
            members: messages::behaviour(protocol(config, messages::PROTOCOL)?),
            gossip: gossip::behaviour(config)?,
        })
    }

    /// One network, if this node takes part in it.
    pub(crate) fn table(&mut self, which: Which) -> Option<&mut kad::Behaviour<Records>> {
        match which {
            Which::Lan => Some(&mut self.lan),
            Which::Wan => self.wan.as_mut(),
        }
    }

    /// The tables of both networks.
    pub(crate) fn tables(&mut self) -> impl Iterator<Item = &mut kad::Behaviour<Records>> {
        std::iter::once(&mut self.lan).chain(self.wan.as_mut())
    }
}

/// A protocol of this network.
pub(crate) fn protocol(config: &Config, name: &str) -> Result<StreamProtocol, SwarmError> {
    StreamProtocol::try_from_owned(config.protocol(name)).map_err(|error| SwarmError::Transport(error.to_string()))
}

/// Kademlia among private addresses, or in the private network.
pub(crate) fn lan_kad(config: &Config) -> Result<StreamProtocol, SwarmError> {
    protocol(config, if config.network.is_empty() { LAN_KAD } else { PRIVATE_KAD })
}

/// Lets only those peers connect that are on the list, if there is one.
fn allowed(config: &Config) -> Option<allow_block_list::Behaviour<AllowedPeers>> {
    if config.allow.is_empty() {
        return None;
    }
    let mut allowed = allow_block_list::Behaviour::<AllowedPeers>::default();
    for peer in config.allow.iter().filter_map(|peer| peer.parse().ok()) {
        allowed.allow_peer(peer);
    }
    Some(allowed)
}

fn kademlia(me: PeerId, protocol: StreamProtocol, mode: Mode, config: &Config) -> kad::Behaviour<Records> {
    let mut settings = kad::Config::new(protocol);
    settings
        .set_query_timeout(config.find_timeout)
        .set_replication_factor(K)
        .set_max_packet_size(KAD_MESSAGE_BYTES_MAX)
        .set_provider_record_ttl(Some(PROVIDER_LIFETIME))
        .set_record_ttl(Some(VALUE_LIFETIME))
        // Announced again by the node, which knows what it still holds.
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        // A peer is taken into a table once it has said what it speaks and where it listens.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .disjoint_query_paths(true)
        .set_caching(kad::Caching::Disabled);
    let mut kademlia = kad::Behaviour::with_config(me, Records::new(me), settings);
    kademlia.set_mode(Some(mode));
    kademlia
}
