//! One node: its configuration, keys and wiring, the admin listener, the CLI's socket, metrics and the status page.

pub mod address;
pub mod api;
mod bundles;
mod certs;
pub mod config;
mod control;
mod delegated;
mod deny;
mod drills;
mod earlier;
mod exchange;
pub mod keys;
pub mod kubo;
mod listeners;
pub mod log;
mod metrics;
mod network;
mod node;
mod pinning;
mod provide;
mod published;
mod purges;
mod release;
mod servers;
pub mod takeover;
mod ticks;
mod transport;
pub mod work;

/// Sites whose content comes from servers elsewhere, as they are set.
pub mod sites {
    pub use atoll_edge::front::{
        CacheConfig, OriginConfig, OriginTimeouts, PUBLISHED, PUBLISHED_BYTES_MAX, Profile, Published, SiteConfig,
        Source,
    };
}

pub use atoll_edge::Passed;
pub use node::{Handed, Leaving, Node, NodeError};
