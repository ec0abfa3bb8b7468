//! What an operator can set about the swarm. Plain data; a crash loses nothing.

use std::path::PathBuf;
use std::time::Duration;

use libp2p::PeerId;
use multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};

/// The longest name of a network.
const NETWORK_CHARS_MAX: usize = 32;
/// The most peers in a list of those that may connect.
const ALLOWED_MAX: usize = 4096;
/// The most addresses in each list of addresses.
const ADDRESSES_MAX: usize = 64;

/// The `[swarm]` section: connections to other peers over libp2p.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses to listen on, as multiaddrs such as `/ip4/0.0.0.0/tcp/4001`, or `/ip4/0.0.0.0/udp/4001/quic-v1`; empty: no
    /// swarm.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach this node, beside those that are listened on.
    pub announce: Vec<Multiaddr>,
    /// Whether others are told of `announce` alone, as where a port is forwarded, and not of what is listened on.
    pub announce_only: bool,
    /// Peers to join through, as multiaddrs that end in `/p2p/PEER`.
    pub bootstrap: Vec<Multiaddr>,
    /// Name of a private network: its nodes speak under protocols of their own (`/NAME/lan/kad/1.0.0`, `/NAME/meshsub/…`), so
    /// that they and IPFS peers leave each other alone. Empty: IPFS.
    pub network: String,
    /// File with the key of a private network, as Kubo's `swarm.key`: who does not have it understands nothing. Such networks
    /// have TCP only. Empty: none.
    pub key_file: PathBuf,
    /// The only peers that may connect, as peer ids; empty: all.
    pub allow: Vec<String>,
    /// Whether to take part in the public IPFS network's DHT too, beside that of private addresses.
    pub public: bool,
    /// The most connections.
    pub connections: u32,
    /// The most connections with one peer.
    pub connections_per_peer: u32,
    /// The most memory for blocks on their way to other peers, in MiB.
    pub sending_mib: usize,
    /// How long a provider is looked for.
    #[serde(with = "humantime_serde")]
    pub find_timeout: Duration,
    /// What is announced to the DHT: `entities` (roots of pins, and the files and folders under them), `roots` of pins only,
    /// or `all` blocks.
    pub provide: Provide,
    /// Within which time what is announced is announced again. IPFS peers forget it after 48 hours.
    #[serde(with = "humantime_serde")]
    pub provide_interval: Duration,
}

/// What is announced to the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provide {
    /// Roots of pins.
    Roots,
    /// Roots of pins, and the files and folders under them, so that each can be asked for by itself.
    Entities,
    /// Every block in the store.
    All,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            announce: Vec::new(),
            announce_only: false,
            bootstrap: Vec::new(),
            network: String::new(),
            key_file: PathBuf::new(),
            allow: Vec::new(),
            public: false,
            connections: 512,
            connections_per_peer: 4,
            sending_mib: 64,
            find_timeout: Duration::from_secs(10),
            provide: Provide::Entities,
            provide_interval: Duration::from_secs(22 * 3600),
        }
    }
}

impl Config {
    /// Every problem of this configuration, each naming its setting; empty when there is none.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, list) in [("listen", &self.listen), ("announce", &self.announce), ("bootstrap", &self.bootstrap)] {
            if list.len() > ADDRESSES_MAX {
                problems.push(format!("{name}: {} addresses are over the limit of {ADDRESSES_MAX}", list.len()));
            }
        }
        let is_plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
        if self.network.len() > NETWORK_CHARS_MAX || !self.network.chars().all(is_plain) {
            problems.push(format!("network: takes up to {NETWORK_CHARS_MAX} lower-case letters, digits and `-`"));
        }
        if self.announce_only && self.announce.is_empty() {
            problems.push("announce_only: nobody would be told of any address; set `announce` too".to_owned());
        }
        if self.public && !self.network.is_empty() {
            problems.push("public: a private network has no part in the public one; leave `network` empty".to_owned());
        }
        problems.extend(self.problems_of_key());
        if self.allow.len() > ALLOWED_MAX {
            problems.push(format!("allow: {} peers are over the limit of {ALLOWED_MAX}", self.allow.len()));
        }
        for peer in self.allow.iter().filter(|peer| peer.parse::<PeerId>().is_err()) {
            problems.push(format!("allow: `{peer}` is not a peer id"));
        }
        for address in self.bootstrap.iter().filter(|address| peer_of(address).is_none()) {
            problems.push(format!("bootstrap: {address} does not end in /p2p/PEER"));
        }
        let mut within = |name: &str, value: u64, most: u64| {
            if value == 0 || value > most {
                problems.push(format!("{name}: must be between 1 and {most}"));
            }
        };
        within("connections", self.connections.into(), 65_536);
        within("connections_per_peer", self.connections_per_peer.into(), 64);
        within("sending_mib", self.sending_mib as u64, 65_536);
        within("find_timeout", self.find_timeout.as_secs(), 300);
        if self.provide_interval < Duration::from_secs(60) || self.provide_interval > Duration::from_secs(47 * 3600) {
            problems.push("provide_interval: must be between 1 min and 47 h".to_owned());
        }
        problems
    }
}

impl Config {
    /// What does not go together with the key of a private network.
    fn problems_of_key(&self) -> Vec<String> {
        if self.key_file.as_os_str().is_empty() {
            return Vec::new();
        }
        let is_quic = |address: &&Multiaddr| {
            address.iter().any(|part| matches!(part, Protocol::Udp(_) | Protocol::Quic | Protocol::QuicV1))
        };
        let mut problems = Vec::new();
        for (name, list) in [("listen", &self.listen), ("announce", &self.announce), ("bootstrap", &self.bootstrap)] {
            let quic = list.iter().filter(is_quic);
            problems.extend(quic.map(|address| {
                format!("{name}: {address} is no TCP, and networks behind a key (`key_file`) have no other transport")
            }));
        }
        if self.public {
            problems.push("public: a network behind a key (`key_file`) has no part in the public one".to_owned());
        }
        problems
    }

    /// A protocol's name in this network.
    pub(crate) fn protocol(&self, name: &str) -> String {
        if self.network.is_empty() { name.to_owned() } else { format!("/{}{name}", self.network) }
    }
}

/// The peer that an address ends in.
pub(crate) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_come_back_from_toml() {
        let config = Config::default();
        assert_eq!(config.problems(), Vec::<String>::new());
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
    }

    #[test]
    fn a_network_behind_a_key_has_tcp_alone() {
        let quic = || vec!["/ip4/127.0.0.1/udp/4001/quic-v1".parse().unwrap()];
        let config = Config { listen: quic(), key_file: "swarm.key".into(), public: true, ..Config::default() };
        let problems = config.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("listen: /ip4/127.0.0.1/udp/4001/quic-v1 is no TCP"), "{problems:?}");
        assert_eq!(Config { listen: quic(), ..Config::default() }.problems(), Vec::<String>::new());
    }

    #[test]
    fn problems_name_their_setting() {
        let config = Config {
            bootstrap: vec!["/ip4/192.0.2.1/tcp/4001".parse().unwrap()],
            connections: 0,
            announce_only: true,
            provide_interval: Duration::ZERO,
            ..Config::default()
        };
        let problems = config.problems();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].starts_with("announce_only: ") && problems[1].starts_with("bootstrap: "));
    }
}
