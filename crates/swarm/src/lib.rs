//! The peer-to-peer half of a node: libp2p connections, Kademlia, and Bitswap, with every IPFS peer; questions and gossip with
//! other members.
//!
//! One task owns the libp2p swarm (`driver`); everything else speaks to it through bounded channels. Bitswap runs over
//! streams of its own (`bitswap`). What is known of peers is in memory only: a crash loses connections and what others
//! announced here, both of which come again.

mod behaviour;
mod bitswap;
mod config;
pub mod counts;
mod dht;
mod driver;
mod error;
mod gossip;
mod identify;
mod lookup;
mod messages;
mod names;
mod records;
mod streams;
mod swarm;
mod transport;

pub use bitswap::Arrivals;
pub use config::{Config, Provide};
pub use counts::Counts;
pub use dht::{Network, Own};
pub use error::SwarmError;
pub use lookup::Located;
pub use swarm::{FoundBy, Parts, PeerView, Snapshot, Swarm};
