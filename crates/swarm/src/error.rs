//! What can go wrong when the swarm starts; the text says what to change.

use std::path::PathBuf;

use multiaddr::Multiaddr;

/// Why the swarm does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// TLS, noise or DNS could not be set up.
    #[error("libp2p does not start: {0}")]
    Transport(String),
    /// The key of a private network.
    #[error("{path}: {cause}; swarm.key_file takes a swarm.key as Kubo has it, of three lines", path = .path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why it is none.
        cause: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}; change swarm.listen")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        cause: String,
    },
}
