//! How bytes travel: TCP and QUIC; or, behind the key of a private network, TCP alone. Keeps nothing.

use std::error::Error;
use std::fmt::Display;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{PeerId, Swarm, SwarmBuilder, Transport as _, noise, swarm, tcp, tls, yamux};

use crate::behaviour::Behaviour;
use crate::config::Config;
use crate::error::SwarmError;
use crate::streams;

/// A connection that nobody uses is closed after this time.
const IDLE: Duration = Duration::from_secs(120);
/// The largest key file, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// A swarm that listens nowhere yet.
pub(crate) fn build(
    identity: Keypair,
    config: &Config,
    streams: streams::Behaviour,
) -> Result<Swarm<Behaviour>, SwarmError> {
    let failed = |error: &dyn Display| SwarmError::Transport(error.to_string());
    let behaviour = |key: &Keypair| Behaviour::new(key, config, streams).map_err(Box::<dyn Error + Send + Sync>::from);
    // A stream's first message goes along with its protocol, which saves a round trip.
    let settings = |swarm: swarm::Config| {
        swarm.with_idle_connection_timeout(IDLE).with_substream_upgrade_protocol_override(Version::V1Lazy)
    };
    let builder = SwarmBuilder::with_existing_identity(identity).with_tokio();
    if config.key_file.as_os_str().is_empty() {
        let tcp = tcp::Config::default().nodelay(true);
        let tcp = builder.with_tcp(tcp, (tls::Config::new, noise::Config::new), yamux::Config::default);
        let all = tcp.map_err(|error| failed(&error))?.with_quic().with_dns().map_err(|error| failed(&error))?;
        return Ok(all.with_behaviour(behaviour).map_err(|error| failed(&error))?.with_swarm_config(settings).build());
    }
    let secret = read_key(&config.key_file)?;
    tracing::info!(key = %secret.fingerprint(), "the swarm is behind a key");
    let tcp = builder.with_other_transport(|identity| behind(secret, identity)).map_err(|error| failed(&error))?;
    let all = tcp.with_dns().map_err(|error| failed(&error))?;
    Ok(all.with_behaviour(behaviour).map_err(|error| failed(&error))?.with_swarm_config(settings).build())
}

/// TCP on which nothing is understood without the key (libp2p specs, "Private Networks"), then noise as ever.
fn behind(
    secret: PreSharedKey,
    identity: &Keypair,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, Box<dyn Error + Send + Sync>> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let tcp = tcp.and_then(move |socket, _| PnetConfig::new(secret).handshake(socket));
    let secure = tcp.upgrade(Version::V1Lazy).authenticate(noise::Config::new(identity)?);
    Ok(secure.multiplex(yamux::Config::default()).boxed())
}

/// The key in a file of Kubo's form (`swarm.key`).
fn read_key(path: &Path) -> Result<PreSharedKey, SwarmError> {
    let failed = |cause: &dyn Display| SwarmError::Key { path: path.to_owned(), cause: cause.to_string() };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(&error))?;
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| failed(&error))?;
    text.parse().map_err(|error| failed(&error))
}
