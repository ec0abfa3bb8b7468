//! Why a node did not start, or did not stop well. Keeps nothing.

use std::net::SocketAddr;
use std::path::PathBuf;

use atoll_content::store::StoreError;
use atoll_edge::ServeError;
use atoll_edge::front::FrontError;
use atoll_identity::StoreError as NamesError;
use atoll_routing::RouteError;
use atoll_security::DenyError;
use atoll_swarm::SwarmError;

use crate::keys::KeysError;

/// Why a node did not start, or did not stop well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A folder or file of its own.
    #[error("{path}: {1}", path = .0.display())]
    Folder(PathBuf, #[source] std::io::Error),
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Its blocks.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Members and placements.
    #[error(transparent)]
    Routing(#[from] RouteError),
    /// Connections over libp2p.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
    /// Its IPNS records.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// Its pin requests.
    #[error(transparent)]
    Pinning(#[from] atoll_pinning::StoreError),
    /// The listener of publishers.
    #[error("cannot listen on {1} ({0}): {2}")]
    Listen(&'static str, SocketAddr, #[source] std::io::Error),
    /// What is not to be shown.
    #[error("deny lists: {0}")]
    Deny(#[from] DenyError),
    /// A site with origins.
    #[error("sites: {0}")]
    Sites(#[from] FrontError),
    /// Its certificates.
    #[error(transparent)]
    Certificates(#[from] atoll_certs::OwnError),
    /// What authorities issued.
    #[error(transparent)]
    Issued(#[from] atoll_certs::FileError),
    /// The public listener.
    #[error(transparent)]
    Gateway(#[from] ServeError),
    /// The admin listener.
    #[error("cannot listen on {0} (admin.listen): {1}")]
    Admin(SocketAddr, #[source] std::io::Error),
    /// The listener of delegated routing.
    #[error("cannot listen on {0} (delegated.listen): {1}")]
    Delegated(SocketAddr, #[source] std::io::Error),
    /// The CLI's socket.
    #[error("cannot listen on {path}: {1}; paths of sockets have at most 107 bytes, and one node uses one --dir", path = .0.display())]
    Socket(PathBuf, #[source] std::io::Error),
    /// `getrandom` failed.
    #[error("the operating system gave no randomness")]
    Randomness,
}
