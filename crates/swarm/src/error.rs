//! What can go wrong when the swarm starts; the text says what to change.

use multiaddr::Multiaddr;

/// Why the swarm does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// TLS, noise or DNS could not be set up.
    #[error("libp2p does not start: {0}")]
    Transport(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}; change swarm.listen")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        cause: String,
    },
}
